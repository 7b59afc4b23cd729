//! The bytes of a weights file, on disk or in memory, read at any place by any thread.

use std::fs::File;
use std::path::Path;

use crate::bounded::Fault;

/// Where the bytes come from. Reading needs no position of its own, so threads may read at once.
#[derive(Debug)]
pub(crate) enum Source {
    File(File),
    Bytes(Vec<u8>),
}

impl Source {
    /// Opens a regular file and says how long it is.
    pub(crate) fn open(path: &Path) -> Result<(Source, u64), Fault> {
        let file = File::open(path).map_err(Fault::Io)?;
        let about = file.metadata().map_err(Fault::Io)?;
        if !about.is_file() {
            return Err(Fault::Bad("not a regular file".to_string()));
        }
        Ok((Source::File(file), about.len()))
    }

    /// Fills `into` from `offset` on.
    pub(crate) fn read_at(&self, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
        match self {
            Source::File(file) => read_exact_at(file, offset, into),
            Source::Bytes(bytes) => {
                let from =
                    usize::try_from(offset).ok().and_then(|start| bytes.get(start..)?.get(..into.len()));
                into.copy_from_slice(from.ok_or(std::io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, into, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut offset: u64, mut into: &mut [u8]) -> std::io::Result<()> {
    while !into.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, into, offset)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => {
                into = &mut into[read..];
                offset += read as u64;
            }
        }
    }
    Ok(())
}

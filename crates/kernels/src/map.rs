//! Read-only memory maps, so that loading weights copies nothing.
#![allow(unsafe_code, reason = "a memory map is unsafe: another process may change the file")]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

/// A file's bytes, mapped read-only; an empty file is an empty slice.
#[derive(Debug)]
pub struct MappedFile {
    map: Option<memmap2::Mmap>,
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Maps `path` into memory for reading.
///
/// The file must not be truncated by another program while it is mapped: reading beyond its new end kills the
/// process. topwork itself replaces files by renaming, which leaves an existing map intact.
///
/// # Errors
/// The file cannot be opened, is not a regular file, or cannot be mapped.
pub fn map_file(path: impl AsRef<Path>) -> io::Result<MappedFile> {
    map_open(&File::open(path)?)
}

/// Maps an open file into memory for reading, on the same condition as [`map_file`]; a file without a name meets it.
///
/// # Errors
/// As [`map_file`].
pub fn map_open(file: &File) -> io::Result<MappedFile> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if metadata.len() == 0 {
        // mmap refuses a length of zero.
        return Ok(MappedFile { map: None });
    }
    // SAFETY: the map is read-only and private to this value; the remaining hazard, another process shrinking
    // the file under it, is the documented condition above and the same one every weight loader accepts.
    let map = unsafe { memmap2::Mmap::map(file)? };
    Ok(MappedFile { map: Some(map) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_the_file_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(&*map_file(&path).unwrap(), b"abc");
        std::fs::write(&path, b"").unwrap();
        assert!(map_file(&path).unwrap().is_empty());
        assert!(map_file(folder.path()).is_err());
        assert!(map_file(folder.path().join("absent")).is_err());
        let mut nameless = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut nameless, b"kept").unwrap();
        let map = map_open(&nameless).unwrap();
        drop(nameless);
        assert_eq!(&*map, b"kept");
    }
}

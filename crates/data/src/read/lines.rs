//! Lines of UTF-8 with a limit on their length, so that a file without line ends cannot fill the memory.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// A reader of lines that knows line numbers and byte offsets.
pub(crate) struct Lines<'a> {
    reader: Box<dyn BufRead + 'a>,
    path: PathBuf,
    limit: usize,
    /// Number of the line last read, from 1.
    line: usize,
    /// Offset of the next byte.
    offset: u64,
    bytes: Vec<u8>,
}

impl<'a> Lines<'a> {
    pub fn new(reader: Box<dyn BufRead + 'a>, path: &Path, limit: usize) -> Self {
        Self { reader, path: path.into(), limit, line: 0, offset: 0, bytes: Vec::new() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the line last read.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The next line with its line end, `None` at the end of the file.
    pub fn next(&mut self) -> Result<Option<&str>> {
        self.bytes.clear();
        let read = (&mut self.reader)
            .take(self.limit as u64 + 1)
            .read_until(b'\n', &mut self.bytes)
            .map_err(|source| Error::Read { path: self.path.clone(), source })?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        let start = self.offset;
        self.offset += read as u64;
        if read > self.limit {
            return Err(Error::RecordTooLong { path: self.path.clone(), line: self.line, limit: self.limit });
        }
        let first = self.line == 1;
        let utf16 = first && (self.bytes.starts_with(b"\xff\xfe") || self.bytes.starts_with(b"\xfe\xff"));
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => Ok(Some(if first { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text })),
            Err(error) => {
                let at = error.valid_up_to();
                Err(Error::NotUtf8 {
                    path: self.path.clone(),
                    line: self.line,
                    offset: start + at as u64,
                    byte: self.bytes[at],
                    guess: if utf16 { "UTF-16" } else { "WINDOWS-1252" },
                })
            }
        }
    }
}

/// A line without its line end.
pub(crate) fn bare(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

//! A place in a weights file that moves forwards as its header is read.
//!
//! Whatever is asked for is compared with what is left of the file first, so nothing is allocated that the file does not hold.

use std::path::Path;

use crate::Error;
use crate::source::Source;

/// Bytes read ahead.
const AHEAD: u64 = 1 << 16;

/// Reads a file from some place on, little-endian, up to a fixed end.
pub(crate) struct Cursor<'a> {
    source: &'a Source,
    path: &'a Path,
    format: &'static str,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    /// Where the buffer's first byte lies in the file.
    buffer_at: u64,
}

impl<'a> Cursor<'a> {
    /// At the start of a file of `end` bytes; `path` and `format` are for the messages.
    pub(crate) fn new(source: &'a Source, path: &'a Path, format: &'static str, end: u64) -> Cursor<'a> {
        Cursor { source, path, format, at: 0, end, buffer: Vec::new(), buffer_at: 0 }
    }

    /// The file.
    pub(crate) fn path(&self) -> &'a Path {
        self.path
    }

    /// Bytes from the start of the file.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes left.
    pub(crate) fn remaining(&self) -> u64 {
        self.end - self.at
    }

    /// An error about the file as a whole.
    pub(crate) fn bad(&self, reason: impl Into<String>) -> Error {
        Error::BadFile { path: self.path.to_path_buf(), format: self.format, reason: reason.into() }
    }

    /// Refuses `what` of `count` bytes when the file has fewer left.
    pub(crate) fn need(&self, what: &str, count: u64) -> Result<(), Error> {
        if count <= self.remaining() {
            return Ok(());
        }
        Err(self.bad(format!(
            "{what} at byte {} takes {count} bytes and {} are left: cut short?",
            self.at,
            self.remaining()
        )))
    }

    /// Refuses a list of `count` entries of at least `each` bytes when the file has fewer left.
    pub(crate) fn need_each(&self, what: &str, count: u64, each: u64) -> Result<usize, Error> {
        self.need(what, count.saturating_mul(each))?;
        usize::try_from(count).map_err(|_| self.bad(format!("{count} {what}")))
    }

    /// The next bytes.
    pub(crate) fn bytes(&mut self, what: &str, count: u64) -> Result<Vec<u8>, Error> {
        self.need(what, count)?;
        let mut bytes = vec![0; count as usize];
        self.fill(what, &mut bytes)?;
        Ok(bytes)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(what, &mut bytes)?;
        Ok(bytes)
    }

    /// Moves on without reading.
    pub(crate) fn skip(&mut self, what: &str, count: u64) -> Result<(), Error> {
        self.need(what, count)?;
        self.at += count;
        Ok(())
    }

    /// Reads exactly as much as `into` takes.
    pub(crate) fn fill(&mut self, what: &str, into: &mut [u8]) -> Result<(), Error> {
        let count = into.len() as u64;
        self.need(what, count)?;
        let read = |source| Error::Read { path: self.path.to_path_buf(), source };
        if count > AHEAD {
            self.source.read_at(self.at, into).map_err(read)?;
        } else {
            let buffered = self.buffer_at + self.buffer.len() as u64;
            if self.at < self.buffer_at || self.at + count > buffered {
                self.buffer.resize(AHEAD.min(self.end - self.at) as usize, 0);
                self.source.read_at(self.at, &mut self.buffer).map_err(read)?;
                self.buffer_at = self.at;
            }
            let from = (self.at - self.buffer_at) as usize;
            into.copy_from_slice(&self.buffer[from..from + into.len()]);
        }
        self.at += count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_in_pieces_of_any_size() {
        let bytes: Vec<u8> = (0..300_000u32).map(|x| (x % 251) as u8).collect();
        let source = Source::Bytes(bytes.clone());
        let mut cursor = Cursor::new(&source, Path::new("x"), "test", bytes.len() as u64);
        let (mut at, mut step) = (0usize, 1usize);
        while at < bytes.len() {
            let count = step.min(bytes.len() - at);
            assert_eq!(cursor.bytes("a piece", count as u64).unwrap(), bytes[at..at + count]);
            at += count;
            step = step * 3 % 100_003;
            let skipped = (bytes.len() - at).min(7);
            cursor.skip("a gap", skipped as u64).unwrap();
            at += skipped;
            assert_eq!(cursor.at(), at as u64);
        }
        assert_eq!(cursor.remaining(), 0);
    }

    #[test]
    fn more_than_is_left_is_refused_before_anything_is_allocated() {
        let source = Source::Bytes(vec![0; 10]);
        let mut cursor = Cursor::new(&source, Path::new("x"), "test", 10);
        let error = cursor.bytes("a name", u64::MAX).unwrap_err().to_string();
        assert!(error.contains("a name at byte 0") && error.contains("10 are left"), "{error}");
        assert!(cursor.need_each("entries", u64::MAX, 13).is_err());
        assert!(cursor.skip("a gap", 11).is_err() && cursor.array::<11>("it").is_err());
        assert_eq!(cursor.array::<10>("it").unwrap(), [0; 10]);
    }
}

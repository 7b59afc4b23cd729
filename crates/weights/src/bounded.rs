//! Reading that cannot go past what is there: a file whose length is known, and a cursor over bytes.
//!
//! Nothing is allocated before it is known that the file holds as much.

use std::io;
use std::path::Path;

use crate::Error;
use crate::source::Source;

/// Why something cannot be read, before it is known of which file or tensor that is to be said.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The system refused to read.
    Io(io::Error),
    /// The bytes are not what the format asks for.
    Bad(String),
}

impl Fault {
    /// As the fault of a whole file.
    pub(crate) fn in_file(self, path: &Path, format: &'static str) -> Error {
        let path = path.to_path_buf();
        match self {
            Fault::Io(source) => Error::Read { path, source },
            Fault::Bad(reason) => Error::BadFile { path, format, reason },
        }
    }

    /// As the fault of one tensor.
    pub(crate) fn in_tensor(self, path: &Path, tensor: &str) -> Error {
        let path = path.to_path_buf();
        match self {
            Fault::Io(source) => Error::Read { path, source },
            Fault::Bad(reason) => Error::BadTensor { path, tensor: tensor.to_string(), reason },
        }
    }

    /// The same fault, with the place before the reason.
    pub(crate) fn at(self, place: &str) -> Fault {
        match self {
            Fault::Bad(reason) => Fault::Bad(format!("{place}: {reason}")),
            io => io,
        }
    }
}

/// A fault of the bytes.
pub(crate) fn bad<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Bad(reason.into()))
}

/// A file and its length.
#[derive(Debug)]
pub(crate) struct Disk {
    source: Source,
    len: u64,
}

impl Disk {
    /// Opens a regular file.
    pub(crate) fn open(path: &Path) -> Result<Disk, Fault> {
        let (source, len) = Source::open(path)?;
        Ok(Disk { source, len })
    }

    /// The same for bytes in memory.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Disk {
        let len = bytes.len() as u64;
        Disk { source: Source::Bytes(bytes), len }
    }

    /// Bytes in the file.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file holds these bytes; `what` they are is for the message.
    pub(crate) fn check(&self, offset: u64, len: u64, what: &str) -> Result<(), Fault> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => bad(format!(
                "{what} should be {len} bytes at {offset}, and the file has {} bytes: cut short?",
                self.len
            )),
        }
    }

    /// `len` bytes from `offset` on.
    pub(crate) fn bytes(&self, offset: u64, len: u64, what: &str) -> Result<Vec<u8>, Fault> {
        self.check(offset, len, what)?;
        let mut bytes = vec![0; len as usize];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `into` from `offset` on.
    pub(crate) fn read_into(&self, offset: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.source.read_at(offset, into).map_err(Fault::Io)
    }
}

/// A place in bytes that moves forward as they are taken.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    what: &'a str,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`; `what` they are is for the message.
    pub(crate) fn new(bytes: &'a [u8], what: &'a str) -> Cursor<'a> {
        Cursor { rest: bytes, what }
    }

    /// What has not been taken yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => bad(format!("{} ends too early", self.what)),
        }
    }

    /// The next `N` bytes.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// One byte.
    pub(crate) fn u8(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, little-endian, as all numbers here.
    pub(crate) fn u16(&mut self) -> Result<u16, Fault> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes.
    pub(crate) fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes.
    pub(crate) fn u64(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A number of 1 to 8 bytes.
    pub(crate) fn uint(&mut self, width: usize) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        match bytes.get_mut(..width) {
            Some(part) => part.copy_from_slice(self.take(width)?),
            None => return bad(format!("{} holds a number of {width} bytes", self.what)),
        }
        Ok(u64::from_le_bytes(bytes))
    }

    /// A number in groups of seven bits, the lowest first, each byte but the last with its high bit set.
    pub(crate) fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bad(format!("{} holds a number of more than 64 bits", self.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_takes_what_is_there_and_no_more() {
        let bytes = [1, 2, 0, 3, 0, 0, 0, 0xac, 0x02, 9];
        let mut cursor = Cursor::new(&bytes, "a test");
        assert_eq!(cursor.u8().unwrap(), 1);
        assert_eq!(cursor.u16().unwrap(), 2);
        assert_eq!(cursor.clone().uint(3).unwrap(), 3);
        assert_eq!(cursor.u32().unwrap(), 3);
        assert_eq!(cursor.varint().unwrap(), 300);
        assert!(matches!(cursor.u64(), Err(Fault::Bad(reason)) if reason == "a test ends too early"));
        assert_eq!(cursor.rest(), [9]);
        assert!(cursor.uint(9).is_err());
        assert!(Cursor::new(&[0xff; 11], "a test").varint().is_err());
    }

    #[test]
    fn a_file_is_not_read_beyond_its_end() {
        let disk = Disk::from_bytes(vec![1, 2, 3, 4]);
        assert_eq!(disk.bytes(1, 3, "x").unwrap(), [2, 3, 4]);
        for (offset, len) in [(1, 4), (5, 0), (u64::MAX, 1), (0, u64::MAX)] {
            assert!(disk.bytes(offset, len, "x").is_err(), "{offset} {len}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Disk::open(folder.path()), Err(Fault::Bad(_))));
    }
}

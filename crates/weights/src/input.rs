//! A file being opened: its bytes, its length, and the errors that name it.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::source::Source;

/// An open file of some format, of which nothing is read beyond its end and nothing allocated that it does not hold.
#[derive(Debug)]
pub(crate) struct Input {
    pub path: PathBuf,
    /// The format's name, for the messages.
    pub format: &'static str,
    /// In bytes.
    pub len: u64,
    source: Source,
}

impl Input {
    /// Opens a file on disk.
    pub fn open(path: &Path, format: &'static str) -> Result<Input, Error> {
        let (source, len) = Source::open(path).map_err(|fault| fault.in_file(path, format))?;
        Ok(Input { path: path.to_path_buf(), format, len, source })
    }

    /// The same for a file already in memory; `path` only serves the messages.
    pub fn from_bytes(path: &Path, format: &'static str, bytes: Vec<u8>) -> Input {
        Input { path: path.to_path_buf(), format, len: bytes.len() as u64, source: Source::Bytes(bytes) }
    }

    /// Fills `into` from `at` on; what lies beyond the end of the file is an error.
    pub fn fill(&self, at: u64, into: &mut [u8]) -> Result<(), Error> {
        self.source.read_at(at, into).map_err(|source| Error::Read { path: self.path.clone(), source })
    }

    /// The `len` bytes from `at` on, of `what`.
    pub fn bytes(&self, at: u64, len: u64, what: &str) -> Result<Vec<u8>, Error> {
        self.check(at, len, what)?;
        let mut bytes = vec![0; len as usize];
        self.fill(at, &mut bytes)?;
        Ok(bytes)
    }

    /// Whether `len` bytes of `what` lie within the file from `at` on.
    pub fn check(&self, at: u64, len: u64, what: &str) -> Result<(), Error> {
        match at.checked_add(len) {
            Some(end) if end <= self.len && usize::try_from(len).is_ok() => Ok(()),
            _ => Err(self.bad(format!(
                "{what} ({len} bytes from {at}) lies outside the {} bytes of the file: cut short?",
                self.len
            ))),
        }
    }

    /// The error that the whole file is not what its format asks for.
    pub fn bad(&self, reason: impl Into<String>) -> Error {
        Error::BadFile { path: self.path.clone(), format: self.format, reason: reason.into() }
    }

    /// The error that one tensor is not what it should be.
    pub fn bad_tensor(&self, tensor: &str, reason: impl Into<String>) -> Error {
        Error::BadTensor { path: self.path.clone(), tensor: tensor.to_string(), reason: reason.into() }
    }

    /// The error that there is no such tensor.
    pub fn no_tensor(&self, tensor: &str) -> Error {
        Error::NoTensor { path: self.path.clone(), tensor: tensor.to_string() }
    }

    /// The error that a tensor holds numbers that are no weights.
    pub fn wrong_dtype(&self, tensor: &str, got: impl Into<String>) -> Error {
        Error::WrongDtype { path: self.path.clone(), tensor: tensor.to_string(), got: got.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let input = Input::from_bytes(Path::new("x"), "test", vec![1, 2, 3, 4]);
        assert_eq!(input.bytes(1, 3, "it").unwrap(), [2, 3, 4]);
        assert!(input.bytes(4, 0, "it").unwrap().is_empty());
        for (at, len) in [(2, 3), (5, 0), (0, 5), (u64::MAX, 1), (0, u64::MAX), (1, u64::MAX)] {
            let error = input.bytes(at, len, "the part").unwrap_err().to_string();
            assert!(error.contains("the part") && error.contains("4 bytes of the file"), "{error}");
        }
        assert!(Input::open(&std::env::temp_dir(), "test").is_err());
    }
}

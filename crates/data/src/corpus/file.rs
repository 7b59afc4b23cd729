//! A file that is read from any place, by several threads at once, and never mapped: what is mapped counts as resident.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
#[cfg(any(not(unix), test))]
use std::sync::{Mutex, PoisonError};

use crate::{Error, Result};

/// A file and its length when it was opened.
#[derive(Debug)]
pub(super) struct Positioned {
    path: PathBuf,
    length: u64,
    /// Open, unless the corpus has so many files that handles would run out: then it is opened for each reading.
    open: Option<File>,
    /// Where a place and a reading are two calls, no other thread may come between.
    #[cfg(not(unix))]
    turn: Mutex<()>,
}

impl Positioned {
    /// Opens a file; `keep` says whether it stays open.
    pub fn open(path: &Path, keep: bool) -> Result<Self> {
        let failed = |source| Error::Read { path: path.into(), source };
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        Ok(Self {
            path: path.into(),
            length,
            open: keep.then_some(file),
            #[cfg(not(unix))]
            turn: Mutex::new(()),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Fills `into` with the bytes from `at` on.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before.
    pub fn read_exact(&self, mut at: u64, mut into: &mut [u8]) -> io::Result<()> {
        while !into.is_empty() {
            match self.read(at, into) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => {
                    at += got as u64;
                    into = &mut into[got..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads some bytes from `at` on; 0 at the end of the file.
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        match &self.open {
            Some(file) => self.read_from(file, at, into),
            None => self.read_from(&File::open(&self.path)?, at, into),
        }
    }

    #[cfg(unix)]
    fn read_from(&self, file: &File, at: u64, into: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(file, into, at)
    }

    #[cfg(not(unix))]
    fn read_from(&self, file: &File, at: u64, into: &mut [u8]) -> io::Result<usize> {
        seek_and_read(&self.turn, file, at, into)
    }

    /// A reader that begins at `at`.
    pub fn reader(&self, at: u64) -> Reader<'_> {
        Reader { file: self, at }
    }
}

/// Goes to a place and reads, while no other thread does.
#[cfg(any(not(unix), test))]
fn seek_and_read(turn: &Mutex<()>, mut file: &File, at: u64, into: &mut [u8]) -> io::Result<usize> {
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(SeekFrom::Start(at))?;
    file.read(into)
}

/// Reads a [`Positioned`] on from a place of its own.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    file: &'a Positioned,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read(self.at, into)?;
        self.at += got as u64;
        Ok(got)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.file.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_reading_find_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"0123456789").unwrap();
        let plain = File::open(&path).unwrap();
        for keep in [true, false] {
            let file = Positioned::open(&path, keep).unwrap();
            assert_eq!((file.length(), file.path()), (10, path.as_path()));
            let mut seen = 0;
            for at in [7, 0, 3, 9, 10, 12] {
                let (mut one, mut other) = ([0; 3], [0; 3]);
                let got = file.read(at, &mut one).unwrap();
                assert_eq!(got, seek_and_read(&Mutex::new(()), &plain, at, &mut other).unwrap());
                assert_eq!(one, other, "at {at}");
                assert_eq!(got, 3.min(10usize.saturating_sub(at as usize)));
                seen += 1;
            }
            assert_eq!(seen, 6);
            let error = file.read_exact(8, &mut [0; 3]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            let mut reader = file.reader(2);
            assert_eq!(reader.seek(SeekFrom::Current(2)).unwrap(), 4);
            let mut rest = String::new();
            reader.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "456789");
            assert_eq!(reader.seek(SeekFrom::End(-1)).unwrap(), 9);
            assert!(reader.seek(SeekFrom::Current(-10)).is_err());
        }
    }
}

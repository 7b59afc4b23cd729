//! The bytes of a file of vectors, in order and unpacked where they are gzip; says what is missing where they end.

use std::fs::File;
use std::io::{BufRead, BufReader, Chain, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::Error;

/// How much of a file is looked at to recognise its format.
pub(super) const HEAD: usize = 64 << 10;

/// How many bytes memory is asked for at a time, where nothing says how many a packed file will give.
const STEP: usize = 4 << 20;

/// The mark that some programs put before UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// An open file, at its start.
pub(super) struct Stream {
    path: PathBuf,
    /// The format's name, for messages.
    pub format: &'static str,
    source: Bytes,
    /// Bytes of the file, where it is not packed.
    len: Option<u64>,
    at: u64,
}

type Unpacked = BufReader<MultiGzDecoder<BufReader<File>>>;

enum Bytes {
    Plain(BufReader<File>),
    Packed(Chain<Cursor<Vec<u8>>, Box<Unpacked>>),
}

impl Stream {
    /// Opens a file and gives its first [`HEAD`] bytes, unpacked.
    pub fn open(path: &Path) -> Result<(Stream, Vec<u8>), Error> {
        let failed = |source| Error::Read { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(ErrorKind::IsADirectory.into()));
        }
        let mut plain = BufReader::with_capacity(1 << 20, file);
        let packed = plain.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
        let mut head = Vec::new();
        let source = if packed {
            let mut unpacked = Box::new(BufReader::with_capacity(1 << 20, MultiGzDecoder::new(plain)));
            unpacked.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(failed)?;
            Bytes::Packed(Cursor::new(head.clone()).chain(unpacked))
        } else {
            plain.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(failed)?;
            plain.seek(SeekFrom::Start(0)).map_err(failed)?;
            Bytes::Plain(plain)
        };
        let len = (!packed && metadata.is_file()).then_some(metadata.len());
        let mut stream = Stream { path: path.to_path_buf(), format: "vector", source, len, at: 0 };
        if head.starts_with(MARK) {
            stream.field::<3>("the byte order mark")?;
            head.drain(..MARK.len());
        }
        Ok((stream, head))
    }

    fn reader(&mut self) -> &mut dyn BufRead {
        match &mut self.source {
            Bytes::Plain(reader) => reader,
            Bytes::Packed(reader) => reader,
        }
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::Read { path: self.path.clone(), source }
    }

    /// Bytes that are still to come, where the file's length says so.
    pub fn left(&self) -> Option<u64> {
        self.len.map(|len| len.saturating_sub(self.at))
    }

    /// Bytes read so far, unpacked.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// An error about the whole file.
    pub fn bad(&self, reason: impl Into<String>) -> Error {
        Error::BadFile { path: self.path.clone(), format: self.format, reason: reason.into() }
    }

    /// An error about a line.
    pub fn bad_line(&self, line: usize, reason: impl Into<String>) -> Error {
        Error::BadLine { path: self.path.clone(), line, reason: reason.into() }
    }

    fn ends_early(&self, what: &str) -> Error {
        self.bad(format!("it ends at byte {} in the middle of {what}: the file is cut short", self.at))
    }

    /// Appends up to `most` bytes; fewer only at the end of the file.
    pub fn append(&mut self, into: &mut Vec<u8>, most: usize) -> Result<usize, Error> {
        let got = self.reader().take(most as u64).read_to_end(into);
        let got = got.map_err(|source| self.failed(source))?;
        self.at += got as u64;
        Ok(got)
    }

    /// Fills `into`, which is part of `what`.
    pub fn exact(&mut self, into: &mut [u8], what: &str) -> Result<(), Error> {
        match self.reader().read_exact(into) {
            Ok(()) => {
                self.at += into.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                self.at = self.len.unwrap_or(self.at);
                Err(self.ends_early(what))
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// A field of so many bytes.
    pub fn field<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.exact(&mut bytes, what)?;
        Ok(bytes)
    }

    /// A little-endian 32-bit integer.
    pub fn int(&mut self, what: &str) -> Result<i32, Error> {
        Ok(i32::from_le_bytes(self.field(what)?))
    }

    /// A little-endian 64-bit integer.
    pub fn long(&mut self, what: &str) -> Result<i64, Error> {
        Ok(i64::from_le_bytes(self.field(what)?))
    }

    /// A truth value in a byte.
    pub fn flag(&mut self, what: &str) -> Result<bool, Error> {
        match self.field::<1>(what)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(self.bad(format!("{what} is {other}, expected 0 or 1"))),
        }
    }

    /// The bytes up to `end`, which is read and left out; at most `most` of them.
    pub fn until(&mut self, end: u8, most: usize, what: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = self.reader().take(most as u64 + 1).read_until(end, &mut bytes);
        self.at += read.map_err(|source| self.failed(source))? as u64;
        if bytes.pop_if(|last| *last == end).is_some() {
            return Ok(bytes);
        }
        if bytes.len() > most {
            return Err(self.bad(format!("{what} is longer than {most} bytes")));
        }
        Err(self.ends_early(what))
    }

    /// Whether `bytes` more bytes can be there at all.
    pub fn expect(&self, bytes: u128, what: &str) -> Result<(), Error> {
        match self.left() {
            Some(left) if bytes > u128::from(left) => Err(self.bad(format!(
                "{what} takes {bytes} bytes, and {left} are left: the file is cut short or its header lies"
            ))),
            _ => Ok(()),
        }
    }

    /// So many bytes. Memory is taken as they come.
    pub fn bytes(&mut self, count: u64, what: &str) -> Result<Vec<u8>, Error> {
        self.expect(u128::from(count), what)?;
        let mut bytes = Vec::new();
        let mut left = usize::try_from(count).map_err(|_| self.bad(format!("{what} takes {count} bytes")))?;
        while left > 0 {
            let step = left.min(STEP);
            let from = bytes.len();
            bytes.resize(from + step, 0);
            self.exact(&mut bytes[from..], what)?;
            left -= step;
        }
        Ok(bytes)
    }

    /// So many little-endian 32-bit floating point numbers. Memory is taken as they come.
    pub fn floats(&mut self, count: u64, what: &str) -> Result<Vec<f32>, Error> {
        self.expect(u128::from(count) * 4, what)?;
        let mut values: Vec<f32> = Vec::new();
        let mut left =
            usize::try_from(count).map_err(|_| self.bad(format!("{what} holds {count} numbers")))?;
        if self.len.is_some() {
            values.reserve_exact(left);
        }
        while left > 0 {
            let step = left.min(STEP / 4);
            let from = values.len();
            values.resize(from + step, 0.0);
            self.exact(bytemuck::cast_slice_mut(&mut values[from..]), what)?;
            left -= step;
        }
        if cfg!(target_endian = "big") {
            values.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits().swap_bytes()));
        }
        Ok(values)
    }

    /// Passes over so many bytes.
    pub fn skip(&mut self, count: u64, what: &str) -> Result<(), Error> {
        self.expect(u128::from(count), what)?;
        match &mut self.source {
            Bytes::Plain(reader) if self.len.is_some() => {
                let offset = i64::try_from(count).map_err(|_| ErrorKind::InvalidData.into());
                let sought = offset.and_then(|offset| reader.seek_relative(offset));
                sought.map_err(|source| self.failed(source))?;
                self.at += count;
            }
            _ => {
                let passed = std::io::copy(&mut self.reader().take(count), &mut std::io::sink());
                let passed = passed.map_err(|source| self.failed(source))?;
                self.at += passed;
                if passed < count {
                    return Err(self.ends_early(what));
                }
            }
        }
        Ok(())
    }

    /// Whether nothing but blank space follows.
    pub fn is_spent(&mut self) -> Result<bool, Error> {
        let mut rest = Vec::new();
        self.append(&mut rest, 64)?;
        Ok(rest.len() < 64 && rest.iter().all(u8::is_ascii_whitespace))
    }
}

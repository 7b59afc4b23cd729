//! NumPy archives (`np.savez`, `np.savez_compressed`): a ZIP archive with a `.npy` file for each array.
//!
//! Read are 16, 32 and 64-bit floating-point arrays of either byte order, row-major or in Fortran order; all others are
//! listed and refused when they are asked for. An array of objects is a pickle, which is never looked into.
//! A compressed array grows in memory only as far as its own header and the archive's directory agree that it does.
//!
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>

mod header;

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;

use self::header::Header;
use crate::format::Format;
use crate::input::Input;
use crate::strided::Strided;
use crate::zip::{self, Entry, Method};
use crate::{Error, TensorFile, convert};

/// The entry of NumPy archives.
pub const NPZ: Format = Format {
    name: "npz",
    summary: "what np.savez and np.savez_compressed write",
    link: "https://numpy.org/doc/stable/reference/generated/numpy.savez.html",
    files: &["*.npz"],
    is: |_, head| zip::first_name(head).is_some_and(|name| name.ends_with(".npy")),
    open: |path| Ok(Box::new(NpzFile::open(path)?)),
};

/// The name of this format in messages.
const NAME: &str = "NumPy .npz";

/// An open NumPy archive: the headers of its arrays checked, the numbers still on disk.
#[derive(Debug)]
pub struct NpzFile {
    input: Input,
    /// Sorted by place in the file.
    arrays: Vec<(String, Array)>,
    by_name: HashMap<String, usize>,
}

#[derive(Debug)]
struct Array {
    entry: Entry,
    header: Header,
    /// How the numbers lie, for numbers of a known width.
    layout: Option<Strided>,
}

impl NpzFile {
    /// Opens a file and checks the header of each array against the length it has in the archive.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::BadFile`], [`Error::BadTensor`].
    pub fn open(path: impl AsRef<Path>) -> Result<NpzFile, Error> {
        NpzFile::from_input(Input::open(path.as_ref(), NAME)?)
    }

    /// The same for a file already in memory; `path` only serves the messages.
    ///
    /// # Errors
    /// As [`NpzFile::open`].
    pub fn from_bytes(path: impl AsRef<Path>, bytes: Vec<u8>) -> Result<NpzFile, Error> {
        NpzFile::from_input(Input::from_bytes(path.as_ref(), NAME, bytes))
    }

    fn from_input(input: Input) -> Result<NpzFile, Error> {
        let mut arrays = Vec::new();
        for entry in zip::entries(&input)? {
            let Some(name) = entry.name.strip_suffix(".npy") else {
                return Err(input.bad(format!("it holds \"{}\", which is no array", entry.name)));
            };
            let name = name.to_string();
            let array = Array::new(&input, entry).map_err(|reason| input.bad_tensor(&name, reason))?;
            arrays.push((name, array));
        }
        if arrays.is_empty() {
            return Err(input.bad("it holds no array"));
        }
        arrays.sort_by_key(|(_, array)| array.entry.start);
        let by_name = arrays.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        Ok(NpzFile { input, arrays, by_name })
    }

    fn array(&self, name: &str) -> Option<&Array> {
        self.by_name.get(name).map(|&at| &self.arrays[at].1)
    }
}

impl TensorFile for NpzFile {
    fn path(&self) -> &Path {
        &self.input.path
    }

    fn names(&self) -> Vec<&str> {
        self.arrays.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.array(name).map(|array| array.header.shape.as_slice())
    }

    fn dtype(&self, name: &str) -> Option<String> {
        self.array(name).map(|array| array.header.format())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let Some(array) = self.array(name) else { return Err(self.input.no_tensor(name)) };
        let wrong = || self.input.wrong_dtype(name, array.header.format());
        let known = array.header.dtype.filter(|dtype| convert::width(*dtype).is_some());
        let (Some(dtype), Some(layout)) = (known, &array.layout) else { return Err(wrong()) };
        let mut bytes = array.unpack(&self.input).map_err(|reason| self.input.bad_tensor(name, reason))?;
        if array.header.big_endian {
            bytes.chunks_exact_mut(dtype.bitsize() / 8).for_each(<[u8]>::reverse);
        }
        let data = convert::to_f32(dtype, &bytes).ok_or_else(wrong)?;
        Ok(if layout.is_contiguous() { data } else { layout.gather(&data) })
    }
}

impl Array {
    fn new(input: &Input, entry: Entry) -> Result<Array, String> {
        let header = Header::read(&mut unpacked(input, &entry))?;
        let held = entry.len.checked_sub(header.len).ok_or("it ends within its header")?;
        let mut array = Array { entry, header, layout: None };
        let Some(dtype) = array.header.dtype else { return Ok(array) };
        let width = dtype.bitsize() / 8;
        let shape = array.header.shape.clone();
        let numbers = usize::try_from(held / width as u64).map_err(|_| "it is beyond this machine")?;
        let layout = match array.header.fortran {
            true => Strided::column_major(shape, numbers)?,
            false => Strided::row_major(shape, numbers)?,
        };
        if (layout.count() as u64).checked_mul(width as u64) != Some(held) {
            return Err(format!(
                "{dtype} of shape {:?} takes {} numbers, the archive says it has {held} bytes",
                layout.shape(),
                layout.count()
            ));
        }
        array.layout = Some(layout);
        Ok(array)
    }

    /// The bytes behind the header.
    fn unpack(&self, input: &Input) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        // One more than there should be, to see whether it goes on.
        let mut from = unpacked(input, &self.entry).take(self.entry.len.saturating_add(1));
        from.read_to_end(&mut bytes).map_err(|error| format!("it cannot be unpacked: {error}"))?;
        if bytes.len() as u64 != self.entry.len {
            let more = if bytes.len() as u64 > self.entry.len { "more" } else { "less" };
            return Err(format!("it unpacks to {more} than the {} bytes it is said to have", self.entry.len));
        }
        let mut crc = flate2::Crc::new();
        crc.update(&bytes);
        if crc.sum() != self.entry.crc && cfg!(not(fuzzing)) {
            return Err("its checksum is wrong: the file is damaged".to_string());
        }
        bytes.drain(..self.header.len as usize);
        Ok(bytes)
    }
}

/// The bytes of a file in the archive, one after the other.
fn unpacked<'i>(input: &'i Input, entry: &Entry) -> Box<dyn Read + 'i> {
    let packed = Part { input, at: entry.start, end: entry.start + entry.packed };
    match entry.method {
        Method::Stored => Box::new(packed),
        Method::Deflated => Box::new(flate2::read::DeflateDecoder::new(packed)),
    }
}

/// A part of a file, read from its start to its end.
struct Part<'i> {
    input: &'i Input,
    at: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = (self.end - self.at).min(into.len() as u64) as usize;
        self.input.fill(self.at, &mut into[..len]).map_err(|error| io::Error::other(error.to_string()))?;
        self.at += len as u64;
        Ok(len)
    }
}

#[cfg(test)]
#[path = "npz_tests.rs"]
mod tests;

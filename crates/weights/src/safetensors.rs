//! Safetensors files in and out.
//!
//! Format: 8 bytes of header length, a JSON header (name, number format, shape, offsets), the numbers.
//! <https://github.com/huggingface/safetensors#format>
//!
//! The `safetensors` crate decides what is sound; when it refuses a header, we look again to say which
//! tensor is wrong and how. A file is not mapped into memory: the numbers are copied once into the model in
//! any case, and a mapped file that another process cuts short would kill ours. Only the header is read at
//! opening, each tensor when it is asked for, and nothing is allocated that the file does not really hold.

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use ::safetensors::Dtype;
use ::safetensors::tensor::{Metadata, TensorInfo};

use crate::source::Source;
use crate::{Error, TensorFile, atomic, convert};

/// Longest header read, in bytes; the same bound as the reference reader's.
const MAX_HEADER: u64 = 100_000_000;

/// An open safetensors file: the header checked, the numbers still on disk.
#[derive(Debug)]
pub struct SafeTensorsFile {
    path: PathBuf,
    source: Source,
    /// Where the numbers start, in bytes from the start of the file.
    data_start: u64,
    /// Sorted by place in the file, so that reading all of them in order is one pass over it.
    tensors: Vec<(String, TensorInfo)>,
    by_name: HashMap<String, usize>,
    metadata: Vec<(String, String)>,
}

impl TensorFile for SafeTensorsFile {
    fn path(&self) -> &Path {
        SafeTensorsFile::path(self)
    }

    fn names(&self) -> Vec<&str> {
        SafeTensorsFile::names(self).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        SafeTensorsFile::shape(self, name)
    }

    fn dtype(&self, name: &str) -> Option<String> {
        SafeTensorsFile::dtype(self, name)
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        self.read_unchecked(name)
    }
}

impl SafeTensorsFile {
    /// Opens a file and checks its header against itself and against the file's length.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::BadFile`], [`Error::BadTensor`].
    pub fn open(path: impl AsRef<Path>) -> Result<SafeTensorsFile, Error> {
        let path = path.as_ref();
        let (source, len) = Source::open(path).map_err(|fault| fault.in_file(path, "safetensors"))?;
        SafeTensorsFile::from_source(path, source, len)
    }

    /// The same for a file already in memory; `path` only serves the messages.
    ///
    /// # Errors
    /// [`Error::BadFile`], [`Error::BadTensor`].
    pub fn from_bytes(path: impl AsRef<Path>, bytes: Vec<u8>) -> Result<SafeTensorsFile, Error> {
        let len = bytes.len() as u64;
        SafeTensorsFile::from_source(path.as_ref(), Source::Bytes(bytes), len)
    }

    fn from_source(path: &Path, source: Source, file_len: u64) -> Result<SafeTensorsFile, Error> {
        let read = |source| Error::Read { path: path.to_path_buf(), source };
        if file_len < 8 {
            return Err(bad_file(path, format!("{file_len} bytes long, too short for a header")));
        }
        let mut length = [0; 8];
        source.read_at(0, &mut length).map_err(read)?;
        let header_len = u64::from_le_bytes(length);
        if header_len > MAX_HEADER {
            return Err(bad_file(path, format!("it claims a header of {header_len} bytes")));
        }
        if 8 + header_len > file_len {
            let reason =
                format!("it claims a header of {header_len} bytes and is {file_len} bytes long: cut short?");
            return Err(bad_file(path, reason));
        }
        let mut header = vec![0; header_len as usize];
        source.read_at(8, &mut header).map_err(read)?;
        let data_len = file_len - 8 - header_len;
        let metadata = parse_header(path, &header, data_len)?;

        let mut tensors: Vec<(String, TensorInfo)> =
            metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
        tensors.sort_by(|(a, x), (b, y)| (x.data_offsets, a).cmp(&(y.data_offsets, b)));
        let by_name = tensors.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        let mut pairs: Vec<(String, String)> =
            metadata.metadata().clone().unwrap_or_default().into_iter().collect();
        pairs.sort();
        Ok(SafeTensorsFile {
            path: path.to_path_buf(),
            source,
            data_start: 8 + header_len,
            tensors,
            by_name,
            metadata: pairs,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors' names, in the order of their numbers in the file.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.iter().map(|(name, _)| name.as_str())
    }

    /// A tensor's shape, or `None` when the file has no such tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.info(name).map(|info| info.shape.as_slice())
    }

    /// A tensor's number format as the file spells it (`F32`, `BF16`, `I64`).
    pub fn dtype(&self, name: &str) -> Option<String> {
        self.info(name).map(|info| info.dtype.to_string())
    }

    /// The file's own remarks (`format: pt`), sorted.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// Reads one tensor as `f32`, row-major; F16, BF16 and F64 are converted.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::WrongDtype`], [`Error::NotFinite`], [`Error::Read`].
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let data = self.read_unchecked(name)?;
        match convert::first_not_finite(&data) {
            None => Ok(data),
            Some(index) => Err(Error::NotFinite {
                path: self.path.clone(),
                tensor: name.to_string(),
                index,
                value: data[index],
            }),
        }
    }

    /// [`SafeTensorsFile::read`], numbers as they are.
    fn read_unchecked(&self, name: &str) -> Result<Vec<f32>, Error> {
        let Some(info) = self.info(name) else {
            return Err(Error::NoTensor { path: self.path.clone(), tensor: name.to_string() });
        };
        let wrong_dtype = || Error::WrongDtype {
            path: self.path.clone(),
            tensor: name.to_string(),
            got: info.dtype.to_string(),
        };
        if convert::width(info.dtype).is_none() {
            return Err(wrong_dtype());
        }
        let (start, end) = info.data_offsets;
        if info.dtype == Dtype::F32 && cfg!(target_endian = "little") {
            // Straight into its place: no second copy.
            let mut data = vec![0f32; (end - start) / 4];
            self.read_bytes(start, bytemuck::cast_slice_mut(&mut data))?;
            return Ok(data);
        }
        let mut bytes = vec![0u8; end - start];
        self.read_bytes(start, &mut bytes)?;
        convert::to_f32(info.dtype, &bytes).ok_or_else(wrong_dtype)
    }

    fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).map(|&at| &self.tensors[at].1)
    }

    fn read_bytes(&self, start: usize, into: &mut [u8]) -> Result<(), Error> {
        self.source
            .read_at(self.data_start + start as u64, into)
            .map_err(|source| Error::Read { path: self.path.clone(), source })
    }
}

/// A tensor to be written: its name, shape and numbers, row-major.
#[derive(Clone, Debug)]
pub struct Named<'a> {
    /// The name in the file.
    pub name: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// As many numbers as the shape says.
    pub data: std::borrow::Cow<'a, [f32]>,
}

/// Writes a safetensors file of `f32` tensors with the remark `format: pt`, atomically: the old file stands
/// until the new one is whole and on disk.
///
/// The tensors are laid out sorted by name, as the reference writer does, so the same tensors give the same
/// bytes in whatever order they come.
///
/// # Errors
/// [`Error::WrongLength`], [`Error::BadTensor`] for a name that comes twice, [`Error::Write`].
pub fn write(path: impl AsRef<Path>, tensors: &[Named]) -> Result<(), Error> {
    let path = path.as_ref();
    let (header, order) = header_of(path, tensors)?;
    atomic::write_with(path, |file| write_to(file, &header, &order))
}

/// The bytes [`write()`] would write.
///
/// # Errors
/// As [`write()`].
pub fn to_bytes(tensors: &[Named]) -> Result<Vec<u8>, Error> {
    let path = Path::new("memory");
    let (header, order) = header_of(path, tensors)?;
    let mut bytes = Vec::new();
    write_to(&mut bytes, &header, &order).map_err(|source| Error::Write {
        path: path.to_path_buf(),
        kept: "nothing was changed",
        source,
    })?;
    Ok(bytes)
}

/// The tensors sorted by name, each checked.
pub(crate) fn ordered<'t, 'a>(path: &Path, tensors: &'t [Named<'a>]) -> Result<Vec<&'t Named<'a>>, Error> {
    let mut order: Vec<&Named> = tensors.iter().collect();
    order.sort_by(|a, b| a.name.cmp(&b.name));
    for tensor in &order {
        if tensor.data.len() != tensor.shape.iter().product::<usize>() {
            return Err(Error::WrongLength {
                name: tensor.name.clone(),
                shape: tensor.shape.clone(),
                got: tensor.data.len(),
            });
        }
    }
    match order.windows(2).find(|pair| pair[0].name == pair[1].name) {
        None => Ok(order),
        Some(pair) => Err(Error::BadTensor {
            path: path.to_path_buf(),
            tensor: pair[0].name.clone(),
            reason: "it was to be written twice".to_string(),
        }),
    }
}

fn header_of<'t, 'a>(path: &Path, tensors: &'t [Named<'a>]) -> Result<(Vec<u8>, Vec<&'t Named<'a>>), Error> {
    let mut order: Vec<&Named> = tensors.iter().collect();
    order.sort_by(|a, b| a.name.cmp(&b.name));
    let mut entries = serde_json::Map::new();
    entries.insert("__metadata__".to_string(), serde_json::json!({ "format": "pt" }));
    let mut offset = 0usize;
    for tensor in &order {
        if tensor.data.len() != tensor.shape.iter().product::<usize>() {
            return Err(Error::WrongLength {
                name: tensor.name.clone(),
                shape: tensor.shape.clone(),
                got: tensor.data.len(),
            });
        }
        let end = offset + 4 * tensor.data.len();
        let entry =
            serde_json::json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": [offset, end] });
        if entries.insert(tensor.name.clone(), entry).is_some() {
            return Err(bad_tensor(path, &tensor.name, "it was to be written twice, or has a reserved name"));
        }
        offset = end;
    }
    let mut header = serde_json::Value::Object(entries).to_string().into_bytes();
    // The numbers start at a multiple of 8 bytes, so that readers may map them.
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok((header, order))
}

fn write_to(out: &mut dyn Write, header: &[u8], order: &[&Named]) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header)?;
    for tensor in order {
        out.write_all(&convert::le_bytes(&tensor.data))?;
    }
    out.flush()
}

fn bad_file(path: &Path, reason: impl Into<String>) -> Error {
    Error::BadFile { path: path.to_path_buf(), format: "safetensors", reason: reason.into() }
}

fn bad_tensor(path: &Path, tensor: &str, reason: impl Into<String>) -> Error {
    Error::BadTensor { path: path.to_path_buf(), tensor: tensor.to_string(), reason: reason.into() }
}

/// The header as the reference crate understands it, also checked against the length of the numbers.
fn parse_header(path: &Path, header: &[u8], data_len: u64) -> Result<Metadata, Error> {
    let text = std::str::from_utf8(header).map_err(|_| bad_file(path, "the header is not UTF-8"))?;
    if !text.starts_with('{') {
        return Err(bad_file(path, "the header is not a JSON object"));
    }
    match serde_json::from_str::<Metadata>(text) {
        // The crate checks the end of the numbers only with the whole file in memory, so we do.
        Ok(metadata) if metadata.data_len() as u64 == data_len => Ok(metadata),
        Ok(metadata) if (metadata.data_len() as u64) < data_len => {
            let unused = data_len - metadata.data_len() as u64;
            Err(bad_file(
                path,
                format!("{unused} bytes stand behind the last tensor: something was appended"),
            ))
        }
        Ok(_) => Err(diagnose(path, text, data_len).unwrap_or_else(|| bad_file(path, "it was cut short"))),
        Err(error) => {
            Err(diagnose(path, text, data_len).unwrap_or_else(|| bad_file(path, error.to_string())))
        }
    }
}

/// Finds the tensor that made the reference crate refuse a header, and says why in words.
fn diagnose(path: &Path, text: &str, data_len: u64) -> Option<Error> {
    let header: serde_json::Map<String, serde_json::Value> = match serde_json::from_str(text) {
        Ok(header) => header,
        Err(error) => return Some(bad_file(path, format!("the header is not JSON: {error}"))),
    };
    let mut spans = Vec::new();
    for (name, value) in header.iter().filter(|(name, _)| *name != "__metadata__") {
        let bad = |reason: String| Some(bad_tensor(path, name, reason));
        let info: TensorInfo = match serde_json::from_value(value.clone()) {
            Ok(info) => info,
            Err(error) => return bad(error.to_string()),
        };
        let (start, end) = info.data_offsets;
        let bits = info.shape.iter().try_fold(info.dtype.bitsize(), |bits, &dim| bits.checked_mul(dim));
        let bytes = match bits {
            Some(bits) if bits % 8 == 0 => bits / 8,
            Some(_) => return bad(format!("shape {:?} does not end on a whole byte", info.shape)),
            None => return bad(format!("shape {:?} is beyond any file", info.shape)),
        };
        if end < start || (end as u64) > data_len {
            return bad(format!(
                "its offsets {start}..{end} lie outside the {data_len} bytes of numbers in the file: cut short?"
            ));
        }
        if end - start != bytes {
            let (dtype, shape) = (info.dtype, info.shape);
            return bad(format!(
                "{dtype} of shape {shape:?} takes {bytes} bytes, its offsets give {}",
                end - start
            ));
        }
        spans.push((start, end, name));
    }
    spans.sort();
    let mut filled = 0;
    for (start, end, name) in spans {
        if start < filled {
            return Some(bad_tensor(path, name, "its numbers overlap those of another tensor"));
        }
        if start > filled {
            return Some(bad_tensor(path, name, format!("{} unused bytes stand before it", start - filled)));
        }
        filled = end;
    }
    None
}

#[cfg(test)]
#[path = "safetensors_tests.rs"]
mod tests;

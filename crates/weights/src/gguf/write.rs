//! Writes GGUF files that llama.cpp and its Python package read.

use std::collections::HashSet;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::kinds::{Kind, to_q8_0};
use super::value::{List, Metadata, Value};
use crate::{Error, Named, atomic};

/// Where tensors start: a multiple of so many bytes.
const ALIGNMENT: usize = 32;

/// The number format of the matrices of a file. What has one axis is `f32` in all of them, as in llama.cpp's own files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// As they are.
    F32,
    /// Rounded to 16 bits.
    F16,
    /// Rounded to 8 bits, 32 numbers to a scale. Rows that are no multiple of 32 are kept in `F16`.
    Q8_0,
}

impl Store {
    /// The number format of a tensor, and llama.cpp's number of it.
    fn of(self, shape: &[usize]) -> (Store, u32) {
        match (self, shape) {
            (Store::F32, _) | (_, [] | [_]) => (Store::F32, 0),
            (Store::Q8_0, [.., row]) if row % 32 == 0 => (Store::Q8_0, 8),
            _ => (Store::F16, 1),
        }
    }

    /// llama.cpp's number of a file of this kind.
    fn file_type(self) -> u32 {
        match self {
            Store::F32 => 0,
            Store::F16 => 1,
            Store::Q8_0 => 7,
        }
    }
}

/// Writes a file, atomically: the old file stands until the new one is whole and on disk. Tensors lie in the order they
/// come in; `general.alignment`, `general.file_type` and `general.quantization_version` are set here.
///
/// # Errors
/// [`Error::WrongLength`]; [`Error::BadTensor`] for a name that comes twice, more than four axes, or numbers that the
/// format cannot hold; [`Error::Write`].
pub fn write(
    path: impl AsRef<Path>,
    metadata: &Metadata,
    tensors: &[Named],
    store: Store,
) -> Result<(), Error> {
    let path = path.as_ref();
    let head = head(path, metadata, tensors, store)?;
    atomic::write_with(path, |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        out.write_all(&head)?;
        for tensor in tensors {
            let written = write_numbers(&mut out, tensor, store.of(&tensor.shape).0)?;
            out.write_all(&[0; ALIGNMENT][..written.next_multiple_of(ALIGNMENT) - written])?;
        }
        out.flush()
    })
}

/// Everything before the numbers.
fn head(path: &Path, metadata: &Metadata, tensors: &[Named], store: Store) -> Result<Vec<u8>, Error> {
    let mut metadata = metadata.clone();
    if metadata.get("general.alignment").is_some() {
        metadata.put("general.alignment", Value::U32(ALIGNMENT as u32));
    }
    metadata.put("general.file_type", Value::U32(store.file_type()));
    metadata.put("general.quantization_version", Value::U32(2));
    let mut head = b"GGUF".to_vec();
    head.extend(3u32.to_le_bytes());
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata.iter() {
        put_text(&mut head, key);
        put_value(&mut head, value);
    }
    let (mut offset, mut names) = (0, HashSet::new());
    for tensor in tensors {
        let bad = |reason: String| Error::BadTensor {
            path: path.to_path_buf(),
            tensor: tensor.name.clone(),
            reason,
        };
        if !names.insert(tensor.name.as_str()) {
            return Err(bad("it was to be written twice".to_string()));
        }
        if tensor.shape.len() > 4 {
            return Err(bad(format!("it has {} axes, expected at most 4", tensor.shape.len())));
        }
        if tensor.data.len() != tensor.shape.iter().product::<usize>() {
            let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
            return Err(Error::WrongLength { name, shape, got: tensor.data.len() });
        }
        let (stored, kind) = store.of(&tensor.shape);
        if let Some(at) = first_unfit(stored, &tensor.data) {
            return Err(bad(format!(
                "it holds {} at element {at}, which {stored:?} cannot",
                tensor.data[at]
            )));
        }
        put_text(&mut head, &tensor.name);
        head.extend((tensor.shape.len() as u32).to_le_bytes());
        for dim in tensor.shape.iter().rev() {
            head.extend((*dim as u64).to_le_bytes());
        }
        head.extend(kind.to_le_bytes());
        head.extend((offset as u64).to_le_bytes());
        let (block, bytes) = Kind::of(kind).map_or((1, 4), |kind| (kind.block, kind.bytes));
        offset += (tensor.data.len() / block * bytes).next_multiple_of(ALIGNMENT);
    }
    head.resize(head.len().next_multiple_of(ALIGNMENT), 0);
    Ok(head)
}

/// The first number that would not be one any more.
fn first_unfit(store: Store, data: &[f32]) -> Option<usize> {
    let fits = |x: f32| match store {
        Store::F32 => x.is_finite(),
        Store::F16 => half::f16::from_f32(x).is_finite(),
        // The scale is the largest number by 127.
        Store::Q8_0 => half::f16::from_f32(x / 127.0).is_finite(),
    };
    data.iter().position(|&x| !fits(x))
}

/// Writes a tensor's numbers and gives how many bytes they are.
fn write_numbers(out: &mut impl Write, tensor: &Named, store: Store) -> std::io::Result<usize> {
    match store {
        Store::F32 => {
            for x in tensor.data.iter() {
                out.write_all(&x.to_le_bytes())?;
            }
            Ok(4 * tensor.data.len())
        }
        Store::F16 => {
            for &x in tensor.data.iter() {
                out.write_all(&half::f16::from_f32(x).to_le_bytes())?;
            }
            Ok(2 * tensor.data.len())
        }
        Store::Q8_0 => {
            let (mut bytes, mut result) = (0, Ok(()));
            to_q8_0(&tensor.data, |block| {
                if result.is_ok() {
                    result = out.write_all(block);
                }
                bytes += block.len();
            });
            result.map(|()| bytes)
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    let mut put = |kind: u32, bytes: &[u8]| {
        out.extend(kind.to_le_bytes());
        out.extend(bytes);
    };
    match value {
        Value::U8(x) => put(0, &x.to_le_bytes()),
        Value::I8(x) => put(1, &x.to_le_bytes()),
        Value::U16(x) => put(2, &x.to_le_bytes()),
        Value::I16(x) => put(3, &x.to_le_bytes()),
        Value::U32(x) => put(4, &x.to_le_bytes()),
        Value::I32(x) => put(5, &x.to_le_bytes()),
        Value::F32(x) => put(6, &x.to_le_bytes()),
        Value::Bool(x) => put(7, &[u8::from(*x)]),
        Value::Text(x) => {
            put(8, &[]);
            put_text(out, x);
        }
        Value::List(x) => {
            put(9, &[]);
            put_list(out, x);
        }
        Value::U64(x) => put(10, &x.to_le_bytes()),
        Value::I64(x) => put(11, &x.to_le_bytes()),
        Value::F64(x) => put(12, &x.to_le_bytes()),
    }
}

fn put_list(out: &mut Vec<u8>, list: &List) {
    let mut begin = |kind: u32| {
        out.extend(kind.to_le_bytes());
        out.extend((list.len() as u64).to_le_bytes());
    };
    match list {
        List::U8(x) => {
            begin(0);
            out.extend(x);
        }
        List::I8(x) => {
            begin(1);
            out.extend(x.iter().flat_map(|x| x.to_le_bytes()));
        }
        List::U16(x) => {
            begin(2);
            out.extend(x.iter().flat_map(|x| x.to_le_bytes()));
        }
        List::I16(x) => {
            begin(3);
            out.extend(x.iter().flat_map(|x| x.to_le_bytes()));
        }
        List::U32(x) => {
            begin(4);
            out.extend(x.iter().flat_map(|x| x.to_le_bytes()));
        }
        List::I32(x) => {
            begin(5);
            out.extend(x.iter().flat_map(|x| x.to_le_bytes()));
        }
        List::F32(x) => {
            begin(6);
            out.extend(x.iter().flat_map(|x| x.to_le_bytes()));
        }
        List::Bool(x) => {
            begin(7);
            out.extend(x.iter().map(|x| u8::from(*x)));
        }
        List::Text(x) => {
            begin(8);
            x.iter().for_each(|x| put_text(out, x));
        }
        List::Lists(x) => {
            begin(9);
            x.iter().for_each(|x| put_list(out, x));
        }
        List::U64(x) => {
            begin(10);
            out.extend(x.iter().flat_map(|x| x.to_le_bytes()));
        }
        List::I64(x) => {
            begin(11);
            out.extend(x.iter().flat_map(|x| x.to_le_bytes()));
        }
        List::F64(x) => {
            begin(12);
            out.extend(x.iter().flat_map(|x| x.to_le_bytes()));
        }
    }
}

//! The head of a GGUF file: metadata and where each tensor lies. <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>

use std::collections::HashSet;

use super::kinds::Kind;
use super::value::{List, Metadata, Value};
use crate::Error;
use crate::cursor::Cursor;

/// Lists within lists, at most.
const DEPTH: usize = 8;

/// Axes of a tensor, at most; ggml's bound.
const AXES: u32 = 4;

/// What stands before the numbers.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: Metadata,
    /// Sorted by place.
    pub(super) tensors: Vec<Info>,
}

/// A tensor's entry.
#[derive(Debug)]
pub(super) struct Info {
    pub(super) name: String,
    /// Row-major: the file's dimensions from the last to the first.
    pub(super) shape: Vec<usize>,
    pub(super) kind: &'static Kind,
    /// Bytes from the start of the file.
    pub(super) start: u64,
    /// Bytes.
    pub(super) len: u64,
    /// Which of the files of a model in parts it lies in.
    pub(super) part: usize,
}

/// Reads and checks the head of a file.
pub(super) fn read(cursor: &mut Cursor) -> Result<Header, Error> {
    if cursor.remaining() < 4 || cursor.array::<4>("the magic")? != *b"GGUF" {
        return Err(cursor.bad("it does not begin with \"GGUF\""));
    }
    match u32::from_le_bytes(cursor.array("the version")?) {
        2 | 3 => {}
        version if version.swap_bytes() < 1 << 16 => {
            return Err(cursor.bad("it was written for big-endian machines: convert it to little-endian"));
        }
        version => return Err(cursor.bad(format!("it is of version {version}, expected 2 or 3"))),
    }
    let tensors = u64::from_le_bytes(cursor.array("the number of tensors")?);
    let pairs = u64::from_le_bytes(cursor.array("the number of metadata entries")?);
    // The least an entry takes: a key's length, a type, a byte; a name's length, axes, kind, offset.
    let pairs = cursor.need_each("metadata entries", pairs, 8 + 4 + 1)?;
    let tensors = cursor.need_each("tensors", tensors, 8 + 4 + 4 + 8)?;

    let mut metadata = Metadata::default();
    for _ in 0..pairs {
        let key = text(cursor, "a metadata key")?;
        let kind = u32::from_le_bytes(cursor.array("a metadata type")?);
        if metadata.get(&key).is_some() {
            return Err(cursor.bad(format!("the metadata key \"{key}\" stands there twice")));
        }
        let value = value(cursor, &key, kind)?;
        metadata.put(key, value);
    }
    let alignment = match metadata.get("general.alignment") {
        None => 32,
        Some(value) => match value.as_u64() {
            Some(bytes) if bytes.is_power_of_two() && bytes <= 1 << 20 => bytes,
            _ => return Err(cursor.bad(format!("its alignment is {value:?}, expected a power of two"))),
        },
    };

    let mut infos = Vec::new();
    let mut names = HashSet::new();
    for _ in 0..tensors {
        let info = info(cursor, alignment)?;
        if !names.insert(info.name.clone()) {
            return Err(cursor.bad(format!("the tensor \"{}\" stands there twice", info.name)));
        }
        infos.push(info);
    }
    let end = cursor.at() + cursor.remaining();
    let data_start = cursor.at().next_multiple_of(alignment);
    for info in &mut infos {
        let bad = |reason| Error::BadTensor {
            path: cursor.path().to_path_buf(),
            tensor: info.name.clone(),
            reason,
        };
        let start = data_start.checked_add(info.start);
        match start.and_then(|start| Some((start, start.checked_add(info.len)?))) {
            Some((start, stop)) if stop <= end => info.start = start,
            _ => {
                return Err(bad(format!(
                    "its {} bytes at {} lie outside the {} bytes of numbers in the file: cut short?",
                    info.len,
                    info.start,
                    end.saturating_sub(data_start)
                )));
            }
        }
    }
    infos.sort_by(|a, b| (a.start, a.len, &a.name).cmp(&(b.start, b.len, &b.name)));
    for pair in infos.windows(2) {
        if pair[0].start + pair[0].len > pair[1].start {
            let reason = format!("its numbers overlap those of \"{}\"", pair[0].name);
            let (path, tensor) = (cursor.path().to_path_buf(), pair[1].name.clone());
            return Err(Error::BadTensor { path, tensor, reason });
        }
    }
    Ok(Header { metadata, tensors: infos })
}

fn text(cursor: &mut Cursor, what: &str) -> Result<String, Error> {
    let at = cursor.at();
    let length = u64::from_le_bytes(cursor.array(what)?);
    String::from_utf8(cursor.bytes(what, length)?)
        .map_err(|_| cursor.bad(format!("{what} at byte {at} is not UTF-8")))
}

/// A tensor's entry, its start still counted from the first number.
fn info(cursor: &mut Cursor, alignment: u64) -> Result<Info, Error> {
    let name = text(cursor, "a tensor's name")?;
    let path = cursor.path().to_path_buf();
    let bad = |reason| Error::BadTensor { path: path.clone(), tensor: name.clone(), reason };
    let axes = u32::from_le_bytes(cursor.array("a tensor's axes")?);
    if axes > AXES {
        return Err(bad(format!("it has {axes} axes, expected at most {AXES}")));
    }
    let mut shape = Vec::new();
    for _ in 0..axes {
        let dim = u64::from_le_bytes(cursor.array("a tensor's shape")?);
        shape.push(usize::try_from(dim).map_err(|_| bad(format!("{dim} is beyond any file")))?);
    }
    let id = u32::from_le_bytes(cursor.array("a tensor's kind")?);
    let start = u64::from_le_bytes(cursor.array("a tensor's offset")?);
    let Some(kind) = Kind::of(id) else {
        let known = Kind::readable();
        return Err(bad(format!("its numbers are of kind {id}, which is none of {known}")));
    };
    let row = shape.first().copied().unwrap_or(1);
    if row % kind.block != 0 {
        return Err(bad(format!(
            "rows of {row} numbers are no whole blocks of {} ({})",
            kind.block, kind.name
        )));
    }
    if start % alignment != 0 {
        return Err(bad(format!("its offset {start} is no multiple of {alignment}")));
    }
    shape.reverse();
    // An axis of 0 must not hide what the others claim.
    let claimed = shape.iter().try_fold(1u64, |count, &dim| count.checked_mul(dim.max(1) as u64));
    let len = claimed.and_then(|count| (count / kind.block as u64).checked_mul(kind.bytes as u64));
    match len.map(|len| if shape.contains(&0) { 0 } else { len }) {
        Some(len) => Ok(Info { name, shape, kind, start, len, part: 0 }),
        None => Err(bad(format!("shape {shape:?} is beyond any file"))),
    }
}

fn value(cursor: &mut Cursor, key: &str, kind: u32) -> Result<Value, Error> {
    let what = "a metadata value";
    Ok(match kind {
        0 => Value::U8(u8::from_le_bytes(cursor.array(what)?)),
        1 => Value::I8(i8::from_le_bytes(cursor.array(what)?)),
        2 => Value::U16(u16::from_le_bytes(cursor.array(what)?)),
        3 => Value::I16(i16::from_le_bytes(cursor.array(what)?)),
        4 => Value::U32(u32::from_le_bytes(cursor.array(what)?)),
        5 => Value::I32(i32::from_le_bytes(cursor.array(what)?)),
        6 => Value::F32(f32::from_le_bytes(cursor.array(what)?)),
        7 => {
            let byte = u8::from_le_bytes(cursor.array(what)?);
            Value::Bool(boolean(cursor, key, byte)?)
        }
        8 => Value::Text(text(cursor, what)?),
        9 => Value::List(list(cursor, key, 1)?),
        10 => Value::U64(u64::from_le_bytes(cursor.array(what)?)),
        11 => Value::I64(i64::from_le_bytes(cursor.array(what)?)),
        12 => Value::F64(f64::from_le_bytes(cursor.array(what)?)),
        _ => return Err(unknown(cursor, key, kind)),
    })
}

fn unknown(cursor: &Cursor, key: &str, kind: u32) -> Error {
    cursor.bad(format!("the metadata of \"{key}\" is of type {kind}, expected 0 to 12"))
}

fn boolean(cursor: &Cursor, key: &str, byte: u8) -> Result<bool, Error> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(cursor.bad(format!("the metadata of \"{key}\" is {byte}, expected 0 or 1 (false, true)"))),
    }
}

fn list(cursor: &mut Cursor, key: &str, depth: usize) -> Result<List, Error> {
    /// Numbers of `N` bytes.
    fn numbers<const N: usize, T>(
        cursor: &mut Cursor,
        count: u64,
        number: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, Error> {
        let what = "values of a metadata list";
        cursor.need_each(what, count, N as u64)?;
        let bytes = cursor.bytes(what, count * N as u64)?;
        Ok(bytes.as_chunks().0.iter().map(|&raw| number(raw)).collect())
    }
    let kind = u32::from_le_bytes(cursor.array("the type of a metadata list")?);
    let count = u64::from_le_bytes(cursor.array("the length of a metadata list")?);
    Ok(match kind {
        0 => List::U8(numbers(cursor, count, u8::from_le_bytes)?),
        1 => List::I8(numbers(cursor, count, i8::from_le_bytes)?),
        2 => List::U16(numbers(cursor, count, u16::from_le_bytes)?),
        3 => List::I16(numbers(cursor, count, i16::from_le_bytes)?),
        4 => List::U32(numbers(cursor, count, u32::from_le_bytes)?),
        5 => List::I32(numbers(cursor, count, i32::from_le_bytes)?),
        6 => List::F32(numbers(cursor, count, f32::from_le_bytes)?),
        7 => {
            let bytes = numbers(cursor, count, u8::from_le_bytes)?;
            List::Bool(bytes.into_iter().map(|byte| boolean(cursor, key, byte)).collect::<Result<_, _>>()?)
        }
        8 => {
            let count = cursor.need_each("texts of a metadata list", count, 8)?;
            List::Text(
                (0..count).map(|_| text(cursor, "a text of a metadata list")).collect::<Result<_, _>>()?,
            )
        }
        9 if depth == DEPTH => {
            return Err(
                cursor.bad(format!("the metadata of \"{key}\" holds lists within lists beyond {DEPTH}"))
            );
        }
        9 => {
            let count = cursor.need_each("lists of a metadata list", count, 4 + 8)?;
            List::Lists((0..count).map(|_| list(cursor, key, depth + 1)).collect::<Result<_, _>>()?)
        }
        10 => List::U64(numbers(cursor, count, u64::from_le_bytes)?),
        11 => List::I64(numbers(cursor, count, i64::from_le_bytes)?),
        12 => List::F64(numbers(cursor, count, f64::from_le_bytes)?),
        _ => return Err(unknown(cursor, key, kind)),
    })
}

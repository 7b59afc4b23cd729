//! A row of a corpus, and reading one: the bytes that hold it and no others.

use std::io;

use super::layout::{Column, Kind, Layout, Span};

/// The largest text, in bytes; [`ReadOptions`](crate::ReadOptions) has the same limit for other files.
const LONGEST: u64 = 64 << 20;

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// There is none.
    Null,
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
}

/// A row of a corpus: the values of the columns asked for, in that order. Its texts may have room for twice their bytes
/// (`shrink_to_fit`, where very many are held).
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// A value for each column.
    pub values: Vec<Value>,
}

impl Record {
    /// The text of the first column; `None` if it is null or no text.
    pub fn text(&self) -> Option<&str> {
        match self.values.first() {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Bytes of all its texts.
    pub fn text_bytes(&self) -> u64 {
        let bytes = |value: &Value| if let Value::Text(text) = value { text.len() as u64 } else { 0 };
        self.values.iter().map(bytes).sum()
    }
}

/// Why a row cannot be read.
#[derive(Debug)]
pub(super) enum Fault {
    /// The system did not give the bytes.
    Io(io::Error),
    /// They are not what they should be.
    Wrong(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

/// Gives the bytes from a place of the file on.
pub(super) type Fetch<'a> = dyn FnMut(u64, &mut [u8]) -> io::Result<()> + 'a;

/// Reads row `at` of a batch that is not compressed. `at` is below its number of rows, so that with what was checked of the
/// layout only the values themselves can still be wrong.
pub(super) fn read(layout: &Layout, kinds: &[Kind], at: u64, fetch: &mut Fetch<'_>) -> Result<Record, Fault> {
    let mut values = Vec::with_capacity(kinds.len());
    for (column, kind) in layout.columns.iter().zip(kinds) {
        values.push(value(column, *kind, at, fetch)?);
    }
    Ok(Record { values })
}

fn value(column: &Column, kind: Kind, at: u64, fetch: &mut Fetch<'_>) -> Result<Value, Fault> {
    if let Some(validity) = column.validity
        && !bit(validity, at, fetch)?
    {
        return Ok(Value::Null);
    }
    let main = column.main.at;
    Ok(match kind {
        Kind::Text(width) => {
            let (from, to) = ends(column, width, at, at + 1, fetch)?;
            let from = column.texts.first().map_or(0, |texts| texts.at) + from;
            Value::Text(text(from, to, fetch)?)
        }
        Kind::View => view(column, at, fetch)?,
        Kind::Bool => Value::Bool(bit(column.main, at, fetch)?),
        Kind::Int(width) => {
            let bytes = number(main, width, at, fetch)?;
            // Shifted up and down again, so that the sign fills the rest.
            let unused = 64 - 8 * u32::from(width);
            Value::Int((bytes << unused).cast_signed() >> unused)
        }
        Kind::Unsigned(width) => {
            let number = number(main, width, at, fetch)?;
            let signed = i64::try_from(number);
            Value::Int(
                signed.map_err(|_| Fault::Wrong(format!("the number {number} is above {}", i64::MAX)))?,
            )
        }
        Kind::Float(4) => Value::Float(f32::from_bits(number(main, 4, at, fetch)? as u32).into()),
        Kind::Float(width) => Value::Float(f64::from_bits(number(main, width, at, fetch)?)),
    })
}

fn bit(bits: Span, at: u64, fetch: &mut Fetch<'_>) -> Result<bool, Fault> {
    let mut byte = [0];
    fetch(bits.at + at / 8, &mut byte)?;
    Ok((byte[0] >> (at % 8)) & 1 == 1)
}

/// A little-endian number of at most eight bytes.
fn number(from: u64, width: u8, at: u64, fetch: &mut Fetch<'_>) -> Result<u64, Fault> {
    let mut bytes = [0; 8];
    fetch(from + at * u64::from(width), &mut bytes[..usize::from(width)])?;
    Ok(u64::from_le_bytes(bytes))
}

/// Where the texts of the rows from `first` to before `end` begin in their buffer, and how many bytes they have together.
pub(super) fn ends(
    column: &Column,
    width: u8,
    first: u64,
    end: u64,
    fetch: &mut Fetch<'_>,
) -> Result<(u64, u64), Fault> {
    let main = column.main.at;
    let (from, to) = if end == first + 1 {
        // Neighbours: one reading.
        let mut both = [0; 16];
        let width = usize::from(width);
        fetch(main + first * width as u64, &mut both[..2 * width])?;
        let (mut a, mut b) = ([0; 8], [0; 8]);
        a[..width].copy_from_slice(&both[..width]);
        b[..width].copy_from_slice(&both[width..2 * width]);
        (u64::from_le_bytes(a), u64::from_le_bytes(b))
    } else {
        (number(main, width, first, fetch)?, number(main, width, end, fetch)?)
    };
    let held = column.texts.first().map_or(0, |texts| texts.bytes);
    // An offset of less than nothing is here one of more than there is.
    if from > to || to > held {
        return Err(Fault::Wrong(format!(
            "its offsets say that the text lies from {from} to {to} of {held} bytes; the file is damaged"
        )));
    }
    Ok((from, to - from))
}

fn view(column: &Column, at: u64, fetch: &mut Fetch<'_>) -> Result<Value, Fault> {
    let mut view = [0; 16];
    fetch(column.main.at + 16 * at, &mut view)?;
    let four = |at: usize| u32::from_le_bytes([view[at], view[at + 1], view[at + 2], view[at + 3]]);
    let bytes = four(0) as usize;
    if bytes <= 12 {
        return Ok(Value::Text(utf8(view[4..4 + bytes].to_vec())?));
    }
    let (buffer, from, bytes) = (four(8), u64::from(four(12)), bytes as u64);
    let span = column.texts.get(buffer as usize).filter(|span| from + bytes <= span.bytes);
    let Some(span) = span else {
        return Err(Fault::Wrong(format!(
            "its view leads to {bytes} bytes at {from} of buffer {buffer}, which are not there; the file is damaged"
        )));
    };
    let text = text(span.at + from, bytes, fetch)?;
    if text.as_bytes()[..4] != view[4..8] {
        return Err(Fault::Wrong("its view begins otherwise than its text; the file is damaged".into()));
    }
    Ok(Value::Text(text))
}

/// A text that lies inside a buffer of the file, so that it takes no more memory than the file has bytes.
fn text(from: u64, bytes: u64, fetch: &mut Fetch<'_>) -> Result<String, Fault> {
    if bytes > LONGEST {
        return Err(Fault::Wrong(format!(
            "a text of {bytes} bytes is longer than {LONGEST}; cut it into several"
        )));
    }
    // Room for a power of two: texts of all lengths would leave an allocator, which sets apart memory for each of its sizes, with
    // more memory than all of this takes.
    let mut text = Vec::with_capacity((bytes as usize).next_power_of_two());
    text.resize(bytes as usize, 0);
    fetch(from, &mut text)?;
    utf8(text)
}

fn utf8(text: Vec<u8>) -> Result<String, Fault> {
    String::from_utf8(text).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(at).copied().unwrap_or(0);
        Fault::Wrong(format!(
            "expected UTF-8 text, got byte 0x{byte:02x} at byte {at} of it; write it as UTF-8"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::Place;

    /// A column whose buffers lie in `file` one after the other: validity, main, texts.
    fn check(kind: Kind, parts: [&[u8]; 3], at: u64, expected: Result<Value, &str>) {
        let file = parts.concat();
        let mut from = 0;
        let mut spans = parts.iter().map(|part| {
            let span = Span { at: from, bytes: part.len() as u64 };
            from += span.bytes;
            span
        });
        let (validity, main) = (spans.next().unwrap(), spans.next().unwrap());
        let texts = if kind.is_text() { spans.collect() } else { Vec::new() };
        let column = Column { validity: (validity.bytes > 0).then_some(validity), main, texts };
        let place = Place { at: 0, body: 0, bytes: file.len() as u64 };
        let layout = Layout { place, rows: 2, packed: false, columns: vec![column] };
        let mut fetch = |at: u64, into: &mut [u8]| -> io::Result<()> {
            let at = at as usize;
            let part = file.get(at..at + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            into.copy_from_slice(part);
            Ok(())
        };
        match (read(&layout, &[kind], at, &mut fetch), expected) {
            (Ok(record), Ok(value)) => assert_eq!(record.values, [value]),
            (Err(Fault::Wrong(reason)), Err(part)) => assert!(reason.contains(part), "{reason}"),
            (got, expected) => panic!("{kind:?}: expected {expected:?}, got {got:?}"),
        }
    }

    #[test]
    fn values_of_every_kind_are_read_and_nothing_else_passes() {
        let text = |text: &str| Ok(Value::Text(text.into()));
        let offsets = |ends: [i32; 3]| ends.iter().flat_map(|end| end.to_le_bytes()).collect::<Vec<u8>>();
        let long = |ends: [i64; 3]| ends.iter().flat_map(|end| end.to_le_bytes()).collect::<Vec<u8>>();
        check(Kind::Text(4), [&[], &offsets([0, 2, 5]), b"hiyou"], 1, text("you"));
        check(Kind::Text(4), [&[], &offsets([1, 1, 5]), b"hiyou"], 0, text(""));
        check(Kind::Text(8), [&[], &long([0, 2, 5]), b"hiyou"], 0, text("hi"));
        check(Kind::Text(4), [&[0b01], &offsets([0, 2, 5]), b"hiyou"], 1, Ok(Value::Null));
        check(Kind::Text(4), [&[0b10], &offsets([0, 2, 5]), b"hiyou"], 1, text("you"));
        check(Kind::Text(4), [&[], &offsets([0, 4, 3]), b"hiyou"], 1, Err("from 4 to 3"));
        check(Kind::Text(4), [&[], &offsets([0, 2, 6]), b"hiyou"], 1, Err("from 2 to 6 of 5"));
        check(Kind::Text(4), [&[], &offsets([-1, 2, 5]), b"hiyou"], 0, Err("offsets"));
        check(Kind::Text(8), [&[], &long([0, 2, i64::MIN]), b"hiyou"], 1, Err("offsets"));
        check(Kind::Text(4), [&[], &offsets([0, 2, 5]), b"\xe4\xf6you"], 0, Err("byte 0xe4 at byte 0"));
        check(Kind::Bool, [&[], &[0b10], &[]], 1, Ok(Value::Bool(true)));
        check(Kind::Int(1), [&[], &[0, 0xfe], &[]], 1, Ok(Value::Int(-2)));
        check(
            Kind::Int(4),
            [&[], &[7, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f], &[]],
            1,
            Ok(Value::Int(i32::MAX.into())),
        );
        check(Kind::Int(8), [&[], &i64::MIN.to_le_bytes(), &[]], 0, Ok(Value::Int(i64::MIN)));
        check(Kind::Unsigned(2), [&[], &[0xff, 0xff], &[]], 0, Ok(Value::Int(65535)));
        check(Kind::Unsigned(8), [&[], &u64::MAX.to_le_bytes(), &[]], 0, Err("is above"));
        check(Kind::Float(4), [&[], &1.5_f32.to_le_bytes(), &[]], 0, Ok(Value::Float(1.5)));
        check(Kind::Float(8), [&[], &(-0.25_f64).to_le_bytes(), &[]], 0, Ok(Value::Float(-0.25)));
        let view = |bytes: u32, begin: &[u8; 4], buffer: u32, from: u32| {
            [&bytes.to_le_bytes()[..], begin, &buffer.to_le_bytes(), &from.to_le_bytes()].concat()
        };
        check(Kind::View, [&[], b"\x03\0\0\0you\0\0\0\0\0\0\0\0\0", b""], 0, text("you"));
        let held = b"..an old oak tree";
        check(Kind::View, [&[], &view(15, b"an o", 0, 2), held], 0, text("an old oak tree"));
        check(Kind::View, [&[], &view(15, b"an o", 1, 2), held], 0, Err("buffer 1"));
        check(Kind::View, [&[], &view(15, b"an o", 0, 3), held], 0, Err("not there"));
        check(Kind::View, [&[], &view(15, b"an a", 0, 2), held], 0, Err("begins otherwise"));
        check(Kind::View, [&[], &view(u32::MAX, b"an o", 0, 2), held], 0, Err("not there"));
    }
}

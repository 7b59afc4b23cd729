//! Protocol buffers as they lie in a file: fields, each a number and a value.
//!
//! Format: <https://protobuf.dev/programming-guides/encoding/>.

use crate::bounded::{Cursor, Fault, bad};

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// A number of any width, and what is written as one.
    Number(u64),
    /// A text, bytes, a message within, or packed numbers.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The number, or 0 for what is none.
    pub(super) fn number(self) -> u64 {
        match self {
            Value::Number(number) => number,
            Value::Bytes(_) => 0,
        }
    }

    /// The bytes, or none for a number.
    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Value::Number(_) => &[],
            Value::Bytes(bytes) => bytes,
        }
    }
}

/// The fields of a message, in their order.
pub(super) fn fields<'a>(message: &'a [u8]) -> impl Iterator<Item = Result<(u64, Value<'a>), Fault>> {
    let mut cursor = Cursor::new(message, "a message");
    std::iter::from_fn(move || {
        if cursor.rest().is_empty() {
            return None;
        }
        let next = field(&mut cursor);
        if next.is_err() {
            // Nothing sensible can follow.
            cursor = Cursor::new(&[], "a message");
        }
        Some(next)
    })
}

fn field<'a>(cursor: &mut Cursor<'a>) -> Result<(u64, Value<'a>), Fault> {
    let key = cursor.varint()?;
    let value = match key & 7 {
        0 => Value::Number(cursor.varint()?),
        1 => Value::Number(cursor.u64()?),
        2 => {
            let len = usize::try_from(cursor.varint()?).unwrap_or(usize::MAX);
            Value::Bytes(cursor.take(len)?)
        }
        5 => Value::Number(u64::from(cursor.u32()?)),
        kind => return bad(format!("a message has a field of kind {kind}")),
    };
    Ok((key >> 3, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_kind_are_read() {
        let message = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0];
        let read: Vec<_> = fields(&message).map(Result::unwrap).collect();
        let expected =
            [(1, Value::Number(150)), (2, Value::Bytes(b"hi")), (3, Value::Number(1)), (4, Value::Number(2))];
        assert_eq!(read, expected);
        for len in [1, 2, 4, 6, 8, 13] {
            let read: Vec<_> = fields(&message[..len]).collect();
            assert!(read.last().unwrap().is_err(), "{len}");
            assert!(read.len() < 5);
        }
        assert!(fields(&[0x0b]).next().unwrap().is_err());
    }
}

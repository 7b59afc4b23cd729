//! Protocol buffers as bytes: fields of a message, one after the other, without a schema.
//!
//! Format: <https://protobuf.dev/programming-guides/encoding/>. Messages within messages are for the caller to open, so there
//! is no recursion here; groups, which ONNX does not use, are refused.

use crate::Error;
use crate::cursor::Cursor;

/// Bytes of the file: where they start and how many they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) len: u64,
}

/// The content of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// A whole number, and its bytes.
    Varint(u64, Span),
    /// Four or eight bytes.
    Fixed(Span),
    /// A text, a message or packed numbers; the cursor stands at its start.
    Bytes(Span),
}

impl Wire {
    /// The bytes of the content.
    pub(super) fn span(self) -> Span {
        match self {
            Wire::Varint(_, span) | Wire::Fixed(span) | Wire::Bytes(span) => span,
        }
    }

    /// The content as a whole number, 0 for any other.
    pub(super) fn number(self) -> u64 {
        if let Wire::Varint(number, _) = self { number } else { 0 }
    }
}

/// Calls `field` for each field of the message that fills the file up to `end`. What `field` does not read is passed over.
pub(super) fn fields(
    cursor: &mut Cursor,
    end: u64,
    mut field: impl FnMut(&mut Cursor, u64, Wire) -> Result<(), Error>,
) -> Result<(), Error> {
    while cursor.at() < end {
        let at = cursor.at();
        let tag = varint(cursor)?;
        let (number, start) = (tag >> 3, cursor.at());
        let wire = match tag & 7 {
            _ if number == 0 => return Err(cursor.bad(format!("a field at byte {at} has the number 0"))),
            0 => {
                let value = varint(cursor)?;
                Wire::Varint(value, Span { start, len: cursor.at() - start })
            }
            1 => Wire::Fixed(Span { start, len: 8 }),
            2 => {
                let len = varint(cursor)?;
                Wire::Bytes(Span { start: cursor.at(), len })
            }
            5 => Wire::Fixed(Span { start, len: 4 }),
            other => return Err(cursor.bad(format!("a field at byte {at} is of kind {other}"))),
        };
        let span = wire.span();
        match span.start.checked_add(span.len) {
            Some(stop) if stop <= end => {
                field(cursor, number, wire)?;
                // A callback reads no further than its field.
                cursor.skip("a field", stop - cursor.at())?;
            }
            _ => {
                let reason = format!(
                    "a field at byte {at} takes {} bytes and its message has {} left: cut short?",
                    span.len,
                    end.saturating_sub(span.start)
                );
                return Err(cursor.bad(reason));
            }
        }
    }
    Ok(())
}

/// A whole number, seven bits to a byte.
fn varint(cursor: &mut Cursor) -> Result<u64, Error> {
    let at = cursor.at();
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let [byte] = cursor.array("a number")?;
        value |= u64::from(byte & 127).checked_shl(shift).unwrap_or(0);
        if byte < 128 {
            return Ok(value);
        }
    }
    Err(cursor.bad(format!("the number at byte {at} does not end")))
}

/// A text.
pub(super) fn text(cursor: &mut Cursor, wire: Wire) -> Result<String, Error> {
    let Wire::Bytes(span) = wire else {
        return Err(cursor.bad(format!("there is no text at byte {}", cursor.at())));
    };
    String::from_utf8(cursor.bytes("a text", span.len)?)
        .map_err(|_| cursor.bad(format!("the text at byte {} is not UTF-8", span.start)))
}

/// The whole numbers in bytes; a number cut short is left out.
pub(super) fn varints(bytes: &[u8]) -> Vec<u64> {
    let (mut values, mut value, mut shift) = (Vec::new(), 0u64, 0u32);
    for byte in bytes {
        value |= u64::from(byte & 127).checked_shl(shift).unwrap_or(0);
        shift = (shift + 7).min(70);
        if *byte < 128 {
            values.push(value);
            (value, shift) = (0, 0);
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;
    use std::path::Path;

    fn all(bytes: &[u8]) -> Result<Vec<(u64, Wire)>, Error> {
        let source = Source::Bytes(bytes.to_vec());
        let mut found = Vec::new();
        let mut cursor = Cursor::new(&source, Path::new("x"), "onnx", bytes.len() as u64);
        fields(&mut cursor, bytes.len() as u64, |_, number, wire| {
            found.push((number, wire));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn every_kind_of_field_is_found() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8];
        let span = |start, len| Span { start, len };
        let expected = vec![
            (1, Wire::Varint(150, span(1, 2))),
            (2, Wire::Bytes(span(5, 2))),
            (3, Wire::Fixed(span(8, 4))),
            (4, Wire::Fixed(span(13, 8))),
        ];
        assert_eq!(all(&bytes).unwrap(), expected);
    }

    #[test]
    fn broken_fields_are_refused() {
        for bytes in
            [&[0x00][..], &[0x0b], &[0x0c], &[0x0f], &[0x12, 3, b'h'], &[0x1d, 1], &[0x08], &[0xff; 20]]
        {
            assert!(all(bytes).is_err(), "{bytes:?}");
        }
        let huge = [&[0x12][..], &[0xff; 9], &[1]].concat();
        assert!(all(&huge).unwrap_err().to_string().contains("takes 18446744073709551615 bytes"));
    }

    #[test]
    fn packed_numbers_are_read() {
        assert_eq!(varints(&[1, 0x96, 1, 0x80]), [1, 150]);
        let minus_one = [[0xff; 9].as_slice(), &[1]].concat();
        assert_eq!(varints(&minus_one), [u64::MAX]);
        assert!(varints(&[0xff; 100]).is_empty());
    }
}

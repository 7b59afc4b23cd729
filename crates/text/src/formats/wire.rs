//! The wire format of protocol buffers, read field by field within the bytes that are there.
//!
//! Nothing is allocated here: fields are slices of the file. Groups, which no message of today has, are refused.
//! <https://protobuf.dev/programming-guides/encoding/>

use std::path::Path;

use crate::{Error, Result};

/// The fields of one message.
pub(super) struct Fields<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    /// Where in the file the bytes begin.
    base: usize,
    at: usize,
}

/// A field: its number, where in the file its value begins, and the value.
pub(super) struct Field<'a> {
    pub number: u32,
    pub at: usize,
    pub value: Wire<'a>,
}

/// The value of a field as it is written.
#[derive(Debug)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Fields<'a> {
    /// The fields of `bytes`, which begin at byte `base` of the file.
    pub fn new(path: &'a Path, bytes: &'a [u8], base: usize) -> Self {
        Self { path, bytes, base, at: 0 }
    }

    /// The next field, `None` at the end of the message.
    pub fn next(&mut self) -> Result<Option<Field<'a>>> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let start = self.at;
        let key = self.varint()?;
        let number = match u32::try_from(key >> 3) {
            Ok(number @ 1..0x2000_0000) => number,
            _ => return Err(self.wrong(start, format!("expected a field number, got {}", key >> 3))),
        };
        let at = self.at;
        let value = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => {
                self.take(8, number)?;
                Wire::Fixed64
            }
            2 => {
                let length = self.varint()?;
                let begin = self.at;
                let bytes = self.take(length, number)?;
                return Ok(Some(Field { number, at: self.base + begin, value: Wire::Bytes(bytes) }));
            }
            5 => {
                let bytes = self.take(4, number)?;
                Wire::Fixed32(bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u32::from(byte)))
            }
            other => {
                let problem = format!("expected a field of wire type 0, 1, 2 or 5, got type {other}");
                return Err(self.wrong(start, problem));
            }
        };
        Ok(Some(Field { number, at: self.base + at, value }))
    }

    fn varint(&mut self) -> Result<u64> {
        let start = self.at;
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let Some(&byte) = self.bytes.get(self.at) else {
                return Err(self.wrong(self.at, "the file ends inside a number".into()));
            };
            self.at += 1;
            // The tenth byte holds one bit; what is above it is dropped, as the reference does.
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.wrong(start, "expected a number of at most 10 bytes".into()))
    }

    fn take(&mut self, length: u64, number: u32) -> Result<&'a [u8]> {
        let left = self.bytes.len() - self.at;
        match usize::try_from(length) {
            Ok(length) if length <= left => {
                let bytes = &self.bytes[self.at..self.at + length];
                self.at += length;
                Ok(bytes)
            }
            _ => {
                let problem =
                    format!("field {number}: expected {length} bytes, got the {left} that are left");
                Err(self.wrong(self.at, problem))
            }
        }
    }

    fn wrong(&self, at: usize, problem: String) -> Error {
        Error::Broken { path: self.path.into(), at: self.base + at, problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u32, usize, String)>> {
        let mut fields = Fields::new(Path::new("m"), bytes, 100);
        let mut found = Vec::new();
        while let Some(field) = fields.next()? {
            found.push((field.number, field.at, format!("{:?}", field.value)));
        }
        Ok(found)
    }

    #[test]
    fn fields_of_each_kind_are_read() {
        let bytes = b"\x08\x96\x01\x12\x02hi\x1d\x01\x02\x00\x00\x21abcdefgh";
        let found = read(bytes).unwrap();
        let expected = [
            (1, 101, "Varint(150)"),
            (2, 105, "Bytes([104, 105])"),
            (3, 108, "Fixed32(513)"),
            (4, 113, "Fixed64"),
        ];
        assert_eq!(found, expected.map(|(number, at, value)| (number, at, value.to_string())));
        // A negative number takes ten bytes.
        let minus = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(read(minus).unwrap()[0].2, format!("Varint({})", u64::MAX));
    }

    #[test]
    fn what_is_broken_is_named_by_its_place() {
        for (bytes, part) in [
            (&b"\x12\x05hi"[..], "byte 102"),
            (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "expected 18446744073709551615 bytes"),
            (b"\x08\xff", "byte 102"),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "at most 10"),
            (b"\x0b", "wire type"),
            (b"\x00", "field number"),
            (b"\x1d\x00", "field 3"),
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}

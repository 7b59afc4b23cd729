//! The heads of the pages of a Parquet file: what they claim is held against what the file has, before the crate takes memory for it.
//!
//! Format: <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>, in Thrift's compact protocol.

use std::fs::File;
use std::io::{self, BufReader, Error, Read, Seek, SeekFrom};

use ::parquet::basic::Compression;
use ::parquet::file::metadata::ParquetMetaData;

use super::cell::{CELL, memory};

/// Deepest structure in the head of a page.
const DEPTH: usize = 8;

/// What the head of a page says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Head {
    unpacked: u64,
    packed: u64,
    values: u64,
}

/// Goes through all pages of a file of `length` bytes.
pub(super) fn check(file: &File, length: u64, metadata: &ParquetMetaData) -> io::Result<()> {
    let (mut covered, mut values) = (0u64, 0u64);
    for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let (Ok(start), Ok(packed)) = (u64::try_from(start), u64::try_from(column.compressed_size())) else {
            return Err(bad("a column lies before the file"));
        };
        covered = covered.saturating_add(packed);
        if start.checked_add(packed).is_none_or(|end| end > length) || covered > length {
            return Err(bad(format!("its columns take more than the {length} bytes of the file")));
        }
        // These two take the memory that a page claims before they look at it; the others as they unpack it.
        let most = match column.compression() {
            Compression::SNAPPY => 22,
            Compression::LZ4 | Compression::LZ4_RAW => 256,
            _ => u64::MAX,
        };
        let mut from = file;
        from.seek(SeekFrom::Start(start))?;
        let mut pages = BufReader::new(from.take(packed));
        while let Some(head) = Reader(&mut pages).head()? {
            let Head { unpacked, packed, .. } = head;
            if unpacked > packed.saturating_mul(most).saturating_add(64) {
                return Err(bad(format!("a page of {packed} bytes says that it has {unpacked}, unpacked")));
            }
            values = values.saturating_add(head.values);
            if values.saturating_mul(CELL) > memory(length) {
                return Err(bad(format!("it has {values} values and more, in {length} bytes")));
            }
            io::copy(&mut (&mut pages).take(packed), &mut io::sink())?;
        }
    }
    Ok(())
}

fn bad(reason: impl Into<String>) -> Error {
    Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// A structure in Thrift's compact protocol.
struct Reader<'r, R: Read>(&'r mut R);

impl<R: Read> Reader<'_, R> {
    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.0.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(bad("a number in the head of a page does not end"))
    }

    /// A number that counts something.
    fn count(&mut self) -> io::Result<u64> {
        let zigzag = self.varint()?;
        match zigzag & 1 {
            0 => Ok(zigzag >> 1),
            _ => Err(bad("the head of a page counts below zero")),
        }
    }

    /// The head of the next page; nothing at the end of a column.
    fn head(&mut self) -> io::Result<Option<Head>> {
        let mut first = [0];
        if self.0.read(&mut first)? == 0 {
            return Ok(None);
        }
        let mut head = Head::default();
        self.fields(Some(first[0]), 0, &mut |reader, id, kind| {
            match (id, kind) {
                (2, 5) => head.unpacked = reader.count()?,
                (3, 5) => head.packed = reader.count()?,
                // Pages of values, of both versions, and of the dictionary: each says first how many it has.
                (5 | 7 | 8, 12) => reader.fields(None, 1, &mut |reader, id, kind| {
                    if (id, kind) != (1, 5) {
                        return Ok(false);
                    }
                    head.values = reader.count()?;
                    Ok(true)
                })?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Some(head))
    }

    /// Calls `each` with the number and the kind of each field; what it does not take is passed over.
    fn fields(
        &mut self,
        first: Option<u8>,
        depth: usize,
        each: &mut dyn FnMut(&mut Self, u64, u8) -> io::Result<bool>,
    ) -> io::Result<()> {
        let (mut next, mut id) = (first, 0u64);
        loop {
            let byte = match next.take() {
                Some(byte) => byte,
                None => self.byte()?,
            };
            if byte == 0 {
                return Ok(());
            }
            id = match byte >> 4 {
                0 => self.varint()? >> 1,
                step => id.saturating_add(step.into()),
            };
            if !each(self, id, byte & 15)? {
                self.pass(byte & 15, true, depth + 1)?;
            }
        }
    }

    /// Passes over a value. The truth of a field stands in its kind, that of an entry of a list in a byte.
    fn pass(&mut self, kind: u8, in_field: bool, depth: usize) -> io::Result<()> {
        if depth > DEPTH {
            return Err(bad("the head of a page is too deep"));
        }
        match kind {
            1 | 2 if in_field => Ok(()),
            1..=3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.0.read_exact(&mut [0; 8]),
            8 => {
                let length = self.varint()?;
                let passed = io::copy(&mut self.0.take(length), &mut io::sink())?;
                if passed < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                (0..count).try_for_each(|_| self.pass(head & 15, false, depth + 1))
            }
            12 => self.fields(None, depth, &mut |_, _, _| Ok(false)),
            kind => Err(bad(format!("the head of a page has a field of kind {kind}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(bytes: &[u8]) -> io::Result<Option<Head>> {
        Reader(&mut &bytes[..]).head()
    }

    #[test]
    fn heads_of_pages_are_read_and_broken_ones_refused() {
        // Kind of page 0, 100 bytes in 40, then a page of 7 values with a list, a text and a truth that are passed over.
        let page = [
            0x15, 0, 0x15, 200, 1, 0x15, 80, 0x2c, 0x15, 14, 0x19, 0x25, 2, 4, 0x18, 2, b'h', b'i', 0x11, 0,
            0,
        ];
        assert_eq!(head(&page).unwrap(), Some(Head { unpacked: 100, packed: 40, values: 7 }));
        assert_eq!(head(&[]).unwrap(), None);
        for length in 1..page.len() {
            assert!(head(&page[..length]).is_err(), "{length}");
        }
        // Below zero, of no kind, a text without end, structures without end.
        for broken in [&[0x15, 0, 0x15, 1, 0][..], &[0x1e], &[0x18, 0xff, 0xff, 0x7f], &[0x1c; 40]] {
            assert!(head(broken).is_err(), "{broken:?}");
        }
    }
}

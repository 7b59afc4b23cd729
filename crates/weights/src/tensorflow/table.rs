//! Sorted tables of keys and values, the format of LevelDB that TensorFlow keeps its checkpoints' entries in.
//!
//! Format: <https://github.com/google/leveldb/blob/main/doc/table_format.md>. Blocks of entries, each entry without the bytes
//! that its key shares with the one before; a block that names the others; at the end of the file where that one lies.

use super::snappy;
use crate::bounded::{Cursor, Disk, Fault, bad};

/// The last eight bytes of every table.
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;

/// Bytes of the end of a table.
const FOOTER: u64 = 48;

/// Longest key, in bytes.
const MAX_KEY: usize = 1 << 16;

/// The most bytes of keys for each byte of the file: keys share their starts, so there may be more of them.
const MOST_PER_BYTE: u64 = 64;

/// What is done with each key and value.
type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), Fault>;

/// A table: the places of its blocks.
#[derive(Debug)]
pub(super) struct Table {
    blocks: Vec<(u64, u64)>,
}

/// Whether a file ends as tables do.
pub(super) fn is_table(disk: &Disk) -> bool {
    let end = disk.len().checked_sub(FOOTER).and_then(|at| disk.bytes(at, FOOTER, "the end").ok());
    end.is_some_and(|end| end.ends_with(&MAGIC.to_le_bytes()))
}

impl Table {
    /// Reads where the blocks are.
    pub(super) fn open(disk: &Disk) -> Result<Table, Fault> {
        if !is_table(disk) {
            return bad("it does not end as a table of TensorFlow does: cut short?");
        }
        let footer = disk.bytes(disk.len() - FOOTER, FOOTER, "the end")?;
        let mut cursor = Cursor::new(&footer, "the end of the table");
        handle(&mut cursor)?;
        let index = handle(&mut cursor)?;
        let mut blocks: Vec<(u64, u64)> = Vec::new();
        entries(&block(disk, index)?, u64::MAX, &mut |_, value| {
            let next = handle(&mut Cursor::new(value, "the place of a block"))?;
            // Each block once: a small file cannot ask for endless work.
            let end = blocks.last().map_or(0, |(offset, len)| offset + len);
            if next.0 < end || next.0.checked_add(next.1).is_none_or(|end| end > disk.len()) {
                return bad(format!("a block lies at {} and takes {} bytes", next.0, next.1));
            }
            blocks.push(next);
            Ok(())
        })?;
        Ok(Table { blocks })
    }

    /// How many blocks there are.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Calls `each` with each key and value of a block.
    pub(super) fn block(&self, disk: &Disk, number: usize, each: Each) -> Result<(), Fault> {
        let Some(place) = self.blocks.get(number) else { return bad("no such block") };
        entries(&block(disk, *place)?, place.1.saturating_mul(MOST_PER_BYTE), each)
    }
}

/// Where a block lies, and its bytes.
fn handle(cursor: &mut Cursor) -> Result<(u64, u64), Fault> {
    Ok((cursor.varint()?, cursor.varint()?))
}

/// The plain bytes of a block.
fn block(disk: &Disk, (offset, len): (u64, u64)) -> Result<Vec<u8>, Fault> {
    let mut bytes = disk.bytes(offset, len.saturating_add(5), "a block")?;
    let mut end = Cursor::new(&bytes[len as usize..], "a block");
    let (kind, stored) = (end.u8()?, end.u32()?);
    bytes.truncate(len as usize + 1);
    if mask(crc32c::crc32c(&bytes)) != stored && cfg!(not(fuzzing)) {
        return bad(format!("the checksum of the block at {offset} is wrong: the file is damaged"));
    }
    bytes.truncate(len as usize);
    match kind {
        0 => Ok(bytes),
        1 => snappy::decompress(&bytes),
        _ => bad(format!("a block compressed by method {kind}, expected none or Snappy")),
    }
}

/// A checksum as it is stored: turned, so that one of bytes that hold checksums is as good as any.
pub(super) fn mask(sum: u32) -> u32 {
    sum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Calls `each` with each key and value of a block, whose keys may take `most` bytes together.
fn entries(block: &[u8], most: u64, each: Each) -> Result<(), Fault> {
    let what = "a block";
    let Some(at) = block.len().checked_sub(4) else { return bad("a block ends too early") };
    let restarts = Cursor::new(&block[at..], what).u32()? as usize;
    let Some(end) = restarts.checked_mul(4).and_then(|len| at.checked_sub(len)) else {
        return bad(format!("a block of {} bytes claims {restarts} restarts", block.len()));
    };
    let mut cursor = Cursor::new(&block[..end], what);
    let mut key = Vec::new();
    let mut all = 0u64;
    while !cursor.rest().is_empty() {
        let (shared, own, len) = (cursor.varint()?, cursor.varint()?, cursor.varint()?);
        if shared > key.len() as u64 || shared.saturating_add(own) > MAX_KEY as u64 {
            return bad(format!(
                "a key of {} bytes shares {shared} with one of {}",
                shared.saturating_add(own),
                key.len()
            ));
        }
        key.truncate(shared as usize);
        key.extend(cursor.take(own as usize)?);
        all += key.len() as u64;
        if all > most {
            return bad(format!("the keys of a block of {} bytes take more than {most}", block.len()));
        }
        each(&key, cursor.take(usize::try_from(len).unwrap_or(usize::MAX))?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(block: &[u8]) -> Result<Vec<(String, String)>, Fault> {
        let mut found = Vec::new();
        entries(block, 1000, &mut |key, value| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            found.push((text(key), text(value)));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn keys_are_put_together_again() {
        let mut block = vec![0, 3, 1, b'a', b'b', b'c', b'1', 2, 1, 2, b'd', b'2', b'3'];
        block.extend([0, 0, 0, 0, 1, 0, 0, 0]);
        let expected = [("abc", "1"), ("abd", "23")].map(|(key, value)| (key.to_string(), value.to_string()));
        assert_eq!(all(&block).unwrap(), expected);
        for bad in [
            &[][..],
            &[1, 0, 0, 0],
            &[9, 1, 0, b'a', 0, 0, 0, 0],
            &[0, 9, 0, b'a', 0, 0, 0, 0],
            &[0, 1, 9, b'a', 0, 0, 0, 0],
            &[0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(all(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_mask_is_leveldbs() {
        // From the RFC 3720 vector of 32 zeros, masked as leveldb's own test masks it: not itself, and undone by its inverse.
        let sum = crc32c::crc32c(&[0; 32]);
        assert_eq!(sum, 0x8a91_36aa);
        let masked = mask(sum);
        assert_ne!(masked, sum);
        assert_eq!(masked.wrapping_sub(0xa282_ead8).rotate_left(15), sum);
    }
}

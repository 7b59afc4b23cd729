//! Decompression of Snappy blocks, which a table may hold.
//!
//! Format: <https://github.com/google/snappy/blob/main/format_description.txt>.

use crate::bounded::{Cursor, Fault, bad};

/// More bytes than one stored byte can stand for: the densest copy gives 64 for three.
const MOST_PER_BYTE: u64 = 22;

/// The plain bytes of a block.
pub(super) fn decompress(block: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut cursor = Cursor::new(block, "a Snappy block");
    let len = cursor.varint()?;
    if len > block.len() as u64 * MOST_PER_BYTE {
        return bad(format!("a Snappy block of {} bytes claims to hold {len}", block.len()));
    }
    let len = len as usize;
    let mut plain: Vec<u8> = Vec::with_capacity(len);
    while !cursor.rest().is_empty() {
        let tag = usize::from(cursor.u8()?);
        let (count, back) = match tag & 3 {
            0 => {
                let mut count = tag >> 2;
                if count >= 60 {
                    count = cursor.uint(count - 59)? as usize;
                }
                plain.extend(cursor.take(count.saturating_add(1))?);
                (0, 0)
            }
            1 => ((tag >> 2 & 7) + 4, tag >> 5 << 8 | usize::from(cursor.u8()?)),
            2 => ((tag >> 2) + 1, usize::from(cursor.u16()?)),
            _ => ((tag >> 2) + 1, cursor.u32()? as usize),
        };
        if tag & 3 != 0 {
            let Some(from) = plain.len().checked_sub(back).filter(|_| back > 0) else {
                return bad("a Snappy block repeats bytes from before its start");
            };
            for at in from..from + count {
                plain.push(plain[at]);
            }
        }
        if plain.len() > len {
            break;
        }
    }
    if plain.len() != len {
        return bad(format!("a Snappy block does not hold the {len} bytes it claims"));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals_and_copies_of_every_kind_are_read() {
        assert_eq!(decompress(&[0]).unwrap(), b"");
        assert_eq!(decompress(&[2, 0x04, b'a', b'b']).unwrap(), b"ab");
        // A copy that runs into what it makes itself; its length and its distance in one and two bytes.
        assert_eq!(decompress(&[7, 0x00, b'x', 0x09, 1]).unwrap(), b"xxxxxxx");
        assert_eq!(decompress(&[6, 0x04, b'a', b'b', 0x0e, 2, 0]).unwrap(), b"ababab");
        assert_eq!(decompress(&[6, 0x04, b'a', b'b', 0x0f, 2, 0, 0, 0]).unwrap(), b"ababab");
        let long = [vec![70, 60 << 2, 69], vec![9; 70]].concat();
        assert_eq!(decompress(&long).unwrap(), [9; 70]);
    }

    #[test]
    fn bad_blocks_are_refused() {
        for block in [
            &[][..],
            &[5],
            &[2, 0x04, b'a'],
            &[3, 0x00, b'x', 0x01, 5],
            &[3, 0x00, b'x', 0x01, 0],
            &[1, 0x04, b'a', b'b'],
            &[0xff, 0xff, 0xff, 0x7f, 0],
        ] {
            assert!(decompress(block).is_err(), "{block:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_result(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(plain) = decompress(&bytes) {
                prop_assert!(plain.len() as u64 <= bytes.len() as u64 * MOST_PER_BYTE);
            }
        }
    }
}

//! What was done to the bytes of a chunk before they were stored, and undoing it.

use std::io::Read;

use super::checksum::fletcher32;
use crate::bounded::{Cursor, Fault, bad};

/// Most filters of one dataset; the format allows no more.
const MAX_FILTERS: u8 = 32;

/// The most bytes that one compressed byte can stand for: deflate codes 258 bytes in two bits.
pub(super) const MOST_PER_BYTE: u64 = 1032;

/// A step of storing a chunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Filter {
    /// zlib.
    Deflate,
    /// The first bytes of all elements, then the second, and so on; the size of an element.
    Shuffle(usize),
    /// A checksum behind the bytes.
    Fletcher32,
    /// The small compressor that h5py brings along.
    Lzf,
    /// Another one, by its number.
    Other(u16),
}

impl Filter {
    fn of(id: u16, values: &[u32]) -> Filter {
        match id {
            1 => Filter::Deflate,
            2 => Filter::Shuffle(values.first().map_or(0, |size| *size as usize)),
            3 => Filter::Fletcher32,
            32000 => Filter::Lzf,
            id => Filter::Other(id),
        }
    }
}

/// Reads a filter message: the steps in the order in which they were taken.
pub(super) fn parse(message: &[u8]) -> Result<Vec<Filter>, Fault> {
    let mut cursor = Cursor::new(message, "a filter list");
    let (version, count) = (cursor.u8()?, cursor.u8()?);
    if !(1..=2).contains(&version) || count > MAX_FILTERS {
        return bad(format!("filter list version {version} of {count} filters, expected version 1 or 2"));
    }
    cursor.take(if version == 1 { 6 } else { 0 })?;
    let mut filters = Vec::new();
    for _ in 0..count {
        let id = cursor.u16()?;
        let name = if version == 1 || id >= 256 { usize::from(cursor.u16()?) } else { 0 };
        cursor.u16()?;
        let values = usize::from(cursor.u16()?);
        cursor.take(if version == 1 { name.next_multiple_of(8) } else { name })?;
        let values: Vec<u32> = (0..values).map(|_| cursor.u32()).collect::<Result<_, Fault>>()?;
        cursor.take(if version == 1 && values.len() % 2 == 1 { 4 } else { 0 })?;
        filters.push(Filter::of(id, &values));
    }
    Ok(filters)
}

/// Refuses filters that are not known here.
pub(super) fn check(filters: &[Filter]) -> Result<(), Fault> {
    match filters.iter().find_map(|filter| if let Filter::Other(id) = filter { Some(*id) } else { None }) {
        Some(id) => bad(format!("it is stored with {}, which is not read here", name(id))),
        None => Ok(()),
    }
}

/// Undoes the filters on a stored chunk, which must give `len` bytes. Bits of `skipped` are filters not applied to it.
pub(super) fn undo(
    mut bytes: Vec<u8>,
    filters: &[Filter],
    skipped: u32,
    len: usize,
) -> Result<Vec<u8>, Fault> {
    // A checksum lies behind the numbers, also inside what was compressed.
    let most = len.saturating_add(4 * filters.len());
    for (at, filter) in filters.iter().enumerate().rev() {
        if skipped.checked_shr(at as u32).unwrap_or(0) & 1 != 0 {
            continue;
        }
        bytes = match *filter {
            Filter::Deflate => inflate(&bytes, most)?,
            Filter::Lzf => lzf(&bytes, most)?,
            Filter::Shuffle(size) => unshuffle(bytes, size),
            Filter::Fletcher32 => checked(bytes)?,
            Filter::Other(_) => return check(filters).map(|()| bytes),
        };
    }
    if bytes.len() != len {
        return bad(format!("a chunk holds {} bytes, expected {len}", bytes.len()));
    }
    Ok(bytes)
}

fn name(id: u16) -> String {
    match id {
        4 => "the filter szip".to_string(),
        5 => "the filter nbit".to_string(),
        6 => "the filter scaleoffset".to_string(),
        32001 => "the filter blosc".to_string(),
        32004 => "the filter lz4".to_string(),
        32008 => "the filter bitshuffle".to_string(),
        32015 => "the filter zstd".to_string(),
        id => format!("filter number {id}"),
    }
}

fn inflate(bytes: &[u8], most: usize) -> Result<Vec<u8>, Fault> {
    // As much room as the bytes can fill; one byte more than allowed shows that there is too much.
    let room = (bytes.len() as u64).saturating_mul(MOST_PER_BYTE).min(most as u64) as usize;
    let mut plain = Vec::with_capacity(room);
    let mut decoder = flate2::read::ZlibDecoder::new(bytes).take(most as u64 + 1);
    if let Err(error) = decoder.read_to_end(&mut plain) {
        return bad(format!("a chunk does not decompress: {error}"));
    }
    if plain.len() > most {
        return bad(format!("a chunk decompresses to more than the {most} bytes that it should have"));
    }
    Ok(plain)
}

/// Format: <https://github.com/h5py/h5py/tree/master/lzf>. A byte below 32 is the number of bytes, less one, that follow as they
/// are; any other starts a copy of what came before.
fn lzf(bytes: &[u8], most: usize) -> Result<Vec<u8>, Fault> {
    let mut cursor = Cursor::new(bytes, "an LZF chunk");
    let mut plain: Vec<u8> = Vec::new();
    while !cursor.rest().is_empty() {
        let control = usize::from(cursor.u8()?);
        if control < 32 {
            plain.extend(cursor.take(control + 1)?);
        } else {
            let mut len = control >> 5;
            if len == 7 {
                len += usize::from(cursor.u8()?);
            }
            let back = ((control & 0x1f) << 8 | usize::from(cursor.u8()?)) + 1;
            let Some(from) = plain.len().checked_sub(back) else {
                return bad("an LZF chunk repeats bytes from before its start");
            };
            for at in from..from + len + 2 {
                plain.push(plain[at]);
            }
        }
        if plain.len() > most {
            return bad(format!("a chunk decompresses to more than the {most} bytes that it should have"));
        }
    }
    Ok(plain)
}

fn unshuffle(bytes: Vec<u8>, size: usize) -> Vec<u8> {
    let count = bytes.len().checked_div(size).unwrap_or(0);
    if size < 2 || count < 2 {
        return bytes;
    }
    let mut plain = bytes.clone();
    for (at, element) in plain.chunks_exact_mut(size).enumerate() {
        for (byte, into) in element.iter_mut().enumerate() {
            *into = bytes[byte * count + at];
        }
    }
    plain
}

fn checked(mut bytes: Vec<u8>) -> Result<Vec<u8>, Fault> {
    let Some(at) = bytes.len().checked_sub(4) else { return bad("a chunk is too short for its checksum") };
    let stored = Cursor::new(&bytes[at..], "a checksum").u32()?;
    bytes.truncate(at);
    let sum = fletcher32(&bytes);
    // Old versions of the library wrote the bytes of each half in the other order.
    let other = (sum & 0x00ff_00ff) << 8 | (sum & 0xff00_ff00) >> 8;
    if stored != sum && stored != other && cfg!(not(fuzzing)) {
        return bad("the checksum of a chunk is wrong: the file is damaged");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_elements_come_together_again() {
        assert_eq!(unshuffle(vec![1, 3, 5, 2, 4, 6, 7], 2), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(unshuffle(vec![1, 2], 0), [1, 2]);
        assert_eq!(unshuffle(vec![1, 2], 9), [1, 2]);
    }

    #[test]
    fn repeats_are_copied_and_bad_ones_refused() {
        assert_eq!(lzf(&[1, 7, 8, 0x20, 1], 9).unwrap(), [7, 8, 7, 8, 7]);
        assert_eq!(lzf(&[0, 7, 0xe0, 1, 0], 99).unwrap(), [7; 11]);
        assert!(lzf(&[0, 7, 0x20, 1], 9).is_err());
        assert!(lzf(&[0, 7, 0xe0, 200, 0], 99).is_err());
        assert!(lzf(&[5, 7], 99).is_err());
    }

    #[test]
    fn a_bomb_is_refused_before_it_goes_off() {
        use std::io::Write;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..1000 {
            encoder.write_all(&[0; 10_000]).unwrap();
        }
        let bomb = encoder.finish().unwrap();
        let error = undo(bomb.clone(), &[Filter::Deflate], 0, 64).unwrap_err();
        assert!(matches!(error, Fault::Bad(reason) if reason.contains("more than the 68 bytes")));
        assert_eq!(undo(bomb, &[Filter::Deflate], 0, 10_000_000).unwrap().len(), 10_000_000);
    }
}

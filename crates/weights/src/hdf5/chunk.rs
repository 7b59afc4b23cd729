//! Where the chunks of a dataset lie, by each of the indices that the format knows.

use super::btree2;
use super::space::Space;
use crate::bounded::{Cursor, Fault, bad};

/// Deepest tree of chunks.
const MAX_DEPTH: u8 = 32;

/// How a dataset's chunks are found; the address where the index lies is `None` when nothing was ever stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Index {
    /// A B-tree of version 1, in files of every age.
    Tree,
    /// One chunk that holds all; its stored bytes and the filters not applied, where it is filtered.
    Single(Option<(u64, u32)>),
    /// All chunks one behind the other.
    Implicit,
    /// A list of all chunks.
    Fixed,
    /// A B-tree of version 2, for datasets that can grow along several axes.
    Tree2,
    /// One that is not read here.
    Other(String),
}

/// What an index needs to know of its dataset.
#[derive(Debug)]
pub(super) struct Grid<'a> {
    /// Elements along each axis.
    pub(super) shape: &'a [usize],
    /// The same as it may grow to; `None` without bound.
    pub(super) most: &'a [Option<u64>],
    /// Elements of a chunk along each axis.
    pub(super) chunk: &'a [u64],
    /// Bytes of a chunk before filters.
    pub(super) bytes: u64,
    /// Whether chunks are filtered.
    pub(super) filtered: bool,
}

/// A stored chunk.
#[derive(Debug, PartialEq)]
pub(super) struct Chunk {
    /// Its first element, along each axis.
    pub(super) at: Vec<u64>,
    pub(super) address: u64,
    /// Bytes as stored.
    pub(super) len: u64,
    /// The filters that were not applied, a bit each.
    pub(super) skipped: u32,
}

/// All stored chunks that an index has.
pub(super) fn chunks(
    space: &Space,
    index: &Index,
    address: Option<u64>,
    grid: &Grid,
) -> Result<Vec<Chunk>, Fault> {
    let mut chunks = Vec::new();
    let Some(address) = address else { return Ok(chunks) };
    match index {
        Index::Tree => tree(space, address, MAX_DEPTH, grid, &mut chunks)?,
        Index::Single(filtered) => {
            let (len, skipped) = filtered.unwrap_or((grid.bytes, 0));
            chunks.push(Chunk { at: vec![0; grid.shape.len()], address, len, skipped });
        }
        Index::Implicit => {
            let counts = grid.counts()?;
            let count = counts.iter().try_fold(1u64, |all, count| all.checked_mul(*count));
            let all = count.and_then(|count| count.checked_mul(grid.bytes)).unwrap_or(u64::MAX);
            space.disk.check(address, all, "the chunks of a dataset")?;
            for at in 0..count.unwrap_or(0) {
                let place = address.saturating_add(at.saturating_mul(grid.bytes));
                chunks.extend(grid.place(&counts, at).map(|at| Chunk {
                    at,
                    address: place,
                    len: grid.bytes,
                    skipped: 0,
                }));
            }
        }
        Index::Fixed => fixed(space, address, grid, &mut chunks)?,
        Index::Tree2 => {
            let rank = grid.shape.len();
            for record in btree2::records(space, address, if grid.filtered { 11 } else { 10 })? {
                let mut cursor = Cursor::new(&record, "a chunk's record");
                let fixed = space.sizes.address + 8 * rank;
                let address = space.place(&mut cursor, "a chunk")?;
                let (len, skipped) = match grid.filtered {
                    true => (cursor.uint(record.len().saturating_sub(fixed + 4))?, cursor.u32()?),
                    false => (grid.bytes, 0),
                };
                let at = grid.chunk.iter().map(|chunk| Ok(cursor.u64()?.saturating_mul(*chunk)));
                chunks.push(Chunk { at: at.collect::<Result<_, Fault>>()?, address, len, skipped });
            }
        }
        Index::Other(name) => return bad(format!("its chunks are found by {name}, which is not read here")),
    }
    Ok(chunks)
}

impl Grid<'_> {
    /// How many chunks there may be along each axis.
    fn counts(&self) -> Result<Vec<u64>, Fault> {
        let most = self.most.iter().zip(self.chunk);
        most.map(|(most, chunk)| match most {
            Some(most) => Ok(most.div_ceil(*chunk)),
            None => bad("an index for datasets that cannot grow, and the dataset can"),
        })
        .collect()
    }

    /// The first element of the chunk of a number, counted row by row; `None` for one beyond the present shape.
    fn place(&self, counts: &[u64], number: u64) -> Option<Vec<u64>> {
        let (mut rest, mut at) = (number, vec![0; counts.len()]);
        for axis in (0..counts.len()).rev() {
            // Along an axis of nothing there is no chunk, whatever a list says.
            at[axis] = rest.checked_rem(counts[axis])?.saturating_mul(self.chunk[axis]);
            rest /= counts[axis];
        }
        at.iter().zip(self.shape).all(|(at, len)| *at < *len as u64).then_some(at)
    }
}

/// A node of a B-tree of version 1.
fn tree(space: &Space, address: u64, depth: u8, grid: &Grid, chunks: &mut Vec<Chunk>) -> Result<(), Fault> {
    let a = space.sizes.address as u64;
    let head = space.signed(address, 8 + 2 * a, b"TREE", false)?;
    let mut cursor = Cursor::new(&head, "TREE");
    let (node, level) = (cursor.u8()?, cursor.u8()?);
    let entries = u64::from(cursor.u16()?);
    if node != 1 || level >= depth {
        return bad(format!("a node of kind {node} and level {level} in the tree of its chunks"));
    }
    let key = 8 + 8 * (grid.shape.len() as u64 + 1);
    let bytes = space.bytes(address.saturating_add(8 + 2 * a), entries * (key + a), "TREE")?;
    let mut cursor = Cursor::new(&bytes, "TREE");
    for _ in 0..entries {
        let (len, skipped) = (u64::from(cursor.u32()?), cursor.u32()?);
        let at = grid.shape.iter().map(|_| cursor.u64()).collect::<Result<_, Fault>>()?;
        cursor.u64()?;
        let address = space.place(&mut cursor, "a chunk")?;
        match level {
            0 => chunks.push(Chunk { at, address, len, skipped }),
            _ => tree(space, address, level, grid, chunks)?,
        }
    }
    Ok(())
}

/// A fixed array: a list, cut into pages where it is long.
fn fixed(space: &Space, address: u64, grid: &Grid, chunks: &mut Vec<Chunk>) -> Result<(), Fault> {
    let (a, l) = (space.sizes.address, space.sizes.length);
    let head = space.signed(address, (4 + 4 + l + a + 4) as u64, b"FAHD", true)?;
    let mut cursor = Cursor::new(&head, "FAHD");
    let (version, client, width, bits) = (cursor.u8()?, cursor.u8()?, u64::from(cursor.u8()?), cursor.u8()?);
    let count = space.length(&mut cursor)?;
    let block = space.address(&mut cursor)?;
    let least = if grid.filtered { a as u64 + 5 } else { a as u64 };
    if version != 0 || client != u8::from(grid.filtered) || width < least || bits >= 64 {
        return bad(format!(
            "a list of chunks of version {version}, kind {client} and {width} bytes a chunk"
        ));
    }
    let Some(block) = block else { return Ok(()) };
    let counts = grid.counts()?;
    let mut entries = |bytes: &[u8], first: u64| -> Result<(), Fault> {
        for (entry, number) in bytes.chunks_exact(width as usize).zip(first..) {
            let mut cursor = Cursor::new(entry, "a list of chunks");
            let Some(address) = space.address(&mut cursor)? else { continue };
            let (len, skipped) = match grid.filtered {
                true => (cursor.uint(width as usize - a - 4)?, cursor.u32()?),
                false => (grid.bytes, 0),
            };
            chunks.extend(grid.place(&counts, number).map(|at| Chunk { at, address, len, skipped }));
        }
        Ok(())
    };
    let head = 6 + a as u64;
    let page = 1u64 << bits;
    let size = |count: u64| count.saturating_mul(width).saturating_add(4);
    if count <= page {
        let bytes = space.signed(block, (head).saturating_add(size(count)), b"FADB", true)?;
        return entries(&bytes[head as usize - 4..], 0);
    }
    let pages = count.div_ceil(page);
    let bytes = space.signed(block, head + pages.div_ceil(8) + 4, b"FADB", true)?;
    let stored = &bytes[head as usize - 4..];
    let mut at = block.saturating_add(head + pages.div_ceil(8) + 4);
    for number in 0..pages {
        let len = page.min(count - number * page);
        if stored[(number / 8) as usize] & (0x80 >> (number % 8)) != 0 {
            let mut bytes = space.bytes(at, size(len), "a page of a list of chunks")?;
            super::space::verify(&mut bytes, "a page of a list of chunks")?;
            entries(&bytes, number * page)?;
        }
        at = at.saturating_add(size(len));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_counted_row_by_row_and_none_lies_beyond_the_shape() {
        let place = |shape: &[usize], most: &[u64], number: u64| {
            let most: Vec<Option<u64>> = most.iter().map(|most| Some(*most)).collect();
            let grid = Grid { shape, most: &most, chunk: &[2, 3], bytes: 24, filtered: false };
            grid.place(&grid.counts().unwrap(), number)
        };
        assert_eq!(place(&[4, 7], &[4, 7], 4), Some(vec![2, 3]));
        assert_eq!(place(&[4, 6], &[4, 9], 2), None);
        // A list of chunks may be as long as it likes where there is room for none.
        assert_eq!(place(&[4, 0], &[4, 0], 0), None);
        assert_eq!(place(&[0, 4], &[0, 4], 5), None);
    }
}

//! Fractal heaps: where a large group of a newer file keeps its links.
//!
//! A heap is one line of bytes cut into blocks. A table gives the blocks' places, row after row; from the third row on the
//! blocks of a row are twice as large as those of the row before. Rows beyond the largest direct block hold tables again.

use super::space::Space;
use crate::bounded::{Cursor, Fault, bad};

/// An open heap.
pub(super) struct Heap<'a> {
    space: &'a Space<'a>,
    /// Blocks in each row of a table.
    width: u64,
    /// Bytes of a block of the first two rows.
    start: u64,
    /// Bytes of the largest direct block.
    largest: u64,
    /// Bytes of an offset into the heap, and of an object's length.
    offset_width: usize,
    length_width: usize,
    /// The root: its place, and its rows where it is a table.
    root: Option<u64>,
    rows: u64,
}

impl Heap<'_> {
    /// Opens the heap at `address`.
    pub(super) fn open<'a>(space: &'a Space<'a>, address: u64) -> Result<Heap<'a>, Fault> {
        let (a, l) = (space.sizes.address, space.sizes.length);
        let len = 4 + 1 + 2 + 2 + 1 + 4 + 12 * l + 3 * a + 2 + 2 + 2 + 2 + 4;
        // A filtered heap's header goes on behind these, so the checksum is only where it is for the others.
        let flags = space.bytes(address, 10, "FRHP")?;
        if Cursor::new(&flags[7..], "FRHP").u16()? != 0 {
            return bad("the links of a group are compressed, which is not read here");
        }
        let head = space.signed(address, len as u64, b"FRHP", true)?;
        let mut cursor = Cursor::new(&head, "FRHP");
        let version = cursor.u8()?;
        if version != 0 {
            return bad(format!("fractal heap version {version}, expected 0"));
        }
        cursor.take(2 + 2 + 1)?;
        let most = u64::from(cursor.u32()?);
        cursor.take(l + a + l + a + 8 * l)?;
        let width = u64::from(cursor.u16()?);
        let start = space.length(&mut cursor)?;
        let largest = space.length(&mut cursor)?;
        let bits = cursor.u16()?;
        cursor.take(2)?;
        let root = space.address(&mut cursor)?;
        let rows = u64::from(cursor.u16()?);
        if width == 0 || start == 0 || largest < start || bits == 0 || bits > 64 {
            return bad(format!(
                "a fractal heap of {width} blocks of {start} to {largest} bytes in {bits} bits"
            ));
        }
        let bytes_of = |limit: u64| limit.checked_ilog2().unwrap_or(0) as usize / 8 + 1;
        Ok(Heap {
            space,
            width,
            start,
            largest,
            offset_width: usize::from(bits).div_ceil(8),
            length_width: bytes_of(largest.min(most)),
            root,
            rows,
        })
    }

    /// The object of an id, as the records of the group's B-tree have it.
    pub(super) fn object(&self, id: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut cursor = Cursor::new(id, "a heap id");
        match cursor.u8()? {
            0x00 => {
                let offset = cursor.uint(self.offset_width)?;
                let len = cursor.uint(self.length_width)?;
                let Some(root) = self.root else { return bad("a link lies in an empty heap") };
                match self.rows {
                    0 => self.in_block(root, self.start, offset, len),
                    rows => self.in_table(root, rows, offset, len),
                }
            }
            kind if kind & 0x30 == 0x20 => {
                // So small that it lies in the id itself.
                let len = usize::from(kind & 0x0f) + 1;
                Ok(cursor.take(len)?.to_vec())
            }
            kind => bad(format!("a link of the heap's kind {kind:#x}, which is not read here")),
        }
    }

    /// Bytes of a block in a row.
    fn size(&self, row: u64) -> Option<u64> {
        self.start.checked_mul(1u64.checked_shl(u32::try_from(row.saturating_sub(1)).ok()?)?)
    }

    /// The object at `offset` in the part of the heap that the table at `address` spans.
    fn in_table(&self, address: u64, rows: u64, offset: u64, len: u64) -> Result<Vec<u8>, Fault> {
        let (mut address, mut rows, mut offset) = (address, rows, offset);
        loop {
            let mut before = 0u64;
            let mut place = None;
            for row in 0..rows {
                let Some(span) = self.size(row).and_then(|size| size.checked_mul(self.width)) else { break };
                if offset - before < span {
                    place = self.size(row).map(|size| (row, (offset - before) / size, size));
                    break;
                }
                before += span;
            }
            let Some((row, column, size)) = place else {
                return bad(format!("a link lies at {offset} of a heap that ends before"));
            };
            offset = (offset - before) % size;
            let head = 5 + self.space.sizes.address + self.offset_width;
            let skipped = (row * self.width + column).saturating_mul(self.space.sizes.address as u64);
            let at = address.saturating_add(head as u64).saturating_add(skipped);
            self.space.signed(address, 4, b"FHIB", false)?;
            let entry = self.space.bytes(at, self.space.sizes.address as u64, "FHIB")?;
            let child = self.space.place(&mut Cursor::new(&entry, "FHIB"), "a block of the heap")?;
            if size <= self.largest {
                return self.in_block(child, size, offset, len);
            }
            // A table of as many rows as make its span the size of its place.
            address = child;
            rows = u64::from(size.ilog2())
                .saturating_sub(u64::from((self.start.saturating_mul(self.width)).ilog2()))
                + 1;
        }
    }

    /// The object at `offset` in a block; the block's own head counts.
    fn in_block(&self, address: u64, size: u64, offset: u64, len: u64) -> Result<Vec<u8>, Fault> {
        if offset.checked_add(len).is_none_or(|end| end > size) {
            return bad(format!("a link at {offset} of a block of {size} bytes is {len} bytes long"));
        }
        self.space.signed(address, 4, b"FHDB", false)?;
        self.space.bytes(address.saturating_add(offset), len, "a link")
    }
}

//! B-trees of version 2: the names in a large group of a newer file, or the chunks of a dataset that can grow along several
//! axes.

use super::space::Space;
use crate::bounded::{Cursor, Fault, bad};

/// Longest way from the root to a leaf; a tree of nodes of two records would hold 2^32 records at that depth.
const MAX_DEPTH: u16 = 32;

/// The records of the tree at `address`, which must be of kind `kind`, in order.
pub(super) fn records(space: &Space, address: u64, kind: u8) -> Result<Vec<Vec<u8>>, Fault> {
    let len = 4 + 12 + space.sizes.address + 2 + space.sizes.length + 4;
    let head = space.signed(address, len as u64, b"BTHD", true)?;
    let mut cursor = Cursor::new(&head, "BTHD");
    let (version, found) = (cursor.u8()?, cursor.u8()?);
    if version != 0 || found != kind {
        return bad(format!("B-tree version {version} of kind {found}, expected version 0 of kind {kind}"));
    }
    let node = u64::from(cursor.u32()?);
    let record = u64::from(cursor.u16()?);
    let depth = cursor.u16()?;
    cursor.take(2)?;
    let root = space.address(&mut cursor)?;
    let held = u64::from(cursor.u16()?);
    let mut records = Vec::new();
    let Some(root) = root else { return Ok(records) };
    if record == 0 || depth > MAX_DEPTH || node < 10 + record {
        return bad(format!("a B-tree of depth {depth} with nodes of {node} and records of {record} bytes"));
    }
    let tree =
        Tree { space, kind, node, record: record as usize, widths: widths(space, node, record, depth) };
    tree.walk(root, held, usize::from(depth), &mut records)?;
    Ok(records)
}

/// What all nodes share.
struct Tree<'a> {
    space: &'a Space<'a>,
    kind: u8,
    /// Bytes of a node.
    node: u64,
    /// Bytes of a record.
    record: usize,
    /// Bytes of the two counts of a child, for children at each height: its own records, and all below it.
    widths: Vec<(usize, usize)>,
}

/// How wide the counts of children are written: as wide as the largest count that fits a node of that height.
fn widths(space: &Space, node: u64, record: u64, depth: u16) -> Vec<(usize, usize)> {
    let width = |limit: u64| limit.checked_ilog2().unwrap_or(0) as usize / 8 + 1;
    let leaf = (node - 10) / record;
    let (mut widths, mut below, mut below_width) = (Vec::new(), leaf, 0);
    for _ in 0..depth {
        widths.push((width(leaf), below_width));
        let pointer = (space.sizes.address + width(leaf) + below_width) as u64;
        let most = node.saturating_sub(10 + pointer) / (record + pointer);
        below = most.saturating_add(1).saturating_mul(below).saturating_add(most);
        below_width = width(below);
    }
    widths
}

impl Tree<'_> {
    fn walk(&self, address: u64, held: u64, height: usize, into: &mut Vec<Vec<u8>>) -> Result<(), Fault> {
        let signature = if height == 0 { b"BTLF" } else { b"BTIN" };
        // A node's checksum stands right behind what is in use of it.
        let records = held * self.record as u64;
        let pointers = match height.checked_sub(1).and_then(|below| self.widths.get(below)) {
            Some((own, all)) => (held + 1) * (self.space.sizes.address + own + all) as u64,
            None => 0,
        };
        let len = 10 + records + pointers;
        if len > self.node {
            return bad(format!("a B-tree node of {} bytes is said to hold {held} records", self.node));
        }
        let bytes = self.space.signed(address, len, signature, true)?;
        let mut cursor = Cursor::new(&bytes, "a B-tree node");
        let (version, kind) = (cursor.u8()?, cursor.u8()?);
        if version != 0 || kind != self.kind {
            return bad(format!("B-tree node version {version} of kind {kind}, expected 0 of {}", self.kind));
        }
        let own: Vec<Vec<u8>> =
            (0..held).map(|_| Ok(cursor.take(self.record)?.to_vec())).collect::<Result<_, Fault>>()?;
        let Some(below) = height.checked_sub(1) else {
            into.extend(own);
            return Ok(());
        };
        let (width, all) = self.widths[below];
        let mut own = own.into_iter();
        for _ in 0..=held {
            let child = self.space.place(&mut cursor, "a B-tree node")?;
            let count = cursor.uint(width)?;
            cursor.take(all)?;
            self.walk(child, count, below, into)?;
            into.extend(own.next());
        }
        Ok(())
    }
}

//! Strings as a tree of bytes, for the longest one that a text begins with.
//!
//! The tree is a double array (Aoe, "An efficient digital search algorithm by using a double-array structure", 1989,
//! <https://doi.org/10.1109/32.31365>), four bytes a node and four for its value: the child of a node for a byte lies where the node's base and
//! the byte say, and holds the byte to show that it is one. No two nodes have the same base, so no other node can.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Bits of a cell: the byte that leads to it, whether there is a node, whether a string ends there, and above them
/// the base of its children.
const TAKEN: u32 = 1 << 8;
const ENDS: u32 = 1 << 9;
const BASE: u32 = 10;
/// Cells a block. A node's children lie in one block.
const BLOCK: usize = 256;
/// Blocks that are tried for room, the last ones.
const TRIED: usize = 4;
/// A block with less room is left as it is.
const ROOM: u32 = 12;

/// A tree of bytes.
pub(super) struct Trie {
    /// Nothing but the root lies in the first block, and no byte leads to it: base 0 is that of a node without children.
    /// Beside each cell the value of the string that ends there.
    cells: Vec<(u32, u32)>,
}

impl Trie {
    /// The node all strings begin at.
    pub const ROOT: u32 = 0;

    /// Of two equal strings the later value counts. `None` if there are more than 2²⁴ bytes in them, or they need more
    /// than 2²² cells.
    pub fn new<'a>(strings: impl Iterator<Item = (&'a [u8], u32)> + Clone) -> Option<Self> {
        let bytes: usize = strings.clone().map(|(string, _)| string.len()).sum();
        if bytes >= 1 << 24 {
            return None;
        }
        let mut sorted: Vec<(&[u8], u32)> = strings.collect();
        sorted.sort_by_key(|&(string, _)| string);
        let mut building = Building::default();
        building.block();
        let (mut labels, mut todo) = (Vec::new(), BinaryHeap::new());
        // Vocabularies begin with what is frequent: what leads to it is put together, so that it is near at hand.
        let first = |strings: &[(&[u8], u32)]| Reverse(strings.iter().map(|&(_, value)| value).min());
        todo.push((first(&sorted), 0, sorted.len(), 0, Self::ROOT));
        while let Some((_, mut from, to, depth, node)) = todo.pop() {
            while from < to && sorted[from].0.len() == depth {
                let cell = &mut building.trie.cells[node as usize];
                *cell = (cell.0 | ENDS, sorted[from].1);
                from += 1;
            }
            labels.clear();
            let mut at = from;
            while at < to {
                let byte = sorted[at].0[depth];
                let same = sorted[at..to].partition_point(|(string, _)| string[depth] == byte);
                labels.push((byte, at, at + same));
                at += same;
            }
            if labels.is_empty() {
                continue;
            }
            let base = building.place(&labels);
            if base >= 1 << (32 - BASE) {
                return None;
            }
            building.trie.cells[node as usize].0 |= base << BASE;
            for &(byte, from, to) in &labels {
                todo.push((first(&sorted[from..to]), from, to, depth + 1, base ^ u32::from(byte)));
            }
        }
        Some(building.trie)
    }

    /// The node one byte further.
    #[inline]
    pub fn step(&self, node: u32, byte: u8) -> Option<u32> {
        let next = self.cells[node as usize].0 >> BASE ^ u32::from(byte);
        let label = self.cells[next as usize].0 & (TAKEN | 0xff);
        (label == TAKEN | u32::from(byte)).then_some(next)
    }

    /// Value of the string that ends at this node.
    #[inline]
    pub fn value(&self, node: u32) -> Option<u32> {
        let (cell, value) = self.cells[node as usize];
        (cell & ENDS != 0).then_some(value)
    }

    /// The node after these bytes.
    pub fn walk(&self, bytes: &[u8]) -> Option<u32> {
        bytes.iter().try_fold(Self::ROOT, |node, &byte| self.step(node, byte))
    }

    /// The longest string below `node`, not empty, that `bytes` begin with: its value and its length.
    #[inline]
    pub fn longest(&self, node: u32, bytes: &[u8]) -> Option<(u32, usize)> {
        let mut base = self.cells[node as usize].0 >> BASE;
        let mut found = (0, 0);
        for (index, &byte) in bytes.iter().enumerate() {
            let (cell, value) = self.cells[(base ^ u32::from(byte)) as usize];
            if cell & (TAKEN | 0xff) != TAKEN | u32::from(byte) {
                break;
            }
            if cell & ENDS != 0 {
                found = (value, index + 1);
            }
            base = cell >> BASE;
        }
        (found.1 > 0).then_some(found)
    }
}

/// A tree that is being put together.
struct Building {
    trie: Trie,
    /// Bases that a node has.
    based: Vec<bool>,
    /// Free cells of each block.
    room: Vec<u32>,
    /// The first block that still has room.
    open: usize,
}

impl Default for Building {
    fn default() -> Self {
        let trie = Trie { cells: Vec::new() };
        Self { trie, based: Vec::new(), room: Vec::new(), open: 1 }
    }
}

impl Building {
    fn block(&mut self) {
        let cells = self.trie.cells.len() + BLOCK;
        self.trie.cells.resize(cells, (0, 0));
        self.based.resize(cells, false);
        self.room.push(BLOCK as u32);
    }

    /// Takes cells for the children at these bytes, and gives their base.
    fn place(&mut self, labels: &[(u8, usize, usize)]) -> u32 {
        self.open = self.open.max(self.room.len().saturating_sub(TRIED));
        while self.room.get(self.open).is_some_and(|&room| room < ROOM) {
            self.open += 1;
        }
        let mut tried = self.open;
        let base = loop {
            if tried == self.room.len() {
                self.block();
            }
            if let Some(base) = self.fits(tried, labels) {
                break base;
            }
            tried += 1;
        };
        self.based[base] = true;
        self.room[tried] -= labels.len() as u32;
        for &(byte, ..) in labels {
            self.trie.cells[base ^ usize::from(byte)].0 = TAKEN | u32::from(byte);
        }
        base as u32
    }

    /// A base in this block with which the cells at these bytes are free.
    fn fits(&self, block: usize, labels: &[(u8, usize, usize)]) -> Option<usize> {
        if (self.room[block] as usize) < labels.len() {
            return None;
        }
        let (&(first, ..), rest) = labels.split_first()?;
        let free = |cell: usize| self.trie.cells[cell].0 == 0;
        (block * BLOCK..(block + 1) * BLOCK).filter(|&cell| free(cell)).find_map(|cell| {
            let base = cell ^ usize::from(first);
            let fits = !self.based[base] && rest.iter().all(|&(byte, ..)| free(base ^ usize::from(byte)));
            fits.then_some(base)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_string_is_found() {
        let strings = ["a", "abc", "##b", "abcde", "é"];
        let trie = Trie::new(strings.iter().zip(0..).map(|(string, id)| (string.as_bytes(), id))).unwrap();
        for (text, expected) in [
            ("a", Some((0, 1))),
            ("ab", Some((0, 1))),
            ("abcd", Some((1, 3))),
            ("abcdef", Some((3, 5))),
            ("b", None),
            ("é", Some((4, 2))),
            ("", None),
        ] {
            assert_eq!(trie.longest(Trie::ROOT, text.as_bytes()), expected, "{text}");
        }
        let inside = trie.walk(b"##").unwrap();
        assert_eq!(trie.longest(inside, b"bc"), Some((2, 1)));
        assert_eq!(trie.walk(b"#a"), None);
    }

    #[test]
    fn many_strings_are_found_and_no_others() {
        let name = |number: u32| format!("{:x}", number.wrapping_mul(0x9e37_79b9)).into_bytes();
        // Every pair of bytes, so that nodes have all children that there can be.
        let pairs = (0..=255u8).flat_map(|first| (0..=255u8).map(move |second| vec![first, second]));
        let strings: Vec<Vec<u8>> = (0..5000).map(name).chain(pairs).collect();
        let trie = Trie::new(strings.iter().zip(0..).map(|(string, id)| (string.as_slice(), id))).unwrap();
        let value = |string: &[u8]| trie.walk(string).and_then(|node| trie.value(node));
        let all: std::collections::HashMap<&[u8], u32> = strings.iter().map(Vec::as_slice).zip(0..).collect();
        for string in &strings {
            assert_eq!(value(string), all.get(string.as_slice()).copied(), "{string:?}");
            assert_eq!(trie.longest(Trie::ROOT, string), Some((all[string.as_slice()], string.len())));
            // One byte less or another at the end is there only if it is a string of its own.
            let shorter = &string[..string.len() - 1];
            assert_eq!(value(shorter), all.get(shorter).copied(), "{shorter:?}");
            for byte in (0..=255).step_by(15) {
                let other = [string.as_slice(), &[byte]].concat();
                assert_eq!(value(&other), all.get(other.as_slice()).copied(), "{other:?}");
            }
        }
    }

    /// Of equal strings the later one counts.
    #[test]
    fn the_later_of_two_equal_strings_counts() {
        let strings: [(&[u8], u32); 4] = [(b"ab", 5), (b"a", 1), (b"ab", 3), (b"", 9)];
        let trie = Trie::new(strings.into_iter()).unwrap();
        assert_eq!(trie.longest(Trie::ROOT, b"abc"), Some((3, 2)));
        assert_eq!(trie.value(Trie::ROOT), Some(9));
    }
}

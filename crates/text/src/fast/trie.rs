//! Strings as a tree of bytes, for the longest one that a text begins with.

/// No node, no value.
const NONE: u32 = u32::MAX;

/// A tree of bytes. Its edges lie in one hash table: it is built in a few milliseconds for a whole vocabulary, and
/// takes as much memory whatever bytes the strings are made of.
pub(super) struct Trie {
    /// Edge (node, byte) and the node it leads to; slots that are free have the target [`NONE`].
    edges: Vec<(u32, u32)>,
    /// How far a hash is shifted to be a slot.
    shift: u32,
    /// Value of the string that ends at each node.
    values: Vec<u32>,
}

impl Trie {
    /// The node all strings begin at.
    pub const ROOT: u32 = 0;

    /// Of two equal strings the later value counts. `None` if there are more than 2²⁴ bytes in them.
    pub fn new<'a>(strings: impl Iterator<Item = (&'a [u8], u32)> + Clone) -> Option<Self> {
        let bytes: usize = strings.clone().map(|(string, _)| string.len()).sum();
        // An edge is a node and a byte in 32 bits.
        if bytes >= 1 << 24 {
            return None;
        }
        // Half of the edges of a vocabulary are shared; the table grows if they are not.
        let mut trie = Self { edges: Vec::new(), shift: 32, values: vec![NONE] };
        trie.resize((bytes.max(8)).next_power_of_two());
        for (string, value) in strings {
            let mut node = Self::ROOT;
            for &byte in string {
                node = trie.step(node, byte).unwrap_or_else(|| trie.grow(node, byte));
            }
            trie.values[node as usize] = value;
        }
        Some(trie)
    }

    /// The node one byte further.
    #[inline]
    pub fn step(&self, node: u32, byte: u8) -> Option<u32> {
        let edge = node << 8 | u32::from(byte);
        let mut slot = self.slot(edge);
        loop {
            let (found, target) = self.edges[slot];
            if target == NONE {
                return None;
            }
            if found == edge {
                return Some(target);
            }
            slot = (slot + 1) & (self.edges.len() - 1);
        }
    }

    /// Value of the string that ends at this node.
    #[inline]
    pub fn value(&self, node: u32) -> Option<u32> {
        let value = self.values[node as usize];
        (value != NONE).then_some(value)
    }

    /// The node after these bytes.
    pub fn walk(&self, bytes: &[u8]) -> Option<u32> {
        bytes.iter().try_fold(Self::ROOT, |node, &byte| self.step(node, byte))
    }

    /// The longest string below `node`, not empty, that `bytes` begin with: its value and its length.
    #[inline]
    pub fn longest(&self, mut node: u32, bytes: &[u8]) -> Option<(u32, usize)> {
        let mut found = None;
        for (index, &byte) in bytes.iter().enumerate() {
            match self.step(node, byte) {
                Some(next) => node = next,
                None => break,
            }
            if let Some(value) = self.value(node) {
                found = Some((value, index + 1));
            }
        }
        found
    }

    fn slot(&self, edge: u32) -> usize {
        (edge.wrapping_mul(0x9e37_79b1) >> self.shift) as usize
    }

    fn grow(&mut self, node: u32, byte: u8) -> u32 {
        let target = self.values.len() as u32;
        self.values.push(NONE);
        if self.values.len() * 2 > self.edges.len() {
            self.resize(self.edges.len() * 2);
        }
        self.insert(node << 8 | u32::from(byte), target);
        target
    }

    fn insert(&mut self, edge: u32, target: u32) {
        let mut slot = self.slot(edge);
        while self.edges[slot].1 != NONE {
            slot = (slot + 1) & (self.edges.len() - 1);
        }
        self.edges[slot] = (edge, target);
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.edges, vec![(0, NONE); slots]);
        self.shift = 32 - slots.trailing_zeros();
        for (edge, target) in old {
            if target != NONE {
                self.insert(edge, target);
            }
        }
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
    fn a_table_that_grows_keeps_every_string() {
        let strings: Vec<String> =
            (0..5000u32).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9))).collect();
        let trie = Trie::new(strings.iter().zip(0..).map(|(string, id)| (string.as_bytes(), id))).unwrap();
        for (string, id) in strings.iter().zip(0..) {
            assert_eq!(trie.walk(string.as_bytes()).and_then(|node| trie.value(node)), Some(id));
        }
    }
}

//! The pieces of words met before, in bounded memory. Each call has its own, so that no core waits for another.

/// A piece of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub id: u32,
    /// The bytes of the word that it begins and ends in.
    pub first: u32,
    pub last: u32,
    /// Spaces at the start and at the end of the token.
    pub lead: u32,
    pub trail: u32,
}

impl Token {
    /// The piece of these bytes of a word.
    #[inline]
    pub fn new(id: u32, word: &[u8], start: usize, end: usize) -> Self {
        let token = &word[start..end];
        let blank = |byte: &&u8| **byte == b' ';
        let lead = token.iter().take_while(blank).count() as u32;
        let trail = token.iter().rev().take_while(blank).count() as u32;
        Self { id, first: start as u32, last: end as u32 - 1, lead, trail }
    }
}

/// Bytes of the longest word that is kept: a longer one is not met again.
const LONGEST: usize = 64;
/// Most words that are kept; then all are forgotten. At a few pieces a word this is some megabytes.
const MOST: usize = 1 << 15;

/// A slot of the table.
#[derive(Clone, Copy, Default)]
struct Slot {
    hash: u64,
    /// Where the word and its pieces lie.
    word: u32,
    part: u32,
    /// How many bytes and pieces there are; no bytes in a slot that is free.
    bytes: u16,
    parts: u16,
}

/// Words and their pieces.
pub(super) struct Cache<P> {
    /// At most half of them are taken.
    slots: Vec<Slot>,
    taken: usize,
    words: Vec<u8>,
    parts: Vec<P>,
}

impl<P> Default for Cache<P> {
    fn default() -> Self {
        Self { slots: Vec::new(), taken: 0, words: Vec::new(), parts: Vec::new() }
    }
}

impl<P: Copy> Cache<P> {
    /// The pieces of a word, if it was met before.
    #[inline]
    pub fn get(&self, word: &[u8]) -> Option<&[P]> {
        if self.slots.is_empty() || word.len() > LONGEST {
            return None;
        }
        let hash = hash(word);
        let mut at = self.first(hash);
        loop {
            let slot = self.slots[at];
            if slot.bytes == 0 {
                return None;
            }
            if slot.hash == hash && &self.words[slot.word as usize..][..usize::from(slot.bytes)] == word {
                return Some(&self.parts[slot.part as usize..][..usize::from(slot.parts)]);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Keeps the pieces of a word that is not kept yet.
    pub fn insert(&mut self, word: &[u8], parts: &[P]) {
        // A word has no more pieces than bytes, but nothing here needs that to be so.
        if word.is_empty() || word.len() > LONGEST || parts.len() > LONGEST {
            return;
        }
        if self.taken == MOST {
            *self = Self::default();
        }
        if self.taken * 2 >= self.slots.len() {
            let slots = (self.slots.len() * 2).max(256);
            for slot in std::mem::replace(&mut self.slots, vec![Slot::default(); slots]) {
                if slot.bytes > 0 {
                    self.place(slot);
                }
            }
        }
        self.place(Slot {
            hash: hash(word),
            word: self.words.len() as u32,
            part: self.parts.len() as u32,
            bytes: word.len() as u16,
            parts: parts.len() as u16,
        });
        self.words.extend_from_slice(word);
        self.parts.extend_from_slice(parts);
        self.taken += 1;
    }

    fn place(&mut self, slot: Slot) {
        let mut at = self.first(slot.hash);
        while self.slots[at].bytes > 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = slot;
    }

    fn first(&self, hash: u64) -> usize {
        // The high bits are the mixed ones.
        (hash >> 40) as usize & (self.slots.len() - 1)
    }
}

fn hash(word: &[u8]) -> u64 {
    let mut hash = word.len() as u64;
    for chunk in word.chunks(8) {
        let number = match <[u8; 8]>::try_from(chunk) {
            Ok(eight) => u64::from_le_bytes(eight),
            Err(_) => chunk.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)),
        };
        hash = (hash.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_and_memory_is_bounded() {
        let mut cache = Cache::default();
        let part = |id| Token { id, first: 0, last: 1, lead: 0, trail: 0 };
        assert_eq!(cache.get(b"a"), None);
        for round in 0..3 * MOST as u32 {
            let word = format!("w{round}");
            assert_eq!(cache.get(word.as_bytes()), None);
            cache.insert(word.as_bytes(), &[part(round), part(round + 1)]);
            assert_eq!(cache.get(word.as_bytes()), Some(&[part(round), part(round + 1)][..]));
        }
        assert!(cache.slots.len() <= 2 * MOST && cache.parts.len() <= 2 * MOST && cache.taken <= MOST);
        for round in 3 * MOST as u32 - 1000..3 * MOST as u32 {
            assert!(cache.get(format!("w{round}").as_bytes()).is_some());
        }
        // No pieces is an answer, too; a word that is too long is not kept.
        cache.insert(b"none", &[]);
        assert_eq!(cache.get(b"none"), Some(&[][..]));
        cache.insert(&[b'x'; LONGEST + 1], &[part(1)]);
        assert_eq!(cache.get(&[b'x'; LONGEST + 1]), None);
    }
}

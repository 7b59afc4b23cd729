//! Short words met before and their pieces, a cache line a word. As [`Cache`](super::cache::Cache) it belongs to one
//! call; unlike there a word that is not met again makes room for the next.

use std::hint::black_box;

/// Bytes of the longest word that is kept.
pub(super) const LONGEST: usize = 15;
/// Most pieces of a word that is kept.
pub(super) const PIECES: usize = 8;
/// Most words that there is room for: two megabytes.
const MOST: usize = 1 << 15;

/// A word as a number: its bytes and its length. No word is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Key(u128);

impl Key {
    /// The word of so many bytes, which is not empty, at a place in a text; `None` if it is too long.
    #[inline]
    pub fn new(text: &[u8], at: usize, length: usize) -> Option<Self> {
        if length > LONGEST {
            return None;
        }
        let bytes = match text.get(at..at + 16) {
            Some(bytes) => <[u8; 16]>::try_from(bytes).unwrap_or_default(),
            None => {
                let mut bytes = [0; 16];
                for (to, from) in bytes.iter_mut().zip(&text[at..at + length]) {
                    *to = *from;
                }
                bytes
            }
        };
        let word = u128::from_le_bytes(bytes) & ((1 << (8 * length)) - 1);
        Some(Self(word | (length as u128) << 120))
    }
}

#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Slot {
    key: Key,
    ids: [u32; PIECES],
    /// The byte that each piece ends before.
    ends: [u8; PIECES],
    count: u8,
}

/// Words and their pieces.
#[derive(Default)]
pub(super) struct Known {
    /// A word lies in one of two that are side by side.
    slots: Vec<Slot>,
    taken: usize,
}

impl Known {
    /// The pieces of a word, if it is kept: ids, and the byte that each ends before.
    #[inline]
    pub fn get(&self, key: Key) -> Option<(&[u32], &[u8])> {
        if self.slots.is_empty() {
            return None;
        }
        let at = self.first(key);
        let slot = [at, at ^ 1].map(|at| &self.slots[at]).into_iter().find(|slot| slot.key == key)?;
        let count = usize::from(slot.count);
        Some((&slot.ids[..count], &slot.ends[..count]))
    }

    /// Has the places of words brought near, all at once, for a [`get`](Self::get) soon after.
    #[inline]
    pub fn fetch(&self, keys: impl Iterator<Item = Key>) {
        if !self.slots.is_empty() {
            let counts = |at: usize| self.slots[at].count ^ self.slots[at ^ 1].count;
            black_box(keys.fold(0, |all, key| all ^ counts(self.first(key))));
        }
    }

    /// Keeps the pieces of a word that is not kept yet: id and the byte it ends before, each where the last one ended.
    pub fn insert(&mut self, key: Key, pieces: impl ExactSizeIterator<Item = (u32, u8)>) {
        if pieces.len() > PIECES {
            return;
        }
        if self.taken * 2 >= self.slots.len() && self.slots.len() < MOST {
            let slots = (self.slots.len() * 2).max(256);
            self.taken = 0;
            for slot in std::mem::replace(&mut self.slots, vec![Slot::default(); slots]) {
                if slot.key != Key::default() {
                    self.place(slot);
                }
            }
        }
        let mut slot = Slot { key, count: pieces.len() as u8, ..Slot::default() };
        for ((id, end), (to, at)) in pieces.zip(slot.ids.iter_mut().zip(&mut slot.ends)) {
            (*to, *at) = (id, end);
        }
        self.place(slot);
    }

    /// The word that lay there goes next door, and who lived there is forgotten.
    fn place(&mut self, slot: Slot) {
        let at = self.first(slot.key);
        if self.slots[at].key != Key::default() {
            self.slots[at ^ 1] = self.slots[at];
        }
        self.slots[at] = slot;
        self.taken += 1;
    }

    #[inline]
    fn first(&self, key: Key) -> usize {
        let [low, high] = [key.0 as u64, (key.0 >> 64) as u64];
        let hash = (low.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32) ^ high)
            .wrapping_mul(0xd6e8_feb8_6659_fd93);
        (hash >> 40) as usize & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_the_words_own_and_memory_is_bounded() {
        let mut known = Known::default();
        let key = |word: &str| Key::new(word.as_bytes(), 0, word.len()).unwrap();
        assert_eq!(known.get(key("a")), None);
        let words: Vec<String> = (0..3 * MOST).map(|number| format!("w{number}")).collect();
        for (word, id) in words.iter().zip(0..) {
            assert_eq!(known.get(key(word)), None);
            known.insert(key(word), [(id, 1), (id + 1, word.len() as u8)].into_iter());
            assert_eq!(known.get(key(word)), Some((&[id, id + 1][..], &[1, word.len() as u8][..])));
        }
        assert_eq!(known.slots.len(), MOST);
        let mut found = 0;
        for (word, id) in words.iter().zip(0..) {
            if let Some((ids, _)) = known.get(key(word)) {
                assert_eq!(ids, [id, id + 1]);
                found += 1;
            }
        }
        assert!(found > MOST / 2 && found <= MOST, "{found}");
        // No pieces is an answer, too; too many are not kept.
        known.insert(key("none"), std::iter::empty());
        assert_eq!(known.get(key("none")), Some((&[][..], &[][..])));
        known.insert(key("many"), [(1, 1); PIECES + 1].into_iter());
        assert_eq!(known.get(key("many")), None);
    }

    #[test]
    fn a_key_is_the_word_wherever_it_stands() {
        let text = "a\0\0bc a\0\0b 0123456789abcdef a";
        assert_eq!(Key::new(text.as_bytes(), 0, 3), Key::new(text.as_bytes(), 6, 3));
        assert_eq!(Key::new(text.as_bytes(), 0, 1), Key::new(text.as_bytes(), text.len() - 1, 1));
        assert_ne!(Key::new(text.as_bytes(), 0, 3), Key::new(text.as_bytes(), 0, 2));
        assert_eq!(Key::new(text.as_bytes(), 11, 15), Key::new(b"0123456789abcde", 0, 15));
        assert_eq!(Key::new(text.as_bytes(), 11, 16), None);
    }
}

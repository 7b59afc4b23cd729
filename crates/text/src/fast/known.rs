//! Short words met before and their pieces, two to a cache line. As [`Cache`](super::cache::Cache) it belongs to one
//! call; unlike there a word that is not met again makes room for the next.

use std::hint::black_box;

/// Bytes of the longest word that is kept.
pub(super) const LONGEST: usize = 15;
/// Most pieces of a word that is kept.
const PIECES: usize = 4;
/// Most words that there is room for, in pairs: four megabytes.
const MOST: usize = 1 << 16;
/// Bits of an id, of the byte that a piece ends before, and of both.
const ID: u32 = 21;
const END: u32 = 4;
const PIECE: u32 = ID + END;

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

/// The pieces of a word as a number: id and end of each from the lowest bits up, and above them how many there are. It
/// iterates over them: id, and the byte that each ends before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pieces(u128);

impl Pieces {
    const COUNT: u32 = PIECE * PIECES as u32;
    /// More pieces than there is room for.
    const MANY: Self = Self(7 << Self::COUNT);

    fn new(pieces: impl ExactSizeIterator<Item = (u32, u8)>) -> Self {
        let mut all = (pieces.len() as u128) << Self::COUNT;
        if pieces.len() > PIECES {
            return Self::MANY;
        }
        for ((id, end), at) in pieces.zip(0..) {
            if id >= 1 << ID {
                return Self::MANY;
            }
            all |= u128::from(id | u32::from(end) << ID) << (PIECE * at);
        }
        Self(all)
    }

    /// True if the word is known to have pieces that are not kept here.
    #[inline]
    pub fn elsewhere(self) -> bool {
        self == Self::MANY
    }
}

impl Iterator for Pieces {
    type Item = (u32, usize);

    #[inline]
    fn next(&mut self) -> Option<(u32, usize)> {
        let count = self.0 >> Self::COUNT;
        if count == 0 {
            return None;
        }
        let piece = self.0 as u32 & ((1 << PIECE) - 1);
        let rest = self.0 & ((1 << Self::COUNT) - 1);
        *self = Self(rest >> PIECE | (count - 1) << Self::COUNT);
        Some((piece & ((1 << ID) - 1), (piece >> ID) as usize))
    }
}

#[derive(Clone, Copy, Default)]
struct Slot {
    key: Key,
    pieces: Pieces,
}

/// Two words, in one cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Pair([Slot; 2]);

/// Words and their pieces.
#[derive(Default)]
pub(super) struct Known {
    pairs: Vec<Pair>,
    taken: usize,
}

impl Known {
    /// The pieces of a word, if it is kept.
    #[inline]
    pub fn get(&self, key: Key) -> Option<Pieces> {
        let Pair([first, second]) = self.pairs.get(self.place_of(key))?;
        if first.key == key {
            return Some(first.pieces);
        }
        (second.key == key).then_some(second.pieces)
    }

    /// Has the places of words brought near, all at once, for a [`get`](Self::get) soon after.
    #[inline]
    pub fn fetch(&self, keys: impl Iterator<Item = Key>) {
        if !self.pairs.is_empty() {
            black_box(keys.fold(0, |all, key| all ^ self.pairs[self.place_of(key)].0[0].pieces.0 as u32));
        }
    }

    /// Keeps the pieces of a word that is not kept yet: id and the byte it ends before, each where the last one ended.
    /// Of a word that has too many it keeps that they are [elsewhere](Pieces::elsewhere), and says false.
    pub fn insert(&mut self, key: Key, pieces: impl ExactSizeIterator<Item = (u32, u8)>) -> bool {
        if self.taken >= self.pairs.len() && self.pairs.len() < MOST {
            let pairs = (self.pairs.len() * 2).max(128);
            self.taken = 0;
            for Pair(slots) in std::mem::replace(&mut self.pairs, vec![Pair::default(); pairs]) {
                // The one that came later was put first.
                slots
                    .into_iter()
                    .rev()
                    .filter(|slot| slot.key != Key::default())
                    .for_each(|slot| self.place(slot));
            }
        }
        let pieces = Pieces::new(pieces);
        self.place(Slot { key, pieces });
        !pieces.elsewhere()
    }

    /// The word that lay there goes next door, and who lived there is forgotten.
    fn place(&mut self, slot: Slot) {
        let at = self.place_of(slot.key);
        let Pair(slots) = &mut self.pairs[at];
        *slots = [slot, slots[0]];
        self.taken += 1;
    }

    /// Number of the pair that a word is in. There must be pairs for that to be one of them.
    #[inline]
    fn place_of(&self, key: Key) -> usize {
        let [low, high] = [key.0 as u64, (key.0 >> 64) as u64];
        let hash = (low.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32) ^ high)
            .wrapping_mul(0xd6e8_feb8_6659_fd93);
        (hash >> 40) as usize & self.pairs.len().wrapping_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_the_words_own_and_memory_is_bounded() {
        let mut known = Known::default();
        let key = |word: &str| Key::new(word.as_bytes(), 0, word.len()).unwrap();
        let found = |known: &Known, word: &str| known.get(key(word)).map(Iterator::collect::<Vec<_>>);
        assert_eq!(found(&known, "a"), None);
        let words: Vec<String> = (0..6 * MOST).map(|number| format!("w{number}")).collect();
        for (word, id) in words.iter().zip(0..) {
            assert_eq!(found(&known, word), None);
            known.insert(key(word), [(id, 1), (id + 1, word.len() as u8)].into_iter());
            assert_eq!(found(&known, word), Some(vec![(id, 1), (id + 1, word.len())]));
        }
        assert_eq!(known.pairs.len(), MOST);
        let mut kept = 0;
        for (word, id) in words.iter().zip(0..) {
            if let Some(pieces) = found(&known, word) {
                assert_eq!(pieces, [(id, 1), (id + 1, word.len())]);
                kept += 1;
            }
        }
        assert!(kept > MOST && kept <= 2 * MOST, "{kept}");
        // No pieces is an answer, too.
        known.insert(key("none"), std::iter::empty());
        assert_eq!(found(&known, "none"), Some(vec![]));
        known.insert(key("four"), [(1, 1), ((1 << ID) - 1, 2), (0, 3), (7, 15)].into_iter());
        assert_eq!(found(&known, "four"), Some(vec![(1, 1), ((1 << ID) - 1, 2), (0, 3), (7, 15)]));
        assert!(!known.get(key("four")).unwrap().elsewhere());
        // What does not fit is known not to.
        known.insert(key("many"), [(1, 1); PIECES + 1].into_iter());
        known.insert(key("high"), [(1 << ID, 1)].into_iter());
        assert!(["many", "high"].iter().all(|word| known.get(key(word)).unwrap().elsewhere()));
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

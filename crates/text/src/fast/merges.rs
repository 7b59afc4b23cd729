//! The merges of byte-level BPE, in the `tokenizers` crate's own order: the pair of the lowest rank first, of several
//! the leftmost.
//!
//! The crate goes on where a pair has changed but still makes the same token. Here it never does: the tokens that
//! are made of a place are the bytes from there on, so two pairs at one place that make the same token are one pair.
//! Where that does not hold (two tokens with one id, prefixes and suffixes, unknown tokens) there are no [`Merges`],
//! or none for the word.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::ops::Range;

use serde::Deserialize;
use tokenizers::models::bpe::BPE;

/// No token, no place.
const NONE: u32 = u32::MAX;
/// Rank of a pair that does not merge. Larger than all others, and positive in 32 bits with a sign.
const APART: u32 = i32::MAX as u32;
/// Rank of a pair of bytes that no token holds side by side: nothing ever merges over that border.
const BORDER: u32 = APART - 1;
/// Numbers of the tokens of bytes come before this.
const BYTES: u32 = 256;
/// Bits of a token's number and of a rank in the table of pairs.
const TOKEN: u32 = 21;
const RANK: u32 = 22;
/// Bits that tell pairs that do not merge: 64 kilobytes.
const HASHES: usize = 1 << 19;
/// Bytes up to which the lowest rank is looked for one by one. Above, what that takes grows with their square.
const FEW: usize = 512;

/// What a BPE model merges.
///
/// Tokens have numbers of their own here: those of the bytes come first, and then what merges make, in the order of the
/// merges. Most models have one merge for each token, so that the rank of a merge says what it makes.
pub(super) struct Merges {
    /// Id of each token by its number; of a byte without token [`NONE`].
    ids: Vec<u32>,
    /// Of two bytes what [`Near`] says, in 128 kilobytes.
    bytes: Box<[u16]>,
    pairs: Pairs,
    /// Token that a merge makes, by rank; empty if it is just the one of the same place.
    made: Vec<u32>,
    /// Words that are a token whatever the merges say.
    whole: HashMap<Vec<u8>, u32>,
}

/// What the table of pairs of bytes has for a pair: its rank, or one of these.
struct Near;

impl Near {
    /// [`BORDER`].
    const BORDER: u16 = u16::MAX;
    /// [`APART`].
    const APART: u16 = u16::MAX - 1;
    /// A rank that has no room there: the table of all pairs knows it.
    const FAR: u16 = u16::MAX - 2;
}

/// A word while it is merged, in buffers that the next word uses again. A token lies at its first byte.
#[derive(Default)]
pub(super) struct Merging {
    tokens: Vec<u32>,
    /// Rank of the token and the next; [`APART`] where no token lies.
    ranks: Vec<u32>,
    /// Where the next token lies, and the one before.
    next: Vec<u32>,
    before: Vec<u32>,
    queue: BinaryHeap<Reverse<(u32, u32)>>,
}

/// The one field that is read of a model as it is written.
#[derive(Deserialize)]
struct Written {
    merges: Vec<(String, String)>,
}

impl Merges {
    /// `None` if the model does more than is known here. `letters` are the characters that stand for the bytes.
    pub fn new(model: &BPE, letters: &[char; 256], vocab: &[(String, u32)]) -> Option<Self> {
        let affixed = |affix: &Option<String>| affix.as_ref().is_some_and(|affix| !affix.is_empty());
        let ids: HashMap<&str, u32> = vocab.iter().map(|(token, id)| (token.as_str(), *id)).collect();
        let distinct: HashSet<u32> = ids.values().copied().collect();
        let fits = distinct.iter().all(|&id| id < (1 << TOKEN) - 1);
        if affixed(&model.continuing_subword_prefix)
            || affixed(&model.end_of_word_suffix)
            || distinct.len() != vocab.len()
            || !fits
        {
            return None;
        }
        // The crate shows its merges in no other way; they come in the order of their ranks.
        let written = serde_json::to_vec(model).ok()?;
        let Written { merges } = serde_json::from_slice(&written).ok()?;
        if merges.len() >= (1 << TOKEN) - BYTES as usize {
            return None;
        }
        let spelled: HashMap<char, u8> = letters.iter().copied().zip(0..=255).collect();
        let bytes_of = |token: &str| -> Option<Vec<u8>> {
            token.chars().map(|letter| spelled.get(&letter).copied()).collect()
        };
        let letter_ids = letters.map(|letter| ids.get(letter.to_string().as_str()).copied());
        let mut found = Self {
            ids: letter_ids.iter().map(|id| id.unwrap_or(NONE)).collect(),
            bytes: vec![Near::BORDER; 1 << 16].into(),
            pairs: Pairs::new(merges.len()),
            made: Vec::with_capacity(merges.len()),
            whole: HashMap::new(),
        };
        let mut numbers: HashMap<u32, u32> =
            (0..).zip(letter_ids).filter_map(|(byte, id)| Some((id?, byte))).collect();
        for (left, right) in &merges {
            let id = *ids.get(format!("{left}{right}").as_str())?;
            let new = found.ids.len() as u32;
            let number = *numbers.entry(id).or_insert(new);
            if number == new {
                found.ids.push(id);
            }
            found.made.push(number);
        }
        for (rank, (left, right)) in (0..).zip(&merges) {
            let pair = [left, right].map(|part| ids.get(part.as_str()));
            let [Some(left_id), Some(right_id)] = pair else { return None };
            // What is neither a byte nor made of any is never met.
            if let (Some(&left), Some(&right)) = (numbers.get(left_id), numbers.get(right_id)) {
                found.pairs.insert((left, right), rank);
            }
            // What is not spelled in bytes no word leads to.
            for two in bytes_of(&format!("{left}{right}")).unwrap_or_default().windows(2) {
                found.bytes[pair_of(two[0], two[1])] = Near::APART;
            }
        }
        if found.made.iter().zip(BYTES..).all(|(&made, number)| made == number) {
            found.made = Vec::new();
        }
        for (first, second) in (0..=255).flat_map(|first| (0..=255).map(move |second| (first, second))) {
            let near = &mut found.bytes[pair_of(first, second)];
            if *near != Near::BORDER {
                *near = match found.pairs.get((u32::from(first), u32::from(second))) {
                    APART => Near::APART,
                    rank => u16::try_from(rank).unwrap_or(Near::FAR).min(Near::FAR),
                };
            }
        }
        if model.ignore_merges {
            let words = vocab.iter().filter_map(|(token, id)| Some((bytes_of(token)?, *id)));
            found.whole = words.collect();
        }
        Some(found)
    }

    /// Hands over the tokens of a word, in order: id, start and end in bytes. False, and nothing is handed over, if a
    /// byte has no token.
    pub fn split(
        &self,
        word: &[u8],
        merging: &mut Merging,
        mut token: impl FnMut(u32, usize, usize),
    ) -> bool {
        if !self.whole.is_empty()
            && let Some(&id) = self.whole.get(word)
        {
            token(id, 0, word.len());
            return true;
        }
        if word.iter().any(|&byte| self.ids[usize::from(byte)] == NONE) {
            return false;
        }
        merging.begin(word, self);
        let mut start = 0;
        while start < word.len() {
            let borders = &merging.ranks[start..];
            let length = borders.iter().position(|&rank| rank == BORDER).unwrap_or(borders.len() - 1) + 1;
            let part = start..start + length;
            match length {
                1 => {}
                2..=FEW => {
                    while let Some(at) = merging.lowest(&part) {
                        merging.merge(at, &part, self);
                    }
                }
                _ => merging.merge_many(&part, self),
            }
            while start < part.end {
                let next = merging.next[start] as usize;
                token(self.ids[merging.tokens[start] as usize], start, next);
                start = next;
            }
        }
        true
    }

    /// Rank of two bytes side by side, [`APART`] or [`BORDER`].
    #[inline]
    fn near(&self, first: u8, second: u8) -> u32 {
        match self.bytes[pair_of(first, second)] {
            Near::BORDER => BORDER,
            Near::APART => APART,
            Near::FAR => self.pairs.get((u32::from(first), u32::from(second))),
            rank => u32::from(rank),
        }
    }
}

impl Merging {
    /// A token for each byte of a word, which has at least one.
    fn begin(&mut self, word: &[u8], merges: &Merges) {
        let length = word.len() as u32;
        self.tokens.clear();
        self.tokens.extend(word.iter().map(|&byte| u32::from(byte)));
        self.ranks.clear();
        self.ranks.extend(word.windows(2).map(|two| merges.near(two[0], two[1])));
        self.ranks.push(BORDER);
        self.next.clear();
        self.next.extend(1..=length);
        self.before.clear();
        self.before.push(NONE);
        self.before.extend(0..length - 1);
    }

    /// Where in a part of the word the leftmost pair of the lowest rank lies.
    #[inline]
    fn lowest(&self, part: &Range<usize>) -> Option<usize> {
        let ranks = &self.ranks[part.clone()];
        let lowest = ranks.iter().fold(BORDER as i32, |lowest, &rank| lowest.min(rank as i32)) as u32;
        if lowest == BORDER {
            return None;
        }
        ranks.iter().position(|&rank| rank == lowest).map(|at| part.start + at)
    }

    /// Merges the token at this place with the next, within a part of the word. Gives the places before and after that
    /// have a new rank.
    #[inline(always)]
    fn merge(&mut self, at: usize, part: &Range<usize>, merges: &Merges) -> [usize; 2] {
        let rank = self.ranks[at];
        let made = merges.made.get(rank as usize).copied().unwrap_or(BYTES + rank);
        let gone = self.next[at] as usize;
        let next = self.next[gone] as usize;
        self.tokens[at] = made;
        self.ranks[gone] = APART;
        self.next[at] = next as u32;
        self.ranks[at] = APART;
        if next < part.end {
            self.before[next] = at as u32;
            self.ranks[at] = merges.pairs.get((made, self.tokens[next]));
        }
        let before = self.before[at] as usize;
        if at > part.start {
            self.ranks[before] = merges.pairs.get((self.tokens[before], made));
        }
        [before, at]
    }

    /// All merges of a part of the word, with a queue of their ranks.
    fn merge_many(&mut self, part: &Range<usize>, merges: &Merges) {
        let mut queue = std::mem::take(&mut self.queue).into_vec();
        queue.clear();
        let ranked = self.ranks[part.clone()].iter().zip(part.start as u32..);
        queue.extend(ranked.filter(|(rank, _)| **rank < BORDER).map(|(&rank, at)| Reverse((rank, at))));
        self.queue = BinaryHeap::from(queue);
        while let Some(Reverse((rank, at))) = self.queue.pop() {
            // What has merged otherwise since has another rank.
            if self.ranks[at as usize] != rank {
                continue;
            }
            for at in self.merge(at as usize, part, merges) {
                if let Some(&rank) = self.ranks.get(at).filter(|rank| **rank < BORDER) {
                    self.queue.push(Reverse((rank, at as u32)));
                }
            }
        }
    }

    /// Gives back what a very long word needed.
    pub fn shrink_to(&mut self, kept: usize) {
        for buffer in [&mut self.tokens, &mut self.ranks, &mut self.next, &mut self.before] {
            buffer.clear();
            buffer.shrink_to(kept);
        }
        self.queue.clear();
        self.queue.shrink_to(kept);
    }
}

#[inline]
fn pair_of(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}

/// Ranks of pairs of tokens: a table of one number a pair, which most processors can keep near.
struct Pairs {
    /// A bit for each hash that a pair has: most pairs that are asked for do not merge, and this is smaller.
    hashes: Box<[u64]>,
    /// Two tokens and their rank; all bits where a slot is free. At most three quarters are taken: more room would cost
    /// more waiting for memory than it saves looking further.
    slots: Vec<u64>,
    shift: u32,
}

impl Pairs {
    const FREE: u64 = u64::MAX;

    fn new(pairs: usize) -> Self {
        let slots = (pairs * 4 / 3 + 1).max(2).next_power_of_two();
        Self {
            hashes: vec![0; HASHES / 64].into(),
            slots: vec![Self::FREE; slots],
            shift: 64 - slots.trailing_zeros(),
        }
    }

    #[inline]
    fn key((left, right): (u32, u32)) -> u64 {
        u64::from(left) << TOKEN | u64::from(right)
    }

    #[inline]
    fn hash(key: u64) -> u64 {
        key.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[inline]
    fn bit(hash: u64) -> (usize, u64) {
        let bit = (hash >> 32) as usize % HASHES;
        (bit / 64, 1 << (bit % 64))
    }

    fn insert(&mut self, pair: (u32, u32), rank: u32) {
        let key = Self::key(pair);
        let hash = Self::hash(key);
        let (index, bit) = Self::bit(hash);
        self.hashes[index] |= bit;
        let mut slot = (hash >> self.shift) as usize;
        while self.slots[slot] != Self::FREE {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        self.slots[slot] = key << RANK | u64::from(rank);
    }

    /// [`APART`] if it is not there.
    #[inline]
    fn get(&self, pair: (u32, u32)) -> u32 {
        let key = Self::key(pair);
        let hash = Self::hash(key);
        let (index, bit) = Self::bit(hash);
        if self.hashes[index] & bit == 0 {
            return APART;
        }
        let mut slot = (hash >> self.shift) as usize;
        loop {
            let found = self.slots[slot];
            if found >> RANK == key {
                return (found & ((1 << RANK) - 1)) as u32;
            }
            if found == Self::FREE {
                return APART;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokenizers::Model;
    use tokenizers::models::bpe::Vocab;

    use super::*;
    use crate::fast::tests::config;

    /// A letter for each byte, not those of GPT-2.
    fn letters() -> [char; 256] {
        std::array::from_fn(|byte| char::from_u32(0x1000 + byte as u32).unwrap())
    }

    fn spell(bytes: &[u8]) -> String {
        bytes.iter().map(|&byte| letters()[usize::from(byte)]).collect()
    }

    /// Tokens of the letters below `a + 4`, each made of two before it, and their merges: several ways to one token
    /// among them.
    fn grow(pairs: &[(usize, usize)]) -> (Vec<String>, Vec<(String, String)>) {
        let mut tokens: Vec<String> = (0..=255).map(|byte| spell(&[byte])).collect();
        let mut few: Vec<String> = (b'a'..b'e').map(|byte| spell(&[byte])).collect();
        let mut merges = Vec::new();
        for &(left, right) in pairs {
            let (left, right) = (few[left % few.len()].clone(), few[right % few.len()].clone());
            let made = format!("{left}{right}");
            if made.chars().count() > 12 {
                continue;
            }
            if !tokens.contains(&made) {
                tokens.push(made.clone());
                few.push(made);
            }
            merges.push((left, right));
        }
        (tokens, merges)
    }

    fn build(tokens: &[String], merges: Vec<(String, String)>, whole: bool) -> (BPE, Merges) {
        let vocab: Vec<(String, u32)> = tokens.iter().cloned().zip(7..).collect();
        let model = BPE::builder()
            .vocab_and_merges(vocab.iter().cloned().collect::<Vocab>(), merges)
            .ignore_merges(whole)
            .cache_capacity(0)
            .build()
            .unwrap();
        let merges = Merges::new(&model, &letters(), &vocab).unwrap();
        (model, merges)
    }

    /// One that merges, rarely one that does not: a word is long only as far as it has no border in it.
    fn letter() -> impl Strategy<Value = u8> {
        prop_oneof![99 => b'a'..b'e', 1 => Just(b'e')]
    }

    fn check(model: &BPE, merges: &Merges, word: &[u8]) -> usize {
        let mut got = Vec::new();
        let spelled =
            merges.split(word, &mut Merging::default(), |id, start, end| got.push((id, start, end)));
        assert!(spelled);
        let expected = model.tokenize(&spell(word)).unwrap();
        let expected: Vec<_> =
            expected.iter().map(|token| (token.id, token.offsets.0 / 3, token.offsets.1 / 3)).collect();
        assert_eq!(got, expected, "{word:?}");
        got.len()
    }

    proptest! {
        #![proptest_config(config(200, 1))]

        #[test]
        fn merges_are_the_crates_in_whatever_order_they_rank(
            pairs in prop::collection::vec((0..200usize, 0..200usize), 0..60),
            words in prop::collection::vec(prop::collection::vec(letter(), 1..200), 20),
            turn in 0..60usize,
            whole: bool,
        ) {
            let (tokens, mut merges) = grow(&pairs);
            for turned in [false, true] {
                if turned {
                    merges.reverse();
                    let middle = turn % merges.len().max(1);
                    merges.rotate_left(middle);
                }
                let (model, ours) = build(&tokens, merges.clone(), whole);
                for word in &words {
                    for end in [1, 2, 3, 7, FEW, FEW + 1, word.len()] {
                        check(&model, &ours, &word[..end.min(word.len())]);
                    }
                }
            }
        }
    }

    /// A hundred thousand bytes in well under a second: what grew with their square would take minutes.
    #[test]
    fn a_word_without_end_takes_no_time_without_end() {
        let pairs: Vec<(usize, usize)> = (0..60).map(|number| (number * 7, number * 5)).collect();
        let (tokens, merges) = grow(&pairs);
        let (model, ours) = build(&tokens, merges, false);
        for word in [vec![b'a'; 100_000], (0..100_000u32).map(|at| b'a' + (at * at / 7 % 4) as u8).collect()]
        {
            assert!(check(&model, &ours, &word) < word.len());
        }
    }

    #[test]
    fn a_byte_without_token_is_left_to_the_crate() {
        let (mut tokens, merges) = grow(&[(0, 1)]);
        let gone = spell(b"z");
        tokens.retain(|token| *token != gone);
        let (_, ours) = build(&tokens, merges, false);
        assert!(!ours.split(b"abz", &mut Merging::default(), |_, _, _| unreachable!(
            "a token of a word that has none"
        )));
        assert!(ours.split(b"ab", &mut Merging::default(), |_, _, _| {}));
    }

    #[test]
    fn tokens_that_share_an_id_are_left_to_the_crate() {
        let (tokens, _) = grow(&[]);
        let mut vocab: Vec<(String, u32)> = tokens.iter().cloned().zip(0..).collect();
        let ids = |vocab: &[(String, u32)]| vocab.iter().cloned().collect::<Vocab>();
        assert!(Merges::new(&BPE::new(ids(&vocab), Vec::new()), &letters(), &vocab).is_some());
        vocab[5].1 = 9;
        assert!(Merges::new(&BPE::new(ids(&vocab), Vec::new()), &letters(), &vocab).is_none());
        vocab[5].1 = 1 << TOKEN;
        assert!(Merges::new(&BPE::new(ids(&vocab), Vec::new()), &letters(), &vocab).is_none());
    }
}

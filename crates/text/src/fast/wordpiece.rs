//! BERT's normalizer, pre-tokenizer and WordPiece in one pass over the bytes of a text.
//!
//! Words of plain ASCII are read where they stand. All others are put together character by character, with the
//! place in the text that each byte came from.

use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;

use super::chars::{Chars, Class, Made};
use super::known::Key;
use super::trie::Trie;
use super::{Part, Piece, Unsure, Work};

/// Words of up to so many bytes are looked up as one number.
const SHORT: usize = 7;

/// An ASCII character: what it does and what it becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ascii {
    does: Does,
    to: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Part of a word.
    Word,
    /// Ends a word.
    Space,
    /// A word of its own.
    Alone,
    /// Not told by the byte alone.
    Other,
}

/// WordPiece over BERT's words.
pub(super) struct BertWords {
    chars: Chars,
    ascii: [Ascii; 256],
    short: Short,
    trie: Trie,
    /// Node below which the pieces are that continue a word.
    inside: Option<u32>,
    unknown: u32,
    /// Characters of the longest word that is not unknown for its length.
    longest: usize,
}

impl BertWords {
    /// `None` if the vocabulary is none that this can hold.
    pub fn new(normalizer: BertNormalizer, model: &WordPiece, vocab: &[(String, u32)]) -> Option<Self> {
        let trie = Trie::new(vocab.iter().map(|(token, id)| (token.as_bytes(), *id)))?;
        let unknown = trie.walk(model.unk_token.as_bytes()).and_then(|node| trie.value(node))?;
        let prefix = model.continuing_subword_prefix.as_str();
        let longest = model.max_input_chars_per_word;
        // A word that is too long is unknown even if the vocabulary has it.
        let short = vocab.iter().filter(|(token, _)| {
            token.len() <= longest.min(SHORT) && (prefix.is_empty() || !token.starts_with(prefix))
        });
        let short = Short::new(short.map(|(token, id)| (token.as_bytes(), *id)));
        let inside = trie.walk(prefix.as_bytes());
        let chars = Chars::new(normalizer);
        let mut ascii = [Ascii { does: Does::Other, to: 0 }; 256];
        for byte in 0..128u8 {
            let (does, to) = match chars.get(char::from(byte)) {
                Made::Space(to) => (Does::Space, to),
                Made::Word(to) => (Does::Word, to),
                Made::Alone(to) => (Does::Alone, to),
                _ => continue,
            };
            if to.is_ascii() {
                ascii[usize::from(byte)] = Ascii { does, to: to as u8 };
            }
        }
        Some(Self { chars, ascii, short, trie, inside, unknown, longest })
    }

    /// The characters as the normalizer makes them.
    pub fn chars(&self) -> &Chars {
        &self.chars
    }

    /// Puts the pieces of a part of a text at the end of `work.pieces`, and gives the number of the next word.
    pub fn pieces(&self, part: Part<'_>, work: &mut Work) -> Result<u32, Unsure> {
        let Part { text, start: mut at, mut word, .. } = part;
        let bytes = text.as_bytes();
        while let Some(&byte) = bytes.get(at) {
            let ascii = self.ascii[usize::from(byte)];
            match ascii.does {
                Does::Space => at += 1,
                Does::Alone => {
                    self.short(&[ascii.to], work, |id, _, _| Piece::new(id, at, at + 1, word));
                    word += 1;
                    at += 1;
                }
                Does::Word => match self.plain_word(&bytes[at..]) {
                    Some((key, length)) => {
                        match self.short.get(key) {
                            Some(id) => work.pieces.push(Piece::new(id, at, at + length, word)),
                            None => {
                                let plain = bytes[at..at + length].iter();
                                work.word.clear();
                                work.word.extend(plain.map(|&byte| self.ascii[usize::from(byte)].to));
                                self.split(work, |id, from, to| Piece::new(id, at + from, at + to, word));
                            }
                        }
                        word += 1;
                        at += length;
                    }
                    None => at = self.mixed(part, at, &mut word, work)?,
                },
                Does::Other => at = self.mixed(part, at, &mut word, work)?,
            }
        }
        Ok(word)
    }

    /// The [`Short`] key and the length of a word that is all ASCII; `None` if it turns out not to be.
    #[inline]
    fn plain_word(&self, bytes: &[u8]) -> Option<(u64, usize)> {
        let (mut key, mut length) = (0, 0);
        for &byte in bytes {
            let ascii = self.ascii[usize::from(byte)];
            match ascii.does {
                Does::Word => {
                    key = key << 8 | u64::from(ascii.to);
                    length += 1;
                }
                Does::Space | Does::Alone => break,
                Does::Other => return None,
            }
        }
        Some((if length <= SHORT { Short::finish(key, length) } else { 0 }, length))
    }

    /// Puts the pieces of a word that may be in the vocabulary as it is.
    #[inline]
    fn short(&self, bytes: &[u8], work: &mut Work, piece: impl Fn(u32, usize, usize) -> Piece) {
        let key = bytes.iter().fold(0, |key, &byte| key << 8 | u64::from(byte));
        let fits = bytes.len() <= SHORT;
        match self.short.get(if fits { Short::finish(key, bytes.len()) } else { 0 }) {
            Some(id) => work.pieces.push(piece(id, 0, bytes.len())),
            None => {
                work.word.clear();
                work.word.extend_from_slice(bytes);
                self.split(work, piece);
            }
        }
    }

    /// Cuts the normalized word in `work.word` into the longest pieces of the vocabulary.
    fn split(&self, work: &mut Work, piece: impl Fn(u32, usize, usize) -> Piece) {
        let Work { word: bytes, known, cuts, pieces, .. } = work;
        let key = Key::new(bytes, 0, bytes.len());
        let kept = key.and_then(|key| known.get(key));
        if let Some(kept) = kept.filter(|kept| !kept.elsewhere()) {
            let mut start = 0;
            for (id, end) in kept {
                pieces.push(piece(id, start, end));
                start = end;
            }
            return;
        }
        self.cut(bytes, cuts);
        let mut start = 0;
        for &(id, end) in &*cuts {
            pieces.push(piece(id, start, end));
            start = end;
        }
        if let (Some(key), None) = (key, kept) {
            known.insert(key, cuts.iter().map(|&(id, end)| (id, end as u8)));
        }
    }

    /// The pieces of a word: id, and the byte that each ends before.
    fn cut(&self, bytes: &[u8], cuts: &mut Vec<(u32, usize)>) {
        cuts.clear();
        // A word has at most as many characters as bytes, which saves most words the counting.
        let mut known = bytes.len() <= self.longest
            || bytes.iter().filter(|&&byte| !is_continuation(byte)).count() <= self.longest;
        let mut at = 0;
        let mut node = Some(Trie::ROOT);
        while known && at < bytes.len() {
            match node.and_then(|node| self.trie.longest(node, &bytes[at..])) {
                Some((id, length)) => {
                    at += length;
                    cuts.push((id, at));
                    node = self.inside;
                }
                None => known = false,
            }
        }
        if !known {
            cuts.clear();
            cuts.push((self.unknown, bytes.len()));
        }
    }

    /// Reads the characters from `at` on up to the end of a word, and gives where they end.
    fn mixed(&self, part: Part<'_>, at: usize, word: &mut u32, work: &mut Work) -> Result<usize, Unsure> {
        work.word.clear();
        work.from.clear();
        let mut end = at;
        while let Some(&byte) = part.text.as_bytes().get(end) {
            let start = end;
            let ascii = self.ascii[usize::from(byte)];
            if ascii.does == Does::Word {
                end += 1;
                work.word.push(ascii.to);
                work.from.push((start as u32, end as u32));
                continue;
            }
            let Some(char) = part.text[start..].chars().next() else { break };
            end += char.len_utf8();
            let from = (start as u32, end as u32);
            match self.chars.get(char) {
                Made::Nothing => continue,
                Made::Word(to) => {
                    push(work, to, from);
                    continue;
                }
                Made::Space(_) => self.flush(word, work),
                Made::Alone(to) | Made::Spaced(to) => self.alone(to, from, word, work),
                Made::Several(several) => {
                    several.iter().for_each(|&(class, to)| self.put(class, to, from, word, work));
                    if !work.word.is_empty() {
                        continue;
                    }
                }
                Made::Unsure => {
                    end = self.together(part, start, word, work)?;
                    continue;
                }
            }
            return Ok(end);
        }
        self.flush(word, work);
        Ok(end)
    }

    /// Reads on from a character whose neighbours matter up to the next plain ASCII, and gives where that begins.
    #[cold]
    fn together(&self, part: Part<'_>, at: usize, word: &mut u32, work: &mut Work) -> Result<usize, Unsure> {
        let Part { text, start, .. } = part;
        let plain = |byte: &u8| byte.is_ascii() && self.ascii[usize::from(*byte)].does != Does::Other;
        // One that is plain at each side, where there is one. It becomes one character.
        let begin = start + text.as_bytes()[start..at].iter().rposition(plain).unwrap_or(0);
        let rest = text.as_bytes()[at..].iter().position(plain);
        let end = rest.map_or(text.len(), |length| at + length);
        let mut made = self.chars.together(&text[begin..end + usize::from(rest.is_some())]).ok_or(Unsure)?;
        made.truncate(made.len() - usize::from(rest.is_some()));
        // What was read before comes out as it did alone: only marks move, and of those all are removed.
        let before: usize = text[begin..at].chars().map(|char| self.chars.get(char).count()).sum();
        for (class, to, (from, past)) in made.into_iter().skip(before) {
            self.put(class, to, ((begin + from) as u32, (begin + past) as u32), word, work);
        }
        Ok(end)
    }

    fn put(&self, class: Class, to: char, from: (u32, u32), word: &mut u32, work: &mut Work) {
        match class {
            Class::Space => self.flush(word, work),
            Class::Word => push(work, to, from),
            Class::Alone => self.alone(to, from, word, work),
        }
    }

    fn alone(&self, to: char, from: (u32, u32), word: &mut u32, work: &mut Work) {
        self.flush(word, work);
        push(work, to, from);
        self.flush(word, work);
    }

    /// Ends the word that was put together.
    fn flush(&self, word: &mut u32, work: &mut Work) {
        if work.word.is_empty() {
            return;
        }
        let (bytes, from) = (std::mem::take(&mut work.word), std::mem::take(&mut work.from));
        self.short(&bytes, work, |id, first, end| Piece {
            id,
            start: from[first].0,
            end: from[end - 1].1,
            word: *word,
        });
        (work.word, work.from) = (bytes, from);
        *word += 1;
        work.word.clear();
        work.from.clear();
    }
}

fn push(work: &mut Work, to: char, from: (u32, u32)) {
    let mut buffer = [0; 4];
    let bytes = to.encode_utf8(&mut buffer).as_bytes();
    work.word.extend_from_slice(bytes);
    work.from.extend(bytes.iter().map(|_| from));
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// Words of up to [`SHORT`] bytes that are in the vocabulary as they are. Most words of a text are.
struct Short {
    /// Key and id; 0 is no key.
    slots: Vec<(u64, u32)>,
    shift: u32,
}

impl Short {
    fn new<'a>(words: impl Iterator<Item = (&'a [u8], u32)> + Clone) -> Self {
        // At most half full.
        let slots = (words.clone().count() * 2).max(8).next_power_of_two();
        let mut short = Self { slots: vec![(0, 0); slots], shift: 64 - slots.trailing_zeros() };
        for (word, id) in words {
            let key = Self::finish(word.iter().fold(0, |key, &byte| key << 8 | u64::from(byte)), word.len());
            let mut slot = short.slot(key);
            while short.slots[slot].0 != 0 && short.slots[slot].0 != key {
                slot = (slot + 1) & (slots - 1);
            }
            short.slots[slot] = (key, id);
        }
        short
    }

    /// The key of a word whose bytes are in `bytes`: no two words have the same, and no word has 0.
    #[inline]
    fn finish(bytes: u64, length: usize) -> u64 {
        bytes | (length as u64) << 56
    }

    #[inline]
    fn slot(&self, key: u64) -> usize {
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    #[inline]
    fn get(&self, key: u64) -> Option<u32> {
        if key == 0 {
            return None;
        }
        let mut slot = self.slot(key);
        loop {
            let (found, id) = self.slots[slot];
            if found == key {
                return Some(id);
            }
            if found == 0 {
                return None;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_words_are_found_and_no_others() {
        let words: Vec<String> =
            (0..3000).map(|n| format!("{n}")).chain(["\0".into(), "1234567".into()]).collect();
        let short = Short::new(words.iter().zip(0..).map(|(word, id)| (word.as_bytes(), id)));
        let key = |word: &str| {
            Short::finish(word.bytes().fold(0, |key, byte| key << 8 | u64::from(byte)), word.len())
        };
        for (word, id) in words.iter().zip(0..) {
            assert_eq!(short.get(key(word)), Some(id), "{word:?}");
        }
        for word in ["3000", "00", "\0\0", "a", "123456"] {
            assert_eq!(short.get(key(word)), None, "{word:?}");
        }
        assert_eq!(short.get(0), None);
    }
}

//! Byte-level BPE as GPT-2 and RoBERTa have it: the words of a text, and their pieces out of a cache.
//!
//! A word that is not in the cache is merged by [`Merges`], or by the `tokenizers` crate where these do not know how.

use std::sync::{LazyLock, OnceLock};

use tokenizers::Model;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::split::SplitPattern;
use tokenizers::utils::SysRegex;
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior};

use super::cache::Token;
use super::known::Key;
use super::merges::Merges;
use super::{Part, Piece, Unsure, Work};

/// Words that are looked up in one go, so that no one waits for the memory of each.
const SOME: usize = 32;
/// Characters a page of the table of classes.
const PAGE: usize = 64;

/// What GPT-2's expression tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Letter,
    Number,
    Space,
    Other,
    /// A character that is a word alone, before which what was before it ends as a text does.
    Digit,
}

/// What is a word alone beside what GPT-2's expression says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digits {
    /// Nothing.
    Together,
    /// Each character of the expression's numbers.
    Numbers,
    /// Each character that is numeric to Rust, which may know others than the expression.
    Numeric,
}

impl Digits {
    /// Whether digits are split off before the bytes, and the splitter of bytes; `None` for anything else.
    fn of(split: &PreTokenizerWrapper) -> Option<(Self, ByteLevel)> {
        let parts = match split {
            PreTokenizerWrapper::ByteLevel(bytes) => return Some((Digits::Together, *bytes)),
            PreTokenizerWrapper::Sequence(sequence) => sequence.as_ref(),
            _ => return None,
        };
        // A space before a text would come before each of its parts.
        let [first, PreTokenizerWrapper::ByteLevel(bytes)] = parts else { return None };
        let digits = match first {
            PreTokenizerWrapper::Digits(digits) if digits.individual_digits => Digits::Numeric,
            PreTokenizerWrapper::Split(split)
                if split.behavior == SplitDelimiterBehavior::Isolated
                    && !split.invert
                    && matches!(&split.pattern, SplitPattern::Regex(regex) if regex == r"\p{N}") =>
            {
                Digits::Numbers
            }
            _ => return None,
        };
        (!bytes.add_prefix_space).then_some((digits, *bytes))
    }
}

/// BPE over the words of GPT-2's expression.
pub(super) struct ByteWords {
    /// A space is put before a text that does not begin with one.
    prefix: bool,
    digits: Digits,
    /// Spaces are taken off the offsets; true inside if that leaves the space put before the text.
    trim: Option<bool>,
    ascii: [Class; 128],
    /// Filled when a text first needs them.
    pages: Box<[OnceLock<Box<[Class; PAGE]>>]>,
    /// The character that stands for each byte in the vocabulary.
    letters: [char; 256],
    /// `None` if the crate has to merge.
    pub merges: Option<Merges>,
}

impl ByteWords {
    /// `None` if the pre-tokenizer or the model does more than is known here.
    pub fn new(
        split: &PreTokenizerWrapper,
        trim: Option<bool>,
        model: &BPE,
        vocab: &[(String, u32)],
    ) -> Option<Self> {
        let (digits, split) = Digits::of(split)?;
        if !split.use_regex || model.dropout.is_some() || CLASSES.is_none() {
            return None;
        }
        let mut ascii = [Class::Other; 128];
        for (page, classes) in ascii.chunks_mut(PAGE).enumerate() {
            classes.copy_from_slice(&classify(page, digits)[..]);
        }
        let pages = (0..(char::MAX as usize + 1) / PAGE).map(|_| OnceLock::new()).collect();
        let letters = letters();
        let merges = Merges::new(model, &letters, vocab);
        Some(Self { prefix: split.add_prefix_space, digits, trim, ascii, pages, letters, merges })
    }

    /// Puts the pieces of a part of a text at the end of `work.pieces`, and gives the number of the next word.
    pub fn pieces(&self, part: Part<'_>, model: &BPE, work: &mut Work) -> Result<u32, Unsure> {
        let Part { text, start, word: mut number, first } = part;
        let mut at = start;
        if self.prefix && !text[at..].starts_with(' ') {
            at = self.word_end(text, start, true);
            let mut word = std::mem::take(&mut work.word);
            word.clear();
            word.push(b' ');
            word.extend_from_slice(&text.as_bytes()[start..at]);
            let place = Place { text, at: start, space: true, number };
            self.word(&word, Key::new(&word, 0, word.len()), &place, first, model, work)?;
            work.word = word;
            number += 1;
        }
        let mut some = [(0, None); SOME];
        while at < text.len() {
            let (mut from, mut count) = (at, 0);
            while count < SOME && at < text.len() {
                let end = self.word_end(text, at, false);
                some[count] = (end, Key::new(text.as_bytes(), at, end - at));
                at = end;
                count += 1;
            }
            work.known.fetch(some[..count].iter().filter_map(|&(_, key)| key));
            for &(end, key) in &some[..count] {
                let place = Place { text, at: from, space: false, number };
                self.word(&text.as_bytes()[from..end], key, &place, first, model, work)?;
                from = end;
                number += 1;
            }
        }
        Ok(number)
    }

    /// Where the word ends that begins at `at`, or with a space put before it: the first match of
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
    fn word_end(&self, text: &str, at: usize, space: bool) -> usize {
        let rest = &text.as_bytes()[at..];
        if !space && rest[0] == b'\'' {
            match rest.get(1..) {
                Some([b's' | b't' | b'm' | b'd', ..]) => return at + 2,
                Some([b'r' | b'v', b'e', ..] | [b'l', b'l', ..]) => return at + 3,
                _ => {}
            }
        }
        let begin = if !space && rest[0] == b' ' { at + 1 } else { at };
        let first = match rest.get(begin - at) {
            Some(&byte) if byte.is_ascii() => Some((self.ascii[usize::from(byte)], begin + 1)),
            _ => self.class(text, begin),
        };
        match first {
            Some((Class::Digit, end)) if begin == at => end,
            Some((class, end)) if !matches!(class, Class::Space | Class::Digit) => self.run(text, end, class),
            _ => {
                let (end, last) = self.spaces(text, at);
                let ends = end == text.len() || matches!(self.class(text, end), Some((Class::Digit, _)));
                // The last space belongs to what follows, unless it is all there is.
                if !ends && (last > at || space) { last } else { end }
            }
        }
    }

    /// Goes on while the characters are of this class, and gives where that ends.
    #[inline]
    fn run(&self, text: &str, mut at: usize, class: Class) -> usize {
        if class == Class::Letter {
            at += letters_ahead(&text.as_bytes()[at..]);
        }
        while let Some(&byte) = text.as_bytes().get(at) {
            let end = match self.ascii.get(usize::from(byte)) {
                Some(&found) if found == class => at + 1,
                Some(_) => return at,
                None => match self.class(text, at) {
                    Some((found, end)) if found == class => end,
                    _ => return at,
                },
            };
            at = end;
        }
        at
    }

    /// Where the spaces end that begin at a place, and where the last of them begins.
    fn spaces(&self, text: &str, mut at: usize) -> (usize, usize) {
        let mut last = at;
        while let Some((Class::Space, end)) = self.class(text, at) {
            last = at;
            at = end;
        }
        (at, last)
    }

    /// Class and end of the character at a place; `None` at the end of the text.
    #[inline]
    fn class(&self, text: &str, at: usize) -> Option<(Class, usize)> {
        let byte = usize::from(*text.as_bytes().get(at)?);
        if let Some(&class) = self.ascii.get(byte) {
            return Some((class, at + 1));
        }
        let char = text[at..].chars().next()?;
        let page = char as usize / PAGE;
        let classes = self.pages[page].get_or_init(|| classify(page, self.digits));
        Some((classes[char as usize % PAGE], at + char.len_utf8()))
    }

    fn word(
        &self,
        bytes: &[u8],
        key: Option<Key>,
        place: &Place<'_>,
        before: usize,
        model: &BPE,
        work: &mut Work,
    ) -> Result<(), Unsure> {
        let Work { known, cache, pieces, tokens, merging, .. } = work;
        let Some(merges) = &self.merges else {
            return self.foreign(bytes, place, before, model, work);
        };
        let kept = key.and_then(|key| known.get(key));
        if let Some(kept) = kept.filter(|kept| !kept.elsewhere()) {
            let mut start = 0;
            for (id, end) in kept {
                if self.trim.is_some() {
                    self.put(&Token::new(id, bytes, start, end), place, before, pieces);
                } else {
                    pieces.push(Piece::new(id, place.start(start), place.end(end - 1), place.number));
                }
                start = end;
            }
            return Ok(());
        }
        // Too long for the one, or in too many pieces.
        if (key.is_none() || kept.is_some())
            && let Some(parts) = cache.get(bytes)
        {
            parts.iter().for_each(|part| self.put(part, place, before, pieces));
            return Ok(());
        }
        tokens.clear();
        let part = |id, start, end| tokens.push(Token::new(id, bytes, start, end));
        if !merges.split(bytes, merging, part) {
            return self.foreign(bytes, place, before, model, work);
        }
        tokens.iter().for_each(|part| self.put(part, place, before, pieces));
        let few = key.is_some_and(|key| {
            kept.is_none() && known.insert(key, tokens.iter().map(|part| (part.id, part.last as u8 + 1)))
        });
        if !few && cache.get(bytes).is_none() {
            cache.insert(bytes, tokens);
        }
        Ok(())
    }

    /// Puts the pieces of a word that only the crate can take apart.
    #[cold]
    fn foreign(
        &self,
        bytes: &[u8],
        place: &Place<'_>,
        before: usize,
        model: &BPE,
        work: &mut Work,
    ) -> Result<(), Unsure> {
        let Work { cache, pieces, .. } = work;
        if let Some(parts) = cache.get(bytes) {
            parts.iter().for_each(|part| self.put(part, place, before, pieces));
            return Ok(());
        }
        let parts = self.take_apart(bytes, model)?;
        parts.iter().for_each(|part| self.put(part, place, before, pieces));
        cache.insert(bytes, &parts);
        Ok(())
    }

    #[inline]
    fn put(&self, part: &Token, place: &Place<'_>, before: usize, pieces: &mut Vec<Piece>) {
        let mut start = place.start(part.first as usize);
        let mut end = place.end(part.last as usize);
        if let Some(keep) = self.trim {
            // The crate counts the spaces in the token and takes as many bytes.
            let first = pieces.len() == before || start == 0;
            let lead = if part.lead == 1 && keep && first { 0 } else { part.lead as usize };
            let trail = part.trail as usize;
            start = end.min(start + lead);
            if end >= trail {
                end = start.max(end - trail);
            }
        }
        pieces.push(Piece::new(part.id, start, end, place.number));
    }

    /// The pieces of a word, from the crate.
    fn take_apart(&self, bytes: &[u8], model: &BPE) -> Result<Vec<Token>, Unsure> {
        let mut word = String::with_capacity(bytes.len() * 2);
        // Which byte of the word each byte of its spelling stands for.
        let mut from = Vec::with_capacity(bytes.len() * 2);
        for (index, &byte) in bytes.iter().enumerate() {
            word.push(self.letters[usize::from(byte)]);
            from.resize(word.len(), index as u32);
        }
        let blank = |char: &char| *char == self.letters[usize::from(b' ')] || char.is_whitespace();
        let tokens = model.tokenize(&word).map_err(|_| Unsure)?;
        let part = |token: &tokenizers::Token| {
            Some(Token {
                id: token.id,
                first: *from.get(token.offsets.0)?,
                last: *from.get(token.offsets.1.checked_sub(1)?)?,
                lead: token.value.chars().take_while(blank).count() as u32,
                trail: token.value.chars().rev().take_while(blank).count() as u32,
            })
        };
        tokens.iter().map(part).collect::<Option<_>>().ok_or(Unsure)
    }
}

/// Where a word stands.
struct Place<'a> {
    text: &'a str,
    at: usize,
    /// A space was put before it, which came from its first character.
    space: bool,
    number: u32,
}

impl Place<'_> {
    /// Start of the character of the text that a byte of the word came from.
    #[inline]
    fn start(&self, byte: usize) -> usize {
        let mut at = self.at + byte.saturating_sub(usize::from(self.space));
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    /// End of the character of the text that a byte of the word came from.
    #[inline]
    fn end(&self, byte: usize) -> usize {
        let mut at = self.at + byte.saturating_sub(usize::from(self.space)) + 1;
        while !self.text.is_char_boundary(at) {
            at += 1;
        }
        at
    }
}

/// How many letters of ASCII some bytes begin with: exact up to the last seven bytes, of which it may see none.
#[inline]
fn letters_ahead(bytes: &[u8]) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let (eights, _) = bytes.as_chunks::<8>();
    let mut count = 0;
    // Eight at a time: a loop over bytes ends where no processor expects it.
    for &eight in eights {
        let eight = u64::from_le_bytes(eight);
        let small = (eight | (0x20 * EACH)) & (0x7f * EACH);
        let (from_a, above_z) = (small + (0x80 - 0x61) * EACH, small + (0x80 - 0x7b) * EACH);
        let stop = !(from_a & !above_z & !eight) & (0x80 * EACH);
        if stop != 0 {
            return count + stop.trailing_zeros() as usize / 8;
        }
        count += 8;
    }
    count
}

/// The characters of the classes, in the engine of the crate's own expression.
static CLASSES: LazyLock<Option<[(Class, SysRegex); 3]>> = LazyLock::new(|| {
    let class = |class, expression| Some((class, SysRegex::new(expression).ok()?));
    Some([class(Class::Letter, r"\p{L}+")?, class(Class::Number, r"\p{N}+")?, class(Class::Space, r"\s+")?])
});

/// The classes of a page of characters.
fn classify(page: usize, digits: Digits) -> Box<[Class; PAGE]> {
    let mut classes = Box::new([Class::Other; PAGE]);
    let chars = (page * PAGE..(page + 1) * PAGE).filter_map(|code| char::from_u32(code as u32));
    let text: String = chars.collect();
    for (class, expression) in CLASSES.iter().flatten() {
        for (start, end) in expression.find_iter(&text) {
            for char in text[start..end].chars() {
                classes[char as usize % PAGE] = *class;
            }
        }
    }
    for char in text.chars() {
        let class = &mut classes[char as usize % PAGE];
        if match digits {
            Digits::Together => false,
            Digits::Numbers => *class == Class::Number,
            Digits::Numeric => char.is_numeric(),
        } {
            *class = Class::Digit;
        }
    }
    classes
}

/// GPT-2's spelling of bytes: those that print as themselves, the others from U+0100 on.
fn letters() -> [char; 256] {
    let mut letters = ['\0'; 256];
    let mut next = 0x100;
    for (byte, letter) in (0..=255u8).zip(&mut letters) {
        *letter = match byte {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
            _ => {
                next += 1;
                char::from_u32(next - 1).unwrap_or_default()
            }
        };
    }
    letters
}

#[cfg(test)]
mod tests {
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    use super::*;

    #[test]
    fn the_spelling_of_bytes_is_the_crates() {
        let ours: std::collections::HashSet<char> = letters().into_iter().collect();
        assert_eq!(ours, ByteLevel::alphabet().into_iter().collect());
        for byte in 0..128u8 {
            let mut split = PreTokenizedString::from(char::from(byte).to_string());
            ByteLevel::new(false, false, false).pre_tokenize(&mut split).unwrap();
            let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
            assert_eq!(splits[0].0, letters()[usize::from(byte)].to_string());
        }
    }

    #[test]
    fn letters_ahead_are_those_of_ascii() {
        for byte in 0..=255u8 {
            for at in [0, 3, 7, 8, 12] {
                let mut bytes = *b"abcxyzABCXYZmnop";
                bytes[at] = byte;
                let expected = if byte.is_ascii_alphabetic() { 16 } else { at };
                assert_eq!(letters_ahead(&bytes), expected, "{byte} at {at}");
                assert!(letters_ahead(&bytes[..13]) <= expected);
            }
        }
        assert_eq!([letters_ahead(b""), letters_ahead(b"abc")], [0, 0]);
    }

    #[test]
    fn classes_are_those_of_the_expression() {
        for (char, expected) in [
            ('a', Class::Letter),
            ('é', Class::Letter),
            ('中', Class::Letter),
            ('7', Class::Number),
            ('Ⅷ', Class::Number),
            ('²', Class::Number),
            (' ', Class::Space),
            ('\n', Class::Space),
            ('\u{a0}', Class::Space),
            ('\'', Class::Other),
            ('!', Class::Other),
            ('\u{301}', Class::Other),
            ('\u{378}', Class::Other),
        ] {
            assert_eq!(
                classify(char as usize / PAGE, Digits::Together)[char as usize % PAGE],
                expected,
                "{char:?}"
            );
        }
    }
}

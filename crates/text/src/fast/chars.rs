//! What BERT's normalizer and pre-tokenizer make of each single character, as a table.
//!
//! Nothing here knows Unicode. A page of the table is filled once texts need it often, by asking the `tokenizers`
//! crate, so that there is no second opinion on any character. A table by character can stand for the whole
//! normalizer because each of its steps but one looks at one character at a time. The exception is the canonical
//! decomposition, which sorts combining characters over character borders; all of those that it can move are removed
//! right after, except a few that the crate's tables do not call nonspacing. These few are [`Made::Unsure`]; what they
//! become is asked with all that stands around them up to plain ASCII, over which nothing moves.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    normalizer::Range,
};

/// Characters a page. Small, because a text in a script with many characters touches many pages.
const PAGE: usize = 64;

/// How often a character is asked about alone before its page is filled: a text with a few stray characters, each in
/// another page, fills none.
const FEW: u8 = 6;

/// Stand between characters that are asked about in one go: no step changes a digit, and it joins with letters.
/// The second is for the first.
const BETWEEN: [char; 2] = ['0', '1'];

/// What a normalized character does in the pre-tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Ends a word and is removed.
    Space,
    /// Part of a word.
    Word,
    /// A word of its own.
    Alone,
}

/// What becomes of a character of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made<'a> {
    /// It is removed.
    Nothing,
    /// It becomes this white space.
    Space(char),
    /// It becomes this part of a word.
    Word(char),
    /// It becomes this word of its own.
    Alone(char),
    /// It becomes this word of its own, a space at each side.
    Spaced(char),
    /// It becomes these characters.
    Several(&'a [(Class, char)]),
    /// Its neighbours matter.
    Unsure,
}

/// A character that a stretch of text becomes: what it does in the pre-tokenizer, and the bytes it came from.
pub(super) type Placed = (Class, char, (usize, usize));

impl Made<'_> {
    /// How many characters it becomes; 0 if that is not known.
    pub fn count(self) -> usize {
        match self {
            Self::Nothing | Self::Unsure => 0,
            Self::Space(_) | Self::Word(_) | Self::Alone(_) => 1,
            Self::Spaced(_) => 3,
            Self::Several(made) => made.len(),
        }
    }
}

/// [`Made`] with the several kept elsewhere, which makes it 8 bytes rather than 24.
#[derive(Clone, Copy)]
enum Entry {
    Nothing,
    Space(char),
    Word(char),
    Alone(char),
    Spaced(char),
    Several(u8),
    Unsure,
}

struct Page {
    entries: [Entry; PAGE],
    several: Vec<Vec<(Class, char)>>,
}

/// The table.
pub(super) struct Chars {
    normalizer: BertNormalizer,
    /// Boxed, because most pages are never filled.
    pages: Box<[OnceLock<Box<Page>>]>,
    /// How often each page was asked for without being filled.
    asked: Box<[AtomicU8]>,
}

impl Chars {
    pub fn new(normalizer: BertNormalizer) -> Self {
        let pages = (char::MAX as usize + 1) / PAGE;
        let asked = (0..pages).map(|_| AtomicU8::new(0)).collect();
        Self { normalizer, pages: (0..pages).map(|_| OnceLock::new()).collect(), asked }
    }

    /// What becomes of a character.
    pub fn get(&self, char: char) -> Made<'_> {
        let (number, index) = (char as usize / PAGE, char as usize % PAGE);
        let page = match self.pages[number].get() {
            Some(page) => page,
            None => match self.ask_one(char, number) {
                Some(made) => return made,
                None => self.pages[number].get_or_init(|| fill(&self.normalizer, number)),
            },
        };
        match page.entries[index] {
            Entry::Nothing => Made::Nothing,
            Entry::Space(to) => Made::Space(to),
            Entry::Word(to) => Made::Word(to),
            Entry::Alone(to) => Made::Alone(to),
            Entry::Spaced(to) => Made::Spaced(to),
            Entry::Several(at) => Made::Several(&page.several[usize::from(at)]),
            Entry::Unsure => Made::Unsure,
        }
    }

    /// What becomes of a character in a page that is not filled; `None` if it is time to fill it.
    #[cold]
    fn ask_one(&self, char: char, number: usize) -> Option<Made<'static>> {
        if char.is_ascii() || self.asked[number].fetch_add(1, Ordering::Relaxed) >= FEW {
            return None;
        }
        if is_nothing(&self.normalizer, &[char]) {
            return Some(Made::Nothing);
        }
        match ask(&self.normalizer, &[char], BETWEEN[0])?.first()?.as_deref().map_or(Entry::Unsure, entry) {
            Entry::Nothing => Some(Made::Nothing),
            Entry::Space(to) => Some(Made::Space(to)),
            Entry::Word(to) => Some(Made::Word(to)),
            Entry::Alone(to) => Some(Made::Alone(to)),
            Entry::Spaced(to) => Some(Made::Spaced(to)),
            Entry::Several(_) => None,
            Entry::Unsure => Some(Made::Unsure),
        }
    }

    /// What becomes of a stretch of text together, with the bytes of it that each character came from.
    pub fn together(&self, stretch: &str) -> Option<Vec<Placed>> {
        let mut text = NormalizedString::from(stretch);
        self.normalizer.normalize(&mut text).ok()?;
        let classes = classify(text.get(), BETWEEN[0])?;
        let chars = text.get().char_indices().zip(classes);
        let made = chars.map(|((at, char), class)| {
            let from = text.convert_offsets(Range::Normalized(at..at + char.len_utf8()))?;
            Some((class, char, (from.start, from.end)))
        });
        made.collect()
    }

    /// Writes the normalized text; false if it is unsure.
    pub fn normalize(&self, text: &str, normalized: &mut String) -> bool {
        normalized.clear();
        for char in text.chars() {
            match self.get(char) {
                Made::Nothing => {}
                Made::Space(to) | Made::Word(to) | Made::Alone(to) => normalized.push(to),
                Made::Spaced(to) => normalized.extend([' ', to, ' ']),
                Made::Several(made) => normalized.extend(made.iter().map(|&(_, to)| to)),
                Made::Unsure => return false,
            }
        }
        true
    }
}

fn fill(normalizer: &BertNormalizer, number: usize) -> Box<Page> {
    let [usual, other] = BETWEEN;
    let (separator, chars): (Vec<char>, Vec<char>) = (number * PAGE..(number + 1) * PAGE)
        .filter_map(|code| char::from_u32(code as u32))
        .partition(|&char| char == usual);
    let mut page = Box::new(Page { entries: [Entry::Unsure; PAGE], several: Vec::new() });
    // Most pages hold only what is cleaned away, which no separators are needed to tell.
    if separator.is_empty() && is_nothing(normalizer, &chars) {
        page.entries = [Entry::Nothing; PAGE];
        return page;
    }
    for (chars, between) in [(chars, usual), (separator, other)] {
        if let Some(answers) = ask(normalizer, &chars, between) {
            enter(&mut page, &chars, &answers);
        }
    }
    page
}

/// What each character becomes, with the classes; `None` in place of one whose neighbours matter.
type Answers = Vec<Option<Vec<(Class, char)>>>;

/// Asks the crate about many characters in one go; `None` if the answer cannot be taken apart.
fn ask(normalizer: &BertNormalizer, chars: &[char], between: char) -> Option<Answers> {
    let made = normalize_each(chars, between, |text| normalizer.normalize(text).is_ok())?;
    let movable = if normalizer.strip_accents.unwrap_or(normalizer.lowercase) {
        // The order matters of what is left when the accents are removed, before it is lowercased.
        let stripped =
            BertNormalizer::new(normalizer.clean_text, normalizer.handle_chinese_chars, Some(true), false);
        let kept = normalize_each(chars, between, |text| stripped.normalize(text).is_ok())?;
        let kept: Vec<Vec<char>> = kept.iter().map(|kept| kept.chars().collect()).collect();
        let movable = move_in_front(&kept.concat(), between)?;
        let mut movable = movable.into_iter();
        kept.iter()
            .map(|kept| movable.by_ref().take(kept.len()).fold(false, |any, movable| any | movable))
            .collect()
    } else {
        vec![false; chars.len()]
    };
    let mut classes = classify(&made.concat(), between)?.into_iter();
    let mut answers = Vec::with_capacity(chars.len());
    for (made, movable) in made.iter().zip(movable) {
        let classed: Vec<(Class, char)> =
            made.chars().map(|char| Some((classes.next()?, char))).collect::<Option<_>>()?;
        answers.push((!movable).then_some(classed));
    }
    Some(answers)
}

/// Whether cleaning, which comes first, leaves nothing of these characters.
fn is_nothing(normalizer: &BertNormalizer, chars: &[char]) -> bool {
    let clean = BertNormalizer::new(normalizer.clean_text, false, Some(false), false);
    let mut text = NormalizedString::from(chars.iter().collect::<String>());
    clean.normalize(&mut text).is_ok() && text.get().is_empty()
}

/// What becomes of each character between two separators; `None` if the separators do not come out as they went in.
fn normalize_each(
    chars: &[char],
    between: char,
    step: impl Fn(&mut NormalizedString) -> bool,
) -> Option<Vec<String>> {
    let mut joined = String::from(between);
    for &char in chars {
        joined.extend([char, between]);
    }
    let mut text = NormalizedString::from(joined);
    if !step(&mut text) {
        return None;
    }
    let mut parts = text.get().split(between);
    // Before the first and after the last separator there must be nothing.
    let outside = [parts.next()?, parts.next_back()?];
    let parts: Vec<String> = parts.map(String::from).collect();
    (outside == ["", ""] && parts.len() == chars.len()).then_some(parts)
}

/// Which of these characters the canonical decomposition moves: those that go in front of U+0345, which has the
/// highest combining class of all.
fn move_in_front(chars: &[char], between: char) -> Option<Vec<bool>> {
    const LAST: char = '\u{345}';
    let mut joined = String::from(between);
    for &char in chars {
        joined.extend([LAST, char, between]);
    }
    let mut text = NormalizedString::from(joined);
    text.nfd();
    let parts = text.get().split(between).filter(|part| !part.is_empty());
    let moved: Vec<bool> = parts.map(|part| !part.starts_with(LAST) || part == "\u{345}\u{345}").collect();
    (moved.len() == chars.len()).then_some(moved)
}

/// What each of these characters does in the pre-tokenizer.
fn classify(text: &str, between: char) -> Option<Vec<Class>> {
    // Most are words and spaces, which one look at all of them tells.
    let inked: String = text.chars().filter(|&char| char != ' ').collect();
    let mut split = PreTokenizedString::from(format!(" {between}{inked}"));
    BertPreTokenizer.pre_tokenize(&mut split).ok()?;
    let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
    if matches!(splits[..], [(_, (1, end), _)] if end == 1 + between.len_utf8() + inked.len()) {
        let class = |char| if char == ' ' { Class::Space } else { Class::Word };
        return Some(text.chars().map(class).collect());
    }
    let mut joined = String::from(between);
    for char in text.chars() {
        joined.extend([char, between]);
    }
    let mut split = PreTokenizedString::from(joined);
    BertPreTokenizer.pre_tokenize(&mut split).ok()?;
    let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
    let mut splits = splits.iter().map(|&(_, range, _)| range).peekable();
    let mut start = between.len_utf8();
    let mut classes = Vec::with_capacity(text.len());
    for char in text.chars() {
        let end = start + char.len_utf8();
        while splits.next_if(|split| split.1 <= start).is_some() {}
        classes.push(match splits.peek() {
            Some(&split) if split == (start, end) => Class::Alone,
            Some(split) if split.0 <= start => Class::Word,
            _ => Class::Space,
        });
        start = end + between.len_utf8();
    }
    Some(classes)
}

fn enter(page: &mut Page, chars: &[char], answers: &Answers) {
    for (&char, answer) in chars.iter().zip(answers) {
        page.entries[char as usize % PAGE] = match answer.as_deref().map_or(Entry::Unsure, entry) {
            Entry::Several(_) => {
                page.several.push(answer.clone().unwrap_or_default());
                Entry::Several((page.several.len() - 1) as u8)
            }
            one => one,
        };
    }
}

/// The entry of a character that becomes these; the place of several is not known yet.
fn entry(answer: &[(Class, char)]) -> Entry {
    match *answer {
        [] => Entry::Nothing,
        [(Class::Space, to)] => Entry::Space(to),
        [(Class::Word, to)] => Entry::Word(to),
        [(Class::Alone, to)] => Entry::Alone(to),
        [(Class::Space, ' '), (Class::Word | Class::Alone, to), (Class::Space, ' ')] => Entry::Spaced(to),
        _ => Entry::Several(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_become_what_bert_makes_of_them() {
        let chars = Chars::new(BertNormalizer::default());
        for (char, expected) in [
            ('a', Made::Word('a')),
            ('A', Made::Word('a')),
            ('0', Made::Word('0')),
            ('É', Made::Word('e')),
            ('.', Made::Alone('.')),
            ('\u{2014}', Made::Alone('\u{2014}')),
            ('\t', Made::Space(' ')),
            ('\u{3000}', Made::Space(' ')),
            ('\0', Made::Nothing),
            ('\u{301}', Made::Nothing),
            ('\u{345}', Made::Nothing),
            ('中', Made::Spaced('中')),
            ('가', Made::Several(&[(Class::Word, '\u{1100}'), (Class::Word, '\u{1161}')])),
            ('ß', Made::Word('ß')),
            ('\u{1d165}', Made::Unsure),
        ] {
            assert_eq!(chars.get(char), expected, "{char:?}");
        }
        // A page that is asked for often is filled, and says the same.
        for code in 0x1100..0x1200u32 {
            let char = char::from_u32(code).unwrap();
            let alone = chars.get(char);
            for _ in 0..FEW {
                assert_eq!(chars.get(char), alone, "{char:?}");
            }
            assert!(chars.pages[char as usize / PAGE].get().is_some());
        }
        assert!(chars.pages[0x2600 / PAGE].get().is_none());
        let cased = Chars::new(BertNormalizer::new(false, false, None, false));
        for (char, expected) in [
            ('A', Made::Word('A')),
            ('\t', Made::Space('\t')),
            ('É', Made::Word('É')),
            ('中', Made::Word('中')),
        ] {
            assert_eq!(cased.get(char), expected, "{char:?}");
        }
        // Lowercase without stripping: the dot of İ stays.
        let marked = Chars::new(BertNormalizer::new(true, true, Some(false), true));
        assert_eq!(marked.get('İ'), Made::Several(&[(Class::Word, 'i'), (Class::Word, '\u{307}')]));
    }

    /// The neighbours that a character has in its page make no difference.
    #[test]
    fn a_character_alone_becomes_what_it_becomes_in_its_page() {
        for normalizer in [BertNormalizer::default(), BertNormalizer::new(false, false, Some(true), false)] {
            let (chars, mut seen) = (Chars::new(normalizer), 0);
            for number in 2..0x2_0000 / PAGE {
                let page = fill(&normalizer, number);
                chars.pages[number].set(page).unwrap_or_else(|_| panic!("page {number} was filled"));
                for char in
                    (number * PAGE..(number + 1) * PAGE).filter_map(|code| char::from_u32(code as u32))
                {
                    chars.asked[number].store(0, Ordering::Relaxed);
                    if let Some(alone) = chars.ask_one(char, number) {
                        assert_eq!(alone, chars.get(char), "{char:?}");
                        seen += 1;
                    }
                }
            }
            assert!(seen > 100_000, "{seen}");
        }
    }
}

//! Unigram models (SentencePiece) whose words are cut at spaces: the stretches of a text from space to space, and
//! their pieces out of a cache.
//!
//! Of the normalizers nothing is repeated here. A stretch that is not in the cache goes through the crate's own
//! normalizer and pre-tokenizer, with a letter before and after it in place of its neighbours; how these letters
//! come out shows whether the stretch minds its own business. Only where each of its characters is known to become
//! one other of plain ASCII is that spared.

use std::sync::OnceLock;

use tokenizers::{
    ModelWrapper, NormalizedString, Normalizer, NormalizerWrapper, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer, PreTokenizerWrapper, Token, Tokenizer,
};

use super::added::{Added, normalize};
use super::viterbi::Viterbi;
use super::{Piece, Unsure, Work};

/// What stands for a space in the vocabulary.
const META: char = '▁';
/// Characters a page of the table of those that stretches may end with: the bits of a number.
const PAGE: usize = 64;

/// Unigram over stretches of a text.
pub(super) struct UnigramWords {
    model: Viterbi,
    /// Strings that a normalizer replaces: their characters are not alone in what becomes of them.
    replaced: String,
    /// Which characters a stretch may end with, by page; filled when a text first needs them.
    solid: Box<[OnceLock<u64>]>,
    /// Asked for by the first text.
    edges: OnceLock<Option<Box<Edges>>>,
}

/// What the letters before and after a stretch become, and what is known of plain characters.
struct Edges {
    /// The first and the last word of `a a`, and how far the last one's start is from the end of the text.
    first: String,
    last: String,
    back: usize,
    /// What each plain character becomes; 0 for the others.
    plain: [u8; 128],
    /// What is put before the first word of a text, and before the others.
    leads: [Lead; 2],
}

/// The sign before the letters of a word, and its place from the start of the stretch; the letters begin at `letters`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lead {
    sign: Option<(u32, u32)>,
    letters: u32,
}

impl UnigramWords {
    /// `None` if a part of the tokenizer does more than is known here.
    pub fn new(tokenizer: &Tokenizer) -> Option<Self> {
        let ModelWrapper::Unigram(model) = tokenizer.get_model() else { return None };
        let mut replaced = String::new();
        let normalizer = tokenizer.get_normalizer();
        if !normalizer.is_none_or(|step| is_local(step, &mut replaced))
            || !cuts(tokenizer.get_pre_tokenizer()?)
        {
            return None;
        }
        // A token with a space in it could lie in two stretches.
        for token in tokenizer.get_added_vocabulary().get_added_tokens_decoder().values() {
            let spaced = |content: &str| content.is_empty() || content.contains(|char| !is_ink(char));
            if token.normalized && spaced(&normalize(normalizer, &token.content)?) {
                return None;
            }
        }
        let solid = (0..(char::MAX as usize + 1) / PAGE).map(|_| OnceLock::new()).collect();
        Some(Self { model: Viterbi::new(model)?, replaced, solid, edges: OnceLock::new() })
    }

    /// Puts the pieces of a text at the end of `work.pieces`. The tokenizer is the one this was made from.
    pub fn pieces(
        &self,
        text: &str,
        tokenizer: &Tokenizer,
        added: &Added,
        work: &mut Work,
    ) -> Result<(), Unsure> {
        let edges = self.edges.get_or_init(|| Edges::ask(tokenizer, &self.replaced).map(Box::new));
        let edges = edges.as_deref().ok_or(Unsure)?;
        let (mut at, mut words) = (0, 0);
        while at < text.len() {
            let (end, solid) = self.stretch_end(text, at, tokenizer);
            let stretch = Stretch { text: &text[at..end], first: at == 0, solid };
            let Work { pieces, stretches, best, .. } = work;
            let known = &mut stretches[usize::from(stretch.first)];
            let before = pieces.len();
            let place = |piece: &Piece| Piece {
                id: piece.id,
                start: piece.start + at as u32,
                end: piece.end + at as u32,
                word: piece.word + words,
            };
            if let Some(found) = known.get(stretch.text.as_bytes()) {
                pieces.extend(found.iter().map(place));
            } else {
                let found = match self.plainly(stretch, edges, added, best) {
                    Some(found) => found?,
                    None => self.take_apart(stretch, edges, tokenizer, best)?,
                };
                pieces.extend(found.iter().map(place));
                known.insert(stretch.text.as_bytes(), &found);
            }
            if let Some(last) = pieces[before..].last() {
                words = last.word + 1;
            }
            at = end;
        }
        Ok(())
    }

    /// Where the stretch ends that begins at `at`: before a space after a solid character, or with the text. Also
    /// whether its last character is solid.
    fn stretch_end(&self, text: &str, at: usize, tokenizer: &Tokenizer) -> (usize, bool) {
        let bytes = text.as_bytes();
        let mut end = at;
        loop {
            // Over spaces, then over what is none.
            end += bytes[end..].iter().take_while(|&&byte| byte == b' ').count();
            end += bytes[end..].iter().take_while(|&&byte| byte != b' ').count();
            let last = text[at..end].chars().next_back();
            let solid = last.is_some_and(|last| self.is_solid(last, tokenizer.get_normalizer()));
            if solid || end == bytes.len() {
                return (end, solid);
            }
        }
    }

    /// Whether a character leaves ink before a space, whatever stands before it.
    #[inline]
    fn is_solid(&self, char: char, normalizer: Option<&NormalizerWrapper>) -> bool {
        let page = char as usize / PAGE;
        let solid = self.solid[page].get_or_init(|| ask_solid(page, normalizer));
        solid >> (char as usize % PAGE) & 1 == 1
    }

    /// The pieces of a stretch of plain characters; `None` if it is not one.
    fn plainly(
        &self,
        stretch: Stretch<'_>,
        edges: &Edges,
        added: &Added,
        best: &mut Vec<super::viterbi::Best>,
    ) -> Option<Result<Vec<Piece>, Unsure>> {
        let letters = if stretch.first { stretch.text } else { stretch.text.strip_prefix(' ')? };
        let lead = edges.leads[usize::from(!stretch.first)];
        let mut word = String::with_capacity(letters.len() + META.len_utf8());
        word.extend(lead.sign.map(|_| META));
        let sign = word.len();
        for &byte in letters.as_bytes() {
            let to = edges.plain.get(usize::from(byte)).copied().filter(|&to| to != 0)?;
            word.push(char::from(to));
        }
        if letters.is_empty() {
            return None;
        }
        if added.in_normalized().is_some_and(|search| search.finds(&word[sign..])) {
            return Some(Err(Unsure));
        }
        let mut pieces = Vec::new();
        let (sign_start, sign_end) = lead.sign.unwrap_or_default();
        self.model.split(&word, best, |id, start, end| {
            let start = if start < sign { sign_start } else { lead.letters + (start - sign) as u32 };
            let end = if end <= sign { sign_end } else { lead.letters + (end - sign) as u32 };
            pieces.push(Piece { id, start, end, word: 0 });
        });
        Some(Ok(pieces))
    }

    /// The pieces of a stretch, normalized and cut by the crate.
    fn take_apart(
        &self,
        stretch: Stretch<'_>,
        edges: &Edges,
        tokenizer: &Tokenizer,
        best: &mut Vec<super::viterbi::Best>,
    ) -> Result<Vec<Piece>, Unsure> {
        let before = if stretch.first { "" } else { "a" };
        let after = if stretch.solid { " a" } else { "" };
        let text = [before, stretch.text, after].concat();
        let mut split = normalized(tokenizer, &text)?;
        if stretch.solid {
            let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
            let left = splits.first().and_then(|(text, ..)| text.strip_suffix(" a")).ok_or(Unsure)?;
            if !left.ends_with(is_ink) {
                return Err(Unsure);
            }
        }
        tokenizer.get_pre_tokenizer().ok_or(Unsure)?.pre_tokenize(&mut split).map_err(|_| Unsure)?;
        let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
        let count = splits.len();
        if !stretch.first && !splits.first().is_some_and(|word| word.0 == edges.first && word.1 == (0, 1)) {
            return Err(Unsure);
        }
        let last = (text.len().saturating_sub(edges.back), text.len());
        if stretch.solid && !splits.last().is_some_and(|word| word.0 == edges.last && word.1 == last) {
            return Err(Unsure);
        }
        drop(splits);
        let best = std::cell::RefCell::new(best);
        split
            .tokenize(|word| {
                let mut tokens = Vec::new();
                self.model.split(word.get(), &mut best.borrow_mut(), |id, start, end| {
                    tokens.push(Token::new(id, String::new(), (start, end)));
                });
                Ok(tokens)
            })
            .map_err(|_| Unsure)?;
        let found = split.into_encoding(None, 0, OffsetType::Byte).map_err(|_| Unsure)?;
        // The words of the stretch, without the letters around it.
        let begin = usize::from(!stretch.first);
        let words = begin..count.checked_sub(usize::from(stretch.solid)).ok_or(Unsure)?;
        let mut pieces = Vec::with_capacity(found.len());
        let within = before.len()..=before.len() + stretch.text.len();
        for ((&id, &(start, end)), word) in
            found.get_ids().iter().zip(found.get_offsets()).zip(found.get_word_ids())
        {
            let word = word.ok_or(Unsure)? as usize;
            if !words.contains(&word) {
                continue;
            }
            if !within.contains(&start) || !within.contains(&end) {
                return Err(Unsure);
            }
            pieces.push(Piece::new(id, start - before.len(), end - before.len(), (word - begin) as u32));
        }
        // What the last character became may have joined with the space that follows.
        let reaches = pieces.last().is_some_and(|last| last.end as usize == stretch.text.len());
        if stretch.solid && !reaches {
            let one = |text: &str| {
                let split = normalized(tokenizer, text)?;
                let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
                splits.first().map(|(text, ..)| String::from(*text)).ok_or(Unsure)
            };
            if one(&text)?.strip_suffix(after) != Some(&one(&text[..text.len() - after.len()])?) {
                return Err(Unsure);
            }
        }
        Ok(pieces)
    }
}

/// A stretch of a text.
#[derive(Clone, Copy)]
struct Stretch<'a> {
    text: &'a str,
    /// The text begins with it.
    first: bool,
    /// Its last character is solid. If not, the text ends with it.
    solid: bool,
}

impl Edges {
    /// `None` if the letters do not come out as they went in.
    fn ask(tokenizer: &Tokenizer, replaced: &str) -> Option<Self> {
        let words = ask_words(tokenizer, "a a")?;
        let [first, last] = words.as_slice() else { return None };
        let (first_lead, second_lead) = (first.lead(0, 'a')?, last.lead(1, 'a')?);
        let mut plain = [0; 128];
        for byte in b'!'..=b'~' {
            let char = char::from(byte);
            if replaced.contains(char) {
                continue;
            }
            // At the start, in the middle and at the end of a word.
            let text = format!("{char}a{char} {char}{char}a");
            if let Some([first, last]) = ask_words(tokenizer, &text).as_deref() {
                let to = first.text.chars().next_back().filter(|to| to.is_ascii_graphic());
                let alike = to.is_some_and(|to| {
                    first.is(first_lead, 0, &[to, 'a', to]) && last.is(second_lead, 3, &[to, to, 'a'])
                });
                if let (Some(to), true) = (to, alike) {
                    plain[usize::from(byte)] = to as u8;
                }
            }
        }
        Some(Self {
            first: first.text.clone(),
            last: last.text.clone(),
            back: 3 - last.range.0,
            plain,
            leads: [first_lead, second_lead],
        })
    }
}

/// A word as the crate cuts it.
struct Word {
    text: String,
    range: (usize, usize),
    /// Where each of its characters came from.
    chars: Vec<(usize, usize)>,
}

impl Word {
    /// What is put before the letters of a word that is only this letter, in a stretch that begins at `from`.
    fn lead(&self, from: usize, letter: char) -> Option<Lead> {
        let (sign, at) = match (self.text.strip_suffix(letter)?, self.chars.as_slice()) {
            ("", &[at]) => (None, at),
            (sign, &[(start, end), at]) if sign.chars().eq([META]) => {
                (Some((start.checked_sub(from)? as u32, end.checked_sub(from)? as u32)), at)
            }
            _ => return None,
        };
        let lead = Lead { sign, letters: at.0.checked_sub(from)? as u32 };
        self.is(lead, from, &[letter]).then_some(lead)
    }

    /// Whether this is the word of such letters, each from one byte of a stretch that begins at `from`.
    fn is(&self, lead: Lead, from: usize, letters: &[char]) -> bool {
        let sign = lead.sign.map(|(start, end)| (from + start as usize, from + end as usize));
        let at = |index| (from + lead.letters as usize + index, from + lead.letters as usize + index + 1);
        self.text.chars().eq(lead.sign.map(|_| META).into_iter().chain(letters.iter().copied()))
            && self.chars.iter().copied().eq(sign.into_iter().chain((0..letters.len()).map(at)))
    }
}

/// The words of a text with the places of their characters; `None` if it is not normalized to the same spaces.
fn ask_words(tokenizer: &Tokenizer, text: &str) -> Option<Vec<Word>> {
    let mut split = normalized(tokenizer, text).ok()?;
    let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
    let (one, ..) = *splits.first()?;
    if !one.chars().map(|char| char == ' ').eq(text.chars().map(|char| char == ' ')) {
        return None;
    }
    drop(splits);
    tokenizer.get_pre_tokenizer()?.pre_tokenize(&mut split).ok()?;
    let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
    let mut words: Vec<Word> = splits
        .iter()
        .map(|&(text, range, _)| Word { text: text.to_string(), range, chars: Vec::new() })
        .collect();
    drop(splits);
    let by_char = |word: &NormalizedString| {
        let chars = word.get().char_indices();
        Ok(chars.map(|(at, char)| Token::new(0, String::new(), (at, at + char.len_utf8()))).collect())
    };
    split.tokenize(by_char).ok()?;
    let chars = split.into_encoding(None, 0, OffsetType::Byte).ok()?;
    for (&range, word) in chars.get_offsets().iter().zip(chars.get_word_ids()) {
        words.get_mut((*word)? as usize)?.chars.push(range);
    }
    Some(words)
}

/// The normalized text, as long as no added token is in it.
fn normalized(tokenizer: &Tokenizer, text: &str) -> Result<PreTokenizedString, Unsure> {
    let split = tokenizer.get_added_vocabulary().extract_and_normalize(tokenizer.get_normalizer(), text);
    let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
    let fine = splits.len() <= 1 && splits.iter().all(|(_, _, tokens)| tokens.is_none());
    drop(splits);
    if fine { Ok(split) } else { Err(Unsure) }
}

/// Which characters of a page leave ink between a letter and a space, and the space as it is.
fn ask_solid(page: usize, normalizer: Option<&NormalizerWrapper>) -> u64 {
    let solid = |code: usize| {
        let char = char::from_u32(code as u32)?;
        let mut text = NormalizedString::from(format!("a{char} a"));
        if let Some(normalizer) = normalizer {
            normalizer.normalize(&mut text).ok()?;
        }
        let left = text.get().strip_suffix(" a")?;
        (left.len() > 1 && left.ends_with(is_ink)).then_some(())
    };
    (0..PAGE).filter(|index| solid(page * PAGE + index).is_some()).fold(0, |bits, index| bits | 1 << index)
}

fn is_ink(char: char) -> bool {
    !char.is_whitespace() && char != META
}

/// Whether a normalizer looks at no character across the border between one that leaves ink and a space, but for
/// spaces at the ends of a text. Adds the strings that it replaces.
fn is_local(normalizer: &NormalizerWrapper, replaced: &mut String) -> bool {
    match normalizer {
        NormalizerWrapper::Sequence(steps) => steps.as_ref().iter().all(|step| is_local(step, replaced)),
        NormalizerWrapper::StripNormalizer(_)
        | NormalizerWrapper::StripAccents(_)
        | NormalizerWrapper::NFC(_)
        | NormalizerWrapper::NFD(_)
        | NormalizerWrapper::NFKC(_)
        | NormalizerWrapper::NFKD(_)
        | NormalizerWrapper::Lowercase(_)
        | NormalizerWrapper::Nmt(_)
        | NormalizerWrapper::Precompiled(_) => true,
        NormalizerWrapper::Replace(step) => {
            // What is replaced is told by nothing else.
            let written = serde_json::to_value(step).unwrap_or_default();
            let pattern = &written["pattern"];
            if let Some(string) = pattern["String"].as_str() {
                replaced.push_str(string);
                return !string.is_empty() && string.chars().all(is_ink);
            }
            pattern["Regex"] == " {2,}" && [" ", "▁"].contains(&step.content.as_str())
        }
        _ => false,
    }
}

/// Whether a pre-tokenizer begins a word at each space and nowhere looks further back.
fn cuts(split: &PreTokenizerWrapper) -> bool {
    let meta = |split: &PreTokenizerWrapper| match split {
        PreTokenizerWrapper::Metaspace(meta) => meta.get_split() && meta.get_replacement() == META,
        _ => false,
    };
    match split {
        PreTokenizerWrapper::Sequence(steps) => {
            matches!(steps.as_ref(), [PreTokenizerWrapper::WhitespaceSplit(_), last] if meta(last))
        }
        PreTokenizerWrapper::WhitespaceSplit(_) => true,
        other => meta(other),
    }
}

//! Encoding without the `tokenizers` crate, for tokenizers and texts where it is known to give the same.
//!
//! The crate keeps, for every byte of a text, where it came from, and copies that at every step. Here a text is gone
//! over once. A tokenizer gets this way in only if every one of its parts is one that is known here; a text goes it
//! only if nothing in it needs more, and otherwise goes through the crate. Both give the same, which the tests of
//! this module compare for every character there is and for random texts.

mod added;
mod bytelevel;
mod cache;
mod chars;
mod frame;
mod known;
mod merges;
mod trie;
mod unigram;
mod viterbi;
mod wordpiece;

#[cfg(test)]
mod bytelevel_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unigram_tests;

use std::sync::Mutex;

use tokenizers::{ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper};

use self::added::Added;
use self::bytelevel::ByteWords;
use self::cache::{Cache, Token};
use self::frame::Frame;
use self::known::Known;
use self::merges::Merging;
use self::unigram::UnigramWords;
use self::viterbi::Best;
use self::wordpiece::BertWords;
use crate::encode::longest_first;
use crate::tokens::tokens;
use crate::{Encoding, Error, Input, Result};

/// Longest buffers that are kept between calls, in entries.
const KEPT: usize = 1 << 16;

/// A token of a text: its id, its bytes in the text, and the number of its word.
#[derive(Clone, Copy, Debug)]
struct Piece {
    id: u32,
    start: u32,
    end: u32,
    word: u32,
}

impl Piece {
    #[inline]
    fn new(id: u32, start: usize, end: usize, word: u32) -> Self {
        Self { id, start: start as u32, end: end as u32, word }
    }
}

/// Buffers for one text at a time.
#[derive(Default)]
pub(crate) struct Work {
    pieces: Vec<Piece>,
    /// The normalized word.
    word: Vec<u8>,
    /// Bytes in the text that each byte of the word came from.
    from: Vec<(u32, u32)>,
    /// The normalized text, where added tokens are looked for in it.
    normalized: String,
    /// Short words met before.
    known: Known,
    /// Long words of byte-level BPE met before.
    cache: Cache<Token>,
    /// The pieces of a word that is not among them.
    tokens: Vec<Token>,
    merging: Merging,
    /// The pieces of a word for WordPiece.
    cuts: Vec<(u32, usize)>,
    /// Stretches of texts for Unigram met before, and those that began a text.
    stretches: [Cache<Piece>; 2],
    /// Ways through a word for Unigram.
    best: Vec<Best>,
}

/// A part of a text between added tokens.
#[derive(Clone, Copy)]
struct Part<'a> {
    /// The text up to the end of the part, and where in it the part begins.
    text: &'a str,
    start: usize,
    /// Number of its first word.
    word: u32,
    /// How many pieces there were before those of the text.
    first: usize,
}

/// A text cannot be encoded here.
struct Unsure;

/// The ways to the pieces of a text.
enum Words {
    Bert(Box<BertWords>),
    Bytes(Box<ByteWords>),
    Unigram(Box<UnigramWords>),
}

impl Work {
    /// Gives back what a very long text needed.
    fn trim(&mut self) {
        self.pieces.clear();
        self.word.clear();
        self.from.clear();
        self.normalized.clear();
        self.best.clear();
        self.tokens.clear();
        self.pieces.shrink_to(KEPT);
        self.word.shrink_to(KEPT);
        self.from.shrink_to(KEPT);
        self.normalized.shrink_to(KEPT);
        self.best.shrink_to(KEPT);
        self.tokens.shrink_to(KEPT);
        self.merging.shrink_to(KEPT);
    }
}

/// Which pieces of one text or two a limit leaves.
#[derive(Clone, Copy)]
struct Kept {
    /// Where the second text begins.
    first: usize,
    /// Pieces that stay of each text.
    kept: [usize; 2],
    pair: bool,
    /// Pieces that do not.
    cut: usize,
}

impl Kept {
    /// Hands over what stays of each text.
    fn within<T>(self, pieces: &[Piece], hand: impl FnOnce(&[&[Piece]]) -> T) -> T {
        let texts = [&pieces[..self.kept[0]], &pieces[self.first..self.first + self.kept[1]]];
        hand(if self.pair { &texts } else { &texts[..1] })
    }
}

/// The fast way of one tokenizer.
pub(crate) struct Fast {
    words: Words,
    added: Added,
    /// What goes around one text, and around two.
    frames: [Frame; 2],
    /// Buffers that no call uses now: as many as there were ever calls at once.
    idle: Mutex<Vec<Work>>,
}

impl std::fmt::Debug for Fast {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Fast").field("frames", &self.frames).finish_non_exhaustive()
    }
}

impl Fast {
    /// The fast way of a tokenizer without truncation, padding and post-processor, which is given beside it; `None`
    /// if there is none.
    pub fn new(tokenizer: &tokenizers::Tokenizer, post: Option<&PostProcessorWrapper>) -> Option<Self> {
        let trim = trimming(post)?;
        let words = match (tokenizer.get_normalizer(), tokenizer.get_pre_tokenizer(), tokenizer.get_model()) {
            (
                Some(&NormalizerWrapper::BertNormalizer(normalizer)),
                Some(PreTokenizerWrapper::BertPreTokenizer(_)),
                ModelWrapper::WordPiece(model),
            ) if trim.is_none() => {
                Words::Bert(Box::new(BertWords::new(normalizer, model, &tokens(tokenizer.get_model()))?))
            }
            (None, Some(split), ModelWrapper::BPE(model)) => {
                let vocab = tokens(tokenizer.get_model());
                Words::Bytes(Box::new(ByteWords::new(split, trim, model, &vocab)?))
            }
            (_, _, ModelWrapper::Unigram(_)) if trim.is_none() => {
                Words::Unigram(Box::new(UnigramWords::new(tokenizer)?))
            }
            _ => return None,
        };
        let frames = [Frame::new(post, 1)?, Frame::new(post, 2)?];
        Some(Self { words, added: Added::new(tokenizer)?, frames, idle: Mutex::default() })
    }

    /// Buffers for [`encode`](Self::encode), to be [put back](Self::put_back).
    pub fn take(&self) -> Work {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        idle.unwrap_or_default()
    }

    /// Keeps the buffers for the next call.
    pub fn put_back(&self, mut work: Work) {
        work.trim();
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(work);
        }
    }

    /// The encoding, or `None` if the texts must go through the crate. The tokenizer is
    /// the one that this was made from.
    pub fn encode(
        &self,
        tokenizer: &tokenizers::Tokenizer,
        input: Input<'_>,
        max_tokens: Option<usize>,
        work: &mut Work,
    ) -> Option<Result<Encoding>> {
        let kept = self.kept(tokenizer, input, max_tokens, work)?;
        let frame = self.frame(input);
        Some(kept.map(|kept| kept.within(&work.pieces, |texts| frame.fill(texts, kept.cut))))
    }

    /// As [`encode`](Self::encode), but only the ids, put at the end of others, and how many tokens were cut off.
    pub fn ids(
        &self,
        tokenizer: &tokenizers::Tokenizer,
        input: Input<'_>,
        max_tokens: Option<usize>,
        work: &mut Work,
        ids: &mut Vec<u32>,
    ) -> Option<Result<usize>> {
        let kept = self.kept(tokenizer, input, max_tokens, work)?;
        let frame = self.frame(input);
        Some(kept.map(|kept| {
            kept.within(&work.pieces, |texts| frame.ids(texts, ids));
            kept.cut
        }))
    }

    fn frame(&self, input: Input<'_>) -> &Frame {
        &self.frames[usize::from(input.pair.is_some())]
    }

    /// Puts the pieces of the texts into `work.pieces` and says which of them stay.
    fn kept(
        &self,
        tokenizer: &tokenizers::Tokenizer,
        input: Input<'_>,
        max_tokens: Option<usize>,
        work: &mut Work,
    ) -> Option<Result<Kept>> {
        work.pieces.clear();
        self.pieces(tokenizer, input.text, work)?;
        let first = work.pieces.len();
        if let Some(pair) = input.pair {
            self.pieces(tokenizer, pair, work)?;
        }
        let lengths = [first, work.pieces.len() - first];
        let mut kept = lengths;
        if let Some(max_tokens) = max_tokens {
            let special = self.frame(input).added();
            if max_tokens <= special {
                return Some(Err(Error::TooShort { max_tokens, special }));
            }
            kept = longest_first(lengths, max_tokens - special);
        }
        let cut = lengths[0] - kept[0] + lengths[1] - kept[1];
        Some(Ok(Kept { first, kept, pair: input.pair.is_some(), cut }))
    }

    fn pieces(&self, tokenizer: &tokenizers::Tokenizer, text: &str, work: &mut Work) -> Option<()> {
        // Places in a text are kept in 32 bits.
        u32::try_from(text.len()).ok()?;
        let first = work.pieces.len();
        let (mut at, mut word) = (0, 0);
        loop {
            let found = match self.added.next(text, at) {
                // For Unigram it matters where in a text a part stands.
                Some(_) if matches!(self.words, Words::Unigram(_)) => return None,
                Some(found) => Some((found.start, found.end, found.id?)),
                None => None,
            };
            let end = found.map_or(text.len(), |(start, ..)| start);
            if at < end {
                let part = Part { text: &text[..end], start: at, word, first };
                word = self.part(tokenizer, part, work)?;
            }
            let Some((start, end, id)) = found else { return Some(()) };
            work.pieces.push(Piece::new(id, start, end, word));
            word += 1;
            at = end;
        }
    }

    /// Puts the pieces of a part of a text at the end of `work.pieces`, and gives the number of the next word.
    fn part(&self, tokenizer: &tokenizers::Tokenizer, part: Part<'_>, work: &mut Work) -> Option<u32> {
        let text = &part.text[part.start..];
        let normalized = self.added.in_normalized();
        match (&self.words, tokenizer.get_model()) {
            (Words::Bert(words), _) => {
                if let Some(search) = normalized {
                    let sure = words.chars().normalize(text, &mut work.normalized);
                    if !sure || search.finds(&work.normalized) {
                        return None;
                    }
                }
                words.pieces(part, work).ok()
            }
            // Without normalizer the normalized text is the text.
            (Words::Bytes(_), _) if normalized.is_some_and(|search| search.finds(text)) => None,
            (Words::Bytes(words), ModelWrapper::BPE(model)) => words.pieces(part, model, work).ok(),
            (Words::Bytes(_), _) => None,
            (Words::Unigram(words), _) => {
                words.pieces(text, tokenizer, &self.added, work).ok()?;
                Some(0)
            }
        }
    }
}

/// Whether a post-processor takes spaces off the offsets, and if so whether it leaves a space put before the text.
/// Apart from that it must treat all tokens alike, so that what it does to one text it does to all; `None` if not.
fn trimming(post: Option<&PostProcessorWrapper>) -> Option<Option<bool>> {
    match post {
        None | Some(PostProcessorWrapper::Bert(_) | PostProcessorWrapper::Template(_)) => Some(None),
        Some(PostProcessorWrapper::Roberta(roberta)) => {
            Some(roberta.trim_offsets.then_some(roberta.add_prefix_space))
        }
        Some(PostProcessorWrapper::ByteLevel(bytes)) => {
            Some(bytes.trim_offsets.then_some(bytes.add_prefix_space))
        }
        Some(PostProcessorWrapper::Sequence(sequence)) => match sequence.as_ref() {
            [] => Some(None),
            // What trims comes first, as long as the tokens of a text are all there is to trim.
            [first, rest @ ..] => {
                let rest = rest.iter().all(|post| trimming(Some(post)) == Some(None));
                trimming(Some(first)).filter(|_| rest)
            }
        },
    }
}

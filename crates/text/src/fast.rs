//! Encoding without the `tokenizers` crate, for tokenizers and texts where it is known to give the same.
//!
//! The crate keeps, for every byte of a text, where it came from, and copies that at every step. Here a text is gone
//! over once. A tokenizer gets this way in only if every one of its parts is one that is known here; a text goes it
//! only if nothing in it needs more, and otherwise goes through the crate. Both give the same, which the tests of
//! this module compare for every character there is and for random texts.

mod added;
mod chars;
mod frame;
mod trie;
mod wordpiece;

#[cfg(test)]
mod tests;

use std::sync::Mutex;

use tokenizers::{ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper};

use self::added::Added;
use self::frame::Frame;
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
}

impl Work {
    /// Gives back what a very long text needed.
    fn trim(&mut self) {
        self.pieces.clear();
        self.word.clear();
        self.from.clear();
        self.normalized.clear();
        self.pieces.shrink_to(KEPT);
        self.word.shrink_to(KEPT);
        self.from.shrink_to(KEPT);
        self.normalized.shrink_to(KEPT);
    }
}

/// The fast way of one tokenizer.
pub(crate) struct Fast {
    words: BertWords,
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
        let Some(&NormalizerWrapper::BertNormalizer(normalizer)) = tokenizer.get_normalizer() else {
            return None;
        };
        let Some(PreTokenizerWrapper::BertPreTokenizer(_)) = tokenizer.get_pre_tokenizer() else {
            return None;
        };
        let ModelWrapper::WordPiece(model) = tokenizer.get_model() else { return None };
        if !post.is_none_or(keeps_offsets) {
            return None;
        }
        let frames = [Frame::new(post, 1)?, Frame::new(post, 2)?];
        let words = BertWords::new(normalizer, model, &tokens(tokenizer.get_model()))?;
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

    /// The encoding, or `None` if the texts must go through the crate.
    pub fn encode(
        &self,
        input: Input<'_>,
        max_tokens: Option<usize>,
        work: &mut Work,
    ) -> Option<Result<Encoding>> {
        work.pieces.clear();
        self.pieces(input.text, work)?;
        let first = work.pieces.len();
        let frame = &self.frames[usize::from(input.pair.is_some())];
        if let Some(pair) = input.pair {
            self.pieces(pair, work)?;
        }
        let lengths = [first, work.pieces.len() - first];
        let mut kept = lengths;
        if let Some(max_tokens) = max_tokens {
            let special = frame.added();
            if max_tokens <= special {
                return Some(Err(Error::TooShort { max_tokens, special }));
            }
            kept = longest_first(lengths, max_tokens - special);
        }
        let texts = [&work.pieces[..kept[0]], &work.pieces[first..first + kept[1]]];
        let texts = if input.pair.is_some() { &texts[..] } else { &texts[..1] };
        Some(Ok(frame.fill(texts, lengths[0] - kept[0] + lengths[1] - kept[1])))
    }

    fn pieces(&self, text: &str, work: &mut Work) -> Option<()> {
        // Places in a text are kept in 32 bits.
        if u32::try_from(text.len()).is_err() || self.added.in_text(text) {
            return None;
        }
        if let Some(search) = self.added.in_normalized() {
            let sure = self.words.chars().normalize(text, &mut work.normalized);
            if !sure || search.finds(&work.normalized) {
                return None;
            }
        }
        self.words.pieces(text, work).ok()
    }
}

/// True for a post-processor that treats all tokens alike, so that what it does to one text it does to all.
fn keeps_offsets(post: &PostProcessorWrapper) -> bool {
    match post {
        PostProcessorWrapper::Bert(_) | PostProcessorWrapper::Template(_) => true,
        PostProcessorWrapper::Roberta(roberta) => !roberta.trim_offsets,
        PostProcessorWrapper::ByteLevel(bytes) => !bytes.trim_offsets,
        PostProcessorWrapper::Sequence(sequence) => sequence.as_ref().iter().all(keeps_offsets),
    }
}

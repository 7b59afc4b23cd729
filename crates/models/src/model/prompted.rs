//! Virtual tokens in front of each text, where a prompt extends the table of words.

use std::borrow::Cow;

use burn::tensor::Tensor;
use topwork_text::Packed;

use super::Model;
use crate::error::Error;
use crate::family::NO_LIMIT;

impl Model {
    /// Virtual tokens in front of each text.
    pub fn virtual_tokens(&self) -> usize {
        if let Some(front) = self.store.front() {
            return front.tokens();
        }
        if !self.encoder.has_words() {
            return 0;
        }
        let table = self.store.param(self.encoder.word_table());
        table.extension().map_or(0, |more| more.rows())
    }

    /// The longest text, in tokens of its own: what the family reads at most, without the virtual tokens.
    pub fn max_tokens(&self) -> usize {
        let most = self.size().max_tokens;
        if most == NO_LIMIT { most } else { most.saturating_sub(self.virtual_tokens()) }
    }

    /// A batch as the encoder reads it: with the virtual tokens, whose ids follow those of the words.
    ///
    /// # Errors
    /// [`Error::VirtualTokens`] for pictures.
    pub(super) fn widened<'a>(&self, input: &'a Packed) -> Result<Cow<'a, Packed>, Error> {
        let tokens = self.virtual_tokens();
        if tokens == 0 {
            return Ok(Cow::Borrowed(input));
        }
        if self.family.reads_pictures() {
            return Err(Error::VirtualTokens { what: "reading pictures" });
        }
        // What stands in front of keys is of no word: any will do, as what becomes of it is never read.
        let first = match self.store.front() {
            Some(_) => return Ok(Cow::Owned(input.behind(&vec![0; tokens]))),
            None => self.store.param(self.encoder.word_table()).shape[0] as u32,
        };
        let ids: Vec<u32> = (first..first + tokens as u32).collect();
        Ok(Cow::Owned(input.behind(&ids)))
    }

    /// The rows of the texts' own tokens, of those of a widened batch.
    pub(super) fn own_tokens(&self, x: Tensor<2>, offsets: &[u32]) -> Tensor<2> {
        let tokens = self.virtual_tokens() as u32;
        if tokens == 0 {
            return x;
        }
        let rows: Vec<u32> = offsets.windows(2).flat_map(|pair| pair[0] + tokens..pair[1]).collect();
        topwork_ops::embedding(x, &rows.into())
    }

    /// Refuses layers that never asked for what is to stand in front of their texts.
    pub(super) fn no_unread_front(&self) -> Result<(), Error> {
        match self.store.front() {
            Some(_) if self.head.seq2seq().is_some() => Err(Error::VirtualTokens { what: "writing texts" }),
            Some(front) if !front.was_asked() => Err(Error::NoFront { family: self.family.name }),
            _ => Ok(()),
        }
    }

    /// Refuses what virtual tokens have no place in.
    pub(super) fn no_virtual_tokens(&self, what: &'static str) -> Result<(), Error> {
        if self.virtual_tokens() == 0 { Ok(()) } else { Err(Error::VirtualTokens { what }) }
    }
}

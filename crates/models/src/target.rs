//! The side of an encoder-decoder that writes a text while it looks at another: a trait, and what a target is read from.

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::loss::IGNORE;
use topwork_nn::{Cache, ParamId, Pass};
use topwork_text::Packed;

use crate::causal::{self, Block, FinalNorm};
use crate::error::Error;
use crate::family::{LanguageModelStyle, Size};

/// What an encoder made of source texts.
#[derive(Clone, Debug)]
pub struct Sources {
    /// `[tokens, hidden]`
    pub hidden: Tensor<2>,
    /// Where the texts start, and the last one ends: `[batch + 1]`.
    pub offsets: Arc<[u32]>,
}

impl Sources {
    /// The sources of a batch.
    pub fn new(hidden: Tensor<2>, offsets: &[u32]) -> Self {
        Sources { hidden, offsets: offsets.into() }
    }

    /// How many texts there are.
    pub fn batch(&self) -> usize {
        self.offsets.len() - 1
    }

    /// One of them alone.
    pub fn one(&self, text: usize) -> Self {
        let (first, last) = (self.offsets[text], self.offsets[text + 1]);
        let hidden = self.hidden.clone().narrow(0, first as usize, (last - first) as usize);
        Sources { hidden, offsets: [0, last - first].into() }
    }

    /// The layers of a side that looks at these texts, over whole targets, or with a cache over tokens that go on from what it
    /// holds.
    ///
    /// # Shapes
    /// - `x` and result: `[tokens, hidden]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn layers<B: Block<Shared = Option<Sources>>>(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        blocks: &[Arc<B>],
        cache: Option<&mut Cache>,
    ) -> Result<Tensor<2>, Error> {
        let hidden = pass.cut(self.hidden.clone());
        let sources = Some(Sources { hidden, offsets: Arc::clone(&self.offsets) });
        let blocks = (blocks, &FinalNorm::None);
        if let Some(cache) = cache {
            return causal::layers_cached(pass, x, input, blocks, cache, &sources);
        }
        let offsets = Arc::from(input.offsets.as_slice());
        causal::layers(pass, x, &offsets, blocks, 0..blocks.0.len(), &sources)
    }
}

/// The token that stands before a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Always this one.
    Id(u32),
    /// The target's own last one, which names its language.
    Last,
}

/// How a family's targets begin and end, and how their words are scored.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetStyle {
    /// What a target is read from.
    pub start: Start,
    /// What is read in the place of a token that is not asked for.
    pub pad: u32,
    /// The tokens that end a text.
    pub end: Vec<u32>,
    /// Hidden states are multiplied by it before words are scored.
    pub scale: f32,
    /// How words are scored.
    pub words: LanguageModelStyle,
    /// True if a fixed number is added to the score of each word (`head.lm.fixed`).
    pub fixed: bool,
}

impl TargetStyle {
    /// What is read to predict `labels`: each text's tokens but the last, behind what a target is read from.
    ///
    /// # Shapes
    /// - `labels`: `[tokens]`, [`IGNORE`] where none is asked for; `offsets`: `[batch + 1]`
    pub fn read_for(&self, labels: &[u32], offsets: &[u32]) -> Packed {
        let known = |&id: &u32| if id == IGNORE { self.pad } else { id };
        let mut ids = Vec::with_capacity(labels.len());
        for pair in offsets.windows(2) {
            let text = &labels[pair[0] as usize..pair[1] as usize];
            let Some((_, before)) = text.split_last() else { continue };
            ids.push(match self.start {
                Start::Id(id) => id,
                Start::Last => text.iter().rev().map(known).find(|&id| id != self.pad).unwrap_or(self.pad),
            });
            ids.extend(before.iter().map(known));
        }
        Packed { type_ids: vec![0; ids.len()], ids, offsets: offsets.to_vec(), ..Packed::default() }
    }
}

/// Reads targets, each token of which sees those before it and all of its source.
///
/// Its parameters have paths below `target.` and depth groups of their own, after the encoder's: one a layer, the first of
/// which has what is before the layers too.
pub trait TargetSide: Send + Sync {
    /// Its sizes.
    fn size(&self) -> &Size;

    /// How its targets begin and end.
    fn style(&self) -> &TargetStyle;

    /// The table of its tokens.
    fn word_table(&self) -> ParamId;

    /// Hidden states of whole targets, or with a cache of tokens that go on from what it holds; the cache then holds them
    /// too, and the keys and values of the sources. The same bits either way.
    ///
    /// # Shapes
    /// - `input`: as many texts as sources; with a cache as many as it has
    /// - returns: `[tokens, hidden]`
    ///
    /// # Errors
    /// A text longer than [`Size::max_tokens`], an id outside a table, a parameter without values.
    fn read(
        &self,
        pass: &Pass,
        input: &Packed,
        sources: &Sources,
        cache: Option<&mut Cache>,
    ) -> Result<Tensor<2>, Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(start: Start) -> TargetStyle {
        let words = LanguageModelStyle { transform: None, tied: true, bias: None };
        TargetStyle { start, pad: 0, end: vec![1], scale: 1.0, words, fixed: false }
    }

    #[test]
    fn a_target_is_read_from_its_start_to_before_its_end() {
        let labels = [5, 6, 1, 7, IGNORE, 8, 1];
        let offsets = [0, 3, 3, 7];
        let read = style(Start::Id(9)).read_for(&labels, &offsets);
        assert_eq!(read.ids, [9, 5, 6, 9, 7, 0, 8]);
        assert_eq!(read.offsets, offsets);
        let read = style(Start::Last).read_for(&[5, 6, 3, 7, 4, IGNORE], &[0, 3, 6]);
        assert_eq!(read.ids, [3, 5, 6, 4, 7, 4]);
    }
}

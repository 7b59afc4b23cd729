//! Texts from texts: translation, summaries, answers. A target is learnt by reading it, each token from those before it and
//! from the source.
//!
//! Paper: Sutskever, Vinyals, Le 2014, "Sequence to Sequence Learning with Neural Networks", section 2,
//! <https://arxiv.org/abs/1409.3215>; with attention to the source: Vaswani et al. 2017, "Attention Is All You Need",
//! section 3, <https://arxiv.org/abs/1706.03762>

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::loss::IGNORE;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::Linear;
use topwork_nn::loss::cross_entropy;
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::{Encoder, LanguageModelStyle, Size};
use crate::head::{Head, HeadEntry, HeadSpec, LossOptions, Targets};
use crate::heads::dense::Dense;
use crate::target::{Sources, Start, TargetSide};

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "seq2seq",
    summary: "a text for a text, for families with a side that writes",
    paper: "https://arxiv.org/abs/1409.3215",
    build,
};

/// The side that writes, and what scores its words.
pub struct Seq2Seq {
    target: Box<dyn TargetSide>,
    /// The layer before the scores, where there is one.
    transform: Option<Dense>,
    /// The token table, or a matrix of its own.
    table: ParamId,
    bias: Option<ParamId>,
    /// Added to the scores: `[1, vocab]`, as checkpoints have it.
    fixed: Option<ParamId>,
}

fn build(_: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    let target = encoder.declare_target(store).ok_or(Error::NoTarget { head: ENTRY.name })?;
    Ok(Box::new(Seq2Seq::declare(target, encoder.parts() + 1, store)))
}

impl Seq2Seq {
    /// Declares what scores the words of a side that writes, whose first depth group is given.
    pub fn declare(target: Box<dyn TargetSide>, first: usize, store: &mut ParamStore) -> Self {
        let (size, style) = (target.size().clone(), target.style().clone());
        let group = first + size.layers;
        let Size { std, hidden, vocab, .. } = size;
        let LanguageModelStyle { transform, tied, bias } = style.words;
        let width = transform.map_or(hidden, |dense| dense.width);
        let transform = transform.map(|dense| Dense::declare_in(store, std, dense, hidden, group));
        let table = if tied {
            target.word_table()
        } else {
            Linear::declare_with(store, "head.lm", [vocab, width], group, std, false).weight
        };
        let bias = bias.map(|path| store.declare(path, &[vocab], group, ParamKind::Bias, Init::Zeros));
        let fixed = style
            .fixed
            .then(|| store.declare("head.lm.fixed", &[1, vocab], group, ParamKind::Fixed, Init::Zeros));
        Seq2Seq { target, transform, table, bias, fixed }
    }

    /// The side that writes.
    pub fn target(&self) -> &dyn TargetSide {
        self.target.as_ref()
    }

    /// Scores of words, from the target's hidden states.
    ///
    /// # Shapes
    /// - `x`: `[tokens, hidden]`; returns `[tokens, vocab]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn scores(&self, pass: &Pass, x: Tensor<2>) -> Result<Tensor<2>, Error> {
        let scale = self.target.style().scale;
        let mut x = if scale == 1.0 { x } else { x * scale };
        if let Some(transform) = &self.transform {
            x = transform.forward(pass, x)?;
        }
        let scores = pass.linear(x, self.table, self.bias)?;
        Ok(match self.fixed {
            None => scores,
            Some(fixed) => scores + pass.matrix(fixed)?,
        })
    }

    /// Scores of the words of whole targets, each by those before it.
    ///
    /// # Shapes
    /// - `labels`: `[tokens]`; `offsets`: `[batch + 1]`, as many texts as sources
    /// - returns: `[tokens, vocab]`
    ///
    /// # Errors
    /// [`Error::Batch`] for another number of texts; as [`TargetSide::read`].
    pub fn scores_of(
        &self,
        pass: &Pass,
        sources: &Sources,
        labels: &[u32],
        offsets: &[u32],
    ) -> Result<Tensor<2>, Error> {
        let x = self.read(pass, sources, labels, offsets)?;
        self.scores(pass, x)
    }

    /// Hidden states of whole targets, behind what is read to predict them.
    ///
    /// # Shapes
    /// - `labels`: `[tokens]`; `offsets`: `[batch + 1]`; returns `[tokens, hidden]`
    ///
    /// # Errors
    /// As [`Seq2Seq::scores_of`].
    pub fn read(
        &self,
        pass: &Pass,
        sources: &Sources,
        labels: &[u32],
        offsets: &[u32],
    ) -> Result<Tensor<2>, Error> {
        let (sources_batch, targets_batch) = (sources.batch(), offsets.len().saturating_sub(1));
        if sources_batch != targets_batch {
            return Err(Error::Batch { sources: sources_batch, targets: targets_batch });
        }
        let input = self.target.style().read_for(labels, offsets);
        self.target.read(pass, &input, sources, None)
    }
}

impl Head for Seq2Seq {
    fn pooled(&self) -> Option<Pool> {
        None
    }

    /// Scores of the first word of each target: `[batch, vocab]`.
    fn forward(&self, pass: &Pass, x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        let Start::Id(start) = self.target.style().start else {
            let reason = "the first token of a target is its language, which is not known here".to_string();
            return Err(Error::Generate { what: "start".to_string(), reason });
        };
        let sources = Sources::new(x, &input.offsets);
        let batch = sources.batch();
        let offsets = (0..=batch as u32).collect();
        let first =
            Packed { ids: vec![start; batch], type_ids: vec![0; batch], offsets, ..Packed::default() };
        let x = self.target.read(pass, &first, &sources, None)?;
        self.scores(pass, x)
    }

    fn loss(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        targets: &Targets,
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        let Targets::Texts { ids, offsets } = targets else {
            return Err(Error::Targets { head: ENTRY.name, expected: "texts", got: targets.kind() });
        };
        let x = self.read(pass, &Sources::new(x, &input.offsets), ids, offsets)?;
        // Only asked-for tokens are scored: that is the widest product of the model.
        let asked: Arc<[u32]> = (0..ids.len() as u32).filter(|&t| ids[t as usize] != IGNORE).collect();
        let wanted: Arc<[u32]> = ids.iter().copied().filter(|&t| t != IGNORE).collect();
        let x = if asked.len() == ids.len() { x } else { topwork_ops::embedding(x, &asked) };
        let scores = self.scores(pass, x)?;
        Ok(cross_entropy(scores, &wanted, options.class_weights.as_ref(), options.smoothing))
    }

    fn seq2seq(&self) -> Option<&Seq2Seq> {
        Some(self)
    }
}

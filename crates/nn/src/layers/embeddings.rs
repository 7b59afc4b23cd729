//! Token, position, segment and task embeddings, summed and normalised, and widened where the tables are narrower than the
//! layers.

use burn::tensor::Tensor;
use topwork_text::Packed;

use crate::error::Error;
use crate::init::Init;
use crate::layers::{LayerNorm, Linear};
use crate::param::{ParamId, ParamKind, ParamStore};
use crate::pass::Pass;
use crate::seam::Site;

/// Sizes and habits of an embedding block.
#[derive(Clone, Debug)]
pub struct EmbeddingsConfig {
    /// Rows of the token table.
    pub vocab: usize,
    /// Width of the tables.
    pub width: usize,
    /// Width of what comes out, where a map stands behind the norm; `None` = the tables' own.
    pub widened: Option<usize>,
    /// Rows of the position table.
    pub positions: usize,
    /// The position of a sequence's first token: 0 in BERT, `padding_idx + 1` in RoBERTa.
    pub first_position: usize,
    /// Rows of the segment table; 0 = the family has none.
    pub types: usize,
    /// Rows of the table of tasks; 0 = the family has none.
    pub tasks: usize,
    /// Added to the variance in the norm.
    pub eps: f64,
    /// Dropout after the norm.
    pub dropout: f32,
    /// Standard deviation of fresh tables.
    pub std: f32,
}

/// `dropout(LayerNorm(word + position + type + task))`, and a linear map behind it where the tables are narrower than the
/// layers. The task is always the first one: it is what a text of any downstream task has.
///
/// Paper: the map: Lan et al. 2020, "ALBERT", section 3.1 (factorised embedding), <https://arxiv.org/abs/1909.11942>; the table of
/// tasks: Sun et al. 2020, "ERNIE 2.0", section 3.1, <https://arxiv.org/abs/1907.12412>
#[derive(Clone, Debug)]
pub struct Embeddings {
    config: EmbeddingsConfig,
    /// The token table, `[vocab, hidden]`; masked language modelling ties its decoder to it.
    pub word: ParamId,
    position: ParamId,
    types: Option<ParamId>,
    task: Option<ParamId>,
    norm: LayerNorm,
    widen: Option<Linear>,
    site: String,
    /// The number of the first layer above, counted through both sides of a model.
    place: usize,
}

impl Embeddings {
    /// Declares `embed.word`, `embed.position`, `embed.type` (if there are types), `embed.task` (if there are tasks),
    /// `embed.norm` and `embed.widen` (if there is a map) in group 0.
    pub fn declare(store: &mut ParamStore, config: EmbeddingsConfig) -> Self {
        Self::declare_below(store, "", 0, 0, config)
    }

    /// [`Embeddings::declare`] at paths that begin with `base`, in a depth group of the caller's choice; `place` is the number of
    /// the first layer above.
    pub fn declare_below(
        store: &mut ParamStore,
        base: &str,
        group: usize,
        place: usize,
        config: EmbeddingsConfig,
    ) -> Self {
        let (width, init) = (config.width, Init::Normal(config.std));
        let mut table = |path: &str, rows| {
            store.declare(&format!("{base}{path}"), &[rows, width], group, ParamKind::Weight, init)
        };
        let word = table("embed.word.weight", config.vocab);
        let position = table("embed.position.weight", config.positions);
        let types = (config.types > 0).then(|| table("embed.type.weight", config.types));
        let task = (config.tasks > 0).then(|| table("embed.task.weight", config.tasks));
        let norm = LayerNorm::declare(store, &format!("{base}embed.norm"), width, group, config.eps);
        let widen = config.widened.map(|hidden| {
            Linear::declare(store, &format!("{base}embed.widen"), [hidden, width], group, config.std)
        });
        let site = format!("{base}embed");
        Embeddings { config, word, position, types, task, norm, widen, site, place }
    }

    /// Longest sequence the position table allows.
    pub fn max_tokens(&self) -> usize {
        self.config.positions - self.config.first_position
    }

    /// # Shapes
    /// - returns: `[tokens, hidden]`
    ///
    /// # Errors
    /// [`Error::TooLong`] for a sequence beyond the position table, [`Error::IdOutOfRange`] for an id beyond the
    /// token or segment table, [`Error::Unset`].
    pub fn forward(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        let mut positions = Vec::with_capacity(input.ids.len());
        for pair in input.offsets.windows(2) {
            let tokens = (pair[1] - pair[0]) as usize;
            if tokens > self.max_tokens() {
                return Err(Error::TooLong { tokens, limit: self.max_tokens() });
            }
            let first = self.config.first_position as u32;
            positions.extend(first..first + tokens as u32);
        }
        self.forward_at(pass, input, &positions, None)
    }

    /// The embeddings of tokens that stand at rows of the position table which the caller knows; the row of the token `still`
    /// learns nothing.
    ///
    /// # Shapes
    /// - `positions`: `[tokens]`; returns `[tokens, hidden]`
    ///
    /// # Errors
    /// As [`Embeddings::forward`].
    pub fn forward_at(
        &self,
        pass: &Pass,
        input: &Packed,
        positions: &[u32],
        still: Option<u32>,
    ) -> Result<Tensor<2>, Error> {
        let mut sum =
            pass.lookup_but(self.word, &input.ids, still)? + pass.lookup(self.position, positions)?;
        if let Some(types) = self.types {
            sum = sum + pass.lookup(types, &input.type_ids)?;
        }
        if let Some(task) = self.task {
            sum = sum + pass.lookup(task, &vec![0; input.ids.len()])?;
        }
        let normed = self.norm.forward(pass, sum)?;
        let mut x = topwork_ops::dropout(normed, pass.dropout(self.config.dropout, &self.site));
        if let Some(widen) = &self.widen {
            x = widen.forward(pass, x)?;
        }
        Ok(pass.at(Site::Embedded, self.place, x))
    }
}

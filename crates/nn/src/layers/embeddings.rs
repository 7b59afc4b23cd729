//! Token, position and segment embeddings, summed and normalised.

use burn::tensor::Tensor;
use topwork_text::Packed;

use crate::error::Error;
use crate::init::Init;
use crate::layers::LayerNorm;
use crate::param::{ParamId, ParamKind, ParamStore};
use crate::pass::Pass;
use crate::seam::Site;

/// Sizes and habits of an embedding block.
#[derive(Clone, Debug)]
pub struct EmbeddingsConfig {
    /// Rows of the token table.
    pub vocab: usize,
    /// Width.
    pub hidden: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// The position of a sequence's first token: 0 in BERT, `padding_idx + 1` in RoBERTa.
    pub first_position: usize,
    /// Rows of the segment table; 0 = the family has none.
    pub types: usize,
    /// Added to the variance in the norm.
    pub eps: f64,
    /// Dropout after the norm.
    pub dropout: f32,
    /// Standard deviation of fresh tables.
    pub std: f32,
}

/// `dropout(LayerNorm(word + position + type))`.
#[derive(Clone, Debug)]
pub struct Embeddings {
    config: EmbeddingsConfig,
    /// The token table, `[vocab, hidden]`; masked language modelling ties its decoder to it.
    pub word: ParamId,
    position: ParamId,
    types: Option<ParamId>,
    norm: LayerNorm,
}

impl Embeddings {
    /// Declares `embed.word`, `embed.position`, `embed.type` (if there are types) and `embed.norm` in group 0.
    pub fn declare(store: &mut ParamStore, config: EmbeddingsConfig) -> Self {
        let (hidden, init) = (config.hidden, Init::Normal(config.std));
        let mut table = |path: &str, rows| store.declare(path, &[rows, hidden], 0, ParamKind::Weight, init);
        let word = table("embed.word.weight", config.vocab);
        let position = table("embed.position.weight", config.positions);
        let types = (config.types > 0).then(|| table("embed.type.weight", config.types));
        let norm = LayerNorm::declare(store, "embed.norm", hidden, 0, config.eps);
        Embeddings { config, word, position, types, norm }
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
        let mut sum = pass.lookup(self.word, &input.ids)? + pass.lookup(self.position, &positions)?;
        if let Some(types) = self.types {
            sum = sum + pass.lookup(types, &input.type_ids)?;
        }
        let normed = self.norm.forward(pass, sum)?;
        let dropped = topwork_ops::dropout(normed, pass.dropout(self.config.dropout, "embed"));
        Ok(pass.at(Site::Embedded, 0, dropped))
    }
}

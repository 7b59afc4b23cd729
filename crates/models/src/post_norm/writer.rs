//! The side that writes, made as the encoder is: the same embeddings, and the same blocks with attention to the source between
//! the two.
//!
//! Paper: Rothe, Narayan, Severyn 2020, "Leveraging Pre-trained Checkpoints for Sequence Generation Tasks", section 2,
//! <https://arxiv.org/abs/1907.12461>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/bert/modeling_bert.py> (`add_cross_attention`).
//! A token that is not asked for is read as padding and seen by those behind it; transformers hides it.

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::attend_layout::Mask;
use topwork_nn::layers::Embeddings;
use topwork_nn::{Cache, ParamId, ParamStore, Pass};
use topwork_text::Packed;

use super::PostNormConfig;
use crate::causal;
use crate::encoder_decoder::layer::{Above, Layer, LayerConfig};
use crate::error::Error;
use crate::family::Size;
use crate::target::{Sources, TargetSide, TargetStyle};

/// Embeddings and layers of the side that writes.
pub(super) struct Writer {
    size: Size,
    style: TargetStyle,
    first_position: u32,
    embeddings: Embeddings,
    blocks: Vec<Arc<Layer>>,
}

impl Writer {
    /// Declares `embed.*` and `layers.*` below the base.
    pub fn declare(
        store: &mut ParamStore,
        config: &PostNormConfig,
        above: Above,
        style: TargetStyle,
    ) -> Self {
        let Above { base, first, group } = above;
        let embeddings = Embeddings::declare_below(store, base, group, first, config.embeddings());
        let layer = LayerConfig {
            size: config.size.clone(),
            mask: Mask::Causal,
            across: true,
            pre_norm: false,
            qkv_bias: true,
            activation: config.activation,
            dropout: config.dropout,
            attention_dropout: config.attention_dropout,
            activation_dropout: 0.0,
            eps: config.eps,
        };
        let declare = |index| Arc::new(Layer::declare(store, index, above, &layer));
        Writer {
            size: config.size.clone(),
            style,
            first_position: config.first_position as u32,
            blocks: (0..config.size.layers).map(declare).collect(),
            embeddings,
        }
    }
}

impl TargetSide for Writer {
    fn size(&self) -> &Size {
        &self.size
    }

    fn style(&self) -> &TargetStyle {
        &self.style
    }

    fn word_table(&self) -> ParamId {
        self.embeddings.word
    }

    fn read(
        &self,
        pass: &Pass,
        input: &Packed,
        sources: &Sources,
        cache: Option<&mut Cache>,
    ) -> Result<Tensor<2>, Error> {
        let mut positions = causal::positions(input, cache.as_deref(), self.size.max_tokens)?;
        positions.iter_mut().for_each(|position| *position += self.first_position);
        let x = self.embeddings.forward_at(pass, input, &positions, Some(self.style.pad))?;
        sources.layers(pass, x, input, &self.blocks, cache)
    }
}

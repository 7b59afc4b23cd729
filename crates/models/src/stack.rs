//! What families have in common whose blocks begin with a norm and whose last layer has one behind it: layers that attend to one
//! text or picture, and the walk through them. A family brings its embeddings; nothing here knows which family it serves.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::activation::Activation;
use topwork_kernels::attend_layout::Mask;
use topwork_nn::layers::LayerNorm;
use topwork_nn::{ParamStore, Pass};

use crate::causal::{self, FinalNorm};
use crate::encoder_decoder::layer::{Above, Layer, LayerConfig};
use crate::error::Error;
use crate::family::Size;

/// What such layers have in their own way.
pub struct Style {
    /// What a token looks at.
    pub mask: Mask,
    /// Whether the maps to queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// Activation of the feed-forward blocks.
    pub activation: Activation,
    /// Dropout on what blocks add.
    pub dropout: f32,
    /// Dropout on attention probabilities.
    pub attention_dropout: f32,
    /// Added to the variance in norms.
    pub eps: f64,
}

/// The layers and the norm behind them.
pub struct Stack {
    /// Shared with the segments of a pass that recomputes them.
    blocks: Vec<Arc<Layer>>,
    norm: FinalNorm,
}

impl Stack {
    /// Declares `layers.{i}.{attn,ffn}.*` in groups from 1 on, and `final.norm` in the group of the last layer.
    pub fn declare(store: &mut ParamStore, size: &Size, style: Style) -> Self {
        let Style { mask, qkv_bias, activation, dropout, attention_dropout, eps } = style;
        let layer = LayerConfig {
            size: size.clone(),
            mask,
            across: false,
            pre_norm: true,
            qkv_bias,
            activation,
            dropout,
            attention_dropout,
            activation_dropout: 0.0,
            eps,
        };
        let above = Above { base: "", first: 0, group: 1 };
        let blocks = (0..size.layers).map(|i| Arc::new(Layer::declare(store, i, above, &layer))).collect();
        let norm = LayerNorm::declare(store, "final.norm", size.hidden, size.layers, eps);
        Stack { blocks, norm: FinalNorm::Layer(norm) }
    }

    /// Some of the layers, and the norm behind the last one if that is among them.
    ///
    /// # Shapes
    /// - `x` and result: `[tokens, hidden]`; `offsets`: `[batch + 1]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error> {
        causal::layers(pass, x, offsets, (&self.blocks, &self.norm), which, &None)
    }
}

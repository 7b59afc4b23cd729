//! The Transformer encoder layer with its norms after the residual sums ("post-norm").
//!
//! Paper: Vaswani et al. 2017, "Attention Is All You Need", section 3.1, <https://arxiv.org/abs/1706.03762>;
//! Devlin et al. 2019, "BERT", section 3, <https://arxiv.org/abs/1810.04805>

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::activation::Activation;

use crate::error::Error;
use crate::layers::{EncoderTail, Linear};
use crate::param::ParamStore;
use crate::pass::Pass;
use crate::seam::Site;

/// Sizes and habits of an encoder layer.
#[derive(Clone, Debug)]
pub struct EncoderLayerConfig {
    /// Width.
    pub hidden: usize,
    /// Attention heads; they divide `hidden`.
    pub heads: usize,
    /// Width inside the feed-forward block.
    pub ffn: usize,
    /// Its activation.
    pub activation: Activation,
    /// Dropout on the outputs of both blocks.
    pub hidden_dropout: f32,
    /// Dropout on attention probabilities.
    pub attention_dropout: f32,
    /// Added to the variance in the norms.
    pub eps: f64,
    /// Standard deviation of fresh weights.
    pub std: f32,
}

/// Self-attention and feed-forward block of one layer.
#[derive(Clone, Debug)]
pub struct EncoderLayer {
    config: EncoderLayerConfig,
    index: usize,
    site: String,
    q: Linear,
    k: Linear,
    v: Linear,
    tail: EncoderTail,
}

impl EncoderLayer {
    /// Declares `layers.{index}.attn.{q,k,v,out,norm}` and `layers.{index}.ffn.{up,down,norm}` in group
    /// `index + 1`.
    pub fn declare(store: &mut ParamStore, index: usize, config: EncoderLayerConfig) -> Self {
        Self::declare_as(store, &format!("layers.{index}"), index + 1, config).at(index)
    }

    /// Declares `{base}.attn.{q,k,v,out,norm}` and `{base}.ffn.{up,down,norm}` in `group`, for a layer that is used at more
    /// than one depth: [`EncoderLayer::at`] gives it for each.
    pub fn declare_as(store: &mut ParamStore, base: &str, group: usize, config: EncoderLayerConfig) -> Self {
        let (hidden, std) = (config.hidden, config.std);
        let mut linear =
            |name: &str| Linear::declare(store, &format!("{base}.attn.{name}"), [hidden, hidden], group, std);
        let (q, k, v) = (linear("q"), linear("k"), linear("v"));
        let tail = EncoderTail::declare_as(store, base, group, config.clone());
        EncoderLayer { config, index: 0, site: Self::site(0), q, k, v, tail }
    }

    /// The same parameters as the layer number `index` from below: what is dropped there is drawn for that depth.
    pub fn at(&self, index: usize) -> Self {
        EncoderLayer { index, site: Self::site(index), tail: self.tail.at(index), ..self.clone() }
    }

    fn site(index: usize) -> String {
        format!("layers.{index}.attn.probabilities")
    }

    /// # Shapes
    /// - `x` and result: `[tokens, hidden]`; `offsets`: `[batch + 1]`
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn forward(&self, pass: &Pass, x: Tensor<2>, offsets: &Arc<[u32]>) -> Result<Tensor<2>, Error> {
        let weights = [self.q.weight, self.k.weight, self.v.weight];
        let qkv = pass.linear_qkv(x.clone(), weights, [self.q.bias, self.k.bias, self.v.bias])?;
        let dropout = pass.dropout(self.config.attention_dropout, &self.site);
        let qkv = pass.fronted_qkv(self.index, qkv, offsets)?;
        let mixed = topwork_ops::attention(qkv, offsets, self.config.heads, dropout);
        let x = self.tail.forward(pass, mixed, x)?;
        Ok(pass.at(Site::BlockOutput, self.index, x))
    }
}

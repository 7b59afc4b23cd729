//! The Transformer encoder layer with its norms after the residual sums ("post-norm").
//!
//! Paper: Vaswani et al. 2017, "Attention Is All You Need", section 3.1, <https://arxiv.org/abs/1706.03762>;
//! Devlin et al. 2019, "BERT", section 3, <https://arxiv.org/abs/1810.04805>

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::activation::Activation;

use crate::error::Error;
use crate::layers::{LayerNorm, Linear};
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
    sites: [String; 3],
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    ffn_norm: LayerNorm,
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
        let (hidden, ffn, std, eps) = (config.hidden, config.ffn, config.std, config.eps);
        let path = |name: &str| format!("{base}.{name}");
        let mut linear =
            |name: &str, sizes: [usize; 2]| Linear::declare(store, &path(name), sizes, group, std);
        let q = linear("attn.q", [hidden, hidden]);
        let k = linear("attn.k", [hidden, hidden]);
        let v = linear("attn.v", [hidden, hidden]);
        let out = linear("attn.out", [hidden, hidden]);
        let attention_norm = LayerNorm::declare(store, &path("attn.norm"), hidden, group, eps);
        let mut linear =
            |name: &str, sizes: [usize; 2]| Linear::declare(store, &path(name), sizes, group, std);
        let up = linear("ffn.up", [ffn, hidden]);
        let down = linear("ffn.down", [hidden, ffn]);
        let ffn_norm = LayerNorm::declare(store, &path("ffn.norm"), hidden, group, eps);
        let sites = Self::sites(0);
        EncoderLayer { config, index: 0, sites, q, k, v, out, attention_norm, up, down, ffn_norm }
    }

    /// The same parameters as the layer number `index` from below: what is dropped there is drawn for that depth.
    pub fn at(&self, index: usize) -> Self {
        EncoderLayer { index, sites: Self::sites(index), ..self.clone() }
    }

    fn sites(index: usize) -> [String; 3] {
        ["attn.probabilities", "attn.out", "ffn.down"].map(|name| format!("layers.{index}.{name}"))
    }

    /// # Shapes
    /// - `x` and result: `[tokens, hidden]`; `offsets`: `[batch + 1]`
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn forward(&self, pass: &Pass, x: Tensor<2>, offsets: &Arc<[u32]>) -> Result<Tensor<2>, Error> {
        let config = &self.config;
        let weights = [self.q.weight, self.k.weight, self.v.weight];
        let qkv = pass.linear_qkv(x.clone(), weights, [self.q.bias, self.k.bias, self.v.bias])?;
        let dropout = pass.dropout(config.attention_dropout, &self.sites[0]);
        let mixed = topwork_ops::attention(qkv, offsets, config.heads, dropout);
        let attended = self.out.forward(pass, mixed)?;
        let dropout = pass.dropout(config.hidden_dropout, &self.sites[1]);
        let x = self.attention_norm.forward_residual(pass, attended, x, dropout)?;
        let x = pass.at(Site::AfterAttention, self.index, x);

        let fed = self.up.forward_through(pass, x.clone(), config.activation, &self.down)?;
        let dropout = pass.dropout(config.hidden_dropout, &self.sites[2]);
        let x = self.ffn_norm.forward_residual(pass, fed, x, dropout)?;
        Ok(pass.at(Site::BlockOutput, self.index, x))
    }
}

//! The part of a post-norm layer that follows the mixing of tokens, whatever mixed them: output map, feed-forward block and
//! the norms after the residual sums.

use burn::tensor::Tensor;

use crate::error::Error;
use crate::graft::BlockEnd;
use crate::layers::{EncoderLayerConfig, LayerNorm, Linear};
use crate::param::ParamStore;
use crate::pass::Pass;
use crate::seam::Site;

/// Output map, norm, feed-forward block, norm.
#[derive(Clone, Debug)]
pub struct EncoderTail {
    config: EncoderLayerConfig,
    index: usize,
    sites: [String; 2],
    out: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    ffn_norm: LayerNorm,
}

impl EncoderTail {
    /// Declares `layers.{index}.attn.{out,norm}` and `layers.{index}.ffn.{up,down,norm}` in group `index + 1`.
    pub fn declare(store: &mut ParamStore, index: usize, config: EncoderLayerConfig) -> Self {
        Self::declare_as(store, &format!("layers.{index}"), index + 1, config).at(index)
    }

    /// Declares `{base}.attn.{out,norm}` and `{base}.ffn.{up,down,norm}` in `group`, for a layer that is used at more than one
    /// depth: [`EncoderTail::at`] gives it for each.
    pub fn declare_as(store: &mut ParamStore, base: &str, group: usize, config: EncoderLayerConfig) -> Self {
        let EncoderLayerConfig { hidden, ffn, std, eps, .. } = config;
        let path = |name: &str| format!("{base}.{name}");
        let out = Linear::declare(store, &path("attn.out"), [hidden, hidden], group, std);
        let attention_norm = LayerNorm::declare(store, &path("attn.norm"), hidden, group, eps);
        let up = Linear::declare(store, &path("ffn.up"), [ffn, hidden], group, std);
        let down = Linear::declare(store, &path("ffn.down"), [hidden, ffn], group, std);
        let ffn_norm = LayerNorm::declare(store, &path("ffn.norm"), hidden, group, eps);
        EncoderTail { config, index: 0, sites: Self::sites(0), out, attention_norm, up, down, ffn_norm }
    }

    /// The same parameters as the layer number `index` from below: what is dropped there is drawn for that depth.
    pub fn at(&self, index: usize) -> Self {
        EncoderTail { index, sites: Self::sites(index), ..self.clone() }
    }

    fn sites(index: usize) -> [String; 2] {
        ["attn.out", "ffn.down"].map(|name| format!("layers.{index}.{name}"))
    }

    /// The output of the layer; its seam is left to the caller.
    ///
    /// # Shapes
    /// - `mixed`: what attention made of `x`; it, `x` and the result: `[tokens, hidden]`
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn forward(&self, pass: &Pass, mixed: Tensor<2>, x: Tensor<2>) -> Result<Tensor<2>, Error> {
        let config = &self.config;
        let added = self.out.forward(pass, mixed)?;
        let dropout = pass.dropout(config.hidden_dropout, &self.sites[0]);
        let end = BlockEnd { last: &self.out, added, before: x, dropout };
        let x = end.normed(pass, &self.attention_norm)?;
        let x = pass.at(Site::AfterAttention, self.index, x);

        let added = self.up.forward_through(pass, x.clone(), config.activation, &self.down)?;
        let dropout = pass.dropout(config.hidden_dropout, &self.sites[1]);
        BlockEnd { last: &self.down, added, before: x, dropout }.normed(pass, &self.ffn_norm)
    }
}

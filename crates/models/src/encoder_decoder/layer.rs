//! A layer of either side of an encoder-decoder: attention to the text itself, on the side that writes attention to the source
//! too, and a feed-forward block.

use burn::tensor::Tensor;
use topwork_kernels::activation::Activation;
use topwork_kernels::attend_layout::Mask;
use topwork_kernels::rng::Dropout;
use topwork_nn::layers::{LayerNorm, Linear};
use topwork_nn::{AttentionStyle, BlockEnd, Context, KeysValues, ParamStore, Pass, Site};

use crate::causal::Block;
use crate::family::Size;
use crate::target::Sources;

/// Settings of the layers of a side.
#[derive(Clone, Debug)]
pub struct LayerConfig {
    /// Sizes of the side.
    pub size: Size,
    /// What a token sees of its own text.
    pub mask: Mask,
    /// Whether it sees a source too.
    pub across: bool,
    /// True if norms stand before blocks, false if they stand after them.
    pub pre_norm: bool,
    /// Whether the maps to queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Activation of the feed-forward block.
    pub activation: Activation,
    /// Dropout on what blocks add.
    pub dropout: f32,
    /// Dropout on attention probabilities.
    pub attention_dropout: f32,
    /// Dropout after the activation.
    pub activation_dropout: f32,
    /// Added to the variance in norms.
    pub eps: f64,
}

/// Where a side's layers are.
#[derive(Clone, Copy, Debug)]
pub struct Above<'a> {
    /// What its paths begin with: nothing, or `target.`.
    pub base: &'a str,
    /// The number of its first layer, counted through both sides.
    pub first: usize,
    /// The depth group of its first layer.
    pub group: usize,
}

/// Maps to queries, keys and values and back, and the norm of the block.
struct Attention {
    norm: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    style: AttentionStyle,
    sites: [String; 2],
}

impl Attention {
    fn declare(store: &mut ParamStore, path: &str, group: usize, config: &LayerConfig, mask: Mask) -> Self {
        let Size { hidden, heads, std, .. } = config.size;
        let norm = LayerNorm::declare(store, &format!("{path}.norm"), hidden, group, config.eps);
        let mut linear = |name: &str, bias: bool| {
            Linear::declare_with(store, &format!("{path}.{name}"), [hidden, hidden], group, std, bias)
        };
        Attention {
            norm,
            q: linear("q", config.qkv_bias),
            k: linear("k", config.qkv_bias),
            v: linear("v", config.qkv_bias),
            out: linear("out", true),
            style: AttentionStyle {
                heads,
                kv_heads: heads,
                scale: 1.0 / ((hidden / heads) as f32).sqrt(),
                mask,
            },
            sites: [format!("{path}.probabilities"), format!("{path}.out")],
        }
    }

    /// Attention to the text itself, before the map back.
    fn within(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        layer: usize,
        context: &mut Context,
        dropout: Option<Dropout>,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let [q, k, v] = [&self.q, &self.k, &self.v];
        if self.style.mask == Mask::Full {
            let qkv = pass.linear_qkv(x, [q.weight, k.weight, v.weight], [q.bias, k.bias, v.bias])?;
            let qkv = pass.fronted_qkv(layer, qkv, context.offsets())?;
            return Ok(topwork_ops::attention(qkv, context.offsets(), self.style.heads, dropout));
        }
        let qkv = [q.forward(pass, x.clone())?, k.forward(pass, x.clone())?, v.forward(pass, x)?];
        let qkv = pass.fronted(layer, qkv, context.offsets())?;
        Ok(context.attend(layer, qkv, &self.style, dropout))
    }

    /// Attention to sources, before the map back.
    fn across(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        (layer, sources): (usize, &Sources),
        context: &mut Context,
        dropout: Option<Dropout>,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let q = self.q.forward(pass, x)?;
        let keys_values = || {
            let source = pass.outside(&sources.hidden);
            let (keys, values) = (self.k.forward(pass, source.clone())?, self.v.forward(pass, source)?);
            Ok(KeysValues { keys, values })
        };
        context.attend_across(layer, q, &sources.offsets, keys_values, &self.style, dropout)
    }
}

/// Attention, of a target attention to the source, feed-forward block; each with a sum, and a norm before or after it.
pub struct Layer {
    /// Its number on its side.
    index: usize,
    /// Its number, that of a target's counted on from the encoder's.
    place: usize,
    attention: Attention,
    across: Option<Attention>,
    norm: LayerNorm,
    up: Linear,
    down: Linear,
    sites: [String; 2],
    pre_norm: bool,
    activation: Activation,
    dropout: f32,
    attention_dropout: f32,
    activation_dropout: f32,
}

impl Layer {
    /// Declares `{base}layers.{index}.attn`, on the side that writes `across`, and `ffn`.
    pub fn declare(store: &mut ParamStore, index: usize, above: Above, config: &LayerConfig) -> Self {
        let Above { base, first, group } = above;
        let group = group + index;
        let path = |name: &str| format!("{base}layers.{index}.{name}");
        let attention = Attention::declare(store, &path("attn"), group, config, config.mask.clone());
        let across =
            config.across.then(|| Attention::declare(store, &path("across"), group, config, Mask::Full));
        let Size { hidden, ffn, std, .. } = config.size;
        Layer {
            index,
            place: first + index,
            attention,
            across,
            norm: LayerNorm::declare(store, &path("ffn.norm"), hidden, group, config.eps),
            up: Linear::declare(store, &path("ffn.up"), [ffn, hidden], group, std),
            down: Linear::declare(store, &path("ffn.down"), [hidden, ffn], group, std),
            sites: [path("ffn.activation"), path("ffn.down")],
            pre_norm: config.pre_norm,
            activation: config.activation,
            dropout: config.dropout,
            attention_dropout: config.attention_dropout,
            activation_dropout: config.activation_dropout,
        }
    }

    /// A block, of which `last` is the last map: norm, `run` and sum, or `run`, sum and norm.
    fn block(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        (norm, site, last): (&LayerNorm, &str, &Linear),
        run: impl FnOnce(Tensor<2>) -> Result<Tensor<2>, topwork_nn::Error>,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let dropout = pass.dropout(self.dropout, site);
        if self.pre_norm {
            let added = run(norm.forward(pass, x.clone())?)?;
            return BlockEnd { last, added, before: x, dropout }.sum(pass);
        }
        let added = run(x.clone())?;
        BlockEnd { last, added, before: x, dropout }.normed(pass, norm)
    }
}

impl Block for Layer {
    type Shared = Option<Sources>;

    fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        sources: &Option<Sources>,
        context: &mut Context,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let Attention { norm, out, sites, .. } = &self.attention;
        let dropout = pass.dropout(self.attention_dropout, &sites[0]);
        let x = self.block(pass, x, (norm, &sites[1], out), |x| {
            let mixed = self.attention.within(pass, x, self.index, context, dropout)?;
            out.forward(pass, mixed)
        })?;
        let mut x = pass.at(Site::AfterAttention, self.place, x);

        if let (Some(across), Some(sources)) = (&self.across, sources) {
            let Attention { norm, out, sites, .. } = across;
            let dropout = pass.dropout(self.attention_dropout, &sites[0]);
            x = self.block(pass, x, (norm, &sites[1], out), |x| {
                let mixed = across.across(pass, x, (self.index, sources), context, dropout)?;
                out.forward(pass, mixed)
            })?;
            x = pass.at(Site::AfterAcross, self.place, x);
        }

        let inside = pass.dropout(self.activation_dropout, &self.sites[0]);
        let x = self.block(pass, x, (&self.norm, &self.sites[1], &self.down), |x| {
            self.up.forward_through_dropped(pass, x, self.activation, inside, &self.down)
        })?;
        Ok(pass.at(Site::BlockOutput, self.place, x))
    }
}

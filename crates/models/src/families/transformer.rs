//! The encoder of the first Transformer, with positions of sines: a baseline, trained from nothing.
//!
//! Paper: Vaswani et al. 2017, "Attention Is All You Need", section 3, <https://arxiv.org/abs/1706.03762>. Weights have the names
//! of PyTorch's `nn.TransformerEncoder` (with `norm_first=False`).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use topwork_kernels::activation::Activation;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::{LayerNorm, Linear};
use topwork_nn::{BlockEnd, Init, ParamId, ParamKind, ParamStore, Pass, Site};
use topwork_text::Packed;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::causal;
use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, Encoder, Family, LanguageModelStyle, NO_LIMIT, Size};

/// The entry in the list.
pub const TRANSFORMER: Family = Family {
    name: "transformer",
    summary: "the encoder of the first Transformer, from nothing",
    paper: "https://arxiv.org/abs/1706.03762",
    model_types: &["transformer"],
    architectures: &[
        ("embed", "TransformerEncoder"),
        ("classify", "TransformerForSequenceClassification"),
        ("masked-lm", "TransformerForMaskedLM"),
        ("tag", "TransformerForTokenClassification"),
    ],
    weights: Table {
        rules: &[
            ("embeddings.weight", "embed.word.weight", Keep),
            ("encoder.layers.{i}.self_attn.in_proj_weight", "layers.{i}.attn.qkv.weight", Keep),
            ("encoder.layers.{i}.self_attn.in_proj_bias", "layers.{i}.attn.qkv.bias", Keep),
            ("encoder.layers.{i}.self_attn.out_proj.weight", "layers.{i}.attn.out.weight", Keep),
            ("encoder.layers.{i}.self_attn.out_proj.bias", "layers.{i}.attn.out.bias", Keep),
            ("encoder.layers.{i}.norm1.weight", "layers.{i}.attn.norm.weight", Keep),
            ("encoder.layers.{i}.norm1.bias", "layers.{i}.attn.norm.bias", Keep),
            ("encoder.layers.{i}.linear1.weight", "layers.{i}.ffn.up.weight", Keep),
            ("encoder.layers.{i}.linear1.bias", "layers.{i}.ffn.up.bias", Keep),
            ("encoder.layers.{i}.linear2.weight", "layers.{i}.ffn.down.weight", Keep),
            ("encoder.layers.{i}.linear2.bias", "layers.{i}.ffn.down.bias", Keep),
            ("encoder.layers.{i}.norm2.weight", "layers.{i}.ffn.norm.weight", Keep),
            ("encoder.layers.{i}.norm2.bias", "layers.{i}.ffn.norm.bias", Keep),
            ("classifier.weight", "head.out.weight", Keep),
            ("classifier.bias", "head.out.bias", Keep),
            ("lm_bias", "head.mlm.bias", Keep),
        ],
        unused: &[("head.**", "a head of another task, not used by this one")],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(Transformer::declare(store, Config(config))?)),
};

/// A table, positions and layers.
struct Transformer {
    size: Size,
    table: ParamId,
    dropout: f32,
    pool: Pool,
    layers: Vec<Arc<Layer>>,
}

/// Attention and feed-forward block, each with its norm behind the sum.
struct Layer {
    index: usize,
    heads: usize,
    activation: Activation,
    dropout: f32,
    sites: [String; 3],
    qkv: Linear,
    out: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    ffn_norm: LayerNorm,
}

impl Transformer {
    fn declare(store: &mut ParamStore, config: Config) -> Result<Self, Error> {
        let hidden = config.size("hidden_size")?;
        let size = Size {
            layers: config.size_or("num_hidden_layers", 6)?.max(1),
            hidden,
            heads: config.heads("num_attention_heads", "hidden_size")?,
            ffn: config.size_or("intermediate_size", 4 * hidden)?.max(1),
            vocab: config.size("vocab_size")?,
            max_tokens: config.size_or("max_position_embeddings", NO_LIMIT)?.max(1),
            types: 0,
            std: config.number_or("initializer_range", 1.0 / (hidden as f64).sqrt())? as f32,
        };
        let (dropout, eps) =
            (config.probability_or("dropout", 0.1)?, config.number_or("layer_norm_eps", 1e-5)?);
        let activation = config.activation_or("hidden_act", Activation::Relu)?;
        let shape = [size.vocab, hidden];
        let table = store.declare("embed.word.weight", &shape, 0, ParamKind::Weight, Init::Normal(size.std));
        let layer = |index: usize| {
            let group = index + 1;
            let path = |name: &str| format!("layers.{index}.{name}");
            let mut linear = |name: &str, sizes: [usize; 2]| {
                // The spread of Glorot and Bengio, as PyTorch's layer starts.
                let std = (2.0 / (sizes[0] + sizes[1]) as f32).sqrt();
                Linear::declare(store, &path(name), sizes, group, std)
            };
            let qkv = linear("attn.qkv", [3 * hidden, hidden]);
            let out = linear("attn.out", [hidden, hidden]);
            let (up, down) = (linear("ffn.up", [size.ffn, hidden]), linear("ffn.down", [hidden, size.ffn]));
            let mut norm = |name: &str| LayerNorm::declare(store, &path(name), hidden, group, eps);
            let (attention_norm, ffn_norm) = (norm("attn.norm"), norm("ffn.norm"));
            let sites = [path("attn.probabilities"), path("attn.out"), path("ffn.down")];
            let heads = size.heads;
            Arc::new(Layer {
                index,
                heads,
                activation,
                dropout,
                sites,
                qkv,
                out,
                attention_norm,
                up,
                down,
                ffn_norm,
            })
        };
        let layers = (0..size.layers).map(layer).collect();
        let pool = config.pool_or("pooling", Pool::Mean)?;
        Ok(Transformer { size, table, dropout, pool, layers })
    }
}

impl Layer {
    /// # Shapes
    /// - `x` and result: `[tokens, hidden]`
    fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let drop = |at: usize| pass.dropout(self.dropout, &self.sites[at]);
        let qkv = self.qkv.forward(pass, x.clone())?;
        let qkv = pass.fronted_qkv(self.index, qkv, offsets)?;
        let mixed = topwork_ops::attention(qkv, offsets, self.heads, drop(0));
        let added = self.out.forward(pass, mixed)?;
        let end = BlockEnd { last: &self.out, added, before: x, dropout: drop(1) };
        let x = end.normed(pass, &self.attention_norm)?;
        let x = pass.at(Site::AfterAttention, self.index, x);
        let added = self.up.forward_through(pass, x.clone(), self.activation, &self.down)?;
        let end = BlockEnd { last: &self.down, added, before: x, dropout: drop(2) };
        let x = end.normed(pass, &self.ffn_norm)?;
        Ok(pass.at(Site::BlockOutput, self.index, x))
    }
}

/// Sines and cosines of a position, in turns (section 3.5).
fn sines(position: u32, hidden: usize) -> Vec<f32> {
    let angle = |at: usize| f64::from(position) / 10_000f64.powf((at / 2 * 2) as f64 / hidden as f64);
    let value = |at: usize| if at.is_multiple_of(2) { angle(at).sin() } else { angle(at).cos() };
    (0..hidden).map(|at| value(at) as f32).collect()
}

impl Encoder for Transformer {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        let positions = causal::positions(input, None, self.size.max_tokens)?;
        let (tokens, hidden) = (input.tokens(), self.size.hidden);
        let mut known: HashMap<u32, Vec<f32>> = HashMap::new();
        let mut values = Vec::with_capacity(tokens * hidden);
        for position in positions {
            values.extend_from_slice(known.entry(position).or_insert_with(|| sines(position, hidden)));
        }
        let places = Tensor::<2>::from_data(TensorData::new(values, [tokens, hidden]), pass.store().device());
        let words = pass.lookup(self.table, &input.ids)?.mul_scalar((hidden as f64).sqrt());
        let x = topwork_ops::dropout(words + places, pass.dropout(self.dropout, "embed"));
        Ok(pass.at(Site::Embedded, 0, x))
    }

    fn layers(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error> {
        let mut hidden = pass.cut(x);
        for layer in &self.layers[which] {
            let (layer, offsets) = (Arc::clone(layer), Arc::clone(offsets));
            hidden = pass.segment(hidden, move |pass, x| layer.forward(pass, x, &offsets))?;
        }
        Ok(hidden)
    }

    fn size(&self) -> &Size {
        &self.size
    }

    fn word_table(&self) -> ParamId {
        self.table
    }

    fn classifier(&self) -> ClassifierStyle {
        ClassifierStyle { pool: self.pool, dense: None, dropout: self.dropout, out: "head.out", bias: true }
    }

    fn language_model(&self) -> LanguageModelStyle {
        LanguageModelStyle { transform: None, tied: true, bias: Some("head.mlm.bias") }
    }
}

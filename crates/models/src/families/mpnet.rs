//! MPNet.
//!
//! Paper: Song et al. 2020, "MPNet: Masked and Permuted Pre-training for Language Understanding", section 2,
//! <https://arxiv.org/abs/2004.09297>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/mpnet/modeling_mpnet.py>.
//! BERT's blocks without segments; positions start as RoBERTa's do, and a bias by distance, the same in every layer, is added to
//! the scores of each head.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::activation::Activation;
use topwork_kernels::attend_layout::{AttendLayout, Mask};
use topwork_kernels::pool::Pool;
use topwork_nn::layers::{Embeddings, EmbeddingsConfig, EncoderLayerConfig, EncoderTail, Linear};
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass, Site};
use topwork_text::Packed;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::buckets;
use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, Encoder, Family, LanguageModelStyle, Size, TaggerStyle};
use crate::onnx::blocks::{self, PostNormLayer};
use crate::onnx::{EncoderGraph, Graph, Texts, Value};

/// The entry in the list.
pub const MPNET: Family = Family {
    name: "mpnet",
    summary: "MPNet, also as sentence encoder (all-mpnet-base)",
    paper: "https://arxiv.org/abs/2004.09297",
    model_types: &["mpnet"],
    architectures: &[
        ("embed", "MPNetModel"),
        ("classify", "MPNetForSequenceClassification"),
        ("masked-lm", "MPNetForMaskedLM"),
        ("tag", "MPNetForTokenClassification"),
        ("span", "MPNetForQuestionAnswering"),
    ],
    weights: Table {
        rules: &[
            ("{base}embeddings.word_embeddings.weight", "embed.word.weight", Keep),
            ("{base}embeddings.position_embeddings.weight", "embed.position.weight", Keep),
            ("{base}embeddings.LayerNorm.weight", "embed.norm.weight", Keep),
            ("{base}embeddings.LayerNorm.bias", "embed.norm.bias", Keep),
            ("{base}encoder.relative_attention_bias.weight", "embed.distance.weight", Keep),
            ("{base}encoder.layer.{i}.attention.attn.q.weight", "layers.{i}.attn.q.weight", Keep),
            ("{base}encoder.layer.{i}.attention.attn.q.bias", "layers.{i}.attn.q.bias", Keep),
            ("{base}encoder.layer.{i}.attention.attn.k.weight", "layers.{i}.attn.k.weight", Keep),
            ("{base}encoder.layer.{i}.attention.attn.k.bias", "layers.{i}.attn.k.bias", Keep),
            ("{base}encoder.layer.{i}.attention.attn.v.weight", "layers.{i}.attn.v.weight", Keep),
            ("{base}encoder.layer.{i}.attention.attn.v.bias", "layers.{i}.attn.v.bias", Keep),
            ("{base}encoder.layer.{i}.attention.attn.o.weight", "layers.{i}.attn.out.weight", Keep),
            ("{base}encoder.layer.{i}.attention.attn.o.bias", "layers.{i}.attn.out.bias", Keep),
            ("{base}encoder.layer.{i}.attention.LayerNorm.weight", "layers.{i}.attn.norm.weight", Keep),
            ("{base}encoder.layer.{i}.attention.LayerNorm.bias", "layers.{i}.attn.norm.bias", Keep),
            ("{base}encoder.layer.{i}.intermediate.dense.weight", "layers.{i}.ffn.up.weight", Keep),
            ("{base}encoder.layer.{i}.intermediate.dense.bias", "layers.{i}.ffn.up.bias", Keep),
            ("{base}encoder.layer.{i}.output.dense.weight", "layers.{i}.ffn.down.weight", Keep),
            ("{base}encoder.layer.{i}.output.dense.bias", "layers.{i}.ffn.down.bias", Keep),
            ("{base}encoder.layer.{i}.output.LayerNorm.weight", "layers.{i}.ffn.norm.weight", Keep),
            ("{base}encoder.layer.{i}.output.LayerNorm.bias", "layers.{i}.ffn.norm.bias", Keep),
            ("{base}pooler.dense.weight", "pooler.weight", Keep),
            ("{base}pooler.dense.bias", "pooler.bias", Keep),
            ("classifier.dense.weight", "head.dense.weight", Keep),
            ("classifier.dense.bias", "head.dense.bias", Keep),
            ("classifier.out_proj.weight", "head.out.weight", Keep),
            ("classifier.out_proj.bias", "head.out.bias", Keep),
            ("classifier.weight", "head.tag.weight", Keep),
            ("classifier.bias", "head.tag.bias", Keep),
            ("qa_outputs.weight", "head.span.weight", Keep),
            ("qa_outputs.bias", "head.span.bias", Keep),
            ("lm_head.dense.weight", "head.mlm.dense.weight", Keep),
            ("lm_head.dense.bias", "head.mlm.dense.bias", Keep),
            ("lm_head.layer_norm.weight", "head.mlm.norm.weight", Keep),
            ("lm_head.layer_norm.bias", "head.mlm.norm.bias", Keep),
            ("lm_head.bias", "head.mlm.bias", Keep),
        ],
        tied: &[("lm_head.decoder.weight", "embed.word.weight"), ("lm_head.decoder.bias", "head.mlm.bias")],
        ignored: &[("{base}embeddings.position_ids", "a constant range, rebuilt")],
        unused: &[
            ("head.**", "a head of another task, not used by this one"),
            ("pooler.**", "a pooler, which MPNet's classifier does not use"),
        ],
        prefixes: &["mpnet.", ""],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(Mpnet::declare(store, settings(Config(config))?))),
};

/// Positions up to this one are never used, whatever the config calls the padding id.
const PADDING: usize = 1;
/// Buckets of distances, and the distance from which on all share the last: fixed in the reference code.
const BUCKETS: usize = 32;
const FAR: usize = 128;

struct Settings {
    size: Size,
    positions: usize,
    buckets: usize,
    activation: Activation,
    eps: f64,
    dropout: f32,
    attention_dropout: f32,
}

fn settings(config: Config) -> Result<Settings, Error> {
    let positions = config.size_or("max_position_embeddings", 512)?;
    if positions <= PADDING + 1 {
        return Err(Error::Config {
            key: "max_position_embeddings".to_string(),
            expected: format!("more than {}", PADDING + 1),
            got: positions.to_string(),
        });
    }
    let buckets = config.size_or("relative_attention_num_buckets", BUCKETS)?;
    if buckets < BUCKETS {
        return Err(Error::Config {
            key: "relative_attention_num_buckets".to_string(),
            expected: format!("at least {BUCKETS}, which the reference uses whatever stands here"),
            got: buckets.to_string(),
        });
    }
    Ok(Settings {
        size: Size {
            layers: config.size("num_hidden_layers")?,
            hidden: config.size("hidden_size")?,
            heads: config.heads("num_attention_heads", "hidden_size")?,
            ffn: config.size("intermediate_size")?,
            vocab: config.size("vocab_size")?,
            max_tokens: positions - PADDING - 1,
            types: 0,
            std: config.number_or("initializer_range", 0.02)? as f32,
        },
        positions,
        buckets,
        activation: config.activation_or("hidden_act", Activation::Gelu)?,
        eps: config.number_or("layer_norm_eps", 1e-12)?,
        dropout: config.probability_or("hidden_dropout_prob", 0.1)?,
        attention_dropout: config.probability_or("attention_probs_dropout_prob", 0.1)?,
    })
}

struct Mpnet {
    settings: Settings,
    embeddings: Embeddings,
    layers: Vec<Arc<Layer>>,
    /// The bucket of each distance from `-FAR` to `FAR`.
    columns: Arc<[u32]>,
}

impl Mpnet {
    fn declare(store: &mut ParamStore, settings: Settings) -> Self {
        let Size { vocab, hidden, heads, std, .. } = settings.size;
        let embeddings = Embeddings::declare(
            store,
            EmbeddingsConfig {
                vocab,
                width: hidden,
                widened: None,
                positions: settings.positions,
                first_position: PADDING + 1,
                types: 0,
                tasks: 0,
                eps: settings.eps,
                dropout: settings.dropout,
                std,
            },
        );
        let shape = [settings.buckets, heads];
        let init = Init::Normal(std);
        let distance = store.declare("embed.distance.weight", &shape, 0, ParamKind::Weight, init);
        let layer = |i| Arc::new(Layer::declare(store, i, &settings, distance));
        let layers = (0..settings.size.layers).map(layer).collect();
        let far = FAR as i64;
        let columns =
            (-far..=far).map(|distance| buckets::both_ways(distance, BUCKETS, FAR) as u32).collect();
        Mpnet { settings, embeddings, layers, columns }
    }
}

impl Encoder for Mpnet {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        Ok(self.embeddings.forward(pass, input)?)
    }

    fn layers(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error> {
        let mut hidden = pass.cut(x);
        let Size { heads, hidden: width, .. } = self.settings.size;
        let layout =
            AttendLayout { zero: FAR, ..AttendLayout::new(offsets, heads, width / heads, Mask::Full) };
        for layer in &self.layers[which] {
            let (layer, layout, columns) = (Arc::clone(layer), layout.clone(), Arc::clone(&self.columns));
            hidden = pass.segment(hidden, move |pass, x| layer.forward(pass, x, &layout, &columns))?;
        }
        Ok(hidden)
    }

    fn size(&self) -> &Size {
        &self.settings.size
    }

    fn word_table(&self) -> ParamId {
        self.embeddings.word
    }

    fn classifier(&self) -> ClassifierStyle {
        let Settings { size, dropout, .. } = &self.settings;
        ClassifierStyle::dropped_twice(Pool::Cls, size.hidden, *dropout)
    }

    fn tagger(&self) -> TaggerStyle {
        TaggerStyle::plain("head.tag", self.settings.dropout)
    }

    fn language_model(&self) -> LanguageModelStyle {
        LanguageModelStyle::transformed(self.settings.size.hidden, Activation::Gelu, self.settings.eps)
    }

    fn onnx(&self) -> Option<&dyn EncoderGraph> {
        Some(self)
    }
}

impl EncoderGraph for Mpnet {
    fn describe(&self, graph: &mut Graph, texts: &Texts) -> Result<Value, Error> {
        let Settings { size, activation, eps, .. } = &self.settings;
        let mut x = blocks::embeddings(graph, texts, PADDING + 1, *eps)?;
        let positions = blocks::positions(graph, &texts.ids, 0);
        let distances = blocks::distances(graph, &positions);
        let near = blocks::distance_bias(graph, &distances, FAR, &self.columns, "embed.distance.weight")?;
        let padding = blocks::padding_bias(graph, &texts.mask);
        let bias = graph.add(&near, &padding);
        let layer = PostNormLayer::new(size, *activation, *eps);
        for index in 0..size.layers {
            x = layer.describe(graph, &format!("layers.{index}"), &x, &bias)?;
        }
        Ok(x)
    }
}

/// BERT's layer, with a bias on the scores.
struct Layer {
    index: usize,
    site: String,
    attention_dropout: f32,
    /// `[buckets, heads]`, shared by all layers.
    distance: ParamId,
    q: Linear,
    k: Linear,
    v: Linear,
    tail: EncoderTail,
}

impl Layer {
    fn declare(store: &mut ParamStore, index: usize, settings: &Settings, distance: ParamId) -> Self {
        let Size { hidden, heads, ffn, std, .. } = settings.size;
        let path = |name: &str| format!("layers.{index}.{name}");
        let mut linear = |name: &str| Linear::declare(store, &path(name), [hidden, hidden], index + 1, std);
        let (q, k, v) = (linear("attn.q"), linear("attn.k"), linear("attn.v"));
        let config = EncoderLayerConfig {
            hidden,
            heads,
            ffn,
            activation: settings.activation,
            hidden_dropout: settings.dropout,
            attention_dropout: settings.attention_dropout,
            eps: settings.eps,
            std,
        };
        let tail = EncoderTail::declare(store, index, config);
        let attention_dropout = settings.attention_dropout;
        Layer { index, site: path("attn.probabilities"), attention_dropout, distance, q, k, v, tail }
    }

    fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        layout: &AttendLayout,
        columns: &Arc<[u32]>,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let q = self.q.forward(pass, x.clone())?;
        let k = self.k.forward(pass, x.clone())?;
        let v = self.v.forward(pass, x.clone())?;
        let [q, k, v] = pass.fronted(self.index, [q, k, v], &layout.k_offsets)?;
        let bias = pass.lookup(self.distance, columns)?.transpose();
        let dropout = pass.dropout(self.attention_dropout, &self.site);
        let mixed = topwork_ops::attend(q, k, v, layout, Some(bias), dropout);
        let x = self.tail.forward(pass, mixed, x)?;
        Ok(pass.at(Site::BlockOutput, self.index, x))
    }
}

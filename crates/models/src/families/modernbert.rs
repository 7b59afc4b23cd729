//! ModernBERT.
//!
//! Paper: Warner et al. 2024, "Smarter, Better, Faster, Longer: A Modern Bidirectional Encoder for Fast, Memory Efficient, and
//! Long Context Finetuning and Inference", section 2.1, <https://arxiv.org/abs/2412.13663>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/modernbert/modeling_modernbert.py>.
//! Norms before the blocks and one behind the last, rotary positions, gated feed-forward blocks; in most layers a token sees
//! only its neighbours, and turns by other angles there. Configs of transformers 4 and 5 spell the kinds of layers and the
//! angles differently; both are read.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use serde_json::{Map, Value, json};
use topwork_kernels::activation::Activation;
use topwork_kernels::attend_layout::Mask;
use topwork_kernels::gated::Halves;
use topwork_kernels::pool::Pool;
use topwork_kernels::rotary::{Pairing, Rotary};
use topwork_nn::layers::{LayerNorm, Linear};
use topwork_nn::{AttentionStyle, BlockEnd, Context, Init, ParamId, ParamKind, ParamStore, Pass, Site};
use topwork_text::Packed;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::causal::{self, Block, FinalNorm};
use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, DenseStyle, Encoder, Family, LanguageModelStyle, Size, TaggerStyle};
use crate::onnx::blocks::{self, Attention, Turns};
use crate::onnx::{self, EncoderGraph, Graph, Texts};
use crate::rope::Frequencies;

/// The entry in the list.
pub const MODERNBERT: Family = Family {
    name: "modernbert",
    summary: "ModernBERT: long texts, most layers with a window",
    paper: "https://arxiv.org/abs/2412.13663",
    model_types: &["modernbert"],
    architectures: &[
        ("embed", "ModernBertModel"),
        ("classify", "ModernBertForSequenceClassification"),
        ("masked-lm", "ModernBertForMaskedLM"),
        ("tag", "ModernBertForTokenClassification"),
        ("span", "ModernBertForQuestionAnswering"),
    ],
    weights: Table {
        rules: &[
            ("{base}embeddings.tok_embeddings.weight", "embed.word.weight", Keep),
            ("{base}embeddings.norm.weight", "embed.norm.weight", Keep),
            ("{base}embeddings.norm.bias", "embed.norm.bias", Keep),
            ("{base}layers.{i}.attn_norm.weight", "layers.{i}.attn.norm.weight", Keep),
            ("{base}layers.{i}.attn_norm.bias", "layers.{i}.attn.norm.bias", Keep),
            ("{base}layers.{i}.attn.Wqkv.weight", "layers.{i}.attn.qkv.weight", Keep),
            ("{base}layers.{i}.attn.Wqkv.bias", "layers.{i}.attn.qkv.bias", Keep),
            ("{base}layers.{i}.attn.Wo.weight", "layers.{i}.attn.out.weight", Keep),
            ("{base}layers.{i}.attn.Wo.bias", "layers.{i}.attn.out.bias", Keep),
            ("{base}layers.{i}.mlp_norm.weight", "layers.{i}.ffn.norm.weight", Keep),
            ("{base}layers.{i}.mlp_norm.bias", "layers.{i}.ffn.norm.bias", Keep),
            ("{base}layers.{i}.mlp.Wi.weight", "layers.{i}.ffn.gate_up.weight", Keep),
            ("{base}layers.{i}.mlp.Wi.bias", "layers.{i}.ffn.gate_up.bias", Keep),
            ("{base}layers.{i}.mlp.Wo.weight", "layers.{i}.ffn.down.weight", Keep),
            ("{base}layers.{i}.mlp.Wo.bias", "layers.{i}.ffn.down.bias", Keep),
            ("{base}final_norm.weight", "final.norm.weight", Keep),
            ("{base}final_norm.bias", "final.norm.bias", Keep),
            ("head.dense.weight", "pooler.dense.weight", Keep),
            ("head.dense.bias", "pooler.dense.bias", Keep),
            ("head.norm.weight", "pooler.norm.weight", Keep),
            ("head.norm.bias", "pooler.norm.bias", Keep),
            ("classifier.weight", "head.out.weight", Keep),
            ("classifier.bias", "head.out.bias", Keep),
            ("decoder.weight", "head.lm.weight", Keep),
            ("decoder.bias", "head.lm.bias", Keep),
        ],
        unused: &[
            ("head.lm.**", "the decoder of words: tied to the token table, or not used by this task"),
            ("head.**", "a head of another task, not used by this one"),
            ("pooler.**", "the layer before the outputs, not used by this task"),
        ],
        prefixes: &["model.", ""],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(ModernBert::declare(store, settings(Config(config))?))),
};

struct Settings {
    size: Size,
    /// Whether a layer sees neighbours only.
    local: Vec<bool>,
    /// How far those neighbours may be, on each side.
    reach: usize,
    /// Of layers that see all, and of local ones.
    frequencies: [Frequencies; 2],
    /// Biases of the attention's maps, of the feed-forward block's, of norms.
    biases: [bool; 3],
    activation: Activation,
    eps: f64,
    /// On the embeddings, in attention and in the feed-forward block.
    dropouts: [f32; 3],
    dense: DenseStyle,
    pool: Pool,
    classifier_dropout: f32,
    tied: bool,
    decoder_bias: bool,
}

fn settings(config: Config) -> Result<Settings, Error> {
    let layers = config.size("num_hidden_layers")?;
    let size = Size {
        layers,
        hidden: config.size("hidden_size")?,
        heads: config.heads("num_attention_heads", "hidden_size")?,
        ffn: config.size("intermediate_size")?,
        vocab: config.size("vocab_size")?,
        max_tokens: config.size_or("max_position_embeddings", 8192)?,
        types: 0,
        std: config.number_or("initializer_range", 0.02)? as f32,
    };
    let norm_bias = config.flag_or("norm_bias", false)?;
    let eps = config.number_or("norm_eps", 1e-5)?;
    let pool = match config.text("classifier_pooling")?.unwrap_or("cls") {
        "cls" => Pool::Cls,
        "mean" => Pool::Mean,
        other => {
            let (key, expected) = ("classifier_pooling".to_string(), "cls or mean".to_string());
            return Err(Error::Config { key, expected, got: format!("{other:?}") });
        }
    };
    // Upstream calls it `head` in the classes of all tasks, which take it over from each other, so it is no head's own here.
    let dense = DenseStyle {
        bias: config.flag_or("classifier_bias", false)?,
        norm: Some(("pooler.norm", eps, norm_bias)),
        ..DenseStyle::plain(
            "pooler.dense",
            size.hidden,
            config.activation_or("classifier_activation", Activation::Gelu)?,
        )
    };
    Ok(Settings {
        local: local_layers(config, layers)?,
        reach: config.size_or("local_attention", 128)? / 2,
        frequencies: frequencies(config, size.hidden / size.heads)?,
        biases: [config.flag_or("attention_bias", false)?, config.flag_or("mlp_bias", false)?, norm_bias],
        activation: config.activation_or("hidden_activation", Activation::Gelu)?,
        eps,
        dropouts: [
            config.probability_or("embedding_dropout", 0.0)?,
            config.probability_or("attention_dropout", 0.0)?,
            config.probability_or("mlp_dropout", 0.0)?,
        ],
        dense,
        pool,
        classifier_dropout: config.probability_or("classifier_dropout", 0.0)?,
        tied: config.flag_or("tie_word_embeddings", true)?,
        decoder_bias: config.flag_or("decoder_bias", true)?,
        size,
    })
}

/// Which layers are local: from `layer_types`, else all but every `global_attn_every_n_layers`-th.
fn local_layers(config: Config, layers: usize) -> Result<Vec<bool>, Error> {
    let wrong =
        |key: &str, expected: String, got: String| Error::Config { key: key.to_string(), expected, got };
    match config.0.get("layer_types") {
        None | Some(Value::Null) => {
            let key = "global_attn_every_n_layers";
            let every = config.size_or(key, 3)?;
            if every == 0 {
                return Err(wrong(key, "a number above 0".to_string(), every.to_string()));
            }
            Ok((0..layers).map(|layer| layer % every != 0).collect())
        }
        Some(kinds) => {
            let read = |kind: &Value| match kind.as_str() {
                Some("full_attention") => Some(false),
                Some("sliding_attention") => Some(true),
                _ => None,
            };
            let local: Option<Vec<bool>> =
                kinds.as_array().and_then(|kinds| kinds.iter().map(read).collect());
            local.filter(|local| local.len() == layers).ok_or_else(|| {
                let expected = format!("full_attention or sliding_attention for each of {layers} layers");
                wrong("layer_types", expected, kinds.to_string())
            })
        }
    }
}

/// The frequencies of layers that see all and of local ones.
fn frequencies(config: Config, head_dim: usize) -> Result<[Frequencies; 2], Error> {
    let global = config.number_or("global_rope_theta", 160_000.0)?;
    let local = match config.0.get("local_rope_theta") {
        // Written out as null it meant that of the others.
        Some(Value::Null) => global,
        _ => config.number_or("local_rope_theta", 10_000.0)?,
    };
    let of = |kind: &str, theta: f64| {
        let new = config.0.get("rope_parameters").and_then(|kinds| kinds.get(kind));
        let scaling = new.or(config.0.get("rope_scaling")).and_then(Value::as_object).cloned();
        let mut scaling: Map<String, Value> = scaling.unwrap_or_default();
        scaling.entry("rope_theta").or_insert(json!(theta));
        let positions = config.0.get("max_position_embeddings");
        let plain = json!({"rope_parameters": scaling, "max_position_embeddings": positions});
        Frequencies::read(Config(&plain), head_dim, theta)
    };
    Ok([of("full_attention", global)?, of("sliding_attention", local)?])
}

struct ModernBert {
    settings: Settings,
    word: ParamId,
    norm: LayerNorm,
    blocks: Vec<Arc<Layer>>,
    final_norm: FinalNorm,
}

impl ModernBert {
    fn declare(store: &mut ParamStore, settings: Settings) -> Self {
        let Size { vocab, hidden, layers, std, .. } = settings.size;
        let (eps, [.., norm_bias]) = (settings.eps, settings.biases);
        let init = Init::Normal(std);
        let word = store.declare("embed.word.weight", &[vocab, hidden], 0, ParamKind::Weight, init);
        let norm = LayerNorm::declare_with(store, "embed.norm", hidden, 0, eps, norm_bias);
        let blocks = (0..layers).map(|index| Arc::new(Layer::declare(store, index, &settings))).collect();
        let final_norm = LayerNorm::declare_with(store, "final.norm", hidden, layers, eps, norm_bias);
        ModernBert { settings, word, norm, blocks, final_norm: FinalNorm::Layer(final_norm) }
    }
}

impl Encoder for ModernBert {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        causal::positions(input, None, self.settings.size.max_tokens)?;
        let normed = self.norm.forward(pass, pass.lookup(self.word, &input.ids)?)?;
        let x = topwork_ops::dropout(normed, pass.dropout(self.settings.dropouts[0], "embed"));
        Ok(pass.at(Site::Embedded, 0, x))
    }

    fn layers(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error> {
        let positions = topwork_nn::cache::positions(offsets);
        let rotary = self.settings.frequencies.each_ref().map(|Frequencies { inverse, factor }| {
            Rotary::new(&positions, inverse, *factor, Pairing::Halves)
        });
        causal::layers(pass, x, offsets, (&self.blocks, &self.final_norm), which, &rotary)
    }

    fn size(&self) -> &Size {
        &self.settings.size
    }

    fn word_table(&self) -> ParamId {
        self.word
    }

    fn classifier(&self) -> ClassifierStyle {
        let Settings { pool, dense, classifier_dropout, .. } = &self.settings;
        ClassifierStyle {
            pool: *pool,
            dense: Some(*dense),
            dropout: *classifier_dropout,
            out: "head.out",
            bias: true,
        }
    }

    fn tagger(&self) -> TaggerStyle {
        let Settings { dense, classifier_dropout, .. } = &self.settings;
        TaggerStyle { dense: Some(*dense), ..TaggerStyle::plain("head.out", *classifier_dropout) }
    }

    fn spans(&self) -> TaggerStyle {
        self.tagger()
    }

    fn language_model(&self) -> LanguageModelStyle {
        let Settings { dense, tied, decoder_bias, .. } = &self.settings;
        let bias = decoder_bias.then_some("head.lm.bias");
        LanguageModelStyle { transform: Some(*dense), tied: *tied, bias }
    }

    fn onnx(&self) -> Option<&dyn EncoderGraph> {
        Some(self)
    }
}

impl EncoderGraph for ModernBert {
    fn describe(&self, graph: &mut Graph, texts: &Texts) -> Result<onnx::Value, Error> {
        let Settings { size, local, reach, frequencies, activation, eps, .. } = &self.settings;
        let Size { hidden, heads, ffn, .. } = *size;
        let attention = Attention::new(heads, hidden);
        graph.enter("embed");
        let words = graph.lookup("embed.word.weight", &texts.ids)?;
        let mut x = graph.layer_norm(&words, "embed.norm", *eps)?;
        let positions = blocks::positions(graph, &texts.ids, 0);
        let turns = frequencies.each_ref().map(|kind| Turns::new(graph, &positions, kind));
        let distances = blocks::distances(graph, &positions);
        let all = blocks::padding_bias(graph, &texts.mask);
        let near = blocks::sight(graph, &distances, &all, &Mask::Window { left: *reach, right: *reach });
        for (index, &local) in local.iter().enumerate() {
            let path = format!("layers.{index}.attn");
            graph.enter(&path);
            let normed = match index {
                0 => x.clone(),
                _ => graph.layer_norm(&x, &format!("{path}.norm"), *eps)?,
            };
            let qkv = graph.linear_at(&normed, &format!("{path}.qkv"))?;
            let [q, k, v] = [0, 1, 2].map(|at| {
                let part = graph.slice(&qkv, -1, at * hidden..(at + 1) * hidden);
                attention.split(graph, &part, heads)
            });
            let [q, k] = [q, k].map(|x| turns[usize::from(local)].turn(graph, &x, hidden / heads));
            let mixed = attention.attend_heads(graph, [q, k, v], if local { &near } else { &all });
            let attended = graph.linear_at(&mixed, &format!("{path}.out"))?;
            x = graph.add(&x, &attended);

            let path = format!("layers.{index}.ffn");
            graph.enter(&path);
            let normed = graph.layer_norm(&x, &format!("{path}.norm"), *eps)?;
            let both = graph.linear_at(&normed, &format!("{path}.gate_up"))?;
            let (gate, up) = (graph.slice(&both, -1, 0..ffn), graph.slice(&both, -1, ffn..2 * ffn));
            let active = graph.activation(&gate, *activation);
            let product = graph.mul(&active, &up);
            let fed = graph.linear_at(&product, &format!("{path}.down"))?;
            x = graph.add(&x, &fed);
        }
        self.final_norm.describe(graph, x)
    }
}

/// Norm, attention with rotary positions, sum; norm, gated feed-forward block, sum.
struct Layer {
    index: usize,
    sites: [String; 3],
    local: bool,
    style: AttentionStyle,
    activation: Activation,
    attention_dropout: f32,
    ffn_dropout: f32,
    /// The first layer has none: the embeddings end in one.
    attention_norm: Option<LayerNorm>,
    qkv: Linear,
    out: Linear,
    ffn_norm: LayerNorm,
    gate_up: Linear,
    down: Linear,
}

impl Layer {
    fn declare(store: &mut ParamStore, index: usize, settings: &Settings) -> Self {
        let Size { hidden, heads, ffn, std, layers, .. } = settings.size;
        let [attention_bias, ffn_bias, norm_bias] = settings.biases;
        let [_, attention_dropout, ffn_dropout] = settings.dropouts;
        let (group, local, reach) = (index + 1, settings.local[index], settings.reach);
        let path = |name: &str| format!("layers.{index}.{name}");
        let linear = |store: &mut ParamStore, name: &str, sizes: [usize; 2], std: f32, bias: bool| {
            Linear::declare_with(store, &path(name), sizes, group, std, bias)
        };
        let norm = |store: &mut ParamStore, name: &str| {
            LayerNorm::declare_with(store, &path(name), hidden, group, settings.eps, norm_bias)
        };
        let mask = if local { Mask::Window { left: reach, right: reach } } else { Mask::Full };
        let scale = 1.0 / ((hidden / heads) as f32).sqrt();
        // Fresh maps whose result is added to what goes past the blocks are smaller, the more layers there are.
        let added = std / (2.0 * layers as f32).sqrt();
        Layer {
            index,
            sites: [path("attn.probabilities"), path("attn.out"), path("ffn.gate_up")],
            local,
            style: AttentionStyle { heads, kv_heads: heads, scale, mask },
            activation: settings.activation,
            attention_dropout,
            ffn_dropout,
            attention_norm: (index > 0).then(|| norm(store, "attn.norm")),
            qkv: linear(store, "attn.qkv", [3 * hidden, hidden], std, attention_bias),
            out: linear(store, "attn.out", [hidden, hidden], added, attention_bias),
            ffn_norm: norm(store, "ffn.norm"),
            gate_up: linear(store, "ffn.gate_up", [2 * ffn, hidden], std, ffn_bias),
            down: linear(store, "ffn.down", [hidden, ffn], added, ffn_bias),
        }
    }
}

impl Block for Layer {
    type Shared = [Rotary; 2];

    fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        [all, near]: &[Rotary; 2],
        context: &mut Context,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let normed = match &self.attention_norm {
            Some(norm) => norm.forward(pass, x.clone())?,
            None => x.clone(),
        };
        let [_, hidden] = x.dims();
        let qkv = self.qkv.forward(pass, normed)?;
        let part = |at: usize| qkv.clone().slice_dim(1, at * hidden..(at + 1) * hidden);
        let rotary = if self.local { near } else { all };
        let turned = |at: usize| topwork_ops::rotary(part(at), self.style.heads, rotary);
        let dropout = pass.dropout(self.attention_dropout, &self.sites[0]);
        let qkv = pass.fronted(self.index, [turned(0), turned(1), part(2)], context.offsets())?;
        let mixed = context.attend(self.index, qkv, &self.style, dropout);
        let added = self.out.forward(pass, mixed)?;
        let dropout = pass.dropout(self.attention_dropout, &self.sites[1]);
        let x = BlockEnd { last: &self.out, added, before: x, dropout }.sum(pass)?;
        let x = pass.at(Site::AfterAttention, self.index, x);

        let both = pass.linear(self.ffn_norm.forward(pass, x.clone())?, self.gate_up.weight, None)?;
        let bias = self.gate_up.bias.map(|bias| pass.vector(bias)).transpose()?;
        let fed = topwork_ops::gated_activation(both, bias, self.activation, Halves::GateFirst);
        let fed = topwork_ops::dropout(fed, pass.dropout(self.ffn_dropout, &self.sites[2]));
        let added = self.down.forward(pass, fed)?;
        let x = BlockEnd { last: &self.down, added, before: x, dropout: None }.sum(pass)?;
        Ok(pass.at(Site::BlockOutput, self.index, x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(changes: Value) -> Value {
        let mut config = json!({
            "model_type": "modernbert", "num_hidden_layers": 4, "hidden_size": 16, "num_attention_heads": 2,
            "intermediate_size": 24, "vocab_size": 40,
        });
        let changes = changes.as_object().cloned().unwrap_or_default();
        config.as_object_mut().unwrap().extend(changes);
        config
    }

    #[test]
    fn both_spellings_of_a_config_say_the_same() {
        let read = |changes: Value| {
            let config = config(changes);
            let Settings { local, frequencies, .. } = settings(Config(&config)).unwrap();
            (local, frequencies)
        };
        let kinds = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"];
        let new = json!({
            "layer_types": kinds,
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 1000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            },
        });
        let old =
            json!({"global_attn_every_n_layers": 2, "global_rope_theta": 1000.0, "local_rope_theta": 100.0});
        assert_eq!(read(new), read(old));
        let (local, [all, near]) = read(json!({}));
        assert_eq!(local, [false, true, true, false]);
        assert!((all.inverse[1] - 160_000f32.powf(-0.25)).abs() < 1e-6);
        assert!((near.inverse[1] - 0.1).abs() < 1e-6);
        let (_, [all, near]) = read(json!({"local_rope_theta": null}));
        assert_eq!(all, near);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (changes, part) in [
            (json!({"layer_types": ["full_attention"]}), "layer_types"),
            (json!({"layer_types": ["a", "b", "c", "d"]}), "sliding_attention"),
            (json!({"global_attn_every_n_layers": 0}), "global_attn_every_n_layers"),
            (json!({"classifier_pooling": "max"}), "classifier_pooling"),
            (json!({"rope_scaling": {"rope_type": "dynamic"}}), "dynamic"),
        ] {
            let config = config(changes);
            let error = settings(Config(&config)).err().unwrap().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}

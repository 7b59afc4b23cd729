//! Llama, and what is built like it: Mistral, Qwen2, Qwen3, SmolLM, TinyLlama.
//!
//! Paper: Touvron et al. 2023, "LLaMA: Open and Efficient Foundation Language Models", section 2.2,
//! <https://arxiv.org/abs/2302.13971>; shared keys: Ainslie et al. 2023, "GQA", <https://arxiv.org/abs/2305.13245>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/llama/modeling_llama.py>, `mistral`, `qwen2`,
//! `qwen3` beside it.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use serde_json::{Value, json};
use topwork_kernels::activation::Activation;
use topwork_kernels::attend_layout::Mask;
use topwork_kernels::pool::Pool;
use topwork_kernels::rotary::{Pairing, Rotary};
use topwork_nn::layers::{Linear, RmsNorm};
use topwork_nn::{
    AttentionStyle, BlockEnd, Cache, Context, Init, ParamId, ParamKind, ParamStore, Pass, Site,
};
use topwork_text::Packed;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::causal::{self, Block, FinalNorm};
use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, Decoder, Encoder, Family, LanguageModelStyle, Size, TaggerStyle};
use crate::onnx::blocks::{self, Attention, Turns};
use crate::onnx::{self, EncoderGraph, Graph, Texts};
use crate::rope::Frequencies;

/// The entry in the list.
pub const LLAMA: Family = Family {
    name: "llama",
    summary: "Llama and what has its config (SmolLM, TinyLlama, llama2.c)",
    paper: "https://arxiv.org/abs/2302.13971",
    model_types: &["llama"],
    architectures: &[
        ("embed", "LlamaModel"),
        ("causal-lm", "LlamaForCausalLM"),
        ("classify", "LlamaForSequenceClassification"),
        ("tag", "LlamaForTokenClassification"),
    ],
    weights: Table {
        rules: &[
            ("{base}embed_tokens.weight", "embed.word.weight", Keep),
            ("{base}layers.{i}.input_layernorm.weight", "layers.{i}.attn.norm.weight", Keep),
            ("{base}layers.{i}.self_attn.q_proj.weight", "layers.{i}.attn.q.weight", Keep),
            ("{base}layers.{i}.self_attn.q_proj.bias", "layers.{i}.attn.q.bias", Keep),
            ("{base}layers.{i}.self_attn.q_norm.weight", "layers.{i}.attn.q_norm.weight", Keep),
            ("{base}layers.{i}.self_attn.k_proj.weight", "layers.{i}.attn.k.weight", Keep),
            ("{base}layers.{i}.self_attn.k_proj.bias", "layers.{i}.attn.k.bias", Keep),
            ("{base}layers.{i}.self_attn.k_norm.weight", "layers.{i}.attn.k_norm.weight", Keep),
            ("{base}layers.{i}.self_attn.v_proj.weight", "layers.{i}.attn.v.weight", Keep),
            ("{base}layers.{i}.self_attn.v_proj.bias", "layers.{i}.attn.v.bias", Keep),
            ("{base}layers.{i}.self_attn.o_proj.weight", "layers.{i}.attn.out.weight", Keep),
            ("{base}layers.{i}.self_attn.o_proj.bias", "layers.{i}.attn.out.bias", Keep),
            ("{base}layers.{i}.post_attention_layernorm.weight", "layers.{i}.ffn.norm.weight", Keep),
            ("{base}layers.{i}.mlp.gate_proj.weight", "layers.{i}.ffn.gate.weight", Keep),
            ("{base}layers.{i}.mlp.gate_proj.bias", "layers.{i}.ffn.gate.bias", Keep),
            ("{base}layers.{i}.mlp.up_proj.weight", "layers.{i}.ffn.up.weight", Keep),
            ("{base}layers.{i}.mlp.up_proj.bias", "layers.{i}.ffn.up.bias", Keep),
            ("{base}layers.{i}.mlp.down_proj.weight", "layers.{i}.ffn.down.weight", Keep),
            ("{base}layers.{i}.mlp.down_proj.bias", "layers.{i}.ffn.down.bias", Keep),
            ("{base}norm.weight", "final.norm.weight", Keep),
            ("lm_head.weight", "head.lm.weight", Keep),
            ("score.weight", "head.out.weight", Keep),
            ("score.bias", "head.out.bias", Keep),
        ],
        ignored: &[(
            "{base}layers.{i}.self_attn.rotary_emb.inv_freq",
            "frequencies, computed from the config",
        )],
        unused: &[
            ("head.lm.**", "the decoder of words: tied to the token table, or not used by this task"),
            ("head.**", "a head of another task, not used by this one"),
        ],
        prefixes: &["model.", ""],
        ..Table::EMPTY
    },
    build: |config, store| {
        let config = Config(config);
        let bias = config.flag_or("attention_bias", false)?;
        let biases = [bias, bias, config.flag_or("mlp_bias", false)?];
        Ok(Box::new(Llama::declare(store, settings(config, Habits { biases, ..PLAIN })?)))
    },
};

/// Mistral: the same network, with a window of keys in its first version.
///
/// Paper: Jiang et al. 2023, "Mistral 7B", section 2, <https://arxiv.org/abs/2310.06825>
pub const MISTRAL: Family = Family {
    name: "mistral",
    summary: "Mistral: Llama with a window of keys",
    paper: "https://arxiv.org/abs/2310.06825",
    model_types: &["mistral"],
    architectures: &[
        ("embed", "MistralModel"),
        ("causal-lm", "MistralForCausalLM"),
        ("classify", "MistralForSequenceClassification"),
        ("tag", "MistralForTokenClassification"),
    ],
    build: |config, store| {
        let habits = Habits { windowed: true, ..PLAIN };
        Ok(Box::new(Llama::declare(store, settings(Config(config), habits)?)))
    },
    ..LLAMA
};

/// Qwen2 and Qwen2.5: the same network with biases on queries, keys and values.
///
/// Paper: Yang et al. 2024, "Qwen2 Technical Report", section 2.2, <https://arxiv.org/abs/2407.10671>
pub const QWEN2: Family = Family {
    name: "qwen2",
    summary: "Qwen2, Qwen2.5: Llama with biases on queries, keys and values",
    paper: "https://arxiv.org/abs/2407.10671",
    model_types: &["qwen2"],
    architectures: &[
        ("embed", "Qwen2Model"),
        ("causal-lm", "Qwen2ForCausalLM"),
        ("classify", "Qwen2ForSequenceClassification"),
        ("tag", "Qwen2ForTokenClassification"),
    ],
    build: |config, store| {
        Config(config).only("use_sliding_window", &json!(false))?;
        let habits = Habits { biases: [true, false, false], ..PLAIN };
        Ok(Box::new(Llama::declare(store, settings(Config(config), habits)?)))
    },
    ..LLAMA
};

/// Qwen3: the same network with norms on the heads of queries and keys.
///
/// Paper: Yang et al. 2025, "Qwen3 Technical Report", section 2, <https://arxiv.org/abs/2505.09388>
pub const QWEN3: Family = Family {
    name: "qwen3",
    summary: "Qwen3: Llama with norms on the heads of queries and keys",
    paper: "https://arxiv.org/abs/2505.09388",
    model_types: &["qwen3"],
    architectures: &[
        ("embed", "Qwen3Model"),
        ("causal-lm", "Qwen3ForCausalLM"),
        ("classify", "Qwen3ForSequenceClassification"),
        ("tag", "Qwen3ForTokenClassification"),
    ],
    build: |config, store| {
        Config(config).only("use_sliding_window", &json!(false))?;
        let bias = Config(config).flag_or("attention_bias", false)?;
        let habits = Habits { biases: [bias, bias, false], head_norms: true, ..PLAIN };
        Ok(Box::new(Llama::declare(store, settings(Config(config), habits)?)))
    },
    ..LLAMA
};

/// In what the families of this file differ.
#[derive(Clone, Copy)]
struct Habits {
    /// Biases of queries, keys and values; of the attention's output; of the feed-forward block.
    biases: [bool; 3],
    /// Norms on the heads of queries and keys.
    head_norms: bool,
    /// `sliding_window` counts.
    windowed: bool,
}

const PLAIN: Habits = Habits { biases: [false; 3], head_norms: false, windowed: false };

/// Settings read from `config.json`.
struct Settings {
    size: Size,
    kv_heads: usize,
    head_dim: usize,
    habits: Habits,
    mask: Mask,
    frequencies: Frequencies,
    activation: Activation,
    eps: f64,
    attention_dropout: f32,
    classifier_dropout: f32,
    tied: bool,
}

fn settings(config: Config, habits: Habits) -> Result<Settings, Error> {
    let hidden = config.size("hidden_size")?;
    let heads = config.size("num_attention_heads")?;
    let kv_heads = config.size_or("num_key_value_heads", heads)?;
    if kv_heads == 0 || heads % kv_heads != 0 {
        return Err(Error::Config {
            key: "num_key_value_heads".to_string(),
            expected: format!("a divisor of num_attention_heads ({heads})"),
            got: kv_heads.to_string(),
        });
    }
    let head_dim = match config.size_or("head_dim", 0)? {
        0 => hidden / config.heads("num_attention_heads", "hidden_size")?,
        dim => dim,
    };
    let window = match config.size_or("sliding_window", 0)? {
        window if habits.windowed && window > 0 => Mask::Window { left: window - 1, right: 0 },
        _ => Mask::Causal,
    };
    let full = |kind: &Value| kind.as_str() == Some("full_attention");
    if let Some(kinds) = config.0.get("layer_types").and_then(Value::as_array)
        && !habits.windowed
        && !kinds.iter().all(full)
    {
        return Err(Error::Config {
            key: "layer_types".to_string(),
            expected: "full_attention in every layer".to_string(),
            got: Value::from(kinds.clone()).to_string(),
        });
    }
    Ok(Settings {
        size: Size {
            layers: config.size("num_hidden_layers")?,
            hidden,
            heads,
            ffn: config.size("intermediate_size")?,
            vocab: config.size("vocab_size")?,
            max_tokens: config.size_or("max_position_embeddings", 2048)?,
            types: 0,
            std: config.number_or("initializer_range", 0.02)? as f32,
        },
        kv_heads,
        head_dim,
        habits,
        mask: window,
        frequencies: Frequencies::read(config, head_dim, 10_000.0)?,
        activation: config.activation_or("hidden_act", Activation::Silu)?,
        eps: config.number_or("rms_norm_eps", 1e-6)?,
        attention_dropout: config.probability_or("attention_dropout", 0.0)?,
        classifier_dropout: config.probability_or("classifier_dropout", 0.1)?,
        tied: config.flag_or("tie_word_embeddings", false)?,
    })
}

struct Llama {
    settings: Settings,
    word: ParamId,
    blocks: Vec<Arc<Layer>>,
    norm: FinalNorm,
}

impl Llama {
    fn declare(store: &mut ParamStore, settings: Settings) -> Self {
        let size = &settings.size;
        let shape = [size.vocab, size.hidden];
        let word = store.declare("embed.word.weight", &shape, 0, ParamKind::Weight, Init::Normal(size.std));
        let blocks = (0..size.layers).map(|i| Arc::new(Layer::declare(store, i, &settings))).collect();
        let norm = RmsNorm::declare(store, "final.norm", size.hidden, size.layers, settings.eps);
        Llama { settings, word, blocks, norm: FinalNorm::Rms(norm) }
    }

    fn embedded(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        Ok(pass.at(Site::Embedded, 0, pass.lookup(self.word, &input.ids)?))
    }

    fn rotary(&self, positions: &[u32]) -> Rotary {
        let Frequencies { inverse, factor } = &self.settings.frequencies;
        Rotary::new(positions, inverse, *factor, Pairing::Halves)
    }
}

impl Encoder for Llama {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        causal::positions(input, None, self.settings.size.max_tokens)?;
        self.embedded(pass, input)
    }

    fn layers(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error> {
        let rotary = self.rotary(&topwork_nn::cache::positions(offsets));
        causal::layers(pass, x, offsets, (&self.blocks, &self.norm), which, &rotary)
    }

    fn size(&self) -> &Size {
        &self.settings.size
    }

    fn word_table(&self) -> ParamId {
        self.word
    }

    fn classifier(&self) -> ClassifierStyle {
        ClassifierStyle { pool: Pool::Last, dense: None, dropout: 0.0, out: "head.out", bias: false }
    }

    fn tagger(&self) -> TaggerStyle {
        TaggerStyle::plain("head.out", self.settings.classifier_dropout)
    }

    fn language_model(&self) -> LanguageModelStyle {
        LanguageModelStyle { transform: None, tied: self.settings.tied, bias: None }
    }

    fn decoder(&self) -> Option<&dyn Decoder> {
        Some(self)
    }

    fn onnx(&self) -> Option<&dyn EncoderGraph> {
        Some(self)
    }
}

impl EncoderGraph for Llama {
    fn describe(&self, graph: &mut Graph, texts: &Texts) -> Result<onnx::Value, Error> {
        let Settings { size, kv_heads, head_dim, habits, mask, frequencies, activation, eps, .. } =
            &self.settings;
        let scale = 1.0 / (*head_dim as f32).sqrt();
        let attention = Attention { heads: size.heads, kv_heads: *kv_heads, head_dim: *head_dim, scale };
        graph.enter("embed");
        let mut x = graph.lookup("embed.word.weight", &texts.ids)?;
        let positions = blocks::positions(graph, &texts.ids, 0);
        let turns = Turns::new(graph, &positions, frequencies);
        let (distances, padding) =
            (blocks::distances(graph, &positions), blocks::padding_bias(graph, &texts.mask));
        let bias = blocks::sight(graph, &distances, &padding, mask);
        for index in 0..size.layers {
            let path = format!("layers.{index}.attn");
            graph.enter(&path);
            let normed = graph.rms_norm(&x, &format!("{path}.norm"), *eps)?;
            let mut part = |name: &str, heads: usize| -> Result<onnx::Value, Error> {
                let part = graph.linear_at(&normed, &format!("{path}.{name}"))?;
                let mut part = attention.split(graph, &part, heads);
                if habits.head_norms && name != "v" {
                    part = graph.rms_norm(&part, &format!("{path}.{name}_norm"), *eps)?;
                }
                Ok(if name == "v" { part } else { turns.turn(graph, &part, *head_dim) })
            };
            let parts = [part("q", size.heads)?, part("k", *kv_heads)?, part("v", *kv_heads)?];
            let mixed = attention.attend_heads(graph, parts, &bias);
            let attended = graph.linear_at(&mixed, &format!("{path}.out"))?;
            x = graph.add(&x, &attended);

            let path = format!("layers.{index}.ffn");
            graph.enter(&path);
            let normed = graph.rms_norm(&x, &format!("{path}.norm"), *eps)?;
            let gate = graph.linear_at(&normed, &format!("{path}.gate"))?;
            let up = graph.linear_at(&normed, &format!("{path}.up"))?;
            let active = graph.activation(&gate, *activation);
            let product = graph.mul(&active, &up);
            let fed = graph.linear_at(&product, &format!("{path}.down"))?;
            x = graph.add(&x, &fed);
        }
        self.norm.describe(graph, x)
    }
}

impl Decoder for Llama {
    fn read_on(&self, pass: &Pass, input: &Packed, cache: &mut Cache) -> Result<Tensor<2>, Error> {
        let positions = causal::positions(input, Some(cache), self.settings.size.max_tokens)?;
        let x = self.embedded(pass, input)?;
        let rotary = self.rotary(&positions);
        causal::layers_cached(pass, x, input, (&self.blocks, &self.norm), cache, &rotary)
    }
}

/// Norm, attention with rotary positions, sum; norm, gated feed-forward block, sum.
struct Layer {
    index: usize,
    site: String,
    style: AttentionStyle,
    activation: Activation,
    attention_dropout: f32,
    attention_norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    head_norms: Option<[RmsNorm; 2]>,
    ffn_norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Layer {
    fn declare(store: &mut ParamStore, index: usize, settings: &Settings) -> Self {
        let Settings { size, kv_heads, head_dim, habits, eps, .. } = settings;
        let Size { hidden, heads, ffn, std, .. } = *size;
        let (group, eps) = (index + 1, *eps);
        let path = |name: &str| format!("layers.{index}.{name}");
        let (q_width, kv_width) = (heads * head_dim, kv_heads * head_dim);
        let [in_bias, out_bias, ffn_bias] = habits.biases;
        let linear = |store: &mut ParamStore, name: &str, sizes: [usize; 2], bias: bool| {
            Linear::declare_with(store, &path(name), sizes, group, std, bias)
        };
        let norm = |store: &mut ParamStore, name: &str, width: usize| {
            RmsNorm::declare(store, &path(name), width, group, eps)
        };
        let scale = 1.0 / (*head_dim as f32).sqrt();
        Layer {
            index,
            site: path("attn.probabilities"),
            style: AttentionStyle { heads, kv_heads: *kv_heads, scale, mask: settings.mask.clone() },
            activation: settings.activation,
            attention_dropout: settings.attention_dropout,
            attention_norm: norm(store, "attn.norm", hidden),
            q: linear(store, "attn.q", [q_width, hidden], in_bias),
            k: linear(store, "attn.k", [kv_width, hidden], in_bias),
            v: linear(store, "attn.v", [kv_width, hidden], in_bias),
            out: linear(store, "attn.out", [hidden, q_width], out_bias),
            head_norms: habits
                .head_norms
                .then(|| [norm(store, "attn.q_norm", *head_dim), norm(store, "attn.k_norm", *head_dim)]),
            ffn_norm: norm(store, "ffn.norm", hidden),
            gate: linear(store, "ffn.gate", [ffn, hidden], ffn_bias),
            up: linear(store, "ffn.up", [ffn, hidden], ffn_bias),
            down: linear(store, "ffn.down", [hidden, ffn], ffn_bias),
        }
    }
}

impl Block for Layer {
    type Shared = Rotary;

    fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        rotary: &Rotary,
        context: &mut Context,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let normed = self.attention_norm.forward(pass, x.clone())?;
        let mut q = self.q.forward(pass, normed.clone())?;
        let mut k = self.k.forward(pass, normed.clone())?;
        let v = self.v.forward(pass, normed)?;
        let (heads, kv_heads) = (self.style.heads, self.style.kv_heads);
        if let Some([q_norm, k_norm]) = &self.head_norms {
            q = q_norm.forward_heads(pass, q, heads)?;
            k = k_norm.forward_heads(pass, k, kv_heads)?;
        }
        let (q, k) = (topwork_ops::rotary(q, heads, rotary), topwork_ops::rotary(k, kv_heads, rotary));
        let dropout = pass.dropout(self.attention_dropout, &self.site);
        let qkv = pass.fronted(self.index, [q, k, v], context.offsets())?;
        let mixed = context.attend(self.index, qkv, &self.style, dropout);
        let added = self.out.forward(pass, mixed)?;
        let x = BlockEnd { last: &self.out, added, before: x, dropout: None }.sum(pass)?;
        let x = pass.at(Site::AfterAttention, self.index, x);

        let normed = self.ffn_norm.forward(pass, x.clone())?;
        let (gate, up) = (self.gate.forward(pass, normed.clone())?, self.up.forward(pass, normed)?);
        let fed = topwork_ops::gated_product(gate, up, self.activation);
        let added = self.down.forward(pass, fed)?;
        let x = BlockEnd { last: &self.down, added, before: x, dropout: None }.sum(pass)?;
        Ok(pass.at(Site::BlockOutput, self.index, x))
    }
}

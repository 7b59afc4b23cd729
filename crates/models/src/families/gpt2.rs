//! GPT-2, and what has its shape (GPT-3's dense layers, DistilGPT-2, DialoGPT).
//!
//! Paper: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3,
//! <https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/gpt2/modeling_gpt2.py>.
//! Cross-attention (GPT-2 as the decoder of another encoder) is refused.

use std::sync::Arc;

use burn::tensor::Tensor;
use serde_json::json;
use topwork_kernels::activation::Activation;
use topwork_kernels::attend_layout::Mask;
use topwork_nn::layers::{LayerNorm, Linear};
use topwork_nn::{AttentionStyle, Context, ParamStore, Pass, Site};
use topwork_weights::Op::{Keep, Transpose};
use topwork_weights::Table;

use crate::causal::{Block, FinalNorm};
use crate::config::Config;
use crate::error::Error;
use crate::family::{Family, Size, TaggerStyle};
use crate::learned_positions::{LearnedPositions, Tables};

/// The entry in the list.
pub const GPT2: Family = Family {
    name: "gpt2",
    summary: "GPT-2 and what has its shape (DistilGPT-2, DialoGPT, GPT-3-like configs)",
    paper: "https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf",
    model_types: &["gpt2"],
    architectures: &[
        ("embed", "GPT2Model"),
        ("causal-lm", "GPT2LMHeadModel"),
        ("causal-lm", "GPT2DoubleHeadsModel"),
        ("classify", "GPT2ForSequenceClassification"),
        ("tag", "GPT2ForTokenClassification"),
    ],
    weights: Table {
        rules: &[
            ("{base}wte.weight", "embed.word.weight", Keep),
            ("{base}wpe.weight", "embed.position.weight", Keep),
            ("{base}h.{i}.ln_1.weight", "layers.{i}.attn.norm.weight", Keep),
            ("{base}h.{i}.ln_1.bias", "layers.{i}.attn.norm.bias", Keep),
            ("{base}h.{i}.attn.c_attn.weight", "layers.{i}.attn.qkv.weight", Transpose),
            ("{base}h.{i}.attn.c_attn.bias", "layers.{i}.attn.qkv.bias", Keep),
            ("{base}h.{i}.attn.c_proj.weight", "layers.{i}.attn.out.weight", Transpose),
            ("{base}h.{i}.attn.c_proj.bias", "layers.{i}.attn.out.bias", Keep),
            ("{base}h.{i}.ln_2.weight", "layers.{i}.ffn.norm.weight", Keep),
            ("{base}h.{i}.ln_2.bias", "layers.{i}.ffn.norm.bias", Keep),
            ("{base}h.{i}.mlp.c_fc.weight", "layers.{i}.ffn.up.weight", Transpose),
            ("{base}h.{i}.mlp.c_fc.bias", "layers.{i}.ffn.up.bias", Keep),
            ("{base}h.{i}.mlp.c_proj.weight", "layers.{i}.ffn.down.weight", Transpose),
            ("{base}h.{i}.mlp.c_proj.bias", "layers.{i}.ffn.down.bias", Keep),
            ("{base}ln_f.weight", "final.norm.weight", Keep),
            ("{base}ln_f.bias", "final.norm.bias", Keep),
            ("score.weight", "head.out.weight", Keep),
            ("classifier.weight", "head.tag.weight", Keep),
            ("classifier.bias", "head.tag.bias", Keep),
            ("multiple_choice_head.summary.weight", "head.choice.weight", Keep),
            ("multiple_choice_head.summary.bias", "head.choice.bias", Keep),
        ],
        tied: &[("lm_head.weight", "embed.word.weight")],
        ignored: &[
            ("{base}h.{i}.attn.bias", "the causal mask, rebuilt"),
            ("{base}h.{i}.attn.masked_bias", "a constant, rebuilt"),
        ],
        unused: &[("head.**", "a head of another task, not used by this one")],
        prefixes: &["transformer.", ""],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(declare(store, settings(Config(config))?))),
};

/// Settings read from `config.json`.
struct Settings {
    size: Size,
    activation: Activation,
    eps: f64,
    embedding_dropout: f32,
    residual_dropout: f32,
    attention_dropout: f32,
    classifier_dropout: f32,
    /// Divides the scores of layer `i` by `i + 1` too.
    scale_by_layer: bool,
}

fn settings(config: Config) -> Result<Settings, Error> {
    config.only("add_cross_attention", &json!(false))?;
    config.only("scale_attn_weights", &json!(true))?;
    config.only("tie_word_embeddings", &json!(true))?;
    let hidden = config.size("n_embd")?;
    Ok(Settings {
        size: Size {
            layers: config.size("n_layer")?,
            hidden,
            heads: config.heads("n_head", "n_embd")?,
            ffn: config.size_or("n_inner", 4 * hidden)?,
            vocab: config.size("vocab_size")?,
            max_tokens: config.size_or("n_positions", 1024)?,
            types: 0,
            std: config.number_or("initializer_range", 0.02)? as f32,
        },
        activation: config.activation_or("activation_function", Activation::GeluTanh)?,
        eps: config.number_or("layer_norm_epsilon", 1e-5)?,
        embedding_dropout: config.probability_or("embd_pdrop", 0.1)?,
        residual_dropout: config.probability_or("resid_pdrop", 0.1)?,
        attention_dropout: config.probability_or("attn_pdrop", 0.1)?,
        classifier_dropout: config.probability_or("classifier_dropout", 0.1)?,
        scale_by_layer: config.flag_or("scale_attn_by_inverse_layer_idx", false)?,
    })
}

fn declare(store: &mut ParamStore, settings: Settings) -> LearnedPositions<Layer> {
    let size = settings.size.clone();
    let tables = Tables::declare(store, &size);
    let blocks = (0..size.layers).map(|i| Arc::new(Layer::declare(store, i, &settings))).collect();
    let norm = LayerNorm::declare(store, "final.norm", size.hidden, size.layers, settings.eps);
    LearnedPositions {
        size,
        tables,
        embedding_dropout: settings.embedding_dropout,
        blocks,
        norm: FinalNorm::Layer(norm),
        tagger: TaggerStyle { path: "head.tag", dropout: settings.classifier_dropout },
    }
}

/// Norm, attention, sum; norm, feed-forward block, sum.
struct Layer {
    index: usize,
    sites: [String; 3],
    style: AttentionStyle,
    activation: Activation,
    attention_dropout: f32,
    residual_dropout: f32,
    attention_norm: LayerNorm,
    qkv: Linear,
    out: Linear,
    ffn_norm: LayerNorm,
    up: Linear,
    down: Linear,
}

impl Layer {
    fn declare(store: &mut ParamStore, index: usize, settings: &Settings) -> Self {
        let Size { hidden, heads, ffn, std, .. } = settings.size;
        let (group, eps) = (index + 1, settings.eps);
        let path = |name: &str| format!("layers.{index}.{name}");
        // What adds to the residual stream starts smaller, the more layers add to it (section 2.3).
        let narrow = std / (2.0 * settings.size.layers as f32).sqrt();
        let attention_norm = LayerNorm::declare(store, &path("attn.norm"), hidden, group, eps);
        let qkv = Linear::declare(store, &path("attn.qkv"), [3 * hidden, hidden], group, std);
        let out = Linear::declare(store, &path("attn.out"), [hidden, hidden], group, narrow);
        let ffn_norm = LayerNorm::declare(store, &path("ffn.norm"), hidden, group, eps);
        let up = Linear::declare(store, &path("ffn.up"), [ffn, hidden], group, std);
        let down = Linear::declare(store, &path("ffn.down"), [hidden, ffn], group, narrow);
        let layer = if settings.scale_by_layer { (index + 1) as f32 } else { 1.0 };
        let scale = 1.0 / ((hidden / heads) as f32).sqrt() / layer;
        Layer {
            index,
            sites: [path("attn.probabilities"), path("attn.out"), path("ffn.down")],
            style: AttentionStyle { heads, kv_heads: heads, scale, mask: Mask::Causal },
            activation: settings.activation,
            attention_dropout: settings.attention_dropout,
            residual_dropout: settings.residual_dropout,
            attention_norm,
            qkv,
            out,
            ffn_norm,
            up,
            down,
        }
    }
}

impl Block for Layer {
    type Shared = ();

    fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        (): &(),
        context: &mut Context,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let [_, hidden] = x.dims();
        let normed = self.attention_norm.forward(pass, x.clone())?;
        let qkv = self.qkv.forward(pass, normed)?;
        let part = |at: usize| qkv.clone().slice_dim(1, at * hidden..(at + 1) * hidden);
        let dropout = pass.dropout(self.attention_dropout, &self.sites[0]);
        let mixed = context.attend(self.index, [part(0), part(1), part(2)], &self.style, dropout);
        let attended = self.out.forward(pass, mixed)?;
        let dropout = pass.dropout(self.residual_dropout, &self.sites[1]);
        let x = x + topwork_ops::dropout(attended, dropout);
        let x = pass.at(Site::AfterAttention, self.index, x);

        let normed = self.ffn_norm.forward(pass, x.clone())?;
        let fed = self.up.forward_through(pass, normed, self.activation, &self.down)?;
        let dropout = pass.dropout(self.residual_dropout, &self.sites[2]);
        let x = x + topwork_ops::dropout(fed, dropout);
        Ok(pass.at(Site::BlockOutput, self.index, x))
    }
}

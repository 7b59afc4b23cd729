//! OpenAI GPT, the first one.
//!
//! Paper: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", section 3.1,
//! <https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/openai/modeling_openai.py>.
//! Norms stand behind the sums, and there is none behind the last layer.

use std::sync::Arc;

use burn::tensor::Tensor;
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
pub const GPT: Family = Family {
    name: "gpt",
    summary: "OpenAI GPT, the first one",
    paper: "https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf",
    model_types: &["openai-gpt"],
    architectures: &[
        ("embed", "OpenAIGPTModel"),
        ("causal-lm", "OpenAIGPTLMHeadModel"),
        ("causal-lm", "OpenAIGPTDoubleHeadsModel"),
        ("classify", "OpenAIGPTForSequenceClassification"),
    ],
    weights: Table {
        rules: &[
            ("{base}tokens_embed.weight", "embed.word.weight", Keep),
            ("{base}positions_embed.weight", "embed.position.weight", Keep),
            ("{base}h.{i}.attn.c_attn.weight", "layers.{i}.attn.qkv.weight", Transpose),
            ("{base}h.{i}.attn.c_attn.bias", "layers.{i}.attn.qkv.bias", Keep),
            ("{base}h.{i}.attn.c_proj.weight", "layers.{i}.attn.out.weight", Transpose),
            ("{base}h.{i}.attn.c_proj.bias", "layers.{i}.attn.out.bias", Keep),
            ("{base}h.{i}.ln_1.weight", "layers.{i}.attn.norm.weight", Keep),
            ("{base}h.{i}.ln_1.bias", "layers.{i}.attn.norm.bias", Keep),
            ("{base}h.{i}.mlp.c_fc.weight", "layers.{i}.ffn.up.weight", Transpose),
            ("{base}h.{i}.mlp.c_fc.bias", "layers.{i}.ffn.up.bias", Keep),
            ("{base}h.{i}.mlp.c_proj.weight", "layers.{i}.ffn.down.weight", Transpose),
            ("{base}h.{i}.mlp.c_proj.bias", "layers.{i}.ffn.down.bias", Keep),
            ("{base}h.{i}.ln_2.weight", "layers.{i}.ffn.norm.weight", Keep),
            ("{base}h.{i}.ln_2.bias", "layers.{i}.ffn.norm.bias", Keep),
            ("score.weight", "head.out.weight", Keep),
            ("multiple_choice_head.summary.weight", "head.choice.weight", Keep),
            ("multiple_choice_head.summary.bias", "head.choice.bias", Keep),
        ],
        tied: &[("lm_head.weight", "embed.word.weight")],
        ignored: &[
            ("{base}h.{i}.attn.bias", "the causal mask, rebuilt"),
            ("{base}position_ids", "a constant range, rebuilt"),
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
}

fn settings(config: Config) -> Result<Settings, Error> {
    let hidden = config.size("n_embd")?;
    // The reference's "gelu" of this family is the tanh form, whatever the word means elsewhere.
    let activation = match config.activation_or("afn", Activation::GeluTanh)? {
        Activation::Gelu => Activation::GeluTanh,
        other => other,
    };
    Ok(Settings {
        size: Size {
            layers: config.size("n_layer")?,
            hidden,
            heads: config.heads("n_head", "n_embd")?,
            ffn: 4 * hidden,
            vocab: config.size("vocab_size")?,
            max_tokens: config.size_or("n_positions", 512)?,
            types: 0,
            std: config.number_or("initializer_range", 0.02)? as f32,
        },
        activation,
        eps: config.number_or("layer_norm_epsilon", 1e-5)?,
        embedding_dropout: config.probability_or("embd_pdrop", 0.1)?,
        residual_dropout: config.probability_or("resid_pdrop", 0.1)?,
        attention_dropout: config.probability_or("attn_pdrop", 0.1)?,
    })
}

fn declare(store: &mut ParamStore, settings: Settings) -> LearnedPositions<Layer> {
    let size = settings.size.clone();
    let tables = Tables::declare(store, &size);
    let blocks = (0..size.layers).map(|i| Arc::new(Layer::declare(store, i, &settings))).collect();
    LearnedPositions {
        size,
        tables,
        embedding_dropout: settings.embedding_dropout,
        blocks,
        norm: FinalNorm::None,
        tagger: TaggerStyle { path: "head.out", dropout: settings.residual_dropout },
    }
}

/// Attention, sum, norm; feed-forward block, sum, norm.
struct Layer {
    index: usize,
    sites: [String; 3],
    style: AttentionStyle,
    activation: Activation,
    attention_dropout: f32,
    residual_dropout: f32,
    qkv: Linear,
    out: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    ffn_norm: LayerNorm,
}

impl Layer {
    fn declare(store: &mut ParamStore, index: usize, settings: &Settings) -> Self {
        let Size { hidden, heads, ffn, std, .. } = settings.size;
        let (group, eps) = (index + 1, settings.eps);
        let path = |name: &str| format!("layers.{index}.{name}");
        let qkv = Linear::declare(store, &path("attn.qkv"), [3 * hidden, hidden], group, std);
        let out = Linear::declare(store, &path("attn.out"), [hidden, hidden], group, std);
        let attention_norm = LayerNorm::declare(store, &path("attn.norm"), hidden, group, eps);
        let up = Linear::declare(store, &path("ffn.up"), [ffn, hidden], group, std);
        let down = Linear::declare(store, &path("ffn.down"), [hidden, ffn], group, std);
        let ffn_norm = LayerNorm::declare(store, &path("ffn.norm"), hidden, group, eps);
        let scale = 1.0 / ((hidden / heads) as f32).sqrt();
        Layer {
            index,
            sites: [path("attn.probabilities"), path("attn.out"), path("ffn.down")],
            style: AttentionStyle { heads, kv_heads: heads, scale, mask: Mask::Causal },
            activation: settings.activation,
            attention_dropout: settings.attention_dropout,
            residual_dropout: settings.residual_dropout,
            qkv,
            out,
            attention_norm,
            up,
            down,
            ffn_norm,
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
        let qkv = self.qkv.forward(pass, x.clone())?;
        let part = |at: usize| qkv.clone().slice_dim(1, at * hidden..(at + 1) * hidden);
        let dropout = pass.dropout(self.attention_dropout, &self.sites[0]);
        let mixed = context.attend(self.index, [part(0), part(1), part(2)], &self.style, dropout);
        let attended = self.out.forward(pass, mixed)?;
        let dropout = pass.dropout(self.residual_dropout, &self.sites[1]);
        let x = self.attention_norm.forward_residual(pass, attended, x, dropout)?;
        let x = pass.at(Site::AfterAttention, self.index, x);

        let fed = self.up.forward_through(pass, x.clone(), self.activation, &self.down)?;
        let dropout = pass.dropout(self.residual_dropout, &self.sites[2]);
        let x = self.ffn_norm.forward_residual(pass, fed, x, dropout)?;
        Ok(pass.at(Site::BlockOutput, self.index, x))
    }
}

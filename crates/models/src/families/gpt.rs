//! OpenAI GPT, the first one.
//!
//! Paper: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", section 3.1,
//! <https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/openai/modeling_openai.py>.
//! Norms stand behind the sums, and there is none behind the last layer.

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::activation::Activation;
use topwork_nn::{Context, ParamStore, Pass, Site};
use topwork_weights::Op::{Keep, Transpose};
use topwork_weights::Table;

use crate::causal::{Block, FinalNorm};
use crate::config::Config;
use crate::error::Error;
use crate::family::{Family, TaggerStyle};
use crate::learned_positions::{LayerGraph, LearnedPositions, Parts, Settings, Tables};
use crate::onnx::{Graph, Value};

/// The entry in the list.
pub const GPT: Family = Family {
    name: "gpt",
    summary: "OpenAI GPT, the first one",
    paper: "https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf",
    model_types: &["openai-gpt"],
    architectures: &[
        ("embed", "OpenAIGPTModel"),
        ("causal-lm", "OpenAIGPTLMHeadModel"),
        ("double-heads", "OpenAIGPTDoubleHeadsModel"),
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
    build: |config, store| Ok(Box::new(declare(store, Config(config))?)),
};

fn declare(store: &mut ParamStore, config: Config) -> Result<LearnedPositions<Layer>, Error> {
    // The reference's "gelu" of this family is the tanh form, whatever the word means elsewhere.
    let activation = match config.activation_or("afn", Activation::GeluTanh)? {
        Activation::Gelu => Activation::GeluTanh,
        other => other,
    };
    let settings = Settings::read(config, 512, activation)?;
    let size = settings.size.clone();
    let tables = Tables::declare(store, &size);
    let layer = |i: usize| Arc::new(Layer(Parts::declare(store, i, &settings, size.std, 1.0)));
    let blocks = (0..size.layers).map(layer).collect();
    Ok(LearnedPositions {
        size,
        tables,
        embedding_dropout: settings.embedding_dropout,
        blocks,
        norm: FinalNorm::None,
        tagger: TaggerStyle::plain("head.out", settings.residual_dropout),
        choice_dropout: settings.choice_dropout,
    })
}

/// Attention, sum, norm; feed-forward block, sum, norm.
struct Layer(Parts);

impl Block for Layer {
    type Shared = ();

    fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        (): &(),
        context: &mut Context,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let Layer(parts) = self;
        let x = parts.attended(pass, x.clone(), x, context)?.normed(pass, &parts.attention_norm)?;
        let x = pass.at(Site::AfterAttention, parts.index, x);

        let x = parts.fed(pass, x.clone(), x)?.normed(pass, &parts.ffn_norm)?;
        Ok(pass.at(Site::BlockOutput, parts.index, x))
    }
}

impl LayerGraph for Layer {
    fn describe(&self, graph: &mut Graph, x: &Value, bias: &Value) -> Result<Value, Error> {
        let attended = self.0.describe_attended(graph, x, bias)?;
        let sum = graph.add(&attended, x);
        let x = self.0.describe_norm(graph, &sum, "attn")?;
        let fed = self.0.describe_fed(graph, &x)?;
        let sum = graph.add(&fed, &x);
        self.0.describe_norm(graph, &sum, "ffn")
    }
}

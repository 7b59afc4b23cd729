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
use topwork_nn::layers::LayerNorm;
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
pub const GPT2: Family = Family {
    name: "gpt2",
    summary: "GPT-2 and what has its shape (DistilGPT-2, DialoGPT, GPT-3-like configs)",
    paper: "https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf",
    model_types: &["gpt2"],
    architectures: &[
        ("embed", "GPT2Model"),
        ("causal-lm", "GPT2LMHeadModel"),
        ("double-heads", "GPT2DoubleHeadsModel"),
        ("classify", "GPT2ForSequenceClassification"),
        ("tag", "GPT2ForTokenClassification"),
        ("span", "GPT2ForQuestionAnswering"),
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
            ("qa_outputs.weight", "head.span.weight", Keep),
            ("qa_outputs.bias", "head.span.bias", Keep),
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
    build: |config, store| Ok(Box::new(declare(store, Config(config))?)),
};

fn declare(store: &mut ParamStore, config: Config) -> Result<LearnedPositions<Layer>, Error> {
    config.only("add_cross_attention", &json!(false))?;
    config.only("scale_attn_weights", &json!(true))?;
    config.only("tie_word_embeddings", &json!(true))?;
    let activation = config.activation_or("activation_function", Activation::GeluTanh)?;
    let mut settings = Settings::read(config, 1024, activation)?;
    settings.size.ffn = config.size_or("n_inner", settings.size.ffn)?;
    let by_layer = config.flag_or("scale_attn_by_inverse_layer_idx", false)?;
    let tagger_dropout = config.probability_or("classifier_dropout", 0.1)?;

    let size = settings.size.clone();
    let tables = Tables::declare(store, &size);
    // What adds to the residual stream starts smaller, the more layers add to it (section 2.3).
    let added = size.std / (2.0 * size.layers as f32).sqrt();
    let layer = |i: usize| {
        let divide = if by_layer { (i + 1) as f32 } else { 1.0 };
        Arc::new(Layer(Parts::declare(store, i, &settings, added, divide)))
    };
    let blocks = (0..size.layers).map(layer).collect();
    let norm = LayerNorm::declare(store, "final.norm", size.hidden, size.layers, settings.eps);
    Ok(LearnedPositions {
        size,
        tables,
        embedding_dropout: settings.embedding_dropout,
        blocks,
        norm: FinalNorm::Layer(norm),
        tagger: TaggerStyle::plain("head.tag", tagger_dropout),
        choice_dropout: settings.choice_dropout,
    })
}

/// Norm, attention, sum; norm, feed-forward block, sum.
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
        let normed = parts.attention_norm.forward(pass, x.clone())?;
        let x = parts.attended(pass, normed, x, context)?.sum(pass)?;
        let x = pass.at(Site::AfterAttention, parts.index, x);

        let normed = parts.ffn_norm.forward(pass, x.clone())?;
        let x = parts.fed(pass, normed, x)?.sum(pass)?;
        Ok(pass.at(Site::BlockOutput, parts.index, x))
    }
}

impl LayerGraph for Layer {
    fn describe(&self, graph: &mut Graph, x: &Value, bias: &Value) -> Result<Value, Error> {
        let normed = self.0.describe_norm(graph, x, "attn")?;
        let attended = self.0.describe_attended(graph, &normed, bias)?;
        let x = graph.add(&attended, x);
        let normed = self.0.describe_norm(graph, &x, "ffn")?;
        let fed = self.0.describe_fed(graph, &normed)?;
        Ok(graph.add(&fed, &x))
    }
}

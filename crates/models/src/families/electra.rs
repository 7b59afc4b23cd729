//! ELECTRA, the discriminator and the generator.
//!
//! Paper: Clark et al. 2020, "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators", section 2,
//! <https://arxiv.org/abs/2003.10555>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/electra/modeling_electra.py>.
//! BERT's blocks without a pooler; a map widens the tables where they are narrower than the layers. The discriminator says of
//! each token whether it was replaced, the generator predicts words. Decoder use, which no published ELECTRA has, is refused.

use serde_json::json;
use topwork_kernels::activation::Activation;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, DenseStyle, Family, LanguageModelStyle, Size, TaggerStyle};
use crate::joined;
use crate::post_norm::{PostNorm, PostNormConfig};

/// The entry in the list.
pub const ELECTRA: Family = Family {
    name: "electra",
    summary: "ELECTRA, discriminator and generator",
    paper: "https://arxiv.org/abs/2003.10555",
    model_types: &["electra"],
    architectures: &[
        ("embed", "ElectraModel"),
        ("classify", "ElectraForSequenceClassification"),
        ("masked-lm", "ElectraForMaskedLM"),
        ("tag", "ElectraForTokenClassification"),
        ("span", "ElectraForQuestionAnswering"),
        ("replaced-token", "ElectraForPreTraining"),
        ("multiple-choice", "ElectraForMultipleChoice"),
        ("seq2seq", joined::CLASS),
    ],
    weights: Table {
        rules: &[
            ("{base}embeddings.word_embeddings.weight", "embed.word.weight", Keep),
            ("{base}embeddings.position_embeddings.weight", "embed.position.weight", Keep),
            ("{base}embeddings.token_type_embeddings.weight", "embed.type.weight", Keep),
            ("{base}embeddings.LayerNorm.weight", "embed.norm.weight", Keep),
            ("{base}embeddings.LayerNorm.bias", "embed.norm.bias", Keep),
            ("{base}embeddings_project.weight", "embed.widen.weight", Keep),
            ("{base}embeddings_project.bias", "embed.widen.bias", Keep),
            ("{base}encoder.layer.{i}.attention.self.query.weight", "layers.{i}.attn.q.weight", Keep),
            ("{base}encoder.layer.{i}.attention.self.query.bias", "layers.{i}.attn.q.bias", Keep),
            ("{base}encoder.layer.{i}.attention.self.key.weight", "layers.{i}.attn.k.weight", Keep),
            ("{base}encoder.layer.{i}.attention.self.key.bias", "layers.{i}.attn.k.bias", Keep),
            ("{base}encoder.layer.{i}.attention.self.value.weight", "layers.{i}.attn.v.weight", Keep),
            ("{base}encoder.layer.{i}.attention.self.value.bias", "layers.{i}.attn.v.bias", Keep),
            ("{base}encoder.layer.{i}.attention.output.dense.weight", "layers.{i}.attn.out.weight", Keep),
            ("{base}encoder.layer.{i}.attention.output.dense.bias", "layers.{i}.attn.out.bias", Keep),
            (
                "{base}encoder.layer.{i}.attention.output.LayerNorm.weight",
                "layers.{i}.attn.norm.weight",
                Keep,
            ),
            ("{base}encoder.layer.{i}.attention.output.LayerNorm.bias", "layers.{i}.attn.norm.bias", Keep),
            ("{base}encoder.layer.{i}.crossattention.self.query.weight", "layers.{i}.across.q.weight", Keep),
            ("{base}encoder.layer.{i}.crossattention.self.query.bias", "layers.{i}.across.q.bias", Keep),
            ("{base}encoder.layer.{i}.crossattention.self.key.weight", "layers.{i}.across.k.weight", Keep),
            ("{base}encoder.layer.{i}.crossattention.self.key.bias", "layers.{i}.across.k.bias", Keep),
            ("{base}encoder.layer.{i}.crossattention.self.value.weight", "layers.{i}.across.v.weight", Keep),
            ("{base}encoder.layer.{i}.crossattention.self.value.bias", "layers.{i}.across.v.bias", Keep),
            (
                "{base}encoder.layer.{i}.crossattention.output.dense.weight",
                "layers.{i}.across.out.weight",
                Keep,
            ),
            ("{base}encoder.layer.{i}.crossattention.output.dense.bias", "layers.{i}.across.out.bias", Keep),
            (
                "{base}encoder.layer.{i}.crossattention.output.LayerNorm.weight",
                "layers.{i}.across.norm.weight",
                Keep,
            ),
            (
                "{base}encoder.layer.{i}.crossattention.output.LayerNorm.bias",
                "layers.{i}.across.norm.bias",
                Keep,
            ),
            ("{base}encoder.layer.{i}.intermediate.dense.weight", "layers.{i}.ffn.up.weight", Keep),
            ("{base}encoder.layer.{i}.intermediate.dense.bias", "layers.{i}.ffn.up.bias", Keep),
            ("{base}encoder.layer.{i}.output.dense.weight", "layers.{i}.ffn.down.weight", Keep),
            ("{base}encoder.layer.{i}.output.dense.bias", "layers.{i}.ffn.down.bias", Keep),
            ("{base}encoder.layer.{i}.output.LayerNorm.weight", "layers.{i}.ffn.norm.weight", Keep),
            ("{base}encoder.layer.{i}.output.LayerNorm.bias", "layers.{i}.ffn.norm.bias", Keep),
            ("classifier.dense.weight", "head.dense.weight", Keep),
            ("classifier.dense.bias", "head.dense.bias", Keep),
            ("classifier.out_proj.weight", "head.out.weight", Keep),
            ("classifier.out_proj.bias", "head.out.bias", Keep),
            ("classifier.weight", "head.tag.weight", Keep),
            ("classifier.bias", "head.tag.bias", Keep),
            ("qa_outputs.weight", "head.span.weight", Keep),
            ("qa_outputs.bias", "head.span.bias", Keep),
            ("sequence_summary.summary.weight", "head.summary.weight", Keep),
            ("sequence_summary.summary.bias", "head.summary.bias", Keep),
            ("classifier.weight", "head.choice.weight", Keep),
            ("classifier.bias", "head.choice.bias", Keep),
            ("generator_predictions.dense.weight", "head.mlm.dense.weight", Keep),
            ("generator_predictions.dense.bias", "head.mlm.dense.bias", Keep),
            ("generator_predictions.LayerNorm.weight", "head.mlm.norm.weight", Keep),
            ("generator_predictions.LayerNorm.bias", "head.mlm.norm.bias", Keep),
            ("generator_lm_head.bias", "head.mlm.bias", Keep),
            ("discriminator_predictions.dense.weight", "head.replaced.dense.weight", Keep),
            ("discriminator_predictions.dense.bias", "head.replaced.dense.bias", Keep),
            ("discriminator_predictions.dense_prediction.weight", "head.replaced.weight", Keep),
            ("discriminator_predictions.dense_prediction.bias", "head.replaced.bias", Keep),
        ],
        tied: &[("generator_lm_head.weight", "embed.word.weight")],
        ignored: &[("{base}embeddings.position_ids", "a constant range, rebuilt")],
        unused: &[("head.**", "a head of another task, not used by this one")],
        prefixes: &["electra.", ""],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(PostNorm::declare(store, settings(Config(config))?))),
};

fn settings(config: Config) -> Result<PostNormConfig, Error> {
    config.only("position_embedding_type", &json!("absolute"))?;
    config.only("is_decoder", &json!(false))?;
    config.only("add_cross_attention", &json!(false))?;
    config.only("summary_type", &json!("first"))?;
    config.only("summary_use_proj", &json!(true))?;
    let size = Size {
        layers: config.size("num_hidden_layers")?,
        hidden: config.size("hidden_size")?,
        heads: config.heads("num_attention_heads", "hidden_size")?,
        ffn: config.size("intermediate_size")?,
        vocab: config.size("vocab_size")?,
        max_tokens: config.size_or("max_position_embeddings", 512)?,
        types: config.size_or("type_vocab_size", 2)?,
        std: config.number_or("initializer_range", 0.02)? as f32,
    };
    let activation = config.activation_or("hidden_act", Activation::Gelu)?;
    let eps = config.number_or("layer_norm_eps", 1e-12)?;
    let dropout = config.probability_or("hidden_dropout_prob", 0.1)?;
    let embedding = config.size_or("embedding_size", 128)?;
    let classifier_dropout = config.probability_or("classifier_dropout", f64::from(dropout))?;
    // The activations of the heads are fixed in the reference code: the config has no key for them.
    let classifier = ClassifierStyle::first_token(
        DenseStyle {
            dropout: classifier_dropout,
            ..DenseStyle::plain("head.dense", size.hidden, Activation::Gelu)
        },
        classifier_dropout,
    );
    let summary = DenseStyle {
        dropout: config.probability_or("summary_first_dropout", 0.0)?,
        ..DenseStyle::plain(
            "head.summary",
            size.hidden,
            config.activation_or("summary_activation", Activation::Gelu)?,
        )
    };
    let last_dropout = config.probability_or("summary_last_dropout", 0.1)?;
    Ok(PostNormConfig {
        embedding,
        widen: embedding != size.hidden,
        dropout,
        attention_dropout: config.probability_or("attention_probs_dropout_prob", 0.1)?,
        tagger: TaggerStyle::plain("head.tag", classifier_dropout),
        chooser: ClassifierStyle {
            out: "head.choice",
            ..ClassifierStyle::first_token(summary, last_dropout)
        },
        language_model: LanguageModelStyle::transformed(embedding, Activation::Gelu, eps),
        ..PostNormConfig::new(size, activation, eps, classifier)
    })
}

//! RoBERTa.
//!
//! Paper: Liu et al. 2019, "RoBERTa: A Robustly Optimized BERT Pretraining Approach", section 3,
//! <https://arxiv.org/abs/1907.11692>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/roberta/modeling_roberta.py>.
//! BERT's blocks; positions start after the padding id, and the classifier brings its own dense layer.

use serde_json::json;
use topwork_kernels::activation::Activation;
use topwork_kernels::pool::Pool;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, DenseStyle, Family, LanguageModelStyle, Size, TaggerStyle};
use crate::joined;
use crate::post_norm::{PostNorm, PostNormConfig};

/// The entry in the list.
pub const ROBERTA: Family = Family {
    name: "roberta",
    summary: "RoBERTa",
    paper: "https://arxiv.org/abs/1907.11692",
    model_types: &["roberta"],
    architectures: &[
        ("embed", "RobertaModel"),
        ("classify", "RobertaForSequenceClassification"),
        ("masked-lm", "RobertaForMaskedLM"),
        ("tag", "RobertaForTokenClassification"),
        ("span", "RobertaForQuestionAnswering"),
        ("multiple-choice", "RobertaForMultipleChoice"),
        ("seq2seq", joined::CLASS),
    ],
    weights: Table {
        rules: &[
            ("{base}embeddings.word_embeddings.weight", "embed.word.weight", Keep),
            ("{base}embeddings.position_embeddings.weight", "embed.position.weight", Keep),
            ("{base}embeddings.token_type_embeddings.weight", "embed.type.weight", Keep),
            ("{base}embeddings.LayerNorm.weight", "embed.norm.weight", Keep),
            ("{base}embeddings.LayerNorm.bias", "embed.norm.bias", Keep),
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
            ("classifier.weight", "head.choice.weight", Keep),
            ("classifier.bias", "head.choice.bias", Keep),
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
            ("pooler.**", "a pooler, not used by this task"),
        ],
        prefixes: &["roberta.", ""],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(PostNorm::declare(store, settings(Config(config))?))),
};

/// XLM-RoBERTa: the same network.
///
/// Paper: Conneau et al. 2020, "Unsupervised Cross-lingual Representation Learning at Scale", section 3,
/// <https://arxiv.org/abs/1911.02116>
pub const XLM_ROBERTA: Family = Family {
    name: "xlm-roberta",
    summary: "RoBERTa in a hundred languages, also as sentence encoder (multilingual E5)",
    paper: "https://arxiv.org/abs/1911.02116",
    model_types: &["xlm-roberta"],
    architectures: &[
        ("embed", "XLMRobertaModel"),
        ("classify", "XLMRobertaForSequenceClassification"),
        ("masked-lm", "XLMRobertaForMaskedLM"),
        ("tag", "XLMRobertaForTokenClassification"),
        ("span", "XLMRobertaForQuestionAnswering"),
        ("multiple-choice", "XLMRobertaForMultipleChoice"),
        ("seq2seq", joined::CLASS),
    ],
    ..ROBERTA
};

/// CamemBERT: the same network.
///
/// Paper: Martin et al. 2020, "CamemBERT: a Tasty French Language Model", section 4, <https://arxiv.org/abs/1911.03894>
pub const CAMEMBERT: Family = Family {
    name: "camembert",
    summary: "RoBERTa in French",
    paper: "https://arxiv.org/abs/1911.03894",
    model_types: &["camembert"],
    architectures: &[
        ("embed", "CamembertModel"),
        ("classify", "CamembertForSequenceClassification"),
        ("masked-lm", "CamembertForMaskedLM"),
        ("tag", "CamembertForTokenClassification"),
        ("span", "CamembertForQuestionAnswering"),
        ("multiple-choice", "CamembertForMultipleChoice"),
        ("seq2seq", joined::CLASS),
    ],
    ..ROBERTA
};

fn settings(config: Config) -> Result<PostNormConfig, Error> {
    config.only("position_embedding_type", &json!("absolute"))?;
    config.only("is_decoder", &json!(false))?;
    config.only("add_cross_attention", &json!(false))?;
    let positions = config.size("max_position_embeddings")?;
    // Positions 0 to the padding id are never used: a text's first token stands at the one after.
    let first_position = config.size_or("pad_token_id", 1)? + 1;
    if positions <= first_position {
        return Err(Error::Config {
            key: "max_position_embeddings".to_string(),
            expected: format!("more than pad_token_id + 1 = {first_position}"),
            got: positions.to_string(),
        });
    }
    let size = Size {
        layers: config.size("num_hidden_layers")?,
        hidden: config.size("hidden_size")?,
        heads: config.heads("num_attention_heads", "hidden_size")?,
        ffn: config.size("intermediate_size")?,
        vocab: config.size("vocab_size")?,
        max_tokens: positions - first_position,
        types: config.size_or("type_vocab_size", 2)?,
        std: config.number_or("initializer_range", 0.02)? as f32,
    };
    let eps = config.number_or("layer_norm_eps", 1e-12)?;
    let dropout = config.probability_or("hidden_dropout_prob", 0.1)?;
    let classifier_dropout = config.probability_or("classifier_dropout", f64::from(dropout))?;
    let hidden = size.hidden;
    let classifier = ClassifierStyle::dropped_twice(Pool::Cls, hidden, classifier_dropout);
    // Texts are chosen among through a pooler, which the classifier does without.
    let pooler = DenseStyle::plain("pooler", hidden, Activation::Tanh);
    let activation = config.activation_or("hidden_act", Activation::Gelu)?;
    Ok(PostNormConfig {
        positions,
        first_position,
        dropout,
        attention_dropout: config.probability_or("attention_probs_dropout_prob", 0.1)?,
        tagger: TaggerStyle::plain("head.tag", classifier_dropout),
        chooser: ClassifierStyle { out: "head.choice", ..ClassifierStyle::first_token(pooler, dropout) },
        language_model: LanguageModelStyle::transformed(hidden, Activation::Gelu, eps),
        ..PostNormConfig::new(size, activation, eps, classifier)
    })
}

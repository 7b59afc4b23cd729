//! BERT, and ERNIE, which has its network.
//!
//! Paper: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
//! section 3, <https://arxiv.org/abs/1810.04805>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/bert/modeling_bert.py>.
//! A BERT that is a decoder alone, and the relative position types, which no published BERT has, are refused; beside an encoder it
//! can write ([`crate::joined`]).

use serde_json::json;
use topwork_kernels::activation::Activation;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, DenseStyle, Family, LanguageModelStyle, Size};
use crate::joined;
use crate::post_norm::{PostNorm, PostNormConfig};

/// The entry in the list.
pub const BERT: Family = Family {
    name: "bert",
    summary: "BERT and what is built like it (MiniLM, sentence encoders, multilingual BERT)",
    paper: "https://arxiv.org/abs/1810.04805",
    model_types: &["bert"],
    architectures: &[
        ("embed", "BertModel"),
        ("classify", "BertForSequenceClassification"),
        ("masked-lm", "BertForMaskedLM"),
        ("tag", "BertForTokenClassification"),
        ("span", "BertForQuestionAnswering"),
        ("next-sentence", "BertForNextSentencePrediction"),
        ("pretraining", "BertForPreTraining"),
        ("multiple-choice", "BertForMultipleChoice"),
        ("seq2seq", joined::CLASS),
    ],
    weights: Table {
        rules: &[
            ("{base}embeddings.word_embeddings.weight", "embed.word.weight", Keep),
            ("{base}embeddings.position_embeddings.weight", "embed.position.weight", Keep),
            ("{base}embeddings.token_type_embeddings.weight", "embed.type.weight", Keep),
            ("{base}embeddings.task_type_embeddings.weight", "embed.task.weight", Keep),
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
            ("classifier.weight", "head.out.weight", Keep),
            ("classifier.bias", "head.out.bias", Keep),
            ("qa_outputs.weight", "head.span.weight", Keep),
            ("qa_outputs.bias", "head.span.bias", Keep),
            ("cls.predictions.transform.dense.weight", "head.mlm.dense.weight", Keep),
            ("cls.predictions.transform.dense.bias", "head.mlm.dense.bias", Keep),
            ("cls.predictions.transform.LayerNorm.weight", "head.mlm.norm.weight", Keep),
            ("cls.predictions.transform.LayerNorm.bias", "head.mlm.norm.bias", Keep),
            ("cls.predictions.bias", "head.mlm.bias", Keep),
            ("cls.seq_relationship.weight", "head.next.weight", Keep),
            ("cls.seq_relationship.bias", "head.next.bias", Keep),
        ],
        tied: &[
            ("cls.predictions.decoder.weight", "embed.word.weight"),
            ("cls.predictions.decoder.bias", "head.mlm.bias"),
        ],
        ignored: &[("{base}embeddings.position_ids", "a constant range, rebuilt")],
        unused: &[
            ("head.**", "a head of another task, not used by this one"),
            ("pooler.**", "the pooler, not used by this task"),
        ],
        prefixes: &["bert.", ""],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(PostNorm::declare(store, settings(Config(config))?))),
};

/// ERNIE, the first and those after it: the same network, from 2.0 on with a table of tasks.
///
/// Paper: Sun et al. 2019, "ERNIE: Enhanced Representation through Knowledge Integration", section 3,
/// <https://arxiv.org/abs/1904.09223>; Sun et al. 2020, "ERNIE 2.0", section 3.1, <https://arxiv.org/abs/1907.12412>. Reference code:
/// <https://github.com/huggingface/transformers/blob/main/src/transformers/models/ernie/modeling_ernie.py>.
pub const ERNIE: Family = Family {
    name: "ernie",
    summary: "ERNIE 1.0, 2.0 and 3.0: BERT's network, with a table of tasks in the later ones",
    paper: "https://arxiv.org/abs/1907.12412",
    model_types: &["ernie"],
    architectures: &[
        ("embed", "ErnieModel"),
        ("classify", "ErnieForSequenceClassification"),
        ("masked-lm", "ErnieForMaskedLM"),
        ("tag", "ErnieForTokenClassification"),
        ("span", "ErnieForQuestionAnswering"),
        ("next-sentence", "ErnieForNextSentencePrediction"),
        ("pretraining", "ErnieForPreTraining"),
        ("multiple-choice", "ErnieForMultipleChoice"),
        ("seq2seq", joined::CLASS),
    ],
    weights: Table { prefixes: &["ernie.", ""], ..BERT.weights },
    build: |config, store| {
        let config = Config(config);
        let tasks = match config.flag_or("use_task_id", false)? {
            true => config.size_or("task_type_vocab_size", 3)?,
            false => 0,
        };
        Ok(Box::new(PostNorm::declare(store, PostNormConfig { tasks, ..settings(config)? })))
    },
};

/// BERT as Rothe et al. published it to write with: the same network, without a table of segments and a pooler.
///
/// Paper: Rothe, Narayan, Severyn 2020, "Leveraging Pre-trained Checkpoints for Sequence Generation Tasks", section 2,
/// <https://arxiv.org/abs/1907.12461>. Reference code:
/// <https://github.com/huggingface/transformers/blob/main/src/transformers/models/bert_generation/modeling_bert_generation.py>.
pub const BERT_GENERATION: Family = Family {
    name: "bert-generation",
    summary: "BERT as one side of an encoder-decoder, without segments",
    paper: "https://arxiv.org/abs/1907.12461",
    model_types: &["bert-generation"],
    architectures: &[("embed", "BertGenerationEncoder"), ("seq2seq", joined::CLASS)],
    weights: Table {
        rules: &[
            ("{base}embeddings.word_embeddings.weight", "embed.word.weight", Keep),
            ("{base}embeddings.position_embeddings.weight", "embed.position.weight", Keep),
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
            ("lm_head.bias", "head.lm.bias", Keep),
        ],
        tied: &[("lm_head.decoder.weight", "embed.word.weight"), ("lm_head.decoder.bias", "head.lm.bias")],
        ..BERT.weights
    },
    build: |config, store| {
        let config = Config(config);
        let mut settings = settings(config)?;
        settings.size.types = 0;
        settings.language_model =
            LanguageModelStyle { transform: None, tied: true, bias: Some("head.lm.bias") };
        Ok(Box::new(PostNorm::declare(store, settings)))
    },
};

fn settings(config: Config) -> Result<PostNormConfig, Error> {
    config.only("position_embedding_type", &json!("absolute"))?;
    config.only("is_decoder", &json!(false))?;
    config.only("add_cross_attention", &json!(false))?;
    let size = Size {
        layers: config.size("num_hidden_layers")?,
        hidden: config.size("hidden_size")?,
        heads: config.heads("num_attention_heads", "hidden_size")?,
        ffn: config.size("intermediate_size")?,
        vocab: config.size("vocab_size")?,
        max_tokens: config.size("max_position_embeddings")?,
        types: config.size_or("type_vocab_size", 2)?,
        std: config.number_or("initializer_range", 0.02)? as f32,
    };
    let activation = config.activation_or("hidden_act", Activation::Gelu)?;
    let eps = config.number_or("layer_norm_eps", 1e-12)?;
    let dropout = config.probability_or("hidden_dropout_prob", 0.1)?;
    let classifier = ClassifierStyle::first_token(
        DenseStyle::plain("pooler", size.hidden, Activation::Tanh),
        config.probability_or("classifier_dropout", f64::from(dropout))?,
    );
    Ok(PostNormConfig {
        dropout,
        attention_dropout: config.probability_or("attention_probs_dropout_prob", 0.1)?,
        ..PostNormConfig::new(size, activation, eps, classifier)
    })
}

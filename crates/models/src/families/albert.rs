//! ALBERT.
//!
//! Paper: Lan et al. 2020, "ALBERT: A Lite BERT for Self-supervised Learning of Language Representations", section 3.1,
//! <https://arxiv.org/abs/1909.11942>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/albert/modeling_albert.py>.
//! BERT's blocks with one set of parameters for all depths (or a few sets, each for a run of depths), and tables that are
//! narrower than the layers. Layers that share their parameters are one depth group: they learn together or not at all.

use serde_json::json;
use topwork_kernels::activation::Activation;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, DenseStyle, Family, LanguageModelStyle, Size};
use crate::post_norm::{PostNorm, PostNormConfig, Sharing};

/// The entry in the list.
pub const ALBERT: Family = Family {
    name: "albert",
    summary: "ALBERT: one set of layer parameters for all depths, narrow tables",
    paper: "https://arxiv.org/abs/1909.11942",
    model_types: &["albert"],
    architectures: &[
        ("embed", "AlbertModel"),
        ("classify", "AlbertForSequenceClassification"),
        ("masked-lm", "AlbertForMaskedLM"),
        ("tag", "AlbertForTokenClassification"),
        ("span", "AlbertForQuestionAnswering"),
        ("pretraining", "AlbertForPreTraining"),
        ("multiple-choice", "AlbertForMultipleChoice"),
    ],
    weights: Table {
        rules: &[
            ("{base}embeddings.word_embeddings.weight", "embed.word.weight", Keep),
            ("{base}embeddings.position_embeddings.weight", "embed.position.weight", Keep),
            ("{base}embeddings.token_type_embeddings.weight", "embed.type.weight", Keep),
            ("{base}embeddings.LayerNorm.weight", "embed.norm.weight", Keep),
            ("{base}embeddings.LayerNorm.bias", "embed.norm.bias", Keep),
            ("{base}encoder.embedding_hidden_mapping_in.weight", "embed.widen.weight", Keep),
            ("{base}encoder.embedding_hidden_mapping_in.bias", "embed.widen.bias", Keep),
            // A group of one layer, as every published model has.
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.0.attention.query.weight",
                "layers.{g}.attn.q.weight",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.0.attention.query.bias",
                "layers.{g}.attn.q.bias",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.0.attention.key.weight",
                "layers.{g}.attn.k.weight",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.0.attention.key.bias",
                "layers.{g}.attn.k.bias",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.0.attention.value.weight",
                "layers.{g}.attn.v.weight",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.0.attention.value.bias",
                "layers.{g}.attn.v.bias",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.0.attention.dense.weight",
                "layers.{g}.attn.out.weight",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.0.attention.dense.bias",
                "layers.{g}.attn.out.bias",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.0.attention.LayerNorm.weight",
                "layers.{g}.attn.norm.weight",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.0.attention.LayerNorm.bias",
                "layers.{g}.attn.norm.bias",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.0.ffn.weight",
                "layers.{g}.ffn.up.weight",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.0.ffn.bias",
                "layers.{g}.ffn.up.bias",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.0.ffn_output.weight",
                "layers.{g}.ffn.down.weight",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.0.ffn_output.bias",
                "layers.{g}.ffn.down.bias",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.0.full_layer_layer_norm.weight",
                "layers.{g}.ffn.norm.weight",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.0.full_layer_layer_norm.bias",
                "layers.{g}.ffn.norm.bias",
                Keep,
            ),
            // A group of several.
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.{i}.attention.query.weight",
                "layers.{g}.inner.{i}.attn.q.weight",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.{i}.attention.query.bias",
                "layers.{g}.inner.{i}.attn.q.bias",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.{i}.attention.key.weight",
                "layers.{g}.inner.{i}.attn.k.weight",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.{i}.attention.key.bias",
                "layers.{g}.inner.{i}.attn.k.bias",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.{i}.attention.value.weight",
                "layers.{g}.inner.{i}.attn.v.weight",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.{i}.attention.value.bias",
                "layers.{g}.inner.{i}.attn.v.bias",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.{i}.attention.dense.weight",
                "layers.{g}.inner.{i}.attn.out.weight",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.{i}.attention.dense.bias",
                "layers.{g}.inner.{i}.attn.out.bias",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.{i}.attention.LayerNorm.weight",
                "layers.{g}.inner.{i}.attn.norm.weight",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.{i}.attention.LayerNorm.bias",
                "layers.{g}.inner.{i}.attn.norm.bias",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.{i}.ffn.weight",
                "layers.{g}.inner.{i}.ffn.up.weight",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.{i}.ffn.bias",
                "layers.{g}.inner.{i}.ffn.up.bias",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.{i}.ffn_output.weight",
                "layers.{g}.inner.{i}.ffn.down.weight",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.{i}.ffn_output.bias",
                "layers.{g}.inner.{i}.ffn.down.bias",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.{i}.full_layer_layer_norm.weight",
                "layers.{g}.inner.{i}.ffn.norm.weight",
                Keep,
            ),
            (
                "{base}encoder.albert_layer_groups.{g}.albert_layers.{i}.full_layer_layer_norm.bias",
                "layers.{g}.inner.{i}.ffn.norm.bias",
                Keep,
            ),
            ("{base}pooler.weight", "pooler.weight", Keep),
            ("{base}pooler.bias", "pooler.bias", Keep),
            ("classifier.weight", "head.out.weight", Keep),
            ("classifier.bias", "head.out.bias", Keep),
            ("qa_outputs.weight", "head.span.weight", Keep),
            ("qa_outputs.bias", "head.span.bias", Keep),
            ("predictions.dense.weight", "head.mlm.dense.weight", Keep),
            ("predictions.dense.bias", "head.mlm.dense.bias", Keep),
            ("predictions.LayerNorm.weight", "head.mlm.norm.weight", Keep),
            ("predictions.LayerNorm.bias", "head.mlm.norm.bias", Keep),
            ("predictions.bias", "head.mlm.bias", Keep),
            ("sop_classifier.classifier.weight", "head.next.weight", Keep),
            ("sop_classifier.classifier.bias", "head.next.bias", Keep),
        ],
        tied: &[
            ("predictions.decoder.weight", "embed.word.weight"),
            ("predictions.decoder.bias", "head.mlm.bias"),
        ],
        ignored: &[("{base}embeddings.position_ids", "a constant range, rebuilt")],
        unused: &[
            ("head.**", "a head of another task, not used by this one"),
            ("pooler.**", "the pooler, not used by this task"),
        ],
        prefixes: &["albert.", ""],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(PostNorm::declare(store, settings(Config(config))?))),
};

fn settings(config: Config) -> Result<PostNormConfig, Error> {
    config.only("position_embedding_type", &json!("absolute"))?;
    config.only("is_decoder", &json!(false))?;
    let rounds = config.size("num_hidden_layers")?;
    let groups = config.size_or("num_hidden_groups", 1)?;
    let inner = config.size_or("inner_group_num", 1)?;
    if groups == 0 || groups > rounds {
        return Err(Error::Config {
            key: "num_hidden_groups".to_string(),
            expected: format!("at least 1 and at most num_hidden_layers ({rounds})"),
            got: groups.to_string(),
        });
    }
    if inner == 0 {
        let expected = "a positive whole number".to_string();
        return Err(Error::Config { key: "inner_group_num".to_string(), expected, got: "0".to_string() });
    }
    let size = Size {
        layers: rounds * inner,
        hidden: config.size("hidden_size")?,
        heads: config.heads("num_attention_heads", "hidden_size")?,
        ffn: config.size("intermediate_size")?,
        vocab: config.size("vocab_size")?,
        max_tokens: config.size_or("max_position_embeddings", 512)?,
        types: config.size_or("type_vocab_size", 2)?,
        std: config.number_or("initializer_range", 0.02)? as f32,
    };
    let activation = config.activation_or("hidden_act", Activation::GeluTanh)?;
    let eps = config.number_or("layer_norm_eps", 1e-12)?;
    let dropout = config.probability_or("hidden_dropout_prob", 0.0)?;
    let embedding = config.size_or("embedding_size", 128)?;
    let classifier = ClassifierStyle::first_token(
        DenseStyle::plain("pooler", size.hidden, Activation::Tanh),
        config.probability_or("classifier_dropout_prob", 0.1)?,
    );
    Ok(PostNormConfig {
        embedding,
        widen: true,
        sharing: Some(Sharing { groups, inner }),
        dropout,
        attention_dropout: config.probability_or("attention_probs_dropout_prob", 0.0)?,
        // The order of two texts, with the classifier's dropout.
        next_sentence: ClassifierStyle { out: "head.next", ..classifier },
        language_model: LanguageModelStyle::transformed(embedding, activation, eps),
        ..PostNormConfig::new(size, activation, eps, classifier)
    })
}

#[cfg(test)]
mod tests {
    use topwork_nn::ParamStore;

    use super::*;

    #[test]
    fn groups_are_refused_that_no_layer_would_use() {
        let config = |groups: usize, inner: usize| {
            json!({
                "model_type": "albert", "vocab_size": 9, "embedding_size": 4, "hidden_size": 8, "num_hidden_layers": 2,
                "num_attention_heads": 2, "intermediate_size": 8, "num_hidden_groups": groups, "inner_group_num": inner,
            })
        };
        let build = |groups, inner| {
            let mut store = ParamStore::new(&burn::tensor::Device::flex());
            (ALBERT.build)(&config(groups, inner), &mut store).map(|_| store.len())
        };
        assert_eq!(build(1, 1).unwrap(), 7 + 16);
        assert_eq!(build(2, 1).unwrap(), 7 + 2 * 16);
        assert_eq!(build(2, 3).unwrap(), 7 + 6 * 16);
        for (groups, inner, key) in
            [(3, 1, "num_hidden_groups"), (0, 1, "num_hidden_groups"), (1, 0, "inner_group_num")]
        {
            let error = build(groups, inner).err().unwrap().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}

//! DeBERTa v2 and v3 (mDeBERTa too).
//!
//! Paper: He et al. 2021, "DeBERTa: Decoding-enhanced BERT with Disentangled Attention", section 3 and appendix A.9,
//! <https://arxiv.org/abs/2006.03654>; He et al. 2021, "DeBERTaV3", section 2.1, <https://arxiv.org/abs/2111.09543>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/deberta_v2/modeling_deberta_v2.py>.
//! Distances in buckets; the maps of tokens serve distances too, or distances have their own; the largest models have a
//! convolution beside the first layer. The discriminator that v3 was trained with is left out, as upstream leaves it out.

use burn::tensor::Tensor;
use serde_json::json;
use topwork_kernels::activation::Activation;
use topwork_nn::layers::Linear;
use topwork_nn::{ParamStore, Pass};
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::config::Config;
use crate::disentangled::{ConvSettings, Disentangled, DistanceMaps, Projections, Settings};
use crate::error::Error;
use crate::family::{Family, Size};

/// The entry in the list.
pub const DEBERTA_V2: Family = Family {
    name: "deberta-v2",
    summary: "DeBERTa v2 and v3, mDeBERTa",
    paper: "https://arxiv.org/abs/2111.09543",
    model_types: &["deberta-v2"],
    architectures: &[
        ("embed", "DebertaV2Model"),
        ("classify", "DebertaV2ForSequenceClassification"),
        ("masked-lm", "DebertaV2ForMaskedLM"),
        ("tag", "DebertaV2ForTokenClassification"),
        ("span", "DebertaV2ForQuestionAnswering"),
    ],
    weights: Table {
        rules: &[
            ("{base}embeddings.word_embeddings.weight", "embed.word.weight", Keep),
            ("{base}embeddings.position_embeddings.weight", "embed.position.weight", Keep),
            ("{base}embeddings.token_type_embeddings.weight", "embed.type.weight", Keep),
            ("{base}embeddings.embed_proj.weight", "embed.map.weight", Keep),
            ("{base}embeddings.LayerNorm.weight", "embed.norm.weight", Keep),
            ("{base}embeddings.LayerNorm.bias", "embed.norm.bias", Keep),
            ("{base}encoder.rel_embeddings.weight", "embed.distance.weight", Keep),
            ("{base}encoder.LayerNorm.weight", "embed.distance_norm.weight", Keep),
            ("{base}encoder.LayerNorm.bias", "embed.distance_norm.bias", Keep),
            ("{base}encoder.conv.conv.weight", "layers.0.conv.weight", Keep),
            ("{base}encoder.conv.conv.bias", "layers.0.conv.bias", Keep),
            ("{base}encoder.conv.LayerNorm.weight", "layers.0.conv.norm.weight", Keep),
            ("{base}encoder.conv.LayerNorm.bias", "layers.0.conv.norm.bias", Keep),
            ("{base}encoder.layer.{i}.attention.self.query_proj.weight", "layers.{i}.attn.q.weight", Keep),
            ("{base}encoder.layer.{i}.attention.self.query_proj.bias", "layers.{i}.attn.q.bias", Keep),
            ("{base}encoder.layer.{i}.attention.self.key_proj.weight", "layers.{i}.attn.k.weight", Keep),
            ("{base}encoder.layer.{i}.attention.self.key_proj.bias", "layers.{i}.attn.k.bias", Keep),
            ("{base}encoder.layer.{i}.attention.self.value_proj.weight", "layers.{i}.attn.v.weight", Keep),
            ("{base}encoder.layer.{i}.attention.self.value_proj.bias", "layers.{i}.attn.v.bias", Keep),
            (
                "{base}encoder.layer.{i}.attention.self.pos_key_proj.weight",
                "layers.{i}.attn.distance_k.weight",
                Keep,
            ),
            (
                "{base}encoder.layer.{i}.attention.self.pos_key_proj.bias",
                "layers.{i}.attn.distance_k.bias",
                Keep,
            ),
            (
                "{base}encoder.layer.{i}.attention.self.pos_query_proj.weight",
                "layers.{i}.attn.distance_q.weight",
                Keep,
            ),
            (
                "{base}encoder.layer.{i}.attention.self.pos_query_proj.bias",
                "layers.{i}.attn.distance_q.bias",
                Keep,
            ),
            ("{base}encoder.layer.{i}.attention.output.dense.weight", "layers.{i}.attn.out.weight", Keep),
            ("{base}encoder.layer.{i}.attention.output.dense.bias", "layers.{i}.attn.out.bias", Keep),
            (
                "{base}encoder.layer.{i}.attention.output.LayerNorm.weight",
                "layers.{i}.attn.norm.weight",
                Keep,
            ),
            ("{base}encoder.layer.{i}.attention.output.LayerNorm.bias", "layers.{i}.attn.norm.bias", Keep),
            ("{base}encoder.layer.{i}.intermediate.dense.weight", "layers.{i}.ffn.up.weight", Keep),
            ("{base}encoder.layer.{i}.intermediate.dense.bias", "layers.{i}.ffn.up.bias", Keep),
            ("{base}encoder.layer.{i}.output.dense.weight", "layers.{i}.ffn.down.weight", Keep),
            ("{base}encoder.layer.{i}.output.dense.bias", "layers.{i}.ffn.down.bias", Keep),
            ("{base}encoder.layer.{i}.output.LayerNorm.weight", "layers.{i}.ffn.norm.weight", Keep),
            ("{base}encoder.layer.{i}.output.LayerNorm.bias", "layers.{i}.ffn.norm.bias", Keep),
            ("pooler.dense.weight", "pooler.weight", Keep),
            ("pooler.dense.bias", "pooler.bias", Keep),
            ("classifier.weight", "head.out.weight", Keep),
            ("classifier.bias", "head.out.bias", Keep),
            ("qa_outputs.weight", "head.span.weight", Keep),
            ("qa_outputs.bias", "head.span.bias", Keep),
            ("cls.predictions.transform.dense.weight", "head.mlm.dense.weight", Keep),
            ("cls.predictions.transform.dense.bias", "head.mlm.dense.bias", Keep),
            ("cls.predictions.transform.LayerNorm.weight", "head.mlm.norm.weight", Keep),
            ("cls.predictions.transform.LayerNorm.bias", "head.mlm.norm.bias", Keep),
            ("cls.predictions.bias", "head.mlm.bias", Keep),
            ("lm_predictions.lm_head.dense.weight", "head.lm.dense.weight", Keep),
            ("lm_predictions.lm_head.dense.bias", "head.lm.dense.bias", Keep),
            ("lm_predictions.lm_head.LayerNorm.weight", "head.lm.norm.weight", Keep),
            ("lm_predictions.lm_head.LayerNorm.bias", "head.lm.norm.bias", Keep),
            ("lm_predictions.lm_head.bias", "head.lm.bias", Keep),
        ],
        tied: &[
            ("cls.predictions.decoder.weight", "embed.word.weight"),
            ("cls.predictions.decoder.bias", "head.mlm.bias"),
        ],
        ignored: &[
            ("{base}embeddings.position_ids", "a constant range, rebuilt"),
            ("mask_predictions.dense.weight", DISCRIMINATOR),
            ("mask_predictions.dense.bias", DISCRIMINATOR),
            ("mask_predictions.LayerNorm.weight", DISCRIMINATOR),
            ("mask_predictions.LayerNorm.bias", DISCRIMINATOR),
            ("mask_predictions.classifier.weight", DISCRIMINATOR),
            ("mask_predictions.classifier.bias", DISCRIMINATOR),
        ],
        unused: &[
            ("head.**", "a head of another task, not used by this one"),
            ("pooler.**", "the pooler, not used by this task"),
            ("embed.position.**", "a table of positions, which the config says is not added to the words"),
        ],
        prefixes: &["deberta.", ""],
        ..Table::EMPTY
    },
    build: |config, store| {
        let config = Config(config);
        let settings = settings(config)?;
        Ok(if config.flag_or("share_att_key", false)? {
            Box::new(Disentangled::<Shared>::declare(store, settings))
        } else {
            Box::new(Disentangled::<Apart>::declare(store, settings))
        })
    },
};

const DISCRIMINATOR: &str = "the discriminator of pretraining";

fn settings(config: Config) -> Result<Settings, Error> {
    let mut settings = Settings::read(config)?;
    config.only("attention_head_size", &json!(settings.size.hidden / settings.size.heads))?;
    config.only("conv_groups", &json!(1))?;
    if let Some(distances) = &mut settings.distances {
        // Published configs write -1 for none.
        let some = config.number_or("position_buckets", -1.0)? > 0.0;
        distances.buckets = if some { Some(config.size("position_buckets")?) } else { None };
        distances.norm = match config.text("norm_rel_ebd")?.unwrap_or("none") {
            "layer_norm" => true,
            "none" => false,
            other => {
                let (key, expected) = ("norm_rel_ebd".to_string(), "layer_norm or none".to_string());
                return Err(Error::Config { key, expected, got: format!("{other:?}") });
            }
        };
        if let Some(buckets) = distances.buckets
            && (buckets < 4 || distances.far < buckets)
        {
            return Err(Error::Config {
                key: "position_buckets".to_string(),
                expected: format!("4 to max_relative_positions ({})", distances.far),
                got: buckets.to_string(),
            });
        }
    }
    let width = config.size_or("conv_kernel_size", 0)?;
    if width > 0 {
        if width % 2 == 0 || width > MOST_TAPS {
            let key = "conv_kernel_size".to_string();
            let expected = format!("an odd number up to {MOST_TAPS}");
            return Err(Error::Config { key, expected, got: width.to_string() });
        }
        let activation = config.activation_or("conv_act", Activation::Tanh)?;
        settings.conv = Some(ConvSettings { width, activation });
    }
    Ok(settings)
}

/// Published models have 3.
const MOST_TAPS: usize = 63;

/// The maps of queries and keys serve distances too.
struct Shared {
    q: Linear,
    k: Linear,
    v: Linear,
}

impl Projections for Shared {
    fn declare(store: &mut ParamStore, index: usize, settings: &Settings) -> Self {
        let Size { hidden, std, .. } = settings.size;
        let [q, k, v] = ["q", "k", "v"].map(|name| {
            let path = format!("layers.{index}.attn.{name}");
            Linear::declare(store, &path, [hidden, hidden], index + 1, std)
        });
        Shared { q, k, v }
    }

    fn of_tokens(&self, pass: &Pass, x: Tensor<2>) -> Result<[Tensor<2>; 3], topwork_nn::Error> {
        Ok([self.q.forward(pass, x.clone())?, self.k.forward(pass, x.clone())?, self.v.forward(pass, x)?])
    }

    fn distance_keys(&self, pass: &Pass, rows: Tensor<2>) -> Result<Tensor<2>, topwork_nn::Error> {
        self.k.forward(pass, rows)
    }

    fn distance_queries(&self, pass: &Pass, rows: Tensor<2>) -> Result<Tensor<2>, topwork_nn::Error> {
        self.q.forward(pass, rows)
    }
}

/// Distances have maps of their own.
struct Apart {
    tokens: Shared,
    distances: DistanceMaps,
}

impl Projections for Apart {
    fn declare(store: &mut ParamStore, index: usize, settings: &Settings) -> Self {
        let tokens = Shared::declare(store, index, settings);
        Apart { tokens, distances: DistanceMaps::declare(store, index, settings, true) }
    }

    fn of_tokens(&self, pass: &Pass, x: Tensor<2>) -> Result<[Tensor<2>; 3], topwork_nn::Error> {
        self.tokens.of_tokens(pass, x)
    }

    fn distance_keys(&self, pass: &Pass, rows: Tensor<2>) -> Result<Tensor<2>, topwork_nn::Error> {
        self.distances.keys(pass, rows)
    }

    fn distance_queries(&self, pass: &Pass, rows: Tensor<2>) -> Result<Tensor<2>, topwork_nn::Error> {
        self.distances.queries(pass, rows)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// As published with deberta-v2-xlarge, but small.
    fn config(changes: Value) -> Value {
        let mut config = json!({
            "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "attention_head_size": 8,
            "intermediate_size": 24, "vocab_size": 40, "max_position_embeddings": 64, "relative_attention": true,
            "position_buckets": 16, "norm_rel_ebd": "layer_norm", "share_att_key": true, "pos_att_type": "p2c|c2p",
            "conv_kernel_size": 3, "conv_act": "gelu", "max_relative_positions": -1, "position_biased_input": false,
        });
        let changes = changes.as_object().cloned().unwrap_or_default();
        config.as_object_mut().unwrap().extend(changes);
        config
    }

    #[test]
    fn a_published_config_is_read() {
        let config = config(json!({}));
        let settings = settings(Config(&config)).unwrap();
        let distances = settings.distances.unwrap();
        assert_eq!((distances.buckets, distances.far, distances.norm), (Some(16), 64, true));
        assert_eq!(settings.conv, Some(ConvSettings { width: 3, activation: Activation::Gelu }));
        assert!(!settings.positions);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (changes, part) in [
            (json!({"attention_head_size": 16}), "attention_head_size"),
            (json!({"conv_groups": 2}), "conv_groups"),
            (json!({"conv_kernel_size": 4}), "conv_kernel_size"),
            (json!({"norm_rel_ebd": "batch_norm"}), "norm_rel_ebd"),
            (json!({"position_buckets": 2}), "position_buckets"),
            (json!({"position_buckets": 100}), "max_relative_positions"),
        ] {
            let config = config(changes);
            let error = settings(Config(&config)).err().unwrap().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}

//! DeBERTa, the first version.
//!
//! Paper: He et al. 2021, "DeBERTa: Decoding-enhanced BERT with Disentangled Attention", section 3,
//! <https://arxiv.org/abs/2006.03654>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/deberta/modeling_deberta.py>.
//! Queries, keys and values come from one map, head by head, with biases for queries and values; each distance has its own row.

use burn::tensor::Tensor;
use serde_json::json;
use topwork_kernels::activation::Activation;
use topwork_nn::layers::Linear;
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass};
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::config::Config;
use crate::disentangled::{Disentangled, DistanceMaps, Projections, Settings};
use crate::family::{Family, Size};

/// The entry in the list.
pub const DEBERTA: Family = Family {
    name: "deberta",
    summary: "DeBERTa, the first version",
    paper: "https://arxiv.org/abs/2006.03654",
    model_types: &["deberta"],
    architectures: &[
        ("embed", "DebertaModel"),
        ("classify", "DebertaForSequenceClassification"),
        ("masked-lm", "DebertaForMaskedLM"),
        ("tag", "DebertaForTokenClassification"),
        ("span", "DebertaForQuestionAnswering"),
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
            ("{base}encoder.layer.{i}.attention.self.in_proj.weight", "layers.{i}.attn.qkv.weight", Keep),
            ("{base}encoder.layer.{i}.attention.self.q_bias", "layers.{i}.attn.q.bias", Keep),
            ("{base}encoder.layer.{i}.attention.self.v_bias", "layers.{i}.attn.v.bias", Keep),
            (
                "{base}encoder.layer.{i}.attention.self.pos_proj.weight",
                "layers.{i}.attn.distance_k.weight",
                Keep,
            ),
            (
                "{base}encoder.layer.{i}.attention.self.pos_q_proj.weight",
                "layers.{i}.attn.distance_q.weight",
                Keep,
            ),
            (
                "{base}encoder.layer.{i}.attention.self.pos_q_proj.bias",
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
        ignored: &[("{base}embeddings.position_ids", "a constant range, rebuilt")],
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
        config.only("talking_head", &json!(false))?;
        Ok(Box::new(Disentangled::<Joined>::declare(store, Settings::read(config)?)))
    },
};

/// One map for queries, keys and values, and maps for what the terms of distance need.
struct Joined {
    heads: usize,
    /// `[heads * 3 * head_dim, hidden]`: of each head its queries, keys and values.
    qkv: Linear,
    q_bias: ParamId,
    v_bias: ParamId,
    distances: DistanceMaps,
}

impl Projections for Joined {
    fn declare(store: &mut ParamStore, index: usize, settings: &Settings) -> Self {
        let Size { hidden, heads, std, .. } = settings.size;
        let group = index + 1;
        let path = |name: &str| format!("layers.{index}.attn.{name}");
        let qkv = Linear::declare_with(store, &path("qkv"), [3 * hidden, hidden], group, std, false);
        let mut bias =
            |name: &str| store.declare(&path(name), &[hidden], group, ParamKind::Bias, Init::Zeros);
        let (q_bias, v_bias) = (bias("q.bias"), bias("v.bias"));
        let distances = DistanceMaps::declare(store, index, settings, false);
        Joined { heads, qkv, q_bias, v_bias, distances }
    }

    fn of_tokens(&self, pass: &Pass, x: Tensor<2>) -> Result<[Tensor<2>; 3], topwork_nn::Error> {
        let [tokens, hidden] = x.dims();
        let head_dim = hidden / self.heads;
        let joined = self.qkv.forward(pass, x)?.reshape([tokens, self.heads, 3 * head_dim]);
        let part = |at: usize| {
            joined.clone().slice_dim(2, at * head_dim..(at + 1) * head_dim).reshape([tokens, hidden])
        };
        let biased = |at: usize, bias: ParamId| {
            Ok::<_, topwork_nn::Error>(topwork_ops::bias_activation(
                part(at),
                pass.vector(bias)?,
                Activation::Identity,
            ))
        };
        Ok([biased(0, self.q_bias)?, part(1), biased(2, self.v_bias)?])
    }

    fn distance_keys(&self, pass: &Pass, rows: Tensor<2>) -> Result<Tensor<2>, topwork_nn::Error> {
        self.distances.keys(pass, rows)
    }

    fn distance_queries(&self, pass: &Pass, rows: Tensor<2>) -> Result<Tensor<2>, topwork_nn::Error> {
        self.distances.queries(pass, rows)
    }
}

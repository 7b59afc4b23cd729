//! DistilBERT.
//!
//! Paper: Sanh et al. 2019, "DistilBERT, a distilled version of BERT: smaller, faster, cheaper and lighter",
//! section 3, <https://arxiv.org/abs/1910.01108>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/distilbert/modeling_distilbert.py>.
//! BERT's blocks under other names and keys; no segments, no pooler. Its position table is always in the
//! checkpoint, so `sinusoidal_pos_embds` only says how it began.

use topwork_kernels::activation::Activation;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, DenseStyle, Family, Size, TaggerStyle};
use crate::post_norm::{PostNorm, PostNormConfig};

/// The entry in the list.
pub const DISTILBERT: Family = Family {
    name: "distilbert",
    summary: "BERT at half the depth, distilled",
    paper: "https://arxiv.org/abs/1910.01108",
    model_types: &["distilbert"],
    architectures: &[
        ("embed", "DistilBertModel"),
        ("classify", "DistilBertForSequenceClassification"),
        ("masked-lm", "DistilBertForMaskedLM"),
        ("tag", "DistilBertForTokenClassification"),
        ("span", "DistilBertForQuestionAnswering"),
        ("multiple-choice", "DistilBertForMultipleChoice"),
    ],
    weights: Table {
        rules: &[
            ("{base}embeddings.word_embeddings.weight", "embed.word.weight", Keep),
            ("{base}embeddings.position_embeddings.weight", "embed.position.weight", Keep),
            ("{base}embeddings.LayerNorm.weight", "embed.norm.weight", Keep),
            ("{base}embeddings.LayerNorm.bias", "embed.norm.bias", Keep),
            ("{base}transformer.layer.{i}.attention.q_lin.weight", "layers.{i}.attn.q.weight", Keep),
            ("{base}transformer.layer.{i}.attention.q_lin.bias", "layers.{i}.attn.q.bias", Keep),
            ("{base}transformer.layer.{i}.attention.k_lin.weight", "layers.{i}.attn.k.weight", Keep),
            ("{base}transformer.layer.{i}.attention.k_lin.bias", "layers.{i}.attn.k.bias", Keep),
            ("{base}transformer.layer.{i}.attention.v_lin.weight", "layers.{i}.attn.v.weight", Keep),
            ("{base}transformer.layer.{i}.attention.v_lin.bias", "layers.{i}.attn.v.bias", Keep),
            ("{base}transformer.layer.{i}.attention.out_lin.weight", "layers.{i}.attn.out.weight", Keep),
            ("{base}transformer.layer.{i}.attention.out_lin.bias", "layers.{i}.attn.out.bias", Keep),
            ("{base}transformer.layer.{i}.sa_layer_norm.weight", "layers.{i}.attn.norm.weight", Keep),
            ("{base}transformer.layer.{i}.sa_layer_norm.bias", "layers.{i}.attn.norm.bias", Keep),
            ("{base}transformer.layer.{i}.ffn.lin1.weight", "layers.{i}.ffn.up.weight", Keep),
            ("{base}transformer.layer.{i}.ffn.lin1.bias", "layers.{i}.ffn.up.bias", Keep),
            ("{base}transformer.layer.{i}.ffn.lin2.weight", "layers.{i}.ffn.down.weight", Keep),
            ("{base}transformer.layer.{i}.ffn.lin2.bias", "layers.{i}.ffn.down.bias", Keep),
            ("{base}transformer.layer.{i}.output_layer_norm.weight", "layers.{i}.ffn.norm.weight", Keep),
            ("{base}transformer.layer.{i}.output_layer_norm.bias", "layers.{i}.ffn.norm.bias", Keep),
            ("pre_classifier.weight", "head.dense.weight", Keep),
            ("pre_classifier.bias", "head.dense.bias", Keep),
            ("classifier.weight", "head.out.weight", Keep),
            ("classifier.bias", "head.out.bias", Keep),
            ("qa_outputs.weight", "head.span.weight", Keep),
            ("qa_outputs.bias", "head.span.bias", Keep),
            ("vocab_transform.weight", "head.mlm.dense.weight", Keep),
            ("vocab_transform.bias", "head.mlm.dense.bias", Keep),
            ("vocab_layer_norm.weight", "head.mlm.norm.weight", Keep),
            ("vocab_layer_norm.bias", "head.mlm.norm.bias", Keep),
            ("vocab_projector.bias", "head.mlm.bias", Keep),
        ],
        tied: &[("vocab_projector.weight", "embed.word.weight")],
        ignored: &[("{base}embeddings.position_ids", "a constant range, rebuilt")],
        unused: &[("head.**", "a head of another task, not used by this one")],
        prefixes: &["distilbert.", ""],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(PostNorm::declare(store, settings(Config(config))?))),
};

fn settings(config: Config) -> Result<PostNormConfig, Error> {
    let size = Size {
        layers: config.size("n_layers")?,
        hidden: config.size("dim")?,
        heads: config.heads("n_heads", "dim")?,
        ffn: config.size("hidden_dim")?,
        vocab: config.size("vocab_size")?,
        max_tokens: config.size_or("max_position_embeddings", 512)?,
        types: 0,
        std: config.number_or("initializer_range", 0.02)? as f32,
    };
    let activation = config.activation_or("activation", Activation::Gelu)?;
    // Fixed in the reference code: the config has no key for it.
    let eps = 1e-12;
    let dropout = config.probability_or("dropout", 0.1)?;
    let classifier = ClassifierStyle::first_token(
        DenseStyle::plain("head.dense", size.hidden, Activation::Relu),
        config.probability_or("seq_classif_dropout", 0.2)?,
    );
    Ok(PostNormConfig {
        dropout,
        attention_dropout: config.probability_or("attention_dropout", 0.1)?,
        // The reference's tagger drops as the blocks do, not as its classifier.
        tagger: TaggerStyle::plain("head.out", dropout),
        spans: TaggerStyle::plain("head.span", config.probability_or("qa_dropout", 0.1)?),
        ..PostNormConfig::new(size, activation, eps, classifier)
    })
}

//! A plain bidirectional LSTM over a table of words: a baseline, trained from nothing or from static word vectors.
//!
//! Paper: Graves and Schmidhuber 2005, "Framewise phoneme classification with bidirectional LSTM and other neural network
//! architectures", section 2, <https://doi.org/10.1016/j.neunet.2005.06.042>. Weights have the names of PyTorch's `nn.LSTM`.

use topwork_kernels::activation::Activation;
use topwork_kernels::pool::Pool;
use topwork_nn::ParamStore;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, DenseStyle, Family, LanguageModelStyle, NO_LIMIT, Size};
use crate::recurrent::{DropStyle, Reads, Recurrent, RecurrentConfig};

/// The entry in the list.
pub const BILSTM: Family = Family {
    name: "bilstm",
    summary: "a plain bidirectional LSTM over words, from nothing or from word vectors",
    paper: "https://doi.org/10.1016/j.neunet.2005.06.042",
    model_types: &["bilstm"],
    architectures: &[
        ("embed", "BiLSTM"),
        ("classify", "BiLSTMForSequenceClassification"),
        ("masked-lm", "BiLSTMForMaskedLM"),
        ("tag", "BiLSTMForTokenClassification"),
    ],
    weights: Table {
        rules: &[
            ("embeddings.weight", "embed.word.weight", Keep),
            ("lstm.weight_ih_l{i}", "layers.{i}.forward.input.weight", Keep),
            ("lstm.weight_hh_l{i}", "layers.{i}.forward.recurrent.weight", Keep),
            ("lstm.bias_ih_l{i}", "layers.{i}.forward.input.bias", Keep),
            ("lstm.bias_hh_l{i}", "layers.{i}.forward.recurrent.bias", Keep),
            ("lstm.weight_ih_l{i}_reverse", "layers.{i}.backward.input.weight", Keep),
            ("lstm.weight_hh_l{i}_reverse", "layers.{i}.backward.recurrent.weight", Keep),
            ("lstm.bias_ih_l{i}_reverse", "layers.{i}.backward.input.bias", Keep),
            ("lstm.bias_hh_l{i}_reverse", "layers.{i}.backward.recurrent.bias", Keep),
            ("classifier.weight", "head.out.weight", Keep),
            ("classifier.bias", "head.out.bias", Keep),
            ("lm_dense.weight", "head.mlm.dense.weight", Keep),
            ("lm_dense.bias", "head.mlm.dense.bias", Keep),
            ("lm_bias", "head.mlm.bias", Keep),
        ],
        unused: &[("head.**", "a head of another task, not used by this one")],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(declare(store, Config(config))?)),
};

fn declare(store: &mut ParamStore, config: Config) -> Result<Recurrent, Error> {
    let (embedding, cell) = (config.size("embedding_size")?, config.size("hidden_size")?);
    let layers = config.size_or("num_hidden_layers", 1)?.max(1);
    let dropout = config.probability_or("dropout", 0.5)?;
    let size = Size {
        layers,
        hidden: 2 * cell,
        heads: 0,
        ffn: cell,
        vocab: config.size("vocab_size")?,
        max_tokens: NO_LIMIT,
        types: 0,
        std: config.number_or("initializer_range", 0.1)? as f32,
    };
    let config = RecurrentConfig {
        widths: vec![size.hidden; layers],
        size,
        embedding,
        reads: Reads::Both,
        word_drop: 0.0,
        embedding_drop: DropStyle::Plain(dropout),
        weight_drop: 0.0,
        between: DropStyle::Plain(dropout),
        projection: false,
        output_drop: DropStyle::Nothing,
        classifier: ClassifierStyle {
            pool: config.pool_or("pooling", Pool::Max)?,
            dense: None,
            dropout,
            out: "head.out",
            bias: true,
        },
        concat: None,
        language_model: LanguageModelStyle {
            transform: Some(DenseStyle::plain("head.mlm.dense", embedding, Activation::Tanh)),
            tied: true,
            bias: Some("head.mlm.bias"),
        },
        regularisation: None,
    };
    Ok(Recurrent::declare(store, config))
}

//! Flair's language models over characters, and the strings of a text as their states: contextual string embeddings.
//!
//! Paper: Akbik, Blythe and Vollgraf 2018, "Contextual String Embeddings for Sequence Labeling", section 2,
//! <https://aclanthology.org/C18-1139>. Reference code: flair's `models/language_model.py` and `embeddings/token.py`,
//! <https://github.com/flairNLP/flair>.
//!
//! A token is a character. A backward model reads a text from its end; here the state of a character is the one behind it in
//! that order, and its head (`masked-lm`) scores the character before. [`places`] says at which characters the states of a
//! sentence's words stand; the tokenizer of a published file (`Tokenizer::from_characters` of topwork-text) says the same.

use serde_json::json;
use topwork_kernels::pool::Pool;
use topwork_nn::ParamStore;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, Family, LanguageModelStyle, NO_LIMIT, Size};
use crate::recurrent::{DropStyle, Reads, Recurrent, RecurrentConfig};

/// The entry in the list.
pub const FLAIR: Family = Family {
    name: "flair",
    summary: "Flair's language models over characters, forward and backward",
    paper: "https://aclanthology.org/C18-1139",
    model_types: &["flair"],
    architectures: &[
        ("embed", "FlairEmbeddings"),
        ("causal-lm", "FlairForwardLanguageModel"),
        ("masked-lm", "FlairBackwardLanguageModel"),
        ("classify", "FlairForSequenceClassification"),
        ("tag", "FlairForTokenClassification"),
    ],
    weights: Table {
        rules: &[
            ("encoder.weight", "embed.word.weight", Keep),
            ("rnn.weight_ih_l{i}", "layers.{i}.forward.input.weight", Keep),
            ("rnn.weight_hh_l{i}", "layers.{i}.forward.recurrent.weight", Keep),
            ("rnn.bias_ih_l{i}", "layers.{i}.forward.input.bias", Keep),
            ("rnn.bias_hh_l{i}", "layers.{i}.forward.recurrent.bias", Keep),
            ("rnn.weight_ih_l{i}", "layers.{i}.backward.input.weight", Keep),
            ("rnn.weight_hh_l{i}", "layers.{i}.backward.recurrent.weight", Keep),
            ("rnn.bias_ih_l{i}", "layers.{i}.backward.input.bias", Keep),
            ("rnn.bias_hh_l{i}", "layers.{i}.backward.recurrent.bias", Keep),
            ("proj.weight", "final.projection.weight", Keep),
            ("proj.bias", "final.projection.bias", Keep),
            ("decoder.weight", "head.lm.weight", Keep),
            ("decoder.bias", "head.lm.bias", Keep),
            ("classifier.weight", "head.out.weight", Keep),
            ("classifier.bias", "head.out.bias", Keep),
        ],
        unused: &[("head.**", "a head of another task, not used by this one")],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(declare(store, Config(config))?)),
};

fn declare(store: &mut ParamStore, config: Config) -> Result<Recurrent, Error> {
    let (cell, layers) = (config.size("hidden_size")?, config.size_or("nlayers", 1)?.max(1));
    let forward = config.flag_or("is_forward_lm", true)?;
    config.only("recurrent_type", &json!("lstm"))?;
    let out = config.size_or("nout", 0)?;
    let dropout = config.probability_or("dropout", 0.1)?;
    let size = Size {
        layers,
        hidden: if out > 0 { out } else { cell },
        heads: 0,
        ffn: cell,
        vocab: config.size("vocab_size")?,
        max_tokens: NO_LIMIT,
        types: 0,
        std: config.number_or("initializer_range", 0.1)? as f32,
    };
    let pool = if forward { Pool::Last } else { Pool::Cls };
    let config = RecurrentConfig {
        size,
        embedding: config.size_or("embedding_size", 100)?.max(1),
        widths: vec![cell; layers],
        reads: if forward { Reads::Forward } else { Reads::Backward },
        word_drop: 0.0,
        embedding_drop: DropStyle::Plain(dropout),
        weight_drop: 0.0,
        between: DropStyle::Plain(dropout),
        projection: out > 0,
        output_drop: DropStyle::Plain(dropout),
        classifier: ClassifierStyle { pool, dense: None, dropout, out: "head.out", bias: true },
        concat: None,
        language_model: LanguageModelStyle { transform: None, tied: false, bias: Some("head.lm.bias") },
        regularisation: None,
    };
    Ok(Recurrent::declare(store, config))
}

/// A sentence as language models over characters read it, and where the states of its words stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// What a forward model reads: a line feed, the words with spaces between them, a space.
    pub forward_text: String,
    /// For each word the character whose state is its: the space behind it.
    pub forward: Vec<u32>,
    /// What a backward model reads, from its end: a space, the words with spaces between them, a line feed.
    pub backward_text: String,
    /// For each word the character whose state is its: the space in front of it.
    pub backward: Vec<u32>,
}

/// Where the states of words stand. Counted in characters, which are the tokens.
pub fn places(words: &[&str]) -> Places {
    let text = words.join(" ");
    let (mut at, mut forward, mut backward) = (1, Vec::new(), Vec::new());
    for word in words {
        backward.push(at - 1);
        at += word.chars().count() as u32;
        forward.push(at);
        at += 1;
    }
    Places { forward_text: format!("\n{text} "), forward, backward_text: format!(" {text}\n"), backward }
}

#[cfg(test)]
#[path = "flair_tests.rs"]
mod tests;

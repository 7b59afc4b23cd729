//! Prompt tuning: virtual tokens in front of each text, whose embeddings alone learn.
//!
//! They are rows behind those of the table of words, looked up as words are: what a family adds to a word (positions, types, a
//! norm) it adds to them, and what pools the first token pools the first of them, as peft has it. They are not answered for: a
//! head over tokens sees the texts' own.
//!
//! Paper: Lester, Al-Rfou, Constant 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning", sections 2 and 3.2,
//! <https://arxiv.org/abs/2104.08691>. Differs from peft in what a language model learns: what the last virtual token says of the
//! first word is no part of the loss here.

use std::sync::Arc;

use burn::tensor::Tensor;
use serde_json::Value;
use topwork_kernels::rng::{Stream, derive};
use topwork_nn::{Error as NnError, Extension, Init, ParamId, ParamKind, ParamStore, Pass};

use crate::error::Error;
use crate::{AdapterEntry, Attached, Part, Settings, number};

/// The table that is extended, in every family that has one; of two sides with a table each, that of the side that reads.
const TABLES: [&str; 2] = ["embed.source.weight", "embed.word.weight"];

/// Path of the virtual tokens.
const PATH: &str = "embed.prompt";

/// What peft calls them.
pub(crate) const TENSOR: &str = "prompt_embeddings";

/// The most of them.
const MOST: f64 = 1e5;

/// The entry in the list.
pub(crate) const ENTRY: AdapterEntry = AdapterEntry {
    name: "prompt",
    summary: "virtual tokens in front of each text, whose embeddings alone learn",
    paper: "https://arxiv.org/abs/2104.08691",
    merges: false,
    options: &[
        ("tokens", "how many virtual tokens (default 20)"),
        ("start", "what they begin as: words, of the model's table, or normal, drawn anew (default words)"),
    ],
    attach: |options, store, seed, _| attach(options, store, seed),
};

/// Numbers of a prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PromptSettings {
    /// Virtual tokens in front of each text.
    pub tokens: usize,
}

/// How many virtual tokens the options ask for.
pub(crate) fn virtual_tokens(adapter: &'static str, options: &Value) -> Result<usize, Error> {
    let tokens = number(adapter, options, "tokens", 20.0)?;
    if tokens < 1.0 || tokens.fract() != 0.0 || tokens > MOST {
        let (expected, got) = ("a whole number of at least 1", tokens.to_string());
        return Err(Error::Option { adapter, key: "tokens", expected, got });
    }
    Ok(tokens as usize)
}

fn attach(options: &Value, store: &mut ParamStore, seed: u64) -> Result<Attached, Error> {
    let wrong = |key, expected, got| Error::Option { adapter: "prompt", key, expected, got };
    let tokens = virtual_tokens("prompt", options)?;
    let words = match options.get("start").map(|start| start.as_str()) {
        None | Some(Some("words")) => true,
        Some(Some("normal")) => false,
        Some(_) => return Err(wrong("start", "words or normal", options["start"].to_string())),
    };
    let table = TABLES.iter().find_map(|path| store.id(path).ok());
    let table = table.filter(|&id| store.param(id).extension().is_none());
    let table = table.ok_or(Error::NoTable { adapter: "prompt" })?;
    let weight = store.param(table).path.clone();
    let [rows, width] = [store.param(table).shape[0], store.param(table).shape[1]];
    let group = store.param(table).group;
    // As wide as PyTorch draws embeddings.
    let init = Init::Normal(1.0);
    let id = store.declare_attachment(PATH, &[tokens, width], group, ParamKind::Weight, init);
    if words {
        let (all, mut stream) = (store.values(table)?, Stream(derive(seed, PATH)));
        let mut values = Vec::with_capacity(tokens * width);
        for _ in 0..tokens {
            let row = stream.below(rows as u64) as usize;
            values.extend_from_slice(&all[row * width..(row + 1) * width]);
        }
        store.set(id, values)?;
    } else {
        store.initialise(id, seed)?;
    }
    store.extend(table, Arc::new(Prompt { id, tokens }));
    let part = Part { weight, params: vec![(TENSOR, id)], scales_input: false };
    Ok(Attached {
        kind: "prompt",
        parts: vec![part],
        settings: Settings::Prompt(PromptSettings { tokens }),
        members: Vec::new(),
    })
}

#[derive(Debug)]
struct Prompt {
    /// `[tokens, width]`
    id: ParamId,
    tokens: usize,
}

impl Extension for Prompt {
    fn rows(&self) -> usize {
        self.tokens
    }

    fn matrix(&self, pass: &Pass) -> Result<Tensor<2>, NnError> {
        pass.matrix(self.id)
    }
}

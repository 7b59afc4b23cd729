//! Names of PyTorch as transformers' TensorFlow classes call the same weights: what [`super::keras`] reads, backwards.
//!
//! Reference: the variables that the classes of transformers 4.30.2 make; `fixtures/check_tensorflow.py` compares them.

use std::collections::HashSet;

use super::Change;
use super::export::{Place, parts};
use crate::hdf5::KerasLayer;

/// Tables of rows whose variable is called `embeddings`, as in Keras's own layer.
const EMBEDDINGS: &[&str] = &[
    "embed_positions",
    "emb_layers",
    "position_embeddings",
    "positions_embed",
    "relative_attention_bias",
    "shared",
    "token_type_embeddings",
    "wpe",
    "wte",
];

/// Tables of rows whose variable is called `weight`.
const WEIGHTS: &[&str] = &["tokens_embed", "word_embedding", "word_embeddings"];

/// The stems whose weight has one axis: norms, whose weight and bias have names of their own.
pub(super) fn norms<'a>(tensors: impl Iterator<Item = (&'a str, &'a [usize])>) -> HashSet<String> {
    let norm = |(name, shape): (&str, &[usize])| {
        name.strip_suffix(".weight").filter(|_| shape.len() == 1).map(str::to_string)
    };
    tensors.filter_map(norm).collect()
}

/// A name without what it is of the layer.
pub(super) fn stem(name: &str) -> Option<&str> {
    [".weight", ".bias"].into_iter().find_map(|end| name.strip_suffix(end))
}

/// Heads that predict words by the table of words, and so have it among their own weights, with all that lies in its layer.
const HEADS_OF_WORDS: &[&str] =
    &["generator_lm_head", "lm_head", "mlm___cls", "predictions", "vocab_projector"];

/// Says of each layer which weights of others it uses too: the classes look for them there, and warn where they find none.
pub(super) fn share(model_type: &str, layers: &mut [KerasLayer]) {
    let all: Vec<(String, String)> = layers
        .iter()
        .flat_map(|layer| layer.weights.iter().map(|weight| (layer.name.clone(), weight.name.clone())))
        .collect();
    let t5 = ["t5", "mt5"].contains(&model_type);
    for layer in layers {
        for (other, name) in all.iter().filter(|(other, _)| *other != layer.name) {
            let here = match layer.name.as_str() {
                "encoder" | "decoder" if t5 && other == "shared" => name.clone(),
                head if !t5
                    && HEADS_OF_WORDS.contains(&head)
                    && name.split('/').nth(2) == Some("embeddings") =>
                {
                    name.clone()
                }
                // Transformer-XL's class ties nothing: what is one parameter in PyTorch is written twice.
                "crit" => name
                    .replace("/transformer/word_emb/emb_layers_._", "/crit/out_layers_._")
                    .replace("/embeddings:0", "_._weight:0")
                    .replace("/transformer/word_emb/emb_projs_._", "/crit/out_projs_._"),
                _ => continue,
            };
            let known = layer.weights.iter().any(|weight| weight.name == here);
            if !known && (layer.name != "crit" || here.contains("/crit/out_")) {
                layer.also.push((here, format!("{other}/{name}")));
            }
        }
        // The bias of ALBERT's words has two names.
        let bias = format!("tf_{model_type}_model/predictions/bias:0");
        if model_type == "albert" && layer.weights.iter().any(|weight| weight.name == bias) {
            let again = bias.replace("predictions/bias", "predictions/decoder/bias");
            layer.also.push((again, format!("{}/{bias}", layer.name)));
        }
    }
}

/// The Keras layer that a tensor belongs to, and its place below it; `norm` says whether it is of a norm.
pub(super) fn place(model_type: &str, name: &str, shape: &[usize], norm: bool) -> (String, Place) {
    let bart = ["bart", "mbart", "marian"].contains(&model_type);
    let t5 = ["t5", "mt5"].contains(&model_type);
    let mut parts = parts(name, if bart { "." } else { "_._" });
    let last = parts.pop().unwrap_or_default();
    if model_type == "deberta-v2" {
        // So called in TensorFlow. They cannot be told from the first DeBERTa's when they are read, and are refused for that.
        for part in &mut parts {
            *part = part.replace("pos_key_proj", "pos_proj").replace("pos_query_proj", "pos_q_proj");
        }
    }
    let before = parts.last().cloned().unwrap_or_default();
    let list = |part: &str| part.split("_._").next().unwrap_or_default().to_string();
    let is = |names: &[&str]| names.contains(&list(&before).as_str());
    // GPT's maps are convolutions of width 1.
    let convolution =
        ["gpt2", "openai-gpt"].contains(&model_type) && is(&["c_attn", "c_proj", "c_fc"]) && !norm;
    let (end, change) = match last.as_str() {
        "weight" if norm && t5 => ("weight", Change::Keep),
        "weight" if norm => ("gamma", Change::Keep),
        "bias" if norm => ("beta", Change::Keep),
        "bias" if convolution => ("bias", Change::Shape([&[1], shape].concat())),
        "weight" if convolution || is(WEIGHTS) || is(&["out_layers", "rel_embeddings"]) => {
            ("weight", Change::Keep)
        }
        "weight" if is(EMBEDDINGS) => ("embeddings", Change::Keep),
        "weight" if shape.len() == 4 => ("kernel", Change::Turn(vec![2, 3, 1, 0])),
        "weight" => ("kernel", Change::reverse(shape)),
        other if ["emb_projs", "out_projs"].contains(&list(other).as_str()) => {
            (other, Change::reverse(shape))
        }
        other => (other, Change::Keep),
    };
    // Variables without a layer of their own carry the list, or what they belong to, in their name.
    match (parts.last_mut(), before.as_str()) {
        (Some(own), _) if list(own) == "out_layers" => own.push_str(&format!("_._{end}")),
        (Some(own), "rel_embeddings") => own.push_str(&format!(".{end}")),
        _ => parts.push(end.to_string()),
    }
    let mut layer = parts.first().cloned().unwrap_or_default();
    if model_type == "bert" && layer == "cls" {
        let of_words = parts.get(1).is_some_and(|part| part == "predictions");
        layer = if of_words { "mlm___cls" } else { "nsp___cls" }.to_string();
        parts[0] = layer.clone();
    }
    // The table that both sides share is called by its place and lies in no layer but the model.
    if bart && parts.get(1).is_some_and(|part| part == "shared") {
        let shared = parts.remove(1);
        parts[0] = format!("{layer}.{shared}");
    }
    // A variable of the model itself stands without its name.
    let model =
        if parts.len() == 1 { String::new() } else { format!("tf_{}_model/", model_type.replace('-', "_")) };
    (layer, Place::new(format!("{model}{}:0", parts.join("/")), change))
}

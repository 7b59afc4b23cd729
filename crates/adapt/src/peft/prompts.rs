//! What peft saves of prompts: one tensor beside what was trained whole, whose names have one part less in front.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use topwork_nn::ParamStore;
use topwork_weights::{Checkpoint, Named, safetensors};

use super::{CONFIG_FILE, Opened, WEIGHTS_FILE};
use crate::error::Error;
use crate::prompt::TENSOR;
use crate::{Attached, PrefixSettings, Settings, attach, prefix};

/// What the names of tensors that were trained whole begin with.
const PREFIX: &str = "base_model.";

/// What peft's settings say of the model and of its task.
#[derive(Clone, Debug)]
pub struct About<'a> {
    /// What the model is called.
    pub base: &'a str,
    /// The head, as it is called here.
    pub head: &'a str,
    /// Its layers.
    pub layers: usize,
    /// Its attention heads, of a prefix those of keys.
    pub heads: usize,
}

/// What peft calls the task of a head; it attaches prompts by that.
fn task(head: &str) -> &'static str {
    match head {
        "classify" | "regress" => "SEQ_CLS",
        "tag" => "TOKEN_CLS",
        "causal-lm" | "double-heads" => "CAUSAL_LM",
        "span" => "QUESTION_ANS",
        _ => "FEATURE_EXTRACTION",
    }
}

/// The files of a prompt: name and content; `whole` as for [`super::files`].
///
/// # Errors
/// A parameter without values.
pub fn prompt_files(
    attached: &Attached,
    store: &ParamStore,
    about: &About,
    whole: Vec<Named>,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut tensors = Vec::new();
    let [mut tokens, mut width] = [0, 0];
    let prefix = if let Settings::Prefix(settings) = attached.settings { Some(settings) } else { None };
    if let Some(PrefixSettings { tokens: rows, layers, width: own }) = prefix {
        // Whatever makes it: peft keeps what was made.
        [tokens, width] = [rows, own];
        let (shape, data) = (vec![rows, 2 * layers * own], prefix::values(attached, store)?.into());
        tensors.push(Named { name: TENSOR.to_string(), shape, data });
    } else {
        for &(name, id) in attached.parts.iter().flat_map(|part| &part.params) {
            let shape = store.param(id).shape.clone();
            [tokens, width] = [shape[0], shape[1]];
            tensors.push(Named { name: name.to_string(), shape, data: store.values(id)?.into() });
        }
    }
    let saved: BTreeSet<String> =
        whole.iter().filter_map(|tensor| Some(tensor.name.rsplit_once('.')?.0.to_string())).collect();
    let named = |tensor: Named<'_>| Named {
        name: format!("{PREFIX}{}", tensor.name),
        shape: tensor.shape,
        data: tensor.data.into_owned().into(),
    };
    let whole: Vec<Named<'static>> = whole.into_iter().map(named).collect();
    tensors.extend(whole);
    let mut config = json!({
        "base_model_name_or_path": about.base,
        "inference_mode": true,
        "peft_type": if prefix.is_some() { "PREFIX_TUNING" } else { "PROMPT_TUNING" },
        "task_type": task(about.head),
        "num_virtual_tokens": tokens,
        "token_dim": width,
        "num_layers": about.layers,
        "num_attention_heads": about.heads,
        "num_transformer_submodules": 1,
        "modules_to_save": if saved.is_empty() { Value::Null } else { json!(saved) },
    });
    match prefix {
        None => config["prompt_tuning_init"] = json!("RANDOM"),
        Some(_) => {
            config["prefix_projection"] = json!(false);
            config["encoder_hidden_size"] = json!(width);
        }
    }
    let config = serde_json::to_vec_pretty(&config).unwrap_or_default();
    Ok(vec![(CONFIG_FILE.to_string(), config), (WEIGHTS_FILE.to_string(), safetensors::to_bytes(&tensors)?)])
}

/// Attaches a prompt; `folder` and `path` are those of its files.
pub(super) fn open(
    kind: &str,
    config: &Value,
    (path, file): (&Path, &Checkpoint),
    store: &mut ParamStore,
) -> Result<Opened, Error> {
    let wrong = |reason: String| Error::File { path: path.to_path_buf(), reason };
    let both = config.get("num_transformer_submodules").and_then(Value::as_u64).unwrap_or(1);
    if both != 1 {
        return Err(wrong(format!(
            "num_transformer_submodules = {both}: virtual tokens of both sides of a model that writes are not known here"
        )));
    }
    let shape = file.shape(TENSOR).unwrap_or_default().to_vec();
    let [tokens, _] = shape[..] else {
        return Err(wrong(format!("{TENSOR}: expected a matrix, got the shape {shape:?}")));
    };
    let mut options = json!({ "tokens": tokens });
    if kind == "prompt" {
        options["start"] = json!("normal");
    }
    let attached = attach(kind, &options, store, 0)?;
    let (_, id) = attached.parts[0].params[0];
    let (expected, got) = (store.param(id).shape[1], shape[1]);
    if got != expected {
        return Err(wrong(format!("{TENSOR}: expected rows of {expected}, got {got}")));
    }
    store.set(id, file.read(TENSOR)?)?;
    let mut whole = Vec::new();
    for name in file.names().filter(|name| *name != TENSOR) {
        let own = name.strip_prefix(PREFIX).ok_or_else(|| wrong(format!("{name}: no tensor of a prompt")))?;
        let shape = file.shape(name).unwrap_or_default().to_vec();
        whole.push(Named { name: own.to_string(), shape, data: file.read(name)?.into() });
    }
    Ok(Opened { attached, whole })
}

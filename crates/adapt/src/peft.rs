//! The files of HuggingFace peft: a folder with `adapter_config.json` and `adapter_model.safetensors`.
//!
//! Tensors are called `base_model.model.MODULE.lora_A.weight` there, after the modules of the model they are attached to; what
//! was trained whole beside them (a head) stands under its own name, and its module in `modules_to_save`.

mod prompts;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use topwork_nn::ParamStore;
use topwork_weights::{Checkpoint, Named, safetensors};

use crate::error::Error;
pub use prompts::{About, prompt_files};

use crate::{Attached, LowRankSettings, Part, Settings, attach};

/// Name of the file of settings.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// Name of the file of tensors.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";
/// What all names of tensors begin with.
const PREFIX: &str = "base_model.model.";
/// Settings that change what an adapter computes, with the value under which they do not.
const NEUTRAL: &[(&str, &[&str])] = &[
    ("bias", &["\"none\""]),
    ("lora_bias", &["false"]),
    ("rank_pattern", &["{}"]),
    ("alpha_pattern", &["{}"]),
    ("layer_replication", &[]),
    ("megatron_config", &[]),
    ("trainable_token_indices", &[]),
    ("target_parameters", &[]),
    ("alora_invocation_tokens", &[]),
    ("arrow_config", &[]),
    ("kasa_config", &[]),
    ("monteclora_config", &[]),
    ("use_bdlora", &["false"]),
    ("use_qalora", &["false"]),
    ("velora_config", &[]),
];

/// Name of the file of tensors where they were not saved as safetensors.
const PICKLED_FILE: &str = "adapter_model.bin";

/// How a weight is called upstream: the tensor of the same matrix; `None` if there is none of its own.
pub type Upstream<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// How a matrix is called upstream, and whether it lies there turned (GPT-2's maps); `None` if there is none of its own, or it lies
/// there otherwise.
pub type UpstreamMatrix<'a> = dyn Fn(&str) -> Option<(String, bool)> + 'a;

/// The module of a weight: its name without `weight`; and whether its matrix lies there turned, which two thin matrices, that are
/// kept as those of any map, do not mind.
fn module(upstream: &UpstreamMatrix, weight: &str, thin: bool) -> Option<(String, bool)> {
    let (name, turned) = upstream(weight)?;
    let module = name.strip_suffix(".weight").filter(|_| thin || !turned)?;
    Some((module.to_string(), turned))
}

/// The files of an adapter: name and content.
///
/// `base` is what peft is told the adapted model is; `whole` are the tensors that were trained whole beside the adapter, as
/// upstream names them.
///
/// # Errors
/// [`Error::NotUpstream`] for a weight that upstream has no matrix of its own for; a parameter without values.
pub fn files(
    attached: &Attached,
    store: &ParamStore,
    base: &str,
    upstream: &UpstreamMatrix,
    whole: Vec<Named>,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let thin = matches!(attached.settings, Settings::LowRank(_));
    let named = |part: &Part| {
        module(upstream, &part.weight, thin).ok_or_else(|| Error::NotUpstream { path: part.weight.clone() })
    };
    let mut any_turned = false;
    let mut tensors = Vec::new();
    let (mut modules, mut inputs) = (Vec::new(), Vec::new());
    for part in &attached.parts {
        let (module, turned) = named(part)?;
        any_turned |= turned;
        for &(name, id) in &part.params {
            let mut shape = store.param(id).shape.clone();
            if name == "ia3_l" {
                // A column or a row there, after what it scales.
                shape = if part.scales_input { vec![1, shape[0]] } else { vec![shape[0], 1] };
            }
            let data = store.values(id)?.into();
            tensors.push(Named { name: format!("{PREFIX}{module}.{name}"), shape, data });
        }
        if part.scales_input {
            inputs.push(module.clone());
        }
        modules.push(module);
    }
    let saved: BTreeSet<String> =
        whole.iter().filter_map(|tensor| Some(tensor.name.rsplit_once('.')?.0.to_string())).collect();
    tensors
        .extend(whole.into_iter().map(|tensor| Named { name: format!("{PREFIX}{}", tensor.name), ..tensor }));
    let (kind, more) = match attached.settings {
        Settings::LowRank(LowRankSettings { rank, alpha, by_root }) => {
            let more = json!({
                "r": rank, "lora_alpha": alpha, "lora_dropout": 0.0, "bias": "none", "init_lora_weights": true,
                "use_rslora": by_root, "use_dora": attached.kind == "dora", "rank_pattern": {}, "alpha_pattern": {},
            });
            ("LORA", more)
        }
        Settings::None => ("IA3", json!({"feedforward_modules": inputs, "init_ia3_weights": true})),
        Settings::Bottleneck(_)
        | Settings::Compacter(_)
        | Settings::Fusion(_)
        | Settings::Prompt(_)
        | Settings::Prefix(_) => {
            return Err(Error::NotPeft { kind: attached.kind });
        }
    };
    let mut config = json!({
        "base_model_name_or_path": base,
        "inference_mode": true,
        "task_type": null,
        "peft_type": kind,
        "target_modules": modules,
        "modules_to_save": if saved.is_empty() { Value::Null } else { json!(saved) },
        "fan_in_fan_out": any_turned,
    });
    if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
        config.extend(more);
    }
    let config = serde_json::to_vec_pretty(&config).unwrap_or_default();
    let weights = safetensors::to_bytes(&tensors)?;
    Ok(vec![(CONFIG_FILE.to_string(), config), (WEIGHTS_FILE.to_string(), weights)])
}

/// An adapter as it was read: attached, and what was trained whole beside it.
#[derive(Debug)]
pub struct Opened {
    /// The adapter, with its values.
    pub attached: Attached,
    /// Upstream name, shape and values of what was trained whole beside it.
    pub whole: Vec<Named<'static>>,
}

/// Attaches an adapter that peft has written to a model whose parameters have their values.
///
/// # Errors
/// [`Error::File`]: files that are missing or broken, a kind or a setting that is not known here, a tensor that fits nothing in
/// the model.
pub fn open(folder: &Path, store: &mut ParamStore, upstream: &UpstreamMatrix) -> Result<Opened, Error> {
    let path = folder.join(CONFIG_FILE);
    let wrong = |reason: String| Error::File { path: path.clone(), reason };
    let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    let config: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let (kind, mut options) = kind_and_options(&config).map_err(wrong)?;

    let named = [WEIGHTS_FILE, PICKLED_FILE].map(|name| folder.join(name));
    let path = named.iter().find(|path| path.is_file()).unwrap_or(&named[0]);
    let wrong = |reason: String| Error::File { path: path.clone(), reason };
    let file = Checkpoint::open(path)?;
    if ["prompt", "prefix"].contains(&kind) {
        return prompts::open(kind, &config, (path, &file), store);
    }
    let thin = kind != "ia3";
    let mark = if kind == "ia3" { "ia3_l" } else { "lora_A.weight" };
    let candidates =
        store.iter().map(|(_, param)| param.path.as_str()).filter(|path| path.ends_with(".weight"));
    let (mut targets, mut inputs) = (Vec::new(), Vec::new());
    for path in candidates {
        let Some((module, _)) = module(upstream, path, thin) else { continue };
        if let Some(shape) = file.shape(&format!("{PREFIX}{module}.{mark}")) {
            let name = path.trim_end_matches(".weight");
            targets.push(name.to_string());
            if shape.first() == Some(&1) {
                inputs.push(name.to_string());
            }
        }
    }
    if targets.is_empty() {
        return Err(wrong(format!("no {PREFIX}MODULE.{mark} is of a module that this model has")));
    }
    if let Some(options) = options.as_object_mut() {
        options.insert("targets".to_string(), json!(targets));
        if kind == "ia3" {
            // One that nothing is called, where none scales what goes in.
            let none = || vec!["-".to_string()];
            options.insert("inputs".to_string(), json!(if inputs.is_empty() { none() } else { inputs }));
        }
    }
    let attached = attach(kind, &options, store, 0)?;
    let mut used = BTreeSet::new();
    for part in &attached.parts {
        let Some((module, _)) = module(upstream, &part.weight, thin) else { continue };
        for &(name, id) in &part.params {
            let tensor = format!("{PREFIX}{module}.{name}");
            let expected = store.param(id).len();
            let values = file.read(&tensor)?;
            if values.len() != expected {
                let got = file.shape(&tensor).unwrap_or_default();
                return Err(wrong(format!("{tensor}: expected {expected} values, got the shape {got:?}")));
            }
            store.set(id, values)?;
            used.insert(tensor);
        }
    }
    let mut whole = Vec::new();
    for name in file.names().filter(|name| !used.contains(*name)) {
        let own = name.strip_prefix(PREFIX).filter(|own| !own.contains(".lora_") && !own.ends_with(".ia3_l"));
        let Some(own) = own else {
            return Err(wrong(format!("{name}: this model has nothing that it fits")));
        };
        let shape = file.shape(name).unwrap_or_default().to_vec();
        whole.push(Named { name: own.to_string(), shape, data: file.read(name)?.into() });
    }
    Ok(Opened { attached, whole })
}

/// The kind of adapter that peft's settings are of, and its options here.
fn kind_and_options(config: &Value) -> Result<(&'static str, Value), String> {
    let flag = |key: &str| config.get(key).and_then(Value::as_bool) == Some(true);
    for (key, neutral) in NEUTRAL {
        let value = config.get(*key).unwrap_or(&Value::Null);
        if !value.is_null() && !neutral.contains(&value.to_string().as_str()) {
            return Err(format!(
                "{key} = {value}: it changes what the adapter computes, and is not known here"
            ));
        }
    }
    match config.get("peft_type").and_then(Value::as_str) {
        Some("LORA") => {
            let number = |key: &str| config.get(key).and_then(Value::as_f64);
            let (Some(rank), Some(alpha)) = (number("r"), number("lora_alpha")) else {
                return Err("r and lora_alpha: expected two numbers".to_string());
            };
            // Those that are called after a method begin with another weight than the model's.
            if let Some(name) = config.get("init_lora_weights").and_then(Value::as_str)
                && !["gaussian", "orthogonal", "eva"].contains(&name)
            {
                return Err(format!(
                    "init_lora_weights = {name:?}: it changes the weights of the model itself"
                ));
            }
            let kind = if flag("use_dora") { "dora" } else { "lora" };
            Ok((kind, json!({"rank": rank, "alpha": alpha, "by-root": flag("use_rslora")})))
        }
        Some("IA3") => Ok(("ia3", json!({}))),
        Some("PROMPT_TUNING") => Ok(("prompt", json!({}))),
        Some("PREFIX_TUNING") => Ok(("prefix", json!({}))),
        other => {
            let other = other.unwrap_or("none");
            Err(format!(
                "peft_type {other}: there are LORA (with use_dora, too), IA3, PROMPT_TUNING and PREFIX_TUNING here"
            ))
        }
    }
}

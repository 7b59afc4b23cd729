//! The files of AdapterHub's package `adapters`: a folder with `adapter_config.json` and `adapter.safetensors`.
//!
//! Tensors are called `PLACE.adapters.NAME.adapter_down.0.weight` there, after the module that a bottleneck adapter stands in.
//! Where it stands follows from how upstream calls the last map of the block; models that the package does not know keep
//! their own paths in its place. Deliberately not read: parts that are not known here (gates, norms of its own, hypercomplex
//! maps, invertible adapters), which are refused by name.
//!
//! Reference: <https://github.com/adapter-hub/adapters>, `loading.py` and `configuration/adapter_config.py` of version 1.3.0.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use topwork_nn::ParamStore;
use topwork_weights::{Checkpoint, Named, safetensors};

use crate::bottleneck::{HOULSBY, PARALLEL, PFEIFFER};
use crate::error::Error;
use crate::peft::Upstream;
use crate::{Attached, Settings, attach};

/// Name of the file of settings.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// Name of the file of tensors.
pub const WEIGHTS_FILE: &str = "adapter.safetensors";
/// Name of the file that says how to open it.
const README_FILE: &str = "README.md";
/// Name of the file of tensors where they were not saved as safetensors.
const PICKLED_FILE: &str = "pytorch_adapter.bin";
/// What our adapters are called in their files.
const NAME: &str = "topwork";

/// How upstream calls the last map of a block, and the module within its layer in which the adapter then stands. The first that
/// fits counts.
const PLACES: &[(&str, &str)] = &[
    ("output.dense", "output.adapters"),
    ("attention.dense", "attention.attention_adapters.adapters"),
    ("ffn_output", "output_adapters.adapters"),
    ("attention.out_lin", "attention_adapters.adapters"),
    ("ffn.lin2", "output_adapters.adapters"),
    ("attn.c_proj", "attention_adapters.adapters"),
    ("mlp.c_proj", "output_adapters.adapters"),
    ("self_attn.out_proj", "attention_adapters.adapters"),
    ("fc2", "output_adapters.adapters"),
    ("self_attn.o_proj", "attention_adapters.adapters"),
    ("mlp.down_proj", "output_adapters.adapters"),
    ("SelfAttention.o", "adapters"),
    ("DenseReluDense.wo", "adapters"),
];

/// Settings that change what a bottleneck adapter computes, with the value under which they do not.
const NEUTRAL: &[(&str, &str)] = &[
    ("original_ln_after", "true"),
    ("residual_before_ln", "true"),
    ("ln_before", "false"),
    ("ln_after", "false"),
    ("use_gating", "false"),
    ("phm_layer", "false"),
    ("inv_adapter", "null"),
    ("dropout", "0.0"),
    ("stochastic_depth", "0.0"),
];

/// Where the adapter of a block stands, by the path of the block's last weight.
fn place(upstream: &Upstream, weight: &str) -> String {
    let own = format!("{}.adapters", weight.trim_end_matches(".weight"));
    let Some(module) = upstream(weight).and_then(|name| Some(name.strip_suffix(".weight")?.to_string()))
    else {
        return own;
    };
    let found = PLACES.iter().find_map(|(map, place)| {
        let layer = module.strip_suffix(map)?;
        layer.ends_with('.').then(|| format!("{layer}{place}"))
    });
    found.unwrap_or(own)
}

/// The files of a bottleneck adapter: name and content. `config` is the `config.json` of the model, `base` what it is called.
///
/// # Errors
/// A parameter without values.
pub fn files(
    attached: &Attached,
    store: &ParamStore,
    (config, base): (&Value, &str),
    upstream: &Upstream,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let Settings::Bottleneck(settings) = attached.settings else { return Ok(Vec::new()) };
    let mut tensors = Vec::new();
    let (mut layers, mut all) = (BTreeSet::new(), BTreeSet::new());
    let has = |block: &str| attached.parts.iter().any(|part| part.weight.ends_with(block));
    let (attention, output) = (has("attn.out.weight"), has("ffn.down.weight"));
    for (_, param) in store.iter().filter(|(_, param)| param.path.ends_with("ffn.down.weight")) {
        all.insert(param.group - 1);
    }
    let mut width = 0;
    for part in &attached.parts {
        let place = place(upstream, &part.weight);
        for &(name, id) in &part.params {
            let param = store.param(id);
            layers.insert(param.group - 1);
            if name == "adapter_up.weight" {
                width = param.shape[0];
            }
            let (shape, data) = (param.shape.clone(), store.values(id)?.into());
            tensors.push(Named { name: format!("{place}.{NAME}.{name}"), shape, data });
        }
    }
    let beside = attached.kind == PARALLEL.name;
    let inside = json!({
        "mh_adapter": attention, "output_adapter": output, "cross_adapter": false,
        "reduction_factor": settings.reduction, "non_linearity": hub_name(settings.activation.name()),
        "original_ln_before": attached.kind == PFEIFFER.name, "original_ln_after": true,
        "ln_before": false, "ln_after": false, "residual_before_ln": true, "adapter_residual_before_ln": false,
        "init_weights": if beside { "mam_adapter" } else { "bert" }, "init_weights_seed": null,
        "is_parallel": beside, "scaling": settings.scale, "use_gating": false, "dropout": 0.0,
        "inv_adapter": null, "inv_adapter_reduction_factor": null, "phm_layer": false, "stochastic_depth": 0.0,
        "leave_out": all.difference(&layers).collect::<Vec<_>>(),
    });
    let class = config["architectures"].get(0).cloned().unwrap_or(Value::Null);
    let whole = json!({
        "config": inside, "hidden_size": width, "model_class": class, "model_name": base,
        "model_type": config["model_type"], "name": NAME, "version": "adapters.1.3.0",
    });
    let whole = serde_json::to_vec_pretty(&whole).unwrap_or_default();
    Ok(vec![
        (README_FILE.to_string(), readme(attached.kind, config).into_bytes()),
        (CONFIG_FILE.to_string(), whole),
        (WEIGHTS_FILE.to_string(), safetensors::to_bytes(&tensors)?),
    ])
}

/// What whoever opens the folder must know.
fn readme(kind: &str, config: &Value) -> String {
    let class = config["architectures"].get(0).and_then(Value::as_str).unwrap_or("AutoModel");
    format!(
        "# A {kind} adapter\n\n\
         This adapter changes what the blocks of its model compute. No weights can take it up, so the model in `../base` alone \
         gives other answers than the model that was trained: HuggingFace transformers opens that half only.\n\n\
         topwork opens both by the folder above this one. So does the package `adapters` of AdapterHub, where it knows the \
         architecture:\n\n\
         ```python\n\
         import adapters\n\
         from transformers import {class}\n\n\
         model = {class}.from_pretrained(\"FOLDER/base\")\n\
         adapters.init(model)\n\
         model.set_active_adapters(model.load_adapter(\"FOLDER/adapter\", use_safetensors=True))\n\
         ```\n"
    )
}

/// What the package calls an activation.
fn hub_name(activation: &str) -> &str {
    if activation == "silu" { "swish" } else { activation }
}

/// Attaches a bottleneck adapter that the package, or [`files`], has written to a model whose parameters have their values.
///
/// # Errors
/// [`Error::File`]: files that are missing or broken, a setting that is not known here, a tensor that fits nothing in the model.
pub fn open(folder: &Path, store: &mut ParamStore, upstream: &Upstream) -> Result<Attached, Error> {
    let path = folder.join(CONFIG_FILE);
    let wrong = |reason: String| Error::File { path: path.clone(), reason };
    let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    let config: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let (kind, mut options) = kind_and_options(&config["config"]).map_err(wrong)?;

    let named = [WEIGHTS_FILE, PICKLED_FILE].map(|name| folder.join(name));
    let path = named.iter().find(|path| path.is_file()).unwrap_or(&named[0]);
    let wrong = |reason: String| Error::File { path: path.clone(), reason };
    let file = Checkpoint::open(path)?;
    // By what stands around the adapter's own name: the module it stands in, and the parameter.
    let mut tensors = BTreeMap::new();
    for name in file.names() {
        let parts = name.split_once(".adapters.").and_then(|(module, rest)| {
            let (_, param) = rest.split_once('.')?;
            Some((format!("{module}.adapters"), param))
        });
        let Some((place, param)) = parts else {
            return Err(wrong(format!("{name}: no tensor of a bottleneck adapter")));
        };
        tensors.insert((place, param.to_string()), name.to_string());
    }
    let size = file.names().find(|name| name.ends_with("adapter_down.0.weight"));
    match (&config["config"]["reduction_factor"], size.and_then(|name| file.shape(name))) {
        (Value::Number(reduction), _) => options["reduction"] = json!(reduction),
        (_, Some(&[size, _])) => options["size"] = json!(size),
        _ => {}
    }
    // Layers that have none in the file are left out here, whatever the settings say.
    let blocks: Vec<(String, usize)> = store
        .iter()
        .filter(|(_, param)| param.path.ends_with(".ffn.down.weight") && !param.is_attachment())
        .map(|(_, param)| (param.path.clone(), param.group))
        .collect();
    let find = |weight: &str, param: &str| {
        let place = place(upstream, weight);
        tensors.iter().find_map(|((stands, name), tensor)| {
            let same = *stands == place
                || stands.strip_suffix(&place).is_some_and(|before| before.ends_with('.'))
                || place.strip_suffix(stands).is_some_and(|before| before.ends_with('.'));
            (same && name == param).then(|| tensor.clone())
        })
    };
    let without = |weight: &str| find(weight, "adapter_down.0.weight").is_none();
    let left: BTreeSet<usize> =
        blocks.iter().filter(|(weight, _)| without(weight)).map(|(_, group)| group - 1).collect();
    options["leave-out"] = json!(left);
    let attached = attach(kind, &options, store, 0)?;
    let mut used = BTreeSet::new();
    for part in &attached.parts {
        for &(name, id) in &part.params {
            let Some(tensor) = find(&part.weight, name) else {
                return Err(wrong(format!("there is no {name} for {}", part.weight)));
            };
            let expected = store.param(id).shape.as_slice();
            if file.shape(&tensor) != Some(expected) {
                let got = file.shape(&tensor).unwrap_or_default();
                return Err(wrong(format!("{tensor}: expected the shape {expected:?}, got {got:?}")));
            }
            store.set(id, file.read(&tensor)?)?;
            used.insert(tensor);
        }
    }
    match file.names().find(|name| !used.contains(*name)) {
        Some(name) => Err(wrong(format!("{name}: this model has nothing that it fits"))),
        None => Ok(attached),
    }
}

/// The kind of adapter that the package's settings are of, and its options here.
fn kind_and_options(config: &Value) -> Result<(&'static str, Value), String> {
    if let Some(other) = config.get("architecture").and_then(Value::as_str) {
        return Err(format!("architecture {other}: of this package there are bottleneck adapters here"));
    }
    for (key, neutral) in NEUTRAL {
        let same = |value: &Value| {
            serde_json::from_str::<Value>(neutral).is_ok_and(|neutral| {
                *value == neutral || value.is_number() && value.as_f64() == neutral.as_f64()
            })
        };
        if let Some(value) = config.get(*key).filter(|value| !same(value)) {
            return Err(format!(
                "{key} = {value}: it changes what the adapter computes, and is not known here"
            ));
        }
    }
    let flag = |key: &str| config.get(key).and_then(Value::as_bool) == Some(true);
    let kind = match (flag("is_parallel"), flag("original_ln_before")) {
        (true, _) => PARALLEL.name,
        (false, true) => PFEIFFER.name,
        (false, false) => HOULSBY.name,
    };
    if flag("cross_adapter") || !flag("output_adapter") || flag("mh_adapter") != (kind == HOULSBY.name) {
        return Err(format!(
            "mh_adapter, output_adapter, cross_adapter: a {kind} adapter stands at other blocks here"
        ));
    }
    let activation = config.get("non_linearity").cloned().unwrap_or(Value::Null);
    let mut options = json!({ "activation": activation });
    let scale = config.get("scaling").cloned().unwrap_or(json!(1.0));
    if kind == PARALLEL.name {
        options["scale"] = scale;
    } else if scale.as_f64() != Some(1.0) {
        return Err(format!("scaling = {scale}: only a parallel adapter is scaled here"));
    }
    Ok((kind, options))
}

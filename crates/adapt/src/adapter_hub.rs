//! The files of AdapterHub's package `adapters`: a folder with `adapter_config.json` and `adapter.safetensors`.
//!
//! Tensors are called `PLACE.adapters.NAME.adapter_down.0.weight` there, after the module that a bottleneck adapter stands in.
//! Where it stands follows from how upstream calls the last map of the block; models that the package does not know keep
//! their own paths in its place; what all of an adapter share is called `MODEL.shared_parameters.NAME.phm_rule`. Deliberately not
//! read: parts that are not known here (gates, norms of its own, other hypercomplex maps, invertible adapters), which are refused
//! by name.
//!
//! Reference: <https://github.com/adapter-hub/adapters>, `loading.py` and `configuration/adapter_config.py` of version 1.3.0.

mod mixed;
mod tensors;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use topwork_nn::ParamStore;
use topwork_weights::{Named, safetensors};

use crate::bottleneck::{Grafts, HOULSBY, Manner, PARALLEL, PFEIFFER, declare};
use crate::compacter::{COMPACTER, COMPACTER_PLUS, RULE};
use crate::error::Error;
use crate::peft::Upstream;
use crate::{Attached, Settings, attach};
use tensors::Tensors;

/// Name of the file of settings.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// Name of the file of tensors.
pub const WEIGHTS_FILE: &str = "adapter.safetensors";
/// Name of the file that says how to open it.
const README_FILE: &str = "README.md";
/// Name of the file of tensors where they were not saved as safetensors.
const PICKLED_FILE: &str = "pytorch_adapter.bin";
/// What our adapters are called in their files, where they have no name of their own.
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
    ("inv_adapter", "null"),
    ("dropout", "0.0"),
    ("stochastic_depth", "0.0"),
];

/// The same of hypercomplex maps, where an adapter has some.
const NEUTRAL_MAPS: &[(&str, &str)] = &[
    ("learn_phm", "true"),
    ("factorized_phm_W", "true"),
    ("shared_W_phm", "false"),
    ("factorized_phm_rule", "false"),
    ("shared_phm_rule", "true"),
    ("phm_bias", "true"),
];

/// What stands before the name of an adapter, of what all of its parts share.
const SHARED: &str = "shared_parameters";

/// What upstream calls the model whose weights have these names: what stands before the names of its parts, with the point.
fn of_model(place: &str) -> &str {
    const PARTS: [&str; 6] = ["encoder", "decoder", "h", "layers", "layer", "block"];
    let first = place.split('.').next().unwrap_or_default();
    if PARTS.contains(&first) { "" } else { &place[..(first.len() + 1).min(place.len())] }
}

/// What the places of adapters end in.
const ADAPTERS_OF: &str = ".adapters";

/// Where the adapter of a block stands, by the path of the block's last weight.
fn place(upstream: &Upstream, weight: &str) -> String {
    let own = format!("{}{ADAPTERS_OF}", weight.trim_end_matches(".weight"));
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

/// The files of a bottleneck adapter, or of several that are mixed: name and content. `config` is the `config.json` of the model, `base` what it is called.
///
/// # Errors
/// A parameter without values.
pub fn files(
    attached: &Attached,
    store: &ParamStore,
    (config, base): (&Value, &str),
    upstream: &Upstream,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    if let Settings::Fusion(settings) = attached.settings {
        return mixed::files(attached, settings, store, (config, base), upstream);
    }
    let mut files = files_of(NAME, attached, store, (config, base), upstream)?;
    if !files.is_empty() {
        files.insert(0, (README_FILE.to_string(), readme(attached.kind, config).into_bytes()));
    }
    Ok(files)
}

/// The two files of an adapter of that name.
fn files_of(
    called: &str,
    attached: &Attached,
    store: &ParamStore,
    (config, base): (&Value, &str),
    upstream: &Upstream,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let (reduction, activation, scale) = match attached.settings {
        Settings::Bottleneck(settings) => (settings.reduction, settings.activation, settings.scale),
        Settings::Compacter(settings) => (settings.reduction, settings.activation, 1.0),
        _ => return Ok(Vec::new()),
    };
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
            let (mut shape, data) = (param.shape.clone(), store.values(id)?.into());
            if let (RULE, Settings::Compacter(settings)) = (name, attached.settings) {
                shape = vec![settings.terms; 3];
                let name =
                    format!("{}{SHARED}.{called}.{}", of_model(&place), name.trim_start_matches("shared."));
                tensors.push(Named { name, shape, data });
                continue;
            }
            layers.insert(param.group - 1);
            if ["adapter_up.weight", "adapter_up.b"].contains(&name) {
                width = param.shape[0];
            }
            tensors.push(Named { name: format!("{place}.{called}.{name}"), shape, data });
        }
    }
    let beside = attached.kind == PARALLEL.name;
    let after_sum = [PFEIFFER.name, COMPACTER_PLUS.name].contains(&attached.kind);
    let mut inside = json!({
        "mh_adapter": attention, "output_adapter": output, "cross_adapter": false,
        "reduction_factor": reduction, "non_linearity": hub_name(activation.name()),
        "original_ln_before": after_sum, "original_ln_after": true,
        "ln_before": false, "ln_after": false, "residual_before_ln": true, "adapter_residual_before_ln": false,
        "init_weights": if beside { "mam_adapter" } else { "bert" }, "init_weights_seed": null,
        "is_parallel": beside, "scaling": scale, "use_gating": false, "dropout": 0.0,
        "inv_adapter": null, "inv_adapter_reduction_factor": null, "phm_layer": false, "stochastic_depth": 0.0,
        "leave_out": all.difference(&layers).collect::<Vec<_>>(),
    });
    if let Settings::Compacter(settings) = attached.settings {
        let maps = json!({
            "phm_layer": true, "phm_dim": settings.terms, "phm_rank": settings.rank, "phm_c_init": "normal",
            "phm_init_range": 0.0001, "hypercomplex_nonlinearity": "glorot-uniform",
        });
        let neutral = NEUTRAL_MAPS.iter().map(|(key, value)| (key.to_string(), json!(*value == "true")));
        if let (Some(inside), Value::Object(maps)) = (inside.as_object_mut(), maps) {
            inside.extend(maps.into_iter().chain(neutral));
        }
    }
    let whole = full(inside, called, width, (config, base));
    Ok(vec![(CONFIG_FILE.to_string(), whole), (WEIGHTS_FILE.to_string(), safetensors::to_bytes(&tensors)?)])
}

/// Settings as the package has them in a file, with what they are of: a name, and a model of that width.
fn full(inside: Value, name: &str, width: usize, (config, base): (&Value, &str)) -> Vec<u8> {
    let class = config["architectures"].get(0).cloned().unwrap_or(Value::Null);
    let whole = json!({
        "config": inside, "hidden_size": width, "model_class": class, "model_name": base,
        "model_type": config["model_type"], "name": name, "version": "adapters.1.3.0",
    });
    serde_json::to_vec_pretty(&whole).unwrap_or_default()
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

/// How the package puts the adapter of `folder` on `model`, as lines of Python.
///
/// # Errors
/// [`Error::File`]: settings that are missing or broken.
pub fn in_python(folder: &Path) -> Result<String, Error> {
    let config = settings(folder, CONFIG_FILE)?;
    Ok(match mixed::names(&config) {
        Some(names) => mixed::in_python(&names),
        None => "adapters.init(model)\n\
                 name = model.load_adapter(f\"{folder}/adapter\", use_safetensors=True)\n\
                 model.set_active_adapters(name)\n"
            .to_string(),
    })
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
    let config = settings(folder, CONFIG_FILE)?;
    if config.get(mixed::KEY).is_some() {
        return mixed::open(folder, &config, store, upstream);
    }
    let (kind, options, tensors) = read(folder, &config, store, upstream)?;
    let attached = attach(kind, &options, store, 0)?;
    tensors.fill(&attached.parts, store, upstream)?;
    Ok(attached)
}

/// An adapter of that name for several in the same blocks: its values are there, and it is attached to nothing yet.
///
/// # Errors
/// As [`open`]; a kind that cannot be one of several.
pub(crate) fn member(
    folder: &Path,
    name: &str,
    store: &mut ParamStore,
    upstream: &Upstream,
) -> Result<(Attached, Grafts), Error> {
    let config = settings(folder, CONFIG_FILE)?;
    let wrong = |what: &str| Error::File {
        path: folder.join(CONFIG_FILE),
        reason: format!("{what} cannot be one of several in a block: houlsby and pfeiffer adapters can"),
    };
    if config.get("config").is_none() {
        return Err(wrong("this adapter, which is none of the package adapters,"));
    }
    let (kind, options, tensors) = read(folder, &config, store, upstream)?;
    let manner = Manner::of(kind).ok_or_else(|| wrong(&format!("a {kind} adapter")))?;
    let found = declare(manner, &options, store, 0, &format!("adapter.{name}"))?;
    tensors.fill(&found.0.parts, store, upstream)?;
    Ok(found)
}

/// A file of settings.
fn settings(folder: &Path, name: &str) -> Result<Value, Error> {
    let path = folder.join(name);
    let wrong = |reason: String| Error::File { path: path.clone(), reason };
    let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}

/// The kind of an adapter in files, its options here, and its tensors.
fn read(
    folder: &Path,
    config: &Value,
    store: &ParamStore,
    upstream: &Upstream,
) -> Result<(&'static str, Value, Tensors), Error> {
    let wrong = |reason: String| Error::File { path: folder.join(CONFIG_FILE), reason };
    let (kind, mut options) = kind_and_options(&config["config"]).map_err(wrong)?;
    let tensors = Tensors::open(folder, [WEIGHTS_FILE, PICKLED_FILE], ADAPTERS_OF)?;
    match (&config["config"]["reduction_factor"], tensors.shape_of_one("adapter_down.0.weight")) {
        (Value::Number(reduction), _) => options["reduction"] = json!(reduction),
        (_, Some(&[size, _])) => options["size"] = json!(size),
        _ => {}
    }
    // Layers that have none in the file are left out here, whatever the settings say.
    let first = ["adapter_down.0.weight", "adapter_down.0.W_left"];
    let without = |weight: &str| first.iter().all(|param| tensors.find(upstream, weight, param).is_none());
    let blocks =
        store.iter().filter(|(_, param)| param.path.ends_with(".ffn.down.weight") && !param.is_attachment());
    let left: BTreeSet<usize> =
        blocks.filter(|(_, param)| without(&param.path)).map(|(_, param)| param.group - 1).collect();
    options["leave-out"] = json!(left);
    Ok((kind, options, tensors))
}

/// The kind of adapter that the package's settings are of, and its options here.
fn kind_and_options(config: &Value) -> Result<(&'static str, Value), String> {
    if let Some(other) = config.get("architecture").and_then(Value::as_str) {
        return Err(format!("architecture {other}: of this package there are bottleneck adapters here"));
    }
    let maps = config.get("phm_layer").and_then(Value::as_bool) == Some(true);
    let of_maps = if maps { NEUTRAL_MAPS } else { &[] };
    for (key, neutral) in NEUTRAL.iter().chain(of_maps) {
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
        (true, _) if maps => return Err("phm_layer = true: not known here of a parallel adapter".to_string()),
        (true, _) => PARALLEL.name,
        (false, true) => {
            if maps {
                COMPACTER_PLUS.name
            } else {
                PFEIFFER.name
            }
        }
        (false, false) => {
            if maps {
                COMPACTER.name
            } else {
                HOULSBY.name
            }
        }
    };
    let both = [HOULSBY.name, COMPACTER.name].contains(&kind);
    if flag("cross_adapter") || !flag("output_adapter") || flag("mh_adapter") != both {
        return Err(format!(
            "mh_adapter, output_adapter, cross_adapter: a {kind} adapter stands at other blocks here"
        ));
    }
    let activation = config.get("non_linearity").cloned().unwrap_or(Value::Null);
    let mut options = json!({ "activation": activation });
    if maps {
        for (key, theirs) in [("terms", "phm_dim"), ("rank", "phm_rank")] {
            let value = config.get(theirs).filter(|value| value.is_u64());
            options[key] = value.cloned().ok_or_else(|| format!("{theirs}: expected a whole number"))?;
        }
    }
    let scale = config.get("scaling").cloned().unwrap_or(json!(1.0));
    if kind == PARALLEL.name {
        options["scale"] = scale;
    } else if scale.as_f64() != Some(1.0) {
        return Err(format!("scaling = {scale}: only a parallel adapter is scaled here"));
    }
    Ok((kind, options))
}

//! The files of a fusion: those of the package (`adapter_fusion_config.json`, `model_adapter_fusion.safetensors`), and a folder
//! with the two files of each adapter that is mixed. The package keeps them apart; which belong together is said in
//! `adapter_config.json`, which is ours.

use std::path::Path;

use serde_json::{Value, json};
use topwork_nn::ParamStore;
use topwork_weights::{Named, safetensors};

use super::tensors::Tensors;
use super::{ADAPTERS_OF, CONFIG_FILE, README_FILE, files_of, full, place, settings};
use crate::Attached;
use crate::error::Error;
use crate::fusion::{FusionSettings, fuse};
use crate::peft::Upstream;

/// The key of our file that names what is mixed, in order.
pub(super) const KEY: &str = "fusion";

const FUSION_CONFIG: &str = "adapter_fusion_config.json";
const FUSION_WEIGHTS: [&str; 2] = ["model_adapter_fusion.safetensors", "pytorch_model_adapter_fusion.bin"];
/// What stands before the name of a fusion, in place of what stands before that of an adapter.
const FUSIONS_OF: &str = ".adapter_fusion_layer";

/// Settings that change what a fusion computes, with the value under which they do not.
const NEUTRAL: &[(&str, bool)] = &[
    ("query", true),
    ("key", true),
    ("query_before_ln", false),
    ("residual_before", false),
    ("temperature", false),
];

/// All files of a fusion, as [`super::files`].
pub(super) fn files(
    attached: &Attached,
    FusionSettings { values }: FusionSettings,
    store: &ParamStore,
    (config, base): (&Value, &str),
    upstream: &Upstream,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let names: Vec<&str> = attached.members.iter().map(|(name, _)| name.as_str()).collect();
    let name = names.join(",");
    let mut files = Vec::new();
    for (own, member) in &attached.members {
        let two = files_of(own, member, store, (config, base), upstream)?;
        files.extend(two.into_iter().map(|(file, content)| (format!("{own}/{file}"), content)));
    }
    let (mut tensors, mut width) = (Vec::new(), 0);
    for part in &attached.parts {
        let place = place(upstream, &part.weight);
        let module = place.strip_suffix(ADAPTERS_OF).unwrap_or(&place);
        for &(param, id) in &part.params {
            let shape = store.param(id).shape.clone();
            width = shape[0];
            let name = format!("{module}{FUSIONS_OF}.{name}.{param}");
            tensors.push(Named { name, shape, data: store.values(id)?.into() });
        }
    }
    let mut inside = json!({
        "value": values, "value_before_softmax": true, "value_initialized": values, "regularization": values,
        "dropout_prob": null,
    });
    for (key, neutral) in NEUTRAL {
        inside[*key] = json!(neutral);
    }
    let ours = json!({ KEY: names, "model_name": base });
    files.extend([
        (README_FILE.to_string(), readme(&names, config).into_bytes()),
        (CONFIG_FILE.to_string(), serde_json::to_vec_pretty(&ours).unwrap_or_default()),
        (FUSION_CONFIG.to_string(), full(inside, &name, width, (config, base))),
        (FUSION_WEIGHTS[0].to_string(), safetensors::to_bytes(&tensors)?),
    ]);
    Ok(files)
}

/// What whoever opens the folder must know.
fn readme(names: &[&str], config: &Value) -> String {
    let class = config["architectures"].get(0).and_then(Value::as_str).unwrap_or("AutoModel");
    format!(
        "# Adapters that are mixed\n\n\
         {} and what mixes them change what the blocks of their model compute. No weights can take them up, so the model in \
         `../base` alone gives other answers than the model that was trained.\n\n\
         topwork opens all of it by the folder above this one. So does the package `adapters` of AdapterHub, where it knows the \
         architecture:\n\n\
         ```python\n\
         import adapters\n\
         from transformers import {class}\n\n\
         folder = \"FOLDER\"\n\
         model = {class}.from_pretrained(f\"{{folder}}/base\")\n\
         {}\
         ```\n",
        names.join(", "),
        in_python(names)
    )
}

/// How the package puts a fusion on `model`, whose adapter lies in `folder`.
pub(super) fn in_python(names: &[&str]) -> String {
    let load = |name: &&str| {
        format!(
            "model.load_adapter(f\"{{folder}}/adapter/{name}\", load_as=\"{name}\", use_safetensors=True)\n"
        )
    };
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!(
        "adapters.init(model)\n\
         {}\
         model.load_adapter_fusion(f\"{{folder}}/adapter\", use_safetensors=True)\n\
         model.set_active_adapters(adapters.Fuse({}))\n",
        names.iter().map(load).collect::<String>(),
        quoted.join(", ")
    )
}

/// The names of what is mixed, by our settings.
pub(super) fn names(ours: &Value) -> Option<Vec<&str>> {
    let names: Option<Vec<&str>> = ours[KEY].as_array()?.iter().map(Value::as_str).collect();
    let plain = |name: &&str| !name.is_empty() && !name.contains(['/', '\\', '.']);
    names.filter(|names| names.len() > 1 && names.iter().all(plain))
}

/// Attaches a fusion that [`files`] has written, or whose files lie beside ours as there.
pub(super) fn open(
    folder: &Path,
    ours: &Value,
    store: &mut ParamStore,
    upstream: &Upstream,
) -> Result<Attached, Error> {
    let wrong =
        |file: &str, reason: &str| Error::File { path: folder.join(file), reason: reason.to_string() };
    let names: Option<Vec<&str>> =
        ours[KEY].as_array().and_then(|names| names.iter().map(Value::as_str).collect());
    let plain = |name: &&str| !name.is_empty() && !name.contains(['/', '\\', '.']);
    let names = names.filter(|names| names.len() > 1 && names.iter().all(plain));
    let names =
        names.ok_or_else(|| wrong(CONFIG_FILE, "fusion: expected the names of two adapters or more"))?;
    let config = settings(folder, FUSION_CONFIG)?;
    let inside = &config["config"];
    for (key, neutral) in NEUTRAL {
        if inside.get(*key).is_some_and(|value| value != &json!(neutral)) {
            let reason =
                format!("{key} = {}: it changes what is computed, and is not known here", inside[*key]);
            return Err(wrong(FUSION_CONFIG, &reason));
        }
    }
    let values = inside.get("value").and_then(Value::as_bool).unwrap_or(true);
    if values && inside.get("value_before_softmax").is_some_and(|value| value != &json!(true)) {
        return Err(wrong(FUSION_CONFIG, "value_before_softmax = false: it is not known here"));
    }
    let named: Vec<_> = names.iter().map(|name| (name.to_string(), folder.join(name))).collect();
    let attached = fuse(&named, FusionSettings { values }, store, 0, upstream)?;
    Tensors::open(folder, FUSION_WEIGHTS, FUSIONS_OF)?.fill(&attached.parts, store, upstream)?;
    Ok(attached)
}

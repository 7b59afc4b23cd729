//! A model's tensors under the names that TensorFlow has for them.
//!
//! What is written has to come back: each name is read again by the rules that files are read by, and a tensor that would not
//! come back as it was has no place in the file.

use std::collections::BTreeMap;

use serde_json::Value;

use super::original::{self, Kind};
use super::{Change, keras, to_keras, to_original};
use crate::hdf5::KerasLayer;
use crate::{Error, Named};

/// Where a tensor of PyTorch's goes.
#[derive(Debug, PartialEq)]
pub(super) struct Place {
    /// Its name there.
    pub(super) name: String,
    /// What is done to it.
    pub(super) change: Change,
    /// Which row of the first axis it becomes, where one variable holds the parameters of all layers.
    pub(super) row: Option<usize>,
}

impl Place {
    pub(super) fn new(name: impl Into<String>, change: Change) -> Place {
        Place { name: name.into(), change, row: None }
    }
}

/// A name's parts, a list and a place in it as one with `between` them.
pub(super) fn parts(name: &str, between: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in name.split('.') {
        match parts.last_mut() {
            Some(list) if part.bytes().all(|byte| byte.is_ascii_digit()) => {
                list.push_str(between);
                list.push_str(part);
            }
            _ => parts.push(part.to_string()),
        }
    }
    parts
}

/// The models that transformers has TensorFlow classes for, by `model_type`; what their names of PyTorch begin with where a model
/// has a head, and all of them begin with in TensorFlow.
const BASES: &[(&str, &str)] = &[
    ("albert", "albert."),
    ("bart", "model."),
    ("bert", "bert."),
    ("camembert", "roberta."),
    ("deberta", "deberta."),
    ("deberta-v2", "deberta."),
    ("distilbert", "distilbert."),
    ("electra", "electra."),
    ("gpt2", "transformer."),
    ("marian", "model."),
    ("mbart", "model."),
    ("mpnet", "mpnet."),
    ("mt5", ""),
    ("openai-gpt", "transformer."),
    ("roberta", "roberta."),
    ("t5", ""),
    ("transfo-xl", "transformer."),
    ("vit", "vit."),
    ("xlm-roberta", "roberta."),
    ("xlnet", "transformer."),
];

/// The models whose authors released TensorFlow checkpoints under names that are known here.
const ORIGINALS: &[(&str, Kind)] = &[
    ("albert", Kind::Albert),
    ("bert", Kind::Bert),
    ("electra", Kind::Electra),
    ("gpt2", Kind::Gpt2),
    ("mt5", Kind::T5),
    ("t5", Kind::T5),
    ("transfo-xl", Kind::TransformerXl),
    ("xlnet", Kind::Xlnet),
];

/// What is written, for messages.
const CHECKPOINT: &str = "TensorFlow checkpoint";
const KERAS: &str = "HDF5 file of transformers' TensorFlow classes";

/// The variables of an original release, from a model's `config.json` and its tensors under the names of PyTorch: what
/// [`tensorflow::write`](crate::tensorflow::write) takes.
///
/// # Errors
/// [`Error::NoTensorflow`] for a model that was not released so, and for a tensor that such releases have no name for.
pub fn export_original<'a>(config: &Value, tensors: Vec<Named<'a>>) -> Result<Vec<Named<'a>>, Error> {
    let (model_type, kind) = known(CHECKPOINT, config, ORIGINALS)?;
    let names = Bases::of(model_type, &tensors);
    let mut out: Vec<Named> = Vec::new();
    let mut rows: BTreeMap<String, BTreeMap<usize, Named>> = BTreeMap::new();
    for tensor in tensors {
        let name = names.whole(&tensor.name);
        let Some(place) = to_original::place(kind, &name, &tensor.shape) else {
            return Err(nameless(CHECKPOINT, model_type, &tensor.name));
        };
        let shape = place.change.shape(&tensor.shape);
        let held = Named { name, shape, data: place.change.apply(tensor.data, &tensor.shape) };
        if let Some(row) = place.row {
            rows.entry(place.name).or_default().insert(row, held);
            continue;
        }
        let back = original::names(kind, &place.name, &held.shape);
        if !matches!(back.as_slice(), [(again, change)] if names.same(again, &held.name)
            && change.shape(&held.shape) == tensor.shape)
        {
            return Err(nameless(CHECKPOINT, model_type, &tensor.name));
        }
        out.push(Named { name: place.name, ..held });
    }
    for (variable, rows) in rows {
        let joined = join(variable, rows)?;
        out.push(joined);
    }
    let all: Vec<&str> = out.iter().map(|tensor| tensor.name.as_str()).collect();
    if original::kind(&all) != Some(kind) {
        let reason = format!("without its first layer nothing says that it is of the kind \"{model_type}\"");
        return Err(Error::NoTensorflow { form: CHECKPOINT, reason });
    }
    Ok(out)
}

/// The parameters of all layers as one variable.
fn join(name: String, rows: BTreeMap<usize, Named>) -> Result<Named<'static>, Error> {
    let mut data = Vec::new();
    let mut shape: Vec<usize> = Vec::new();
    let count = rows.len();
    for (at, (row, part)) in rows.into_iter().enumerate() {
        if row != at || (at > 0 && shape != part.shape) {
            let reason = format!("not every layer has a part in \"{name}\", or not of the same shape");
            return Err(Error::NoTensorflow { form: CHECKPOINT, reason });
        }
        shape = part.shape;
        data.extend_from_slice(&part.data);
    }
    shape.insert(0, count);
    Ok(Named { name, shape, data: data.into() })
}

/// The layers of transformers' TensorFlow class with their weights, from a model's `config.json` and its tensors under the names of
/// PyTorch: what [`hdf5::write`](crate::hdf5::write) takes.
///
/// # Errors
/// [`Error::NoTensorflow`] for a model that transformers has no TensorFlow class for, and for a tensor that would not come back.
pub fn export_keras<'a>(config: &Value, tensors: Vec<Named<'a>>) -> Result<Vec<KerasLayer<'a>>, Error> {
    let (model_type, _) = known(KERAS, config, BASES)?;
    let names = Bases::of(model_type, &tensors);
    let norms = to_keras::norms(tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())));
    let mut layers: Vec<KerasLayer> = Vec::new();
    for tensor in tensors {
        let name = names.whole(&tensor.name);
        let norm = to_keras::stem(&tensor.name).is_some_and(|stem| norms.contains(stem));
        let (layer, place) = to_keras::place(model_type, &name, &tensor.shape, norm);
        let shape = place.change.shape(&tensor.shape);
        let path = format!("{layer}/{}", place.name);
        let (again, change) = keras::name(std::slice::from_ref(&layer), &path, &shape);
        if again != name || change.shape(&shape) != tensor.shape {
            return Err(nameless(KERAS, model_type, &tensor.name));
        }
        let data = place.change.apply(tensor.data, &tensor.shape);
        let weight = Named { name: place.name, shape, data };
        match layers.iter_mut().find(|known| known.name == layer) {
            Some(known) => known.weights.push(weight),
            None => layers.push(KerasLayer { name: layer, weights: vec![weight], also: Vec::new() }),
        }
    }
    to_keras::share(model_type, &mut layers);
    Ok(layers)
}

/// The entry of a list for a model's kind.
fn known<T: Copy>(
    form: &'static str,
    config: &Value,
    list: &[(&'static str, T)],
) -> Result<(&'static str, T), Error> {
    let model_type = config["model_type"].as_str().unwrap_or_default();
    list.iter().copied().find(|(known, _)| *known == model_type).ok_or_else(|| {
        let known = list.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
        let reason = format!("config.json says model_type \"{model_type}\", expected one of {known}");
        Error::NoTensorflow { form, reason }
    })
}

fn nameless(form: &'static str, model_type: &str, tensor: &str) -> Error {
    let reason =
        format!("the tensor \"{tensor}\" has no name there that a {model_type} would read it back by");
    Error::NoTensorflow { form, reason }
}

/// What the names of a model begin with: those of one without a head lack it.
struct Bases {
    base: &'static str,
    lacks: bool,
}

impl Bases {
    fn of(model_type: &str, tensors: &[Named]) -> Bases {
        let base = BASES.iter().find(|(known, _)| *known == model_type).map_or("", |(_, base)| base);
        Bases { base, lacks: !tensors.iter().any(|tensor| tensor.name.starts_with(base)) }
    }

    /// The name with what it begins with.
    fn whole(&self, name: &str) -> String {
        match self.lacks {
            true => format!("{}{name}", self.base),
            // T5's classes for labels put this before the encoder's names, and those of TensorFlow have nothing there.
            false if self.base.is_empty() => name.strip_prefix("transformer.").unwrap_or(name).to_string(),
            false => name.to_string(),
        }
    }

    /// Whether two names are the same but for that.
    fn same(&self, a: &str, b: &str) -> bool {
        let bare = |name: &str| name.strip_prefix(self.base).unwrap_or(name).to_string();
        bare(a) == bare(b)
    }
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;

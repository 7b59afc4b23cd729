//! Adapters: a few parameters attached to a model from outside, so that the model itself stays as it is.
//!
//! An adapter attaches by the paths of parameters and knows no family: weights are used as what [`Reparam`] makes of them, or the
//! blocks that they are the last of end in what a [`Graft`] makes of it. [`ADAPTERS`] lists the kinds, [`attach`] attaches one,
//! [`peft`] reads and writes the files of HuggingFace peft, [`adapter_hub`] those of AdapterHub.
//!
//! [`Reparam`]: topwork_nn::Reparam
//! [`Graft`]: topwork_nn::Graft

pub mod adapter_hub;
mod bottleneck;
mod compacter;
mod dora;
pub mod error;
mod fusion;
mod ia3;
mod lora;
mod low_rank;
mod merge;
pub mod peft;
mod prefix;
mod prompt;
mod shorten;

use serde_json::Value;
use topwork_nn::{Param, ParamId, ParamKind, ParamStore, Pattern};

pub use bottleneck::BottleneckSettings;
pub use compacter::CompacterSettings;
pub use error::Error;
pub use fusion::{FusionSettings, VALUE};
pub use low_rank::LowRankSettings;
pub use merge::undo;
use peft::Upstream;
pub use prefix::PrefixSettings;
pub use prompt::PromptSettings;
pub use shorten::shorten;

/// How an adapter is known from outside.
pub struct AdapterEntry {
    /// Kebab-case name.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// Whether weights can take it up, so that a model without adapter computes the same.
    pub merges: bool,
    /// Its options: key and what it means, with its default.
    pub options: &'static [(&'static str, &'static str)],
    /// Attaches one to a store with its options; fresh values come from a seed, and upstream's names find what lies in files.
    attach: fn(&Value, &mut ParamStore, u64, &Upstream) -> Result<Attached, Error>,
}

/// Every kind of adapter, in the order `list` prints them.
pub const ADAPTERS: &[&AdapterEntry] = &[
    &lora::ENTRY,
    &lora::QLORA,
    &dora::ENTRY,
    &ia3::ENTRY,
    &bottleneck::HOULSBY,
    &bottleneck::PFEIFFER,
    &bottleneck::PARALLEL,
    &compacter::COMPACTER,
    &compacter::COMPACTER_PLUS,
    &fusion::ENTRY,
    &prompt::ENTRY,
    &prefix::ENTRY,
];

/// An adapter on a model.
#[derive(Debug)]
pub struct Attached {
    /// Name of its kind.
    pub kind: &'static str,
    /// What it does to each parameter that it is attached to.
    pub parts: Vec<Part>,
    /// Numbers that are the same for all: rank and scale, width and activation.
    pub settings: Settings,
    /// The adapters that it mixes, by their names, which do not learn: of `fusion` alone.
    pub members: Vec<(String, Attached)>,
}

/// Numbers of an adapter that are the same for all of its parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Settings {
    /// Of IA³, which has none.
    None,
    /// Of LoRA and DoRA.
    LowRank(LowRankSettings),
    /// Of bottleneck adapters.
    Bottleneck(BottleneckSettings),
    /// Of bottleneck adapters whose maps are sums of Kronecker products.
    Compacter(CompacterSettings),
    /// Of what mixes bottleneck adapters.
    Fusion(FusionSettings),
    /// Of prompts.
    Prompt(PromptSettings),
    /// Of prefixes.
    Prefix(PrefixSettings),
}

/// What is attached to one weight.
#[derive(Clone, Debug)]
pub struct Part {
    /// Path of the weight.
    pub weight: String,
    /// Parameters of the adapter: the name they have in the files of its kind, and which they are.
    pub params: Vec<(&'static str, ParamId)>,
    /// What goes into the map is scaled, not what comes out.
    pub scales_input: bool,
}

impl Attached {
    /// Whether weights can take it up, so that a model without adapter computes the same.
    pub fn merges(&self) -> bool {
        matches!(self.settings, Settings::None | Settings::LowRank(_))
    }

    /// Patterns of the paths of all parameters of the adapter.
    pub fn patterns(&self, store: &ParamStore) -> Vec<String> {
        let ids = self.parts.iter().flat_map(|part| &part.params);
        ids.map(|&(_, id)| store.param(id).path.clone()).collect()
    }

    /// How many values it has.
    pub fn values(&self, store: &ParamStore) -> usize {
        self.parts.iter().flat_map(|part| &part.params).map(|&(_, id)| store.param(id).len()).sum()
    }
}

/// The kind of that name, if these are options of it.
///
/// # Errors
/// [`Error::Unknown`]; [`Error::UnknownOption`].
pub fn find(name: &str, options: &Value) -> Result<&'static AdapterEntry, Error> {
    let names = || ADAPTERS.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
    let entry = ADAPTERS
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| Error::Unknown { got: name.to_string(), known: names() })?;
    let known = || entry.options.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(", ");
    let wrong = |got: String| Error::UnknownOption { adapter: entry.name, got, known: known() };
    let keys = options.as_object().ok_or_else(|| wrong(options.to_string()))?;
    match keys.keys().find(|key| entry.options.iter().all(|(option, _)| option != key)) {
        Some(key) => Err(wrong(key.clone())),
        None => Ok(entry),
    }
}

/// Attaches an adapter of that kind to a model whose parameters have their values. It changes nothing yet: the model computes
/// what it did before, until the adapter's own parameters learn; but for prompts and prefixes, which are read from the first step on.
///
/// # Errors
/// As [`find`]; an option out of range; [`Error::NoTarget`] where a pattern selects no weight that can be adapted.
pub fn attach(name: &str, options: &Value, store: &mut ParamStore, seed: u64) -> Result<Attached, Error> {
    attach_to(name, options, store, seed, &|_| None)
}

/// [`attach`], to a model whose weights have these names upstream: for kinds that are made of adapters in files.
///
/// # Errors
/// As [`attach`]; files that do not fit the model.
pub fn attach_to(
    name: &str,
    options: &Value,
    store: &mut ParamStore,
    seed: u64,
    upstream: &Upstream,
) -> Result<Attached, Error> {
    (find(name, options)?.attach)(options, store, seed, upstream)
}

/// How many virtual tokens an adapter of that kind puts in front of each text; those of prompts and prefixes.
///
/// # Errors
/// As [`find`]; an option out of range.
pub fn virtual_tokens(name: &str, options: &Value) -> Result<usize, Error> {
    let entry = find(name, options)?;
    let virtual_ones = [prompt::ENTRY.name, prefix::ENTRY.name].contains(&entry.name);
    if virtual_ones { prompt::virtual_tokens(entry.name, options) } else { Ok(0) }
}

/// A number among the options, or the default.
fn number(adapter: &'static str, options: &Value, key: &'static str, default: f64) -> Result<f64, Error> {
    let Some(value) = options.get(key) else { return Ok(default) };
    value.as_f64().filter(|number| number.is_finite()).ok_or_else(|| Error::Option {
        adapter,
        key,
        expected: "a number",
        got: value.to_string(),
    })
}

/// Names among the options: a list, or one text with `+` between them; `None` if the key is not there.
///
/// # Errors
/// [`Error::Option`] for anything else.
pub fn names(
    adapter: &'static str,
    options: &Value,
    key: &'static str,
) -> Result<Option<Vec<String>>, Error> {
    let wrong = |got: &Value| Error::Option {
        adapter,
        key,
        expected: "a list of path patterns, such as [\"attn.q\", \"attn.v\"], or attn.q+attn.v",
        got: got.to_string(),
    };
    let found: Option<Vec<String>> = match options.get(key) {
        None => return Ok(None),
        Some(Value::String(text)) => Some(text.split('+').map(str::to_string).collect()),
        Some(Value::Array(list)) => list.iter().map(|item| item.as_str().map(str::to_string)).collect(),
        Some(_) => None,
    };
    match found.filter(|found| !found.is_empty() && found.iter().all(|name| !name.is_empty())) {
        Some(found) => Ok(Some(found)),
        None => Err(wrong(&options[key])),
    }
}

/// Whether a pattern of the options selects a path: as it stands, or as the end of a path without the parameter's own name.
fn selects(pattern: &str, path: &str) -> bool {
    Pattern::new(&format!("**.{pattern}")).matches(path)
}

/// Weights of linear maps inside the layers that one of these patterns selects: those of embeddings and of the head have no
/// adapter.
///
/// # Errors
/// [`Error::NoTarget`] for a pattern that selects nothing.
fn targets(store: &ParamStore, patterns: &[String]) -> Result<Vec<ParamId>, Error> {
    let adaptable = adaptable(store);
    for pattern in patterns {
        if !adaptable.iter().any(|(_, path)| selects(pattern, path)) {
            let mut known: Vec<String> = adaptable.iter().filter_map(|(_, path)| inside(path)).collect();
            known.sort();
            known.dedup();
            return Err(Error::NoTarget { pattern: pattern.clone(), known: known.join(", ") });
        }
    }
    let wanted = |path: &str| patterns.iter().any(|pattern| selects(pattern, path));
    Ok(adaptable.into_iter().filter(|(_, path)| wanted(path)).map(|(id, _)| id).collect())
}

/// Weights of linear maps inside the layers to which nothing is attached, with their paths.
fn adaptable(store: &ParamStore) -> Vec<(ParamId, &str)> {
    let fits = |param: &Param| {
        // Not by the depth group: where a head has no parameters of its own, the last layer is in the highest.
        inside(&param.path).is_some()
            && !param.path.starts_with("head.")
            && param.kind == ParamKind::Weight
            && param.shape.len() == 2
            && param.path.ends_with(".weight")
            && param.reparam().is_none()
            && param.grafted().is_none()
            && !param.is_attachment()
    };
    store.iter().filter(|(_, param)| fits(param)).map(|(id, param)| (id, param.path.as_str())).collect()
}

/// Puts the weights of all linear maps inside the layers into four bits (see [`ParamStore::quantise`]); how many there are.
///
/// # Errors
/// A parameter without values; [`Error::NoTarget`] for a model without such maps.
pub fn quantise(store: &mut ParamStore) -> Result<usize, Error> {
    let found: Vec<ParamId> = adaptable(store).into_iter().map(|(id, _)| id).collect();
    if found.is_empty() {
        return Err(Error::NoTarget { pattern: "**".to_string(), known: "none".to_string() });
    }
    found.iter().try_for_each(|&id| store.quantise(id))?;
    Ok(found.len())
}

/// What a weight is called inside its layer: `attn.q` of `layers.3.attn.q.weight`.
fn inside(path: &str) -> Option<String> {
    let path = path.strip_suffix(".weight")?;
    let after_number = path.split('.').position(|part| part.bytes().all(|byte| byte.is_ascii_digit()))? + 1;
    let parts: Vec<&str> = path.split('.').skip(after_number).collect();
    (!parts.is_empty()).then(|| parts.join("."))
}

/// The first of these lists of names whose every name selects something.
fn first_that_fits(store: &ParamStore, lists: &[&[&str]]) -> Result<Vec<ParamId>, Error> {
    let mut last = Err(Error::NoTarget { pattern: String::new(), known: String::new() });
    for list in lists {
        let patterns: Vec<String> = list.iter().map(|name| name.to_string()).collect();
        last = targets(store, &patterns);
        if last.is_ok() {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests;

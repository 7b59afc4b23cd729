//! A GGUF file's tensors under HuggingFace's names and shapes, and the way back.

use serde_json::Value as Json;

use super::Gguf;
use super::architecture::{self, Architecture, Way};
use super::config;
use super::value::Metadata;
use crate::renamed::Change;
use crate::{Error, Named, Renamed, TensorFile};

/// Shows a file as a HuggingFace checkpoint.
pub(super) fn as_published(file: Gguf) -> Result<Renamed<Gguf>, Error> {
    let Some(architecture) = architecture::named(file.architecture()) else {
        return Renamed::new(file, |_, name, _| Some((name.to_string(), Change::Keep)));
    };
    let offset = config::first_position(&file);
    let (prefix, classifier) = classifier(&file);
    let out: Vec<String> = file.left_out().into_iter().map(|(name, _)| name.to_string()).collect();
    Renamed::new(file, |file, name, shape| {
        let heads = Heads::of(file.metadata());
        if out.iter().any(|left| left == name) {
            return None;
        }
        if let Some(name) = split(name).and_then(|(stem, ending)| {
            let (_, new) = classifier.iter().find(|(old, _)| *old == stem)?;
            Some(format!("{new}{ending}"))
        }) {
            return Some((name, Change::Keep));
        }
        Some(match rename(architecture, name, Side::Gguf) {
            None => (name.to_string(), Change::Keep),
            Some((new, way, layer)) => {
                let change = match way {
                    Way::Keep => Change::Keep,
                    Way::Transposed if shape.len() == 2 => Change::Transpose,
                    Way::Transposed => Change::Keep,
                    Way::Queries => Change::PairsToHalves { heads: heads.queries(layer) },
                    Way::Keys => Change::PairsToHalves { heads: heads.keys(layer) },
                    Way::Positions => Change::LeadRows(offset),
                    Way::PlusOne => Change::LessOne,
                };
                (format!("{prefix}{new}"), change)
            }
        })
    })
}

/// Why a tensor is no part of the HuggingFace model, when it is none.
pub(super) fn left_out(file: &Gguf, name: &str) -> Option<&'static str> {
    match (file.architecture(), name) {
        ("gpt2" | "gemma", "output.weight") => Some("the output of this architecture is its word table"),
        (_, "rope_freqs.weight") if config::llama3_scaling(file).is_some() => {
            Some("the scaling of rotary positions, which config.json states")
        }
        _ => None,
    }
}

/// The prefix of an encoder's names and the layers of its classifier, when it has one.
fn classifier(file: &Gguf) -> (&'static str, &'static [(&'static str, &'static str)]) {
    match (file.architecture(), config::encoder_type(file)) {
        ("bert", "bert") if file.shape("cls.weight").is_some() => ("bert.", &[("cls", "classifier")]),
        ("bert", _) if file.shape("cls.weight").is_some() => {
            ("roberta.", &[("cls", "classifier.dense"), ("cls.output", "classifier.out_proj")])
        }
        _ => ("", &[]),
    }
}

/// How many heads the layers have.
struct Heads<'a> {
    metadata: &'a Metadata,
    queries: String,
    keys: String,
}

impl Heads<'_> {
    fn of(metadata: &Metadata) -> Heads<'_> {
        let architecture = metadata.text("general.architecture").unwrap_or_default();
        let key = |end: &str| format!("{architecture}.attention.{end}");
        Heads { metadata, queries: key("head_count"), keys: key("head_count_kv") }
    }

    /// 0 where the metadata do not say, which no tensor fits.
    fn queries(&self, layer: usize) -> usize {
        self.metadata.u64_of_layer(&self.queries, layer).map_or(0, |heads| heads as usize)
    }

    fn keys(&self, layer: usize) -> usize {
        self.metadata
            .u64_of_layer(&self.keys, layer)
            .map_or_else(|| self.queries(layer), |heads| heads as usize)
    }
}

/// Which of the two names is known.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Gguf,
    Published,
}

/// The other name of a tensor, how it differs, and its layer (0 outside of layers).
fn rename(architecture: &Architecture, name: &str, side: Side) -> Option<(String, Way, usize)> {
    let (stem, ending) = split(name)?;
    architecture.stems.iter().find_map(|&(gguf, published, way)| {
        let (from, to) = if side == Side::Gguf { (gguf, published) } else { (published, gguf) };
        let layer = matched(from, stem)?;
        let to = layer.map_or_else(|| to.to_string(), |layer| to.replace("{i}", layer));
        let layer = layer.map_or(Some(0), |layer| layer.parse().ok())?;
        Some((format!("{to}{ending}"), way, layer))
    })
}

/// A name and its ending.
fn split(name: &str) -> Option<(&str, &str)> {
    [".weight", ".bias"].into_iter().find_map(|ending| Some((name.strip_suffix(ending)?, ending)))
}

/// Whether `name` is what `pattern` says, and the digits that stand for its `{i}`, if it has one.
fn matched<'n>(pattern: &str, name: &'n str) -> Option<Option<&'n str>> {
    let Some((before, after)) = pattern.split_once("{i}") else {
        return (pattern == name).then_some(None);
    };
    let digits = name.strip_prefix(before)?.strip_suffix(after)?;
    let is_number = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    is_number.then_some(Some(digits))
}

/// The metadata and the tensors of a GGUF file, from a HuggingFace model's `config.json` and its tensors: what
/// [`write`](super::write()) takes. The tokenizer is added with
/// [`GgufTokenizer::put_into`](super::GgufTokenizer::put_into).
///
/// A copy of a tied word table is left out.
///
/// # Errors
/// [`Error::NoGguf`] for a model that has no form in GGUF here: another `model_type`, a setting or a tensor unknown to it.
pub fn export<'a>(config: &Json, tensors: Vec<Named<'a>>) -> Result<(Metadata, Vec<Named<'a>>), Error> {
    let no = |reason: String| Error::NoGguf { reason };
    let model_type = config["model_type"].as_str().unwrap_or_default();
    let Some(architecture) = architecture::of_model_type(model_type) else {
        let types = architecture::ARCHITECTURES.iter().flat_map(|known| known.model_types).copied();
        let known = types.collect::<Vec<_>>().join(", ");
        return Err(no(format!("config.json says model_type \"{model_type}\", expected one of {known}")));
    };
    let metadata = config::metadata(architecture, config, &tensors).map_err(no)?;
    let heads = Heads::of(&metadata);
    let tied = config::is_tied(architecture, config);
    let mut out = Vec::new();
    for mut tensor in tensors {
        let full = if tensor.name.starts_with(architecture.prefix) || tensor.name.starts_with("lm_head.") {
            tensor.name.clone()
        } else {
            format!("{}{}", architecture.prefix, tensor.name)
        };
        if tied && full == "lm_head.weight" {
            continue;
        }
        let Some((name, way, layer)) = rename(architecture, &full, Side::Published) else {
            return Err(no(format!(
                "the tensor \"{}\" has no name in {} files",
                tensor.name, architecture.name
            )));
        };
        let change = match way {
            Way::Transposed if tensor.shape.len() == 2 => Change::Transpose,
            Way::Queries => Change::HalvesToPairs { heads: heads.queries(layer) },
            Way::Keys => Change::HalvesToPairs { heads: heads.keys(layer) },
            Way::PlusOne => Change::PlusOne,
            Way::Keep | Way::Transposed | Way::Positions => Change::Keep,
        };
        if change != Change::Keep {
            let wrong = |reason: String| no(format!("the tensor \"{}\" does not fit: {reason}", tensor.name));
            let shape = change.shape(&tensor.shape).map_err(wrong)?;
            tensor.data = change.apply(&tensor.shape, tensor.data.into_owned()).map_err(wrong)?.into();
            tensor.shape = shape;
        }
        tensor.name = name;
        out.push(tensor);
    }
    if let Some(factors) = config::rotary_factors(config).map_err(no)? {
        out.push(Named {
            name: "rope_freqs.weight".into(),
            shape: vec![factors.len()],
            data: factors.into(),
        });
    }
    Ok((metadata, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for architecture in architecture::ARCHITECTURES {
            for &(stem, _, way) in architecture.stems {
                let name = format!("{}.weight", stem.replace("{i}", "11"));
                let (published, there, layer) = rename(architecture, &name, Side::Gguf).unwrap();
                assert_eq!((there, layer), (way, if stem.contains("{i}") { 11 } else { 0 }), "{name}");
                assert_eq!(rename(architecture, &published, Side::Published).unwrap().0, name);
            }
        }
    }

    #[test]
    fn only_whole_names_match() {
        let llama = architecture::named("llama").unwrap();
        for name in [
            "blk.01.attn_q.weight",
            "blk..attn_q.weight",
            "blk.x.attn_q.weight",
            "token_embd",
            "attn_q.weight",
        ] {
            assert_eq!(rename(llama, name, Side::Gguf), None, "{name}");
        }
        assert_eq!(
            rename(llama, "blk.3.attn_q.bias", Side::Gguf),
            Some(("model.layers.3.self_attn.q_proj.bias".to_string(), Way::Queries, 3))
        );
    }
}

//! What a model folder says of its head, and what is written of it: the part of `config.json` and of `topwork.json` that is about
//! tasks.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::adapted;
use crate::error::Error;
use crate::family::{Family, family};
use crate::head::{Body, EmbedDense, HeadSpec, Pooling};
use crate::model::{FROM_NOTHING, HEAD_FILE};
use crate::patches::PREPROCESSING;
use crate::sentence::Sentence;
use crate::source::Source;
use crate::states::Layers;

/// The name under which [`Family::architectures`] has a head's class; another pooling, body or choice of layers than the family's
/// own has none there.
pub fn class_name(spec: &HeadSpec) -> &'static str {
    match spec {
        HeadSpec::Classify { slices, .. } if !slices.is_empty() => "embed",
        HeadSpec::Classify { pool, body, layers, .. } | HeadSpec::Regress { pool, body, layers } => {
            if (*pool, *body, *layers) == (Pooling::Family, Body::Own, Layers::Last) {
                "classify"
            } else {
                "embed"
            }
        }
        HeadSpec::Tag { crf, body, layers, .. }
            if (*crf, *body, *layers) != (false, Body::Own, Layers::Last) =>
        {
            "embed"
        }
        other => other.name(),
    }
}

/// Heads that no upstream class of the family has keep their weights in a file of their own, so that the folder still opens as
/// the bare encoder without a warning.
pub fn own_head(spec: &HeadSpec, family: &Family) -> bool {
    let class = class_name(spec);
    class == "embed" || family.architecture(class).is_none()
}

/// Whether a head goes on from where a saved one stands: both do the same task, or one of them is a part of the other.
pub fn continues(spec: &HeadSpec, saved: &HeadSpec) -> bool {
    use HeadSpec::{CausalLm, DoubleHeads, MaskedLm, MultipleChoice, NextSentence, Pretraining};
    let is_part = |part: &HeadSpec, whole: &HeadSpec| {
        matches!(
            (whole, part),
            (Pretraining, MaskedLm | NextSentence) | (DoubleHeads, CausalLm | MultipleChoice)
        )
    };
    spec == saved || is_part(saved, spec) || is_part(spec, saved)
}

/// `config.json` with what changed: the class, the labels, the kind of problem.
pub fn saved_config(config: &Value, spec: &HeadSpec, family: &Family) -> Value {
    let mut config = config.clone();
    let Some(keys) = config.as_object_mut() else { return config };
    let own = projection(spec, family).or_else(|| family.architecture(class_name(spec)));
    let architecture = own.or_else(|| family.architecture("embed"));
    keys.insert("architectures".to_string(), json!([architecture]));
    keys.remove(FROM_NOTHING);
    // It has a file of its own.
    keys.remove(PREPROCESSING);
    for key in ["torch_dtype", "dtype"] {
        if keys.contains_key(key) {
            keys.insert(key.to_string(), json!("float32"));
        }
    }
    match spec {
        HeadSpec::Classify { labels, .. } | HeadSpec::Tag { labels, .. } => {
            let by_id: Map<String, Value> =
                labels.iter().enumerate().map(|(id, name)| (id.to_string(), json!(name))).collect();
            let by_name: Map<String, Value> =
                labels.iter().enumerate().map(|(id, name)| (name.clone(), json!(id))).collect();
            keys.insert("id2label".to_string(), Value::Object(by_id));
            keys.insert("label2id".to_string(), Value::Object(by_name));
        }
        HeadSpec::Regress { .. } => {
            keys.insert("id2label".to_string(), json!({"0": "score"}));
            keys.insert("label2id".to_string(), json!({"score": 0}));
            keys.insert("problem_type".to_string(), json!("regression"));
        }
        HeadSpec::NextSentence | HeadSpec::Pretraining | HeadSpec::Span => {
            // Labels of another task would be outputs of this one for some classes: without them there are the two it has.
            for key in ["id2label", "label2id", "num_labels", "problem_type"] {
                keys.remove(key);
            }
        }
        _ => {}
    }
    if let HeadSpec::Classify { several, .. } = spec {
        let problem = if *several { "multi_label_classification" } else { "single_label_classification" };
        keys.insert("problem_type".to_string(), json!(problem));
    }
    config
}

/// The head a model was saved with: from [`HEAD_FILE`], else from the modules of sentence-transformers, else from what
/// `config.json` says of its architecture.
///
/// # Errors
/// [`Error::NoHead`] for a bare encoder; a file that cannot be read; as [`Source::find`].
pub fn saved_spec(path: &Path) -> Result<HeadSpec, Error> {
    spec_of(&Source::find(path)?)
}

/// As [`saved_spec`], of a model that was found.
///
/// # Errors
/// [`Error::NoHead`] for a bare encoder; a file that cannot be read.
pub fn spec_of(source: &Source) -> Result<HeadSpec, Error> {
    if let Some(adapter) = source.adapter().filter(|adapter| !adapter.join(HEAD_FILE).is_file()) {
        return adapted::spec(source, adapter);
    }
    if let (Some(path), Some(notes)) = (source.beside(HEAD_FILE), source.notes()?) {
        let spec = notes.get("head").cloned().unwrap_or(Value::Null);
        return serde_json::from_value(spec).map_err(|e| Error::Unreadable { path, reason: e.to_string() });
    }
    // Its class is often that of what it was trained from, whose head the folder does not have.
    if let Some(found) = Sentence::read(source)? {
        return Ok(found.spec);
    }
    let config = source.config();
    let family = family(config)?;
    let list = config.get("architectures").and_then(Value::as_array).cloned().unwrap_or_default();
    let known = |class| Some((class, family.head_of(class)?));
    let found = list.iter().filter_map(Value::as_str).find_map(known);
    match found.and_then(|(class, head)| named(head, config).or_else(|| projected(class, config, family))) {
        Some(spec) => Ok(spec),
        None => {
            let architectures = serde_json::to_string(&list).unwrap_or_default();
            Err(Error::NoHead { folder: source.weights().to_path_buf(), architectures })
        }
    }
}

/// The class of a family whose vectors go through a map, for a head that is one: the second class that it has for vectors.
pub fn projection(spec: &HeadSpec, family: &Family) -> Option<&'static str> {
    let map = |dense: &EmbedDense| !dense.bias && !dense.tanh;
    match spec {
        HeadSpec::Embed { pool, normalise: false, dense: Some(dense) }
            if map(dense)
                && (*pool == Pooling::Family || (*pool == Pooling::Last && !family.reads_pictures())) =>
        {
            family.architectures.iter().filter(|(head, _)| *head == "embed").nth(1).map(|(_, class)| *class)
        }
        _ => None,
    }
}

/// The head of such a class, with the width that the config says.
fn projected(class: &str, config: &Value, family: &Family) -> Option<HeadSpec> {
    let width = config.get("projection_dim").and_then(Value::as_u64)?;
    let dense = Some(EmbedDense { width: width as usize, bias: false, tanh: false });
    let pool = if family.reads_pictures() { Pooling::Family } else { Pooling::Last };
    let spec = HeadSpec::Embed { pool, normalise: false, dense };
    (projection(&spec, family) == Some(class)).then_some(spec)
}

/// The head of an upstream class by its name here, with what the config says of its labels; `None` for the bare encoder.
pub(crate) fn named(head: &str, config: &Value) -> Option<HeadSpec> {
    Some(match head {
        "classify" => classifier(config),
        "masked-lm" => HeadSpec::MaskedLm,
        "causal-lm" => HeadSpec::CausalLm,
        "seq2seq" => HeadSpec::Seq2Seq,
        "permutation-lm" => HeadSpec::PermutationLm,
        "tag" => HeadSpec::tagger(label_names(config)),
        "span" => HeadSpec::Span,
        "replaced-token" => HeadSpec::ReplacedToken,
        "next-sentence" => HeadSpec::NextSentence,
        "pretraining" => HeadSpec::Pretraining,
        "multiple-choice" => HeadSpec::MultipleChoice,
        "double-heads" => HeadSpec::DoubleHeads,
        _ => return None,
    })
}

fn classifier(config: &Value) -> HeadSpec {
    let pool = Pooling::Family;
    let labels = label_names(config);
    let problem = config.get("problem_type").and_then(Value::as_str);
    match problem {
        Some("regression") => HeadSpec::regressor(pool),
        // transformers itself takes one output for regression when nothing says otherwise.
        None if labels.len() == 1 => HeadSpec::regressor(pool),
        problem => HeadSpec::classifier(labels, problem == Some("multi_label_classification"), pool),
    }
}

/// The names in `id2label`, in the order of their numbers; two unnamed ones where the config has none, as
/// transformers assumes.
fn label_names(config: &Value) -> Vec<String> {
    let mut names: Vec<(usize, String)> = config
        .get("id2label")
        .and_then(Value::as_object)
        .map(|map| {
            let entries =
                map.iter().filter_map(|(id, name)| Some((id.parse().ok()?, name.as_str()?.to_string())));
            entries.collect()
        })
        .unwrap_or_default();
    names.sort();
    if names.is_empty() {
        let count = config.get("num_labels").and_then(Value::as_u64).unwrap_or(2);
        return (0..count).map(|id| format!("LABEL_{id}")).collect();
    }
    names.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::FAMILIES;

    #[test]
    fn every_class_of_every_family_names_a_head() {
        let config = json!({});
        let mut seen = 0;
        for family in FAMILIES {
            for (head, class) in family.architectures {
                let spec = named(head, &config);
                assert_eq!(spec.as_ref().map_or("embed", HeadSpec::name), *head, "{class}");
                assert!(spec.is_none_or(|spec| !own_head(&spec, family)), "{class}");
                seen += 1;
            }
        }
        assert!(seen > 50, "{seen}");
    }

    #[test]
    fn a_head_goes_on_from_itself_and_from_what_it_is_a_part_of() {
        assert!(continues(&HeadSpec::MaskedLm, &HeadSpec::Pretraining));
        assert!(continues(&HeadSpec::Pretraining, &HeadSpec::NextSentence));
        assert!(continues(&HeadSpec::CausalLm, &HeadSpec::DoubleHeads));
        assert!(!continues(&HeadSpec::NextSentence, &HeadSpec::MaskedLm));
        assert!(!continues(&HeadSpec::tagger(vec![]), &HeadSpec::Pretraining));
    }
}

//! Adapters that lie in a folder of their own: which model each is for, and what task it says it does.
//!
//! Such a folder is one of HuggingFace peft, of AdapterHub's `adapters`, or one that was saved here (which has the head's settings
//! and parameters in files of ours beside those). Where both halves are named in one text it is `ADAPTER on MODEL`. In the same spirit `vision of MODEL` names the
//! side for pictures of a model that has one for texts too.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::{Map, Value};
use topwork_weights::Checkpoint;

use crate::error::Error;
use crate::family::family;
use crate::head::HeadSpec;
use crate::model::{HEAD_FILE, Model, is_head};
use crate::saved;
use crate::source::{ADAPTER, ADAPTER_CONFIG, CONFIG, Source, read_json};

/// What stands between an adapter and the model under it.
pub const ON: &str = " on ";

/// The settings of a head that AdapterHub saves with an adapter.
pub const HUB_HEAD: &str = "head_config.json";

/// The head's tensors there, in either format.
pub const HUB_HEAD_WEIGHTS: [&str; 2] = ["model_head.safetensors", "pytorch_model_head.bin"];

/// The tensors of peft, in either format.
pub const PEFT_WEIGHTS: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

/// The tensors of AdapterHub, in either format.
pub const HUB_WEIGHTS: [&str; 2] = ["adapter.safetensors", "pytorch_adapter.bin"];

/// What the names of peft's tensors begin with.
pub const PEFT_PREFIX: &str = "base_model.model.";

/// What stands before the name of a model whose side for pictures is meant.
pub const OF_VISION: &str = "vision of ";

/// What peft calls tasks, and what they are called here.
const TASKS: &[(&str, &str)] = &[
    ("SEQ_CLS", "classify"),
    ("TOKEN_CLS", "tag"),
    ("CAUSAL_LM", "causal-lm"),
    ("SEQ_2_SEQ_LM", "seq2seq"),
    ("QUESTION_ANS", "span"),
];

/// Whether a folder is an adapter alone.
pub fn is_adapter(folder: &Path) -> bool {
    folder.join(ADAPTER_CONFIG).is_file() && !folder.join(CONFIG).is_file()
}

/// The adapter of a folder: the folder itself, or what stands in a saved model or in the best one of a run.
pub fn adapter_in(folder: &Path) -> Option<PathBuf> {
    let places = [folder.to_path_buf(), folder.join(ADAPTER), folder.join("best").join(ADAPTER)];
    places.into_iter().find(|place| is_adapter(place))
}

/// The two halves of a text that names both; `None` for one that does not, or is a path that is there.
pub fn halves(text: &str) -> Option<(&str, &str)> {
    if Path::new(text).exists() {
        return None;
    }
    let (adapter, model) = text.split_once(ON)?;
    Some((adapter.trim(), model.trim())).filter(|(adapter, model)| !adapter.is_empty() && !model.is_empty())
}

/// The model of a text that names the side of it for pictures, `vision of MODEL`; `None` for another text, or a path that is there.
pub fn vision_of(text: &str) -> Option<&str> {
    if Path::new(text).exists() {
        return None;
    }
    text.trim_start().strip_prefix(OF_VISION).map(str::trim).filter(|model| !model.is_empty())
}

/// What an adapter says that the model under it is called; nothing if it does not say.
///
/// # Errors
/// Its settings cannot be read.
pub fn base_name(adapter: &Path) -> Result<Option<String>, Error> {
    let config = read_json(adapter, ADAPTER_CONFIG)?;
    let named = ["base_model_name_or_path", "model_name"].iter().find_map(|key| config.get(*key)?.as_str());
    Ok(named.filter(|name| !name.is_empty()).map(str::to_string))
}

/// The model under an adapter, if what it says is a path that is there: from here, or from the adapter's folder.
///
/// # Errors
/// As [`base_name`].
pub fn local_base(adapter: &Path) -> Result<Option<PathBuf>, Error> {
    let Some(name) = base_name(adapter)? else { return Ok(None) };
    if let Some(whole) = vision_of(&name) {
        let there = [PathBuf::from(whole), adapter.join(whole)].into_iter().find(|place| place.exists());
        return Ok(there.map(|place| format!("{OF_VISION}{}", place.display()).into()));
    }
    let places = [PathBuf::from(&name), adapter.join(&name)];
    Ok(places.into_iter().find(|place| place.exists()))
}

/// How many virtual tokens an adapter puts in front of each text.
///
/// # Errors
/// Its settings cannot be read.
pub fn virtual_tokens(source: &Source) -> Result<usize, Error> {
    let Some(adapter) = source.adapter() else { return Ok(0) };
    let config = read_json(adapter, ADAPTER_CONFIG)?;
    let kind = config.get("peft_type").and_then(Value::as_str);
    let prompt = kind.is_some_and(|kind| ["PROMPT_TUNING", "PREFIX_TUNING"].contains(&kind));
    let tokens = config.get("num_virtual_tokens").and_then(Value::as_u64).filter(|_| prompt);
    Ok(tokens.unwrap_or(0) as usize)
}

/// A file among several names, if one is there.
fn one_of(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    names.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// The head that an adapter was trained with: what its settings say, with as many labels as its tensors have; where they say
/// nothing, that of the model under it.
///
/// # Errors
/// [`Error::NoHead`] if neither says anything; a file that cannot be read.
pub(crate) fn spec(source: &Source, adapter: &Path) -> Result<HeadSpec, Error> {
    let base = source.bare();
    let under = saved::spec_of(&base);
    let config = read_json(adapter, ADAPTER_CONFIG)?;
    let head = if adapter.join(HUB_HEAD).is_file() { read_json(adapter, HUB_HEAD)? } else { Value::Null };
    let task = config.get("task_type").and_then(Value::as_str);
    let said = task.and_then(|task| TASKS.iter().find(|(name, _)| *name == task)).map(|(_, name)| *name);
    let class = [&config["auto_mapping"]["base_model_class"], &head["model_class"]];
    let family = family(source.config())?;
    let said = said.or_else(|| class.iter().find_map(|class| family.head_of(class.as_str()?)));
    let spec = match (said, under) {
        (Some(said), Ok(under)) if under.name() == said => under,
        (Some(said), under) => match saved::named(said, source.config()) {
            Some(spec) => spec,
            None => under?,
        },
        (None, under) => under?,
    };
    // Of what changes no module, names have one part less in front.
    let prompt = config.get("num_virtual_tokens").is_some();
    let (tensors, prefix) = match one_of(adapter, &PEFT_WEIGHTS) {
        Some(path) => (Some(path), if prompt { "base_model." } else { PEFT_PREFIX }),
        None => (one_of(adapter, &HUB_HEAD_WEIGHTS), ""),
    };
    let Some(tensors) = tensors else { return Ok(spec) };
    let outputs = outputs(&Checkpoint::open(&tensors)?, prefix, &base, &spec)?;
    Ok(relabelled(spec, outputs, &head["label2id"]))
}

/// How many outputs a head of this kind has in a file of tensors, if it is there.
fn outputs(
    tensors: &Checkpoint,
    prefix: &str,
    base: &Source,
    spec: &HeadSpec,
) -> Result<Option<usize>, Error> {
    let model = Model::declare(base.config(), spec, &Device::flex())?;
    let rows =
        |path: &str| Some(*tensors.shape(&format!("{prefix}{}", model.upstream_name(path)?))?.first()?);
    // The last weight of the head is the one that gives the outputs.
    let weights = model.store.iter().filter(|(_, param)| is_head(&param.path) && param.shape.len() == 2);
    Ok(weights.filter_map(|(_, param)| rows(&param.path)).last())
}

/// The head with that many labels: the names given if they are as many, else those that transformers gives.
fn relabelled(spec: HeadSpec, outputs: Option<usize>, ids: &Value) -> HeadSpec {
    let Some(outputs) = outputs else { return spec };
    let named = |ids: &Map<String, Value>| {
        let mut names: Vec<(u64, &String)> =
            ids.iter().filter_map(|(name, id)| Some((id.as_u64()?, name))).collect();
        names.sort();
        names.into_iter().map(|(_, name)| name.clone()).collect::<Vec<_>>()
    };
    let given = ids.as_object().map(named).filter(|names| names.len() == outputs);
    let plain = || (0..outputs).map(|at| format!("LABEL_{at}")).collect();
    let mut spec = spec;
    if let HeadSpec::Classify { labels, .. } | HeadSpec::Tag { labels, .. } = &mut spec {
        match given {
            Some(names) => *labels = names,
            None if labels.len() != outputs => *labels = plain(),
            None => {}
        }
    }
    spec
}

impl Source {
    /// What lies with a model, as JSON: of an adapter's own head file, where it has one, else of the model's.
    ///
    /// # Errors
    /// [`Error::Unreadable`].
    pub fn notes(&self) -> Result<Option<Value>, Error> {
        let Some(path) = self.beside(HEAD_FILE) else { return Ok(None) };
        Ok(Some(read_json(path.parent().unwrap_or(Path::new("")), HEAD_FILE)?))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::head::Pooling;

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
    }

    #[test]
    fn both_halves_are_named_in_one_text_or_the_adapter_names_its_model() {
        let (adapter, model) = (fixtures().join("adapters/lora"), fixtures().join("bert/relu"));
        let text = format!("{} on {}", adapter.display(), model.display());
        let found = Source::find(&text).unwrap();
        assert_eq!((found.folder(), found.adapter()), (model.as_path(), Some(adapter.as_path())));
        assert_eq!((found.bare().folder(), found.bare().adapter()), (model.as_path(), None));
        // Alone it names a model that is not there from here.
        let error = Source::find(&adapter).unwrap_err().to_string();
        assert!(error.contains("bert/relu") && error.contains(" on "), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let config = json!({"base_model_name_or_path": model, "peft_type": "LORA"});
        fs::write(folder.path().join(ADAPTER_CONFIG), config.to_string()).unwrap();
        assert_eq!(Source::find(folder.path()).unwrap().folder(), model);
        // On a model that has an adapter of its own there is no second one.
        let both = format!("{} on {}", adapter.display(), folder.path().display());
        let error = Source::find(&both).unwrap_err().to_string();
        assert!(error.contains("an adapter of its own"), "{error}");
        // A folder that is called so is a folder.
        let odd = folder.path().join("one on two");
        fs::create_dir(&odd).unwrap();
        fs::copy(model.join(CONFIG), odd.join(CONFIG)).unwrap();
        assert_eq!(Source::find(&odd).unwrap().folder(), odd);
        assert_eq!(halves("a on b"), Some(("a", "b")));
        assert_eq!((halves("a"), halves(" on b")), (None, None));
    }

    #[test]
    fn a_head_has_as_many_labels_as_its_tensors() {
        let spec = HeadSpec::classifier(vec!["a".into(), "b".into()], false, Pooling::Family);
        let labels = |spec: &HeadSpec| match spec {
            HeadSpec::Classify { labels, .. } => labels.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(labels(&relabelled(spec.clone(), Some(2), &Value::Null)), ["a", "b"]);
        let names = ["LABEL_0", "LABEL_1", "LABEL_2"];
        assert_eq!(labels(&relabelled(spec.clone(), Some(3), &json!({"x": 0}))), names);
        assert_eq!(labels(&relabelled(spec, Some(2), &json!({"no": 1, "yes": 0}))), ["yes", "no"]);
    }
}

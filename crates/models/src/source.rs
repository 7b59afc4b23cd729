//! Where a model lies: a folder with its files, or a file of weights that may carry all of a model itself.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use topwork_text::pictures::{PREPROCESSOR, picture_settings};
use topwork_weights::Checkpoint;

use crate::adapted;
use crate::error::Error;
use crate::family::{FAMILIES, Family, PARTS, family};
use crate::model::{HEAD_FILE, HEAD_WEIGHTS};
use crate::patches::PREPROCESSING;

/// The file that says what a model is.
pub const CONFIG: &str = "config.json";

/// What ELMo calls it.
const ELMO_OPTIONS: &str = "options.json";

/// What the first release of BERT calls it.
const BERT_CONFIG: &str = "bert_config.json";

/// The model in a folder of a model with an adapter that no weights can take up.
pub use topwork_weights::folder::BASE;

/// The adapter there.
pub use topwork_weights::folder::ADAPTER;

/// The file in it that says what it is.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";

/// A model that was found: what it is, and where its parts are.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    weights: PathBuf,
    folder: PathBuf,
    config: Value,
    carried: bool,
    adapter: Option<PathBuf>,
}

/// Whether a folder holds a model and, apart from it, an adapter that the model is not complete without.
pub fn is_adapted(folder: &Path) -> bool {
    !folder.join(CONFIG).is_file()
        && folder.join(BASE).join(CONFIG).is_file()
        && folder.join(ADAPTER).join(ADAPTER_CONFIG).is_file()
}

impl Source {
    /// Finds the model of a folder, or of a file of weights in any format that is read here
    /// ([`topwork_weights::FORMATS`]), which has its settings in itself (GGUF, llama2.c) or beside it: in its folder or,
    /// as exports to ONNX are laid out, in the folder above.
    ///
    /// Settings are those of `config.json`; or of BERT's own `bert_config.json`, or ELMo's `options.json`. Old ones name no
    /// `model_type`: it follows from the class they name.
    ///
    /// A folder in which a model and an adapter lie apart is that model, and [`Source::adapter`] the other half. So is the folder
    /// of an adapter that says where its model lies, and `ADAPTER on MODEL` (see [`adapted`]). `vision of MODEL` is the side for
    /// pictures of a model whose folder opens as its side for texts.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::NoConfig`] if nothing says what the weights are; [`Error::NoBase`] for an adapter whose model
    /// is not here; a file that cannot be read.
    pub fn find(path: impl AsRef<Path>) -> Result<Source, Error> {
        let path = path.as_ref();
        if let Some((adapter, model)) = path.to_str().and_then(adapted::halves) {
            let found = adapted::adapter_in(Path::new(adapter));
            let missing = || Error::Missing { folder: adapter.into(), file: ADAPTER_CONFIG };
            return Self::under(found.ok_or_else(missing)?, Path::new(model));
        }
        if let Some(whole) = path.to_str().and_then(adapted::vision_of) {
            return Self::vision(Path::new(whole));
        }
        if adapted::is_adapter(path) {
            let no_base = |name: Option<String>| Error::NoBase { adapter: path.to_path_buf(), base: name };
            let base = adapted::local_base(path)?;
            return Self::under(path.to_path_buf(), &base.ok_or(no_base(adapted::base_name(path)?))?);
        }
        if is_adapted(path) {
            let adapter = Some(path.join(ADAPTER));
            return Ok(Source { adapter, ..Self::find(path.join(BASE))? });
        }
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
        if path.is_dir() {
            if let Some(config) = config_in(folder)? {
                return Ok(Source {
                    weights: path.into(),
                    folder: folder.into(),
                    config,
                    carried: false,
                    adapter: None,
                });
            }
            // The folder of a GGUF file needs no other. Without weights too, what it lacks first is the config.
            let implied = Checkpoint::open(path).ok().and_then(|weights| weights.config());
            let missing = || Error::Missing { folder: folder.to_path_buf(), file: CONFIG };
            let config = named(implied.ok_or_else(missing)?);
            return Ok(Source {
                weights: path.into(),
                folder: folder.into(),
                config,
                carried: true,
                adapter: None,
            });
        }
        if let Some(config) = Checkpoint::open(path)?.config() {
            let config = named(config);
            return Ok(Source {
                weights: path.into(),
                folder: folder.into(),
                config,
                carried: true,
                adapter: None,
            });
        }
        for folder in [folder, folder.parent().unwrap_or(folder)] {
            if let Some(config) = config_in(folder)? {
                return Ok(Source {
                    weights: path.into(),
                    folder: folder.into(),
                    config,
                    carried: false,
                    adapter: None,
                });
            }
        }
        Err(Error::NoConfig { path: path.to_path_buf() })
    }

    /// The side for pictures of the model in a folder.
    fn vision(folder: &Path) -> Result<Source, Error> {
        let whole = read_json(folder, CONFIG)?;
        let config = part(&whole, true).ok_or(Error::NoVision { folder: folder.to_path_buf() })?;
        Ok(Source {
            weights: folder.into(),
            folder: folder.into(),
            config: prepared(folder, config)?,
            carried: false,
            adapter: None,
        })
    }

    /// The model under an adapter.
    fn under(adapter: PathBuf, model: &Path) -> Result<Source, Error> {
        let base = Self::find(model)?;
        if base.adapter.is_some() {
            return Err(Error::TwoAdapters { folder: model.to_path_buf() });
        }
        Ok(Source { adapter: Some(adapter), ..base })
    }

    /// The model without the adapter.
    pub fn bare(&self) -> Source {
        Source { adapter: None, ..self.clone() }
    }

    /// The settings of the model, as `config.json` has them.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// What [`Checkpoint::open`] is to be given.
    pub fn weights(&self) -> &Path {
        &self.weights
    }

    /// The folder of the adapter without which the model computes something else; the weights, and all that lies with them, are
    /// then those of the model that it is attached to.
    pub fn adapter(&self) -> Option<&Path> {
        self.adapter.as_deref()
    }

    /// Where files lie that belong to the model: tokenizer, notes of a run.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the settings stand in the file of weights, which then stands for itself: what lies beside it may belong to
    /// others.
    pub fn is_carried(&self) -> bool {
        self.carried
    }

    /// A file that lies with the model, if it is there; what is about the head is that of the adapter where it has its own.
    pub fn beside(&self, name: &str) -> Option<PathBuf> {
        if let Some(own) = self.adapter.as_ref().filter(|_| [HEAD_FILE, HEAD_WEIGHTS].contains(&name))
            && own.join(HEAD_FILE).is_file()
        {
            return Some(own.join(name)).filter(|path| path.is_file());
        }
        let path = self.folder.join(name);
        (!self.carried && path.is_file()).then_some(path)
    }
}

fn config_in(folder: &Path) -> Result<Option<Value>, Error> {
    if folder.join(CONFIG).is_file() {
        return Ok(Some(prepared(folder, named(read_json(folder, CONFIG)?))?));
    }
    if folder.join(ELMO_OPTIONS).is_file() {
        let mut options = read_json(folder, ELMO_OPTIONS)?;
        if let Some(keys) = options.as_object_mut().filter(|keys| keys.contains_key("char_cnn")) {
            keys.insert("model_type".to_string(), json!("elmo"));
            return Ok(Some(options));
        }
    }
    if !folder.join(BERT_CONFIG).is_file() {
        return Ok(None);
    }
    let mut config = read_json(folder, BERT_CONFIG)?;
    if let Some(keys) = config.as_object_mut() {
        keys.entry("model_type").or_insert(json!("bert"));
        // What was trained: the words behind masks and the next sentence, of which the weights have both.
        keys.entry("architectures").or_insert(json!(["BertForMaskedLM"]));
    }
    Ok(Some(config))
}

/// The settings of a part of a larger model; `None` for a model that has no such part.
fn part(config: &Value, vision: bool) -> Option<Value> {
    let kind = config.get("model_type").and_then(Value::as_str);
    let part = PARTS.iter().find(|part| kind == Some(part.whole) && part.vision == vision)?;
    // Where the settings say nothing of the part, they are not those of such a model.
    let Some(Value::Object(mut keys)) = config.get(part.key).cloned() else { return None };
    keys.insert("model_type".to_string(), json!(part.model_type));
    keys.insert("architectures".to_string(), json!([part.class]));
    // The width of what both parts become stands with the whole.
    if let Some(width) = config.get("projection_dim") {
        keys.insert("projection_dim".to_string(), width.clone());
    }
    Some(Value::Object(keys))
}

/// The settings of a model that reads pictures, with what its folder says of how they are prepared.
fn prepared(folder: &Path, mut config: Value) -> Result<Value, Error> {
    let pictures = family(&config).is_ok_and(Family::reads_pictures);
    let Some(keys) = config.as_object_mut().filter(|_| pictures) else { return Ok(config) };
    let unreadable = |error: topwork_text::Error| Error::Unreadable {
        path: folder.join(PREPROCESSOR),
        reason: error.to_string(),
    };
    if let Some(settings) = picture_settings(folder).map_err(unreadable)? {
        keys.insert(PREPROCESSING.to_string(), settings);
    }
    Ok(config)
}

/// The settings with a `model_type`, where it follows from the class; of a larger model those of the part that is read.
fn named(config: Value) -> Value {
    let mut config = part(&config, false).unwrap_or(config);
    let Some(keys) = config.as_object_mut().filter(|keys| !keys.contains_key("model_type")) else {
        return config;
    };
    let classes = keys.get("architectures").and_then(Value::as_array).cloned().unwrap_or_default();
    let known = |class: &str| FAMILIES.iter().find(|family| family.head_of(class).is_some());
    if let Some(family) = classes.iter().filter_map(Value::as_str).find_map(known) {
        keys.insert("model_type".to_string(), json!(family.model_types.first()));
    }
    config
}

/// Reads a JSON file of a model folder.
///
/// # Errors
/// [`Error::Missing`], [`Error::Unreadable`].
pub fn read_json(folder: &Path, file: &'static str) -> Result<Value, Error> {
    let path = folder.join(file);
    if !path.is_file() {
        return Err(Error::Missing { folder: folder.to_path_buf(), file });
    }
    let text =
        std::fs::read(&path).map_err(|e| Error::Unreadable { path: path.clone(), reason: e.to_string() })?;
    serde_json::from_slice(&text).map_err(|e| Error::Unreadable { path, reason: e.to_string() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
    }

    #[test]
    fn a_file_of_weights_finds_its_settings_beside_it_or_above() {
        let from = fixtures().join("bert");
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("onnx");
        fs::create_dir(&below).unwrap();
        let file = below.join("x.safetensors");
        fs::copy(from.join("model.safetensors"), &file).unwrap();
        let error = Source::find(&file).unwrap_err().to_string();
        assert!(error.contains("x.safetensors") && error.contains("config.json"), "{error}");
        fs::copy(from.join(CONFIG), folder.path().join(CONFIG)).unwrap();
        let found = Source::find(&file).unwrap();
        assert_eq!((found.weights(), found.folder()), (file.as_path(), folder.path()));
        fs::copy(from.join(CONFIG), below.join(CONFIG)).unwrap();
        assert_eq!(Source::find(&file).unwrap().folder(), below);
        assert!(found.beside(CONFIG).is_some() && !found.is_carried());
    }

    #[test]
    fn a_file_that_says_what_it_is_needs_nothing_else() {
        let file = fixtures().join("weights/llama2c/v0-tied.bin");
        let found = Source::find(&file).unwrap();
        assert_eq!(found.config()["model_type"], "llama");
        assert!(found.is_carried() && found.beside("golden.safetensors").is_none());
        let folder = tempfile::tempdir().unwrap();
        fs::copy(&file, folder.path().join("model.bin")).unwrap();
        assert_eq!(Source::find(folder.path()).unwrap().config(), found.config());
    }

    #[test]
    fn old_settings_say_what_they_are_by_their_class_or_their_name() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(BERT_CONFIG), r#"{"hidden_size": 8}"#).unwrap();
        let config = Source::find(folder.path()).unwrap().config;
        assert_eq!((&config["model_type"], &config["hidden_size"]), (&json!("bert"), &json!(8)));
        fs::write(folder.path().join(CONFIG), r#"{"architectures": ["RobertaForMaskedLM"]}"#).unwrap();
        assert_eq!(Source::find(folder.path()).unwrap().config["model_type"], "roberta");
        fs::write(folder.path().join(CONFIG), r#"{"architectures": ["MyModel"]}"#).unwrap();
        assert_eq!(Source::find(folder.path()).unwrap().config.get("model_type"), None);
    }

    #[test]
    fn of_a_larger_model_the_part_that_is_read_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"{"model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": 12,
            "text_config": {"hidden_size": 8, "projection_dim": 512}, "vision_config": {"hidden_size": 9}}"#;
        fs::write(folder.path().join(CONFIG), text).unwrap();
        let expected = json!({"model_type": "clip_text_model", "architectures": ["CLIPTextModelWithProjection"],
            "hidden_size": 8, "projection_dim": 12});
        assert_eq!(Source::find(folder.path()).unwrap().config, expected);
    }

    #[test]
    fn a_model_beside_its_adapter_is_found_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, r#"{"model_type": "bert"}"#).unwrap();
        };
        file("base/config.json");
        assert!(Source::find(folder.path()).is_err(), "a folder with a model in it is none itself");
        file("adapter/adapter_config.json");
        let found = Source::find(folder.path()).unwrap();
        assert_eq!(found.folder(), folder.path().join(BASE));
        assert_eq!(found.adapter(), Some(folder.path().join(ADAPTER).as_path()));
        assert_eq!(Source::find(folder.path().join(BASE)).unwrap().adapter(), None);
        // An adapter beside a merged model is no part of it.
        file("config.json");
        let found = Source::find(folder.path()).unwrap();
        assert_eq!((found.folder(), found.adapter()), (folder.path(), None));
    }

    #[test]
    fn nothing_at_all_is_said_to_lack_a_config() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Source::find(folder.path()), Err(Error::Missing { file: CONFIG, .. })));
        assert!(Source::find(folder.path().join("none.gguf")).is_err());
    }
}

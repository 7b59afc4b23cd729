//! A model from any form that is read into one that others read.

use std::fs;
use std::path::{Path, PathBuf};

use topwork_models::model::{HEAD_FILE, HEAD_WEIGHTS};
use topwork_models::source::CONFIG;
use topwork_models::{HeadSpec, Model, Source};
use topwork_text::{GgufParts, Tokenizer};
use topwork_weights::gguf::{self, GgufTokenizer, Store};
use topwork_weights::{LoadReport, ModelFolder, atomic, hdf5, pytorch, safetensors, tensorflow};

use crate::error::Error;
use crate::model_files;
use crate::opened;
use crate::sentence::{SENTENCE, SENTENCES};

/// The form a model is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A folder as transformers has it: `config.json`, `model.safetensors`, the tokenizer.
    Folder,
    /// The weights alone, in a safetensors file under the names of transformers.
    SafeTensors,
    /// The weights alone, as a state dict that `torch.load` and `load_state_dict` take.
    PyTorch,
    /// The computation of an encoder with its head as a graph that ONNX Runtime runs.
    Onnx,
    /// A GGUF file, weights and tokenizer.
    Gguf(Store),
    /// A TensorFlow checkpoint under the names of the model's original release, with the settings and the tokenizer beside it.
    TensorFlow,
    /// The HDF5 file that transformers' TensorFlow classes open, with the settings and the tokenizer beside it.
    Keras,
}

impl Form {
    /// The form that a name stands for: by its ending, or a folder.
    pub fn of(path: &Path) -> Form {
        let ending = |path: &Path| path.extension().and_then(|end| end.to_str()).map(str::to_string);
        match ending(path).as_deref() {
            Some("ckpt") => Form::TensorFlow,
            Some("index") if ending(&path.with_extension("")).as_deref() == Some("ckpt") => Form::TensorFlow,
            Some("h5") => Form::Keras,
            Some("gguf") => Form::Gguf(Store::F32),
            Some("onnx") => Form::Onnx,
            Some("safetensors") => Form::SafeTensors,
            Some("bin" | "pt" | "pth") => Form::PyTorch,
            _ => Form::Folder,
        }
    }
}

/// What was converted.
#[derive(Debug)]
pub struct Converted {
    /// How reading went: what the source has beyond what was written stands here with its reason.
    pub report: LoadReport,
    /// What belongs to the model and has no place in the form.
    pub left_out: Vec<String>,
    /// A second file, which the first needs beside it.
    pub beside: Option<PathBuf>,
    /// Files written beside the weights, by which they are a model that opens: settings, tokenizer.
    pub settings: Vec<String>,
}

/// Writes the model of `from`, a folder or a file of weights, to `to`.
///
/// # Errors
/// A source that cannot be read whole; a model or a tokenizer that the form has no place for; a file that cannot be written, or
/// that would take the place of another model's.
pub fn convert(from: impl AsRef<Path>, to: impl AsRef<Path>, form: Form) -> Result<Converted, Error> {
    let (from, to) = (from.as_ref(), to.as_ref());
    let source = Source::find(from)?;
    let (model, report, bare) = opened::open_whole(from)?;
    if model.store.has_grafts() {
        let folder = source.adapter().and_then(Path::parent).unwrap_or(from).to_path_buf();
        return Err(topwork_models::Error::Adapted { folder }.into());
    }
    if let Some(fresh) = report.fresh.first() {
        return Err(Error::Task(format!("{}: it has no weights for {fresh}", from.display())));
    }
    let (mut left_out, mut beside_graph, mut settings) = (Vec::new(), None, Vec::new());
    let tokenizer = match model_files::tokenizer(from) {
        Ok(tokenizer) => Some(tokenizer),
        Err(Error::Text(topwork_text::Error::NoTokenizer { .. })) => {
            left_out.push("the tokenizer: there is none".to_string());
            None
        }
        Err(error) => return Err(error),
    };
    match form {
        Form::Folder if source.adapter().is_some() => opened::save(&model, &source, from, to)?,
        Form::Folder => {
            let files = files(&source, &model, bare, tokenizer.as_ref())?;
            let files: Vec<(&str, &[u8])> =
                files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
            let (config, tensors) = (model.saved_config(), model.export()?);
            ModelFolder { config: &config, tensors: &tensors, files: &files, adapter: &[] }.write(to)?;
        }
        Form::TensorFlow | Form::Keras => {
            let config = model.saved_config();
            let mut files = files(&source, &model, bare, tokenizer.as_ref())?;
            files.insert(0, (CONFIG.to_string(), format!("{config:#}\n").into_bytes()));
            let beside = Beside::new(&source, to, files)?;
            let tensors = model.export()?;
            if form == Form::TensorFlow {
                let variables = tensorflow::export(&config, tensors)?;
                beside.make_folder()?;
                tensorflow::write(to, &variables)?;
            } else {
                let layers = hdf5::export(&config, tensors)?;
                beside.make_folder()?;
                hdf5::write(to, &layers)?;
            }
            settings = beside.write()?;
        }
        Form::Gguf(store) => to_gguf(from, &model, tokenizer.as_ref(), to, store)?,
        Form::Onnx => {
            let beside = topwork_models::onnx::export(&model, to)?;
            left_out = vec!["the settings and the tokenizer: the form has the computation only".to_string()];
            beside_graph = beside;
        }
        Form::SafeTensors | Form::PyTorch => {
            left_out = vec!["the settings and the tokenizer: the form has weights only".to_string()];
            let tensors = model.export()?;
            match form {
                Form::PyTorch => pytorch::write(to, &tensors)?,
                _ => safetensors::write(to, &tensors)?,
            }
        }
    }
    let mapped = matches!(model.spec(), HeadSpec::Embed { dense: Some(_), .. });
    if !matches!(form, Form::Folder | Form::Onnx | Form::TensorFlow | Form::Keras)
        && (mapped || source.beside(HEAD_WEIGHTS).is_some())
    {
        left_out.push("the head: transformers has no class for it".to_string());
    }
    Ok(Converted { report, left_out, beside: beside_graph, settings })
}

/// What belongs to a model but its `config.json` and its weights, by name: tokenizer, head, what others ask for.
fn files(
    source: &Source,
    model: &Model,
    bare: bool,
    tokenizer: Option<&Tokenizer>,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut files = match tokenizer {
        Some(tokenizer) => tokenizer_files(tokenizer)?,
        None => Vec::new(),
    };
    for name in [HEAD_FILE, HEAD_WEIGHTS, "generation_config.json"] {
        if let Some(path) = source.beside(name) {
            files.push((name.to_string(), fs::read(&path).map_err(Error::file(&path))?));
        }
    }
    if !bare {
        let settings = [SENTENCE, SENTENCES];
        for name in settings {
            if let Some(path) = source.beside(name) {
                files.push((name.to_string(), fs::read(&path).map_err(Error::file(&path))?));
            }
        }
        let own = model.sentence_files(&serde_json::Map::new())?;
        files.extend(
            own.into_iter()
                .filter(|(name, _)| source.beside(name).is_none() || !settings.contains(&name.as_str())),
        );
    }
    // That of a folder is among the tokenizer's files.
    if source.is_carried()
        && let Some(template) = model_files::chat_template(source.weights())?
    {
        files.push(("chat_template.jinja".to_string(), template.text().as_bytes().to_vec()));
    }
    Ok(files)
}

/// Files that are to lie beside a file of weights.
struct Beside {
    folder: PathBuf,
    files: Vec<(String, Vec<u8>)>,
}

impl Beside {
    /// Those of `files` that are not there yet. In the model's own folder they may differ, and stay.
    fn new(source: &Source, weights: &Path, mut files: Vec<(String, Vec<u8>)>) -> Result<Beside, Error> {
        let folder = match weights.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let is_own = !source.is_carried()
            && source.adapter().is_none()
            && matches!((folder.canonicalize(), source.folder().canonicalize()), (Ok(to), Ok(own)) if to == own);
        let mut kept = Vec::new();
        for (name, content) in files.drain(..) {
            let path = folder.join(&name);
            match fs::read(&path) {
                Ok(there) if is_own || there == content => {}
                Ok(_) => {
                    return Err(Error::Task(format!(
                        "{} is there and says something else than this model's: write into a folder of its own",
                        path.display()
                    )));
                }
                Err(_) => kept.push((name, content)),
            }
        }
        Ok(Beside { folder, files: kept })
    }

    fn make_folder(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.folder).map_err(Error::file(&self.folder))
    }

    /// Writes them, and gives their names.
    fn write(self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for (name, content) in self.files {
            let path = self.folder.join(&name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(Error::file(parent))?;
            }
            atomic::write(&path, &content)?;
            names.push(name);
        }
        Ok(names)
    }
}

fn to_gguf(
    from: &Path,
    model: &Model,
    tokenizer: Option<&Tokenizer>,
    to: &Path,
    store: Store,
) -> Result<(), Error> {
    let (mut metadata, tensors) = gguf::export(&model.saved_config(), model.export()?)?;
    if let Some(tokenizer) = tokenizer {
        let GgufParts {
            path: _,
            model,
            pre,
            tokens,
            scores,
            token_types,
            merges,
            bos,
            eos,
            unk,
            pad,
            cls,
            sep,
            mask,
            add_bos,
            add_eos,
            add_space_prefix,
            charsmap: _,
        } = GgufParts::of(tokenizer)?;
        let id = |id: Option<u32>| id.map(|id| id as usize);
        let parts = GgufTokenizer {
            model,
            pre: Some(pre).filter(|pre| !pre.is_empty()),
            tokens,
            scores,
            token_types,
            merges,
            bos: id(bos),
            eos: id(eos),
            unk: id(unk),
            sep: id(sep),
            pad: id(pad),
            mask: id(mask),
            cls: id(cls),
            add_bos,
            add_eos,
            add_space_prefix,
            chat_template: model_files::chat_template(from)?.map(|template| template.text().to_string()),
        };
        parts.put_into(&mut metadata);
    }
    Ok(gguf::write(to, &metadata, &tensors, store)?)
}

/// The tokenizer's files as they go into every saved folder.
pub(crate) fn tokenizer_files(tokenizer: &Tokenizer) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let temporary = tempfile::tempdir().map_err(Error::file(Path::new("temporary folder")))?;
    tokenizer.save(temporary.path())?;
    let mut files = Vec::new();
    for entry in fs::read_dir(temporary.path()).map_err(Error::file(temporary.path()))? {
        let path: PathBuf = entry.map_err(Error::file(temporary.path()))?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        files.push((name, fs::read(&path).map_err(Error::file(&path))?));
    }
    files.sort();
    Ok(files)
}

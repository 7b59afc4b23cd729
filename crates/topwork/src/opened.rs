//! Models as they are used: with the adapter attached that lies beside them, or that was named with them.
//!
//! An adapter lies in a folder of its own, as HuggingFace peft, AdapterHub's `adapters` or this program saved it. What opens models
//! opens them here, so that no half is taken for the whole; [`Base`] puts several adapters on one model.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use topwork_adapt::{Attached, adapter_hub, peft};
use topwork_models::adapted::{HUB_HEAD, HUB_HEAD_WEIGHTS, ON, adapter_in};
use topwork_models::model::{HEAD_WEIGHTS, bare_pooling};
use topwork_models::saved::{continues, spec_of};
use topwork_models::source::{ADAPTER_CONFIG, read_json};
use topwork_models::{HeadSpec, Model, SaveOptions, Source};
use topwork_weights::{Checkpoint, LoadReport, Named};

use crate::adapter::{Adapter, on_four_bits};
use crate::convert::tokenizer_files;
use crate::error::Error;
use crate::model_files;

/// [`Model::open`], with the adapter.
///
/// # Errors
/// As [`Model::open`]; an adapter that does not fit the model.
pub fn open(path: &Path, spec: &HeadSpec, seed: u64) -> Result<(Model, LoadReport), Error> {
    let (model, report, _) = open_apart(path, spec, seed)?;
    Ok((model, report))
}

/// [`open`], and the adapter beside the model it is attached to.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_apart(
    path: &Path,
    spec: &HeadSpec,
    seed: u64,
) -> Result<(Model, LoadReport, Option<Attached>), Error> {
    let source = Source::find(path)?;
    let (mut model, mut report) = Model::open_under(&source, spec, seed, &Device::flex())?;
    let Some(adapter) = source.adapter() else { return Ok((model, report, None)) };
    let same = spec_of(&source).is_ok_and(|own| continues(spec, &own));
    if on_four_bits(adapter) {
        topwork_adapt::quantise(&mut model.store)?;
    }
    let attached = attach(adapter, &mut model, &mut report, same)?;
    Ok((model, report, Some(attached)))
}

/// [`Model::open_saved`], with the adapter.
///
/// # Errors
/// As [`Model::open_saved`]; an adapter that does not fit the model; a head that neither has.
pub fn open_saved(path: &Path) -> Result<(Model, LoadReport), Error> {
    let source = Source::find(path)?;
    if source.adapter().is_none() {
        return Ok(Model::open_saved(path, &Device::flex())?);
    }
    let (model, report, _) = open_apart(path, &spec_of(&source)?, 0)?;
    whole(path, &report)?;
    Ok((model, report))
}

/// [`Model::open_whole`], with the adapter.
///
/// # Errors
/// As [`Model::open_whole`]; an adapter that does not fit the model.
pub fn open_whole(path: &Path) -> Result<(Model, LoadReport, bool), Error> {
    let source = Source::find(path)?;
    let (spec, bare) = match spec_of(&source) {
        Ok(spec) => (spec, false),
        Err(topwork_models::Error::NoHead { .. }) => {
            (HeadSpec::embedder(bare_pooling(source.config())?, false), true)
        }
        Err(error) => return Err(error.into()),
    };
    let (model, report, _) = open_apart(path, &spec, 0)?;
    Ok((model, report, bare))
}

/// Refuses a head that was not found.
fn whole(path: &Path, report: &LoadReport) -> Result<(), Error> {
    match report.fresh.first() {
        None => Ok(()),
        Some(fresh) => Err(Error::Task(format!(
            "{}: neither the adapter nor the model has values for {fresh}: this adapter was saved without its head",
            path.display()
        ))),
    }
}

/// Attaches the adapter of a folder, and takes the head that lies with it if it is that of the same task.
fn attach(
    folder: &Path,
    model: &mut Model,
    report: &mut LoadReport,
    takes_head: bool,
) -> Result<Attached, Error> {
    let settings = read_json(folder, ADAPTER_CONFIG)?;
    let (attached, whole) = if settings.get("peft_type").is_some() {
        let upstream = model.upstream_matrix();
        let peft::Opened { attached, whole } = peft::open(folder, &mut model.store, &upstream)?;
        (attached, whole)
    } else {
        let upstream = model.upstream_tensors();
        (adapter_hub::open(folder, &mut model.store, &upstream)?, hub_head(folder)?)
    };
    let mut taken: Vec<(String, String)> = Vec::new();
    for Named { name, shape, data } in whole {
        let found =
            model.store.iter().find(|(_, param)| model.upstream_name(&param.path) == Some(name.clone()));
        let found = found.map(|(id, param)| (id, param.path.clone(), param.file_shape() == shape.as_slice()));
        let is_head = found.as_ref().is_none_or(|(_, path, _)| path.starts_with("head."));
        match found {
            Some((id, path, true)) if takes_head || !is_head => {
                model.store.set(id, data.into_owned())?;
                taken.push((name, path));
            }
            _ if !takes_head && is_head => {
                report.ignored.push((name, "the adapter's head, of another task".to_string()));
            }
            _ => {
                let reason = format!(
                    "{name} of the shape {shape:?}, trained beside the adapter: the model has nothing that it fits"
                );
                return Err(topwork_adapt::Error::File { path: folder.to_path_buf(), reason }.into());
            }
        }
    }
    let own = folder.join(HEAD_WEIGHTS);
    if takes_head && own.is_file() {
        taken.extend(model.take_head(&own)?.into_iter().map(|path| (path.clone(), path)));
    }
    report.fresh.retain(|path| taken.iter().all(|(_, taken)| taken != path));
    report.loaded.extend(taken);
    Ok(attached)
}

/// The head that AdapterHub saved with an adapter.
fn hub_head(folder: &Path) -> Result<Vec<Named<'static>>, Error> {
    let named = HUB_HEAD_WEIGHTS.map(|name| folder.join(name));
    let Some(path) = named.iter().find(|path| path.is_file()) else { return Ok(Vec::new()) };
    if folder.join(HUB_HEAD).is_file() && !read_json(folder, HUB_HEAD)?["config"].is_null() {
        let reason = "a head of AdapterHub's own making, which is not known here: save the adapter from a model of a class of \
                      transformers, or without its head"
            .to_string();
        return Err(topwork_adapt::Error::File { path: path.clone(), reason }.into());
    }
    let file = Checkpoint::open(path)?;
    let tensor = |name: &str| {
        let shape = file.shape(name).unwrap_or_default().to_vec();
        Ok(Named { name: name.to_string(), shape, data: file.read(name)?.into() })
    };
    file.names().map(tensor).collect()
}

/// A model that is loaded once, for several adapters with their heads.
pub struct Base {
    model: Model,
    path: PathBuf,
}

impl Base {
    /// Opens the model, which has no adapter of its own.
    ///
    /// # Errors
    /// As [`Model::open_whole`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (mut model, ..) = Model::open_whole(path, &Device::flex())?;
        model.store.keep_packed();
        Ok(Base { model, path: path.to_path_buf() })
    }

    /// The model without an adapter.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What names this model with an adapter on it.
    pub fn under(&self, adapter: &Path) -> PathBuf {
        let text = format!("{}{}{}", adapter.display(), ON, self.path.display());
        PathBuf::from(text)
    }

    /// The model with an adapter and its head. The values of the model itself are not loaded again and take no memory again.
    ///
    /// # Errors
    /// An adapter that does not fit the model; a head that neither has.
    pub fn with(&self, adapter: &Path) -> Result<(Model, LoadReport), Error> {
        let path = self.under(adapter);
        let source = Source::find(&path)?;
        let Some(folder) = source.adapter() else {
            return Err(Error::Task(format!("{}: no adapter", adapter.display())));
        };
        let spec = spec_of(&source)?;
        let (mut model, unset) = self.model.beside(&spec)?;
        let fresh = unset.iter().map(|&id| model.store.param(id).path.clone()).collect();
        let mut report = LoadReport { fresh, ..LoadReport::default() };
        if on_four_bits(folder) {
            topwork_adapt::quantise(&mut model.store)?;
        }
        attach(folder, &mut model, &mut report, true)?;
        whole(&path, &report)?;
        Ok((model, report))
    }
}

/// Writes the model of an adapter as one without: its weights take the adapter up.
///
/// # Errors
/// [`Error::Task`] for an adapter that no weights can take up, and a path that names none; as [`open_saved`]; the folder cannot be
/// written.
pub fn merge(path: &Path, to: &Path) -> Result<LoadReport, Error> {
    let source = Source::find(path)?;
    let spec = spec_of(&source)?;
    let (model, report, attached) = open_apart(path, &spec, 0)?;
    whole(path, &report)?;
    let attached = attached.ok_or_else(|| no_adapter(path, "to merge"))?;
    if !attached.merges() {
        return Err(Error::Task(format!(
            "{}: a {} adapter changes hidden states, which no weights can take up: it cannot be merged, and stays beside its model",
            path.display(),
            attached.kind
        )));
    }
    save(&model, &source, path, to)?;
    Ok(report)
}

/// Writes the model that an adapter was merged into as it was before, with the head that it has.
///
/// # Errors
/// An adapter that does not fit the model, or cannot be taken out of weights (see [`topwork_adapt::undo`]); the folder cannot be
/// written.
pub fn unmerge(merged: &Path, adapter: &Path, to: &Path) -> Result<(), Error> {
    let source = Source::find(merged)?;
    let (mut model, mut report, _) = open_whole(merged)?;
    let found = adapter_in(adapter);
    let missing = || topwork_models::Error::Missing { folder: adapter.to_path_buf(), file: ADAPTER_CONFIG };
    // The head of the adapter is in the model.
    let attached = attach(&found.ok_or_else(missing)?, &mut model, &mut report, false)?;
    topwork_adapt::undo(&attached, &mut model.store)?;
    save(&model, &source, merged, to)
}

/// Writes a model with its adapter, which is taken out of so many of the lowest layers; how many values it has left.
///
/// # Errors
/// [`Error::Task`] for a path that names no adapter; an adapter that cannot be taken out (see [`topwork_adapt::shorten`]); the
/// folder cannot be written.
pub fn drop_adapters(path: &Path, layers: usize, to: &Path) -> Result<usize, Error> {
    let source = Source::find(path)?;
    let (mut model, report, attached) = open_apart(path, &spec_of(&source)?, 0)?;
    whole(path, &report)?;
    let mut attached = attached.ok_or_else(|| no_adapter(path, "to take out of layers"))?;
    topwork_adapt::shorten(&mut attached, layers, &mut model.store)?;
    let left = attached.values(&model.store);
    let adapter = Adapter::of(attached, source.bare().folder().display().to_string());
    let mut options = beside(&source, path)?;
    adapter.put_into(&mut options, &model)?;
    model.save(to, &options)?;
    Ok(left)
}

/// There is no adapter where one was asked for.
fn no_adapter(path: &Path, what: &str) -> Error {
    Error::Task(format!(
        "{}: there is no adapter {what}: name its folder, with its model if it does not say where that is (ADAPTER on MODEL)",
        path.display()
    ))
}

/// Writes a model with what lay beside it.
pub(crate) fn save(model: &Model, source: &Source, path: &Path, to: &Path) -> Result<(), Error> {
    Ok(model.save(to, &beside(source, path)?)?)
}

/// What is saved with a model as it lay beside it.
fn beside(source: &Source, path: &Path) -> Result<SaveOptions, Error> {
    let notes = source.notes()?.and_then(|notes| notes.as_object().cloned()).unwrap_or_default();
    let files = match model_files::tokenizer(path) {
        Ok(tokenizer) => tokenizer_files(&tokenizer)?,
        Err(Error::Text(topwork_text::Error::NoTokenizer { .. })) => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(SaveOptions { files, notes, ..SaveOptions::default() })
}

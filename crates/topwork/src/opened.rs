//! Models as they are used: with the adapter that lies beside them attached.
//!
//! A bottleneck adapter changes what blocks compute, so a model that was trained with one is a folder of two halves; what opens
//! models opens them here, so that no half is taken for the whole.

use std::path::Path;

use burn::tensor::Device;
use topwork_adapt::{Attached, adapter_hub};
use topwork_models::{HeadSpec, Model, Source};
use topwork_weights::LoadReport;

use crate::error::Error;

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
    let (mut model, report) = Model::open(own(&source, path), spec, seed, &Device::flex())?;
    let attached = attach(&source, &mut model)?;
    Ok((model, report, attached))
}

/// [`Model::open_saved`], with the adapter.
///
/// # Errors
/// As [`Model::open_saved`]; an adapter that does not fit the model.
pub fn open_saved(path: &Path) -> Result<(Model, LoadReport), Error> {
    let source = Source::find(path)?;
    let (mut model, report) = Model::open_saved(own(&source, path), &Device::flex())?;
    attach(&source, &mut model)?;
    Ok((model, report))
}

/// [`Model::open_whole`], with the adapter.
///
/// # Errors
/// As [`Model::open_whole`]; an adapter that does not fit the model.
pub fn open_whole(path: &Path) -> Result<(Model, LoadReport, bool), Error> {
    let source = Source::find(path)?;
    let (mut model, report, bare) = Model::open_whole(own(&source, path), &Device::flex())?;
    attach(&source, &mut model)?;
    Ok((model, report, bare))
}

/// Where the model lies that an adapter is attached to; without one the path given.
fn own<'a>(source: &'a Source, path: &'a Path) -> &'a Path {
    if source.adapter().is_some() { source.folder() } else { path }
}

/// Attaches the adapter, if there is one.
fn attach(source: &Source, model: &mut Model) -> Result<Option<Attached>, Error> {
    let Some(folder) = source.adapter() else { return Ok(None) };
    let upstream = model.upstream_tensors();
    Ok(Some(adapter_hub::open(folder, &mut model.store, &upstream)?))
}

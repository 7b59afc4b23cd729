//! Checkpoints: everything a run needs to go on to the same bits.
//!
//! A checkpoint is a folder `checkpoints/step-00000140` with `state.json` (where the run stood), `weights.safetensors`
//! (every parameter that has been updated; the others are in the pretrained model), `moments.safetensors` and, where a
//! technique averages weights, `averages.safetensors`. It is filled under a temporary name, synced and then renamed, so one that can be seen is whole; older ones are removed
//! after that. Random streams need no state: they are derived from the seed and the step's number.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use burn::backend::DispatchTensor;
use serde::{Deserialize, Serialize};
use topwork_nn::param::{download, upload};
use topwork_nn::{ParamId, ParamKind, ParamStore};
use topwork_weights::{Named, SafeTensorsFile, atomic, safetensors};

use crate::error::Error;
use crate::optim::{AdamW, Saved};
use crate::options::TrainOptions;

/// Where a run stands between two steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Epoch, from zero.
    pub epoch: usize,
    /// Groups of batches done in this epoch.
    pub group: usize,
    /// Optimizer steps done.
    pub step: usize,
    /// The best evaluation so far: step and score.
    pub best: Option<(usize, Option<f64>)>,
    /// What the weights of the best evaluation are, where they are not those that were trained.
    #[serde(default)]
    pub best_weights: Option<String>,
    /// Evaluations since then.
    pub since_best: usize,
    /// True once patience or time has run out, or the score that was asked for is reached.
    pub stopped: bool,
    /// Seconds of all steps so far.
    #[serde(default)]
    pub seconds: f64,
    /// Length of `log.jsonl`.
    pub log_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct State {
    format: u32,
    position: Position,
    /// The options the run was started with: resuming under others would not equal an uninterrupted run.
    options: TrainOptions,
    /// Updates of each parameter that has any.
    updates: Vec<(String, u64)>,
    /// Parameters that have an average.
    #[serde(default)]
    averages: Vec<String>,
    /// Parameters that are measured.
    #[serde(default)]
    measured: Vec<String>,
}

/// Values by parameter.
pub type Values = Vec<(ParamId, DispatchTensor)>;

/// What a run has learnt up to a step.
pub struct Learnt<'a> {
    /// The parameters.
    pub store: &'a ParamStore,
    /// Their moments.
    pub optimizer: &'a AdamW,
    /// Their averages, where a technique keeps some.
    pub averages: &'a Values,
}

/// Version of the format.
const FORMAT: u32 = 1;
const FOLDER: &str = "checkpoints";
const PREFIX: &str = "step-";

/// Writes a checkpoint and removes older ones.
///
/// # Errors
/// [`Error::File`] or [`Error::Weights`] when it cannot be written; the one before is then still there.
pub fn save(
    run: &Path,
    Learnt { store, optimizer, averages }: Learnt,
    options: &TrainOptions,
    position: &Position,
) -> Result<(), Error> {
    let folder = run.join(FOLDER);
    let target = folder.join(format!("{PREFIX}{:08}", position.step));
    let temporary = folder.join(format!(".{PREFIX}{:08}.tmp", position.step));
    let fail = |path: &Path, source| Error::File { path: path.to_path_buf(), source };
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(|e| fail(&temporary, e))?;
    }
    fs::create_dir_all(&temporary).map_err(|e| fail(&temporary, e))?;
    let (mut weights, mut moments, mut updates) = (Vec::new(), Vec::new(), Vec::new());
    let named = |id: ParamId, name: String, data: Vec<f32>| Named {
        name,
        shape: store.param(id).shape.clone(),
        data: Cow::Owned(data),
    };
    let mut measured = Vec::new();
    for (id, param) in store.iter() {
        if param.kind == ParamKind::Running {
            weights.push(named(id, param.path.clone(), store.values(id)?));
            measured.push(param.path.clone());
            continue;
        }
        let Some(Saved { m, v, steps }) = optimizer.save(id, store)? else { continue };
        weights.push(named(id, param.path.clone(), store.values(id)?));
        moments.push(named(id, format!("m.{}", param.path), m));
        moments.push(named(id, format!("v.{}", param.path), v));
        updates.push((param.path.clone(), steps));
    }
    let mut means = Vec::with_capacity(averages.len());
    for (id, mean) in averages {
        let param = store.param(*id);
        let mean = download(mean.clone(), param.shape.len())
            .map_err(|reason| topwork_nn::Error::Device { path: param.path.clone(), reason })?;
        means.push(named(*id, param.path.clone(), mean));
    }
    if !means.is_empty() {
        safetensors::write(temporary.join("averages.safetensors"), &means)?;
    }
    let averages = means.into_iter().map(|mean| mean.name).collect();
    safetensors::write(temporary.join("weights.safetensors"), &weights)?;
    safetensors::write(temporary.join("moments.safetensors"), &moments)?;
    let (position, options) = (position.clone(), options.clone());
    let state = State { format: FORMAT, position, options, updates, averages, measured };
    let state = serde_json::to_vec_pretty(&state).map_err(|e| Error::Task(Box::new(e)))?;
    atomic::write(temporary.join("state.json"), &state)?;
    if target.exists() {
        fs::remove_dir_all(&target).map_err(|e| fail(&target, e))?;
    }
    fs::rename(&temporary, &target).map_err(|e| fail(&target, e))?;
    // The rename itself must be on disk before the older checkpoint goes.
    if let Ok(handle) = fs::File::open(&folder) {
        handle.sync_all().map_err(|e| fail(&folder, e))?;
    }
    for old in list(&folder)?.into_iter().filter(|old| *old != target) {
        fs::remove_dir_all(&old).map_err(|e| fail(&old, e))?;
    }
    Ok(())
}

/// Loads the newest checkpoint of a run folder into a store and an optimizer, and gives where it stood and the averages;
/// `None` if there is none yet.
///
/// # Errors
/// [`Error::Checkpoint`] if it was written with other options or does not fit the model.
pub fn load_newest(
    run: &Path,
    store: &mut ParamStore,
    optimizer: &mut AdamW,
    options: &TrainOptions,
) -> Result<Option<(Position, Values)>, Error> {
    sweep(&run.join(FOLDER))?;
    let Some(path) = list(&run.join(FOLDER))?.pop() else { return Ok(None) };
    let bad = |reason: String| Error::Checkpoint { path: path.clone(), reason };
    let text =
        fs::read(path.join("state.json")).map_err(|source| Error::File { path: path.clone(), source })?;
    let state: State = serde_json::from_slice(&text).map_err(|e| bad(format!("state.json: {e}")))?;
    if state.format != FORMAT {
        return Err(bad(format!("format {} is not the {FORMAT} this version reads", state.format)));
    }
    if state.options != *options {
        return Err(bad(
            "it was written under other settings; resume with the run's own resolved.toml, or start a new run".into(),
        ));
    }
    let weights = SafeTensorsFile::open(path.join("weights.safetensors"))?;
    let moments = SafeTensorsFile::open(path.join("moments.safetensors"))?;
    let find = |store: &ParamStore, name: &str| {
        store.id(name).map_err(|_| bad(format!("the model has no parameter {name}")))
    };
    for name in &state.measured {
        let id = find(store, name)?;
        store.set(id, weights.read(name)?)?;
    }
    for (name, steps) in &state.updates {
        let id = find(store, name)?;
        store.set(id, weights.read(name)?)?;
        let (m, v) = (moments.read(&format!("m.{name}"))?, moments.read(&format!("v.{name}"))?);
        if m.len() != store.param(id).len() || v.len() != m.len() {
            return Err(bad(format!("the moments of {name} have the wrong shape")));
        }
        optimizer.restore(id, store, Saved { m, v, steps: *steps });
    }
    let mut averages = Values::new();
    if !state.averages.is_empty() {
        let means = SafeTensorsFile::open(path.join("averages.safetensors"))?;
        for name in &state.averages {
            let id = find(store, name)?;
            let (mean, param) = (means.read(name)?, store.param(id));
            if mean.len() != param.len() {
                return Err(bad(format!("the average of {name} has the wrong shape")));
            }
            averages.push((id, upload(mean, &param.shape, store.device())));
        }
    }
    Ok(Some((state.position, averages)))
}

/// True if the run folder has a checkpoint to go on from.
///
/// # Errors
/// The folder cannot be listed.
pub fn exists(run: &Path) -> Result<bool, Error> {
    Ok(!list(&run.join(FOLDER))?.is_empty())
}

/// Removes checkpoints that a killed process did not finish.
fn sweep(folder: &Path) -> Result<(), Error> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&format!(".{PREFIX}")) && name.ends_with(".tmp") {
            fs::remove_dir_all(entry.path()).map_err(|source| Error::File { path: entry.path(), source })?;
        }
    }
    Ok(())
}

/// Whole checkpoints, oldest first.
fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let fail = |source| Error::File { path: folder.to_path_buf(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(fail(e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with(PREFIX) && path.join("state.json").is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

//! Model soups: several models that were fine-tuned from one, made into one by averaging their weights.
//!
//! Paper: Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
//! inference time", section 2, algorithm 1 and table 2, <https://arxiv.org/abs/2203.05482>

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::{Map, Value};
use topwork_kernels::gemm::Precision;
use topwork_models::model::HEAD_FILE;
use topwork_models::source::read_json;
use topwork_models::{Model, SaveOptions, Source};
use topwork_train::metrics::Metric;

use crate::convert::tokenizer_files;
use crate::error::Error;
use crate::evaluate::LabelledSet;
use crate::model_files;
use crate::recipe::DataRecipe;
use crate::sentence::{SENTENCE, SENTENCES};

/// Held-out data that decides which models go into a greedy soup.
pub struct Judged<'a> {
    /// The file, and its columns.
    pub data: &'a DataRecipe,
    /// The metric; without a name the first that is shown of the task's.
    pub metric: Option<&'a str>,
    /// Precision of products.
    pub precision: Precision,
}

/// A model that was looked at for a soup.
#[derive(Clone, Debug, PartialEq)]
pub struct Ingredient {
    /// Its folder.
    pub folder: PathBuf,
    /// Its score alone, where there is data.
    pub alone: Option<f64>,
    /// The score of the soup with it, where there is data.
    pub with: Option<f64>,
    /// Whether it is in the soup.
    pub taken: bool,
}

/// What was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Soup {
    /// The models: as given, or of a greedy soup the best first.
    pub ingredients: Vec<Ingredient>,
    /// The metric, of a greedy soup.
    pub metric: Option<String>,
    /// The score of what was written, of a greedy soup.
    pub score: Option<f64>,
    /// What reading the data did, and what of the folders was left out.
    pub notes: Vec<String>,
}

/// Averages the weights of models and writes the result as a model folder to `out`: of all of them, or with `judged` of those
/// that make it no worse, tried from the best to the worst.
///
/// # Errors
/// Fewer than two folders; folders whose configuration, labels, parameters or tokenizers differ, by name; data that does not fit
/// the models; a folder that cannot be written.
pub fn soup(folders: &[PathBuf], out: &Path, judged: Option<&Judged>) -> Result<Soup, Error> {
    let [first, others @ ..] = folders else { return Err(too_few(0)) };
    if others.is_empty() {
        return Err(too_few(1));
    }
    let (mut pot, _) = Model::open_saved(first, &Device::flex())?;
    let tokenizer = tokenizer_files(&model_files::tokenizer(first)?)?;
    for other in others {
        let (model, _) = Model::open_saved(other, &Device::flex())?;
        same_model((first, &pot), (other, &model))?;
        if tokenizer_files(&model_files::tokenizer(other)?)? != tokenizer {
            return Err(differ(first, other, "the tokenizers"));
        }
    }
    let mut made = match judged {
        None => uniform(&mut pot, folders)?,
        Some(judged) => greedy(&mut pot, folders, judged)?,
    };
    let mut notes = match Source::find(first)?.beside(HEAD_FILE) {
        Some(_) => read_json(first, HEAD_FILE)?.as_object().cloned().unwrap_or_default(),
        None => Map::new(),
    };
    // The one that was tuned for a model says nothing of another.
    if notes.remove("threshold").is_some_and(|threshold| threshold != Value::Null) {
        made.notes.push("the tuned threshold is left out: tune it anew for the soup".to_string());
    }
    let files = beside(first, tokenizer)?;
    pot.save(out, &SaveOptions { files, notes, ..SaveOptions::default() })?;
    Ok(made)
}

fn too_few(got: usize) -> Error {
    Error::Task(format!("a soup is made of at least two model folders, got {got}"))
}

fn differ(first: &Path, other: &Path, what: &str) -> Error {
    Error::Task(format!(
        "{} and {} cannot be averaged: {what} differ; a soup is made of models fine-tuned from one, for one task",
        first.display(),
        other.display()
    ))
}

/// Refuses models that are not two fine-tunings of one for the same answers.
fn same_model((first, model): (&Path, &Model), (other, another): (&Path, &Model)) -> Result<(), Error> {
    if model.family.name != another.family.name {
        let what = format!("the families ({} and {})", model.family.name, another.family.name);
        return Err(differ(first, other, &what));
    }
    let shapes = |model: &Model| -> Vec<(String, Vec<usize>)> {
        model.store.iter().map(|(_, param)| (param.path.clone(), param.shape.clone())).collect()
    };
    let heads = (serde_json::to_value(model.spec()), serde_json::to_value(another.spec()));
    if let (Ok(one), Ok(two)) = heads
        && one != two
    {
        let what = if one.get("labels") == two.get("labels") { "the heads" } else { "the labels" };
        return Err(differ(first, other, what));
    }
    let (one, two) = (shapes(model), shapes(another));
    if let Some(((path, shape), (_, other_shape))) = one.iter().zip(&two).find(|(one, two)| one != two) {
        return Err(differ(first, other, &format!("the shapes ({path}: {shape:?} and {other_shape:?})")));
    }
    if one.len() != two.len() {
        return Err(differ(first, other, &format!("the parameters ({} and {})", one.len(), two.len())));
    }
    // The rest of what a family computes by: activations, heads, epsilons.
    if let Some(key) = other_key(&model.saved_config(), &another.saved_config()) {
        return Err(differ(first, other, &format!("the values of {key:?} in config.json")));
    }
    Ok(())
}

/// The first key of two configurations that says something of the computation and is not the same.
fn other_key(one: &Value, two: &Value) -> Option<String> {
    let told = ["_name_or_path", "transformers_version", "dtype", "torch_dtype"];
    let (one, two) = (one.as_object()?, two.as_object()?);
    let mut keys = one.keys().chain(two.keys()).filter(|key| !told.contains(&key.as_str()));
    keys.find(|key| one.get(*key) != two.get(*key)).cloned()
}

/// All of them.
fn uniform(pot: &mut Model, folders: &[PathBuf]) -> Result<Soup, Error> {
    for (taken, folder) in folders.iter().enumerate().skip(1) {
        stir(pot, folder, taken)?;
    }
    let ingredients = folders
        .iter()
        .map(|folder| Ingredient { folder: folder.clone(), alone: None, with: None, taken: true })
        .collect();
    Ok(Soup { ingredients, metric: None, score: None, notes: Vec::new() })
}

/// Those that make the soup no worse, from the best to the worst.
fn greedy(pot: &mut Model, folders: &[PathBuf], judged: &Judged) -> Result<Soup, Error> {
    let mut set = LabelledSet::read(pot, &folders[0], judged.data, None)?;
    // Answers are compared as the weights give them.
    set.saved.threshold = None;
    let named = judged.metric.map(str::to_string);
    let measure = |model: &mut Model, name: &Option<String>| -> Result<(String, f64), Error> {
        model.store.keep_packed();
        let evaluation = set.measure(model, judged.precision, 0)?.evaluation;
        model.store.release_packed();
        let first = || evaluation.headline().first().map(|name| name.to_string());
        let name = name.clone().or_else(first).unwrap_or_else(|| "loss".to_string());
        let score = evaluation.value(&name)?;
        Ok((name, score))
    };
    let (metric, score) = measure(pot, &named)?;
    let higher =
        Metric::parse(&metric, set.task.measures(), &set.labels, set.saved.positive)?.higher_is_better();
    let named = Some(metric.clone());
    let mut alone = vec![(folders[0].clone(), score)];
    for folder in &folders[1..] {
        let (mut model, _) = Model::open_saved(folder, &Device::flex())?;
        alone.push((folder.clone(), measure(&mut model, &named)?.1));
    }
    // The best first; of equals the one that was named first.
    alone.sort_by(|(_, a), (_, b)| if higher { b.total_cmp(a) } else { a.total_cmp(b) });
    let (best, mut score) = alone[0].clone();
    fill(pot, &best)?;
    let mut ingredients =
        vec![Ingredient { folder: best, alone: Some(score), with: Some(score), taken: true }];
    let mut taken = 1;
    for (folder, alone) in alone.into_iter().skip(1) {
        let before = values(pot)?;
        stir(pot, &folder, taken)?;
        let (_, with) = measure(pot, &named)?;
        let good = if higher { with >= score } else { with <= score };
        if good {
            (score, taken) = (with, taken + 1);
        } else {
            set_values(pot, before)?;
        }
        ingredients.push(Ingredient { folder, alone: Some(alone), with: Some(with), taken: good });
    }
    let score = Some(score);
    Ok(Soup { ingredients, metric: named, score, notes: set.notes })
}

/// Adds a model to a mean of `taken`.
fn stir(pot: &mut Model, folder: &Path, taken: usize) -> Result<(), Error> {
    let (model, _) = Model::open_saved(folder, &Device::flex())?;
    let share = 1.0 / (taken + 1) as f64;
    let ids: Vec<_> = pot.store.iter().map(|(id, _)| id).collect();
    for id in ids {
        let (mut mean, other) = (pot.store.values(id)?, model.store.values(id)?);
        for (mean, other) in mean.iter_mut().zip(&other) {
            *mean = (f64::from(*mean) + share * (f64::from(*other) - f64::from(*mean))) as f32;
        }
        pot.store.set(id, mean)?;
    }
    Ok(())
}

fn values(model: &Model) -> Result<Vec<Vec<f32>>, Error> {
    Ok(model.store.iter().map(|(id, _)| model.store.values(id)).collect::<Result<_, _>>()?)
}

fn set_values(model: &mut Model, values: Vec<Vec<f32>>) -> Result<(), Error> {
    let ids: Vec<_> = model.store.iter().map(|(id, _)| id).collect();
    for (id, values) in ids.into_iter().zip(values) {
        model.store.set(id, values)?;
    }
    Ok(())
}

/// Puts the weights of a folder into the pot.
fn fill(pot: &mut Model, folder: &Path) -> Result<(), Error> {
    let (model, _) = Model::open_saved(folder, &Device::flex())?;
    set_values(pot, values(&model)?)
}

/// What lies beside the weights of the first model and holds for the soup.
fn beside(first: &Path, mut files: Vec<(String, Vec<u8>)>) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let source = Source::find(first)?;
    for name in [model_files::GENERATION, SENTENCE, SENTENCES] {
        if let Some(path) = source.beside(name) {
            files.push((name.to_string(), fs::read(&path).map_err(Error::file(&path))?));
        }
    }
    Ok(files)
}

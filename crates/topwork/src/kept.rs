//! How much of what a model knew a run has kept: its pretraining task, or another task that it was trained for, measured before the
//! run and after it, with the head as it was and the encoder as it is now.
//!
//! Paper: McCloskey and Cohen 1989, "Catastrophic Interference in Connectionist Networks",
//! <https://doi.org/10.1016/S0079-7421(08)60536-8>; what is measured is the source task's own score, as in Howard and Ruder 2018,
//! "Universal Language Model Fine-tuning for Text Classification", section 5 ("impact of LM fine-tuning"),
//! <https://arxiv.org/abs/1801.06146>

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use topwork_kernels::gemm::Precision;
use topwork_models::saved::spec_of;
use topwork_models::{HeadSpec, Model, Source};
use topwork_train::metrics::Metric;

use crate::error::Error;
use crate::evaluate::LabelledSet;
use crate::hub::model_in;
use crate::job::RESOLVED;
use crate::opened;
use crate::recipe::{DataRecipe, KeepRecipe, Recipe};

/// What a model knew, before and after a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kept {
    /// `masked-lm`, `causal-lm`, or the folder whose task it is.
    pub of: String,
    /// The metric.
    pub metric: String,
    /// False for metrics where less is better.
    pub higher_is_better: bool,
    /// Its value with the model as it was.
    pub before: f64,
    /// Its value with the encoder as the run leaves it, and the same head.
    pub after: f64,
    /// Texts it is measured on.
    pub texts: usize,
}

impl Kept {
    /// The same as a line for a person.
    pub fn line(&self) -> String {
        let Kept { of, metric, before, after, texts, .. } = self;
        let way = if self.is_worse() { "forgotten" } else { "kept" };
        format!("{way}: {metric} of {of} on {texts} texts is {after:.4}, before the run it was {before:.4}")
    }

    fn is_worse(&self) -> bool {
        if self.higher_is_better { self.after < self.before } else { self.after > self.before }
    }
}

/// What is measured, and what it was before the run.
pub(crate) struct Keep {
    of: String,
    folder: PathBuf,
    spec: HeadSpec,
    set: LabelledSet,
    metric: String,
    higher_is_better: bool,
    before: f64,
    precision: Precision,
}

impl Keep {
    /// Reads everything and measures the model as it is; `start` is where the run starts.
    ///
    /// # Errors
    /// [`Error::Task`] for a head that is not there, data that nothing names, or another architecture than the run's; everything
    /// wrong with the data.
    pub fn new(keep: &KeepRecipe, start: &Path, precision: Precision) -> Result<Self, Error> {
        let wrong = |what: String| Error::Task(format!("keep: {what}"));
        let pretrained = match keep.score.as_str() {
            "masked-lm" => Some(HeadSpec::MaskedLm),
            "causal-lm" => Some(HeadSpec::CausalLm),
            _ => None,
        };
        let (folder, spec, mut data, mut metric) = match pretrained {
            Some(spec) => (start.to_path_buf(), spec, None, None),
            None => {
                let given = Path::new(&keep.score);
                let folder = model_in(given)?;
                let run = [given, given.parent().unwrap_or(given)].map(|folder| folder.join(RESOLVED));
                let recipe =
                    run.iter().find(|path| path.is_file()).map(|path| Recipe::load(path)).transpose()?;
                let metric = recipe.as_ref().and_then(|recipe| recipe.task.metric.clone());
                let spec = spec_of(&Source::find(&folder)?)?;
                (folder, spec, recipe.map(|recipe| recipe.data), metric)
            }
        };
        data = match (&keep.data, data) {
            (Some(path), Some(data)) => Some(measured_on(path.clone(), data)),
            (Some(path), None) => Some(DataRecipe { train: path.clone(), ..DataRecipe::default() }),
            (None, Some(data)) => data.test.clone().map(|path| measured_on(path, data)),
            (None, None) => None,
        };
        let Some(data) = data else {
            return Err(wrong(format!(
                "nothing says what {} is measured on: name a file (--keep-data FILE, keep.data), texts for a language model, labelled \
                 data of its task for another",
                keep.score
            )));
        };
        let (model, report) = opened::open(&folder, &spec, 0)?;
        let fresh: Vec<&str> = report.fresh.iter().map(String::as_str).collect();
        if !fresh.is_empty() {
            return Err(wrong(format!(
                "{} holds no head for {}: {} would be fresh, and says nothing of what was known; take a model that was published \
                 with its head",
                folder.display(),
                keep.score,
                fresh.join(", ")
            )));
        }
        let set = LabelledSet::read(&model, &folder, &data, None)?;
        let evaluation = set.measure(&model, precision, 0)?.evaluation;
        let first = || evaluation.headline().first().map(|name| name.to_string());
        let name = metric.take().or_else(first).unwrap_or_else(|| "loss".to_string());
        let measures = set.task.measures();
        let higher_is_better =
            Metric::parse(&name, measures, &set.labels, set.saved.positive)?.higher_is_better();
        let before = evaluation.value(&name)?;
        let of = keep.score.clone();
        Ok(Keep { of, folder, spec, set, metric: name, higher_is_better, before, precision })
    }

    /// Measures what the model of a folder, trained since, has of it.
    ///
    /// # Errors
    /// [`Error::Task`] for another architecture; a missing or broken file.
    pub fn after(&self, trained: &Path) -> Result<Kept, Error> {
        let (before, _) = opened::open(&self.folder, &self.spec, 0)?;
        let (mut model, _) = opened::open(trained, &self.spec, 0)?;
        with_head_of(&mut model, &before)?;
        drop(before);
        model.store.keep_packed();
        let evaluation = self.set.measure(&model, self.precision, 0)?.evaluation;
        Ok(Kept {
            of: self.of.clone(),
            metric: self.metric.clone(),
            higher_is_better: self.higher_is_better,
            before: self.before,
            after: evaluation.value(&self.metric)?,
            texts: self.set.part.dataset.len(),
        })
    }
}

/// Gives a model the head of another.
fn with_head_of(model: &mut Model, other: &Model) -> Result<(), Error> {
    let heads = |model: &Model| -> Vec<(String, Vec<usize>)> {
        let own = model.store.iter().filter(|(_, param)| param.path.starts_with("head."));
        own.map(|(_, param)| (param.path.clone(), param.shape.clone())).collect()
    };
    let (own, theirs) = (heads(model), heads(other));
    if model.family.name != other.family.name || own != theirs {
        return Err(Error::Task(format!(
            "keep: the head is of a {} model with {} parameters, the trained model is of {} with {}: only a model of the same \
             architecture can be asked what it kept",
            other.family.name,
            theirs.len(),
            model.family.name,
            own.len()
        )));
    }
    for (path, _) in own {
        let values = other.store.values(other.store.id(&path)?)?;
        model.store.set(model.store.id(&path)?, values)?;
    }
    Ok(())
}

/// A file read as the data of a recipe is.
fn measured_on(file: PathBuf, data: DataRecipe) -> DataRecipe {
    DataRecipe { train: file, dev: None, test: None, limit: 0, ..data }
}

//! What a run folder says of its task: whether it is done, with which settings, and the score.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use topwork_data::Format;
use topwork_kernels::gemm::Precision;
use topwork_train::metrics::Evaluation;

use super::{Context, GlueTask};
use crate::datasets::{find, measured};
use crate::error::Error;
use crate::evaluate::evaluate;
use crate::job::{GIVEN, Outcomes, begun};
use crate::recipe::{DataRecipe, Recipe};

/// The score of a finished run: `glue.json` in its folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Score {
    /// The task.
    pub task: String,
    /// The seed of the run.
    pub seed: u64,
    /// The official measures, those of another development set last.
    pub values: Vec<Value>,
    /// Examples learnt from.
    pub train: usize,
    /// Examples of the development set.
    pub dev: usize,
    /// The step whose weights were kept.
    pub best_step: Option<usize>,
    /// Seconds of the run.
    pub seconds: f64,
}

/// A measure and its value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Value {
    /// The measure, with the set where there are two: `accuracy (mismatched)`.
    pub name: String,
    /// Its value, from 0 to 1; `None` where it has none.
    pub value: Option<f64>,
    /// The ends of its 95% interval.
    pub interval: Option<(f64, f64)>,
}

/// The name of the file.
const SCORE: &str = "glue.json";

impl Score {
    /// The mean of the measures; `None` if one has no value.
    pub fn mean(&self) -> Option<f64> {
        let values: Option<Vec<f64>> = self.values.iter().map(|value| value.value).collect();
        let values = values.filter(|values| !values.is_empty())?;
        Some(values.iter().sum::<f64>() / values.len() as f64)
    }

    /// The score of a folder whose run is finished.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Score>, Error> {
        read_kept(&folder.join(SCORE))
    }

    /// Writes it, by which the run counts as finished.
    ///
    /// # Errors
    /// A full disk.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        keep(&folder.join(SCORE), self)
    }
}

/// What a finished run has said of itself in a file of its folder; `None` while it is not finished.
///
/// # Errors
/// The file is there and cannot be read.
pub fn read_kept<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file(path)(error)),
    };
    let read = serde_json::from_str(&text);
    read.map(Some)
        .map_err(|error| Error::Recipe { place: path.display().to_string(), reason: error.to_string() })
}

/// Writes what a finished run says of itself, by which it counts as finished.
///
/// # Errors
/// A full disk.
pub fn keep<T: Serialize>(path: &Path, said: &T) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(said)
        .map_err(|error| Error::Recipe { place: path.display().to_string(), reason: error.to_string() })?;
    Ok(topwork_weights::atomic::write(path, text.as_bytes())?)
}

/// Removes folders of a run that are there, by their names.
///
/// # Errors
/// A folder that cannot be removed.
pub fn remove(run: &Path, names: &[&str]) -> Result<(), Error> {
    for folder in names.iter().map(|name| run.join(name)) {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file(&folder)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a folder with a run of other settings: its score would stand beside scores of these.
///
/// # Errors
/// [`Error::Recipe`] with what differs.
pub fn same_settings(folder: &Path, recipe: &Recipe) -> Result<(), Error> {
    let path = folder.join(GIVEN);
    if !path.is_file() || !(begun(folder) || folder.join(SCORE).is_file()) {
        return Ok(());
    }
    let written = |recipe: &Recipe| toml::to_string(recipe).unwrap_or_default();
    let (then, now) = (written(&Recipe::load(&path)?), written(recipe));
    if then == now {
        return Ok(());
    }
    let only = |a: &str, b: &str| -> Vec<String> {
        a.lines().filter(|line| !b.lines().any(|other| other == *line)).map(str::to_string).collect()
    };
    let (then, now) = (only(&then, &now).join(", "), only(&now, &then).join(", "));
    Err(Error::Recipe {
        place: path.display().to_string(),
        reason: format!(
            "the run in this folder was started with other settings (there: {}; now: {}): take them, or another --out",
            if then.is_empty() { "none of these" } else { &then },
            if now.is_empty() { "none of these" } else { &now }
        ),
    })
}

/// The official measures of a finished run.
///
/// # Errors
/// MNLI's other development set is not there or does not fit.
pub fn score(task: &GlueTask, seed: u64, outcomes: &Outcomes, context: &Context) -> Result<Score, Error> {
    let mut values = Vec::new();
    if let Some(test) = &outcomes.test {
        let set = if task.other.is_some() { " (matched)" } else { "" };
        values.extend(task.measures.iter().map(|measure| value(&test.evaluation, measure, set)));
    }
    if let Some(other) = task.other {
        let set = find(other)?;
        let mut data = DataRecipe::default();
        let said = measured(set, &mut data, context.hub, context.progress)?;
        (context.note)(&said);
        let precision = precision(&outcomes.resolved);
        let resamples = outcomes.resolved.report.resamples;
        let evaluated = evaluate(&outcomes.best(), &data, precision, resamples)?;
        let evaluation = &evaluated.measured.evaluation;
        values.extend(task.measures.iter().map(|measure| value(evaluation, measure, " (mismatched)")));
    }
    Ok(Score {
        task: task.name.to_string(),
        seed,
        values,
        train: outcomes.data.train.len(),
        dev: outcomes.data.test.len(),
        best_step: outcomes.run.best.map(|(step, _)| step),
        seconds: outcomes.seconds,
    })
}

/// The precision a run was trained at, which a resolved recipe says.
pub fn precision(resolved: &Recipe) -> Precision {
    match resolved.train.get("precision").and_then(toml::Value::as_str) {
        Some("bf16") => Precision::Bf16,
        _ => Precision::F32,
    }
}

fn value(evaluation: &Evaluation, measure: &str, set: &str) -> Value {
    Value {
        name: format!("{measure}{set}"),
        value: evaluation.value(measure).ok(),
        interval: evaluation.interval(measure).map(|interval| (interval.lower, interval.upper)),
    }
}

/// The number of a row of an official file, from 0, of the row a reader names.
pub fn index(row: usize, format: Format) -> Option<usize> {
    // The lines of a table are counted with its header.
    row.checked_sub(if matches!(format, Format::Tsv | Format::Csv) { 2 } else { 1 })
}

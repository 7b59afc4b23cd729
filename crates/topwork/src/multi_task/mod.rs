//! Several tasks learnt at once by one encoder with a head for each, held against each task alone.
//!
//! The tasks have labels of texts. How often each is drawn is what the ways differ by ([`Mixing`]). A run for each way and seed, and
//! for each task alone; what is finished is taken as it is, what was interrupted is gone on with. The checkpoint is chosen by the
//! accuracy over the development data of all tasks.
//!
//! Paper: Liu et al. 2019, "Multi-Task Deep Neural Networks for Natural Language Understanding", section 3,
//! <https://arxiv.org/abs/1901.11504>
//!
//! [`Mixing`]: crate::mixing::Mixing

mod table;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::divided::{Heads, Stage, joined, stages};
use crate::error::Error;
use crate::evaluate::evaluate;
use crate::glue::{Context, keep, precision, read_kept, remove, same_settings};
use crate::mixing::Mixing;
use crate::recipe::{DataRecipe, Kind, Recipe};
use crate::seeds::seconds;

/// What is to be done.
pub struct Plan<'a> {
    /// The tasks: what each is called, and its recipe; how to train comes from the first.
    pub tasks: &'a [(String, Recipe)],
    /// How they are mixed: `proportional`, `sqrt`, `equal`, `annealed`, `uncertainty`, `temperature=N`.
    pub mixings: Vec<String>,
    /// A run for each seed.
    pub seeds: Vec<u64>,
    /// Keep the models of all runs; else those of several tasks.
    pub keep_models: bool,
    /// The folder of everything.
    pub folder: &'a Path,
}

/// One run: `multi-task.json` in its folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// How tasks are mixed, or [`ALONE`].
    pub mixing: String,
    /// The seed.
    pub seed: u64,
    /// The score on the test data of each task; of one alone those of the others are missing.
    pub scores: Vec<Option<f64>>,
    /// Seconds of training.
    pub seconds: f64,
    /// Values of the model.
    pub values: usize,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// The model.
    pub model: String,
    /// The tasks.
    pub tasks: Vec<String>,
    /// Texts of each task: to learn from, to choose by, to measure on.
    pub texts: Vec<[usize; 3]>,
    /// The metric.
    pub metric: String,
    /// The ways to mix, in the order asked for.
    pub mixings: Vec<String>,
    /// The runs.
    pub runs: Vec<Run>,
    /// The run that was stopped, if one was: the same command goes on with it.
    pub interrupted: Option<PathBuf>,
}

const FINISHED: &str = "multi-task.json";

/// What the tasks that are learnt each by itself are called.
pub const ALONE: &str = "alone";

/// Does everything that is not done yet, and tells `each` of the results after every run.
///
/// # Errors
/// Fewer than two tasks, tasks without one label a text, a mixing that there is not; a folder that holds runs of other settings;
/// what goes wrong in a run.
pub fn run(
    plan: &Plan,
    context: &Context,
    each: &mut dyn FnMut(&Results) -> Result<(), Error>,
) -> Result<Results, Error> {
    let [(_, first), _, ..] = plan.tasks else {
        return Err(Error::Task("several tasks at once are two or more".to_string()));
    };
    for mixing in &plan.mixings {
        mixing.parse::<Mixing>()?;
    }
    let metric = first.task.metric.clone().unwrap_or_else(|| "accuracy".to_string());
    let mut results = Results {
        model: first.model.clone(),
        tasks: plan.tasks.iter().map(|(name, _)| name.clone()).collect(),
        metric: metric.clone(),
        mixings: plan.mixings.clone(),
        ..Results::default()
    };
    for &seed in &plan.seeds {
        let folder = plan.folder.join(format!("seed-{seed}"));
        let stages = stages(plan.tasks, Heads::Own, seed, &folder.join("data"), context)?;
        results.texts = stages.iter().map(|stage| stage.texts).collect();
        let study = Study { plan, seed, stages: &stages, metric: &metric, context };
        for (task, stage) in stages.iter().enumerate() {
            let folder = folder.join(ALONE).join(&stage.name);
            let files = ["train", "dev", "test"].map(|part| stage.file(part));
            let Some(run) = study.train(ALONE, files, &folder, Some(task))? else {
                results.interrupted = Some(folder);
                return Ok(results);
            };
            results.runs.push(run);
        }
        for mixing in &plan.mixings {
            let folder = folder.join(mixing.replace('=', "-"));
            let mut files = Vec::new();
            for part in ["train", "dev", "test"] {
                files.push(joined(&stages, part)?);
            }
            let files: [PathBuf; 3] = files.try_into().unwrap_or_default();
            let Some(run) = study.train(mixing, files, &folder, None)? else {
                results.interrupted = Some(folder);
                return Ok(results);
            };
            results.runs.push(run);
            each(&results)?;
        }
    }
    Ok(results)
}

/// One seed of a study.
struct Study<'a> {
    plan: &'a Plan<'a>,
    seed: u64,
    stages: &'a [Stage],
    metric: &'a str,
    context: &'a Context<'a>,
}

impl Study<'_> {
    /// Trains one task, or all of them mixed, and measures on each that was learnt; `None` if it was interrupted.
    fn train(
        &self,
        mixing: &str,
        [train, dev, test]: [PathBuf; 3],
        folder: &Path,
        alone: Option<usize>,
    ) -> Result<Option<Run>, Error> {
        let mut recipe = self.plan.tasks[0].1.clone();
        recipe.data = DataRecipe { train, dev: Some(dev), test: Some(test), ..self.stages[0].columns() };
        recipe.task.kind = Some(Kind::Classify);
        recipe.task.max_length = self.stages.iter().map(|stage| stage.max_length).max();
        recipe.task.metric = Some(self.metric.to_string());
        recipe.task.groups = self.stages.iter().map(|stage| stage.labels.clone()).collect();
        recipe.batch.mixing = alone.is_none().then(|| mixing.to_string());
        recipe.report.baseline = false;
        recipe.report.threshold = false;
        recipe.train.insert("seed".to_string(), toml::Value::Integer(self.seed as i64));
        same_settings(folder, &recipe)?;
        let path = folder.join(FINISHED);
        if let Some(run) = read_kept(&path)? {
            return Ok(Some(run));
        }
        (self.context.note)(&format!("{mixing} with seed {}: {}", self.seed, folder.display()));
        let outcomes = self.context.train(&recipe, folder)?;
        if outcomes.run.interrupted {
            return Ok(None);
        }
        let mut scores = Vec::new();
        for (at, stage) in self.stages.iter().enumerate() {
            let known = alone.is_none_or(|alone| alone == at);
            let score = known.then(|| {
                let measured =
                    evaluate(&outcomes.best(), &stage.measured_on(), precision(&outcomes.resolved), 0)?;
                Ok::<_, Error>(measured.measured.evaluation.value(self.metric).ok())
            });
            scores.push(score.transpose()?.flatten());
        }
        let run = Run {
            mixing: mixing.to_string(),
            seed: self.seed,
            scores,
            seconds: seconds(&outcomes.events),
            values: outcomes.total_values,
        };
        keep(&path, &run)?;
        let large: &[&str] = if alone.is_some() { &["checkpoints", "best"] } else { &["checkpoints"] };
        if !self.plan.keep_models {
            remove(folder, large)?;
        }
        Ok(Some(run))
    }
}

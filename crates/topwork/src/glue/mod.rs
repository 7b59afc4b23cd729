//! The nine tasks of GLUE, one after the other: a run folder each, the official measures on the development sets, files for the
//! leaderboard.
//!
//! The labels of the official test sets are not public. So what is learnt from is the official training set, and the official
//! development set chooses the checkpoint as well as measures it, as is usual in the literature; every report says so.
//!
//! Paper: Wang et al. 2019, "GLUE", sections 3 (tasks and measures) and 4 (the score), <https://arxiv.org/abs/1804.07461>

mod state;
mod submission;
mod summary;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

pub use state::{Score, Value};
pub(crate) use state::{keep, precision, read_kept, remove, same_settings};
pub use summary::{grid, report};

use crate::datasets::{DataSet, Files, Split, find};
use crate::error::Error;
use crate::frozen::SharedFeatures;
use crate::hub::{Hub, Progress};
use crate::job::{JobContext, JobObserver, Outcomes, begun, resume, seed_of, train};
use crate::nearest::nearest;
use crate::recipe::Recipe;

/// A task of the benchmark.
#[derive(Debug)]
pub struct GlueTask {
    /// Its short name: `sst2`.
    pub name: &'static str,
    /// Its data set.
    pub set: &'static str,
    /// The official measures; the score of the task is their mean.
    pub measures: &'static [&'static str],
    /// Another development set, of which the same is measured: MNLI's mismatched one.
    pub other: Option<&'static str>,
    /// The name of its file for the leaderboard, and that of the other set's.
    pub files: &'static [&'static str],
    /// Whether classes are numbers in that file.
    pub numbers: bool,
    /// The column of the text in the official test file, where it is another one than in the training file.
    pub text: Option<&'static str>,
}

const fn task(name: &'static str, set: &'static str, measures: &'static [&'static str]) -> GlueTask {
    GlueTask { name, set, measures, other: None, files: &[], numbers: true, text: None }
}

/// Every task, in the order of the paper's table.
pub const TASKS: &[GlueTask] = &[
    GlueTask { files: &["CoLA"], text: Some("sentence"), ..task("cola", "glue/cola", &["matthews"]) },
    GlueTask { files: &["SST-2"], ..task("sst2", "glue/sst2", &["accuracy"]) },
    GlueTask { files: &["MRPC"], ..task("mrpc", "glue/mrpc", &["f1", "accuracy"]) },
    GlueTask { files: &["STS-B"], ..task("stsb", "glue/stsb", &["pearson", "spearman"]) },
    GlueTask { files: &["QQP"], ..task("qqp", "glue/qqp", &["f1", "accuracy"]) },
    GlueTask {
        files: &["MNLI-m", "MNLI-mm"],
        numbers: false,
        other: Some("glue/mnli-mismatched"),
        ..task("mnli", "glue/mnli", &["accuracy"])
    },
    GlueTask { files: &["QNLI"], numbers: false, ..task("qnli", "glue/qnli", &["accuracy"]) },
    GlueTask { files: &["RTE"], numbers: false, ..task("rte", "glue/rte", &["accuracy"]) },
    GlueTask { files: &["WNLI"], ..task("wnli", "glue/wnli", &["accuracy"]) },
];

impl GlueTask {
    /// The data set.
    ///
    /// # Errors
    /// None: every task's set is in the list.
    pub fn data(&self) -> Result<&'static DataSet, Error> {
        find(self.set)
    }
}

/// The tasks of a list of names, `all` for all of them.
///
/// # Errors
/// [`Error::Task`] with the nearest name.
pub fn tasks(names: &[String]) -> Result<Vec<&'static GlueTask>, Error> {
    if names.iter().any(|name| name == "all") {
        return Ok(TASKS.iter().collect());
    }
    let mut chosen: Vec<&GlueTask> = Vec::new();
    for name in names {
        let known = || TASKS.iter().map(|task| task.name);
        let Some(task) = TASKS.iter().find(|task| task.name == name) else {
            let meant = nearest(name, known().chain(["all"])).unwrap_or_default();
            let known = known().collect::<Vec<_>>().join(", ");
            return Err(Error::Task(format!(
                "GLUE has no task {name:?} (it has {known}, and all for all of them); did you mean {meant:?}?"
            )));
        };
        if !chosen.iter().any(|other| other.name == task.name) {
            chosen.push(task);
        }
    }
    Ok(chosen)
}

/// Seeds that count up from the first, else from that of the recipe.
///
/// # Errors
/// A seed in the recipe that is none.
pub fn seeds(recipe: &Recipe, first: Option<u64>, count: u64) -> Result<Vec<u64>, Error> {
    let first = first.map_or_else(|| seed_of(recipe), Ok)?;
    Ok((0..count).map(|number| first.saturating_add(number)).collect())
}

/// What is to be done.
pub struct Plan<'a> {
    /// The model and how it is trained; the data comes from the tasks.
    pub recipe: &'a Recipe,
    /// The tasks.
    pub tasks: Vec<&'static GlueTask>,
    /// Go on without the tasks whose data is not there, instead of refusing to begin.
    pub skip_missing: bool,
    /// A run for each seed.
    pub seeds: Vec<u64>,
    /// The folder of everything.
    pub folder: &'a Path,
}

/// What it needs besides.
pub struct Context<'a> {
    /// Where models and data come from.
    pub hub: &'a Hub,
    /// Is told about downloads.
    pub progress: &'a dyn Progress,
    /// Set from outside to stop: the run saves its state.
    pub stop: &'a AtomicBool,
    /// Gives each run, by its folder, somebody who is told what happens.
    pub observe: &'a dyn Fn(&Path) -> Box<dyn JobObserver>,
    /// Is told what is decided between runs.
    pub note: &'a dyn Fn(&str),
    /// What frozen layers make of texts is computed once for all runs.
    pub shared: SharedFeatures,
}

impl Context<'_> {
    /// Trains into a folder as a recipe says, or goes on with the run that was begun there.
    ///
    /// # Errors
    /// As [`crate::job::train`].
    pub(crate) fn train(&self, recipe: &Recipe, folder: &Path) -> Result<Outcomes, Error> {
        let mut observer = (self.observe)(folder);
        self.train_watched(recipe, folder, observer.as_mut(), self.stop)
    }

    /// As [`Context::train`], with an observer and a way to be stopped of its own.
    pub(crate) fn train_watched(
        &self,
        recipe: &Recipe,
        folder: &Path,
        observer: &mut dyn JobObserver,
        stop: &AtomicBool,
    ) -> Result<Outcomes, Error> {
        let shared = Some(&self.shared);
        let job = JobContext { folder, hub: self.hub, progress: self.progress, stop, shared, observer };
        if begun(folder) { resume(job) } else { train(recipe, job) }
    }
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// The model.
    pub model: String,
    /// A score for each task and seed that is done.
    pub scores: Vec<Score>,
    /// Tasks that were left out, and why.
    pub missing: Vec<(String, String)>,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// The files for the leaderboard.
    pub submission: Vec<PathBuf>,
    /// The run that was stopped, if one was: the same command goes on with it.
    pub interrupted: Option<PathBuf>,
}

impl Results {
    /// The runs of a task.
    pub fn of<'a>(&'a self, task: &'a str) -> impl Iterator<Item = &'a Score> {
        self.scores.iter().filter(move |score| score.task == task)
    }

    /// The score of a task: the mean of its measures, averaged over seeds; `None` if a measure has no value.
    pub fn task_score(&self, task: &str) -> Option<f64> {
        let scores: Option<Vec<f64>> = self.of(task).map(Score::mean).collect();
        let scores = scores.filter(|scores| !scores.is_empty())?;
        Some(scores.iter().sum::<f64>() / scores.len() as f64)
    }

    /// The names of the tasks with a run, in order.
    pub fn tasks(&self) -> Vec<&str> {
        TASKS.iter().map(|task| task.name).filter(|name| self.of(name).next().is_some()).collect()
    }

    /// The score of the benchmark: the mean over tasks; `None` if a task has none, or none was run.
    pub fn score(&self) -> Option<f64> {
        let scores: Option<Vec<f64>> = self.tasks().into_iter().map(|task| self.task_score(task)).collect();
        let scores = scores.filter(|scores| !scores.is_empty())?;
        Some(scores.iter().sum::<f64>() / scores.len() as f64)
    }
}

/// The run folder of a task and a seed.
pub fn run_folder(folder: &Path, task: &str, seed: u64) -> PathBuf {
    folder.join(task).join(format!("seed-{seed}"))
}

/// Does everything that is not done yet: finished runs are taken as they are, interrupted ones gone on with.
///
/// # Errors
/// Data that is not there, a folder that holds runs of other settings, and what goes wrong in a run.
pub fn run(plan: &Plan, context: &Context) -> Result<Results, Error> {
    let mut results = Results { model: plan.recipe.model.clone(), ..Results::default() };
    let mut found = Vec::new();
    for task in &plan.tasks {
        match files(task, context) {
            Ok(files) => found.push((*task, files)),
            Err(error) if plan.skip_missing => {
                (context.note)(&format!("left out: {error}"));
                results.missing.push((task.name.to_string(), error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    if found.is_empty() {
        let reasons: Vec<&str> = results.missing.iter().map(|(_, reason)| reason.as_str()).collect();
        return Err(Error::Task(format!("there is no data for any task of GLUE: {}", reasons.join("\n"))));
    }
    for (task, files) in &found {
        for seed in &plan.seeds {
            let folder = run_folder(plan.folder, task.name, *seed);
            let Some(score) = one(task, files, *seed, &folder, plan.recipe, context)? else {
                results.interrupted = Some(folder);
                return Ok(results);
            };
            results.scores.push(score);
        }
    }
    for (task, files) in &found {
        if context.stop.load(Ordering::Relaxed) {
            results.interrupted = Some(plan.folder.to_path_buf());
            return Ok(results);
        }
        let best = results.of(task.name).max_by(|a, b| {
            // The first of equals.
            a.mean().unwrap_or(f64::MIN).total_cmp(&b.mean().unwrap_or(f64::MIN)).then(b.seed.cmp(&a.seed))
        });
        let Some(seed) = best.map(|score| score.seed) else { continue };
        let runs = run_folder(plan.folder, task.name, seed);
        let (written, notes) = submission::write(task, files, &runs, plan.folder, context)?;
        results.submission.extend(written);
        results.notes.extend(notes);
    }
    summary::notes(&mut results);
    Ok(results)
}

/// The files of a task, whose other development set must be there too.
fn files(task: &GlueTask, context: &Context) -> Result<Files, Error> {
    if let Some(other) = task.other {
        find(other)?.files(&[Split::Dev], context.hub, context.progress)?;
    }
    task.data()?.files(&[Split::Train, Split::Dev], context.hub, context.progress)
}

/// A run of one task to its score; `None` if it was stopped.
fn one(
    task: &GlueTask,
    files: &Files,
    seed: u64,
    folder: &Path,
    base: &Recipe,
    context: &Context,
) -> Result<Option<Score>, Error> {
    let recipe = recipe(task, files, seed, base);
    state::same_settings(folder, &recipe)?;
    if let Some(score) = Score::read(folder)? {
        (context.note)(&format!("{} with seed {seed} is done: {}", task.name, folder.display()));
        return Ok(Some(score));
    }
    (context.note)(&format!("{} with seed {seed}: {}", task.name, folder.display()));
    let outcomes = context.train(&recipe, folder)?;
    if outcomes.run.interrupted {
        return Ok(None);
    }
    let score = state::score(task, seed, &outcomes, context)?;
    score.write(folder)?;
    Ok(Some(score))
}

/// The recipe of a task: the official sets, and no threshold, which the official measures know nothing of.
fn recipe(task: &GlueTask, files: &Files, seed: u64, base: &Recipe) -> Recipe {
    let mut recipe = base.clone();
    let dev = files.of(Split::Dev).map(Path::to_path_buf);
    recipe.data.set = Some(task.set.to_string());
    recipe.data.dev.clone_from(&dev);
    recipe.data.test = dev;
    recipe.train.insert("seed".to_string(), toml::Value::Integer(seed as i64));
    recipe.report.threshold = false;
    recipe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_have_sets_measures_and_files() {
        assert_eq!(TASKS.len(), 9);
        let mut files: Vec<&str> = Vec::new();
        for task in TASKS {
            let set = task.data().unwrap();
            assert!(task.measures.contains(&set.metric), "{}: {}", task.name, set.metric);
            assert_eq!(task.files.len(), 1 + usize::from(task.other.is_some()), "{}", task.name);
            assert!(set.unlabelled.is_some() && set.sizes[2].is_none(), "{}", task.name);
            files.extend(task.files);
        }
        assert_eq!(files.len(), 10);
        let named = |names: &[&str]| tasks(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        let found: Vec<&str> = named(&["rte", "mrpc", "rte"]).unwrap().iter().map(|task| task.name).collect();
        assert_eq!(found, ["rte", "mrpc"]);
        assert_eq!(named(&["sst2", "all"]).unwrap().len(), 9);
        let error = named(&["sst-2"]).unwrap_err().to_string();
        assert!(error.contains("did you mean \"sst2\""), "{error}");
    }

    #[test]
    fn the_score_is_a_mean_of_means() {
        let score = |task: &str, seed, values: &[f64]| Score {
            task: task.to_string(),
            seed,
            values: values
                .iter()
                .map(|value| Value { name: "accuracy".into(), value: Some(*value), interval: None })
                .collect(),
            ..Score::default()
        };
        let mut results = Results {
            scores: vec![score("rte", 1, &[0.6]), score("rte", 2, &[0.7]), score("mrpc", 1, &[0.9, 0.8])],
            ..Results::default()
        };
        assert_eq!(results.tasks(), ["mrpc", "rte"]);
        assert!((results.task_score("rte").unwrap() - 0.65).abs() < 1e-12);
        assert!((results.score().unwrap() - 0.75).abs() < 1e-12);
        // A measure without a value leaves no mean over it.
        results.scores[0].values[0].value = None;
        assert_eq!((results.task_score("rte"), results.score()), (None, None));
        assert_eq!(Results::default().score(), None);
    }
}

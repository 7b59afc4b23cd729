//! Tasks learnt one after the other by one encoder: what is left of the earlier ones, and what each way to learn does about it.
//!
//! The tasks have labels of texts. Each has a head of its own, which is chosen by the task a text belongs to (task-incremental), or
//! all share one, which takes the same labels in all (domain-incremental). A run for each task and way, in a folder of its own;
//! what is finished is taken as it is. Each run chooses its checkpoint on the development data of the task at hand.
//!
//! Paper: Lopez-Paz, Ranzato 2017, "Gradient Episodic Memory for Continual Learning", section 2 (the matrix of scores and what is
//! read from it), <https://arxiv.org/abs/1706.08840>
//!
//! Paper: van de Ven, Tolias 2019, "Three scenarios for continual learning", section 2 (task- and domain-incremental),
//! <https://arxiv.org/abs/1904.07734>

pub mod measures;
mod table;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use topwork_models::Model;

pub use crate::divided::{Heads, Stage};
pub use measures::{Matrix, Measures};

use crate::divided;
use crate::error::Error;
use crate::evaluate::{evaluate, evaluate_model};
use crate::glue::{Context, keep, precision, read_kept, remove, same_settings};
use crate::job::seed_of;
use crate::nearest::methods;
use crate::recipe::{DataRecipe, Kind, Recipe};

/// A way to learn one task after the other.
pub struct Way {
    /// Kebab-case name.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    change: fn(&mut Recipe),
    /// Whether each task starts from the pretrained model instead of from what the task before left.
    anew: bool,
}

/// Every way, in the order of the table.
pub const WAYS: &[Way] = &[
    Way {
        name: "sequential",
        about: "everything is trained on one task after the other",
        change: |_| {},
        anew: false,
    },
    Way {
        name: "frozen",
        about: "the encoder stays as it is, heads learn",
        change: |recipe| {
            let all = toml::Value::Array(vec![toml::Value::String("encoder".to_string())]);
            recipe.train.insert("freeze".to_string(), all);
        },
        anew: false,
    },
    Way {
        name: "replay",
        about: "a share of the earlier tasks' texts is mixed in",
        change: |_| {},
        anew: false,
    },
    Way {
        name: "l2-sp",
        about: "weights are pulled back to where the task before left them",
        change: |recipe| {
            let all =
                recipe.train.entry("techniques").or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let Some(all) = all.as_table_mut() {
                all.entry("l2-sp").or_insert_with(|| toml::Value::Table(toml::Table::new()));
            }
        },
        anew: false,
    },
    Way {
        name: "lora",
        about: "an adapter and a head a task, beside an encoder that stays",
        change: |recipe| {
            recipe.adapter.entry("kind").or_insert_with(|| toml::Value::String("lora".to_string()));
        },
        anew: true,
    },
];

/// The way that others are held against: each task alone, from the pretrained model, a model each.
pub const ALONE: &str = "alone";

/// The way whose first task is learnt as if it were alone.
const FIRST_IS_ALONE: [&str; 2] = ["sequential", REPLAY];
const REPLAY: &str = "replay";

/// Ways by their names, in the order given, each once.
///
/// # Errors
/// [`Error::Task`] with the nearest name.
pub fn ways(names: &[String]) -> Result<Vec<&'static Way>, Error> {
    methods(names, WAYS, |way| way.name)
}

/// What is to be done.
pub struct Plan<'a> {
    /// The tasks in the order they are learnt: what each is called, and its recipe; how to train comes from the first.
    pub tasks: &'a [(String, Recipe)],
    /// The ways.
    pub ways: Vec<&'static Way>,
    /// Whether tasks have heads of their own.
    pub heads: Heads,
    /// The share of each earlier task's training texts that replay mixes in.
    pub replay: f64,
    /// All of it once for each seed.
    pub seeds: Vec<u64>,
    /// Keep the models of all steps; else those of the last one.
    pub keep_models: bool,
    /// The folder of everything.
    pub folder: &'a Path,
}

/// What came of one way with one seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Learnt {
    /// The way.
    pub way: String,
    /// The seed.
    pub seed: u64,
    /// The scores: a row for each task learnt, as far as it went.
    pub matrix: Matrix,
    /// The score on each task of a head that nothing has taught, where that says something: with one head for all.
    pub before: Vec<Option<f64>>,
    /// Seconds of training, all tasks together.
    pub seconds: f64,
    /// Values trained for a task; the most of all tasks.
    pub trained: usize,
}

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// The model.
    pub model: String,
    /// The tasks, in the order they are learnt.
    pub tasks: Vec<String>,
    /// Texts of each task: to learn from, to choose by, to measure on.
    pub texts: Vec<[usize; 3]>,
    /// The metric.
    pub metric: String,
    /// Whether tasks have heads of their own.
    pub heads: Heads,
    /// The share that replay mixes in.
    pub replay: f64,
    /// The ways, in the order asked for.
    pub ways: Vec<String>,
    /// Each way with each seed.
    pub learnt: Vec<Learnt>,
    /// The scores of each task alone, by seed.
    pub alone: Vec<(u64, Vec<Option<f64>>)>,
    /// The run that was stopped, if one was: the same command goes on with it.
    pub interrupted: Option<PathBuf>,
}

/// What a finished step says of itself: `continual.json` in its folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Step {
    scores: Vec<Option<f64>>,
    seconds: f64,
    trained: usize,
}

const FINISHED: &str = "continual.json";

/// Does everything that is not done yet, and tells `each` of the results after every step.
///
/// # Errors
/// Fewer than two tasks, tasks without labels of texts or (with one head) with other labels than the first; data that is not
/// there; a folder that holds runs of other settings; what goes wrong in a run.
pub fn run(
    plan: &Plan,
    context: &Context,
    each: &mut dyn FnMut(&Results) -> Result<(), Error>,
) -> Result<Results, Error> {
    if plan.tasks.len() < 2 {
        return Err(Error::Task("one after the other takes two tasks or more".to_string()));
    }
    let first = &plan.tasks[0].1;
    let metric = first.task.metric.clone().unwrap_or_else(|| "accuracy".to_string());
    let mut results = Results {
        model: first.model.clone(),
        tasks: plan.tasks.iter().map(|(name, _)| name.clone()).collect(),
        texts: Vec::new(),
        metric,
        heads: plan.heads,
        replay: plan.replay,
        ways: plan.ways.iter().map(|way| way.name.to_string()).collect(),
        learnt: Vec::new(),
        alone: Vec::new(),
        interrupted: None,
    };
    for &seed in &plan.seeds {
        let folder = plan.folder.join(format!("seed-{seed}"));
        let stages = divided::stages(plan.tasks, plan.heads, seed, &folder.join("data"), context)?;
        results.texts = stages.iter().map(|stage| stage.texts).collect();
        let study = Study { plan, seed, folder: &folder, stages: &stages, metric: &results.metric, context };
        let mut alone = Vec::new();
        for (task, stage) in stages.iter().enumerate() {
            let Some(step) = study.alone(task)? else {
                results.interrupted = Some(folder.join(ALONE).join(&stage.name));
                return Ok(results);
            };
            alone.push(step.scores.get(task).copied().flatten());
        }
        results.alone.push((seed, alone));
        for way in &plan.ways {
            let mut learnt = Learnt { way: way.name.to_string(), seed, ..Learnt::default() };
            for task in 0..stages.len() {
                let Some(step) = study.step(way, task, &learnt.matrix)? else {
                    results.interrupted = Some(study.step_folder(way, task));
                    return Ok(results);
                };
                learnt.seconds += step.seconds;
                learnt.trained = learnt.trained.max(step.trained);
                learnt.matrix.push(step.scores);
            }
            learnt.before = study.before(way)?;
            results.learnt.push(learnt);
            each(&results)?;
        }
    }
    Ok(results)
}

/// One seed of a study.
struct Study<'a> {
    plan: &'a Plan<'a>,
    seed: u64,
    folder: &'a Path,
    stages: &'a [Stage],
    metric: &'a str,
    context: &'a Context<'a>,
}

impl Study<'_> {
    /// The folder of a task in a way.
    fn step_folder(&self, way: &Way, task: usize) -> PathBuf {
        let name = &self.stages[task].name;
        if task == 0 && FIRST_IS_ALONE.contains(&way.name) {
            return self.folder.join(ALONE).join(name);
        }
        self.folder.join(way.name).join(format!("{}-{name}", task + 1))
    }

    /// The recipe of a task: its own data and labels, trained as the first task's recipe says.
    fn recipe(&self, model: &str, task: usize, train: &Path) -> Recipe {
        let stage = &self.stages[task];
        let mut recipe = self.plan.tasks[0].1.clone();
        recipe.model = model.to_string();
        recipe.data = DataRecipe {
            train: train.to_path_buf(),
            dev: Some(stage.file("dev")),
            test: Some(stage.file("test")),
            ..stage.columns()
        };
        recipe.task.kind = Some(Kind::Classify);
        recipe.task.max_length = self.stages.iter().map(|stage| stage.max_length).max();
        recipe.task.metric = Some(self.metric.to_string());
        if self.plan.heads == Heads::Own {
            recipe.task.groups = self.stages.iter().map(|stage| stage.labels.clone()).collect();
        }
        recipe.report.baseline = false;
        recipe.report.threshold = false;
        recipe.train.insert("seed".to_string(), toml::Value::Integer(self.seed as i64));
        recipe
    }

    /// A task alone, from the pretrained model; `None` if it was interrupted.
    fn alone(&self, task: usize) -> Result<Option<Step>, Error> {
        let recipe = self.recipe(&self.plan.tasks[0].1.model, task, &self.stages[task].file("train"));
        let folder = self.folder.join(ALONE).join(&self.stages[task].name);
        // The first one is where others go on from.
        let seen = |measured: usize| measured == task || (task == 0 && self.plan.heads == Heads::Shared);
        let step = self.train(&recipe, &folder, &seen)?;
        if step.is_some() {
            let large: &[&str] = if task > 0 { &["checkpoints", "best"] } else { &["checkpoints"] };
            self.sweep(&folder, large)?;
        }
        Ok(step)
    }

    /// A step of a way: the next task, from what was learnt before; `None` if it was interrupted.
    fn step(&self, way: &Way, task: usize, learnt: &Matrix) -> Result<Option<Step>, Error> {
        let folder = self.step_folder(way, task);
        let stage = &self.stages[task];
        if task == 0 && FIRST_IS_ALONE.contains(&way.name) {
            return self.alone(0);
        }
        let before = task.checked_sub(1).filter(|_| !way.anew).map(|before| self.step_folder(way, before));
        let model = match &before {
            Some(before) => before.join("best").display().to_string(),
            None => self.plan.tasks[0].1.model.clone(),
        };
        let train = if way.name == REPLAY {
            divided::mix(self.stages, task, self.plan.replay, self.seed)?
        } else {
            stage.file("train")
        };
        let mut recipe = self.recipe(&model, task, &train);
        (way.change)(&mut recipe);
        // With heads of their own, what was never taught says nothing; with one head, it says what is carried over.
        let shared = self.plan.heads == Heads::Shared;
        let seen = |measured: usize| if way.anew { measured == task } else { shared || measured <= task };
        let Some(mut step) = self.train(&recipe, &folder, &seen)? else { return Ok(None) };
        if way.anew {
            // Each task keeps what was learnt for it: nothing is forgotten.
            for (measured, score) in step.scores.iter_mut().enumerate().take(task) {
                *score = learnt.get(measured).and_then(|row| row.get(measured).copied().flatten());
            }
        }
        self.sweep(&folder, &["checkpoints"])?;
        let first = self.folder.join(ALONE).join(&self.stages[0].name);
        let previous = task.checked_sub(1).map(|before| self.step_folder(way, before));
        if let Some(previous) = previous.filter(|previous| *previous != first) {
            self.sweep(&previous, &["best"])?;
        }
        Ok(Some(step))
    }

    /// Removes what is large of a finished run, unless everything is to be kept.
    fn sweep(&self, folder: &Path, names: &[&str]) -> Result<(), Error> {
        if self.plan.keep_models { Ok(()) } else { remove(folder, names) }
    }

    /// Trains, or takes what was trained, and measures on the tasks that `seen` names; `None` if it was interrupted.
    fn train(
        &self,
        recipe: &Recipe,
        folder: &Path,
        seen: &dyn Fn(usize) -> bool,
    ) -> Result<Option<Step>, Error> {
        same_settings(folder, recipe)?;
        let path = folder.join(FINISHED);
        if let Some(step) = read_kept(&path)? {
            return Ok(Some(step));
        }
        (self.context.note)(&format!("seed {}: {}", self.seed, folder.display()));
        let outcomes = self.context.train(recipe, folder)?;
        if outcomes.run.interrupted {
            return Ok(None);
        }
        let mut scores = Vec::with_capacity(self.stages.len());
        for (at, stage) in self.stages.iter().enumerate() {
            let score = seen(at).then(|| {
                let measured =
                    evaluate(&outcomes.best(), &stage.measured_on(), precision(&outcomes.resolved), 0)?;
                Ok::<_, Error>(measured.measured.evaluation.value(self.metric).ok())
            });
            scores.push(score.transpose()?.flatten());
        }
        let (seconds, trained) = (outcomes.run.seconds, outcomes.run.trainable_values);
        let step = Step { scores, seconds, trained };
        keep(&path, &step)?;
        Ok(Some(step))
    }

    /// The scores of the head of a way before anything has taught it; none with heads of their own.
    fn before(&self, way: &Way) -> Result<Vec<Option<f64>>, Error> {
        if self.plan.heads == Heads::Own || way.anew {
            return Ok(vec![None; self.stages.len()]);
        }
        let path = self.folder.join(way.name).join("before.json");
        if let Some(scores) = read_kept(&path)? {
            return Ok(scores);
        }
        let folder = self.step_folder(way, self.stages.len() - 1);
        let best = folder.join("best");
        let resolved = Recipe::load(&folder.join(crate::job::RESOLVED))?;
        let source = self.context.hub.model(&self.plan.tasks[0].1.model, self.context.progress)?;
        let init = resolved.seeds.init.map_or_else(|| seed_of(&resolved), Ok)?;
        let spec = topwork_models::model::saved_spec(&best)?;
        let mut scores = Vec::new();
        for stage in self.stages {
            let seed = topwork_kernels::rng::derive(init, "init");
            let (model, _) = Model::open(&source.path, &spec, seed, &Device::flex())?;
            let measured = evaluate_model(model, &best, &stage.measured_on(), precision(&resolved), 0)?;
            scores.push(measured.measured.evaluation.value(self.metric).ok());
        }
        keep(&path, &scores)?;
        Ok(scores)
    }
}

impl Results {
    /// The measures of a way, one a seed.
    pub fn measures(&self, way: &str) -> Vec<Measures> {
        let of = |learnt: &Learnt| {
            let alone = self.alone.iter().find(|(seed, _)| *seed == learnt.seed);
            Measures::of(&learnt.matrix, &learnt.before, alone.map_or(&[], |(_, scores)| scores))
        };
        self.learnt.iter().filter(|learnt| learnt.way == way).map(of).collect()
    }

    /// The matrix of a way: means over seeds.
    pub fn matrix(&self, way: &str) -> Matrix {
        let all: Vec<&Matrix> =
            self.learnt.iter().filter(|learnt| learnt.way == way).map(|learnt| &learnt.matrix).collect();
        let tasks = self.tasks.len();
        let cell = |row: usize, task: usize| {
            let values: Option<Vec<f64>> =
                all.iter().map(|matrix| matrix.get(row)?.get(task).copied().flatten()).collect();
            let values = values.filter(|values| !values.is_empty())?;
            Some(values.iter().sum::<f64>() / values.len() as f64)
        };
        (0..tasks).map(|row| (0..tasks).map(|task| cell(row, task)).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_read_by_name_and_change_a_recipe_each_in_its_own_manner() {
        assert_eq!(WAYS.len(), 5, "count the ways when you add one");
        let read = |names: &[&str]| ways(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        let names: Vec<&str> =
            read(&["lora", "frozen", "lora"]).unwrap().iter().map(|way| way.name).collect();
        assert_eq!(names, ["lora", "frozen"]);
        assert!(read(&["replai"]).err().unwrap().to_string().contains("did you mean \"replay\""));
        let changed = |name: &str| {
            let mut recipe = Recipe::new("m", "d.csv");
            (read(&[name]).unwrap()[0].change)(&mut recipe);
            toml::to_string(&recipe).unwrap()
        };
        let plain = changed("sequential");
        assert_eq!(changed("replay"), plain, "replay changes the data alone");
        assert!(
            changed("frozen").contains("freeze") && changed("l2-sp").contains("[train.techniques.l2-sp]")
        );
        assert!(changed("lora").contains("kind = \"lora\""));
    }
}

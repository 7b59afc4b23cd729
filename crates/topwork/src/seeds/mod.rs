//! One recipe, many seeds: how far the results of the same settings lie apart, which runs fail, and what the best of several is
//! worth.
//!
//! A run a seed, in a folder of its own, on the same split; finished runs are taken as they are, interrupted ones gone on with.
//! A run has failed when it diverged, or is not better on the test data than what it is held against ([`Bar`]).
//!
//! Paper: Mosbach et al. 2021, "On the Stability of Fine-tuning BERT", section 2 (a failed run is not above the majority class),
//! <https://arxiv.org/abs/2006.04884>
//!
//! Paper: Dodge et al. 2020, "Fine-Tuning Pretrained Language Models: Weight Initializations, Data Orders, and Early Stopping",
//! sections 3 and 4, <https://arxiv.org/abs/2002.06305>

mod early;
pub mod statistics;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use topwork_data::Labels;
use topwork_train::Event;
use topwork_train::metrics::{Metric, Outcome};

pub use early::{Early, Paused};
pub use table::Summary;

use crate::error::Error;
use crate::glue::{Context, keep, read_kept, remove, same_settings};
use crate::job::Outcomes;
use crate::nearest::nearest;
use crate::recipe::{Kind, Recipe};
use crate::tasks::{Judge, Measured};

/// What differs from run to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vary {
    /// The values that fresh parameters start from.
    Init,
    /// The order of the texts, and dropout.
    Order,
    /// Both.
    Both,
    /// Everything that is random, the split of the data too.
    All,
}

impl Vary {
    /// Every one with its name and what it is in words.
    pub const ALL: [(Vary, &'static str, &'static str); 4] = [
        (Vary::Init, "init", "the values that fresh parameters start from"),
        (Vary::Order, "order", "the order of the texts and dropout"),
        (
            Vary::Both,
            "both",
            "the values that fresh parameters start from, the order of the texts and dropout",
        ),
        (Vary::All, "all", "everything that is random, also which texts are set aside to measure on"),
    ];

    /// By its name.
    ///
    /// # Errors
    /// [`Error::Task`] with the nearest name.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let known = Self::ALL.map(|(_, name, _)| name);
        Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(vary, ..)| *vary).ok_or_else(|| {
            let meant = nearest(name, known).unwrap_or_default();
            Error::Task(format!("{name:?} cannot be varied ({}); did you mean {meant:?}?", known.join(", ")))
        })
    }

    /// What it is, in words.
    pub fn words(self) -> &'static str {
        Self::ALL.iter().find(|(vary, ..)| *vary == self).map_or("", |(.., words)| words)
    }

    /// The recipe of the run with a seed.
    fn recipe(self, base: &Recipe, seed: u64) -> Recipe {
        let mut recipe = base.clone();
        if matches!(self, Vary::Init | Vary::Both) {
            recipe.seeds.init = Some(seed);
        }
        if matches!(self, Vary::Order | Vary::Both) {
            recipe.seeds.order = Some(seed);
        }
        if self == Vary::All {
            recipe.train.insert("seed".to_string(), toml::Value::Integer(seed as i64));
        }
        recipe
    }
}

/// What a run must be better than, on the test data, not to have failed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bar {
    /// Answering the commonest class of the training data each time; of two classes whichever scores higher.
    Majority,
    /// TF-IDF and a linear model.
    Linear,
    /// This score.
    Score(f64),
}

impl Bar {
    /// From `majority`, `linear` or a number.
    ///
    /// # Errors
    /// [`Error::Task`] for something else.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "majority" => Ok(Bar::Majority),
            "linear" => Ok(Bar::Linear),
            number => {
                let score = number.parse().ok().filter(|score: &f64| score.is_finite());
                score.map(Bar::Score).ok_or_else(|| {
                    Error::Task(format!(
                        "a failed run is one that is not better than majority, linear or a score; got {number:?}"
                    ))
                })
            }
        }
    }
}

/// What is to be done.
pub struct Plan<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// A run for each seed.
    pub seeds: Vec<u64>,
    /// What the seeds are of.
    pub vary: Vary,
    /// What a run is held against; by the task when `None`: the majority class where there are classes, else the linear model.
    pub bar: Option<Bar>,
    /// Start all runs and go on with the most promising ones only.
    pub early: Option<Early>,
    /// Keep the models and checkpoints of all runs; else the model of the best one is kept.
    pub keep_models: bool,
    /// The folder of everything.
    pub folder: &'a Path,
}

/// One finished run: `seeds.json` in its folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// The metric.
    pub metric: String,
    /// False for metrics where less is better.
    pub higher_is_better: bool,
    /// The best score on the development data, whose weights were kept.
    pub dev: Option<f64>,
    /// Their score on the test data; `None` where the metric has no value there, or the run diverged.
    pub score: Option<f64>,
    /// The ends of its 95% interval by the bootstrap over test texts.
    pub interval: Option<(f64, f64)>,
    /// Test texts.
    pub texts: usize,
    /// The score on the test data of answering one class each time, where there are classes: see [`Bar::Majority`].
    pub majority: Option<f64>,
    /// The score of TF-IDF and a linear model there, where it was trained.
    pub linear: Option<f64>,
    /// Optimizer steps done.
    pub steps: usize,
    /// Steps the run would have without stopping early.
    pub planned: usize,
    /// Each evaluation on the development data: steps done, score.
    pub evaluations: Vec<(usize, Option<f64>)>,
    /// Seconds of training, with its evaluations.
    pub seconds: f64,
    /// Why it ended before its time, if it diverged.
    pub diverged: Option<String>,
}

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// The model.
    pub model: String,
    /// The data.
    pub data: String,
    /// What the seeds are of.
    pub vary: Vary,
    /// What a run is held against; `None`: only divergence is a failure.
    pub bar: Option<Bar>,
    /// The finished runs, in the order of their seeds.
    pub runs: Vec<Run>,
    /// With early stopping, where each run stood when they were compared, in the order of their seeds.
    pub paused: Vec<Paused>,
    /// How it was stopped early.
    pub early: Option<Early>,
    /// The model that was kept of the best run.
    pub best: Option<PathBuf>,
    /// The run that was stopped, if one was: the same command goes on with it.
    pub interrupted: Option<PathBuf>,
}

const FINISHED: &str = "seeds.json";

/// What a study was begun with that no recipe says: with early stopping, which runs are gone on with depends on all of them.
const STUDY: &str = "study.json";

/// The run folder of a seed.
pub fn run_folder(folder: &Path, seed: u64) -> PathBuf {
    folder.join(format!("seed-{seed}"))
}

/// Does everything that is not done yet, and tells `each` of the results after every run that was.
///
/// # Errors
/// Data that is not there, a folder that holds runs of other settings, and what goes wrong in a run. A run that diverges has
/// failed and does not end the others.
pub fn run(
    plan: &Plan,
    context: &Context,
    each: &mut dyn FnMut(&Results) -> Result<(), Error>,
) -> Result<Results, Error> {
    let data = &plan.recipe.data;
    let data = data.set.clone().unwrap_or_else(|| data.train.display().to_string());
    let mut results = Results {
        model: plan.recipe.model.clone(),
        data,
        vary: plan.vary,
        bar: plan.bar,
        runs: Vec::new(),
        paused: Vec::new(),
        early: plan.early,
        best: None,
        interrupted: None,
    };
    same_study(plan)?;
    if let Some(early) = &plan.early {
        results.paused = match early::pause_all(early, plan, context)? {
            Ok(paused) => paused,
            Err(folder) => {
                results.interrupted = Some(folder);
                return Ok(results);
            }
        };
    }
    for &seed in &plan.seeds {
        // Those that were given up are not among the finished ones.
        if results.paused.iter().any(|paused| paused.seed == seed && !paused.kept) {
            continue;
        }
        let folder = run_folder(plan.folder, seed);
        let recipe = plan.vary.recipe(plan.recipe, seed);
        same_settings(&folder, &recipe)?;
        let run = match read_kept(&folder.join(FINISHED))? {
            Some(run) => run,
            None => {
                (context.note)(&format!("seed {seed}: {}", folder.display()));
                let Some(run) = finish(context.train(&recipe, &folder), seed, &folder, context)? else {
                    results.interrupted = Some(folder);
                    return Ok(results);
                };
                run
            }
        };
        results.settle_bar(&run);
        results.runs.push(run);
        results.best = sweep(plan, &results)?;
        each(&results)?;
    }
    Ok(results)
}

/// What is kept of a run that came to an end; `None` if it was interrupted.
fn finish(
    trained: Result<Outcomes, Error>,
    seed: u64,
    folder: &Path,
    context: &Context,
) -> Result<Option<Run>, Error> {
    let run = match trained {
        Ok(outcomes) if outcomes.run.interrupted => return Ok(None),
        Ok(outcomes) => said(&outcomes, seed)?,
        Err(Error::Train(error @ topwork_train::Error::Diverged { .. })) => {
            (context.note)(&format!("seed {seed} diverged: {error}"));
            Run { seed, diverged: Some(error.to_string()), higher_is_better: true, ..Run::default() }
        }
        Err(error) => return Err(error),
    };
    keep(&folder.join(FINISHED), &run)?;
    Ok(Some(run))
}

/// What a run says of itself and of what stands beside it.
fn said(outcomes: &Outcomes, seed: u64) -> Result<Run, Error> {
    let data = &outcomes.data;
    let name = outcomes.resolved.task.metric.clone().unwrap_or_else(|| "loss".to_string());
    let metric = Metric::parse(&name, data.task().measures(), &data.labels, data.positive)?;
    let value = |outcome: Outcome| -> Result<Option<f64>, Error> {
        let judge = Judge { resamples: 0, ..data.judge() };
        Ok(Measured::of_outcome(outcome, &judge, None)?.evaluation.value(&name).ok())
    };
    let linear = outcomes.baseline.as_ref().map(|baseline| value(baseline.outcome.clone())).transpose()?;
    let mut majority: Option<f64> = None;
    for outcome in blind(outcomes)? {
        let Some(score) = value(outcome)? else { continue };
        let higher = metric.higher_is_better();
        if majority.is_none_or(|best| if higher { score > best } else { score < best }) {
            majority = Some(score);
        }
    }
    let test = outcomes.test.as_ref().map(|test| &test.evaluation);
    let evaluations = outcomes.events.iter().filter_map(|event| match event {
        Event::Evaluation { step, score, .. } => Some((*step, *score)),
        _ => None,
    });
    Ok(Run {
        seed,
        higher_is_better: metric.higher_is_better(),
        dev: outcomes.run.best.and_then(|(_, score)| score),
        score: test.and_then(|test| test.value(&name).ok()),
        interval: test.and_then(|test| test.interval(&name)).map(|interval| (interval.lower, interval.upper)),
        texts: data.test.dataset.len(),
        majority,
        linear: linear.flatten(),
        steps: outcomes.run.steps,
        planned: planned(&outcomes.events).unwrap_or(outcomes.run.steps),
        evaluations: evaluations.collect(),
        seconds: seconds(&outcomes.events),
        diverged: None,
        metric: name,
    })
}

/// The steps of a whole run, as its log says.
pub(crate) fn planned(events: &[Event]) -> Option<usize> {
    events.iter().rev().find_map(|event| match event {
        Event::Start { total_steps, .. } => Some(*total_steps),
        _ => None,
    })
}

/// Seconds of training with its evaluations, over all processes that had a part in it.
pub(crate) fn seconds(events: &[Event]) -> f64 {
    let took = |event: &Event| match event {
        Event::Step { seconds, .. } | Event::Evaluation { seconds, .. } => *seconds,
        _ => 0.0,
    };
    events.iter().map(took).sum()
}

/// Answers that look at no text: the commonest class of the training data each time, with the shares of the classes there as
/// probabilities, and where there are two classes each of them, for the F1 of a class that is always answered is not zero. None
/// where a text has no class.
fn blind(outcomes: &Outcomes) -> Result<Vec<Outcome>, Error> {
    let data = &outcomes.data;
    let Labels::Class(truth) = &data.test.inputs.labels else { return Ok(Vec::new()) };
    if data.kind != Kind::Classify {
        return Ok(Vec::new());
    }
    let width = data.labels.len();
    let counts = data.train.inputs.labels.counts(width);
    let all = counts.iter().sum::<usize>().max(1) as f64;
    let mut answers: Vec<Vec<f64>> = vec![counts.iter().map(|&count| count as f64 / all).collect()];
    if width == 2 {
        answers.extend([vec![0.6, 0.4], vec![0.4, 0.6]]);
    }
    let outcome = |answer: Vec<f64>| -> Result<Outcome, Error> {
        let outcome = Outcome::classes(truth, &answer.repeat(truth.len()), width)?;
        Ok(match data.positive {
            Some(class) => outcome.with_positive(class)?,
            None => outcome,
        })
    };
    answers.into_iter().map(outcome).collect()
}

impl Results {
    /// Where nothing was said, runs are held against the majority class if there is one, else against the linear model.
    fn settle_bar(&mut self, run: &Run) {
        let majority = run.majority.map(|_| Bar::Majority);
        self.bar = self.bar.or(majority).or(run.linear.map(|_| Bar::Linear));
    }

    /// What a run is held against, as a score.
    fn bar_of(&self, run: &Run) -> Option<f64> {
        match self.bar? {
            Bar::Majority => run.majority,
            Bar::Linear => run.linear,
            Bar::Score(score) => Some(score),
        }
    }

    /// Whether a run has failed: it diverged, has no score, or one that is not better than the bar's.
    pub fn failed(&self, run: &Run) -> bool {
        let Some(score) = run.score.filter(|_| run.diverged.is_none()) else { return true };
        self.bar_of(run).is_some_and(|bar| if run.higher_is_better { score <= bar } else { score >= bar })
    }

    /// False if less is better.
    fn higher_is_better(&self) -> bool {
        self.runs.iter().find(|run| run.diverged.is_none()).is_none_or(|run| run.higher_is_better)
    }

    /// The run with the best score on the development data, the first of equals.
    pub fn best_run(&self) -> Option<&Run> {
        let sign = if self.higher_is_better() { 1.0 } else { -1.0 };
        let mut best: Option<(&Run, f64)> = None;
        for run in self.runs.iter().filter(|run| run.diverged.is_none()) {
            let score = run.dev.map_or(f64::NEG_INFINITY, |score| sign * score);
            if best.is_none_or(|(_, other)| score > other) {
                best = Some((run, score));
            }
        }
        best.map(|(run, _)| run)
    }
}

/// Keeps the model of the best run, and nothing large of the others; gives where it is.
fn sweep(plan: &Plan, results: &Results) -> Result<Option<PathBuf>, Error> {
    let best = results.best_run().map(|run| run.seed);
    for run in results.runs.iter().filter(|_| !plan.keep_models) {
        let folder = run_folder(plan.folder, run.seed);
        let spared = if Some(run.seed) == best { &["checkpoints"][..] } else { &["checkpoints", "best"] };
        remove(&folder, spared)?;
    }
    let model = best.map(|seed| run_folder(plan.folder, seed).join("best"));
    Ok(model.filter(|model| model.is_dir()))
}

/// Refuses a folder whose runs were stopped early in another way.
fn same_study(plan: &Plan) -> Result<(), Error> {
    let path = plan.folder.join(STUDY);
    let seeds = plan.early.map(|_| plan.seeds.clone());
    let now = (plan.early, seeds);
    match read_kept::<(Option<Early>, Option<Vec<u64>>)>(&path)? {
        None => {
            fs::create_dir_all(plan.folder).map_err(Error::file(plan.folder))?;
            keep(&path, &now)
        }
        Some(then) if then == now => Ok(()),
        Some((then, _)) => Err(Error::Recipe {
            place: path.display().to_string(),
            reason: match then {
                Some(early) => format!(
                    "the runs in this folder were begun with --stop-early {}, --keep {} and as many seeds as then, on which depends \
                     which of them go on: take the same, or another --out",
                    early.share, early.keep
                ),
                None => "the runs in this folder were begun without --stop-early: leave it out, or take another --out".to_string(),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_is_in_the_recipe_and_the_rest_stands() {
        let base =
            Recipe::parse("model = \"m\"\n[data]\ntrain = \"a.csv\"\n[train]\nseed = 4\n", "r").unwrap();
        let made = |vary: Vary| {
            let made = vary.recipe(&base, 9);
            (made.seeds.init, made.seeds.order, made.train["seed"].as_integer())
        };
        assert_eq!(made(Vary::Init), (Some(9), None, Some(4)));
        assert_eq!(made(Vary::Order), (None, Some(9), Some(4)));
        assert_eq!(made(Vary::Both), (Some(9), Some(9), Some(4)));
        assert_eq!(made(Vary::All), (None, None, Some(9)));
        for (vary, name, words) in Vary::ALL {
            assert_eq!((Vary::parse(name).unwrap(), vary.words()), (vary, words));
        }
        assert!(Vary::parse("ordre").unwrap_err().to_string().contains("did you mean \"order\""));
    }

    #[test]
    fn a_run_fails_that_is_not_better_than_the_bar() {
        assert_eq!(Bar::parse("majority").unwrap(), Bar::Majority);
        assert_eq!(Bar::parse("0.5").unwrap(), Bar::Score(0.5));
        assert!(Bar::parse("nan").is_err() && Bar::parse("most").is_err());
        let run = |score| Run {
            score,
            majority: Some(0.6),
            linear: Some(0.8),
            higher_is_better: true,
            ..Run::default()
        };
        let mut results = table::tests::results(Vec::new());
        results.bar = None;
        results.settle_bar(&Run { linear: Some(0.1), ..Run::default() });
        assert_eq!(results.bar, Some(Bar::Linear));
        results.bar = None;
        results.settle_bar(&run(None));
        assert_eq!(results.bar, Some(Bar::Majority));
        let cases = [(Some(0.6), true), (Some(0.61), false), (None, true)];
        for (score, failed) in cases {
            assert_eq!(results.failed(&run(score)), failed, "{score:?}");
        }
        results.bar = Some(Bar::Linear);
        assert!(results.failed(&run(Some(0.7))));
        results.bar = Some(Bar::Score(0.65));
        assert!(!results.failed(&run(Some(0.7))));
        assert!(results.failed(&Run { diverged: Some("NaN".into()), ..run(Some(0.9)) }));
        assert!(results.failed(&Run { higher_is_better: false, ..run(Some(0.7)) }));
    }

    #[test]
    fn the_best_run_is_the_first_of_equals_by_its_development_score() {
        let run = |seed, dev| Run { seed, dev, higher_is_better: true, ..Run::default() };
        let mut results = table::tests::results(vec![
            run(1, None),
            run(2, Some(0.7)),
            run(3, Some(0.9)),
            run(4, Some(0.9)),
        ]);
        assert_eq!(results.best_run().map(|run| run.seed), Some(3));
        results.runs.iter_mut().for_each(|run| run.higher_is_better = false);
        assert_eq!(results.best_run().map(|run| run.seed), Some(2));
    }
}

//! Searching settings: trials that are judged on the development data, most of them stopped early, and the best one trained anew.
//!
//! A trial is a run in a folder of its own; what is finished is taken as it is, what was interrupted is gone on with. What is tried
//! next depends on the seed and on the trials before, so the same command finds the same. No trial is judged by the test data: it
//! measures the run with the best settings, which is trained once more from other values and in another order, on the same split, because the score that
//! won was also the luckiest.
//!
//! Paper: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", section 3 (asynchronous successive halving; here
//! a trial that is not among the best at a rung is stopped there), <https://arxiv.org/abs/1810.05934>

pub mod space;
pub mod suggest;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use topwork_kernels::rng::derive;
use topwork_train::metrics::Metric;
use topwork_train::{Event, Observer};

use self::space::{Knob, Value};
use self::suggest::{Search, suggest};
use crate::error::Error;
use crate::glue::{Context, keep, read_kept, remove, same_settings};
use crate::job::{JobObserver, Outcomes, read_events, seed_of};
use crate::recipe::{Recipe, SeedsRecipe};
use crate::seeds::{planned, seconds};

/// What is tried when nothing is said.
pub const USUAL: &[&str] = &[
    "train.learning-rate=1e-5..1e-3:log",
    "batch.examples=8|16|32|64",
    "train.epochs=2..8:whole",
    "train.warmup=0..0.3",
];

/// Of the trials at a rung one in so many goes on, and each rung is so many times as far as the one before.
const REDUCE: usize = 3;

/// What is to be done.
pub struct Plan<'a> {
    /// The recipe; what is tried stands above it.
    pub recipe: &'a Recipe,
    /// What is tried.
    pub knobs: Vec<Knob>,
    /// How the next settings are found.
    pub search: Search,
    /// How many trials.
    pub trials: usize,
    /// Stop trials that are not among the best third at their first, third, ninth ... evaluation.
    pub halving: bool,
    /// Train the best settings once more, with another seed.
    pub retrain: bool,
    /// The folder of everything.
    pub folder: &'a Path,
}

/// One trial: `tune.json` in its folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Trial {
    /// Its number, from 1.
    pub number: usize,
    /// The value of each setting, in the order of the settings.
    pub values: Vec<Value>,
    /// The same as they stand in its recipe.
    pub shown: Vec<String>,
    /// The metric.
    pub metric: String,
    /// False for metrics where less is better.
    pub higher_is_better: bool,
    /// The best score on the development data.
    pub score: Option<f64>,
    /// The score at each evaluation.
    pub evaluations: Vec<Option<f64>>,
    /// Steps done, and steps of the whole run.
    pub steps: [usize; 2],
    /// Whether it was stopped for not being among the best.
    pub stopped: bool,
    /// Seconds of training.
    pub seconds: f64,
    /// Why it ended before its time, if it diverged.
    pub diverged: Option<String>,
}

/// The run with the best settings: `tune.json` in its folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Best {
    /// Which trial it has its settings from.
    pub trial: usize,
    /// The best score on the development data, with another seed than the trial's.
    pub dev: Option<f64>,
    /// The score on the test data.
    pub test: Option<f64>,
    /// The ends of its 95% interval by the bootstrap over test texts.
    pub interval: Option<(f64, f64)>,
    /// TF-IDF and a linear model on the test data, where there is one.
    pub linear: Option<f64>,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// The model.
    pub model: String,
    /// The data.
    pub data: String,
    /// What was tried.
    pub knobs: Vec<Knob>,
    /// How.
    pub search: Search,
    /// The trials, in order.
    pub trials: Vec<Trial>,
    /// The run with the best settings.
    pub best: Option<Best>,
    /// Its folder.
    pub folder: PathBuf,
    /// The run that was stopped, if one was: the same command goes on with it.
    pub interrupted: Option<PathBuf>,
}

const FINISHED: &str = "tune.json";
/// What a search was begun with that no recipe of a trial says.
const STUDY: &str = "study.json";
/// The folder of the run with the best settings.
const BEST: &str = "best-settings";

/// Does every trial that is not done yet, and tells `each` of the results after each.
///
/// # Errors
/// A setting that no recipe has; a folder with a search of other settings; data that is not there, and what goes wrong in a run. A
/// trial that diverges is noted and does not end the others.
pub fn run(
    plan: &Plan,
    context: &Context,
    each: &mut dyn FnMut(&Results) -> Result<(), Error>,
) -> Result<Results, Error> {
    let seed = seed_of(plan.recipe)?;
    let data = &plan.recipe.data;
    let mut results = Results {
        model: plan.recipe.model.clone(),
        data: data.set.clone().unwrap_or_else(|| data.train.display().to_string()),
        knobs: plan.knobs.clone(),
        search: plan.search,
        folder: plan.folder.join(BEST),
        ..Results::default()
    };
    check(plan)?;
    for number in 0..plan.trials {
        let before: Vec<_> =
            results.trials.iter().map(|trial| (trial.values.clone(), trial.rank())).collect();
        let values = suggest(plan.search, &plan.knobs, derive(seed, "tune"), number, &before);
        let folder = plan.folder.join("trials").join(format!("{:03}", number + 1));
        let recipe = trial_recipe(plan, &values)?;
        same_settings(&folder, &recipe)?;
        let trial = match read_kept(&folder.join(FINISHED))? {
            Some(trial) => trial,
            None => {
                let shown: Vec<String> = plan
                    .knobs
                    .iter()
                    .zip(&values)
                    .map(|(knob, &value)| format!("{} {}", knob.name(), knob.shown(value)))
                    .collect();
                (context.note)(&format!("trial {} of {}: {}", number + 1, plan.trials, shown.join(", ")));
                let Some(trial) = one(plan, &recipe, (number, values), &results.trials, &folder, context)?
                else {
                    results.interrupted = Some(folder);
                    return Ok(results);
                };
                trial
            }
        };
        results.trials.push(trial);
        each(&results)?;
    }
    let winner = results
        .ranked()
        .first()
        .filter(|trial| trial.score.is_some())
        .map(|trial| (trial.number, trial.values.clone()));
    if let Some((number, values)) = winner.filter(|_| plan.retrain) {
        let mut recipe = trial_recipe(plan, &values)?;
        recipe.report = plan.recipe.report.clone();
        // The split stays: what chose the settings is not among what measures them.
        let other = seed.wrapping_add(1);
        recipe.seeds = SeedsRecipe { init: Some(other), order: Some(other) };
        let folder = results.folder.clone();
        same_settings(&folder, &recipe)?;
        let kept = read_kept::<Best>(&folder.join(FINISHED))?;
        results.best = match kept.filter(|best| best.trial == number) {
            Some(best) => Some(best),
            None => {
                (context.note)(&format!(
                    "the settings of trial {number} once more, with another seed: {}",
                    folder.display()
                ));
                let outcomes = context.train(&recipe, &folder)?;
                if outcomes.run.interrupted {
                    results.interrupted = Some(folder);
                    return Ok(results);
                }
                let best = best(&outcomes, number)?;
                keep(&folder.join(FINISHED), &best)?;
                Some(best)
            }
        };
        each(&results)?;
    }
    Ok(results)
}

/// Refuses what cannot be tried, and a folder with another search.
fn check(plan: &Plan) -> Result<(), Error> {
    if plan.recipe.few_shot {
        return Err(Error::Task(
            "settings of a run of two stages are not searched: leave --few-shot out".to_string(),
        ));
    }
    if let Some(twice) =
        (1..plan.knobs.len()).find(|&at| plan.knobs[..at].iter().any(|knob| knob.key == plan.knobs[at].key))
    {
        return Err(Error::Task(format!("{} is tried twice: say its values once", plan.knobs[twice].key)));
    }
    // A setting that there is not is found before anything is trained.
    let first = suggest(Search::Random, &plan.knobs, 0, 0, &[]);
    trial_recipe(plan, &first)?;
    let path = plan.folder.join(STUDY);
    let now = (plan.search, plan.halving, plan.knobs.clone());
    match read_kept::<(Search, bool, Vec<Knob>)>(&path)? {
        Some(then) if then == now => Ok(()),
        Some(_) => Err(Error::Recipe {
            place: path.display().to_string(),
            reason: "the trials in this folder were begun with another search or other values: take the same, or another --out"
                .to_string(),
        }),
        None => {
            fs::create_dir_all(plan.folder).map_err(Error::file(plan.folder))?;
            keep(&path, &now)
        }
    }
}

/// The recipe with these settings.
fn trial_recipe(plan: &Plan, values: &[Value]) -> Result<Recipe, Error> {
    let lines: Vec<String> = plan
        .knobs
        .iter()
        .zip(values)
        .map(|(knob, &value)| format!("{}={}", knob.key, knob.shown(value)))
        .collect();
    let mut recipe = plan.recipe.clone().with_overrides(&lines)?;
    // A trial is judged on the development data alone.
    recipe.report.baseline = false;
    recipe.report.threshold = false;
    recipe.report.resamples = 0;
    Ok(recipe)
}

/// A trial to its end, or to where it is stopped; `None` if the user stopped it.
fn one(
    plan: &Plan,
    recipe: &Recipe,
    (number, values): (usize, Vec<Value>),
    before: &[Trial],
    folder: &Path,
    context: &Context,
) -> Result<Option<Trial>, Error> {
    let empty = Trial {
        number: number + 1,
        shown: plan.knobs.iter().zip(&values).map(|(knob, &value)| knob.shown(value)).collect(),
        values,
        higher_is_better: true,
        ..Trial::default()
    };
    let stop = AtomicBool::new(false);
    let mut inner = (context.observe)(folder);
    let higher = before.first().is_none_or(|trial| trial.higher_is_better);
    let mut watch = Watch {
        inner: inner.as_mut(),
        before: if plan.halving { before } else { &[] },
        higher,
        scores: Vec::new(),
        total: 0,
        asked: context.stop,
        stop: &stop,
        lost: false,
        folder,
    };
    let trained = context.train_watched(recipe, folder, &mut watch, &stop);
    let lost = watch.lost;
    let trial = match trained {
        Ok(outcomes) if outcomes.run.interrupted && !lost => return Ok(None),
        Ok(outcomes) => said(&outcomes, empty, lost)?,
        Err(Error::Train(error @ topwork_train::Error::Diverged { .. })) => {
            (context.note)(&format!("trial {} diverged: {error}", number + 1));
            Trial { diverged: Some(error.to_string()), higher_is_better: higher, ..empty }
        }
        Err(error) => return Err(error),
    };
    keep(&folder.join(FINISHED), &trial)?;
    remove(folder, &["best", "checkpoints"])?;
    Ok(Some(trial))
}

/// What a trial says of itself.
fn said(outcomes: &Outcomes, empty: Trial, stopped: bool) -> Result<Trial, Error> {
    let data = &outcomes.data;
    let name = outcomes.resolved.task.metric.clone().unwrap_or_else(|| "loss".to_string());
    let metric = Metric::parse(&name, data.task().measures(), &data.labels, data.positive)?;
    let evaluations = outcomes.events.iter().filter_map(|event| match event {
        Event::Evaluation { score, .. } => Some(*score),
        _ => None,
    });
    Ok(Trial {
        higher_is_better: metric.higher_is_better(),
        metric: name,
        score: outcomes.run.best.and_then(|(_, score)| score),
        evaluations: evaluations.collect(),
        steps: [outcomes.run.steps, planned(&outcomes.events).unwrap_or(outcomes.run.steps)],
        stopped,
        seconds: seconds(&outcomes.events),
        ..empty
    })
}

fn best(outcomes: &Outcomes, trial: usize) -> Result<Best, Error> {
    let name = outcomes.resolved.task.metric.clone().unwrap_or_else(|| "loss".to_string());
    let test = outcomes.test.as_ref().map(|test| &test.evaluation);
    let linear = match &outcomes.baseline {
        None => None,
        Some(baseline) => {
            crate::scoring::evaluation(&baseline.outcome, &outcomes.data.labels, None)?.value(&name).ok()
        }
    };
    Ok(Best {
        trial,
        dev: outcomes.run.best.and_then(|(_, score)| score),
        test: test.and_then(|test| test.value(&name).ok()),
        interval: test.and_then(|test| test.interval(&name)).map(|interval| (interval.lower, interval.upper)),
        linear,
    })
}

impl Trial {
    /// Its score, the higher the better; `None` if it has none.
    pub fn rank(&self) -> Option<f64> {
        self.score.map(|score| if self.higher_is_better { score } else { -score })
    }

    /// The best score of its first so many evaluations, the higher the better; `None` if it never got there.
    fn rank_at(&self, evaluations: usize) -> Option<f64> {
        let first = self.evaluations.get(..evaluations)?;
        Some(best_rank(first, self.higher_is_better))
    }
}

fn best_rank(scores: &[Option<f64>], higher: bool) -> f64 {
    let rank =
        |score: &Option<f64>| score.map_or(f64::NEG_INFINITY, |score| if higher { score } else { -score });
    scores.iter().map(rank).fold(f64::NEG_INFINITY, f64::max)
}

/// Whether a trial goes on past a rung: among those that were there, itself counted, it is in the best third. Fewer than
/// [`REDUCE`] say nothing.
fn goes_on(own: f64, others: &[f64]) -> bool {
    let better = others.iter().filter(|&&other| other > own).count();
    let there = others.len() + 1;
    there < REDUCE || better < there.div_ceil(REDUCE)
}

impl Results {
    /// The trials, the best first; of equals the earlier.
    pub fn ranked(&self) -> Vec<&Trial> {
        let mut trials: Vec<&Trial> = self.trials.iter().collect();
        let rank = |trial: &Trial| trial.rank().unwrap_or(f64::NEG_INFINITY);
        trials.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
        trials
    }
}

/// Asks the loop to stop where a trial is not among the best, or when the user asks.
struct Watch<'a> {
    inner: &'a mut dyn JobObserver,
    before: &'a [Trial],
    higher: bool,
    scores: Vec<Option<f64>>,
    total: usize,
    asked: &'a AtomicBool,
    stop: &'a AtomicBool,
    lost: bool,
    folder: &'a Path,
}

impl Watch<'_> {
    /// Sees an evaluation; at a rung it may be the last.
    fn evaluated(&mut self, step: usize, score: Option<f64>) {
        self.scores.push(score);
        let count = self.scores.len();
        let mut rung = 1;
        while rung < count {
            rung *= REDUCE;
        }
        if rung != count || step >= self.total {
            return;
        }
        let others: Vec<f64> = self.before.iter().filter_map(|trial| trial.rank_at(count)).collect();
        if !goes_on(best_rank(&self.scores, self.higher), &others) {
            self.lost = true;
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl Observer for Watch<'_> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Start { total_steps, done_steps, .. } => {
                self.total = *total_steps;
                // A run that is gone on with has been evaluated before.
                let before =
                    if *done_steps > 0 { read_events(self.folder).unwrap_or_default() } else { Vec::new() };
                for event in &before {
                    if let Event::Evaluation { step, score, .. } = event
                        && step <= done_steps
                    {
                        self.evaluated(*step, *score);
                    }
                }
            }
            Event::Evaluation { step, score, .. } => self.evaluated(*step, *score),
            _ => {}
        }
        if self.asked.load(Ordering::Relaxed) {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.inner.event(event);
    }
}

impl JobObserver for Watch<'_> {
    fn note(&mut self, line: &str) {
        self.inner.note(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_a_rung_the_best_third_goes_on() {
        assert!(goes_on(0.1, &[]) && goes_on(0.1, &[0.9]), "two say nothing");
        assert!(!goes_on(0.1, &[0.9, 0.8]) && goes_on(0.95, &[0.9, 0.8]));
        // Of six two go on.
        assert!(goes_on(0.85, &[0.9, 0.8, 0.7, 0.6, 0.5]) && !goes_on(0.75, &[0.9, 0.8, 0.7, 0.6, 0.5]));
        assert!(!goes_on(f64::NEG_INFINITY, &[0.9, 0.8]), "no value is the worst");
    }

    #[test]
    fn less_may_be_better() {
        let trial =
            |number, score, higher_is_better| Trial { number, score, higher_is_better, ..Trial::default() };
        let results = |higher| Results {
            trials: vec![trial(1, Some(0.3), higher), trial(2, None, higher), trial(3, Some(0.2), higher)],
            ..Results::default()
        };
        let order = |higher| results(higher).ranked().iter().map(|trial| trial.number).collect::<Vec<_>>();
        assert_eq!((order(true), order(false)), (vec![1, 3, 2], vec![3, 1, 2]));
        let evaluated = Trial { evaluations: vec![Some(0.3), Some(0.1), None], ..trial(1, None, false) };
        assert_eq!(
            (evaluated.rank_at(1), evaluated.rank_at(2), evaluated.rank_at(4)),
            (Some(-0.3), Some(-0.1), None)
        );
    }

    #[test]
    fn the_usual_settings_are_settings() {
        let knobs: Vec<Knob> = USUAL.iter().map(|text| Knob::parse(text).unwrap()).collect();
        let recipe = Recipe::new("m", "d.csv");
        let plan = Plan {
            recipe: &recipe,
            knobs,
            search: Search::Tpe,
            trials: 1,
            halving: true,
            retrain: true,
            folder: Path::new("unused"),
        };
        for number in 0..20 {
            let values = suggest(Search::Random, &plan.knobs, 1, number, &[]);
            let recipe = trial_recipe(&plan, &values).unwrap();
            assert!(recipe.batch.examples.is_some() && recipe.train.contains_key("warmup"));
            assert!(recipe.train["learning-rate"].is_float() && recipe.train["epochs"].is_integer());
        }
    }
}

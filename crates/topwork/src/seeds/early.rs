//! Start many, stop most: all runs train up to their first evaluation after a share of the steps, the best of them by then go on.
//!
//! A run that waits has its checkpoint on disk; of those that cannot be among the best any more, it is removed at once.
//!
//! Paper: Dodge et al. 2020, "Fine-Tuning Pretrained Language Models", section 5 ("start many, stop early, continue some"),
//! <https://arxiv.org/abs/2002.06305>

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use topwork_train::{Event, Observer};

use super::{FINISHED, Plan, Run, finish, planned, run_folder};
use crate::error::Error;
use crate::glue::{Context, keep, read_kept, remove, same_settings};
use crate::job::{JobObserver, read_events};

/// How runs are stopped early.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Early {
    /// The share of the steps after which the next evaluation is the last of most runs.
    pub share: f64,
    /// Runs that go on.
    pub keep: usize,
}

/// Where a run stood when it was compared: `early.json` in its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Paused {
    /// The seed.
    pub seed: u64,
    /// Steps done.
    pub step: usize,
    /// Steps of the whole run.
    pub planned: usize,
    /// The best score on the development data so far.
    pub score: Option<f64>,
    /// False for metrics where less is better.
    pub higher_is_better: bool,
    /// Whether it goes on.
    #[serde(skip)]
    pub kept: bool,
}

const PAUSED: &str = "early.json";

/// Brings every run to where it is compared, and says which go on. The inner error is the folder of a run that was
/// interrupted.
pub(super) fn pause_all(
    early: &Early,
    plan: &Plan,
    context: &Context,
) -> Result<Result<Vec<Paused>, PathBuf>, Error> {
    if plan.recipe.few_shot {
        return Err(Error::Task(
            "--stop-early has no place in a run of two stages: leave --few-shot out".to_string(),
        ));
    }
    let mut all: Vec<Paused> = Vec::new();
    for &seed in &plan.seeds {
        let folder = run_folder(plan.folder, seed);
        let recipe = plan.vary.recipe(plan.recipe, seed);
        same_settings(&folder, &recipe)?;
        let paused = match read_kept(&folder.join(PAUSED))? {
            Some(paused) => paused,
            None => match read_kept::<Run>(&folder.join(FINISHED))? {
                Some(run) => ended(&run, early)?,
                None => {
                    (context.note)(&format!("seed {seed}, first part: {}", folder.display()));
                    match pause(early, &recipe, seed, &folder, context)? {
                        Some(paused) => paused,
                        None => return Ok(Err(folder)),
                    }
                }
            },
        };
        all.push(paused);
        choose(&mut all, early.keep);
        for paused in all.iter().filter(|paused| !paused.kept && !plan.keep_models) {
            let folder = run_folder(plan.folder, paused.seed);
            remove(&folder, &["checkpoints", "best"])?;
        }
    }
    Ok(Ok(all))
}

/// Trains up to the pause; `None` if the run was interrupted before.
fn pause(
    early: &Early,
    recipe: &crate::Recipe,
    seed: u64,
    folder: &Path,
    context: &Context,
) -> Result<Option<Paused>, Error> {
    let reached = AtomicBool::new(false);
    let mut inner = (context.observe)(folder);
    let mut watch = Watch {
        inner: inner.as_mut(),
        share: early.share,
        from: usize::MAX,
        total: 0,
        asked: context.stop,
        pause: &reached,
        folder,
    };
    let trained = context.train_watched(recipe, folder, &mut watch, &reached);
    let interrupted = trained.as_ref().is_ok_and(|outcomes| outcomes.run.interrupted);
    if interrupted && context.stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    if !interrupted {
        let Some(run) = finish(trained, seed, folder, context)? else { return Ok(None) };
        return Ok(Some(ended(&run, early)?));
    }
    let outcomes = trained?;
    let name = outcomes.resolved.task.metric.as_deref().unwrap_or("loss");
    let data = &outcomes.data;
    let metric =
        topwork_train::metrics::Metric::parse(name, data.task().measures(), &data.labels, data.positive)?;
    let paused = Paused {
        seed,
        step: outcomes.run.steps,
        planned: planned(&outcomes.events).unwrap_or(outcomes.run.steps),
        score: outcomes.run.best.and_then(|(_, score)| score),
        higher_is_better: metric.higher_is_better(),
        kept: false,
    };
    keep(&folder.join(PAUSED), &paused)?;
    Ok(Some(paused))
}

/// A run that came to its end before it could be paused: it diverged, or ran out of patience.
///
/// # Errors
/// A run that was trained to its end because there was nothing to pause it at.
fn ended(run: &Run, early: &Early) -> Result<Paused, Error> {
    if run.diverged.is_none() && run.steps == run.planned {
        return Err(Error::Task(format!(
            "--stop-early: the first evaluation after {} of the steps is at their end, so there is nothing to stop: evaluate more \
             often (train.evaluate-steps, --epochs) or stop earlier, into another --out",
            early.share
        )));
    }
    Ok(Paused {
        seed: run.seed,
        step: run.steps,
        planned: run.planned,
        score: run.dev,
        higher_is_better: run.higher_is_better,
        kept: false,
    })
}

/// Marks the best runs so far, the first of equals.
fn choose(all: &mut [Paused], keep: usize) {
    let rank = |paused: &Paused| {
        let sign = if paused.higher_is_better { 1.0 } else { -1.0 };
        paused.score.map_or(f64::NEG_INFINITY, |score| sign * score)
    };
    let mut order: Vec<usize> = (0..all.len()).collect();
    // Stable: of equals the first stays first.
    order.sort_by(|&a, &b| rank(&all[b]).total_cmp(&rank(&all[a])));
    for (place, at) in order.into_iter().enumerate() {
        all[at].kept = place < keep;
    }
}

/// Asks the loop to stop after the first evaluation past a share of the steps, or when the user asks.
struct Watch<'a> {
    inner: &'a mut dyn JobObserver,
    share: f64,
    /// The step from which on an evaluation is the one that counts.
    from: usize,
    total: usize,
    asked: &'a AtomicBool,
    pause: &'a AtomicBool,
    folder: &'a Path,
}

impl Watch<'_> {
    fn counts(&self, event: &Event) -> bool {
        matches!(event, Event::Evaluation { step, .. } if *step >= self.from && *step < self.total)
    }
}

impl Observer for Watch<'_> {
    fn event(&mut self, event: &Event) {
        if let Event::Start { total_steps, done_steps, .. } = event {
            self.total = *total_steps;
            self.from = ((self.share * *total_steps as f64).ceil() as usize).max(1);
            // A process that was killed between that evaluation and its pause left it in the log.
            let before =
                if *done_steps > 0 { read_events(self.folder).unwrap_or_default() } else { Vec::new() };
            if before.iter().any(|event| self.counts(event)) {
                self.pause.store(true, Ordering::Relaxed);
            }
        }
        if self.counts(event) || self.asked.load(Ordering::Relaxed) {
            self.pause.store(true, Ordering::Relaxed);
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

    fn paused(seed: u64, score: Option<f64>, higher_is_better: bool) -> Paused {
        Paused { seed, step: 3, planned: 10, score, higher_is_better, kept: false }
    }

    #[test]
    fn the_best_go_on_whatever_came_in_between() {
        let scores = [Some(0.5), Some(0.9), None, Some(0.7), Some(0.9), Some(0.7)];
        let chosen = |higher: bool, keep: usize| {
            // As they come: what has been left behind never comes back.
            let (mut all, mut gone) = (Vec::new(), Vec::new());
            for (seed, score) in scores.iter().enumerate() {
                all.push(paused(seed as u64, *score, higher));
                choose(&mut all, keep);
                assert!(all.iter().all(|paused| !(paused.kept && gone.contains(&paused.seed))));
                gone.extend(all.iter().filter(|paused| !paused.kept).map(|paused| paused.seed));
            }
            all.iter().filter(|paused| paused.kept).map(|paused| paused.seed).collect::<Vec<_>>()
        };
        assert_eq!(chosen(true, 3), [1, 3, 4]);
        assert_eq!(chosen(false, 2), [0, 3]);
        assert_eq!(chosen(true, 9).len(), 6);
    }
}

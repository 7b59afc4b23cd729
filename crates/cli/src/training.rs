//! What a run says while it goes: a bar with loss, speed and time left on a terminal, lines elsewhere.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use topwork::job::RESOLVED;
use topwork::{JobObserver, Recipe};
use topwork_train::{Event, Learning, Observer};

use crate::global::Global;
use crate::numbers::thousands;
use crate::{failure, stop};

/// Time between two lines where no bar can be drawn.
const EVERY: Duration = Duration::from_secs(5);

/// Time between two lines about evaluations that are not the best.
const BETWEEN: Duration = Duration::from_secs(1);

/// Follows a run.
pub struct Training {
    quiet: bool,
    draws: bool,
    folder: PathBuf,
    /// The metric the run is judged by.
    metric: String,
    bar: Option<ProgressBar>,
    total: usize,
    /// Smoothed over the last steps.
    loss: Option<f64>,
    /// Tokens and seconds of the steps since the last line, or of the last ones for a bar.
    tokens: f64,
    seconds: f64,
    said: Instant,
    evaluated: Instant,
    /// When the steps of this process began, and how many were done before.
    began: Instant,
    before: usize,
}

impl Training {
    /// An observer of the run in a folder, that obeys `--quiet` and draws on terminals only.
    pub fn new(global: &Global, folder: &Path) -> Self {
        let now = Instant::now();
        Training {
            quiet: global.is_quiet(),
            draws: global.draws(),
            folder: folder.to_path_buf(),
            metric: "score".into(),
            bar: None,
            total: 0,
            loss: None,
            tokens: 0.0,
            seconds: 0.0,
            said: now,
            evaluated: now,
            began: now,
            before: 0,
        }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| failure::say(line)),
            None if !self.quiet => failure::say(line),
            None => {}
        }
    }

    fn step(&mut self, epoch: usize, step: usize, loss: f64, tokens: usize, seconds: f64) {
        // A mean over about ten steps: single batches jump too much to be read.
        self.loss = Some(self.loss.map_or(loss, |mean| 0.9 * mean + 0.1 * loss));
        if self.bar.is_some() {
            (self.tokens, self.seconds) = (0.9 * self.tokens, 0.9 * self.seconds);
        }
        self.tokens += tokens as f64;
        self.seconds += seconds;
        let shown = format!(
            "epoch {}, loss {:.4}, {} tokens/s",
            epoch + 1,
            self.loss.unwrap_or(loss),
            thousands((self.tokens / self.seconds.max(1e-9)) as usize)
        );
        if let Some(bar) = &self.bar {
            bar.set_message(shown);
            bar.set_position(step as u64);
        } else if self.said.elapsed() >= EVERY || step == self.total {
            let done = (step - self.before).max(1) as f64;
            let left = self.began.elapsed().as_secs_f64() / done * (self.total - step) as f64;
            self.say(&format!("step {step} of {}, {shown}, {} left", self.total, time(left)));
            (self.tokens, self.seconds, self.said) = (0.0, 0.0, Instant::now());
        }
    }
}

impl Observer for Training {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Start { total_steps, done_steps, trainable_values, total_values, precision } => {
                let on = if *done_steps > 0 { format!(", {done_steps} of them done") } else { String::new() };
                self.say(&format!(
                    "training {} of {} values in {precision}, {total_steps} steps{on}",
                    thousands(*trainable_values),
                    thousands(*total_values)
                ));
                stop::listening(true);
                // Decided from the data and written down before the first step.
                let resolved = Recipe::load(&self.folder.join(RESOLVED)).ok();
                self.metric =
                    resolved.and_then(|recipe| recipe.task.metric).unwrap_or_else(|| "score".into());
                (self.total, self.before, self.began) = (*total_steps, *done_steps, Instant::now());
                self.said = Instant::now();
                if self.draws {
                    let form = "{bar:28} {pos}/{len} {msg}, {eta} left";
                    let style =
                        ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
                    let bar = ProgressBar::with_draw_target(
                        Some(*total_steps as u64),
                        ProgressDrawTarget::stderr(),
                    );
                    let bar = bar.with_style(style).with_position(*done_steps as u64);
                    // Steps done before this process say nothing about its speed.
                    bar.reset_eta();
                    self.bar = Some(bar);
                }
            }
            Event::Step { epoch, step, loss, tokens, seconds, .. } => {
                self.step(*epoch, *step, *loss, *tokens, *seconds);
            }
            Event::Evaluation { epoch, step, score, best, weights, seconds, .. } => {
                // Epochs may take milliseconds: then only what is better is worth a line.
                if *best || self.evaluated.elapsed() >= BETWEEN {
                    self.evaluated = Instant::now();
                    let best = if *best { ", the best so far" } else { "" };
                    let (epoch, metric) = (epoch + 1, &self.metric);
                    let weights = weights.as_ref().map(|weights| format!(" with the weights of {weights}"));
                    self.say(&format!(
                        "epoch {epoch}, step {step}: dev {metric} {}{}{best} ({seconds:.1} s)",
                        value(*score),
                        weights.unwrap_or_default()
                    ));
                }
            }
            Event::Variant { weights, score, best, seconds, .. } => {
                let best = if *best { ", the best so far" } else { "" };
                let metric = &self.metric;
                self.say(&format!("{weights}: dev {metric} {}{best} ({seconds:.1} s)", value(*score)));
            }
            Event::Plan { step, learning } => {
                let rate = |part: &Learning| match part.lr_scale {
                    1.0 => part.group.clone(),
                    scale => format!("{} ({scale:.3} of the rate)", part.group),
                };
                let values: usize = learning.iter().map(|part| part.values).sum();
                let groups: Vec<String> = learning.iter().map(rate).collect();
                self.say(&format!(
                    "after step {step} learn {}: {} values",
                    groups.join(", "),
                    thousands(values)
                ));
            }
            Event::Checkpoint { .. } => {}
            Event::EarlyStop { step, best_step } => {
                self.say(&format!("stopped early at step {step}: nothing better since step {best_step}"));
            }
            Event::Reached { step, score } => {
                self.say(&format!("stopped at step {step}: dev {} of {score:.4} is reached", self.metric));
            }
            Event::TimeOver { step } => {
                self.say(&format!("stopped at step {step}: the minutes given are over"));
            }
            Event::Interrupted { step } => {
                stop::listening(false);
                self.bar.take().into_iter().for_each(|bar| bar.abandon());
                self.say(&format!("stopped at step {step}; everything is saved"));
            }
            Event::End { step, best_score, best_step, best_weights, seconds } => {
                stop::listening(false);
                self.bar.take().into_iter().for_each(|bar| bar.finish_and_clear());
                let took = time(*seconds);
                let weights = best_weights.as_ref().map(|weights| format!(" with the weights of {weights}"));
                self.say(&format!(
                    "{step} steps in {took}; best dev {}: {} at step {best_step}{}",
                    self.metric,
                    value(*best_score),
                    weights.unwrap_or_default()
                ));
            }
        }
    }
}

impl JobObserver for Training {
    fn note(&mut self, line: &str) {
        self.say(line);
    }
}

/// A score to four places, or that there is none.
fn value(score: Option<f64>) -> String {
    score.map_or_else(|| "has no value".to_string(), |score| format!("{score:.4}"))
}

/// A duration as it is read: `0.4 s`, `48 s`, `3:07`, `1:02:33`.
pub fn time(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{}:{:02}", whole / 60, whole % 60),
        _ => format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (seconds, expected) in
            [(0.44, "0.4 s"), (47.6, "48 s"), (187.0, "3:07"), (3753.0, "1:02:33"), (59.7, "1:00")]
        {
            assert_eq!(time(seconds), expected);
        }
    }
}

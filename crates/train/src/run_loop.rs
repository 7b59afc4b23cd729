//! The one training loop.
//!
//! Read top to bottom: plan, forward and backward over the accumulated batches, audit, clip, step, and at the end
//! of an epoch (or every so many steps) evaluate, keep the best, write a checkpoint. What is evaluated and kept are the weights
//! that are trained, or what a technique made of them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::Tensor;
use serde_json::{Value, json};
use topwork_kernels::rng::derive;
use topwork_nn::{Gradients, Param, ParamId, ParamKind, ParamStore, Pass, gradient};

use crate::audit;
use crate::checkpoint::{self, Learnt, Position, Values};
use crate::error::Error;
use crate::event::{Event, Learning, Observer};
use crate::optim::AdamW;
use crate::options::TrainOptions;
use crate::plan::{self, ParamInfo, Plan, Progress};
use crate::run_log::RunLog;
use crate::schedule::{self, Schedule};
use crate::task::{Scores, Task};
use crate::technique::{self, Technique};
use crate::values::swap;
use crate::view::Looked;

/// Where a run keeps its files and how it may be stopped.
pub struct RunContext<'a> {
    /// The run folder; `None` keeps nothing on disk (the best weights are then not kept either).
    pub folder: Option<&'a Path>,
    /// Go on from the newest checkpoint in the folder.
    pub resume: bool,
    /// Set from outside (Ctrl-C): the loop saves and returns at the next step.
    pub stop: &'a AtomicBool,
    /// Is told what happens.
    pub observer: &'a mut dyn Observer,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResult {
    /// Optimizer steps done.
    pub steps: usize,
    /// Scores at the best evaluation.
    pub best: Option<(usize, Option<f64>)>,
    /// What the weights of the best evaluation are (`ema`, `wise-ft 0.5`), where they are not those that were trained.
    pub best_weights: Option<String>,
    /// True if it was stopped from outside and can be resumed.
    pub interrupted: bool,
    /// True if patience or time ran out, or the score that was asked for was reached.
    pub stopped_early: bool,
    /// Values that are trained in some step of the run.
    pub trainable_values: usize,
    /// Seconds of this process.
    pub seconds: f64,
}

/// State of a run between two steps; what a checkpoint keeps.
struct Running<'r, 'c, T: Task> {
    task: &'r mut T,
    options: &'r TrainOptions,
    folder: Option<&'r Path>,
    stop: &'r AtomicBool,
    log: RunLog<'c>,
    optimizer: AdamW,
    schedule: Box<dyn Schedule>,
    /// With their names.
    techniques: Named,
    params: Vec<ParamInfo>,
    at: Position,
    total: usize,
    /// What the step before trained; `None` before the first one.
    planned: Option<Vec<Plan>>,
    /// What was said of what learns.
    told: Vec<Vec<Learning>>,
}

/// Trains `task`.
///
/// # Errors
/// Options out of range, nothing to train, a failed gradient audit, divergence, a checkpoint that does not fit,
/// a file that cannot be written, or what the task finds wrong.
pub fn run<T: Task>(task: &mut T, options: &TrainOptions, context: RunContext) -> Result<RunResult, Error> {
    let started = Instant::now();
    options.check()?;
    let RunContext { folder, resume, stop, observer } = context;
    let params = ParamInfo::of(task.store());
    let (mut techniques, renewed) = techniques(options, &params, task)?;
    for (_, technique) in &techniques {
        technique.view().map_or(Ok(()), |view| view.check(task, options.recompute))?;
    }
    let ends = step_ends(task, options)?;
    let total = ends.last().copied().unwrap_or(0);
    // Before the log is there: a folder in which nothing has begun can be used again.
    let moves = foresee(task.store(), &params, &techniques, options, &ends)?;
    if let Some((technique, id)) = renewed.into_iter().find(|(_, id)| !moves[id.0]) {
        return Err(Error::NeverTrained { technique, path: params[id.0].path.clone() });
    }
    let top = plan::top(&params);
    let learn = |technique: &dyn Technique| {
        let mut learning = params.iter().zip(&moves).filter(|(param, moves)| **moves && param.kind.learns());
        learning.any(|(param, _)| technique.acts_on(param, top))
    };
    if let Some((technique, _)) = techniques.iter().find(|(_, technique)| !learn(technique.as_ref())) {
        return Err(Error::Idle { technique: technique.clone() });
    }
    let learning = task.store().iter().zip(moves).filter(|((_, param), moves)| *moves && param.kind.learns());
    let trainable_values = learning.map(|((_, param), _)| param.len()).sum();
    let schedule = schedule::build(&options.schedule, &options.schedule_with_options(), total as u64)
        .map_err(|e| Error::Task(Box::new(e)))?;
    let mut optimizer = AdamW::new(options, params.len());
    let mut at = Position::default();
    let mut resumed = None;
    if let (Some(folder), true) = (folder, resume)
        && let Some((loaded, averages)) =
            checkpoint::load_newest(folder, task.store_mut(), &mut optimizer, options)?
    {
        for (_, technique) in &mut techniques {
            technique.restore(averages.clone(), task.store())?;
        }
        resumed = Some((loaded.log_bytes, loaded.step));
        at = loaded;
    }
    let log = match folder {
        Some(folder) => RunLog::open(folder, resumed, observer)?,
        None => RunLog::unwritten(observer),
    };
    let mut run = Running {
        task,
        options,
        folder,
        stop,
        log,
        optimizer,
        schedule,
        techniques,
        params,
        at,
        total,
        planned: None,
        told: Vec::new(),
    };
    if run.at.step > 0 {
        let epoch = run.at.epoch - usize::from(run.at.group == 0);
        run.planned = Some(run.plan(Progress { epoch, step: run.at.step - 1, total }));
    }
    let total_values = run.task.store().values_total();
    let (done_steps, precision) = (run.at.step, format!("{:?}", options.precision).to_lowercase());
    run.log.write(&Event::Start {
        total_steps: total,
        done_steps,
        trainable_values,
        total_values,
        precision,
    })?;
    let mut ended = run.go()?;
    if ended != Ended::Interrupted && !run.variants()? {
        ended = Ended::Interrupted;
    }
    let seconds = started.elapsed().as_secs_f64();
    if ended != Ended::Interrupted {
        let (best_step, best_score) = run.at.best.unwrap_or((0, None));
        let best_weights = run.at.best_weights.clone();
        run.log.write(&Event::End { step: run.at.step, best_score, best_step, best_weights, seconds })?;
    }
    Ok(RunResult {
        steps: run.at.step,
        best: run.at.best,
        best_weights: run.at.best_weights,
        interrupted: ended == Ended::Interrupted,
        stopped_early: ended == Ended::Early,
        trainable_values,
        seconds,
    })
}

#[derive(PartialEq, Eq)]
enum Ended {
    Done,
    Early,
    Interrupted,
}

/// What techniques make of each parameter in a step.
fn plan_of(store: &ParamStore, params: &[ParamInfo], techniques: &Named, at: Progress) -> Vec<Plan> {
    let plan = |(_, param): (_, &Param)| Plan { train: param.kind != ParamKind::Fixed, ..Plan::default() };
    let mut plan: Vec<Plan> = store.iter().map(plan).collect();
    for (_, technique) in techniques {
        technique.plan(at, params, &mut plan);
    }
    plan
}

/// Goes through the plans of all steps before the first one is done: each must train something. Says of each parameter
/// whether it is trained in some step.
fn foresee(
    store: &ParamStore,
    params: &[ParamInfo],
    techniques: &Named,
    options: &TrainOptions,
    ends: &[usize],
) -> Result<Vec<bool>, Error> {
    let total = ends.last().copied().unwrap_or(0);
    let mut moves = vec![false; params.len()];
    let (mut step, mut epoch) = (0, 0);
    while step < total {
        while ends.get(epoch).is_some_and(|&end| end <= step) {
            epoch += 1;
        }
        let plan = plan_of(store, params, techniques, Progress { epoch, step, total });
        if !plan.iter().zip(params).any(|(plan, param)| plan.train && param.kind.learns()) {
            let names: Vec<&str> = options.techniques.keys().map(String::as_str).collect();
            return Err(Error::AllFrozen {
                step: step + 1,
                patterns: options.freeze.clone(),
                techniques: if names.is_empty() { "none".to_string() } else { names.join(", ") },
            });
        }
        moves.iter_mut().zip(&plan).for_each(|(moves, plan)| *moves |= plan.train);
        // Freezing alone is the same in every step.
        step = if options.techniques.is_empty() { total } else { step + 1 };
    }
    Ok(moves)
}

/// Techniques with their names.
type Named = Vec<(String, Box<dyn Technique>)>;

/// The techniques of a run, which have seen the parameters, in the order of their names, whatever that of a recipe is; and the
/// parameters that some of them gave fresh values.
fn techniques<T: Task>(
    options: &TrainOptions,
    params: &[ParamInfo],
    task: &mut T,
) -> Result<(Named, Vec<(String, ParamId)>), Error> {
    let (freeze, seed) = (json!({"patterns": options.freeze}), options.seed);
    let named = options.techniques.iter().map(|(name, options)| (name.as_str(), options));
    let frozen: Option<(&str, &Value)> = (!options.freeze.is_empty()).then_some(("freeze", &freeze));
    let mut found = Named::new();
    for (name, options) in frozen.into_iter().chain(named) {
        found.push((name.to_string(), (technique::find(name, options)?.build)(options, params)?));
    }
    let mut renewed = Vec::new();
    for (name, technique) in &mut found {
        let these = technique.renew(params, task.store_mut(), seed)?;
        renewed.extend(these.into_iter().map(|id| (name.clone(), id)));
    }
    for (_, technique) in &mut found {
        technique.begin(params, task.store_mut())?;
        technique.consult(params, task)?;
    }
    Ok((found, renewed))
}

/// How many optimizer steps are done at the end of each epoch; the last is all of the run's.
fn step_ends<T: Task>(task: &T, options: &TrainOptions) -> Result<Vec<usize>, Error> {
    let (mut ends, mut total) = (Vec::with_capacity(options.epochs), 0);
    let most = if options.max_steps > 0 { options.max_steps } else { usize::MAX };
    for epoch in 0..options.epochs {
        let batches = task.batches(epoch)?.len();
        if batches == 0 {
            return Err(Error::NoBatches { epoch });
        }
        total = most.min(total + batches.div_ceil(options.accumulate));
        ends.push(total);
    }
    Ok(ends)
}

impl<T: Task> Running<'_, '_, T> {
    fn go(&mut self) -> Result<Ended, Error> {
        while !self.at.stopped && self.at.epoch < self.options.epochs && self.at.step < self.total {
            if self.at.group == 0 {
                self.task.begins(self.at.epoch)?;
            }
            let batches = self.task.batches(self.at.epoch)?;
            let groups: Vec<&[Vec<usize>]> = batches.chunks(self.options.accumulate).collect();
            while self.at.group < groups.len() && self.at.step < self.total {
                if self.stop.load(Ordering::Relaxed) {
                    self.checkpoint()?;
                    self.log.write(&Event::Interrupted { step: self.at.step })?;
                    return Ok(Ended::Interrupted);
                }
                self.step(groups[self.at.group])?;
                self.at.group += 1;
                let every = |n: usize| n > 0 && self.at.step.is_multiple_of(n);
                let (evaluate, save) =
                    (every(self.options.evaluate_steps), every(self.options.checkpoint_steps));
                let last = self.at.group == groups.len() || self.at.step == self.total;
                let minutes = self.options.max_minutes;
                if minutes > 0.0 && self.at.seconds >= 60.0 * minutes && self.at.step < self.total {
                    self.at.stopped = true;
                    self.log.write(&Event::TimeOver { step: self.at.step })?;
                    self.evaluate()?;
                    self.checkpoint()?;
                    return Ok(Ended::Early);
                }
                if evaluate && !last && self.evaluate()? {
                    self.checkpoint()?;
                    return Ok(Ended::Early);
                }
                if save && !last {
                    self.checkpoint()?;
                }
            }
            let last = self.at.epoch + 1 == self.options.epochs || self.at.step == self.total;
            let due = last || (self.at.epoch + 1).is_multiple_of(self.options.evaluate_epochs);
            let ended_early = due && self.evaluate()?;
            self.at.epoch += 1;
            self.at.group = 0;
            self.checkpoint()?;
            if ended_early {
                return Ok(Ended::Early);
            }
        }
        Ok(if self.at.stopped { Ended::Early } else { Ended::Done })
    }

    /// What learns under a plan, by depth group.
    fn learning(&self, plan: &[Plan]) -> Vec<Learning> {
        let mut found: Vec<Learning> = Vec::new();
        for group in 0..=plan::top(&self.params) {
            let own = self
                .task
                .store()
                .iter()
                .zip(plan)
                .filter(|((_, param), plan)| param.group == group && plan.train && param.kind.learns());
            let (mut values, mut lr_scale) = (0, None);
            for ((_, param), plan) in own {
                values += param.len();
                lr_scale.get_or_insert(plan.lr_scale);
            }
            found.extend(lr_scale.map(|lr_scale| Learning {
                group: plan::group_name(&self.params, group),
                values,
                lr_scale,
            }));
        }
        found
    }

    fn plan(&self, at: Progress) -> Vec<Plan> {
        let mut plan = plan_of(self.task.store(), &self.params, &self.techniques, at);
        for (id, plan) in plan.iter_mut().enumerate() {
            plan.lr_scale *= self.task.pace(ParamId(id));
        }
        plan
    }

    /// One optimizer step over a group of batches.
    fn step(&mut self, group: &[Vec<usize>]) -> Result<(), Error> {
        let started = Instant::now();
        let progress = Progress { epoch: self.at.epoch, step: self.at.step, total: self.total };
        let plan = self.plan(progress);
        let changed = self.planned.as_ref() != Some(&plan);
        let grafts = self.techniques.iter().map(|(_, technique)| technique.grafts_from(progress)).max();
        let grafts = grafts.unwrap_or(0);
        if changed && !self.options.techniques.is_empty() {
            let learning = self.learning(&plan);
            // What is drawn for each step is told once each.
            if grafts == 0 || !self.told.contains(&learning) {
                self.log.write(&Event::Plan { step: self.at.step, learning: learning.clone() })?;
                self.told.push(learning);
            }
        }
        self.task.at(progress);
        let trainable: Vec<bool> = plan.iter().map(|p| p.train).collect();
        let learning_rate =
            self.options.learning_rate * self.schedule.lr_scale(self.at.step as u64, self.total as u64);
        let all: usize = group.iter().map(Vec::len).sum();
        let view = self.techniques.iter().find_map(|(_, technique)| technique.view());
        let mut gradients: Option<Gradients> = None;
        let (mut loss_sum, mut tokens) = (0.0, 0);
        for (n, batch) in group.iter().enumerate() {
            // Dropout depends on the step's number, not on what was drawn before: resuming needs no state.
            let seed = derive(self.options.seed, &format!("step {} batch {n}", self.at.step));
            let pass = Pass::train(self.task.store(), self.options.precision.kernel(), seed, &trainable)
                .with_recompute(self.options.recompute)
                .with_grafts_from(grafts);
            let pass = match view.and_then(|view| view.tap(seed)) {
                Some(tap) => pass.with_tap(tap),
                None => pass,
            };
            let (result, term) = match view {
                None => (self.task.loss(&pass, batch)?, None),
                Some(view) => {
                    let Looked { loss, term } = view.look(&*self.task, &pass, batch)?;
                    (loss, Some(term).filter(Tensor::is_tracked))
                }
            };
            let value = f64::from(result.loss.clone().into_scalar::<f32>());
            self.finite("loss", value, learning_rate)?;
            let share = result.examples as f64 / all as f64;
            let loss = match term {
                Some(term) => result.loss + term,
                None => result.loss,
            };
            let loss = if group.len() == 1 { loss } else { loss.mul_scalar(share) };
            let these = pass.backward(&loss)?;
            loss_sum += value * share;
            tokens += result.tokens;
            gradients = Some(match gradients {
                None => these,
                Some(mut sum) => {
                    sum.add(these, self.task.store());
                    sum
                }
            });
        }
        let mut gradients = gradients.unwrap_or_else(|| Gradients::none(self.params.len()));
        // Once for each set of parameters that learn together.
        if changed {
            audit::check(self.task.store(), &gradients, &trainable)?;
        }
        for (_, technique) in &self.techniques {
            technique.after_backward(&self.params, &plan, self.task.store(), &mut gradients)?;
        }
        let gradient_norm =
            gradients.ids().filter_map(|id| gradients.get(id)).map(gradient::sum_squares).sum::<f64>().sqrt();
        self.finite("gradient norm", gradient_norm, learning_rate)?;
        let clip = self.options.clip_norm;
        let grad_scale = if clip > 0.0 { (clip / (gradient_norm + 1e-6)).min(1.0) } else { 1.0 };
        self.optimizer.step(self.task.store_mut(), &mut gradients, &plan, learning_rate, grad_scale)?;
        for (_, technique) in &mut self.techniques {
            technique.after_step(progress, &plan, self.task.store())?;
        }
        self.planned = Some(plan);
        self.at.step += 1;
        let seconds = started.elapsed().as_secs_f64();
        self.at.seconds += seconds;
        self.log.write(&Event::Step {
            epoch: self.at.epoch,
            step: self.at.step,
            loss: loss_sum,
            learning_rate,
            gradient_norm,
            examples: all,
            tokens,
            seconds,
        })
    }

    fn finite(&self, what: &'static str, value: f64, learning_rate: f64) -> Result<(), Error> {
        if value.is_finite() {
            return Ok(());
        }
        Err(Error::Diverged { step: self.at.step, what, value, learning_rate })
    }

    /// What stands in for the trained weights where the model is measured and saved, and the name of what made it.
    fn averages(&self) -> (Values, Option<String>) {
        // Techniques that average cannot be combined.
        let mut found = self.techniques.iter().map(|(name, technique)| (technique.averages(), name));
        match found.find(|(values, _)| !values.is_empty()) {
            Some((values, name)) => (values, Some(name.clone())),
            None => (Values::new(), None),
        }
    }

    /// Evaluates, keeps the best; true when patience has run out, or the score that was asked for is reached.
    fn evaluate(&mut self) -> Result<bool, Error> {
        let started = Instant::now();
        let (averages, weights) = self.averages();
        let trained = swap(self.task.store_mut(), averages)?;
        let measured = self.measure(weights.clone());
        swap(self.task.store_mut(), trained)?;
        let (scores, best) = measured?;
        self.at.since_best = if best { 0 } else { self.at.since_best + 1 };
        let seconds = started.elapsed().as_secs_f64();
        let (epoch, step) = (self.at.epoch, self.at.step);
        let reached = self.options.stop_at.filter(|&asked| scores.reaches(asked)).and(scores.score);
        let Scores { score, values, .. } = scores;
        self.log.write(&Event::Evaluation { epoch, step, score, best, weights, values, seconds })?;
        if let Some(score) = reached {
            self.log.write(&Event::Reached { step, score })?;
            self.at.stopped = true;
            return Ok(true);
        }
        let early = self.options.patience > 0 && self.at.since_best >= self.options.patience;
        if early {
            let best_step = self.at.best.map_or(0, |(step, _)| step);
            self.log.write(&Event::EarlyStop { step, best_step })?;
            self.at.stopped = true;
        }
        Ok(early)
    }

    /// Measures the model as it is in the store, and keeps it if it is the best so far.
    fn measure(&mut self, weights: Option<String>) -> Result<(Scores, bool), Error> {
        let scores = self.task.evaluate()?;
        let best = self.at.best.is_none_or(|(_, score)| scores.beats(score));
        if best {
            self.at.best = Some((self.at.step, scores.score));
            self.at.best_weights = weights;
            if let Some(folder) = self.folder {
                self.task.save(&folder.join("best"), &scores)?;
            }
        }
        Ok((scores, best))
    }

    /// Measures what techniques make of the weights after the last step; false when it was stopped on the way. A run that goes on
    /// after that measures all of them again.
    fn variants(&mut self) -> Result<bool, Error> {
        let (averages, of) = self.averages();
        let names = self.techniques.iter().enumerate();
        let asked: Vec<(usize, usize, String)> = names
            .flat_map(|(at, (_, technique))| {
                technique.variants().into_iter().enumerate().map(move |(number, name)| (at, number, name))
            })
            .collect();
        let trained = swap(self.task.store_mut(), averages)?;
        for (at, number, name) in asked {
            if self.stop.load(Ordering::Relaxed) {
                swap(self.task.store_mut(), trained)?;
                self.log.write(&Event::Interrupted { step: self.at.step })?;
                return Ok(false);
            }
            let started = Instant::now();
            let values = self.techniques[at].1.variant(number, self.task.store())?;
            let weights = of.as_ref().map_or_else(|| name.clone(), |of| format!("{name} of {of}"));
            let before = swap(self.task.store_mut(), values)?;
            let (scores, best) = self.measure(Some(weights.clone()))?;
            swap(self.task.store_mut(), before)?;
            let (step, seconds) = (self.at.step, started.elapsed().as_secs_f64());
            let Scores { score, values, .. } = scores;
            self.log.write(&Event::Variant { step, weights, score, best, values, seconds })?;
        }
        swap(self.task.store_mut(), trained)?;
        Ok(true)
    }

    fn checkpoint(&mut self) -> Result<(), Error> {
        let Some(folder) = self.folder.filter(|_| self.options.checkpoints) else { return Ok(()) };
        let started = Instant::now();
        self.at.log_bytes = self.log.bytes();
        let (averages, _) = self.averages();
        let learnt = Learnt { store: self.task.store(), optimizer: &self.optimizer, averages: &averages };
        checkpoint::save(folder, learnt, self.options, &self.at)?;
        let (step, seconds) = (self.at.step, started.elapsed().as_secs_f64());
        self.log.write(&Event::Checkpoint { step, seconds })
    }
}

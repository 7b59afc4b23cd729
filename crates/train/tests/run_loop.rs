//! The loop on a task small enough to reason about: a linear model in two dimensions.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use topwork_nn::layers::Linear;
use topwork_nn::loss::mean_squared_error;
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass};
use topwork_train::{
    BatchLoss, Error, Event, Observer, RunContext, RunResult, Scores, Silent, Task, TaskError, TrainOptions,
    run,
};

/// Learns `y = 2 a - b + 1` from 24 points, through two linear maps.
struct Line {
    store: ParamStore,
    first: Linear,
    second: Linear,
    unused: bool,
    spare: Linear,
    /// The mean of the points, as batches show it, and what that was when the epoch began.
    mean: [ParamId; 2],
    saved: Mutex<Vec<f64>>,
    evaluations: AtomicUsize,
    /// Scores to report in turn instead of the real one.
    scripted: Vec<f64>,
    /// Makes the loss NaN from this step on.
    poison: Option<f32>,
}

const EXAMPLES: usize = 24;

fn point(i: usize) -> ([f32; 2], f32) {
    let (a, b) = ((i % 5) as f32 * 0.4 - 0.8, (i % 7) as f32 * 0.3 - 0.9);
    ([a, b], 2.0 * a - b + 1.0)
}

impl Line {
    fn new() -> Self {
        let mut store = ParamStore::new(&Device::flex());
        let first = Linear::declare(&mut store, "layers.0", [3, 2], 1, 0.5);
        let second = Linear::declare(&mut store, "head.out", [1, 3], 2, 0.5);
        let spare = Linear::declare(&mut store, "head.spare", [1, 3], 2, 0.5);
        let mean = ["mean.now", "mean.then"]
            .map(|path| store.declare(path, &[2], 2, ParamKind::Running, Init::Ones));
        for id in store.unset() {
            store.initialise(id, 5).unwrap();
        }
        let (saved, evaluations) = (Mutex::default(), AtomicUsize::new(0));
        Line {
            store,
            first,
            second,
            unused: false,
            spare,
            mean,
            saved,
            evaluations,
            scripted: Vec::new(),
            poison: None,
        }
    }

    fn loss_of(&self, pass: &Pass, examples: &[usize]) -> Result<Tensor<1>, topwork_nn::Error> {
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for &i in examples {
            let (point, target) = point(i);
            x.extend(point);
            y.push(target * self.poison.unwrap_or(1.0));
        }
        let x = Tensor::<2>::from_data(TensorData::new(x, [examples.len(), 2]), self.store.device());
        pass.observe(self.mean[0], x.clone().mean_dim(0).reshape([2]));
        let hidden = self.first.forward(pass, x)?;
        let hidden = topwork_ops::dropout(hidden, pass.dropout(0.2, "hidden"));
        let mut out = self.second.forward(pass, hidden.clone())?;
        if !self.unused {
            out = out + self.spare.forward(pass, hidden)?;
        }
        Ok(mean_squared_error(out, &y))
    }

    fn weights(&self) -> Vec<u32> {
        let values = self.store.iter().flat_map(|(id, _)| self.store.values(id).unwrap());
        values.map(f32::to_bits).collect()
    }
}

impl Task for Line {
    fn store(&self) -> &ParamStore {
        &self.store
    }

    fn store_mut(&mut self) -> &mut ParamStore {
        &mut self.store
    }

    fn batches(&self, epoch: usize) -> Result<Vec<Vec<usize>>, TaskError> {
        let mut order: Vec<usize> = (0..EXAMPLES).collect();
        topwork_kernels::rng::Stream(epoch as u64).shuffle(&mut order);
        Ok(order.chunks(5).map(<[usize]>::to_vec).collect())
    }

    fn begins(&mut self, _: usize) -> Result<(), TaskError> {
        let values = self.store.values(self.mean[0])?;
        Ok(self.store.set(self.mean[1], values)?)
    }

    fn loss(&self, pass: &Pass, examples: &[usize]) -> Result<BatchLoss, TaskError> {
        let loss = self.loss_of(pass, examples)?;
        Ok(BatchLoss { loss, examples: examples.len(), tokens: examples.len() })
    }

    fn evaluate(&self) -> Result<Scores, TaskError> {
        let n = self.evaluations.fetch_add(1, Ordering::Relaxed);
        let pass = Pass::eval(&self.store, topwork_kernels::gemm::Precision::F32);
        let loss = self.loss_of(&pass, &(0..EXAMPLES).collect::<Vec<_>>())?.into_scalar::<f32>();
        let score = self.scripted.get(n).copied().unwrap_or(f64::from(loss));
        Ok(Scores { score: Some(score), higher_is_better: false, values: vec![("loss".to_string(), score)] })
    }

    fn save(&self, folder: &Path, scores: &Scores) -> Result<(), TaskError> {
        std::fs::create_dir_all(folder)?;
        self.saved.lock().unwrap().push(scores.score.unwrap());
        Ok(())
    }
}

fn options() -> TrainOptions {
    TrainOptions {
        epochs: 6,
        learning_rate: 0.05,
        clip_norm: 1.0,
        precision: topwork_train::PrecisionName::F32,
        ..TrainOptions::default()
    }
}

fn go(
    line: &mut Line,
    options: &TrainOptions,
    folder: Option<&Path>,
    resume: bool,
) -> Result<RunResult, Error> {
    let stop = AtomicBool::new(false);
    run(line, options, RunContext { folder, resume, stop: &stop, observer: &mut Silent })
}

/// Sets the stop flag after so many steps, as Ctrl-C would.
struct StopAfter<'a> {
    steps: usize,
    stop: &'a AtomicBool,
}

impl Observer for StopAfter<'_> {
    fn event(&mut self, event: &Event) {
        if let Event::Step { step, .. } = event {
            self.stop.store(*step >= self.steps, Ordering::Relaxed);
        }
    }
}

#[test]
fn it_learns() {
    let mut line = Line::new();
    let before = line.evaluate().unwrap().score.unwrap();
    let options = TrainOptions { epochs: 40, warmup: 0.05, ..options() };
    let result = go(&mut line, &options, None, false).unwrap();
    let after = result.best.unwrap().1.unwrap();
    assert!(after < 0.1 * before, "{before} -> {after}");
    assert_eq!(result.steps, 40 * 5);
}

/// The same with techniques: what learns changes after half of the 30 steps.
fn with_techniques() -> TrainOptions {
    let techniques = serde_json::json!({
        "unfreeze": {"order": "last-then-all"}, "layer-decay": {"rate": 0.5}, "l2-sp": {"alpha": 0.1},
    });
    TrainOptions { techniques: serde_json::from_value(techniques).unwrap(), ..options() }
}

#[test]
fn stopping_anywhere_and_resuming_gives_the_same_bits() {
    stopping_anywhere(&options(), 0);
    stopping_anywhere(&with_techniques(), 2);
    for averaged in averaging() {
        stopping_anywhere(&averaged, 2);
    }
    stopping_anywhere(&drawing(), 2);
}

/// The same with fresh values, and with weights that are drawn anew in each step.
fn drawing() -> TrainOptions {
    let mut all = with_techniques();
    all.techniques.insert("mixout".to_string(), serde_json::json!({"p": 0.4}));
    all.techniques.insert("reinit".to_string(), serde_json::json!({"layers": 1}));
    all
}

#[test]
fn what_is_renewed_is_trained_and_begins_the_same_with_a_seed() {
    let first = |seed: u64, freeze: &[&str]| {
        let mut line = Line::new();
        let freeze = freeze.iter().map(|pattern| pattern.to_string()).collect();
        let techniques = [("reinit".to_string(), serde_json::json!({}))].into();
        let options = TrainOptions { seed, freeze, techniques, learning_rate: 1e-9, ..options() };
        go(&mut line, &options, None, false).map(|_| line.store.values(line.first.weight).unwrap())
    };
    let pretrained = {
        let line = Line::new();
        line.store.values(line.first.weight).unwrap()
    };
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    let (one, other) = (first(1, &[]).unwrap(), first(2, &[]).unwrap());
    assert!(!near(&one, &pretrained) && !near(&one, &other) && near(&one, &first(1, &[]).unwrap()));
    let error = first(1, &["layers"]).unwrap_err().to_string();
    assert!(error.contains("reinit") && error.contains("layers.0.weight"), "{error}");
}

#[test]
fn a_view_that_does_not_fit_is_refused_before_anything_is_written() {
    for (name, recompute) in [("r-drop", false), ("r3f", false), ("hold", true)] {
        let folder = tempfile::tempdir().unwrap();
        let techniques = [(name.to_string(), serde_json::json!({}))].into();
        let options = TrainOptions { techniques, recompute, ..options() };
        let error = go(&mut Line::new(), &options, Some(folder.path()), false).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn what_is_mixed_is_what_it_is_outside_of_training() {
    let mixout = |p: f64| [("mixout".to_string(), serde_json::json!({"p": p}))].into();
    let with = |techniques| {
        let mut line = Line::new();
        let folder = tempfile::tempdir().unwrap();
        go(&mut line, &TrainOptions { techniques, ..options() }, Some(folder.path()), false).unwrap();
        let used = line.store.used_values(line.first.weight).unwrap();
        assert_eq!(used, line.store.values(line.first.weight).unwrap());
        line.weights()
    };
    let (none, some) = (with(mixout(0.0)), with(mixout(0.5)));
    assert_ne!(none, some);
    assert_eq!(some, with(mixout(0.5)));
    let plain = with(std::collections::BTreeMap::new());
    let near = |a: &u32, b: &u32| (f32::from_bits(*a) - f32::from_bits(*b)).abs() < 1e-4;
    assert!(none.iter().zip(&plain).all(|(a, b)| near(a, b)), "with nothing mixed it is as without");
    // Something else is attached already.
    let mut line = Line::new();
    let options = TrainOptions { techniques: mixout(0.5), ..options() };
    go(&mut line, &options, None, false).unwrap();
    let error = go(&mut line, &options, None, false).unwrap_err().to_string();
    assert!(error.contains("mixout") && error.contains("layers.0.weight"), "{error}");
}

/// The same with averages, which are measured in each epoch, and with weights that are tried in the end.
fn averaging() -> Vec<TrainOptions> {
    let averages = [
        ("ema", serde_json::json!({"decay": 0.8})),
        ("ema", serde_json::json!({"decay": 0.5, "start": 0.4})),
        ("swa", serde_json::json!({"start": 0.2, "every": 4})),
    ];
    let with = |(name, options): (&str, serde_json::Value)| {
        let mut all = with_techniques();
        all.techniques.insert(name.to_string(), options);
        all.techniques.insert("wise-ft".to_string(), serde_json::json!({"alphas": [0.3, 0.7]}));
        all
    };
    averages.map(with).to_vec()
}

/// What was measured, from the log: the weights and the score.
fn measured(folder: &Path) -> Vec<(String, f64)> {
    let log = std::fs::read_to_string(folder.join("log.jsonl")).unwrap();
    let line = |line: &str| match serde_json::from_str(line).unwrap() {
        Event::Evaluation { weights, score, .. } => Some((weights.unwrap_or_default(), score.unwrap())),
        Event::Variant { weights, score, .. } => Some((weights, score.unwrap())),
        _ => None,
    };
    log.lines().filter_map(line).collect()
}

#[test]
fn averages_are_measured_and_the_weights_that_learn_stay_what_they_are() {
    let mut plain = Line::new();
    go(&mut plain, &with_techniques(), None, false).unwrap();
    for (options, name) in averaging().into_iter().zip(["ema", "ema", "swa"]) {
        let folder = tempfile::tempdir().unwrap();
        let mut line = Line::new();
        let result = go(&mut line, &options, Some(folder.path()), false).unwrap();
        assert_eq!(line.weights(), plain.weights(), "{name} changes nothing of training");
        let seen = measured(folder.path());
        let names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
        let first = if options.techniques.get("ema").is_some_and(|ema| ema.get("start").is_some()) {
            // Averaging begins after 12 of 30 steps, and two of six epochs have ended by then.
            vec!["", ""]
        } else if name == "swa" {
            // After 6.
            vec![""]
        } else {
            vec![]
        };
        let epochs = 6 - first.len();
        let variants = [format!("wise-ft 0.3 of {name}"), format!("wise-ft 0.7 of {name}")];
        let expected =
            [first, vec![name; epochs], variants.iter().map(String::as_str).collect::<Vec<_>>()].concat();
        assert_eq!(names, expected);
        let best = seen.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        assert_eq!(result.best.unwrap().1, Some(best.1), "the best of all is kept");
        assert_eq!(result.best_weights.unwrap_or_default(), best.0);
        assert_eq!(line.saved.lock().unwrap().last(), Some(&best.1));
    }
}

/// `plans`: how often the log says what learns.
fn stopping_anywhere(options: &TrainOptions, plans: usize) {
    let mut whole = Line::new();
    let undisturbed = tempfile::tempdir().unwrap();
    go(&mut whole, options, Some(undisturbed.path()), false).unwrap();
    for steps in [1, 4, 5, 6, 13, 15, 29] {
        let folder = tempfile::tempdir().unwrap();
        let mut line = Line::new();
        let stop = AtomicBool::new(false);
        let mut observer = StopAfter { steps, stop: &stop };
        let context =
            RunContext { folder: Some(folder.path()), resume: false, stop: &stop, observer: &mut observer };
        let first = run(&mut line, options, context).unwrap();
        assert!(first.interrupted && first.steps == steps, "{steps}: {first:?}");
        let mut again = Line::new();
        let result = go(&mut again, options, Some(folder.path()), true).unwrap();
        assert!(!result.interrupted);
        assert_eq!(again.weights(), whole.weights(), "stopped after {steps}");
        assert_eq!(measured(folder.path()), measured(undisturbed.path()), "stopped after {steps}");
        let log = std::fs::read_to_string(folder.path().join("log.jsonl")).unwrap();
        let logged = log.lines().filter(|line| line.contains("\"event\":\"step\"")).count();
        assert_eq!(logged, 30, "every step stands in the log once");
        let told = log.lines().filter(|line| line.contains("\"event\":\"plan\"")).count();
        assert_eq!(told, plans, "stopped after {steps}");
    }
}

/// Copies the run folder when the checkpoint of a step has been written: what a killed process leaves behind.
struct CopyAt<'a> {
    step: usize,
    from: &'a Path,
    to: &'a Path,
}

impl Observer for CopyAt<'_> {
    fn event(&mut self, event: &Event) {
        if matches!(event, Event::Checkpoint { step, .. } if *step == self.step) {
            copy(self.from, self.to);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn a_killed_run_goes_on_from_its_newest_checkpoint_to_the_same_bits() {
    let every_three = TrainOptions { checkpoint_steps: 3, ..options() };
    let mut whole = Line::new();
    go(&mut whole, &every_three, None, false).unwrap();
    let mut seen = 0;
    for step in [3, 5, 12, 25] {
        let (folder, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let stop = AtomicBool::new(false);
        let mut observer = CopyAt { step, from: folder.path(), to: left.path() };
        let context =
            RunContext { folder: Some(folder.path()), resume: false, stop: &stop, observer: &mut observer };
        run(&mut Line::new(), &every_three, context).unwrap();
        assert!(left.path().join("checkpoints").is_dir(), "there was a checkpoint at step {step}");
        let mut again = Line::new();
        go(&mut again, &every_three, Some(left.path()), true).unwrap();
        assert_eq!(again.weights(), whole.weights(), "killed after step {step}");
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[test]
fn other_options_are_refused_on_resuming() {
    let folder = tempfile::tempdir().unwrap();
    go(&mut Line::new(), &options(), Some(folder.path()), false).unwrap();
    let other = TrainOptions { learning_rate: 0.01, ..options() };
    let error = go(&mut Line::new(), &other, Some(folder.path()), true).unwrap_err().to_string();
    assert!(error.contains("other settings"), "{error}");
}

#[test]
fn accumulated_batches_equal_one_large_batch() {
    // Without dropout, batches of 5, 5, 5, 5, 4 accumulated are the whole set in one step.
    struct Whole(Line);
    impl Task for Whole {
        fn store(&self) -> &ParamStore {
            &self.0.store
        }
        fn store_mut(&mut self) -> &mut ParamStore {
            &mut self.0.store
        }
        fn batches(&self, epoch: usize) -> Result<Vec<Vec<usize>>, TaskError> {
            Ok(vec![self.0.batches(epoch)?.concat()])
        }
        fn loss(&self, _: &Pass, _: &[usize]) -> Result<BatchLoss, TaskError> {
            unreachable!("only the order of examples is used")
        }
        fn evaluate(&self) -> Result<Scores, TaskError> {
            self.0.evaluate()
        }
        fn save(&self, _: &Path, _: &Scores) -> Result<(), TaskError> {
            Ok(())
        }
    }
    let line = Line::new();
    let trainable = vec![true; line.store.len()];
    let gradients = |examples: &[usize], share: f64| {
        let pass = Pass::train(&line.store, topwork_kernels::gemm::Precision::F32, 0, &trainable);
        let hidden = line.first.forward(&pass, points(examples)).unwrap();
        let out =
            line.second.forward(&pass, hidden.clone()).unwrap() + line.spare.forward(&pass, hidden).unwrap();
        let y: Vec<f32> = examples.iter().map(|&i| point(i).1).collect();
        let loss = mean_squared_error(out, &y).mul_scalar(share);
        pass.backward(&loss).unwrap()
    };
    let whole = Whole(Line::new()).batches(0).unwrap().remove(0);
    let all = gradients(&whole, 1.0);
    let mut sum = topwork_nn::Gradients::none(line.store.len());
    for batch in line.batches(0).unwrap() {
        sum.add(gradients(&batch, batch.len() as f64 / EXAMPLES as f64), &line.store);
    }
    for (id, _) in line.store.iter().filter(|(_, param)| param.kind.learns()) {
        let (a, b) = (all.get(id).unwrap(), sum.get(id).unwrap());
        let (a, b) = (topwork_nn::gradient::sum_squares(a), topwork_nn::gradient::sum_squares(b));
        assert!((a - b).abs() <= 1e-5 * a, "{a} {b}");
    }
}

fn points(examples: &[usize]) -> Tensor<2> {
    let x: Vec<f32> = examples.iter().flat_map(|&i| point(i).0).collect();
    Tensor::from_data(TensorData::new(x, [examples.len(), 2]), &Device::flex())
}

#[test]
fn the_audit_names_a_parameter_without_gradient() {
    let mut line = Line { unused: true, ..Line::new() };
    let error = go(&mut line, &options(), None, false).unwrap_err().to_string();
    assert!(error.contains("head.spare.weight") && error.contains("head.spare.bias"), "{error}");
    // Freezing it says that it is meant.
    let frozen = TrainOptions { freeze: vec!["head.spare".to_string()], ..options() };
    go(&mut line, &frozen, None, false).unwrap();
}

#[test]
fn frozen_parameters_keep_their_bits() {
    let mut line = Line::new();
    let before = line.store.values(line.first.weight).unwrap();
    let options = TrainOptions { freeze: vec!["layers".to_string()], ..options() };
    let result = go(&mut line, &options, None, false).unwrap();
    assert_eq!(line.store.values(line.first.weight).unwrap(), before);
    assert_eq!(result.trainable_values, 8);
    // A stage in which nothing is left is found before the first step.
    let head = TrainOptions { freeze: vec!["head".to_string()], ..with_techniques() };
    let error = go(&mut line, &head, None, false).unwrap_err().to_string();
    assert!(error.contains("step 1:") && error.contains("unfreeze"), "{error}");
    let later = TrainOptions { freeze: vec!["layers".to_string()], ..with_techniques() };
    let sequential = serde_json::json!({"order": "sequential"});
    let later = TrainOptions { techniques: [("unfreeze".to_string(), sequential)].into(), ..later };
    let error = go(&mut line, &later, None, false).unwrap_err().to_string();
    assert!(error.contains("step 16:"), "{error}");
    // So is a technique that nothing is left for, which would do nothing in silence.
    for (name, given) in [("mixout", serde_json::json!({})), ("l2-sp", serde_json::json!({"beta": 0.0}))] {
        let idle = TrainOptions { techniques: [(name.to_string(), given)].into(), ..options.clone() };
        let error = go(&mut line, &idle, None, false).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("freeze less"), "{error}");
    }
    let all = TrainOptions { freeze: vec!["**".to_string()], ..options };
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(go(&mut line, &all, Some(folder.path()), false), Err(Error::AllFrozen { .. })));
    // It is refused before anything is written, so the folder is as free as it was.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn patience_stops_and_the_best_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut line = Line { scripted: vec![0.5, 0.3, 0.4, 0.35, 0.2], ..Line::new() };
    let options = TrainOptions { patience: 2, ..options() };
    let result = go(&mut line, &options, Some(folder.path()), false).unwrap();
    assert!(result.stopped_early);
    assert_eq!(result.best, Some((10, Some(0.3))), "the best of the second epoch");
    assert_eq!(*line.saved.lock().unwrap(), [0.5, 0.3]);
    // Resuming a run that has stopped changes nothing.
    let mut again = Line::new();
    let result = go(&mut again, &options, Some(folder.path()), true).unwrap();
    assert!(result.stopped_early && result.steps == 20, "{result:?}");
}

#[test]
fn divergence_is_named_with_the_way_out() {
    let mut line = Line { poison: Some(f32::NAN), ..Line::new() };
    let error = go(&mut line, &options(), None, false).unwrap_err().to_string();
    assert!(error.contains("step 0") && error.contains("NaN") && error.contains("learning rate"), "{error}");
}

#[test]
fn thread_count_does_not_change_bits() {
    let run_on = |threads: usize, options: &TrainOptions| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut line = Line::new();
            go(&mut line, options, None, false).unwrap();
            line.weights()
        })
    };
    for options in [options(), drawing()] {
        assert_eq!(run_on(1, &options), run_on(2, &options));
    }
}

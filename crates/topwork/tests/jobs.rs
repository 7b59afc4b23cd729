//! Whole runs on a tiny checkpoint: every kind of task from file to answers.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

// Shared with other tests, which use all of it.
#[allow(dead_code)]
mod runs;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use runs::hub;
use topwork::hub;
use topwork::job::{self, JobContext, JobObserver, Outcomes, Quiet};
use topwork::recipe::DataRecipe;
use topwork::run_report::Measures;
use topwork::{Error, Predictor, Recipe, SharedFeatures};
use topwork_data::Labels;
use topwork_kernels::gemm::Precision;
use topwork_train::{Event, Observer};

fn model() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/bert").display().to_string()
}

/// Words of two tempers in an order that looks random; the class follows from the words.
fn text(n: usize) -> (String, usize) {
    const WORDS: [[&str; 4]; 2] = [["the", "a", "of", "to"], ["in", "is", "and", "it"]];
    let class = (n * 7 + n / 3) % 2;
    let mut text = String::new();
    for k in 0..3 + n % 5 {
        let _ = write!(text, "{} {} ", WORDS[class][(n * 5 + k * 3) % 4], n * 31 + k);
    }
    (text, class)
}

fn write(folder: &Path, name: &str, rows: impl Iterator<Item = String>) -> PathBuf {
    let path = folder.join(name);
    let text: Vec<String> = rows.collect();
    fs::write(&path, text.join("\n") + "\n").unwrap();
    path
}

fn classes(folder: &Path) -> PathBuf {
    let rows = (0..240).map(|n| {
        let (text, class) = text(n);
        format!("{text},{}", ["ham", "spam"][class])
    });
    write(folder, "classes.csv", std::iter::once("text,label".to_string()).chain(rows))
}

fn recipe(data: &Path, extra: &str) -> Recipe {
    let text = format!(
        "model = {:?}\n[data]\ntrain = {:?}\n[batch]\nexamples = 16\n[report]\nresamples = 50\n[train]\nlearning-rate = 2e-3\nprecision = \"f32\"\n{extra}",
        model(),
        data
    );
    Recipe::parse(&text, "test").unwrap()
}

fn train(recipe: &Recipe, folder: &Path, run: &str) -> Result<Outcomes, Error> {
    observed(Some(recipe), folder, run, &AtomicBool::new(false), &mut Quiet)
}

fn resume(folder: &Path, run: &str) -> Result<Outcomes, Error> {
    observed(None, folder, run, &AtomicBool::new(false), &mut Quiet)
}

/// Trains as a recipe says, or goes on where there is none.
fn observed(
    recipe: Option<&Recipe>,
    folder: &Path,
    run: &str,
    stop: &AtomicBool,
    observer: &mut dyn JobObserver,
) -> Result<Outcomes, Error> {
    let (hub, target) = (hub(folder), folder.join(run));
    let context =
        JobContext { folder: &target, hub: &hub, progress: &hub::Silent, stop, shared: None, observer };
    match recipe {
        Some(recipe) => job::train(recipe, context),
        None => job::resume(context),
    }
}

fn bytes(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("best/model.safetensors")).unwrap()
}

#[test]
fn a_classifier_from_a_csv_to_answers() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(&classes(folder.path()), "epochs = 8\n");
    recipe.task.metric = Some("accuracy".into());
    recipe.report.slices = vec!["words >= 0".into(), "words < 0".into()];
    let run = train(&recipe, folder.path(), "run").unwrap();
    let test = run.test.as_ref().unwrap();
    assert!(test.evaluation.value("accuracy").unwrap() > 0.9, "{}", test.evaluation);
    for file in [
        "recipe.toml",
        "resolved.toml",
        "log.jsonl",
        "report.html",
        "card.md",
        "metrics.json",
        "best/config.json",
    ] {
        assert!(run.folder.join(file).is_file(), "{file}");
    }
    let predictor = Predictor::open(run.best()).unwrap();
    assert_eq!(predictor.labels(), ["ham", "spam"]);
    let texts: Vec<String> = (0..20).map(|n| text(n).0).collect();
    let inputs: Vec<&str> = texts.iter().map(String::as_str).collect();
    let answers = predictor.predict(&inputs).unwrap();
    let right =
        answers.iter().enumerate().filter(|(n, a)| a.label.as_deref() == Some(["ham", "spam"][text(*n).1]));
    assert!(right.count() >= 18);
    assert!(answers.iter().all(|a| (a.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9));
    // The whole as a part is the whole; what holds of no text has no value.
    let [whole, none] = &run.slices[run.slices.len() - 2..] else { panic!("{:?}", run.slices) };
    assert_eq!(whole.value, test.evaluation.value("accuracy").ok());
    assert_eq!((whole.examples, none.examples, none.value), (test.evaluation.examples, 0, None));
    let report = fs::read_to_string(run.folder.join("report.html")).unwrap();
    assert!(report.contains("Parts of the test texts") && report.contains("words &gt;= 0"));
    let measures: Measures =
        serde_json::from_slice(&fs::read(run.folder.join("metrics.json")).unwrap()).unwrap();
    assert_eq!(measures.test.as_ref(), Some(&test.evaluation));
    assert!(measures.baseline.is_some_and(|baseline| baseline.value("accuracy").is_ok()));
    // The run's own resolved recipe says everything: running it again gives the same weights.
    let again = Recipe::load(&run.folder.join("resolved.toml")).unwrap();
    let second = train(&again, folder.path(), "again").unwrap();
    assert_eq!(bytes(&run.folder), bytes(&second.folder));
    // What the first run found out of the data stands in the cache, and damage there costs time alone.
    let kept: Vec<PathBuf> = fs::read_dir(folder.path().join("cache/baselines"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(kept.len(), 1);
    assert!(folder.path().join("cache/tokens").is_dir());
    let seconds = |run: &Outcomes| run.baseline.as_ref().unwrap().seconds;
    assert_eq!(seconds(&second), seconds(&run));
    fs::write(&kept[0], "{\"answers\": [1.0], \"top_words\": [], \"seconds\": 0.0}").unwrap();
    let third = train(&again, folder.path(), "third").unwrap();
    let metrics = |folder: &Path| fs::read(folder.join("metrics.json")).unwrap();
    assert_eq!(metrics(&third.folder), metrics(&run.folder));
    assert_eq!(metrics(&second.folder), metrics(&run.folder));
    // And a second run into the same folder is refused.
    let error = train(&again, folder.path(), "run").err().unwrap().to_string();
    assert!(error.contains("--resume"), "{error}");
}

/// Stops the run after so many steps.
struct StopAfter<'a>(usize, &'a AtomicBool);

impl Observer for StopAfter<'_> {
    fn event(&mut self, event: &Event) {
        if let Event::Step { step, .. } = event {
            self.1.store(*step >= self.0, Ordering::Relaxed);
        }
    }
}

impl JobObserver for StopAfter<'_> {
    fn note(&mut self, _: &str) {}
}

#[test]
fn an_interrupted_run_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    // With dropout, so that the random streams matter.
    let recipe = recipe(&classes(folder.path()), "epochs = 3\n");
    let whole = train(&recipe, folder.path(), "whole").unwrap();
    for steps in [1, 17] {
        let (stop, name) = (AtomicBool::new(false), format!("stopped-{steps}"));
        let mut observer = StopAfter(steps, &stop);
        let first = observed(Some(&recipe), folder.path(), &name, &stop, &mut observer).unwrap();
        assert!(first.run.interrupted && first.test.is_none());
        let second = resume(folder.path(), &name).unwrap();
        assert_eq!(bytes(&second.folder), bytes(&whole.folder), "stopped after {steps}");
        assert_eq!(second.run.best, whole.run.best);
    }
}

/// With an adapter: the same after an interruption, the encoder as it was, and the adapter and the merged model beside it.
#[test]
fn an_adapter_learns_in_place_of_the_encoder() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = |table: &str, train: &str| {
        recipe(&classes(folder.path()), &format!("epochs = 3\n{train}\n[adapter]\n{table}\n"))
    };
    let lora = adapter("kind = \"lora\"\nrank = 2\ntargets = [\"attn.q\", \"ffn.up\"]", "");
    let whole = train(&lora, folder.path(), "whole").unwrap();
    // Two layers: 32 to 32 and 32 to 64, two columns each; the pooler and the head learn whole.
    assert_eq!(whole.run.trainable_values, 2 * 2 * (32 + 32 + 32 + 64) + 32 * 33 + 66);
    let (stop, steps) = (AtomicBool::new(false), 9);
    let mut observer = StopAfter(steps, &stop);
    assert!(observed(Some(&lora), folder.path(), "stopped", &stop, &mut observer).unwrap().run.interrupted);
    let second = resume(folder.path(), "stopped").unwrap();
    assert_eq!(bytes(&second.folder), bytes(&whole.folder));

    let open = |path: &Path| topwork_weights::Checkpoint::open(path).unwrap();
    let (before, after) = (open(Path::new(&model())), open(&whole.best()));
    let (mut still, mut merged) = (0, 0);
    for name in before.names().filter(|name| name.contains("layer.") || name.contains("embeddings.")) {
        let target = name.ends_with("query.weight") || name.ends_with("intermediate.dense.weight");
        assert_eq!(before.read(name).unwrap() != after.read(name).unwrap(), target, "{name}");
        still += usize::from(!target);
        merged += usize::from(target);
    }
    assert!(still > 25 && merged == 4, "{still} {merged}");
    let file = whole.best().join("adapter/adapter_model.safetensors");
    let names: Vec<String> =
        topwork_weights::SafeTensorsFile::open(file).unwrap().names().map(str::to_string).collect();
    assert_eq!(names.iter().filter(|name| name.contains(".lora_")).count(), 8, "{names:?}");
    assert!(names.iter().any(|name| name == "base_model.model.classifier.weight"), "{names:?}");

    let refused = |recipe: &Recipe, expected: &str| {
        let error = train(recipe, folder.path(), "refused").err().unwrap().to_string();
        assert!(error.contains(expected), "{error:?} should contain {expected:?}");
    };
    refused(&adapter("rank = 2", ""), "kind: expected one of lora");
    refused(&adapter("kind = \"lorra\"", ""), "lora, dora, ia3");
    refused(&adapter("kind = \"ia3\"\nrank = 2", ""), "targets, inputs");
    refused(&adapter("kind = \"houlsby\"\nrank = 2", ""), "reduction, size, activation, leave-out");
    refused(&adapter("kind = \"lora\"\ntargets = [\"attn.x\"]", ""), "attn.q");
    refused(&adapter("kind = \"lora\"", "[train.techniques.bitfit]"), "bitfit");
}

/// A bottleneck adapter: what is saved are a model and an adapter apart, which open as one.
#[test]
fn a_model_and_its_adapter_are_saved_apart_and_used_together() {
    let folder = tempfile::tempdir().unwrap();
    let data = classes(folder.path());
    for kind in ["houlsby", "pfeiffer", "parallel"] {
        let recipe = recipe(&data, &format!("epochs = 3\n[adapter]\nkind = \"{kind}\"\nreduction = 8\n"));
        let run = |name: &str| format!("{kind}-{name}");
        let whole = train(&recipe, folder.path(), &run("whole")).unwrap();
        let blocks = if kind == "houlsby" { 4 } else { 2 };
        // 32 wide, 4 inside; the pooler and the head learn whole.
        assert_eq!(whole.run.trainable_values, blocks * (2 * 32 * 4 + 4 + 32) + 32 * 33 + 66, "{kind}");
        let (stop, steps) = (AtomicBool::new(false), 9);
        let mut observer = StopAfter(steps, &stop);
        let stopped = observed(Some(&recipe), folder.path(), &run("stopped"), &stop, &mut observer).unwrap();
        assert!(stopped.run.interrupted);
        let second = resume(folder.path(), &run("stopped")).unwrap();
        let file = |run: &Path, name: &str| fs::read(run.join("best").join(name)).unwrap();
        for name in ["base/model.safetensors", "adapter/adapter.safetensors", "base/topwork.json"] {
            assert_eq!(file(&second.folder, name), file(&whole.folder, name), "{kind} {name}");
        }

        // The encoder is what it was, to the bit.
        let open = |path: &Path| topwork_weights::Checkpoint::open(path).unwrap();
        let (before, after) = (open(Path::new(&model())), open(&whole.best().join("base")));
        let mut still = 0;
        for name in before.names().filter(|name| name.contains("layer.") || name.contains("embeddings.")) {
            assert_eq!(before.read(name).unwrap(), after.read(name).unwrap(), "{name}");
            still += 1;
        }
        assert!(still > 30, "{still}");

        // Both halves by the folder above them, and by that of the run; what the run measured is what a user gets.
        let texts = ["free money now", "lunch at noon?"];
        let answers = |path: &Path| -> Vec<f64> {
            let predictor = topwork::Predictor::open(path).unwrap();
            let answers = predictor.predict(&texts).unwrap();
            answers.iter().flat_map(|answer| answer.probabilities.clone()).collect()
        };
        let adapted = answers(&whole.best());
        assert_ne!(adapted, answers(&whole.best().join("base")), "{kind}: the half alone answers otherwise");
        let recipe = DataRecipe { train: data.clone(), ..DataRecipe::default() };
        let evaluated = topwork::evaluate(&whole.best(), &recipe, Precision::F32, 0).unwrap();
        assert!(evaluated.measured.evaluation.value("accuracy").is_ok());

        // It can be gone on from, and then learns with the model; another adapter is refused.
        let start = whole.best().display().to_string();
        let mut on = self::recipe(&data, "epochs = 1\n");
        on.model = start.clone();
        let next = train(&on, folder.path(), &run("next")).unwrap();
        assert_eq!(next.run.trainable_values, next.total_values);
        assert_ne!(answers(&next.best()), adapted);
        assert!(next.best().join("adapter/adapter.safetensors").is_file());
        let mut another = self::recipe(&data, "epochs = 1\n[adapter]\nkind = \"lora\"\n");
        another.model = start;
        let error = train(&another, folder.path(), &run("another")).err().unwrap().to_string();
        assert!(error.contains("only one can be attached"), "{error}");
        let to = folder.path().join("x.gguf");
        let error = topwork::convert::convert(whole.best(), &to, topwork::convert::Form::of(&to));
        assert!(error.unwrap_err().to_string().contains("changed by the adapter"));
    }
}

#[test]
fn resuming_with_changed_data_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = classes(folder.path());
    train(&recipe(&data, "epochs = 1\n"), folder.path(), "run").unwrap();
    let text = fs::read_to_string(&data).unwrap().replacen(",ham", ",spam", 1);
    fs::write(&data, text).unwrap();
    let error = resume(folder.path(), "run").err().unwrap().to_string();
    assert!(error.contains("the data changed"), "{error}");
}

#[test]
fn a_frozen_encoder_keeps_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(&classes(folder.path()), "epochs = 30\nfreeze = [\"encoder\"]\n");
    let run = train(&recipe, folder.path(), "run").unwrap();
    // head.out: 2 x 32 weights and 2 biases.
    assert_eq!(run.run.trainable_values, 66);
    let open = |path: &Path| topwork_weights::Checkpoint::open(path).unwrap();
    let (before, after) = (open(Path::new(&model())), open(&run.best()));
    let mut compared = 0;
    for name in after.names().filter(|name| !name.starts_with("classifier")) {
        assert_eq!(before.read(name).unwrap(), after.read(name).unwrap(), "{name}");
        compared += 1;
    }
    assert!(compared > 30, "{compared}");
    // After the first save only the head's file is written again: it must be the head of the best epoch.
    let best: Vec<f64> = run
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Evaluation { best: true, score, .. } => *score,
            _ => None,
        })
        .collect();
    assert!(best.len() > 1, "{best:?}: this test needs a second save");
    let model = Predictor::open(run.best()).unwrap();
    let texts: Vec<&str> = run.data.dev.dataset.texts().collect();
    let labels: Vec<String> =
        model.predict(&texts).unwrap().into_iter().filter_map(|answer| answer.label).collect();
    let Labels::Class(truth) = &run.data.dev.inputs.labels else { panic!("classes") };
    let positive = run.data.positive.unwrap();
    let said = |i: usize| labels[i] == run.data.labels[positive];
    let is = |i: usize| truth[i] as usize == positive;
    let count = |f: &dyn Fn(usize) -> bool| (0..texts.len()).filter(|&i| f(i)).count() as f64;
    let f1 = 2.0 * count(&|i| said(i) && is(i)) / (count(&said) + count(&is));
    assert!((f1 - best.last().unwrap()).abs() < 1e-9, "{f1} {best:?}");
}

/// Keeps what is said, and stops the run after so many steps.
struct Listening<'a> {
    said: Vec<String>,
    stop: StopAfter<'a>,
}

impl Observer for Listening<'_> {
    fn event(&mut self, event: &Event) {
        self.stop.event(event);
    }
}

impl JobObserver for Listening<'_> {
    fn note(&mut self, line: &str) {
        self.said.push(line.to_string());
    }
}

#[test]
fn frozen_layers_are_computed_once_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let data = classes(folder.path());
    let run = |name: &str, extra: &str, steps: usize, goes_on: bool| {
        let stop = AtomicBool::new(false);
        let mut observer = Listening { said: Vec::new(), stop: StopAfter(steps, &stop) };
        let recipe = recipe(
            &data,
            &format!("epochs = 2\nfreeze = [\"embed\", \"layers.0\"]\nrecompute = true\n{extra}"),
        );
        let recipe = (!goes_on).then_some(&recipe);
        let run = observed(recipe, folder.path(), name, &stop, &mut observer).unwrap();
        let said = observer.said.iter().find(|line| line.starts_with("frozen")).cloned();
        (run, said.unwrap())
    };
    let (kept, said) = run("kept", "", usize::MAX, false);
    assert!(said.starts_with("frozen embeddings and first 1 of 2 layers: outputs computed once"), "{said}");
    let (anew, said) = run("anew", "frozen-gigabytes = 1e-6\n", usize::MAX, false);
    assert!(said.contains("computed anew in each step") && said.contains("train.frozen-gigabytes"), "{said}");
    assert_eq!(bytes(&kept.folder), bytes(&anew.folder));
    assert_eq!(kept.run.best, anew.run.best);
    let (first, _) = run("stopped", "", 5, false);
    assert!(first.run.interrupted);
    let (second, _) = run("stopped", "", usize::MAX, true);
    assert_eq!(bytes(&kept.folder), bytes(&second.folder));
    // Nothing of it is left in the run folder.
    let names = |folder: &Path| {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        // Those of TensorBoard say when they were made.
        let mut names: Vec<String> = names.filter(|name| !name.starts_with("events.")).collect();
        names.sort();
        names
    };
    assert_eq!(names(&kept.folder), names(&anew.folder));
}

#[test]
fn what_frozen_layers_make_of_texts_is_computed_once_for_all_runs_of_a_study() {
    let folder = tempfile::tempdir().unwrap();
    let data = classes(folder.path());
    let (hub, shared, stop) = (hub(folder.path()), SharedFeatures::default(), AtomicBool::new(false));
    let run = |name: &str, change: fn(&mut Recipe), shared: Option<&SharedFeatures>| {
        let mut observer = Listening { said: Vec::new(), stop: StopAfter(usize::MAX, &stop) };
        let mut recipe = recipe(&data, "epochs = 2\nfreeze = [\"encoder\"]\n");
        change(&mut recipe);
        let target = folder.path().join(name);
        let (progress, observer_too) = (&hub::Silent, &mut observer);
        let context =
            JobContext { folder: &target, hub: &hub, progress, stop: &stop, shared, observer: observer_too };
        let run = job::train(&recipe, context).unwrap();
        let said = observer.said.into_iter().find(|line| line.starts_with("frozen encoder")).unwrap();
        (bytes(&run.folder), said)
    };
    let decay = |recipe: &mut Recipe| drop(recipe.train.insert("weight-decay".into(), 0.3.into()));
    let (alone, _) = run("alone", decay, None);
    let (_, said) = run("first", |_| {}, Some(&shared));
    assert!(said.contains("computed once"), "{said}");
    let (again, said) = run("again", decay, Some(&shared));
    assert!(said.contains("taken from a run before"), "{said}");
    assert_eq!(again, alone);
    // What is made of texts by others than these layers, or of other texts, is another thing.
    type Change = fn(&mut Recipe);
    let others: [(&str, Change); 4] = [
        ("lower", |recipe| recipe.task.layers = Some(topwork_models::Layers::SecondToLast)),
        ("split", |recipe| drop(recipe.train.insert("seed".into(), 5.into()))),
        ("rounded", |recipe| drop(recipe.train.insert("precision".into(), "bf16".into()))),
        ("shorter", |recipe| recipe.task.max_length = Some(6)),
    ];
    for (name, other) in others {
        let (own, _) = run(&format!("{name}-alone"), other, None);
        let (with, said) = run(name, other, Some(&shared));
        assert!(said.contains("computed once"), "{name}: {said}");
        assert_eq!(with, own, "{name}");
    }
}

#[test]
fn regression_pairs_and_several_labels() {
    let folder = tempfile::tempdir().unwrap();
    let scores = write(
        folder.path(),
        "scores.tsv",
        std::iter::once("sentence1\tsentence2\tscore".to_string()).chain((0..120).map(|n| {
            let ((a, x), (b, y)) = (text(n), text(n * 3 + 1));
            // Letters: pairs that differ by digits alone are the same to the split.
            let [a, b] = [a, b].map(|text| {
                let letter = |c: char| c.to_digit(10).map_or(c, |digit| char::from(b'c' + digit as u8));
                text.chars().map(letter).collect::<String>()
            });
            format!("{a}\t{b}\t{}", if x == y { 0.9 } else { 0.1 } + (n % 3) as f32 * 0.01)
        })),
    );
    let mut pairs = recipe(&scores, "epochs = 2\n");
    pairs.data.pair = Some("sentence2".to_string());
    let run = train(&pairs, folder.path(), "scores").unwrap();
    let test = run.test.unwrap();
    assert!(test.evaluation.value("mse").unwrap() < 1.0, "{}", test.evaluation);
    let predictor = Predictor::open(folder.path().join("scores/best")).unwrap();
    let answers = predictor.predict(&[("the a", "of to"), ("in", "it is")]).unwrap();
    assert!(answers.iter().all(|a| a.score.is_some_and(f64::is_finite) && a.label.is_none()));

    // Known before training: no model could be judged by this.
    let rows = (0..60).map(|n| format!("{}\t0.5", text(n).0.replace(|c: char| c.is_ascii_digit(), "the ")));
    let same = write(folder.path(), "same.tsv", std::iter::once("text\tscore".to_string()).chain(rows));
    let error = train(&recipe(&same, "epochs = 1\n"), folder.path(), "same").err().unwrap().to_string();
    assert!(error.contains("pearson has no value on the"), "{error}");

    let several = write(
        folder.path(),
        "several.jsonl",
        (0..160).map(|n| {
            let (text, class) = text(n);
            let labels = [vec!["x"], vec!["x", "y"], vec!["y", "z"]][(class + n) % 3].clone();
            serde_json::json!({"text": text, "labels": labels.join("|")}).to_string()
        }),
    );
    let mut labels = recipe(&several, "epochs = 2\n");
    labels.data.separator = Some("|".to_string());
    let run = train(&labels, folder.path(), "several").unwrap();
    assert!(run.test.unwrap().evaluation.value("micro-f1").is_ok());
    let answers =
        Predictor::open(folder.path().join("several/best")).unwrap().predict(&["the a of"]).unwrap();
    assert_eq!(answers[0].probabilities.len(), 3);
}

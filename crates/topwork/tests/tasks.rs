//! Whole runs of the tasks beyond one answer a text, on tiny checkpoints: from a file to a saved model that answers.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use topwork::hub::{self, Hub, Settings};
use topwork::job::{self, JobContext, Outcomes, Quiet};
use topwork::recipe::DataRecipe;
use topwork::tasks::language_model::hidden;
use topwork::{Error, GenerateOptions, Generator, Predictor, Recipe, evaluate};
use topwork_data::Labels;
use topwork_kernels::gemm::Precision;
use topwork_kernels::rng::{Stream, derive};

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

fn train(model: &Path, data: &Path, folder: &Path, more: &str) -> Result<Outcomes, Error> {
    let text = format!(
        "model = {model:?}\n{more}\n[data]\ntrain = {data:?}\n[batch]\nexamples = 16\n[report]\nresamples = 20\n"
    );
    let recipe = Recipe::parse(&text, "test")?;
    let hub = Hub::with(Settings {
        cache: folder.join("cache"),
        offline: true,
        hf_endpoint: String::new(),
        hf_token: None,
        certificates: None,
        search_path: std::ffi::OsString::new(),
    });
    let (run, stop, mut observer) = (folder.join("run"), AtomicBool::new(false), Quiet);
    let context =
        JobContext { folder: &run, hub: &hub, progress: &hub::Silent, stop: &stop, observer: &mut observer };
    job::train(&recipe, context)
}

/// The recipe of a run of so many epochs.
fn epochs(epochs: usize, rate: f64, task: &str) -> String {
    format!("[train]\nepochs = {epochs}\nlearning-rate = {rate:e}\nprecision = \"f32\"\n[task]\n{task}")
}

fn test_value(run: &Outcomes, name: &str) -> f64 {
    run.test.as_ref().unwrap().evaluation.value(name).unwrap()
}

/// What `eval` says of the saved model is what the run said of it on the same rows.
fn measured_again(run: &Outcomes, data: &Path, name: &str) -> f64 {
    let data = DataRecipe { train: data.to_path_buf(), ..DataRecipe::default() };
    evaluate(&run.best(), &data, Precision::F32, 0).unwrap().measured.evaluation.value(name).unwrap()
}

fn write(folder: &Path, name: &str, lines: impl Iterator<Item = String>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    path
}

const WORDS: [&str; 8] = ["the", "a", "of", "to", "in", "is", "and", "it"];

/// Words drawn at random.
fn words(n: usize) -> Vec<&'static str> {
    let mut stream = Stream(derive(n as u64, "words"));
    let count = 4 + stream.below(4) as usize;
    (0..count).map(|_| WORDS[stream.below(WORDS.len() as u64) as usize]).collect()
}

#[test]
fn a_tagger_from_columns_to_entities() {
    let folder = tempfile::tempdir().unwrap();
    let tag = |words: &[&str], at: usize| match (words[at], at.checked_sub(1).map(|before| words[before])) {
        ("it", _) => "B-PER",
        ("and", Some("it")) => "I-PER",
        ("of", _) => "B-LOC",
        _ => "O",
    };
    let lines = (0..400).flat_map(|n| {
        let words = words(n);
        let rows: Vec<String> =
            (0..words.len()).map(|at| format!("{} {}", words[at], tag(&words, at))).collect();
        rows.into_iter().chain([String::new()]).collect::<Vec<_>>()
    });
    let data = write(folder.path(), "entities.conll", lines);
    let run = train(&fixtures("bert"), &data, folder.path(), &epochs(20, 2e-3, "kind = \"tag\"")).unwrap();
    assert_eq!(run.resolved.task.metric.as_deref(), Some("entity-f1"));
    assert!(test_value(&run, "entity-f1") > 0.95, "{}", run.test.unwrap().evaluation);
    assert!(measured_again(&run, &data, "entity-f1") > 0.95);
    let predictor = Predictor::open(run.best()).unwrap();
    let answers = predictor.predict(&["the it and of", "a to"]).unwrap();
    let found: Vec<(&str, &str, usize)> =
        answers[0].entities.iter().map(|e| (e.text.as_str(), e.label.as_str(), e.start)).collect();
    assert_eq!(found, [("it and", "PER", 4), ("of", "LOC", 11)]);
    assert!(answers[1].entities.is_empty() && answers[1].words.len() == 2);
    let report = fs::read_to_string(run.folder.join("report.html")).unwrap();
    assert!(report.contains("PER") && report.contains("Token tagging"));
}

#[test]
fn a_causal_model_learns_running_text_from_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lines = (0..400).map(|n| ["the cat sat on the mat .", "a dog ran in the park ."][n % 2].to_string());
    let data = write(folder.path(), "book.txt", lines);
    let more = format!("from-scratch = true\n{}", epochs(20, 5e-3, "kind = \"causal-lm\"\nmax-length = 32"));
    let run = train(&fixtures("decoder"), &data, folder.path(), &more).unwrap();
    assert!(run.load.loaded.is_empty());
    let perplexity = test_value(&run, "perplexity");
    assert!(perplexity < 1.3, "{}", run.test.unwrap().evaluation);
    // Windows cover the text: every token but the first of each window is asked for once.
    assert!(matches!(run.data.train.inputs.labels, Labels::None(_)));
    let generator = Generator::open(run.best()).unwrap();
    let prompt = generator.prompt("the cat sat").unwrap();
    let options = GenerateOptions { max_new: 12, ..GenerateOptions::default() };
    let written = generator.generate(&[prompt], &options, &mut |_, _| true).unwrap();
    assert!(written[0].text.starts_with(" on the mat"), "{:?}", written[0].text);
}

#[test]
fn words_behind_masks_are_learnt_in_the_shares_of_the_paper() {
    let folder = tempfile::tempdir().unwrap();
    let lines = (0..600).map(|n| words(n / 3).join(" "));
    let data = write(folder.path(), "domain.txt", lines);
    let run = train(
        &fixtures("bert"),
        &data,
        folder.path(),
        &epochs(10, 3e-3, "kind = \"masked-lm\"\nmax-length = 40"),
    )
    .unwrap();
    let share = hidden(&run.data.train).unwrap();
    let asked = (share.masked + share.replaced + share.kept) as f64;
    assert!((asked / share.words as f64 - 0.15).abs() < 0.02, "{share:?}");
    assert!((share.masked as f64 / asked - 0.8).abs() < 0.06, "{share:?}");
    let first = run.events.iter().find_map(|event| match event {
        topwork_train::Event::Step { loss, .. } => Some(*loss),
        _ => None,
    });
    assert!(test_value(&run, "perplexity").ln() < first.unwrap() / 2.0, "{first:?}");
    // The saved model goes on being one of masked words, and a classifier starts from it.
    let spec = topwork_models::model::saved_spec(&run.best()).unwrap();
    assert_eq!(spec, topwork_models::HeadSpec::MaskedLm);
}

#[test]
fn what_does_not_fit_is_said_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let text = write(folder.path(), "book.txt", (0..50).map(|n| words(n).join(" ")));
    let refused = |model: &str, task: &str, expected: &str| {
        let error = train(&fixtures(model), &text, folder.path(), &epochs(1, 1e-3, task)).err().unwrap();
        let error = error.to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused("bert", "kind = \"causal-lm\"", "sees the words to come");
    refused("decoder", "kind = \"masked-lm\"", "mask");
    refused("bert", "kind = \"masked-lm\"\nhide = 1.5", "task.hide");
    refused("bert", "kind = \"causal\"", "did you mean `causal-lm`");
    refused("bert", "kind = \"tag\"", "text");
}

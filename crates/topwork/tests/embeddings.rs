//! Vectors of texts against PyTorch and sentence-transformers: for every case of `fixtures/embeddings` (written by
//! `fixtures/make/embeddings.py`) vectors, loss, the gradient of every parameter and AdamW steps; a folder that
//! sentence-transformers wrote; and whole runs.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

mod golden;
mod gradients;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use golden::{FORWARD, every_gradient, floats, numbers, packed, ten_steps};
use serde::Deserialize;
use topwork::hub::{self, Hub, Settings};
use topwork::job::{self, JobContext, Outcomes, Quiet};
use topwork::recipe::{DataRecipe, Kind};
use topwork::{EmbedOptions, Embedder, Error, Recipe, Role, evaluate, evaluate_as};
use topwork_kernels::gemm::Precision;
use topwork_models::model::saved_spec;
use topwork_models::{
    Compared, EmbedDense, HeadSpec, LossOptions, Model, Pooling, SaveOptions, Targets, VectorLoss,
    VectorLossKind,
};
use topwork_nn::{Gradients, Pass};
use topwork_testkit::{Golden, close};
use topwork_text::Packed;

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

fn json<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_str(&fs::read_to_string(fixtures(name)).unwrap()).unwrap()
}

#[derive(Deserialize)]
struct Settled {
    kind: VectorLossKind,
    temperature: Option<f32>,
    margin: Option<f32>,
    #[serde(default)]
    symmetric: bool,
    #[serde(default)]
    dimensions: Vec<usize>,
}

#[derive(Deserialize)]
struct Written {
    spec: HeadSpec,
    loss: Settled,
}

struct Case {
    name: String,
    spec: HeadSpec,
    golden: Golden,
    input: Packed,
    options: LossOptions,
}

fn cases() -> Vec<Case> {
    let written: BTreeMap<String, Written> = json("embeddings/cases.json");
    assert_eq!(written.len(), 8, "count the cases when you add one");
    let case = |(name, Written { spec, loss }): (String, Written)| {
        let golden = Golden::open(fixtures(&format!("embeddings/{name}.safetensors"))).unwrap();
        let input = packed(&golden);
        let usual = VectorLoss::default();
        let vectors = VectorLoss {
            kind: loss.kind,
            temperature: loss.temperature.unwrap_or(usual.temperature),
            margin: loss.margin,
            symmetric: loss.symmetric,
            dimensions: loss.dimensions,
        };
        Case { name, spec, golden, input, options: LossOptions { vectors, ..LossOptions::default() } }
    };
    written.into_iter().map(case).collect()
}

impl Case {
    fn open(&self) -> Model {
        golden::open(&self.spec, &self.golden)
    }

    fn targets(&self) -> Targets {
        Targets::Compared(Compared {
            examples: numbers(&self.golden, "examples").into(),
            same: numbers(&self.golden, "same").into(),
            classes: numbers(&self.golden, "classes").into(),
            scores: floats(&self.golden, "scores"),
        })
    }

    fn gradients(&self, model: &Model) -> (f32, Gradients) {
        let trainable = vec![true; model.store.len()];
        let pass = Pass::train(&model.store, Precision::F32, 0, &trainable);
        let loss = model.loss(&pass, &self.input, &self.targets(), &self.options).unwrap();
        (loss.clone().into_scalar::<f32>(), pass.backward(&loss).unwrap())
    }
}

#[test]
fn vectors_and_losses() {
    for case in cases() {
        let model = case.open();
        let got = model.predict(&case.input, Precision::F32).unwrap();
        close(&got, &floats(&case.golden, "vectors"), FORWARD)
            .unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let pass = Pass::eval(&model.store, Precision::F32);
        let loss = model.loss(&pass, &case.input, &case.targets(), &case.options).unwrap();
        let expected = case.golden.scalar("loss").unwrap() as f32;
        close(&[loss.into_scalar::<f32>()], &[expected], FORWARD)
            .unwrap_or_else(|e| panic!("{} loss: {e}", case.name));
    }
}

#[test]
fn the_gradient_of_every_parameter() {
    let mut seen = 0;
    for case in cases() {
        let model = case.open();
        let (_, found) = case.gradients(&model);
        seen += every_gradient(&case.name, &case.golden, &model, &found);
    }
    assert!(seen > 500, "{seen}");
}

#[test]
fn ten_steps_of_adamw() {
    for case in cases() {
        ten_steps(&case.name, &case.golden, case.open(), |model| case.gradients(model));
    }
}

#[derive(Deserialize)]
struct SentenceFacts {
    texts: Vec<String>,
    pairs: Vec<(usize, usize, f64)>,
    measured: BTreeMap<String, f64>,
}

fn plain() -> EmbedOptions {
    EmbedOptions { precision: Precision::F32, ..EmbedOptions::default() }
}

#[test]
fn a_folder_of_sentence_transformers_is_opened_with_all_its_modules() {
    let facts: SentenceFacts = json("embeddings/sentence.json");
    let texts: Vec<&str> = facts.texts.iter().map(String::as_str).collect();
    let golden = Golden::open(fixtures("embeddings/sentence.safetensors")).unwrap();
    let folder = fixtures("embeddings/sentence");
    let dense = Some(EmbedDense { width: 10, bias: true, tanh: true });
    assert_eq!(saved_spec(&folder).unwrap(), HeadSpec::Embed { pool: Pooling::Cls, normalise: true, dense });
    let embedder = Embedder::open(&folder, &plain()).unwrap();
    assert_eq!((embedder.max_length(), embedder.width()), (12, 10));
    let vectors = embedder.embed(&texts).unwrap();
    close(&vectors.values, &floats(&golden, "plain"), FORWARD).unwrap();
    assert!(vectors.cut.iter().any(|&cut| cut > 0), "a text is longer than the 12 tokens");
    let queries = embedder.embed_as(Role::Query, &texts).unwrap();
    close(&queries.values, &floats(&golden, "query"), FORWARD).unwrap();
    assert_eq!(embedder.embed_as(Role::Document, &texts).unwrap(), vectors);

    // What it is told stands above what the folder says.
    let raw = EmbedOptions { normalise: Some(false), ..plain() };
    let raw = Embedder::open(&folder, &raw).unwrap().embed(&texts).unwrap();
    assert!(raw.values.iter().zip(&vectors.values).any(|(a, b)| (a - b).abs() > 0.05));
    let mean = EmbedOptions { pool: Some(Pooling::Mean), ..plain() };
    assert_eq!(Embedder::open(&folder, &mean).unwrap().width(), 32, "the map belongs to its own pooling");
    let few = Embedder::open(&folder, &EmbedOptions { dimensions: Some(4), ..plain() }).unwrap();
    for (first, whole) in few.embed(&texts).unwrap().values.chunks(4).zip(vectors.values.chunks(10)) {
        let length = whole[..4].iter().map(|x| x * x).sum::<f32>().sqrt();
        close(first, &whole[..4].iter().map(|x| x / length).collect::<Vec<_>>(), 1e-5).unwrap();
    }
    assert!(Embedder::open(&folder, &EmbedOptions { dimensions: Some(11), ..plain() }).is_err());
}

#[test]
fn what_is_saved_is_such_a_folder_again() {
    let facts: SentenceFacts = json("embeddings/sentence.json");
    let texts: Vec<&str> = facts.texts.iter().map(String::as_str).collect();
    let folder = fixtures("embeddings/sentence");
    let spec = saved_spec(&folder).unwrap();
    let (model, report) = Model::open(&folder, &spec, 0, &Device::flex()).unwrap();
    assert!(report.fresh.is_empty(), "{:?}", report.fresh);
    let temporary = tempfile::tempdir().unwrap();
    let target = temporary.path().join("saved");
    let mut options = SaveOptions::default();
    for name in ["tokenizer.json", "tokenizer_config.json", "config_sentence_transformers.json"] {
        options.files.push((name.to_string(), fs::read(folder.join(name)).unwrap()));
    }
    options.notes.insert("max-length".to_string(), 12.into());
    model.save(&target, &options).unwrap();
    let before = Embedder::open(&folder, &plain()).unwrap().embed_as(Role::Query, &texts).unwrap();
    let after = Embedder::open(&target, &plain()).unwrap().embed_as(Role::Query, &texts).unwrap();
    assert_eq!(before, after);
    // Without our own file the modules say the same.
    fs::remove_file(target.join("topwork.json")).unwrap();
    assert_eq!(saved_spec(&target).unwrap(), spec);
    assert_eq!(Embedder::open(&target, &plain()).unwrap().embed_as(Role::Query, &texts).unwrap(), before);
    // A map of another shape than its settings say is refused.
    let config = fs::read_to_string(target.join("2_Dense/config.json")).unwrap();
    fs::write(
        target.join("2_Dense/config.json"),
        config.replace("\"out_features\": 10", "\"out_features\": 9"),
    )
    .unwrap();
    let error = Embedder::open(&target, &plain()).err().unwrap().to_string();
    assert!(error.contains("[9, 32]") && error.contains("[10, 32]"), "{error}");
}

fn write(folder: &Path, name: &str, lines: impl Iterator<Item = String>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    path
}

#[test]
fn likeness_without_training_is_that_of_sentence_transformers() {
    let facts: SentenceFacts = json("embeddings/sentence.json");
    let temporary = tempfile::tempdir().unwrap();
    let rows =
        facts.pairs.iter().map(|&(a, b, score)| format!("{}\t{}\t{score}", facts.texts[a], facts.texts[b]));
    let rows = std::iter::once("sentence1\tsentence2\tscore".to_string()).chain(rows);
    let path = write(temporary.path(), "pairs.tsv", rows);
    let data = DataRecipe { train: path, ..DataRecipe::default() };
    // Its head says what it does; a bare encoder is told.
    let found =
        evaluate(&fixtures("embeddings/sentence"), &data, Precision::F32, 0).unwrap().measured.evaluation;
    for (name, expected) in &facts.measured {
        let got = found.value(name).unwrap();
        assert!((got - expected).abs() < 1e-5, "{name}: {got} against {expected}");
    }
    let bare = fixtures("heads/encoder");
    assert!(evaluate(&bare, &data, Precision::F32, 0).is_err());
    let classifier = fixtures("bert");
    let kind = Some(Kind::Similarity);
    assert!(
        evaluate_as(&classifier, &data, Precision::F32, 0, kind)
            .unwrap()
            .measured
            .evaluation
            .value("spearman")
            .is_ok()
    );
    let error =
        evaluate_as(&classifier, &data, Precision::F32, 0, Some(Kind::Tag)).err().unwrap().to_string();
    assert!(error.contains("saved for classify"), "{error}");
}

fn train(model: &Path, data: &Path, run: &Path, more: &str) -> Result<Outcomes, Error> {
    let text = format!(
        "model = {model:?}\n[data]\ntrain = {data:?}\ndev-share = 0.2\ntest-share = 0.2\n[report]\nresamples = 20\n[train]\n\
         precision = \"f32\"\nlearning-rate = 1e-3\n{more}"
    );
    let recipe = Recipe::parse(&text, "test")?;
    let hub = Hub::with(Settings {
        cache: run.with_extension("cache"),
        offline: true,
        hf_endpoint: String::new(),
        hf_token: None,
        certificates: None,
        search_path: std::ffi::OsString::new(),
        data_home: None,
    });
    let (stop, mut observer) = (AtomicBool::new(false), Quiet);
    let context = JobContext {
        folder: run,
        hub: &hub,
        progress: &hub::Silent,
        stop: &stop,
        shared: None,
        observer: &mut observer,
    };
    job::train(&recipe, context)
}

/// Words of the tiny vocabulary, a few of each kind for each topic.
const TOPICS: [[&str; 4]; 6] = [
    ["the", "to", "you", "is"],
    ["of", "and", "in", "for"],
    ["free", "win", "prize", "call"],
    ["now", "please", "meet", "tomorrow"],
    ["lunch", "thanks", "see", "money"],
    ["click", "offer", "good", "bad"],
];

/// A text of a topic, other words each time.
fn text(topic: usize, n: usize) -> String {
    let words: Vec<String> =
        (0..4).map(|k| TOPICS[topic][(n * 7 + k * (n % 3 + 1)) % 4].to_string()).collect();
    format!("{} {n}", words.join(" "))
}

fn value(run: &Outcomes, name: &str) -> f64 {
    run.test.as_ref().unwrap().evaluation.value(name).unwrap()
}

fn again(run: &Outcomes, data: &DataRecipe, name: &str) -> f64 {
    evaluate(&run.best(), data, Precision::F32, 0).unwrap().measured.evaluation.value(name).unwrap()
}

#[test]
fn pairs_find_each_other_after_training() {
    let temporary = tempfile::tempdir().unwrap();
    let rows = (0..240).map(|n| format!("{},{}", text(n % 6, n), text(n % 6, n + 1000)));
    let rows = std::iter::once("anchor,positive".to_string()).chain(rows);
    let data = write(temporary.path(), "pairs.csv", rows);
    let run = temporary.path().join("run");
    let more =
        "epochs = 12\n[task]\nkind = \"embed\"\nsymmetric = true\ndimensions = [8]\n[batch]\nexamples = 16\n";
    let outcomes = train(&fixtures("bert"), &data, &run, more).unwrap();
    assert_eq!(outcomes.data.kind, Kind::Embed);
    assert_eq!(outcomes.resolved.task.metric.as_deref(), Some("mrr"));
    let data = DataRecipe { train: data, ..DataRecipe::default() };
    let before = evaluate_as(&fixtures("bert"), &data, Precision::F32, 0, Some(Kind::Embed)).unwrap();
    for name in ["hits@10", "mrr"] {
        let (before, after) =
            (before.measured.evaluation.value(name).unwrap(), again(&outcomes, &data, name));
        assert!(after > 1.1 * before, "{name}: {before} {after}");
    }
    for file in ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "topwork.json"] {
        assert!(run.join("best").join(file).is_file(), "{file}");
    }
    let first = Embedder::open(run.join("best"), &plain()).unwrap().embed(&["the fox jumps"]).unwrap();
    assert_eq!(first.width, 32);
}

#[test]
fn triplets_and_labelled_texts_are_learnt_too() {
    let temporary = tempfile::tempdir().unwrap();
    let wrong = |n: usize| text((n + 1 + n % 5) % 6, n + 2000);
    let rows = (0..120).map(|n| format!("{},{},{}", text(n % 6, n), text(n % 6, n + 1000), wrong(n)));
    let rows = std::iter::once("anchor,positive,negative".to_string()).chain(rows);
    let triplets = write(temporary.path(), "triplets.csv", rows);
    let more = "epochs = 3\n[task]\nkind = \"embed\"\nloss = \"triplet\"\n";
    let run = train(&fixtures("bert"), &triplets, &temporary.path().join("a"), more).unwrap();
    let train_set = &run.data.train;
    assert_eq!(train_set.len(), train_set.dataset.len());
    assert!(train_set.costs().iter().all(|&cost| cost > 9), "three texts each");
    assert!(value(&run, "mrr") > 0.05, "{}", value(&run, "mrr"));

    let rows = (0..120).map(|n| format!("{},topic {}", text(n % 6, n), n % 6));
    let rows = std::iter::once("text,label".to_string()).chain(rows);
    let labelled = write(temporary.path(), "labelled.csv", rows);
    let more = "epochs = 2\n[task]\nkind = \"embed\"\npairs = 3\n";
    let run = train(&fixtures("bert"), &labelled, &temporary.path().join("b"), more).unwrap();
    assert_eq!(run.data.train.len(), run.data.train.dataset.len() * 3);
    assert!(value(&run, "hits@1") > 0.5, "{}", value(&run, "hits@1"));
    let more = "epochs = 2\n[task]\nkind = \"similarity\"\nloss = \"contrastive\"\npairs = 2\n";
    let run = train(&fixtures("bert"), &labelled, &temporary.path().join("c"), more).unwrap();
    assert_eq!(run.data.train.len(), run.data.train.dataset.len() * 4);
    assert!(value(&run, "spearman") > 0.3, "{}", value(&run, "spearman"));
}

#[test]
fn scores_are_learnt_from_a_folder_with_modules_and_saved_with_them() {
    let temporary = tempfile::tempdir().unwrap();
    let score = |n: usize| if n.is_multiple_of(2) { 5.0 } else { (n % 3) as f64 };
    let second = |n: usize| text(if n.is_multiple_of(2) { n % 6 } else { (n + 1) % 6 }, n + 1000);
    let rows = (0..160).map(|n| format!("{}\t{}\t{}", text(n % 6, n), second(n), score(n)));
    let data = write(
        temporary.path(),
        "scores.tsv",
        std::iter::once("sentence1\tsentence2\tscore".to_string()).chain(rows),
    );
    let run = temporary.path().join("run");
    let more = "epochs = 3\n[task]\nkind = \"embed\"\n";
    let outcomes = train(&fixtures("embeddings/sentence"), &data, &run, more).unwrap();
    assert_eq!(outcomes.data.kind, Kind::Similarity, "pairs with numbers are about likeness");
    assert!(outcomes.data.notes.iter().any(|note| note.contains("from 0 to 5")), "{:?}", outcomes.data.notes);
    assert!(value(&outcomes, "spearman") > 0.4, "{}", value(&outcomes, "spearman"));
    let spec = saved_spec(&run.join("best")).unwrap();
    assert_eq!(spec, saved_spec(&fixtures("embeddings/sentence")).unwrap());
    let embedder = Embedder::open(run.join("best"), &plain()).unwrap();
    assert_eq!(embedder.width(), 10);
    let texts = ["the fox", "a dog"];
    assert_ne!(
        embedder.embed_as(Role::Query, &texts).unwrap(),
        embedder.embed(&texts).unwrap(),
        "prompts are kept"
    );
    let test: Vec<String> = outcomes
        .data
        .test
        .dataset
        .examples
        .iter()
        .map(|e| {
            let Some(topwork_data::Label::Score(score)) = e.label else { panic!() };
            format!("{}\t{}\t{score}", e.text, e.pair.as_ref().unwrap())
        })
        .collect();
    let rows = std::iter::once("sentence1\tsentence2\tscore".to_string()).chain(test);
    let data = DataRecipe { train: write(temporary.path(), "test.tsv", rows), ..DataRecipe::default() };
    assert!((again(&outcomes, &data, "spearman") - value(&outcomes, "spearman")).abs() < 1e-9);
}

#[test]
fn what_does_not_fit_together_is_refused_before_training() {
    let temporary = tempfile::tempdir().unwrap();
    let rows = (0..60).map(|n| format!("{},{},{}", text(n % 6, n), text(n % 6, n + 1000), n % 4));
    let scored = write(
        temporary.path(),
        "scored.csv",
        std::iter::once("sentence1,sentence2,score".to_string()).chain(rows),
    );
    let refuse = |task: &str, part: &str| {
        let more = format!("[task]\n{task}");
        let error = train(&fixtures("bert"), &scored, &temporary.path().join("run"), &more).err().unwrap();
        assert!(error.to_string().contains(part), "{error}");
        assert!(!temporary.path().join("run/log.jsonl").exists());
    };
    refuse("kind = \"similarity\"\nloss = \"triplet\"\n", "say --task embed");
    refuse("kind = \"classify\"\nloss = \"cosine\"\n", "one of vectors");
    refuse("kind = \"embed\"\nloss = \"triplet\"\n", "does not go with the first");
    refuse("kind = \"similarity\"\nloss = \"contrastive\"\n", "1 for texts that belong together and 0");
    refuse("kind = \"similarity\"\nmetric = \"loss\"\n", "depends on which texts");
    refuse("kind = \"embed\"\nloss = \"in-batch\"\ndimensions = [40]\n", "1 to 32");
    refuse("kind = \"embed\"\nloss = \"in-batchh\"\n", "in-batch");
}

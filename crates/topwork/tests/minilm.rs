//! Sentence vectors of the real all-MiniLM-L6-v2 against sentence-transformers. Runs when `TOPWORK_MINILM` names the
//! model's folder; the small checkpoints of `parity.rs` cover the code without it.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use std::path::Path;

use topwork::recipe::DataRecipe;
use topwork::search::cosine;
use topwork::{EmbedOptions, Embedder, evaluate};
use topwork_kernels::gemm::Precision;
use topwork_testkit::{Golden, close};

#[test]
fn sentence_vectors_equal_sentence_transformers() {
    let Some(folder) = std::env::var_os("TOPWORK_MINILM") else {
        println!("skipped: TOPWORK_MINILM names no folder");
        return;
    };
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/minilm");
    let texts = std::fs::read_to_string(fixtures.join("texts.json")).unwrap();
    let texts: Vec<String> = serde_json::from_str(&texts).unwrap();
    assert_eq!(texts.len(), 50);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let golden = Golden::open(fixtures.join("vectors.safetensors")).unwrap().floats("vectors").unwrap();
    let options = |precision| EmbedOptions { precision, max_length: Some(256), ..EmbedOptions::default() };
    let embedder = Embedder::open(&folder, &options(Precision::F32)).unwrap();
    let vectors = embedder.embed(&texts).unwrap();
    assert_eq!(golden.shape, [50, vectors.width]);
    close(&vectors.values, &golden.data, 1e-5).unwrap();
    // In 16 bits directions stay: the cosine of each with its reference.
    let rough = Embedder::open(&folder, &options(Precision::Bf16)).unwrap().embed(&texts).unwrap();
    for (a, b) in rough.values.chunks(rough.width).zip(golden.data.chunks(rough.width)) {
        let cosine: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.999, "{cosine}");
    }
    // A text's vector does not depend on its neighbours, to the bit.
    for (n, text) in texts.iter().enumerate().step_by(7) {
        let alone = embedder.embed(&[*text]).unwrap();
        assert_eq!(alone.values, vectors.values[n * vectors.width..(n + 1) * vectors.width], "{text:?}");
    }
}

/// `pairs.json`, written by `fixtures/make/sts.py`.
#[derive(serde::Deserialize)]
struct Pairs {
    pairs: Vec<(String, String, f64)>,
    cosines: Vec<f64>,
    stsb_dev: Benchmark,
}

#[derive(serde::Deserialize)]
struct Benchmark {
    pairs: usize,
    pearson: f64,
    spearman: f64,
}

/// Runs the benchmark's part when `TOPWORK_STSB` names the published `sts-dev.csv`.
#[test]
fn likeness_equals_sentence_transformers() {
    let Some(folder) = std::env::var_os("TOPWORK_MINILM") else {
        println!("skipped: TOPWORK_MINILM names no folder");
        return;
    };
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/minilm");
    let golden: Pairs =
        serde_json::from_str(&std::fs::read_to_string(fixtures.join("pairs.json")).unwrap()).unwrap();
    assert_eq!((golden.pairs.len(), golden.cosines.len()), (20, 20));
    let options = EmbedOptions { precision: Precision::F32, ..EmbedOptions::default() };
    let embedder = Embedder::open(&folder, &options).unwrap();
    assert_eq!(embedder.max_length(), 256, "as its files say");
    for ((a, b, _), expected) in golden.pairs.iter().zip(&golden.cosines) {
        let vectors = embedder.embed(&[a.as_str(), b.as_str()]).unwrap();
        let (a_vector, b_vector) = vectors.values.split_at(vectors.width);
        let got = cosine(a_vector, b_vector);
        assert!((got - expected).abs() < 2e-6, "{a} | {b}: {got} against {expected}");
    }
    let Some(path) = std::env::var_os("TOPWORK_STSB") else {
        println!("skipped: TOPWORK_STSB names no file");
        return;
    };
    // Some rows name their source in two more columns.
    let rows = std::fs::read_to_string(path).unwrap();
    let rows: Vec<String> =
        rows.lines().map(|row| row.split('\t').take(7).collect::<Vec<_>>().join("\t")).collect();
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("sts-dev.tsv");
    std::fs::write(&path, rows.join("\n") + "\n").unwrap();
    let data = DataRecipe {
        train: path,
        format: Some("tsv".to_string()),
        text: Some("6".to_string()),
        pair: Some("7".to_string()),
        label: vec!["5".to_string()],
        ..DataRecipe::default()
    };
    let found = evaluate(Path::new(&folder), &data, Precision::F32, 0).unwrap().measured.evaluation;
    assert_eq!(found.examples, golden.stsb_dev.pairs);
    for (name, expected) in [("pearson", golden.stsb_dev.pearson), ("spearman", golden.stsb_dev.spearman)] {
        let got = found.value(name).unwrap();
        println!("{name} {got:.7}, sentence-transformers {expected:.7}");
        assert!((got - expected).abs() < 1e-4, "{name}: {got} against {expected}");
    }
}

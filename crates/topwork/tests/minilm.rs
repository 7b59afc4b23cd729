//! Sentence vectors of the real all-MiniLM-L6-v2 against sentence-transformers. Runs when `TOPWORK_MINILM` names the
//! model's folder; the small checkpoints of `parity.rs` cover the code without it.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use std::path::Path;

use topwork::{EmbedOptions, Embedder};
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

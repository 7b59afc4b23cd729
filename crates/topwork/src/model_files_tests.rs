//! The language models that flair saves against flair's own reading of them (`fixtures/make/flair_published.py`).

use burn::tensor::Device;
use topwork_kernels::gemm::Precision;
use topwork_models::{HeadSpec, Model, Pooling};
use topwork_nn::Pass;
use topwork_testkit::{Golden, close};
use topwork_text::Packed;

use super::*;
use crate::convert::{Form, convert};
use crate::tasks::tag;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/flair-published")
}

fn sentences() -> Vec<Vec<String>> {
    serde_json::from_slice(&std::fs::read(folder().join("sentences.json")).unwrap()).unwrap()
}

/// The states that stand for the words of all sentences.
fn states(model: &Path) -> Vec<f32> {
    let tokenizer = tokenizer(model).unwrap();
    let (model, report) =
        Model::open(model, &HeadSpec::embedder(Pooling::Mean, false), 0, &Device::flex()).unwrap();
    assert!(report.fresh.is_empty(), "{report}");
    let mut found = Vec::new();
    for words in sentences() {
        let text = words.join(" ");
        let mut at = 0;
        let places = words.iter().map(|word| {
            let start = at;
            at += word.len() + 1;
            (start, start + word.len())
        });
        let encoding = tokenizer.encode(&text, None, None).unwrap();
        let tokens = tag::standing(tokenizer.word_token(), &encoding, &text, places);
        let tokens: Vec<u32> = tokens.into_iter().map(Option::unwrap).collect();
        assert_eq!(tokens.len(), words.len());
        let input = Packed::from_encodings(&[encoding]);
        let hidden = model.hidden(&Pass::eval(&model.store, Precision::F32), &input).unwrap();
        found.extend(topwork_ops::embedding(hidden, &tokens.into()).into_data().try_to_vec::<f32>().unwrap());
    }
    found
}

#[test]
fn what_flair_saves_opens_and_words_have_the_states_that_flair_gives_them() {
    let golden = Golden::open(folder().join("golden.safetensors")).unwrap();
    let out = tempfile::tempdir().unwrap();
    for name in ["forward", "backward", "old", "bare"] {
        let file = folder().join(name).with_extension("pt");
        let expected = golden.floats(name).unwrap().data;
        close(&states(&file), &expected, 2e-6).unwrap_or_else(|error| panic!("{name}: {error}"));
        // The same as a folder, and as the only file of one.
        let written = out.path().join(name);
        convert(&file, &written, Form::Folder).unwrap();
        close(&states(&written), &expected, 2e-6).unwrap_or_else(|error| panic!("{name}, a folder: {error}"));
        let only = out.path().join("only").join(name);
        std::fs::create_dir_all(&only).unwrap();
        std::fs::copy(&file, only.join("lm.pt")).unwrap();
        close(&states(&only), &expected, 2e-6).unwrap_or_else(|error| panic!("{name}, alone: {error}"));
    }
}

#[test]
fn a_network_of_another_kind_is_named() {
    let file = folder().join("gru.pt");
    let error = Model::open_saved(&file, &Device::flex()).err().unwrap().to_string();
    assert!(error.contains("recurrent_type") && error.contains("gru"), "{error}");
}

#[test]
fn a_word_stands_where_it_has_been_read() {
    let tokenizer = tokenizer(folder().join("forward.pt")).unwrap();
    let places = |text: &str, limit, words: &[(usize, usize)]| {
        let encoding = tokenizer.encode(text, None, limit).unwrap();
        tag::standing(topwork_text::WordToken::Behind, &encoding, text, words.iter().copied())
    };
    // The delimiter is token 0; "ü" has two bytes. Behind "ü" stands "." and behind "." the space of the end.
    assert_eq!(places("a ü.", None, &[(0, 1), (2, 4), (4, 5)]), [Some(2), Some(4), Some(5)]);
    // What is cut off has not been read.
    assert_eq!(places("ab cd", Some(5), &[(0, 2), (3, 5)]), [Some(3), None]);
    assert_eq!(places("ab", None, &[(0, 2), (2, 2)]), [Some(3), None]);
}

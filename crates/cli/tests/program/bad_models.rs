//! Bad model folders: truncated, hostile, wrong in shape, without a tokenizer.

use crate::stage::{Stage, train_line};

/// Changes a file of the model and expects `predict` and `train` to refuse it.
fn refused(file: &str, change: impl Fn(Vec<u8>) -> Option<Vec<u8>>, parts: &[&str]) {
    let stage = Stage::with_mails();
    let path = stage.path("bert").join(file);
    match change(std::fs::read(&path).unwrap()) {
        Some(bytes) => std::fs::write(&path, bytes).unwrap(),
        None => std::fs::remove_file(&path).unwrap(),
    }
    stage.refused("predict bert win", parts);
    stage.refused(&train_line("runs/a", ""), parts);
    assert!(!stage.path("runs/a/best").exists());
}

/// Puts a header of our own before the numbers.
fn with_header(bytes: &[u8], change: impl Fn(&str) -> String) -> Option<Vec<u8>> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = change(std::str::from_utf8(&bytes[8..8 + length]).unwrap());
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend(&bytes[8 + length..]);
    Some(out)
}

#[test]
fn weights_that_cannot_be_right_are_refused() {
    let weights = "model.safetensors";
    refused(
        weights,
        |mut bytes| {
            bytes.truncate(bytes.len() - 1000);
            Some(bytes)
        },
        &["model.safetensors"],
    );
    refused(
        weights,
        |mut bytes| {
            bytes.truncate(5);
            Some(bytes)
        },
        &["model.safetensors"],
    );
    refused(weights, |_| Some(Vec::new()), &["model.safetensors"]);
    // A header longer than the file, and one of 10^12 elements: nothing may be allocated for either.
    refused(
        weights,
        |mut bytes| {
            bytes[..8].copy_from_slice(&(1_u64 << 60).to_le_bytes());
            Some(bytes)
        },
        &["model.safetensors"],
    );
    refused(
        weights,
        |bytes| with_header(&bytes, |h| h.replacen("[120,32]", "[1000000,1000000]", 1)),
        &["model.safetensors"],
    );
    refused(
        weights,
        |bytes| with_header(&bytes, |h| h.replacen("[120,32]", "[60,64]", 1)),
        &["[60, 64]", "[120, 32]"],
    );
    refused(
        weights,
        |bytes| with_header(&bytes, |h| h.replacen("query.weight", "quary.weight", 1)),
        &["quary.weight"],
    );
}

#[test]
fn configs_that_cannot_be_honoured_are_refused() {
    let config = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains(from), "{text}");
            Some(text.replace(from, to).into_bytes())
        }
    };
    refused("config.json", config("\"bert\"", "\"brt\""), &["\"brt\"", "distilbert"]);
    refused("config.json", config("\"gelu\"", "\"gleu\""), &["hidden_act", "gleu"]);
    refused("config.json", config("\"hidden_size\": 32", "\"hidden_size\": 31"), &["num_attention_heads"]);
    refused("config.json", config("\"hidden_size\": 32", "\"hidden_size\": -1"), &["hidden_size", "-1"]);
    refused("config.json", config("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"), &["layers.2."]);
    refused("config.json", config("{", "{{"), &["config.json"]);
    refused("config.json", |_| None, &["config.json"]);
}

#[test]
fn a_missing_or_foreign_tokenizer_is_named() {
    let stage = Stage::with_mails();
    std::fs::remove_file(stage.path("bert/tokenizer.json")).unwrap();
    stage.ok("predict bert win"); // vocab.txt is enough
    std::fs::remove_file(stage.path("bert/vocab.txt")).unwrap();
    stage.refused("predict bert win", &["no tokenizer in bert", "tokenizer.json, vocab.txt"]);
    stage.refused(&train_line("runs/a", ""), &["no tokenizer in bert"]);
    stage.program.file("bert/tokenizer.json", "{}").unwrap();
    stage.refused("predict bert win", &["tokenizer.json"]);
    // A vocabulary larger than the model's table.
    let words: String = (0..300).map(|n| format!("word{n}\n")).collect();
    std::fs::remove_file(stage.path("bert/tokenizer.json")).unwrap();
    stage.program.file("bert/vocab.txt", format!("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n{words}")).unwrap();
    stage.refused(&train_line("runs/a", ""), &["do not belong together"]);
}

#[test]
fn an_encoder_without_a_head_answers_nothing_and_says_why() {
    let stage = Stage::with_mails();
    let config = std::fs::read_to_string(stage.path("bert/config.json")).unwrap();
    stage
        .program
        .file("bert/config.json", config.replace("BertForSequenceClassification", "BertModel"))
        .unwrap();
    stage.refused("predict bert win", &["without a task head", "topwork train --model bert"]);
    stage.refused("predict nothing win", &["`nothing` does not exist"]);
    stage.refused("model show mails.csv", &["mails.csv"]);
}

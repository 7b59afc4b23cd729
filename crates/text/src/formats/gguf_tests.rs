//! The parts of a GGUF file against the tokenizers of the same models in folders, and how words are cut against
//! `tokenizers` with another engine, on fixtures made by `fixtures/make/{tokenizers_in,splits}.py`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper};

use super::*;
use crate::formats::proto::{Kind, Model};

fn fixture(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tokenizers-in");
    std::fs::read(folder.join(name)).unwrap()
}

fn texts() -> Vec<String> {
    let texts: Value = serde_json::from_slice(&fixture("texts.json")).unwrap();
    serde_json::from_value(texts["texts"].clone()).unwrap()
}

/// The ids of each text by transformers' tokenizer of a folder.
fn golden(name: &str) -> Vec<String> {
    let lines = String::from_utf8(fixture("golden.jsonl")).unwrap();
    let kinds = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let kind = kinds.into_iter().find(|kind| kind["name"] == name).unwrap();
    kind["single"].as_array().unwrap().iter().map(|case| case["ids"].as_str().unwrap().to_string()).collect()
}

fn check(name: &str, parts: &GgufParts) {
    let tokenizer = Tokenizer::from_gguf(parts).unwrap();
    let (texts, golden) = (texts(), golden(name));
    assert_eq!((texts.len(), golden.len()), (64, 64));
    for (text, expected) in texts.iter().zip(golden) {
        let ids = tokenizer.encode(text, None, None).unwrap().ids;
        let ids = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(ids, expected, "{name}: {text:?}");
    }
}

/// What a converter writes of a SentencePiece model.
fn of_model(name: &str, kind: &str) -> GgufParts {
    let model = Model::read(Path::new(name), &fixture(name)).unwrap();
    let code = |kind: Kind| match kind {
        Kind::Normal => 1,
        Kind::Unknown => 2,
        Kind::Control => 3,
        Kind::UserDefined => 4,
        Kind::Unused => 5,
        Kind::Byte => 6,
    };
    GgufParts {
        path: "m.gguf".into(),
        model: kind.into(),
        tokens: model.pieces.iter().map(|piece| piece.text.clone()).collect(),
        scores: model.pieces.iter().map(|piece| piece.score).collect(),
        token_types: model.pieces.iter().map(|piece| code(piece.kind)).collect(),
        charsmap: model.charsmap,
        ..GgufParts::default()
    }
}

fn of_pairs(name: &str, pre: &str) -> GgufParts {
    let vocab: HashMap<String, usize> =
        serde_json::from_slice(&fixture(&format!("{name}.vocab.json"))).unwrap();
    let mut tokens = vec![String::new(); vocab.len()];
    for (token, id) in vocab {
        tokens[id] = token;
    }
    let merges = String::from_utf8(fixture(&format!("{name}.merges.txt"))).unwrap();
    let special = |token: &String| {
        if token.starts_with('<') && token.ends_with('>') && token.len() > 2 { 3 } else { 1 }
    };
    GgufParts {
        path: "m.gguf".into(),
        model: "gpt2".into(),
        pre: pre.into(),
        token_types: tokens.iter().map(special).collect(),
        tokens,
        merges: merges.lines().skip(1).map(String::from).collect(),
        ..GgufParts::default()
    }
}

#[test]
fn each_model_encodes_as_the_one_it_was_made_of() {
    check(
        "llama",
        &GgufParts { bos: Some(1), eos: Some(2), unk: Some(0), ..of_model("llama.model", "llama") },
    );
    check("gpt2", &of_pairs("gpt2", "gpt-2"));
    check("qwen2", &of_pairs("gpt2", "qwen2"));
    // RoBERTa's special tokens are looked for in other ways, but its frame and its words are these.
    let roberta = GgufParts { bos: Some(0), eos: Some(2), ..of_pairs("roberta", "roberta-bpe") };
    let ids = Tokenizer::from_gguf(&roberta).unwrap().encode(&texts()[5], None, None).unwrap().ids;
    assert_eq!(ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "), golden("roberta")[5]);
    // T5 has no more than its own pieces here: the texts that name others differ.
    let t5 = Tokenizer::from_gguf(&GgufParts { eos: Some(1), unk: Some(2), ..of_model("t5.model", "t5") })
        .unwrap();
    for (text, expected) in texts().iter().zip(golden("t5")).filter(|(text, _)| !text.contains("extra_id")) {
        let ids = t5.encode(text, None, None).unwrap().ids;
        assert_eq!(ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "), expected, "{text:?}");
    }
}

#[test]
fn words_with_a_mark_before_them_are_bert_s() {
    let vocab = String::from_utf8(fixture("bert.vocab.txt")).unwrap();
    let marked = |token: &str| match token.strip_prefix("##") {
        _ if token.starts_with('[') && token.len() > 2 => token.to_string(),
        Some(rest) => rest.to_string(),
        None => format!("▁{token}"),
    };
    let tokens: Vec<String> = vocab.lines().map(marked).collect();
    let types = tokens.iter().map(|token| if token.starts_with('[') { 3 } else { 1 }).collect();
    let parts = GgufParts {
        path: "m.gguf".into(),
        model: "bert".into(),
        token_types: types,
        tokens,
        bos: Some(2),
        sep: Some(3),
        unk: Some(1),
        ..GgufParts::default()
    };
    // The vocabulary has capital letters: it is taken for one that keeps them.
    let tokenizer = Tokenizer::from_gguf(&parts).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vocab.txt"), &vocab).unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), r#"{"do_lower_case": false}"#).unwrap();
    let other = Tokenizer::from_folder(folder.path()).unwrap();
    for text in texts() {
        assert_eq!(
            tokenizer.encode(&text, Some("b"), None).unwrap(),
            other.encode(&text, Some("b"), None).unwrap()
        );
    }
    let special = tokenizer.special_tokens();
    assert_eq!((special.cls, special.sep, special.unk), (Some(2), Some(3), Some(1)));
}

#[test]
fn words_are_cut_as_by_another_engine() {
    let golden: Value =
        serde_json::from_str(include_str!("../../../../fixtures/splits/golden.json")).unwrap();
    let texts = texts();
    let mut seen = 0;
    for (name, expected) in golden.as_object().unwrap() {
        let split = Split::find(name).unwrap();
        let pre: PreTokenizerWrapper = serde_json::from_value(split.pre_tokenizer()).unwrap();
        for (text, expected) in texts.iter().zip(expected.as_array().unwrap()) {
            let mut cut = PreTokenizedString::from(text.as_str());
            pre.pre_tokenize(&mut cut).unwrap();
            let words = cut.get_splits(OffsetReferential::Original, OffsetType::Char);
            let ends: Vec<String> = words.iter().map(|(_, (_, end), _)| end.to_string()).collect();
            assert_eq!(ends.join(" "), expected.as_str().unwrap(), "{name}: {text:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 17 * 64);
}

#[test]
fn what_is_wrong_is_named_by_its_key() {
    let good = of_pairs("gpt2", "gpt-2");
    let text = |change: &dyn Fn(&mut GgufParts)| {
        let mut parts = good.clone();
        change(&mut parts);
        Tokenizer::from_gguf(&parts).unwrap_err().to_string()
    };
    for (error, expected) in [
        (text(&|parts| parts.model = "rwkv".into()), "tokenizer.ggml.model: expected gpt2"),
        (text(&|parts| parts.pre = "gpt2".into()), "tokenizer.ggml.pre: expected one of gpt-2"),
        (text(&|parts| parts.tokens.clear()), "tokenizer.ggml.tokens: expected tokens, got 0"),
        (text(&|parts| parts.tokens[7] = parts.tokens[3].clone()), "tokenizer.ggml.tokens[7]"),
        (
            text(&|parts| parts.token_types.truncate(9)),
            "tokenizer.ggml.token_type: expected one a token, 500",
        ),
        (text(&|parts| parts.merges[4] = "ab".into()), "tokenizer.ggml.merges[4]: expected two tokens"),
        (
            text(&|parts| parts.merges[4] = "a no".into()),
            "tokenizer.ggml.merges[4]: there is no token \"no\"",
        ),
        (text(&|parts| parts.bos = Some(500)), "tokenizer.ggml.bos_token: expected an id below 500"),
        (text(&|parts| parts.add_bos = Some(true)), "tokenizer.ggml.bos_token_id"),
        (text(&|parts| parts.model = "llama".into()), "tokenizer.ggml.scores"),
        (text(&|parts| parts.scores = vec![f32::NAN; 500]), "tokenizer.ggml.scores[0]"),
        (text(&|parts| parts.model = "bert".into()), "tokenizer.ggml."),
    ] {
        assert!(error.starts_with("m.gguf: ") && error.contains(expected), "{error}, not {expected}");
    }
    let mut parts = of_model("t5.model", "t5");
    parts.charsmap.truncate(900);
    let error = Tokenizer::from_gguf(&GgufParts { eos: Some(1), ..parts }).unwrap_err().to_string();
    assert!(error.contains("precompiled_charsmap"), "{error}");
    assert_eq!(Split::names().count(), 72);
}

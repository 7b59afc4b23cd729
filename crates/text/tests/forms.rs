//! Tokenizers of every form but `tokenizer.json` against transformers, on fixtures made by
//! `fixtures/make/tokenizers_in.py`.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

use std::path::{Path, PathBuf};

use serde_json::Value;
use topwork_text::{Encoding, Tokenizer};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tokenizers-in")
}

fn kinds() -> Vec<Value> {
    let lines = std::fs::read_to_string(fixtures().join("golden.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A folder as a published model has it.
fn folder(kind: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (target, source) in kind["files"].as_object().unwrap() {
        std::fs::copy(fixtures().join(source.as_str().unwrap()), folder.path().join(target)).unwrap();
    }
    std::fs::write(folder.path().join("tokenizer_config.json"), kind["config"].to_string()).unwrap();
    folder
}

/// FNV-1a over little-endian 32-bit numbers, as in the script.
fn fnv(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut digest = 0xcbf2_9ce4_8422_2325u64;
    for byte in numbers.into_iter().flat_map(u32::to_le_bytes) {
        digest = (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    format!("{digest:016x}")
}

fn joined(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

/// What differs from the reference, `None` if nothing does.
fn difference(encoding: &Encoding, golden: &Value) -> Option<String> {
    let ids = joined(&encoding.ids);
    if ids != golden["ids"].as_str().unwrap() {
        return Some(format!("ids {ids}\n  not {}", golden["ids"]));
    }
    let edges = encoding.origins.iter().flat_map(|origin| [origin.start, origin.end]);
    let rest = fnv(edges.chain(encoding.type_ids()));
    let expected = golden.get("rest")?.as_str().unwrap();
    (rest != expected).then(|| format!("not the same origins: {:?}", encoding.origins))
}

#[test]
fn every_form_equals_transformers() {
    let texts: Value =
        serde_json::from_slice(&std::fs::read(fixtures().join("texts.json")).unwrap()).unwrap();
    let pairs = texts["pairs"].as_array().unwrap();
    let texts: Vec<&str> =
        texts["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for kind in kinds() {
        let name = kind["name"].as_str().unwrap();
        let folder = folder(&kind);
        let saved = tempfile::tempdir().unwrap();
        let first = match Tokenizer::from_folder(folder.path()) {
            Ok(tokenizer) => tokenizer,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        first.save(saved.path()).unwrap();
        // What is saved does the same.
        for tokenizer in [&first, &Tokenizer::from_folder(saved.path()).unwrap()] {
            let tokens = kind["tokens"].as_u64().unwrap() as usize;
            if tokenizer.vocab_size() != tokens {
                wrong.push(format!("{name}: {} tokens, not {tokens}", tokenizer.vocab_size()));
            }
            for (text, golden) in texts.iter().zip(kind["single"].as_array().unwrap()) {
                compared += 1;
                let encoding = tokenizer.encode(text, None, None).unwrap();
                wrong.extend(difference(&encoding, golden).map(|how| format!("{name}: {text:?}: {how}")));
            }
            for (pair, golden) in pairs.iter().zip(kind["pair"].as_array().unwrap()) {
                let [a, b] = [0, 1].map(|side| texts[pair[side].as_u64().unwrap() as usize]);
                compared += 1;
                let encoding = tokenizer.encode(a, Some(b), None).unwrap();
                wrong
                    .extend(difference(&encoding, golden).map(|how| format!("{name}: {a:?} + {b:?}: {how}")));
            }
        }
    }
    // SentencePiece takes characters that it does not know together, so that one of them that only the target
    // language has gets no id of its own there; here it does.
    let apart = |how: &String| how.starts_with("marian: ") && how.contains("中文abc混合");
    let counted = wrong.len();
    wrong.retain(|how| !apart(how));
    assert_eq!(counted - wrong.len(), 4);
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(compared, 40 * 2 * (64 + 12));
}

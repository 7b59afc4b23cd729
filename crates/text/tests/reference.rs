//! The same ids, byte offsets, words and pairs as transformers, on fixtures made by `fixtures/make/tokenizer.py`.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

use std::path::{Path, PathBuf};

use serde_json::Value;
use topwork_text::{Encoding, Tokenizer};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tokenizer")
}

fn json(name: &str) -> Value {
    let path = fixtures().join(name);
    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|number| number.as_i64().unwrap()).collect()
}

fn check(encoding: &Encoding, golden: &Value) {
    let widened = |values: &[u32]| values.iter().map(|&value| i64::from(value)).collect::<Vec<_>>();
    let text = &golden["text"];
    assert_eq!(widened(&encoding.ids), numbers(&golden["ids"]), "ids of {text}");
    let types: Vec<u32> = encoding.type_ids().collect();
    assert_eq!(widened(&types), numbers(&golden["types"]), "type ids of {text}");
    let edges: Vec<i64> = encoding.offsets().flat_map(|(a, b)| [a as i64, b as i64]).collect();
    assert_eq!(edges, numbers(&golden["offsets"]), "byte offsets of {text}");
    let special: Vec<i64> = encoding.origins.iter().map(|origin| i64::from(origin.special)).collect();
    assert_eq!(special, numbers(&golden["special"]), "special tokens of {text}");
    let words: Vec<i64> = encoding.origins.iter().map(|origin| origin.word().map_or(-1, i64::from)).collect();
    assert_eq!(words, numbers(&golden["words"]), "words of {text}");
    let sequences: Vec<i64> =
        encoding.origins.iter().map(|origin| origin.sequence().map_or(-1, i64::from)).collect();
    assert_eq!(sequences, numbers(&golden["sequences"]), "sequences of {text}");
}

fn check_all(name: &str) {
    let tokenizer = Tokenizer::from_folder(fixtures().join(name)).unwrap();
    let golden = json(&format!("{name}/golden.json"));
    let single = golden["single"].as_array().unwrap();
    let texts: Vec<&str> = single.iter().map(|case| case["text"].as_str().unwrap()).collect();
    let batch = tokenizer.encode_batch(&texts, None).unwrap();
    assert_eq!(batch.len(), 200);
    for (encoding, case) in batch.iter().zip(single) {
        check(encoding, case);
        assert_eq!(encoding.cut, 0);
        // Offsets can be used to cut the text.
        let text = case["text"].as_str().unwrap();
        for (start, end) in encoding.offsets() {
            assert!(text.get(start..end).is_some(), "{text:?} {start}..{end}");
        }
    }
    let pairs = golden["pair"].as_array().unwrap();
    assert_eq!(pairs.len(), 25);
    for case in pairs {
        let [text, pair] = [&case["text"], &case["pair"]].map(|text| text.as_str().unwrap());
        check(&tokenizer.encode(text, Some(pair), None).unwrap(), case);
        check(&tokenizer.encode_batch(&[(text, pair)], None).unwrap()[0], case);
    }
    let mut cuts = 0;
    for case in golden["cut"].as_array().unwrap() {
        let (text, pair) = (case["text"].as_str().unwrap(), case["pair"].as_str());
        let most = case["max"].as_u64().unwrap() as usize;
        let got = tokenizer.encode(text, pair, Some(most)).unwrap();
        let ids: Vec<i64> = got.ids.iter().map(|&id| i64::from(id)).collect();
        assert_eq!(ids, numbers(&case["ids"]), "{text:?} + {pair:?} within {most}");
        assert_eq!(got.full_len(), tokenizer.encode(text, pair, None).unwrap().len());
        cuts += usize::from(got.cut > 0);
    }
    assert!(cuts > 20, "only {cuts} of the cut cases cut anything");
    let decoded = golden["decode"].as_array().unwrap();
    assert_eq!(decoded.len(), 40);
    for case in decoded {
        let ids: Vec<u32> = numbers(&case["ids"]).into_iter().map(|id| id as u32).collect();
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), case["text"].as_str().unwrap());
    }
}

#[test]
fn a_wordpiece_tokenizer_equals_transformers() {
    check_all("bert");
}

#[test]
fn a_byte_level_bpe_tokenizer_equals_transformers() {
    check_all("roberta");
}

/// `vocab.txt` with each combination of settings, and `tokenizer.json` overruled by them.
#[test]
fn the_settings_of_a_vocabulary_are_honoured() {
    let golden = json("bert/settings.json");
    let texts: Vec<&str> =
        golden["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let mut seen = 0;
    let mut different = std::collections::HashSet::new();
    for variant in golden["variants"].as_array().unwrap() {
        let expected: Vec<Vec<i64>> = variant["ids"].as_array().unwrap().iter().map(numbers).collect();
        for file in ["vocab.txt", "tokenizer.json"] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::copy(fixtures().join("bert").join(file), folder.path().join(file)).unwrap();
            let config = variant["settings"].to_string();
            std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
            let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
            let check = |tokenizer: &Tokenizer| {
                let got: Vec<Vec<i64>> = tokenizer
                    .encode_batch(&texts, None)
                    .unwrap()
                    .iter()
                    .map(|encoding| encoding.ids.iter().map(|&id| i64::from(id)).collect())
                    .collect();
                assert_eq!(got, expected, "{file} with {}", variant["settings"]);
            };
            check(&tokenizer);
            // Saved and read again it does the same, with and without the vocabulary beside it.
            let saved = tempfile::tempdir().unwrap();
            tokenizer.save(saved.path()).unwrap();
            check(&Tokenizer::from_folder(saved.path()).unwrap());
            seen += 1;
        }
        different.insert(expected);
    }
    assert_eq!(seen, 10);
    assert_eq!(different.len(), 5, "each setting changes something");
}

#[test]
fn settings_that_cut_or_pad_are_listed_and_not_applied() {
    let tokenizer = Tokenizer::from_folder(fixtures().join("bert")).unwrap();
    let ignored = tokenizer.ignored_settings().join("; ");
    assert!(ignored.contains("truncation to 16") && ignored.contains("padding to 16"), "{ignored}");
    let long = "tree ".repeat(40);
    assert_eq!(tokenizer.encode(&long, None, None).unwrap().len(), 42);
    assert_eq!(tokenizer.encode("tree", None, None).unwrap().len(), 3);
    assert_eq!(tokenizer.stated_max_length(), Some(512));
}

#[test]
fn special_tokens_survive_every_cut() {
    let tokenizer = Tokenizer::from_folder(fixtures().join("bert")).unwrap();
    let special = tokenizer.special_tokens();
    let (cls, sep) = (special.cls.unwrap(), special.sep.unwrap());
    assert_eq!(tokenizer.added_tokens(false), 2);
    assert_eq!(tokenizer.added_tokens(true), 3);
    for most in 3..12 {
        let one = tokenizer.encode("the old tree bears fruit again", None, Some(most)).unwrap();
        assert!(one.len() <= most);
        assert_eq!((one.ids[0], *one.ids.last().unwrap()), (cls, sep));
        assert_eq!(one.attention_mask(), vec![1; one.len()]);
        if most > 3 {
            let two = tokenizer.encode("the old tree", Some("bears fruit again"), Some(most)).unwrap();
            assert_eq!(two.ids.iter().filter(|&&id| id == sep).count(), 2);
        }
    }
    let error = tokenizer.encode("a", Some("b"), Some(3)).unwrap_err().to_string();
    assert!(error.contains("3 special tokens") && error.contains("at least 4"), "{error}");
}

#[test]
fn unchanged_files_keep_their_bytes() {
    for name in ["bert", "roberta"] {
        let from = fixtures().join(name);
        let saved = tempfile::tempdir().unwrap();
        Tokenizer::from_folder(&from).unwrap().save(saved.path()).unwrap();
        let mut files = 0;
        for entry in std::fs::read_dir(saved.path()).unwrap() {
            let path = entry.unwrap().path();
            let original = from.join(path.file_name().unwrap());
            if original.exists() {
                let same = std::fs::read(&path).unwrap() == std::fs::read(original).unwrap();
                assert!(same, "{} changed", path.display());
                files += 1;
            }
        }
        assert_eq!(files, if name == "bert" { 3 } else { 2 });
    }
}

/// FNV-1a over little-endian 32-bit numbers, as in the script.
fn fnv(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut digest = 0xcbf2_9ce4_8422_2325u64;
    for byte in numbers.into_iter().flat_map(u32::to_le_bytes) {
        digest = (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    format!("{digest:016x}")
}

/// Row 93 of the feature list and the whole SMS Spam Collection, with the real tokenizer of all-MiniLM-L6-v2.
#[test]
fn minilm_on_all_sms_equals_transformers() {
    let Some(folder) = std::env::var_os("TOPWORK_MINILM") else {
        println!("skipped: TOPWORK_MINILM does not name the folder of all-MiniLM-L6-v2");
        return;
    };
    let tokenizer = Tokenizer::from_folder(folder).unwrap();
    let encoding = tokenizer.encode("a visually stunning rumination on love", None, None).unwrap();
    assert_eq!(encoding.ids, [101, 1037, 17453, 14726, 19379, 12758, 2006, 2293, 102]);
    assert_eq!(encoding.attention_mask(), [1; 9]);
    let sms = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/sms-spam/SMSSpamCollection");
    let Ok(text) = std::fs::read_to_string(&sms) else {
        println!("skipped: {} is not there", sms.display());
        return;
    };
    let messages: Vec<&str> = text
        .split('\n')
        .filter(|line| !line.is_empty())
        .map(|line| line.split_once('\t').unwrap().1)
        .collect();
    let golden = json("minilm.json");
    assert_eq!(messages.len() as u64, golden["texts"].as_u64().unwrap());
    let start = std::time::Instant::now();
    let encodings = tokenizer.encode_batch(&messages, None).unwrap();
    println!("{} messages in {:?}", messages.len(), start.elapsed());
    let ids = || encodings.iter().flat_map(|encoding| encoding.ids.iter().copied());
    assert_eq!(ids().count() as u64, golden["tokens"].as_u64().unwrap());
    assert_eq!(fnv(ids()), golden["ids"].as_str().unwrap());
    let edges =
        encodings.iter().flat_map(|encoding| &encoding.origins).flat_map(|origin| [origin.start, origin.end]);
    assert_eq!(fnv(edges), golden["offsets"].as_str().unwrap());
}

//! Unigram against the `tokenizers` crate.

use proptest::prelude::*;
use rayon::prelude::*;
use serde_json::{Value, json};

use super::tests::{Both, added, random_texts, text};
use crate::Input;

/// A trained tokenizer in XLM-R's layout, with a table that SentencePiece compiled.
const TRAINED: &str = include_str!("../../../../fixtures/tokenizer/unigram/tokenizer.json");

fn trained() -> Value {
    serde_json::from_str(TRAINED).unwrap()
}

fn meta(scheme: &str) -> Value {
    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true})
}

fn split_then(meta: &Value) -> Value {
    json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, meta]})
}

fn steps(steps: Vec<Value>) -> Value {
    json!({"type": "Sequence", "normalizers": steps})
}

fn replace(pattern: Value, content: &str) -> Value {
    json!({"type": "Replace", "pattern": pattern, "content": content})
}

fn strip(left: bool, right: bool) -> Value {
    json!({"type": "Strip", "strip_left": left, "strip_right": right})
}

fn step(name: &str) -> Value {
    json!({"type": name})
}

/// What published files normalize with, and each known step on its own.
fn normalizers() -> Vec<Value> {
    let table = trained()["normalizer"].clone();
    let spaces = |to: &str| replace(json!({"Regex": " {2,}"}), to);
    let quotes = [replace(json!({"String": "``"}), "\""), replace(json!({"String": "''"}), "\"")];
    let albert = quotes.clone().into_iter().chain(["NFKD", "StripAccents", "Lowercase"].map(step));
    vec![
        Value::Null,
        table.clone(),
        steps(vec![table.clone(), spaces(" ")]),
        steps(vec![table.clone(), strip(false, true), spaces("▁")]),
        steps(albert.chain([table.clone(), spaces(" ")]).collect()),
        steps(vec![step("NFKC"), step("Lowercase"), strip(true, true)]),
        steps(vec![step("Nmt"), step("NFKC"), spaces(" ")]),
        steps(vec![step("NFC"), strip(true, false), table]),
        steps(vec![step("NFD"), step("StripAccents"), replace(json!({"String": "e"}), "")]),
    ]
}

fn kinds() -> Vec<Both> {
    let splits = [
        split_then(&meta("always")),
        meta("always"),
        meta("first"),
        meta("never"),
        split_then(&meta("first")),
    ];
    let mut kinds = Vec::new();
    for (index, normalizer) in normalizers().into_iter().enumerate() {
        for (number, split) in splits.iter().enumerate() {
            let mut kind = trained();
            kind["normalizer"] = normalizer.clone();
            kind["pre_tokenizer"] = split.clone();
            let tokens = kind["added_tokens"].as_array_mut().unwrap();
            match (index + number) % 4 {
                0 => tokens.clear(),
                1 => tokens.push(added("under", 5000, [true, false, true, true])),
                _ => {}
            }
            if index % 2 == 1 {
                kind["post_processor"] = Value::Null;
            }
            kinds.push(kind);
        }
    }
    let mut bare = trained();
    bare["pre_tokenizer"] = step("WhitespaceSplit");
    kinds.push(bare);
    kinds.iter().map(Both::new).collect()
}

/// What SentencePiece's tables and the splits at spaces tell apart, beside the fragments that BERT does.
fn spaced() -> impl Strategy<Value = String> {
    let parts: &[&str] = &[
        " ",
        " ",
        "  ",
        "   ",
        "\t",
        "\n",
        " \n",
        "\u{a0}",
        "\u{3000}",
        "\u{200b}",
        " \u{200b}",
        "\u{200b} ",
        "▁",
        " ▁",
        "▁ ",
        "\u{1}",
        " \u{1}",
        "\u{1} ",
        "\u{7f}",
        "\u{feff}",
        "\u{301}",
        " \u{301}",
        "\u{301} ",
        " \u{308}x",
        "e\u{301}",
        "A\u{308}",
        "か\u{3099}",
        "\u{1100}\u{1161}\u{11a8}",
        "\u{1100}\u{1161}",
        "ﬁ",
        "ﷺ",
        "™",
        "™\u{1}",
        "½",
        "℃ ",
        "ａｂ",
        "Ⅷ",
        "Я",
        "İ",
        "ß",
        "\u{600}",
        "\u{600} ",
        "👩\u{200d}👧",
        "🇩🇪🇫",
        "\u{e33}",
        " \u{e33}",
        "``",
        "''",
        "`",
        "'",
        "...",
        "the",
        "The",
        "under",
        "Under",
        "rule",
        "ing",
        "a",
        "e",
        "E",
        "a a",
        "<unk>",
        "<mask>",
        " <s>",
        "<s",
        "中国",
        "कि",
        "\r\n",
        "xqz",
    ];
    prop::collection::vec(prop::sample::select(parts), 0..20).prop_map(|parts| parts.concat())
}

#[test]
fn random_texts_encode_as_in_the_crate() {
    let kinds = kinds();
    let [slow, fast] = random_texts(&kinds, || prop_oneof![text(), spaced(), any::<String>()], 5..40, 150);
    assert!(fast > slow && slow > 500, "{fast} texts fast, {slow} through the crate");
}

/// Every scalar value inside a word, alone, and at both ends of a word.
#[test]
fn every_character_does_what_it_does_in_the_crate() {
    let normalizers = normalizers();
    // Beyond the first two planes nearly all characters are alike: one block in 16.
    let blocks: Vec<u32> = (0..0x1100).filter(|block| block >> 8 < 2 || block % 16 == 0).collect();
    for normalizer in [3, 4] {
        let mut kind = trained();
        kind["normalizer"] = normalizers[normalizer].clone();
        if normalizer == 3 {
            kind["pre_tokenizer"] = meta("always");
        }
        kind["added_tokens"] = json!([]);
        let both = Both::new(&kind);
        let check = |&block: &u32| {
            let chars: Vec<char> = (block * 256..(block + 1) * 256).filter_map(char::from_u32).collect();
            let fast = chars.chunks(8).filter(|chars| {
                let mut text = String::from("x");
                for &char in *chars {
                    text.extend([char, 'b', ' ', char, ' ', 'b', char, ' ', char, 'b']);
                }
                both.compare(Input { text: &text, pair: None }, None).unwrap()
            });
            (chars.len(), fast.count() * 8)
        };
        let (seen, fast) = blocks.par_iter().map(check).reduce(|| (0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        assert_eq!(seen, 0x2_0000 - 0x800 + 15 * 16 * 256);
        assert!(fast * 100 > seen * 97, "{fast} of {seen} characters fast");
    }
}

#[test]
fn ordinary_texts_go_the_fast_way() {
    let both = Both::new(&trained());
    for text in [
        "The rule: one thing a file.",
        "  two  spaces, and one at the end ",
        "naïve café, Привет мир, 中文 文本。",
        "🙂 and ﬁ and ½",
        "",
        " ",
        "x",
    ] {
        // Twice, the second time out of the cache.
        for _ in 0..2 {
            assert!(both.compare(Input { text, pair: None }, None).unwrap(), "{text:?}");
        }
    }
    for text in ["<s>", "a <mask>", "\u{1}begins with what is removed"] {
        assert!(!both.compare(Input { text, pair: None }, None).unwrap(), "{text:?}");
    }
    // The accent is lost with the space that it stands on, and that space is one with the next.
    let mut kind = trained();
    kind["normalizer"] = normalizers()[2].clone();
    let both = Both::new(&kind);
    for text in ["x\u{a0}\u{301}", "x\u{a0}\u{301} y"] {
        assert!(!both.compare(Input { text, pair: None }, None).unwrap(), "{text:?}");
    }
    assert!(both.compare(Input { text: "re\u{301} re\u{301}", pair: None }, None).unwrap());
}

#[test]
fn a_part_that_is_not_known_leaves_no_fast_way() {
    assert!(Both::new(&trained()).ours.fast.is_some());
    let not_split =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": false});
    for (part, value) in [
        ("pre_tokenizer", not_split),
        ("pre_tokenizer", json!({"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"})),
        ("pre_tokenizer", json!({"type": "Whitespace"})),
        ("pre_tokenizer", Value::Null),
        ("normalizer", json!({"type": "Prepend", "prepend": "▁"})),
        ("normalizer", replace(json!({"String": " "}), "▁")),
        ("normalizer", replace(json!({"String": "a b"}), "c")),
        ("normalizer", replace(json!({"Regex": "\\s+"}), " ")),
        ("normalizer", replace(json!({"Regex": " {2,}"}), "x")),
        ("added_tokens", json!([added("a b", 5000, [false, false, false, true])])),
    ] {
        let mut changed = trained();
        changed[part] = value;
        assert!(Both::new(&changed).ours.fast.is_none(), "{part}: {}", changed[part]);
    }
    let mut falls_back = trained();
    falls_back["model"]["byte_fallback"] = json!(true);
    assert!(Both::new(&falls_back).ours.fast.is_none());
}

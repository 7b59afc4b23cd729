//! Byte-level BPE against the `tokenizers` crate.

use proptest::prelude::*;
use rayon::prelude::*;
use serde_json::{Value, json};

use super::tests::{Both, added, random_texts, text};
use crate::Input;

/// A vocabulary of all bytes but one, with merges for some words, made as training would make it.
fn model() -> Value {
    let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
    let mut letters: Vec<String> = alphabet.into_iter().map(String::from).collect();
    letters.sort();
    // The byte 0xc3, which é and others begin with, has no token.
    letters.retain(|letter| letter != "Ã");
    let mut tokens: Vec<String> = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"].map(String::from).into();
    tokens.extend(letters);
    let mut merges = Vec::new();
    for word in [
        "the", "Ġthe", "Ġunder", "under", "Ġstand", "standing", "Ġabc", "ABC", "ĠĠ", "ĠĠĠĠ", "Ċ", "ĠĠĊ",
        "čĊ", "'s", "Ġ'", "...", "!?", "ä¸Ń", "åĽ½", "Ġä¸Ń", "ðŁĻĤ", "Ð°", "ĠÐ°", "12", "Ġ12", "Âł", "xyz",
        "aaaa", "âĢĶ", "ãģ",
    ] {
        let mut left = String::new();
        for letter in word.chars().map(String::from) {
            if !left.is_empty() && !merges.contains(&json!([left, letter])) {
                merges.push(json!([left, letter]));
            }
            left.push_str(&letter);
            if !tokens.contains(&left) {
                tokens.push(left.clone());
            }
        }
    }
    let vocab: serde_json::Map<String, Value> =
        tokens.into_iter().enumerate().map(|(id, token)| (token, json!(id))).collect();
    json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
        "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        "vocab": vocab, "merges": merges,
    })
}

fn specials() -> Vec<Value> {
    let names = ["<s>", "<pad>", "</s>", "<unk>"];
    let mut all: Vec<Value> = names.iter().zip(0..).map(|(name, id)| added(name, id, [false; 4])).collect();
    all.push(added("<mask>", 4, [false, true, false, false]));
    all
}

fn whole(prefix: bool, post: Value, unknown: Option<&str>, added: Value) -> Value {
    let mut model = model();
    model["unk_token"] = json!(unknown);
    model["fuse_unk"] = json!(unknown.is_some() && prefix);
    model["ignore_merges"] = json!(!prefix);
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": true},
        "post_processor": post,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": model,
    })
}

fn roberta(prefix: bool, trim: bool) -> Value {
    json!({
        "type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": trim,
        "add_prefix_space": prefix,
    })
}

fn bytes(prefix: bool, trim: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": trim, "use_regex": true})
}

fn template() -> Value {
    let piece = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
    let text = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    json!({
        "type": "TemplateProcessing", "single": [piece("<s>"), text("A")],
        "pair": [piece("<s>"), text("A"), piece("<s>"), text("B")],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
    })
}

fn kinds() -> Vec<Both> {
    let mut normal = specials();
    normal.push(added("under", 1000, [true, false, true, true]));
    let mut kinds = Vec::new();
    for prefix in [false, true] {
        for (post, unknown) in [
            (roberta(prefix, true), None),
            (roberta(!prefix, true), Some("<unk>")),
            (roberta(prefix, false), None),
            (bytes(prefix, true), None),
            (bytes(!prefix, true), Some("<unk>")),
            (json!({"type": "Sequence", "processors": [bytes(prefix, true), template()]}), None),
            (Value::Null, Some("<unk>")),
        ] {
            kinds.push(whole(prefix, post, unknown, json!(specials())));
        }
        kinds.push(whole(prefix, roberta(prefix, true), None, json!(normal)));
    }
    kinds.iter().map(Both::new).collect()
}

/// What GPT-2's expression tells apart, beside the fragments that BERT does.
fn spaced() -> impl Strategy<Value = String> {
    let parts: &[&str] = &[
        " ",
        "  ",
        "   ",
        "\n",
        " \n",
        "\n ",
        "\r\n",
        "\t",
        "\u{a0}",
        "\u{3000} ",
        "'s",
        "'S",
        "'re",
        "'r",
        "'ve",
        "'ll",
        "'l",
        "'d",
        "'m",
        "''",
        " '",
        "a",
        "the",
        "The",
        "é",
        "12",
        "Ⅷ",
        "²",
        "!",
        "...",
        "\u{301}",
        "🙂",
        "中国",
        "<mask>",
        "<s",
        "under",
        "\u{85}",
        "x\u{ad}",
    ];
    prop::collection::vec(prop::sample::select(parts), 0..20).prop_map(|parts| parts.concat())
}

#[test]
fn random_texts_encode_as_in_the_crate() {
    let kinds = kinds();
    let [slow, fast] = random_texts(&kinds, || prop_oneof![text(), spaced()], 5..40, 250);
    assert!(fast > slow && slow > 500, "{fast} texts fast, {slow} through the crate");
}

/// Every scalar value between letters, digits and marks, and after spaces.
#[test]
fn every_character_does_what_it_does_in_the_crate() {
    let both = Both::new(&whole(true, roberta(true, true), None, json!([])));
    let check = |block: u32| {
        let block: Vec<char> = (block * 256..(block + 1) * 256).filter_map(char::from_u32).collect();
        let text: String =
            block.iter().flat_map(|&char| ['a', char, '1', char, '!', char, ' ', char]).collect();
        assert!(both.compare(Input { text: &text, pair: None }, None).unwrap());
        block.len()
    };
    // Characters that nothing is assigned to are all alike: of the planes that hold no others, one block in 16.
    let blocks: Vec<u32> =
        (0..0x1100).filter(|block| !matches!(block >> 8, 4..=13 | 15 | 16) || block % 16 == 0).collect();
    let seen: usize = blocks.par_iter().map(|&block| check(block)).sum();
    assert_eq!(seen, 0x5_0000 - 0x800 + 12 * 16 * 256);
}

#[test]
fn a_part_that_is_not_known_leaves_no_fast_way() {
    let known = whole(true, roberta(true, true), None, json!(specials()));
    assert!(Both::new(&known).ours.fast.is_some());
    for (part, key, value) in [
        ("model", "dropout", json!(0.1)),
        ("pre_tokenizer", "use_regex", json!(false)),
        ("post_processor", "type", json!("RobertaProcessing")),
    ] {
        let mut changed = known.clone();
        changed[part][key] = value;
        assert_eq!(Both::new(&changed).ours.fast.is_some(), part == "post_processor", "{key}");
    }
    let mut changed = known.clone();
    changed["normalizer"] = json!({"type": "NFC"});
    assert!(Both::new(&changed).ours.fast.is_none());
    changed = known.clone();
    changed["post_processor"] = json!({"type": "Sequence", "processors": [template(), bytes(true, true)]});
    assert!(Both::new(&changed).ours.fast.is_none(), "what trims after the template");
}

//! Byte-level BPE against the `tokenizers` crate.

use proptest::prelude::*;
use rayon::prelude::*;
use serde_json::{Value, json};

use super::Words;
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

/// A tokenizer that splits digits off before all else.
fn digits(first: Value, post: Value) -> Value {
    let mut kind = whole(false, post, None, json!(specials()));
    let bytes = kind["pre_tokenizer"].take();
    kind["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [first, bytes]});
    kind
}

fn numbers(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}

fn numeric(each: bool) -> Value {
    json!({"type": "Digits", "individual_digits": each})
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
    kinds.push(digits(numbers(r"\p{N}"), bytes(false, true)));
    kinds.push(digits(numeric(true), bytes(true, false)));
    kinds.iter().map(Both::new).collect()
}

/// Models that do what the merges here do not, and whether there are such merges for other words.
fn strange() -> Vec<(Value, bool)> {
    let vocab = || model()["vocab"].as_object().unwrap().clone();
    let tokens = || vocab().keys().cloned().collect::<Vec<String>>();
    let add = |vocab: &mut serde_json::Map<String, Value>, token: String| {
        let id = vocab.len() + 10;
        vocab.entry(token).or_insert(json!(id));
    };
    let mut kinds = Vec::new();
    // Where every piece but the first of a word has another form.
    let (mut changed, mut forms) = (model(), vocab());
    tokens().into_iter().for_each(|token| add(&mut forms, format!("##{token}")));
    let merges = changed["merges"].as_array().unwrap().iter();
    let merges = merges.flat_map(|pair| {
        let [left, right] = [0, 1].map(|side| pair[side].as_str().unwrap());
        [json!([left, format!("##{right}")]), json!([format!("##{left}"), format!("##{right}")])]
    });
    changed["merges"] = merges.collect();
    changed["continuing_subword_prefix"] = json!("##");
    changed["vocab"] = Value::Object(forms);
    kinds.push((changed, false));
    // And where the last has.
    let (mut changed, mut forms) = (model(), vocab());
    tokens().into_iter().for_each(|token| add(&mut forms, format!("{token}</w>")));
    let mut merges = changed["merges"].as_array().unwrap().clone();
    merges.extend(changed["merges"].as_array().unwrap().iter().map(|pair| {
        let [left, right] = [0, 1].map(|side| pair[side].as_str().unwrap());
        json!([left, format!("{right}</w>")])
    }));
    changed["merges"] = json!(merges);
    changed["end_of_word_suffix"] = json!("</w>");
    changed["vocab"] = Value::Object(forms);
    kinds.push((changed, false));
    // The byte that has no token has one for each byte of its letter.
    let (mut changed, mut forms) = (model(), vocab());
    ["<0xC3>", "<0x83>"].iter().for_each(|token| add(&mut forms, token.to_string()));
    changed["byte_fallback"] = json!(true);
    changed["vocab"] = Value::Object(forms);
    kinds.push((changed, true));
    // Two tokens with one id.
    let mut changed = model();
    changed["vocab"]["xyz"] = changed["vocab"]["ABC"].clone();
    kinds.push((changed, false));
    // What stands for the unknown merges with what stands beside it, and merges that come twice.
    let (mut changed, mut forms) = (model(), vocab());
    ["<unk>t", "a<unk>"].iter().for_each(|token| add(&mut forms, token.to_string()));
    let mut merges = changed["merges"].as_array().unwrap().clone();
    merges.insert(0, json!(["<unk>", "t"]));
    merges.push(json!(["a", "<unk>"]));
    merges.extend(merges[..5].to_vec());
    changed["merges"] = json!(merges);
    changed["unk_token"] = json!("<unk>");
    changed["vocab"] = Value::Object(forms);
    kinds.push((changed, true));
    kinds
}

/// Long words and short ones of the letters that the merges know, and of some that they do not.
fn words() -> impl Strategy<Value = String> {
    let parts: &[&str] =
        &["the", "under", "stand", "abc", "xyz", "ABC", "aaa", "é", "中", "国", "а", "12", "...", " "];
    let part = (prop::sample::select(parts), 1..40usize).prop_map(|(part, times)| part.repeat(times));
    prop::collection::vec(prop_oneof![3 => spaced(), 1 => part], 0..6).prop_map(|parts| parts.concat())
}

#[test]
fn models_that_do_more_encode_as_in_the_crate() {
    let mut kinds = Vec::new();
    for (model, known) in strange() {
        for prefix in [false, true] {
            let mut kind = whole(prefix, roberta(prefix, true), None, json!(specials()));
            kind["model"] = model.clone();
            let both = Both::new(&kind);
            let Words::Bytes(words) = &both.ours.fast.as_ref().unwrap().words else {
                unreachable!("not BPE")
            };
            assert_eq!(words.merges.is_some(), known, "{}", model["end_of_word_suffix"]);
            kinds.push(both);
        }
    }
    let [slow, fast] = random_texts(&kinds, words, 5..40, 250);
    assert!(fast > slow && slow > 100, "{fast} texts fast, {slow} through the crate");
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
        "<s>",
        "</s>",
        "under",
        "\u{85}",
        "x\u{ad}",
    ];
    prop::collection::vec(prop::sample::select(parts), 0..20).prop_map(|parts| parts.concat())
}

#[test]
fn random_texts_encode_as_in_the_crate() {
    let kinds = kinds();
    let [slow, fast] = random_texts(&kinds, || prop_oneof![text(), spaced(), words()], 5..40, 250);
    assert!(fast > slow && slow > 500, "{fast} texts fast, {slow} through the crate");
}

/// Every scalar value between letters, digits and marks, and after spaces.
#[test]
fn every_character_does_what_it_does_in_the_crate() {
    let kinds = [
        whole(true, roberta(true, true), None, json!([])),
        digits(numbers(r"\p{N}"), Value::Null),
        digits(numeric(true), bytes(false, true)),
    ];
    let kinds = kinds.map(|kind| Both::new(&kind));
    let check = |block: u32| {
        let block: Vec<char> = (block * 256..(block + 1) * 256).filter_map(char::from_u32).collect();
        let text: String =
            block.iter().flat_map(|&char| ['a', char, '1', char, '!', char, ' ', char]).collect();
        // Those that split digits off differ where there are some.
        let kinds = if block.iter().any(|char| char.is_numeric()) { &kinds[..] } else { &kinds[..1] };
        for both in kinds {
            assert!(both.compare(Input { text: &text, pair: None }, None).unwrap());
        }
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
    let parts = json!([numbers(r"\p{N}"), bytes(true, true)]);
    for (first, fast) in [
        (numbers(r"\p{N}"), true),
        (numbers(r"\p{N}+"), false),
        (numeric(true), true),
        (numeric(false), false),
        (bytes(false, true), false),
    ] {
        assert_eq!(Both::new(&digits(first.clone(), Value::Null)).ours.fast.is_some(), fast, "{first}");
    }
    let mut changed = known.clone();
    changed["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": parts});
    assert!(Both::new(&changed).ours.fast.is_none(), "a space before each part");
    changed = known.clone();
    changed["normalizer"] = json!({"type": "NFC"});
    assert!(Both::new(&changed).ours.fast.is_none());
    changed = known.clone();
    changed["post_processor"] = json!({"type": "Sequence", "processors": [template(), bytes(true, true)]});
    assert!(Both::new(&changed).ours.fast.is_none(), "what trims after the template");
}

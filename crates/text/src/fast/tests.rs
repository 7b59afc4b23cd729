//! The fast way against the `tokenizers` crate. The crate's answer is put together here from the crate's own parts;
//! nothing of this crate's code between a text and an encoding is in it.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rayon::prelude::*;
use serde_json::{Value, json};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::utils::truncation::{TruncationParams, truncate_encodings};
use tokenizers::{NormalizedString, Normalizer, PostProcessor};

use super::Words;
use super::chars::Made;
use crate::{Encoding, Input, Origin, Tokenizer};

/// clean_text, handle_chinese_chars, strip_accents, lowercase: uncased and cased BERT, and each setting that
/// `tokenizer_config.json` can turn.
const FLAGS: [(bool, bool, Option<bool>, bool); 7] = [
    (true, true, None, true),
    (true, true, None, false),
    (true, true, Some(false), true),
    (true, true, Some(true), false),
    (true, false, None, true),
    (false, true, None, true),
    (false, false, None, false),
];

fn normalizer((clean, chinese, strip, lowercase): (bool, bool, Option<bool>, bool)) -> BertNormalizer {
    BertNormalizer::new(clean, chinese, strip, lowercase)
}

/// A tokenizer as ours and as the crate's.
pub(super) struct Both {
    pub ours: Tokenizer,
    /// With its post-processor, without truncation and padding.
    pub crates: tokenizers::Tokenizer,
    /// Without post-processor too.
    bare: tokenizers::Tokenizer,
}

impl Both {
    pub fn new(json: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, json.to_string()).unwrap();
        let ours = Tokenizer::from_file(&path).unwrap();
        let mut crates = tokenizers::Tokenizer::from_file(&path).unwrap();
        crates.with_truncation(None).unwrap();
        crates.with_padding(None);
        let mut bare = crates.clone();
        bare.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        Self { ours, crates, bare }
    }

    fn reference(&self, input: Input<'_>, max_tokens: Option<usize>) -> Encoding {
        let first = self.bare.encode(input.text, false).unwrap();
        let pair = input.pair.map(|pair| {
            let mut pair = self.bare.encode(pair, false).unwrap();
            // As the crate's own way for pairs does.
            pair.set_type_ids(vec![1; pair.len()]);
            pair
        });
        let all = first.len() + pair.as_ref().map_or(0, tokenizers::Encoding::len);
        let post = self.crates.get_post_processor();
        let added = post.map_or(0, |post| post.added_tokens(pair.is_some()));
        let (first, pair) = match max_tokens {
            None => (first, pair),
            Some(most) => {
                let params = TruncationParams { max_length: most - added, ..TruncationParams::default() };
                truncate_encodings(first, pair, &params).unwrap()
            }
        };
        let whole = self.crates.post_process(first, pair, true).unwrap();
        let mut origins: Vec<Origin> = (0..whole.len())
            .map(|at| {
                let (start, end) = whole.get_offsets()[at];
                let text = whole.get_sequence_ids()[at].map(|text| text as u8);
                let kind = whole.get_type_ids()[at] as u16;
                Origin::new((start as u32, end as u32), whole.get_word_ids()[at], kind, text)
            })
            .collect();
        for (origin, special) in origins.iter_mut().zip(whole.get_special_tokens_mask()) {
            origin.special = *special == 1;
        }
        let mut encoding = Encoding {
            pixels: Vec::new(),
            chars: Vec::new(),
            ids: whole.get_ids().to_vec(),
            origins,
            cut: all + added - whole.len(),
        };
        if self.ours.spaced {
            crate::encode::whole_characters(&mut encoding, input);
        }
        encoding
    }

    /// Where ours differs from the crate's, if it does; true if the text went the fast way.
    pub fn compare(&self, input: Input<'_>, max_tokens: Option<usize>) -> Result<bool, String> {
        let got = self.ours.encode(input.text, input.pair, max_tokens).map_err(|error| error.to_string())?;
        differs(&got, &self.reference(input, max_tokens))
            .map_or(Ok(()), |field| Err(format!("{field} of {input:?} within {max_tokens:?}: {got:?}")))?;
        let fast = self.ours.fast.as_ref().unwrap();
        let mut work = fast.take();
        let went = fast.encode(&self.ours.inner, input, max_tokens, &mut work).is_some();
        fast.put_back(work);
        Ok(went)
    }
}

/// So many cases, the same each time, unless `PROPTEST_CASES` asks for so many new ones.
pub(super) fn config(cases: u32, seed: u64) -> ProptestConfig {
    let asked = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => asked,
        None => ProptestConfig { cases, rng_seed: RngSeed::Fixed(seed), ..asked },
    }
}

/// Random texts and pairs of them, whole and cut, through each tokenizer: how many of the texts went through the
/// crate, and how many the fast way.
pub(super) fn random_texts<S: Strategy<Value = String>>(
    kinds: &[Both],
    text: impl Fn() -> S + Sync,
    most: std::ops::Range<usize>,
    cases: u32,
) -> [usize; 2] {
    let went = std::sync::Mutex::new([0; 2]);
    kinds.par_iter().enumerate().for_each(|(kind, both)| {
        proptest!(config(cases, kind as u64), |(text in text(), pair in text(), most in most.clone())| {
            let pair = Input { text: &text, pair: Some(&pair) };
            for (input, most) in [
                (Input { text: &text, pair: None }, None),
                (Input { text: &text, pair: None }, Some(most)),
                (pair, None),
                (pair, Some(most)),
            ] {
                let fast = both.compare(input, most).map_err(TestCaseError::fail)?;
                went.lock().unwrap()[usize::from(fast)] += 1;
            }
        });
    });
    let went = went.into_inner().unwrap();
    assert_eq!(went.iter().sum::<usize>(), kinds.len() * config(cases, 0).cases as usize * 4);
    went
}

/// The first field in which two encodings differ.
fn differs(got: &Encoding, expected: &Encoding) -> Option<&'static str> {
    let origins =
        |same: fn(&Origin) -> (u64, u64)| got.origins.iter().map(same).eq(expected.origins.iter().map(same));
    [
        ("ids", got.ids == expected.ids),
        ("type ids", origins(|origin| (origin.type_id().into(), 0))),
        ("offsets", origins(|origin| (origin.start.into(), origin.end.into()))),
        ("special", origins(|origin| (origin.special.into(), 0))),
        ("words", origins(|origin| (origin.word().map_or(u64::MAX, u64::from), 0))),
        ("sequences", origins(|origin| (origin.sequence().map_or(u64::MAX, u64::from), 0))),
        ("cut", got.cut == expected.cut),
    ]
    .into_iter()
    .find_map(|(field, same)| (!same).then_some(field))
}

#[test]
fn a_difference_in_any_field_is_seen() {
    let both = Both::new(&bert(FLAGS[0], "##", 100, json!([]), template()));
    let expected = both.reference(Input { text: "ab c", pair: Some("b") }, Some(6));
    assert_eq!(expected.cut, 0);
    assert_eq!(differs(&expected, &expected), None);
    type Change = (&'static str, fn(&mut Encoding));
    fn of(encoding: &mut Encoding, type_id: u16, word: Option<u32>, sequence: Option<u8>) {
        let origin = &mut encoding.origins[1];
        *origin = Origin::new((origin.start, origin.end), word, type_id, sequence);
    }
    let changes: [Change; 7] = [
        ("ids", |encoding| encoding.ids[1] += 1),
        ("type ids", |encoding| of(encoding, 1, Some(0), Some(0))),
        ("offsets", |encoding| encoding.origins[1].end += 1),
        ("special", |encoding| encoding.origins[1].special = true),
        ("words", |encoding| of(encoding, 0, None, Some(0))),
        ("sequences", |encoding| of(encoding, 0, Some(0), None)),
        ("cut", |encoding| encoding.cut += 1),
    ];
    for (field, change) in changes {
        let mut got = expected.clone();
        change(&mut got);
        assert_eq!(differs(&got, &expected), Some(field));
    }
}

/// Pieces for the words of these tests: every character here alone and inside a word, and some longer ones.
fn vocab(prefix: &str) -> Value {
    let mut tokens: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from).into();
    let letters = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEßéüаяжσςαω中国ひカㄱ\u{1100}\u{1161}\u{11a8}กนา\
                   हिन\u{94d}د\u{64e}א\u{5b0}\u{307}\u{301}\u{302e}𝒳🙂👩\u{200d}\u{fe0f}.,'-_[]!?£\u{2014}";
    for letter in letters.chars() {
        tokens.push(letter.to_string());
        tokens.push(format!("{prefix}{letter}"));
    }
    for word in ["the", "under", "stand", "able", "ing", "ab", "abc", "de", "aя", "éa", "e中", "un"] {
        tokens.push(word.to_string());
        tokens.push(format!("{prefix}{word}"));
    }
    let mut vocab = serde_json::Map::new();
    for token in tokens {
        let id = vocab.len();
        vocab.entry(token).or_insert(json!(id));
    }
    Value::Object(vocab)
}

fn template() -> Value {
    let piece = |token: &str, kind: u32| json!({"SpecialToken": {"id": token, "type_id": kind}});
    let text = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
    json!({
        "type": "TemplateProcessing",
        "single": [piece("[CLS]", 0), text("A", 0), piece("[SEP]", 0)],
        "pair": [piece("[CLS]", 0), text("A", 0), piece("[SEP]", 0), text("B", 1), piece("[SEP]", 1)],
        "special_tokens": {
            "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
            "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]},
        },
    })
}

fn bert(
    (clean, chinese, strip, lowercase): (bool, bool, Option<bool>, bool),
    prefix: &str,
    longest: usize,
    added: Value,
    post: Value,
) -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese,
            "strip_accents": strip, "lowercase": lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": post,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": prefix,
            "max_input_chars_per_word": longest, "vocab": vocab(prefix),
        },
    })
}

pub(super) fn added(content: &str, id: u32, [single_word, lstrip, rstrip, normalized]: [bool; 4]) -> Value {
    json!({
        "id": id, "content": content, "single_word": single_word, "lstrip": lstrip, "rstrip": rstrip,
        "normalized": normalized, "special": !normalized,
    })
}

fn specials() -> Vec<Value> {
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .iter()
        .zip(0..)
        .map(|(token, id)| added(token, id, [false; 4]))
        .collect()
}

/// Special tokens as BERT has them; with flags; ordinary words that are looked for in the normalized text.
fn added_sets() -> [Value; 4] {
    let mut flags = specials();
    flags[4] = added("[MASK]", 4, [false, true, false, false]);
    flags.push(added("und", 1000, [true, false, false, false]));
    flags.push(added("é", 1001, [false, false, true, false]));
    let mut normal = specials();
    normal.push(added("Under", 1000, [false, false, false, true]));
    normal.push(added("a 中", 1001, [true, true, true, true]));
    normal.push(added("Éa", 1002, [false, false, false, true]));
    [json!(specials()), json!(flags), json!(normal), json!([])]
}

/// Every scalar value between letters and alone: the same text after normalizing, and the same words at the same
/// places. The planes that have nothing but unassigned and private characters are gone through whole with and
/// without cleaning; in the other settings, which do not tell them apart, one block in 16 of them is.
#[test]
fn every_character_does_what_it_does_in_the_crate() {
    let mut seen = 0;
    for flags in FLAGS {
        let both = Both::new(&bert(flags, "##", 100, json!([]), template()));
        let normalizer = normalizer(flags);
        let Words::Bert(words) = &both.ours.fast.as_ref().unwrap().words else { panic!("not BERT's") };
        let chars = words.chars();
        let whole = flags == FLAGS[0] || flags == FLAGS[6];
        let blocks = (0..0x1100u32).filter(|block| {
            let empty = matches!(block >> 8, 4..=13 | 15 | 16);
            whole || !empty || block % 16 == 0
        });
        let blocks: Vec<u32> = blocks.collect();
        let check = |&block: &u32| {
            let block: Vec<char> = (block * 256..(block + 1) * 256).filter_map(char::from_u32).collect();
            let (unsure, sure): (Vec<char>, Vec<char>) =
                block.iter().partition(|&&char| chars.get(char) == Made::Unsure);
            let text: String = sure.iter().flat_map(|&char| ['a', char, 'b', ' ', char, ' ']).collect();
            let mut normalized = String::new();
            assert!(chars.normalize(&text, &mut normalized));
            let mut expected = NormalizedString::from(text.as_str());
            normalizer.normalize(&mut expected).unwrap();
            assert_eq!(normalized, expected.get(), "{flags:?}");
            let fast = both.compare(Input { text: &text, pair: None }, None).unwrap();
            assert!(fast, "{flags:?} {sure:?}");
            for char in &unsure {
                for text in [
                    format!("a{char}b"),
                    format!("{char}"),
                    format!("\u{301}{char}{char}"),
                    format!("x É{char}\u{20dd}\u{301}{char} y"),
                    format!("中{char}\u{316}\u{301}-ệ{char}"),
                    format!("a\u{301}\u{200b}{char}\u{1}\u{316}é\u{2014}{char}中.{char}"),
                    format!("0{char}\u{1d165}{char}\u{1d16d}{char}\u{345}각"),
                ] {
                    assert!(both.compare(Input { text: &text, pair: None }, None).unwrap(), "{text:?}");
                }
            }
            (block.len(), unsure.len())
        };
        let (count, unsure) = blocks.par_iter().map(check).reduce(|| (0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        assert_eq!(count, blocks.len() * 256 - 0x800);
        assert!(!whole || count == 1_112_064);
        let strips = normalizer.strip_accents.unwrap_or(normalizer.lowercase);
        assert!(if strips { (1..200).contains(&unsure) } else { unsure == 0 }, "{unsure} in {flags:?}");
        seen += count;
    }
    assert_eq!(seen, 2 * 1_112_064 + 5 * (0x5_0000 - 0x800 + 12 * 16 * 256));
}

/// Pieces of texts that have something to do with how BERT splits them.
fn fragment() -> impl Strategy<Value = String> {
    let parts = |parts: &'static [&'static str]| prop::sample::select(parts).prop_map(String::from);
    prop_oneof![
        6 => parts(&["the", "The", "under", "UNDER", "understandable", "standing", "abc", "ABCDE", "unable", "xyz", "und"]),
        4 => parts(&[" ", " ", "  ", "\t", "\n", "\r\n", "\u{a0}", "\u{3000}", "\u{2028}", "\u{85}", "\u{b}", "\u{1680}"]),
        3 => parts(&[".", ",", "'", "-", "_", "[", "]", "!?", "...", "£", "$", "\u{2014}", "\u{bf}", "#", "##", "@@"]),
        2 => parts(&["é", "É", "e\u{301}", "ü", "ß", "İ", "ﬁ", "Å", "ệ", "Σ", "ς", "ǆ", "Ⅷ", "ﷺ", "ẞ"]),
        2 => parts(&["\u{301}", "\u{316}", "\u{345}", "\u{344}", "\u{f73}", "\u{5b0}", "\u{64e}", "\u{94d}", "\u{302e}", "\u{1d165}", "𝅗𝅥", "\u{1e944}", "\u{20dd}"]),
        2 => parts(&["中", "国", "中国", "ひ", "カ", "が", "か\u{3099}", "가", "각", "ㄱ", "\u{1100}\u{1161}", "豈", "丽", "\u{2b740}", "𠀀"]),
        2 => parts(&["а", "Я", "й", "ж", "σ", "Ω", "हिन्दी", "न", "د", "دَ", "א", "กนา", "ำ"]),
        2 => parts(&["🙂", "👩\u{200d}👩\u{200d}👧", "❤\u{fe0f}", "🇩🇪", "𝒳", "\u{1f3fd}"]),
        2 => parts(&["\0", "\u{1}", "\u{7f}", "\u{ad}", "\u{200b}", "\u{200e}", "\u{feff}", "\u{fffd}", "\u{e000}", "\u{378}", "\u{10ffff}"]),
        1 => parts(&["[CLS]", "[SEP]", " [MASK] ", "[MASK", "[mask]", "a 中", "A 中 ", "É a", "éa", "ÉA", "e\u{301}a"]),
        2 => any::<char>().prop_map(String::from),
        1 => "[a-eA-E]{1,12}",
        1 => ("[a-zé中.]", 90usize..130).prop_map(|(part, times)| part.repeat(times)),
    ]
}

pub(super) fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(fragment(), 0..14).prop_map(|parts| parts.concat())
}

#[test]
fn random_texts_encode_as_in_the_crate() {
    let bert_post = json!({"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]});
    let sequence = json!({"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true}, template(),
    ]});
    let mut kinds = Vec::new();
    for (index, flags) in FLAGS.into_iter().enumerate() {
        let [plain, with_flags, normal, none] = added_sets();
        let (prefix, longest) = [("##", 100), ("##", 5), ("", 100), ("@@", 8)][index % 4];
        kinds.push(bert(flags, prefix, longest, plain, template()));
        kinds.push(bert(flags, "##", 100, with_flags, [&bert_post, &sequence][index % 2].clone()));
        kinds.push(bert(flags, "##", 100, normal, Value::Null));
        kinds.push(bert(flags, prefix, longest, none, [&template(), &Value::Null][index % 2].clone()));
    }
    let kinds: Vec<Both> = kinds.iter().map(Both::new).collect();
    let [slow, fast] = random_texts(&kinds, text, 4..40, 300);
    assert!(fast > slow && slow > 1000, "{fast} texts fast, {slow} through the crate");
}

#[test]
fn added_tokens_whose_neighbours_matter_go_through_the_crate() {
    for (set, text, expected) in [
        (0, "the [MASK] stands", true),
        (0, "[CLS][MASK]the[SEP] \u{301}[MASK]\u{200b}[SEP]", true),
        (1, "the [CLS] stands", true),
        (1, "the [MASK] stands", false),
        (0, "the [mask] stands", true),
        (0, "the [ MASK ] stands", true),
        (1, "thunder", false),
        (1, "thUnder", true),
        (2, "thunder", false),
        (2, "thUNDER", false),
        (2, "th[under", false),
        (2, "e\u{301}A", false),
        (2, "a 中", false),
        (2, "a中", true),
        (3, "[CLS]", true),
    ] {
        let both = Both::new(&bert(FLAGS[0], "##", 100, added_sets()[set].clone(), template()));
        assert_eq!(both.compare(Input { text, pair: None }, None), Ok(expected), "{text:?} with set {set}");
    }
}

#[test]
fn a_part_that_is_not_known_leaves_no_fast_way() {
    let known = bert(FLAGS[0], "##", 100, json!([]), template());
    assert!(Both::new(&known).ours.fast.is_some());
    for (key, value) in [
        ("normalizer", json!({"type": "Lowercase"})),
        ("normalizer", Value::Null),
        ("pre_tokenizer", json!({"type": "Whitespace"})),
        ("pre_tokenizer", Value::Null),
        ("post_processor", json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true})),
    ] {
        let mut changed = known.clone();
        changed[key] = value;
        assert!(Both::new(&changed).ours.fast.is_none(), "{key}");
    }
    // Without a token for unknown words the crate has an error to tell.
    let mut changed = known.clone();
    changed["model"]["unk_token"] = json!("<none>");
    let both = Both::new(&changed);
    assert!(both.ours.fast.is_none());
    assert!(both.ours.encode("\u{e9}\u{3b1}qqq\u{2603}", None, None).is_err());
}

#[test]
fn no_room_beside_the_special_tokens_is_an_error() {
    let both = Both::new(&bert(FLAGS[0], "##", 100, json!([]), template()));
    for (pair, most, expected) in
        [(None, 2, false), (None, 3, true), (Some("b"), 3, false), (Some("b"), 4, true)]
    {
        assert_eq!(both.ours.encode("a", pair, Some(most)).is_ok(), expected, "{pair:?} within {most}");
    }
}

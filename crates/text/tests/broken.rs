//! Tokenizer files that are broken or hostile: an error that names the file and the place, never a panic.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use topwork_text::{Error, Tokenizer};

fn fixture(name: &str) -> Vec<u8> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tokenizers-in");
    std::fs::read(folder.join(name)).unwrap()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(class: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("tokenizer_config.json", format!("{{\"tokenizer_class\": {class:?}}}").as_bytes());
        folder
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.path().join(name), bytes).unwrap();
    }

    fn read(&self) -> topwork_text::Result<Tokenizer> {
        Tokenizer::from_folder(self.0.path())
    }

    fn error(&self) -> String {
        self.read().unwrap_err().to_string()
    }
}

/// Texts that reach every table.
const TEXTS: [&str; 4] = ["the old tree", "Ａ½①ﬁ e\u{301}\u{1}中\u{200b}x", "", "🙂 а\u{3000}б "];

#[test]
fn a_model_cut_short_is_an_error_or_a_smaller_model() {
    let bytes = fixture("fairseq.model");
    let folder = Folder::new("XLMRobertaTokenizer");
    let (mut errors, mut seen) = (0, 0);
    // Each place is tried beside the reader itself.
    for length in (0..bytes.len()).step_by(41) {
        seen += 1;
        folder.write("sentencepiece.bpe.model", &bytes[..length]);
        match folder.read() {
            Ok(tokenizer) => {
                for text in TEXTS {
                    tokenizer.encode(text, None, None).unwrap();
                }
            }
            Err(error) => {
                errors += 1;
                assert!(matches!(error, Error::Broken { .. }), "{error}");
                assert!(error.to_string().contains("sentencepiece.bpe.model byte "), "{error}");
            }
        }
    }
    // Only an end between two fields of the file is no error.
    assert!(errors * 10 > seen * 9, "{errors} of {seen}");
}

#[test]
fn flipped_bytes_of_a_model_never_panic() {
    let models = [("fairseq.model", "XLMRobertaTokenizer"), ("llama.model", "LlamaTokenizer")];
    let files = models.map(|(name, class)| (fixture(name), Folder::new(class)));
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(which in 0usize..2, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6))| {
        let (bytes, folder) = &files[which];
        let mut bytes = bytes.clone();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        folder.write("tokenizer.model", &bytes);
        match folder.read() {
            Ok(tokenizer) => for text in TEXTS {
                let _ = tokenizer.encode(text, None, None);
            },
            Err(error) => prop_assert!(error.to_string().contains("tokenizer.model"), "{}", error),
        }
    });
}

#[test]
fn a_table_of_replacements_that_leads_outside_is_refused() {
    let folder = Folder::new("XLMRobertaTokenizer");
    let bytes = fixture("fairseq.model");
    // The table is what has the most bytes above 127 in a row: its place is found by its size, 3,724 bytes.
    let field = [0x12u8, 0x8c, 0x1d];
    let at = bytes.windows(3).position(|window| window == field).unwrap() + 3;
    let size = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert!(size > 1000 && size < 3724);
    for (from, value) in [(at, u32::MAX), (at, 0), (at, 1028), (at + 4, 0x7fff_fdff), (at, size - 1)] {
        let mut broken = bytes.clone();
        broken[from..from + 4].copy_from_slice(&value.to_le_bytes());
        folder.write("spiece.model", &broken);
        let error = folder.error();
        assert!(error.contains("spiece.model byte") && error.contains("table of replacements"), "{error}");
    }
    // The same inside a tokenizer.json.
    folder.write("spiece.model", &bytes);
    let saved = tempfile::tempdir().unwrap();
    folder.read().unwrap().save(saved.path()).unwrap();
    let path = saved.path().join("tokenizer.json");
    let json = std::fs::read_to_string(&path).unwrap();
    let start = json.find("precompiled_charsmap\":\"").unwrap() + 23;
    let broken = format!("{}/////w{}", &json[..start], &json[start + 6..]);
    std::fs::write(&path, broken).unwrap();
    let error = Tokenizer::from_folder(saved.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json") && error.contains("table of replacements"), "{error}");
}

#[test]
fn merges_and_vocabularies_that_do_not_fit_are_named_by_line_or_token() {
    let vocab = fixture("gpt2.vocab.json");
    let merges = String::from_utf8(fixture("gpt2.merges.txt")).unwrap();
    let check = |vocab: &[u8], merges: &[u8], parts: &[&str]| {
        let folder = Folder::new("GPT2Tokenizer");
        folder.write("vocab.json", vocab);
        folder.write("merges.txt", merges);
        let error = folder.error();
        for part in parts {
            assert!(error.contains(part), "{error}, not {part}");
        }
    };
    let added = |line: &str| format!("{merges}{line}\n").into_bytes();
    let line = format!("line {}", merges.lines().count() + 1);
    check(&vocab, &added("t nowhere"), &["merges.txt", &line, "\"nowhere\""]);
    check(&vocab, &added("alone"), &["merges.txt", &line, "two tokens"]);
    check(&vocab, &added("a b c"), &["merges.txt", &line, "two tokens"]);
    check(&vocab, &[&added("")[..], b"\xff\xfe"].concat(), &["merges.txt", "UTF-8", "line"]);
    check(&vocab, &vec![b'a'; 100 << 20], &["merges.txt", "line 1", "at most"]);
    check(b"", merges.as_bytes(), &["vocab.json", "EOF"]);
    check(b"{}", merges.as_bytes(), &["vocab.json", "got none"]);
    check(b"[1]", merges.as_bytes(), &["vocab.json"]);
    check(br#"{"a": 0, "b": 0}"#, b"", &["vocab.json", "id 0 is already that of \"a\""]);
    check(br#"{"a": -1}"#, b"", &["vocab.json", "token \"a\"", "-1"]);
    check(br#"{"a": 99999999999}"#, b"", &["vocab.json", "token \"a\""]);
    check(b"{\"\xff\": 1}", b"", &["vocab.json"]);
    // Ids may be left out; it is said.
    let folder = Folder::new("GPT2Tokenizer");
    folder.write("vocab.json", br#"{"a": 0, "b": 7, "ab": 9, "<|endoftext|>": 2}"#);
    folder.write("merges.txt", b"#version: 0.2\na b\n");
    let tokenizer = folder.read().unwrap();
    assert_eq!(tokenizer.encode("ab", None, None).unwrap().ids, [9]);
    assert_eq!(tokenizer.id_limit(), 10);
    assert!(
        tokenizer.notes()[0].contains("6 ids below 10 have no token, the first is 1"),
        "{:?}",
        tokenizer.notes()
    );
}

#[test]
fn a_word_piece_vocabulary_is_named_by_line() {
    let folder = Folder::new("BertTokenizer");
    let special = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    let mut long = special.as_bytes().to_vec();
    long.resize(100 << 20, b'x');
    for (bytes, parts) in [
        (format!("{special}a\nb\na\n").into_bytes(), ["line 8", "line 6"]),
        ([special.as_bytes(), b"a\n\xff\n"].concat(), ["line 7", "UTF-8"]),
        (Vec::new(), ["line 1", "[UNK]"]),
        (long, ["line 6", "at most"]),
    ] {
        folder.write("vocab.txt", &bytes);
        let error = folder.error();
        assert!(error.contains("vocab.txt") && parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn a_folder_must_say_what_its_files_are() {
    let folder = Folder::new("NobodysTokenizer");
    folder.write("spiece.model", &fixture("albert.model"));
    let error = folder.error();
    assert!(error.contains("NobodysTokenizer") && error.contains("tokenizer_class"), "{error}");
    folder.write("config.json", br#"{"model_type": "albert"}"#);
    assert_eq!(folder.read().unwrap().added_tokens(true), 3);
    // A class that is made from other files.
    folder.write("config.json", br#"{"model_type": "gpt2"}"#);
    let error = folder.error();
    assert!(error.contains("GPT2Tokenizer") && error.contains("spiece.model"), "{error}");
    // Marian's model without its numbers, and with those of another.
    let folder = Folder::new("MarianTokenizer");
    folder.write("source.spm", &fixture("marian.source.model"));
    assert!(matches!(folder.read(), Err(Error::NoTokenizer { .. })));
    folder.write("vocab.json", br#"{"</s>": 0, "a": 1}"#);
    assert!(folder.error().contains("<unk>"));
    // A frame whose token is not there.
    let folder = Folder::new("MBartTokenizer");
    folder.write("tokenizer_config.json", br#"{"tokenizer_class": "MBartTokenizer", "src_lang": "xx_XX"}"#);
    folder.write("sentencepiece.bpe.model", &fixture("fairseq.model"));
    assert!(folder.error().contains("\"xx_XX\""), "{}", folder.error());
}

/// A `tokenizer.json` of two words with these parts.
fn of_words(parts: serde_json::Value) -> Folder {
    let mut file = serde_json::json!({
        "version": "1.0",
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]"},
    });
    for (key, value) in parts.as_object().unwrap() {
        file[key] = value.clone();
    }
    let folder = Folder::new("PreTrainedTokenizerFast");
    folder.write("tokenizer.json", file.to_string().as_bytes());
    folder
}

#[test]
fn a_template_of_tokens_that_are_not_there_is_refused() {
    let around = |specials: serde_json::Value| {
        of_words(serde_json::json!({"post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": specials,
        }}))
    };
    let ids = |ids: &[u32]| serde_json::json!({"[X]": {"id": "[X]", "ids": ids, "tokens": ["a"]}});
    let tokenizer = around(ids(&[0])).read().unwrap();
    assert_eq!(tokenizer.encode("a b", None, None).unwrap().ids, [0, 0, 1]);
    let error = around(ids(&[77])).error();
    assert!(error.contains("tokenizer.json") && error.contains("post_processor: puts id 77"), "{error}");
    // The crate takes it that they are there.
    let error = around(serde_json::json!({})).error();
    assert!(error.contains("tokenizer.json"), "{error}");
}

#[test]
fn where_the_crate_panics_there_is_an_error() {
    let strip = serde_json::json!({"decoder": {"type": "Strip", "content": "a", "start": 0, "stop": 3}});
    let tokenizer = of_words(strip).read().unwrap();
    let ids = tokenizer.encode("a", None, None).unwrap().ids;
    let error = tokenizer.decode(&ids, false).unwrap_err();
    assert!(matches!(error, Error::Decode { count: 1, .. }), "{error}");
    let short = serde_json::json!({"model": {
        "type": "BPE", "continuing_subword_prefix": "##", "unk_token": null, "vocab": {"a": 0, "b": 1}, "merges": [["a", "b"]],
    }});
    let error = of_words(short).error();
    assert!(error.contains("tokenizer.json") && error.contains("model.merges[0]"), "{error}");
}

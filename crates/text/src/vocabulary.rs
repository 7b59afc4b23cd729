//! `vocab.txt`: a BERT WordPiece vocabulary without a `tokenizer.json`, as the first BERT checkpoints come.
//!
//! The file is turned into the `tokenizer.json` that transformers would make of it, so that there is one way in.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::settings::Settings;
use crate::{Error, Result};

/// The `tokenizer.json` that says the same as `vocab.txt` with its settings.
pub(crate) fn tokenizer_json(path: &Path, bytes: &[u8], settings: &Settings) -> Result<Vec<u8>> {
    let (vocab, ids) = parse(path, bytes)?;
    let role = |role: &str, default: &'static str| -> Result<String> {
        let token = settings.special_token(role)?.unwrap_or(default);
        Ok(token.to_string())
    };
    let unk = role("unk_token", "[UNK]")?;
    let roles = [
        role("pad_token", "[PAD]")?,
        unk.clone(),
        role("cls_token", "[CLS]")?,
        role("sep_token", "[SEP]")?,
        role("mask_token", "[MASK]")?,
    ];
    // A vocabulary without [UNK], [CLS] or [SEP] is not a BERT vocabulary (vocab.txt is also a GloVe file name).
    for needed in [&roles[1], &roles[2], &roles[3]] {
        if !ids.contains_key(needed.as_str()) {
            let problem = format!(
                "the vocabulary ends without the special token {needed:?}: expected one token a line, as BERT has it"
            );
            return Err(Error::Vocabulary { path: path.into(), line: ids.len(), problem });
        }
    }

    let mut added: Vec<(u32, Value)> = Vec::new();
    for token in settings.added()? {
        let mut value = token.value.clone();
        value.insert("id".into(), json!(token.id));
        for key in ["lstrip", "rstrip", "single_word", "normalized"] {
            value.entry(key).or_insert(json!(false));
        }
        value.entry("special").or_insert(json!(true));
        added.push((token.id, Value::Object(value)));
    }
    for token in &roles {
        if let Some(&id) = ids.get(token.as_str())
            && !added.iter().any(|(known, _)| *known == id)
        {
            added.push((id, special(id, token)));
        }
    }
    added.sort_by_key(|(id, _)| *id);
    let added: Vec<Value> = added.into_iter().map(|(_, value)| value).collect();

    let [cls, sep] = [&roles[2], &roles[3]];
    let piece = |token: &str, type_id: u32| json!({"SpecialToken": {"id": token, "type_id": type_id}});
    let text = |name: &str, type_id: u32| json!({"Sequence": {"id": name, "type_id": type_id}});
    let entry = |token: &String| json!({"id": token, "ids": [ids[token.as_str()]], "tokens": [token]});
    let mut specials = Map::new();
    specials.insert(cls.clone(), entry(cls));
    specials.insert(sep.clone(), entry(sep));
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": settings.flag("tokenize_chinese_chars")?.unwrap_or(true),
            "strip_accents": settings.flag("strip_accents")?,
            "lowercase": settings.flag("do_lower_case")?.unwrap_or(true),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [piece(cls, 0), text("A", 0), piece(sep, 0)],
            "pair": [piece(cls, 0), text("A", 0), piece(sep, 0), text("B", 1), piece(sep, 1)],
            "special_tokens": specials,
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece",
            "unk_token": unk,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    });
    serde_json::to_vec(&tokenizer)
        .map_err(|error| Error::Parse { path: path.into(), reason: error.to_string() })
}

fn special(id: u32, content: &str) -> Value {
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true,
    })
}

/// The vocabulary as JSON in file order, and its ids for looking up.
type Parsed<'a> = (Map<String, Value>, HashMap<&'a str, u32>);

/// Token to id in file order; a token that stands twice is an error, since only one of its ids could be used.
fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Parsed<'a>> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
        Error::Vocabulary { path: path.into(), line, problem: format!("expected UTF-8, got {error}") }
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut vocab = Map::new();
    let mut ids = HashMap::new();
    // Only the line feed ends a line: tokens such as U+2028 or U+0085 stand in real vocabularies.
    let text = text.strip_suffix('\n').unwrap_or(text);
    for (index, line) in text.split('\n').enumerate() {
        let token = line.strip_suffix('\r').unwrap_or(line);
        if let Some(first) = ids.insert(token, index as u32) {
            let problem = format!("token {token:?} already stands in line {}", first + 1);
            return Err(Error::Vocabulary { path: path.into(), line: index + 1, problem });
        }
        vocab.insert(token.to_string(), json!(index));
    }
    Ok((vocab, ids))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], line: usize, part: &str) {
        match parse(Path::new("vocab.txt"), bytes)
            .map(|_| ())
            .and_then(|()| tokenizer_json(Path::new("vocab.txt"), bytes, &Settings::default()).map(|_| ()))
        {
            Err(Error::Vocabulary { line: got, problem, .. }) => {
                assert_eq!(got, line, "{problem}");
                assert!(problem.contains(part), "{problem}");
            }
            other => panic!("expected an error at line {line}, got {other:?}"),
        }
    }

    #[test]
    fn a_file_that_is_no_vocabulary_is_refused() {
        check(b"[UNK]\n[CLS]\n[SEP]\na\na\n", 5, "line 4");
        check(b"[UNK]\n[CLS]\n[SEP]\n\xff\n", 4, "UTF-8");
        check(b"the 0.1 0.2\nof 0.3 0.4\n", 2, "[UNK]");
    }

    #[test]
    fn odd_line_ends_and_unicode_separators_are_tokens() {
        let (vocab, ids) = parse(Path::new("v"), "a\r\nb\u{2028}\n\u{85}\n".as_bytes()).unwrap();
        assert_eq!(vocab.len(), 3);
        assert_eq!(ids["b\u{2028}"], 1);
        assert_eq!(ids["\u{85}"], 2);
    }
}

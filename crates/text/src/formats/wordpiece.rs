//! `vocab.txt`: a BERT WordPiece vocabulary without a `tokenizer.json`, as the first BERT checkpoints come.
//!
//! The file is turned into the `tokenizer.json` that transformers would make of it, so that there is one way in.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::class::{Class, Role};
use super::parts::{Parts, bert_normalizer};
use super::{LONGEST, Made, Surroundings, frame, utf8};
use crate::{Error, Result};

/// Splinter's token for a question.
const QUESTION: &str = "[QUESTION]";

/// The `tokenizer.json` that says the same as `vocab.txt` with its settings.
pub(super) fn tokenizer_json(
    class: &Class,
    path: &Path,
    bytes: &[u8],
    around: &Surroundings<'_>,
) -> Result<Made> {
    let settings = around.settings;
    let (vocab, ids) = parse(path, bytes)?;
    let role = |role: &str| -> Result<&str> { Ok(settings.special_token(role)?.unwrap_or_default()) };
    let unk = role("unk_token")?;
    // A vocabulary without [UNK], [CLS] or [SEP] is not a BERT vocabulary (vocab.txt is also a GloVe file name).
    for needed in [unk, role("cls_token")?, role("sep_token")?] {
        if !ids.contains_key(needed) {
            let problem = format!(
                "the vocabulary ends without the special token {needed:?}: expected one token a line, as BERT has it"
            );
            return Err(Error::Vocabulary { path: path.into(), line: ids.len(), problem });
        }
    }
    let model = json!({
        "type": "WordPiece", "unk_token": unk, "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": vocab,
    });
    let ids: HashMap<String, u32> = ids.into_iter().map(|(token, id)| (token.to_string(), id)).collect();
    let size = ids.len();
    let mut parts = Parts::new(path, model, ids, size);
    parts.normalizer = bert_normalizer(
        settings.flag("tokenize_chinese_chars")?.unwrap_or(true),
        settings.flag("strip_accents")?,
        settings.flag("do_lower_case")?.unwrap_or(true),
    );
    parts.pre_tokenizer = json!({"type": "BertPreTokenizer"});
    parts.decoder = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
    // Only tokens that the vocabulary has: a mask that it lacks would be a row that no table has.
    let known = |role: &&Role| -> bool {
        let token = settings.special_token(role.name).ok().flatten();
        settings.special_value(role.name).is_some() || token.is_some_and(|token| parts.id(token).is_some())
    };
    let roles: Vec<Role> = class.roles.iter().filter(known).copied().collect();
    let question = settings.special_token("question_token")?.unwrap_or(QUESTION).to_string();
    let additional = if class.names.contains(&"SplinterTokenizer") { vec![question] } else { Vec::new() };
    parts.add_settings(settings, around.older, &roles, &additional)?;
    frame(&mut parts, class, settings)?;
    Ok(Made { json: parts.finish()?, notes: Vec::new() })
}

/// The vocabulary as JSON in file order, and its ids for looking up.
type Parsed<'a> = (Map<String, Value>, HashMap<&'a str, u32>);

/// Token to id in file order; a token that stands twice is an error, since only one of its ids could be used.
fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Parsed<'a>> {
    let text = utf8(path, bytes)?;
    let mut vocab = Map::new();
    let mut ids = HashMap::new();
    // Only the line feed ends a line: tokens such as U+2028 or U+0085 stand in real vocabularies.
    let text = text.strip_suffix('\n').unwrap_or(text);
    for (index, line) in text.split('\n').enumerate() {
        let token = line.strip_suffix('\r').unwrap_or(line);
        if token.len() > LONGEST {
            let problem = format!("expected a token of at most {LONGEST} bytes, got {}", token.len());
            return Err(Error::Vocabulary { path: path.into(), line: index + 1, problem });
        }
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
    use crate::formats::class;
    use crate::settings::Settings;

    fn check(bytes: &[u8], line: usize, part: &str) {
        let mut settings = Settings::default();
        for role in class::bert().roles {
            settings.suppose(role.name, role.token);
        }
        let around = Surroundings { settings: &settings, older: &[] };
        match tokenizer_json(class::bert(), Path::new("vocab.txt"), bytes, &around) {
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

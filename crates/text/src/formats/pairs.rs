//! `vocab.json` and `merges.txt`: byte-level BPE, and BPE over words that end in `</w>`.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::class::{Build, Bytes, Class};
use super::parts::{Parts, bert_normalizer, byte_level, replace_regex};
use super::{Made, Surroundings, frame};
use crate::{Error, Result};

/// Qwen2's split, as its published `tokenizer.json` has it.
pub(super) const QWEN2_SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Tokens and their ids.
pub(super) type Ids = HashMap<String, u32>;

/// The `tokenizer.json` of the two files.
pub(super) fn tokenizer_json(
    class: &Class,
    [vocab_path, merges_path]: [&Path; 2],
    [vocab, merges]: [&[u8]; 2],
    around: &Surroundings<'_>,
) -> Result<Made> {
    let (ids, notes) = vocabulary(vocab_path, vocab)?;
    let merges = read_merges(merges_path, merges, &ids, class.build)?;
    let settings = around.settings;
    let unk = settings.special_token("unk_token")?;
    let end = match class.build {
        Build::WordEnds { .. } => Some(json!("</w>")),
        Build::Bytes(Bytes::Clip) => Some(json!("</w>")),
        _ => None,
    };
    let unk = match class.build {
        // Bytes leave nothing unknown.
        Build::Bytes(Bytes::Framed | Bytes::Roberta | Bytes::Qwen2) => None,
        _ => unk.filter(|unk| ids.contains_key(*unk)),
    };
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": unk, "continuing_subword_prefix": null,
        "end_of_word_suffix": end, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        "vocab": ids, "merges": merges,
    });
    let size = ids.len();
    let mut parts = Parts::new(vocab_path, model, ids, size);
    let space = settings.flag("add_prefix_space")?.unwrap_or(false);
    parts.decoder = byte_level(true, true, true);
    parts.pre_tokenizer = byte_level(space, true, true);
    let additional: Vec<String> = match class.build {
        Build::WordEnds { lower: false } => (0..10).map(|index| format!("<special{index}>")).collect(),
        _ => Vec::new(),
    };
    parts.add_settings(settings, around.older, class.roles, &additional)?;
    let ends = |parts: &Parts<'_>| -> Result<[Value; 2]> {
        let [cls, sep] = match class.build {
            Build::Bytes(Bytes::Clip) => ["bos_token", "eos_token"],
            _ => ["cls_token", "sep_token"],
        };
        let place = |role: &str| -> Result<Value> {
            let token = settings.special_token(role)?.unwrap_or_default();
            Ok(json!([token, parts.id_of(token)?]))
        };
        Ok([place(cls)?, place(sep)?])
    };
    match class.build {
        Build::Bytes(Bytes::Roberta) => {
            let [cls, sep] = ends(&parts)?;
            parts.post_processor = json!({
                "type": "RobertaProcessing", "sep": sep, "cls": cls, "trim_offsets": true, "add_prefix_space": space,
            });
        }
        Build::Bytes(Bytes::Clip) => {
            let [cls, sep] = ends(&parts)?;
            parts.normalizer = json!({"type": "Sequence", "normalizers": [
                {"type": "NFC"}, replace_regex(r"\s+", " "), {"type": "Lowercase"},
            ]});
            parts.pre_tokenizer = split_then_bytes(
                r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
                ["Removed", "true"],
                byte_level(false, true, true),
            );
            parts.post_processor = json!({
                "type": "RobertaProcessing", "sep": sep, "cls": cls, "trim_offsets": false, "add_prefix_space": false,
            });
        }
        Build::Bytes(Bytes::Qwen2) => {
            parts.normalizer = json!({"type": "NFC"});
            let bytes = byte_level(space, true, false);
            parts.pre_tokenizer = split_then_bytes(QWEN2_SPLIT, ["Isolated", "false"], bytes);
            parts.post_processor = byte_level(true, false, true);
        }
        Build::WordEnds { lower } => {
            let strip = if lower { None } else { Some(false) };
            parts.normalizer = bert_normalizer(true, strip, lower);
            parts.pre_tokenizer = json!({"type": "BertPreTokenizer"});
            parts.decoder = json!({"type": "BPEDecoder", "suffix": "</w>"});
            if !class.frame[0].is_empty() {
                let [cls, sep] = ends(&parts)?;
                parts.post_processor = json!({"type": "BertProcessing", "sep": sep, "cls": cls});
            }
        }
        _ if !class.frame[0].is_empty() => frame(&mut parts, class, settings)?,
        _ if settings.flag("add_bos_token")?.unwrap_or(false) => {
            let bos = settings.special_token("bos_token")?.unwrap_or_default().to_string();
            parts.frame(&format!("{bos} $A"), &format!("{bos} $A $B:1"))?;
        }
        _ => parts.post_processor = byte_level(true, false, true),
    }
    Ok(Made { json: parts.finish()?, notes })
}

/// A split by a regular expression, then bytes as letters.
pub(super) fn split_then_bytes(pattern: &str, [behavior, invert]: [&str; 2], bytes: Value) -> Value {
    let split = json!({
        "type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert == "true",
    });
    json!({"type": "Sequence", "pretokenizers": [split, bytes]})
}

/// Tokens and ids of a `vocab.json`, with a note where ids are left out.
pub(super) fn vocabulary(path: &Path, bytes: &[u8]) -> Result<(Ids, Vec<String>)> {
    let map: Map<String, Value> = serde_json::from_slice(bytes).map_err(|error| Error::Parse {
        path: path.into(),
        reason: format!("expected tokens and ids: {error}"),
    })?;
    let wrong = |token: &str, problem: String| {
        let start: String = token.chars().take(40).collect();
        Error::Entry { path: path.into(), entry: format!("token {start:?}"), problem }
    };
    let mut ids = Ids::with_capacity(map.len());
    let mut owners: HashMap<u32, &str> = HashMap::with_capacity(map.len());
    for (token, value) in &map {
        if token.len() > super::LONGEST {
            return Err(wrong(
                token,
                format!("expected at most {} bytes, got {}", super::LONGEST, token.len()),
            ));
        }
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        let Some(id) = id.filter(|&id| id < i32::MAX as u32) else {
            return Err(wrong(token, format!("expected an id from 0, got {value}")));
        };
        if let Some(first) = owners.insert(id, token) {
            return Err(wrong(token, format!("id {id} is already that of {first:?}")));
        }
        ids.insert(token.clone(), id);
    }
    if ids.is_empty() {
        let reason = "expected tokens and ids, got none".into();
        return Err(Error::Parse { path: path.into(), reason });
    }
    let limit = owners.keys().max().map_or(0, |&id| id as usize + 1);
    let mut notes = Vec::new();
    if limit > ids.len() {
        let first = (0..limit as u32).find(|id| !owners.contains_key(id)).unwrap_or_default();
        notes.push(format!(
            "{}: {} ids below {limit} have no token, the first is {first}",
            path.display(),
            limit - ids.len()
        ));
    }
    Ok((ids, notes))
}

/// The merges, each of two tokens of the vocabulary that make a third one.
fn read_merges(path: &Path, bytes: &[u8], ids: &Ids, build: Build) -> Result<Vec<[String; 2]>> {
    let text = super::utf8(path, bytes)?;
    let mut merges = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        let wrong = |problem| Error::Vocabulary { path: path.into(), line: index + 1, problem };
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.starts_with("#version") && index == 0 || line.is_empty() {
            continue;
        }
        if line.len() > 2 * super::LONGEST {
            return Err(wrong(format!("expected at most {} bytes, got {}", 2 * super::LONGEST, line.len())));
        }
        let Some((left, right)) = line
            .split_once(' ')
            .filter(|(left, right)| !left.is_empty() && !right.is_empty() && !right.contains(' '))
        else {
            let start: String = line.chars().take(40).collect();
            return Err(wrong(format!("expected two tokens and a space between them, got {start:?}")));
        };
        let whole = format!("{left}{right}");
        for token in [left, right, &whole] {
            if !ids.contains_key(token) {
                // The first line of the oldest files is a heading, whatever it says.
                if index == 0 && matches!(build, Build::WordEnds { .. }) {
                    continue;
                }
                return Err(wrong(format!("the vocabulary has no token {token:?}, which this merge needs")));
            }
        }
        merges.push([left.to_string(), right.to_string()]);
    }
    Ok(merges)
}

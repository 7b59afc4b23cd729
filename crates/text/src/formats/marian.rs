//! Marian: a SentencePiece model splits, a `vocab.json` that source and target language share numbers the pieces.

use std::collections::HashMap;
use std::path::Path;

use serde_json::json;

use super::class::Class;
use super::parts::{Parts, Token, metaspace, replace_regex};
use super::proto::{Algorithm, Kind, Model};
use super::{Made, Surroundings, charsmap, frame, pairs};
use crate::{Error, Result};

/// Score of a token that the model for the source language does not know: any way around it is better.
const APART: f64 = -1e6;

/// The `tokenizer.json` of the two files.
pub(super) fn tokenizer_json(
    class: &Class,
    [vocab_path, source_path]: [&Path; 2],
    [vocab, source]: [&[u8]; 2],
    around: &Surroundings<'_>,
) -> Result<Made> {
    let (ids, mut notes) = pairs::vocabulary(vocab_path, vocab)?;
    let model = Model::read(source_path, source)?;
    if model.algorithm != Algorithm::Unigram {
        let problem = "expected a unigram model, as Marian has, got bpe".into();
        return Err(Error::Broken { path: source_path.into(), at: 0, problem });
    }
    let entry = |entry: String, problem: String| Error::Entry { path: vocab_path.into(), entry, problem };
    let limit = ids.values().max().map_or(0, |&id| id as usize + 1);
    if limit != ids.len() {
        let problem = format!("expected ids without gaps, got {} tokens below {limit}", ids.len());
        return Err(entry("ids".into(), problem));
    }
    let settings = around.settings;
    let unk = settings.special_token("unk_token")?.unwrap_or("<unk>");
    let Some(&unk_id) = ids.get(unk) else {
        return Err(entry(
            format!("token {unk:?}"),
            "expected it for what is unknown, but it is not there".into(),
        ));
    };
    let scores: HashMap<&str, f32> = model
        .pieces
        .iter()
        .filter(|piece| matches!(piece.kind, Kind::Normal | Kind::UserDefined))
        .map(|piece| (piece.text.as_str(), piece.score))
        .collect();
    let mut pieces: Vec<(&str, f64)> = vec![("", APART); limit];
    for (token, &id) in &ids {
        let score = scores.get(token.as_str()).map_or(APART, |&score| f64::from(score));
        pieces[id as usize] = (token, score);
    }
    let missing = scores.keys().filter(|piece| !ids.contains_key(**piece)).count();
    if missing > 0 {
        notes.push(format!(
            "{}: {missing} pieces have no id in {}: text is split without them",
            source_path.display(),
            vocab_path.display()
        ));
    }
    let unigram = json!({"type": "Unigram", "unk_id": unk_id, "vocab": pieces, "byte_fallback": false});
    let codes: Vec<String> =
        ids.keys().filter(|token| token.starts_with(">>") && token.ends_with("<<")).cloned().collect();
    let mut parts = Parts::new(vocab_path, unigram, ids, limit);
    for code in codes {
        parts.add(Token::new(code, false));
    }
    parts.add_settings(settings, around.older, class.roles, &[])?;
    let mut steps: Vec<_> = charsmap::normalizer(&model.charsmap)
        .map_err(|problem| Error::Broken { path: source_path.into(), at: 0, problem })?
        .into_iter()
        .collect();
    steps.push(json!({"type": "Strip", "strip_left": false, "strip_right": true}));
    steps.push(replace_regex(" {2,}", "▁"));
    parts.normalizer = json!({"type": "Sequence", "normalizers": steps});
    parts.pre_tokenizer = metaspace("always", true);
    parts.decoder = metaspace("always", true);
    frame(&mut parts, class, settings)?;
    Ok(Made { json: parts.finish()?, notes })
}

//! The tokenizer that a GGUF file holds in its metadata.
//!
//! This crate reads no GGUF: whoever does fills in [`GgufParts`].

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::parts::{
    Parts, Token, bert_normalizer, byte_level, bytes_decoder, metaspace, replace, replace_regex,
};
use super::splits::Split;
use super::{LONGEST, charsmap, scores};
use crate::settings::Settings;
use crate::tokenizer::Source;
use crate::{Error, Result, Tokenizer};

/// What the keys `tokenizer.ggml.*` of a GGUF file say. What is absent there is empty or `None` here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GgufParts {
    /// The file, for messages.
    pub path: PathBuf,
    /// `model`: `gpt2` (byte-level BPE), `llama` (SentencePiece BPE), `bert` (WordPiece) or `t5` (Unigram).
    pub model: String,
    /// `pre`: how byte-level BPE cuts words.
    pub pre: String,
    /// `tokens`: the text of each token.
    pub tokens: Vec<String>,
    /// `scores`: one a token.
    pub scores: Vec<f32>,
    /// `token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; one a token.
    pub token_types: Vec<i32>,
    /// `merges`: two tokens and a space between them.
    pub merges: Vec<String>,
    /// `bos_token_id`; `[CLS]` of BERT, unless `cls` says so.
    pub bos: Option<u32>,
    /// `eos_token_id`.
    pub eos: Option<u32>,
    /// `unknown_token_id`.
    pub unk: Option<u32>,
    /// `padding_token_id`.
    pub pad: Option<u32>,
    /// `cls_token_id`.
    pub cls: Option<u32>,
    /// `seperator_token_id` (spelt so).
    pub sep: Option<u32>,
    /// `mask_token_id`.
    pub mask: Option<u32>,
    /// `add_bos_token`.
    pub add_bos: Option<bool>,
    /// `add_eos_token`.
    pub add_eos: Option<bool>,
    /// `add_space_prefix`.
    pub add_space_prefix: Option<bool>,
    /// `precompiled_charsmap`.
    pub charsmap: Vec<u8>,
}

pub(super) const NORMAL: i32 = 1;
pub(super) const UNKNOWN: i32 = 2;
pub(super) const CONTROL: i32 = 3;
pub(super) const USER: i32 = 4;
pub(super) const BYTE: i32 = 6;

impl Tokenizer {
    /// The tokenizer inside a GGUF file. It does what the `tokenizer.json` of the model did that the file was made of,
    /// as far as the metadata say; a second text is framed as the first.
    ///
    /// # Errors
    /// [`Error::Entry`] names the key and the place in it that is wrong, or the `model` or `pre` that is not read.
    pub fn from_gguf(parts: &GgufParts) -> Result<Self> {
        let tokens = parts.checked()?;
        let mut settings = Settings::default();
        let roles = [
            ("bos_token", parts.bos),
            ("eos_token", parts.eos),
            ("unk_token", parts.unknown()),
            ("pad_token", parts.pad),
            ("cls_token", parts.cls.or_else(|| parts.bos.filter(|_| parts.model == "bert"))),
            ("sep_token", parts.sep.or_else(|| parts.eos.filter(|_| parts.model == "bert"))),
            ("mask_token", parts.mask),
        ];
        for (role, id) in roles {
            if let Some(id) = id {
                let Some(token) = tokens.get(id as usize) else {
                    let problem = format!("expected an id below {}, got {id}", tokens.len());
                    return Err(parts.wrong(role, problem));
                };
                settings.suppose(role, token);
            }
        }
        let (json, notes) = match parts.model.as_str() {
            "gpt2" => parts.bytes(&tokens)?,
            "llama" => parts.pieces(&tokens)?,
            "bert" => parts.word_piece(&tokens, &settings)?,
            "t5" => parts.unigram(&tokens)?,
            other => {
                let problem = format!("expected gpt2, llama, bert or t5, got {other:?}");
                return Err(parts.wrong("model", problem));
            }
        };
        let source = Source { path: parts.path.clone(), json, changed: false, beside: Vec::new() };
        Self::build(source, settings, notes)
    }
}

type Built = (Vec<u8>, Vec<String>);

impl GgufParts {
    fn wrong(&self, key: &str, problem: String) -> Error {
        Error::Entry { path: self.path.clone(), entry: format!("tokenizer.ggml.{key}"), problem }
    }

    fn kind(&self, id: usize) -> i32 {
        self.token_types.get(id).copied().unwrap_or(NORMAL)
    }

    fn unknown(&self) -> Option<u32> {
        let typed = (0..self.tokens.len()).find(|&id| self.kind(id) == UNKNOWN).map(|id| id as u32);
        self.unk.or(typed).or(match self.model.as_str() {
            "llama" => Some(0),
            "bert" => Some(100),
            "t5" => Some(2),
            _ => None,
        })
    }

    /// The tokens, each of them its own: an empty one is named by its place.
    fn checked(&self) -> Result<Vec<String>> {
        if self.tokens.is_empty() || self.tokens.len() > i32::MAX as usize {
            return Err(self.wrong("tokens", format!("expected tokens, got {}", self.tokens.len())));
        }
        for (key, length) in [("scores", self.scores.len()), ("token_type", self.token_types.len())] {
            if length != 0 && length != self.tokens.len() {
                return Err(
                    self.wrong(key, format!("expected one a token, {}, got {length}", self.tokens.len()))
                );
            }
        }
        if let Some(id) = self.scores.iter().position(|score| !score.is_finite()) {
            return Err(
                self.wrong(&format!("scores[{id}]"), format!("expected a number, got {}", self.scores[id]))
            );
        }
        if self.scores.is_empty() && matches!(self.model.as_str(), "llama" | "t5") {
            return Err(
                self.wrong("scores", format!("model {:?} needs them, but there are none", self.model))
            );
        }
        let mut seen = HashMap::with_capacity(self.tokens.len());
        let mut tokens = Vec::with_capacity(self.tokens.len());
        for (id, token) in self.tokens.iter().enumerate() {
            if token.len() > LONGEST {
                let problem = format!("expected at most {LONGEST} bytes, got {}", token.len());
                return Err(self.wrong(&format!("tokens[{id}]"), problem));
            }
            let token = if token.is_empty() { format!("[EMPTY_{id}]") } else { token.clone() };
            if let Some(first) = seen.insert(token.clone(), id) {
                let problem = format!("{token:?} already stands at {first}");
                return Err(self.wrong(&format!("tokens[{id}]"), problem));
            }
            tokens.push(token);
        }
        Ok(tokens)
    }

    fn parts<'a>(&'a self, tokens: &[String], model: Value) -> Parts<'a> {
        let ids = tokens.iter().enumerate().map(|(id, token)| (token.clone(), id as u32)).collect();
        let mut parts = Parts::new(&self.path, model, ids, tokens.len());
        for (id, token) in tokens.iter().enumerate() {
            match self.kind(id) {
                CONTROL | UNKNOWN => parts.add(Token::new(token.clone(), true)),
                USER => parts.add(Token::new(token.clone(), false)),
                _ => {}
            }
        }
        if self.token_types.is_empty() {
            for id in [self.bos, self.eos, self.unk, self.pad].into_iter().flatten() {
                if let Some(token) = tokens.get(id as usize) {
                    parts.add_new(Token::new(token.clone(), true));
                }
            }
        }
        parts
    }

    /// Puts `<s>` before and `</s>` after each text, where the file wants them.
    fn frame(&self, parts: &mut Parts<'_>, tokens: &[String], [bos, eos]: [bool; 2]) -> Result<()> {
        let token = |wanted: bool, id: Option<u32>, key: &str| -> Result<Option<String>> {
            if !wanted {
                return Ok(None);
            }
            let token = id.and_then(|id| tokens.get(id as usize));
            match token {
                Some(token) if !token.contains(char::is_whitespace) => Ok(Some(token.clone())),
                Some(token) => {
                    Err(self.wrong(key, format!("expected a token without spaces, got {token:?}")))
                }
                None => {
                    Err(self.wrong(key, "it goes around each text, but no id says which token it is".into()))
                }
            }
        };
        let bos = token(self.add_bos.unwrap_or(bos), self.bos, "bos_token_id")?;
        let eos = token(self.add_eos.unwrap_or(eos), self.eos.or(self.sep), "eos_token_id")?;
        if bos.is_none() && eos.is_none() {
            return Ok(());
        }
        let text = |name: &str, kind: u32| {
            let around = |token: &Option<String>| token.as_ref().map(|token| format!("{token}:{kind}"));
            let places = [around(&bos), Some(format!("${name}:{kind}")), around(&eos)];
            places.into_iter().flatten().collect::<Vec<_>>().join(" ")
        };
        parts.frame(&text("A", 0), &format!("{} {}", text("A", 0), text("B", 1)))
    }

    fn bytes(&self, tokens: &[String]) -> Result<Built> {
        let Some(split) = Split::find(&self.pre) else {
            let names: Vec<&str> = Split::names().filter(|name| !name.is_empty()).collect();
            return Err(
                self.wrong("pre", format!("expected one of {}, got {:?}", names.join(", "), self.pre))
            );
        };
        let mut notes = Vec::new();
        if matches!(self.pre.as_str(), "" | "default") {
            let path = self.path.display();
            notes.push(format!(
                "{path}: tokenizer.ggml.pre does not say how words are cut: llama.cpp's default is used"
            ));
        }
        let ids: HashMap<&str, usize> =
            tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
        let mut merges: Vec<[&str; 2]> = Vec::with_capacity(self.merges.len());
        for (index, merge) in self.merges.iter().enumerate() {
            let wrong = |problem| self.wrong(&format!("merges[{index}]"), problem);
            // A token may begin with a space.
            let Some(at) = merge.char_indices().skip(1).find(|(_, char)| *char == ' ').map(|(at, _)| at)
            else {
                return Err(wrong(format!("expected two tokens and a space between them, got {merge:?}")));
            };
            let (left, right) = (&merge[..at], &merge[at + 1..]);
            for token in [left, right, &format!("{left}{right}")] {
                if !ids.contains_key(token) {
                    return Err(wrong(format!("there is no token {token:?}, which this merge needs")));
                }
            }
            merges.push([left, right]);
        }
        let vocab: Map<String, Value> =
            tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
        let mut model = scores::model(Value::Object(vocab), &[], None, false);
        model["merges"] = json!(merges);
        model["fuse_unk"] = json!(false);
        model["ignore_merges"] = json!(split.ignore_merges);
        let mut parts = self.parts(tokens, model);
        if split.compose {
            parts.normalizer = json!({"type": "NFC"});
        }
        parts.pre_tokenizer = split.pre_tokenizer();
        parts.decoder = byte_level(true, true, true);
        parts.post_processor = byte_level(true, false, true);
        self.frame(&mut parts, tokens, [split.add_bos || split.add_sep, split.add_sep])?;
        Ok((parts.finish()?, notes))
    }

    fn pieces(&self, tokens: &[String]) -> Result<Built> {
        let named: Vec<(&str, f32)> =
            tokens.iter().map(String::as_str).zip(self.scores.iter().copied()).collect();
        let kinds = tokens.iter().enumerate();
        let apart: HashSet<&str> = kinds
            .filter(|(id, _)| [UNKNOWN, CONTROL, BYTE].contains(&self.kind(*id)))
            .map(|(_, token)| token.as_str())
            .collect();
        let merges = scores::merges(&named, &apart);
        let vocab: Map<String, Value> =
            tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
        let unk = self.unknown().and_then(|id| tokens.get(id as usize)).map(String::as_str);
        let mut parts = self.parts(tokens, scores::model(Value::Object(vocab), &merges, unk, true));
        let space = self.add_space_prefix.unwrap_or(true);
        let mut steps = Vec::new();
        if space {
            steps.push(json!({"type": "Prepend", "prepend": "▁"}));
        }
        steps.push(replace(" ", "▁"));
        parts.normalizer = json!({"type": "Sequence", "normalizers": steps});
        parts.decoder = bytes_decoder(space);
        self.frame(&mut parts, tokens, [true, false])?;
        Ok((parts.finish()?, Vec::new()))
    }

    fn word_piece(&self, tokens: &[String], settings: &Settings) -> Result<Built> {
        // Words begin with `▁` here, and what continues one has no mark.
        let own = |id: usize, token: &String| -> String {
            let square = token.starts_with('[') && token.ends_with(']') && token.len() > 2;
            match token.strip_prefix('▁') {
                _ if matches!(self.kind(id), CONTROL | UNKNOWN) => token.clone(),
                Some(word) if !word.is_empty() => word.to_string(),
                None if square && self.token_types.is_empty() => token.clone(),
                _ => format!("##{token}"),
            }
        };
        let words: Vec<String> = tokens.iter().enumerate().map(|(id, token)| own(id, token)).collect();
        let mut seen = HashSet::with_capacity(words.len());
        for (id, word) in words.iter().enumerate() {
            if !seen.insert(word) {
                let problem = format!("{:?} stands for {word:?}, as another token does", tokens[id]);
                return Err(self.wrong(&format!("tokens[{id}]"), problem));
            }
        }
        let token = |role: &str, usual: &str| -> Result<String> {
            let token = settings.special_token(role)?.unwrap_or(usual).to_string();
            if seen.contains(&token) {
                return Ok(token);
            }
            Err(self.wrong(role, format!("expected a token {token:?}, but it is not there")))
        };
        let (unk, cls, sep) =
            (token("unk_token", "[UNK]")?, token("cls_token", "[CLS]")?, token("sep_token", "[SEP]")?);
        // A vocabulary with capital letters was made for texts with them.
        let lower = !words.iter().enumerate().any(|(id, word)| {
            !matches!(self.kind(id), CONTROL | UNKNOWN)
                && !word.starts_with('[')
                && word.chars().any(|char| char.is_ascii_uppercase())
        });
        let vocab: Map<String, Value> =
            words.iter().enumerate().map(|(id, word)| (word.clone(), json!(id))).collect();
        let model = json!({
            "type": "WordPiece", "unk_token": unk, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab,
        });
        let mut parts = self.parts(&words, model);
        for token in [&unk, &cls, &sep] {
            parts.add_new(Token::new(token.clone(), true));
        }
        parts.normalizer = bert_normalizer(true, None, lower);
        parts.pre_tokenizer = json!({"type": "BertPreTokenizer"});
        parts.decoder = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
        parts.frame(&format!("{cls} $A {sep}"), &format!("{cls} $A {sep} $B:1 {sep}:1"))?;
        Ok((parts.finish()?, Vec::new()))
    }

    fn unigram(&self, tokens: &[String]) -> Result<Built> {
        let unk = self.unknown().unwrap_or(2);
        if unk as usize >= tokens.len() {
            return Err(
                self.wrong("unknown_token_id", format!("expected an id below {}, got {unk}", tokens.len()))
            );
        }
        let vocab: Vec<(&String, f32)> = tokens.iter().zip(self.scores.iter().copied()).collect();
        let model = json!({"type": "Unigram", "unk_id": unk, "vocab": vocab, "byte_fallback": false});
        let mut parts = self.parts(tokens, model);
        let table = charsmap::normalizer(&self.charsmap)
            .map_err(|problem| self.wrong("precompiled_charsmap", problem))?;
        let mut steps: Vec<Value> = table.into_iter().collect();
        steps.push(json!({"type": "Strip", "strip_left": false, "strip_right": true}));
        steps.push(replace_regex(" {2,}", "▁"));
        parts.normalizer = json!({"type": "Sequence", "normalizers": steps});
        let scheme = if self.add_space_prefix.unwrap_or(true) { "always" } else { "never" };
        parts.pre_tokenizer = metaspace(scheme, true);
        parts.decoder = metaspace(scheme, true);
        self.frame(&mut parts, tokens, [false, true])?;
        Ok((parts.finish()?, Vec::new()))
    }
}

#[cfg(test)]
#[path = "gguf_tests.rs"]
mod tests;

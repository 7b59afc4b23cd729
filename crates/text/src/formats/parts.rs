//! The parts of a `tokenizer.json`, put together as transformers does when it converts a slow tokenizer.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::class::Role;
use crate::settings::Settings;
use crate::{Error, Result};

/// A token that is found in a text before the model sees it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub content: String,
    pub single_word: bool,
    pub lstrip: bool,
    pub rstrip: bool,
    pub normalized: bool,
    pub special: bool,
}

impl Token {
    /// A token that stands for itself, special or not.
    pub fn new(content: impl Into<String>, special: bool) -> Self {
        let content = content.into();
        Self { content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }
    }

    /// Reads the flags of an object with `content`; what is absent is as in `tokenizers`.
    fn from_object(content: &str, value: &Map<String, Value>, special: bool) -> Self {
        let flag = |key: &str, default: bool| value.get(key).and_then(Value::as_bool).unwrap_or(default);
        let special = special || flag("special", false);
        Self {
            content: content.into(),
            single_word: flag("single_word", false),
            lstrip: flag("lstrip", false),
            rstrip: flag("rstrip", false),
            normalized: flag("normalized", !special),
            special,
        }
    }
}

/// A tokenizer in the making.
pub(super) struct Parts<'a> {
    path: &'a Path,
    /// The tokens of the model.
    ids: HashMap<String, u32>,
    /// Tokens of the model by the crate's count: with two of a name, more than `ids` has.
    size: usize,
    tokens: Vec<Token>,
    /// Where in `tokens` each is.
    places: HashMap<String, usize>,
    /// Ids of the tokens that the model lacks.
    added: HashMap<String, u32>,
    /// One more than the largest id in `tokens`.
    next: u32,
    pub normalizer: Value,
    pub pre_tokenizer: Value,
    pub post_processor: Value,
    pub decoder: Value,
    pub model: Value,
}

impl<'a> Parts<'a> {
    /// Parts over a model with these tokens.
    pub fn new(path: &'a Path, model: Value, ids: HashMap<String, u32>, size: usize) -> Self {
        Self {
            path,
            ids,
            size,
            tokens: Vec::new(),
            places: HashMap::new(),
            added: HashMap::new(),
            next: 0,
            normalizer: Value::Null,
            pre_tokenizer: Value::Null,
            post_processor: Value::Null,
            decoder: Value::Null,
            model,
        }
    }

    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).or_else(|| self.added.get(token)).copied()
    }

    /// The id of a token that must be there.
    pub fn id_of(&self, token: &str) -> Result<u32> {
        self.id(token).ok_or_else(|| Error::Entry {
            path: self.path.into(),
            entry: format!("token {token:?}"),
            problem: "goes around each text, but the vocabulary lacks it".into(),
        })
    }

    /// Adds a token, or gives the one of its name these flags.
    pub fn add(&mut self, token: Token) {
        if token.content.is_empty() {
            return;
        }
        if let Some(&place) = self.places.get(&token.content) {
            self.tokens[place] = token;
            return;
        }
        let id = match self.ids.get(&token.content) {
            Some(id) => *id,
            None => self.next.max(self.size as u32),
        };
        if !self.ids.contains_key(&token.content) {
            self.added.insert(token.content.clone(), id);
        }
        self.next = self.next.max(id.saturating_add(1));
        self.places.insert(token.content.clone(), self.tokens.len());
        self.tokens.push(token);
    }

    /// Adds a token unless there is one of its name.
    pub fn add_new(&mut self, token: Token) {
        if !self.places.contains_key(&token.content) {
            self.add(token);
        }
    }

    /// Adds what the settings say: `added_tokens_decoder` or the older `added_tokens.json`, the tokens with a role,
    /// `additional_special_tokens`.
    pub fn add_settings(
        &mut self,
        settings: &Settings,
        older: &[(String, u32)],
        roles: &[Role],
        additional: &[String],
    ) -> Result<()> {
        let named = |token: &str| {
            roles.iter().any(|role| settings.special_token(role.name).ok().flatten() == Some(token))
                || additional.iter().any(|known| known == token)
        };
        let mut flagged: HashSet<String> = HashSet::new();
        for added in settings.added()? {
            let content = added.value.get("content").and_then(Value::as_str).unwrap_or_default();
            self.add(Token::from_object(content, &added.value, false));
            flagged.insert(content.into());
        }
        if flagged.is_empty() {
            for (content, _) in older {
                let special = named(content);
                self.add(Token { normalized: !special, ..Token::new(content.clone(), special) });
            }
        }
        for role in roles {
            let Some(content) = settings.special_token(role.name)?.map(String::from) else { continue };
            if flagged.contains(&content) {
                continue;
            }
            match settings.special_value(role.name) {
                Some(Value::Object(value)) => self.add(Token::from_object(&content, value, true)),
                _ if role.flags.is_empty() => self.add_new(Token::new(content, true)),
                _ => self.add(Token {
                    normalized: role.flags.contains('n'),
                    lstrip: role.flags.contains('l'),
                    ..Token::new(content, true)
                }),
            }
        }
        for content in additional {
            if !flagged.contains(content) {
                self.add_new(Token::new(content.clone(), true));
            }
        }
        if let Some(Value::Array(more)) = settings.special_value("additional_special_tokens") {
            for value in more {
                match value {
                    Value::String(content) if !flagged.contains(content) => {
                        self.add_new(Token::new(content.clone(), true));
                    }
                    Value::Object(object) => match object.get("content").and_then(Value::as_str) {
                        Some(content) if !flagged.contains(content) => {
                            self.add(Token::from_object(content, object, true));
                        }
                        _ => {}
                    },
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Sets what goes around a text and a pair: tokens with their type after a colon, `$A` and `$B` for the texts.
    pub fn frame(&mut self, single: &str, pair: &str) -> Result<()> {
        let mut specials = Map::new();
        let single = self.places(single, &mut specials)?;
        let pair = self.places(pair, &mut specials)?;
        self.post_processor = json!({
            "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": specials,
        });
        Ok(())
    }

    fn places(&self, template: &str, specials: &mut Map<String, Value>) -> Result<Vec<Value>> {
        let mut places = Vec::new();
        for word in template.split_whitespace() {
            let (token, kind) = match word.rsplit_once(':') {
                Some((token, kind)) if !token.is_empty() => (token, kind.parse::<u32>().ok()),
                _ => (word, None),
            };
            let (token, kind) = match kind {
                Some(kind) => (token, kind),
                None => (word, 0),
            };
            if let Some(text @ ("A" | "B")) = token.strip_prefix('$') {
                places.push(json!({"Sequence": {"id": text, "type_id": kind}}));
                continue;
            }
            let id = self.id_of(token)?;
            specials.insert(token.into(), json!({"id": token, "ids": [id], "tokens": [token]}));
            places.push(json!({"SpecialToken": {"id": token, "type_id": kind}}));
        }
        Ok(places)
    }

    /// The whole as the bytes of a `tokenizer.json`.
    pub fn finish(self) -> Result<Vec<u8>> {
        let mut added: Vec<(u32, Value)> = Vec::with_capacity(self.tokens.len());
        for token in &self.tokens {
            let id = self.id_of(&token.content)?;
            let value = json!({
                "id": id, "content": token.content, "single_word": token.single_word, "lstrip": token.lstrip,
                "rstrip": token.rstrip, "normalized": token.normalized, "special": token.special,
            });
            added.push((id, value));
        }
        added.sort_by_key(|(id, _)| *id);
        let added: Vec<Value> = added.into_iter().map(|(_, value)| value).collect();
        let whole = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": self.normalizer, "pre_tokenizer": self.pre_tokenizer,
            "post_processor": self.post_processor, "decoder": self.decoder, "model": self.model,
        });
        serde_json::to_vec(&whole)
            .map_err(|error| Error::Parse { path: self.path.into(), reason: error.to_string() })
    }
}

/// `a` with all of `b` for each place in a template that names it.
pub(super) fn filled(template: &str, names: &[(&str, &str)]) -> String {
    let words = template.split_whitespace().map(|word| {
        let found = names.iter().find_map(|(name, token)| Some((word.strip_prefix(name)?, token)));
        match found {
            Some((rest, token)) if rest.is_empty() || rest.starts_with(':') => format!("{token}{rest}"),
            _ => word.to_string(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A step that replaces a string.
pub(super) fn replace(from: &str, to: &str) -> Value {
    json!({"type": "Replace", "pattern": {"String": from}, "content": to})
}

/// A step that replaces what a regular expression finds.
pub(super) fn replace_regex(from: &str, to: &str) -> Value {
    json!({"type": "Replace", "pattern": {"Regex": from}, "content": to})
}

/// Spaces as `▁`.
pub(super) fn metaspace(scheme: &str, split: bool) -> Value {
    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split})
}

/// Bytes as letters.
pub(super) fn byte_level(add_prefix_space: bool, trim_offsets: bool, use_regex: bool) -> Value {
    json!({
        "type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": trim_offsets,
        "use_regex": use_regex,
    })
}

/// BERT's normalizer.
pub(super) fn bert_normalizer(chinese: bool, strip: Option<bool>, lower: bool) -> Value {
    json!({
        "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": chinese, "strip_accents": strip,
        "lowercase": lower,
    })
}

/// Pieces with `▁` and with bytes, back to text.
pub(super) fn bytes_decoder(strip: bool) -> Value {
    let mut steps = vec![replace("▁", " "), json!({"type": "ByteFallback"}), json!({"type": "Fuse"})];
    if strip {
        steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    json!({"type": "Sequence", "decoders": steps})
}

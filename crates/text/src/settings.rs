//! `tokenizer_config.json` and `special_tokens_map.json`: what they say, checked.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::{Error, Result};

/// The roles a special token can have, with the spellings tried when no file names one.
pub(crate) const ROLES: [(&str, &[&str]); 7] = [
    ("cls_token", &["[CLS]", "<s>"]),
    ("sep_token", &["[SEP]", "</s>"]),
    ("mask_token", &["[MASK]", "<mask>"]),
    ("pad_token", &["[PAD]", "<pad>"]),
    ("unk_token", &["[UNK]", "<unk>"]),
    ("bos_token", &["<s>"]),
    ("eos_token", &["</s>"]),
];

/// Most tokens that a setting may ask to be made up; models have some hundreds.
const MOST_MADE_UP: u64 = 10_000;

/// An entry of `added_tokens_decoder`.
#[derive(Clone, Debug)]
pub(crate) struct Added {
    pub id: u32,
    pub value: Map<String, Value>,
}

/// The settings beside a tokenizer that change how it splits text or which tokens have a role.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    path: PathBuf,
    raw: Map<String, Value>,
    special_path: PathBuf,
    special: Map<String, Value>,
    /// What the class of the tokenizer supposes where no file names a token.
    supposed: Vec<(&'static str, String)>,
}

impl Settings {
    /// Reads both files of `folder`; a file that is absent says nothing.
    pub fn read(folder: &Path) -> Result<(Self, Option<Vec<u8>>)> {
        let path = folder.join("tokenizer_config.json");
        let bytes = read_optional(&path)?;
        let raw = object(&path, bytes.as_deref())?;
        let special_path = folder.join("special_tokens_map.json");
        let special = object(&special_path, read_optional(&special_path)?.as_deref())?;
        Ok((Self { path, raw, special_path, special, supposed: Vec::new() }, bytes))
    }

    /// The `tokenizer_config.json` as an object, empty if there was none.
    pub fn raw(&self) -> &Map<String, Value> {
        &self.raw
    }

    /// A true/false setting; `None` if absent or null.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.raw.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(self.wrong(key, "true, false or null", other)),
        }
    }

    /// A text setting; `None` if absent or null.
    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.raw.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong(key, "a string or null", other)),
        }
    }

    /// Sets what a tokenizer that was made of something else says of itself.
    pub fn set(&mut self, key: &str, value: &str) {
        self.raw.insert(key.into(), value.into());
    }

    /// True when the key stands in the file, even as null.
    pub fn has(&self, key: &str) -> bool {
        self.raw.contains_key(key)
    }

    /// `model_max_length`, unless it is one of the huge numbers that mean "no limit".
    pub fn model_max_length(&self) -> Result<Option<usize>> {
        match self.raw.get("model_max_length") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => match number.as_f64() {
                // transformers writes 1e30 for "no limit"; no real model reads a hundred million tokens.
                Some(value) if (1.0..1e8).contains(&value) => Ok(Some(value as usize)),
                Some(value) if value >= 1e8 => Ok(None),
                _ => Err(self.wrong("model_max_length", "a positive number", &Value::Number(number.clone()))),
            },
            Some(other) => Err(self.wrong("model_max_length", "a positive number", other)),
        }
    }

    /// The text of the special token with this role, from either file.
    pub fn special_token(&self, role: &str) -> Result<Option<&str>> {
        for (path, map) in [(&self.path, &self.raw), (&self.special_path, &self.special)] {
            let got = match map.get(role) {
                None | Some(Value::Null) => continue,
                Some(Value::String(token)) => return Ok(Some(token)),
                Some(Value::Object(token)) => match token.get("content") {
                    Some(Value::String(content)) => return Ok(Some(content)),
                    other => format!("content {}", other.unwrap_or(&Value::Null)),
                },
                Some(other) => other.to_string(),
            };
            let expected = "a string, or an object with a string \"content\"".into();
            return Err(Error::Setting { path: path.clone(), key: role.into(), expected, got });
        }
        Ok(self.supposed.iter().find(|(known, _)| *known == role).map(|(_, token)| token.as_str()))
    }

    /// Names the special token of a role that no file names.
    pub fn suppose(&mut self, role: &'static str, token: &str) {
        self.supposed.push((role, token.into()));
    }

    /// What the files say of the special token with this role: its text, or an object with its flags.
    pub fn special_value(&self, role: &str) -> Option<&Value> {
        [&self.raw, &self.special].into_iter().filter_map(|map| map.get(role)).find(|value| !value.is_null())
    }

    /// A number of tokens to be made up; `None` if absent or null.
    pub fn count(&self, key: &str) -> Result<Option<usize>> {
        match self.raw.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64().filter(|&value| value <= MOST_MADE_UP) {
                Some(value) => Ok(Some(value as usize)),
                None => Err(self.wrong(key, &format!("a number up to {MOST_MADE_UP}, or null"), value)),
            },
        }
    }

    /// `added_tokens_decoder`, sorted by id.
    pub fn added(&self) -> Result<Vec<Added>> {
        let table = match self.raw.get("added_tokens_decoder") {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Object(table)) => table,
            Some(other) => return Err(self.wrong("added_tokens_decoder", "an object", other)),
        };
        let mut added = Vec::with_capacity(table.len());
        for (id, value) in table {
            let key = format!("added_tokens_decoder.{id}");
            let id =
                id.parse().map_err(|_| self.wrong(&key, "a token id as key", &Value::String(id.clone())))?;
            match value {
                Value::Object(value) if value.get("content").is_some_and(Value::is_string) => {
                    added.push(Added { id, value: value.clone() });
                }
                other => return Err(self.wrong(&key, "an object with \"content\"", other)),
            }
        }
        added.sort_by_key(|token| token.id);
        Ok(added)
    }

    /// An error about a key of `tokenizer_config.json`.
    pub fn wrong(&self, key: &str, expected: &str, got: &Value) -> Error {
        Error::Setting {
            path: self.path.clone(),
            key: key.into(),
            expected: expected.into(),
            got: got.to_string(),
        }
    }
}

/// The bytes of a file, `None` if it is not there.
pub(crate) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path: path.into(), source }),
    }
}

/// The object that a JSON file holds, empty if there is no file.
pub(crate) fn object(path: &Path, bytes: Option<&[u8]>) -> Result<Map<String, Value>> {
    let Some(bytes) = bytes else { return Ok(Map::new()) };
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => {
            let mut got = other.to_string();
            got.truncate(got.char_indices().nth(40).map_or(got.len(), |(at, _)| at));
            Err(Error::Setting { path: path.into(), key: "(top)".into(), expected: "an object".into(), got })
        }
        Err(error) => Err(Error::Parse { path: path.into(), reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(config: &str) -> Result<Settings> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        Settings::read(folder.path()).map(|(settings, _)| settings)
    }

    #[test]
    fn a_huge_maximum_means_none() {
        for (config, expected) in [
            (r#"{"model_max_length": 512}"#, Some(512)),
            (r#"{"model_max_length": 1000000000000000019884624838656}"#, None),
            (r#"{"model_max_length": 1e30}"#, None),
            (r#"{}"#, None),
        ] {
            assert_eq!(settings(config).unwrap().model_max_length().unwrap(), expected, "{config}");
        }
        assert!(settings(r#"{"model_max_length": "long"}"#).unwrap().model_max_length().is_err());
    }

    #[test]
    fn a_setting_of_the_wrong_type_is_named() {
        let error = settings(r#"{"do_lower_case": "yes"}"#).unwrap().flag("do_lower_case").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("do_lower_case") && text.contains("yes"), "{text}");
        assert!(settings("[1, 2]").is_err());
        assert!(settings("{").is_err());
    }

    #[test]
    fn a_few_bytes_cannot_ask_for_a_million_tokens() {
        assert_eq!(settings(r#"{"extra_ids": 300}"#).unwrap().count("extra_ids").unwrap(), Some(300));
        for config in [r#"{"extra_ids": 1000000}"#, r#"{"extra_ids": -1}"#, r#"{"extra_ids": "x"}"#] {
            let error = settings(config).unwrap().count("extra_ids").unwrap_err().to_string();
            assert!(error.contains("extra_ids") && error.contains("up to 10000"), "{error}");
        }
    }

    #[test]
    fn special_tokens_may_be_strings_or_objects() {
        let settings =
            settings(r#"{"cls_token": "[C]", "sep_token": {"content": "[S]"}, "pad_token": 3}"#).unwrap();
        assert_eq!(settings.special_token("cls_token").unwrap(), Some("[C]"));
        assert_eq!(settings.special_token("sep_token").unwrap(), Some("[S]"));
        assert_eq!(settings.special_token("mask_token").unwrap(), None);
        assert!(settings.special_token("pad_token").is_err());
    }
}

//! How a model of vectors wants its texts, as sentence-transformers says it: how long, in which case, and with what before them.

use std::borrow::Cow;
use std::path::Path;

use serde_json::Value;
use topwork_models::Source;
use topwork_models::sentence::Sentence;
use topwork_models::source::read_json;

use crate::error::Error;

/// The file with the longest length and the case.
pub(crate) const SENTENCE: &str = "sentence_bert_config.json";

/// The file with what is put before texts.
pub(crate) const SENTENCES: &str = "config_sentence_transformers.json";

/// What a text is to a search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Nothing in particular.
    #[default]
    Any,
    /// What is searched with.
    Query,
    /// What is searched in.
    Document,
}

impl Role {
    /// Names of what is put before it, the first that is there.
    fn names(self) -> &'static [&'static str] {
        match self {
            Role::Any => &[],
            Role::Query => &["query"],
            Role::Document => &["document", "passage", "corpus"],
        }
    }
}

/// How a model wants its texts. Nothing is done to them where no file says so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SentenceTexts {
    /// Longest text in tokens.
    pub max_length: Option<usize>,
    /// Texts are put in lower case.
    pub lowercase: bool,
    /// What is put before texts, by name.
    prompts: Vec<(String, String)>,
    /// The name of what is put before a text of no particular role.
    default: Option<String>,
}

impl SentenceTexts {
    /// Reads what lies with a model.
    ///
    /// # Errors
    /// A file that is broken, names a prompt that it does not have, or asks for prompts that pooling leaves out.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let source = Source::find(path)?;
        let file = |name: &'static str| match source.beside(name) {
            Some(_) => Ok::<Value, Error>(read_json(source.folder(), name)?),
            None => Ok(Value::Null),
        };
        let (sentence, sentences) = (file(SENTENCE)?, file(SENTENCES)?);
        let prompts: Vec<(String, String)> = sentences
            .get("prompts")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(name, prompt)| Some((name.clone(), prompt.as_str()?.to_string())))
            .filter(|(_, prompt)| !prompt.is_empty())
            .collect();
        let default = sentences.get("default_prompt_name").and_then(Value::as_str).map(str::to_string);
        let there = |name: &str| sentences["prompts"].get(name).is_some();
        let place = || source.folder().join(SENTENCES).display().to_string();
        if let Some(name) = default.as_deref().filter(|name| !there(name)) {
            return Err(Error::Task(format!(
                "{}: default_prompt_name is {name:?}, which is none of its prompts",
                place()
            )));
        }
        if !prompts.is_empty() && Sentence::read(&source)?.is_some_and(|found| !found.pools_prompt) {
            return Err(Error::Task(format!(
                "{}: pooling leaves out what is put before texts (include_prompt is false), which is not computed here",
                place()
            )));
        }
        let max_length = sentence.get("max_seq_length").and_then(Value::as_u64).map(|n| n as usize);
        let lowercase = sentence.get("do_lower_case").and_then(Value::as_bool) == Some(true);
        Ok(SentenceTexts { max_length, lowercase, prompts, default })
    }

    /// Whether texts of this role stay as they are.
    pub fn is_plain(&self, role: Role) -> bool {
        !self.lowercase && self.prompt(role).is_none()
    }

    /// What is put before a text of this role.
    pub fn prompt(&self, role: Role) -> Option<&str> {
        let of = |name: &str| {
            self.prompts.iter().find(|(known, _)| known == name).map(|(_, prompt)| prompt.as_str())
        };
        role.names().iter().find_map(|name| of(name)).or_else(|| self.default.as_deref().and_then(of))
    }

    /// A text as the model is to read it.
    pub fn prepare<'a>(&self, text: &'a str, role: Role) -> Cow<'a, str> {
        match (self.prompt(role), self.lowercase) {
            (None, false) => Cow::Borrowed(text),
            (prompt, lowercase) => {
                let whole = format!("{}{text}", prompt.unwrap_or_default());
                Cow::Owned(if lowercase { whole.to_lowercase() } else { whole })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(sentence: &str, sentences: &str) -> Result<SentenceTexts, Error> {
        let folder = tempfile::tempdir().unwrap();
        let pooling = r#"{"pooling_mode": "mean", "include_prompt": false}"#;
        let modules =
            r#"[{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"}]"#;
        fs::create_dir(folder.path().join("1_Pooling")).unwrap();
        for (name, content) in [
            ("config.json", r#"{"model_type": "bert"}"#),
            (SENTENCE, sentence),
            (SENTENCES, sentences),
            (if sentence == "{}" { "modules.json" } else { "other.json" }, modules),
            ("1_Pooling/config.json", pooling),
        ] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        SentenceTexts::read(folder.path())
    }

    #[test]
    fn prompts_and_case_are_applied() {
        let texts = read(
            r#"{"max_seq_length": 9, "do_lower_case": true}"#,
            r#"{"prompts": {"query": "Query: ", "document": "", "any": "A "}, "default_prompt_name": "any"}"#,
        )
        .unwrap();
        assert_eq!((texts.max_length, texts.lowercase), (Some(9), true));
        assert_eq!(texts.prepare("Äpfel", Role::Query), "query: äpfel");
        assert_eq!(texts.prepare("B", Role::Document), "a b");
        assert!(!texts.is_plain(Role::Any));
        let none = SentenceTexts::default();
        assert!(none.is_plain(Role::Query) && none.prepare("As it is", Role::Query) == "As it is");
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let error = |prompts: &str| read("{}", prompts).unwrap_err().to_string();
        assert!(error(r#"{"prompts": {"query": "q: "}}"#).contains("include_prompt"));
        assert!(error(r#"{"prompts": {}, "default_prompt_name": "query"}"#).contains("none of its prompts"));
        assert!(
            read("{}", r#"{"prompts": {"query": ""}, "default_prompt_name": null}"#)
                .unwrap()
                .is_plain(Role::Query)
        );
    }
}

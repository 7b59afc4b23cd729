//! The dictionaries of flair's language models: a token is a character.
//!
//! Reference code: `Dictionary.get_idx_for_items` in flair's `data.py` and `FlairEmbeddings` in its `embeddings/token.py`,
//! <https://github.com/flairNLP/flair>.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::settings::Settings;
use crate::tokenizer::{Source, WordToken};
use crate::{Error, Result, Tokenizer};

/// What stands on the other side of a text than the delimiter.
const END: char = ' ';

impl Tokenizer {
    /// A tokenizer of characters by their numbers, as a language model of flair reads texts: a `delimiter` comes first, a space
    /// last, and backward models read that order from the end of a text on. Here the tokens stand as the text does, so that
    /// such a model's delimiter is behind the text. Unknown characters are number 0.
    ///
    /// The state of a word is the one behind its last character, in the order in which the model reads.
    ///
    /// # Errors
    /// [`Error::Entry`] for no characters at all, or one that comes twice.
    pub fn from_characters(
        path: impl AsRef<Path>,
        characters: &[String],
        delimiter: &str,
        forward: bool,
    ) -> Result<Self> {
        let path = path.as_ref();
        let wrong = |entry: String, problem: &str| {
            Err(Error::Entry { path: path.into(), entry, problem: problem.to_string() })
        };
        let Some(unknown) = characters.first() else {
            return wrong("dictionary".to_string(), "expected characters, got none");
        };
        let mut vocab = Map::new();
        for (id, character) in characters.iter().enumerate() {
            if vocab.insert(character.clone(), id.into()).is_some() {
                return wrong(format!("character {character:?}"), "expected each once, got it again");
            }
        }
        let mut specials = Map::new();
        let mut place = |character: char| {
            let text = character.to_string();
            let (id, token) = match vocab.get(&text) {
                Some(id) => (id.clone(), &text),
                None => (json!(0), unknown),
            };
            specials.insert(text.clone(), json!({"id": text, "ids": [id], "tokens": [token]}));
            json!({"SpecialToken": {"id": text, "type_id": 0}})
        };
        let text = json!({"Sequence": {"id": "A", "type_id": 0}});
        let mut single: Vec<Value> =
            if forward { delimiter.chars().map(&mut place).collect() } else { vec![place(END)] };
        single.push(text);
        if forward {
            single.push(place(END));
        } else {
            // Read from the end, it comes first and in its own order.
            single.extend(delimiter.chars().rev().map(&mut place));
        }
        let mut pair = single.clone();
        pair.push(json!({"Sequence": {"id": "B", "type_id": 0}}));
        let whole = json!({
            "version": "1.0",
            "pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": false},
            "post_processor": {
                "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": specials,
            },
            "decoder": {"type": "Fuse"},
            "model": {"type": "WordLevel", "unk_token": unknown, "vocab": vocab},
        });
        let json = serde_json::to_vec(&whole)
            .map_err(|error| Error::Parse { path: path.into(), reason: error.to_string() })?;
        let source = Source { path: path.into(), json, changed: false, beside: Vec::new() };
        let mut settings = Settings::default();
        settings.set(WordToken::KEY, if forward { WordToken::Behind } else { WordToken::Before }.name());
        Self::build(source, settings, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| item.to_string()).collect()
    }

    #[test]
    fn characters_have_their_numbers_and_texts_their_ends() {
        let known = items(&["<unk>", "a", "ü", " ", "\n", "<", "日"]);
        let read = |tokenizer: &Tokenizer, text: &str| tokenizer.encode(text, None, None).unwrap().ids;
        let forward = Tokenizer::from_characters("lm.pt", &known, "\n", true).unwrap();
        assert_eq!(read(&forward, "aü 日z"), [4, 1, 2, 3, 6, 0, 3]);
        // The name of what is unknown is no character.
        assert_eq!(read(&forward, "<unk>"), [4, 5, 0, 0, 0, 0, 3]);
        assert_eq!(read(&forward, ""), [4, 3]);
        // A line feed and a character with its accent apart are characters as others are.
        assert_eq!(read(&forward, "a\r\nu\u{308}"), [4, 1, 0, 4, 0, 0, 3]);
        assert_eq!(forward.decode(&[1, 2, 3, 6], false).unwrap(), "aü 日");
        assert_eq!(forward.word_token(), WordToken::Behind);
        let backward = Tokenizer::from_characters("lm.pt", &known, "\na", false).unwrap();
        assert_eq!(read(&backward, "ü"), [3, 2, 1, 4]);
        assert_eq!(backward.word_token(), WordToken::Before);
        // Without a space among the characters what stands at the end is unknown too.
        let bare = Tokenizer::from_characters("lm.pt", &items(&["x", "y"]), "\n", true).unwrap();
        assert_eq!(read(&bare, "y?"), [0, 1, 0, 0]);
    }

    #[test]
    fn it_is_the_same_once_it_is_saved() {
        let known = items(&["<unk>", "a", " ", "\n"]);
        let made = Tokenizer::from_characters("lm.pt", &known, "\n", false).unwrap();
        let folder = tempfile::tempdir().unwrap();
        made.save(folder.path()).unwrap();
        let again = Tokenizer::from_folder(folder.path()).unwrap();
        assert_eq!(again.word_token(), WordToken::Before);
        let read = |tokenizer: &Tokenizer| tokenizer.encode("a b", None, None).unwrap();
        assert_eq!(read(&again), read(&made));
        let path = folder.path().join("tokenizer_config.json");
        std::fs::write(&path, r#"{"word_token": "last"}"#).unwrap();
        let error = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("word_token") && error.contains("first, behind or before"), "{error}");
    }

    #[test]
    fn what_is_no_dictionary_is_refused() {
        let refused = |list: &[&str], part: &str| {
            let error =
                Tokenizer::from_characters("lm.pt", &items(list), "\n", true).unwrap_err().to_string();
            assert!(error.contains("lm.pt") && error.contains(part), "{error}");
        };
        refused(&[], "got none");
        refused(&["a", "b", "a"], "\"a\"");
    }
}

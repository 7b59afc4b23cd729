//! ELMo's folders, which have no vocabulary: a token is what stands between spaces, and the model reads its characters.
//!
//! Texts are expected as ELMo was trained on them, with spaces around words and punctuation. For running text put a
//! `tokenizer.json` with another pre-tokenizer into the folder, beside a `tokenizer_config.json` whose `tokenizer_class` is
//! [`CHARACTERS`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::parts::{Parts, Token};
use crate::Result;
use crate::settings::{object, read_optional};

/// The class that says a tokenizer's tokens are read by their characters.
pub(crate) const CHARACTERS: &str = "ElmoTokenizer";

/// The file of an ELMo's settings.
pub(super) const OPTIONS: &str = "options.json";

/// The file that says a folder holds an ELMo, if one does.
pub(super) fn settings_in(folder: &Path) -> Result<Option<PathBuf>> {
    for name in ["config.json", OPTIONS] {
        let path = folder.join(name);
        let settings = object(&path, read_optional(&path)?.as_deref())?;
        let kind = settings.get("model_type").and_then(Value::as_str);
        if kind == Some("elmo") || (name == OPTIONS && settings.contains_key("char_cnn")) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// A `tokenizer.json` for words: what stands before and after a sentence is known, all else is one token.
pub(super) fn tokenizer_json(path: &Path) -> Result<Vec<u8>> {
    let tokens = ["<UNK>", "<S>", "</S>"];
    let vocab = json!({"<UNK>": 0, "<S>": 1, "</S>": 2});
    let model = json!({"type": "WordLevel", "vocab": vocab, "unk_token": tokens[0]});
    let ids: HashMap<String, u32> = tokens.iter().map(|token| token.to_string()).zip(0..).collect();
    let mut parts = Parts::new(path, model, ids, tokens.len());
    parts.pre_tokenizer = json!({"type": "WhitespaceSplit"});
    for token in &tokens[1..] {
        parts.add(Token::new(*token, true));
    }
    parts.frame("<S> $A </S>", "<S> $A </S> <S>:1 $B:1 </S>:1")?;
    parts.finish()
}

#[cfg(test)]
mod tests {
    use crate::characters::{WORD, begin_of_sentence, encode, end_of_sentence};
    use crate::{Input, Tokenizer};

    fn check(tokenizer: &Tokenizer) {
        let pair = Some("Schön .");
        let inputs = [Input { text: "The U.S. ,", pair }, Input { text: "", pair: None }];
        let encodings = tokenizer.encode_batch(&inputs, None).unwrap();
        let words = ["The", "U.S.", ",", "Schön", "."].map(encode);
        let (begin, end) = (begin_of_sentence(), end_of_sentence());
        let expected = [begin, words[0], words[1], words[2], end, begin, words[3], words[4], end];
        assert_eq!(encodings[0].chars, expected.concat());
        assert_eq!(encodings[0].ids, [1, 0, 0, 0, 2, 1, 0, 0, 2]);
        assert_eq!(encodings[1].chars, [begin, end].concat());
        let cut = tokenizer.encode("The U.S. ,", None, Some(4)).unwrap();
        assert_eq!((cut.len(), cut.chars.len(), cut.cut), (4, 4 * WORD, 1));
    }

    #[test]
    fn words_have_their_characters_here_and_after_saving() {
        for (name, text) in [
            ("options.json", r#"{"char_cnn": {"filters": [[1, 4]]}}"#),
            ("config.json", r#"{"model_type": "elmo"}"#),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(name), text).unwrap();
            // The words of a language model's output, which are no tokens.
            std::fs::write(folder.path().join("vocab.txt"), "</S>\n<S>\n<UNK>\nthe\n").unwrap();
            let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
            check(&tokenizer);
            let saved = tempfile::tempdir().unwrap();
            tokenizer.save(saved.path()).unwrap();
            check(&Tokenizer::from_folder(saved.path()).unwrap());
        }
    }

    #[test]
    fn other_folders_are_none_of_elmo() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("options.json"), "{}").unwrap();
        assert!(Tokenizer::from_folder(folder.path()).is_err());
        std::fs::write(folder.path().join("options.json"), "{").unwrap();
        let error = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("options.json"), "{error}");
    }
}

//! The language models that flair saves: a state dict, and beside it their settings and a dictionary of characters.
//!
//! Reference code: `LanguageModel.save` in flair's `models/language_model.py` and `Dictionary` in its `data.py`,
//! <https://github.com/flairNLP/flair>.

use serde_json::{Map, Value as Json};

use super::value::{Id, Pickle, Value};
use crate::Error;
use crate::input::Input;

/// What stands in every such file beside the weights.
const MARKS: [&str; 4] = ["state_dict", "dictionary", "is_forward_lm", "hidden_size"];

/// What a file of flair says of its language model.
#[derive(Clone, Debug, PartialEq)]
pub struct FlairModel {
    /// The settings, as a `config.json`.
    pub config: Json,
    /// The characters by their numbers. Unknown ones are number 0, whatever that is.
    pub characters: Vec<String>,
    /// Whether texts are read from their first character on.
    pub forward: bool,
    /// What stands before a text, in the order in which it is read.
    pub delimiter: String,
}

/// The model of a pickle, if it is one of flair's.
pub(super) fn of(input: &Input, pickle: &Pickle) -> Result<Option<FlairModel>, Error> {
    let get = |key: &str| pickle.get(pickle.root, key).map(|id| pickle.value(id));
    let Some(dictionary) =
        pickle.get(pickle.root, "dictionary").filter(|_| MARKS.iter().all(|key| get(key).is_some()))
    else {
        return Ok(None);
    };
    let bad = |reason: &str| Err(input.bad(format!("flair's language model: {reason}")));
    let Some(Value::Flag(forward)) = get("is_forward_lm") else {
        return bad("is_forward_lm is neither true nor false");
    };
    let delimiter = match get("document_delimiter") {
        Some(Value::Text(text)) => text.to_string(),
        None | Some(Value::Opaque) => "\n".to_string(),
        Some(_) => return bad("document_delimiter is no text"),
    };
    let characters = characters(input, pickle, dictionary)?;
    let mut config = Map::new();
    let class = match (get("has_decoder"), *forward) {
        (Some(Value::Flag(false)), _) => "FlairEmbeddings",
        (_, true) => "FlairForwardLanguageModel",
        (_, false) => "FlairBackwardLanguageModel",
    };
    config.insert("model_type".to_string(), "flair".into());
    config.insert("architectures".to_string(), vec![class].into());
    config.insert("is_forward_lm".to_string(), (*forward).into());
    config.insert("vocab_size".to_string(), characters.len().into());
    for key in ["hidden_size", "nlayers", "embedding_size", "nout", "dropout", "recurrent_type"] {
        let value: Json = match get(key) {
            Some(Value::Int(number)) => match u64::try_from(*number) {
                Ok(number) => number.into(),
                Err(_) => return bad(&format!("{key} is {number}")),
            },
            Some(Value::Real(number)) => (*number).into(),
            Some(Value::Text(text)) => text.to_lowercase().into(),
            // Files of old versions lack some; what is None in Python is as if it were not there.
            None | Some(Value::Opaque) => continue,
            Some(_) => return bad(&format!("{key} is neither a number nor a text")),
        };
        config.insert(key.to_string(), value);
    }
    config.insert("document_delimiter".to_string(), delimiter.as_str().into());
    Ok(Some(FlairModel { config: config.into(), characters, forward: *forward, delimiter }))
}

/// The items of a `Dictionary`, an object whose state has them twice: as a list, and with their numbers.
fn characters(input: &Input, pickle: &Pickle, dictionary: Id) -> Result<Vec<String>, Error> {
    let bad = |reason: String| input.bad(format!("flair's dictionary of characters: {reason}"));
    let state = match pickle.value(dictionary) {
        Value::Object(parts) => {
            parts.iter().copied().find(|&part| matches!(pickle.value(part), Value::Mapping(_)))
        }
        _ => None,
    };
    let list = |key| state.and_then(|state| pickle.get(state, key)).map(|id| pickle.value(id));
    let (Some(Value::Sequence(items)), Some(Value::Mapping(numbers))) = (list("idx2item"), list("item2idx"))
    else {
        return Err(bad("it has no idx2item and item2idx".to_string()));
    };
    let text = |id: Id| -> Result<String, Error> {
        let bytes = match pickle.value(id) {
            Value::Bytes(bytes) => bytes,
            Value::Text(text) => return Ok(text.to_string()),
            _ => return Err(bad("an item is no character".to_string())),
        };
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_string()),
            Err(_) => Err(bad(format!("\"{}\" is no UTF-8", bytes.escape_ascii()))),
        }
    };
    let items: Vec<String> = items.iter().map(|&id| text(id)).collect::<Result<_, _>>()?;
    // Flair looks characters up in one of them and sizes its table by the other.
    for &(item, number) in numbers {
        let (item, number) = (text(item)?, pickle.size(number));
        if number.and_then(|number| items.get(number)) != Some(&item) {
            return Err(bad(format!("{item:?} is not where item2idx says it is in idx2item")));
        }
    }
    if numbers.len() != items.len() || items.is_empty() {
        return Err(bad(format!("it lists {} items and numbers {}", items.len(), numbers.len())));
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::PyTorchFile;

    fn published(name: &str) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/flair-published");
        std::fs::read(folder.join(name)).unwrap()
    }

    /// The file with some bytes of its pickle changed, all of them the same number of bytes. Its old form has no checksums.
    fn changed(from: &[u8], to: &[u8]) -> String {
        let mut bytes = published("old.pt");
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
        PyTorchFile::from_bytes("lm.pt", bytes).unwrap_err().to_string()
    }

    #[test]
    fn settings_and_characters_are_read() {
        let file = |name: &str| PyTorchFile::from_bytes(name, published(name)).unwrap();
        let forward = file("forward.pt");
        let model = forward.flair().unwrap();
        assert!(model.forward && model.delimiter == "\n");
        assert_eq!(model.characters[..5], ["<unk>", " ", "\n", "e", "t"]);
        assert!(model.characters.contains(&"€".to_string()));
        let expected = serde_json::json!({
            "model_type": "flair", "architectures": ["FlairForwardLanguageModel"], "is_forward_lm": true,
            "vocab_size": model.characters.len(), "hidden_size": 9, "nlayers": 1, "embedding_size": 5, "dropout": 0.1,
            "recurrent_type": "lstm", "document_delimiter": "\n",
        });
        assert_eq!(model.config, expected);
        let old = file("old.pt");
        let model = old.flair().unwrap();
        assert_eq!(
            (&model.config["nout"], &model.config["recurrent_type"]),
            (&7.into(), &serde_json::Value::Null)
        );
        assert_eq!(model.characters[..2], [" ", "\n"]);
        let bare = file("bare.pt");
        let model = bare.flair().unwrap();
        assert_eq!((model.forward, model.delimiter.as_str()), (false, "\n\n"));
        assert_eq!(model.config["architectures"][0], "FlairEmbeddings");
        // Other files have nothing of it.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/weights/pytorch");
        assert!(PyTorchFile::open(folder.join("checkpoint.ckpt")).unwrap().flair().is_none());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (from, to) in [(b"idx2item", b"idx2itum"), (b"item2idx", b"item2idy")] {
            let error = changed(from, to);
            assert!(error.contains("it has no idx2item and item2idx"), "{error}");
        }
        let error = changed(b"flair.data\nDictionary", b"posix.data\nDictionary");
        assert!(error.contains("posix.data.Dictionary"), "{error}");
    }
}

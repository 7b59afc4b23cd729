//! A model that knows words by their static vectors alone: what models of words in context are held against.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use topwork_data::{Dataset, Label};
use topwork_text::Tokenizer;
use topwork_weights::{WordVectors, atomic};

use crate::error::Error;

/// The token of words without a vector.
const UNKNOWN: &str = "[UNK]";

/// Writes a model folder without weights for the words of `data` that have a vector: a run that starts from it and from the same
/// vectors, and reads the lowest states ([`topwork_models::Layers::First`]), sees each word's vector and nothing else. All words
/// without one are one token. Gives how many words there are.
///
/// Where tags are given for words with spaces around them, these are the words; else punctuation stands apart.
///
/// # Errors
/// No word has a vector; the folder cannot be written.
pub fn word_model(vectors: &WordVectors, data: &[Dataset], folder: &Path) -> Result<usize, Error> {
    fs::create_dir_all(folder).map_err(Error::file(folder))?;
    let splitter = if spaced(data) { "WhitespaceSplit" } else { "Whitespace" };
    let path = folder.join("tokenizer.json");
    write(&path, &tokenizer(splitter, std::iter::empty()))?;
    // What it takes for words is what the tokenizer says.
    let splits = Tokenizer::from_file(&path)?;
    let mut words = BTreeSet::new();
    for dataset in data {
        let texts: Vec<&str> = dataset
            .examples
            .iter()
            .flat_map(|example| [Some(example.text.as_str()), example.pair.as_deref()])
            .flatten()
            .collect();
        for (encoding, text) in splits.encode_batch(&texts, None)?.iter().zip(&texts) {
            let word = |origin: &topwork_text::Origin| {
                let (start, end) = origin.offsets();
                &text[start..end]
            };
            words.extend(encoding.origins.iter().map(word));
        }
    }
    let known = |word: &&str| {
        *word != UNKNOWN && (vectors.vector(word).is_some() || vectors.get(&word.to_lowercase()).is_some())
    };
    let words: Vec<&str> = words.into_iter().filter(known).collect();
    if words.is_empty() {
        return Err(Error::Task(
            "none of the words of the data has a vector: are the vectors of another language?".to_string(),
        ));
    }
    write(&path, &tokenizer(splitter, words.iter().copied()))?;
    let config = json!({
        "model_type": "bilstm",
        "from_nothing": true,
        "vocab_size": words.len() + 1,
        "embedding_size": vectors.width(),
        // Above the states that are read, so that it says nothing; as wide as they are, by which the learning rate is proposed.
        "hidden_size": vectors.width().div_ceil(2),
        "dropout": 0.1,
    });
    write(&folder.join("config.json"), &config)?;
    Ok(words.len())
}

/// Whether all words that have a label stand between spaces.
fn spaced(data: &[Dataset]) -> bool {
    let mut seen = false;
    let apart = data.iter().flat_map(|dataset| &dataset.examples).all(|example| {
        let ranges: Vec<(usize, usize)> = match &example.label {
            Some(Label::Words(words)) => words.iter().map(|word| (word.start, word.end)).collect(),
            Some(Label::Tree(nodes)) => nodes.iter().map(|node| (node.start, node.end)).collect(),
            _ => return false,
        };
        seen |= !ranges.is_empty();
        let text = &example.text;
        ranges.iter().all(|&(start, end)| {
            let free = |char: Option<char>| char.is_none_or(char::is_whitespace);
            free(text[..start].chars().next_back()) && free(text[end..].chars().next())
        })
    });
    seen && apart
}

fn tokenizer<'a>(splitter: &str, words: impl Iterator<Item = &'a str>) -> Value {
    let vocab: serde_json::Map<String, Value> = std::iter::once(UNKNOWN)
        .chain(words)
        .enumerate()
        .map(|(id, word)| (word.to_string(), id.into()))
        .collect();
    json!({
        "version": "1.0",
        "pre_tokenizer": {"type": splitter},
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": UNKNOWN},
    })
}

fn write(path: &Path, value: &Value) -> Result<(), Error> {
    Ok(atomic::write(path, value.to_string().as_bytes())?)
}

#[cfg(test)]
mod tests {
    use topwork_data::{Example, TaggedWord};

    use super::*;

    fn dataset(text: &str, words: Option<&[(usize, usize)]>) -> Vec<Dataset> {
        let word = |&(start, end): &(usize, usize)| TaggedWord { start, end, tag: "O".to_string() };
        let label = words.map(|words| Label::Words(words.iter().map(word).collect()));
        vec![Dataset::given(vec![Example { text: text.to_string(), pair: None, label, row: 1, id: None }])]
    }

    fn tokens(data: &[Dataset], words: &[&str]) -> Vec<String> {
        let rows: Vec<f32> = (0..2 * words.len()).map(|at| at as f32).collect();
        let vectors = WordVectors::new(words.iter().copied(), 2, &rows);
        let folder = tempfile::tempdir().unwrap();
        let count = word_model(&vectors, data, folder.path()).unwrap();
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        assert_eq!(tokenizer.vocab_size(), count + 1);
        let ids = tokenizer.encode(&data[0].examples[0].text, None, None).unwrap().ids;
        ids.iter().map(|&id| tokenizer.id_to_token(id).unwrap()).collect()
    }

    #[test]
    fn words_are_those_of_the_tags_or_have_no_punctuation() {
        let known = ["the", "u.s.", "tree", ".", "U"];
        let text = "The U.S. tree .";
        let apart = [(0, 3), (4, 8), (9, 13), (14, 15)];
        assert_eq!(tokens(&dataset(text, Some(&apart)), &known), ["The", "U.S.", "tree", "."]);
        // Where a tagged word ends within what spaces make, as in CoNLL-U, and where nothing is tagged.
        let text = "The wood. U.S. tree";
        let within = [(0, 3), (4, 8), (8, 9), (10, 14), (15, 19)];
        let expected = ["The", "[UNK]", ".", "U", ".", "[UNK]", ".", "tree"];
        assert_eq!(tokens(&dataset(text, Some(&within)), &known), expected);
        assert_eq!(tokens(&dataset(text, None), &known), expected);
    }

    #[test]
    fn a_folder_of_no_words_is_none() {
        let vectors = WordVectors::new(["Baum"], 1, &[1.0]);
        let folder = tempfile::tempdir().unwrap();
        let error = word_model(&vectors, &dataset("the tree", None), folder.path()).unwrap_err().to_string();
        assert!(error.contains("none of the words"), "{error}");
    }
}

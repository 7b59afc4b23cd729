//! Words in context: the vector of a word in a sentence is the mean of its tokens' states in the last layer.
//!
//! With static vectors a word has one vector wherever it stands; here "stick" in "hit it with a stick" and in "labels
//! stick to the jar" has two, with neighbours of their own.
//! Paper: Ethayarajh 2019, "How Contextual are Contextualized Word Representations?",
//! <https://aclanthology.org/D19-1006>.

use std::path::Path;

use topwork_kernels::gemm::Precision;
use topwork_models::model::plain;
use topwork_models::{HeadSpec, Model, Pooling};
use topwork_nn::Pass;
use topwork_text::{Encoding, Packed, Tokenizer};
use topwork_weights::WordVectors;

use super::Space;
use crate::error::Error;
use crate::model_files;
use crate::opened;
use crate::scoring::in_batches;

/// An encoder that is asked about words.
pub struct ContextWords {
    model: Model,
    tokenizer: Tokenizer,
    precision: Precision,
}

/// A word in a sentence.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    /// The word's vector there.
    pub vector: Vec<f32>,
    /// First and last byte of the word in the sentence, the last one not included.
    pub bytes: (usize, usize),
    /// The tokens it was cut into.
    pub tokens: Vec<String>,
}

impl ContextWords {
    /// Opens a model folder; a head is left out.
    ///
    /// # Errors
    /// A missing or broken file.
    pub fn open(folder: impl AsRef<Path>, precision: Precision) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let spec = HeadSpec::embedder(Pooling::Mean, false);
        let (tokenizer, opened) =
            rayon::join(|| model_files::tokenizer(folder), || opened::open(folder, &spec, 0));
        let ((mut model, _), tokenizer) = (opened?, tokenizer?);
        model.store.keep_packed();
        Ok(ContextWords { model, tokenizer, precision })
    }

    /// Length of a vector.
    pub fn width(&self) -> usize {
        self.model.size().hidden
    }

    /// The first `most` whole words of the model's own vocabulary, in its order, which for most models begins with the
    /// frequent ones: letters only, two or more, and no pieces of words.
    pub fn own_words(&self, most: usize) -> Vec<String> {
        let tokens: Vec<String> =
            (0..self.tokenizer.id_limit() as u32).filter_map(|id| self.tokenizer.id_to_token(id)).collect();
        let begins_with =
            |sign: &str| tokens.iter().any(|token| token.len() > sign.len() && token.starts_with(sign));
        // WordPiece marks what goes on with a word, the others what begins one.
        let start = ["Ġ", "▁"].into_iter().find(|sign| !begins_with("##") && begins_with(sign)).unwrap_or("");
        let mut seen = std::collections::HashSet::new();
        tokens
            .iter()
            .filter_map(|token| token.strip_prefix(start))
            .filter(|word| word.chars().count() > 1 && word.chars().all(char::is_alphabetic))
            .filter(|word| seen.insert(*word))
            .take(most)
            .map(String::from)
            .collect()
    }

    /// Words each in a text of its own, as a space to look for neighbours in.
    ///
    /// # Errors
    /// A word the tokenizer makes nothing of.
    pub fn alone(&self, words: &[String]) -> Result<Space, Error> {
        let texts: Vec<(&str, (usize, usize))> =
            words.iter().map(|word| (word.as_str(), (0, word.len()))).collect();
        let vectors: Vec<f32> = self.vectors(&texts)?.into_iter().flat_map(|found| found.vector).collect();
        Ok(Space::new(WordVectors::new(words.iter().map(String::as_str), self.width(), &vectors)))
    }

    /// A word in sentences: where it stands for the first time in each, as a whole word, in the same case if it can be.
    ///
    /// # Errors
    /// A sentence without the word; one so long that the word is cut off.
    pub fn within<S: AsRef<str>>(&self, word: &str, sentences: &[S]) -> Result<Vec<Occurrence>, Error> {
        let mut texts = Vec::new();
        for sentence in sentences {
            let sentence = sentence.as_ref();
            let Some(place) = find(sentence, word) else {
                return Err(Error::Task(format!("\"{word}\" does not stand in \"{sentence}\" as a word")));
            };
            texts.push((sentence, place));
        }
        self.vectors(&texts)
    }

    /// Mean states of the tokens at a place of each text.
    fn vectors(&self, texts: &[(&str, (usize, usize))]) -> Result<Vec<Occurrence>, Error> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let only: Vec<&str> = texts.iter().map(|(text, _)| *text).collect();
        let encodings = self.tokenizer.encode_batch(&only, Some(self.model.max_tokens()))?;
        let mut places = Vec::new();
        for (encoding, (text, place)) in encodings.iter().zip(texts) {
            let tokens = tokens_at(encoding, *place);
            if tokens.is_empty() {
                let (word, limit) = (&text[place.0..place.1], self.model.max_tokens());
                return Err(Error::Task(if encoding.cut > 0 {
                    format!("\"{word}\" lies beyond the {limit} tokens that the model reads of its text")
                } else {
                    format!("the model's tokenizer makes nothing of \"{word}\"")
                }));
            }
            places.push(tokens);
        }
        let packed = Packed::from_encodings(&encodings);
        let width = self.width();
        let means = in_batches(packed.lengths(), |indices| {
            let batch = packed.select(indices);
            let pass = Pass::eval(&self.model.store, self.precision);
            let states = plain(self.model.hidden(&pass, &batch)?)?;
            let mut means = Vec::with_capacity(indices.len() * width);
            for (at, &index) in indices.iter().enumerate() {
                let first = batch.range(at).start;
                let tokens = &places[index];
                means.extend((0..width).map(|column| {
                    let state = |&token: &usize| f64::from(states[(first + token) * width + column]);
                    (tokens.iter().map(state).sum::<f64>() / tokens.len() as f64) as f32
                }));
            }
            Ok(means)
        })?
        .concat();
        let found = texts.iter().zip(&encodings).zip(&places).zip(means.chunks(width));
        Ok(found
            .map(|(((&(_, bytes), encoding), places), mean)| Occurrence {
                vector: mean.to_vec(),
                bytes,
                tokens: places
                    .iter()
                    .map(|&at| self.tokenizer.id_to_token(encoding.ids[at]).unwrap_or_default())
                    .collect(),
            })
            .collect())
    }
}

/// The tokens that share a byte with a place.
fn tokens_at(encoding: &Encoding, (start, end): (usize, usize)) -> Vec<usize> {
    let within = |&at: &usize| {
        let (first, last) = encoding.origins[at].offsets();
        !encoding.origins[at].special && first < end && last > start
    };
    (0..encoding.len()).filter(within).collect()
}

/// Where a word stands for the first time, no letter or digit beside it.
fn find(sentence: &str, word: &str) -> Option<(usize, usize)> {
    let alone = |start: usize, end: usize| {
        let beside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        !beside(sentence[..start].chars().next_back()) && !beside(sentence[end..].chars().next())
    };
    if word.is_empty() {
        return None;
    }
    let exact = sentence.match_indices(word).map(|(start, _)| (start, start + word.len()));
    if let Some(place) = exact.into_iter().find(|&(start, end)| alone(start, end)) {
        return Some(place);
    }
    let lower = word.to_lowercase();
    let starts = sentence.char_indices().map(|(start, _)| start);
    starts
        .filter_map(|start| {
            // Lower case may be longer or shorter than what it comes from.
            let ends = sentence[start..].char_indices().map(|(at, c)| start + at + c.len_utf8());
            let end = ends
                .take_while(|end| end - start <= 2 * lower.len())
                .find(|&end| sentence[start..end].to_lowercase() == lower)?;
            alone(start, end).then_some((start, end))
        })
        .next()
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::*;
    use topwork_testkit::close;

    fn tiny() -> ContextWords {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/bert");
        ContextWords::open(folder, Precision::F32).unwrap()
    }

    #[test]
    fn a_word_is_found_whole_and_in_its_own_case_first() {
        assert_eq!(find("Sticks and a stick", "stick"), Some((13, 18)));
        assert_eq!(find("Stick it, stick", "stick"), Some((10, 15)));
        assert_eq!(find("STICK it", "stick"), Some((0, 5)));
        assert_eq!(find("Über über", "ÜBER"), Some((0, 5)));
        assert_eq!(find("drumsticks", "stick"), None);
        assert_eq!(find("a", ""), None);
    }

    #[test]
    fn vectors_are_the_mean_states_that_transformers_gives() {
        let words = tiny();
        let golden = golden::expected();
        let mut seen = 0;
        for case in golden["context"].as_array().unwrap() {
            let (word, sentence) = (case["word"].as_str().unwrap(), case["sentence"].as_str().unwrap());
            let found = words.within(word, &[sentence]).unwrap().remove(0);
            assert_eq!(found.tokens, golden::strings(&case["tokens"]), "{word} in {sentence}");
            close(&found.vector, &golden::floats(&case["vector"]), 2e-5).unwrap();
            seen += 1;
        }
        assert_eq!(seen, 5);
    }

    #[test]
    fn a_word_has_a_vector_for_each_sentence_and_neighbours_of_its_own() {
        let words = tiny();
        let two = words.within("call", &["call me now", "no call tomorrow", "call me now"]).unwrap();
        assert_ne!(two[0].vector, two[1].vector);
        assert_eq!(two[0].vector, two[2].vector, "whatever stands beside it in the batch");
        let own = words.own_words(50);
        assert!(own.contains(&"call".into()) && own.iter().all(|word| !word.starts_with("##")), "{own:?}");
        assert_eq!(words.own_words(3).len(), 3);
        let space = words.alone(&own).unwrap();
        let near = |at: usize| space.nearest_to(&two[at].vector, &[], own.len());
        assert_ne!(near(0), near(1));
        let error = words.within("call", &["recalled"]).err().unwrap().to_string();
        assert!(error.contains("\"call\" does not stand in \"recalled\""), "{error}");
        let long = format!("{} call", "now ".repeat(200));
        assert!(words.within("call", &[&long]).err().unwrap().to_string().contains("beyond the 64 tokens"));
    }
}

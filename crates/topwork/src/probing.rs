//! What a language model finds likelier: of texts that differ in a word or an end, the one that common sense says.
//!
//! A decoder scores a text by the log-likelihood of its tokens, each given those before it (Trinh and Le 2018, "A Simple Method
//! for Commonsense Reasoning", section 3, full scoring, <https://arxiv.org/abs/1806.02847>). A masked language model scores it
//! by its pseudo-log-likelihood, each token behind a mask given all others (Salazar et al. 2020, "Masked Language Model
//! Scoring", section 2, <https://arxiv.org/abs/1910.14659>).

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use topwork_kernels::gemm::Precision;
use topwork_models::model::{plain, saved_spec};
use topwork_models::{HeadSpec, Model};
use topwork_nn::Pass;
use topwork_text::{Packed, Tokenizer};

use crate::error::Error;
use crate::generator::Generator;
use crate::language::Batch;
use crate::model_files;
use crate::opened;
use crate::scoring::{first_greatest, log_share};

/// What stands for the option in a text.
pub const BLANK: &str = "___";

/// Tokens in a pass at most: a text is read once for each of its tokens where they are masked.
const PASS: usize = 2048;

/// A text with a blank and what could stand there; without a text, whole texts to choose from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The text, with [`BLANK`] in it; empty if the options are whole texts.
    #[serde(default)]
    pub text: String,
    /// What to choose from.
    pub options: Vec<String>,
    /// The number of the right one, from 0.
    pub answer: usize,
}

/// What a model made of a question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answered {
    /// The number of the likeliest option, from 0.
    pub chosen: usize,
    /// The (pseudo-)log-likelihood of each option's text.
    pub scores: Vec<f64>,
}

/// A language model that scores texts.
pub enum Scorer {
    /// Each token given those before it.
    Causal(Box<Generator>),
    /// Each token given all others.
    Masked {
        /// The model with its head.
        model: Box<Model>,
        /// Its tokenizer.
        tokenizer: Box<Tokenizer>,
        /// The token of the mask.
        mask: u32,
    },
}

/// Reads questions, one JSON object a line: `{"text": "Most sheep are ___.", "options": ["white", "black"], "answer": 0}`.
///
/// # Errors
/// [`Error::Task`] with the line: no such object, fewer than two options, an answer that is none of them, a text without its blank
/// or with several.
pub fn questions(text: &str, path: &Path) -> Result<Vec<Question>, Error> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |reason: String| Error::Task(format!("{} line {}: {reason}", path.display(), at + 1));
        let question: Question = serde_json::from_str(line).map_err(|error| {
            wrong(format!(
                "{error}; a line looks like {{\"text\": \"Most sheep are {BLANK}.\", \"options\": [\"white\", \"black\"], \"answer\": 0}}"
            ))
        })?;
        let count = question.options.len();
        if count < 2 {
            return Err(wrong(format!("{count} options: expected at least 2")));
        }
        if question.answer >= count {
            return Err(wrong(format!("answer {}: expected 0 to {}", question.answer, count - 1)));
        }
        let blanks = question.text.matches(BLANK).count();
        if !question.text.is_empty() && blanks != 1 {
            return Err(wrong(format!("the text has {blanks} blanks ({BLANK}): expected 1")));
        }
        if question.texts().iter().any(|text| text.trim().is_empty()) {
            return Err(wrong("an option is empty".to_string()));
        }
        found.push(question);
    }
    if found.is_empty() {
        return Err(Error::Task(format!("{}: there is no question in it", path.display())));
    }
    Ok(found)
}

impl Question {
    /// The text with each option in its place.
    pub fn texts(&self) -> Vec<String> {
        if self.text.is_empty() {
            return self.options.clone();
        }
        self.options.iter().map(|option| self.text.replace(BLANK, option)).collect()
    }
}

impl Scorer {
    /// Opens a model folder or file: a masked language model, or a decoder.
    ///
    /// # Errors
    /// A model that predicts no words, a masked one whose tokenizer has no mask.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if !matches!(saved_spec(path), Ok(HeadSpec::MaskedLm)) {
            return Ok(Scorer::Causal(Box::new(Generator::open(path)?)));
        }
        let (mut model, _) = opened::open_saved(path)?;
        let tokenizer = model_files::tokenizer(path)?;
        let mask = tokenizer.special_tokens().mask.ok_or_else(|| {
            Error::Task(format!("{}: its tokenizer has no mask, so no word can be asked for", path.display()))
        })?;
        model.store.keep_packed();
        Ok(Scorer::Masked { model: Box::new(model), tokenizer: Box::new(tokenizer), mask })
    }

    /// What the scores are.
    pub fn measure(&self) -> &'static str {
        match self {
            Scorer::Causal(_) => "log-likelihood",
            Scorer::Masked { .. } => "pseudo-log-likelihood",
        }
    }

    /// The likeliest option of a question, the first of equals.
    ///
    /// # Errors
    /// A text longer than the model reads, or of fewer tokens than can be asked for.
    pub fn answer(&self, question: &Question, precision: Precision) -> Result<Answered, Error> {
        let scores: Vec<f64> =
            question.texts().iter().map(|text| self.score(text, precision)).collect::<Result<_, _>>()?;
        Ok(Answered { chosen: first_greatest(&scores), scores })
    }

    /// The (pseudo-)log-likelihood of a text.
    ///
    /// # Errors
    /// As [`Scorer::answer`].
    pub fn score(&self, text: &str, precision: Precision) -> Result<f64, Error> {
        match self {
            Scorer::Causal(generator) => {
                let ids = generator.prompt(text)?;
                let most = generator.model().max_tokens();
                check(text, ids.len(), most, 2)?;
                let mut batch = Batch::default();
                batch.push(&ids, 1);
                Ok(-batch.loss(generator, precision)?)
            }
            Scorer::Masked { model, tokenizer, mask } => {
                let encoding = tokenizer.encode(text, None, None)?;
                let length = encoding.len();
                let asked: Vec<usize> = (0..length).filter(|&at| !encoding.origins[at].special).collect();
                check(text, length, model.max_tokens(), 1 + length - asked.len())?;
                let mut sum = 0.0;
                for some in asked.chunks((PASS / length).max(1)) {
                    sum += masked(model, &encoding, some, *mask, precision)?;
                }
                Ok(sum)
            }
        }
    }
}

fn check(text: &str, tokens: usize, most: usize, least: usize) -> Result<(), Error> {
    if tokens < least || tokens > most {
        let begin: String = text.chars().take(40).collect();
        return Err(Error::Task(format!(
            "{begin:?}: it has {tokens} tokens, the model scores {least} to {most}"
        )));
    }
    Ok(())
}

/// The summed log-likelihoods of some tokens of a text, each behind a mask in a copy of its own.
fn masked(
    model: &Model,
    encoding: &topwork_text::Encoding,
    asked: &[usize],
    mask: u32,
    precision: Precision,
) -> Result<f64, Error> {
    let mut packed = Packed::from_encodings(&vec![encoding.clone(); asked.len()]);
    let rows: Vec<usize> = asked.iter().enumerate().map(|(copy, &at)| copy * encoding.len() + at).collect();
    rows.iter().for_each(|&row| packed.ids[row] = mask);
    let pass = Pass::eval(&model.store, precision);
    let rows: Arc<[u32]> = rows.iter().map(|&row| row as u32).collect();
    let hidden = topwork_ops::embedding(model.features(&pass, &packed)?, &rows);
    let scores = plain(model.head(&pass, hidden, &packed)?)?;
    let vocab = scores.len() / asked.len();
    Ok(scores.chunks(vocab).zip(asked).map(|(row, &at)| log_share(row, encoding.ids[at] as usize)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_and_their_faults_named() {
        let read = |text: &str| questions(text, Path::new("q.jsonl"));
        let lines = "{\"text\": \"Most sheep are ___.\", \"options\": [\"white\", \"black\"], \"answer\": 0}\n\n\
                     {\"options\": [\"a b\", \"b a\"], \"answer\": 1}\n";
        let found = read(lines).unwrap();
        assert_eq!(found[0].texts(), ["Most sheep are white.", "Most sheep are black."]);
        assert_eq!(found[1].texts(), ["a b", "b a"]);
        let refuse = |line: &str, part: &str| {
            let error = read(&format!("{lines}{line}")).unwrap_err().to_string();
            assert!(error.contains("q.jsonl line 4") && error.contains(part), "{error}");
        };
        refuse("{\"options\": [\"a\"], \"answer\": 0}", "1 options");
        refuse("{\"options\": [\"a\", \"b\"], \"answer\": 2}", "expected 0 to 1");
        refuse("{\"text\": \"x\", \"options\": [\"a\", \"b\"], \"answer\": 0}", "0 blanks");
        refuse("{\"options\": [\"a\", \" \"], \"answer\": 0}", "empty");
        refuse("{\"option\": 1}", "unknown field");
        assert!(read("\n").unwrap_err().to_string().contains("no question"));
    }
}

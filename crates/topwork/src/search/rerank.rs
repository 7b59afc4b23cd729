//! A cross-encoder that reads query and document together and puts what was found in a better order.
//!
//! Paper: Nogueira, Cho 2019, "Passage Re-ranking with BERT", section 2.2, <https://arxiv.org/abs/1901.04085>

use std::path::Path;

use topwork_kernels::gemm::Precision;
use topwork_models::HeadSpec;

use crate::error::Error;
use crate::predictor::Predictor;

/// A model that scores pairs of texts.
pub struct Reranker {
    predictor: Predictor,
    /// The class that means a document answers; `None` for a regression.
    positive: Option<usize>,
}

/// Names of the class that means a document answers, where nothing is said.
const POSITIVE: &[&str] = &["1", "relevant", "yes", "true"];

impl Reranker {
    /// Opens a model that was trained on pairs: a regression, or a classifier of which one label means that a document answers.
    ///
    /// # Errors
    /// A model of another kind, a label it does not have, a classifier of whose labels none says so.
    pub fn open(folder: &Path, positive: Option<&str>, precision: Precision) -> Result<Self, Error> {
        let predictor = Predictor::open_with(folder, precision)?;
        let labels = predictor.labels();
        let wrong = |reason: String| Err(Error::Task(format!("{}: {reason}", folder.display())));
        let chosen = match predictor.model().spec() {
            HeadSpec::Regress { .. } => None,
            HeadSpec::Classify { several: false, .. } => {
                let known = |label: &String| POSITIVE.contains(&label.to_lowercase().as_str());
                let found = match positive {
                    Some(name) => labels.iter().position(|label| label == name),
                    None => labels.iter().position(known),
                };
                match found {
                    Some(class) => Some(class),
                    None => {
                        let given =
                            positive.map(|name| format!("{name:?} is none of them: ")).unwrap_or_default();
                        return wrong(format!(
                            "its labels are {}; {given}say which of them means that a document answers (--positive)",
                            labels.join(", ")
                        ));
                    }
                }
            }
            other => {
                return wrong(format!(
                    "a model that orders documents gives a number or one label for a pair of texts, this one has a {} head",
                    other.name()
                ));
            }
        };
        if chosen.is_none() && positive.is_some() {
            return wrong("a regression has no labels to choose from (--positive)".to_string());
        }
        Ok(Reranker { predictor, positive: chosen })
    }

    /// How well each document answers a query, more is better.
    ///
    /// # Errors
    /// A text the tokenizer refuses.
    pub fn scores(&self, query: &str, documents: &[&str]) -> Result<Vec<f64>, Error> {
        let pairs: Vec<(&str, &str)> = documents.iter().map(|document| (query, *document)).collect();
        let found = self.predictor.predict(&pairs)?;
        Ok(found
            .into_iter()
            .map(|answer| match self.positive {
                Some(class) => answer.probabilities[class],
                None => answer.score.unwrap_or(f64::NEG_INFINITY),
            })
            .collect())
    }

    /// The order of documents by falling score, with the scores; of equals the one that stood first.
    ///
    /// # Errors
    /// As [`Reranker::scores`]; a score that is no number.
    pub fn order(&self, query: &str, documents: &[&str]) -> Result<Vec<(usize, f64)>, Error> {
        let scores = self.scores(query, documents)?;
        if let Some(at) = scores.iter().position(|score| score.is_nan()) {
            return Err(Error::Task(format!("the score of {:?} is no number", documents[at])));
        }
        let mut order: Vec<(usize, f64)> = scores.into_iter().enumerate().collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        Ok(order)
    }
}

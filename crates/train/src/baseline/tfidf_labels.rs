//! TF-IDF and one logistic regression a label: any number of labels a text.

use super::BaselineError;
use super::logistic::{Logistic, sigmoid};
use super::tfidf::Tfidf;
use super::tfidf_logistic::TfidfLogisticOptions;
use serde::{Deserialize, Serialize};

/// TF-IDF and one logistic regression a label, each against the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TfidfLabels {
    tfidf: Tfidf,
    /// One a label.
    models: Vec<OneLabel>,
}

/// What was learnt of one label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum OneLabel {
    Model(Logistic),
    /// Always, or never, true in training.
    Constant(bool),
}

impl TfidfLabels {
    /// Learns `targets`: `[texts, labels]`, row-major. Class weights apply to false and true of each label.
    ///
    /// # Errors
    /// No texts or labels, lengths that differ, no words at all, options out of range.
    pub fn fit(
        texts: &[impl AsRef<str>],
        targets: &[bool],
        labels: usize,
        options: &TfidfLogisticOptions,
    ) -> Result<Self, BaselineError> {
        if labels == 0 {
            return Err(BaselineError::OutOfRange {
                option: "number of labels",
                expected: "at least 1",
                got: 0.0,
            });
        }
        let expected = texts.len() * labels;
        if targets.len() != expected {
            return Err(BaselineError::Length { what: "targets", expected, got: targets.len() });
        }
        let (tfidf, rows) = Tfidf::fit(texts, options.features)?;
        let one = |label: usize| {
            let column: Vec<u32> =
                targets.iter().skip(label).step_by(labels).map(|&t| u32::from(t)).collect();
            match Logistic::fit(&rows, &column, 2, &options.logistic) {
                Ok(model) => Ok(OneLabel::Model(model)),
                Err(BaselineError::OneClass { class, .. }) => Ok(OneLabel::Constant(class == 1)),
                Err(other) => Err(other),
            }
        };
        let models = (0..labels).map(one).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { tfidf, models })
    }

    /// The probability of each label, `[texts, labels]`, row-major.
    pub fn predict_proba(&self, texts: &[impl AsRef<str>]) -> Vec<f32> {
        self.decision(texts).into_iter().map(|z| sigmoid(z) as f32).collect()
    }

    /// The decision function of each label, `[texts, labels]`: above 0 true; infinite for constant labels.
    pub fn decision(&self, texts: &[impl AsRef<str>]) -> Vec<f64> {
        let rows = self.tfidf.rows(texts);
        let labels = self.models.len();
        let mut out = vec![0.0; texts.len() * labels];
        for (label, model) in self.models.iter().enumerate() {
            let column = out.iter_mut().skip(label).step_by(labels);
            match model {
                OneLabel::Model(model) => column.zip(model.decision(&rows)).for_each(|(out, z)| *out = z),
                OneLabel::Constant(true) => column.for_each(|out| *out = f64::INFINITY),
                OneLabel::Constant(false) => column.for_each(|out| *out = f64::NEG_INFINITY),
            }
        }
        out
    }

    /// The terms that speak most for a label, with their weights; empty for constant labels.
    pub fn top_features(&self, label: usize, limit: usize) -> Vec<(String, f64)> {
        match self.models.get(label) {
            Some(OneLabel::Model(model)) => self.tfidf.top(|feature| model.weight(feature, 1), limit),
            Some(OneLabel::Constant(_)) | None => Vec::new(),
        }
    }

    /// Labels always or never true in training, and which: their probability is 1 or 0 for every text.
    pub fn constant_labels(&self) -> Vec<(usize, bool)> {
        let constant = |(label, model): (usize, &OneLabel)| match model {
            OneLabel::Constant(value) => Some((label, *value)),
            OneLabel::Model(_) => None,
        };
        self.models.iter().enumerate().filter_map(constant).collect()
    }

    /// Whether every label's optimum was reached within the iterations allowed.
    pub fn converged(&self) -> bool {
        self.models.iter().all(|model| match model {
            OneLabel::Model(model) => model.converged,
            OneLabel::Constant(_) => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_labels_are_kept_and_said() {
        let texts = ["red apple", "red cherry", "blue sky"];
        let targets = [true, true, false, true, true, false, false, true, false];
        let model = TfidfLabels::fit(&texts, &targets, 3, &TfidfLogisticOptions::default()).unwrap();
        assert_eq!(model.constant_labels(), [(1, true), (2, false)]);
        let probabilities = model.predict_proba(&["red", "blue"]);
        assert!(probabilities[0] > probabilities[3]);
        assert_eq!((probabilities[1], probabilities[2]), (1.0, 0.0));
        assert_eq!(model.top_features(0, 1)[0].0, "red");
        assert!(model.converged() && model.top_features(1, 3).is_empty());
        assert!(TfidfLabels::fit(&texts, &targets[1..], 3, &TfidfLogisticOptions::default()).is_err());
        assert!(TfidfLabels::fit(&texts, &[], 0, &TfidfLogisticOptions::default()).is_err());
    }
}

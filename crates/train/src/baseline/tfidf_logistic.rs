//! TF-IDF and logistic regression: one class a text.

use super::BaselineError;
use super::logistic::{Logistic, LogisticOptions};
use super::tfidf::{Tfidf, TfidfOptions};
use crate::metrics::{Metric, Outcome};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Options of [`TfidfLogistic`] and [`TfidfLabels`](super::TfidfLabels).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TfidfLogisticOptions {
    /// What counts as a term.
    pub features: TfidfOptions,
    /// The regression on them.
    pub logistic: LogisticOptions,
}

/// Values of C that [`TfidfLogistic::fit_choosing_c`] tries: 1 suits few texts, 100 thousands of short ones.
const CANDIDATES: [f64; 3] = [1.0, 10.0, 100.0];

/// TF-IDF and logistic regression: one class a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TfidfLogistic {
    tfidf: Tfidf,
    model: Logistic,
}

impl TfidfLogistic {
    /// Learns `classes`, one a text, each below `labels`.
    ///
    /// # Errors
    /// No texts, lengths that differ, a class out of range, one class only, no words at all, options out of
    /// range.
    pub fn fit(
        texts: &[impl AsRef<str>],
        classes: &[u32],
        labels: usize,
        options: &TfidfLogisticOptions,
    ) -> Result<Self, BaselineError> {
        let (tfidf, rows) = Tfidf::fit(texts, options.features)?;
        let model = Logistic::fit(&rows, classes, labels, &options.logistic)?;
        Ok(Self { tfidf, model })
    }

    /// As [`TfidfLogistic::fit`], with the C of 1, 10 and 100 that has the highest macro F1 on `development`
    /// (texts and classes), of equals the smallest. A baseline with a C that does not fit would flatter what is
    /// compared with it. Returns the C too; `options.logistic.c` is not used.
    ///
    /// # Errors
    /// As [`TfidfLogistic::fit`], and for a development set that cannot be measured.
    pub fn fit_choosing_c<T: AsRef<str>>(
        texts: &[T],
        classes: &[u32],
        labels: usize,
        development: (&[T], &[u32]),
        options: &TfidfLogisticOptions,
    ) -> Result<(Self, f64), BaselineError> {
        let (tfidf, rows) = Tfidf::fit(texts, options.features)?;
        let held = tfidf.rows(development.0);
        let tried = CANDIDATES.into_par_iter().map(|c| -> Result<_, BaselineError> {
            let logistic = LogisticOptions { c, ..options.logistic.clone() };
            let model = Logistic::fit(&rows, classes, labels, &logistic)?;
            let outcome = Outcome::classes(development.1, &model.probabilities(&held), labels)?;
            let score = Metric::parse("macro-f1", outcome.task(), &[], None)?.of(&outcome)?;
            Ok((model, c, score))
        });
        let mut best: Option<(Logistic, f64, f64)> = None;
        for tried in tried.collect::<Result<Vec<_>, _>>()? {
            if best.as_ref().is_none_or(|&(_, _, so_far)| tried.2 > so_far) {
                best = Some(tried);
            }
        }
        match best {
            Some((model, c, _)) => Ok((Self { tfidf, model }, c)),
            None => unreachable!("there are candidates"),
        }
    }

    /// Probabilities `[texts, labels]`, row-major. A text without a known word gets those of an empty text.
    pub fn predict_proba(&self, texts: &[impl AsRef<str>]) -> Vec<f32> {
        self.model.probabilities(&self.tfidf.rows(texts))
    }

    /// The decision function: `[texts]` for two classes (above 0: the second), else `[texts, labels]` over the
    /// labels that occurred in training.
    pub fn decision(&self, texts: &[impl AsRef<str>]) -> Vec<f64> {
        self.model.decision(&self.tfidf.rows(texts))
    }

    /// The terms that speak most for a class, with their weights; empty for a class absent from training.
    pub fn top_features(&self, class: usize, limit: usize) -> Vec<(String, f64)> {
        self.tfidf.top(|feature| self.model.weight(feature, class), limit)
    }

    /// Terms known.
    pub fn features(&self) -> &Tfidf {
        &self.tfidf
    }

    /// Labels that did not occur in training and are never predicted.
    pub fn absent_classes(&self) -> Vec<usize> {
        self.model.absent()
    }

    /// Whether the optimum was reached within the iterations allowed.
    pub fn converged(&self) -> bool {
        self.model.converged
    }

    /// Iterations made.
    pub fn iterations(&self) -> usize {
        self.model.iterations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 6] = ["red apple", "red cherry", "blue sky", "blue sea", "green leaf", "green grass"];

    #[test]
    fn absent_classes_get_no_probability() {
        let model =
            TfidfLogistic::fit(&TEXTS, &[0, 0, 2, 2, 3, 3], 5, &TfidfLogisticOptions::default()).unwrap();
        assert_eq!(model.absent_classes(), [1, 4]);
        let probabilities = model.predict_proba(&["blue"]);
        assert_eq!(probabilities.len(), 5);
        assert_eq!((probabilities[1], probabilities[4]), (0.0, 0.0));
        assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(probabilities[2] > probabilities[0] && probabilities[2] > probabilities[3]);
        assert_eq!(model.top_features(3, 1)[0].0, "green");
        assert_eq!(model.top_features(1, 1), []);
    }

    #[test]
    fn two_of_three_classes_share_one_output() {
        let model =
            TfidfLogistic::fit(&TEXTS[..4], &[0, 0, 2, 2], 3, &TfidfLogisticOptions::default()).unwrap();
        let probabilities = model.predict_proba(&["blue", "red"]);
        assert!(probabilities[2] > 0.5 && probabilities[3] > 0.5 && probabilities[1] == 0.0);
        assert_eq!(model.top_features(0, 1)[0].0, "red");
        assert_eq!(model.top_features(2, 1)[0].0, "blue");
    }

    #[test]
    fn bad_data_is_refused() {
        let check = |texts: &[&str], classes: &[u32], options: &TfidfLogisticOptions, message: &str| {
            let error = TfidfLogistic::fit(texts, classes, 2, options).unwrap_err().to_string();
            assert!(error.contains(message), "{error:?} should contain {message:?}");
        };
        let good = TfidfLogisticOptions::default();
        check(&[], &[], &good, "no training examples");
        check(&["one word", "two words"], &[0], &good, "expected 2 values, got 1");
        check(&["one word", "two words"], &[0, 2], &good, "row 1 is class 2");
        check(&["one word", "two words"], &[1, 1], &good, "all 2 training examples are of class 1");
        check(&["", ""], &[0, 1], &good, "is this the right column?");
        let mut bad = good.clone();
        bad.logistic.c = 0.0;
        check(&["one word", "two words"], &[0, 1], &bad, "C must be above 0");
        bad = good.clone();
        bad.logistic.class_weights = super::super::ClassWeights::Each(vec![1.0]);
        check(&["one word", "two words"], &[0, 1], &bad, "class weights: expected 2");
        bad.logistic.class_weights = super::super::ClassWeights::Each(vec![1.0, -1.0]);
        check(&["one word", "two words"], &[0, 1], &bad, "class weight must be above 0");
    }

    #[test]
    fn c_is_chosen_on_the_development_set() {
        // One odd text in seven: with C 1 the rare class drowns.
        let texts = ["see you", "see me", "you there", "me there", "see there", "you me", "win cash"];
        let classes = [0, 0, 0, 0, 0, 0, 1];
        let options = TfidfLogisticOptions::default();
        let development = (&["cash now", "me and you"][..], &[1, 0][..]);
        let fixed = TfidfLogistic::fit(&texts, &classes, 2, &options).unwrap();
        assert!(fixed.predict_proba(development.0)[1] < 0.5);
        let (chosen, c) = TfidfLogistic::fit_choosing_c(&texts, &classes, 2, development, &options).unwrap();
        assert!(c > 1.0, "{c}");
        assert!(chosen.predict_proba(development.0)[1] > 0.5);
        let error = TfidfLogistic::fit_choosing_c(&texts, &classes, 2, (&["one"][..], &[2][..]), &options);
        assert!(error.unwrap_err().to_string().contains("development set: target of row 0 is class 2"));
        let empty = TfidfLogistic::fit_choosing_c(&texts, &classes, 2, (&[][..], &[][..]), &options);
        assert!(empty.unwrap_err().to_string().contains("zero examples"));
    }

    #[test]
    fn a_text_without_known_words_is_no_error() {
        let model =
            TfidfLogistic::fit(&TEXTS[..4], &[0, 0, 1, 1], 2, &TfidfLogisticOptions::default()).unwrap();
        let probabilities = model.predict_proba(&["", "unheard of"]);
        assert!(probabilities.iter().all(|p| (p - 0.5).abs() < 1e-3), "{probabilities:?}");
        assert!(model.predict_proba(&[] as &[&str]).is_empty());
    }
}

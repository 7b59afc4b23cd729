//! TF-IDF and ridge regression: one number a text.

use super::BaselineError;
use super::ridge::Ridge;
use super::tfidf::{Tfidf, TfidfOptions};
use serde::{Deserialize, Serialize};

/// Options of [`TfidfRidge`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TfidfRidgeOptions {
    /// What counts as a term.
    pub features: TfidfOptions,
    /// Strength of the penalty.
    pub alpha: f64,
}

impl Default for TfidfRidgeOptions {
    fn default() -> Self {
        Self { features: TfidfOptions::default(), alpha: 1.0 }
    }
}

/// TF-IDF and ridge regression: one number a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TfidfRidge {
    tfidf: Tfidf,
    model: Ridge,
}

impl TfidfRidge {
    /// Learns `targets`, one a text.
    ///
    /// # Errors
    /// No texts, lengths that differ, a target that is NaN or infinite, no words at all, options out of range.
    pub fn fit<T: Copy + Into<f64>>(
        texts: &[impl AsRef<str>],
        targets: &[T],
        options: &TfidfRidgeOptions,
    ) -> Result<Self, BaselineError> {
        if targets.len() != texts.len() {
            return Err(BaselineError::Length { what: "targets", expected: texts.len(), got: targets.len() });
        }
        if !(options.alpha > 0.0 && options.alpha.is_finite()) {
            return Err(BaselineError::OutOfRange {
                option: "alpha",
                expected: "above 0",
                got: options.alpha,
            });
        }
        let targets: Vec<f64> = targets.iter().map(|&t| t.into()).collect();
        if let Some(row) = targets.iter().position(|t| !t.is_finite()) {
            return Err(BaselineError::NotFinite { what: "target", row, column: 0, got: targets[row] });
        }
        let (tfidf, rows) = Tfidf::fit(texts, options.features)?;
        let model = Ridge::fit(&rows, &targets, options.alpha);
        Ok(Self { tfidf, model })
    }

    /// One number a text.
    pub fn predict(&self, texts: &[impl AsRef<str>]) -> Vec<f64> {
        self.model.predict(&self.tfidf.rows(texts))
    }

    /// The terms that raise the number most, with their weights.
    pub fn top_features(&self, limit: usize) -> Vec<(String, f64)> {
        self.tfidf.top(|feature| self.model.weights.get(feature).copied(), limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raises_with_the_words_that_raise() {
        let texts = ["very good", "good", "bad", "very bad"];
        let model =
            TfidfRidge::fit(&texts, &[2.0f32, 1.0, -1.0, -2.0], &TfidfRidgeOptions::default()).unwrap();
        let got = model.predict(&["good", "bad", ""]);
        assert!(got[0] > got[2] && got[2] > got[1], "{got:?}");
        assert_eq!(model.top_features(1)[0].0, "good");
    }

    #[test]
    fn bad_data_is_refused() {
        let good = TfidfRidgeOptions::default();
        let error = TfidfRidge::fit(&["one", "two"], &[1.0, f64::NAN], &good).unwrap_err().to_string();
        assert!(error.contains("row 1"), "{error}");
        assert!(TfidfRidge::fit(&["one", "two"], &[1.0], &good).is_err());
        assert!(TfidfRidge::fit(&["one"], &[1.0], &TfidfRidgeOptions { alpha: -1.0, ..good }).is_err());
        assert!(TfidfRidge::fit(&[] as &[&str], &[] as &[f32], &good).is_err());
    }
}

//! Logistic regression on dense vectors, such as those of a frozen encoder: with few labels it is solved to
//! its optimum in less time than one epoch of gradient steps takes.

use super::BaselineError;
use super::dense::Dense;
use super::logistic::{Logistic, LogisticOptions};
use serde::{Deserialize, Serialize};

/// Options of [`LogisticHead`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogisticHeadOptions {
    /// The regression.
    pub logistic: LogisticOptions,
    /// Whether features are first brought to mean 0 and deviation 1 (of the training rows).
    pub standardise: bool,
}

/// Logistic regression on dense vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogisticHead {
    width: usize,
    /// Mean and deviation of each feature, if standardised.
    scale: Option<Vec<(f64, f64)>>,
    model: Logistic,
}

/// Bias of a class absent from training in [`LogisticHead::linear`]: its probability is 0 next to any other.
const NEVER: f32 = -1e4;

impl LogisticHead {
    /// Learns `classes`, one a row, each below `labels`.
    ///
    /// # Shapes
    /// - `features`: `[rows, width]`, row-major
    /// - `classes`: `[rows]`
    ///
    /// # Errors
    /// No rows, lengths that differ, a feature that is NaN or infinite, a class out of range, one class only,
    /// options out of range.
    pub fn fit(
        features: &[f32],
        width: usize,
        classes: &[u32],
        labels: usize,
        options: &LogisticHeadOptions,
    ) -> Result<Self, BaselineError> {
        if classes.is_empty() {
            return Err(BaselineError::Empty);
        }
        check_width(features, width)?;
        if let Some(at) = features.iter().position(|v| !v.is_finite()) {
            let (row, column, got) = (at / width, at % width, f64::from(features[at]));
            return Err(BaselineError::NotFinite { what: "feature", row, column, got });
        }
        let scale = options.standardise.then(|| scale_of(features, width));
        let scaled = scale.as_ref().map(|scale| apply(features, scale));
        let x = Dense::new(scaled.as_deref().unwrap_or(features), width);
        let model = Logistic::fit(&x, classes, labels, &options.logistic)?;
        Ok(Self { width, scale, model })
    }

    /// Probabilities `[rows, labels]` of `features` `[rows, width]`.
    ///
    /// # Errors
    /// When `features` are not rows of the width learnt.
    pub fn predict_proba(&self, features: &[f32]) -> Result<Vec<f32>, BaselineError> {
        check_width(features, self.width)?;
        let scaled = self.scale.as_ref().map(|scale| apply(features, scale));
        Ok(self.model.probabilities(&Dense::new(scaled.as_deref().unwrap_or(features), self.width)))
    }

    /// The decision function: `[rows]` for two classes (above 0: the second), else `[rows, labels]` over the
    /// labels that occurred in training.
    ///
    /// # Errors
    /// When `features` are not rows of the width learnt.
    pub fn decision(&self, features: &[f32]) -> Result<Vec<f64>, BaselineError> {
        check_width(features, self.width)?;
        let scaled = self.scale.as_ref().map(|scale| apply(features, scale));
        Ok(self.model.decision(&Dense::new(scaled.as_deref().unwrap_or(features), self.width)))
    }

    /// Weights `[labels, width]` and biases `[labels]` of a linear layer whose softmax gives the same
    /// probabilities, so that the model can be saved as a classification head.
    pub fn linear(&self) -> (Vec<f32>, Vec<f32>) {
        let labels = self.model.labels;
        let (mut weights, mut biases) = (vec![0.0; labels * self.width], vec![NEVER; labels]);
        let outputs = self.model.intercepts.len();
        for (at, &label) in self.model.present.iter().enumerate() {
            // Two classes share one logit: half of it for one, half against the other.
            let (output, share) = if outputs == 1 { (0, at as f64 - 0.5) } else { (at, 1.0) };
            let mut bias = self.model.intercepts[output];
            for feature in 0..self.width {
                let (mean, deviation) = self.scale.as_ref().map_or((0.0, 1.0), |scale| scale[feature]);
                let weight = self.model.weights[feature * outputs + output] / deviation;
                bias -= weight * mean;
                weights[label * self.width + feature] = (share * weight) as f32;
            }
            biases[label] = (share * bias) as f32;
        }
        (weights, biases)
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

fn check_width(features: &[f32], width: usize) -> Result<(), BaselineError> {
    if width == 0 {
        return Err(BaselineError::OutOfRange {
            option: "width of the features",
            expected: "at least 1",
            got: 0.0,
        });
    }
    if !features.len().is_multiple_of(width) {
        let (expected, got) = (features.len().next_multiple_of(width), features.len());
        return Err(BaselineError::Length { what: "features (rows of the width learnt)", expected, got });
    }
    Ok(())
}

/// Mean and deviation of each column; a constant column keeps deviation 1.
fn scale_of(features: &[f32], width: usize) -> Vec<(f64, f64)> {
    let rows = (features.len() / width) as f64;
    let column = |c: usize| features.iter().skip(c).step_by(width).map(|&v| f64::from(v));
    let of = |c: usize| {
        let mean = column(c).sum::<f64>() / rows;
        let deviation = (column(c).map(|v| (v - mean).powi(2)).sum::<f64>() / rows).sqrt();
        (mean, if deviation > 0.0 { deviation } else { 1.0 })
    };
    (0..width).map(of).collect()
}

fn apply(features: &[f32], scale: &[(f64, f64)]) -> Vec<f32> {
    let scaled = |(i, &v): (usize, &f32)| {
        let (mean, deviation) = scale[i % scale.len()];
        ((f64::from(v) - mean) / deviation) as f32
    };
    features.iter().enumerate().map(scaled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEATURES: [f32; 12] = [1.0, 5.0, 1.2, 5.0, -1.0, 5.0, -1.1, 5.0, 0.1, 5.0, 3.0, 5.0];

    #[test]
    fn bad_features_are_refused() {
        let check = |features: &[f32], width, classes: &[u32], message: &str| {
            let options = LogisticHeadOptions::default();
            let error = LogisticHead::fit(features, width, classes, 2, &options).unwrap_err().to_string();
            assert!(error.contains(message), "{error:?} should contain {message:?}");
        };
        check(&[], 2, &[], "no training examples");
        check(&[1.0, 2.0, 3.0], 2, &[0, 1], "expected 4 values, got 3");
        check(&[1.0, 2.0, 3.0, f32::NAN], 2, &[0, 1], "row 1, column 1");
        check(&[1.0, 2.0], 0, &[0, 1], "width");
        check(&[1.0, 2.0], 1, &[1, 1], "of class 1");
        check(&[1.0, 2.0], 1, &[0, 1, 1], "classes: expected 2");
        let head = LogisticHead::fit(&[1.0, 2.0], 1, &[0, 1], 2, &LogisticHeadOptions::default()).unwrap();
        assert!(head.predict_proba(&[]).unwrap().is_empty());
    }

    #[test]
    fn the_linear_layer_gives_the_same_probabilities() {
        for standardise in [false, true] {
            for (classes, labels) in [(&[0u32, 0, 2, 2, 0, 0], 3), (&[0, 1, 2, 2, 1, 0], 4)] {
                let options = LogisticHeadOptions { standardise, ..Default::default() };
                let head = LogisticHead::fit(&FEATURES, 2, classes, labels, &options).unwrap();
                let probabilities = head.predict_proba(&FEATURES).unwrap();
                let (weights, biases) = head.linear();
                for (row, x) in FEATURES.chunks_exact(2).enumerate() {
                    let logit = |l: usize| weights[l * 2] * x[0] + weights[l * 2 + 1] * x[1] + biases[l];
                    let sum: f32 = (0..labels).map(|l| logit(l).exp()).sum();
                    for l in 0..labels {
                        let (got, expected) = (logit(l).exp() / sum, probabilities[row * labels + l]);
                        assert!((got - expected).abs() < 1e-5, "{got} {expected}");
                    }
                }
                assert!(!head.absent_classes().is_empty());
            }
        }
    }
}

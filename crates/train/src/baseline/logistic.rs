//! Logistic regression with an L2 penalty, solved to its optimum.
//!
//! Minimises `mean of the weighted losses + |w|^2 / (2 C sum of the weights)`, intercepts unpenalised: the
//! objective of scikit-learn's `LogisticRegression` (<https://scikit-learn.org/stable/modules/linear_model.html>).
//! Two classes share one weight vector; more have one each under a softmax.

use super::BaselineError;
use super::design::Design;
use super::lbfgs::{Stop, minimise};
use serde::{Deserialize, Serialize};

/// How much each class counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeights {
    /// Every example the same.
    #[default]
    None,
    /// Every class the same: an example counts `examples / (classes x examples of its class)`.
    Balanced,
    /// A weight a class, positive.
    Each(Vec<f64>),
}

/// Options of logistic regression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogisticOptions {
    /// Inverse strength of the penalty: more follows the data more closely.
    pub c: f64,
    /// How much each class counts.
    pub class_weights: ClassWeights,
    /// Most iterations; see `converged` of what was fitted.
    pub iterations: usize,
}

impl Default for LogisticOptions {
    fn default() -> Self {
        Self { c: 1.0, class_weights: ClassWeights::None, iterations: 1000 }
    }
}

/// The distance from the optimum, in units of the decision function of a feature vector of length 1, at which
/// the search stops (by strong convexity the gradient bounds it).
const TOLERANCE: f64 = 1e-4;

/// A fitted model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Logistic {
    /// Labels of the task.
    pub labels: usize,
    /// Labels that occurred in training, rising. Two share one output, more have one each.
    pub present: Vec<usize>,
    /// `[width, outputs]`
    pub weights: Vec<f64>,
    /// `[outputs]`
    pub intercepts: Vec<f64>,
    /// Iterations made.
    pub iterations: usize,
    /// Whether the optimum was reached.
    pub converged: bool,
}

impl Logistic {
    /// Fits the classes of the rows of `x`.
    pub fn fit(
        x: &impl Design,
        classes: &[u32],
        labels: usize,
        options: &LogisticOptions,
    ) -> Result<Self, BaselineError> {
        if classes.is_empty() {
            return Err(BaselineError::Empty);
        }
        if classes.len() != x.rows() {
            return Err(BaselineError::Length { what: "classes", expected: x.rows(), got: classes.len() });
        }
        let mut counts = vec![0usize; labels];
        for (row, &got) in classes.iter().enumerate() {
            match counts.get_mut(got as usize) {
                Some(count) => *count += 1,
                None => return Err(BaselineError::TargetOutOfRange { row, got, labels }),
            }
        }
        let present: Vec<usize> = (0..labels).filter(|&label| counts[label] > 0).collect();
        if present.len() == 1 {
            return Err(BaselineError::OneClass { class: present[0], examples: classes.len() });
        }
        if !(options.c > 0.0 && options.c.is_finite()) {
            return Err(BaselineError::OutOfRange { option: "C", expected: "above 0", got: options.c });
        }
        let weights = class_weights(&options.class_weights, &counts, &present)?;
        let place: Vec<usize> = (0..labels).map(|label| present.partition_point(|&p| p < label)).collect();
        let targets: Vec<usize> = classes.iter().map(|&class| place[class as usize]).collect();
        let weights: Vec<f64> = classes.iter().map(|&class| weights[class as usize]).collect();

        let outputs = if present.len() == 2 { 1 } else { present.len() };
        let (rows, width) = (x.rows(), x.width());
        let total: f64 = weights.iter().sum();
        let penalty = 1.0 / (options.c * total);
        let mut logits = vec![0.0; rows * outputs];
        let function = |point: &[f64], gradient: &mut [f64]| {
            let (point, intercepts) = point.split_at(width * outputs);
            let (gradient, gradient_of_intercepts) = gradient.split_at_mut(width * outputs);
            x.product(point, outputs, &mut logits);
            gradient_of_intercepts.fill(0.0);
            let mut loss = 0.0;
            for ((logits, &target), &weight) in logits.chunks_exact_mut(outputs).zip(&targets).zip(&weights) {
                logits.iter_mut().zip(intercepts).for_each(|(z, b)| *z += b);
                let share = weight / total;
                loss += share * loss_and_slope(logits, target);
                for (slope, g) in logits.iter_mut().zip(gradient_of_intercepts.iter_mut()) {
                    *slope *= share;
                    *g += *slope;
                }
            }
            x.transposed(&logits, outputs, gradient);
            gradient.iter_mut().zip(point).for_each(|(g, w)| *g += penalty * w);
            loss + penalty / 2.0 * super::lbfgs::dot(point, point)
        };
        let stop =
            Stop { gradient: TOLERANCE * penalty, rounding: x.rounding(), iterations: options.iterations };
        let mut minimum = minimise(function, vec![0.0; (width + 1) * outputs], stop);
        let intercepts = minimum.point.split_off(width * outputs);
        Ok(Self {
            labels,
            present,
            weights: minimum.point,
            intercepts,
            iterations: minimum.iterations,
            converged: minimum.converged,
        })
    }

    /// One number a row for two present classes (above 0: the second), else one a present class.
    pub fn decision(&self, x: &impl Design) -> Vec<f64> {
        let outputs = self.intercepts.len();
        let mut logits = vec![0.0; x.rows() * outputs];
        x.product(&self.weights, outputs, &mut logits);
        for row in logits.chunks_exact_mut(outputs) {
            row.iter_mut().zip(&self.intercepts).for_each(|(z, b)| *z += b);
        }
        logits
    }

    /// Probabilities `[rows, labels]`; 0 for labels that did not occur in training.
    pub fn probabilities(&self, x: &impl Design) -> Vec<f32> {
        let outputs = self.intercepts.len();
        let mut out = vec![0.0; x.rows() * self.labels];
        let rows = self.decision(x);
        for (logits, out) in rows.chunks_exact(outputs).zip(out.chunks_exact_mut(self.labels)) {
            if let ([z], [no, yes]) = (logits, &self.present[..]) {
                out[*no] = sigmoid(-z) as f32;
                out[*yes] = sigmoid(*z) as f32;
                continue;
            }
            let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logits.iter().map(|z| (z - top).exp()).sum();
            for (z, &label) in logits.iter().zip(&self.present) {
                out[label] = ((z - top).exp() / sum) as f32;
            }
        }
        out
    }

    /// Labels that did not occur in training and are never predicted.
    pub fn absent(&self) -> Vec<usize> {
        (0..self.labels).filter(|label| !self.present.contains(label)).collect()
    }

    /// How much feature `feature` speaks for label `label`; `None` for a label absent from training.
    pub fn weight(&self, feature: usize, label: usize) -> Option<f64> {
        let at = self.present.iter().position(|&p| p == label)?;
        let outputs = self.intercepts.len();
        let row = &self.weights[feature * outputs..][..outputs];
        Some(if outputs == 1 { row[0] * if at == 1 { 1.0 } else { -1.0 } } else { row[at] })
    }
}

/// Loss of one row; its slopes by the logits replace the logits.
fn loss_and_slope(logits: &mut [f64], target: usize) -> f64 {
    if let [z] = logits {
        let y = target as f64;
        let loss = z.max(0.0) + (-z.abs()).exp().ln_1p() - y * *z;
        *z = sigmoid(*z) - y;
        return loss;
    }
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let at_target = logits[target] - top;
    let mut sum = 0.0;
    for z in logits.iter_mut() {
        *z = (*z - top).exp();
        sum += *z;
    }
    logits.iter_mut().for_each(|z| *z /= sum);
    logits[target] -= 1.0;
    sum.ln() - at_target
}

pub(super) fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

fn class_weights(
    weights: &ClassWeights,
    counts: &[usize],
    present: &[usize],
) -> Result<Vec<f64>, BaselineError> {
    let examples: usize = counts.iter().sum();
    match weights {
        ClassWeights::None => Ok(vec![1.0; counts.len()]),
        // A class without examples weighs nothing, whatever its weight.
        ClassWeights::Balanced => {
            Ok(counts.iter().map(|&n| examples as f64 / (present.len() * n.max(1)) as f64).collect())
        }
        ClassWeights::Each(each) if each.len() != counts.len() => {
            Err(BaselineError::Length { what: "class weights", expected: counts.len(), got: each.len() })
        }
        ClassWeights::Each(each) => match each.iter().find(|w| !(**w > 0.0 && w.is_finite())) {
            Some(&got) => Err(BaselineError::OutOfRange { option: "class weight", expected: "above 0", got }),
            None => Ok(each.clone()),
        },
    }
}

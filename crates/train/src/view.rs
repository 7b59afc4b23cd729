//! Looking at a batch otherwise than once: how a technique adds a term to the loss of a step that depends on what the model makes
//! of the texts.
//!
//! The loop asks a technique for its [`View`]; only one technique of a run has one. Terms that depend on the parameters alone
//! are added by [`crate::Technique::after_backward`].

use burn::tensor::Tensor;
use burn::tensor::activation::{sigmoid, softmax};
use topwork_nn::{Pass, Tap};

use crate::error::Error;
use crate::task::{BatchLoss, Task};

/// What a look at a batch gave.
pub struct Looked {
    /// The task's own loss.
    pub loss: BatchLoss,
    /// What is added to it, shape `[1]`.
    pub term: Tensor<1>,
}

/// A way to look at a batch.
pub trait View {
    /// Refuses, before the first step, a task that cannot be looked at so. `recompute` says whether layers are computed once more
    /// on the way back.
    ///
    /// # Errors
    /// [`Error::Option`] naming the technique.
    fn check(&self, task: &dyn Task, recompute: bool) -> Result<(), Error>;

    /// What is attached to the seams of the pass, which draws from `seed`.
    fn tap(&self, _seed: u64) -> Option<&dyn Tap> {
        None
    }

    /// Looks at a batch in a training pass.
    ///
    /// # Errors
    /// Whatever the model finds wrong.
    fn look(&self, task: &dyn Task, pass: &Pass, examples: &[usize]) -> Result<Looked, Error>;
}

/// What a row of answers is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Scores of which one class is the answer, by softmax.
    OneOf,
    /// Scores of labels, each by itself.
    Several,
    /// Numbers.
    Numbers,
}

/// A batch that was seen twice in one pass, with other random numbers for each look.
pub struct Twice {
    /// The mean loss over both looks, shape `[1]`.
    pub both: Tensor<1>,
    /// The loss of the first look, shape `[1]`.
    pub first: Tensor<1>,
    /// The answers of each look, `[rows, outputs]`.
    pub answers: [Tensor<2>; 2],
    /// What a row of them is.
    pub kind: Answers,
    /// Examples in the batch, each counted once.
    pub examples: usize,
    /// Real tokens of both looks.
    pub tokens: usize,
}

impl Twice {
    /// How far the answers of the looks are apart, shape `[1]`: the divergence of Kullback and Leibler in one direction and in the
    /// other, summed; of numbers the square of their difference. The mean over rows.
    ///
    /// In both directions together normalisers cancel, and what is left is the difference of probabilities times that of scores.
    pub fn apart(&self) -> Tensor<1> {
        let [a, b] = self.answers.clone();
        let rows = a.dims()[0] as f32;
        let scores = a.clone() - b.clone();
        let products = match self.kind {
            Answers::OneOf => (softmax(a, 1) - softmax(b, 1)) * scores,
            Answers::Several => (sigmoid(a) - sigmoid(b)) * scores,
            Answers::Numbers => scores.clone() * scores,
        };
        products.sum().div_scalar(rows)
    }
}

/// Refuses a task whose answers to a batch that is seen twice cannot be held against each other.
pub(crate) fn answers_twice(technique: &'static str, task: &dyn Task) -> Result<(), Error> {
    if task.answers().is_some() {
        return Ok(());
    }
    let expected = "a task whose answers are classes, labels or numbers for a text, or labels for words";
    Err(Error::Option { name: technique, expected, got: "another".to_string() })
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn apart(kind: Answers, a: [f32; 4], b: [f32; 4]) -> f64 {
        let rows = |values: [f32; 4]| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [2, 2]), &Device::flex())
        };
        let none = || Tensor::<1>::zeros([1], &Device::flex());
        let answers = [rows(a), rows(b)];
        let twice = Twice { both: none(), first: none(), answers, kind, examples: 2, tokens: 2 };
        f64::from(twice.apart().into_scalar::<f32>())
    }

    #[test]
    fn both_directions_are_summed_over_rows() {
        let (a, b) = ([0.3, -1.2, 2.0, 0.5], [0.1, 0.4, 1.5, -0.7]);
        let close = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        // Written out: p ln(p/q) + q ln(q/p).
        let both = |p: f64, q: f64| p * (p / q).ln() + q * (q / p).ln();
        let row = |v: &[f32], at: usize| {
            let sum: f64 = v.iter().map(|&x| f64::from(x).exp()).sum();
            f64::from(v[at]).exp() / sum
        };
        let one: f64 =
            (0..4).map(|n| both(row(&a[n / 2 * 2..][..2], n % 2), row(&b[n / 2 * 2..][..2], n % 2))).sum();
        close(apart(Answers::OneOf, a, b), one / 2.0);
        let share = |x: f32| 1.0 / (1.0 + (-f64::from(x)).exp());
        let several: f64 =
            (0..4).map(|n| both(share(a[n]), share(b[n])) + both(1.0 - share(a[n]), 1.0 - share(b[n]))).sum();
        close(apart(Answers::Several, a, b), several / 2.0);
        let numbers: f64 = (0..4).map(|n| f64::from(a[n] - b[n]).powi(2)).sum();
        close(apart(Answers::Numbers, a, b), numbers / 2.0);
        assert_eq!(apart(Answers::OneOf, a, a), 0.0);
    }
}

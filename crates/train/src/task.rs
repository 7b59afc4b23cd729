//! What the loop needs of a model and its data.

use std::path::Path;

use burn::backend::DispatchTensor;
use burn::tensor::Tensor;
use topwork_nn::{ParamId, ParamStore, Pass};

use crate::plan::Progress;
use crate::view::{Answers, Twice};

/// An error from outside this crate, carried through the loop as it is.
pub type TaskError = Box<dyn std::error::Error + Send + Sync>;

/// A model, its training data and its way of measuring itself, seen by the loop. The loop knows nothing else: no
/// family, no head, no file.
pub trait Task {
    /// The parameters.
    fn store(&self) -> &ParamStore;

    /// The parameters, to be changed by the optimizer.
    fn store_mut(&mut self) -> &mut ParamStore;

    /// The batches of an epoch, each a list of example numbers. Must depend on the epoch and the run's seed only:
    /// resuming asks again.
    ///
    /// # Errors
    /// Whatever stands in the way of composing batches.
    fn batches(&self, epoch: usize) -> Result<Vec<Vec<usize>>, TaskError>;

    /// Is told that an epoch begins, before its batches are composed; of a run that goes on within one it is not told again.
    ///
    /// # Errors
    /// Whatever stands in the way of composing batches.
    fn begins(&mut self, _epoch: usize) -> Result<(), TaskError> {
        Ok(())
    }

    /// Is told which step comes next, before its batches.
    fn at(&mut self, _progress: Progress) {}

    /// How many times as fast as others a parameter learns.
    fn pace(&self, _param: ParamId) -> f64 {
        1.0
    }

    /// The mean loss of a batch.
    ///
    /// # Errors
    /// Whatever the model finds wrong.
    fn loss(&self, pass: &Pass, examples: &[usize]) -> Result<BatchLoss, TaskError>;

    /// How much a source task hangs on each parameter, at the values that training starts from: the mean square of the gradient of
    /// the log-likelihood of an example.
    ///
    /// # Errors
    /// A source that cannot be read, or that the model does not answer; a task that knows of none.
    fn importance(&self, _ask: &Importance) -> Result<Vec<(ParamId, DispatchTensor)>, TaskError> {
        Err("this task has no model that a source could be asked of".into())
    }

    /// Whether a batch holds the same texts and targets whatever the pass: nothing in it is drawn anew.
    fn fixed(&self) -> bool {
        true
    }

    /// What a row of the model's answers is, where a batch can be seen twice; `None` where that cannot be.
    fn answers(&self) -> Option<Answers> {
        None
    }

    /// A batch that is seen twice in one pass: every example stands in it twice, with random numbers of its own.
    ///
    /// # Errors
    /// Whatever the model finds wrong; a task that has no [`Task::answers`].
    fn twice(&self, _pass: &Pass, _examples: &[usize]) -> Result<Twice, TaskError> {
        Err("the answers of this task cannot be held against each other".into())
    }

    /// Measures the model on the development data.
    ///
    /// # Errors
    /// Whatever the model or the metric finds wrong.
    fn evaluate(&self) -> Result<Scores, TaskError>;

    /// Saves the model as it is now into a folder, replacing what is there.
    ///
    /// # Errors
    /// Whatever stands in the way of writing.
    fn save(&self, folder: &Path, scores: &Scores) -> Result<(), TaskError>;
}

/// What is asked of a source task.
#[derive(Clone, Debug, PartialEq)]
pub struct Importance {
    /// Where its examples are.
    pub source: String,
    /// How many of them are looked at.
    pub examples: usize,
    /// Whether what is right is drawn from what the model answers, and not that of the examples.
    pub drawn: bool,
}

/// The loss of one batch and how much went into it.
pub struct BatchLoss {
    /// Mean over the batch, shape `[1]`.
    pub loss: Tensor<1>,
    /// Examples in the batch.
    pub examples: usize,
    /// Real tokens in the batch.
    pub tokens: usize,
}

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Value of the metric the run is judged by; `None` where it has none, such as a correlation with predictions
    /// that are all the same.
    pub score: Option<f64>,
    /// False for metrics where less is better.
    pub higher_is_better: bool,
    /// Every value, by name, for the log.
    pub values: Vec<(String, f64)>,
}

impl Scores {
    /// True if the score is as good as this.
    pub fn reaches(&self, asked: f64) -> bool {
        self.score.is_some_and(|score| if self.higher_is_better { score >= asked } else { score <= asked })
    }

    /// True if these are better than `other` (strictly: the first of equals is kept). Any value beats none.
    pub fn beats(&self, other: Option<f64>) -> bool {
        match (self.score, other) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(score), Some(other)) => {
                if self.higher_is_better {
                    score > other
                } else {
                    score < other
                }
            }
        }
    }
}

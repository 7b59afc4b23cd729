//! What a run tells about itself: the lines of `log.jsonl`, and what a progress display is fed with.

use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The run begins, or goes on.
    Start {
        /// Optimizer steps of the whole run.
        total_steps: usize,
        /// Steps done before (0 unless resumed).
        done_steps: usize,
        /// Values that are trained in some step.
        trainable_values: usize,
        /// Values in all.
        total_values: usize,
        /// Precision of matrix products.
        precision: String,
    },
    /// An optimizer step.
    Step {
        /// Epoch, from zero.
        epoch: usize,
        /// Steps done, this one counted.
        step: usize,
        /// Mean loss of the step's examples.
        loss: f64,
        /// Learning rate.
        learning_rate: f64,
        /// Norm of the gradient before clipping.
        gradient_norm: f64,
        /// Examples in the step.
        examples: usize,
        /// Real tokens in the step.
        tokens: usize,
        /// Seconds it took.
        seconds: f64,
    },
    /// What learns from this step on, where techniques decide that.
    Plan {
        /// Steps done.
        step: usize,
        /// Depth groups with something that learns, from the bottom up.
        learning: Vec<Learning>,
    },
    /// An evaluation on the development data.
    Evaluation {
        /// Epoch, from zero.
        epoch: usize,
        /// Steps done.
        step: usize,
        /// The metric the run is judged by, where it has a value.
        score: Option<f64>,
        /// True if it is the best so far.
        best: bool,
        /// What averaged the weights that were measured; `None` for those that are trained.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weights: Option<String>,
        /// All values by name.
        values: Vec<(String, f64)>,
        /// Seconds it took.
        seconds: f64,
    },
    /// A measurement of other weights, on the development data, after the last step.
    Variant {
        /// Steps done.
        step: usize,
        /// What the weights are.
        weights: String,
        /// The metric the run is judged by, where it has a value.
        score: Option<f64>,
        /// True if it is the best so far.
        best: bool,
        /// All values by name.
        values: Vec<(String, f64)>,
        /// Seconds it took.
        seconds: f64,
    },
    /// A checkpoint has been written.
    Checkpoint {
        /// Steps done.
        step: usize,
        /// Seconds it took.
        seconds: f64,
    },
    /// No better score for as many evaluations as `patience` allows.
    EarlyStop {
        /// Steps done.
        step: usize,
        /// The step with the best score.
        best_step: usize,
    },
    /// The score that `stop-at` asks for is reached.
    Reached {
        /// Steps done.
        step: usize,
        /// The score.
        score: f64,
    },
    /// The minutes that `max-minutes` allows are over.
    TimeOver {
        /// Steps done.
        step: usize,
    },
    /// The run was asked to stop and has saved its state.
    Interrupted {
        /// Steps done.
        step: usize,
    },
    /// The run is over.
    End {
        /// Steps done.
        step: usize,
        /// The best score, where there was one.
        best_score: Option<f64>,
        /// The step it was reached at.
        best_step: usize,
        /// What the weights are that were kept, where they are not those that were trained.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        best_weights: Option<String>,
        /// Seconds of this process, evaluations and checkpoints counted.
        seconds: f64,
    },
}

/// A depth group of parameters that learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Learning {
    /// What the paths of its parameters begin with.
    pub group: String,
    /// Values that learn.
    pub values: usize,
    /// What the learning rate is multiplied by.
    pub lr_scale: f64,
}

/// Receives events, for a progress bar or plain lines.
pub trait Observer {
    /// Called once an event, in order.
    fn event(&mut self, event: &Event);
}

/// An observer that does nothing.
pub struct Silent;

impl Observer for Silent {
    fn event(&mut self, _: &Event) {}
}

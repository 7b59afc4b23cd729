//! What can stop a run.

use std::path::PathBuf;

use crate::task::TaskError;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is out of range.
    #[error("option {name}: expected {expected}, got {got}")]
    Option {
        /// The option.
        name: &'static str,
        /// What would be right.
        expected: &'static str,
        /// What was given.
        got: String,
    },
    /// A technique has no such option.
    #[error("technique {technique}: unknown option {got}: {}", if .known.is_empty() { "it has none".to_string() } else { format!("known are {known}") })]
    TechniqueOption {
        /// The technique.
        technique: &'static str,
        /// Its options.
        known: String,
        /// What was given.
        got: String,
    },
    /// Two techniques that exclude each other.
    #[error("the techniques {one} and {other} cannot be combined: leave one of the two out")]
    Apart {
        /// One.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A parameter that a technique wants to use as something else, and something else does already.
    #[error(
        "{technique}: {path} is used as something else already (by an adapter): leave one of the two out"
    )]
    Taken {
        /// The technique.
        technique: &'static str,
        /// The parameter.
        path: String,
    },
    /// A technique with nothing to act on.
    #[error(
        "{technique} would do nothing here: no parameter that it acts on learns in any step; freeze less, or leave it out"
    )]
    Idle {
        /// The technique.
        technique: String,
    },
    /// A parameter that is given fresh values, which nothing then trains.
    #[error(
        "{technique}: {path} gets fresh values and nothing trains it in any step: freeze less, or renew less"
    )]
    NeverTrained {
        /// The technique.
        technique: String,
        /// The parameter.
        path: String,
    },
    /// A name is not in its list.
    #[error("unknown {kind} {got:?}: did you mean {nearest:?}? known are {known}")]
    Unknown {
        /// What was looked for.
        kind: &'static str,
        /// The name given.
        got: String,
        /// The nearest known name.
        nearest: String,
        /// All known names.
        known: String,
    },
    /// The gradient audit of the first step found a parameter that should move and cannot, or the reverse.
    #[error("gradient audit: {}", describe_audit(.without, .unexpected))]
    Audit {
        /// Trainable parameters that got no gradient.
        without: Vec<String>,
        /// Frozen parameters that got one.
        unexpected: Vec<String>,
    },
    /// Everything is frozen.
    #[error(
        "nothing to train in step {step}: freezing {patterns:?} and the techniques ({techniques}) together leave no parameter that learns"
    )]
    AllFrozen {
        /// The first step without one, from 1.
        step: usize,
        /// The patterns.
        patterns: Vec<String>,
        /// Names of the techniques, or "none".
        techniques: String,
    },
    /// The loss or the gradient is not a number.
    #[error(
        "step {step}: the {what} is {value}: training has diverged; lower the learning rate (now {learning_rate:e}) or clip gradients (clip-norm)"
    )]
    Diverged {
        /// The optimizer step.
        step: usize,
        /// Loss or gradient norm.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The learning rate at this step.
        learning_rate: f64,
    },
    /// An epoch has no batch.
    #[error("epoch {epoch} has no batches: there is no training data")]
    NoBatches {
        /// The epoch.
        epoch: usize,
    },
    /// A checkpoint cannot be used.
    #[error("checkpoint {path}: {reason}", path = .path.display())]
    Checkpoint {
        /// The checkpoint folder.
        path: PathBuf,
        /// What is wrong with it, and the way out.
        reason: String,
    },
    /// A file of the run folder could not be written or read.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The task said no.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// Parameters and layers.
    #[error(transparent)]
    Nn(#[from] topwork_nn::Error),
    /// Weight files.
    #[error(transparent)]
    Weights(#[from] topwork_weights::Error),
}

fn describe_audit(without: &[String], unexpected: &[String]) -> String {
    let mut parts = Vec::new();
    if !without.is_empty() {
        parts.push(format!("{} trainable parameters got no gradient: {}", without.len(), without.join(", ")));
    }
    if !unexpected.is_empty() {
        parts.push(format!("{} frozen parameters got one: {}", unexpected.len(), unexpected.join(", ")));
    }
    parts.join("; ")
}

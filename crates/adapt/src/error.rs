//! What can be wrong with an adapter.

use std::path::PathBuf;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name is not in the list.
    #[error("unknown adapter {got:?}: there are {known}")]
    Unknown {
        /// The name given.
        got: String,
        /// All names.
        known: String,
    },
    /// An adapter has no such option.
    #[error("adapter {adapter}: unknown option {got}: known are {known}")]
    UnknownOption {
        /// The adapter.
        adapter: &'static str,
        /// What was given.
        got: String,
        /// Its options.
        known: String,
    },
    /// An option is out of range.
    #[error("adapter {adapter}: option {key}: expected {expected}, got {got}")]
    Option {
        /// The adapter.
        adapter: &'static str,
        /// The option.
        key: &'static str,
        /// What would be right.
        expected: &'static str,
        /// What was given.
        got: String,
    },
    /// A pattern selects nothing that can be adapted.
    #[error("no weight of a layer matches {pattern:?}: this model has {known}")]
    NoTarget {
        /// The pattern.
        pattern: String,
        /// What weights are called inside their layers.
        known: String,
    },
    /// A model without keys of its own in each layer.
    #[error(
        "adapter prefix: the layers of this model have no keys that others could stand in front of, or there are some already"
    )]
    NoKeys,
    /// A model without a table of words.
    #[error(
        "adapter {adapter}: this model has no table of words that virtual tokens could stand in, or there are some already"
    )]
    NoTable {
        /// The adapter.
        adapter: &'static str,
    },
    /// Files of an adapter that do not fit the model, or say what is not known here.
    #[error("{path}: {reason}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A weight that peft has no module for.
    #[error(
        "{path}: the model for transformers keeps it in another form, so that peft could not attach an adapter to it: save the merged model instead"
    )]
    NotUpstream {
        /// Path of the weight.
        path: String,
    },
    /// A kind of adapter that peft does not have.
    #[error("peft has no adapters of the kind {kind}")]
    NotPeft {
        /// The kind.
        kind: &'static str,
    },
    /// An adapter that cannot be taken out of weights again.
    #[error("a {kind} adapter cannot be taken out of weights: {why}")]
    NotUndone {
        /// The kind.
        kind: &'static str,
        /// Why.
        why: &'static str,
    },
    /// An adapter that cannot be taken out of the lowest layers.
    #[error("a {kind} adapter cannot be taken out of these layers: {why}")]
    NotShortened {
        /// The kind.
        kind: &'static str,
        /// Why.
        why: &'static str,
    },
    /// Parameters.
    #[error(transparent)]
    Nn(#[from] topwork_nn::Error),
    /// Weight files.
    #[error(transparent)]
    Weights(#[from] topwork_weights::Error),
}

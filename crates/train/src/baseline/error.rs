//! What can be wrong with the data or the options of a linear model.

use crate::metrics::MetricError;

/// What can be wrong with the data or the options of a linear model. Rows are counted from zero.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// Nothing to learn from.
    #[error("no training examples for the linear model")]
    Empty,
    /// Two lists that must match do not.
    #[error("{what}: expected {expected} values, got {got}")]
    Length {
        /// Which list.
        what: &'static str,
        /// How many it should have.
        expected: usize,
        /// How many it has.
        got: usize,
    },
    /// A class number no label has.
    #[error("target of row {row} is class {got}, but there are only {labels} labels")]
    TargetOutOfRange {
        /// Row, from zero.
        row: usize,
        /// The class number.
        got: u32,
        /// Number of labels.
        labels: usize,
    },
    /// Only one class occurs.
    #[error("all {examples} training examples are of class {class}: nothing to tell apart")]
    OneClass {
        /// The class number.
        class: usize,
        /// Training examples.
        examples: usize,
    },
    /// No text holds a word.
    #[error(
        "no word of two or more letters occurs in at least {min_df} of the {texts} training texts: is this the right column?"
    )]
    NoWords {
        /// Texts seen.
        texts: usize,
        /// Smallest number of texts a word must occur in.
        min_df: usize,
    },
    /// A NaN or an infinity.
    #[error("{what} of row {row}, column {column}, is {got}")]
    NotFinite {
        /// "feature" or "target".
        what: &'static str,
        /// Row, from zero.
        row: usize,
        /// Column, from zero.
        column: usize,
        /// The value.
        got: f64,
    },
    /// The development set cannot be measured.
    #[error("development set: {0}")]
    Development(#[from] MetricError),
    /// An option outside its range.
    #[error("{option} must be {expected}, got {got}")]
    OutOfRange {
        /// Which option.
        option: &'static str,
        /// The allowed range in words.
        expected: &'static str,
        /// The value given.
        got: f64,
    },
}

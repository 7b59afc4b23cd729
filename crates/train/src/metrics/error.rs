//! What can be wrong with predictions, and with a metric asked for by name.

/// What can be wrong with predictions, and with a metric asked for by name. Rows are counted from zero.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// Nothing to measure.
    #[error("no examples to measure: a metric over zero examples has no value")]
    Empty,
    /// Fewer labels than can be told apart.
    #[error("telling classes apart needs at least {needed} labels, got {got}")]
    TooFewLabels {
        /// Smallest number of labels.
        needed: usize,
        /// The number given.
        got: usize,
    },
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
    /// A NaN or an infinity.
    #[error("{what} of row {row}{} is {got}: the model has diverged or the data hold a bad number", column.map(|c| format!(", column {c},")).unwrap_or_default())]
    NotFinite {
        /// "prediction", "logit", "probability" or "target".
        what: &'static str,
        /// Row, from zero.
        row: usize,
        /// Column, from zero, where rows have more than one.
        column: Option<usize>,
        /// The value.
        got: f64,
    },
    /// A class number no label has.
    #[error("target of row {row} is class {got}, but there are only {labels} labels (0 to {})", labels - 1)]
    TargetOutOfRange {
        /// Row, from zero.
        row: usize,
        /// The class number.
        got: u32,
        /// Number of labels.
        labels: usize,
    },
    /// A number outside [0, 1] given as a probability.
    #[error("probability of row {row}, column {column}, is {got}, not between 0 and 1: are these logits?")]
    NotAProbability {
        /// Row, from zero.
        row: usize,
        /// Column, from zero.
        column: usize,
        /// The value.
        got: f64,
    },
    /// Class probabilities that do not add up.
    #[error("class probabilities of row {row} add up to {sum}, not 1")]
    NotNormalised {
        /// Row, from zero.
        row: usize,
        /// Their sum.
        sum: f64,
    },
    /// Nothing to compare an answer with.
    #[error("row {row} has no reference to compare its answer with")]
    NoReference {
        /// Row, from zero.
        row: usize,
    },
    /// Two lists of one example that must match do not.
    #[error("{what} of row {row}: expected {expected} values, got {got}")]
    RowLength {
        /// Which list.
        what: &'static str,
        /// Row, from zero.
        row: usize,
        /// How many it should have.
        expected: usize,
        /// How many it has.
        got: usize,
    },
    /// A tag that the scheme does not have.
    #[error("tag {got:?} of word {word} of row {row}: expected {expected}")]
    BadTag {
        /// Row, from zero.
        row: usize,
        /// Word of the row, from zero.
        word: usize,
        /// The tag.
        got: String,
        /// The tags of the scheme, in words.
        expected: &'static str,
    },
    /// No metric of that name.
    #[error("unknown metric {name:?}: did you mean {nearest:?}?")]
    UnknownMetric {
        /// The name given.
        name: String,
        /// The closest known name.
        nearest: String,
    },
    /// No class of that name in `metric:class`.
    #[error("metric {metric:?}: no class {class:?}: did you mean {nearest:?}?")]
    UnknownClass {
        /// The metric's full name as given.
        metric: String,
        /// The class asked for.
        class: String,
        /// The closest label.
        nearest: String,
    },
    /// The metric exists but not for this task.
    #[error("metric {name:?} does not apply to {task}: {instead}")]
    NotApplicable {
        /// The metric.
        name: String,
        /// The task in words.
        task: &'static str,
        /// What to ask for instead.
        instead: String,
    },
    /// The metric has no value on these examples.
    #[error("metric {name:?} has no value here: {reason}")]
    Undefined {
        /// The metric.
        name: String,
        /// Why.
        reason: String,
    },
    /// The metric applies, but was not among those measured.
    #[error("metric {name:?} was not measured here: there are {measured}")]
    NotMeasured {
        /// The metric.
        name: String,
        /// The names of those that were.
        measured: String,
    },
    /// `loss` was asked for, but the evaluation was given none.
    #[error(
        "no loss was recorded in this evaluation: ask for \"log-loss\" (classes) or \"mse\" (scores) instead"
    )]
    NoLoss,
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

/// Why a metric has no value on the examples at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undefined(pub &'static str);

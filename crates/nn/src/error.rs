//! What can go wrong with parameters and layers.

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter got values of the wrong length.
    #[error("parameter {path}: expected {expected} values (shape {shape:?}), got {got}")]
    WrongLength {
        /// Path of the parameter.
        path: String,
        /// Its declared shape.
        shape: Vec<usize>,
        /// Number of values the shape asks for.
        expected: usize,
        /// Number of values given.
        got: usize,
    },
    /// No parameter has this path.
    #[error("no parameter {path:?}; the nearest is {nearest:?}")]
    UnknownParameter {
        /// The path asked for.
        path: String,
        /// The most similar path there is.
        nearest: String,
    },
    /// A path pattern matches nothing, so it cannot mean what its writer thought.
    #[error(
        "pattern {pattern:?} matches no parameter; paths look like {example:?} (`topwork model show` lists them)"
    )]
    PatternMatchesNothing {
        /// The pattern as written.
        pattern: String,
        /// Some existing path.
        example: String,
    },
    /// A layer that nothing stands in front of.
    #[error(
        "layer {layer}: there are no keys and values to stand in front of its texts: layers that share their weights have no prefix each"
    )]
    NoFront {
        /// Its number, from 0.
        layer: usize,
    },
    /// A parameter was used before it had values.
    #[error("parameter {path} has no values yet: load or initialise it first")]
    Unset {
        /// Path of the parameter.
        path: String,
    },
    /// A value could not be read back from the device.
    #[error("parameter {path} could not be read from the device: {reason}")]
    Device {
        /// Path of the parameter.
        path: String,
        /// What the device said.
        reason: String,
    },
    /// A token id lies outside the embedding table.
    #[error(
        "token id {id} is outside the embedding table {path} of {rows} rows: model and tokenizer do not belong together"
    )]
    IdOutOfRange {
        /// Path of the table.
        path: String,
        /// The id.
        id: u32,
        /// Rows of the table.
        rows: usize,
    },
    /// A sequence is longer than the positions the model has.
    #[error(
        "a sequence of {tokens} tokens does not fit the model's {limit} positions: set a maximum length of at most {limit}"
    )]
    TooLong {
        /// Tokens of the sequence.
        tokens: usize,
        /// Positions the model has.
        limit: usize,
    },
}

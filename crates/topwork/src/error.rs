//! What can go wrong at the front door: everything below, under one roof.

use std::path::PathBuf;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A recipe, a recipe file or an override is wrong.
    #[error("{place}: {reason}")]
    Recipe {
        /// The file, table or override.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The run folder holds a run already.
    #[error("{folder}: there is a run in this folder already; go on with it by `topwork train --resume {folder}`, or give the new run another --out", folder = .folder.display())]
    RunExists {
        /// The folder.
        folder: PathBuf,
    },
    /// There is nothing to go on with.
    #[error("{folder}: no run to resume here (no resolved.toml)", folder = .folder.display())]
    NoRun {
        /// The folder.
        folder: PathBuf,
    },
    /// The data or the model is not what the run was started with.
    #[error(
        "{what} changed since the run was started (then {then}, now {now}): resuming would not equal an uninterrupted run; start a new one"
    )]
    Changed {
        /// Which of them.
        what: &'static str,
        /// Hash then.
        then: String,
        /// Hash now.
        now: String,
    },
    /// A word has no vector.
    #[error("\"{word}\" is none of the {count} words{hint}")]
    NoVector {
        /// The word.
        word: String,
        /// How many words have one.
        count: usize,
        /// The word that may have been meant.
        hint: String,
    },
    /// A file of questions or pairs holds none, or begins wrongly.
    #[error("{}: {reason}", path.display())]
    Benchmark {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No data set has this name.
    #[error(
        "there is no data set {name:?} among the {count} that are known; did you mean {meant:?}? (topwork list datasets)"
    )]
    UnknownDataSet {
        /// The name.
        name: String,
        /// How many there are.
        count: usize,
        /// The nearest name.
        meant: &'static str,
    },
    /// A data set that is known by name cannot be had, or not used so.
    #[error("data set {name}: {problem}; {way_out}")]
    DataSet {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        problem: String,
        /// What to do.
        way_out: String,
    },
    /// A file of labels cannot be gone on with.
    #[error("{place}: {reason}")]
    Labels {
        /// The file, and the line.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A task does not fit the data or the model.
    #[error("{0}")]
    Task(String),
    /// A file could not be read or written.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// References and the cache.
    #[error(transparent)]
    Hub(#[from] crate::hub::Error),
    /// Corpora.
    #[error(transparent)]
    Corpus(#[from] crate::corpus::Error),
    /// Tokenizers.
    #[error(transparent)]
    Text(#[from] topwork_text::Error),
    /// Data files.
    #[error(transparent)]
    Data(#[from] topwork_data::Error),
    /// Models.
    #[error(transparent)]
    Model(#[from] topwork_models::Error),
    /// Adapters.
    #[error(transparent)]
    Adapter(#[from] topwork_adapt::Error),
    /// Parameters.
    #[error(transparent)]
    Nn(#[from] topwork_nn::Error),
    /// Weight files.
    #[error(transparent)]
    Weights(#[from] topwork_weights::Error),
    /// Metrics.
    #[error(transparent)]
    Metric(#[from] topwork_train::metrics::MetricError),
    /// The baseline.
    #[error(transparent)]
    Baseline(#[from] topwork_train::baseline::BaselineError),
    /// Training.
    #[error(transparent)]
    Train(#[from] topwork_train::Error),
}

impl Error {
    /// For `map_err`: an error about a file.
    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::File { path: path.to_path_buf(), source }
    }
}

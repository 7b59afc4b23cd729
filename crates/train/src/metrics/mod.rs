//! How well a model does: one file a metric, one list of them, and the evaluation that computes what applies.
//!
//! [`Outcome`] holds checked targets and predictions, [`Evaluation`] every metric that applies to it,
//! [`Bootstrap`] the intervals. Every metric takes a count for each example (how often it was drawn), so a
//! resample costs no copying and no sorting.
//!
//! What is no class, label or number (tags, answers, texts, rankings, trees) is measured as a corpus: one function a kind of
//! task makes [`Summed`] of truth and answers, numbers that each example adds, and [`Evaluation::of_sums`] what is known of
//! them together.
//!
//! ```
//! use topwork_train::metrics::{Evaluation, Outcome};
//! let outcome = Outcome::classes(&[0, 1, 1], &[0.9, 0.1, 0.2, 0.8, 0.6, 0.4], 2)?;
//! let evaluation = Evaluation::new(&outcome, &["ham".into(), "spam".into()])?;
//! assert_eq!(evaluation.value("recall:spam")?, 0.5);
//! assert_eq!(evaluation.value("f1")?, 2.0 / 3.0);
//! assert!(evaluation.value("acuracy").unwrap_err().to_string().contains("did you mean \"accuracy\"?"));
//!
//! use topwork_train::metrics::{Bootstrap, Reading, Scheme, Task, tags};
//! let truth = [vec!["B-PER", "I-PER", "O"], vec!["B-LOC"]];
//! let found = [vec!["B-PER", "I-PER", "O"], vec!["O"]];
//! let (sums, types) = tags(&truth, &found, Scheme::Bio, Reading::Lenient)?;
//! let evaluation = Evaluation::of_sums(Task::Tags, &sums, types, Some(&Bootstrap::default()))?;
//! assert_eq!(evaluation.value("entity-f1")?, 2.0 / 3.0);
//! assert_eq!(evaluation.value("entity-recall:LOC")?, 0.0);
//! # Ok::<(), topwork_train::metrics::MetricError>(())
//! ```

mod accuracy;
mod average;
mod balanced_accuracy;
mod bleu;
mod bootstrap;
mod brier;
mod calibration;
mod choices;
mod chrf;
mod confusion;
mod cost;
mod dialog;
mod entity;
mod error;
mod evaluation;
mod f1;
mod groups;
mod hamming_loss;
mod kappa;
mod kendall;
mod language;
mod log_loss;
mod mae;
mod matthews;
mod mse;
mod name;
pub(crate) mod nearest;
mod outcome;
mod pearson;
mod porter;
mod pr_auc;
mod precision;
mod r2;
mod ranking;
mod recall;
mod roc_auc;
mod rouge;
mod runs;
mod scheme;
mod spearman;
mod squad;
mod subset_accuracy;
mod summed;
mod table;
mod tally;
mod texts;
mod threshold;
mod trees;
mod unicode;

#[cfg(test)]
mod corpus_laws;
#[cfg(test)]
mod corpus_parity;
#[cfg(test)]
mod parity;

pub use bleu::{Bleu, BleuTokenizer, Smoothing};
pub use bootstrap::{Bootstrap, Difference, Interval};
pub use calibration::CalibrationBin;
pub use choices::choices;
pub use chrf::Chrf;
pub use confusion::Confusion;
pub use cost::CostMatrix;
pub use dialog::{dialog, word_f1};
pub use entity::{Entity, entities, strict_entities, tags};
pub use error::{MetricError, Undefined};
pub use evaluation::{ClassReport, Evaluation, Value};
pub use groups::{GroupReport, group_differences};
pub use language::{TextLoss, language};
pub use name::Metric;
pub use outcome::{Outcome, Task};
pub use ranking::{Ranked, ranking};
pub use rouge::{Rouge, RougeScore};
pub use scheme::{Reading, Scheme};
pub use squad::{Squad, answers};
pub use summed::Summed;
pub use tally::Tally;
pub use texts::{distinct, error_rates, exact_match, repetition, texts};
pub use threshold::{TunedThreshold, tune_label_thresholds, tune_threshold};
pub use trees::{Dependency, is_punctuation, trees};

/// What a metric is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All labels together.
    Whole,
    /// One class: the positive one, or the one named after a colon.
    OneClass,
    /// One class where one is named or there is a positive one of two, else all labels together.
    Either,
}

/// A value, or why there is none.
pub type Computed = Result<f64, Undefined>;

/// How a metric is computed, which also says what it needs. Example `i` counts `counts[i]` times; the last
/// argument of the first two is the class it is about.
#[derive(Clone, Copy, Debug)]
pub enum Compute {
    /// From counts of right and wrong classes.
    Counts(fn(&Tally, Option<usize>) -> Computed),
    /// From probabilities.
    Probabilities(fn(&Outcome, &[u32], Option<usize>) -> Computed),
    /// From predicted numbers.
    Scores(fn(&Outcome, &[u32]) -> Computed),
    /// From sums over a corpus, which a function of its own makes of truth and answers; see [`Summed`].
    Sums,
}

/// How a metric is known from outside: recipes, `list`, the docs table, the sweep test.
#[derive(Debug)]
pub struct MetricSpec {
    /// Kebab-case name used in recipes.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Its definition or the reference it equals.
    pub link: &'static str,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// Tasks it applies to.
    pub tasks: &'static [Task],
    /// What it is about.
    pub scope: Scope,
    /// How it is computed.
    pub compute: Compute,
}

impl MetricSpec {
    /// What it needs of the predictions: "classes", "probabilities", "scores" or "sums".
    pub fn needs(&self) -> &'static str {
        match self.compute {
            Compute::Counts(_) => "classes",
            Compute::Probabilities(_) => "probabilities",
            Compute::Scores(_) => "scores",
            Compute::Sums => "sums",
        }
    }
}

/// Every metric, in the order reports print them.
pub const METRICS: &[&MetricSpec] = &[
    &accuracy::SPEC,
    &balanced_accuracy::SPEC,
    &subset_accuracy::SPEC,
    &precision::ONE,
    &recall::ONE,
    &f1::ONE,
    &precision::MACRO,
    &recall::MACRO,
    &f1::MACRO,
    &precision::MICRO,
    &recall::MICRO,
    &f1::MICRO,
    &precision::WEIGHTED,
    &recall::WEIGHTED,
    &f1::WEIGHTED,
    &matthews::SPEC,
    &kappa::KAPPA,
    &kappa::LINEAR,
    &kappa::QUADRATIC,
    &roc_auc::SPEC,
    &pr_auc::SPEC,
    &hamming_loss::SPEC,
    &log_loss::SPEC,
    &brier::SPEC,
    &calibration::SPEC,
    &pearson::SPEC,
    &spearman::SPEC,
    &kendall::SPEC,
    &r2::SPEC,
    &mse::SPEC,
    &mae::SPEC,
    &entity::F1,
    &entity::PRECISION,
    &entity::RECALL,
    &entity::MACRO_F1,
    &entity::ACCURACY,
    &squad::F1,
    &squad::EM,
    &squad::HAS_ANSWER_F1,
    &squad::HAS_ANSWER_EM,
    &squad::NO_ANSWER_EM,
    &bleu::SPEC,
    &chrf::CHRF,
    &chrf::CHRF_WORDS,
    &rouge::ROUGE_1,
    &rouge::ROUGE_2,
    &rouge::ROUGE_L,
    &rouge::ROUGE_LSUM,
    &texts::EXACT_MATCH,
    &texts::WORD_ERROR_RATE,
    &texts::CHARACTER_ERROR_RATE,
    &texts::INTRA_DISTINCT_1,
    &texts::INTRA_DISTINCT_2,
    &texts::REPETITION,
    &dialog::WORD_F1,
    &ranking::NDCG_10,
    &ranking::MRR,
    &ranking::MAP,
    &ranking::HITS_1,
    &ranking::HITS_3,
    &ranking::HITS_10,
    &ranking::RECALL_10,
    &ranking::RECALL_100,
    &trees::LAS,
    &trees::UAS,
    &trees::LABEL_ACCURACY,
    &trees::LAS_NO_PUNCTUATION,
    &trees::UAS_NO_PUNCTUATION,
    &language::PERPLEXITY,
    &language::BITS_PER_BYTE,
    &language::TOKEN_ACCURACY,
    &language::WORD_ACCURACY,
];

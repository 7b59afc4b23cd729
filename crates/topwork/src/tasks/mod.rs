//! What can be learnt from a file: one task a file, and the list of them.
//!
//! A [`LanguageTask`] says how examples become token ids and targets, which head learns from them, and by which measures
//! its answers are judged. Everything else (reading, splitting, the loop, reports) is the same for all.

pub mod choice;
pub mod dialog;
pub mod embed;
pub mod language_model;
pub(crate) mod measured;
pub mod pairing;
pub mod parse;
mod part;
pub mod question;
pub mod relation;
pub mod seq2seq;
pub mod tag;
pub mod texts;

use std::path::Path;

use topwork_data::tags::Scheme;
use topwork_data::{Dataset, Encoder, LabelMap};
use topwork_models::HeadSpec;
use topwork_train::metrics::{CostMatrix, Metric, Task as MetricTask};

pub use measured::{Answers, Measured, Run};
pub use part::{Part, TaskBatch, Units};

use crate::error::Error;
use crate::prepare::Prepared;
use crate::recipe::{Kind, TaskRecipe};
use crate::report::Mistakes;
use crate::sentence::SentenceTexts;

/// Mistakes shown in reports.
const WORST: usize = 20;

/// Texts up to here are not cut where the model reads as much, in tasks that are asked about places in a text.
const LONG: usize = 512;

/// How texts become what a model reads.
#[derive(Clone, Copy)]
pub struct Encode<'a> {
    /// The model's tokenizer.
    pub tokenizer: &'a Encoder<'a>,
    /// The tokenizer of texts that are to be written, where it is another one.
    pub targets: Option<&'a Encoder<'a>>,
    /// Longest text in tokens, special tokens counted; `None` to learn how long they are.
    pub max_length: Option<usize>,
    /// The labels and their numbers, for tasks that have some.
    pub map: Option<&'a LabelMap>,
    /// The task's settings.
    pub task: &'a TaskRecipe,
    /// How a model of vectors wants its texts.
    pub sentence: &'a SentenceTexts,
    /// Where the model lies, for tasks that say things in its own form.
    pub model: &'a Path,
    /// What is drawn at random is drawn from this.
    pub seed: u64,
}

/// A job that a model is taught from examples.
pub trait LanguageTask: Sync {
    /// Its name in recipes.
    fn kind(&self) -> Kind;

    /// What it is called in titles: `Text classification`.
    fn title(&self) -> &'static str;

    /// One line for lists.
    fn summary(&self) -> &'static str;

    /// Where it comes from.
    fn paper(&self) -> &'static str;

    /// The measures that apply.
    fn measures(&self) -> MetricTask;

    /// What its labels are in files.
    fn reader(&self) -> topwork_data::Task;

    /// Whether a text becomes one vector, in a way that can be chosen.
    fn pools(&self) -> bool {
        false
    }

    /// Whether a split keeps the shares of the labels.
    fn stratified(&self) -> bool {
        false
    }

    /// Whether a text that is longer than the model reads is read in several windows, instead of losing its end.
    fn windows(&self) -> bool {
        false
    }

    /// Whether the examples are one running text, whose order counts.
    fn running(&self) -> bool {
        false
    }

    /// Puts labels into the form in which they are learnt, and says what it did. `first` is the form of the set that others
    /// must fit: `None` for that set itself.
    fn settle(&self, _dataset: &mut Dataset, _first: &mut Option<Scheme>) -> Vec<String> {
        Vec::new()
    }

    /// The labels of the training data and their order; `None` for tasks without a list of labels.
    ///
    /// # Errors
    /// Labels that cannot be learnt, such as one alone.
    fn labels(&self, _train: &Dataset) -> Result<Option<LabelMap>, Error> {
        Ok(None)
    }

    /// Longest text in tokens when nothing is said: what covers nearly all texts, as `proposed`, within `most`.
    fn max_length(&self, proposed: usize, _most: usize) -> usize {
        proposed
    }

    /// Token ids and targets of a set.
    ///
    /// # Errors
    /// A text that the tokenizer refuses, a label that is unknown.
    fn encode(&self, dataset: Dataset, encode: &Encode) -> Result<Part, Error>;

    /// Fills in what is left to the training data, beyond labels and lengths.
    fn decide(&self, _task: &mut TaskRecipe, _data: &Prepared) {}

    /// The head that learns it.
    fn head(&self, task: &TaskRecipe, labels: &[String]) -> HeadSpec;

    /// The metric it is judged by when nothing else is said.
    fn default_metric(&self, data: &Prepared) -> &'static str;

    /// A batch of units. `draw` is a number to draw from in training, where a task hides a part of the texts at random.
    ///
    /// # Errors
    /// Whatever stands in the way of composing it.
    fn batch(&self, part: &Part, units: &[usize], _draw: Option<u64>) -> Result<TaskBatch, Error> {
        Ok(part.batch(units))
    }

    /// What there is to say of the training data, as lines for the user.
    fn remarks(&self, _train: &Part) -> Vec<String> {
        Vec::new()
    }

    /// Whether a text is the same each time it is drawn, so that what a frozen encoder makes of it may be kept.
    fn fixed(&self) -> bool {
        true
    }

    /// Refuses a metric that has no value on these labels whatever is answered.
    ///
    /// # Errors
    /// [`Error::Task`].
    fn check(&self, _dev: &Part, _metric: &Metric, _judge: &Judge) -> Result<(), Error> {
        Ok(())
    }

    /// Answers a set and measures the answers.
    ///
    /// # Errors
    /// What the model finds wrong, outputs that are no numbers.
    fn measure(&self, run: &Run, part: &Part) -> Result<Measured, Error>;

    /// The worst mistakes among measured answers.
    fn mistakes(&self, _measured: &Measured, _data: &Prepared) -> Option<Mistakes> {
        None
    }

    /// How transformers gives the same answers.
    fn in_python(&self, folder: &str) -> String;

    /// A command that uses the trained model in `folder`.
    fn how_to_use(&self, folder: &str) -> String {
        format!("topwork predict {folder} \"some text\"")
    }
}

/// What answers are judged with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Judge<'a> {
    /// Names of the labels.
    pub labels: &'a [String],
    /// The class that counts as positive.
    pub positive: Option<usize>,
    /// The probability above which the positive class is answered.
    pub threshold: Option<f64>,
    /// What wrong answers cost, if they are not all as bad: the answer of least expected cost is given.
    pub costs: Option<&'a CostMatrix>,
    /// Resamples behind the intervals; 0 for none.
    pub resamples: usize,
    /// Whether texts are written and measured, which takes its time, or only the loss of the right ones.
    pub writes: bool,
    /// Beams when texts are written; 0 and 1 for the likeliest word each time.
    pub beams: usize,
}

/// Every task, in the order `list` prints them.
pub const TASKS: &[&dyn LanguageTask] = &[
    &texts::CLASSIFY,
    &texts::MULTI_LABEL,
    &texts::REGRESS,
    &tag::TAG,
    &parse::PARSE,
    &relation::RELATION,
    &question::QUESTION,
    &choice::CHOICE,
    &embed::EMBED,
    &embed::SIMILARITY,
    &seq2seq::SEQ2SEQ,
    &dialog::DIALOG,
    &language_model::CAUSAL,
    &language_model::MASKED,
];

/// The task of a kind.
pub fn task(kind: Kind) -> &'static dyn LanguageTask {
    // Every kind is in the list: `every_kind_has_its_task`.
    TASKS.iter().copied().find(|task| task.kind() == kind).unwrap_or(TASKS[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_task() {
        assert_eq!(TASKS.len(), Kind::ALL.len());
        for (kind, name) in Kind::ALL {
            assert_eq!(task(*kind).kind(), *kind, "{name}");
            let written = serde_json::to_value(kind).unwrap();
            assert_eq!(written, *name);
        }
    }
}

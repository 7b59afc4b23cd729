//! The report of a run: one self-contained HTML file and a model card, from one plain struct.
//!
//! [`html`] needs no script, no font and no image from anywhere: it opens from disk, on a phone, in the dark and on
//! paper. [`card`] is the `card.md` that lies beside the model. Every part of [`Report`] is optional; what is absent
//! is left out.

mod card;
mod chart;
mod charts;
mod heat;
mod html;
mod number;
mod scale;
mod sections;
mod strips;
mod style;
mod tables;

pub use card::card;
pub use charts::by_labels;
pub use html::{escape, html};
pub use number::{bytes, compact, count, percent, score, seconds};
pub use style::CSS;

use serde::{Deserialize, Serialize};

/// Everything a report can show. Numbers that are not finite are shown as `n/a` or left out of charts; JSON has no form
/// for them, so a report that holds one does not survive being written and read as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The name of the run.
    pub title: String,
    /// One sentence: which model, which job, which data.
    pub subtitle: String,
    /// The few numbers that answer the question.
    pub headline: Vec<Headline>,
    /// What a reader must know first: warnings, odd data, what did not work.
    pub notes: Vec<String>,
    /// Many runs, each as a point.
    pub strips: Option<Strips>,
    /// A table of results, of a benchmark.
    pub grid: Option<Grid>,
    /// Tables of scores, shaded.
    pub heats: Option<Heats>,
    /// Further tables, each with its title.
    pub tables: Vec<Grid>,
    /// The methods compared on the same test texts.
    pub methods: Option<Methods>,
    /// Score by the number of labelled texts.
    pub by_labels: Option<ByLabels>,
    /// What happened during training.
    pub training: Option<Training>,
    /// Which class was taken for which.
    pub confusion: Option<Confusion>,
    /// Precision, recall and F1 of each class.
    pub classes: Vec<ClassScore>,
    /// How it fares on parts of the test texts.
    pub slices: Option<Slices>,
    /// The share of each layer in a mix that was learnt: name and share.
    pub layers: Vec<(String, f64)>,
    /// How long the texts are and where they are cut.
    pub lengths: Option<Lengths>,
    /// Whether the probabilities can be believed.
    pub calibration: Option<Calibration>,
    /// The mistakes the model was surest of.
    pub mistakes: Option<Mistakes>,
    /// What was read and what became of it.
    pub data: Option<DataAccount>,
    /// What was loaded from the pretrained model.
    pub load: Option<LoadAccount>,
    /// What the model is, for the card.
    pub model: Option<ModelFacts>,
    /// The resolved recipe, as TOML.
    pub recipe: Option<String>,
    /// Where and when it ran: versions, processor, threads, seed, time. Shown in this order.
    pub environment: Vec<Fact>,
}

/// A number with a 95% confidence interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Score {
    /// The value.
    pub value: f64,
    /// Lower and upper end of the 95% interval, where there is one.
    pub interval: Option<(f64, f64)>,
}

/// One large number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Headline {
    /// What it is: `F1 of spam`.
    pub name: String,
    /// The number as text, with its unit: `0.885`.
    pub value: String,
    /// One short line: `95% interval 0.871 to 0.899, 746 test texts`.
    pub detail: String,
}

/// A named value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fact {
    /// The name.
    pub name: String,
    /// The value, with its unit.
    pub value: String,
}

/// A table: its head and rows of as many cells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grid {
    /// What it shows.
    pub title: String,
    /// A sentence on how to read it.
    pub about: String,
    /// The names of the columns.
    pub head: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
    /// True if the last row sums the others up.
    pub sum: bool,
}

/// Tables of scores, shaded by one scale.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heats {
    /// What they show.
    pub title: String,
    /// A sentence on how to read them.
    pub about: String,
    /// What the columns are.
    pub along: String,
    /// The tables.
    pub maps: Vec<Heat>,
}

/// A table of scores.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heat {
    /// Its name.
    pub title: String,
    /// One line on what it is of.
    pub about: String,
    /// The names of the rows.
    pub rows: Vec<String>,
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The scores, where there are some.
    ///
    /// # Shapes
    /// `[rows][columns]`
    pub values: Vec<Vec<Option<f64>>>,
}

/// Scores of many runs, each as a point in a strip.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Strips {
    /// What it shows.
    pub title: String,
    /// A sentence on how to read it.
    pub about: String,
    /// The metric.
    pub metric: String,
    /// What a marked point is; a failed run when empty.
    pub marked: String,
    /// The strips, from the top down.
    pub rows: Vec<Strip>,
    /// Scores to hold the points against: what each is of, and the score.
    pub references: Vec<(String, f64)>,
}

/// The scores of runs of one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Strip {
    /// What they were measured on.
    pub name: String,
    /// The runs.
    pub points: Vec<StripPoint>,
    /// The score in the middle, to be marked.
    pub median: Option<f64>,
}

/// One run in a strip.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StripPoint {
    /// The name of the run.
    pub name: String,
    /// Its score.
    pub value: f64,
    /// True if it is marked: it has failed, or what [`Strips::marked`] says.
    pub failed: bool,
}

/// Methods compared by one metric on the same texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Methods {
    /// The metric: `F1 of spam`.
    pub metric: String,
    /// Test texts.
    pub texts: u64,
    /// The methods, in the order shown.
    pub rows: Vec<Method>,
}

/// One row of the comparison.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Method {
    /// Its name: `fine-tuned`.
    pub name: String,
    /// One short line on how: `all layers, 3 epochs`.
    pub detail: String,
    /// The score on the test texts.
    pub score: Score,
    /// Parameters that were trained.
    pub trained_parameters: Option<u64>,
    /// Training time in seconds.
    pub seconds: Option<f64>,
    /// Peak memory in bytes.
    pub memory: Option<u64>,
    /// True for the baseline the others are measured against.
    pub baseline: bool,
    /// True for the method this report is about.
    pub main: bool,
}

/// A metric on parts of the test texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slices {
    /// The metric.
    pub metric: String,
    /// On all of them.
    pub whole: Score,
    /// The parts.
    pub rows: Vec<Slice>,
}

/// A part of the test texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slice {
    /// What is in it: `26 to 50 tokens`, `text contains not`.
    pub name: String,
    /// Its texts.
    pub texts: u64,
    /// The score there, where the metric has a value.
    pub score: Option<Score>,
    /// True if it is worse than on all texts by more than chance: the interval does not reach the whole's value.
    pub worse: bool,
}

/// Score by the number of labelled texts, for several methods.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ByLabels {
    /// The metric.
    pub metric: String,
    /// One line a method.
    pub series: Vec<LabelSeries>,
    /// What the ends of the scores' intervals are; empty for 95% intervals.
    pub whiskers: String,
}

/// One method at several numbers of labels.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LabelSeries {
    /// The method.
    pub name: String,
    /// Labelled training texts, and the score reached with them.
    pub points: Vec<(u64, Score)>,
}

/// What happened during training; each list is (step, value).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Training {
    /// Training loss by step.
    pub train_loss: Vec<(u64, f64)>,
    /// Loss on the development set by step.
    pub dev_loss: Vec<(u64, f64)>,
    /// The name of the development metric.
    pub metric: String,
    /// The development metric by step.
    pub dev_metric: Vec<(u64, f64)>,
    /// The step whose weights were kept.
    pub best_step: Option<u64>,
    /// Learning rate by step.
    pub learning_rate: Vec<(u64, f64)>,
    /// Steps in an epoch, for the second line of marks.
    pub steps_per_epoch: Option<u64>,
}

/// Which class was taken for which.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Confusion {
    /// The classes, in the order of rows and columns.
    pub labels: Vec<String>,
    /// Texts by true class (row) and predicted class (column).
    ///
    /// # Shapes
    /// `[labels][labels]`
    pub counts: Vec<Vec<u64>>,
}

/// Scores of one class.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClassScore {
    /// The class.
    pub label: String,
    /// Of the texts given this class, the share that has it.
    pub precision: f64,
    /// Of the texts that have this class, the share given it.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// Test texts of this class.
    pub support: u64,
}

/// Token counts of the texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lengths {
    /// Bars: first length, last length (both included), texts.
    pub bins: Vec<(u64, u64, u64)>,
    /// Tokens after which a text is cut.
    pub maximum: Option<u64>,
    /// Texts that are cut.
    pub texts_cut: u64,
    /// Tokens lost by it.
    pub tokens_cut: u64,
    /// All texts.
    pub texts: u64,
}

/// Predicted probability against what came true.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Calibration {
    /// Bins: mean predicted probability, share that was right, texts.
    pub bins: Vec<(f64, f64, u64)>,
    /// Expected calibration error.
    pub error: f64,
}

/// The worst mistakes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mistakes {
    /// All mistakes on the test texts.
    pub total: u64,
    /// Test texts.
    pub texts: u64,
    /// The worst ones, worst first.
    pub worst: Vec<Mistake>,
}

/// A text the model got wrong.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mistake {
    /// Where it stands: file and row, or a name.
    pub id: String,
    /// The text.
    pub text: String,
    /// Its class.
    pub gold: String,
    /// The class it was given.
    pub predicted: String,
    /// The probability of the class it was given, where answers have one.
    pub probability: Option<f64>,
    /// What pieces of the text do to that probability, in order, none over another; empty where it was not measured.
    pub weights: Vec<Weight>,
}

/// A piece of a text and what it does to a probability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Weight {
    /// First byte in the text.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
    /// What the probability loses without it; below 0 where it gains.
    pub value: f64,
}

/// What was read and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataAccount {
    /// Where it comes from.
    pub source: String,
    /// Its licence, when known.
    pub licence: Option<String>,
    /// Rows read.
    pub rows: u64,
    /// Rows skipped, by reason.
    pub skipped: Vec<(String, u64)>,
    /// Exact duplicates.
    pub duplicates: u64,
    /// Near duplicates.
    pub near_duplicates: u64,
    /// Splits: name, then texts of each class in the order of `labels`.
    pub splits: Vec<(String, Vec<u64>)>,
    /// The classes.
    pub labels: Vec<String>,
    /// Anything else worth a line.
    pub remarks: Vec<String>,
}

/// What was loaded from the pretrained model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadAccount {
    /// Where it comes from.
    pub source: String,
    /// Tensors loaded.
    pub loaded: u64,
    /// Tensors in the file that the model does not use: name and reason.
    pub ignored: Vec<(String, String)>,
    /// Parameters that start fresh.
    pub fresh: Vec<String>,
}

/// What the model is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelFacts {
    /// The pretrained model it comes from.
    pub base: String,
    /// The licence of that model, when known.
    pub licence: Option<String>,
    /// Family and size: `bert, 6 layers of 384, 22.7 M parameters`.
    pub architecture: String,
    /// The job: `classify, 2 labels`.
    pub task: String,
    /// The line to type to use it.
    pub how_to_use: String,
    /// The same in Python.
    pub in_python: String,
    /// The library that opens it in Python, as hubs name it; transformers when empty.
    pub library: String,
    /// What it is not made for, and where it fails.
    pub limits: Vec<String>,
}

#[cfg(test)]
mod tests;

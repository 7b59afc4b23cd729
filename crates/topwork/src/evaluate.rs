//! Measuring a saved model on labelled data.

use std::path::Path;

use topwork_data::{Encoder, LabelMap, read};
use topwork_kernels::gemm::Precision;
use topwork_models::{HeadSpec, Model};
use topwork_text::Tokenizer;
use topwork_train::metrics::Metric;

use crate::embedder::{self, EmbedOptions};
use crate::error::Error;
use crate::model_files;
use crate::opened;
use crate::prepare::{look_at, read_options};
use crate::recipe::{DataRecipe, Kind, TaskRecipe};
use crate::saved::SavedNotes;
use crate::sentence::SentenceTexts;
use crate::slices::{Predicate, SliceScore, slices};
use crate::tasks::{self, Encode, Judge, LanguageTask, Measured, Part, Run, task};

/// A model's answers on a file, and what they are worth.
pub struct Evaluated {
    /// Answers paired with the truth, and every metric, with intervals for the main ones.
    pub measured: Measured,
    /// The examples that were answered.
    pub part: Part,
    /// The kind of task.
    pub kind: Kind,
    /// What reading did, and what was cut.
    pub notes: Vec<String>,
    labels: Vec<String>,
    positive: Option<usize>,
}

impl Evaluated {
    /// The model's labels in the order of its answers, and the one that counts as positive in a task of two.
    pub fn labels(&self) -> (&[String], Option<usize>) {
        (&self.labels, self.positive)
    }

    /// A metric on parts of the data: by length, and as described. Without a name the metric is the first of the headline.
    ///
    /// # Errors
    /// A metric that is not known or does not apply.
    pub fn slices(
        &self,
        metric: Option<&str>,
        predicates: &[Predicate],
        resamples: usize,
    ) -> Result<(String, Vec<SliceScore>), Error> {
        let measures = task(self.kind).measures();
        let first = || self.measured.evaluation.headline().first().map(|name| name.to_string());
        let name = metric.map(str::to_string).or_else(first).unwrap_or_else(|| "loss".to_string());
        let metric = Metric::parse(&name, measures, &self.labels, self.positive)?;
        Ok((name, slices(&self.measured, &self.part, &metric, predicates, resamples)?))
    }
}

/// Measures a model folder on the file `data.train` names (the other files are not looked at).
///
/// # Errors
/// A folder without a head, data that does not fit its labels, and everything wrong with the file.
pub fn evaluate(
    folder: &Path,
    data: &DataRecipe,
    precision: Precision,
    resamples: usize,
) -> Result<Evaluated, Error> {
    evaluate_as(folder, data, precision, resamples, None)
}

/// The same of the vectors of a model, whatever its head, if `kind` is one of vectors.
///
/// # Errors
/// As [`evaluate`]; a kind that the model's head does not have.
pub fn evaluate_as(
    folder: &Path,
    data: &DataRecipe,
    precision: Precision,
    resamples: usize,
    kind: Option<Kind>,
) -> Result<Evaluated, Error> {
    let vectors = matches!(kind, Some(Kind::Embed | Kind::Similarity));
    let (model, own_length) = match vectors {
        true => {
            let (spec, says) = embedder::spec(folder, &EmbedOptions::default())?;
            (opened::open(folder, &spec, 0)?.0, says)
        }
        false => (opened::open_saved(folder)?.0, true),
    };
    measure((model, own_length), folder, data, (precision, resamples), kind)
}

/// The same of a model that may have other values than those that lie in `folder`, which says how it reads texts.
///
/// # Errors
/// As [`evaluate`].
pub(crate) fn evaluate_model(
    model: Model,
    folder: &Path,
    data: &DataRecipe,
    precision: Precision,
    resamples: usize,
) -> Result<Evaluated, Error> {
    measure((model, true), folder, data, (precision, resamples), None)
}

fn measure(
    (mut model, own_length): (Model, bool),
    folder: &Path,
    data: &DataRecipe,
    (precision, resamples): (Precision, usize),
    kind: Option<Kind>,
) -> Result<Evaluated, Error> {
    model.store.keep_packed();
    let set = LabelledSet::read(&model, folder, data, kind.map(|kind| (kind, own_length)))?;
    let measured = set.measure(&model, precision, resamples)?;
    let LabelledSet { task, part, mut notes, labels, saved, .. } = set;
    if let Some(threshold) = saved.threshold {
        notes.push(format!("decided at the threshold stored with the model: {threshold:.3}"));
    }
    if saved.costs.is_some() {
        notes.push("decided by the least expected cost, as stored with the model".to_string());
    }
    Ok(Evaluated { measured, part, kind: task.kind(), notes, labels, positive: saved.positive })
}

/// Labelled data as the model of a folder reads it.
pub(crate) struct LabelledSet {
    /// What the model does.
    pub task: &'static dyn LanguageTask,
    /// The tokenized examples.
    pub part: Part,
    /// What reading did, and what was cut.
    pub notes: Vec<String>,
    /// The model's labels.
    pub labels: Vec<String>,
    /// What the folder says of its model.
    pub saved: SavedNotes,
    tokenizer: Tokenizer,
}

impl LabelledSet {
    /// Reads what `data.train` names. `kind` asks for a kind of task that is not the head's own: that of vectors; and whether the
    /// folder's longest text is meant for it.
    ///
    /// # Errors
    /// As [`evaluate_as`].
    pub fn read(
        model: &Model,
        folder: &Path,
        data: &DataRecipe,
        kind: Option<(Kind, bool)>,
    ) -> Result<Self, Error> {
        let tokenizer = model_files::tokenizer(folder)?;
        let targets = model_files::target_tokenizer(folder)?;
        let saved = SavedNotes::read(folder)?;
        let (own, labels) = kind_of(model, folder)?;
        let asked = match kind {
            Some((kind, _)) if matches!(kind, Kind::Embed | Kind::Similarity) || kind == own => kind,
            None => own,
            Some((kind, _)) => {
                return Err(Error::Task(format!(
                    "{}: this model was saved for {}, not for {}",
                    folder.display(),
                    own.name(),
                    kind.name()
                )));
            }
        };
        let own_length = kind.is_none_or(|(_, own_length)| own_length);
        let mut dataset = read(&data.train, &read_options(data, task(asked).reader())?)?;
        look_at(&mut dataset, &tokenizer)?;
        let settings = TaskRecipe::default();
        let task = task(tasks::embed::settled(asked, &settings, &dataset)?);
        let sentence = SentenceTexts::read(folder)?;
        let mut notes = dataset.report.lines();
        notes.extend(task.settle(&mut dataset, &mut None));
        let map = if labels.is_empty() { None } else { Some(LabelMap::in_order(labels.clone())?) };
        let model_max = model.max_tokens();
        // What a classifier was cut at says nothing of vectors.
        let stated = saved
            .max_length
            .filter(|_| own_length)
            .or(sentence.max_length.filter(|_| matches!(own, Kind::Embed)));
        let max_length = stated.or(tokenizer.stated_max_length()).unwrap_or(model_max).min(model_max);
        let targets = targets.as_ref().map(Encoder::new);
        let encode = Encode {
            tokenizer: &Encoder::new(&tokenizer),
            targets: targets.as_ref(),
            max_length: Some(max_length),
            map: map.as_ref(),
            task: &settings,
            sentence: &sentence,
            model: folder,
            seed: 0,
        };
        let part = task.encode(dataset, &encode)?;
        if part.inputs.cut_texts > 0 {
            notes.push(format!(
                "{} of {} texts cut at {max_length} tokens ({} tokens lost)",
                part.inputs.cut_texts,
                part.len(),
                part.inputs.cut_tokens
            ));
        }
        saved.check(labels.len(), folder)?;
        Ok(LabelledSet { task, part, notes, labels, saved, tokenizer })
    }

    /// The answers of a model with these labels, measured.
    ///
    /// # Errors
    /// What the model finds wrong.
    pub fn measure(&self, model: &Model, precision: Precision, resamples: usize) -> Result<Measured, Error> {
        let judge = Judge {
            labels: &self.labels,
            positive: self.saved.positive,
            threshold: self.saved.threshold,
            costs: self.saved.costs.as_ref(),
            resamples,
            writes: true,
            beams: 1,
        };
        self.task.measure(&Run::new(model, &self.tokenizer, precision, judge), &self.part)
    }
}

/// What a saved model's head does.
///
/// # Errors
/// A head that answers neither labels nor scores.
pub fn kind_of(model: &Model, folder: &Path) -> Result<(Kind, Vec<String>), Error> {
    match model.spec() {
        HeadSpec::Classify { labels, several: false, .. } => Ok((Kind::Classify, labels.clone())),
        HeadSpec::Classify { labels, several: true, .. } => Ok((Kind::MultiLabel, labels.clone())),
        HeadSpec::Regress { .. } => Ok((Kind::Regress, Vec::new())),
        HeadSpec::Tag { labels, .. } => Ok((Kind::Tag, labels.clone())),
        HeadSpec::Parse { labels, .. } => Ok((Kind::Parse, labels.clone())),
        HeadSpec::SpanPair { labels, .. } => Ok((Kind::Relation, labels.clone())),
        HeadSpec::Span => Ok((Kind::QuestionAnswering, Vec::new())),
        HeadSpec::MultipleChoice => Ok((Kind::MultipleChoice, Vec::new())),
        HeadSpec::Embed { .. } => Ok((Kind::Embed, Vec::new())),
        HeadSpec::Seq2Seq => Ok((Kind::Seq2Seq, Vec::new())),
        HeadSpec::DoubleHeads => Ok((Kind::Dialog, Vec::new())),
        HeadSpec::CausalLm => Ok((Kind::CausalLm, Vec::new())),
        HeadSpec::MaskedLm => Ok((Kind::MaskedLm, Vec::new())),
        other => Err(Error::Task(format!(
            "{}: this model has a {} head, which answers nothing that could be measured",
            folder.display(),
            other.name()
        ))),
    }
}

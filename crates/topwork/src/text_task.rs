//! A model over texts as the training loop sees it.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use burn::backend::DispatchTensor;
use burn::tensor::{Int, Tensor, TensorData};
use topwork_data::{BatchSize, Sampler};
use topwork_kernels::gemm::Precision;
use topwork_kernels::loss::IGNORE;
use topwork_models::{HeadSpec, LossOptions, Model, SaveOptions, Targets};
use topwork_nn::{ParamId, ParamStore, Pass};
use topwork_text::Tokenizer;
use topwork_train::metrics::{Metric, MetricError, Task as MetricTask};
use topwork_train::plan::{ParamInfo, Progress};
use topwork_train::techniques::freeze;
use topwork_train::{Answers, BatchLoss, Importance, Scores, Task, TaskError, Twice};

use crate::adapter::Adapter;
use crate::beside::{Asked, Beside, apart, drawn_by_likeness, rows};
use crate::error::Error;
use crate::fisher::fisher;
use crate::frozen::{Frozen, Place, Set, SharedFeatures};
use crate::imbalance::oversampled;
use crate::mixing::Mixed;
use crate::tasks::{Judge, LanguageTask, Part, Run, TaskBatch};

/// Settings of a [`TextTask`] that come from the recipe.
pub struct TextTaskSettings {
    /// How batches are composed.
    pub batch: BatchSize,
    /// Seed of their order.
    pub seed: u64,
    /// Draw the texts of rare classes as often as those of the most frequent one.
    pub oversample: bool,
    /// Class weights, smoothing and focus.
    pub loss: LossOptions,
    /// Precision of products.
    pub precision: Precision,
    /// The metric the best checkpoint is chosen by.
    pub metric: Metric,
    /// Names of the labels.
    pub labels: Vec<String>,
    /// The positive class.
    pub positive: Option<usize>,
    /// Files and notes that go into saved folders.
    pub save: SaveOptions,
}

impl TextTaskSettings {
    /// What the development data is judged with.
    fn judge(&self) -> Judge<'_> {
        Judge {
            labels: &self.labels,
            positive: self.positive,
            // Writing takes its time: only where the checkpoint is chosen by what was written, not by what it cost or by an
            // order.
            writes: self.metric.spec().is_some_and(|spec| {
                !spec.tasks.iter().any(|task| matches!(task, MetricTask::Words | MetricTask::Ranking))
            }),
            ..Judge::default()
        }
    }
}

/// A model, tokenized training and development data, and a metric.
pub struct TextTask<'a> {
    task: &'a dyn LanguageTask,
    model: Model,
    tokenizer: &'a Tokenizer,
    train: &'a Part,
    dev: &'a Part,
    sampler: Sampler,
    settings: TextTaskSettings,
    frozen: Frozen,
    adapter: Option<Adapter>,
    beside: Option<Beside<'a>>,
    mixed: Option<Mixed>,
    /// Where the model was opened.
    origin: Option<PathBuf>,
    /// True once this process has written the whole model folder.
    saved: Cell<bool>,
}

impl<'a> TextTask<'a> {
    /// Puts the parts together.
    ///
    /// # Errors
    /// Batch limits of zero; development labels for which the metric has no value whatever is predicted.
    pub fn new(
        task: &'a dyn LanguageTask,
        mut model: Model,
        tokenizer: &'a Tokenizer,
        [train, dev]: [&'a Part; 2],
        settings: TextTaskSettings,
    ) -> Result<Self, Error> {
        task.check(dev, &settings.metric, &settings.judge())?;
        let seed = topwork_kernels::rng::derive(settings.seed, "order");
        let sampler = Sampler::new(train.costs(), settings.batch, seed)?;
        let sampler = oversampled(sampler, settings.oversample, &train.inputs.labels)?;
        // For evaluations; released after each, so that steps do not carry them.
        model.store.keep_packed();
        Ok(TextTask {
            task,
            model,
            tokenizer,
            train,
            dev,
            sampler,
            settings,
            frozen: Frozen::default(),
            adapter: None,
            beside: None,
            mixed: None,
            origin: None,
            saved: Cell::new(false),
        })
    }

    /// The same with an adapter on its model, which is saved beside it.
    pub(crate) fn with_adapter(self, adapter: Option<Adapter>) -> Self {
        TextTask { adapter, ..self }
    }

    /// The same with texts beside those of the task.
    pub(crate) fn with_beside(self, beside: Option<Beside<'a>>) -> Self {
        TextTask { beside, ..self }
    }

    /// The same, drawing the texts of several tasks as often as is said.
    ///
    /// # Errors
    /// None that a fresh parameter could have.
    pub(crate) fn mixed(mut self, mut mixed: Option<Mixed>) -> Result<Self, Error> {
        mixed.iter_mut().try_for_each(|mixed| mixed.attach(&mut self.model.store))?;
        Ok(TextTask { mixed, ..self })
    }

    /// The same, drawing training texts the more often the more they are like these, if there are any.
    ///
    /// # Errors
    /// Texts without a single word; texts that are drawn by their class too.
    pub(crate) fn drawn_like(self, like: Option<&Part>) -> Result<Self, Error> {
        let Some(like) = like else { return Ok(self) };
        let sampler = drawn_by_likeness(self.sampler, &self.train.dataset, &like.dataset)?;
        Ok(TextTask { sampler, ..self })
    }

    /// The loss of a batch that has texts beside.
    fn loss_beside(&self, pass: &Pass, units: &[usize], beside: &Beside) -> Result<BatchLoss, Error> {
        let (own, other) = apart(units, self.train.len());
        let own = self.task.batch(self.train, &own, pass.seed())?;
        let texts = other;
        let other = self.task.batch(beside.part, &beside.learnt(&texts), pass.seed())?;
        // One batch, so that dropout is another one for each text.
        let mut both = own.packed.clone();
        both.append(&other.packed);
        let features = self.frozen.features(&self.model, pass, &both, Set::Beside, &[])?;
        let (first, all) = (rows(&self.model, &own.packed), features.dims()[0]);
        let head = |batch: &TaskBatch, rows: std::ops::Range<usize>| -> Result<Tensor<1>, Error> {
            let targets = labelled(batch)?;
            let features = features.clone().slice_dim(0, rows);
            Ok(self.model.head_loss(pass, features, &batch.packed, targets, &self.settings.loss)?)
        };
        let ours = head(&own, 0..first)?;
        let outputs = || {
            let features = features.clone().slice_dim(0, first..all);
            Ok(self.model.head(pass, features, &other.packed)?)
        };
        let as_is = |texts: &[usize]| {
            let batch = self.task.batch(beside.part, texts, pass.seed())?;
            let pass = Pass::eval(&self.model.store, pass.precision());
            Ok(self.model.head(&pass, self.model.features(&pass, &batch.packed)?, &batch.packed)?)
        };
        let asked = Asked {
            features: features.clone(),
            first,
            texts: &texts,
            labels: &|| head(&other, first..all),
            outputs: &outputs,
            as_is: &as_is,
        };
        let loss = beside.loss(pass, ours, &asked)?;
        Ok(BatchLoss { loss, examples: own.units + other.units, tokens: both.tokens() })
    }

    /// The same, with the place that its model was opened from, for techniques that ask what it did there.
    pub fn opened_from(self, origin: &Path) -> Self {
        TextTask { origin: Some(origin.to_path_buf()), ..self }
    }

    /// The lower part of the encoder that these patterns freeze works as in inference from now on, without dropout, and
    /// what it makes of the texts is computed once and kept in a nameless file in `folder`, or taken from what an earlier run
    /// made of the same texts. Embeddings alone are not worth it and stay as they are. Returns what was done, in words.
    ///
    /// Nothing is kept, and all is computed anew for each batch, to the same bits, if it would take more than
    /// `most_bytes` or than the disk has, or if `stop` was set.
    ///
    /// # Errors
    /// A pattern that matches nothing; a folder that cannot be written to; what the model finds wrong.
    pub fn keep_frozen(
        &mut self,
        patterns: &[String],
        folder: &Path,
        most_bytes: u64,
        (stop, shared): (&AtomicBool, Option<&SharedFeatures>),
    ) -> Result<Option<String>, Error> {
        let depth = freeze::depth(patterns, &ParamInfo::of(&self.model.store))?.min(self.model.depth());
        // Virtual tokens learn below all layers.
        if depth < 2 || self.model.virtual_tokens() > 0 {
            return Ok(None);
        }
        self.frozen = Frozen::below(depth);
        if !self.task.fixed() {
            return Ok(Some(
                "frozen layers: computed anew in each step, because a text is another one each time it is drawn".into(),
            ));
        }
        let place = Place { folder, most_bytes, stop, precision: self.settings.precision, shared };
        let said =
            self.frozen.keep(&self.model, [&self.train.inputs.packed, &self.dev.inputs.packed], &place)?;
        self.model.store.release_packed();
        Ok(Some(said))
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    fn scores(&self) -> Result<Scores, Error> {
        let run = Run {
            frozen: Some((&self.frozen, Set::Dev)),
            ..Run::new(&self.model, self.tokenizer, self.settings.precision, self.settings.judge())
        };
        let evaluation = self.task.measure(&run, self.dev)?.evaluation;
        self.model.store.release_packed();
        let metric = &self.settings.metric;
        let mut values: Vec<(String, f64)> =
            evaluation.values.iter().filter_map(|v| Some((v.name.clone(), v.value?))).collect();
        values.extend(evaluation.loss.map(|loss| ("loss".to_string(), loss)));
        let score = match evaluation.value(metric.name()) {
            Ok(score) => Some(score),
            // The labels allow a value (`new` has made sure), these predictions do not: the run may still learn.
            Err(MetricError::Undefined { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Scores { score, higher_is_better: metric.higher_is_better(), values })
    }
}

/// What is asked of a batch to learn from.
fn labelled(batch: &TaskBatch) -> Result<&Targets, Error> {
    batch.targets.as_ref().ok_or_else(|| Error::Task("the training data has no labels".into()))
}

/// The answers of two looks, one below the other, each by itself; of words those that are asked for.
pub fn halves(answers: Tensor<2>, targets: Option<&Targets>) -> [Tensor<2>; 2] {
    let rows = answers.dims()[0] / 2;
    [0..rows, rows..2 * rows].map(|look| {
        let look = answers.clone().slice_dim(0, look);
        let Some(Targets::Tokens(ids)) = targets else { return look };
        let asked = ids.iter().enumerate().filter(|(_, id)| **id != IGNORE);
        let asked: Vec<i32> = asked.map(|(row, _)| row as i32).collect();
        let count = asked.len();
        look.clone().select(0, Tensor::<1, Int>::from_data(TensorData::new(asked, [count]), &look.device()))
    })
}

impl Task for TextTask<'_> {
    fn store(&self) -> &ParamStore {
        &self.model.store
    }

    fn store_mut(&mut self) -> &mut ParamStore {
        &mut self.model.store
    }

    fn batches(&self, epoch: usize) -> Result<Vec<Vec<usize>>, TaskError> {
        let batches = match &self.mixed {
            Some(mixed) => mixed.epoch(&self.sampler, epoch, &self.model.store)?,
            None => self.sampler.epoch(epoch as u64),
        };
        Ok(match &self.beside {
            Some(beside) => beside.join(batches, epoch, self.train.len()),
            None => batches,
        })
    }

    fn begins(&mut self, _epoch: usize) -> Result<(), TaskError> {
        Ok(self.mixed.iter().try_for_each(|mixed| mixed.begins(&mut self.model.store))?)
    }

    fn pace(&self, param: ParamId) -> f64 {
        self.beside.as_ref().map_or(1.0, |beside| beside.pace(param))
    }

    fn at(&mut self, progress: Progress) {
        if let Some(beside) = &mut self.beside {
            beside.at(progress);
        }
    }

    fn loss(&self, pass: &Pass, units: &[usize]) -> Result<BatchLoss, TaskError> {
        if let Some(beside) = &self.beside {
            return Ok(self.loss_beside(pass, units, beside)?);
        }
        let batch = self.task.batch(self.train, units, pass.seed())?;
        let features = self.frozen.features(&self.model, pass, &batch.packed, Set::Train, &batch.texts)?;
        if let Some(mixed) = self.mixed.as_ref().filter(|mixed| mixed.asks()) {
            // As the model answers, without dropout in the head and without a graph.
            let plain = if features.is_tracked() { features.clone().inner() } else { features.clone() };
            let answers =
                self.model.head(&Pass::eval(&self.model.store, pass.precision()), plain, &batch.packed)?;
            let answers = answers.into_data().try_into_vec::<f32>().map_err(|error| format!("{error:?}"))?;
            mixed.note(pass, units, &answers)?;
        }
        let loss =
            self.model.head_loss(pass, features, &batch.packed, labelled(&batch)?, &self.settings.loss)?;
        Ok(BatchLoss { loss, examples: batch.units, tokens: batch.packed.tokens() })
    }

    fn importance(&self, ask: &Importance) -> Result<Vec<(ParamId, DispatchTensor)>, TaskError> {
        let origin = self.origin.as_deref().ok_or("ewc: the model was opened from nowhere")?;
        let mut found = Vec::new();
        for (path, shape, value) in fisher(origin, ask, self.settings.precision, self.settings.seed)? {
            // What only the head of the source has is not here.
            let id = self.model.store.id(&path).ok();
            found.extend(id.filter(|&id| self.model.store.param(id).shape == shape).map(|id| (id, value)));
        }
        Ok(found)
    }

    fn fixed(&self) -> bool {
        self.task.fixed()
    }

    fn answers(&self) -> Option<Answers> {
        match self.model.spec() {
            // A batch has texts of two sets then, which no view knows of.
            _ if !self.task.fixed() || self.beside.is_some() => None,
            // Nor do they say how undecided the model is.
            _ if self.mixed.as_ref().is_some_and(Mixed::asks) => None,
            HeadSpec::Classify { several: false, .. } | HeadSpec::Tag { crf: false, .. } => {
                Some(Answers::OneOf)
            }
            HeadSpec::Classify { several: true, .. } => Some(Answers::Several),
            HeadSpec::Regress { .. } => Some(Answers::Numbers),
            _ => None,
        }
    }

    fn twice(&self, pass: &Pass, units: &[usize]) -> Result<Twice, TaskError> {
        let kind = self.answers().ok_or("the answers of this task cannot be held against each other")?;
        let draw = pass.seed();
        let (one, two) = (self.task.batch(self.train, units, draw)?, [units, units].concat());
        let two = self.task.batch(self.train, &two, draw)?;
        let features = self.frozen.features(&self.model, pass, &two.packed, Set::Train, &two.texts)?;
        let half = features.clone().slice_dim(0, 0..features.dims()[0] / 2);
        let answers = self.model.head(pass, features.clone(), &two.packed)?;
        let loss = |batch: &TaskBatch, features| -> Result<Tensor<1>, Error> {
            Ok(self.model.head_loss(pass, features, &batch.packed, labelled(batch)?, &self.settings.loss)?)
        };
        Ok(Twice {
            both: loss(&two, features)?,
            first: loss(&one, half)?,
            answers: halves(answers, one.targets.as_ref()),
            kind,
            examples: one.units,
            tokens: two.packed.tokens(),
        })
    }

    fn evaluate(&self) -> Result<Scores, TaskError> {
        Ok(self.scores()?)
    }

    fn save(&self, folder: &Path, _: &Scores) -> Result<(), TaskError> {
        // With a frozen encoder only the head is new since this run last wrote the folder.
        if self.frozen.depth == self.model.depth() && self.saved.get() && self.model.save_head(folder)? {
            return Ok(());
        }
        let mut save = self.settings.save.clone();
        if let Some(adapter) = &self.adapter {
            adapter.put_into(&mut save, &self.model)?;
        }
        self.model.save(folder, &save)?;
        self.saved.set(true);
        Ok(())
    }
}

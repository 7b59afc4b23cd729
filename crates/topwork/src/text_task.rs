//! A model over texts as the training loop sees it.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use topwork_data::{BatchSize, Sampler};
use topwork_kernels::gemm::Precision;
use topwork_models::{LossOptions, Model, SaveOptions};
use topwork_nn::{ParamStore, Pass};
use topwork_text::Tokenizer;
use topwork_train::metrics::{Metric, MetricError, Task as MetricTask};
use topwork_train::plan::ParamInfo;
use topwork_train::techniques::freeze;
use topwork_train::{BatchLoss, Scores, Task, TaskError};

use crate::adapter::Adapter;
use crate::error::Error;
use crate::frozen::{Frozen, Place, Set};
use crate::imbalance::oversampled;
use crate::tasks::{Judge, LanguageTask, Part, Run};

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
            saved: Cell::new(false),
        })
    }

    /// The same with an adapter on its model, which is saved beside it.
    pub(crate) fn with_adapter(self, adapter: Option<Adapter>) -> Self {
        TextTask { adapter, ..self }
    }

    /// The lower part of the encoder that these patterns freeze works as in inference from now on, without dropout, and
    /// what it makes of the texts is computed once and kept in a nameless file in `folder`. Embeddings alone are not
    /// worth it and stay as they are. Returns what was done, in words.
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
        stop: &AtomicBool,
    ) -> Result<Option<String>, Error> {
        let depth = freeze::depth(patterns, &ParamInfo::of(&self.model.store))?.min(self.model.depth());
        if depth < 2 {
            return Ok(None);
        }
        self.frozen = Frozen::below(depth);
        if !self.task.fixed() {
            return Ok(Some(
                "frozen layers: computed anew in each step, because a text is another one each time it is drawn".into(),
            ));
        }
        let place = Place { folder, most_bytes, stop, precision: self.settings.precision };
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

impl Task for TextTask<'_> {
    fn store(&self) -> &ParamStore {
        &self.model.store
    }

    fn store_mut(&mut self) -> &mut ParamStore {
        &mut self.model.store
    }

    fn batches(&self, epoch: usize) -> Result<Vec<Vec<usize>>, TaskError> {
        Ok(self.sampler.epoch(epoch as u64))
    }

    fn loss(&self, pass: &Pass, units: &[usize]) -> Result<BatchLoss, TaskError> {
        let batch = self.task.batch(self.train, units, pass.seed())?;
        let features = self.frozen.features(&self.model, pass, &batch.packed, Set::Train, &batch.texts)?;
        let targets = batch.targets.ok_or_else(|| Error::Task("the training data has no labels".into()))?;
        let loss = self.model.head_loss(pass, features, &batch.packed, &targets, &self.settings.loss)?;
        Ok(BatchLoss { loss, examples: batch.units, tokens: batch.packed.tokens() })
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

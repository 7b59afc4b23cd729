//! A model over texts as the training loop sees it.

use std::cell::Cell;
use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use topwork_data::{Batch, BatchSize, Inputs, Sampler};
use topwork_kernels::gemm::Precision;
use topwork_models::{LossOptions, Model, SaveOptions};
use topwork_nn::{ParamStore, Pass};
use topwork_train::metrics::{Metric, MetricError};
use topwork_train::{BatchLoss, Scores, Task, TaskError};

use crate::error::Error;
use crate::scoring::{evaluation, head_outputs, in_batches, outcome, outputs, targets};

/// Settings of a [`TextTask`] that come from the recipe.
pub struct TextTaskSettings {
    /// How batches are composed.
    pub batch: BatchSize,
    /// Seed of their order.
    pub seed: u64,
    /// Class weights and smoothing.
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

/// A model, tokenized training and development data, and a metric.
pub struct TextTask<'a> {
    model: Model,
    train: &'a Inputs,
    dev: &'a Inputs,
    sampler: Sampler,
    settings: TextTaskSettings,
    cache: Option<Cache>,
    /// True once this process has written the whole model folder.
    saved: Cell<bool>,
}

/// Pooled outputs of a frozen encoder, computed once for all epochs.
struct Cache {
    /// `[examples, hidden]`.
    train: Vec<f32>,
    /// `[examples, hidden]`.
    dev: Vec<f32>,
}

impl<'a> TextTask<'a> {
    /// Puts the parts together.
    ///
    /// # Errors
    /// Batch limits of zero; development labels for which the metric has no value whatever is predicted.
    pub fn new(
        mut model: Model,
        train: &'a Inputs,
        dev: &'a Inputs,
        settings: TextTaskSettings,
    ) -> Result<Self, Error> {
        if let Some(metric) = Some(&settings.metric).filter(|metric| metric.spec().is_some()) {
            let width = settings.labels.len().max(1);
            // Outputs that are all different: what has no value for them has none for any.
            let values: Vec<f32> = (0..dev.len() * width).map(|at| (at as f32).sin()).collect();
            if let Err(MetricError::Undefined { name, reason }) =
                metric.of(&outcome(&dev.labels, &values, width, settings.positive)?)
            {
                return Err(Error::Task(format!(
                    "{name} has no value on the {} development examples: {reason}; give more or other development \
                     data, or judge by another metric (--metric)",
                    dev.len()
                )));
            }
        }
        let seed = topwork_kernels::rng::derive(settings.seed, "order");
        let sampler = Sampler::new(train.packed.lengths(), settings.batch, seed)?;
        // For evaluations; released after each, so that steps do not carry them.
        model.store.keep_packed();
        Ok(TextTask { model, train, dev, sampler, settings, cache: None, saved: Cell::new(false) })
    }

    /// Computes the encoder's outputs once, for runs that freeze all of it. The encoder then works as in inference:
    /// no dropout inside it.
    ///
    /// # Errors
    /// What the model finds wrong.
    pub fn cache_encoder(&mut self) -> Result<(), Error> {
        let (train, dev) = (self.pooled(self.train)?, self.pooled(self.dev)?);
        self.model.store.release_packed();
        self.cache = Some(Cache { train, dev });
        Ok(())
    }

    fn pooled(&self, inputs: &Inputs) -> Result<Vec<f32>, Error> {
        let (model, precision) = (&self.model, self.settings.precision);
        let parts = in_batches(inputs.packed.lengths(), |indices| {
            let pass = Pass::eval(&model.store, precision);
            let features = model.features(&pass, &inputs.packed.select(indices))?;
            Ok(topwork_models::model::plain(features)?)
        })?;
        Ok(parts.concat())
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What the head reads for a batch: from the cache, or through the encoder.
    fn features(
        &self,
        pass: &Pass,
        batch: &Batch,
        cached: Option<(&[f32], &[usize])>,
    ) -> Result<Tensor<2>, Error> {
        let Some((rows, indices)) = cached else { return Ok(self.model.features(pass, &batch.packed)?) };
        let hidden = self.model.size().hidden;
        let mut values = Vec::with_capacity(indices.len() * hidden);
        for &index in indices {
            values.extend_from_slice(&rows[index * hidden..(index + 1) * hidden]);
        }
        let data = TensorData::new(values, [indices.len(), hidden]);
        Ok(Tensor::from_data(data, self.model.store.device()))
    }

    fn scores(&self) -> Result<Scores, Error> {
        let (values, loss) = match &self.cache {
            None => {
                let outputs = outputs(&self.model, self.dev, self.settings.precision)?;
                self.model.store.release_packed();
                (outputs.values, outputs.loss)
            }
            Some(cache) => {
                let all: Vec<usize> = (0..self.dev.len()).collect();
                let batch = self.dev.batch(&all);
                let pass = Pass::eval(&self.model.store, self.settings.precision);
                let features = self.features(&pass, &batch, Some((&cache.dev, &all)))?;
                head_outputs(&self.model, &pass, features, &batch)?
            }
        };
        let width = values.len() / self.dev.len().max(1);
        let outcome = outcome(&self.dev.labels, &values, width, self.settings.positive)?;
        let evaluation = evaluation(&outcome, &self.settings.labels, loss)?;
        let metric = &self.settings.metric;
        let mut values: Vec<(String, f64)> =
            evaluation.values.iter().filter_map(|v| Some((v.name.clone(), v.value?))).collect();
        values.extend(loss.map(|loss| ("loss".to_string(), loss)));
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

    fn loss(&self, pass: &Pass, examples: &[usize]) -> Result<BatchLoss, TaskError> {
        let batch = self.train.batch(examples);
        let cached = self.cache.as_ref().map(|cache| (cache.train.as_slice(), examples));
        let features = self.features(pass, &batch, cached)?;
        let targets =
            targets(&batch.labels).ok_or_else(|| Error::Task("the training data has no labels".into()))?;
        let loss = self.model.head_loss(pass, features, &targets, &self.settings.loss)?;
        Ok(BatchLoss { loss, examples: examples.len(), tokens: batch.packed.tokens() })
    }

    fn evaluate(&self) -> Result<Scores, TaskError> {
        Ok(self.scores()?)
    }

    fn save(&self, folder: &Path, _: &Scores) -> Result<(), TaskError> {
        // With a frozen encoder only the head is new since this run last wrote the folder.
        if self.cache.is_some() && self.saved.get() && self.model.save_head(folder)? {
            return Ok(());
        }
        self.model.save(folder, &self.settings.save)?;
        self.saved.set(true);
        Ok(())
    }
}

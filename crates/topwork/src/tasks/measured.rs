//! Answering a set, and what the answers are worth.

use burn::tensor::Tensor;
use topwork_data::{Dataset, Example};
use topwork_kernels::gemm::Precision;
use topwork_models::trees::Attached;
use topwork_models::{LossOptions, Model};
use topwork_nn::Pass;
use topwork_text::Tokenizer;
use topwork_train::metrics::{
    Bootstrap, ClassReport, Dependency, Evaluation, Outcome, Summed, Task as MetricTask, TextLoss, language,
};

use super::{Judge, LanguageTask, Part, TaskBatch, WORST};
use crate::error::Error;
use crate::frozen::{Frozen, Set};
use crate::report::{Mistake, Mistakes};
use crate::scoring::{self, Outputs};

/// A model that answers, and what its answers are judged with.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The model.
    pub model: &'a Model,
    /// The model's tokenizer, for tasks whose answers are texts.
    pub tokenizer: &'a Tokenizer,
    /// Precision of products.
    pub precision: Precision,
    /// Labels and thresholds.
    pub judge: Judge<'a>,
    /// What a frozen encoder made of the texts already.
    pub(crate) frozen: Option<(&'a Frozen, Set)>,
}

impl<'a> Run<'a> {
    /// A model that works on each text anew.
    pub fn new(model: &'a Model, tokenizer: &'a Tokenizer, precision: Precision, judge: Judge<'a>) -> Self {
        Run { model, tokenizer, precision, judge, frozen: None }
    }

    /// Outputs over a whole set, and the mean loss.
    ///
    /// # Errors
    /// What the model finds wrong.
    pub fn outputs(&self, part: &Part) -> Result<Outputs, Error> {
        match self.frozen {
            Some((frozen, set)) => frozen.outputs(self.model, part, set, self.precision),
            None => scoring::outputs(self.model, part, self.precision),
        }
    }

    /// What a set's words cost, as measures, and the mean loss of a word; for tasks whose outputs are too many to be kept. `bytes`
    /// are those that all the words stand for, each unit in proportion, where that is known.
    ///
    /// # Errors
    /// What the model finds wrong, a loss that is no number.
    pub fn costs(
        &self,
        task: &dyn LanguageTask,
        part: &Part,
        bytes: Option<usize>,
    ) -> Result<(Vec<Summed>, f64), Error> {
        let losses = self.losses(task, part)?;
        let asked: f64 = losses.iter().map(|(_, asked)| *asked as f64).sum::<f64>().max(1.0);
        let texts: Vec<TextLoss> = losses
            .iter()
            .map(|&(loss, tokens)| TextLoss {
                loss,
                tokens: tokens as u64,
                bytes: bytes.map(|bytes| (bytes as f64 * tokens as f64 / asked).round() as u64),
                ..TextLoss::default()
            })
            .collect();
        let loss = losses.iter().map(|(loss, _)| loss).sum::<f64>() / asked;
        Ok((language(&texts)?, loss))
    }

    /// The summed loss of each unit, and over how many answers it is summed.
    fn losses(&self, task: &dyn LanguageTask, part: &Part) -> Result<Vec<(f64, usize)>, Error> {
        let each = scoring::in_batches(part.costs(), |units| {
            let mut found = Vec::with_capacity(units.len());
            // One at a time, so that intervals know what each of them says.
            for &unit in units {
                let batch = task.batch(part, &[unit], None)?;
                let asked = batch.targets.as_ref().map_or(0, |targets| scoring::asked(targets, 1));
                let Some(targets) = batch.targets.as_ref().filter(|_| asked > 0) else {
                    found.push((0.0, 0));
                    continue;
                };
                let pass = Pass::eval(&self.model.store, self.precision);
                let features = self.features(&pass, &batch)?;
                let options = LossOptions::default();
                let loss = self.model.head_loss(&pass, features, &batch.packed, targets, &options)?;
                found.push((f64::from(loss.into_scalar::<f32>()) * asked as f64, asked));
            }
            Ok(found)
        })?;
        Ok(each.concat())
    }

    /// The tree over the marked words of each text, and the mean loss.
    ///
    /// # Errors
    /// What the model finds wrong.
    pub fn trees(&self, part: &Part) -> Result<(Vec<Vec<Attached>>, Option<f64>), Error> {
        let found = scoring::in_batches(part.costs(), |units| {
            let batch = part.batch(units);
            let pass = Pass::eval(&self.model.store, self.precision);
            let features = self.features(&pass, &batch)?;
            let loss = scoring::mean_loss(self.model, &pass, features.clone(), &batch)?;
            Ok((self.model.trees(&pass, features, &batch.packed)?, loss))
        })?;
        let (trees, losses): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        Ok((trees.concat(), scoring::mean_of(losses)))
    }

    /// What the head reads of a batch.
    ///
    /// # Errors
    /// What the model finds wrong.
    pub(crate) fn features(&self, pass: &Pass, batch: &TaskBatch) -> Result<Tensor<2>, Error> {
        match self.frozen {
            Some((frozen, set)) => frozen.features(self.model, pass, &batch.packed, set, &batch.texts),
            None => Ok(self.model.features(pass, &batch.packed)?),
        }
    }
}

/// Answers beside the truth, kept so that others can be compared with them on the same examples.
#[derive(Clone, Debug)]
pub enum Answers {
    /// Classes, labels or numbers.
    Outcome(Outcome),
    /// Measures of a corpus.
    Sums(Vec<Summed>),
}

/// A model measured on a set.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Every metric, with intervals where they were asked for.
    pub evaluation: Evaluation,
    /// Answers paired with the truth.
    pub answers: Answers,
    /// The answers themselves, of tasks whose answers are texts.
    pub texts: Vec<String>,
    /// What was written beside, of tasks that choose a text and write one.
    pub written: Vec<String>,
    /// The label of each word of each example, of taggers.
    pub tags: Vec<Vec<String>>,
    /// What each word of each example depends on, of parsers.
    pub trees: Vec<Vec<Dependency>>,
}

impl Measured {
    /// Every metric of an outcome.
    ///
    /// # Errors
    /// A number of label names that does not fit, options of the bootstrap out of range.
    pub fn of_outcome(outcome: Outcome, judge: &Judge, loss: Option<f64>) -> Result<Self, Error> {
        let evaluation = scoring::evaluation(&outcome, judge.labels, loss)?;
        let evaluation = match bootstrap(judge.resamples) {
            Some(bootstrap) => evaluation.with_intervals(&outcome, &bootstrap, &[])?,
            None => evaluation,
        };
        Ok(Measured::of(evaluation, Answers::Outcome(outcome)))
    }

    /// Measures of a corpus; `types` are those of entities or classes.
    ///
    /// # Errors
    /// No measures, or measures of different examples.
    pub fn of_sums(
        task: MetricTask,
        sums: Vec<Summed>,
        types: Vec<ClassReport>,
        judge: &Judge,
        loss: Option<f64>,
    ) -> Result<Self, Error> {
        let evaluation = Evaluation::of_sums(task, &sums, types, bootstrap(judge.resamples).as_ref())?;
        let evaluation = match loss {
            Some(loss) => evaluation.with_loss(loss)?,
            None => evaluation,
        };
        Ok(Measured::of(evaluation, Answers::Sums(sums)))
    }

    fn of(evaluation: Evaluation, answers: Answers) -> Self {
        let (texts, written, tags, trees) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Measured { evaluation, answers, texts, written, tags, trees }
    }

    /// The mistakes among answers that are texts: those whose `measure` is 0. `gold` is what was right, `shown` how an answer looks
    /// in a table.
    pub(crate) fn wrong_texts(
        &self,
        measure: &str,
        dataset: &Dataset,
        shown: impl Fn(&str) -> &str,
        gold: impl Fn(&Example) -> &str,
    ) -> Mistakes {
        let hits = match &self.answers {
            Answers::Sums(sums) => sums.iter().find(|sum| sum.name == measure),
            Answers::Outcome(_) => None,
        };
        let wrong: Vec<usize> = (0..self.texts.len())
            .filter(|&at| hits.is_some_and(|hits| hits.statistics[at * hits.width] == 0.0))
            .collect();
        let worst = wrong.iter().take(WORST).map(|&at| {
            let example = &dataset.examples[at];
            Mistake {
                id: dataset.place(at),
                text: example.text.clone(),
                gold: gold(example).to_string(),
                predicted: shown(&self.texts[at]).to_string(),
                probability: None,
                weights: Vec::new(),
            }
        });
        Mistakes { total: wrong.len() as u64, texts: dataset.len() as u64, worst: worst.collect() }
    }

    /// Answers that are classes, labels or numbers.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.answers {
            Answers::Outcome(outcome) => Some(outcome),
            Answers::Sums(_) => None,
        }
    }
}

/// How intervals are made, unless none are asked for.
pub(crate) fn bootstrap(resamples: usize) -> Option<Bootstrap> {
    (resamples >= 2).then(|| Bootstrap { resamples: resamples as u32, ..Bootstrap::default() })
}

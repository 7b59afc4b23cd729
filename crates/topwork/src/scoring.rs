//! From a model's outputs to metrics.

use burn::tensor::Tensor;
use rayon::prelude::*;
use topwork_data::{Labels, Sampler};
use topwork_kernels::alone;
use topwork_kernels::gemm::Precision;
use topwork_kernels::loss::IGNORE;
use topwork_models::{LossOptions, Model, Targets, model::plain};
use topwork_nn::Pass;
use topwork_train::metrics::{Evaluation, Outcome};

use crate::error::Error;
use crate::tasks::{Part, TaskBatch};

/// Tokens in a batch when nothing has to be remembered for a backward pass: what a layer makes of them stays in a
/// core's cache.
const TOKENS: usize = 512;

/// Calls `run` with the indices of each batch of texts of these lengths and gathers what it gives, in order.
///
/// # Errors
/// The first error of `run`; a text without tokens.
pub(crate) fn in_batches<T: Send>(
    lengths: impl IntoIterator<Item = usize>,
    run: impl Fn(&[usize]) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let size = topwork_data::BatchSize { examples: None, tokens: Some(TOKENS) };
    let batches = Sampler::new(lengths, size, 0)?.in_order();
    // With some batches for each thread, a batch a thread; else all threads on each batch.
    if batches.len() >= 4 * rayon::current_num_threads() {
        batches.par_iter().with_max_len(1).map(|indices| alone(|| run(indices))).collect()
    } else {
        batches.iter().map(|indices| run(indices)).collect()
    }
}

/// Outputs of a model over a whole set, in the set's order, and the mean loss.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// `[examples, outputs]`, row-major.
    pub values: Vec<f32>,
    /// Mean loss over the examples, where they have labels.
    pub loss: Option<f64>,
}

/// Labels that are there or not.
pub(crate) fn flags(values: &[f32]) -> Vec<bool> {
    values.iter().map(|y| *y > 0.5).collect()
}

/// Targets of a batch as a head wants them; `None` where there are no labels.
pub fn targets(labels: &Labels) -> Option<Targets> {
    match labels {
        Labels::None(_) => None,
        Labels::Class(classes) => Some(Targets::Classes(classes.as_slice().into())),
        Labels::Multi { values, .. } => Some(Targets::Several(values.clone())),
        Labels::Score(scores) => Some(Targets::Scores(scores.clone())),
        Labels::Tokens(numbers) => Some(Targets::Tokens(numbers.values.as_slice().into())),
        Labels::Texts(numbers) => Some(Targets::Texts {
            ids: numbers.values.as_slice().into(),
            offsets: numbers.offsets.as_slice().into(),
        }),
        Labels::Trees { heads, relations } => Some(Targets::Trees {
            heads: heads.values.as_slice().into(),
            relations: relations.values.as_slice().into(),
        }),
        Labels::Spans { starts, ends } => {
            Some(Targets::Spans { starts: starts.as_slice().into(), ends: ends.as_slice().into() })
        }
    }
}

/// Runs a model over a set.
///
/// # Errors
/// A text longer than the model's positions, or what the model finds wrong.
pub fn outputs(model: &Model, part: &Part, precision: Precision) -> Result<Outputs, Error> {
    outputs_of(model, part, precision, part.costs(), |pass, batch| Ok(model.features(pass, &batch.packed)?))
}

/// The same with features that come from elsewhere; `costs` says for each unit how many tokens are computed for it.
///
/// # Errors
/// What the model or `features` find wrong.
pub(crate) fn outputs_of(
    model: &Model,
    part: &Part,
    precision: Precision,
    costs: impl IntoIterator<Item = usize>,
    features: impl Fn(&Pass, &TaskBatch) -> Result<Tensor<2>, Error> + Sync,
) -> Result<Outputs, Error> {
    let parts = in_batches(costs, |units| {
        let batch = part.batch(units);
        let pass = Pass::eval(&model.store, precision);
        let features = features(&pass, &batch)?;
        let values = plain(model.head(&pass, features.clone(), &batch.packed)?)?;
        Ok((values, mean_loss(model, &pass, features, &batch)?))
    })?;
    let (values, losses): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    Ok(Outputs { values: values.concat(), loss: mean_of(losses) })
}

/// The mean loss over all batches, from each one's and the number of answers it is the mean of.
pub(crate) fn mean_of(losses: Vec<Option<(f64, usize)>>) -> Option<f64> {
    let (mut sum, mut asked) = (0.0, 0);
    for (loss, count) in losses.into_iter().flatten() {
        sum += loss * count as f64;
        asked += count;
    }
    (asked > 0).then(|| sum / asked as f64)
}

/// The mean loss of the head over one batch's features, with the number of answers it is the mean of; `None` without any.
pub(crate) fn mean_loss(
    model: &Model,
    pass: &Pass,
    features: Tensor<2>,
    batch: &TaskBatch,
) -> Result<Option<(f64, usize)>, Error> {
    let Some(targets) = &batch.targets else { return Ok(None) };
    let asked = asked(targets, batch.units);
    if asked == 0 {
        return Ok(None);
    }
    let loss = model.head_loss(pass, features, &batch.packed, targets, &LossOptions::default())?;
    Ok(Some((f64::from(loss.into_scalar::<f32>()), asked)))
}

/// How many answers the mean loss of a batch is the mean of.
pub(crate) fn asked(targets: &Targets, units: usize) -> usize {
    match targets {
        Targets::Tokens(ids) | Targets::Texts { ids, .. } | Targets::Trees { heads: ids, .. } => {
            ids.iter().filter(|&&id| id != IGNORE).count()
        }
        _ => units,
    }
}

/// The natural logarithm of the share of one score in the softmax of a row.
pub(crate) fn log_share(row: &[f32], at: usize) -> f64 {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|&score| f64::from(score - top).exp()).sum();
    f64::from(row[at] - top) - sum.ln()
}

/// Index of the greatest value, the first of equals.
pub(crate) fn first_greatest<T: PartialOrd>(row: &[T]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// Pairs outputs with the truth.
///
/// # Errors
/// Numbers that are not finite, or labels of the wrong kind.
pub fn outcome(
    labels: &Labels,
    values: &[f32],
    outputs: usize,
    positive: Option<usize>,
) -> Result<Outcome, Error> {
    let outcome = match labels {
        Labels::None(_) => return Err(Error::Task("there are no labels to compare with".to_string())),
        Labels::Class(classes) => Outcome::classes_from_logits(classes, values, outputs)?,
        Labels::Multi { values: truth, .. } => {
            let truth = flags(truth);
            Outcome::multi_label_from_logits(&truth, values, outputs)?
        }
        Labels::Score(scores) => Outcome::scores(scores, values)?,
        Labels::Tokens(_) | Labels::Texts(_) | Labels::Trees { .. } | Labels::Spans { .. } => {
            return Err(Error::Task("there are no labels of whole texts to compare with".to_string()));
        }
    };
    Ok(match positive {
        Some(class) => outcome.with_positive(class)?,
        None => outcome,
    })
}

/// Every metric of an outcome.
///
/// # Errors
/// A number of label names that does not fit.
pub fn evaluation(outcome: &Outcome, names: &[String], loss: Option<f64>) -> Result<Evaluation, Error> {
    let names = if outcome.labels() == 0 { &[] } else { names };
    let evaluation = Evaluation::new(outcome, names)?;
    Ok(match loss {
        Some(loss) => evaluation.with_loss(loss)?,
        None => evaluation,
    })
}

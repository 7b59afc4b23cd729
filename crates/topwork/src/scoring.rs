//! From a model's outputs to metrics.

use topwork_data::{Batch, Inputs, Labels, Sampler};
use topwork_kernels::gemm::Precision;
use topwork_models::{LossOptions, Model, Targets, model::plain};
use topwork_nn::Pass;
use topwork_train::metrics::{Evaluation, Outcome};

use crate::error::Error;

/// Tokens in a batch when nothing has to be remembered for a backward pass.
pub const EVALUATION_TOKENS: usize = 1024;

/// Outputs of a model over a whole set, in the set's order, and the mean loss.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// `[examples, outputs]`, row-major.
    pub values: Vec<f32>,
    /// Mean loss over the examples, where they have labels.
    pub loss: Option<f64>,
}

/// Targets of a batch as a head wants them; `None` where there are no labels.
pub fn targets(labels: &Labels) -> Option<Targets> {
    match labels {
        Labels::None(_) => None,
        Labels::Class(classes) => Some(Targets::Classes(classes.as_slice().into())),
        Labels::Multi { values, .. } => Some(Targets::Several(values.clone())),
        Labels::Score(scores) => Some(Targets::Scores(scores.clone())),
    }
}

/// Runs a model over a set.
///
/// # Errors
/// A text longer than the model's positions, or what the model finds wrong.
pub fn outputs(model: &Model, inputs: &Inputs, precision: Precision) -> Result<Outputs, Error> {
    let size = topwork_data::BatchSize { examples: None, tokens: Some(EVALUATION_TOKENS) };
    let sampler = Sampler::new(inputs.packed.lengths(), size, 0)?;
    let (mut values, mut loss, mut labelled) = (Vec::new(), 0.0, false);
    for indices in sampler.in_order() {
        let batch = inputs.batch(&indices);
        let pass = Pass::eval(&model.store, precision);
        let features = model.features(&pass, &batch.packed)?;
        let (these, batch_loss) = head_outputs(model, &pass, features, &batch)?;
        values.extend(these);
        if let Some(batch_loss) = batch_loss {
            labelled = true;
            loss += batch_loss * indices.len() as f64;
        }
    }
    let loss = labelled.then(|| loss / inputs.len() as f64);
    Ok(Outputs { values, loss })
}

/// Outputs and loss of the head over one batch's features.
pub(crate) fn head_outputs(
    model: &Model,
    pass: &Pass,
    features: burn::tensor::Tensor<2>,
    batch: &Batch,
) -> Result<(Vec<f32>, Option<f64>), Error> {
    let values = plain(model.head(pass, features.clone())?)?;
    let loss = match targets(&batch.labels) {
        None => None,
        Some(targets) => {
            let loss = model.head_loss(pass, features, &targets, &LossOptions::default())?;
            Some(f64::from(loss.into_scalar::<f32>()))
        }
    };
    Ok((values, loss))
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
            let truth: Vec<bool> = truth.iter().map(|y| *y > 0.5).collect();
            Outcome::multi_label_from_logits(&truth, values, outputs)?
        }
        Labels::Score(scores) => Outcome::scores(scores, values)?,
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

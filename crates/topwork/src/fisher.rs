//! How much a task that a model does hangs on each of its weights: the diagonal of the Fisher information.
//!
//! Paper: Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural networks", section 2.1,
//! <https://arxiv.org/abs/1612.00796>; with labels that the model draws it is the Fisher information, with those of the file the
//! so-called empirical one: Kunstner, Balles, Hennig 2019, section 2, <https://arxiv.org/abs/1905.12558>

use std::path::Path;

use burn::backend::DispatchTensor;
use burn::tensor::{Device, Tensor};
use topwork_kernels::gemm::Precision;
use topwork_kernels::loss::IGNORE;
use topwork_kernels::rng::{Stream, derive};
use topwork_models::model::plain;
use topwork_models::{HeadSpec, LossOptions, Model, Targets};
use topwork_nn::{Gradients, ParamId, Pass, gradient};
use topwork_ops::Gradient;
use topwork_text::Packed;
use topwork_train::Importance;

use crate::error::Error;
use crate::evaluate::LabelledSet;
use crate::recipe::DataRecipe;
use crate::scoring::asked;

/// The mean over examples of the square of each gradient of the log-likelihood, without dropout, by parameter of the model, below
/// its last depth group.
///
/// Each example is its texts, what is right for them, and over how many answers its mean loss is the mean.
///
/// # Errors
/// What the model finds wrong; no examples.
pub fn squared_gradients(
    model: &Model,
    precision: Precision,
    examples: impl Iterator<Item = Result<(Packed, Targets, usize), Error>>,
) -> Result<Vec<(ParamId, DispatchTensor)>, Error> {
    let top = model.store.top_group();
    let wanted: Vec<bool> =
        model.store.iter().map(|(_, param)| param.group < top && param.kind.learns()).collect();
    let mut sums: Vec<Option<DispatchTensor>> = wanted.iter().map(|_| None).collect();
    let mut count = 0;
    for example in examples {
        let (packed, targets, answers) = example?;
        let pass = Pass::train(&model.store, precision, 0, &wanted).without_dropout();
        let loss = model.loss(&pass, &packed, &targets, &LossOptions::default())?;
        let mut gradients = pass.backward(&loss.mul_scalar(answers as f64))?;
        for (at, sum) in sums.iter_mut().enumerate() {
            if let Some(square) = square(model, ParamId(at), &mut gradients) {
                *sum = Some(match sum.take() {
                    Some(before) => topwork_ops::accumulate(before, square),
                    None => square,
                });
            }
        }
        count += 1;
    }
    if count == 0 {
        return Err(Error::Task("ewc: the source has no examples".to_string()));
    }
    let mean = |(at, sum): (usize, Option<DispatchTensor>)| {
        let rank = model.store.param(ParamId(at)).shape.len();
        Some((ParamId(at), each(sum?, rank, Each::Over(count))))
    };
    Ok(sums.into_iter().enumerate().filter_map(mean).collect())
}

/// The square of a gradient, dense.
fn square(model: &Model, id: ParamId, gradients: &mut Gradients) -> Option<DispatchTensor> {
    let shape = &model.store.param(id).shape;
    let dense = match gradients.take(id)? {
        Gradient::Dense(dense) => dense,
        rows => {
            let zeros = Tensor::<2>::zeros([shape[0], shape[1]], model.store.device());
            match gradient::add(Gradient::Dense(zeros.into_dispatch()), rows, shape) {
                Gradient::Dense(dense) | Gradient::Rows { grad: dense, .. } => dense,
            }
        }
    };
    Some(each(dense, shape.len(), Each::Square))
}

/// What is done to each value.
#[derive(Clone, Copy)]
enum Each {
    Square,
    Over(usize),
}

/// A tensor of any rank that parameters have, each value changed.
fn each(x: DispatchTensor, rank: usize, what: Each) -> DispatchTensor {
    fn of<const RANK: usize>(x: DispatchTensor, what: Each) -> DispatchTensor {
        let x = Tensor::<RANK>::from_dispatch(x);
        match what {
            Each::Square => (x.clone() * x).into_dispatch(),
            Each::Over(count) => x.div_scalar(count as f64).into_dispatch(),
        }
    }
    match rank {
        1 => of::<1>(x, what),
        2 => of::<2>(x, what),
        3 => of::<3>(x, what),
        _ => of::<4>(x, what),
    }
}

/// What a source task that the model of a folder does hangs on, by the paths of its parameters.
///
/// # Errors
/// A folder without a head; a file that does not fit what the head answers; labels that cannot be drawn.
pub(crate) fn fisher(
    folder: &Path,
    ask: &Importance,
    precision: Precision,
    seed: u64,
) -> Result<Vec<(String, Vec<usize>, DispatchTensor)>, Error> {
    let (model, _, bare) = Model::open_whole(folder, &Device::flex())?;
    if bare {
        return Err(Error::Task(format!(
            "ewc: {} has no head, so nothing says what its weights matter for; start from a model that was trained on the \
             source task, or that has the head of its pretraining (a masked language model)",
            folder.display()
        )));
    }
    let data = DataRecipe { train: ask.source.clone().into(), ..DataRecipe::default() };
    let set = LabelledSet::read(&model, folder, &data, None)?;
    let mut units: Vec<usize> = (0..set.part.len()).collect();
    Stream(derive(seed, "ewc examples")).shuffle(&mut units);
    units.truncate(ask.examples);
    let example = |unit: usize| -> Result<(Packed, Targets, usize), Error> {
        let seed = derive(seed, &format!("ewc {unit}"));
        let batch = set.task.batch(&set.part, &[unit], Some(seed))?;
        let no_labels = || Error::Task(format!("ewc: {}: the source has no labels", ask.source));
        let targets = if ask.drawn {
            let pass = Pass::eval(&model.store, precision);
            let scores = plain(model.forward(&pass, &batch.packed)?)?;
            draw(model.spec(), &scores, batch.targets.as_ref(), &mut Stream(derive(seed, "labels")))?
        } else {
            batch.targets.ok_or_else(no_labels)?
        };
        let answers = asked(&targets, batch.units);
        Ok((batch.packed, targets, answers))
    };
    let found = squared_gradients(&model, precision, units.into_iter().map(example))?;
    let named = |(id, value): (ParamId, DispatchTensor)| {
        let param = model.store.param(id);
        (param.path.clone(), param.shape.clone(), value)
    };
    Ok(found.into_iter().map(named).collect())
}

/// Targets drawn from the scores of a head, where `asked` are the right ones.
fn draw(
    spec: &HeadSpec,
    scores: &[f32],
    asked: Option<&Targets>,
    stream: &mut Stream,
) -> Result<Targets, Error> {
    let mut one = |row: &[f32]| -> u32 {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let shares: Vec<f64> = row.iter().map(|&score| f64::from(score - top).exp()).collect();
        let mut left = stream.next_f64() * shares.iter().sum::<f64>();
        for (at, share) in shares.iter().enumerate() {
            left -= share;
            if left < 0.0 {
                return at as u32;
            }
        }
        row.len().saturating_sub(1) as u32
    };
    match (spec, asked) {
        (HeadSpec::Classify { labels, several: false, .. }, _) => {
            Ok(Targets::Classes(scores.chunks(labels.len()).map(&mut one).collect()))
        }
        (HeadSpec::Classify { several: true, .. }, _) => {
            // A label that holds or not is a choice of two.
            Ok(Targets::Several(scores.iter().map(|&score| one(&[0.0, score]) as f32).collect()))
        }
        (
            HeadSpec::Tag { crf: false, .. } | HeadSpec::MaskedLm | HeadSpec::CausalLm,
            Some(Targets::Tokens(ids)),
        ) => {
            let width = scores.len() / ids.len().max(1);
            let rows = ids.iter().zip(scores.chunks(width));
            Ok(Targets::Tokens(rows.map(|(&id, row)| if id == IGNORE { IGNORE } else { one(row) }).collect()))
        }
        (other, _) => Err(Error::Task(format!(
            "ewc: labels cannot be drawn from a {} head: take those of the file (labels=true)",
            other.name()
        ))),
    }
}

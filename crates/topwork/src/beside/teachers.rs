//! What other models answer to texts, to be learnt from.

use topwork_data::{Dataset, Example, LabelMap};
use topwork_kernels::gemm::Precision;

use crate::error::Error;
use crate::hub::model_in;
use crate::predictor::{Prediction, Predictor};
use crate::recipe::{BesideRecipe, Kind};

/// The texts of which the teachers are sure enough, and what they answer on average: probabilities of each label in the order of
/// the map, or numbers, a row a text.
///
/// # Errors
/// [`Error::Task`] for teachers that answer something else, or are sure of no text; as [`Predictor::open`].
pub(crate) fn taught(
    beside: &BesideRecipe,
    mut texts: Dataset,
    kind: Kind,
    map: Option<&LabelMap>,
) -> Result<(Dataset, Vec<f32>), Error> {
    let names = map.map(LabelMap::names).unwrap_or_default();
    let width = names.len().max(1);
    let mut sum = vec![0.0_f64; texts.len() * width];
    for folder in &beside.teachers {
        // In 32 bits, so that what is learnt does not depend on the processor's own precision.
        let teacher = Predictor::open_with(model_in(folder)?, Precision::F32)?;
        let columns = columns(&teacher, names, folder.display())?;
        let answers = asked(&teacher, &texts.examples)?;
        for (row, answer) in sum.chunks_exact_mut(width).zip(&answers) {
            let values = match (kind, answer.score) {
                (Kind::Regress, Some(score)) => vec![score],
                (Kind::Regress, None) => return Err(other(folder.display(), "numbers")),
                _ => {
                    let probability = |&column: &usize| answer.probabilities.get(column).copied();
                    let values: Option<Vec<f64>> = columns.iter().map(probability).collect();
                    values.ok_or_else(|| other(folder.display(), "labels of whole texts"))?
                }
            };
            row.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
    }
    let count = beside.teachers.len().max(1) as f64;
    let sure = f64::from(beside.sure.unwrap_or(0.0));
    let enough = |row: &[f64]| {
        let surest = |value: &f64| {
            let share = value / count;
            if kind == Kind::MultiLabel { share.max(1.0 - share) } else { share }
        };
        match kind {
            Kind::Regress => true,
            // Of several labels, each must be sure to hold or not to hold.
            Kind::MultiLabel => row.iter().all(|value| surest(value) >= sure),
            _ => row.iter().any(|value| surest(value) >= sure),
        }
    };
    let kept: Vec<bool> = sum.chunks_exact(width).map(enough).collect();
    let rows = sum.chunks_exact(width).zip(&kept).filter(|(_, kept)| **kept);
    let answers: Vec<f32> = rows.flat_map(|(row, _)| row.iter().map(|sum| (sum / count) as f32)).collect();
    let mut kept = kept.iter();
    texts.examples.retain(|_| kept.next().is_some_and(|kept| *kept));
    if texts.is_empty() {
        return Err(Error::Task(format!(
            "beside: of no text beside are the teachers as sure as beside.sure asks, {}: ask for less",
            beside.sure.unwrap_or(0.0)
        )));
    }
    Ok((texts, answers))
}

fn asked(teacher: &Predictor, examples: &[Example]) -> Result<Vec<Prediction>, Error> {
    let pairs: Option<Vec<(&str, &str)>> =
        examples.iter().map(|example| Some((example.text.as_str(), example.pair.as_deref()?))).collect();
    match pairs.filter(|pairs| !pairs.is_empty()) {
        Some(pairs) => teacher.predict(&pairs),
        None => teacher.predict(&examples.iter().map(|example| example.text.as_str()).collect::<Vec<_>>()),
    }
}

/// Where among a teacher's labels each of these is.
fn columns(
    teacher: &Predictor,
    names: &[String],
    folder: impl std::fmt::Display,
) -> Result<Vec<usize>, Error> {
    let own = teacher.labels();
    let place = |name: &String| own.iter().position(|other| other == name);
    match names.iter().map(place).collect::<Option<Vec<_>>>() {
        Some(columns) if own.len() == names.len() => Ok(columns),
        _ => Err(other(folder, &format!("the labels {}, but {}", names.join(", "), own.join(", ")))),
    }
}

fn other(folder: impl std::fmt::Display, what: &str) -> Error {
    Error::Task(format!(
        "beside.teachers: the model {folder} does not answer {what}; take one that was trained on this task"
    ))
}

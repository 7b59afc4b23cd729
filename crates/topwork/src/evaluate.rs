//! Measuring a saved model on labelled data.

use std::path::Path;

use burn::tensor::Device;
use topwork_data::{Inputs, LabelMap, read};
use topwork_kernels::gemm::Precision;
use topwork_models::{HeadSpec, Model};
use topwork_train::metrics::{Evaluation, Outcome};

use crate::error::Error;
use crate::model_files;
use crate::prepare::{read_options, reader_task};
use crate::recipe::{DataRecipe, Kind};
use crate::run_report::with_intervals;
use crate::saved::SavedNotes;
use crate::scoring;

/// A model's answers on a file, and what they are worth.
pub struct Evaluated {
    /// Every metric, with intervals for the main ones.
    pub evaluation: Evaluation,
    /// Answers paired with the truth.
    pub outcome: Outcome,
    /// What reading did, and what was cut.
    pub notes: Vec<String>,
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
    let tokenizer = model_files::tokenizer(folder)?;
    let (mut model, _) = Model::open_saved(folder, &Device::flex())?;
    model.store.keep_packed();
    let saved = SavedNotes::read(folder)?;
    let (kind, labels) = kind_of(&model, folder)?;
    let dataset = read(&data.train, &read_options(data, reader_task(kind))?)?;
    let mut notes = dataset.report.lines();
    let map = if labels.is_empty() { None } else { Some(LabelMap::in_order(labels.clone())?) };
    let model_max = model.size().max_tokens;
    let max_length = saved.max_length.or(tokenizer.stated_max_length()).unwrap_or(model_max).min(model_max);
    let inputs = Inputs::new(&dataset, &tokenizer, Some(max_length), map.as_ref())?;
    if inputs.cut_texts > 0 {
        notes.push(format!(
            "{} of {} texts cut at {max_length} tokens ({} tokens lost)",
            inputs.cut_texts,
            inputs.len(),
            inputs.cut_tokens
        ));
    }
    let outputs = scoring::outputs(&model, &inputs, precision)?;
    let width = outputs.values.len() / inputs.len().max(1);
    let mut outcome = scoring::outcome(&inputs.labels, &outputs.values, width, saved.positive)?;
    if let Some(thresholds) = saved.thresholds() {
        outcome = outcome.with_thresholds(&thresholds)?;
        notes.push(format!("decided at the threshold stored with the model: {:.3}", thresholds[0]));
    }
    let evaluation = scoring::evaluation(&outcome, &labels, outputs.loss)?;
    let evaluation = with_intervals(evaluation, &outcome, resamples)?;
    Ok(Evaluated { evaluation, outcome, notes })
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
        other => Err(Error::Task(format!(
            "{}: this model has a {} head, which answers no labels or scores",
            folder.display(),
            other.name()
        ))),
    }
}

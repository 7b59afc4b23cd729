//! Measuring a saved model on labelled data.

use std::path::Path;

use burn::tensor::Device;
use topwork_data::{Encoder, LabelMap, read};
use topwork_kernels::gemm::Precision;
use topwork_models::{HeadSpec, Model};

use crate::error::Error;
use crate::model_files;
use crate::prepare::read_options;
use crate::recipe::{DataRecipe, Kind, TaskRecipe};
use crate::saved::SavedNotes;
use crate::tasks::{Encode, Judge, Measured, Run, task};

/// A model's answers on a file, and what they are worth.
pub struct Evaluated {
    /// Answers paired with the truth, and every metric, with intervals for the main ones.
    pub measured: Measured,
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
    let targets = model_files::target_tokenizer(folder)?;
    let (mut model, _) = Model::open_saved(folder, &Device::flex())?;
    model.store.keep_packed();
    let saved = SavedNotes::read(folder)?;
    let (kind, labels) = kind_of(&model, folder)?;
    let task = task(kind);
    let mut dataset = read(&data.train, &read_options(data, task.reader())?)?;
    let mut notes = dataset.report.lines();
    notes.extend(task.settle(&mut dataset, &mut None));
    let map = if labels.is_empty() { None } else { Some(LabelMap::in_order(labels.clone())?) };
    let model_max = model.size().max_tokens;
    let max_length = saved.max_length.or(tokenizer.stated_max_length()).unwrap_or(model_max).min(model_max);
    let settings = TaskRecipe::default();
    let targets = targets.as_ref().map(Encoder::new);
    let encode = Encode {
        tokenizer: &Encoder::new(&tokenizer),
        targets: targets.as_ref(),
        max_length: Some(max_length),
        map: map.as_ref(),
        task: &settings,
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
    if let Some(threshold) = saved.threshold {
        notes.push(format!("decided at the threshold stored with the model: {threshold:.3}"));
    }
    let judge = Judge {
        labels: &labels,
        positive: saved.positive,
        threshold: saved.threshold,
        resamples,
        writes: true,
        beams: 1,
    };
    let measured = task.measure(&Run::new(&model, &tokenizer, precision, judge), &part)?;
    Ok(Evaluated { measured, notes })
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
        HeadSpec::Span => Ok((Kind::QuestionAnswering, Vec::new())),
        HeadSpec::MultipleChoice => Ok((Kind::MultipleChoice, Vec::new())),
        HeadSpec::Seq2Seq => Ok((Kind::Seq2Seq, Vec::new())),
        HeadSpec::CausalLm => Ok((Kind::CausalLm, Vec::new())),
        HeadSpec::MaskedLm => Ok((Kind::MaskedLm, Vec::new())),
        other => Err(Error::Task(format!(
            "{}: this model has a {} head, which answers nothing that could be measured",
            folder.display(),
            other.name()
        ))),
    }
}

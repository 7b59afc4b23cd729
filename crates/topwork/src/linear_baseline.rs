//! What a linear model on words reaches on the same split: the bar every fine-tuning has to clear.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use topwork_data::{Dataset, Labels};
use topwork_train::baseline::{
    ClassWeights, TfidfLabels, TfidfLogistic, TfidfLogisticOptions, TfidfRidge, TfidfRidgeOptions,
};
use topwork_train::metrics::Outcome;

use crate::error::Error;
use crate::prepare::Prepared;
use crate::scoring::flags;

/// The baseline's answers on the test set.
pub struct LinearBaseline {
    /// Answers paired with the truth.
    pub outcome: Outcome,
    /// For each label the words that speak most for it.
    pub top_words: Vec<(String, Vec<String>)>,
    /// Seconds to learn and answer, when that was done.
    pub seconds: f64,
}

/// Words looked at for each label in reports.
const TOP: usize = 8;

/// What is kept of a baseline: all but the truth.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Probabilities, or numbers: `[texts, labels]`, row-major.
    answers: Vec<f64>,
    top_words: Vec<(String, Vec<String>)>,
    seconds: f64,
}

/// Learns TF-IDF with logistic (or ridge) regression on the training texts and answers the test texts; `None` where
/// the labels are not of whole texts, or the texts are the paths of pictures. What it found is kept in the folder `kept`, and found there again for the same data:
/// where there are many texts, a second run need not wait for it.
///
/// # Errors
/// Texts without a single word.
pub fn linear_baseline(data: &Prepared, kept: &Path) -> Result<Option<LinearBaseline>, Error> {
    // The name of a file may well give its class away.
    if data.train.dataset.is_of_pictures() {
        return Ok(None);
    }
    let path = kept.join(format!("{}.json", key(data)));
    let before = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
    if let Some(kept) = before
        && let Ok(Some(outcome)) = outcome(data, &kept.answers)
    {
        return Ok(Some(LinearBaseline { outcome, top_words: kept.top_words, seconds: kept.seconds }));
    }
    let Some(found) = learn(data)? else { return Ok(None) };
    // A folder that cannot be written to costs the next run its time, and this one nothing.
    if fs::create_dir_all(kept).is_ok()
        && let Ok(text) = serde_json::to_vec(&found)
    {
        let _ = topwork_weights::atomic::write(&path, &text);
    }
    let outcome = outcome(data, &found.answers)?;
    let (top_words, seconds) = (found.top_words, found.seconds);
    Ok(outcome.map(|outcome| LinearBaseline { outcome, top_words, seconds }))
}

/// Everything that the answers depend on: the data, how its labels weigh, and the program.
fn key(data: &Prepared) -> String {
    let program = std::env::current_exe().and_then(fs::metadata);
    let program = program.map(|file| (file.len(), file.modified().ok()));
    let parts = format!("{:?} {} {:?} {:?}", program.ok(), data.fingerprint, data.labels, data.class_weights);
    Sha256::digest(parts).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Answers paired with the truth; `None` where the labels are not of whole texts.
fn outcome(data: &Prepared, answers: &[f64]) -> Result<Option<Outcome>, Error> {
    let width = data.labels.len();
    Ok(Some(match &data.test.inputs.labels {
        Labels::Class(truth) => {
            let outcome = Outcome::classes(truth, answers, width)?;
            match data.positive {
                Some(class) => outcome.with_positive(class)?,
                None => outcome,
            }
        }
        Labels::Multi { values, .. } => Outcome::multi_label(&flags(values), answers, width)?,
        Labels::Score(truth) => Outcome::scores(truth, answers)?,
        _ => return Ok(None),
    }))
}

fn learn(data: &Prepared) -> Result<Option<Kept>, Error> {
    let started = Instant::now();
    let (train, test) = (texts(&data.train.dataset), texts(&data.test.dataset));
    let width = data.labels.len();
    let mut options = TfidfLogisticOptions::default();
    if let Some(weights) = &data.class_weights {
        options.logistic.class_weights = ClassWeights::Each(weights.iter().map(|&w| f64::from(w)).collect());
    }
    let names = |top: &dyn Fn(usize) -> Vec<(String, f64)>| -> Vec<(String, Vec<String>)> {
        let words = |label| top(label).into_iter().map(|(word, _)| word).collect();
        data.labels.iter().enumerate().map(|(label, name)| (name.clone(), words(label))).collect()
    };
    let wide = |answers: Vec<f32>| answers.into_iter().map(f64::from).collect();
    let (answers, top_words) = match &data.train.inputs.labels {
        Labels::Class(classes) => {
            let model = fit_choosing_c(data, &train, classes, &options)?;
            (wide(model.predict_proba(&test)), names(&|label| model.top_features(label, TOP)))
        }
        Labels::Multi { values, .. } => {
            options.logistic.class_weights = ClassWeights::None;
            let model = TfidfLabels::fit(&train, &flags(values), width, &options)?;
            (wide(model.predict_proba(&test)), names(&|label| model.top_features(label, TOP)))
        }
        Labels::Score(scores) => {
            let model = TfidfRidge::fit(&train, scores, &TfidfRidgeOptions::default())?;
            (model.predict(&test), Vec::new())
        }
        // Tasks over words or of writing have no such baseline.
        _ => return Ok(None),
    };
    Ok(Some(Kept { answers, top_words, seconds: started.elapsed().as_secs_f64() }))
}

/// The usual regularisation (C = 1) holds a model of few short texts back so much that anything beats it. So C is chosen
/// on the development data, as the encoder's best epoch is.
fn fit_choosing_c(
    data: &Prepared,
    train: &[String],
    classes: &[u32],
    options: &TfidfLogisticOptions,
) -> Result<TfidfLogistic, Error> {
    let width = data.labels.len();
    match &data.dev.inputs.labels {
        Labels::Class(held) if !held.is_empty() => {
            let development = texts(&data.dev.dataset);
            let (model, _) =
                TfidfLogistic::fit_choosing_c(train, classes, width, (&development, held), options)?;
            Ok(model)
        }
        _ => Ok(TfidfLogistic::fit(train, classes, width, options)?),
    }
}

/// Texts as the baseline sees them: a pair is one text.
pub(crate) fn texts(dataset: &Dataset) -> Vec<String> {
    let join = |e: &topwork_data::Example| match &e.pair {
        Some(pair) => format!("{} {pair}", e.text),
        None => e.text.clone(),
    };
    dataset.examples.iter().map(join).collect()
}

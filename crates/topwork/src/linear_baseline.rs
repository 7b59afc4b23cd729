//! What a linear model on words reaches on the same split: the bar every fine-tuning has to clear.

use std::time::Instant;

use topwork_data::{Dataset, Labels};
use topwork_train::baseline::{
    ClassWeights, TfidfLabels, TfidfLogistic, TfidfLogisticOptions, TfidfRidge, TfidfRidgeOptions,
};
use topwork_train::metrics::Outcome;

use crate::error::Error;
use crate::prepare::Prepared;

/// The baseline's answers on the test set.
pub struct LinearBaseline {
    /// Answers paired with the truth.
    pub outcome: Outcome,
    /// For each label the words that speak most for it.
    pub top_words: Vec<(String, Vec<String>)>,
    /// Seconds to learn and answer.
    pub seconds: f64,
}

/// Words looked at for each label in reports.
const TOP: usize = 8;

/// Learns TF-IDF with logistic (or ridge) regression on the training texts and answers the test texts; `None` where
/// the labels are not of whole texts.
///
/// # Errors
/// Texts without a single word.
pub fn linear_baseline(data: &Prepared) -> Result<Option<LinearBaseline>, Error> {
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
    let (outcome, top_words) = match (&data.train.inputs.labels, &data.test.inputs.labels) {
        (Labels::Class(classes), Labels::Class(truth)) => {
            let model = fit_choosing_c(data, &train, classes, &options)?;
            let outcome = Outcome::classes(truth, &model.predict_proba(&test), width)?;
            let outcome = match data.positive {
                Some(class) => outcome.with_positive(class)?,
                None => outcome,
            };
            (outcome, names(&|label| model.top_features(label, TOP)))
        }
        (Labels::Multi { values, .. }, Labels::Multi { values: truth, .. }) => {
            options.logistic.class_weights = ClassWeights::None;
            let model = TfidfLabels::fit(&train, &flags(values), width, &options)?;
            let outcome = Outcome::multi_label(&flags(truth), &model.predict_proba(&test), width)?;
            (outcome, names(&|label| model.top_features(label, TOP)))
        }
        (Labels::Score(scores), Labels::Score(truth)) => {
            let model = TfidfRidge::fit(&train, scores, &TfidfRidgeOptions::default())?;
            (Outcome::scores(truth, &model.predict(&test))?, Vec::new())
        }
        // Tasks over words or of writing have no such baseline.
        _ => return Ok(None),
    };
    Ok(Some(LinearBaseline { outcome, top_words, seconds: started.elapsed().as_secs_f64() }))
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

fn flags(values: &[f32]) -> Vec<bool> {
    values.iter().map(|y| *y > 0.5).collect()
}

/// Texts as the baseline sees them: a pair is one text.
fn texts(dataset: &Dataset) -> Vec<String> {
    let join = |e: &topwork_data::Example| match &e.pair {
        Some(pair) => format!("{} {pair}", e.text),
        None => e.text.clone(),
    };
    dataset.examples.iter().map(join).collect()
}

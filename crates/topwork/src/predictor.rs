//! A saved model answering texts.

use std::path::Path;

use burn::tensor::Device;
use topwork_kernels::gemm::Precision;
use topwork_models::{HeadSpec, Model};
use topwork_text::{Input, Packed, Tokenizer};
use topwork_weights::LoadReport;

use crate::error::Error;
use crate::model_files;
use crate::saved::SavedNotes;
use crate::scoring::in_batches;

/// A model folder with a classification or regression head, ready to answer.
pub struct Predictor {
    model: Model,
    tokenizer: Tokenizer,
    precision: Precision,
    max_length: usize,
    saved: SavedNotes,
    report: LoadReport,
}

/// The answer for one text.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Prediction {
    /// The label, for single-label models.
    pub label: Option<String>,
    /// The labels that hold, for multi-label models.
    pub labels: Vec<String>,
    /// The number, for regressions.
    pub score: Option<f64>,
    /// A probability for each label, in the order of [`Predictor::labels`]; empty for regressions.
    pub probabilities: Vec<f64>,
    /// Tokens read, special tokens counted.
    pub tokens: usize,
    /// Tokens cut off because the text is longer than the model reads.
    pub cut: usize,
}

impl Predictor {
    /// Opens a model folder: one of ours, or a `...ForSequenceClassification` folder of transformers.
    ///
    /// # Errors
    /// A folder without a head, or a missing or broken file.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let precision = if Precision::native_bf16() { Precision::Bf16 } else { Precision::F32 };
        Self::open_with(folder, precision)
    }

    /// As [`Predictor::open`], at a precision of the caller's choice.
    ///
    /// # Errors
    /// As [`Predictor::open`].
    pub fn open_with(folder: impl AsRef<Path>, precision: Precision) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let (tokenizer, opened) =
            rayon::join(|| model_files::tokenizer(folder), || Model::open_saved(folder, &Device::flex()));
        let ((mut model, report), tokenizer) = (opened?, tokenizer?);
        model.store.keep_packed();
        if !matches!(model.spec(), HeadSpec::Classify { .. } | HeadSpec::Regress { .. }) {
            return Err(Error::Task(format!(
                "{}: this model has a {} head, which answers no labels or scores",
                folder.display(),
                model.spec().name()
            )));
        }
        let saved = SavedNotes::read(folder)?;
        let model_max = model.size().max_tokens;
        let max_length =
            saved.max_length.or(tokenizer.stated_max_length()).unwrap_or(model_max).min(model_max);
        Ok(Predictor { model, tokenizer, precision, max_length, saved, report })
    }

    /// Names of the labels; empty for regressions.
    pub fn labels(&self) -> &[String] {
        match self.model.spec() {
            HeadSpec::Classify { labels, .. } => labels,
            _ => &[],
        }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// How loading went.
    pub fn load_report(&self) -> &LoadReport {
        &self.report
    }

    /// Longest text in tokens.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The probability from which the positive class is answered, if it was tuned.
    pub fn threshold(&self) -> Option<f64> {
        self.saved.threshold
    }

    /// Answers texts, `&["..."]`, or pairs, `&[("...", "...")]`.
    ///
    /// # Errors
    /// A text the tokenizer refuses.
    pub fn predict<'a, I>(&self, inputs: &[I]) -> Result<Vec<Prediction>, Error>
    where
        I: Into<Input<'a>> + Copy + Sync,
    {
        let encodings = self.tokenizer.encode_batch(inputs, Some(self.max_length))?;
        if encodings.is_empty() {
            return Ok(Vec::new());
        }
        let packed = Packed::from_encodings(&encodings);
        let logits = run_batches(&packed, |batch| Ok(self.model.predict(batch, self.precision)?))?;
        let width = logits.len() / encodings.len();
        let answers = logits.chunks(width).zip(&encodings);
        Ok(answers.map(|(logits, encoding)| self.answer(logits, encoding.len(), encoding.cut)).collect())
    }

    /// What raw outputs mean.
    fn answer(&self, logits: &[f32], tokens: usize, cut: usize) -> Prediction {
        let none = Prediction {
            label: None,
            labels: Vec::new(),
            score: None,
            probabilities: Vec::new(),
            tokens,
            cut,
        };
        match self.model.spec() {
            HeadSpec::Classify { labels, several: false, .. } => {
                let probabilities = softmax(logits);
                let chosen = self.choose(&probabilities);
                Prediction { label: labels.get(chosen).cloned(), probabilities, ..none }
            }
            HeadSpec::Classify { labels, several: true, .. } => {
                let probabilities: Vec<f64> =
                    logits.iter().map(|&z| 1.0 / (1.0 + (-f64::from(z)).exp())).collect();
                let holds = labels.iter().zip(&probabilities).filter(|(_, p)| **p > 0.5);
                Prediction { labels: holds.map(|(label, _)| label.clone()).collect(), probabilities, ..none }
            }
            // A regression: `open` refuses all other heads.
            _ => Prediction { score: logits.first().map(|&z| f64::from(z)), ..none },
        }
    }

    fn choose(&self, probabilities: &[f64]) -> usize {
        if let (Some(threshold), Some(positive), 2) =
            (self.saved.threshold, self.saved.positive, probabilities.len())
        {
            return if probabilities[positive] > threshold { positive } else { 1 - positive };
        }
        // The first of equals, as the metrics do.
        (1..probabilities.len())
            .fold(0, |best, i| if probabilities[i] > probabilities[best] { i } else { best })
    }
}

/// Runs packed texts in batches of a bounded number of tokens and joins the outputs in order.
pub(crate) fn run_batches(
    packed: &Packed,
    run: impl Fn(&Packed) -> Result<Vec<f32>, Error> + Sync,
) -> Result<Vec<f32>, Error> {
    Ok(in_batches(packed.lengths(), |indices| run(&packed.select(indices)))?.concat())
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f64> = logits.iter().map(|&z| f64::from(z - top).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|e| e / sum).collect()
}

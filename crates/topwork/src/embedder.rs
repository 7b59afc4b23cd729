//! Vectors for texts.

use std::path::Path;

use burn::tensor::Device;
use topwork_kernels::gemm::Precision;
use topwork_models::{HeadSpec, Model, Pooling, Source};
use topwork_text::{Input, Packed, Tokenizer};
use topwork_weights::LoadReport;

use crate::error::Error;
use crate::model_files;
use crate::predictor::run_batches;

/// How texts become vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EmbedOptions {
    /// First token, mean or maximum over tokens.
    pub pool: Pooling,
    /// Scale vectors to length one.
    pub normalise: bool,
    /// Longest text in tokens; `None` = what the model's own files say, else what it has positions for.
    pub max_length: Option<usize>,
    /// Precision of products.
    pub precision: Precision,
}

impl Default for EmbedOptions {
    fn default() -> Self {
        let precision = if Precision::native_bf16() { Precision::Bf16 } else { Precision::F32 };
        EmbedOptions { pool: Pooling::Mean, normalise: true, max_length: None, precision }
    }
}

/// An encoder and a way of pooling.
pub struct Embedder {
    model: Model,
    tokenizer: Tokenizer,
    precision: Precision,
    max_length: usize,
    report: LoadReport,
}

/// Vectors of several texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    /// Length of each.
    pub width: usize,
    /// `[texts, width]`, row-major.
    pub values: Vec<f32>,
    /// Tokens cut off each text.
    pub cut: Vec<usize>,
}

impl Embedder {
    /// Opens a model folder; its head, if it has one, is left out and named in the load report.
    ///
    /// # Errors
    /// A missing or broken file, a maximum length beyond the model's positions.
    pub fn open(folder: impl AsRef<Path>, options: &EmbedOptions) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let spec = HeadSpec::Embed { pool: options.pool, normalise: options.normalise };
        let (tokenizer, opened) =
            rayon::join(|| model_files::tokenizer(folder), || Model::open(folder, &spec, 0, &Device::flex()));
        let ((mut model, report), tokenizer) = (opened?, tokenizer?);
        model.store.keep_packed();
        let model_max = model.size().max_tokens;
        let stated =
            sentence_length(folder).or(tokenizer.stated_max_length()).unwrap_or(model_max).min(model_max);
        let max_length = options.max_length.unwrap_or(stated);
        if max_length > model_max || max_length < 3 {
            return Err(Error::Task(format!(
                "a maximum length of {max_length} does not fit: the model reads 3 to {model_max} tokens"
            )));
        }
        Ok(Embedder { model, tokenizer, precision: options.precision, max_length, report })
    }

    /// How loading went.
    pub fn load_report(&self) -> &LoadReport {
        &self.report
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Longest text in tokens.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// One vector for each text or pair.
    ///
    /// # Errors
    /// A text the tokenizer refuses.
    pub fn embed<'a, I>(&self, inputs: &[I]) -> Result<Vectors, Error>
    where
        I: Into<Input<'a>> + Copy + Sync,
    {
        let width = self.model.size().hidden;
        let encodings = self.tokenizer.encode_batch(inputs, Some(self.max_length))?;
        let cut = encodings.iter().map(|e| e.cut).collect();
        if encodings.is_empty() {
            return Ok(Vectors { width, values: Vec::new(), cut });
        }
        let packed = Packed::from_encodings(&encodings);
        let values = run_batches(&packed, |batch| Ok(self.model.predict(batch, self.precision)?))?;
        Ok(Vectors { width, values, cut })
    }
}

/// The length sentence-transformers cuts at, which is not in the tokenizer's files.
fn sentence_length(path: &Path) -> Option<usize> {
    let text = std::fs::read(Source::find(path).ok()?.beside("sentence_bert_config.json")?).ok()?;
    let value: serde_json::Value = serde_json::from_slice(&text).ok()?;
    value.get("max_seq_length")?.as_u64().map(|n| n as usize)
}

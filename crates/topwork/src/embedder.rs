//! Vectors for texts.

use std::borrow::Cow;
use std::path::Path;

use rayon::prelude::*;
use topwork_kernels::gemm::Precision;
use topwork_models::model::{bare_pooling, saved_spec};
use topwork_models::{HeadSpec, Model, Pooling, Source};
use topwork_text::{Input, Packed, Tokenizer};
use topwork_weights::LoadReport;

use crate::error::Error;
use crate::model_files;
use crate::opened;
use crate::predictor::run_batches;
use crate::saved::SavedNotes;
use crate::sentence::{Role, SentenceTexts};

/// How texts become vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EmbedOptions {
    /// First token, mean or maximum over tokens; `None` = as the model's folder says, else the mean, of pictures
    /// the class token.
    pub pool: Option<Pooling>,
    /// Scale vectors to length one; `None` = as the model's folder says, else yes.
    pub normalise: Option<bool>,
    /// Only so many first numbers of each vector, of models taught to do with fewer (Matryoshka); `None` = all.
    pub dimensions: Option<usize>,
    /// Longest text in tokens; `None` = what the model's own files say, else what it has positions for.
    pub max_length: Option<usize>,
    /// Precision of products.
    pub precision: Precision,
}

impl Default for EmbedOptions {
    fn default() -> Self {
        let precision = if Precision::native_bf16() { Precision::Bf16 } else { Precision::F32 };
        EmbedOptions { pool: None, normalise: None, dimensions: None, max_length: None, precision }
    }
}

/// An encoder and a way of pooling.
pub struct Embedder {
    model: Model,
    tokenizer: Tokenizer,
    texts: SentenceTexts,
    precision: Precision,
    max_length: usize,
    width: usize,
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
    /// Opens a model folder with the pooling that it names (`modules.json` of sentence-transformers, or ours); a head of another
    /// kind is left out and named in the load report.
    ///
    /// # Errors
    /// A missing or broken file, a module that is not computed here, a maximum length beyond the model's positions.
    pub fn open(folder: impl AsRef<Path>, options: &EmbedOptions) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let (spec, own) = spec(folder, options)?;
        let texts = SentenceTexts::read(folder)?;
        // What a classifier was cut at says nothing of vectors.
        let saved = if own { SavedNotes::read(folder)?.max_length } else { None };
        let (tokenizer, opened) =
            rayon::join(|| model_files::tokenizer(folder), || opened::open(folder, &spec, 0));
        let ((mut model, report), tokenizer) = (opened?, tokenizer?);
        model.store.keep_packed();
        let model_max = model.max_tokens();
        let stated = saved.or(texts.max_length).or(tokenizer.stated_max_length());
        let max_length = options.max_length.unwrap_or(stated.unwrap_or(model_max).min(model_max));
        if max_length > model_max || max_length < 3 {
            return Err(Error::Task(format!(
                "a maximum length of {max_length} does not fit: the model reads 3 to {model_max} tokens"
            )));
        }
        let whole = model.vector_width();
        let width = options.dimensions.unwrap_or(whole);
        if width == 0 || width > whole {
            return Err(Error::Task(format!(
                "{width} dimensions do not fit: the model's vectors have 1 to {whole}"
            )));
        }
        Ok(Embedder { model, tokenizer, texts, precision: options.precision, max_length, width, report })
    }

    /// The tokenizer, or what makes tokens of pictures.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
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

    /// Numbers in a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Precision of products.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Whether vectors have length one.
    pub fn normalises(&self) -> bool {
        matches!(self.model.spec(), HeadSpec::Embed { normalise: true, .. })
    }

    /// One vector for each text or pair.
    ///
    /// # Errors
    /// A text the tokenizer refuses.
    pub fn embed<'a, I>(&self, inputs: &[I]) -> Result<Vectors, Error>
    where
        I: Into<Input<'a>> + Copy + Sync,
    {
        self.embed_as(Role::Any, inputs)
    }

    /// One vector for each text or pair, of models that put something else before queries than before documents.
    ///
    /// # Errors
    /// A text the tokenizer refuses.
    pub fn embed_as<'a, I>(&self, role: Role, inputs: &[I]) -> Result<Vectors, Error>
    where
        I: Into<Input<'a>> + Copy + Sync,
    {
        // Nothing is put before the path of a picture.
        let encodings = if self.texts.is_plain(role) || self.tokenizer.reads_pictures() {
            self.tokenizer.encode_batch(inputs, Some(self.max_length))?
        } else {
            // What is put before a pair stands before its first text.
            let pair = |text: &'a str| {
                if self.texts.lowercase { text.to_lowercase().into() } else { Cow::from(text) }
            };
            let prepared: Vec<(Cow<'_, str>, Option<Cow<'_, str>>)> = inputs
                .par_iter()
                .map(|&input| {
                    let input: Input<'a> = input.into();
                    (self.texts.prepare(input.text, role), input.pair.map(pair))
                })
                .collect();
            let inputs: Vec<Input<'_>> =
                prepared.iter().map(|(text, pair)| Input { text, pair: pair.as_deref() }).collect();
            self.tokenizer.encode_batch(&inputs, Some(self.max_length))?
        };
        let cut = encodings.iter().map(|e| e.cut).collect();
        if encodings.is_empty() {
            return Ok(Vectors { width: self.width, values: Vec::new(), cut });
        }
        let packed = Packed::from_encodings(&encodings);
        let values = run_batches(&packed, |batch| Ok(self.model.predict(batch, self.precision)?))?;
        Ok(Vectors { width: self.width, values: self.first(values), cut })
    }

    /// The first numbers of vectors, where not all are wanted, of length one again if the whole vectors have it.
    fn first(&self, values: Vec<f32>) -> Vec<f32> {
        let whole = self.model.vector_width();
        if self.width == whole {
            return values;
        }
        let mut cut = Vec::with_capacity(values.len() / whole * self.width);
        for vector in values.chunks(whole) {
            let first = &vector[..self.width];
            let length = first.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
            cut.extend(first.iter().map(|x| if self.normalises() { x / length } else { *x }));
        }
        cut
    }
}

/// The head by which a folder's texts become vectors: what the folder says, unless options say otherwise; and whether it says so.
pub(crate) fn spec(folder: &Path, options: &EmbedOptions) -> Result<(HeadSpec, bool), Error> {
    let own = match saved_spec(folder) {
        Ok(spec @ HeadSpec::Embed { .. }) => Some(spec),
        Ok(_) | Err(topwork_models::Error::NoHead { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let says = own.is_some();
    let (pool, normalise, dense) = match own {
        Some(HeadSpec::Embed { pool, normalise, dense }) => (pool, normalise, dense),
        _ => (bare_pooling(Source::find(folder)?.config())?, true, None),
    };
    let spec = HeadSpec::Embed {
        // Its map belongs to its pooling.
        dense: dense.filter(|_| options.pool.is_none_or(|wanted| wanted == pool)),
        pool: options.pool.unwrap_or(pool),
        normalise: options.normalise.unwrap_or(normalise),
    };
    Ok((spec, says))
}

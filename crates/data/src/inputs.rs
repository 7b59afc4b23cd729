//! A data set as the model sees it: token ids laid end to end, and labels.

use rayon::prelude::*;
use topwork_text::{Input, Packed, Tokenizer};

use crate::labels::Labels;
use crate::{Dataset, Error, LabelMap, Result};

/// A whole tokenized set.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// All texts, in the order of the set.
    pub packed: Packed,
    /// Their labels.
    pub labels: Labels,
    /// Their rows in the file.
    pub rows: Vec<usize>,
    /// Their lengths in tokens before the cut, special tokens included.
    pub lengths: Vec<usize>,
    /// How many texts were cut.
    pub cut_texts: usize,
    /// How many tokens that cost.
    pub cut_tokens: usize,
}

/// Some of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The texts.
    pub packed: Packed,
    /// Their labels.
    pub labels: Labels,
    /// Their rows in the file.
    pub rows: Vec<usize>,
}

/// Texts tokenized at a time: bounds the memory that offsets and words take, which are dropped here.
const CHUNK: usize = 4096;

impl Inputs {
    /// Tokenizes a set on all cores. `max_tokens` cuts long texts, which is counted.
    ///
    /// # Errors
    /// [`Error::Text`] if the tokenizer refuses a text, and what [`Labels::new`] finds.
    pub fn new(
        dataset: &Dataset,
        tokenizer: &Tokenizer,
        max_tokens: Option<usize>,
        map: Option<&LabelMap>,
    ) -> Result<Self> {
        let labels = Labels::new(dataset, map)?;
        Ok(Self { labels, ..Self::of_texts(dataset, tokenizer, max_tokens)? })
    }

    /// The texts alone, without their labels.
    ///
    /// # Errors
    /// A text that the tokenizer refuses.
    pub fn of_texts(dataset: &Dataset, tokenizer: &Tokenizer, max_tokens: Option<usize>) -> Result<Self> {
        let mut inputs = Self {
            packed: Packed::default(),
            labels: Labels::None(dataset.len()),
            rows: dataset.examples.iter().map(|example| example.row).collect(),
            lengths: Vec::with_capacity(dataset.len()),
            cut_texts: 0,
            cut_tokens: 0,
        };
        for (chunk, examples) in dataset.examples.chunks(CHUNK).enumerate() {
            let texts: Vec<Input<'_>> = examples
                .par_iter()
                .map(|example| Input { text: &example.text, pair: example.pair.as_deref() })
                .collect();
            let encodings = tokenizer.encode_batch(&texts, max_tokens).map_err(|source| Error::Text {
                place: match &source {
                    topwork_text::Error::Encode { index, .. } => dataset.place(chunk * CHUNK + index),
                    _ => dataset.report.path.display().to_string(),
                },
                source,
            })?;
            for encoding in &encodings {
                inputs.packed.push_encoding(encoding);
                inputs.lengths.push(encoding.full_len());
                inputs.cut_texts += usize::from(encoding.cut > 0);
                inputs.cut_tokens += encoding.cut;
            }
        }
        Ok(inputs)
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.packed.batch()
    }

    /// True when there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The chosen texts, in the order given.
    pub fn batch(&self, indices: &[usize]) -> Batch {
        Batch {
            packed: self.packed.select(indices),
            labels: self.labels.select(indices),
            rows: indices.iter().map(|&index| self.rows[index]).collect(),
        }
    }
}

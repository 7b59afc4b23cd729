//! A data set as the model sees it: token ids laid end to end, and labels.

use rayon::prelude::*;
use topwork_text::{Encoding, Input, Packed};

use crate::labels::Labels;
use crate::{Dataset, Encoder, Error, LabelMap, Result};

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
        encoder: &Encoder<'_>,
        max_tokens: Option<usize>,
        map: Option<&LabelMap>,
    ) -> Result<Self> {
        let labels = Labels::new(dataset, map)?;
        Ok(Self { labels, ..Self::of_texts(dataset, encoder, max_tokens)? })
    }

    /// The texts alone, without their labels.
    ///
    /// # Errors
    /// A text that the tokenizer refuses.
    pub fn of_texts(dataset: &Dataset, encoder: &Encoder<'_>, max_tokens: Option<usize>) -> Result<Self> {
        let mut inputs = Self { labels: Labels::None(dataset.len()), ..Self::empty() };
        for (chunk, examples) in dataset.examples.chunks(CHUNK).enumerate() {
            let texts: Vec<Input<'_>> = examples
                .par_iter()
                .map(|example| Input { text: &example.text, pair: example.pair.as_deref() })
                .collect();
            let encodings = encoder.encode_batch(&texts, max_tokens).map_err(|source| Error::Text {
                place: match &source {
                    topwork_text::Error::Encode { index, .. }
                    | topwork_text::Error::Picture { index, .. } => dataset.place(chunk * CHUNK + index),
                    _ => dataset.report.path.display().to_string(),
                },
                source,
            })?;
            for (encoding, example) in encodings.iter().zip(examples) {
                inputs.push(encoding, example.row);
            }
        }
        Ok(inputs)
    }

    /// No texts yet.
    pub fn empty() -> Self {
        Self {
            packed: Packed::default(),
            labels: Labels::None(0),
            rows: Vec::new(),
            lengths: Vec::new(),
            cut_texts: 0,
            cut_tokens: 0,
        }
    }

    /// Adds a text of a row; its label is the caller's.
    pub fn push(&mut self, encoding: &Encoding, row: usize) {
        self.packed.push_encoding(encoding);
        self.rows.push(row);
        self.lengths.push(encoding.full_len());
        self.count_cut(encoding.cut);
    }

    /// Counts a text that lost so many tokens, if it lost any.
    pub fn count_cut(&mut self, tokens: usize) {
        self.cut_texts += usize::from(tokens > 0);
        self.cut_tokens += tokens;
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

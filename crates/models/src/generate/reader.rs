//! Reads tokens into a cache and gives the scores of the next word.

use burn::tensor::Tensor;
use topwork_kernels::gemm::Precision;
use topwork_kernels::pool::Pool;
use topwork_nn::{Cache, Memory, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::head::{HeadSpec, Permuted};
use crate::model::{Model, plain};
use crate::target::Sources;

/// A model and what it has read.
pub(super) struct Reader<'a> {
    model: &'a Model,
    /// What targets are written from, for an encoder-decoder.
    sources: Option<Sources>,
    kept: Kept,
    precision: Precision,
}

/// What is kept of the tokens read.
enum Kept {
    /// Families that read from left to right.
    Cache(Box<Cache>),
    /// Families that predict words in any order, and so the last one of a text: what they remember of each sequence, and its last
    /// token. That one is read once more with the next word, as transformers does it: when it was read, it stood at the end.
    Order(Memory, Vec<Option<u32>>),
}

impl<'a> Reader<'a> {
    /// Has read nothing of `sequences` sequences, which look at as many sources if there are any.
    ///
    /// # Errors
    /// [`Error::NotCausal`].
    pub fn new(
        model: &'a Model,
        sources: Option<Sources>,
        sequences: usize,
        precision: Precision,
    ) -> Result<Self, Error> {
        let device = model.store.device();
        let kept = match (&sources, model.spec()) {
            (Some(_), _) => {
                let layers = model.seq2seq()?.target().size().layers;
                Kept::Cache(Box::new(Cache::new(layers, sequences, device)))
            }
            (None, HeadSpec::PermutationLm) => Kept::Order(model.memory(sequences)?, vec![None; sequences]),
            (None, _) => Kept::Cache(Box::new(model.decoder()?.cache(sequences, device))),
        };
        Ok(Reader { model, sources, kept, precision })
    }

    /// Reads on: `news` has the next ids of each sequence, at least one. Gives the scores of the word after them.
    ///
    /// # Shapes
    /// - returns: for each sequence `[vocab]`
    pub fn read(&mut self, news: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, Error> {
        let pass = Pass::eval(&self.model.store, self.precision);
        let scores = match &mut self.kept {
            Kept::Cache(cache) => {
                let input = Packed::from_ids(news);
                let last = |hidden: Tensor<2>| {
                    topwork_ops::pool(hidden, &input.offsets.as_slice().into(), Pool::Last)
                };
                plain(match &self.sources {
                    None => {
                        let hidden = self.model.decoder()?.read_on(&pass, &input, cache)?;
                        self.model.head(&pass, last(hidden), &input)?
                    }
                    Some(sources) => {
                        let head = self.model.seq2seq()?;
                        let hidden = head.target().read(&pass, &input, sources, Some(cache))?;
                        head.scores(&pass, last(hidden))?
                    }
                })?
            }
            Kept::Order(memory, last) => {
                // Behind each text stands a word that nothing sees and that is asked for.
                let whole = |(new, last): (&Vec<u32>, &Option<u32>)| {
                    last.iter().chain(new).copied().chain([0]).collect::<Vec<u32>>()
                };
                let texts: Vec<Vec<u32>> = news.iter().zip(&*last).map(whole).collect();
                let input = Packed::from_ids(&texts);
                let scores = self.model.permuted(&pass, &input, &asked_last(&input), memory)?;
                // What is remembered ends before the token that will be read once more.
                memory.forget(2);
                *last = news.iter().map(|new| new.last().copied()).collect();
                plain(scores)?
            }
        };
        Ok(scores.chunks(scores.len() / news.len()).map(<[f32]>::to_vec).collect())
    }

    /// Goes on with some of the sequences: each from what the one at its number has read.
    pub fn keep(&mut self, from: &[usize]) {
        match &mut self.kept {
            Kept::Cache(cache) => cache.reorder(from),
            Kept::Order(memory, last) => {
                memory.reorder(from);
                *last = from.iter().map(|&old| last[old]).collect();
            }
        }
    }
}

/// The last word of each text is asked for, and seen by none.
fn asked_last(input: &Packed) -> Permuted {
    let mut visible = Vec::new();
    for length in input.lengths() {
        for _ in 0..length {
            visible.extend((0..length).map(|column| u8::from(column + 1 < length)));
        }
    }
    let asked = input.offsets[1..].iter().map(|&end| end - 1).collect();
    Permuted { visible: visible.into(), asked, words: vec![0; input.batch()].into() }
}

//! Reads tokens into a cache and gives the scores of the next word.

use burn::tensor::Tensor;
use topwork_kernels::gemm::Precision;
use topwork_kernels::pool::Pool;
use topwork_nn::{Cache, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::model::{Model, plain};
use crate::target::Sources;

/// A model and what it has read.
pub(super) struct Reader<'a> {
    model: &'a Model,
    /// What targets are written from, for an encoder-decoder.
    sources: Option<Sources>,
    cache: Cache,
    precision: Precision,
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
        let layers = match &sources {
            None => model.decoder()?.size().layers,
            Some(_) => model.seq2seq()?.target().size().layers,
        };
        let cache = Cache::new(layers, sequences, model.store.device());
        Ok(Reader { model, sources, cache, precision })
    }

    /// Reads on: `news` has the next ids of each sequence, at least one. Gives the scores of the word after them.
    ///
    /// # Shapes
    /// - returns: for each sequence `[vocab]`
    pub fn read(&mut self, news: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, Error> {
        let ids = news.concat();
        let mut offsets = vec![0];
        for new in news {
            offsets.push(offsets[offsets.len() - 1] + new.len() as u32);
        }
        let input = Packed { type_ids: vec![0; ids.len()], ids, offsets, ..Packed::default() };
        let pass = Pass::eval(&self.model.store, self.precision);
        let last =
            |hidden: Tensor<2>| topwork_ops::pool(hidden, &input.offsets.as_slice().into(), Pool::Last);
        let scores = match &self.sources {
            None => {
                let hidden = self.model.decoder()?.read_on(&pass, &input, &mut self.cache)?;
                self.model.head(&pass, last(hidden), &input)?
            }
            Some(sources) => {
                let head = self.model.seq2seq()?;
                let hidden = head.target().read(&pass, &input, sources, Some(&mut self.cache))?;
                head.scores(&pass, last(hidden))?
            }
        };
        let scores = plain(scores)?;
        Ok(scores.chunks(scores.len() / news.len()).map(<[f32]>::to_vec).collect())
    }

    /// Goes on with some of the sequences: each from what the one at its number has read.
    pub fn keep(&mut self, from: &[usize]) {
        self.cache.reorder(from);
    }
}

//! Reads tokens into a cache and gives the scores of the next word.

use topwork_kernels::gemm::Precision;
use topwork_kernels::pool::Pool;
use topwork_nn::{Cache, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::model::{Model, plain};

/// A model and what it has read.
pub(super) struct Reader<'a> {
    model: &'a Model,
    cache: Cache,
    precision: Precision,
}

impl<'a> Reader<'a> {
    /// Has read nothing of `sequences` sequences.
    ///
    /// # Errors
    /// [`Error::NotCausal`].
    pub fn new(model: &'a Model, sequences: usize, precision: Precision) -> Result<Self, Error> {
        model.decoder()?;
        let cache = Cache::new(model.size().layers, sequences, model.store.device());
        Ok(Reader { model, cache, precision })
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
        let hidden = self.model.decoder()?.read_on(&pass, &input, &mut self.cache)?;
        let last = topwork_ops::pool(hidden, &input.offsets.as_slice().into(), Pool::Last);
        let scores = plain(self.model.head(&pass, last, &input)?)?;
        Ok(scores.chunks(scores.len() / news.len()).map(<[f32]>::to_vec).collect())
    }

    /// Goes on with some of the sequences: each from what the one at its number has read.
    pub fn keep(&mut self, from: &[usize]) {
        self.cache.reorder(from);
    }
}

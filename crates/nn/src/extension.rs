//! Rows that a table of embeddings has from outside: virtual tokens, where prompts attach.

use burn::tensor::Tensor;

use crate::error::Error;
use crate::param::ParamId;
use crate::pass::Pass;
use crate::reparam::together;

/// Rows behind those of a table, with parameters of their own, which it asks the pass for.
///
/// It is attached to the table ([`ParamStore::extend`](crate::ParamStore::extend)). Indices from the table's number of rows on are
/// its rows, so whatever looks words up looks these up too, and no family knows of them.
pub trait Extension: std::fmt::Debug + Send + Sync {
    /// How many there are.
    fn rows(&self) -> usize;

    /// The rows.
    ///
    /// # Shapes
    /// - returns: `[rows, width of the table]`
    ///
    /// # Errors
    /// A parameter without values.
    fn matrix(&self, pass: &Pass) -> Result<Tensor<2>, Error>;
}

impl Pass<'_> {
    /// [`Pass::lookup_but`] in a table that has been extended.
    pub(crate) fn lookup_extended(
        &self,
        id: ParamId,
        index: &[u32],
        extension: &dyn Extension,
        own: impl FnOnce(&[u32]) -> Result<Tensor<2>, Error>,
    ) -> Result<Tensor<2>, Error> {
        let param = self.store().param(id);
        let rows = param.shape[0] as u32;
        let all = rows + extension.rows() as u32;
        if let Some(&bad) = index.iter().find(|&&i| i >= all) {
            return Err(Error::IdOutOfRange { path: param.path.clone(), id: bad, rows: all as usize });
        }
        let words: Vec<u32> = index.iter().copied().filter(|&i| i < rows).collect();
        let (mut next, first) = (0, words.len() as u32);
        let place = index.iter().map(|&i| {
            if i >= rows {
                return first + i - rows;
            }
            next += 1;
            next - 1
        });
        let place: Vec<u32> = place.collect();
        let more = extension.matrix(self)?;
        if words.is_empty() {
            return Ok(topwork_ops::embedding(more, &place.into()));
        }
        let (words, more) = together(own(&words)?, more);
        Ok(topwork_ops::embedding(Tensor::cat(vec![words, more], 0), &place.into()))
    }
}

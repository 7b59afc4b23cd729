//! Keys and values of the sources that targets look at: made once for each source, and shared by the beams of a search.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::error::Error;

/// Keys and values of a layer, a row for each token.
#[derive(Clone, Debug)]
pub struct KeysValues {
    /// `[rows, kv_heads * head_dim]`
    pub keys: Tensor<2>,
    /// `[rows, kv_heads * v_dim]`
    pub values: Tensor<2>,
}

/// What the queries of a layer look at.
pub(crate) struct Look {
    /// Where the queries of the sequences lie, by source: `[sources + 1]`.
    pub queries: Arc<[u32]>,
    /// Where the rows of the sources lie: `[sources + 1]`.
    pub sources: Arc<[u32]>,
    /// The rows.
    pub kept: KeysValues,
}

/// Those of sources, by layer, and which of them each sequence looks at.
#[derive(Debug)]
pub(crate) struct Across {
    /// The source of each sequence; never falls, so that the sequences of a source lie together.
    of: Vec<usize>,
    /// Where the rows of the sources start, and the last ones end; `None` until they are known.
    offsets: Option<Arc<[u32]>>,
    layers: Vec<Option<KeysValues>>,
}

impl Across {
    /// Each sequence looks at a source of its own.
    pub fn new(layers: usize, sequences: usize) -> Self {
        Across { of: (0..sequences).collect(), offsets: None, layers: vec![None; layers] }
    }

    /// Goes on with other sequences, as [`crate::Cache::reorder`] does.
    pub fn reorder(&mut self, from: &[usize]) {
        self.of = from.iter().map(|&old| self.of[old]).collect();
        if let Some(offsets) = self.offsets.clone().filter(|_| !self.of.is_sorted()) {
            self.lay_out(&offsets);
        }
    }

    /// Lays the rows of the sources in the order of the sequences that look at them.
    fn lay_out(&mut self, offsets: &[u32]) {
        let mut runs = self.of.clone();
        runs.dedup();
        let mut starts = vec![0];
        let mut rows: Vec<u32> = Vec::new();
        for &source in &runs {
            rows.extend(offsets[source]..offsets[source + 1]);
            starts.push(rows.len() as u32);
        }
        let rows: Arc<[u32]> = rows.into();
        for layer in self.layers.iter_mut().flatten() {
            layer.keys = topwork_ops::embedding(layer.keys.clone(), &rows);
            layer.values = topwork_ops::embedding(layer.values.clone(), &rows);
        }
        let mut run = 0;
        let before = self.of.clone();
        for (at, source) in self.of.iter_mut().enumerate() {
            if at > 0 && before[at] != before[at - 1] {
                run += 1;
            }
            *source = run;
        }
        self.offsets = Some(starts.into());
    }

    /// What the queries of a layer look at; the rows are made if they are not there.
    pub fn look(
        &mut self,
        layer: usize,
        queries: &[u32],
        sources: &Arc<[u32]>,
        make: impl FnOnce() -> Result<KeysValues, Error>,
    ) -> Result<Look, Error> {
        let kept = match self.layers[layer].take() {
            Some(kept) => kept,
            None => make()?,
        };
        self.layers[layer] = Some(kept.clone());
        let offsets = Arc::clone(self.offsets.get_or_insert_with(|| Arc::clone(sources)));
        assert!(self.of.is_sorted(), "sequences changed places before their sources were read");
        let ends = (0..offsets.len()).map(|source| queries[self.of.partition_point(|&of| of < source)]);
        Ok(Look { queries: ends.collect(), sources: offsets, kept })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn rows(values: &[f32]) -> KeysValues {
        let keys =
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [values.len(), 1]), &Device::flex());
        KeysValues { values: keys.clone(), keys }
    }

    /// Query offsets, source offsets and keys, for sequences of one query each.
    fn looked(across: &mut Across) -> (Vec<u32>, Vec<u32>, Vec<f32>) {
        let queries: Vec<u32> = (0..=across.of.len() as u32).collect();
        let sources: Arc<[u32]> = [0, 2, 3, 6].into();
        let make = || Ok(rows(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let Look { queries, sources, kept } = across.look(0, &queries, &sources, make).unwrap();
        (queries.to_vec(), sources.to_vec(), kept.keys.into_data().try_into_vec::<f32>().unwrap())
    }

    #[test]
    fn sequences_of_one_source_share_its_rows() {
        let mut across = Across::new(1, 3);
        let all = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(looked(&mut across), (vec![0, 1, 2, 3], vec![0, 2, 3, 6], all.clone()));
        across.reorder(&[0, 0, 2]);
        assert_eq!(looked(&mut across), (vec![0, 2, 2, 3], vec![0, 2, 3, 6], all.clone()));
        across.reorder(&[1, 2, 2, 2]);
        assert_eq!(looked(&mut across), (vec![0, 1, 1, 4], vec![0, 2, 3, 6], all));
    }

    #[test]
    fn sources_that_change_places_are_laid_out_anew() {
        let mut across = Across::new(1, 3);
        looked(&mut across);
        across.reorder(&[2, 2, 0, 2]);
        let keys = vec![4.0, 5.0, 6.0, 1.0, 2.0, 4.0, 5.0, 6.0];
        assert_eq!(looked(&mut across), (vec![0, 2, 3, 4], vec![0, 3, 5, 8], keys));
        across.reorder(&[2, 0]);
        assert_eq!(looked(&mut across), (vec![0, 1, 2], vec![0, 2, 5], vec![1.0, 2.0, 4.0, 5.0, 6.0]));
    }
}

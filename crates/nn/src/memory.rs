//! Hidden states of the segments read before, which the tokens of the next segment look at too. No gradient goes into them.
//!
//! Where a [`crate::Cache`] holds the keys and values of every token of a text, this holds what went into each layer, and of
//! long texts only the last of it: keys and values are made of it once more, at distances that have grown.
//!
//! Paper: Dai et al. 2019, "Transformer-XL", section 3.2, <https://arxiv.org/abs/1901.02860>

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

/// What is kept of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The last so many tokens of each sequence; all without a limit.
    pub last: Option<usize>,
    /// Of each new segment only the first so many tokens; all without a limit.
    pub first_of_segment: Option<usize>,
}

/// What went into each layer for the last tokens of several sequences.
#[derive(Clone, Debug)]
pub struct Memory {
    /// `[rows, hidden]` for each layer; empty as long as there is no row.
    layers: Vec<Tensor<2>>,
    /// Where the rows of each sequence start, and the last ones end.
    offsets: Vec<u32>,
    keep: Keep,
}

/// How the rows of a memory and those of a new segment lie together, sequence by sequence.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Where the joined rows of each sequence start, and the last ones end.
    pub offsets: Arc<[u32]>,
    /// From joined rows to those of memory and segment laid one after the other; `None` where that is the order they have.
    order: Option<Arc<[u32]>>,
    remembered: bool,
}

impl Joined {
    /// The rows of one layer's memory before those of the segment, for each sequence.
    ///
    /// # Shapes
    /// - `memory`: `[rows, hidden]` of [`Memory::layer`]; `x`: `[tokens, hidden]`; returns `[rows + tokens, hidden]`
    pub fn rows(&self, memory: Option<Tensor<2>>, x: Tensor<2>) -> Tensor<2> {
        let Some(memory) = memory.filter(|_| self.remembered) else { return x };
        let both = cat_rows(vec![memory, x]);
        match &self.order {
            None => both,
            Some(order) => topwork_ops::embedding(both, order),
        }
    }
}

/// Rows one after the other, some of which may learn while others do not.
///
/// # Shapes
/// - `parts`: `[rows, hidden]` each, at least one; returns `[rows of all, hidden]`
pub fn cat_rows(mut parts: Vec<Tensor<2>>) -> Tensor<2> {
    if parts.len() == 1 {
        return parts.swap_remove(0);
    }
    let learns = parts.iter().any(Tensor::is_tracked);
    let same = |part: Tensor<2>| if learns && !part.is_tracked() { part.autodiff() } else { part };
    Tensor::cat(parts.into_iter().map(same).collect(), 0)
}

impl Memory {
    /// Nothing is remembered of `sequences` sequences.
    pub fn empty(sequences: usize, keep: Keep) -> Self {
        Memory { layers: Vec::new(), offsets: vec![0; sequences + 1], keep }
    }

    /// `rows` rows of zeros are remembered of each sequence, in each of `layers` layers.
    pub fn zeros(layers: usize, [sequences, rows, hidden]: [usize; 3], keep: Keep, device: &Device) -> Self {
        if rows == 0 || sequences == 0 {
            return Self::empty(sequences, keep);
        }
        let zeros = Tensor::zeros([sequences * rows, hidden], device);
        let offsets = (0..=sequences).map(|sequence| (sequence * rows) as u32).collect();
        Memory { layers: vec![zeros; layers], offsets, keep }
    }

    /// How many sequences there are.
    pub fn sequences(&self) -> usize {
        self.offsets.len() - 1
    }

    /// How many tokens are remembered of each sequence.
    pub fn lens(&self) -> Vec<usize> {
        self.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize).collect()
    }

    /// What went into a layer: `[rows, hidden]`, `None` if nothing is remembered.
    pub fn layer(&self, layer: usize) -> Option<Tensor<2>> {
        self.layers.get(layer).cloned()
    }

    /// How the rows of this memory and of a new segment lie together.
    ///
    /// # Shapes
    /// - `offsets`: `[sequences + 1]` of the segment
    pub fn join(&self, offsets: &[u32]) -> Joined {
        let remembered = self.rows() > 0;
        let mut ends = vec![0];
        let mut order = Vec::with_capacity((self.rows() + offsets[offsets.len() - 1]) as usize);
        for (old, new) in self.offsets.windows(2).zip(offsets.windows(2)) {
            order.extend(old[0]..old[1]);
            order.extend(self.rows() + new[0]..self.rows() + new[1]);
            ends.push(order.len() as u32);
        }
        let order = (self.sequences() > 1 && remembered).then(|| order.into());
        Joined { offsets: ends.into(), order, remembered }
    }

    /// Remembers a segment: `states` is what went into each layer, without gradients.
    ///
    /// # Shapes
    /// - `states`: `[tokens, hidden]` each; `offsets`: `[sequences + 1]` of the segment
    pub fn remember(&mut self, states: Vec<Tensor<2>>, offsets: &[u32]) {
        let mut chosen: Vec<u32> = Vec::new();
        let mut ends = vec![0];
        for (old, new) in self.offsets.windows(2).zip(offsets.windows(2)) {
            let taken = self.keep.first_of_segment.unwrap_or(usize::MAX).min((new[1] - new[0]) as usize);
            let (from, rows) = (new[0] + self.rows(), (old[1] - old[0]) as usize + taken);
            let skipped = rows - self.keep.last.unwrap_or(rows).min(rows);
            chosen.extend((old[0]..old[1]).chain(from..from + taken as u32).skip(skipped));
            ends.push(chosen.len() as u32);
        }
        if chosen.is_empty() {
            self.layers.clear();
        } else {
            let order: Arc<[u32]> = chosen.into();
            let before = std::mem::take(&mut self.layers);
            let mut before = before.into_iter();
            let all = states.into_iter().map(|new| match before.next() {
                Some(old) => Tensor::cat(vec![old, new], 0),
                None => new,
            });
            self.layers = all.map(|rows| topwork_ops::embedding(rows, &order)).collect();
        }
        self.offsets = ends;
    }

    /// Forgets the last so many tokens of each sequence.
    pub fn forget(&mut self, last: usize) {
        let kept: Vec<(u32, u32)> = self
            .offsets
            .windows(2)
            .map(|pair| (pair[0], pair[1] - (last as u32).min(pair[1] - pair[0])))
            .collect();
        self.choose(&kept);
    }

    /// Goes on with other sequences: the one at `at` continues what `from[at]` was. A sequence may be continued by several
    /// or by none.
    pub fn reorder(&mut self, from: &[usize]) {
        if from.iter().copied().eq(0..self.sequences()) {
            return;
        }
        let kept: Vec<(u32, u32)> =
            from.iter().map(|&old| (self.offsets[old], self.offsets[old + 1])).collect();
        self.choose(&kept);
    }

    /// Keeps, for each sequence from now on, these rows: from one on, and up to another.
    fn choose(&mut self, kept: &[(u32, u32)]) {
        let mut rows: Vec<u32> = Vec::new();
        let mut ends = vec![0];
        for &(start, end) in kept {
            rows.extend(start..end);
            ends.push(rows.len() as u32);
        }
        if rows.is_empty() {
            self.layers.clear();
        }
        let rows: Arc<[u32]> = rows.into();
        for layer in &mut self.layers {
            *layer = topwork_ops::embedding(layer.clone(), &rows);
        }
        self.offsets = ends;
    }

    fn rows(&self) -> u32 {
        self.offsets[self.offsets.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    fn rows(values: &[f32]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len(), 1]), &Device::flex())
    }

    fn plain(x: Tensor<2>) -> Vec<f32> {
        x.into_data().try_into_vec::<f32>().unwrap()
    }

    fn remembered(memory: &Memory) -> Vec<f32> {
        memory.layer(0).map(plain).unwrap_or_default()
    }

    #[test]
    fn the_last_tokens_of_each_sequence_are_remembered() {
        let mut memory = Memory::empty(2, Keep { last: Some(3), first_of_segment: None });
        assert_eq!(
            plain(memory.join(&[0, 2, 3]).rows(memory.layer(0), rows(&[1.0, 2.0, 9.0]))),
            [1.0, 2.0, 9.0]
        );
        memory.remember(vec![rows(&[1.0, 2.0, 9.0])], &[0, 2, 3]);
        assert_eq!((memory.lens(), remembered(&memory)), (vec![2, 1], vec![1.0, 2.0, 9.0]));

        let joined = memory.join(&[0, 1, 4]);
        assert_eq!(*joined.offsets, [0, 3, 7]);
        let new = rows(&[3.0, 8.0, 7.0, 6.0]);
        assert_eq!(plain(joined.rows(memory.layer(0), new.clone())), [1.0, 2.0, 3.0, 9.0, 8.0, 7.0, 6.0]);
        memory.remember(vec![new], &[0, 1, 4]);
        assert_eq!((memory.lens(), remembered(&memory)), (vec![3, 3], vec![1.0, 2.0, 3.0, 8.0, 7.0, 6.0]));
    }

    #[test]
    fn of_a_segment_its_first_tokens_may_be_remembered() {
        let keep = Keep { last: Some(3), first_of_segment: Some(2) };
        let mut memory = Memory::empty(1, keep);
        memory.remember(vec![rows(&[1.0, 2.0, 3.0])], &[0, 3]);
        memory.remember(vec![rows(&[4.0, 5.0, 6.0])], &[0, 3]);
        assert_eq!(remembered(&memory), [2.0, 4.0, 5.0]);
    }

    #[test]
    fn zeros_are_rows_and_nothing_is_none() {
        let keep = Keep { last: Some(2), first_of_segment: None };
        let mut memory = Memory::zeros(1, [1, 2, 1], keep, &Device::flex());
        assert_eq!(memory.lens(), [2]);
        memory.remember(vec![rows(&[5.0])], &[0, 1]);
        assert_eq!(remembered(&memory), [0.0, 5.0]);
        let mut none = Memory::empty(1, Keep { last: Some(0), first_of_segment: None });
        none.remember(vec![rows(&[5.0])], &[0, 1]);
        assert!(none.layer(0).is_none() && none.lens() == [0]);
    }

    #[test]
    fn a_sequence_goes_on_from_another() {
        let mut memory = Memory::empty(2, Keep::default());
        memory.remember(vec![rows(&[1.0, 2.0, 9.0])], &[0, 2, 3]);
        memory.reorder(&[1, 0, 1]);
        assert_eq!((memory.lens(), remembered(&memory)), (vec![1, 2, 1], vec![9.0, 1.0, 2.0, 9.0]));
    }

    #[test]
    fn the_last_tokens_can_be_forgotten() {
        let mut memory = Memory::empty(2, Keep::default());
        memory.remember(vec![rows(&[1.0, 2.0, 3.0, 9.0])], &[0, 3, 4]);
        memory.forget(2);
        assert_eq!((memory.lens(), remembered(&memory)), (vec![1, 0], vec![1.0]));
        memory.forget(2);
        assert!(memory.lens() == [0, 0] && memory.layer(0).is_none());
    }

    #[test]
    fn gradients_pass_the_new_rows_only() {
        let mut memory = Memory::empty(2, Keep::default());
        memory.remember(vec![rows(&[1.0, 2.0])], &[0, 1, 2]);
        let x = rows(&[3.0, 4.0]).autodiff().require_grad();
        let joined = memory.join(&[0, 1, 2]).rows(memory.layer(0), x.clone());
        let weights =
            Tensor::<2>::from_data([[1.0f32], [10.0], [100.0], [1000.0]], &Device::flex()).autodiff();
        let grads = (joined * weights).sum().backward();
        assert_eq!(plain(x.grad(&grads).unwrap()), [10.0, 1000.0]);
    }
}

//! Sequences of different lengths walked together, step by step.

/// Which row of a packed batch each sequence is at, at each step.
///
/// Sequences are ranked by length, the longest first, so that those still going at a step are the first ranks. Equal
/// lengths stay in the order of the batch.
#[derive(Clone, Debug)]
pub struct Steps {
    /// First row and length by rank.
    ranges: Vec<(u32, u32)>,
    order: Vec<u32>,
    active: Vec<usize>,
    reverse: bool,
}

impl Steps {
    /// The steps through `offsets: [batch + 1]`; in `reverse`, each sequence starts at its last row.
    ///
    /// # Panics
    /// The offsets do not rise.
    pub fn new(offsets: &[u32], reverse: bool) -> Self {
        assert!(!offsets.is_empty() && offsets.is_sorted(), "steps: offsets must rise, got {offsets:?}");
        let length = |sequence: u32| offsets[sequence as usize + 1] - offsets[sequence as usize];
        let mut order: Vec<u32> = (0..offsets.len() as u32 - 1).collect();
        order.sort_by_key(|&sequence| std::cmp::Reverse(length(sequence)));
        let ranges: Vec<_> =
            order.iter().map(|&sequence| (offsets[sequence as usize], length(sequence))).collect();
        let mut still = ranges.len();
        let count = ranges.first().map_or(0, |&(_, longest)| longest);
        let mut active = Vec::with_capacity(count as usize);
        for step in 0..count {
            while ranges[still - 1].1 <= step {
                still -= 1;
            }
            active.push(still);
        }
        Self { ranges, order, active, reverse }
    }

    /// How many sequences are still going, by step; never zero.
    pub fn active(&self) -> &[usize] {
        &self.active
    }

    /// The sequence of each rank.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// The row of the sequence of a rank at a step.
    #[inline]
    pub fn row(&self, rank: usize, step: usize) -> usize {
        let (first, length) = self.ranges[rank];
        if self.reverse { (first + length) as usize - 1 - step } else { first as usize + step }
    }

    /// The rows of a step, by rank.
    pub fn rows(&self, step: usize) -> impl Iterator<Item = usize> {
        (0..self.active[step]).map(move |rank| self.row(rank, step))
    }

    /// Copies `[batch, width]` from the order of the batch into that of the ranks.
    pub(super) fn rank(&self, by_sequence: &[f32], by_rank: &mut [f32]) {
        let width = by_rank.len() / self.order.len().max(1);
        for (&sequence, to) in self.order.iter().zip(by_rank.chunks_exact_mut(width.max(1))) {
            to.copy_from_slice(&by_sequence[sequence as usize * width..][..width]);
        }
    }

    /// The way back of [`Steps::rank`].
    pub(super) fn unrank(&self, by_rank: &[f32], by_sequence: &mut [f32]) {
        let width = by_rank.len() / self.order.len().max(1);
        for (&sequence, from) in self.order.iter().zip(by_rank.chunks_exact(width.max(1))) {
            by_sequence[sequence as usize * width..][..width].copy_from_slice(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once_in_its_direction() {
        let offsets = [0, 2, 2, 7, 9];
        let visits = |reverse| {
            let steps = Steps::new(&offsets, reverse);
            (0..steps.active().len()).map(|step| steps.rows(step).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        assert_eq!(visits(false), [vec![2, 0, 7], vec![3, 1, 8], vec![4], vec![5], vec![6]]);
        assert_eq!(visits(true), [vec![6, 1, 8], vec![5, 0, 7], vec![4], vec![3], vec![2]]);
        let steps = Steps::new(&offsets, false);
        assert_eq!(steps.order(), [2, 0, 3, 1]);
        let (mut ranked, mut back) = ([0.0; 8], [0.0; 8]);
        let values = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5];
        steps.rank(&values, &mut ranked);
        assert_eq!(ranked, [2.0, 2.5, 0.0, 0.5, 3.0, 3.5, 1.0, 1.5]);
        steps.unrank(&ranked, &mut back);
        assert_eq!(back, values);
        assert!(Steps::new(&[0], false).active().is_empty());
        assert!(Steps::new(&[0, 0, 0], true).active().is_empty());
    }

    #[test]
    #[should_panic(expected = "offsets must rise")]
    fn falling_offsets_are_refused() {
        Steps::new(&[0, 3, 2], false);
    }
}

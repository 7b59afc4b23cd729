//! Ranges of tokens that sequences carry with them: the words a parser is asked about, the spans of a relation.
//!
//! What they mean is the business of whoever sets and of whoever reads them; encoders do not look at them.

use std::ops::Range;

/// Ranges of tokens in each sequence of a batch, in the order in which they are asked about; they may overlap.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Marks {
    /// The first token of each range and the one after its last, counted from the sequence's first.
    ranges: Vec<[u32; 2]>,
    /// Where each sequence's ranges begin, and where the last one's end: `[batch + 1]`.
    offsets: Vec<u32>,
}

impl Default for Marks {
    fn default() -> Self {
        Self { ranges: Vec::new(), offsets: vec![0] }
    }
}

impl Marks {
    /// Adds the ranges of one more sequence.
    pub fn push(&mut self, ranges: impl IntoIterator<Item = Range<u32>>) {
        self.ranges.extend(ranges.into_iter().map(|range| [range.start, range.end]));
        self.offsets.push(self.ranges.len() as u32);
    }

    /// Sequences whose ranges are here.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// True where no sequence has told its ranges, as in batches that need none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ranges of one sequence.
    pub fn of(&self, index: usize) -> impl ExactSizeIterator<Item = Range<u32>> + '_ {
        self.ranges[self.places(index)].iter().map(|&[start, end]| start..end)
    }

    /// Which ranges of the whole batch are those of one sequence.
    pub fn places(&self, index: usize) -> Range<usize> {
        self.offsets[index] as usize..self.offsets[index + 1] as usize
    }

    /// Ranges of all sequences together.
    pub fn total(&self) -> usize {
        self.ranges.len()
    }

    /// Those of the chosen sequences, in the order given.
    pub fn select(&self, indices: &[usize]) -> Self {
        let mut chosen = Self::default();
        indices.iter().for_each(|&index| chosen.push(self.of(index)));
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_go_with_their_sequences() {
        let mut marks = Marks::default();
        assert!(marks.is_empty());
        marks.push([1..2, 2..5]);
        marks.push([]);
        marks.push([0..1, 0..3, 2..3]);
        assert_eq!((marks.len(), marks.total(), marks.places(2)), (3, 5, 2..5));
        let chosen = marks.select(&[2, 1, 0]);
        assert_eq!(chosen.of(0).collect::<Vec<_>>(), [0..1, 0..3, 2..3]);
        assert_eq!((chosen.of(1).len(), chosen.of(2).len()), (0, 2));
        assert_eq!(marks.select(&[0, 1, 2]), marks);
    }
}

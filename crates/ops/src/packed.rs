//! Where the sequences of a packed batch lie, and where they would lie if padded.

use std::ops::Range;

/// Stops an operation whose offsets do not describe `tokens` rows.
///
/// # Panics
/// If `offsets` does not rise from 0 to `tokens`.
pub(crate) fn check(operation: &str, offsets: &[u32], tokens: usize) {
    assert!(
        offsets.first() == Some(&0)
            && offsets.is_sorted()
            && offsets.last().map(|&last| last as usize) == Some(tokens),
        "{operation}: offsets must rise from 0 to {tokens}, the rows there are, got {offsets:?}"
    );
}

/// A packed batch seen as `[batch, seq]` places, of which only some hold a token.
pub(crate) struct Padding<'a> {
    offsets: &'a [u32],
    /// The number of sequences.
    pub(crate) batch: usize,
    /// The length of the longest sequence.
    pub(crate) seq: usize,
}

impl<'a> Padding<'a> {
    pub(crate) fn new(offsets: &'a [u32]) -> Self {
        let lengths = offsets.windows(2).map(|pair| pair[1] - pair[0]);
        Self { offsets, batch: offsets.len().saturating_sub(1), seq: lengths.max().unwrap_or(0) as usize }
    }

    /// The token rows of each sequence.
    pub(crate) fn sequences(&self) -> impl Iterator<Item = Range<usize>> + Clone {
        self.offsets.windows(2).map(|pair| pair[0] as usize..pair[1] as usize)
    }

    /// The token row in each place, and row 0 where there is no token.
    pub(crate) fn rows(&self) -> impl Iterator<Item = usize> {
        let seq = self.seq;
        self.sequences().flat_map(move |range| {
            let empty = seq - range.len();
            range.chain(std::iter::repeat_n(0, empty))
        })
    }

    /// The place of each token row.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> {
        let seq = self.seq;
        self.sequences().enumerate().flat_map(move |(sequence, range)| {
            let start = sequence * seq;
            start..start + range.len()
        })
    }

    /// The sequence of each token row.
    pub(crate) fn sequence_of_rows(&self) -> impl Iterator<Item = usize> {
        self.sequences().enumerate().flat_map(|(sequence, range)| std::iter::repeat_n(sequence, range.len()))
    }

    /// 1 in each place that holds a token, 0 in the others.
    pub(crate) fn present(&self) -> Vec<f32> {
        let seq = self.seq;
        self.sequences()
            .flat_map(|range| {
                let tokens = std::iter::repeat_n(1.0, range.len());
                tokens.chain(std::iter::repeat_n(0.0, seq - range.len()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_rows_are_inverse() {
        let padding = Padding::new(&[0, 2, 2, 5]);
        let rows: Vec<usize> = padding.rows().collect();
        assert_eq!(rows, [0, 1, 0, 0, 0, 0, 2, 3, 4]);
        assert_eq!(padding.places().collect::<Vec<_>>(), [0, 1, 6, 7, 8]);
        assert_eq!(padding.sequence_of_rows().collect::<Vec<_>>(), [0, 0, 2, 2, 2]);
        for (row, place) in padding.places().enumerate() {
            assert_eq!(rows[place], row);
            assert_eq!(padding.present()[place], 1.0);
        }
        assert_eq!(padding.present().iter().sum::<f32>(), 5.0);
    }

    #[test]
    #[should_panic(expected = "pool: offsets must rise from 0 to 5")]
    fn offsets_beyond_the_rows_are_refused() {
        check("pool", &[0, 3, 6], 5);
    }

    #[test]
    #[should_panic(expected = "offsets must rise")]
    fn falling_offsets_are_refused() {
        check("pool", &[0, 3, 2, 5], 5);
    }
}

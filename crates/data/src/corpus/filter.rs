//! The rows that were kept of a source: their numbers, in a bit of each row or less.

use std::ops::Range;

use super::rows::{Rows, beyond};
use crate::Result;

/// Rows whose numbers are kept together.
const CHUNK: u64 = 4096;

/// Which rows of a chunk are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// All of them.
    All,
    /// Those of a list.
    Listed,
    /// All but those of a list.
    Unlisted,
    /// Those whose bit is set.
    Bits,
}

/// Neighbouring rows of the source.
#[derive(Clone, Debug)]
struct Chunk {
    /// Rows kept before this chunk.
    before: u64,
    /// Where its part of the numbers begins.
    from: usize,
    form: Form,
}

/// Numbers that were kept, in order.
#[derive(Clone, Debug, Default)]
struct Kept {
    chunks: Vec<Chunk>,
    /// Lists of numbers in a chunk, or bits of 16 rows each.
    numbers: Vec<u16>,
    rows: u64,
}

impl Kept {
    /// Adds the next chunk: the numbers kept of `rows` rows, in order.
    fn add(&mut self, kept: &[u16], rows: u64) {
        let (count, rows) = (kept.len(), rows as usize);
        // A number takes as much as the bits of 16 rows.
        let list = rows / 16;
        let form = if count == rows {
            Form::All
        } else if count <= list {
            Form::Listed
        } else if rows - count <= list {
            Form::Unlisted
        } else {
            Form::Bits
        };
        self.chunks.push(Chunk { before: self.rows, from: self.numbers.len(), form });
        match form {
            Form::All => {}
            Form::Listed => self.numbers.extend(kept),
            Form::Unlisted => {
                let mut left = kept.iter().peekable();
                self.numbers
                    .extend((0..rows as u16).filter(|row| left.next_if(|next| *next == row).is_none()));
            }
            Form::Bits => {
                let from = self.numbers.len();
                self.numbers.resize(from + rows.div_ceil(16), 0);
                kept.iter().for_each(|row| self.numbers[from + usize::from(*row / 16)] |= 1 << (row % 16));
            }
        }
        self.rows += count as u64;
    }

    /// The number that was kept after `at` others; `None` if there are not so many.
    fn get(&self, at: u64) -> Option<u64> {
        if at >= self.rows {
            return None;
        }
        let number = self.chunks.partition_point(|chunk| chunk.before <= at).checked_sub(1)?;
        let chunk = &self.chunks[number];
        let end = self.chunks.get(number + 1).map_or(self.numbers.len(), |next| next.from);
        let (numbers, mut nth) = (&self.numbers[chunk.from..end], at - chunk.before);
        let inside = match chunk.form {
            Form::All => nth,
            Form::Listed => u64::from(*numbers.get(nth as usize)?),
            Form::Unlisted => {
                // Each number left out up to here moves it on by one.
                for left_out in numbers {
                    if u64::from(*left_out) > nth {
                        break;
                    }
                    nth += 1;
                }
                nth
            }
            Form::Bits => {
                let mut word = 0;
                while nth >= u64::from(numbers.get(word)?.count_ones()) {
                    nth -= u64::from(numbers[word].count_ones());
                    word += 1;
                }
                let mut bits = numbers[word];
                (0..nth).for_each(|_| bits &= bits - 1);
                16 * word as u64 + u64::from(bits.trailing_zeros())
            }
        };
        Some(number as u64 * CHUNK + inside)
    }
}

/// The rows of a source for which something is true; see [`Rows::filter`].
#[derive(Clone, Debug)]
pub struct Filtered<S> {
    source: S,
    kept: Kept,
}

impl<S: Rows> Filtered<S> {
    pub(super) fn new(source: S, mut keep: impl FnMut(&S::Row) -> bool) -> Result<Self> {
        let mut kept = Kept::default();
        let mut chunk: Vec<u16> = Vec::with_capacity(CHUNK as usize);
        let len = source.len();
        for (at, row) in (0..len).zip(source.iter(0)) {
            if keep(&row?) {
                chunk.push((at % CHUNK) as u16);
            }
            if (at + 1).is_multiple_of(CHUNK) || at + 1 == len {
                kept.add(&chunk, at % CHUNK + 1);
                chunk.clear();
            }
        }
        kept.chunks.shrink_to_fit();
        kept.numbers.shrink_to_fit();
        Ok(Self { source, kept })
    }

    /// The number in the source of a row that was kept.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if there are not so many rows.
    pub fn original(&self, row: u64) -> Result<u64> {
        self.kept.get(row).ok_or_else(|| beyond(row, self.kept.rows))
    }

    /// Bytes of memory that the numbers of the rows take.
    pub fn memory(&self) -> usize {
        self.kept.chunks.len() * size_of::<Chunk>() + self.kept.numbers.len() * size_of::<u16>()
    }
}

impl<S: Rows> Rows for Filtered<S> {
    type Row = S::Row;

    fn len(&self) -> u64 {
        self.kept.rows
    }

    fn get(&self, row: u64) -> Result<S::Row> {
        self.source.get(self.original(row)?)
    }

    fn ready(&self, near: &[Range<u64>]) -> Result<()> {
        // What lies between rows that were kept is read too: that is faster than to leave it out, unless hardly any were.
        let span = |run: &Range<u64>| {
            let last = run.end.min(self.kept.rows).checked_sub(1)?;
            Some(self.kept.get(run.start)?..self.kept.get(last)? + 1)
        };
        let dense = |run: &Range<u64>| run.end - run.start <= CHUNK * 4;
        self.source.ready(&near.iter().filter_map(span).filter(dense).collect::<Vec<_>>())
    }

    fn stretch(&self) -> u64 {
        self.source.stretch()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::{Numbers, all};
    use super::*;
    use crate::Error;
    use proptest::prelude::*;

    proptest! {
        /// Chunks of every form: those of which all, few, many, nearly all, none are kept.
        #[test]
        fn the_rows_kept_are_found_by_their_number(
            len in 0u64..20_000,
            kinds in prop::collection::vec(0u64..7, 6),
            odd in 1u64..50,
        ) {
            let keep = |row: &u64| match kinds[(*row / CHUNK) as usize % kinds.len()] {
                0 => true,
                1 => false,
                2 => row.is_multiple_of(16 + odd),
                3 => !row.is_multiple_of(16 + odd),
                4 => row.is_multiple_of(2),
                5 => row % 3 != odd % 3,
                _ => row % 4096 < 80 * odd,
            };
            let filtered = Numbers::new(len).filter(keep).unwrap();
            let expected: Vec<u64> = (0..len).filter(keep).collect();
            prop_assert_eq!(filtered.len(), expected.len() as u64);
            prop_assert_eq!(all(&filtered, 0), expected);
            prop_assert!(filtered.get(filtered.len()).is_err());
            // A bit of a row, and what says where the chunks are.
            let most = len / 8 + len.div_ceil(CHUNK) * (size_of::<Chunk>() as u64 + 4);
            prop_assert!(filtered.memory() as u64 <= most, "{} of {most}", filtered.memory());
        }
    }

    #[test]
    fn every_form_is_used_where_it_is_the_smallest() {
        fn check(keep: impl Fn(&u64) -> bool, form: Form, numbers: usize) {
            let filtered = Numbers::new(CHUNK).filter(keep).unwrap();
            assert_eq!((filtered.kept.chunks[0].form, filtered.kept.numbers.len()), (form, numbers));
        }
        check(|_| true, Form::All, 0);
        check(|row| row.is_multiple_of(100), Form::Listed, 41);
        check(|row| !row.is_multiple_of(100), Form::Unlisted, 41);
        check(|row| row.is_multiple_of(2), Form::Bits, 256);
    }

    #[test]
    fn the_source_is_told_what_lies_from_the_first_to_the_last() {
        let filtered = Numbers::new(100).filter(|row| row % 10 == 3).unwrap();
        filtered.source.told.lock().unwrap().clear();
        filtered.ready(&[1..3, 4..99, 10..12]).unwrap();
        assert_eq!(*filtered.source.told.lock().unwrap(), [[13..24, 43..94]]);
        assert_eq!(filtered.original(2).unwrap(), 23);
    }

    #[test]
    fn a_row_that_cannot_be_read_ends_the_filtering() {
        let broken = Numbers::new(10).map(|row| if row == 5 { Err(beyond(5, 5)) } else { Ok(row) });
        assert!(matches!(broken.filter(|_| true), Err(Error::Setting { .. })));
    }
}

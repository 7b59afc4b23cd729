//! Rows by their number, and what is made of them on the way: mapped, in part, in another order, one source after the other.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::filter::Filtered;
use super::order::{InBlocks, Order};
use crate::{Error, Result};

/// Rows that are read one by one, by their number.
///
/// What is made of a source by the methods here is such a source again, computed when a row is asked for. All of it is a function
/// of the rows and of seeds, so the same row is the same whenever, wherever and after whatever interruption it is read.
pub trait Rows {
    /// A row.
    type Row;

    /// How many rows there are.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A row by its number, from 0.
    ///
    /// # Errors
    /// [`Error::Setting`] if there are not so many rows; whatever is wrong with the row.
    fn get(&self, row: u64) -> Result<Self::Row>;

    /// Says which rows will be asked for next, in runs of neighbours, so that a source on disk can read them together. It changes
    /// the time that [`Rows::get`] takes and nothing else.
    ///
    /// # Errors
    /// If the source cannot be read.
    fn ready(&self, _near: &[Range<u64>]) -> Result<()> {
        Ok(())
    }

    /// How many neighbouring rows are worth saying at once in [`Rows::ready`]; 1 where that makes no difference.
    fn stretch(&self) -> u64 {
        1
    }

    /// The rows in order, from one on.
    fn iter(&self, from: u64) -> Iter<'_, Self>
    where
        Self: Sized,
    {
        Iter { source: self, at: from, ready: from }
    }

    /// Each row made into something else.
    fn map<T, F: Fn(Self::Row) -> Result<T>>(self, each: F) -> Mapped<Self, F>
    where
        Self: Sized,
    {
        Mapped { source: self, each }
    }

    /// The rows for which `keep` is true: all are read once, then at most one bit of each is held.
    ///
    /// # Errors
    /// If a row cannot be read.
    fn filter(self, keep: impl FnMut(&Self::Row) -> bool) -> Result<Filtered<Self>>
    where
        Self: Sized,
    {
        Filtered::new(self, keep)
    }

    /// Some neighbouring rows.
    ///
    /// # Errors
    /// [`Error::Setting`] if there are not so many rows.
    fn part(self, rows: Range<u64>) -> Result<Part<Self>>
    where
        Self: Sized,
    {
        if rows.start > rows.end || rows.end > self.len() {
            return Err(Error::Setting {
                what: "part of the rows",
                expected: format!("from and to at most {}, in this order", self.len()),
                got: format!("{} to {}", rows.start, rows.end),
            });
        }
        Ok(Part { source: self, rows })
    }

    /// The first rows, or all if there are fewer.
    fn take(self, rows: u64) -> Part<Self>
    where
        Self: Sized,
    {
        let end = rows.min(self.len());
        Part { source: self, rows: 0..end }
    }

    /// The part with number `part` (from 0) of `of` neighbouring parts, no two of which differ by more than a row: for processes
    /// that share the rows.
    ///
    /// # Errors
    /// [`Error::Setting`] if there is no such part.
    fn shard(self, part: u64, of: u64) -> Result<Part<Self>>
    where
        Self: Sized,
    {
        if part >= of {
            return Err(Error::Setting {
                what: "shard",
                expected: "a number from 0 on, below how many there are".into(),
                got: format!("{part} of {of}"),
            });
        }
        let begin = |part: u64| (u128::from(self.len()) * u128::from(part) / u128::from(of)) as u64;
        let rows = begin(part)..begin(part + 1);
        Ok(Part { source: self, rows })
    }

    /// All rows in a random order; see [`Order::shuffled`].
    fn shuffled(self, seed: u64, epoch: u64) -> Ordered<Self>
    where
        Self: Sized,
    {
        let order = Order::shuffled(self.len(), seed, epoch);
        Ordered { source: self, order, ready: AtomicU64::new(u64::MAX) }
    }

    /// All rows in an order that is random in blocks, which a disk gives at its full speed; see [`Order::shuffled_in_blocks`] for
    /// what is given up.
    ///
    /// # Errors
    /// [`Error::Setting`] if there is nothing in a block or in a window.
    fn shuffled_in_blocks(self, blocks: InBlocks, seed: u64, epoch: u64) -> Result<Ordered<Self>>
    where
        Self: Sized,
    {
        let order = Order::shuffled_in_blocks(self.len(), blocks, seed, epoch)?;
        Ok(Ordered { source: self, order, ready: AtomicU64::new(u64::MAX) })
    }
}

/// The error of a row that is not there.
pub(super) fn beyond(row: u64, rows: u64) -> Error {
    Error::Setting {
        what: "row",
        expected: format!("a number from 0 on, below {rows}"),
        got: row.to_string(),
    }
}

macro_rules! forward {
    ($($kind:ty),*) => {$(
        impl<S: Rows + ?Sized> Rows for $kind {
            type Row = S::Row;

            fn len(&self) -> u64 {
                (**self).len()
            }

            fn get(&self, row: u64) -> Result<S::Row> {
                (**self).get(row)
            }

            fn ready(&self, near: &[Range<u64>]) -> Result<()> {
                (**self).ready(near)
            }

            fn stretch(&self) -> u64 {
                (**self).stretch()
            }
        }
    )*};
}
forward!(&S, Box<S>);

/// Rows in order; see [`Rows::iter`].
#[derive(Debug)]
pub struct Iter<'a, S> {
    source: &'a S,
    at: u64,
    /// Up to which row the source was told.
    ready: u64,
}

impl<S> Iter<'_, S> {
    /// The number of the row that comes next: where to go on after an interruption.
    pub fn position(&self) -> u64 {
        self.at
    }
}

impl<S: Rows> Iterator for Iter<'_, S> {
    type Item = Result<S::Row>;

    fn next(&mut self) -> Option<Self::Item> {
        let len = self.source.len();
        if self.at >= len {
            return None;
        }
        if self.at >= self.ready {
            let stretch = self.source.stretch();
            self.ready = self.at.saturating_add(stretch).min(len);
            let near = self.at..self.ready;
            if stretch > 1
                && let Err(error) = self.source.ready(std::slice::from_ref(&near))
            {
                self.at = len;
                return Some(Err(error));
            }
        }
        self.at += 1;
        Some(self.source.get(self.at - 1))
    }
}

/// Each row made into something else; see [`Rows::map`].
#[derive(Clone, Debug)]
pub struct Mapped<S, F> {
    source: S,
    each: F,
}

impl<S: Rows, T, F: Fn(S::Row) -> Result<T>> Rows for Mapped<S, F> {
    type Row = T;

    fn len(&self) -> u64 {
        self.source.len()
    }

    fn get(&self, row: u64) -> Result<T> {
        (self.each)(self.source.get(row)?)
    }

    fn ready(&self, near: &[Range<u64>]) -> Result<()> {
        self.source.ready(near)
    }

    fn stretch(&self) -> u64 {
        self.source.stretch()
    }
}

/// Some neighbouring rows; see [`Rows::part`], [`Rows::take`] and [`Rows::shard`].
#[derive(Clone, Debug)]
pub struct Part<S> {
    source: S,
    rows: Range<u64>,
}

impl<S: Rows> Rows for Part<S> {
    type Row = S::Row;

    fn len(&self) -> u64 {
        self.rows.end - self.rows.start
    }

    fn get(&self, row: u64) -> Result<S::Row> {
        if row >= self.len() {
            return Err(beyond(row, self.len()));
        }
        self.source.get(self.rows.start + row)
    }

    fn ready(&self, near: &[Range<u64>]) -> Result<()> {
        let moved = |run: &Range<u64>| {
            let end = run.end.min(self.len());
            self.rows.start + run.start.min(end)..self.rows.start + end
        };
        self.source.ready(&near.iter().map(moved).collect::<Vec<_>>())
    }

    fn stretch(&self) -> u64 {
        self.source.stretch()
    }
}

/// Rows in another order; see [`Rows::shuffled`] and [`Rows::shuffled_in_blocks`].
#[derive(Debug)]
pub struct Ordered<S> {
    source: S,
    order: Order,
    /// The window that the source was told of last.
    ready: AtomicU64,
}

impl<S: Rows> Rows for Ordered<S> {
    type Row = S::Row;

    fn len(&self) -> u64 {
        self.order.len()
    }

    fn get(&self, at: u64) -> Result<S::Row> {
        let row = self.order.get(at).ok_or_else(|| beyond(at, self.order.len()))?;
        if let Some(window) = self.order.window(at)
            && self.ready.swap(window, Ordering::Relaxed) != window
        {
            self.source.ready(&self.order.rows(window))?;
        }
        self.source.get(row)
    }
}

/// One source after the other.
///
/// # Errors
/// [`Error::Setting`] if there are more rows than can be counted.
pub fn concatenate<S: Rows>(sources: Vec<S>) -> Result<Concatenated<S>> {
    let mut ends = Vec::with_capacity(sources.len());
    let mut rows = 0u64;
    for source in &sources {
        rows = rows.checked_add(source.len()).ok_or_else(|| Error::Setting {
            what: "rows of all sources",
            expected: format!("at most {}", u64::MAX),
            got: "more".into(),
        })?;
        ends.push(rows);
    }
    Ok(Concatenated { sources, ends })
}

/// One source after the other; see [`concatenate`].
#[derive(Clone, Debug)]
pub struct Concatenated<S> {
    sources: Vec<S>,
    /// Behind the last row of each source.
    ends: Vec<u64>,
}

impl<S> Concatenated<S> {
    /// The first row of a source.
    fn begin(&self, source: usize) -> u64 {
        source.checked_sub(1).map_or(0, |before| self.ends[before])
    }
}

impl<S: Rows> Rows for Concatenated<S> {
    type Row = S::Row;

    fn len(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn get(&self, row: u64) -> Result<S::Row> {
        let source = self.ends.partition_point(|&end| end <= row);
        match self.sources.get(source) {
            Some(found) => found.get(row - self.begin(source)),
            None => Err(beyond(row, self.len())),
        }
    }

    fn ready(&self, near: &[Range<u64>]) -> Result<()> {
        for (at, source) in self.sources.iter().enumerate() {
            let (begin, end) = (self.begin(at), self.ends[at]);
            let inside = |run: &Range<u64>| {
                let (from, to) = (run.start.max(begin), run.end.min(end));
                (from < to).then(|| from - begin..to - begin)
            };
            let runs: Vec<Range<u64>> = near.iter().filter_map(inside).collect();
            if !runs.is_empty() {
                source.ready(&runs)?;
            }
        }
        Ok(())
    }

    fn stretch(&self) -> u64 {
        self.sources.iter().map(Rows::stretch).max().unwrap_or(1)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::Mutex;

    /// The numbers from 0 on, which remembers what it was told.
    #[derive(Debug)]
    pub struct Numbers {
        pub len: u64,
        pub told: Mutex<Vec<Vec<Range<u64>>>>,
    }

    impl Numbers {
        pub fn new(len: u64) -> Self {
            Self { len, told: Mutex::new(Vec::new()) }
        }
    }

    impl Rows for Numbers {
        type Row = u64;

        fn len(&self) -> u64 {
            self.len
        }

        fn get(&self, row: u64) -> Result<u64> {
            if row < self.len { Ok(row) } else { Err(beyond(row, self.len)) }
        }

        fn ready(&self, near: &[Range<u64>]) -> Result<()> {
            self.told.lock().unwrap().push(near.to_vec());
            Ok(())
        }

        fn stretch(&self) -> u64 {
            4
        }
    }

    /// All rows from one on.
    pub fn all<S: Rows>(source: &S, from: u64) -> Vec<S::Row> {
        source.iter(from).map(Result::unwrap).collect()
    }

    /// What a source was told, each time a run.
    fn told(source: &Numbers) -> Vec<(u64, u64)> {
        let told = source.told.lock().unwrap();
        told.iter().flatten().map(|run| (run.start, run.end)).collect()
    }

    #[test]
    fn rows_in_order_are_told_a_stretch_at_a_time() {
        let source = Numbers::new(10);
        assert_eq!(all(&source, 3), [3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(told(&source), [(3, 7), (7, 10)]);
        let mut rows = source.iter(8);
        assert_eq!(rows.position(), 8);
        rows.next();
        assert_eq!(rows.position(), 9);
        assert_eq!(all(&source, 10), [0; 0]);
        assert!(source.get(10).unwrap_err().to_string().contains("below 10, got 10"));
    }

    #[test]
    fn parts_and_shards_are_the_rows_they_should_be() {
        let part = Numbers::new(10).part(2..7).unwrap();
        assert_eq!(all(&part, 1), [3, 4, 5, 6]);
        assert_eq!(told(&part.source), [(3, 7)]);
        assert!(part.get(5).is_err());
        assert_eq!(all(&Numbers::new(10).take(3), 0), [0, 1, 2]);
        assert_eq!(Numbers::new(10).take(30).len(), 10);
        let backwards = Range { start: 6, end: 5 };
        for bad in [5..11, backwards] {
            assert!(Numbers::new(10).part(bad).is_err());
        }
        let mut joined = Vec::new();
        for part in 0..4 {
            let shard = Numbers::new(10).shard(part, 4).unwrap();
            assert!((2..=3).contains(&shard.len()), "{}", shard.len());
            joined.extend(all(&shard, 0));
        }
        assert_eq!(joined, (0..10).collect::<Vec<_>>());
        assert!(Numbers::new(10).shard(4, 4).is_err() && Numbers::new(10).shard(0, 0).is_err());
        let huge = Numbers::new(u64::MAX).shard(6, 7).unwrap();
        assert_eq!(huge.get(huge.len() - 1).unwrap(), u64::MAX - 1);
    }

    #[test]
    fn sources_follow_one_another_and_are_told_their_own_rows() {
        let parts = vec![Numbers::new(3), Numbers::new(0), Numbers::new(4)];
        let joined = concatenate(parts).unwrap();
        assert_eq!(all(&joined, 0), [0, 1, 2, 0, 1, 2, 3]);
        let told = |at: usize| told(&joined.sources[at]);
        assert_eq!((told(0), told(1), told(2)), (vec![(0, 3)], vec![], vec![(0, 1), (1, 4)]));
        assert!(joined.get(7).is_err());
        assert_eq!(concatenate(Vec::<Numbers>::new()).unwrap().len(), 0);
        assert!(concatenate(vec![Numbers::new(u64::MAX), Numbers::new(1)]).is_err());
        let mixed: Vec<Box<dyn Rows<Row = u64>>> =
            vec![Box::new(Numbers::new(2)), Box::new(Numbers::new(2).map(|row| Ok(row + 10)))];
        assert_eq!(all(&concatenate(mixed).unwrap(), 0), [0, 1, 10, 11]);
    }

    #[test]
    fn a_random_order_goes_on_anywhere_and_tells_its_windows_once() {
        let whole = all(&Numbers::new(50).shuffled(1, 0), 0);
        assert_eq!(whole[20..], all(&Numbers::new(50).shuffled(1, 0), 20));
        let blocks = InBlocks { rows: 5, window: 2 };
        let ordered = Numbers::new(23).shuffled_in_blocks(blocks, 1, 0).unwrap();
        let mut rows = all(&ordered, 0);
        let told = ordered.source.told.lock().unwrap().clone();
        assert_eq!(told.len(), 3);
        assert_eq!(told[0].iter().map(|run| run.end - run.start).sum::<u64>(), 10);
        assert!(
            rows[..10].iter().all(|row| told[0].iter().any(|run| run.contains(row))),
            "{rows:?} {told:?}"
        );
        rows.sort_unstable();
        assert_eq!(rows, (0..23).collect::<Vec<_>>());
        assert!(ordered.get(23).is_err());
    }

    #[test]
    fn an_error_of_a_row_is_that_rows_alone() {
        let odd = |row: u64| if row % 2 == 1 { Ok(row) } else { Err(beyond(row, 0)) };
        let mapped = Numbers::new(4).map(odd);
        assert_eq!(mapped.iter(0).filter_map(Result::ok).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(mapped.iter(0).count(), 4);
    }
}

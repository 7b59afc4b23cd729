//! Which parts of a range are free: the bookkeeping of large buffers, in numbers only.

use std::collections::{BTreeMap, BTreeSet};

/// Spans of a range `0..len` that are taken and given back. A span is taken from the smallest free one that is long
/// enough, and free neighbours are one.
#[derive(Debug)]
pub(super) struct Spans {
    by_start: BTreeMap<usize, usize>,
    /// Length and start of each free span.
    by_len: BTreeSet<(usize, usize)>,
    /// What begins here was never taken.
    untouched: usize,
}

/// A span that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub start: usize,
    /// So much of its beginning may hold what somebody wrote; the rest was never taken before.
    pub used: usize,
}

impl Spans {
    /// Nothing to take.
    pub const fn none() -> Self {
        Spans { by_start: BTreeMap::new(), by_len: BTreeSet::new(), untouched: 0 }
    }

    /// All of `0..len` is free and untouched.
    pub fn new(len: usize) -> Self {
        let mut spans = Spans::none();
        spans.insert(0, len);
        spans
    }

    /// Takes `len` places; `None` if no free span is long enough.
    pub fn take(&mut self, len: usize) -> Option<Taken> {
        let &(free, start) = self.by_len.range((len, 0)..).next()?;
        self.by_len.remove(&(free, start));
        self.by_start.remove(&start);
        if free > len {
            self.insert(start + len, free - len);
        }
        let used = self.untouched.saturating_sub(start).min(len);
        self.untouched = self.untouched.max(start + len);
        Some(Taken { start, used })
    }

    /// Gives a span back that was taken.
    pub fn give(&mut self, mut start: usize, mut len: usize) {
        if let Some((&before, &free)) = self.by_start.range(..start).next_back()
            && before + free == start
        {
            self.remove(before, free);
            (start, len) = (before, free + len);
        }
        if let Some(&free) = self.by_start.get(&(start + len)) {
            self.remove(start + len, free);
            len += free;
        }
        self.insert(start, len);
    }

    fn insert(&mut self, start: usize, len: usize) {
        self.by_start.insert(start, len);
        self.by_len.insert((len, start));
    }

    fn remove(&mut self, start: usize, len: usize) {
        self.by_start.remove(&start);
        self.by_len.remove(&(len, start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_hole_is_taken_and_neighbours_join() {
        let mut spans = Spans::new(100);
        let starts = [10, 20, 5, 30].map(|len| spans.take(len).unwrap().start);
        assert_eq!(starts, [0, 10, 30, 35]);
        spans.give(10, 20);
        spans.give(30, 5);
        // Free: 10..35 and 65..100.
        assert_eq!(spans.take(24).unwrap(), Taken { start: 10, used: 24 });
        assert_eq!(spans.take(36), None);
        assert_eq!(spans.take(35).unwrap(), Taken { start: 65, used: 0 });
        spans.give(65, 35);
        spans.give(35, 30);
        // Some of it was taken before, some never.
        spans.give(10, 24);
        spans.give(0, 10);
        assert_eq!(spans.by_start, BTreeMap::from([(0, 100)]));
        assert_eq!(spans.by_len, BTreeSet::from([(100, 0)]));
    }

    #[test]
    fn what_was_never_taken_is_known() {
        let mut spans = Spans::new(100);
        spans.take(30).unwrap();
        spans.give(0, 30);
        assert_eq!(spans.take(50).unwrap(), Taken { start: 0, used: 30 });
    }

    #[test]
    fn random_spans_never_overlap() {
        let mut spans = Spans::new(1000);
        let mut live: Vec<(usize, usize)> = Vec::new();
        let mut owner = vec![false; 1000];
        let mut refused = 0;
        let mut stream = crate::rng::Stream(7);
        for _ in 0..20_000 {
            if stream.next_u64().is_multiple_of(2) && !live.is_empty() {
                let (start, len) = live.swap_remove(stream.next_u64() as usize % live.len());
                owner[start..start + len].fill(false);
                spans.give(start, len);
            } else {
                let len = 1 + stream.next_u64() as usize % 60;
                let Some(taken) = spans.take(len) else {
                    refused += 1;
                    continue;
                };
                let places = &mut owner[taken.start..taken.start + len];
                assert!(places.iter().all(|owned| !owned));
                places.fill(true);
                live.push((taken.start, len));
            }
            let free: usize = spans.by_start.values().sum();
            assert_eq!(free, owner.iter().filter(|owned| !**owned).count());
        }
        assert!(refused > 100, "{refused}: this test needs a full range");
    }
}

//! Places of batches, in order, in pieces.
//!
//! One vector that grows leaves a piece of memory of every size up to its own behind, and an allocator sets apart megabytes
//! for each such size: more than the places themselves.

/// Entries of a piece: 4 kB.
const PIECE: usize = 256;

/// A batch whose place is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its first row, over all files.
    pub row: u64,
    /// Where its message begins.
    pub at: u64,
}

/// Entries in the order of their rows.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// All pieces but the last are full.
    pieces: Vec<Vec<Entry>>,
}

impl Entries {
    pub fn len(&self) -> usize {
        let last = self.pieces.last().map_or(0, Vec::len);
        self.pieces.len().saturating_sub(1) * PIECE + last
    }

    pub fn push(&mut self, entry: Entry) {
        match self.pieces.last_mut().filter(|piece| piece.len() < PIECE) {
            Some(piece) => piece.push(entry),
            None => {
                // The first piece may stay the only one, with few entries, of one of many files.
                let room = if self.pieces.is_empty() { 4 } else { PIECE };
                let mut piece = Vec::with_capacity(room);
                piece.push(entry);
                self.pieces.push(piece);
            }
        }
    }

    pub fn get(&self, at: usize) -> Option<Entry> {
        self.pieces.get(at / PIECE)?.get(at % PIECE).copied()
    }

    /// The last entry whose row is not behind `row`.
    pub fn find(&self, row: u64) -> Option<usize> {
        let is_before = |entry: &Entry| entry.row <= row;
        let piece =
            self.pieces.partition_point(|piece| piece.first().is_some_and(is_before)).checked_sub(1)?;
        Some(piece * PIECE + self.pieces[piece].partition_point(is_before) - 1)
    }

    /// Leaves every second one out, from the second on.
    pub fn thin(&mut self) {
        let old = std::mem::take(self);
        old.pieces.into_iter().flatten().step_by(2).for_each(|entry| self.push(entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_row_and_thinned_to_every_second() {
        for count in [0, 1, 2, 255, 256, 257, 1000] {
            let mut entries = Entries::default();
            // Rows 0, 0, 3, 3, 6, ...: an empty batch before each.
            let entry = |at: usize| Entry { row: (at / 2 * 3) as u64, at: at as u64 };
            (0..count).for_each(|at| entries.push(entry(at)));
            let mut step = 1;
            while step < 8 {
                let kept: Vec<Entry> = (0..count).step_by(step).map(entry).collect();
                assert_eq!(entries.len(), kept.len());
                let found: Vec<Entry> = (0..=kept.len()).filter_map(|at| entries.get(at)).collect();
                assert_eq!(found, kept);
                for row in 0..count as u64 * 2 {
                    assert_eq!(entries.find(row), kept.iter().rposition(|entry| entry.row <= row), "{row}");
                }
                entries.thin();
                step *= 2;
            }
        }
    }
}

//! Which keys the queries of a packed batch see: where sequences lie, how heads share keys, and the mask.
//!
//! In every sequence **the last query stands at the last key**: with as many queries as keys that is the usual
//! alignment, with fewer (new tokens over a cache of past keys) the queries stand at the end.

use std::ops::Range;
use std::sync::Arc;

use crate::math::LANES;

/// Which keys of its own sequence a query sees. Distances are those of the alignment: key minus query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mask {
    /// Every key.
    Full,
    /// The key at its own place and those before it.
    Causal,
    /// Keys at most `left` before its own place and at most `right` behind it; `right: 0` is causal.
    Window {
        /// Keys seen before the query's own place.
        left: usize,
        /// Keys seen behind it.
        right: usize,
    },
    /// The pairs that are not 0: for each sequence its `[queries, keys]`, row-major, one sequence after the other.
    Pairs(Arc<[u8]>),
}

/// How queries, keys and values of a packed batch belong together.
///
/// # Shapes
/// - `q_offsets`, `k_offsets`: `[batch + 1]`, from 0 to the rows of queries, and of keys and values
/// - `k_lens`: `[batch]`
#[derive(Clone, Debug, PartialEq)]
pub struct AttendLayout {
    /// Where the queries of each sequence start, and the last ones end.
    pub q_offsets: Arc<[u32]>,
    /// Where the keys and values of each sequence start, and the last ones end.
    pub k_offsets: Arc<[u32]>,
    /// How many of its rows of keys a sequence uses, from its first one on, where that is not all of them: a cache with
    /// room for more. Rows that are not used are not read.
    pub k_lens: Option<Arc<[u32]>>,
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values, a divisor of `heads`: head `h` attends to `h / (heads / kv_heads)`.
    pub kv_heads: usize,
    /// What scores are multiplied with, above 0.
    pub scale: f32,
    /// The keys each query sees.
    pub mask: Mask,
    /// The column of distance 0 in a bias by distance, or in a table of rows by distance.
    pub zero: usize,
}

impl AttendLayout {
    /// Self-attention: keys are the tokens the queries come from, every head has its own, and scores are divided by the
    /// square root of `head_dim`.
    pub fn new(offsets: &Arc<[u32]>, heads: usize, head_dim: usize, mask: Mask) -> Self {
        Self {
            q_offsets: offsets.clone(),
            k_offsets: offsets.clone(),
            k_lens: None,
            heads,
            kv_heads: heads,
            scale: 1.0 / (head_dim as f32).sqrt(),
            mask,
            zero: 0,
        }
    }

    /// What is wrong with this layout for so many rows of queries and of keys.
    ///
    /// # Errors
    /// A sentence that says so.
    pub fn check(&self, q_tokens: usize, k_tokens: usize) -> Result<(), String> {
        for (what, offsets, tokens) in [("q", &self.q_offsets, q_tokens), ("k", &self.k_offsets, k_tokens)] {
            let ends =
                offsets.first() == Some(&0) && offsets.last().map(|&last| last as usize) == Some(tokens);
            if !ends || !offsets.is_sorted() {
                return Err(format!(
                    "{what}_offsets must rise from 0 to {tokens}, the rows there are, got {offsets:?}"
                ));
            }
        }
        let batch = self.q_offsets.len() - 1;
        if self.k_offsets.len() != batch + 1 {
            return Err(format!("{batch} sequences of queries, {} of keys", self.k_offsets.len() - 1));
        }
        if let Some(lens) = &self.k_lens {
            if lens.len() != batch {
                return Err(format!("{} numbers of keys for {batch} sequences", lens.len()));
            }
            for (at, (&len, room)) in lens.iter().zip(self.k_offsets.windows(2)).enumerate() {
                if len > room[1] - room[0] {
                    let room = room[1] - room[0];
                    return Err(format!("sequence {at} uses {len} keys and has room for {room}"));
                }
            }
        }
        if self.heads == 0 || self.kv_heads == 0 || !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!("{} heads cannot share {} heads of keys", self.heads, self.kv_heads));
        }
        if self.scale.is_nan() || self.scale <= 0.0 || self.scale.is_infinite() {
            return Err(format!("a scale of {}", self.scale));
        }
        if let Mask::Pairs(pairs) = &self.mask {
            let expected: usize = self.sequences().iter().map(|s| s.queries.len() * s.keys.len()).sum();
            if pairs.len() != expected {
                return Err(format!("{} pairs in the mask, expected {expected}", pairs.len()));
            }
        }
        Ok(())
    }

    /// Where the sequences lie. The layout has been checked.
    pub fn sequences(&self) -> Vec<Sequence> {
        let mut pairs = 0;
        let ranges = self.q_offsets.windows(2).zip(self.k_offsets.windows(2)).enumerate();
        let sequences = ranges.map(|(at, (q, k))| {
            let first = k[0] as usize;
            let last = self.k_lens.as_ref().map_or(k[1] as usize, |lens| first + lens[at] as usize);
            let sequence = Sequence { queries: q[0] as usize..q[1] as usize, keys: first..last, pairs };
            pairs += sequence.queries.len() * sequence.keys.len();
            sequence
        });
        sequences.collect()
    }

    /// Heads that share one head of keys.
    pub(crate) fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// The bytes of the mask for one query of `sequence`; empty where the mask is not a list of pairs.
    pub fn pairs(&self, sequence: &Sequence, query: usize) -> &[u8] {
        match &self.mask {
            Mask::Pairs(pairs) => {
                let keys = sequence.keys.len();
                &pairs[sequence.pairs + query * keys..][..keys]
            }
            _ => &[],
        }
    }

    /// The keys that query `query` of `sequence` may see, both counted from the start of the sequence. Of a list of
    /// pairs that is all of them.
    pub fn visible(&self, sequence: &Sequence, query: usize) -> Range<usize> {
        let keys = sequence.keys.len();
        let place = sequence.place(query);
        let (start, end) = match self.mask {
            Mask::Full | Mask::Pairs(_) => (0, keys as i64),
            Mask::Causal => (0, place + 1),
            Mask::Window { left, right } => (
                place.saturating_sub_unsigned(left as u64),
                place.saturating_add_unsigned((right as u64).saturating_add(1)),
            ),
        };
        let start = start.clamp(0, keys as i64);
        start as usize..end.clamp(start, keys as i64) as usize
    }

    /// The keys that some of `queries` see, from a whole number of lanes on.
    pub(crate) fn keys(&self, sequence: &Sequence, queries: Range<usize>) -> Range<usize> {
        if queries.is_empty() {
            return 0..0;
        }
        let (first, last) = (self.visible(sequence, queries.start), self.visible(sequence, queries.end - 1));
        let start = first.start / LANES * LANES;
        start..last.end.max(start)
    }
}

/// One sequence of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Its rows of queries.
    pub queries: Range<usize>,
    /// Its rows of keys and values.
    pub keys: Range<usize>,
    /// Where its pairs start in a mask of pairs.
    pub pairs: usize,
}

impl Sequence {
    /// The key at whose place a query stands, which may lie before the first one.
    pub fn place(&self, query: usize) -> i64 {
        query as i64 + self.keys.len() as i64 - self.queries.len() as i64
    }
}

/// The entry for a distance (key minus query) in a row or table of `span` entries, the outer ones for all beyond them.
#[inline(always)]
pub fn entry(distance: i64, zero: usize, span: usize) -> usize {
    (distance + zero as i64).clamp(0, span as i64 - 1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(mask: Mask) -> AttendLayout {
        AttendLayout {
            q_offsets: [0, 2, 5].into(),
            k_offsets: [0, 5, 9].into(),
            k_lens: Some([4, 2].into()),
            ..AttendLayout::new(&[0].into(), 2, 4, mask)
        }
    }

    #[test]
    fn the_last_query_stands_at_the_last_key() {
        let seen = |mask: Mask| -> Vec<Vec<Range<usize>>> {
            let layout = layout(mask);
            let of = |s: &Sequence| (0..s.queries.len()).map(|query| layout.visible(s, query)).collect();
            layout.sequences().iter().map(of).collect()
        };
        assert_eq!(seen(Mask::Full), [vec![0..4; 2], vec![0..2; 3]]);
        assert_eq!(seen(Mask::Causal), [vec![0..3, 0..4], vec![0..0, 0..1, 0..2]]);
        let window = Mask::Window { left: 1, right: 0 };
        assert_eq!(seen(window), [vec![1..3, 2..4], vec![0..0, 0..1, 0..2]]);
        let window = Mask::Window { left: 0, right: usize::MAX };
        assert_eq!(seen(window), [vec![2..4, 3..4], vec![0..2, 0..2, 1..2]]);
    }

    #[test]
    fn distances_beyond_the_ends_take_the_outer_entries() {
        let entries: Vec<usize> = (-4..=4).map(|distance| entry(distance, 2, 4)).collect();
        assert_eq!(entries, [0, 0, 0, 1, 2, 3, 3, 3, 3]);
    }

    #[test]
    fn a_layout_that_does_not_fit_is_described() {
        let good = layout(Mask::Pairs(vec![1; 2 * 4 + 3 * 2].into()));
        good.check(5, 9).unwrap();
        let says = |layout: AttendLayout, words: &str| {
            let error = layout.check(5, 9).unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        says(AttendLayout { q_offsets: [0, 2, 4].into(), ..good.clone() }, "q_offsets must rise from 0 to 5");
        says(AttendLayout { k_offsets: [0, 6, 5, 9].into(), ..good.clone() }, "k_offsets must rise");
        says(AttendLayout { k_offsets: [0, 9].into(), ..good.clone() }, "2 sequences of queries, 1 of keys");
        says(AttendLayout { k_lens: Some([4].into()), ..good.clone() }, "1 numbers of keys for 2");
        says(AttendLayout { k_lens: Some([4, 5].into()), ..good.clone() }, "sequence 1 uses 5 keys");
        says(AttendLayout { kv_heads: 3, ..good.clone() }, "2 heads cannot share 3");
        says(AttendLayout { scale: f32::NAN, ..good.clone() }, "a scale of NaN");
        says(AttendLayout { mask: Mask::Pairs([1].into()), ..good }, "1 pairs in the mask, expected 14");
    }
}

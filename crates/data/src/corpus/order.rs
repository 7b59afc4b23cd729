//! Random orders that take no memory: the row at any place of them is computed.
//!
//! A permutation of a billion rows would be 8 GB of numbers. A cipher is a permutation that is a function: [`Permutation`]
//! enciphers row numbers with a Feistel network over as many bits as the largest one has, and again while the result is none.
//!
//! Paper: Black and Rogaway 2002, "Ciphers with arbitrary finite domains", §3 (cycle walking),
//! <https://doi.org/10.1007/3-540-45760-7_9>. Differs from the paper in that the halves may differ by a bit, as in the
//! alternating networks of its §2, and that the rounds mix instead of enciphering: an order has to look random, not to be
//! secret.

use std::ops::Range;

use topwork_kernels::rng::{Stream, derive, row_key};

use crate::{Error, Result};

/// Rounds of the network. Four make it random to who sees few of its values (Luby and Rackoff 1988); few bits need more.
const ROUNDS: usize = 8;

/// A permutation of the numbers below a length, fixed by a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permutation {
    len: u64,
    /// Bits of the upper and of the lower half.
    upper: u32,
    lower: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// The permutation of `0..len` that belongs to a seed.
    pub fn new(len: u64, seed: u64) -> Self {
        // Bits of the largest number, so that less than every second one is none of ours.
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        let upper = bits / 2;
        let mut stream = Stream(seed);
        Self { len, upper, lower: bits - upper, keys: std::array::from_fn(|_| stream.next_u64()) }
    }

    /// How many numbers are permuted.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where a number goes; `None` from the length on.
    pub fn get(&self, index: u64) -> Option<u64> {
        self.walk(index, |value| {
            (0..ROUNDS).fold(value, |(upper, lower), round| self.round(upper, lower, round))
        })
    }

    /// The number that goes to `value`; `None` from the length on.
    pub fn inverse(&self, value: u64) -> Option<u64> {
        // Each round is its own inverse.
        self.walk(value, |value| {
            (0..ROUNDS).rev().fold(value, |(upper, lower), round| self.round(upper, lower, round))
        })
    }

    /// Goes round the cycle of a number over all bits until it is below the length, which it was at the beginning.
    fn walk(&self, from: u64, step: impl Fn((u64, u64)) -> (u64, u64)) -> Option<u64> {
        if from >= self.len {
            return None;
        }
        let mut value = from;
        loop {
            let (upper, lower) = step((value >> self.lower, value & ones(self.lower)));
            value = (upper << self.lower) | lower;
            if value < self.len {
                return Some(value);
            }
        }
    }

    /// One half changes by what the other one is.
    fn round(&self, upper: u64, lower: u64, round: usize) -> (u64, u64) {
        // No half has more than 32 bits.
        if round.is_multiple_of(2) {
            (upper ^ (u64::from(row_key(self.keys[round], lower)) & ones(self.upper)), lower)
        } else {
            (upper, lower ^ (u64::from(row_key(self.keys[round], upper)) & ones(self.lower)))
        }
    }
}

fn ones(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// How rows are shuffled in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InBlocks {
    /// Rows of a block: neighbours, which are read together.
    pub rows: u64,
    /// Blocks among whose rows the order is random.
    pub window: u64,
}

impl InBlocks {
    /// Blocks of so many rows, eight of which are mixed.
    pub fn of(rows: u64) -> Self {
        Self { rows, window: 8 }
    }
}

/// A random order of rows, a function of a seed and an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    len: u64,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Rows(Permutation),
    Blocks(Blocks),
}

/// Blocks in a random order, then windows of it whose rows are in a random order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Blocks {
    /// Rows of a block; the last block of the rows may have fewer.
    rows: u64,
    /// Rows of a window of whole blocks.
    window: u64,
    order: Permutation,
    /// Rows of the last block, and where it comes in the order.
    short: u64,
    short_at: u64,
    seed: u64,
}

impl Order {
    /// Rows in a random order: any of the orders as likely as another, as far as one can see.
    ///
    /// From a disk each row is a reading at another place, from a solid-state disk some ten thousand of them a second, one after
    /// the other; where that is too slow, see [`Order::shuffled_in_blocks`].
    pub fn shuffled(len: u64, seed: u64, epoch: u64) -> Self {
        let seed = derive(seed, &format!("rows/epoch {epoch}"));
        Self { len, kind: Kind::Rows(Permutation::new(len, seed)) }
    }

    /// Blocks of neighbouring rows in a random order, and the rows of some blocks at a time in a random order.
    ///
    /// This reads a disk in runs of a block, at its full speed. What is given up: a row comes within a window of the rows beside
    /// it in the file, so where neighbours are alike (files sorted by class, sentences of one document) batches are alike too. A
    /// file in such an order wants smaller blocks, a larger window, or to be shuffled once.
    ///
    /// # Errors
    /// [`Error::Setting`] if a block has no rows, a window no blocks, or a window more rows than can be counted.
    pub fn shuffled_in_blocks(len: u64, blocks: InBlocks, seed: u64, epoch: u64) -> Result<Self> {
        let window = blocks.rows.checked_mul(blocks.window).filter(|&rows| rows > 0);
        let Some(window) = window else {
            return Err(Error::Setting {
                what: "blocks to shuffle in",
                expected: "at least 1 row in a block and 1 block in a window".into(),
                got: format!("{} and {}", blocks.rows, blocks.window),
            });
        };
        let seed = derive(seed, &format!("blocks/epoch {epoch}"));
        let count = len.div_ceil(blocks.rows);
        let order = Permutation::new(count, derive(seed, "order"));
        let last = count.saturating_sub(1);
        let short_at = order.inverse(last).unwrap_or(0);
        let short = len - last * blocks.rows;
        let seed = derive(seed, "windows");
        let blocks = Blocks { rows: blocks.rows, window, order, short, short_at, seed };
        Ok(Self { len, kind: Kind::Blocks(blocks) })
    }

    /// How many rows are ordered.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The row at a place of the order; `None` behind its end.
    pub fn get(&self, at: u64) -> Option<u64> {
        match &self.kind {
            Kind::Rows(permutation) => permutation.get(at),
            Kind::Blocks(blocks) => {
                let window = at / blocks.window;
                let from = window * blocks.window;
                let rows = blocks.window.min(self.len.checked_sub(from)?);
                let mixed = Permutation::new(rows, Stream(blocks.seed.wrapping_add(window)).next_u64());
                blocks.row(from + mixed.get(at - from)?)
            }
        }
    }

    /// The number of the window that a place is in; `None` if the rows are in no windows.
    pub fn window(&self, at: u64) -> Option<u64> {
        match &self.kind {
            Kind::Rows(_) => None,
            Kind::Blocks(blocks) => Some(at / blocks.window),
        }
    }

    /// The rows of a window, in runs of neighbours.
    pub fn rows(&self, window: u64) -> Vec<Range<u64>> {
        let Kind::Blocks(blocks) = &self.kind else { return Vec::new() };
        let mut runs = Vec::new();
        let mut at = window.saturating_mul(blocks.window);
        let end = at.saturating_add(blocks.window).min(self.len);
        while at < end {
            let (slot, skipped) = blocks.slot(at);
            let Some(block) = blocks.order.get(slot) else { break };
            let rows = if slot == blocks.short_at { blocks.short } else { blocks.rows };
            let more = (rows - skipped).min(end - at);
            let from = block * blocks.rows + skipped;
            runs.push(from..from + more);
            at += more;
        }
        runs
    }
}

impl Blocks {
    /// The block that a place before mixing is in, by its number in the order, and the rows of it before that place.
    fn slot(&self, at: u64) -> (u64, u64) {
        let before = self.short_at * self.rows;
        if at < before {
            (at / self.rows, at % self.rows)
        } else if at < before + self.short {
            (self.short_at, at - before)
        } else {
            let behind = at - before - self.short;
            (self.short_at + 1 + behind / self.rows, behind % self.rows)
        }
    }

    fn row(&self, at: u64) -> Option<u64> {
        let (slot, skipped) = self.slot(at);
        Some(self.order.get(slot)? * self.rows + skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whether every number below `len` is there once.
    fn is_permutation(mut numbers: Vec<u64>, len: u64) -> bool {
        numbers.sort_unstable();
        numbers == (0..len).collect::<Vec<_>>()
    }

    #[test]
    fn what_repeats_or_lacks_a_number_is_no_permutation() {
        assert!(is_permutation(vec![2, 0, 1], 3));
        for bad in [vec![0, 1], vec![0, 1, 1], vec![0, 1, 3], vec![0, 1, 2, 3]] {
            assert!(!is_permutation(bad, 3));
        }
    }

    proptest! {
        #[test]
        fn every_row_comes_once_in_any_order(
            len in 0u64..3000,
            rows in 1u64..200,
            window in 1u64..9,
            seed: u64,
            epoch in 0u64..3,
        ) {
            let plain = Order::shuffled(len, seed, epoch);
            let blocks = Order::shuffled_in_blocks(len, InBlocks { rows, window }, seed, epoch).unwrap();
            for order in [&plain, &blocks] {
                let numbers: Vec<u64> = (0..len).map(|at| order.get(at).unwrap()).collect();
                prop_assert!(is_permutation(numbers, len));
                prop_assert_eq!((order.get(len), order.get(u64::MAX), order.len()), (None, None, len));
            }
            prop_assert_eq!(plain.window(0), None);
            for at in 0..len {
                let window = blocks.rows(blocks.window(at).unwrap());
                let row = blocks.get(at).unwrap();
                prop_assert!(window.iter().any(|run| run.contains(&row)), "{row} in {window:?}");
            }
        }

        #[test]
        fn a_permutation_of_any_length_goes_back(len in 1u64.., seed: u64, index: u64) {
            let permutation = Permutation::new(len, seed);
            let index = index % len;
            let value = permutation.get(index).unwrap();
            prop_assert!(value < len);
            prop_assert_eq!(permutation.inverse(value), Some(index));
            prop_assert_eq!((permutation.get(len), permutation.inverse(len)), (None, None));
        }
    }

    #[test]
    fn all_small_lengths_are_permuted() {
        let mut seen = 0;
        for len in 0..130 {
            for seed in 0..20 {
                let permutation = Permutation::new(len, seed);
                assert!(
                    is_permutation((0..len).map(|at| permutation.get(at).unwrap()).collect(), len),
                    "{len}"
                );
                seen += 1;
            }
        }
        assert_eq!(seen, 2600);
    }

    /// Every number goes to every place about as often: the squared deviations, over what is expected, are near their number.
    #[test]
    fn places_are_as_good_as_drawn() {
        const SEEDS: u64 = 4000;
        let mut seen = 0;
        for len in [2_u64, 3, 5, 8, 10, 33] {
            let mut counts = vec![0_u64; (len * len) as usize];
            for seed in 0..SEEDS {
                let order = Order::shuffled(len, seed, 0);
                for at in 0..len {
                    counts[(at * len + order.get(at).unwrap()) as usize] += 1;
                }
            }
            let expected = SEEDS as f64 / len as f64;
            let chi: f64 = counts.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum();
            // Each place alone has len - 1 degrees of freedom; together they spread as if they were one less.
            let (mean, spread) = ((len * (len - 1)) as f64, 2_f64.sqrt() * len as f64);
            assert!(chi < mean + 6.0 * spread + 10.0, "{len}: {chi} where {mean} is expected");
            seen += 1;
        }
        assert_eq!(seen, 6);
    }

    /// Of three things there are six orders, and each comes as often as the others.
    #[test]
    fn every_order_of_three_comes() {
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..6000 {
            let order = Order::shuffled(3, seed, 0);
            let order: Vec<u64> = (0..3).map(|at| order.get(at).unwrap()).collect();
            *counts.entry(order).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|&count| (800..1200).contains(&count)), "{counts:?}");
    }

    /// Neighbours in a random order are neighbours in the file as rarely as chance has it.
    #[test]
    fn neighbours_are_torn_apart() {
        let len = 100_000;
        let near = |order: &Order, within: u64| {
            let rows: Vec<u64> = (0..len).map(|at| order.get(at).unwrap()).collect();
            rows.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < within).count()
        };
        // Twice 1,000 in 100,000, with a standard deviation of 45.
        let found = near(&Order::shuffled(len, 3, 0), 1000);
        assert!((1700..2300).contains(&found), "{found}");
        // In blocks of 1,000, eight at a time, every eighth neighbour is of the same block.
        let blocks = Order::shuffled_in_blocks(len, InBlocks::of(1000), 3, 0).unwrap();
        let found = near(&blocks, 1000);
        assert!((11_000..18_000).contains(&found), "{found}");
    }

    #[test]
    fn seeds_and_epochs_differ_and_the_same_ones_do_not() {
        let rows = |order: Order| (0..order.len()).map(|at| order.get(at).unwrap()).collect::<Vec<_>>();
        let blocks =
            |seed, epoch| rows(Order::shuffled_in_blocks(500, InBlocks::of(7), seed, epoch).unwrap());
        let plain = |seed, epoch| rows(Order::shuffled(500, seed, epoch));
        let all = [plain(1, 0), plain(1, 1), plain(2, 0), blocks(1, 0), blocks(1, 1), blocks(2, 0)];
        for (at, one) in all.iter().enumerate() {
            assert_eq!(all.iter().filter(|other| *other == one).count(), 1, "{at}");
        }
        assert_eq!((&all[0], &all[3]), (&plain(1, 0), &blocks(1, 0)));
    }

    #[test]
    fn blocks_of_nothing_are_refused() {
        for (rows, window) in [(0, 8), (8, 0), (u64::MAX, 2)] {
            assert!(Order::shuffled_in_blocks(10, InBlocks { rows, window }, 0, 0).is_err());
        }
        assert!(Order::shuffled_in_blocks(10, InBlocks { rows: u64::MAX, window: 1 }, 0, 0).is_ok());
    }
}

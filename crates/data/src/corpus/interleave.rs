//! Several sources in turn, each as often as its weight says.

use std::ops::Range;

use topwork_kernels::rng::{Stream, derive};

use super::rows::{Rows, beyond};
use crate::{Error, Result};

/// Rows of a round, in which each source has its share: weights count to a 256th.
const ROUND: u64 = 256;

/// Where sources that are interleaved end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Before the first row that is not there: no row comes twice, some of other sources do not come.
    First,
    /// When each row has come: sources that are at their end begin again.
    All,
}

/// Rows of several sources in turn, a function of a seed: in every 256 rows each source has its share, in a random order. The rows
/// of a source keep their order.
#[derive(Clone, Debug)]
pub struct Interleaved<S> {
    sources: Vec<S>,
    /// Rows of each source in a round.
    shares: Vec<u64>,
    /// The number of the source, as often as its share.
    round: Vec<u16>,
    seed: u64,
    rows: u64,
}

impl<S: Rows> Interleaved<S> {
    /// Sources with their weights, which need not sum to one.
    ///
    /// # Errors
    /// [`Error::Setting`] if there are none, more than 256 or another number of weights; if a weight is no number above 0, or less
    /// than about a 256th of all; if a source has no rows; if there are more rows than can be counted.
    pub fn new(sources: Vec<S>, weights: &[f64], seed: u64, ending: Ending) -> Result<Self> {
        let wrong =
            |what, expected: &str, got: String| Err(Error::Setting { what, expected: expected.into(), got });
        if sources.is_empty() || sources.len() as u64 > ROUND || sources.len() != weights.len() {
            let got = format!("{} sources and {} weights", sources.len(), weights.len());
            return wrong("interleaving", "1 to 256 sources and a weight for each", got);
        }
        if let Some(bad) = weights.iter().find(|weight| !(weight.is_finite() && **weight > 0.0)) {
            return wrong("weight of a source", "a number above 0", bad.to_string());
        }
        if let Some(empty) = sources.iter().position(Rows::is_empty) {
            return wrong("rows of a source", "at least 1", format!("0 in source {}", empty + 1));
        }
        let shares = shares(weights);
        if let Some(small) = shares.iter().position(|share| *share == 0) {
            let got = format!("{} for source {}", weights[small], small + 1);
            return wrong("weight of a source", "at least about a 256th of all weights", got);
        }
        let numbered = (0u16..).zip(&shares);
        let round =
            numbered.flat_map(|(source, share)| std::iter::repeat_n(source, *share as usize)).collect();
        let seed = derive(seed, "interleaved");
        let mut interleaved = Self { sources, shares, round, seed, rows: 0 };
        let counted = (0..interleaved.sources.len()).map(|source| {
            let len = interleaved.sources[source].len();
            match ending {
                Ending::First => interleaved.place(source, len),
                Ending::All => interleaved.place(source, len - 1)?.checked_add(1),
            }
        });
        // A source that ends behind what can be counted does not end first.
        let rows = match ending {
            Ending::First => counted.flatten().min(),
            Ending::All => counted.collect::<Option<Vec<u64>>>().and_then(|ends| ends.into_iter().max()),
        };
        match rows {
            Some(rows) => interleaved.rows = rows,
            None => return wrong("rows of all sources", "fewer than 2^64", "more".into()),
        }
        Ok(interleaved)
    }

    /// Which source is when in turn in a round.
    fn turns(&self, round: u64) -> [u16; ROUND as usize] {
        let mut turns = [0; ROUND as usize];
        turns.copy_from_slice(&self.round);
        Stream(Stream(self.seed.wrapping_add(round)).next_u64()).shuffle(&mut turns);
        turns
    }

    /// The place at which a row of a source comes for the first time; `None` if that cannot be counted.
    fn place(&self, source: usize, row: u64) -> Option<u64> {
        let (round, left) = (row / self.shares[source], row % self.shares[source]);
        let from = round.checked_mul(ROUND)?;
        let turns = self.turns(round);
        let mut of_source = turns.iter().enumerate().filter(|(_, turn)| usize::from(**turn) == source);
        let (at, _) = of_source.nth(left as usize)?;
        from.checked_add(at as u64)
    }

    /// How many rows of a source come before a place.
    fn before(&self, source: usize, at: u64) -> u64 {
        let turns = self.turns(at / ROUND);
        let begun =
            turns[..(at % ROUND) as usize].iter().filter(|turn| usize::from(**turn) == source).count();
        at / ROUND * self.shares[source] + begun as u64
    }

    /// The source at a place and the row of it.
    fn find(&self, at: u64) -> (usize, u64) {
        let source = usize::from(self.turns(at / ROUND)[(at % ROUND) as usize]);
        (source, self.before(source, at) % self.sources[source].len())
    }
}

/// Shares of a round by the largest remainder: they sum to the round, and none is off by more than one.
fn shares(weights: &[f64]) -> Vec<u64> {
    let most = weights.iter().copied().fold(0.0, f64::max);
    // Scaled first, so that the sum is a number.
    let sum: f64 = weights.iter().map(|weight| weight / most).sum();
    let exact: Vec<f64> = weights.iter().map(|weight| weight / most / sum * ROUND as f64).collect();
    let mut shares: Vec<u64> = exact.iter().map(|share| share.floor() as u64).collect();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    let missing = ROUND.saturating_sub(shares.iter().sum());
    order.iter().cycle().take(missing as usize).for_each(|&source| shares[source] += 1);
    shares
}

impl<S: Rows> Rows for Interleaved<S> {
    type Row = S::Row;

    fn len(&self) -> u64 {
        self.rows
    }

    fn get(&self, row: u64) -> Result<S::Row> {
        if row >= self.rows {
            return Err(beyond(row, self.rows));
        }
        let (source, row) = self.find(row);
        self.sources[source].get(row)
    }

    fn ready(&self, near: &[Range<u64>]) -> Result<()> {
        for (at, source) in self.sources.iter().enumerate() {
            let rows = |run: &Range<u64>| {
                let (from, to) = (self.before(at, run.start), self.before(at, run.end.min(self.rows)));
                // Of a source that begins again, from where it is then.
                let begin = from % source.len();
                (from < to).then(|| begin..(begin + (to - from)).min(source.len()))
            };
            let runs: Vec<Range<u64>> = near.iter().filter_map(rows).collect();
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
mod tests {
    use super::super::rows::tests::{Numbers, all};
    use super::*;
    use proptest::prelude::*;

    type Source = Box<dyn Rows<Row = (usize, u64)>>;

    /// Sources of so many rows, each of which says where it comes from.
    fn sources(lens: &[u64]) -> Vec<Source> {
        let source = |(at, len): (usize, &u64)| -> Source {
            Box::new(Numbers::new(*len).map(move |row| Ok((at, row))))
        };
        lens.iter().enumerate().map(source).collect()
    }

    fn rows(lens: &[u64], weights: &[f64], seed: u64, ending: Ending) -> Vec<(usize, u64)> {
        all(&Interleaved::new(sources(lens), weights, seed, ending).unwrap(), 0)
    }

    proptest! {
        #[test]
        fn sources_keep_their_order_and_end_where_they_should(
            lens in prop::collection::vec(1u64..600, 1..5),
            weights in prop::collection::vec(0.5..5.0, 5),
            seed: u64,
        ) {
            for ending in [Ending::First, Ending::All] {
                let found = rows(&lens, &weights[..lens.len()], seed, ending);
                let mut next = vec![0; lens.len()];
                for (source, row) in &found {
                    prop_assert_eq!(*row, next[*source] % lens[*source]);
                    next[*source] += 1;
                }
                match ending {
                    // One more row would be of the source that is at its end.
                    Ending::First => {
                        prop_assert!(next.iter().zip(&lens).all(|(rows, len)| rows <= len));
                        prop_assert!(next.iter().zip(&lens).any(|(rows, len)| rows == len));
                    }
                    // The last row is the last one of a source that is seen for the first time.
                    Ending::All => {
                        prop_assert!(next.iter().zip(&lens).all(|(rows, len)| rows >= len));
                        let (source, row) = found[found.len() - 1];
                        prop_assert_eq!((row + 1, next[source]), (lens[source], lens[source]));
                    }
                }
                prop_assert_eq!(&found, &rows(&lens, &weights[..lens.len()], seed, ending));
            }
        }
    }

    #[test]
    fn every_round_has_the_shares_of_the_weights() {
        assert_eq!(shares(&[1.0, 1.0]), [128, 128]);
        assert_eq!(shares(&[3.0, 1.0]), [192, 64]);
        assert_eq!(shares(&[1.0, 1.0, 1.0]).iter().sum::<u64>(), 256);
        assert_eq!(shares(&[f64::MAX, f64::MAX]), [128, 128]);
        let found = rows(&[2000, 2000], &[0.7, 0.3], 1, Ending::First);
        for round in found[..2560].chunks(256) {
            assert_eq!(round.iter().filter(|(source, _)| *source == 0).count(), 179);
        }
        let turns = |seed| rows(&[500, 500], &[1.0, 1.0], seed, Ending::First);
        assert_ne!(turns(1), turns(2));
        let order = |from: usize| turns(1)[from..from + 256].iter().map(|row| row.0).collect::<Vec<_>>();
        assert_ne!(order(0), order(256));
    }

    #[test]
    fn each_source_is_told_its_own_rows() {
        let told = Numbers::new(1000);
        let both = Interleaved::new(vec![&told, &told], &[1.0, 1.0], 1, Ending::First).unwrap();
        both.ready(&[256..512, 512..513]).unwrap();
        let all = told.told.lock().unwrap();
        assert_eq!(all.len(), 2);
        // The one row of the next round is of one of them.
        assert!(all.iter().all(|runs| runs[0] == (128..256)) && all[0].len() + all[1].len() == 3, "{all:?}");
    }

    #[test]
    fn what_cannot_be_interleaved_is_refused() {
        let refused = |lens: &[u64], weights: &[f64]| {
            Interleaved::new(sources(lens), weights, 0, Ending::All)
                .map(|rows| rows.len())
                .unwrap_err()
                .to_string()
        };
        assert!(refused(&[], &[]).contains("0 sources"));
        assert!(refused(&[1, 2], &[1.0]).contains("2 sources and 1 weights"));
        assert!(refused(&[1, 2], &[1.0, f64::NAN]).contains("above 0, got NaN"));
        assert!(refused(&[1, 2], &[1.0, 0.0]).contains("above 0"));
        assert!(refused(&[1, 0], &[1.0, 1.0]).contains("0 in source 2"));
        assert!(refused(&[1, 2], &[1.0, 0.0001]).contains("a 256th"));
        assert!(refused(&[1, u64::MAX], &[1.0, 1.0]).contains("2^64"));
        let short = Interleaved::new(sources(&[1, u64::MAX]), &[1.0, 1.0], 0, Ending::First).unwrap();
        assert!(short.len() < 256, "{}", short.len());
    }
}

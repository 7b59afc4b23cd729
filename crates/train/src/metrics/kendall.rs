//! How many pairs of examples predictions put in the order of the targets, less those they put the other way round.
//!
//! Paper: Kendall 1945 (tau-b, for ties), <https://doi.org/10.1093/biomet/33.3.239>; counted in the time of a sort as Knight
//! 1966 does, <https://doi.org/10.1080/01621459.1966.10480879>.

use super::{Compute, MetricSpec, Outcome, Scope, Task, Undefined};

/// The entry in the list.
pub(super) const SPEC: MetricSpec = MetricSpec {
    name: "kendall",
    summary: "pairs that predictions put in the order of the targets, less those the other way round (tau-b)",
    link: "https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.kendalltau.html",
    higher_is_better: true,
    tasks: &[Task::Scores],
    scope: Scope::Whole,
    compute: Compute::Scores(of),
};

fn of(outcome: &Outcome, counts: &[u32]) -> Result<f64, Undefined> {
    let (truth, predicted) = outcome.pairs();
    let (ranks, different) = ranks(truth, outcome.order(1));
    let mut below = Counts(vec![0; different + 1]);
    let count = |row: u32| i128::from(counts[row as usize]);
    let pairs = |n: i128| n * (n - 1) / 2;
    let (mut seen, mut agreed, mut tied) = (0, 0, 0);
    let order = outcome.order(0);
    let mut rest = order;
    while let Some(&first) = rest.first() {
        let value = predicted[first as usize];
        let length = rest.iter().take_while(|&&row| predicted[row as usize] == value).count();
        let (equals, others) = rest.split_at(length);
        for &row in equals {
            let rank = ranks[row as usize];
            let lower = below.sum(rank);
            let higher = seen - below.sum(rank + 1);
            agreed += count(row) * (lower - higher);
        }
        let mut drawn = 0;
        for &row in equals {
            below.add(ranks[row as usize], count(row));
            drawn += count(row);
        }
        (seen, tied, rest) = (seen + drawn, tied + pairs(drawn), others);
    }
    let tied_truth: i128 = (0..different).map(|rank| pairs(below.sum(rank + 1) - below.sum(rank))).sum();
    let (predicted, truth) = (pairs(seen) - tied, pairs(seen) - tied_truth);
    if predicted == 0 || truth == 0 {
        return Err(Undefined("all targets or all predictions are the same"));
    }
    Ok((agreed as f64 / (predicted as f64).sqrt() / (truth as f64).sqrt()).clamp(-1.0, 1.0))
}

/// Which of the different values each is, and how many there are, given the values' rising order.
fn ranks(values: &[f64], order: &[u32]) -> (Vec<usize>, usize) {
    let mut ranks = vec![0; values.len()];
    let mut different = 0;
    for (at, &row) in order.iter().enumerate() {
        different += usize::from(at == 0 || values[order[at - 1] as usize] != values[row as usize]);
        ranks[row as usize] = different - 1;
    }
    (ranks, different)
}

/// Counts by rank whose sums over lower ranks are found in few steps.
///
/// Paper: Fenwick 1994, <https://doi.org/10.1002/spe.4380240306>.
struct Counts(Vec<i128>);

impl Counts {
    fn add(&mut self, rank: usize, count: i128) {
        let mut at = rank + 1;
        while at < self.0.len() {
            self.0[at] += count;
            at += at & at.wrapping_neg();
        }
    }

    /// Of all ranks below `rank`.
    fn sum(&self, rank: usize) -> i128 {
        let (mut at, mut sum) = (rank, 0);
        while at > 0 {
            sum += self.0[at];
            at -= at & at.wrapping_neg();
        }
        sum
    }
}

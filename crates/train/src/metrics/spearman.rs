//! Correlation of the ranks of predictions and targets, equal values sharing their mean rank.

use super::pearson::correlation;
use super::{Compute, MetricSpec, Scope, Task};

/// The entry in the list.
pub(super) const SPEC: MetricSpec = MetricSpec {
    name: "spearman",
    summary: "correlation of the ranks of predictions and targets",
    link: "https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.spearmanr.html",
    higher_is_better: true,
    tasks: &[Task::Scores],
    scope: Scope::Whole,
    compute: Compute::Scores(|outcome, counts| {
        let (truth, predicted) = outcome.pairs();
        let predicted = ranks(predicted, outcome.order(0), counts);
        correlation(&ranks(truth, outcome.order(1), counts), &predicted, counts)
    }),
};

/// Mean rank of each value among all drawn ones, given the values' rising order.
fn ranks(values: &[f64], order: &[u32], counts: &[u32]) -> Vec<f64> {
    let mut ranks = vec![0.0; values.len()];
    let (mut below, mut start) = (0u64, 0);
    while start < order.len() {
        let value = values[order[start] as usize];
        let length = order[start..].iter().take_while(|&&i| values[i as usize] == value).count();
        let tied = &order[start..start + length];
        let drawn: u64 = tied.iter().map(|&i| u64::from(counts[i as usize])).sum();
        let rank = below as f64 + (drawn as f64 + 1.0) / 2.0;
        tied.iter().for_each(|&i| ranks[i as usize] = rank);
        below += drawn;
        start += length;
    }
    ranks
}

//! The share of labels that are wrong.

use super::average::ratio;
use super::{Compute, MetricSpec, Scope, Task};

/// The entry in the list.
pub(super) const SPEC: MetricSpec = MetricSpec {
    name: "hamming-loss",
    summary: "share of labels that are wrong, over all examples and labels",
    link: "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.hamming_loss.html",
    higher_is_better: false,
    tasks: &[Task::MultiLabel],
    scope: Scope::Whole,
    compute: Compute::Counts(|tally, _| {
        let answers = tally.examples * tally.actual.len() as u64;
        Ok(ratio(answers - tally.cells, answers))
    }),
};

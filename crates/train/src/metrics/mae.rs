//! The mean absolute difference of predictions and targets.

use super::{Compute, MetricSpec, Scope, Task};

/// The entry in the list.
pub(super) const SPEC: MetricSpec = MetricSpec {
    name: "mae",
    summary: "mean absolute difference of predictions and targets",
    link: "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.mean_absolute_error.html",
    higher_is_better: false,
    tasks: &[Task::Scores],
    scope: Scope::Whole,
    compute: Compute::Scores(|outcome, counts| {
        let (truth, predicted) = outcome.pairs();
        let pairs = truth.iter().zip(predicted).zip(counts);
        let sum: f64 = pairs.map(|((t, p), &count)| f64::from(count) * (t - p).abs()).sum();
        Ok(sum / counts.iter().map(|&c| f64::from(c)).sum::<f64>())
    }),
};

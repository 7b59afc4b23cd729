//! The share of right answers, each class as important as each other.
//!
//! Paper: Brodersen et al. 2010, <https://doi.org/10.1109/ICPR.2010.764>.

use super::{Compute, MetricSpec, Scope, Task, recall};

/// The entry in the list.
pub(super) const SPEC: MetricSpec = MetricSpec {
    name: "balanced-accuracy",
    summary: "recall of each class that is true of some example, averaged",
    link: "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.balanced_accuracy_score.html",
    higher_is_better: true,
    tasks: &[Task::Classes],
    scope: Scope::Whole,
    compute: Compute::Counts(|tally, _| {
        let there = (0..tally.actual.len()).filter(|&class| tally.actual[class] > 0);
        let (sum, count) =
            there.fold((0.0, 0u64), |(sum, n), class| (sum + recall::of_label(tally, class), n + 1));
        Ok(if count == 0 { 0.0 } else { sum / count as f64 })
    }),
};

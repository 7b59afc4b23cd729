//! The share of right answers.

use super::average::ratio;
use super::{Compute, MetricSpec, Scope, Task};

/// The entry in the list.
pub(super) const SPEC: MetricSpec = MetricSpec {
    name: "accuracy",
    summary: "share of right answers",
    link: "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.accuracy_score.html",
    higher_is_better: true,
    tasks: &[Task::Classes, Task::Choices],
    scope: Scope::Whole,
    compute: Compute::Counts(|tally, _| Ok(ratio(tally.exact, tally.examples))),
};

//! The share of examples whose labels are all right, none missing and none too many.

use super::average::ratio;
use super::{Compute, MetricSpec, Scope, Task};

/// The entry in the list.
pub(super) const SPEC: MetricSpec = MetricSpec {
    name: "subset-accuracy",
    summary: "share of examples whose labels are all right, none missing and none too many",
    link: "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.accuracy_score.html",
    higher_is_better: true,
    tasks: &[Task::MultiLabel],
    scope: Scope::Whole,
    compute: Compute::Counts(|tally, _| Ok(ratio(tally.exact, tally.examples))),
};

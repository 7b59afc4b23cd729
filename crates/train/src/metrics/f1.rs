//! The harmonic mean of precision and recall. 0 for a label neither predicted nor true (`zero_division=0` of scikit-learn).
//!
//! Paper: Chinchor 1992, MUC-4 evaluation metrics, <https://aclanthology.org/M92-1002/>.

use super::average::{macro_mean, ratio, weighted_mean};
use super::{Compute, MetricSpec, Scope, Tally, Task};

const LINK: &str = "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.f1_score.html";

/// Of one class: the positive one of two, or the one named after a colon.
pub(super) const ONE: MetricSpec = MetricSpec {
    name: "f1",
    summary: "harmonic mean of precision and recall of the class (the positive one, or f1:CLASS)",
    link: LINK,
    higher_is_better: true,
    tasks: &[Task::Classes, Task::MultiLabel],
    scope: Scope::OneClass,
    compute: Compute::Counts(|tally, class| Ok(class.map_or(0.0, |class| of_label(tally, class)))),
};

/// The plain mean over classes.
pub(super) const MACRO: MetricSpec = MetricSpec {
    name: "macro-f1",
    summary: "f1 of each class, averaged: rare classes count as much as frequent ones",
    link: LINK,
    higher_is_better: true,
    tasks: &[Task::Classes, Task::MultiLabel],
    scope: Scope::Whole,
    compute: Compute::Counts(|tally, _| Ok(macro_mean(tally, of_label))),
};

/// Over all answers together.
pub(super) const MICRO: MetricSpec = MetricSpec {
    name: "micro-f1",
    summary: "f1 over all answers together (of single-label tasks: the accuracy)",
    link: LINK,
    higher_is_better: true,
    tasks: &[Task::Classes, Task::MultiLabel],
    scope: Scope::Whole,
    compute: Compute::Counts(|tally, _| {
        Ok(ratio(2 * tally.hits.iter().sum::<u64>(), tally.predicted.iter().chain(&tally.actual).sum()))
    }),
};

/// The mean over classes, weighted by how often each is true.
pub(super) const WEIGHTED: MetricSpec = MetricSpec {
    name: "weighted-f1",
    summary: "f1 of each class, averaged by how often the class is true",
    link: LINK,
    higher_is_better: true,
    tasks: &[Task::Classes, Task::MultiLabel],
    scope: Scope::Whole,
    compute: Compute::Counts(|tally, _| Ok(weighted_mean(tally, of_label))),
};

/// Of one label.
pub(super) fn of_label(tally: &Tally, label: usize) -> f64 {
    ratio(2 * tally.hits[label], tally.predicted[label] + tally.actual[label])
}

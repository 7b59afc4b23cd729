//! Of what is of a class, the share that was found. 0 for a label never true (`zero_division=0` of scikit-learn).

use super::average::{macro_mean, ratio, weighted_mean};
use super::{Compute, MetricSpec, Scope, Tally, Task};

const LINK: &str = "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.recall_score.html";

/// Of one class: the positive one of two, or the one named after a colon.
pub(super) const ONE: MetricSpec = MetricSpec {
    name: "recall",
    summary: "share of the class that was found (the positive one, or recall:CLASS)",
    link: LINK,
    higher_is_better: true,
    tasks: &[Task::Classes, Task::MultiLabel],
    scope: Scope::OneClass,
    compute: Compute::Counts(|tally, class| Ok(class.map_or(0.0, |class| of_label(tally, class)))),
};

/// The plain mean over classes.
pub(super) const MACRO: MetricSpec = MetricSpec {
    name: "macro-recall",
    summary: "recall of each class, averaged: rare classes count as much as frequent ones",
    link: LINK,
    higher_is_better: true,
    tasks: &[Task::Classes, Task::MultiLabel],
    scope: Scope::Whole,
    compute: Compute::Counts(|tally, _| Ok(macro_mean(tally, of_label))),
};

/// Over all answers together.
pub(super) const MICRO: MetricSpec = MetricSpec {
    name: "micro-recall",
    summary: "recall over all answers together (of single-label tasks: the accuracy)",
    link: LINK,
    higher_is_better: true,
    tasks: &[Task::Classes, Task::MultiLabel],
    scope: Scope::Whole,
    compute: Compute::Counts(|tally, _| Ok(ratio(tally.hits.iter().sum(), tally.actual.iter().sum()))),
};

/// The mean over classes, weighted by how often each is true.
pub(super) const WEIGHTED: MetricSpec = MetricSpec {
    name: "weighted-recall",
    summary: "recall of each class, averaged by how often the class is true",
    link: LINK,
    higher_is_better: true,
    tasks: &[Task::Classes, Task::MultiLabel],
    scope: Scope::Whole,
    compute: Compute::Counts(|tally, _| Ok(weighted_mean(tally, of_label))),
};

/// Of one label.
pub(super) fn of_label(tally: &Tally, label: usize) -> f64 {
    ratio(tally.hits[label], tally.actual[label])
}

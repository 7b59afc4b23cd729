//! Average precision: the precision at each threshold, weighted by the recall gained there. Not the
//! trapezoid under the precision-recall curve, which flatters.
//!
//! Paper: Davis & Goadrich 2006, <https://doi.org/10.1145/1143844.1143874>.

use super::roc_auc::{for_each_tie, mean};
use super::{Compute, MetricSpec, Outcome, Scope, Task, Undefined};

/// The entry in the list.
pub(super) const SPEC: MetricSpec = MetricSpec {
    name: "pr-auc",
    summary: "average precision over all thresholds (more than two labels: each against the rest, averaged)",
    link: "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.average_precision_score.html",
    higher_is_better: true,
    tasks: &[Task::Classes, Task::MultiLabel],
    scope: Scope::Either,
    compute: Compute::Probabilities(|outcome, counts, class| match class {
        Some(class) => of_label(outcome, counts, class),
        None => mean(outcome, counts, of_label),
    }),
};

/// Label `label` against the rest.
fn of_label(outcome: &Outcome, counts: &[u32], label: usize) -> Result<f64, Undefined> {
    let (mut positives, mut negatives, mut area) = (0.0, 0.0, 0.0);
    for_each_tie(outcome, counts, label, true, |tied_positives, tied_negatives| {
        positives += tied_positives;
        negatives += tied_negatives;
        if tied_positives > 0.0 {
            area += tied_positives * positives / (positives + negatives);
        }
    });
    if positives == 0.0 { Err(Undefined("there is no positive example")) } else { Ok(area / positives) }
}

//! The area under the ROC curve: how often a positive example scores above a negative one, ties half.
//!
//! Paper: Hanley & McNeil 1982, <https://doi.org/10.1148/radiology.143.1.7063747>.

use super::{Compute, MetricSpec, Outcome, Scope, Task, Undefined};

/// The entry in the list.
pub(super) const SPEC: MetricSpec = MetricSpec {
    name: "roc-auc",
    summary: "how often a positive scores above a negative (more than two labels: each against the rest, averaged)",
    link: "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.roc_auc_score.html",
    higher_is_better: true,
    tasks: &[Task::Classes, Task::MultiLabel],
    scope: Scope::Either,
    compute: Compute::Probabilities(|outcome, counts, class| match class {
        Some(class) => of_label(outcome, counts, class),
        None => mean(outcome, counts, of_label),
    }),
};

/// The mean over the labels that have a value; scikit-learn refuses where one has none.
pub(super) fn mean(
    outcome: &Outcome,
    counts: &[u32],
    value: fn(&Outcome, &[u32], usize) -> Result<f64, Undefined>,
) -> Result<f64, Undefined> {
    let mut last = Undefined("there are no labels");
    let (mut sum, mut labels) = (0.0, 0u32);
    for label in 0..outcome.labels {
        match value(outcome, counts, label) {
            Ok(value) => (sum, labels) = (sum + value, labels + 1),
            Err(undefined) => last = undefined,
        }
    }
    if labels == 0 { Err(last) } else { Ok(sum / f64::from(labels)) }
}

/// Label `label` against the rest.
fn of_label(outcome: &Outcome, counts: &[u32], label: usize) -> Result<f64, Undefined> {
    let (mut positives, mut negatives, mut pairs) = (0.0, 0.0, 0.0);
    for_each_tie(outcome, counts, label, false, |tied_positives, tied_negatives| {
        pairs += tied_positives * (negatives + tied_negatives / 2.0);
        positives += tied_positives;
        negatives += tied_negatives;
    });
    if positives == 0.0 || negatives == 0.0 {
        return Err(Undefined("the examples are all of one class"));
    }
    Ok(pairs / (positives * negatives))
}

/// Calls `visit` with the number of positives and negatives at each distinct probability of `label`, from
/// the lowest, or from the highest if `falling`.
pub(super) fn for_each_tie(
    outcome: &Outcome,
    counts: &[u32],
    label: usize,
    falling: bool,
    mut visit: impl FnMut(f64, f64),
) {
    let order = outcome.order(label);
    let at = |i: usize| order[if falling { order.len() - 1 - i } else { i }] as usize;
    let mut i = 0;
    while i < order.len() {
        let score = outcome.probability(at(i), label);
        let mut tied = [0u64; 2];
        while i < order.len() && outcome.probability(at(i), label) == score {
            tied[usize::from(outcome.is(at(i), label))] += u64::from(counts[at(i)]);
            i += 1;
        }
        visit(tied[1] as f64, tied[0] as f64);
    }
}

//! The share of the targets' variance that predictions explain.

use super::{Compute, MetricSpec, Scope, Task, Undefined};

/// The entry in the list.
pub(super) const SPEC: MetricSpec = MetricSpec {
    name: "r2",
    summary: "share of the variance of targets that predictions explain: 1 right, 0 as good as their mean",
    link: "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.r2_score.html",
    higher_is_better: true,
    tasks: &[Task::Scores],
    scope: Scope::Whole,
    compute: Compute::Scores(|outcome, counts| {
        let (truth, predicted) = outcome.pairs();
        of(truth, predicted, counts)
    }),
};

/// Of targets that are all the same 1 if they are all met, else 0, as in scikit-learn.
fn of(truth: &[f64], predicted: &[f64], counts: &[u32]) -> Result<f64, Undefined> {
    let drawn = || truth.iter().zip(predicted).zip(counts).filter(|(_, count)| **count > 0);
    let examples: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    let Some(((first, _), _)) = drawn().next().filter(|_| examples > 1) else {
        return Err(Undefined("one example has no variance"));
    };
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        drawn().map(|((&truth, &predicted), &count)| f64::from(count) * of(truth, predicted)).sum()
    };
    let missed = sum(&|truth, predicted| (truth - predicted).powi(2));
    if drawn().all(|((truth, _), _)| truth == first) {
        return Ok(if missed == 0.0 { 1.0 } else { 0.0 });
    }
    let mean = sum(&|truth, _| truth) / examples as f64;
    Ok(1.0 - missed / sum(&|truth, _| (truth - mean).powi(2)))
}

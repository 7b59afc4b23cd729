//! The squared distance of the probabilities from the truth.
//!
//! Paper: Brier 1950, <https://doi.org/10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2>.

use super::{Compute, MetricSpec, Outcome, Scope, Task};

/// The entry in the list.
pub(super) const SPEC: MetricSpec = MetricSpec {
    name: "brier",
    summary: "squared distance of the probabilities from the truth (two classes: of the positive one; more: summed)",
    link: "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.brier_score_loss.html",
    higher_is_better: false,
    tasks: &[Task::Classes],
    scope: Scope::Whole,
    compute: Compute::Probabilities(|outcome, counts, _| Ok(of(outcome, counts))),
};

fn of(outcome: &Outcome, counts: &[u32]) -> f64 {
    let (mut sum, mut examples) = (0.0, 0u64);
    for (row, &count) in counts.iter().enumerate() {
        let square = |label| (outcome.probability(row, label) - f64::from(outcome.is(row, label))).powi(2);
        sum += f64::from(count) * (0..outcome.labels).map(square).sum::<f64>();
        examples += u64::from(count);
    }
    // Both classes of two are off by the same amount; by custom it is counted once.
    let halved = if outcome.labels == 2 { sum / 2.0 } else { sum };
    halved / examples as f64
}

//! The mean negative logarithm of the probability given to the truth.

use super::{Compute, MetricSpec, Outcome, Scope, Task};

/// The entry in the list.
pub(super) const SPEC: MetricSpec = MetricSpec {
    name: "log-loss",
    summary: "mean negative log probability of the truth, in nats (multi-label: mean over labels)",
    link: "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.log_loss.html",
    higher_is_better: false,
    tasks: &[Task::Classes, Task::MultiLabel, Task::Choices],
    scope: Scope::Whole,
    compute: Compute::Probabilities(|outcome, counts, _| Ok(of(outcome, counts))),
};

/// Of one probability, which is kept `f64::EPSILON` away from 0 and 1, as in scikit-learn, so that one sure mistake costs 36
/// nats and not infinity.
pub(super) fn of_probability(p: f64) -> f64 {
    -p.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
}

fn of(outcome: &Outcome, counts: &[u32]) -> f64 {
    let (mut sum, mut examples) = (0.0, 0u64);
    for (row, &count) in counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
        let mut loss = 0.0;
        for label in 0..outcome.labels {
            let p = outcome.probability(row, label);
            match (outcome.is(row, label), outcome.task) {
                (true, _) => loss += of_probability(p),
                (false, Task::MultiLabel) => loss += of_probability(1.0 - p),
                (false, _) => {}
            }
        }
        sum += f64::from(count) * loss;
        examples += u64::from(count);
    }
    let answers = if outcome.task == Task::MultiLabel { examples * outcome.labels as u64 } else { examples };
    sum / answers as f64
}

//! Agreement of predicted and true classes beyond what chance would give, where mistakes may differ in size.
//!
//! Paper: Cohen 1960, <https://doi.org/10.1177/001316446002000104>; Cohen 1968 (weights),
//! <https://doi.org/10.1037/h0026256>.

use super::{Compute, Computed, MetricSpec, Scope, Tally, Task, Undefined};

const LINK: &str = "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.cohen_kappa_score.html";

/// Every mistake is as large.
pub(super) const KAPPA: MetricSpec = MetricSpec {
    name: "kappa",
    summary: "agreement of predicted and true classes beyond chance: 1 right, 0 chance",
    link: LINK,
    higher_is_better: true,
    tasks: &[Task::Classes],
    scope: Scope::Whole,
    compute: Compute::Counts(|tally, _| {
        let expected = square(tally.examples) - dot(&tally.predicted, &tally.actual);
        of(tally, tally.examples - tally.exact, expected)
    }),
};

/// A mistake is as large as classes lie apart.
pub(super) const LINEAR: MetricSpec = MetricSpec {
    name: "linear-kappa",
    summary: "kappa of classes in order: a mistake is as large as they lie apart",
    link: LINK,
    higher_is_better: true,
    tasks: &[Task::Classes],
    scope: Scope::Whole,
    compute: Compute::Counts(|tally, _| {
        // Two classes lie apart by the number of borders between them.
        let (mut predicted, mut actual, mut expected) = (0i128, 0i128, 0i128);
        let all = i128::from(tally.examples);
        for (&p, &a) in tally.predicted.iter().zip(&tally.actual) {
            (predicted, actual) = (predicted + i128::from(p), actual + i128::from(a));
            expected += predicted * (all - actual) + actual * (all - predicted);
        }
        of(tally, tally.distance, expected)
    }),
};

/// A mistake is as large as the square of that.
pub(super) const QUADRATIC: MetricSpec = MetricSpec {
    name: "quadratic-kappa",
    summary: "kappa of classes in order: a mistake is as large as the square of how far they lie apart",
    link: LINK,
    higher_is_better: true,
    tasks: &[Task::Classes],
    scope: Scope::Whole,
    compute: Compute::Counts(|tally, _| {
        let moment = |counts: &[u64], power: u32| -> i128 {
            counts.iter().enumerate().map(|(at, &n)| (at as i128).pow(power) * i128::from(n)).sum()
        };
        let (predicted, actual) = (&tally.predicted, &tally.actual);
        let squares = (moment(predicted, 2) + moment(actual, 2)) * i128::from(tally.examples);
        of(tally, tally.square_distance, squares - 2 * moment(predicted, 1) * moment(actual, 1))
    }),
};

fn square(n: u64) -> i128 {
    i128::from(n) * i128::from(n)
}

fn dot(a: &[u64], b: &[u64]) -> i128 {
    a.iter().zip(b).map(|(&a, &b)| i128::from(a) * i128::from(b)).sum()
}

/// One less the mistakes there are by those that chance would make, which are `expected` by the number of examples. Integers,
/// so that no mistakes are exactly that.
fn of(tally: &Tally, mistakes: u64, expected: i128) -> Computed {
    if expected == 0 {
        return Err(Undefined("all targets and all predictions are of one class"));
    }
    Ok(1.0 - (i128::from(mistakes) * i128::from(tally.examples)) as f64 / expected as f64)
}

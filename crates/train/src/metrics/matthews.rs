//! Matthews correlation of predicted and true classes.
//!
//! Paper: Matthews 1975, <https://doi.org/10.1016/0005-2795(75)90109-9>; for more than two classes Gorodkin
//! 2004, <https://doi.org/10.1016/j.compbiolchem.2004.09.006>.

use super::{Compute, MetricSpec, Scope, Tally, Task, Undefined};

/// The entry in the list.
pub(super) const SPEC: MetricSpec = MetricSpec {
    name: "matthews",
    summary: "correlation of predicted and true classes: 1 right, 0 chance, -1 always wrong",
    link: "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.matthews_corrcoef.html",
    higher_is_better: true,
    tasks: &[Task::Classes],
    scope: Scope::Whole,
    compute: Compute::Counts(|tally, _| of(tally)),
};

/// 0 when all targets or all predictions are of one class, as in scikit-learn.
fn of(tally: &Tally) -> Result<f64, Undefined> {
    // Wide integers: the products of counts are exact, so a zero denominator is recognised as one.
    let wide = |n: u64| i128::from(n);
    let examples = wide(tally.examples);
    let dot = |a: &[u64], b: &[u64]| a.iter().zip(b).map(|(&a, &b)| wide(a) * wide(b)).sum::<i128>();
    let both = wide(tally.exact) * examples - dot(&tally.predicted, &tally.actual);
    let spread_predicted = examples * examples - dot(&tally.predicted, &tally.predicted);
    let spread_actual = examples * examples - dot(&tally.actual, &tally.actual);
    if spread_predicted == 0 || spread_actual == 0 {
        return Ok(0.0);
    }
    Ok(both as f64 / ((spread_predicted as f64).sqrt() * (spread_actual as f64).sqrt()))
}

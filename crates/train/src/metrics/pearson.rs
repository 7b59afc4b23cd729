//! Linear correlation of predictions and targets.

use super::{Compute, MetricSpec, Scope, Task, Undefined};

/// The entry in the list.
pub(super) const SPEC: MetricSpec = MetricSpec {
    name: "pearson",
    summary: "linear correlation of predictions and targets",
    link: "https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.pearsonr.html",
    higher_is_better: true,
    tasks: &[Task::Scores],
    scope: Scope::Whole,
    compute: Compute::Scores(|outcome, counts| {
        let (truth, predicted) = outcome.pairs();
        correlation(truth, predicted, counts)
    }),
};

/// Pearson correlation, each pair counted as often as `counts` says.
pub(super) fn correlation(x: &[f64], y: &[f64], counts: &[u32]) -> Result<f64, Undefined> {
    let mut drawn = counts.iter().zip(x.iter().zip(y)).filter(|&(&count, _)| count > 0);
    let constant = match drawn.next() {
        None => true,
        Some((_, first)) => {
            let mut rest = drawn.clone();
            rest.all(|(_, pair)| pair.0 == first.0) || drawn.all(|(_, pair)| pair.1 == first.1)
        }
    };
    if constant {
        return Err(Undefined("all targets or all predictions are the same"));
    }
    let examples: f64 = counts.iter().map(|&c| f64::from(c)).sum();
    let mean = |v: &[f64]| v.iter().zip(counts).map(|(v, &c)| v * f64::from(c)).sum::<f64>() / examples;
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for ((x, y), &count) in x.iter().zip(y).zip(counts) {
        let (x, y, count) = (x - mean_x, y - mean_y, f64::from(count));
        xx += count * x * x;
        yy += count * y * y;
        xy += count * x * y;
    }
    if xx == 0.0 || yy == 0.0 {
        return Err(Undefined("all targets or all predictions are the same"));
    }
    Ok((xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0))
}

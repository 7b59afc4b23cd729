//! Ways to make one number of one value a label.

use super::Tally;

/// A ratio, or 0 where nothing was counted: the `zero_division=0` of scikit-learn. The per-class table says
/// where that happened.
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The plain mean over labels.
pub(super) fn macro_mean(tally: &Tally, value: fn(&Tally, usize) -> f64) -> f64 {
    let (sum, count) = tally.averaged().fold((0.0, 0u64), |(sum, n), l| (sum + value(tally, l), n + 1));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

/// The mean over labels, each weighted by how often it is true.
pub(super) fn weighted_mean(tally: &Tally, value: fn(&Tally, usize) -> f64) -> f64 {
    let total: u64 = tally.actual.iter().sum();
    let sum: f64 = (0..tally.actual.len()).map(|l| tally.actual[l] as f64 * value(tally, l)).sum();
    if total == 0 { 0.0 } else { sum / total as f64 }
}

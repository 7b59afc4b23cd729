//! Whether a model that says 80 % is right in 80 % of such cases: expected calibration error and the table
//! behind a reliability diagram.
//!
//! Paper: Guo et al. 2017, section 2, equation 3 (15 bins of equal width), <https://arxiv.org/abs/1706.04599>.

use super::{Compute, MetricSpec, Outcome, Scope, Task};
use serde::{Deserialize, Serialize};

/// Bins of equal width over the confidence, as in the paper.
const BINS: usize = 15;

/// The entry in the list.
pub(super) const SPEC: MetricSpec = MetricSpec {
    name: "ece",
    summary: "expected calibration error: mean gap of confidence and accuracy over 15 bins",
    link: "https://arxiv.org/abs/1706.04599",
    higher_is_better: false,
    tasks: &[Task::Classes],
    scope: Scope::Whole,
    compute: Compute::Probabilities(|outcome, counts, _| Ok(error(&bins(outcome, counts)))),
};

/// Predictions whose confidence falls into one bin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Lower end, not in the bin (the first bin holds 0 too).
    pub above: f64,
    /// Upper end, in the bin.
    pub up_to: f64,
    /// Predictions in it.
    pub examples: u64,
    /// Their mean confidence; 0 in an empty bin.
    pub confidence: f64,
    /// The share of them that is right; 0 in an empty bin.
    pub accuracy: f64,
}

/// The 15 bins. Confidence is the probability of the most probable class, whatever a threshold or a cost
/// matrix made of it; right is whether that class is the true one.
pub(super) fn bins(outcome: &Outcome, counts: &[u32]) -> Vec<CalibrationBin> {
    let end = |bin: usize| bin as f64 / BINS as f64;
    let mut bins: Vec<CalibrationBin> = (0..BINS)
        .map(|b| CalibrationBin { above: end(b), up_to: end(b + 1), ..Default::default() })
        .collect();
    for (row, &count) in counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
        let values = &outcome.probabilities[row * outcome.labels..][..outcome.labels];
        let class = super::outcome::first_greatest(values);
        let confidence = values[class];
        let mut bin = ((confidence * BINS as f64) as usize).min(BINS - 1);
        // The product may be rounded across an end.
        while bin > 0 && confidence <= bins[bin].above {
            bin -= 1;
        }
        while bin + 1 < BINS && confidence > bins[bin].up_to {
            bin += 1;
        }
        bins[bin].examples += u64::from(count);
        bins[bin].confidence += f64::from(count) * confidence;
        bins[bin].accuracy += f64::from(count) * f64::from(outcome.is(row, class));
    }
    for bin in bins.iter_mut().filter(|bin| bin.examples > 0) {
        bin.confidence /= bin.examples as f64;
        bin.accuracy /= bin.examples as f64;
    }
    bins
}

fn error(bins: &[CalibrationBin]) -> f64 {
    let examples: u64 = bins.iter().map(|bin| bin.examples).sum();
    bins.iter().map(|bin| bin.examples as f64 / examples as f64 * (bin.confidence - bin.accuracy).abs()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_bins_belong_below() {
        // 0.6 = 9/15 and 0.8 = 12/15 are ends.
        let outcome = Outcome::classes(&[0, 0, 0], &[0.6, 0.4, 0.8, 0.2, 1.0, 0.0], 2).unwrap();
        let bins = bins(&outcome, &outcome.once());
        let filled: Vec<usize> = (0..BINS).filter(|&b| bins[b].examples > 0).collect();
        assert_eq!(filled, [8, 11, 14]);
        assert!((error(&bins) - (0.4 + 0.2) / 3.0).abs() < 1e-12);
    }
}

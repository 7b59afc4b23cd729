//! What a set of runs that differ in their seeds says, as formulas over their scores.

use serde::{Deserialize, Serialize};

/// Scores of runs, summed up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Spread {
    /// Runs.
    pub runs: usize,
    /// The mean.
    pub mean: f64,
    /// Standard deviation of one run, over n − 1; `None` with one run.
    pub deviation: Option<f64>,
    /// The middle score, or the mean of the two in the middle.
    pub median: f64,
    /// The lowest score.
    pub lowest: f64,
    /// The highest score.
    pub highest: f64,
    /// By how much one run is off from the mean, on average.
    pub off_mean: f64,
    /// By how much it is off at most.
    pub off_most: f64,
    /// By how much two runs differ, on average over all pairs (Gini's mean difference); `None` with one run.
    pub between_two: Option<f64>,
}

/// Sums scores up; `None` without any.
pub fn spread(scores: &[f64]) -> Option<Spread> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (&lowest, &highest) = (sorted.first()?, sorted.last()?);
    let runs = sorted.len();
    let count = runs as f64;
    let mean = sorted.iter().sum::<f64>() / count;
    let squares: f64 = sorted.iter().map(|score| (score - mean).powi(2)).sum();
    let median = (sorted[(runs - 1) / 2] + sorted[runs / 2]) / 2.0;
    // Over sorted scores, the i-th is above i others and below n − 1 − i.
    let differences: f64 =
        sorted.iter().enumerate().map(|(at, score)| (2.0 * at as f64 - count + 1.0) * score).sum();
    let pairs = count * (count - 1.0) / 2.0;
    Some(Spread {
        runs,
        mean,
        deviation: (runs > 1).then(|| (squares / (count - 1.0)).sqrt()),
        median,
        lowest,
        highest,
        off_mean: sorted.iter().map(|score| (score - mean).abs()).sum::<f64>() / count,
        off_most: (highest - mean).max(mean - lowest),
        between_two: (runs > 1).then(|| differences / pairs),
    })
}

/// The probability of each of these runs to be the best of `k` that are drawn from them, with replacement, by `score`; the first
/// number of a run is what it is chosen by. Runs with the same score share theirs.
///
/// The highest of k draws is at most v with probability F(v)^k, F being the share of runs at or below v.
fn chances(scores: &[f64], k: usize) -> Vec<f64> {
    let count = scores.len() as f64;
    let power = |runs: usize| (runs as f64 / count).powf(k as f64);
    let chance = |&score: &f64| {
        let below = scores.iter().filter(|&&other| other < score).count();
        let same = scores.iter().filter(|&&other| other == score).count();
        (power(below + same) - power(below)) / same.max(1) as f64
    };
    scores.iter().map(chance).collect()
}

/// What is to be expected of the best of `k` runs: the mean over all draws of k, with replacement, of the highest of `chosen_by`,
/// and of what `reached` is in the run that has it. Higher is better in both, unless `lower_is_better`. `None` without runs.
///
/// Differs from the paper in that it also says what the run chosen on the development data reaches on the test data.
///
/// Paper: Dodge et al. 2019, "Show Your Work: Improved Reporting of Experimental Results", section 3 (expected validation
/// performance), <https://arxiv.org/abs/1909.03004>
pub fn expected_best(
    chosen_by: &[f64],
    reached: &[f64],
    k: usize,
    lower_is_better: bool,
) -> Option<(f64, f64)> {
    if chosen_by.is_empty() || chosen_by.len() != reached.len() || k == 0 {
        return None;
    }
    let sign = if lower_is_better { -1.0 } else { 1.0 };
    let signed: Vec<f64> = chosen_by.iter().map(|score| sign * score).collect();
    let chances = chances(&signed, k);
    let mean = |values: &[f64]| values.iter().zip(&chances).map(|(value, chance)| value * chance).sum();
    Some((mean(chosen_by), mean(reached)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        chosen_by: Vec<f64>,
        reached: Vec<f64>,
        spread: Spread,
        /// k, whether lower is better, the two means over all draws.
        best: Vec<(usize, bool, f64, f64)>,
    }

    /// fixtures/make/studies.py goes through every draw of k runs.
    #[test]
    fn formulas_give_what_going_through_all_draws_gives() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/studies/seeds.json");
        let cases: Vec<Golden> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        let mut seen = 0;
        for case in cases {
            let (found, expected) = (spread(&case.reached).unwrap(), case.spread);
            assert_eq!(found.runs, expected.runs);
            for (a, b) in [
                (found.mean, expected.mean),
                (found.median, expected.median),
                (found.lowest, expected.lowest),
                (found.highest, expected.highest),
                (found.off_mean, expected.off_mean),
                (found.off_most, expected.off_most),
            ] {
                near(a, b);
            }
            assert_eq!(found.deviation.is_some(), expected.deviation.is_some());
            near(found.deviation.unwrap_or(0.0), expected.deviation.unwrap_or(0.0));
            near(found.between_two.unwrap_or(0.0), expected.between_two.unwrap_or(0.0));
            for (k, lower, chosen, reached) in case.best {
                let found = expected_best(&case.chosen_by, &case.reached, k, lower).unwrap();
                near(found.0, chosen);
                near(found.1, reached);
                seen += 1;
            }
        }
        assert_eq!(seen, 24);
    }

    #[test]
    fn nothing_has_no_spread_and_one_run_no_deviation() {
        assert_eq!(spread(&[]), None);
        assert_eq!(expected_best(&[], &[], 3, false), None);
        assert_eq!(expected_best(&[0.5], &[0.4, 0.3], 3, false), None);
        let one = spread(&[0.5]).unwrap();
        assert_eq!((one.deviation, one.between_two, one.off_most), (None, None, 0.0));
        assert_eq!(expected_best(&[0.5], &[0.4], 3, false), Some((0.5, 0.4)));
    }
}

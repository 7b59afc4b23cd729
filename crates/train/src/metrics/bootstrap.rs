//! How sure a number is: percentile bootstrap intervals over the examples, and the difference of two models
//! on the same examples.
//!
//! Paper: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (percentile intervals),
//! <https://doi.org/10.1201/9780429246593>; Berg-Kirkpatrick et al. 2012 (paired, in NLP),
//! <https://aclanthology.org/D12-1091/>.

use super::outcome::Outcome;
use super::{Compute, Metric, MetricError, Tally};
use serde::{Deserialize, Serialize};
use topwork_kernels::rng::{Stream, derive};

/// How to resample. The same seed gives the same intervals, on any machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Resamples drawn.
    pub resamples: u32,
    /// Seed of the draws.
    pub seed: u64,
    /// Coverage, such as 0.95.
    pub level: f64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, seed: 0, level: 0.95 }
    }
}

/// Where a metric would fall had other examples been drawn from the same source.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Coverage, such as 0.95.
    pub level: f64,
    /// Resamples drawn.
    pub resamples: u32,
    /// Resamples among them on which the metric had no value (all of one class); they are left out.
    pub undefined: u32,
}

/// Two models on the same examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The first model's value.
    pub first: f64,
    /// The second model's value.
    pub second: f64,
    /// `first - second`, with its interval.
    pub difference: f64,
    /// Interval of the difference.
    pub interval: Interval,
    /// Two-sided: how often the resamples would show a difference of the other sign, or none.
    pub p_value: f64,
}

impl Bootstrap {
    /// The interval of each metric, all from the same resamples; `None` where a metric has a value on none of
    /// them.
    ///
    /// # Errors
    /// A level outside (0, 1), fewer than two resamples, or `loss` among the metrics.
    pub fn intervals(
        &self,
        outcome: &Outcome,
        metrics: &[Metric],
    ) -> Result<Vec<Option<Interval>>, MetricError> {
        let drawn = self.draw(&[outcome], metrics)?;
        Ok(drawn.into_iter().map(|values| self.percentiles(values.concat())).collect())
    }

    /// The difference of two models in one metric, on the same examples in the same order.
    ///
    /// # Errors
    /// When the targets differ, the metric has no value, or the options are out of range.
    pub fn difference(
        &self,
        first: &Outcome,
        second: &Outcome,
        metric: &Metric,
    ) -> Result<Difference, MetricError> {
        if first.examples != second.examples || first.truth != second.truth {
            return Err(MetricError::Length {
                what: "paired comparison: both models must answer the same examples in the same order; targets of the second",
                expected: first.examples,
                got: second.examples,
            });
        }
        let (a, b) = (metric.of(first)?, metric.of(second)?);
        let drawn = self.draw(&[first, second], std::slice::from_ref(metric))?;
        let differences: Vec<f64> = drawn[0].iter().map(|pair| pair[0] - pair[1]).collect();
        paired(self, metric.name(), (a, b), differences)
    }

    /// `[metric][resample][outcome]`, NaN where a metric has no value.
    fn draw(&self, outcomes: &[&Outcome], metrics: &[Metric]) -> Result<Vec<Vec<Vec<f64>>>, MetricError> {
        for metric in metrics {
            let spec = metric.spec().ok_or(MetricError::NoLoss)?;
            if matches!(spec.compute, Compute::Sums) {
                return Err(MetricError::NotApplicable {
                    name: metric.name().to_string(),
                    task: outcomes[0].task.words(),
                    instead: "measures of a corpus have theirs from intervals_of_sums".to_string(),
                });
            }
        }
        let mut tally = Tally::default();
        let mut drawn = vec![Vec::with_capacity(self.resamples as usize); metrics.len()];
        self.each_draw(outcomes[0].examples, |counts| {
            let mut values = vec![vec![f64::NAN; outcomes.len()]; metrics.len()];
            for (which, outcome) in outcomes.iter().enumerate() {
                tally.count(outcome, counts);
                for (metric, values) in metrics.iter().zip(&mut values) {
                    values[which] = metric.compute(outcome, counts, &tally).unwrap_or(f64::NAN);
                }
            }
            for (drawn, values) in drawn.iter_mut().zip(values) {
                drawn.push(values);
            }
        })?;
        Ok(drawn)
    }

    /// Calls `with` once a resample, with how often each of `examples` was drawn.
    pub(super) fn each_draw(&self, examples: usize, mut with: impl FnMut(&[u32])) -> Result<(), MetricError> {
        if !(self.level > 0.0 && self.level < 1.0) {
            let expected = "between 0 and 1, such as 0.95";
            return Err(MetricError::OutOfRange {
                option: "level of the interval",
                expected,
                got: self.level,
            });
        }
        if self.resamples < 2 {
            let (expected, got) = ("at least 2", f64::from(self.resamples));
            return Err(MetricError::OutOfRange { option: "number of resamples", expected, got });
        }
        let seed = derive(self.seed, "bootstrap");
        let mut counts = vec![0u32; examples];
        for resample in 0..self.resamples {
            // Each resample has its own stream, so its draw does not depend on those before.
            let mut stream = Stream(Stream(seed ^ u64::from(resample)).next_u64());
            counts.fill(0);
            (0..examples).for_each(|_| counts[stream.below(examples as u64) as usize] += 1);
            with(&counts);
        }
        Ok(())
    }

    pub(super) fn percentiles(&self, mut values: Vec<f64>) -> Option<Interval> {
        let all = values.len();
        values.retain(|v| !v.is_nan());
        if values.is_empty() {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let tail = (1.0 - self.level) / 2.0;
        Some(Interval {
            lower: quantile(&values, tail),
            upper: quantile(&values, 1.0 - tail),
            level: self.level,
            resamples: self.resamples,
            undefined: (all - values.len()) as u32,
        })
    }
}

/// What resampled differences say of the difference of two values.
pub(super) fn paired(
    bootstrap: &Bootstrap,
    name: &str,
    (first, second): (f64, f64),
    differences: Vec<f64>,
) -> Result<Difference, MetricError> {
    let at_most = differences.iter().filter(|&&d| d <= 0.0).count();
    let at_least = differences.iter().filter(|&&d| d >= 0.0).count();
    let defined = differences.iter().filter(|d| !d.is_nan()).count();
    let p_value = (2.0 * (at_most.min(at_least) + 1) as f64 / (defined + 1) as f64).min(1.0);
    let interval = bootstrap.percentiles(differences).ok_or_else(|| MetricError::Undefined {
        name: name.to_string(),
        reason: "it has a value on no resample".to_string(),
    })?;
    Ok(Difference { first, second, difference: first - second, interval, p_value })
}

/// Quantile of sorted values, linear between neighbours (numpy's default).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let below = sorted[at.floor() as usize];
    let above = sorted[at.ceil() as usize];
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Task;

    fn names() -> Vec<String> {
        vec!["ham".to_string(), "spam".to_string()]
    }

    /// 100 examples of which `right` are answered right, half of each class.
    fn outcome(right: usize) -> Outcome {
        let targets: Vec<u32> = (0..100).map(|i| i % 2).collect();
        let probability = |i: usize| if (i < right) == (i % 2 == 1) { [0.2, 0.8] } else { [0.7, 0.3] };
        let probabilities: Vec<f64> = (0..100).flat_map(probability).collect();
        Outcome::classes(&targets, &probabilities, 2).unwrap()
    }

    fn metric(name: &str) -> Metric {
        Metric::parse(name, Task::Classes, &names(), None).unwrap()
    }

    #[test]
    fn the_interval_of_a_share_is_the_binomial_one() {
        let bootstrap = Bootstrap { resamples: 4000, ..Default::default() };
        let interval = bootstrap.intervals(&outcome(80), &[metric("accuracy")]).unwrap()[0].unwrap();
        // Quantiles 0.025 and 0.975 of Binomial(100, 0.8) are 72 and 88 (scipy.stats.binom.ppf).
        assert!((interval.lower - 0.72).abs() <= 0.0101, "{interval:?}");
        assert!((interval.upper - 0.88).abs() <= 0.0101, "{interval:?}");
        assert_eq!(interval.undefined, 0);
    }

    #[test]
    fn the_same_seed_gives_the_same_interval_and_another_seed_another() {
        let all = Metric::all(Task::Classes, &names(), None);
        let bootstrap = Bootstrap::default();
        let first = bootstrap.intervals(&outcome(80), &all).unwrap();
        assert_eq!(first, bootstrap.intervals(&outcome(80), &all).unwrap());
        let other = Bootstrap { seed: 1, ..bootstrap };
        assert_ne!(first, other.intervals(&outcome(80), &all).unwrap());
        assert_eq!(first.len(), 23);
        for (interval, metric) in first.iter().zip(&all) {
            let (interval, value) = (interval.unwrap(), metric.of(&outcome(80)).unwrap());
            assert!(
                interval.lower <= value && value <= interval.upper,
                "{} {interval:?} {value}",
                metric.name()
            );
        }
    }

    #[test]
    fn a_perfect_model_has_an_interval_of_no_width() {
        let interval = Bootstrap::default().intervals(&outcome(100), &[metric("f1")]).unwrap()[0].unwrap();
        assert_eq!((interval.lower, interval.upper), (1.0, 1.0));
    }

    #[test]
    fn resamples_without_a_value_are_counted() {
        let outcome = Outcome::classes(&[0, 1], &[0.9, 0.1, 0.2, 0.8], 2).unwrap();
        let interval = Bootstrap::default().intervals(&outcome, &[metric("roc-auc")]).unwrap()[0].unwrap();
        // Two draws of two examples are the same one half of the time.
        assert!((400..600).contains(&interval.undefined), "{interval:?}");
        let one_class = Outcome::classes(&[0, 0], &[0.9, 0.1, 0.2, 0.8], 2).unwrap();
        assert_eq!(Bootstrap::default().intervals(&one_class, &[metric("roc-auc")]).unwrap(), [None]);
    }

    #[test]
    fn a_clear_difference_is_told_from_none() {
        let bootstrap = Bootstrap::default();
        let clear = bootstrap.difference(&outcome(95), &outcome(70), &metric("accuracy")).unwrap();
        assert!((clear.difference - 0.25).abs() < 1e-12 && clear.p_value < 0.01, "{clear:?}");
        assert!(clear.interval.lower > 0.1 && clear.interval.upper < 0.4, "{clear:?}");
        let none = bootstrap.difference(&outcome(80), &outcome(80), &metric("accuracy")).unwrap();
        assert_eq!((none.difference, none.p_value), (0.0, 1.0));
        let small = bootstrap.difference(&outcome(81), &outcome(80), &metric("accuracy")).unwrap();
        assert!(small.p_value > 0.2, "{small:?}");
    }

    #[test]
    fn bad_options_are_refused() {
        let check = |bootstrap: Bootstrap, name: &str, message: &str| {
            let error = bootstrap.intervals(&outcome(80), &[metric(name)]).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        };
        check(Bootstrap { level: 95.0, ..Default::default() }, "f1", "level");
        check(Bootstrap { level: f64::NAN, ..Default::default() }, "f1", "level");
        check(Bootstrap { resamples: 0, ..Default::default() }, "f1", "resamples");
        check(Bootstrap::default(), "loss", "no loss");
        let other = Outcome::classes(&[0, 1], &[0.9, 0.1, 0.2, 0.8], 2).unwrap();
        assert!(Bootstrap::default().difference(&other, &outcome(80), &metric("f1")).is_err());
    }

    #[test]
    fn quantiles_are_numpys() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(quantile(&sorted, 0.5), 3.0);
        assert!((quantile(&sorted, 0.9) - 6.8).abs() < 1e-12);
        assert_eq!(quantile(&sorted, 1.0), 8.0);
    }
}

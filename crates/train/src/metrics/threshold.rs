//! Where to cut: the threshold on a probability that maximises a metric on the development set.
//!
//! Paper: Lipton et al. 2014 (thresholds that maximise F1, and how rare labels mislead it),
//! <https://arxiv.org/abs/1402.1892>.

use super::{Metric, MetricError, Outcome, Tally, Task, f1};
use serde::{Deserialize, Serialize};

/// A threshold and what it is worth on the examples it was chosen on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunedThreshold {
    /// Positive above it.
    pub threshold: f64,
    /// The metric there.
    pub value: f64,
    /// The metric at 0.5.
    pub at_half: f64,
}

/// The threshold on the probability of the positive class that is best for `metric`; of equals the one
/// nearest to 0.5. Candidates lie half-way between neighbouring probabilities, and at 0.5, so that a small
/// change of a probability changes no answer. Measure it on other examples than these.
///
/// # Errors
/// When the task is not a choice of two classes, or the metric does not depend on the threshold.
pub fn tune_threshold(outcome: &Outcome, metric: &Metric) -> Result<TunedThreshold, MetricError> {
    let not_applicable = |task, instead: &str| MetricError::NotApplicable {
        name: format!("threshold for {}", metric.name()),
        task,
        instead: instead.to_string(),
    };
    let (Task::Classes, 2, Some(positive)) = (outcome.task, outcome.labels, outcome.positive) else {
        let instead = "only two classes have one threshold (multi-label: one a label, chosen by F1)";
        return Err(not_applicable(outcome.task.words(), instead));
    };
    let value = |tally: &Tally| match metric.of_tally(tally) {
        // Undefined counts as the worst there is, so that it is never chosen over a value.
        Some(value) => Ok(value.unwrap_or(f64::NEG_INFINITY)),
        None => {
            let instead =
                "choose one that depends on it, such as f1, accuracy, precision, recall or matthews";
            Err(not_applicable("a metric that is the same at every threshold", instead))
        }
    };
    let better = |new: f64, old: f64| metric.is_better(new, old);
    sweep(outcome, positive, |counts| value(&counts.tally(positive)), better)
}

/// For each label of a multi-label task the threshold that maximises the label's own F1, and with it the
/// macro F1. A label that is true of no example keeps 0.5.
///
/// # Errors
/// When the task is not multi-label.
pub fn tune_label_thresholds(outcome: &Outcome) -> Result<Vec<TunedThreshold>, MetricError> {
    if outcome.task != Task::MultiLabel {
        return Err(MetricError::NotApplicable {
            name: "thresholds by label".to_string(),
            task: outcome.task.words(),
            instead: "two classes have one threshold".to_string(),
        });
    }
    (0..outcome.labels)
        .map(|label| {
            sweep(outcome, label, |counts| Ok(f1::of_label(&counts.tally(1), 1)), |new, old| new > old)
        })
        .collect()
}

/// Right and wrong answers when everything above a threshold is called positive.
#[derive(Clone, Copy)]
struct Cut {
    true_positives: u64,
    false_positives: u64,
    positives: u64,
    negatives: u64,
}

impl Cut {
    fn tally(self, positive: usize) -> Tally {
        let true_negatives = self.negatives - self.false_positives;
        let predicted = self.true_positives + self.false_positives;
        let all = self.positives + self.negatives;
        let wrong = all - self.true_positives - true_negatives;
        let pair = |of_positive: u64, of_negative: u64| {
            if positive == 1 { vec![of_negative, of_positive] } else { vec![of_positive, of_negative] }
        };
        Tally {
            examples: all,
            exact: self.true_positives + true_negatives,
            cells: self.true_positives + true_negatives,
            hits: pair(self.true_positives, true_negatives),
            predicted: pair(predicted, all - predicted),
            actual: pair(self.positives, self.negatives),
            distance: wrong,
            square_distance: wrong,
            multi_label: false,
        }
    }
}

/// Tries 0.5 and every gap between neighbouring probabilities of `label`.
fn sweep(
    outcome: &Outcome,
    label: usize,
    value: impl Fn(Cut) -> Result<f64, MetricError>,
    better: impl Fn(f64, f64) -> bool,
) -> Result<TunedThreshold, MetricError> {
    let order = outcome.order(label);
    let probability = |i: usize| outcome.probability(order[i] as usize, label);
    let true_from =
        |from: usize| order[from..].iter().filter(|&&row| outcome.is(row as usize, label)).count();
    let (all, positives) = (order.len(), true_from(0));
    let cut = |from: usize| Cut {
        true_positives: true_from(from) as u64,
        false_positives: (all - from - true_from(from)) as u64,
        positives: positives as u64,
        negatives: (all - positives) as u64,
    };
    let at_half = value(cut((0..all).position(|i| probability(i) > 0.5).unwrap_or(all)))?;
    let mut best = TunedThreshold { threshold: 0.5, value: at_half, at_half };
    // From below every probability upwards: one more group of equals is called negative each time.
    let mut now = cut(0);
    let mut from = 0;
    loop {
        let below = if from == 0 { 0.0 } else { probability(from - 1) };
        let above = if from == order.len() { 1.0 } else { probability(from) };
        let threshold = below + (above - below) / 2.0;
        // Two neighbouring floats have no gap between them; nor can 0 or 1 be cut away from what equals them.
        if (from == 0 || threshold >= below) && (from == order.len() || threshold < above) {
            let new = value(now)?;
            let nearer = (threshold - 0.5).abs() < (best.threshold - 0.5).abs();
            if better(new, best.value) || (new == best.value && nearer) {
                best = TunedThreshold { threshold, value: new, at_half };
            }
        }
        if from == order.len() {
            return Ok(best);
        }
        let score = probability(from);
        while from < order.len() && probability(from) == score {
            if outcome.is(order[from] as usize, label) {
                now.true_positives -= 1;
            } else {
                now.false_positives -= 1;
            }
            from += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["ham".to_string(), "spam".to_string()]
    }

    fn outcome(positive: &[f64], targets: &[u32]) -> Outcome {
        let rows: Vec<f64> = positive.iter().flat_map(|&p| [1.0 - p, p]).collect();
        Outcome::classes(targets, &rows, 2).unwrap()
    }

    #[test]
    fn the_value_is_what_the_threshold_then_gives() {
        let positive = [0.05, 0.1, 0.2, 0.2, 0.3, 0.35, 0.4, 0.6];
        let outcome = outcome(&positive, &[0, 0, 1, 0, 1, 1, 0, 1]);
        for name in
            ["f1", "accuracy", "macro-f1", "matthews", "recall", "precision", "kappa", "quadratic-kappa"]
        {
            let metric = Metric::parse(name, Task::Classes, &names(), None).unwrap();
            let tuned = tune_threshold(&outcome, &metric).unwrap();
            let cut = outcome.clone().with_thresholds(&[tuned.threshold]).unwrap();
            assert_eq!(metric.of(&cut).unwrap(), tuned.value, "{name}");
            assert_eq!(metric.of(&outcome).unwrap(), tuned.at_half, "{name}");
            // By brute force no threshold is better.
            for step in 0..=1000 {
                let other = outcome.clone().with_thresholds(&[f64::from(step) / 1000.0]).unwrap();
                assert!(metric.of(&other).unwrap() <= tuned.value, "{name} at {step}");
            }
        }
    }

    #[test]
    fn it_works_for_the_first_class_as_positive() {
        let outcome = outcome(&[0.1, 0.6, 0.7, 0.9], &[0, 0, 1, 1]).with_positive(0).unwrap();
        let metric = Metric::parse("f1", Task::Classes, &names(), Some(0)).unwrap();
        let tuned = tune_threshold(&outcome, &metric).unwrap();
        assert_eq!(tuned.value, 1.0);
        assert!((tuned.threshold - 0.35).abs() < 1e-12, "{tuned:?}");
    }

    #[test]
    fn half_stays_when_nothing_is_better() {
        let metric = Metric::parse("f1", Task::Classes, &names(), None).unwrap();
        let tuned = tune_threshold(&outcome(&[0.1, 0.9], &[0, 1]), &metric).unwrap();
        assert_eq!(tuned, TunedThreshold { threshold: 0.5, value: 1.0, at_half: 1.0 });
        let sure = tune_threshold(&outcome(&[0.0, 1.0, 1.0], &[0, 1, 0]), &metric).unwrap();
        assert_eq!(sure.threshold, 0.5);
    }

    #[test]
    fn metrics_that_do_not_depend_on_it_are_refused() {
        let outcome = outcome(&[0.1, 0.9], &[0, 1]);
        let metric = Metric::parse("roc-auc", Task::Classes, &names(), None).unwrap();
        assert!(tune_threshold(&outcome, &metric).unwrap_err().to_string().contains("such as f1"));
        assert!(tune_label_thresholds(&outcome).is_err());
    }

    #[test]
    fn each_label_gets_its_own() {
        let truth = [true, false, true, false, false, false];
        let outcome = Outcome::multi_label(&truth, &[0.3, 0.9, 0.2, 0.1, 0.1, 0.6], 2).unwrap();
        let tuned = tune_label_thresholds(&outcome).unwrap();
        assert!((tuned[0].threshold - 0.15).abs() < 1e-12 && tuned[0].value == 1.0, "{tuned:?}");
        assert_eq!((tuned[1].threshold, tuned[1].value), (0.5, 0.0));
    }
}

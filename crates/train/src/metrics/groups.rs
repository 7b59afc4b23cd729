//! Whether a model serves groups of examples alike: how far the groups lie apart that fare best and worst.
//!
//! It says nothing of why, and small groups lie apart by chance: look at the intervals.
//!
//! Paper: Hardt et al. 2016 (equalized odds), <https://arxiv.org/abs/1610.02413>; Agarwal et al. 2018 (both as reductions),
//! <https://arxiv.org/abs/1803.02453>; defined as fairlearn does, <https://fairlearn.org>.

use super::outcome::Answers;
use super::{Computed, MetricError, Outcome, Summed, Undefined};
use std::collections::BTreeSet;

/// Counts of a group: examples, right answers, predicted positive, positive, both.
const WIDTH: usize = 5;

/// How a group fares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupReport {
    /// Its number.
    pub group: u32,
    /// Its examples.
    pub examples: u64,
    /// Share of right answers.
    pub accuracy: f64,
    /// Share of examples predicted as the positive class; `None` without a positive class.
    pub selection_rate: Option<f64>,
    /// Share of positive examples that were found, 0 without any; `None` without a positive class.
    pub true_positive_rate: Option<f64>,
    /// Share of the others predicted as positive, 0 without any; `None` without a positive class.
    pub false_positive_rate: Option<f64>,
}

/// How each group fares, by number, and how far groups lie apart: `accuracy-difference`, and with a positive class also
/// `demographic-parity-difference`, of the shares predicted as positive, and `equalized-odds-difference`, the greater of
/// those of true and of false positives. Each is the greatest of all groups less the smallest; less is better. Intervals
/// come from [`Bootstrap::intervals_of_sums`](super::Bootstrap::intervals_of_sums).
///
/// # Shapes
/// - `groups`: `[examples]`, the group of each example
///
/// # Errors
/// A task other than one class an example, a wrong number of groups.
pub fn group_differences(
    outcome: &Outcome,
    groups: &[u32],
) -> Result<(Vec<GroupReport>, Vec<Summed>), MetricError> {
    let (Answers::Classes(truth), Answers::Classes(predicted)) = (&outcome.truth, &outcome.predicted) else {
        return Err(MetricError::NotApplicable {
            name: "differences of groups".to_string(),
            task: outcome.task.words(),
            instead: "groups are compared in tasks with one class an example".to_string(),
        });
    };
    if groups.len() != truth.len() {
        let (expected, got) = (truth.len(), groups.len());
        return Err(MetricError::Length { what: "groups of examples", expected, got });
    }
    let numbers: Vec<u32> = groups.iter().copied().collect::<BTreeSet<u32>>().into_iter().collect();
    let width = WIDTH * numbers.len();
    let mut statistics = vec![0.0; groups.len() * width];
    for (row, (group, counts)) in groups.iter().zip(statistics.chunks_exact_mut(width)).enumerate() {
        let is = |class: u32| outcome.positive == Some(class as usize);
        let (there, found) = (is(truth[row]), is(predicted[row]));
        let counted = [true, truth[row] == predicted[row], found, there, found && there];
        let at = numbers.partition_point(|number| number < group) * WIDTH;
        for (count, yes) in counts[at..at + WIDTH].iter_mut().zip(counted) {
            *count = f64::from(u8::from(yes));
        }
    }
    let mut sums = vec![0.0; width];
    for row in statistics.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, count)| *sum += count);
    }
    let of_positive = |rate: f64| outcome.positive.map(|_| rate);
    let reports = numbers.iter().zip(sums.chunks_exact(WIDTH)).map(|(&group, counts)| GroupReport {
        group,
        examples: counts[0] as u64,
        accuracy: accuracy(counts),
        selection_rate: of_positive(selected(counts)),
        true_positive_rate: of_positive(true_positives(counts)),
        false_positive_rate: of_positive(false_positives(counts)),
    });
    let gap =
        |name: &str, value: fn(&[f64]) -> Computed| Summed::unlisted(name, width, statistics.clone(), value);
    let mut gaps = vec![gap("accuracy-difference", |sums| apart(sums, accuracy))?];
    if outcome.positive.is_some() {
        gaps.push(gap("demographic-parity-difference", |sums| apart(sums, selected))?);
        gaps.push(gap("equalized-odds-difference", |sums| {
            Ok(apart(sums, true_positives)?.max(apart(sums, false_positives)?))
        })?);
    }
    Ok((reports.collect(), gaps))
}

fn accuracy(counts: &[f64]) -> f64 {
    rate(counts[1], counts[0])
}

fn selected(counts: &[f64]) -> f64 {
    rate(counts[2], counts[0])
}

fn true_positives(counts: &[f64]) -> f64 {
    rate(counts[4], counts[3])
}

fn false_positives(counts: &[f64]) -> f64 {
    rate(counts[2] - counts[4], counts[0] - counts[3])
}

fn rate(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// The greatest rate less the smallest, over the groups that have examples.
fn apart(sums: &[f64], rate: fn(&[f64]) -> f64) -> Computed {
    let there = sums.chunks_exact(WIDTH).filter(|counts| counts[0] > 0.0).map(rate);
    let (low, high, count) = there.fold((f64::INFINITY, f64::NEG_INFINITY, 0), |(low, high, n), rate| {
        (low.min(rate), high.max(rate), n + 1)
    });
    if count < 2 { Err(Undefined("all examples are of one group")) } else { Ok(high - low) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Bootstrap;

    fn outcome() -> Outcome {
        let found = [0.9, 0.8, 0.2, 0.1, 0.9, 0.3, 0.2, 0.4];
        let probabilities: Vec<f64> = found.iter().flat_map(|p| [1.0 - p, *p]).collect();
        Outcome::classes(&[1, 0, 1, 0, 1, 1, 0, 0], &probabilities, 2).unwrap()
    }

    #[test]
    fn groups_are_reported_and_compared() {
        let (reports, gaps) = group_differences(&outcome(), &[7, 7, 7, 7, u32::MAX, 9, 9, 9]).unwrap();
        assert_eq!(reports.iter().map(|report| report.group).collect::<Vec<_>>(), [7, 9, u32::MAX]);
        let first = reports[0];
        assert_eq!((first.examples, first.accuracy, first.selection_rate), (4, 0.5, Some(0.5)));
        assert_eq!((first.true_positive_rate, first.false_positive_rate), (Some(0.5), Some(0.5)));
        let values: Vec<f64> = gaps.iter().map(|gap| gap.of().unwrap()).collect();
        assert_eq!(values, [0.5, 1.0, 1.0]);
        assert!(gaps.iter().all(|gap| !gap.higher_is_better()));
        let intervals = Bootstrap::default().intervals_of_sums(&gaps).unwrap();
        assert!(intervals.iter().all(Option::is_some));
    }

    #[test]
    fn one_group_and_other_tasks_are_told() {
        let (_, gaps) = group_differences(&outcome(), &[3; 8]).unwrap();
        assert!(gaps[0].of().unwrap_err().to_string().contains("one group"));
        assert!(group_differences(&outcome(), &[3; 7]).unwrap_err().to_string().contains("expected 8"));
        let scores = Outcome::scores(&[1.0], &[1.0]).unwrap();
        assert!(group_differences(&scores, &[0]).unwrap_err().to_string().contains("regression"));
        let three = Outcome::classes(&[0, 1], &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0], 3).unwrap();
        let (reports, gaps) = group_differences(&three, &[0, 1]).unwrap();
        assert_eq!((gaps.len(), reports[0].selection_rate), (1, None));
    }
}

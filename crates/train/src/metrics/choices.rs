//! One of the options that come with each example: multiple choice.
//!
//! Options differ from example to example, also in number, so there are no classes to count.

use super::outcome::first_greatest;
use super::summed::first_by_second;
use super::{MetricError, Summed, accuracy, log_loss};

/// `accuracy` and `log-loss` of choices, from a score for each option: the option of the greatest score is chosen, the first
/// of equals, and the probabilities are those of a softmax.
///
/// # Shapes
/// - `truth`: `[examples]`, the right option
/// - `scores`: `[examples]` rows of as many scores as the example has options
///
/// # Errors
/// No examples, lengths that differ, an example of fewer than two options, a right option that is not there, a score that
/// is NaN or infinite.
pub fn choices<R: AsRef<[P]>, P: Copy + Into<f64>>(
    truth: &[u32],
    scores: &[R],
) -> Result<Vec<Summed>, MetricError> {
    if truth.len() != scores.len() {
        let (expected, got) = (truth.len(), scores.len());
        return Err(MetricError::Length { what: "rows of scores of options", expected, got });
    }
    let (mut right, mut losses) = (Vec::new(), Vec::new());
    for (row, (&truth, scores)) in truth.iter().zip(scores).enumerate() {
        let scores: Vec<f64> = scores.as_ref().iter().map(|&score| score.into()).collect();
        if scores.len() < 2 {
            return Err(MetricError::TooFewLabels { needed: 2, got: scores.len() });
        }
        if truth as usize >= scores.len() {
            return Err(MetricError::TargetOutOfRange { row, got: truth, labels: scores.len() });
        }
        if let Some(column) = scores.iter().position(|score| !score.is_finite()) {
            let got = scores[column];
            return Err(MetricError::NotFinite { what: "score", row, column: Some(column), got });
        }
        let chosen = first_greatest(&scores);
        right.extend([f64::from(u8::from(chosen == truth as usize)), 1.0]);
        let sum: f64 = scores.iter().map(|score| (score - scores[chosen]).exp()).sum();
        let probability = (scores[truth as usize] - scores[chosen]).exp() / sum;
        losses.extend([log_loss::of_probability(probability), 1.0]);
    }
    Ok(vec![
        Summed::new(accuracy::SPEC.name, 2, right, first_by_second)?,
        Summed::new(log_loss::SPEC.name, 2, losses, first_by_second)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Evaluation, Metric, Outcome, Task};

    #[test]
    fn equal_numbers_of_options_are_classes() {
        let logits = [0.3, 1.0, -0.5, 2.0, 2.0, 1.0, -800.0, 0.0, 10.0, 0.0, 0.0, 0.0];
        let truth = [1, 0, 0, 2];
        let rows: Vec<&[f64]> = logits.chunks(3).collect();
        let sums = choices(&truth, &rows).unwrap();
        let outcome = Outcome::classes_from_logits(&truth, &logits, 3).unwrap();
        let labels = ["a", "b", "c"].map(str::to_string);
        let evaluation = Evaluation::of_sums(Task::Choices, &sums, Vec::new(), None).unwrap();
        for name in ["accuracy", "log-loss"] {
            let metric = Metric::parse(name, Task::Classes, &labels, None).unwrap();
            let (got, expected) = (evaluation.value(name).unwrap(), metric.of(&outcome).unwrap());
            assert!((got - expected).abs() < 1e-12, "{name}: {got} {expected}");
        }
        assert_eq!(evaluation.headline(), ["accuracy"]);
    }

    #[test]
    fn bad_options_are_refused_by_row() {
        let fails = |truth: &[u32], scores: &[&[f64]], message: &str| {
            let error = choices(truth, scores).unwrap_err().to_string();
            assert!(error.contains(message), "{error:?} should contain {message:?}");
        };
        fails(&[], &[], "zero examples");
        fails(&[0], &[], "expected 1 values, got 0");
        fails(&[0], &[&[1.0]], "at least 2");
        fails(&[0, 2], &[&[1.0, 2.0], &[1.0, 2.0]], "row 1 is class 2");
        fails(&[0], &[&[1.0, f64::NAN]], "score of row 0, column 1, is NaN");
    }
}

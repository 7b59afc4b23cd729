//! What was asked and what a model answered, checked once so that no metric has to.

use super::MetricError;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// The kind of answer that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Exactly one of two or more classes.
    Classes,
    /// Any number of labels.
    MultiLabel,
    /// One number.
    Scores,
    /// One tag a word, and the entities that tags mark.
    Tags,
    /// A span of a text that answers a question, or that there is none.
    Answers,
    /// One of the options that come with each example.
    Choices,
    /// A text.
    Texts,
    /// Candidates in order of relevance.
    Ranking,
    /// A head and a relation for each word.
    Trees,
    /// The next word, or a hidden one.
    Words,
    /// A reply in a conversation.
    Dialog,
}

impl Task {
    /// In words, for messages.
    pub fn words(self) -> &'static str {
        match self {
            Self::Classes => "single-label classification",
            Self::MultiLabel => "multi-label classification",
            Self::Scores => "regression",
            Self::Tags => "tagging",
            Self::Answers => "question answering",
            Self::Choices => "multiple choice",
            Self::Texts => "text generation",
            Self::Ranking => "ranking",
            Self::Trees => "dependency parsing",
            Self::Words => "language modelling",
            Self::Dialog => "dialog",
        }
    }
}

/// Targets or predictions.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answers {
    /// One class an example.
    Classes(Vec<u32>),
    /// `[examples, labels]`, row-major.
    Labels(Vec<bool>),
    /// One number an example.
    Scores(Vec<f64>),
}

/// Targets and predictions of one evaluation. Every number in it is finite, every class in range.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub(super) task: Task,
    pub(super) examples: usize,
    pub(super) labels: usize,
    pub(super) positive: Option<usize>,
    pub(super) truth: Answers,
    pub(super) predicted: Answers,
    /// `[examples, labels]`, row-major; empty for scores.
    pub(super) probabilities: Vec<f64>,
    /// Example indices by rising probability of each label (for scores: by prediction, by target).
    orders: OnceLock<Vec<Vec<u32>>>,
}

impl Outcome {
    /// One class an example, from class probabilities; the predicted class is the most probable, the first
    /// of equals. Of two classes the second is the positive one until [`Outcome::with_positive`] says else.
    ///
    /// # Shapes
    /// - `targets`: `[examples]`
    /// - `probabilities`: `[examples, labels]`, row-major, each row adding up to 1
    ///
    /// # Errors
    /// No examples, fewer than two labels, lengths that differ, a class out of range, a row that is not a
    /// distribution.
    pub fn classes<P: Copy + Into<f64>>(
        targets: &[u32],
        probabilities: &[P],
        labels: usize,
    ) -> Result<Self, MetricError> {
        let probabilities = check_probabilities(probabilities, targets.len(), labels, 2)?;
        for (row, values) in probabilities.chunks_exact(labels).enumerate() {
            let sum: f64 = values.iter().sum();
            // Wide enough for probabilities that passed through bf16, narrow enough to catch raw scores.
            if (sum - 1.0).abs() > 1e-2 {
                return Err(MetricError::NotNormalised { row, sum });
            }
        }
        Self::from_distribution(targets, probabilities, labels)
    }

    /// One class an example, from the logits of a softmax; see [`Outcome::classes`].
    ///
    /// # Shapes
    /// - `targets`: `[examples]`
    /// - `logits`: `[examples, labels]`, row-major
    ///
    /// # Errors
    /// No examples, fewer than two labels, lengths that differ, a class out of range, a logit that is NaN or
    /// infinite.
    pub fn classes_from_logits<P: Copy + Into<f64>>(
        targets: &[u32],
        logits: &[P],
        labels: usize,
    ) -> Result<Self, MetricError> {
        let mut values = check_numbers("logit", logits, targets.len(), labels, 2)?;
        for row in values.chunks_exact_mut(labels) {
            let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            row.iter_mut().for_each(|v| *v = (*v - top).exp());
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|v| *v /= sum);
        }
        Self::from_distribution(targets, values, labels)
    }

    fn from_distribution(
        targets: &[u32],
        probabilities: Vec<f64>,
        labels: usize,
    ) -> Result<Self, MetricError> {
        for (row, &got) in targets.iter().enumerate() {
            if got as usize >= labels {
                return Err(MetricError::TargetOutOfRange { row, got, labels });
            }
        }
        let predicted = probabilities.chunks_exact(labels).map(|row| first_greatest(row) as u32).collect();
        Ok(Self {
            task: Task::Classes,
            examples: targets.len(),
            labels,
            positive: (labels == 2).then_some(1),
            truth: Answers::Classes(targets.to_vec()),
            predicted: Answers::Classes(predicted),
            probabilities,
            orders: OnceLock::new(),
        })
    }

    /// Any number of labels an example, from the probability of each; a label is predicted above 0.5 until
    /// [`Outcome::with_thresholds`] says else.
    ///
    /// # Shapes
    /// - `targets`, `probabilities`: `[examples, labels]`, row-major
    ///
    /// # Errors
    /// No examples, no labels, lengths that differ, a number that is not a probability.
    pub fn multi_label<P: Copy + Into<f64>>(
        targets: &[bool],
        probabilities: &[P],
        labels: usize,
    ) -> Result<Self, MetricError> {
        let examples = rows_of(targets.len(), labels)?;
        let probabilities = check_probabilities(probabilities, examples, labels, 1)?;
        Ok(Self::from_probabilities(targets, probabilities, labels))
    }

    /// Any number of labels an example, from the logit of each; see [`Outcome::multi_label`].
    ///
    /// # Shapes
    /// - `targets`, `logits`: `[examples, labels]`, row-major
    ///
    /// # Errors
    /// No examples, no labels, lengths that differ, a logit that is NaN or infinite.
    pub fn multi_label_from_logits<P: Copy + Into<f64>>(
        targets: &[bool],
        logits: &[P],
        labels: usize,
    ) -> Result<Self, MetricError> {
        let examples = rows_of(targets.len(), labels)?;
        let mut values = check_numbers("logit", logits, examples, labels, 1)?;
        values.iter_mut().for_each(|v| *v = 1.0 / (1.0 + (-*v).exp()));
        Ok(Self::from_probabilities(targets, values, labels))
    }

    fn from_probabilities(targets: &[bool], probabilities: Vec<f64>, labels: usize) -> Self {
        Self {
            task: Task::MultiLabel,
            examples: targets.len() / labels,
            labels,
            positive: None,
            truth: Answers::Labels(targets.to_vec()),
            predicted: Answers::Labels(probabilities.iter().map(|&p| p > 0.5).collect()),
            probabilities,
            orders: OnceLock::new(),
        }
    }

    /// One number an example.
    ///
    /// # Shapes
    /// - `targets`, `predictions`: `[examples]`
    ///
    /// # Errors
    /// No examples, lengths that differ, a number that is NaN or infinite.
    pub fn scores<T: Copy + Into<f64>, P: Copy + Into<f64>>(
        targets: &[T],
        predictions: &[P],
    ) -> Result<Self, MetricError> {
        let truth = check_numbers("target", targets, targets.len(), 1, 1)?;
        let predicted = check_numbers("prediction", predictions, targets.len(), 1, 1)?;
        Ok(Self {
            task: Task::Scores,
            examples: targets.len(),
            labels: 0,
            positive: None,
            truth: Answers::Scores(truth),
            predicted: Answers::Scores(predicted),
            probabilities: Vec::new(),
            orders: OnceLock::new(),
        })
    }

    /// The same with class `class` as the one that plain `f1`, `precision` and `recall` are about.
    ///
    /// # Errors
    /// When the task is not single-label, or there is no such class.
    pub fn with_positive(mut self, class: usize) -> Result<Self, MetricError> {
        if self.task != Task::Classes || class >= self.labels {
            return Err(MetricError::OutOfRange {
                option: "positive class",
                expected: "one of the classes of a single-label task",
                got: class as f64,
            });
        }
        self.positive = Some(class);
        Ok(self)
    }

    /// The same decided again: positive above the threshold. Two classes take one threshold, on the
    /// probability of the positive class; a multi-label task takes one for all labels or one a label.
    ///
    /// # Errors
    /// A threshold that is not between 0 and 1, the wrong number of them, or a task that has none.
    pub fn with_thresholds(mut self, thresholds: &[f64]) -> Result<Self, MetricError> {
        if let Some(&got) = thresholds.iter().find(|t| !(0.0..=1.0).contains(*t)) {
            return Err(MetricError::OutOfRange { option: "threshold", expected: "between 0 and 1", got });
        }
        let expected = match (self.task, self.positive) {
            (Task::Classes, Some(positive)) if self.labels == 2 && thresholds.len() == 1 => {
                let rows = self.probabilities.chunks_exact(2);
                let decide =
                    |row: &[f64]| if row[positive] > thresholds[0] { positive } else { 1 - positive };
                self.predicted = Answers::Classes(rows.map(|row| decide(row) as u32).collect());
                return Ok(self);
            }
            (Task::MultiLabel, _) if thresholds.len() == 1 || thresholds.len() == self.labels => {
                let of = |label: usize| if thresholds.len() == 1 { thresholds[0] } else { thresholds[label] };
                let decide = |(i, &p): (usize, &f64)| p > of(i % self.labels);
                let predicted = self.probabilities.iter().enumerate().map(decide).collect();
                self.predicted = Answers::Labels(predicted);
                return Ok(self);
            }
            (Task::MultiLabel, _) => self.labels,
            (Task::Classes, Some(_)) if self.labels == 2 => 1,
            _ => 0,
        };
        Err(MetricError::Length {
            what: "thresholds (one for two classes, one or one a label for multi-label, none otherwise)",
            expected,
            got: thresholds.len(),
        })
    }

    /// The chosen examples as an outcome of their own, in the order given.
    ///
    /// # Panics
    /// On an example that is not there.
    pub fn select(&self, rows: &[usize]) -> Self {
        fn wide<T: Copy>(values: &[T], width: usize, rows: &[usize]) -> Vec<T> {
            rows.iter().flat_map(|row| values[row * width..][..width].iter().copied()).collect()
        }
        let of = |answers: &Answers| match answers {
            Answers::Classes(classes) => Answers::Classes(wide(classes, 1, rows)),
            Answers::Labels(labels) => Answers::Labels(wide(labels, self.labels, rows)),
            Answers::Scores(scores) => Answers::Scores(wide(scores, 1, rows)),
        };
        Self {
            examples: rows.len(),
            truth: of(&self.truth),
            predicted: of(&self.predicted),
            probabilities: wide(&self.probabilities, self.labels, rows),
            orders: OnceLock::new(),
            ..*self
        }
    }

    /// The kind of answer.
    pub fn task(&self) -> Task {
        self.task
    }

    /// Number of examples, at least one.
    pub fn examples(&self) -> usize {
        self.examples
    }

    /// Number of labels; 0 for scores.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// The class plain `f1`, `precision` and `recall` are about.
    pub fn positive(&self) -> Option<usize> {
        self.positive
    }

    /// `[examples, labels]`, row-major; empty for scores.
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// The predicted class of each example; `None` unless one class an example is predicted.
    pub fn predicted_classes(&self) -> Option<&[u32]> {
        match &self.predicted {
            Answers::Classes(classes) => Some(classes),
            Answers::Labels(_) | Answers::Scores(_) => None,
        }
    }

    /// The number predicted for each example; `None` unless numbers are.
    pub fn predicted_scores(&self) -> Option<&[f64]> {
        match &self.predicted {
            Answers::Scores(scores) => Some(scores),
            Answers::Classes(_) | Answers::Labels(_) => None,
        }
    }

    /// Whether label `label` is true of example `row`.
    pub(super) fn is(&self, row: usize, label: usize) -> bool {
        match &self.truth {
            Answers::Classes(classes) => classes[row] as usize == label,
            Answers::Labels(labels) => labels[row * self.labels + label],
            Answers::Scores(_) => false,
        }
    }

    /// Probability of label `label` for example `row`.
    pub(super) fn probability(&self, row: usize, label: usize) -> f64 {
        self.probabilities[row * self.labels + label]
    }

    /// Targets and predictions of a regression; empty for other tasks.
    pub(super) fn pairs(&self) -> (&[f64], &[f64]) {
        match (&self.truth, &self.predicted) {
            (Answers::Scores(truth), Answers::Scores(predicted)) => (truth, predicted),
            _ => (&[], &[]),
        }
    }

    /// Examples by rising value of column `column`: the probability of a label or, for scores, 0 the
    /// predictions and 1 the targets. Sorted once, so that a thousand resamples need no sorting.
    pub(super) fn order(&self, column: usize) -> &[u32] {
        let orders = self.orders.get_or_init(|| {
            let sorted = |value: &dyn Fn(usize) -> f64| {
                let mut order: Vec<u32> = (0..self.examples as u32).collect();
                order.sort_by(|&a, &b| value(a as usize).total_cmp(&value(b as usize)));
                order
            };
            match self.task {
                Task::Scores => {
                    let (truth, predicted) = self.pairs();
                    vec![sorted(&|i| predicted[i]), sorted(&|i| truth[i])]
                }
                _ => (0..self.labels).map(|label| sorted(&|i| self.probability(i, label))).collect(),
            }
        });
        &orders[column]
    }

    /// Every example once.
    pub(super) fn once(&self) -> Vec<u32> {
        vec![1; self.examples]
    }

    /// Puts other single-label decisions in place.
    pub(super) fn decide(mut self, predicted: Vec<u32>) -> Self {
        self.predicted = Answers::Classes(predicted);
        self
    }
}

/// Index of the greatest value, the first of equals.
pub(super) fn first_greatest(row: &[f64]) -> usize {
    let mut best = 0;
    for (i, &value) in row.iter().enumerate() {
        if value > row[best] {
            best = i;
        }
    }
    best
}

/// Rows of a `[rows, labels]` list of `length` values.
fn rows_of(length: usize, labels: usize) -> Result<usize, MetricError> {
    if labels == 0 {
        return Err(MetricError::TooFewLabels { needed: 1, got: 0 });
    }
    if !length.is_multiple_of(labels) {
        let expected = length.next_multiple_of(labels);
        return Err(MetricError::Length { what: "targets", expected, got: length });
    }
    Ok(length / labels)
}

fn check_numbers<P: Copy + Into<f64>>(
    what: &'static str,
    values: &[P],
    examples: usize,
    columns: usize,
    needed: usize,
) -> Result<Vec<f64>, MetricError> {
    if examples == 0 {
        return Err(MetricError::Empty);
    }
    if columns < needed {
        return Err(MetricError::TooFewLabels { needed, got: columns });
    }
    if values.len() != examples * columns {
        return Err(MetricError::Length { what, expected: examples * columns, got: values.len() });
    }
    let values: Vec<f64> = values.iter().map(|&v| v.into()).collect();
    match values.iter().position(|v| !v.is_finite()) {
        Some(at) => Err(MetricError::NotFinite {
            what,
            row: at / columns,
            column: (columns > 1).then_some(at % columns),
            got: values[at],
        }),
        None => Ok(values),
    }
}

fn check_probabilities<P: Copy + Into<f64>>(
    values: &[P],
    examples: usize,
    labels: usize,
    needed: usize,
) -> Result<Vec<f64>, MetricError> {
    let mut values = check_numbers("probability", values, examples, labels, needed)?;
    for (at, value) in values.iter_mut().enumerate() {
        // Rounding may push a sum of f32 probabilities a hair over one; anything more is a mistake.
        if !(-1e-6..=1.0 + 1e-6).contains(value) {
            return Err(MetricError::NotAProbability { row: at / labels, column: at % labels, got: *value });
        }
        *value = value.clamp(0.0, 1.0);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(outcome: Result<Outcome, MetricError>, message: &str) {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains(message), "{error:?} should contain {message:?}");
    }

    #[test]
    fn bad_predictions_are_refused_by_row() {
        fails(Outcome::classes::<f64>(&[], &[], 2), "zero examples");
        fails(Outcome::scores::<f32, f32>(&[], &[]), "zero examples");
        fails(Outcome::multi_label::<f64>(&[], &[], 3), "zero examples");
        fails(Outcome::classes(&[0], &[1.0], 1), "at least 2 labels");
        fails(Outcome::classes(&[0], &[1.0, 0.0, 0.0], 2), "expected 2 values, got 3");
        fails(Outcome::classes(&[0, 2], &[1.0, 0.0, 0.5, 0.5], 2), "row 1 is class 2");
        fails(Outcome::classes(&[0, 1], &[1.0, 0.0, 0.5, f64::NAN], 2), "row 1, column 1, is NaN");
        fails(Outcome::classes(&[0, 1], &[1.0, 0.0, 2.5, -1.5], 2), "are these logits?");
        fails(Outcome::classes(&[0, 1], &[1.0, 0.0, 0.5, 0.6], 2), "row 1 add up to 1.1");
        fails(Outcome::classes_from_logits(&[0, 1], &[1.0, 0.0, f32::NAN, 0.6], 2), "logit of row 1");
        fails(Outcome::scores(&[0.0, 1.0], &[1.0, f32::INFINITY]), "prediction of row 1 is inf");
        fails(Outcome::scores(&[f64::NAN, 1.0], &[1.0, 1.0]), "target of row 0");
        fails(Outcome::scores(&[0.0, 1.0], &[1.0]), "expected 2 values, got 1");
        fails(Outcome::multi_label(&[true; 3], &[0.5; 3], 2), "targets: expected 4");
        fails(Outcome::multi_label(&[true; 3], &[0.5; 3], 0), "at least 1 labels");
    }

    #[test]
    fn logits_and_probabilities_agree() {
        let outcome =
            Outcome::classes_from_logits(&[0, 1], &[0.0f32, 3f32.ln(), 1000.0, -1000.0], 2).unwrap();
        let expected = [0.25, 0.75, 1.0, 0.0];
        assert!(outcome.probabilities.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-7));
        assert_eq!(outcome.predicted_classes(), Some(&[1, 0][..]));
        let outcome = Outcome::multi_label_from_logits(&[true, false], &[0.0f32, -1000.0], 2).unwrap();
        assert_eq!(outcome.probabilities, [0.5, 0.0]);
    }

    #[test]
    fn thresholds_decide_again() {
        let outcome = Outcome::classes(&[0, 1], &[0.7, 0.3, 0.9, 0.1], 2).unwrap();
        assert_eq!(outcome.predicted_classes(), Some(&[0, 0][..]));
        let moved = outcome.clone().with_thresholds(&[0.2]).unwrap();
        assert_eq!(moved.predicted_classes(), Some(&[1, 0][..]));
        let other = outcome.clone().with_positive(0).unwrap().with_thresholds(&[0.8]).unwrap();
        assert_eq!(other.predicted_classes(), Some(&[1, 0][..]));
        fails(outcome.clone().with_thresholds(&[0.2, 0.3]), "thresholds");
        fails(outcome.clone().with_thresholds(&[1.2]), "between 0 and 1");
        fails(outcome.with_positive(2), "positive class");
        let labels = Outcome::multi_label(&[true, false], &[0.4, 0.6], 2).unwrap();
        let labels = labels.with_thresholds(&[0.3, 0.7]).unwrap();
        assert_eq!(labels.predicted, Answers::Labels(vec![true, false]));
    }
}

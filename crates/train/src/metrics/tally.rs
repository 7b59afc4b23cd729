//! Counts of right and wrong answers: all that accuracy, precision, recall, F1 and Matthews need.

use super::outcome::{Answers, Outcome};

/// Counts over examples, each counted as often as it was drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Examples counted.
    pub examples: u64,
    /// Examples answered exactly right (for multi-label: every label right).
    pub exact: u64,
    /// Answers right, label by label (for multi-label each example has one answer a label).
    pub cells: u64,
    /// Per label: predicted and true.
    pub hits: Vec<u64>,
    /// Per label: predicted.
    pub predicted: Vec<u64>,
    /// Per label: true.
    pub actual: Vec<u64>,
    /// Single-label: how far predicted and true classes lie apart in the list of labels, summed.
    pub distance: u64,
    /// Single-label: the squares of that, summed.
    pub square_distance: u64,
    /// Whether an example may carry any number of labels.
    pub multi_label: bool,
}

impl Tally {
    /// Counts `outcome`, example `i` as often as `counts[i]` says. All zero for scores.
    pub fn of(outcome: &Outcome, counts: &[u32]) -> Self {
        let mut tally = Self::default();
        tally.count(outcome, counts);
        tally
    }

    /// As [`Tally::of`], into the room this tally already has.
    pub(super) fn count(&mut self, outcome: &Outcome, counts: &[u32]) {
        let labels = outcome.labels;
        for list in [&mut self.hits, &mut self.predicted, &mut self.actual] {
            list.clear();
            list.resize(labels, 0);
        }
        (self.examples, self.exact, self.cells) = (0, 0, 0);
        (self.distance, self.square_distance) = (0, 0);
        match (&outcome.truth, &outcome.predicted) {
            (Answers::Classes(truth), Answers::Classes(predicted)) => {
                self.multi_label = false;
                for ((&truth, &predicted), &count) in truth.iter().zip(predicted).zip(counts) {
                    let count = u64::from(count);
                    self.examples += count;
                    self.actual[truth as usize] += count;
                    self.predicted[predicted as usize] += count;
                    if truth == predicted {
                        self.hits[truth as usize] += count;
                        self.exact += count;
                    }
                    let distance = u64::from(truth.abs_diff(predicted));
                    self.distance += count * distance;
                    self.square_distance += count * distance * distance;
                }
                self.cells = self.exact;
            }
            (Answers::Labels(truth), Answers::Labels(predicted)) => {
                self.multi_label = true;
                let rows = truth.chunks_exact(labels).zip(predicted.chunks_exact(labels));
                for ((truth, predicted), &count) in rows.zip(counts) {
                    let count = u64::from(count);
                    self.examples += count;
                    self.exact += count * u64::from(truth == predicted);
                    for (label, (&truth, &predicted)) in truth.iter().zip(predicted).enumerate() {
                        self.actual[label] += count * u64::from(truth);
                        self.predicted[label] += count * u64::from(predicted);
                        self.hits[label] += count * u64::from(truth && predicted);
                        self.cells += count * u64::from(truth == predicted);
                    }
                }
            }
            _ => {}
        }
    }

    /// Labels an average runs over. Single-label: those that occur as a target or as a prediction, so that
    /// classes absent from a small test set do not count as failures. Multi-label: all of them. Both as in
    /// scikit-learn.
    pub fn averaged(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.actual.len()).filter(|&l| self.multi_label || self.actual[l] + self.predicted[l] > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_example_as_often_as_it_was_drawn() {
        let outcome = Outcome::classes(&[0, 1, 1], &[0.9, 0.1, 0.2, 0.8, 0.6, 0.4], 2).unwrap();
        let tally = Tally::of(&outcome, &[1, 0, 3]);
        assert_eq!((tally.examples, tally.exact), (4, 1));
        assert_eq!((tally.distance, tally.square_distance), (3, 3));
        assert_eq!(
            (&tally.hits[..], &tally.predicted[..], &tally.actual[..]),
            (&[1, 0][..], &[4, 0][..], &[1, 3][..])
        );
    }

    #[test]
    fn multi_label_counts_cells_and_whole_rows() {
        let truth = [true, false, false, true];
        let outcome = Outcome::multi_label(&truth, &[0.9, 0.1, 0.9, 0.9], 2).unwrap();
        let tally = Tally::of(&outcome, &outcome.once());
        assert_eq!((tally.examples, tally.exact, tally.cells), (2, 1, 3));
        assert_eq!(tally.hits, [1, 1]);
    }
}

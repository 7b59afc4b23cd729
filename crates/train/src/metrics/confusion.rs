//! How often each class was taken for each.

use super::outcome::Answers;
use super::{MetricError, Outcome, Task};
use serde::{Deserialize, Serialize};

/// A confusion matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// `cells[truth][predicted]`: how often.
    pub cells: Vec<Vec<u64>>,
}

impl Confusion {
    /// Counts a single-label outcome.
    ///
    /// # Errors
    /// [`MetricError::NotApplicable`] for other tasks.
    pub fn of(outcome: &Outcome) -> Result<Self, MetricError> {
        let (Answers::Classes(truth), Answers::Classes(predicted)) = (&outcome.truth, &outcome.predicted)
        else {
            return Err(MetricError::NotApplicable {
                name: "confusion matrix".to_string(),
                task: outcome.task.words(),
                instead: match outcome.task {
                    Task::Scores => "ask for pearson, spearman, mse or mae".to_string(),
                    _ => "the per-label table counts hits and misses".to_string(),
                },
            });
        };
        let mut cells = vec![vec![0; outcome.labels]; outcome.labels];
        for (&truth, &predicted) in truth.iter().zip(predicted) {
            cells[truth as usize][predicted as usize] += 1;
        }
        Ok(Self { cells })
    }

    /// The most frequent mistakes, `(truth, predicted, times)`, at most `limit`, most frequent first.
    pub fn mistakes(&self, limit: usize) -> Vec<(usize, usize, u64)> {
        let rows = self.cells.iter().enumerate();
        let mut mistakes: Vec<(usize, usize, u64)> = rows
            .flat_map(|(truth, row)| row.iter().enumerate().map(move |(predicted, &n)| (truth, predicted, n)))
            .filter(|&(truth, predicted, n)| truth != predicted && n > 0)
            .collect();
        // A stable sort: equals stay in the order of their labels.
        mistakes.sort_by_key(|&(_, _, n)| std::cmp::Reverse(n));
        mistakes.truncate(limit);
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_ranked() {
        let confusion = Confusion { cells: vec![vec![5, 1, 2], vec![0, 9, 2], vec![3, 0, 1]] };
        assert_eq!(confusion.mistakes(3), [(2, 0, 3), (0, 2, 2), (1, 2, 2)]);
        assert!(Confusion::of(&Outcome::scores(&[1.0], &[1.0]).unwrap()).is_err());
    }
}

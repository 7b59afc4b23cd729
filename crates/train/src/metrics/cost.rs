//! Decisions where mistakes differ in price: choose the class of least expected cost.
//!
//! Paper: Elkan 2001, The foundations of cost-sensitive learning, equations 1 and 2,
//! <https://cseweb.ucsd.edu/~elkan/rescale.pdf>.

use super::outcome::Answers;
use super::{MetricError, Outcome, Task};
use serde::{Deserialize, Serialize};

/// What each answer costs, given the truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostMatrix {
    labels: usize,
    /// `[truth, predicted]`, row-major.
    costs: Vec<f64>,
}

impl CostMatrix {
    /// A cost for each truth and each answer.
    ///
    /// # Shapes
    /// - `costs`: `[truth, predicted]`, row-major, `labels * labels` values
    ///
    /// # Errors
    /// Fewer than two labels, the wrong number of costs, or one that is NaN or infinite.
    pub fn new(labels: usize, costs: &[f64]) -> Result<Self, MetricError> {
        if labels < 2 {
            return Err(MetricError::TooFewLabels { needed: 2, got: labels });
        }
        if costs.len() != labels * labels {
            let (expected, got) = (labels * labels, costs.len());
            return Err(MetricError::Length { what: "costs (truth by prediction)", expected, got });
        }
        if let Some(at) = costs.iter().position(|c| !c.is_finite()) {
            let (row, column, got) = (at / labels, Some(at % labels), costs[at]);
            return Err(MetricError::NotFinite { what: "cost", row, column, got });
        }
        Ok(Self { labels, costs: costs.to_vec() })
    }

    /// Two classes, of which `positive` (0 or 1) is the positive one; right answers are free.
    ///
    /// # Errors
    /// As [`CostMatrix::new`].
    pub fn two(positive: usize, false_positive: f64, false_negative: f64) -> Result<Self, MetricError> {
        let (first, second) =
            if positive == 1 { (false_positive, false_negative) } else { (false_negative, false_positive) };
        Self::new(2, &[0.0, first, second, 0.0])
    }

    /// Number of labels.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// The costs, a row for each truth, in it the cost of each answer.
    pub fn rows(&self) -> Vec<Vec<f64>> {
        self.costs.chunks(self.labels).map(<[f64]>::to_vec).collect()
    }

    /// The class of least expected cost under `probabilities` (`[labels]`), the first of equals.
    pub fn choose(&self, probabilities: &[f64]) -> usize {
        let expected = |class: usize| -> f64 {
            let costs = self.costs.iter().skip(class).step_by(self.labels);
            probabilities.iter().zip(costs).map(|(p, cost)| p * cost).sum()
        };
        let mut best = (0, expected(0));
        for class in 1..self.labels {
            let cost = expected(class);
            if cost < best.1 {
                best = (class, cost);
            }
        }
        best.0
    }

    /// `outcome` decided again by least expected cost.
    ///
    /// # Errors
    /// When the outcome is not single-label or has another number of labels.
    pub fn decide(&self, outcome: Outcome) -> Result<Outcome, MetricError> {
        self.fits(&outcome)?;
        let rows = outcome.probabilities.chunks_exact(self.labels);
        let predicted = rows.map(|row| self.choose(row) as u32).collect();
        Ok(outcome.decide(predicted))
    }

    /// Mean cost of the predictions of `outcome`.
    ///
    /// # Errors
    /// When the outcome is not single-label or has another number of labels.
    pub fn mean_cost(&self, outcome: &Outcome) -> Result<f64, MetricError> {
        self.fits(outcome)?;
        let (Answers::Classes(truth), Answers::Classes(predicted)) = (&outcome.truth, &outcome.predicted)
        else {
            return Ok(0.0);
        };
        let pairs = truth.iter().zip(predicted);
        let sum: f64 = pairs.map(|(&t, &p)| self.costs[t as usize * self.labels + p as usize]).sum();
        Ok(sum / outcome.examples as f64)
    }

    fn fits(&self, outcome: &Outcome) -> Result<(), MetricError> {
        if outcome.task != Task::Classes {
            return Err(MetricError::NotApplicable {
                name: "cost matrix".to_string(),
                task: outcome.task.words(),
                instead: "costs are for tasks with one class an example".to_string(),
            });
        }
        if outcome.labels != self.labels {
            let (expected, got) = (outcome.labels, self.labels);
            return Err(MetricError::Length { what: "labels of the cost matrix", expected, got });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_classes_cut_where_the_costs_balance() {
        // Equation 2: positive from p = c10 / (c10 + c01) on.
        let costs = CostMatrix::two(1, 9.0, 1.0).unwrap();
        assert_eq!(costs.choose(&[0.11, 0.89]), 0);
        assert_eq!(costs.choose(&[0.09, 0.91]), 1);
        let mirrored = CostMatrix::two(0, 9.0, 1.0).unwrap();
        assert_eq!(mirrored.choose(&[0.89, 0.11]), 1);
        assert_eq!(mirrored.choose(&[0.91, 0.09]), 0);
    }

    #[test]
    fn deciding_by_cost_lowers_the_cost() {
        let probabilities = [0.4, 0.6, 0.3, 0.7, 0.05, 0.95, 0.8, 0.2];
        let outcome = Outcome::classes(&[0, 1, 1, 0], &probabilities, 2).unwrap();
        let costs = CostMatrix::two(1, 9.0, 1.0).unwrap();
        assert_eq!(costs.mean_cost(&outcome).unwrap(), 9.0 / 4.0);
        let decided = costs.decide(outcome).unwrap();
        assert_eq!(decided.predicted_classes(), Some(&[0, 0, 1, 0][..]));
        assert_eq!(costs.mean_cost(&decided).unwrap(), 1.0 / 4.0);
    }

    #[test]
    fn equal_costs_are_the_most_probable_class() {
        let costs = CostMatrix::new(3, &[0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0]).unwrap();
        assert_eq!(costs.choose(&[0.3, 0.5, 0.2]), 1);
    }

    #[test]
    fn bad_matrices_are_refused() {
        assert!(CostMatrix::new(1, &[0.0]).is_err());
        assert!(CostMatrix::new(2, &[0.0; 3]).is_err());
        assert!(CostMatrix::new(2, &[0.0, f64::NAN, 0.0, 0.0]).is_err());
        let three = Outcome::classes(&[0], &[1.0, 0.0, 0.0], 3).unwrap();
        assert!(CostMatrix::two(1, 1.0, 1.0).unwrap().decide(three).is_err());
    }
}

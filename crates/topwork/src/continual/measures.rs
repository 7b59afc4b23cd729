//! What a matrix of scores says of learning tasks one after the other: row t has the scores on every task after task t was learnt.

use serde::{Deserialize, Serialize};

/// Scores by the number of tasks learnt and by the task measured on, where there are some.
///
/// # Shapes
/// `[tasks][tasks]`
pub type Matrix = Vec<Vec<Option<f64>>>;

/// What a matrix says; `None` where it takes two tasks, or scores that are not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Measures {
    /// The mean score on all tasks in the end.
    pub average: Option<f64>,
    /// What learning later tasks did to earlier ones: the mean of the score in the end less the one right after learning.
    pub backward: Option<f64>,
    /// What learning earlier tasks does for a later one before it is learnt: the mean of its score then, less that of a head that
    /// nothing has taught.
    pub forward: Option<f64>,
    /// The mean of what was lost on earlier tasks since they were at their best.
    pub forgetting: Option<f64>,
    /// What having learnt other tasks first does to learning a task: the mean of its score right after learning, less what it has
    /// when it is learnt alone.
    pub learning: Option<f64>,
}

fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Option<Vec<f64>> = values.collect();
    let values = values.filter(|values| !values.is_empty())?;
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

impl Measures {
    /// Of a matrix, with the scores of untaught heads (`before`) and of tasks learnt alone, where there are some.
    ///
    /// Paper: Lopez-Paz, Ranzato 2017, "Gradient Episodic Memory for Continual Learning", section 2, equations 2 to 4 (average,
    /// backward and forward transfer), <https://arxiv.org/abs/1706.08840>
    ///
    /// Paper: Chaudhry et al. 2018, "Riemannian Walk for Incremental Learning", section 3.1 (forgetting; intransigence is
    /// `learning` with the other sign, against a model of all tasks where this is against one of the task alone),
    /// <https://arxiv.org/abs/1801.10112>
    pub fn of(matrix: &Matrix, before: &[Option<f64>], alone: &[Option<f64>]) -> Self {
        let tasks = matrix.len();
        let at = |row: usize, task: usize| matrix.get(row)?.get(task).copied().flatten();
        let Some(last) = tasks.checked_sub(1) else { return Measures::default() };
        let less = |a: Option<f64>, b: Option<f64>| Some(a? - b?);
        // The best before the last task, of the scores that there are: a head of its own has none before it is taught.
        let best = |task: usize| (0..last).filter_map(|row| at(row, task)).reduce(f64::max);
        Measures {
            average: mean((0..tasks).map(|task| at(last, task))),
            backward: mean((0..last).map(|task| less(at(last, task), at(task, task)))),
            forward: mean(
                (1..tasks).map(|task| less(at(task - 1, task), before.get(task).copied().flatten())),
            ),
            forgetting: mean((0..last).map(|task| less(best(task), at(last, task)))),
            learning: mean((1..tasks).map(|task| less(at(task, task), alone.get(task).copied().flatten()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        matrix: Matrix,
        before: Vec<Option<f64>>,
        alone: Vec<Option<f64>>,
        measures: Measures,
    }

    /// fixtures/make/studies.py writes the sums of the papers out with numpy.
    #[test]
    fn measures_are_those_of_the_papers() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/studies/continual.json");
        let cases: Vec<Golden> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(cases.len(), 5);
        let list = |m: &Measures| [m.average, m.backward, m.forward, m.forgetting, m.learning];
        let mut seen = 0;
        for case in &cases {
            let found = Measures::of(&case.matrix, &case.before, &case.alone);
            for (a, b) in list(&found).into_iter().zip(list(&case.measures)) {
                assert_eq!(a.is_some(), b.is_some(), "{case:?}", case = case.matrix);
                assert!((a.unwrap_or(0.0) - b.unwrap_or(0.0)).abs() < 1e-12, "{a:?} {b:?}");
                seen += usize::from(a.is_some());
            }
        }
        assert_eq!(seen, 5 + 5 + 4 + 1);
    }

    #[test]
    fn an_example_by_hand() {
        let some = |values: &[f64]| values.iter().map(|value| Some(*value)).collect::<Vec<_>>();
        let matrix = vec![some(&[0.9, 0.6]), some(&[0.7, 0.8])];
        let found = Measures::of(&matrix, &some(&[0.5, 0.5]), &some(&[0.9, 0.85]));
        let near = |value: Option<f64>, expected: f64| assert!((value.unwrap() - expected).abs() < 1e-12);
        near(found.average, 0.75);
        near(found.backward, -0.2);
        near(found.forward, 0.1);
        near(found.forgetting, 0.2);
        near(found.learning, -0.05);
        assert_eq!(Measures::of(&Vec::new(), &[], &[]), Measures::default());
    }
}

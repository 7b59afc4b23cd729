//! Measures of a corpus: functions of sums over its examples, such as the F1 of entities or BLEU. What an example adds is
//! computed once, so that a resample costs one weighted sum.
//!
//! It does not read truth and answers: one file a kind of task does, and gives [`Summed`].

use super::bootstrap::paired;
use super::evaluation::{ClassReport, Value};
use super::name::find;
use super::{
    Bootstrap, Compute, Computed, Difference, Evaluation, Interval, METRICS, MetricError, MetricSpec, Scope,
    Task, Undefined,
};

/// A measure that is a function of sums over examples, as measures of a corpus are.
#[derive(Clone, Debug)]
pub struct Summed {
    /// Its name in [`METRICS`], such as "entity-f1".
    pub name: String,
    /// Numbers an example.
    pub width: usize,
    /// What each example adds: `[examples, width]`, row-major.
    pub statistics: Vec<f64>,
    /// The measure, from the sum of the rows.
    pub value: fn(&[f64]) -> Computed,
}

impl Summed {
    /// A measure by its name and what each example adds to it.
    ///
    /// # Shapes
    /// - `statistics`: `[examples, width]`, row-major
    ///
    /// # Errors
    /// A name that is not in [`METRICS`], no examples, rows that are not whole, a number that is NaN or infinite.
    pub fn new(
        name: &str,
        width: usize,
        statistics: Vec<f64>,
        value: fn(&[f64]) -> Computed,
    ) -> Result<Self, MetricError> {
        find(name, None)?;
        Self::unlisted(name, width, statistics, value)
    }

    /// As [`Summed::new`] for a measure that no recipe can ask for, because it needs more than truth and answers.
    pub(super) fn unlisted(
        name: &str,
        width: usize,
        statistics: Vec<f64>,
        value: fn(&[f64]) -> Computed,
    ) -> Result<Self, MetricError> {
        let summed = Self { name: name.to_string(), width, statistics, value };
        summed.check()?;
        Ok(summed)
    }

    /// The fields are open, so what is done with them looks at them again.
    fn check(&self) -> Result<(), MetricError> {
        if self.statistics.is_empty() {
            return Err(MetricError::Empty);
        }
        if self.width == 0 || !self.statistics.len().is_multiple_of(self.width) {
            return Err(MetricError::Length {
                what: "statistics of a measure, as many an example as it is wide",
                expected: self.statistics.len().next_multiple_of(self.width.max(1)),
                got: self.statistics.len(),
            });
        }
        match self.statistics.iter().position(|v| !v.is_finite()) {
            Some(at) => Err(MetricError::NotFinite {
                what: "statistic of a measure",
                row: at / self.width,
                column: (self.width > 1).then_some(at % self.width),
                got: self.statistics[at],
            }),
            None => Ok(()),
        }
    }

    /// Number of examples.
    pub fn examples(&self) -> usize {
        self.statistics.len().checked_div(self.width).unwrap_or(0)
    }

    /// The measure of the chosen examples, in the order given.
    ///
    /// # Panics
    /// On an example that is not there.
    pub fn select(&self, rows: &[usize]) -> Self {
        let row = |&row: &usize| &self.statistics[row * self.width..][..self.width];
        Self { statistics: rows.iter().flat_map(row).copied().collect(), ..self.clone() }
    }

    /// Its value on all examples.
    ///
    /// # Errors
    /// [`MetricError::Undefined`] where it has none; fields that were filled with what [`Summed::new`] refuses.
    pub fn of(&self) -> Result<f64, MetricError> {
        self.check()?;
        self.computed().map_err(|Undefined(reason)| MetricError::Undefined {
            name: self.name.clone(),
            reason: reason.to_string(),
        })
    }

    /// Whether more is better; not so for errors, gaps and what no list knows.
    pub fn higher_is_better(&self) -> bool {
        self.spec().is_some_and(|spec| spec.higher_is_better)
    }

    fn spec(&self) -> Option<&'static MetricSpec> {
        METRICS.iter().copied().find(|spec| spec.name == self.name)
    }

    fn computed(&self) -> Computed {
        let mut sums = vec![0.0; self.width];
        for row in self.statistics.chunks_exact(self.width) {
            sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
        }
        (self.value)(&sums)
    }

    /// Its value when example `i` counts `counts[i]` times; NaN where it has none. `sums` is room of its width.
    pub(super) fn drawn(&self, counts: &[u32], sums: &mut Vec<f64>) -> f64 {
        sums.clear();
        sums.resize(self.width, 0.0);
        for (row, &count) in self.statistics.chunks_exact(self.width).zip(counts) {
            if count > 0 {
                sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(count) * v);
            }
        }
        (self.value)(sums).unwrap_or(f64::NAN)
    }
}

/// An entry in the list for a measure that is made of sums, of which more is better.
pub(super) const fn listed(
    name: &'static str,
    summary: &'static str,
    link: &'static str,
    tasks: &'static [Task],
) -> MetricSpec {
    let (higher_is_better, scope, compute) = (true, Scope::Whole, Compute::Sums);
    MetricSpec { name, summary, link, higher_is_better, tasks, scope, compute }
}

/// The first sum by the second, as shares and means are.
pub(super) fn first_by_second(sums: &[f64]) -> Computed {
    if sums[1] > 0.0 { Ok(sums[0] / sums[1]) } else { Err(Undefined("nothing was there to be counted")) }
}

/// The examples of measures that must all have as many.
fn examples_of(sums: &[Summed]) -> Result<usize, MetricError> {
    let first = sums.first().ok_or(MetricError::Empty)?;
    for summed in sums {
        summed.check()?;
        if summed.examples() != first.examples() {
            let (expected, got) = (first.examples(), summed.examples());
            return Err(MetricError::Length {
                what: "examples of the measures of one corpus",
                expected,
                got,
            });
        }
    }
    Ok(first.examples())
}

impl Bootstrap {
    /// The interval of each measure, all from the same resamples; `None` where a measure has a value on none of them.
    ///
    /// # Errors
    /// A level outside (0, 1), fewer than two resamples, no measure, or measures of different numbers of examples.
    pub fn intervals_of_sums(&self, sums: &[Summed]) -> Result<Vec<Option<Interval>>, MetricError> {
        let examples = examples_of(sums)?;
        let mut drawn = vec![Vec::with_capacity(self.resamples as usize); sums.len()];
        let mut room = Vec::new();
        self.each_draw(examples, |counts| {
            for (drawn, summed) in drawn.iter_mut().zip(sums) {
                drawn.push(summed.drawn(counts, &mut room));
            }
        })?;
        Ok(drawn.into_iter().map(|values| self.percentiles(values)).collect())
    }

    /// The difference of two models in one measure, on the same examples in the same order.
    ///
    /// # Errors
    /// Two measures or two numbers of examples, no value, or options out of range.
    pub fn difference_of_sums(&self, first: &Summed, second: &Summed) -> Result<Difference, MetricError> {
        if first.name != second.name {
            return Err(MetricError::NotApplicable {
                name: second.name.clone(),
                task: "a comparison with another measure",
                instead: format!("compare {:?} with {:?}", first.name, first.name),
            });
        }
        let (a, b) = (first.of()?, second.of()?);
        if first.examples() != second.examples() {
            return Err(MetricError::Length {
                what: "paired comparison: both models must answer the same examples in the same order; examples of the second",
                expected: first.examples(),
                got: second.examples(),
            });
        }
        let mut differences = Vec::with_capacity(self.resamples as usize);
        let mut room = Vec::new();
        self.each_draw(first.examples(), |counts| {
            differences.push(first.drawn(counts, &mut room) - second.drawn(counts, &mut room));
        })?;
        paired(self, &first.name, (a, b), differences)
    }
}

impl Evaluation {
    /// What is known of a corpus: one value a measure, and of tasks with types one entry a type. With `bootstrap` every
    /// value has its interval.
    ///
    /// # Errors
    /// No measure, one that is not of the task or given twice, measures of different numbers of examples, options of
    /// `bootstrap` out of range.
    pub fn of_sums(
        task: Task,
        sums: &[Summed],
        classes: Vec<ClassReport>,
        bootstrap: Option<&Bootstrap>,
    ) -> Result<Self, MetricError> {
        let examples = examples_of(sums)?;
        let intervals = match bootstrap {
            Some(bootstrap) => bootstrap.intervals_of_sums(sums)?,
            None => vec![None; sums.len()],
        };
        let mut ranked = Vec::with_capacity(sums.len());
        for (summed, interval) in sums.iter().zip(intervals) {
            let refused = |instead: String| MetricError::NotApplicable {
                name: summed.name.clone(),
                task: task.words(),
                instead,
            };
            if !find(&summed.name, None)?.tasks.contains(&task) {
                let known: Vec<&str> =
                    METRICS.iter().filter(|m| m.tasks.contains(&task)).map(|m| m.name).collect();
                return Err(refused(format!("choose one of {}", known.join(", "))));
            }
            let rank = METRICS.iter().position(|spec| spec.name == summed.name);
            if ranked.iter().any(|(other, _)| *other == rank) {
                return Err(refused("it was given twice".to_string()));
            }
            let (value, undefined) = match summed.computed() {
                Ok(value) => (Some(value), None),
                Err(Undefined(reason)) => (None, Some(reason.to_string())),
            };
            let interval = interval.filter(|_| value.is_some());
            ranked.push((rank, Value { name: summed.name.clone(), value, undefined, interval }));
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        Ok(Self {
            task,
            examples,
            positive: None,
            loss: None,
            values: ranked.into_iter().map(|(_, value)| value).collect(),
            classes,
            confusion: None,
            calibration: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metric;

    fn summed(name: &str, right: usize) -> Summed {
        let statistics = (0..100).flat_map(|i| [f64::from(i < right), 1.0]).collect();
        Summed::new(name, 2, statistics, first_by_second).unwrap()
    }

    #[test]
    fn a_share_has_the_value_and_the_interval_it_has_as_an_outcome() {
        let accuracy = summed("accuracy", 80);
        assert_eq!((accuracy.of().unwrap(), accuracy.examples()), (0.8, 100));
        let probabilities: Vec<f64> =
            (0..100).flat_map(|i| if i < 80 { [0.8, 0.2] } else { [0.2, 0.8] }).collect();
        let outcome = crate::metrics::Outcome::classes(&[0; 100], &probabilities, 2).unwrap();
        let labels = ["a".to_string(), "b".to_string()];
        let metric = Metric::parse("accuracy", Task::Classes, &labels, None).unwrap();
        let bootstrap = Bootstrap::default();
        let expected = bootstrap.intervals(&outcome, std::slice::from_ref(&metric)).unwrap();
        assert_eq!(bootstrap.intervals_of_sums(&[accuracy]).unwrap(), expected);
        let other: Vec<f64> = (0..100).flat_map(|i| if i < 70 { [0.8, 0.2] } else { [0.2, 0.8] }).collect();
        let other = crate::metrics::Outcome::classes(&[0; 100], &other, 2).unwrap();
        let expected = bootstrap.difference(&outcome, &other, &metric).unwrap();
        let got = bootstrap.difference_of_sums(&summed("accuracy", 80), &summed("accuracy", 70)).unwrap();
        assert_eq!(got, expected);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let fails = |result: Result<Summed, MetricError>, message: &str| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(message), "{error:?} should contain {message:?}");
        };
        fails(Summed::new("entity-f", 2, vec![1.0; 4], first_by_second), "did you mean \"entity-f1\"?");
        fails(Summed::new("entity-f1", 2, Vec::new(), first_by_second), "zero examples");
        fails(Summed::new("entity-f1", 2, vec![1.0; 5], first_by_second), "expected 6 values, got 5");
        fails(Summed::new("entity-f1", 0, vec![1.0; 5], first_by_second), "statistics");
        fails(
            Summed::new("entity-f1", 2, vec![1.0, 1.0, 1.0, f64::NAN], first_by_second),
            "row 1, column 1, is NaN",
        );
        let broken = Summed { width: 0, ..summed("accuracy", 80) };
        assert!(broken.of().is_err() && broken.examples() == 0);
        let short = Summed::new("accuracy", 2, vec![1.0; 6], first_by_second).unwrap();
        let bootstrap = Bootstrap::default();
        assert!(bootstrap.intervals_of_sums(&[summed("accuracy", 80), short.clone()]).is_err());
        assert!(bootstrap.difference_of_sums(&summed("accuracy", 80), &short).is_err());
        assert!(bootstrap.difference_of_sums(&summed("accuracy", 80), &summed("bleu", 80)).is_err());
        assert!(bootstrap.intervals_of_sums(&[]).is_err());
        let bad = Bootstrap { level: 95.0, ..bootstrap };
        assert!(bad.intervals_of_sums(&[summed("accuracy", 80)]).is_err());
        let refused = |task, sums: &[Summed], message: &str| {
            let error = Evaluation::of_sums(task, sums, Vec::new(), None).unwrap_err().to_string();
            assert!(error.contains(message), "{error:?} should contain {message:?}");
        };
        refused(Task::Tags, &[], "zero examples");
        refused(Task::Tags, &[summed("bleu", 80)], "choose one of entity-f1");
        refused(Task::Texts, &[summed("bleu", 80), summed("bleu", 70)], "twice");
    }

    #[test]
    fn an_evaluation_of_a_corpus_has_values_by_name() {
        let nothing = Summed::new("entity-recall", 2, vec![0.0; 200], first_by_second).unwrap();
        let sums = [summed("tag-accuracy", 90), nothing, summed("entity-f1", 80)];
        let types = vec![ClassReport::of_counts("PER", 4, 5, 2), ClassReport::of_counts("LOC", 1, 0, 0)];
        let evaluation = Evaluation::of_sums(Task::Tags, &sums, types, Some(&Bootstrap::default())).unwrap();
        assert_eq!(evaluation.value("entity-f1").unwrap(), 0.8);
        assert_eq!(evaluation.value("entity-precision:PER").unwrap(), 0.4);
        assert_eq!(evaluation.value("entity-recall:PER").unwrap(), 0.5);
        assert!((evaluation.value("entity-f1:PER").unwrap() - 4.0 / 9.0).abs() < 1e-12);
        assert!(evaluation.interval("tag-accuracy").is_some());
        for (name, message) in [
            ("entity-recall", "nothing was there"),
            ("entity-f1:LOCS", "did you mean \"LOC\"?"),
            ("entity-macro-f1", "was not measured"),
            ("accuracy", "does not apply to"),
            ("f1", "does not apply to"),
        ] {
            let error = evaluation.value(name).unwrap_err().to_string();
            assert!(error.contains(message), "{name}: {error}");
        }
        let names: Vec<&str> = evaluation.values.iter().map(|v| v.name.as_str()).collect();
        assert_eq!(names, ["entity-f1", "entity-recall", "tag-accuracy"]);
        assert_eq!(evaluation.headline(), ["entity-f1", "entity-recall", "tag-accuracy"]);
        let text = evaluation.to_string();
        assert!(text.contains("  type  precision  recall      f1  support  predicted\n"), "{text}");
        assert!(text.contains("  PER      0.4000  0.5000  0.4444        4          5\n"), "{text}");
        assert!(text.contains("  tag-accuracy   0.9000  0."), "{text}");
        assert!(!text.contains("auc"), "{text}");
        let read: Evaluation = serde_json::from_str(&serde_json::to_string(&evaluation).unwrap()).unwrap();
        assert_eq!((read.task, read.labels()), (Task::Tags, evaluation.labels()));
        let outcome = crate::metrics::Outcome::scores(&[1.0], &[1.0]).unwrap();
        let error = read.with_intervals(&outcome, &Bootstrap::default(), &[]).unwrap_err().to_string();
        assert!(error.contains("tagging"), "{error}");
    }

    #[test]
    fn every_task_has_a_default_that_can_be_asked_for() {
        let tasks = [
            (Task::Tags, "entity-f1", true),
            (Task::Answers, "answer-f1", true),
            (Task::Choices, "accuracy", true),
            (Task::Texts, "bleu", true),
            (Task::Ranking, "ndcg@10", true),
            (Task::Trees, "las", true),
            (Task::Words, "perplexity", false),
            (Task::Dialog, "word-f1", true),
        ];
        let outcome = crate::metrics::Outcome::scores(&[1.0, 2.0], &[1.0, 3.0]).unwrap();
        for (task, name, higher) in tasks {
            let all = Metric::all(task, &[], None);
            assert_eq!((all[0].name(), all[0].higher_is_better()), (name, higher), "{task:?}");
            for metric in all {
                let error = metric.of(&outcome).unwrap_err().to_string();
                assert!(error.contains("to regression"), "{error}");
                assert_eq!(summed(metric.name(), 80).higher_is_better(), metric.higher_is_better());
            }
            assert!(Metric::parse("loss", task, &[], None).is_ok());
        }
        let metric = Metric::parse("entity-f1", Task::Tags, &[], None).unwrap();
        let error = Bootstrap::default().intervals(&outcome, &[metric]).unwrap_err().to_string();
        assert!(error.contains("intervals_of_sums"), "{error}");
    }
}

//! Everything that can be said of one set of predictions, ready for a log, a report or a checkpoint's choice.

use super::average::ratio;
use super::calibration::{CalibrationBin, bins};
use super::nearest::nearest;
use super::{Bootstrap, Confusion, Interval, METRICS, Metric, MetricError, Outcome, Tally, Task, Undefined};
use serde::{Deserialize, Serialize};

/// One metric's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// Its name in [`METRICS`](super::METRICS).
    pub name: String,
    /// The value, `None` where it has none.
    pub value: Option<f64>,
    /// Why it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undefined: Option<String>,
    /// Bootstrap interval, where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
}

/// One label's part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// Its name.
    pub label: String,
    /// Examples it is true of; of types of entities, how many there are.
    pub actual: u64,
    /// Examples it was predicted for; of types of entities, how many were found.
    pub predicted: u64,
    /// Both.
    pub hits: u64,
    /// Share of right answers among those predicted; 0 if never predicted.
    pub precision: f64,
    /// Share found; 0 if never true.
    pub recall: f64,
    /// Their harmonic mean; 0 if neither predicted nor true.
    pub f1: f64,
    /// Against the rest; `None` if always or never true.
    pub roc_auc: Option<f64>,
    /// Against the rest; `None` if never true.
    pub pr_auc: Option<f64>,
}

impl ClassReport {
    /// What counts say of a label or of a type, without areas under curves.
    pub fn of_counts(label: impl Into<String>, actual: u64, predicted: u64, hits: u64) -> Self {
        Self {
            label: label.into(),
            actual,
            predicted,
            hits,
            precision: ratio(hits, predicted),
            recall: ratio(hits, actual),
            f1: ratio(2 * hits, actual + predicted),
            roc_auc: None,
            pr_auc: None,
        }
    }
}

/// Everything that applies to one outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The kind of task.
    pub task: Task,
    /// Examples measured.
    pub examples: usize,
    /// The class that `f1`, `precision` and `recall` without a class are about.
    pub positive: Option<usize>,
    /// The training objective on these examples, where known.
    pub loss: Option<f64>,
    /// All metrics that apply, in the order of [`METRICS`](super::METRICS).
    pub values: Vec<Value>,
    /// One entry a label, in label order; empty for scores.
    pub classes: Vec<ClassReport>,
    /// Single-label tasks only.
    pub confusion: Option<Confusion>,
    /// The reliability diagram of single-label tasks.
    pub calibration: Vec<CalibrationBin>,
}

impl Evaluation {
    /// Computes every metric that applies. `labels` are the names of the labels; for scores it is empty.
    ///
    /// # Errors
    /// When the number of names is not that of the labels.
    pub fn new(outcome: &Outcome, labels: &[String]) -> Result<Self, MetricError> {
        if labels.len() != outcome.labels {
            let (expected, got) = (outcome.labels, labels.len());
            return Err(MetricError::Length { what: "label names", expected, got });
        }
        let counts = outcome.once();
        let tally = Tally::of(outcome, &counts);
        let metrics = Metric::all(outcome.task, labels, outcome.positive);
        let values = metrics.iter().map(|metric| {
            let (value, undefined) = match metric.compute(outcome, &counts, &tally) {
                Ok(value) => (Some(value), None),
                Err(Undefined(reason)) => (None, Some(reason.to_string())),
            };
            Value { name: metric.name().to_string(), value, undefined, interval: None }
        });
        let classes = labels.iter().enumerate().map(|(class, label)| {
            let area = |name: &str| {
                let metric = Metric::parse(&format!("{name}:{label}"), outcome.task, labels, None).ok()?;
                metric.compute(outcome, &counts, &tally).ok()
            };
            let (actual, predicted, hits) = (tally.actual[class], tally.predicted[class], tally.hits[class]);
            ClassReport {
                roc_auc: area("roc-auc"),
                pr_auc: area("pr-auc"),
                ..ClassReport::of_counts(label, actual, predicted, hits)
            }
        });
        let single = outcome.task == Task::Classes;
        Ok(Self {
            task: outcome.task,
            examples: outcome.examples,
            positive: outcome.positive,
            loss: None,
            values: values.collect(),
            classes: classes.collect(),
            confusion: if single { Some(Confusion::of(outcome)?) } else { None },
            calibration: if single { bins(outcome, &counts) } else { Vec::new() },
        })
    }

    /// The same with the training objective on these examples, known as `loss`.
    ///
    /// # Errors
    /// When it is NaN or infinite.
    pub fn with_loss(mut self, loss: f64) -> Result<Self, MetricError> {
        if !loss.is_finite() {
            return Err(MetricError::NotFinite { what: "evaluation loss", row: 0, column: None, got: loss });
        }
        self.loss = Some(loss);
        Ok(self)
    }

    /// The same with bootstrap intervals for the metrics named, or for [`Evaluation::headline`] if `names` is
    /// empty. `outcome` must be the one the evaluation was made of.
    ///
    /// # Errors
    /// Unknown names, metrics of a single class (`f1:spam`), or options out of range.
    pub fn with_intervals(
        mut self,
        outcome: &Outcome,
        bootstrap: &Bootstrap,
        names: &[&str],
    ) -> Result<Self, MetricError> {
        if outcome.task != self.task {
            return Err(MetricError::NotApplicable {
                name: "the outcome of intervals".to_string(),
                task: self.task.words(),
                instead: "give the outcome this evaluation was made of".to_string(),
            });
        }
        let headline = self.headline();
        let names = if names.is_empty() { &headline[..] } else { names };
        let labels = self.labels();
        let parse = |name: &&str| Metric::parse(name, self.task, &labels, self.positive);
        let metrics = names.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        for (metric, interval) in metrics.iter().zip(bootstrap.intervals(outcome, &metrics)?) {
            match self.values.iter_mut().find(|value| value.name == metric.name()) {
                Some(value) => value.interval = interval.filter(|_| value.value.is_some()),
                None => {
                    return Err(MetricError::NotApplicable {
                        name: metric.name().to_string(),
                        task: "the table of metrics",
                        instead: "make that class the positive one".to_string(),
                    });
                }
            }
        }
        Ok(self)
    }

    /// The metrics a report opens with.
    pub fn headline(&self) -> Vec<&'static str> {
        let told: &[&str] = match self.task {
            Task::Answers => &["answer-f1", "em"],
            Task::Choices => &["accuracy"],
            Task::Texts => &["bleu", "chrf", "rouge-l", "exact-match"],
            Task::Ranking => &["ndcg@10", "mrr", "hits@1", "hits@10"],
            Task::Trees => &["las", "uas"],
            Task::Dialog => &["hits@1", "mrr", "perplexity", "word-f1"],
            _ => &[],
        };
        match (self.task, self.classes.len(), self.positive) {
            (Task::Classes, 2, _) => vec!["accuracy", "precision", "recall", "f1", "matthews", "roc-auc"],
            (Task::Classes, _, Some(_)) => vec!["accuracy", "f1", "macro-f1", "matthews"],
            (Task::Classes, _, None) => vec!["accuracy", "macro-f1", "weighted-f1", "matthews"],
            (Task::MultiLabel, ..) => vec!["subset-accuracy", "micro-f1", "macro-f1"],
            (Task::Scores, ..) => vec!["pearson", "spearman", "mse", "mae"],
            // Of a corpus only what was measured is there to be told.
            _ => {
                let measured = |name: &str| self.values.iter().any(|value| value.name == name);
                let some = told.iter().any(|name| measured(name));
                let told = |name: &&str| measured(name) && (!some || told.contains(name));
                METRICS.iter().map(|spec| spec.name).filter(told).collect()
            }
        }
    }

    /// Names of the labels.
    pub fn labels(&self) -> Vec<String> {
        self.classes.iter().map(|class| class.label.clone()).collect()
    }

    /// The value of a metric by name: one of [`METRICS`](super::METRICS), one of a class (`f1:spam`), or
    /// `loss`.
    ///
    /// # Errors
    /// Unknown metric or class with the nearest known one, one that does not apply, one without a value here.
    pub fn value(&self, name: &str) -> Result<f64, MetricError> {
        let undefined =
            |reason: &str| MetricError::Undefined { name: name.to_string(), reason: reason.to_string() };
        let metric = Metric::parse(name, self.task, &self.labels(), self.positive)?;
        if metric.spec().is_none() {
            return self.loss.ok_or(MetricError::NoLoss);
        }
        if let Some(value) = self.values.iter().find(|value| value.name == name) {
            return value
                .value
                .ok_or_else(|| undefined(value.undefined.as_deref().unwrap_or("not recorded")));
        }
        let Some((base, label)) = name.split_once(':') else {
            let measured: Vec<&str> = self.values.iter().map(|value| value.name.as_str()).collect();
            return Err(MetricError::NotMeasured { name: name.to_string(), measured: measured.join(", ") });
        };
        let class = self.classes.iter().find(|class| class.label == label);
        let value = class.and_then(|class| match base {
            "precision" | "entity-precision" => Some(Some(class.precision)),
            "recall" | "entity-recall" => Some(Some(class.recall)),
            "f1" | "entity-f1" => Some(Some(class.f1)),
            "roc-auc" => Some(class.roc_auc),
            "pr-auc" => Some(class.pr_auc),
            _ => None,
        });
        match value {
            Some(value) => {
                value.ok_or_else(|| undefined("the examples are all of one class, or none is of this one"))
            }
            None => Err(MetricError::UnknownMetric {
                name: name.to_string(),
                nearest: nearest(name, self.values.iter().map(|v| v.name.as_str()))
                    .unwrap_or_default()
                    .to_string(),
            }),
        }
    }

    /// The bootstrap interval of a metric, if one was asked for.
    pub fn interval(&self, name: &str) -> Option<Interval> {
        self.values.iter().find(|value| value.name == name)?.interval
    }

    /// Labels that were never predicted although they are true of some example: their precision is 0 by
    /// convention, not by measurement.
    pub fn never_predicted(&self) -> Vec<&str> {
        let never = |class: &&ClassReport| class.predicted == 0 && class.actual > 0;
        self.classes.iter().filter(never).map(|class| class.label.as_str()).collect()
    }

    /// Labels true of no example: nothing here says how well the model finds them.
    pub fn never_true(&self) -> Vec<&str> {
        self.classes.iter().filter(|class| class.actual == 0).map(|class| class.label.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| n.to_string()).collect()
    }

    fn binary() -> Evaluation {
        let outcome = Outcome::classes(&[0, 1, 1, 0], &[0.9, 0.1, 0.2, 0.8, 0.6, 0.4, 0.7, 0.3], 2).unwrap();
        Evaluation::new(&outcome, &names(&["ham", "spam"])).unwrap()
    }

    #[test]
    fn values_by_name() {
        let evaluation = binary().with_loss(0.25).unwrap();
        for (name, expected) in [
            ("accuracy", 0.75),
            ("f1", 2.0 / 3.0),
            ("f1:spam", 2.0 / 3.0),
            ("f1:ham", 0.8),
            ("precision:ham", 2.0 / 3.0),
            ("recall", 0.5),
            ("roc-auc", 1.0),
            ("roc-auc:ham", 1.0),
            ("loss", 0.25),
        ] {
            assert!((evaluation.value(name).unwrap() - expected).abs() < 1e-12, "{name}");
        }
        for (name, message) in [
            ("f1:spamm", "did you mean \"spam\"?"),
            ("acc", "did you mean \"accuracy\"?"),
            ("pearson", "choose one of"),
            ("accuracy:spam", "about all classes"),
        ] {
            let error = evaluation.value(name).unwrap_err().to_string();
            assert!(error.contains(message), "{name}: {error}");
        }
        assert!(binary().value("loss").unwrap_err().to_string().contains("log-loss"));
        assert!(binary().with_loss(f64::NAN).is_err());
    }

    #[test]
    fn undefined_values_are_named_not_dropped() {
        let outcome = Outcome::classes(&[0, 0], &[0.9, 0.1, 0.2, 0.8], 2).unwrap();
        let evaluation = Evaluation::new(&outcome, &names(&["ham", "spam"])).unwrap();
        let error = evaluation.value("roc-auc").unwrap_err().to_string();
        assert!(error.contains("all of one class"), "{error}");
        assert_eq!(evaluation.never_true(), ["spam"]);
        assert!(evaluation.value("pr-auc:spam").is_err());
        assert_eq!(evaluation.values.iter().filter(|v| v.value.is_none()).count(), 2);
        assert!(Evaluation::new(&outcome, &names(&["ham"])).is_err());
    }

    #[test]
    fn written_and_read_back() {
        let outcome = Outcome::classes(&[0, 0, 1], &[0.9, 0.1, 0.2, 0.8, 0.5, 0.5], 2).unwrap();
        let evaluation = Evaluation::new(&outcome, &names(&["ham", "spam"])).unwrap();
        let evaluation = evaluation.with_intervals(&outcome, &Bootstrap::default(), &[]).unwrap();
        assert_eq!(evaluation.values.iter().filter(|v| v.interval.is_some()).count(), 6);
        assert!(evaluation.interval("f1").is_some() && evaluation.interval("ece").is_none());
        let text = serde_json::to_string(&evaluation).unwrap();
        let back = serde_json::from_str::<Evaluation>(&text).unwrap();
        // serde_json reads floats to within one unit in the last place.
        for (a, b) in evaluation.values.iter().zip(&back.values) {
            assert!((a.value.unwrap() - b.value.unwrap()).abs() < 1e-15 && a.name == b.name);
            assert_eq!(a.interval.is_some(), b.interval.is_some());
        }
        assert_eq!(back.labels(), evaluation.labels());
        assert_eq!(back.confusion, evaluation.confusion);
        let refused = binary().with_intervals(&outcome, &Bootstrap::default(), &["f1:ham"]);
        assert!(refused.unwrap_err().to_string().contains("positive one"));
    }

    #[test]
    fn multi_label_and_scores() {
        let outcome = Outcome::multi_label(&[true, false, true, true], &[0.9, 0.2, 0.8, 0.4], 2).unwrap();
        let evaluation = Evaluation::new(&outcome, &names(&["red", "blue"])).unwrap();
        assert_eq!(evaluation.value("subset-accuracy").unwrap(), 0.5);
        assert_eq!(evaluation.value("recall:blue").unwrap(), 0.0);
        assert_eq!(evaluation.never_predicted(), ["blue"]);
        assert!(evaluation.confusion.is_none());
        let outcome = Outcome::scores(&[1.0f32, 2.0, 3.0], &[1.5f32, 2.5, 3.5]).unwrap();
        let evaluation = Evaluation::new(&outcome, &[]).unwrap();
        assert!((evaluation.value("pearson").unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(evaluation.value("mse").unwrap(), 0.25);
        assert_eq!(evaluation.values.len(), 6);
    }
}

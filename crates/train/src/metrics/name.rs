//! Metrics by the names people type: `f1`, `macro-f1`, `f1:spam`, `loss`.

use super::nearest::nearest;
use super::outcome::{Outcome, Task};
use super::{Compute, METRICS, MetricError, MetricSpec, Scope, Tally, Undefined};

/// The name of the training objective, measured on the development set.
const LOSS: &str = "loss";

/// A metric chosen by name and known to apply to the task.
#[derive(Clone, Debug)]
pub struct Metric {
    name: String,
    /// `None` for the loss, which comes from the model and not from predictions.
    spec: Option<&'static MetricSpec>,
    class: Option<usize>,
}

impl Metric {
    /// Reads a metric's name: one of [`METRICS`], one with a class (`f1:spam`), or `loss`. Without a
    /// `positive` class the second of two is it. Call it before training, not at the first evaluation.
    ///
    /// # Errors
    /// Unknown metric or class, with the nearest known one; a metric that does not fit the task, with one
    /// that does.
    pub fn parse(
        name: &str,
        task: Task,
        labels: &[String],
        positive: Option<usize>,
    ) -> Result<Self, MetricError> {
        if name == LOSS {
            return Ok(Self { name: name.to_string(), spec: None, class: None });
        }
        let (base, class) = match name.split_once(':') {
            Some((base, class)) => (base, Some(class)),
            None => (name, None),
        };
        let spec = find(base, Some(task))?;
        let not_applicable =
            |instead| MetricError::NotApplicable { name: name.to_string(), task: task.words(), instead };
        if !spec.tasks.contains(&task) {
            let known: Vec<&str> = METRICS
                .iter()
                .filter(|m| m.tasks.contains(&task) && m.scope != Scope::OneClass)
                .map(|m| m.name)
                .collect();
            return Err(not_applicable(format!("choose one of {}", known.join(", "))));
        }
        let class = match (class, spec.scope) {
            (None, Scope::Whole) => None,
            (Some(_), Scope::Whole) => {
                return Err(not_applicable(format!("it is about all classes: write {base:?}")));
            }
            (Some(class), Scope::OneClass | Scope::Either) => {
                Some(labels.iter().position(|label| label == class).ok_or_else(|| {
                    MetricError::UnknownClass {
                        metric: name.to_string(),
                        class: class.to_string(),
                        nearest: nearest(class, labels.iter().map(String::as_str))
                            .unwrap_or_default()
                            .to_string(),
                    }
                })?)
            }
            (None, Scope::Either) if labels.len() != 2 || task != Task::Classes => None,
            (None, Scope::OneClass | Scope::Either) => {
                let two = task == Task::Classes && labels.len() == 2;
                let class = positive.filter(|_| task == Task::Classes).or(two.then_some(1));
                let example = labels.first().map_or("CLASS", String::as_str);
                Some(class.ok_or_else(|| {
                    not_applicable(format!("name a class ({base}:{example}) or ask for \"macro-{base}\""))
                })?)
            }
        };
        Ok(Self { name: name.to_string(), spec: Some(spec), class })
    }

    /// Every metric that applies without naming a class, in the order of [`METRICS`].
    pub fn all(task: Task, labels: &[String], positive: Option<usize>) -> Vec<Self> {
        METRICS.iter().filter_map(|spec| Self::parse(spec.name, task, labels, positive).ok()).collect()
    }

    /// The name as given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The entry in the list; `None` for `loss`.
    pub fn spec(&self) -> Option<&'static MetricSpec> {
        self.spec
    }

    /// Whether more is better; not so for losses and errors.
    pub fn higher_is_better(&self) -> bool {
        self.spec.is_some_and(|spec| spec.higher_is_better)
    }

    /// Whether `new` is strictly better than `old`, so that of equal checkpoints the earliest stays best.
    pub fn is_better(&self, new: f64, old: f64) -> bool {
        if self.higher_is_better() { new > old } else { new < old }
    }

    /// Its value on `outcome`.
    ///
    /// # Errors
    /// [`MetricError::Undefined`] where it has none (a ROC curve of one class), [`MetricError::NoLoss`] for
    /// `loss`.
    pub fn of(&self, outcome: &Outcome) -> Result<f64, MetricError> {
        let spec = self.spec.ok_or(MetricError::NoLoss)?;
        if !spec.tasks.contains(&outcome.task) {
            return Err(MetricError::NotApplicable {
                name: self.name.clone(),
                task: outcome.task.words(),
                instead: "give an outcome of its own task, or the sums of one".to_string(),
            });
        }
        let counts = outcome.once();
        self.compute(outcome, &counts, &Tally::of(outcome, &counts)).map_err(|Undefined(reason)| {
            MetricError::Undefined { name: self.name.clone(), reason: reason.to_string() }
        })
    }

    /// Its value when example `i` counts `counts[i]` times and `tally` is the tally of those counts.
    pub(super) fn compute(&self, outcome: &Outcome, counts: &[u32], tally: &Tally) -> Result<f64, Undefined> {
        match self.spec.map(|spec| spec.compute) {
            Some(Compute::Counts(compute)) => compute(tally, self.class),
            Some(Compute::Probabilities(compute)) => compute(outcome, counts, self.class),
            Some(Compute::Scores(compute)) => compute(outcome, counts),
            Some(Compute::Sums) => Err(Undefined("it is made of sums over a corpus, not of an outcome")),
            None => Err(Undefined("the loss comes from the model, not from its predictions")),
        }
    }

    /// Its value from a tally alone, for metrics that need no more.
    pub(super) fn of_tally(&self, tally: &Tally) -> Option<Result<f64, Undefined>> {
        match self.spec?.compute {
            Compute::Counts(compute) => Some(compute(tally, self.class)),
            Compute::Probabilities(_) | Compute::Scores(_) | Compute::Sums => None,
        }
    }
}

/// The entry of that name. A slip of the hand is more likely one of a name of `task`.
pub(super) fn find(name: &str, task: Option<Task>) -> Result<&'static MetricSpec, MetricError> {
    METRICS.iter().copied().find(|spec| spec.name == name).ok_or_else(|| {
        let of_task = METRICS.iter().filter(|spec| task.is_some_and(|task| spec.tasks.contains(&task)));
        let known = of_task.chain(METRICS).map(|spec| spec.name);
        let known: Vec<&str> =
            if task.is_some() { [LOSS].into_iter().chain(known).collect() } else { known.collect() };
        let nearest = nearest(name, known).unwrap_or_default().to_string();
        MetricError::UnknownMetric { name: name.to_string(), nearest }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| n.to_string()).collect()
    }

    #[test]
    fn the_list_is_in_order() {
        let mut seen = Vec::new();
        for spec in METRICS {
            assert!(!seen.contains(&spec.name), "{} twice", spec.name);
            // Kebab-case, but for names that the field writes with `@` and `++`.
            let kebab = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-@+".contains(&c);
            assert!(spec.name.bytes().all(kebab), "{}", spec.name);
            assert!(spec.link.starts_with("https://"), "{}", spec.name);
            assert!(!spec.tasks.is_empty() && !spec.summary.is_empty());
            assert!(["classes", "probabilities", "scores", "sums"].contains(&spec.needs()));
            seen.push(spec.name);
        }
        assert_eq!(seen.len(), 72);
    }

    #[test]
    fn names_are_read_or_refused_with_the_way_out() {
        let two = labels(&["ham", "spam"]);
        let three = labels(&["bad", "fair", "good"]);
        let good = |name: &str, names: &[String]| Metric::parse(name, Task::Classes, names, None).unwrap();
        assert_eq!(good("f1", &two).class, Some(1));
        assert_eq!(good("f1:ham", &two).class, Some(0));
        assert_eq!(good("roc-auc", &two).class, Some(1));
        assert_eq!(good("roc-auc", &three).class, None);
        assert_eq!(good("roc-auc:good", &three).class, Some(2));
        assert_eq!(Metric::parse("f1", Task::Classes, &three, Some(0)).unwrap().class, Some(0));
        let bad = |name: &str, task, names: &[String], message: &str| {
            let error = Metric::parse(name, task, names, None).unwrap_err().to_string();
            assert!(error.contains(message), "{error:?} should contain {message:?}");
        };
        bad("marco-f1", Task::Classes, &two, "did you mean \"macro-f1\"?");
        bad("los", Task::Classes, &two, "did you mean \"loss\"?");
        bad("f1:spma", Task::Classes, &two, "did you mean \"spam\"?");
        bad("f1", Task::Classes, &three, "f1:bad");
        bad("f1", Task::MultiLabel, &two, "macro-f1");
        bad("accuracy:spam", Task::Classes, &two, "write \"accuracy\"");
        bad("pearson", Task::Classes, &two, "choose one of accuracy");
        bad("accuracy", Task::Scores, &[], "choose one of pearson");
    }

    #[test]
    fn better_is_up_for_scores_and_down_for_losses() {
        let two = labels(&["ham", "spam"]);
        for (name, up) in
            [("f1", true), ("accuracy", true), ("loss", false), ("log-loss", false), ("ece", false)]
        {
            let metric = Metric::parse(name, Task::Classes, &two, None).unwrap();
            assert_eq!(metric.is_better(0.9, 0.1), up, "{name}");
            assert!(!metric.is_better(0.5, 0.5), "{name}");
        }
    }
}

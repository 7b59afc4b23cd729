//! Several models that answer together: the mean of what they say, their votes, or a small model over what they say.
//!
//! The models may be of any family and size; they must have been trained for one task with the same labels. What comes of them
//! together is measured beside each alone, and held against the best of them on the same texts.
//!
//! Paper: Dietterich 2000, "Ensemble Methods in Machine Learning", sections 1 and 2, <https://doi.org/10.1007/3-540-45014-9_1>
//!
//! Paper: Wolpert 1992, "Stacked generalization", section 2, <https://doi.org/10.1016/S0893-6080(05)80023-1>

use std::path::{Path, PathBuf};

use serde::Serialize;
use topwork_data::Labels;
use topwork_kernels::gemm::Precision;
use topwork_train::baseline::{LogisticHead, LogisticHeadOptions};
use topwork_train::metrics::{Difference, Interval, Metric, Outcome};

use crate::error::Error;
use crate::evaluate::evaluate;
use crate::recipe::{DataRecipe, Kind};
use crate::scoring::flags;
use crate::tasks::measured::bootstrap;
use crate::tasks::task;

/// A way to answer together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// The mean of the probabilities, or of the numbers.
    Mean,
    /// The label most models answer, of equals the one with the higher mean probability; of numbers the one in the middle.
    Vote,
    /// Logistic regression over the logarithms of all models' probabilities, learnt on development data.
    Stack,
}

impl How {
    /// Every way by its name.
    pub const ALL: &[(How, &str)] = &[(How::Mean, "mean"), (How::Vote, "vote"), (How::Stack, "stack")];

    /// The name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(how, _)| *how == self).map_or("", |(_, name)| name)
    }
}

/// What is to be done.
pub struct Plan<'a> {
    /// The models' folders, two or more.
    pub models: &'a [PathBuf],
    /// The data that they are measured on.
    pub data: &'a DataRecipe,
    /// Development data, for [`How::Stack`]: not the data that is measured on.
    pub dev: Option<&'a DataRecipe>,
    /// The ways.
    pub ways: &'a [How],
    /// The metric; by the task when `None`.
    pub metric: Option<&'a str>,
    /// Precision of products.
    pub precision: Precision,
    /// Resamples behind the intervals; 0 for none.
    pub resamples: usize,
}

/// A model, or several together.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// The model's folder, or the way.
    pub name: String,
    /// Whether it is several together.
    pub together: bool,
    /// Its score; `None` where the metric has no value.
    pub score: Option<f64>,
    /// The ends of its 95% interval.
    pub interval: Option<(f64, f64)>,
    /// How it stands to the best single model on the same texts; none for single models.
    pub gain: Option<Gain>,
}

/// A difference of two scores on the same texts.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Gain {
    /// The one less the other.
    pub value: f64,
    /// The ends of its 95% interval, where there are resamples.
    pub interval: Option<(f64, f64)>,
    /// How often resamples would show a difference of the other sign.
    pub p: Option<f64>,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Results {
    /// The metric.
    pub metric: String,
    /// Texts.
    pub texts: usize,
    /// The models, then the ways.
    pub rows: Vec<Row>,
    /// The single model that the ways are held against.
    pub best: String,
    /// Labels, in the order of the answers; none where numbers are answered.
    pub labels: Vec<String>,
    /// What the last way answers: a row a text, probabilities of the labels, or a number.
    #[serde(skip)]
    pub answers: Vec<Vec<f64>>,
}

/// What one model says of a set.
struct Said {
    /// `[texts, labels]`, row-major; of numbers `[texts]`.
    values: Vec<f64>,
    truth: Labels,
    labels: Vec<String>,
    kind: Kind,
    positive: Option<usize>,
}

/// Asks every model and puts their answers together.
///
/// # Errors
/// Fewer than two models; models of different tasks or labels, or of a task whose answers are not those of texts; stacking without
/// development data or for something else than one label of several.
pub fn ensemble(plan: &Plan) -> Result<Results, Error> {
    if plan.models.len() < 2 {
        return Err(Error::Task("an ensemble takes two models or more".to_string()));
    }
    let all = said_by_all(plan, plan.data)?;
    let first = &all[0];
    let stacked = plan.ways.contains(&How::Stack);
    if stacked && first.kind != Kind::Classify {
        return Err(Error::Task(format!(
            "stack is for one label of several, not for {}: take mean or vote",
            first.kind.name()
        )));
    }
    let dev = match (stacked, plan.dev) {
        (false, _) => Vec::new(),
        (true, Some(dev)) => said_by_all(plan, dev)?,
        (true, None) => {
            return Err(Error::Task(
                "stack learns from development data, which must not be what is measured on: name some (--dev)".to_string(),
            ));
        }
    };
    let name = plan.metric.unwrap_or(match first.kind {
        Kind::MultiLabel => "micro-f1",
        Kind::Regress => "pearson",
        _ => "accuracy",
    });
    let metric = Metric::parse(name, task(first.kind).measures(), &first.labels, first.positive)?;
    let higher = metric.higher_is_better();
    let mut singles = Vec::new();
    for (said, folder) in all.iter().zip(plan.models) {
        singles.push((folder.display().to_string(), first.outcome(said.values.clone())?));
    }
    let score = |outcome: &Outcome| metric.of(outcome).ok();
    let rank = |outcome: &Outcome| {
        score(outcome).map_or(f64::NEG_INFINITY, |score| if higher { score } else { -score })
    };
    // Of equals the first.
    let best = singles.iter().rev().max_by(|a, b| rank(&a.1).total_cmp(&rank(&b.1)));
    let Some((best_name, best)) = best.map(|(name, outcome)| (name.clone(), outcome.clone())) else {
        return Err(Error::Task("an ensemble takes two models or more".to_string()));
    };
    let row = |name: &str, outcome: &Outcome, together: bool| -> Result<Row, Error> {
        let interval = match bootstrap(plan.resamples) {
            Some(bootstrap) => bootstrap
                .intervals(outcome, std::slice::from_ref(&metric))?
                .pop()
                .flatten()
                .map(|i: Interval| (i.lower, i.upper)),
            None => None,
        };
        let gain = match (score(outcome), score(&best), bootstrap(plan.resamples)) {
            (Some(own), Some(other), None) if together => {
                Some(Gain { value: own - other, interval: None, p: None })
            }
            (Some(_), Some(_), Some(bootstrap)) if together => {
                let Difference { difference, interval, p_value, .. } =
                    bootstrap.difference(outcome, &best, &metric)?;
                Some(Gain {
                    value: difference,
                    interval: Some((interval.lower, interval.upper)),
                    p: Some(p_value),
                })
            }
            _ => None,
        };
        Ok(Row { name: name.to_string(), together, score: score(outcome), interval, gain })
    };
    let mut rows = Vec::new();
    for (name, outcome) in &singles {
        rows.push(row(name, outcome, false)?);
    }
    let mut answers = Vec::new();
    for &how in plan.ways {
        let values = match how {
            How::Mean => mean(&all),
            How::Vote => vote(&all),
            How::Stack => stack(&dev, &all)?,
        };
        rows.push(row(how.name(), &first.outcome(values.clone())?, true)?);
        answers = values.chunks_exact(first.width()).map(<[f64]>::to_vec).collect();
    }
    Ok(Results {
        metric: name.to_string(),
        texts: first.truth.len(),
        rows,
        best: best_name,
        labels: first.labels.clone(),
        answers,
    })
}

/// What every model says of a set, in the order of the first one's labels.
fn said_by_all(plan: &Plan, data: &DataRecipe) -> Result<Vec<Said>, Error> {
    let mut all: Vec<Said> = Vec::new();
    for folder in plan.models {
        let said = said_by(folder, data, plan.precision)?;
        let Some(first) = all.first() else {
            all.push(said);
            continue;
        };
        if said.kind != first.kind {
            return Err(Error::Task(format!(
                "{} was trained for {}, {} for {}: an ensemble answers one task",
                plan.models[0].display(),
                first.kind.name(),
                folder.display(),
                said.kind.name()
            )));
        }
        let said = said.in_order_of(first, folder)?;
        all.push(said);
    }
    Ok(all)
}

fn said_by(folder: &Path, data: &DataRecipe, precision: Precision) -> Result<Said, Error> {
    let evaluated = evaluate(folder, data, precision, 0)?;
    let kind = evaluated.kind;
    let (Kind::Classify | Kind::MultiLabel | Kind::Regress, Some(outcome)) =
        (kind, evaluated.measured.outcome())
    else {
        return Err(Error::Task(format!(
            "{}: this model was trained for {}; an ensemble is of models that answer texts with labels or numbers",
            folder.display(),
            kind.name()
        )));
    };
    let values = match kind {
        Kind::Regress => outcome.predicted_scores().unwrap_or_default().to_vec(),
        _ => outcome.probabilities().to_vec(),
    };
    let (labels, positive) = evaluated.labels();
    Ok(Said { values, truth: evaluated.part.inputs.labels.clone(), labels: labels.to_vec(), kind, positive })
}

impl Said {
    fn width(&self) -> usize {
        self.labels.len().max(1)
    }

    /// The same with its labels in the order of another's.
    fn in_order_of(self, first: &Said, folder: &Path) -> Result<Said, Error> {
        if self.labels == first.labels {
            return Ok(self);
        }
        let place = |label: &String| self.labels.iter().position(|own| own == label);
        let places: Option<Vec<usize>> = first.labels.iter().map(place).collect();
        let Some(places) = places.filter(|places| places.len() == self.labels.len()) else {
            return Err(Error::Task(format!(
                "{} has the labels {}, the first model {}: an ensemble answers with one set of labels",
                folder.display(),
                self.labels.join(", "),
                first.labels.join(", ")
            )));
        };
        let rows = self.values.chunks_exact(self.labels.len());
        let values = rows.flat_map(|row| places.iter().map(|&at| row[at])).collect();
        Ok(Said { values, labels: first.labels.clone(), ..self })
    }

    /// Answers beside the truth, as this one's labels number it.
    fn outcome(&self, values: Vec<f64>) -> Result<Outcome, Error> {
        let outcome = match &self.truth {
            Labels::Class(truth) => Outcome::classes(truth, &values, self.width())?,
            Labels::Multi { values: truth, .. } => {
                return Ok(Outcome::multi_label(&flags(truth), &values, self.width())?);
            }
            Labels::Score(truth) => return Ok(Outcome::scores(truth, &values)?),
            _ => return Err(Error::Task("the data has no labels of texts".to_string())),
        };
        Ok(match self.positive {
            Some(class) => outcome.with_positive(class)?,
            None => outcome,
        })
    }
}

fn mean(all: &[Said]) -> Vec<f64> {
    let sum = |at: usize| all.iter().map(|said| said.values[at]).sum::<f64>();
    (0..all[0].values.len()).map(|at| sum(at) / all.len() as f64).collect()
}

/// Shares of the votes; of equals the likelier has a little more.
fn vote(all: &[Said]) -> Vec<f64> {
    /// Too little to outweigh a vote.
    const LITTLE: f64 = 1e-3;
    let (first, models) = (&all[0], all.len() as f64);
    let width = first.width();
    match first.kind {
        Kind::Regress => {
            let middle = |at: usize| {
                let mut numbers: Vec<f64> = all.iter().map(|said| said.values[at]).collect();
                numbers.sort_by(f64::total_cmp);
                (numbers[(numbers.len() - 1) / 2] + numbers[numbers.len() / 2]) / 2.0
            };
            (0..first.values.len()).map(middle).collect()
        }
        Kind::MultiLabel => {
            let votes = |at: usize| all.iter().filter(|said| said.values[at] > 0.5).count() as f64 / models;
            let likely = mean(all);
            (0..first.values.len()).map(|at| (1.0 - LITTLE) * votes(at) + LITTLE * likely[at]).collect()
        }
        _ => {
            let mut shares: Vec<f64> = mean(all).into_iter().map(|likely| LITTLE * likely).collect();
            for said in all {
                for (row, own) in said.values.chunks_exact(width).zip(shares.chunks_exact_mut(width)) {
                    // As everywhere the first of equals.
                    let top = (0..width).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
                    own[top] += (1.0 - LITTLE) / models;
                }
            }
            shares
        }
    }
}

/// What a regression over all models' probabilities says, learnt on other texts.
fn stack(dev: &[Said], all: &[Said]) -> Result<Vec<f64>, Error> {
    let first = &dev[0];
    let Labels::Class(classes) = &first.truth else {
        return Err(Error::Task("the development data has no labels of texts".to_string()));
    };
    let (width, columns) = (first.width(), first.width() * dev.len());
    let features = |all: &[Said]| -> Vec<f32> {
        let texts = all[0].values.len() / width;
        let row =
            |text: usize| all.iter().flat_map(move |said| &said.values[text * width..(text + 1) * width]);
        (0..texts).flat_map(row).map(|share| share.max(1e-6).ln() as f32).collect()
    };
    let options = LogisticHeadOptions { standardise: true, ..LogisticHeadOptions::default() };
    let head = LogisticHead::fit(&features(dev), columns, classes, width, &options)?;
    Ok(head.predict_proba(&features(all))?.into_iter().map(f64::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(values: &[f64], labels: &[&str], truth: &[u32]) -> Said {
        Said {
            values: values.to_vec(),
            truth: Labels::Class(truth.to_vec()),
            labels: labels.iter().map(|label| label.to_string()).collect(),
            kind: Kind::Classify,
            positive: None,
        }
    }

    #[test]
    fn answers_are_put_together() {
        let ab = ["a", "b"];
        let all = [
            said(&[0.9, 0.1, 0.45, 0.55], &ab, &[0, 1]),
            said(&[0.2, 0.8, 0.45, 0.55], &ab, &[0, 1]),
            said(&[0.3, 0.7, 0.95, 0.05], &ab, &[0, 1]),
        ];
        let close = |got: Vec<f64>, expected: [f64; 4]| {
            assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-3), "{got:?}");
        };
        close(mean(&all), [0.4667, 0.5333, 0.6167, 0.3833]);
        close(vote(&all), [0.3333, 0.6667, 0.3333, 0.6667]);
        // Two against two: the likelier.
        let tied = vote(&all[..2]);
        assert!(tied[0] > tied[1], "{tied:?}");
        let number =
            |value: f64| Said { kind: Kind::Regress, labels: Vec::new(), ..said(&[value], &[], &[]) };
        assert_eq!(vote(&[number(1.0), number(9.0), number(2.0)]), [2.0]);
    }

    #[test]
    fn labels_are_matched_by_name() {
        let first = said(&[0.9, 0.1], &["a", "b"], &[0]);
        let turned = said(&[0.3, 0.7], &["b", "a"], &[1]).in_order_of(&first, Path::new("m")).unwrap();
        assert_eq!((turned.values, turned.labels), (vec![0.7, 0.3], first.labels.clone()));
        let other = said(&[0.3, 0.7], &["b", "c"], &[1])
            .in_order_of(&first, Path::new("m"))
            .err()
            .unwrap()
            .to_string();
        assert!(other.contains("b, c") && other.contains("a, b"), "{other}");
    }

    #[test]
    fn stacking_learns_whom_to_believe() {
        let draw = |seed: u64| {
            let mut stream = topwork_kernels::rng::Stream(topwork_kernels::rng::derive(seed, "stack"));
            let (mut right, mut wrong, mut truth) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..60 {
                let class = stream.below(2) as u32;
                let sure = 0.7 + 0.25 * stream.next_f64();
                let other = stream.next_f64();
                right.extend(if class == 0 { [sure, 1.0 - sure] } else { [1.0 - sure, sure] });
                wrong.extend([other, 1.0 - other]);
                truth.push(class);
            }
            [said(&right, &["a", "b"], &truth), said(&wrong, &["a", "b"], &truth)]
        };
        let (dev, test) = (draw(1), draw(2));
        let accuracy = |values: Vec<f64>| {
            let metric =
                Metric::parse("accuracy", task(Kind::Classify).measures(), &test[0].labels, None).unwrap();
            metric.of(&test[0].outcome(values).unwrap()).unwrap()
        };
        let (stacked, averaged) = (accuracy(stack(&dev, &test).unwrap()), accuracy(mean(&test)));
        assert!(stacked > 0.98 && stacked > averaged, "{stacked} {averaged}");
    }
}

//! How many labels a job needs: the same test data, ever more labelled texts to learn from, several ways to learn.
//!
//! Nothing is chosen on other labels: each run keeps its last weights, because who has sixteen labels has no hundreds more to
//! choose a checkpoint by. Only the strength of the linear baseline is chosen on the development data, which favours it.
//!
//! Paper: Howard, Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", section 5 (low-shot learning),
//! <https://arxiv.org/abs/1801.06146>

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use topwork_train::metrics::Evaluation;

use crate::error::Error;
use crate::glue::{Context, keep, read_kept, same_settings};
use crate::nearest::no_method;
use crate::recipe::Recipe;
use crate::report::{self, ByLabels, Fact, Grid, Headline, LabelSeries, Report};
use crate::tasks::{Judge, Measured};

/// A way to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// TF-IDF and a linear model.
    Linear,
    /// The encoder as it is, and a linear head.
    Frozen,
    /// The encoder taught which texts belong together, then a linear head.
    FewShot,
    /// Everything trained.
    FineTuned,
    /// Everything trained, from fresh values.
    FromScratch,
}

impl Method {
    /// Every method, in the order of the table, with its name.
    pub const ALL: [(Method, &'static str); 5] = [
        (Method::Linear, "linear"),
        (Method::Frozen, "frozen"),
        (Method::FewShot, "few-shot"),
        (Method::FineTuned, "fine-tuned"),
        (Method::FromScratch, "from-scratch"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(method, _)| *method == self).map_or("", |(_, name)| name)
    }

    /// A method by its name.
    ///
    /// # Errors
    /// [`Error::Task`] with the nearest name.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let known = Self::ALL.map(|(_, name)| name);
        Self::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(method, _)| *method)
            .ok_or_else(|| no_method(name, &known))
    }

    /// What it does to a recipe.
    fn apply(self, recipe: &mut Recipe) {
        match self {
            Method::Linear | Method::Frozen => {
                let all = toml::Value::Array(vec![toml::Value::String("encoder".to_string())]);
                recipe.train.insert("freeze".to_string(), all);
            }
            Method::FewShot => recipe.few_shot = true,
            Method::FineTuned => {}
            Method::FromScratch => recipe.from_scratch = true,
        }
    }
}

/// What is to be done.
pub struct Plan<'a> {
    /// The model, the data and how it is trained.
    pub recipe: &'a Recipe,
    /// Numbers of labelled texts; `None` for all there are.
    pub labels: Vec<Option<usize>>,
    /// The ways to learn.
    pub methods: Vec<Method>,
    /// A run for each seed.
    pub seeds: Vec<u64>,
    /// The folder of everything.
    pub folder: &'a Path,
}

/// One run's score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Point {
    /// The method's name.
    pub method: String,
    /// Labelled texts it learnt from.
    pub labels: usize,
    /// The seed.
    pub seed: u64,
    /// The score on the test data; `None` where the metric has no value there.
    pub score: Option<f64>,
    /// The ends of its 95% interval by the bootstrap over test texts.
    pub interval: Option<(f64, f64)>,
    /// Test texts.
    pub texts: usize,
    /// Seconds of the run; of the linear model those of its own.
    pub seconds: f64,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// The model.
    pub model: String,
    /// The metric.
    pub metric: String,
    /// A point for each run.
    pub points: Vec<Point>,
    /// The run that was stopped, if one was: the same command goes on with it.
    pub interrupted: Option<PathBuf>,
}

/// What a finished run says of itself: `curve.json` in its folder.
#[derive(Serialize, Deserialize)]
struct Finished {
    metric: String,
    points: Vec<Point>,
}

const FINISHED: &str = "curve.json";

/// Numbers of labels from a list such as `16,64,all`, from few to many.
///
/// # Errors
/// [`Error::Task`] for something else.
pub fn sizes(list: &[String]) -> Result<Vec<Option<usize>>, Error> {
    let mut sizes = Vec::new();
    for item in list {
        sizes.push(match item.as_str() {
            "all" => None,
            number => Some(number.parse().ok().filter(|&number: &usize| number >= 2).ok_or_else(|| {
                Error::Task(format!(
                    "a number of labels is a whole number of at least 2, or all; got {number:?}"
                ))
            })?),
        });
    }
    sizes.sort_by_key(|size| size.unwrap_or(usize::MAX));
    sizes.dedup();
    Ok(sizes)
}

/// Does everything that is not done yet: finished runs are taken as they are, interrupted ones gone on with.
///
/// # Errors
/// Data that is not there, a folder that holds runs of other settings, and what goes wrong in a run.
pub fn run(plan: &Plan, context: &Context) -> Result<Results, Error> {
    let mut results = Results { model: plan.recipe.model.clone(), ..Results::default() };
    for size in &plan.labels {
        for method in &plan.methods {
            // The linear model is trained beside any other.
            if *method == Method::Linear && plan.methods.len() > 1 {
                continue;
            }
            for seed in &plan.seeds {
                let labels = size.map_or_else(|| "all".to_string(), |size| size.to_string());
                let folder = plan.folder.join(method.name()).join(labels).join(format!("seed-{seed}"));
                let Some(finished) = one(plan, *method, *size, *seed, &folder, context)? else {
                    results.interrupted = Some(folder);
                    return Ok(results);
                };
                results.metric = finished.metric;
                for point in finished.points {
                    let known = results.points.iter().any(|other| {
                        (&other.method, other.labels, other.seed) == (&point.method, point.labels, point.seed)
                    });
                    let wanted = plan.methods.iter().any(|method| method.name() == point.method);
                    if wanted && !known {
                        results.points.push(point);
                    }
                }
            }
        }
    }
    Ok(results)
}

/// A run to its points; `None` if it was stopped.
fn one(
    plan: &Plan,
    method: Method,
    size: Option<usize>,
    seed: u64,
    folder: &Path,
    context: &Context,
) -> Result<Option<Finished>, Error> {
    let recipe = recipe(plan.recipe, method, size, seed);
    same_settings(folder, &recipe)?;
    let path = folder.join(FINISHED);
    if let Some(finished) = read_kept(&path)? {
        return Ok(Some(finished));
    }
    let labels = size.map_or_else(|| "all".to_string(), |size| size.to_string());
    (context.note)(&format!("{} on {labels} labels with seed {seed}: {}", method.name(), folder.display()));
    let outcomes = context.train(&recipe, folder)?;
    if outcomes.run.interrupted {
        return Ok(None);
    }
    let metric = outcomes.resolved.task.metric.clone().unwrap_or_else(|| "loss".to_string());
    let point = |method: Method, evaluation: &Evaluation, seconds: f64| Point {
        method: method.name().to_string(),
        labels: outcomes.data.train.dataset.len(),
        seed,
        score: evaluation.value(&metric).ok(),
        interval: evaluation.interval(&metric).map(|interval| (interval.lower, interval.upper)),
        texts: evaluation.examples,
        seconds,
    };
    let mut points = Vec::new();
    if let Some(baseline) = &outcomes.baseline {
        let judge = Judge { resamples: outcomes.resolved.report.resamples, ..outcomes.data.judge() };
        let evaluation = Measured::of_outcome(baseline.outcome.clone(), &judge, None)?.evaluation;
        points.push(point(Method::Linear, &evaluation, baseline.seconds));
    }
    if let Some(test) = outcomes.test.as_ref().filter(|_| method != Method::Linear) {
        points.push(point(method, &test.evaluation, outcomes.seconds));
    }
    let finished = Finished { metric, points };
    keep(&path, &finished)?;
    Ok(Some(finished))
}

/// The recipe of one run.
fn recipe(base: &Recipe, method: Method, size: Option<usize>, seed: u64) -> Recipe {
    let mut recipe = base.clone();
    recipe.data.limit = size.unwrap_or(0);
    recipe.report.baseline = true;
    recipe.report.threshold = false;
    recipe.train.insert("seed".to_string(), toml::Value::Integer(seed as i64));
    // At the end alone.
    recipe.train.insert("evaluate-epochs".to_string(), toml::Value::Integer(i64::from(i32::MAX)));
    method.apply(&mut recipe);
    recipe
}

impl Results {
    /// The numbers of labels, from few to many.
    pub fn labels(&self) -> Vec<usize> {
        let mut labels: Vec<usize> = self.points.iter().map(|point| point.labels).collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    /// The methods, in the order of the table.
    pub fn methods(&self) -> Vec<Method> {
        let ran = |method: &Method| self.points.iter().any(|point| point.method == method.name());
        Method::ALL.into_iter().map(|(method, _)| method).filter(ran).collect()
    }

    /// The score of a method at a number of labels: the mean over seeds. Its interval is that over test texts with one seed, and
    /// of several seeds how far they scatter: one standard deviation to each side. `None` without a value.
    pub fn score(&self, method: Method, labels: usize) -> Option<report::Score> {
        let points: Vec<&Point> = self
            .points
            .iter()
            .filter(|point| point.method == method.name() && point.labels == labels)
            .collect();
        let values: Option<Vec<f64>> = points.iter().map(|point| point.score).collect();
        let values = values.filter(|values| !values.is_empty())?;
        let count = values.len() as f64;
        let value = values.iter().sum::<f64>() / count;
        if let [point] = points[..] {
            return Some(report::Score { value, interval: point.interval });
        }
        let squares: f64 = values.iter().map(|other| (other - value).powi(2)).sum();
        let spread = (squares / (count - 1.0)).sqrt();
        Some(report::Score { value, interval: Some((value - spread, value + spread)) })
    }

    /// The number of seeds.
    pub fn seeds(&self) -> usize {
        let mut seeds: Vec<u64> = self.points.iter().map(|point| point.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds.len()
    }

    /// A row a method, a column a number of labels.
    pub fn grid(&self) -> Grid {
        let labels = self.labels();
        let mut head = vec!["method".to_string()];
        head.extend(labels.iter().map(|labels| format!("{labels} labels")));
        let cell = |method, labels| match self.score(method, labels) {
            None => "no value".to_string(),
            Some(score) => match score.interval.filter(|_| self.seeds() > 1) {
                Some((low, high)) => format!("{:.3} ± {:.3}", score.value, (high - low) / 2.0),
                None => format!("{:.3}", score.value),
            },
        };
        let rows = self.methods().into_iter().map(|method| {
            let mut row = vec![method.name().to_string()];
            row.extend(labels.iter().map(|&labels| cell(method, labels)));
            row
        });
        let texts = self.points.first().map_or(0, |point| point.texts);
        let seeds = match self.seeds() {
            1 => "one seed".to_string(),
            count => format!("mean and standard deviation of {count} seeds"),
        };
        Grid {
            title: format!("{} by number of labelled texts", self.metric),
            about: format!(
                "On the same {texts} test texts, {seeds}. Each run keeps its last weights; only the strength of the linear \
                 model is chosen on the development data."
            ),
            head,
            rows: rows.collect(),
            sum: false,
        }
    }

    /// Everything as a report.
    pub fn report(&self) -> Report {
        let labels = self.labels();
        let best = |labels: usize| {
            let scored =
                self.methods().into_iter().filter_map(|method| Some((method, self.score(method, labels)?)));
            scored.max_by(|a, b| a.1.value.total_cmp(&b.1.value))
        };
        let headline = [labels.first(), labels.last()].into_iter().flatten().filter_map(|&labels| {
            let (method, score) = best(labels)?;
            Some(Headline {
                name: format!("{} with {labels} labels", self.metric),
                value: report::score(score.value),
                detail: format!("{}, the best of {}", method.name(), self.methods().len()),
            })
        });
        let series = self.methods().into_iter().map(|method| LabelSeries {
            name: method.name().to_string(),
            points: labels.iter().filter_map(|&at| Some((at as u64, self.score(method, at)?))).collect(),
        });
        let seconds: f64 = self.points.iter().map(|point| point.seconds).sum();
        let fact = |name: &str, value: String| Fact { name: name.to_string(), value };
        Report {
            title: "How many labels it takes".to_string(),
            subtitle: format!("{}, with more and more labelled texts", self.model),
            headline: headline.collect(),
            by_labels: Some(ByLabels {
                metric: self.metric.clone(),
                series: series.collect(),
                whiskers: match self.seeds() {
                    0 | 1 => String::new(),
                    count => format!("one standard deviation of {count} seeds to each side"),
                },
            }),
            grid: Some(self.grid()),
            environment: vec![
                fact("topwork", env!("CARGO_PKG_VERSION").to_string()),
                fact("runs", self.points.len().to_string()),
                fact("time of all runs", report::seconds(seconds)),
            ],
            ..Report::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let point = |method: Method, labels, seed, score| Point {
            method: method.name().to_string(),
            labels,
            seed,
            score,
            interval: Some((0.1, 0.9)),
            texts: 50,
            seconds: 1.0,
        };
        Results {
            model: "a<b".into(),
            metric: "f1".into(),
            points: vec![
                point(Method::FineTuned, 64, 1, Some(0.8)),
                point(Method::FineTuned, 64, 2, Some(0.9)),
                point(Method::Linear, 16, 1, Some(0.5)),
                point(Method::Linear, 16, 2, None),
            ],
            interrupted: None,
        }
    }

    #[test]
    fn the_table_has_means_and_spreads() {
        let results = results();
        let grid = results.grid();
        assert_eq!(grid.head, ["method", "16 labels", "64 labels"]);
        assert_eq!(grid.rows[0], ["linear", "no value", "no value"]);
        assert_eq!(grid.rows[1], ["fine-tuned", "no value", "0.850 ± 0.071"]);
        let one = Results { points: results.points[..1].to_vec(), ..results.clone() };
        assert_eq!(one.score(Method::FineTuned, 64).unwrap().interval, Some((0.1, 0.9)));
        let page = report::html(&results.report());
        for part in ["a&lt;b", "0.850 ± 0.071", "64 labels", "Whiskers: one standard deviation of 2 seeds"] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn sizes_and_methods_are_read() {
        let read = |list: &[&str]| sizes(&list.iter().map(|item| item.to_string()).collect::<Vec<_>>());
        assert_eq!(read(&["all", "64", "16", "64"]).unwrap(), [Some(16), Some(64), None]);
        assert!(read(&["1"]).unwrap_err().to_string().contains("at least 2"));
        assert!(read(&["many"]).unwrap_err().to_string().contains("\"many\""));
        for (method, name) in Method::ALL {
            assert_eq!(Method::parse(name).unwrap(), method);
        }
        assert!(Method::parse("fewshot").unwrap_err().to_string().contains("\"few-shot\""));
    }

    #[test]
    fn recipes_differ_in_the_method_alone() {
        let base = Recipe::new("m", "d.csv");
        let made = |method| recipe(&base, method, Some(16), 3);
        assert!(made(Method::FewShot).few_shot && !made(Method::FineTuned).few_shot);
        assert!(made(Method::Frozen).freezes_encoder() && !made(Method::FewShot).freezes_encoder());
        assert!(made(Method::FromScratch).from_scratch);
        assert_eq!(made(Method::FineTuned).data.limit, 16);
        assert_eq!(recipe(&base, Method::FineTuned, None, 3).data.limit, 0);
    }
}

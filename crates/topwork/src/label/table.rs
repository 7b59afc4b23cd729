//! Tables and reports of what was played.

use super::choose::Strategy;
use super::head::Scores;
use super::simulate::{Curve, Results};
use crate::report::{self, ByLabels, Fact, Grid, Headline, LabelSeries, Report};
use crate::spread::{half_width, mean};

/// A measure of the texts held out.
type Measure = (&'static str, fn(&Scores) -> f64);

const ACCURACY: Measure = ("accuracy", |scores| scores.accuracy);
const MACRO_F1: Measure = ("macro-f1", |scores| scores.macro_f1);

/// The columns of a table of curves at most: the others are in the report's chart.
const COLUMNS: usize = 8;

impl Results {
    /// The strategies played, in their order.
    pub fn strategies(&self) -> Vec<Strategy> {
        let played = |strategy: &Strategy| self.curves.iter().any(|curve| curve.strategy == strategy.name());
        Strategy::ALL.into_iter().map(|(strategy, _)| strategy).filter(played).collect()
    }

    /// Numbers of labels at which all curves were measured.
    pub fn labels(&self) -> Vec<usize> {
        let rounds = self.curves.iter().map(|curve| curve.points.len()).min().unwrap_or(0);
        let first = self.curves.first();
        first.iter().flat_map(|curve| curve.points[..rounds].iter().map(|point| point.labels)).collect()
    }

    fn curves_of(&self, strategy: Strategy) -> impl Iterator<Item = &Curve> {
        self.curves.iter().filter(move |curve| curve.strategy == strategy.name())
    }

    /// The number of seeds that all strategies were played with.
    pub fn seeds(&self) -> usize {
        self.strategies().into_iter().map(|strategy| self.curves_of(strategy).count()).min().unwrap_or(0)
    }

    /// The measure of a strategy at a number of labels, a value a seed; before there are two classes there is none.
    fn values(&self, strategy: Strategy, round: usize, measure: Measure) -> Vec<f64> {
        let of = |curve: &Curve| curve.points.get(round)?.scores.map(|scores| measure.1(&scores));
        self.curves_of(strategy).filter_map(of).collect()
    }

    /// A row a strategy, a column a number of labels.
    pub fn grid(&self, macro_f1: bool) -> Grid {
        let measure = if macro_f1 { MACRO_F1 } else { ACCURACY };
        let labels = self.labels();
        // The last one is always there.
        let step = labels.len().div_ceil(COLUMNS).max(1);
        let shown: Vec<usize> =
            (0..labels.len()).rev().step_by(step).collect::<Vec<_>>().into_iter().rev().collect();
        let mut head = vec!["strategy".to_string()];
        head.extend(shown.iter().map(|&round| format!("{} labels", labels[round])));
        let rows = self.strategies().into_iter().map(|strategy| {
            let mut row = vec![strategy.name().to_string()];
            row.extend(shown.iter().map(|&round| {
                let values = self.values(strategy, round, measure);
                match mean(&values) {
                    None => "no value".to_string(),
                    Some((value, spread)) => match half_width(spread, values.len()) {
                        Some(half) => format!("{value:.3} ± {half:.3}"),
                        None => format!("{value:.3}"),
                    },
                }
            }));
            row
        });
        Grid {
            title: format!("{} by number of labels", measure.0),
            about: format!(
                "On {} texts held out, {}; labels are asked for from {} texts of {} classes.",
                self.held,
                self.over_seeds(),
                self.pool,
                self.classes
            ),
            head,
            rows: rows.collect(),
            sum: false,
        }
    }

    fn over_seeds(&self) -> String {
        match self.seeds() {
            0 | 1 => "one seed".to_string(),
            count => format!("mean of {count} seeds and its 95% interval"),
        }
    }

    /// What each strategy gains over random order with the same seed, in a measure; `None` without random order.
    fn gains(&self, strategy: Strategy, measure: Measure, last: bool) -> Option<(f64, Option<f64>)> {
        let rounds = self.labels().len();
        let from = if last { rounds.checked_sub(1)? } else { 0 };
        let mut gains = Vec::new();
        for curve in self.curves_of(strategy) {
            let random = self.curves_of(Strategy::Random).find(|other| other.seed == curve.seed)?;
            let both = curve.points[from..rounds].iter().zip(&random.points[from..rounds]);
            let apart: Vec<f64> =
                both.filter_map(|(a, b)| Some(measure.1(&a.scores?) - measure.1(&b.scores?))).collect();
            gains.push(mean(&apart)?.0);
        }
        let (gain, spread) = mean(&gains)?;
        Some((gain, half_width(spread, gains.len())))
    }

    /// Labels after which a strategy's mean accuracy is what random order ends at; `None` if it never is.
    fn reaches(&self, strategy: Strategy) -> Option<usize> {
        let labels = self.labels();
        let at = |strategy, round| mean(&self.values(strategy, round, ACCURACY)).map(|(value, _)| value);
        let goal = at(Strategy::Random, labels.len().checked_sub(1)?)?;
        (0..labels.len())
            .find(|&round| at(strategy, round).is_some_and(|value| value >= goal))
            .map(|at| labels[at])
    }

    /// A row a strategy, held against random order; empty where that was not played.
    pub fn against_random(&self) -> Grid {
        let cell = |gain: Option<(f64, Option<f64>)>| match gain {
            None => "no value".to_string(),
            Some((gain, None)) => format!("{gain:+.3}"),
            Some((gain, Some(half))) => {
                let verdict = if gain > half {
                    "better"
                } else if gain < -half {
                    "worse"
                } else {
                    "within chance"
                };
                format!("{gain:+.3} ± {half:.3} {verdict}")
            }
        };
        let played = self.strategies().contains(&Strategy::Random);
        let others = self.strategies().into_iter().filter(|strategy| played && *strategy != Strategy::Random);
        let last = self.labels().last().copied().unwrap_or(0);
        let rows = others.map(|strategy| {
            vec![
                strategy.name().to_string(),
                cell(self.gains(strategy, ACCURACY, false)),
                cell(self.gains(strategy, ACCURACY, true)),
                cell(self.gains(strategy, MACRO_F1, false)),
                cell(self.gains(strategy, MACRO_F1, true)),
                self.reaches(strategy).map_or_else(|| format!("> {last}"), |labels| labels.to_string()),
            ]
        });
        let head = [
            "strategy",
            "accuracy, whole curve",
            "accuracy, last round",
            "macro-f1, whole curve",
            "macro-f1, last round",
            "labels",
        ];
        Grid {
            title: "Against random order".to_string(),
            about: format!(
                "Differences from random order with the same seed, {}; better and worse are those whose interval leaves 0 out. \
                 Labels are those after which the mean accuracy is what random order ends at. Several strategies are tried at once, so \
                 one of them may be better by luck.",
                self.over_seeds()
            ),
            head: head.map(str::to_string).to_vec(),
            rows: rows.collect(),
            sum: false,
        }
    }

    /// Everything as a report on a model and a file.
    pub fn report(&self, model: &str, data: &str) -> Report {
        let labels = self.labels();
        let point = |strategy, round: usize| {
            let values = self.values(strategy, round, ACCURACY);
            let (value, spread) = mean(&values)?;
            let interval = half_width(spread, values.len()).map(|half| (value - half, value + half));
            Some((labels[round] as u64, report::Score { value, interval }))
        };
        let series = self.strategies().into_iter().map(|strategy| LabelSeries {
            name: strategy.name().to_string(),
            points: (0..labels.len()).filter_map(|round| point(strategy, round)).collect(),
        });
        let headline = self.strategies().into_iter().filter_map(|strategy| {
            let (gain, half) =
                self.gains(strategy, ACCURACY, false).filter(|_| strategy != Strategy::Random)?;
            let detail = half.map_or_else(String::new, |half| format!("± {half:.3}, "));
            Some(Headline {
                name: strategy.name().to_string(),
                value: format!("{gain:+.3}"),
                detail: format!("{detail}accuracy over random order, mean of the curve"),
            })
        });
        let seconds: f64 = self.curves.iter().map(|curve| curve.seconds).sum();
        let fact = |name: &str, value: String| Fact { name: name.to_string(), value };
        Report {
            title: "What is worth labelling first".to_string(),
            subtitle: format!("{model} on {data}: labels asked for in batches, and in random order"),
            headline: headline.collect(),
            by_labels: Some(ByLabels {
                metric: ACCURACY.0.to_string(),
                series: series.collect(),
                whiskers: match self.seeds() {
                    0 | 1 => String::new(),
                    count => format!("95% interval of the mean of {count} seeds"),
                },
            }),
            grid: Some(self.grid(false)),
            tables: vec![self.grid(true), self.against_random()],
            environment: vec![
                fact("topwork", env!("CARGO_PKG_VERSION").to_string()),
                fact("curves", self.curves.len().to_string()),
                fact("time to learn and choose, all curves", report::seconds(seconds)),
            ],
            ..Report::default()
        }
    }
}

//! The numbers, tables and the report of a study of seeds.

use serde::Serialize;

use super::statistics::{Spread, expected_best, spread};
use super::{Bar, Results, Run};
use crate::report::{self, Fact, Grid, Headline, Report, Strip, StripPoint, Strips};

/// The shares of the steps after which stopping early is tried on finished runs.
const SHARES: [f64; 4] = [0.1, 0.2, 0.3, 0.5];

/// What the runs say together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// On the test data, over the runs with a score.
    pub test: Option<Spread>,
    /// On the development data, likewise.
    pub dev: Option<Spread>,
    /// Runs that failed, by their seeds.
    pub failed: Vec<u64>,
    /// Runs.
    pub runs: usize,
    /// What a run must be better than: its name, and the lowest and highest score that it had beside the runs.
    pub bar: Option<(String, f64, f64)>,
    /// For 1, 2, ... runs: the development score to be expected of the best of so many, and the test score of that run.
    pub best_of: Vec<(usize, f64, f64)>,
    /// What stopping early would have saved and cost.
    pub early: Vec<WouldHave>,
}

/// What comes of stopping early, worked out from runs that were trained to their end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct WouldHave {
    /// The share of the steps after which the next evaluation counts.
    pub share: f64,
    /// Runs that would have gone on.
    pub kept: usize,
    /// The best development score among them at their end.
    pub best: f64,
    /// The share of all steps that would have been saved.
    pub saved: f64,
}

impl Results {
    /// Runs with scores on both sets.
    fn scored(&self) -> impl Iterator<Item = (&Run, f64, f64)> {
        self.runs.iter().filter_map(|run| Some((run, run.dev?, run.score?)))
    }

    /// What the runs say together. Of runs of which the worse ones were stopped early nothing is said of how runs scatter.
    pub fn summary(&self) -> Summary {
        let (dev, test): (Vec<f64>, Vec<f64>) = self.scored().map(|(_, dev, test)| (dev, test)).unzip();
        let bars: Vec<f64> = self.runs.iter().filter_map(|run| self.bar_of(run)).collect();
        let ends = (
            bars.iter().copied().fold(f64::INFINITY, f64::min),
            bars.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        );
        let failed = self.runs.iter().filter(|run| self.failed(run)).map(|run| run.seed).collect();
        let mut summary = Summary {
            failed,
            runs: self.runs.len(),
            bar: self.bar.filter(|_| !bars.is_empty()).map(|bar| (bar_name(bar), ends.0, ends.1)),
            ..Summary::default()
        };
        if self.early.is_some() {
            return summary;
        }
        (summary.test, summary.dev) = (spread(&test), spread(&dev));
        let lower = !self.higher_is_better();
        let known = [1, 2, 3, 5, 10, 20, 50, 100].into_iter().filter(|&k| k <= dev.len());
        summary.best_of = known
            .filter_map(|k| expected_best(&dev, &test, k, lower).map(|(dev, test)| (k, dev, test)))
            .collect();
        summary.early = SHARES.iter().filter_map(|&share| self.would_have(share)).collect();
        summary
    }

    /// What stopping all but a quarter of the runs at their first evaluation after `share` of the steps would have come to; `None`
    /// where there are too few runs, or no such evaluation before the end.
    fn would_have(&self, share: f64) -> Option<WouldHave> {
        let sign = if self.higher_is_better() { 1.0 } else { -1.0 };
        let mut seen: Vec<(usize, f64, f64, usize)> = Vec::new();
        for run in &self.runs {
            let Some(dev) = run.dev.filter(|_| run.diverged.is_none()) else { continue };
            let from = (share * run.planned as f64).ceil() as usize;
            let &(step, _) = run.evaluations.iter().find(|(step, _)| *step >= from)?;
            if step >= run.planned {
                return None;
            }
            let by_then = run.evaluations.iter().filter(|(at, _)| *at <= step);
            let by_then = by_then.filter_map(|(_, score)| *score).map(|score| sign * score);
            seen.push((step, by_then.fold(f64::NEG_INFINITY, f64::max), dev, run.steps));
        }
        if seen.len() < 4 {
            return None;
        }
        let kept = seen.len().div_ceil(4);
        seen.sort_by(|a, b| b.1.total_cmp(&a.1));
        let best = seen[..kept].iter().map(|(_, _, dev, _)| sign * dev).fold(f64::NEG_INFINITY, f64::max);
        let all: usize = seen.iter().map(|(.., steps)| steps).sum();
        let saved: usize = seen[kept..].iter().map(|(step, _, _, steps)| steps.saturating_sub(*step)).sum();
        Some(WouldHave { share, kept, best: sign * best, saved: saved as f64 / all.max(1) as f64 })
    }

    fn metric(&self) -> &str {
        self.runs.iter().find(|run| !run.metric.is_empty()).map_or("score", |run| run.metric.as_str())
    }

    /// What makes a run a failed one, in a sentence.
    pub fn definition(&self) -> String {
        let bar = match self.bar {
            None => return "A run has failed when it diverged or its metric has no value.".to_string(),
            Some(Bar::Majority) => {
                "than answering the commonest class of the training data each time (of two classes, whichever scores higher)".to_string()
            }
            Some(Bar::Linear) => "than TF-IDF and a linear model, trained on the same texts".to_string(),
            Some(Bar::Score(score)) => format!("than {score}"),
        };
        format!(
            "A run has failed when it diverged, or its {} on the test data is not better {bar} (as in Mosbach et al. 2021).",
            self.metric()
        )
    }

    /// A row a run.
    pub fn grid(&self) -> Grid {
        let mut head = vec!["seed".to_string(), format!("dev {}", self.metric()), "best step".to_string()];
        head.extend([format!("test {}", self.metric()), "95% interval".into(), "time".into(), String::new()]);
        let value = |value: Option<f64>| value.map_or_else(|| "no value".to_string(), report::score);
        let rows = self.runs.iter().map(|run| {
            let at = run.evaluations.iter().find(|(_, score)| score.is_some() && *score == run.dev);
            let interval = run.interval.map(|(low, high)| format!("{low:.3} to {high:.3}"));
            vec![
                run.seed.to_string(),
                value(run.dev),
                at.map_or_else(String::new, |(step, _)| step.to_string()),
                value(run.score),
                interval.unwrap_or_default(),
                report::seconds(run.seconds),
                match (&run.diverged, self.failed(run)) {
                    (Some(_), _) => "diverged".to_string(),
                    (None, true) => "failed".to_string(),
                    (None, false) => String::new(),
                },
            ]
        });
        Grid {
            title: format!("{} runs of one recipe", self.runs.len()),
            about: format!("What differs: {}. {}", self.vary.words(), self.definition()),
            head,
            rows: rows.collect(),
            sum: false,
        }
    }

    /// The further tables: how the runs scatter, the expected best of several, stopping early.
    pub fn grids(&self) -> Vec<Grid> {
        let summary = self.summary();
        let mut grids = Vec::new();
        let texts = |parts: &[&str]| parts.iter().map(|part| part.to_string()).collect::<Vec<_>>();
        if let (Some(dev), Some(test)) = (&summary.dev, &summary.test) {
            let number = |value: f64| format!("{value:.4}");
            let maybe = |value: Option<f64>| value.map_or_else(|| "needs two runs".to_string(), number);
            let both = |name: &str, of: &dyn Fn(&Spread) -> String| vec![name.to_string(), of(dev), of(test)];
            grids.push(Grid {
                title: "How far the runs lie apart".to_string(),
                about: format!(
                    "Over the {} runs with a score. Who sees one run takes its score for that of the recipe: that is what one seed's \
                     result would have been off by.",
                    test.runs
                ),
                head: texts(&["", "development", "test"]),
                rows: vec![
                    both("mean", &|spread| number(spread.mean)),
                    both("median", &|spread| number(spread.median)),
                    both("standard deviation of a run", &|spread| maybe(spread.deviation)),
                    both("lowest", &|spread| number(spread.lowest)),
                    both("highest", &|spread| number(spread.highest)),
                    both("one run is off the mean by, on average", &|spread| number(spread.off_mean)),
                    both("at most", &|spread| number(spread.off_most)),
                    both("two runs differ by, on average", &|spread| maybe(spread.between_two)),
                ],
                sum: false,
            });
        }
        if summary.best_of.len() > 1 {
            let row = |&(k, dev, test): &(usize, f64, f64)| {
                vec![k.to_string(), format!("{dev:.4}"), format!("{test:.4}")]
            };
            grids.push(Grid {
                title: "The best of several runs".to_string(),
                about: format!(
                    "What is to be expected of the best of k of these {} runs by its development score, and what that run then reaches \
                     on the test data: the sum over runs, sorted by score, of score · ((i/n)^k − ((i−1)/n)^k) (Dodge et al. 2019, \
                     arxiv.org/abs/1909.03004, section 3).",
                    self.scored().count()
                ),
                head: texts(&["k", "expected best on development", "that run on test"]),
                rows: summary.best_of.iter().map(row).collect(),
                sum: false,
            });
        }
        if !summary.early.is_empty() {
            let row = |would: &WouldHave| {
                vec![
                    report::percent(would.share),
                    would.kept.to_string(),
                    report::score(would.best),
                    report::percent(would.saved),
                ]
            };
            grids.push(Grid {
                title: "Had most runs been stopped early".to_string(),
                about: format!(
                    "At the first evaluation after this share of the steps only the best quarter goes on (--stop-early; Dodge et al. 2020, \
                     arxiv.org/abs/2002.06305, section 5). The best development score of all runs is {}.",
                    self.best_run().and_then(|run| run.dev).map_or("none".to_string(), report::score)
                ),
                head: texts(&["stopped after", "runs kept", "best of them", "steps saved"]),
                rows: summary.early.iter().map(row).collect(),
                sum: false,
            });
        }
        grids.extend(self.paused_grid());
        grids
    }

    /// Where the runs stood when most of them were stopped.
    fn paused_grid(&self) -> Option<Grid> {
        let rows = self.paused.iter().map(|paused| {
            let end = self.runs.iter().find(|run| run.seed == paused.seed && paused.kept);
            let value = |value: Option<f64>| value.map_or_else(|| "no value".to_string(), report::score);
            vec![
                paused.seed.to_string(),
                paused.step.to_string(),
                value(paused.score),
                if paused.kept { "went on" } else { "stopped" }.to_string(),
                end.map_or_else(String::new, |run| value(run.dev)),
                end.map_or_else(String::new, |run| value(run.score)),
            ]
        });
        let head = ["seed", "compared at step", "dev by then", "", "dev at the end", "test"];
        (!self.paused.is_empty()).then(|| Grid {
            title: "Start many, stop most".to_string(),
            about: self.saved().unwrap_or_default(),
            head: head.map(str::to_string).to_vec(),
            rows: rows.collect(),
            sum: false,
        })
    }

    /// What stopping early saved, in a sentence; `None` if nothing was stopped.
    pub fn saved(&self) -> Option<String> {
        let early = self.early?;
        let stopped: Vec<_> = self.paused.iter().filter(|paused| !paused.kept).collect();
        let all: usize = self.paused.iter().map(|paused| paused.planned).sum();
        let saved: usize =
            stopped.iter().map(|paused| paused.planned - paused.step.min(paused.planned)).sum();
        Some(format!(
            "{} of {} runs were stopped at their first evaluation after {} of the steps: {} of {} steps were saved ({}). What those runs \
             would have reached is not known, so nothing is said here of how far runs lie apart.",
            stopped.len(),
            self.paused.len(),
            report::percent(early.share),
            report::count(saved as u64),
            report::count(all as u64),
            report::percent(saved as f64 / all.max(1) as f64),
        ))
    }

    /// All runs as points.
    fn strips(&self) -> Strips {
        let point = |run: &Run, value: Option<f64>| {
            Some(StripPoint { name: format!("seed {}", run.seed), value: value?, failed: self.failed(run) })
        };
        let all = self.early.is_none();
        let strip = |name: &str, of: &dyn Fn(&Run) -> Option<f64>| {
            let values: Vec<f64> = self.runs.iter().filter_map(of).collect();
            Strip {
                name: name.to_string(),
                points: self.runs.iter().filter_map(|run| point(run, of(run))).collect(),
                median: spread(&values).map(|spread| spread.median).filter(|_| all),
            }
        };
        let mut rows = vec![strip("test", &|run| run.score), strip("development", &|run| run.dev)];
        if !self.paused.is_empty() {
            let point = |paused: &super::Paused| {
                let state = if paused.kept { "went on" } else { "stopped" };
                let name = format!("seed {}, {state}", paused.seed);
                Some(StripPoint { name, value: paused.score?, failed: false })
            };
            rows.push(Strip {
                name: "development, when compared".to_string(),
                points: self.paused.iter().filter_map(point).collect(),
                median: None,
            });
        }
        let middle = |values: Vec<f64>| spread(&values).map(|spread| spread.median);
        let majority = middle(self.runs.iter().filter_map(|run| run.majority).collect());
        let linear = middle(self.runs.iter().filter_map(|run| run.linear).collect());
        let mut references = Vec::new();
        references.extend(majority.map(|score| (bar_name(Bar::Majority), score)));
        references.extend(linear.map(|score| (bar_name(Bar::Linear), score)));
        if let Some(Bar::Score(score)) = self.bar {
            references.push((bar_name(Bar::Score(score)), score));
        }
        Strips {
            marked: String::new(),
            title: "Every run as a point".to_string(),
            about: self.definition(),
            metric: self.metric().to_string(),
            rows,
            references,
        }
    }

    /// Everything as a report.
    pub fn report(&self) -> Report {
        let summary = self.summary();
        let metric = self.metric();
        let mut headline = Vec::new();
        let mut push = |name: String, value: String, detail: String| {
            headline.push(Headline { name, value, detail });
        };
        if let Some(test) = &summary.test {
            let deviation = test.deviation.map_or(String::new(), |deviation| format!(" ± {deviation:.3}"));
            push(
                format!("test {metric}, mean"),
                format!("{}{deviation}", report::score(test.mean)),
                format!(
                    "standard deviation of a run; {} to {}",
                    report::score(test.lowest),
                    report::score(test.highest)
                ),
            );
            push(
                "one seed is off by".to_string(),
                report::score(test.off_mean),
                format!("on average from the mean; at most {}", report::score(test.off_most)),
            );
        }
        push(
            "failed runs".to_string(),
            format!("{} of {}", summary.failed.len(), summary.runs),
            summary.bar.as_ref().map_or("diverged".to_string(), |(name, low, high)| {
                let range = if low == high { report::score(*low) } else { format!("{low:.3} to {high:.3}") };
                format!("not better than {name}: {range}")
            }),
        );
        if let Some(best) = self.best_run() {
            push(
                "best run by development data".to_string(),
                best.score.map_or("no value".to_string(), report::score),
                format!("test {metric} of seed {}", best.seed),
            );
        }
        let diverged = self.runs.iter().filter_map(|run| {
            let why = run.diverged.as_ref()?;
            Some(format!("seed {}: {why}", run.seed))
        });
        let seconds: f64 = self.runs.iter().map(|run| run.seconds).sum();
        let fact = |name: &str, value: String| Fact { name: name.to_string(), value };
        Report {
            title: "One recipe, many seeds".to_string(),
            subtitle: format!("{} on {}; what differs: {}", self.model, self.data, self.vary.words()),
            headline,
            notes: self.saved().into_iter().chain(diverged).collect(),
            strips: Some(self.strips()),
            tables: self.grids(),
            grid: Some(self.grid()),
            environment: vec![
                fact("topwork", env!("CARGO_PKG_VERSION").to_string()),
                fact("runs", self.runs.len().to_string()),
                fact("time of all runs", report::seconds(seconds)),
            ],
            ..Report::default()
        }
    }
}

fn bar_name(bar: Bar) -> String {
    match bar {
        Bar::Majority => "one class each time".to_string(),
        Bar::Linear => "linear model".to_string(),
        Bar::Score(score) => format!("{score}"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Early, Paused, Vary};
    use super::*;

    pub fn results(runs: Vec<Run>) -> Results {
        Results {
            model: "m<".into(),
            data: "d.csv".into(),
            vary: Vary::Both,
            bar: Some(Bar::Majority),
            runs,
            paused: Vec::new(),
            early: None,
            best: None,
            interrupted: None,
        }
    }

    fn run(seed: u64, first: f64, dev: f64, score: f64) -> Run {
        Run {
            seed,
            metric: "f1".into(),
            higher_is_better: true,
            dev: Some(dev),
            score: Some(score),
            majority: Some(0.5),
            linear: Some(0.7),
            steps: 30,
            planned: 30,
            evaluations: vec![(10, Some(first)), (20, Some(dev)), (30, Some(dev - 0.1))],
            seconds: 2.0,
            ..Run::default()
        }
    }

    fn four() -> Results {
        results(vec![
            run(1, 0.60, 0.80, 0.78),
            run(2, 0.62, 0.70, 0.50),
            run(3, 0.55, 0.90, 0.88),
            run(4, 0.50, 0.76, 0.74),
        ])
    }

    #[test]
    fn the_summary_counts_failures_and_says_what_stopping_would_have_cost() {
        let summary = four().summary();
        assert_eq!(summary.failed, [2]);
        assert_eq!(summary.bar, Some(("one class each time".to_string(), 0.5, 0.5)));
        let best: Vec<usize> = summary.best_of.iter().map(|(k, ..)| *k).collect();
        assert_eq!(best, [1, 2, 3]);
        assert!((summary.best_of[0].1 - 0.79).abs() < 1e-12 && (summary.best_of[0].2 - 0.725).abs() < 1e-12);
        // At step 10 seed 2 is ahead; of 120 steps 3 · 20 are saved. At step 20 seed 3 is.
        let would = |share, best: f64, saved| WouldHave { share, kept: 1, best, saved };
        assert_eq!(
            summary.early,
            [would(0.1, 0.7, 0.5), would(0.2, 0.7, 0.5), would(0.3, 0.7, 0.5), would(0.5, 0.9, 0.25)]
        );
        let mut without = four();
        without.runs.iter_mut().for_each(|run| run.evaluations.truncate(0));
        assert!(without.summary().early.is_empty());
    }

    #[test]
    fn the_page_has_every_run_and_says_what_failed_means() {
        let mut results = four();
        results.runs.push(Run {
            seed: 5,
            diverged: Some("the loss is <NaN>".into()),
            higher_is_better: true,
            ..Run::default()
        });
        let page = report::html(&results.report());
        for part in [
            "m&lt;",
            "2 of 5",
            "the loss is &lt;NaN&gt;",
            "commonest class of the training data",
            "seed 3: 0.880",
            "seed 2: 0.500, failed",
            "arxiv.org/abs/1909.03004",
            "median 0.760",
        ] {
            assert!(page.contains(part), "{part}");
        }
        let grid = results.grid();
        assert_eq!(grid.rows[1][..4], ["2", "0.700", "20", "0.500"]);
        assert_eq!((grid.rows[1][6].as_str(), grid.rows[4][6].as_str()), ("failed", "diverged"));
    }

    #[test]
    fn of_runs_that_were_chosen_nothing_is_averaged() {
        let mut results = four();
        results.early = Some(Early { share: 0.3, keep: 2 });
        results.runs.truncate(2);
        results.paused = (1..=4)
            .map(|seed| Paused {
                seed,
                step: 10,
                planned: 30,
                score: Some(0.1 * seed as f64),
                higher_is_better: true,
                kept: seed <= 2,
            })
            .collect();
        let summary = results.summary();
        assert!(summary.test.is_none() && summary.best_of.is_empty() && summary.early.is_empty());
        let said = results.saved().unwrap();
        assert!(
            said.starts_with("2 of 4 runs") && said.contains("40 of 120 steps") && said.contains("33.3%"),
            "{said}"
        );
        let grids = results.grids();
        assert_eq!(grids.len(), 1);
        assert_eq!(grids[0].rows[0], ["1", "10", "0.100", "went on", "0.800", "0.780"]);
        assert_eq!(grids[0].rows[3], ["4", "10", "0.400", "stopped", "", ""]);
        assert!(report::html(&results.report()).contains("when compared"));
    }
}

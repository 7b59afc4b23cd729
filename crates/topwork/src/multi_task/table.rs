//! The table and the report of several tasks at once.

use super::{ALONE, Results, Run};
use crate::report::{self, Fact, Grid, Headline, Report};
use crate::spread::{half_width, mean, scattered};

impl Results {
    fn of<'a>(&'a self, mixing: &'a str) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().filter(move |run| run.mixing == mixing)
    }

    /// The scores of a way on a task, one a seed.
    fn scores(&self, mixing: &str, task: usize) -> Vec<(u64, f64)> {
        let score = |run: &Run| Some((run.seed, run.scores.get(task).copied().flatten()?));
        self.of(mixing).filter_map(score).collect()
    }

    fn seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.runs.iter().map(|run| run.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }

    /// The mean over all tasks with one seed; `None` unless each has a score.
    fn over_tasks(&self, mixing: &str, seed: u64) -> Option<f64> {
        let of =
            |task| self.scores(mixing, task).iter().find(|(own, _)| *own == seed).map(|(_, score)| *score);
        let scores: Option<Vec<f64>> = (0..self.tasks.len()).map(of).collect();
        mean(&scores?).map(|(mean, _)| mean)
    }

    fn means(&self, mixing: &str) -> Vec<f64> {
        self.seeds().into_iter().filter_map(|seed| self.over_tasks(mixing, seed)).collect()
    }

    /// By how much the mean over tasks is above that of the tasks alone, seed by seed.
    pub fn differences(&self, mixing: &str) -> Vec<f64> {
        let both = |seed| Some(self.over_tasks(mixing, seed)? - self.over_tasks(ALONE, seed)?);
        self.seeds().into_iter().filter_map(both).collect()
    }

    /// A row for the tasks alone and for each way to mix them.
    pub fn grid(&self) -> Grid {
        let mut head = vec!["method".to_string()];
        head.extend(self.tasks.iter().map(|task| format!("{task}, {}", self.metric)));
        head.extend(["mean", "against alone", "models", "stored", "time"].map(str::to_string));
        let row = |way: &str| {
            let mut row = vec![way.to_string()];
            for task in 0..self.tasks.len() {
                row.push(scattered(
                    &self.scores(way, task).into_iter().map(|(_, score)| score).collect::<Vec<_>>(),
                ));
            }
            row.push(scattered(&self.means(way)));
            let differences = self.differences(way);
            row.push(match mean(&differences).filter(|_| way != ALONE) {
                None => String::new(),
                Some((value, spread)) => match half_width(spread, differences.len()) {
                    Some(half) => format!("{value:+.3} ± {half:.3}"),
                    None => format!("{value:+.3}"),
                },
            });
            let models = if way == ALONE { self.tasks.len() } else { 1 };
            let values = self.of(way).map(|run| run.values).max().unwrap_or(0);
            row.push(models.to_string());
            row.push(report::bytes(4 * (models * values) as u64));
            let all: f64 = self.of(way).map(|run| run.seconds).sum();
            row.push(report::seconds(all / self.seeds().len().max(1) as f64));
            row
        };
        let ways = std::iter::once(ALONE).chain(self.mixings.iter().map(String::as_str));
        let seeds = match self.seeds().len() {
            1 => "One seed: differences may be chance".to_string(),
            count => format!(
                "Mean and standard deviation of {count} seeds; differences with their 95% interval by Student's t"
            ),
        };
        Grid {
            title: format!("{} tasks at once", self.tasks.len()),
            about: format!(
                "{seeds}. Alone: a model for each task. Else one encoder with a head for each; an epoch has as many texts as all tasks \
                 together, of a task of n texts in proportion to n (proportional), to its square root, to as many of each (equal), or \
                 from n to n to the power 0.2 (annealed), or to how undecided the model is about it (uncertainty). Time: of training, all tasks."
            ),
            head,
            rows: ways.filter(|way| self.of(way).next().is_some()).map(row).collect(),
            sum: false,
        }
    }

    /// Everything as a report.
    pub fn report(&self) -> Report {
        let mut headline = Vec::new();
        let scored = |way: &str| mean(&self.means(way)).map(|(value, _)| (way.to_string(), value));
        let best = self.mixings.iter().filter_map(|way| scored(way)).max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((way, value)) = best {
            headline.push(Headline {
                name: format!("best mean {}, one model", self.metric),
                value: report::score(value),
                detail: way,
            });
        }
        headline.extend(scored(ALONE).map(|(_, value)| Headline {
            name: format!("mean {}, a model a task", self.metric),
            value: report::score(value),
            detail: format!("{} models", self.tasks.len()),
        }));
        let data = Grid {
            title: "Tasks".to_string(),
            about: "Each has a head of its own: which task a text belongs to is known.".to_string(),
            head: ["task", "to learn from", "to choose by", "to measure on"].map(str::to_string).to_vec(),
            rows: self
                .tasks
                .iter()
                .zip(&self.texts)
                .map(|(task, texts)| {
                    let counts = texts.iter().map(|&count| report::count(count as u64));
                    std::iter::once(task.clone()).chain(counts).collect()
                })
                .collect(),
            sum: false,
        };
        let fact = |name: &str, value: String| Fact { name: name.to_string(), value };
        Report {
            title: "Several tasks at once".to_string(),
            subtitle: format!("{} on {}", self.model, self.tasks.join(", ")),
            headline,
            grid: Some(self.grid()),
            tables: vec![data],
            environment: vec![
                fact("topwork", env!("CARGO_PKG_VERSION").to_string()),
                fact("seeds", self.seeds().len().to_string()),
                fact("time of all runs", report::seconds(self.runs.iter().map(|run| run.seconds).sum())),
            ],
            ..Report::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_model_is_held_against_a_model_a_task() {
        let run = |mixing: &str, seed, scores: [Option<f64>; 2]| Run {
            mixing: mixing.to_string(),
            seed,
            scores: scores.to_vec(),
            seconds: 2.0,
            values: 1000,
        };
        let results = Results {
            model: "m<".into(),
            tasks: vec!["a".into(), "b&".into()],
            texts: vec![[900, 10, 10], [100, 10, 10]],
            metric: "accuracy".into(),
            mixings: vec!["sqrt".into(), "equal".into()],
            runs: vec![
                run(ALONE, 1, [Some(0.8), None]),
                run(ALONE, 1, [None, Some(0.6)]),
                run("sqrt", 1, [Some(0.82), Some(0.66)]),
                run(ALONE, 2, [Some(0.8), None]),
                run(ALONE, 2, [None, Some(0.6)]),
                run("sqrt", 2, [Some(0.8), Some(0.66)]),
            ],
            interrupted: None,
        };
        let grid = results.grid();
        assert_eq!(grid.rows.len(), 2, "what has not run has no row");
        assert_eq!(
            grid.rows[0][..7],
            ["alone", "0.800 ± 0.000", "0.600 ± 0.000", "0.700 ± 0.000", "", "2", "8.00 kB"]
        );
        // Means 0.74 and 0.73: 0.035 above, t of one degree of freedom: 12.706 · 0.00707 / √2.
        assert_eq!(grid.rows[1][3..6], ["0.735 ± 0.007", "+0.035 ± 0.064", "1"]);
        let page = report::html(&results.report());
        for part in ["m&lt;", "b&amp;", "best mean accuracy, one model", "0.735"] {
            assert!(page.contains(part), "{part}");
        }
    }
}

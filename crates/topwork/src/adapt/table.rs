//! The table and the report of ways from a source to a target.

use super::{Results, Run, WAYS};
use crate::report::{self, Fact, Grid, Headline, Method, Methods, Report, Score};
use crate::spread::{half_width, mean, scattered};

impl Results {
    /// The ways that have a run.
    fn rows(&self) -> Vec<&str> {
        self.ways.iter().map(String::as_str).filter(|way| self.of(way).next().is_some()).collect()
    }

    fn of<'a>(&'a self, way: &'a str) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().filter(move |run| run.way == way)
    }

    fn seeds(&self) -> usize {
        let mut seeds: Vec<u64> = self.runs.iter().map(|run| run.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds.len()
    }

    /// By how much a way is above another on the target, seed by seed.
    pub fn differences(&self, way: &str, other: &str) -> Vec<f64> {
        let pair = |run: &Run| {
            let first = self.of(other).find(|first| first.seed == run.seed)?;
            Some(run.target? - first.target?)
        };
        self.of(way).filter_map(pair).collect()
    }

    fn against(&self, way: &str) -> String {
        let Some(first) = self.ways.first().filter(|first| *first != way) else { return String::new() };
        let differences = self.differences(way, first);
        let Some((value, spread)) = mean(&differences) else { return String::new() };
        match half_width(spread, differences.len()) {
            Some(half) => format!("{value:+.3} ± {half:.3}"),
            None => format!("{value:+.3}"),
        }
    }

    /// A row a way: its scores on target and source, its difference to the first, the labels it learns from, and its time.
    pub fn grid(&self) -> Grid {
        let [source, target] = &self.tasks;
        let first = self.ways.first().map_or("", String::as_str);
        let head = [
            "method".to_string(),
            format!("target, {}", self.metric),
            format!("against {first}"),
            format!("source, {}", self.metric),
            "labels, source".to_string(),
            "target".to_string(),
            "time".to_string(),
        ];
        let row = |way: &str| {
            let values = |value: fn(&Run) -> Option<f64>| self.of(way).filter_map(value).collect::<Vec<_>>();
            let shown = |values: Vec<f64>| if values.is_empty() { String::new() } else { scattered(&values) };
            let count = |task: usize| {
                report::count(self.of(way).map(|run| run.labelled[task]).max().unwrap_or(0) as u64)
            };
            let seconds = mean(&self.of(way).map(|run| run.seconds).collect::<Vec<_>>());
            vec![
                way.to_string(),
                shown(values(|run| run.target)),
                self.against(way),
                shown(values(|run| run.source)),
                count(0),
                count(1),
                seconds.map_or(String::new(), |(seconds, _)| report::seconds(seconds)),
            ]
        };
        let seeds = match self.seeds() {
            1 => "One seed: differences may be chance".to_string(),
            count => format!("Mean and standard deviation of {count} seeds"),
        };
        let interval = if self.seeds() > 1 { " and its 95% interval by Student's t over seeds" } else { "" };
        Grid {
            title: format!("From {source} to {target}"),
            about: format!(
                "{seeds}; the column \"against\" is the mean difference to {first} on {target}{interval}, in the same seeds. What \
                 learns the labels of {source} alone chooses its checkpoint on {source}; of {target} it sees no label. No score: the \
                 head knows nothing of these labels. Labels: those learnt from. Time: of training, with what a method starts from."
            ),
            head: head.to_vec(),
            rows: self.rows().into_iter().map(row).collect(),
            sum: false,
        }
    }

    /// Everything as a report.
    pub fn report(&self) -> Report {
        let [source, target] = &self.tasks;
        let score = |way: &str| {
            let targets: Vec<f64> = self.of(way).filter_map(|run| run.target).collect();
            let (value, spread) = mean(&targets)?;
            let half = half_width(spread, targets.len());
            // A share ends at 0 and at 1, which few seeds that scatter know nothing of.
            let within = |end: f64| if (0.0..=1.0).contains(&value) { end.clamp(0.0, 1.0) } else { end };
            Some(Score { value, interval: half.map(|half| (within(value - half), within(value + half))) })
        };
        let scored: Vec<(&str, Score)> =
            self.rows().into_iter().filter_map(|way| Some((way, score(way)?))).collect();
        let best = |labels: bool| {
            // With labels of the target, and without.
            let of = |(way, _): &&(&str, Score)| self.of(way).any(|run| run.labelled[1] > 0) == labels;
            scored.iter().filter(of).max_by(|a, b| a.1.value.total_cmp(&b.1.value))
        };
        let line = |(way, score): &(&str, Score), name: String| Headline {
            name,
            value: report::score(score.value),
            detail: way.to_string(),
        };
        let mut headline = Vec::new();
        if self.higher_is_better {
            headline.extend(best(false).map(|found| line(found, format!("best without labels of {target}"))));
            headline.extend(best(true).map(|found| line(found, "best with them".to_string())));
        }
        let method = |(way, score): &(&str, Score)| Method {
            name: way.to_string(),
            detail: WAYS.iter().find(|known| known.name == *way).map_or("", |known| known.about).to_string(),
            score: *score,
            seconds: mean(&self.of(way).map(|run| run.seconds).collect::<Vec<_>>()).map(|(mean, _)| mean),
            main: self.ways.first().is_some_and(|first| first == way),
            ..Method::default()
        };
        let methods = Methods {
            metric: format!("{} on {target}", self.metric),
            texts: self.texts[1][2] as u64,
            rows: scored.iter().map(method).collect(),
        };
        let data = Grid {
            title: "Data".to_string(),
            about: format!(
                "Divided once for each seed. Texts of {target} without labels: {}.",
                report::count(self.unlabelled as u64)
            ),
            head: ["task", "to learn from", "to choose by", "to measure on"].map(str::to_string).to_vec(),
            rows: [source, target]
                .into_iter()
                .zip(&self.texts)
                .map(|(task, texts)| {
                    let counts = texts.iter().map(|&count| report::count(count as u64));
                    std::iter::once(task.clone()).chain(counts).collect()
                })
                .collect(),
            sum: false,
        };
        let seconds: f64 = self.runs.iter().map(|run| run.seconds).sum();
        let fact = |name: &str, value: String| Fact { name: name.to_string(), value };
        Report {
            title: "From one domain to another".to_string(),
            subtitle: format!("{} from {source} to {target}", self.model),
            headline,
            methods: self.higher_is_better.then_some(methods),
            grid: Some(self.grid()),
            tables: vec![data],
            environment: vec![
                fact("topwork", env!("CARGO_PKG_VERSION").to_string()),
                fact("seeds", self.seeds().to_string()),
                fact("time of all methods", report::seconds(seconds)),
            ],
            ..Report::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let run = |way: &str, seed, target, labelled| Run {
            way: way.to_string(),
            seed,
            target: Some(target),
            source: (way != "target-only").then_some(0.9),
            seconds: 3.0,
            labelled,
        };
        Results {
            model: "m<".into(),
            tasks: ["books".into(), "kitchen&".into()],
            texts: [[1600, 200, 200], [100, 200, 200]],
            unlabelled: 1600,
            metric: "accuracy".into(),
            higher_is_better: true,
            ways: ["target-only", "source-only", "init"].map(String::from).to_vec(),
            runs: vec![
                run("target-only", 1, 0.70, [0, 100]),
                run("source-only", 1, 0.80, [1600, 0]),
                run("init", 1, 0.84, [1600, 100]),
                run("target-only", 2, 0.74, [0, 100]),
                run("source-only", 2, 0.82, [1600, 0]),
            ],
            interrupted: None,
        }
    }

    #[test]
    fn ways_are_held_against_the_first_seed_by_seed() {
        let grid = results().grid();
        assert_eq!(grid.rows[0], ["target-only", "0.720 ± 0.028", "", "", "0", "100", "3 s"]);
        // Mean 0.09, standard deviation 0.0141, t of one degree of freedom: 12.706 · 0.0141 / √2.
        assert_eq!(
            grid.rows[1][..6],
            ["source-only", "0.810 ± 0.014", "+0.090 ± 0.127", "0.900 ± 0.000", "1,600", "0"]
        );
        assert_eq!(grid.rows[2][..3], ["init", "0.840", "+0.140"]);
    }

    #[test]
    fn the_page_names_the_best_with_and_without_labels_of_the_target() {
        let page = report::html(&results().report());
        for part in
            ["m&lt;", "best without labels of kitchen&amp;", "0.810", "best with them", "0.840", "1,600"]
        {
            assert!(page.contains(part), "{part}");
        }
    }
}

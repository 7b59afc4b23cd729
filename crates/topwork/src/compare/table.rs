//! The table and the report of a comparison.

use super::{BASELINE, Results, Run, STATIC, VECTORS, WAYS};
use crate::report::{self, Fact, Grid, Headline, Method, Methods, Report, Score};
use crate::spread::{half_width, mean, scattered};

impl Results {
    /// The tasks, in order.
    pub fn tasks(&self) -> Vec<&str> {
        let mut tasks: Vec<&str> = Vec::new();
        for run in &self.runs {
            if !tasks.contains(&run.task.as_str()) {
                tasks.push(&run.task);
            }
        }
        tasks
    }

    /// The rows: the linear model, where there is one, and the ways that have a run.
    pub fn rows(&self) -> Vec<&str> {
        let ran = |way: &&str| self.runs.iter().any(|run| run.way == *way);
        std::iter::once(BASELINE).chain(self.ways.iter().map(String::as_str)).filter(ran).collect()
    }

    fn of<'a>(&'a self, way: &'a str, task: &'a str) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().filter(move |run| run.way == way && run.task == task)
    }

    fn seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.runs.iter().map(|run| run.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }

    /// Whether a mean over the tasks means something: more is better in all of them.
    fn comparable(&self) -> bool {
        self.runs.iter().all(|run| run.higher_is_better)
    }

    /// The mean over all tasks of a way with one seed; `None` unless each has a score.
    fn over_tasks(&self, way: &str, seed: u64) -> Option<f64> {
        let tasks = self.tasks();
        let score = |task: &&str| self.of(way, task).find(|run| run.seed == seed).and_then(|run| run.score);
        let scores: Option<Vec<f64>> = tasks.iter().map(score).collect();
        mean(&scores?).map(|(mean, _)| mean)
    }

    /// The means over tasks of a way, one a seed that has all.
    fn means(&self, way: &str) -> Vec<f64> {
        self.seeds().into_iter().filter_map(|seed| self.over_tasks(way, seed)).collect()
    }

    /// By how much a way is above the first one, seed by seed, over seeds in which both have all tasks.
    pub fn differences(&self, way: &str) -> Vec<f64> {
        let Some(first) = self.ways.first() else { return Vec::new() };
        let both = |seed| Some(self.over_tasks(way, seed)? - self.over_tasks(first, seed)?);
        self.seeds().into_iter().filter_map(both).collect()
    }

    /// A row a way: its score on each task, the mean over them and its difference to the first way, what is trained and stored,
    /// and what it takes.
    pub fn grid(&self) -> Grid {
        let tasks = self.tasks();
        let metric = |task: &str| {
            let known = self.runs.iter().find(|run| run.task == task && !run.metric.is_empty());
            known.map_or("score", |run| run.metric.as_str())
        };
        let several = tasks.len() > 1 && self.comparable();
        let first = self.ways.first().map_or("", String::as_str);
        let mut head = vec!["method".to_string()];
        head.extend(tasks.iter().map(|task| format!("{task}, {}", metric(task))));
        head.extend(several.then(|| "mean".to_string()));
        head.extend(self.comparable().then(|| format!("against {first}")));
        let known = self.runs.iter().find_map(|run| run.kept.as_ref());
        head.extend(known.map(|kept| format!("kept, {}", kept.metric)));
        head.extend(["trained", "stored", "memory", "time"].map(str::to_string));
        let row = |way: &str| {
            let mut row = vec![way.to_string()];
            for task in &tasks {
                let values: Vec<f64> = self.of(way, task).filter_map(|run| run.score).collect();
                let failed = self.of(way, task).filter(|run| run.failed.is_some()).count();
                let note = if failed > 0 { format!(", {failed} failed") } else { String::new() };
                row.push(format!("{}{note}", scattered(&values)));
            }
            if several {
                row.push(scattered(&self.means(way)));
            }
            if self.comparable() {
                row.push(self.against(way, first));
            }
            if known.is_some() {
                let runs = self.runs.iter().filter(|run| run.way == way);
                let after: Vec<f64> = runs.filter_map(|run| Some(run.kept.as_ref()?.after)).collect();
                row.push(if after.is_empty() { String::new() } else { scattered(&after) });
            }
            row.extend(self.costs(way));
            row
        };
        let rows = self.rows().into_iter().map(row).collect();
        let seeds = self.seeds().len();
        let kept = known.map_or(String::new(), |kept| {
            format!(
                " Kept: {} of {} with the encoder as it is after the run; before it was {:.3}.",
                kept.metric, kept.of, kept.before
            )
        });
        let about = format!(
            "{}; a column \"against\" is the mean difference to {first}{}, in the same seeds. Trained: the share of the model's \
             values; stored: what one more task takes on disk beside the pretrained model, 4 bytes a value; memory: the most that \
             a run held, mapped files apart, mean; time: of training, mean.{kept}",
            match seeds {
                1 => "One seed: differences may be chance".to_string(),
                count => format!("Mean and standard deviation of {count} seeds"),
            },
            if seeds > 1 { " and its 95% interval by Student's t over seeds" } else { "" }
        );
        Grid { title: "Ways to adapt the model".to_string(), about, head, rows, sum: false }
    }

    /// A row a way and task: its score on each part of the test data that was asked for, and how many texts those have; `None` where
    /// none was.
    pub fn parts(&self) -> Option<Grid> {
        let mut names: Vec<(&str, usize)> = Vec::new();
        for slice in self.runs.iter().flat_map(|run| &run.slices) {
            if !names.iter().any(|(name, _)| *name == slice.name) {
                names.push((&slice.name, slice.examples));
            }
        }
        let tasks = self.tasks();
        let named =
            |way: &str, task: &str| if tasks.len() > 1 { format!("{way}, {task}") } else { way.to_string() };
        let mut rows = Vec::new();
        for (task, way) in tasks.iter().flat_map(|task| self.rows().into_iter().map(move |way| (*task, way)))
        {
            let cell = |name: &str| {
                let slices =
                    self.of(way, task).flat_map(|run| &run.slices).filter(|slice| slice.name == name);
                scattered(&slices.filter_map(|slice| slice.value).collect::<Vec<_>>())
            };
            if self.of(way, task).any(|run| !run.slices.is_empty()) {
                rows.push(
                    std::iter::once(named(way, task))
                        .chain(names.iter().map(|(name, _)| cell(name)))
                        .collect(),
                );
            }
        }
        let head = names.iter().map(|(name, texts)| format!("{name} ({texts})"));
        (!rows.is_empty()).then(|| Grid {
            title: "Parts of the test data".to_string(),
            about: "The same metric on each part; in brackets its texts, with the first seed.".to_string(),
            head: std::iter::once("method".to_string()).chain(head).collect(),
            rows,
            sum: false,
        })
    }

    /// What context adds: the gain of the best of the other ways over static vectors, where the first way is one of those.
    pub fn gain(&self) -> Option<String> {
        let (first, way, value) = self.best_gain()?;
        let seeds = self.differences(way).len();
        let sure = if seeds > 1 { "" } else { " (one seed: it may be chance)" };
        Some(format!("gain over {first}: {value} by {way}{sure}"))
    }

    /// The first way, if it is one of static vectors, the way that is furthest above it, and how far.
    fn best_gain(&self) -> Option<(&str, &str, String)> {
        let first = self.ways.first()?.as_str();
        if ![VECTORS, STATIC].contains(&first) || !self.comparable() {
            return None;
        }
        let gain = |way: &&str| mean(&self.differences(way)).map(|(gain, _)| gain);
        let others = self.rows().into_iter().filter(|way| ![first, BASELINE, VECTORS, STATIC].contains(way));
        let ranked = others.filter_map(|way| Some((way, gain(&way)?)));
        let (way, _) = ranked.max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some((first, way, self.against(way, first)))
    }

    fn against(&self, way: &str, first: &str) -> String {
        let differences = self.differences(way);
        if way == first || differences.is_empty() {
            return String::new();
        }
        let (value, spread) = mean(&differences).unwrap_or_default();
        match half_width(spread, differences.len()) {
            Some(half) => format!("{value:+.3} ± {half:.3}"),
            None => format!("{value:+.3}"),
        }
    }

    /// Trained share, stored bytes, memory and time of a way.
    fn costs(&self, way: &str) -> [String; 4] {
        let runs: Vec<&Run> = self.runs.iter().filter(|run| run.way == way && run.failed.is_none()).collect();
        if runs.is_empty() || way == BASELINE {
            let seconds: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
            let time = mean(&seconds).map_or(String::new(), |(mean, _)| report::seconds(mean));
            return [String::new(), String::new(), String::new(), time];
        }
        let average =
            |value: &dyn Fn(&Run) -> f64| runs.iter().map(|run| value(run)).sum::<f64>() / runs.len() as f64;
        let share = 100.0 * average(&|run| run.trained as f64 / run.total.max(1) as f64);
        let stored = average(&|run| 4.0 * run.trained as f64);
        [
            if share < 10.0 { format!("{share:.2} %") } else { format!("{share:.0} %") },
            report::bytes(stored as u64),
            self.memory(way).map_or(String::new(), report::bytes),
            report::seconds(average(&|run| run.seconds)),
        ]
    }

    /// The mean of the most memory that the runs of a way held, if it was counted in any.
    fn memory(&self, way: &str) -> Option<u64> {
        let runs = self.runs.iter().filter(|run| run.way == way);
        let held: Vec<f64> = runs.filter_map(|run| run.memory).map(|bytes| bytes as f64).collect();
        mean(&held).map(|(mean, _)| mean as u64)
    }

    /// Everything as a report.
    pub fn report(&self) -> Report {
        let score = |way: &str| {
            let means = self.means(way);
            let (value, spread) = mean(&means)?;
            // A share ends at 0 and at 1, which few seeds that scatter know nothing of.
            let share = means.iter().all(|value| (0.0..=1.0).contains(value));
            let within = |end: f64| if share { end.clamp(0.0, 1.0) } else { end };
            let half = half_width(spread, means.len());
            Some(Score { value, interval: half.map(|half| (within(value - half), within(value + half))) })
        };
        let scored: Vec<(&str, Score)> =
            self.rows().into_iter().filter_map(|way| Some((way, score(way)?))).collect();
        let tasks = self.tasks();
        let what = match tasks.as_slice() {
            [task] => self.runs.first().map_or(String::new(), |run| format!("{} on {task}", run.metric)),
            tasks => format!("mean of {} tasks", tasks.len()),
        };
        let mut headline = Vec::new();
        if self.comparable()
            && let Some((way, best)) = scored.iter().max_by(|a, b| a.1.value.total_cmp(&b.1.value))
        {
            headline.push(Headline {
                name: format!("best {what}"),
                value: report::score(best.value),
                detail: format!("{way}, of {}", scored.len()),
            });
            let near = |(way, score): &&(&str, Score)| *way != BASELINE && score.value >= best.value - 0.01;
            let trained = |way: &str| {
                let runs = self.runs.iter().filter(|run| run.way == way && run.failed.is_none());
                runs.map(|run| run.trained).max().unwrap_or(usize::MAX)
            };
            let least = scored.iter().filter(near).min_by_key(|(way, _)| trained(way));
            headline.extend(least.map(|(way, score)| Headline {
                name: "least trained within a point of it".to_string(),
                value: way.to_string(),
                detail: format!(
                    "{}, {} values",
                    report::score(score.value),
                    report::count(trained(way) as u64)
                ),
            }));
        }
        headline.extend(self.best_gain().map(|(first, way, value)| Headline {
            name: format!("gain over {first}"),
            value,
            detail: format!("{way}, the best of the others"),
        }));
        let about = |way: &str| {
            let known = WAYS.iter().find(|known| known.name == way);
            known.map_or("TF-IDF and a linear model".to_string(), |known| known.about.to_string())
        };
        let rows = scored.iter().map(|(way, score)| {
            let runs: Vec<&Run> = self.runs.iter().filter(|run| run.way == *way).collect();
            let own = *way != BASELINE;
            Method {
                name: way.to_string(),
                detail: about(way),
                score: *score,
                trained_parameters: runs.iter().map(|run| run.trained as u64).max().filter(|_| own),
                memory: self.memory(way),
                seconds: Some(runs.iter().map(|run| run.seconds).sum::<f64>() / runs.len().max(1) as f64),
                baseline: !own,
                main: self.ways.first().is_some_and(|first| first == way),
            }
        });
        let failed: Vec<String> = self
            .runs
            .iter()
            .filter_map(|run| {
                let why = run.failed.as_ref()?;
                Some(format!("{}, {} with seed {} failed: {why}", run.task, run.way, run.seed))
            })
            .collect();
        let seconds: f64 = self.runs.iter().map(|run| run.seconds).sum();
        let fact = |name: &str, value: String| Fact { name: name.to_string(), value };
        let methods = Methods {
            metric: what.clone(),
            texts: tasks
                .iter()
                .filter_map(|task| Some(self.runs.iter().find(|run| run.task == **task)?.texts as u64))
                .sum(),
            rows: rows.collect(),
        };
        Report {
            title: "Ways to adapt a model".to_string(),
            subtitle: format!("{} on {}", self.model, tasks.join(", ")),
            headline,
            notes: failed,
            methods: self.comparable().then_some(methods),
            grid: Some(self.grid()),
            tables: self.parts().into_iter().collect(),
            environment: vec![
                fact("topwork", env!("CARGO_PKG_VERSION").to_string()),
                fact("runs", self.runs.iter().filter(|run| run.way != BASELINE).count().to_string()),
                fact("seeds", self.seeds().len().to_string()),
                fact("time of all runs", report::seconds(seconds)),
            ],
            ..Report::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::Kept;

    fn run(task: &str, way: &str, seed: u64, score: Option<f64>) -> Run {
        Run {
            task: task.into(),
            way: way.into(),
            seed,
            metric: "f1".into(),
            higher_is_better: true,
            score,
            texts: 50,
            trained: if way == "full" { 1000 } else { 10 },
            total: 1000,
            seconds: 2.0,
            memory: (way != "linear").then_some(3_000_000 + seed),
            ..Run::default()
        }
    }

    fn results() -> Results {
        let mut runs = Vec::new();
        for (seed, [full, lora]) in [(1, [0.80, 0.82]), (2, [0.70, 0.71]), (3, [0.90, 0.90])] {
            for task in ["a", "b<"] {
                runs.push(run(task, "linear", seed, Some(0.5)));
                runs.push(run(task, "full", seed, Some(full)));
                runs.push(run(task, "lora", seed, Some(lora)));
            }
        }
        Results { model: "m".into(), runs, ways: vec!["full".into(), "lora".into()], interrupted: None }
    }

    #[test]
    fn differences_are_paired_by_seed() {
        let results = results();
        let grid = results.grid();
        assert_eq!(grid.head[..5], ["method", "a, f1", "b<, f1", "mean", "against full"]);
        assert_eq!(grid.rows[1][..5], ["full", "0.800 ± 0.100", "0.800 ± 0.100", "0.800 ± 0.100", ""]);
        // Mean 0.01, standard deviation 0.01, t of 2 degrees of freedom: 4.303 · 0.01 / √3.
        assert_eq!(grid.rows[2][3..5], ["0.810 ± 0.095", "+0.010 ± 0.025"]);
        assert_eq!(grid.rows[2][5..], ["1.00 %", "40 B", "3.00 MB", "2 s"]);
        assert_eq!(grid.rows[0][5..], ["", "", "", "2 s"]);
        assert_eq!(grid.rows[0][0], "linear");
    }

    #[test]
    fn failures_are_named_and_leave_the_pairs_that_are_whole() {
        let mut results = results();
        let at = results.runs.iter().position(|run| run.way == "lora").unwrap();
        results.runs[at].score = None;
        results.runs[at].failed = Some("the loss is NaN".into());
        assert_eq!(results.differences("lora").len(), 2);
        assert_eq!(results.grid().rows[2][1], "0.805 ± 0.134, 1 failed");
        let page = report::html(&results.report());
        for part in ["b&lt;", "the loss is NaN", "within a point", "lora"] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn what_is_forgotten_is_a_column() {
        let mut results = results();
        for (at, run) in results.runs.iter_mut().filter(|run| run.way != "linear").enumerate() {
            run.kept = Some(Kept {
                of: "masked-lm".into(),
                metric: "perplexity".into(),
                higher_is_better: false,
                before: 12.0,
                after: 20.0 + (at % 2) as f64,
                texts: 7,
            });
        }
        let grid = results.grid();
        assert_eq!(grid.head[5], "kept, perplexity");
        assert_eq!(
            [&grid.rows[0][5], &grid.rows[1][5], &grid.rows[2][5]],
            ["", "20.000 ± 0.000", "21.000 ± 0.000"]
        );
        assert!(
            grid.about.contains("perplexity of masked-lm") && grid.about.contains("before it was 12.000")
        );
    }

    #[test]
    fn nothing_is_averaged_where_less_is_better() {
        let mut results = results();
        results.runs.iter_mut().for_each(|run| run.higher_is_better = run.task == "a");
        let grid = results.grid();
        assert_eq!(grid.head[..4], ["method", "a, f1", "b<, f1", "trained"]);
        assert!(results.report().headline.is_empty() && results.report().methods.is_none());
    }

    #[test]
    fn what_context_adds_is_said_where_static_vectors_come_first() {
        let mut results = results();
        assert_eq!(results.gain(), None);
        for run in &mut results.runs {
            run.way = run.way.replace("full", "static");
        }
        results.ways[0] = "static".into();
        assert_eq!(results.gain().as_deref(), Some("gain over static: +0.010 ± 0.025 by lora"));
        let page = report::html(&results.report());
        assert!(page.contains("gain over static") && page.contains("+0.010 ± 0.025"));
        results.runs.retain(|run| run.seed == 1);
        assert!(results.gain().unwrap().ends_with("+0.020 by lora (one seed: it may be chance)"));
    }

    #[test]
    fn one_seed_has_no_interval() {
        let mut results = results();
        results.runs.retain(|run| run.seed == 1);
        let grid = results.grid();
        assert_eq!(grid.rows[2][..5], ["lora", "0.820", "0.820", "0.820", "+0.020"]);
        assert!(grid.about.contains("may be chance"));
        assert_eq!(half_width(1.0, 1), None);
        assert_eq!(half_width(2.0, 4), Some(3.182));
        assert_eq!(half_width(1.0, 400).unwrap(), 1.96 / 20.0);
    }
}

//! The tables and the report of tasks learnt one after the other.

use super::{ALONE, Heads, Measures, REPLAY, Results, WAYS};
use crate::report::{self, Fact, Grid, Headline, Heat, Heats, Report};

/// A mean and, of several values, their standard deviation, as text; empty without values.
fn scattered(values: &[f64], signed: bool) -> String {
    if values.is_empty() {
        return String::new();
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let shown = if signed { format!("{mean:+.3}") } else { format!("{mean:.3}") };
    if values.len() == 1 {
        return shown;
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    format!("{shown} ± {:.3}", (squares / (count - 1.0)).sqrt())
}

/// Mean over seeds; `None` unless each has a value.
fn mean(values: &[Option<f64>]) -> Option<f64> {
    let values: Option<Vec<f64>> = values.iter().copied().collect();
    let values = values.filter(|values| !values.is_empty())?;
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

impl Results {
    /// The ways that have a result.
    fn rows(&self) -> Vec<&str> {
        let ran = |way: &&str| self.learnt.iter().any(|learnt| learnt.way == *way);
        self.ways.iter().map(String::as_str).filter(ran).collect()
    }

    fn about(&self, way: &str) -> String {
        let about = WAYS.iter().find(|known| known.name == way).map_or("", |known| known.about);
        match way == REPLAY {
            true => format!("{} of the earlier tasks' texts is mixed in", report::percent(self.replay)),
            false => about.to_string(),
        }
    }

    /// The mean score of the tasks alone, by seed.
    fn alone_means(&self) -> Vec<f64> {
        self.alone.iter().filter_map(|(_, scores)| mean(scores)).collect()
    }

    /// A row a way: the scores in the end, and what they say of forgetting and of transfer.
    pub fn grid(&self) -> Grid {
        let shared = self.heads == Heads::Shared;
        let mut head = vec!["method".to_string(), format!("mean {} in the end", self.metric)];
        head.extend(["backward transfer", "forgetting"].map(str::to_string));
        head.extend(shared.then(|| "forward transfer".to_string()));
        head.extend(["learning, against alone", "trained values", "time"].map(str::to_string));
        let mut alone = vec![ALONE.to_string(), scattered(&self.alone_means(), false)];
        alone.resize(head.len(), String::new());
        let mut rows = vec![alone];
        for way in self.rows() {
            let measures = self.measures(way);
            let of = |value: &dyn Fn(&Measures) -> Option<f64>, signed| {
                scattered(&measures.iter().filter_map(value).collect::<Vec<_>>(), signed)
            };
            let mut row = vec![
                way.to_string(),
                of(&|measures| measures.average, false),
                of(&|measures| measures.backward, true),
                of(&|measures| measures.forgetting, true),
            ];
            row.extend(shared.then(|| of(&|measures| measures.forward, true)));
            row.push(of(&|measures| measures.learning, true));
            let learnt: Vec<_> = self.learnt.iter().filter(|learnt| learnt.way == way).collect();
            let trained = learnt.iter().map(|learnt| learnt.trained).max().unwrap_or(0);
            let seconds: f64 = learnt.iter().map(|learnt| learnt.seconds).sum();
            row.push(report::compact(trained as u64));
            row.push(report::seconds(seconds / learnt.len().max(1) as f64));
            rows.push(row);
        }
        let forward: &str = match shared {
            true => {
                " Forward transfer: the score on a task before it is learnt, less that of a head that nothing has taught."
            }
            false => {
                " A head of its own says nothing of a task before it is learnt, so there is no forward transfer."
            }
        };
        let seeds = match self.alone.len() {
            0 | 1 => "One seed: small differences may be chance.".to_string(),
            count => format!("Mean and standard deviation of {count} seeds."),
        };
        Grid {
            title: format!("{} tasks one after the other", self.tasks.len()),
            about: format!(
                "Backward transfer: the mean over earlier tasks of the score in the end less the one right after learning; below 0 is \
                 forgetting (Lopez-Paz & Ranzato 2017, arxiv.org/abs/1706.08840, equations 2 to 4). Forgetting: the mean of the best \
                 score on an earlier task less the one in the end (Chaudhry et al. 2018, arxiv.org/abs/1801.10112).{forward} Learning: \
                 the score right after learning less that of the task alone, with a model of its own (the row \"{ALONE}\"). {seeds}"
            ),
            head,
            rows,
            sum: false,
        }
    }

    /// The matrix of a way as a table.
    pub fn matrix_grid(&self, way: &str) -> Grid {
        let mut head = vec![way.to_string()];
        head.extend(self.tasks.iter().cloned());
        let cell = |value: &Option<f64>| value.map_or_else(|| "–".to_string(), report::score);
        let rows = self.matrix(way).into_iter().zip(&self.tasks).map(|(row, task)| {
            let mut cells = vec![format!("after {task}")];
            cells.extend(row.iter().map(cell));
            cells
        });
        Grid { title: String::new(), about: String::new(), head, rows: rows.collect(), sum: false }
    }

    fn heats(&self) -> Heats {
        let heat = |way: &str| Heat {
            title: way.to_string(),
            about: self.about(way),
            rows: self.tasks.iter().map(|task| format!("after {task}")).collect(),
            columns: self.tasks.clone(),
            values: self.matrix(way),
        };
        let alone = |task: usize| {
            let scores: Vec<Option<f64>> =
                self.alone.iter().map(|(_, scores)| scores.get(task).copied().flatten()).collect();
            mean(&scores)
        };
        let alone = Heat {
            title: ALONE.to_string(),
            about: "each task from the pretrained model, a model each".to_string(),
            rows: vec!["alone".to_string()],
            columns: self.tasks.clone(),
            values: vec![(0..self.tasks.len()).map(alone).collect()],
        };
        Heats {
            title: format!("{} on each task after each task", self.metric),
            about: "A row is the model after a task was learnt, a column the test data of a task. The same colours in all tables.".to_string(),
            along: "measured on".to_string(),
            maps: self.rows().into_iter().map(heat).chain([alone]).collect(),
        }
    }

    /// Everything as a report.
    pub fn report(&self) -> Report {
        let average = |way: &str| {
            let measures: Vec<Option<f64>> =
                self.measures(way).iter().map(|measures| measures.average).collect();
            Some((way.to_string(), mean(&measures)?))
        };
        let mut scored: Vec<(String, f64)> = self.rows().into_iter().filter_map(average).collect();
        scored.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut headline = Vec::new();
        if let Some((way, value)) = scored.first() {
            headline.push(Headline {
                name: format!("best mean {} in the end", self.metric),
                value: report::score(*value),
                detail: format!("{way}, of {}", scored.len()),
            });
        }
        let backward: Vec<Option<f64>> = self.measures("sequential").iter().map(|of| of.backward).collect();
        headline.extend(mean(&backward).map(|value| Headline {
            name: "sequential training does to earlier tasks".to_string(),
            value: format!("{value:+.3}"),
            detail: "backward transfer: in the end less right after learning".to_string(),
        }));
        let alone = self.alone_means();
        if !alone.is_empty() {
            headline.push(Headline {
                name: "a model for each task".to_string(),
                value: report::score(alone.iter().sum::<f64>() / alone.len() as f64),
                detail: format!("mean {}, nothing shared", self.metric),
            });
        }
        let data = Grid {
            title: "Tasks".to_string(),
            about: match self.heads {
                Heads::Own => {
                    "In this order, each with a head of its own: which task a text belongs to is known."
                }
                Heads::Shared => {
                    "In this order, with one head for all: which task a text belongs to is not known."
                }
            }
            .to_string(),
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
        let seconds: f64 = self.learnt.iter().map(|learnt| learnt.seconds).sum();
        let fact = |name: &str, value: String| Fact { name: name.to_string(), value };
        Report {
            title: "Tasks one after the other".to_string(),
            subtitle: format!("{} on {}", self.model, self.tasks.join(", then ")),
            headline,
            grid: Some(self.grid()),
            heats: Some(self.heats()),
            tables: vec![data],
            environment: vec![
                fact("topwork", env!("CARGO_PKG_VERSION").to_string()),
                fact("seeds", self.alone.len().to_string()),
                fact("time of all methods", report::seconds(seconds)),
            ],
            ..Report::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Learnt;
    use super::*;

    fn results(heads: Heads) -> Results {
        let some = |rows: &[&[f64]]| rows.iter().map(|row| row.iter().map(|x| Some(*x)).collect()).collect();
        let learnt = |way: &str, seed, rows: &[&[f64]]| Learnt {
            way: way.into(),
            seed,
            matrix: some(rows),
            before: vec![Some(0.5); 2],
            seconds: 2.0,
            trained: 1000,
        };
        Results {
            model: "m<".into(),
            tasks: vec!["a".into(), "b&".into()],
            texts: vec![[80, 10, 10], [1600, 200, 200]],
            metric: "accuracy".into(),
            heads,
            replay: 0.1,
            ways: vec!["sequential".into(), "replay".into(), "lora".into()],
            learnt: vec![
                learnt("sequential", 1, &[&[0.9, 0.6], &[0.7, 0.8]]),
                learnt("sequential", 2, &[&[0.9, 0.6], &[0.5, 0.8]]),
                learnt("replay", 1, &[&[0.9, 0.6], &[0.88, 0.8]]),
            ],
            alone: vec![(1, vec![Some(0.9), Some(0.85)]), (2, vec![Some(0.9), Some(0.85)])],
            interrupted: None,
        }
    }

    #[test]
    fn the_table_has_the_measures_of_each_way_over_seeds() {
        let grid = results(Heads::Shared).grid();
        assert_eq!(grid.rows.len(), 3);
        assert_eq!(grid.rows[0][..3], ["alone", "0.875 ± 0.000", ""]);
        assert_eq!(
            grid.rows[1][..6],
            [
                "sequential",
                "0.700 ± 0.071",
                "-0.300 ± 0.141",
                "+0.300 ± 0.141",
                "+0.100 ± 0.000",
                "-0.050 ± 0.000"
            ]
        );
        assert_eq!(grid.rows[2][..3], ["replay", "0.840", "-0.020"]);
        let own = results(Heads::Own).grid();
        assert_eq!(own.head.len() + 1, grid.head.len());
        assert!(own.about.contains("no forward transfer"));
        let matrix = results(Heads::Own).matrix_grid("sequential");
        assert_eq!(matrix.rows[1], ["after b&", "0.600", "0.800"]);
    }

    #[test]
    fn the_page_has_a_map_for_each_way_that_ran() {
        let page = report::html(&results(Heads::Shared).report());
        for part in
            ["m&lt;", "after b&amp;", "10.0% of the earlier", "measured on", "-0.300", "1,600", "0.600"]
        {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("lora"));
    }
}

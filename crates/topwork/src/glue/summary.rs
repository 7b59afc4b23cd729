//! The table of a benchmark, and its report.

use super::{Results, Score, TASKS};
use crate::report::{Fact, Grid, Headline, Report, seconds};

/// In parts of a hundred, as the literature gives them.
fn hundred(value: f64) -> String {
    format!("{:.1}", 100.0 * value)
}

/// Mean of some values and, of several, how far they scatter: `88.9 ± 0.4`.
fn scattered(values: &[f64]) -> String {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return hundred(mean);
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    format!("{} ± {}", hundred(mean), hundred(variance.sqrt()))
}

/// The results as a table: a row a task, and the score of the benchmark.
pub fn grid(results: &Results) -> Grid {
    let head = ["task", "measure", "value", "score", "dev examples", "runs", "time"];
    let mut rows = Vec::new();
    for task in results.tasks() {
        let runs: Vec<&Score> = results.of(task).collect();
        let Some(first) = runs.first() else { continue };
        let values = (0..first.values.len()).map(|at| {
            let all: Option<Vec<f64>> = runs.iter().map(|run| run.values.get(at)?.value).collect();
            all.map_or_else(|| "no value".to_string(), |all| scattered(&all))
        });
        let names: Vec<&str> = first.values.iter().map(|value| value.name.as_str()).collect();
        rows.push(vec![
            task.to_string(),
            names.join(" / "),
            values.collect::<Vec<_>>().join(" / "),
            results.task_score(task).map_or_else(|| "no value".to_string(), hundred),
            first.dev.to_string(),
            runs.len().to_string(),
            seconds(runs.iter().map(|run| run.seconds).sum()),
        ]);
    }
    let count = rows.len();
    rows.push(vec![
        name(count),
        String::new(),
        String::new(),
        results.score().map_or_else(|| "no value".to_string(), hundred),
        String::new(),
        results.scores.len().to_string(),
        seconds(results.scores.iter().map(|run| run.seconds).sum()),
    ]);
    Grid {
        title: "Scores".to_string(),
        about: "In parts of a hundred, on the official development sets. The score of a task is the mean of its measures, that \
                of the benchmark the mean over tasks."
            .to_string(),
        head: head.map(str::to_string).to_vec(),
        rows,
        sum: true,
    }
}

/// What the mean over so many tasks is called: only that over all is the score of the benchmark.
fn name(tasks: usize) -> String {
    if tasks == TASKS.len() {
        "GLUE".to_string()
    } else {
        format!("mean of {tasks} of {} tasks", TASKS.len())
    }
}

/// What a reader must know first.
pub(super) fn notes(results: &mut Results) {
    let mut notes = vec![
        "The official development set chose the checkpoint of each run and measures it: scores flatter a little, and do not \
         compare with those of the hidden test sets."
            .to_string(),
    ];
    let tasks = results.tasks().len();
    if tasks < TASKS.len() {
        notes.push(format!(
            "{tasks} of {} tasks: their mean is not the score of the benchmark, which is over all.",
            TASKS.len()
        ));
    }
    notes.extend(results.missing.iter().map(|(task, reason)| format!("{task} was left out: {reason}")));
    notes.append(&mut results.notes);
    results.notes = notes;
}

/// The report: one page of all tasks.
pub fn report(results: &Results) -> Report {
    let grid = grid(results);
    let runs = results.scores.len();
    let mut headline = vec![Headline {
        name: name(results.tasks().len()),
        value: results.score().map_or_else(|| "no value".to_string(), hundred),
        detail: format!("{runs} {}", if runs == 1 { "run" } else { "runs" }),
    }];
    headline.extend(results.tasks().into_iter().map(|task| {
        Headline {
            name: task.to_string(),
            value: results.task_score(task).map_or_else(|| "no value".to_string(), hundred),
            detail: results
                .of(task)
                .next()
                .map(|run| run.values.iter().map(|value| value.name.as_str()).collect::<Vec<_>>().join(", "))
                .unwrap_or_default(),
        }
    }));
    let fact = |name: &str, value: String| Fact { name: name.to_string(), value };
    let cpu = topwork_kernels::cpu();
    let mut environment = vec![
        fact("topwork", env!("CARGO_PKG_VERSION").to_string()),
        fact("model", results.model.clone()),
        fact("kernels", format!("{} on {} threads", cpu.path.name(), cpu.threads)),
    ];
    let files: Vec<String> = results.submission.iter().map(|path| path.display().to_string()).collect();
    if !files.is_empty() {
        environment.push(fact("for the leaderboard", files.join(", ")));
    }
    Report {
        title: format!("GLUE: {}", results.model),
        subtitle: "each task learnt on its own, measured on its official development set".to_string(),
        headline,
        notes: results.notes.clone(),
        grid: Some(grid),
        environment,
        ..Report::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::*;

    #[test]
    fn the_table_has_a_row_a_task_and_the_mean() {
        let score = |task: &str, seed, values: &[(&str, f64)]| Score {
            task: task.to_string(),
            seed,
            dev: 100,
            seconds: 2.0,
            values: values
                .iter()
                .map(|(name, value)| Value { name: name.to_string(), value: Some(*value), interval: None })
                .collect(),
            ..Score::default()
        };
        let mut results = Results {
            model: "a<b".into(),
            scores: vec![
                score("rte", 1, &[("accuracy", 0.6)]),
                score("rte", 2, &[("accuracy", 0.7)]),
                score("mrpc", 1, &[("f1", 0.9), ("accuracy", 0.85)]),
            ],
            missing: vec![("qqp".into(), "no files".into())],
            ..Results::default()
        };
        notes(&mut results);
        let grid = grid(&results);
        assert_eq!(grid.rows.len(), 3);
        assert_eq!(grid.rows[0][..4], ["mrpc", "f1 / accuracy", "90.0 / 85.0", "87.5"]);
        assert_eq!(grid.rows[1][2..4], ["65.0 ± 7.1", "65.0"]);
        assert_eq!((grid.rows[2][0].as_str(), grid.rows[2][3].as_str()), ("mean of 2 of 9 tasks", "76.2"));
        let page = crate::report::html(&report(&results));
        for part in ["GLUE: a&lt;b", "65.0 ± 7.1", "qqp was left out: no files", "chose the checkpoint"] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("a<b"));
    }
}

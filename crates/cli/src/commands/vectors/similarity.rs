//! `topwork vectors similarity`: how near two words are.

use std::io::Write;

use serde_json::json;

use super::Source;
use crate::Ended;
use crate::global::Global;
use crate::numbers;

/// Print the cosine similarity of two words
#[derive(clap::Args)]
#[command(after_help = "Examples:
  topwork vectors similarity glove.6B.50d.txt stick glue
  topwork vectors similarity cc.en.300.bin sticky stickiness --json")]
pub struct Similarity {
    #[command(flatten)]
    source: Source,
    /// A word
    a: String,
    /// Another
    b: String,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Similarity {
    /// Runs the command.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let similarity = self.source.open(global)?.similarity(&self.a, &self.b)?;
        if self.json {
            writeln!(out, "{}", json!({"a": self.a, "b": self.b, "similarity": numbers::json(similarity)}))?;
        } else {
            writeln!(out, "{similarity:.4}")?;
        }
        Ok(Ended::Done)
    }
}

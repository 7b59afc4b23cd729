//! `topwork vectors analogy`: king - man + woman.

use std::io::Write;

use serde_json::json;

use super::{ObjectiveName, Source, as_json, print};
use crate::Ended;
use crate::global::Global;

/// Print what is to C as A is to B: the words nearest to A - B + C
#[derive(clap::Args)]
#[command(after_help = "The three words themselves are never among the answers.

Examples:
  topwork vectors analogy glove.6B.50d.txt king man woman
  topwork vectors analogy glove.6B.50d.txt paris france italy --objective multiply --top 3")]
pub struct Analogy {
    #[command(flatten)]
    source: Source,
    /// The word whose counterpart is wanted: king
    a: String,
    /// What it is counted from: man
    b: String,
    /// What the counterpart is counted from: woman
    c: String,
    /// Answers to print
    #[arg(long, default_value_t = 5, value_name = "N")]
    top: usize,
    /// How vectors are put together
    #[arg(long, default_value = "add")]
    objective: ObjectiveName,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Analogy {
    /// Runs the command.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let space = self.source.open(global)?;
        let found = space.analogy(&self.a, &self.b, &self.c, self.objective.objective(), self.top)?;
        if self.json {
            let object = json!({"a": self.a, "b": self.b, "c": self.c, "answers": as_json(&found)});
            writeln!(out, "{}", serde_json::to_string_pretty(&object)?)?;
        } else {
            print(&found, out)?;
        }
        Ok(Ended::Done)
    }
}

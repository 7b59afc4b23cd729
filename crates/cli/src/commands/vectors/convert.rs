//! `topwork vectors convert`: the same vectors in another format.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use topwork_weights::VECTOR_FORMATS;

use super::Source;
use crate::Ended;
use crate::global::Global;
use crate::numbers::counted;

/// Write vectors in another format
#[derive(clap::Args)]
#[command(after_help = "Numbers are the same to the bit. Vectors of subwords (fastText) are not written.

Examples:
  topwork vectors convert glove.6B.50d.txt glove.bin --to word2vec-binary
  topwork vectors convert cc.en.300.bin cc.en.300.txt --to glove --limit 100000")]
pub struct Convert {
    #[command(flatten)]
    source: Source,
    /// File to write
    to_file: PathBuf,
    /// Format: word2vec-text, word2vec-binary, glove
    #[arg(long = "to", value_name = "FORMAT", default_value = "word2vec-text")]
    format: String,
}

impl Convert {
    /// Runs the command.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let written: Vec<&str> =
            VECTOR_FORMATS.iter().filter(|format| format.is_written()).map(|format| format.name).collect();
        if !written.contains(&self.format.as_str()) {
            bail!("--to {}: expected one of {}", self.format, written.join(", "));
        }
        let space = self.source.open(global)?;
        let vectors = space.vectors();
        vectors.save(&self.to_file, &self.format)?;
        if vectors.subwords().is_some() {
            global.note(
                "the vectors of subwords were not written: unknown words have no vector in the new file",
            );
        }
        let (path, words) = (self.to_file.display(), counted(vectors.len(), "word"));
        writeln!(out, "{path}: {words} of {} in {}", counted(vectors.width(), "number"), self.format)?;
        Ok(Ended::Done)
    }
}

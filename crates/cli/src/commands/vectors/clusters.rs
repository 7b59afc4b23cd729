//! `topwork vectors clusters`: words in groups.

use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use topwork::vectors::{ClusterOptions, clusters};

use super::Source;
use crate::Ended;
use crate::global::Global;
use crate::numbers::{counted, thousands};

/// Group words into clusters by k-means
#[derive(clap::Args)]
#[command(after_help = "Examples:
  topwork vectors clusters glove.6B.50d.txt --clusters 200 --out clusters.tsv
  topwork vectors clusters glove.6B.50d.txt --limit 20000 --clusters 50 --seed 7 --json")]
pub struct Cluster {
    #[command(flatten)]
    source: Source,
    /// Number of clusters
    #[arg(long, short = 'k', value_name = "K", default_value_t = 100)]
    clusters: usize,
    /// Seed of the first centres
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Most iterations
    #[arg(long, default_value_t = 100, value_name = "N")]
    iterations: usize,
    /// Leave vectors as long as they are [default: scaled to length one]
    #[arg(long)]
    raw: bool,
    /// Write word<TAB>cluster, a line a word
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Words shown of a cluster.
const SHOWN: usize = 8;

impl Cluster {
    /// Runs the command.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let space = self.source.open(global)?;
        let vectors = space.vectors();
        let options = ClusterOptions {
            clusters: self.clusters,
            seed: self.seed,
            iterations: self.iterations,
            normalise: !self.raw,
        };
        let found = clusters(vectors, &options)?;
        if let Some(path) = &self.out {
            found.save(vectors, path)?;
        }
        let sizes = found.sizes();
        let mut words = vec![Vec::new(); sizes.len()];
        for (word, &id) in vectors.words().iter().zip(&found.ids) {
            if words[id as usize].len() < SHOWN {
                words[id as usize].push(&**word);
            }
        }
        if self.json {
            let each: Vec<Value> = sizes
                .iter()
                .zip(&words)
                .enumerate()
                .map(|(id, (size, words))| json!({"id": id, "size": size, "first": words}))
                .collect();
            let object = json!({
                "inertia": found.inertia, "iterations": found.iterations, "settled": found.settled, "clusters": each,
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&object)?)?;
            return Ok(Ended::Done);
        }
        for (id, (size, words)) in sizes.iter().zip(&words).enumerate() {
            writeln!(out, "{id:>5}  {:>8}  {}", thousands(*size), words.join(" "))?;
        }
        let how = if found.settled { "settled" } else { "not settled" };
        writeln!(
            out,
            "{} of {} in {}, {how}; sum of squared distances {:.4}",
            counted(sizes.len(), "cluster"),
            counted(vectors.len(), "word"),
            counted(found.iterations, "iteration"),
            found.inertia
        )?;
        Ok(Ended::Done)
    }
}

//! `topwork unfreeze-study`: orders in which layers begin to learn, side by side.

use std::io::Write;

use super::compare::Runs;
use crate::Ended;
use crate::global::Global;

/// What is compared, the one that the others are held against first.
const METHODS: [&str; 8] =
    ["full", "features", "last-then-all", "gradual", "chain-thaw", "sequential", "layer-decay", "ulmfit"];

/// Compare orders of unfreezing on your own tasks: every schedule with every seed
#[derive(clap::Args)]
#[command(
    override_usage = "topwork unfreeze-study --model MODEL --data FILE|NAME --out FOLDER [OPTIONS] [RECIPE.toml]... [key=value]...",
    after_help = "Held against full (every parameter learns from the first step): features (the head alone), last-then-all (the head, then all),
gradual (layers begin one after the other, from the top down), chain-thaw (the head, then each layer alone, then all), sequential
(one layer at a time, from the top down), layer-decay (deeper layers learn more slowly) and ulmfit (gradual, layer-decay and a
slanted triangular schedule together). Every schedule has the same number of steps; what it takes in time stands in the table.
The same command again goes on where it was stopped. topwork compare has the same methods by name, and others.

Examples:
  topwork unfreeze-study --model bert/ --data glue/rte --seeds 5 --out runs/unfreeze
  topwork unfreeze-study --model minilm/ --data mails.csv,questions.csv --limit 2000 --out runs/unfreeze train.epochs=6"
)]
pub struct UnfreezeStudy {
    #[command(flatten)]
    runs: Runs,
}

impl UnfreezeStudy {
    /// Trains, measures and prints the table.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        self.runs.compare(&METHODS.map(String::from), (None, &[]), global, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_a_known_method() {
        assert_eq!(topwork::compare::ways(&METHODS.map(String::from)).unwrap().len(), METHODS.len());
    }
}

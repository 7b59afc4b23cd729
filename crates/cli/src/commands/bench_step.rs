//! `topwork bench-step`: one case of `cargo xtask bench cpu`, measured in a process of its own.

use std::io::Write;

use clap::ValueEnum;
use serde_json::json;
use topwork::bench::{self, Shape, StepBench};

use crate::Ended;
use crate::commands::doctor::peak_memory;
use crate::precision::PrecisionName;

/// Measure training steps or forward passes
#[derive(clap::Args)]
#[command(hide = true)]
pub struct BenchStep {
    /// Sizes of the model
    #[arg(long)]
    shape: ShapeName,
    /// What is measured
    #[arg(long)]
    mode: Mode,
    /// Dropout
    #[arg(long, default_value_t = 0.0)]
    dropout: f64,
    /// Precision of products
    #[arg(long, default_value = "f32")]
    precision: PrecisionName,
    /// Sequences in the batch
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Tokens in each sequence
    #[arg(long, default_value_t = 128)]
    seq: usize,
    /// Measured repetitions, after two that are not
    #[arg(long, default_value_t = 3)]
    iters: usize,
    /// Layers are computed once more on the way back
    #[arg(long)]
    recompute: bool,
    /// One JSON line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum ShapeName {
    Base,
    Minilm,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Train,
    Forward,
}

impl BenchStep {
    /// Measures and prints.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let (shape, shape_name) = match self.shape {
            ShapeName::Base => (Shape::Base, "base"),
            ShapeName::Minilm => (Shape::MiniLm, "minilm"),
        };
        let (precision, precision_name) = (self.precision.kernel(), self.precision.name());
        let train = matches!(self.mode, Mode::Train);
        let seconds = bench::step_seconds(&StepBench {
            shape,
            train,
            dropout: self.dropout,
            precision,
            recompute: self.recompute,
            batch: self.batch,
            seq: self.seq,
            iterations: self.iters,
        })?;
        let mode = if train { "train" } else { "forward" };
        let case = format!(
            "{shape_name} {mode} {precision_name} dropout {} {}x{}{}",
            self.dropout,
            self.batch,
            self.seq,
            if self.recompute { " recomputed" } else { "" }
        );
        let peak_mb = peak_memory().map_or(0.0, |bytes| bytes as f64 / (1 << 20) as f64);
        if self.json {
            let version = concat!("topwork ", env!("CARGO_PKG_VERSION"));
            let line = json!({ "case": case, "seconds": seconds, "peak_mb": peak_mb, "version": version });
            writeln!(out, "{line}")?;
        } else {
            let list: Vec<String> = seconds.iter().map(|time| format!("{time:.3}")).collect();
            writeln!(out, "{case}: {} s, peak {peak_mb:.0} MiB", list.join(", "))?;
        }
        Ok(Ended::Done)
    }
}

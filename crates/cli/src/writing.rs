//! How texts are written: the options that `generate` and `chat` share.

use topwork::GenerateOptions;
use topwork_models::generate::{Adjust, Beam, Choice, Sampling};

use crate::precision::PrecisionName;

/// How words are chosen, and when to end.
#[derive(clap::Args)]
pub struct WritingArgs {
    /// New tokens at most
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_new: usize,
    /// New tokens at least, before the model may end
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_new: usize,
    /// End where this text comes, which is not shown (may be given several times)
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Draw tokens; scores are divided by this before
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
    /// Draw from so many of the likeliest
    #[arg(long, value_name = "N")]
    top_k: Option<usize>,
    /// Draw from the likeliest that together have this probability
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Draw from those that have at least this share of the likeliest one's probability
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Follow so many continuations at once and show the best
    #[arg(long, value_name = "N", conflicts_with_all = ["temperature", "top_k", "top_p", "min_p"])]
    beams: Option<usize>,
    /// With --beams: above 0 favours long continuations
    #[arg(long, value_name = "X", requires = "beams", default_value_t = 1.0)]
    length_penalty: f64,
    /// Make tokens less likely that stand in the text already; 1 for no change
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    repetition_penalty: f32,
    /// Let no run of so many tokens stand twice
    #[arg(long, value_name = "N", default_value_t = 0)]
    no_repeat: usize,
    /// Precision of matrix products [default: bf16 where the CPU has it, else f32]
    #[arg(long)]
    precision: Option<PrecisionName>,
}

impl WritingArgs {
    /// The options for the library.
    pub fn options(&self) -> GenerateOptions {
        let WritingArgs { temperature, top_k, top_p, min_p, seed, .. } = *self;
        let draws = temperature.is_some() || top_k.is_some() || top_p.is_some() || min_p.is_some();
        let plain = Sampling::default();
        let choice = match self.beams {
            Some(beams) => {
                Choice::Beam(Beam { beams, length_penalty: self.length_penalty, early_stopping: false })
            }
            None if draws => Choice::Sample(Sampling {
                temperature: temperature.unwrap_or(plain.temperature),
                top_k: top_k.unwrap_or(plain.top_k),
                top_p: top_p.unwrap_or(plain.top_p),
                min_p: min_p.unwrap_or(plain.min_p),
                seed,
            }),
            None => Choice::Greedy,
        };
        let adjust = Adjust {
            repetition_penalty: self.repetition_penalty,
            no_repeat: self.no_repeat,
            min_new: self.min_new,
            ..Adjust::default()
        };
        let (max_new, stop) = (self.max_new, self.stop.clone());
        GenerateOptions { max_new, choice, adjust, stop, precision: PrecisionName::or_best(self.precision) }
    }
}

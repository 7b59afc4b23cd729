//! `topwork pretrain`: a language model from running text.

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use topwork::job::Outcomes;
use topwork::recipe::Kind;
use topwork_train::Event;

use super::train::{Start, print};
use crate::Ended;
use crate::global::Global;
use crate::numbers::thousands;
use crate::training::time;

/// Train a language model on running text, from a model or from fresh values
#[derive(clap::Args)]
#[command(
    override_usage = "topwork pretrain --objective NAME --model MODEL --data TEXT [OPTIONS] [RECIPE.toml] [key=value]...\n       \
                      topwork pretrain --resume RUN",
    after_help = "The text is read as one, and cut into windows of --max-length tokens; task.apart=true lets each text stand alone.
With --from-scratch only the architecture (config.json) and the tokenizer of the model count.

Examples:
  topwork pretrain --objective mlm --model bert/ --data domain.txt --out runs/domain
  topwork pretrain --objective clm --model gpt2/ --data book.txt --max-minutes 30
  topwork pretrain --objective clm --model gpt2/ --data book.txt --from-scratch --stop-at 40
  topwork pretrain --objective mlm --model bert/ --data domain.txt task.hide=0.3 task.whole-words=true"
)]
pub struct Pretrain {
    /// Go on with a run that was stopped or killed
    #[arg(long, value_name = "RUN", conflicts_with_all = ["Start", "objective"])]
    resume: Option<PathBuf>,
    /// What is learnt
    #[arg(long, required_unless_present = "resume")]
    objective: Option<Objective>,
    #[command(flatten)]
    start: Start,
}

/// Objectives as the option names them.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Objective {
    /// Words behind masks (15%: 80% masked, 10% replaced, 10% as they are)
    Mlm,
    /// The next word
    Clm,
}

impl Pretrain {
    /// Trains, or goes on.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let kind = self.objective.map(|objective| match objective {
            Objective::Mlm => Kind::MaskedLm,
            Objective::Clm => Kind::CausalLm,
        });
        let Some(outcomes) = self.start.train(self.resume.as_deref(), kind, global)? else {
            return Ok(Ended::Interrupted);
        };
        print(&outcomes, out)?;
        cost(&outcomes, out)?;
        Ok(Ended::Done)
    }
}

/// What the perplexity cost.
fn cost(outcomes: &Outcomes, out: &mut dyn Write) -> anyhow::Result<()> {
    let (mut tokens, mut seconds) = (0, 0.0);
    for event in &outcomes.events {
        if let Event::Step { tokens: these, seconds: took, .. } = event {
            tokens += these;
            seconds += took;
        }
    }
    let threads = topwork_kernels::cpu().threads;
    let perplexity = outcomes.test.as_ref().and_then(|test| test.evaluation.value("perplexity").ok());
    let reached = perplexity.map_or_else(|| "no perplexity".into(), |value| format!("perplexity {value:.2}"));
    writeln!(
        out,
        "cost     {reached} for {} tokens in {} ({} tokens/s, {:.3} processor hours on {threads} threads)",
        thousands(tokens),
        time(seconds),
        thousands((tokens as f64 / seconds.max(1e-9)) as usize),
        seconds * threads as f64 / 3600.0
    )?;
    Ok(())
}

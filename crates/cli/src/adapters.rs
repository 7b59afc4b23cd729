//! Options about adapters that lie in folders of their own.

use std::path::PathBuf;

use anyhow::bail;
use topwork_models::adapted::ON;

use crate::global::Global;

/// The adapter that a model is used with.
#[derive(clap::Args)]
pub struct AdapterArgs {
    /// Use the model with this adapter and the head in its folder: one of peft or AdapterHub, or the adapter/ of a model trained
    /// here (as "FOLDER on MODEL" does in place of a model)
    #[arg(long, value_name = "FOLDER")]
    adapter_file: Vec<String>,
}

impl AdapterArgs {
    /// The adapters' references.
    pub fn folders(&self) -> &[String] {
        &self.adapter_file
    }

    /// What names the model with the adapter, if one is given.
    pub fn model(&self, global: &Global, model: &str) -> anyhow::Result<PathBuf> {
        match self.adapter_file.as_slice() {
            [] => global.model_folder(model),
            [adapter] => Ok(global.hub()?.model(&format!("{adapter}{ON}{model}"), &global.fetching())?.path),
            several => {
                bail!("--adapter-file: {} adapters are given, and this command takes one", several.len())
            }
        }
    }
}

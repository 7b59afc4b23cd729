//! What the model knew before, measured before and after a run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is measured of what the model knew: how much of it a run forgets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KeepRecipe {
    /// `masked-lm` or `causal-lm`: the head that the model was pretrained with; or the folder of a model with a head for another
    /// task, or of its run.
    pub score: String,
    /// What it is measured on: for a language model texts, else labelled data of its task. Left out, the test file of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
}

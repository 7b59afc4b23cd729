//! IA³: keys, values and what is inside the feed-forward block are scaled by learnt vectors.
//!
//! Paper: Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning", section
//! 3.3, <https://arxiv.org/abs/2205.05638>. Scaling what comes out of a map is scaling the rows of its weight and its bias,
//! scaling what goes in the columns.

use std::sync::Arc;

use burn::tensor::Tensor;
use serde_json::Value;
use topwork_nn::reparam::together;
use topwork_nn::{Error as NnError, Init, ParamId, ParamKind, ParamStore, Pass, Reparam};

use crate::error::Error;
use crate::{AdapterEntry, Attached, Part, Settings, names, selects, targets};

/// The entry in the list.
pub(crate) const ENTRY: AdapterEntry = AdapterEntry {
    name: "ia3",
    summary: "keys, values and what is inside the feed-forward block are scaled by learnt vectors",
    paper: "https://arxiv.org/abs/2205.05638",
    merges: true,
    options: &[
        ("targets", "names or patterns of weights (default attn.k, attn.v and ffn.down)"),
        ("inputs", "which of them have what goes in scaled, not what comes out (default ffn.down)"),
    ],
    attach: |options, store, seed, _| attach(options, store, seed),
};

fn attach(options: &Value, store: &mut ParamStore, seed: u64) -> Result<Attached, Error> {
    let list = |key, default: &[&str]| -> Result<Vec<String>, Error> {
        let given = names("ia3", options, key)?;
        Ok(given.unwrap_or_else(|| default.iter().map(|name| name.to_string()).collect()))
    };
    let weights = targets(store, &list("targets", &["attn.k", "attn.v", "ffn.down"])?)?;
    let inputs = list("inputs", &["ffn.down"])?;
    let mut parts = Vec::with_capacity(weights.len());
    for weight in weights {
        let param = store.param(weight);
        let (path, group) = (param.path.clone(), param.group);
        let scales_input = inputs.iter().any(|pattern| selects(pattern, &path));
        let width = param.shape[usize::from(scales_input)];
        let stem = path.trim_end_matches(".weight").to_string();
        let name = format!("{stem}.ia3");
        let scale = store.declare_attachment(&name, &[width], group, ParamKind::Norm, Init::Ones);
        store.initialise(scale, seed)?;
        let scaled = Arc::new(Scaled { scale, input: scales_input });
        store.attach(weight, scaled.clone());
        if let (false, Ok(bias)) = (scales_input, store.id(&format!("{stem}.bias"))) {
            store.attach(bias, scaled);
        }
        parts.push(Part { weight: path, params: vec![("ia3_l", scale)], scales_input });
    }
    Ok(Attached { kind: "ia3", parts, settings: Settings::None, members: Vec::new() })
}

#[derive(Debug)]
struct Scaled {
    /// `[out]`, or `[in]` where the input is scaled.
    scale: ParamId,
    input: bool,
}

impl Reparam for Scaled {
    fn matrix(&self, pass: &Pass, weight: Tensor<2>) -> Result<Tensor<2>, NnError> {
        let scale = pass.vector(self.scale)?.unsqueeze_dim::<2>(usize::from(!self.input));
        let (weight, scale) = together(weight, scale);
        Ok(weight * scale)
    }

    fn vector(&self, pass: &Pass, bias: Tensor<1>) -> Result<Tensor<1>, NnError> {
        let (bias, scale) = together(bias, pass.vector(self.scale)?);
        Ok(bias * scale)
    }
}

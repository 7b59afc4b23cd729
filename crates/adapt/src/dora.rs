//! DoRA: the length of each row of a weight learns apart from its direction, and the direction as with LoRA.
//!
//! Paper: Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation", section 4.1 and, for the length that is taken as a
//! constant on the way back, section 4.3, <https://arxiv.org/abs/2402.09353>

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_nn::reparam::together;
use topwork_nn::{Error as NnError, Init, ParamId, ParamKind, Pass, Reparam};

use crate::low_rank::{self, LowRank};
use crate::{AdapterEntry, Attached, Part, Settings};

/// The entry in the list.
pub(crate) const ENTRY: AdapterEntry = AdapterEntry {
    name: "dora",
    summary: "as LoRA, and the length of each row of a weight learns apart from its direction",
    paper: "https://arxiv.org/abs/2402.09353",
    merges: true,
    options: low_rank::OPTIONS,
    attach: |options, store, seed, _| {
        let (settings, found) = low_rank::declare("dora", options, store, seed)?;
        let mut parts = Vec::new();
        for (weight, added) in found {
            let param = store.param(weight);
            let (path, group, shape) = (param.path.clone(), param.group, param.shape.clone());
            let name = format!("{}.lora_magnitude", path.trim_end_matches(".weight"));
            // A gain, as that of a norm: pulling it to zero would take the row away.
            let length = store.declare_attachment(&name, &shape[..1], group, ParamKind::Norm, Init::Ones);
            let values = store.values(weight)?;
            store.set(length, values.chunks(shape[1]).map(row_length).collect())?;
            store.attach(weight, Arc::new(Dora { added, length }));
            parts.push(Part {
                weight: path,
                params: vec![
                    ("lora_A.weight", added.a),
                    ("lora_B.weight", added.b),
                    ("lora_magnitude_vector", length),
                ],
                scales_input: false,
            });
        }
        Ok(Attached { kind: "dora", parts, settings: Settings::LowRank(settings), members: Vec::new() })
    },
};

fn row_length(row: &[f32]) -> f32 {
    row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt() as f32
}

#[derive(Debug)]
struct Dora {
    added: LowRank,
    /// `[out]`
    length: ParamId,
}

impl Reparam for Dora {
    fn matrix(&self, pass: &Pass, weight: Tensor<2>) -> Result<Tensor<2>, NnError> {
        let sum = self.added.sum(pass, weight)?;
        let now = match sum.is_tracked() {
            true => sum.clone().inner(),
            false => sum.clone(),
        };
        let now = (now.clone() * now).sum_dim(1).sqrt();
        let length = pass.vector(self.length)?.unsqueeze_dim::<2>(1);
        let (length, now) = together(length, now);
        let (sum, gain) = together(sum, length / now);
        Ok(sum * gain)
    }
}

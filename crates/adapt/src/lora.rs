//! LoRA: weights plus a product of two thin matrices, which alone learn.
//!
//! Paper: Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1, <https://arxiv.org/abs/2106.09685>;
//! the scale by the root of the rank: Kalajdzievski 2023, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA",
//! section 3, <https://arxiv.org/abs/2312.03732>

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_nn::{Error as NnError, Pass, Reparam};

use crate::low_rank::{self, LowRank};
use crate::{AdapterEntry, Attached, Part, Settings};

/// The entry in the list.
pub(crate) const ENTRY: AdapterEntry = AdapterEntry {
    name: "lora",
    summary: "weights plus a product of two thin matrices, which alone learn",
    paper: "https://arxiv.org/abs/2106.09685",
    merges: true,
    options: low_rank::OPTIONS,
    attach: |options, store, seed, _| {
        let (settings, found) = low_rank::declare("lora", options, store, seed)?;
        let mut parts = Vec::new();
        for (weight, added) in found {
            store.attach(weight, Arc::new(Lora(added)));
            parts.push(Part {
                weight: store.param(weight).path.clone(),
                params: vec![("lora_A.weight", added.a), ("lora_B.weight", added.b)],
                scales_input: false,
            });
        }
        Ok(Attached { kind: "lora", parts, settings: Settings::LowRank(settings), members: Vec::new() })
    },
};

#[derive(Debug)]
struct Lora(LowRank);

impl Reparam for Lora {
    fn matrix(&self, pass: &Pass, weight: Tensor<2>) -> Result<Tensor<2>, NnError> {
        self.0.sum(pass, weight)
    }
}

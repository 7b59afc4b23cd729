//! LoRA: weights plus a product of two thin matrices, which alone learn.
//!
//! Paper: Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1, <https://arxiv.org/abs/2106.09685>;
//! the scale by the root of the rank: Kalajdzievski 2023, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA",
//! section 3, <https://arxiv.org/abs/2312.03732>

use std::sync::Arc;

use burn::tensor::Tensor;
use serde_json::Value;
use topwork_nn::{Error as NnError, ParamStore, Pass, Reparam};

use crate::error::Error;
use crate::low_rank::{self, LowRank};
use crate::{AdapterEntry, Attached, Part, Settings, quantise};

/// The entry in the list.
pub(crate) const ENTRY: AdapterEntry = AdapterEntry {
    name: "lora",
    summary: "weights plus a product of two thin matrices, which alone learn",
    paper: "https://arxiv.org/abs/2106.09685",
    merges: true,
    options: low_rank::OPTIONS,
    attach: |options, store, seed, _| attach("lora", options, store, seed),
};

/// LoRA on weights in four bits, all of those of linear maps in the layers unless `targets` says which get one; in four bits are
/// all of them in any case.
///
/// Paper: Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs", section 3, <https://arxiv.org/abs/2305.14314>
pub(crate) const QLORA: AdapterEntry = AdapterEntry {
    name: "qlora",
    summary: "lora on weights that lie in four bits",
    paper: "https://arxiv.org/abs/2305.14314",
    merges: true,
    options: &[
        low_rank::OPTIONS[0],
        low_rank::OPTIONS[1],
        low_rank::OPTIONS[2],
        ("targets", "names or patterns of weights (default all of linear maps in the layers)"),
    ],
    attach: |options, store, seed, _| {
        quantise(store)?;
        attach("qlora", options, store, seed)
    },
};

fn attach(kind: &'static str, options: &Value, store: &mut ParamStore, seed: u64) -> Result<Attached, Error> {
    let (settings, found) = low_rank::declare(kind, options, store, seed)?;
    let mut parts = Vec::new();
    for (weight, added) in found {
        store.attach(weight, Arc::new(Lora(added)));
        parts.push(Part {
            weight: store.param(weight).path.clone(),
            params: vec![("lora_A.weight", added.a), ("lora_B.weight", added.b)],
            scales_input: false,
        });
    }
    Ok(Attached { kind, parts, settings: Settings::LowRank(settings), members: Vec::new() })
}

#[derive(Debug)]
struct Lora(LowRank);

impl Reparam for Lora {
    fn matrix(&self, pass: &Pass, weight: Tensor<2>) -> Result<Tensor<2>, NnError> {
        self.0.sum(pass, weight)
    }
}

//! BitFit: of the encoder only the biases learn.
//!
//! Paper: Ben Zaken, Ravfogel, Goldberg 2022, "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked
//! Language-models", section 3, <https://arxiv.org/abs/2106.10199>. As there, the head learns whole.

use topwork_nn::ParamKind;

use crate::error::Error;
use crate::plan::{ParamInfo, Plan, Progress, top};
use crate::technique::{Technique, TechniqueEntry};

/// The entry in the list.
pub const ENTRY: TechniqueEntry = TechniqueEntry {
    name: "bitfit",
    summary: "of the encoder only the biases learn, and the head",
    paper: "https://arxiv.org/abs/2106.10199",
    options: &[],
    apart: &[],
    build: |_, params| {
        let top = top(params);
        if !params.iter().any(|param| param.group < top && param.kind == ParamKind::Bias) {
            let expected = "an encoder with biases";
            return Err(Error::Option { name: "bitfit", expected, got: "a model that has none".into() });
        }
        Ok(Box::new(BitFit { top }))
    },
};

struct BitFit {
    top: usize,
}

impl Technique for BitFit {
    fn plan(&self, _: Progress, params: &[ParamInfo], plan: &mut [Plan]) {
        for (plan, param) in plan.iter_mut().zip(params) {
            plan.train &= param.group == self.top || param.kind == ParamKind::Bias;
        }
    }
}

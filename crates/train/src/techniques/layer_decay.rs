//! Discriminative rates: the deeper a parameter lies, the slower it moves.
//!
//! Paper: Howard, Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", section 3.2,
//! <https://arxiv.org/abs/1801.06146> (there each layer has the rate of the one above divided by 2.6); as a rate in each
//! layer of a Transformer: Clark et al. 2020, "ELECTRA", appendix B, <https://arxiv.org/abs/2003.10555>

use crate::error::Error;
use crate::plan::{ParamInfo, Plan, Progress, top};
use crate::technique::{OptionSpec, Technique, TechniqueEntry, number};

/// The entry in the list.
pub const ENTRY: TechniqueEntry = TechniqueEntry {
    name: "layer-decay",
    summary: "discriminative rates: each layer learns at `rate` times the rate of the one above it",
    paper: "https://arxiv.org/abs/1801.06146",
    options: &[OptionSpec { key: "rate", about: "above 0, at most 1 (default 0.95)" }],
    apart: &[],
    build: |options, params| {
        let rate = number(&ENTRY, options, "rate", 0.95)?;
        if !(rate > 0.0 && rate <= 1.0) {
            let (expected, got) = ("a rate above 0 and at most 1", rate.to_string());
            return Err(Error::Option { name: "layer-decay", expected, got });
        }
        Ok(Box::new(LayerDecay { rate, top: top(params) }))
    },
};

struct LayerDecay {
    rate: f64,
    top: usize,
}

impl Technique for LayerDecay {
    fn plan(&self, _: Progress, params: &[ParamInfo], plan: &mut [Plan]) {
        for (plan, param) in plan.iter_mut().zip(params) {
            plan.lr_scale *= self.rate.powi((self.top - param.group) as i32);
        }
    }
}

//! AdapterDrop: in each step of training the lowest layers go without their adapters, another number of them each time.
//!
//! What is trained so answers with any of these numbers of layers without adapters, which takes less time: texts go through layers
//! that several tasks share, and no gradient goes below the first adapter.
//!
//! Paper: Rückle et al. 2021, "AdapterDrop: On the Efficiency of Adapters in Transformers", section 3, "robust AdapterDrop",
//! <https://arxiv.org/abs/2010.11918>. As there, the number is drawn alike from none to the most.

use topwork_kernels::rng::{Stream, derive};
use topwork_nn::{ParamId, ParamStore};

use crate::error::Error;
use crate::plan::{ParamInfo, Plan, Progress};
use crate::technique::{OptionSpec, Technique, TechniqueEntry, in_range};

/// The entry in the list.
pub const ENTRY: TechniqueEntry = TechniqueEntry {
    name: "adapter-drop",
    summary: "in each step the lowest layers, another number of them each time, go without their adapters",
    paper: "https://arxiv.org/abs/2010.11918",
    options: &[OptionSpec {
        key: "most",
        about: "so many layers at most go without (default all but the last)",
    }],
    apart: &[],
    build: |options, params| {
        // The last layer that has some keeps them.
        let ends = params.iter().filter(|param| at_the_end_of_a_block(&param.path));
        let below = ends.map(|param| param.group).max().unwrap_or(0).saturating_sub(1);
        let whole = |n: f64| n.fract() == 0.0 && n >= 1.0;
        let most = match options.get("most") {
            None => below,
            Some(_) => {
                let expected = "most as a whole number of at least 1";
                in_range(&ENTRY, options, ("most", 0.0), whole, expected)? as usize
            }
        };
        if most > below {
            let expected = "adapters (houlsby, pfeiffer, parallel, compacter, fusion) in more layers than may go without";
            let got = format!("most = {most} with adapters up to layer {below}");
            return Err(Error::Option { name: "adapter-drop", expected, got });
        }
        Ok(Box::new(AdapterDrop { most, seed: 0 }))
    },
};

struct AdapterDrop {
    most: usize,
    seed: u64,
}

impl AdapterDrop {
    /// So many of the lowest layers go without in a step.
    fn without(&self, step: usize) -> usize {
        let mut stream = Stream(derive(self.seed, &format!("adapter-drop {step}")));
        stream.below(self.most as u64 + 1) as usize
    }
}

/// Whether a parameter of that path belongs to something attached to the end of a block.
fn at_the_end_of_a_block(path: &str) -> bool {
    path.contains(".adapter.")
}

impl Technique for AdapterDrop {
    fn renew(&mut self, _: &[ParamInfo], _: &mut ParamStore, seed: u64) -> Result<Vec<ParamId>, Error> {
        self.seed = seed;
        Ok(Vec::new())
    }

    fn acts_on(&self, param: &ParamInfo, _: usize) -> bool {
        self.most > 0 && at_the_end_of_a_block(&param.path)
    }

    fn plan(&self, at: Progress, params: &[ParamInfo], plan: &mut [Plan]) {
        // The first layer is the depth group after that of the embeddings.
        let first = self.grafts_from(at);
        for (plan, param) in plan.iter_mut().zip(params) {
            plan.train &= param.group >= first || !at_the_end_of_a_block(&param.path);
        }
    }

    fn grafts_from(&self, at: Progress) -> usize {
        self.without(at.step) + 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use burn::tensor::Device;
    use serde_json::json;
    use topwork_nn::ParamKind;

    use super::*;

    /// Three layers with an adapter each, and a head.
    fn params() -> Vec<ParamInfo> {
        let paths = ["embed.word.weight", "layers.0.ffn.down.adapter.up.weight", "layers.0.ffn.down.weight"];
        let more =
            ["layers.1.ffn.down.adapter.up.weight", "layers.2.ffn.down.adapter.up.weight", "head.out.weight"];
        let groups = [0, 1, 1, 2, 3, 4];
        let param =
            |(path, group): (&str, usize)| ParamInfo { path: path.into(), group, kind: ParamKind::Weight };
        paths.into_iter().chain(more).zip(groups).map(param).collect()
    }

    #[test]
    fn each_number_of_layers_goes_without_as_often_and_the_plan_says_so() {
        let params = params();
        let mut technique = (ENTRY.build)(&json!({}), &params).unwrap();
        let mut store = ParamStore::new(&Device::flex());
        technique.renew(&params, &mut store, 7).unwrap();
        let mut counts = [0; 3];
        let mut seen = BTreeSet::new();
        for step in 0..600 {
            let at = Progress { epoch: 0, step, total: 600 };
            let first = technique.grafts_from(at);
            counts[first - 1] += 1;
            let mut plan = vec![Plan::default(); params.len()];
            technique.plan(at, &params, &mut plan);
            let learns: Vec<bool> = plan.iter().map(|plan| plan.train).collect();
            assert_eq!(learns, [true, first <= 1, true, first <= 2, true, true], "step {step}");
            seen.insert(learns);
        }
        assert!(counts.iter().all(|&count| (160..240).contains(&count)), "{counts:?}");
        assert_eq!(seen.len(), 3);
        // Another seed, another order.
        let mut other = (ENTRY.build)(&json!({}), &params).unwrap();
        other.renew(&params, &mut store, 8).unwrap();
        let drawn = |technique: &dyn Technique| -> Vec<usize> {
            (0..50).map(|step| technique.grafts_from(Progress { epoch: 0, step, total: 50 })).collect()
        };
        assert_ne!(drawn(&*technique), drawn(&*other));
    }

    #[test]
    fn the_last_layer_keeps_its_adapters() {
        let build = |options| (ENTRY.build)(&options, &params());
        assert!(build(json!({"most": 2})).is_ok());
        for wrong in [json!({"most": 3}), json!({"most": 0}), json!({"most": 1.5}), json!({"most": "x"})] {
            assert!(build(wrong.clone()).is_err(), "{wrong}");
        }
        // Without adapters it acts on nothing, for which a run refuses it.
        let plain: Vec<ParamInfo> =
            params().into_iter().filter(|param| !param.path.contains("adapter")).collect();
        let technique = (ENTRY.build)(&json!({}), &plain).unwrap();
        assert!(!plain.iter().any(|param| technique.acts_on(param, 4)));
    }
}

//! Of the encoder only some parameters learn: the counterpart of freezing, and how adapters leave a model as it is.
//!
//! Paper: Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP", section 2,
//! <https://arxiv.org/abs/1902.00751>

use crate::plan::{ParamInfo, Plan, Progress, top};
use crate::technique::{OptionSpec, Technique, TechniqueEntry, matched};

/// The entry in the list.
pub const ENTRY: TechniqueEntry = TechniqueEntry {
    name: "only",
    summary: "of the encoder only parameters whose path matches one of `patterns` are trained, and the head",
    paper: "https://arxiv.org/abs/1902.00751",
    options: &[OptionSpec {
        key: "patterns",
        about: "a list of path patterns, such as \"layers.5\"; needed",
    }],
    apart: &[],
    build: |options, params| {
        let top = top(params);
        // Where a head has no parameters of its own, the last layer is in the highest group.
        let layer = params.iter().any(|param| param.group == top && param.path.starts_with("layers."));
        let mut learns: Vec<bool> = params.iter().map(|param| param.group == top && !layer).collect();
        let matched = matched(&ENTRY, options, "patterns", params)?;
        learns.iter_mut().zip(matched).for_each(|(learns, matched)| *learns |= matched);
        Ok(Box::new(Only { learns }))
    },
};

struct Only {
    learns: Vec<bool>,
}

impl Technique for Only {
    fn plan(&self, _: Progress, _: &[ParamInfo], plan: &mut [Plan]) {
        for (plan, learns) in plan.iter_mut().zip(&self.learns) {
            plan.train &= learns;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::tests::tower;

    #[test]
    fn what_matches_learns_and_the_head() {
        let params = tower();
        let technique = (ENTRY.build)(&json!({"patterns": ["layers.1", "**.bias"]}), &params).unwrap();
        let mut plan = vec![Plan::default(); params.len()];
        technique.plan(Progress { epoch: 0, step: 0, total: 1 }, &params, &mut plan);
        for (plan, param) in plan.iter().zip(&params) {
            let expected = param.group >= 2 || param.path.ends_with("bias");
            assert_eq!(plan.train, expected, "{}", param.path);
        }
        let error = |options| (ENTRY.build)(&options, &params).err().unwrap().to_string();
        assert!(error(json!({"patterns": ["layer.1"]})).contains("layer.1"));
        assert!(error(json!({})).contains("patterns"));
    }
}

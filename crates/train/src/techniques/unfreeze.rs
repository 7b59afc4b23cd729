//! Unfreezing: which layers learn when.
//!
//! Paper: gradual, from the top down, Howard, Ruder 2018, "Universal Language Model Fine-tuning for Text
//! Classification", section 3.3, <https://arxiv.org/abs/1801.06146>; chain-thaw, Felbo et al. 2017, "Using millions of emoji
//! occurrences to learn any-domain representations", section 3.3, <https://arxiv.org/abs/1708.00524>; the head and then
//! all, Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", section 3.4,
//! <https://arxiv.org/abs/2202.10054>; one layer at a time, Peters, Ruder, Smith 2019, "To Tune or Not to Tune?",
//! section 2, <https://arxiv.org/abs/1903.05987>

use std::collections::BTreeSet;

use serde_json::Value;

use crate::error::Error;
use crate::plan::{ParamInfo, Plan, Progress};
use crate::technique::{OptionSpec, Technique, TechniqueEntry, number};

/// The entry in the list.
pub const ENTRY: TechniqueEntry = TechniqueEntry {
    name: "unfreeze",
    summary: "layers learn one after the other: `gradual`, `chain-thaw`, `last-then-all`, `sequential`",
    paper: "https://arxiv.org/abs/1801.06146",
    options: &[
        OptionSpec { key: "order", about: "one of these four (default gradual)" },
        OptionSpec {
            key: "epochs",
            about: "epochs a stage; 0 = all stages take the same share of the run (default)",
        },
    ],
    apart: &[],
    build: |options, params| {
        let order = options.get("order").unwrap_or(&Value::Null);
        let order = match order {
            Value::Null => Order::Gradual,
            named => Order::parse(named)?,
        };
        let epochs = number(&ENTRY, options, "epochs", 0.0)?;
        if epochs < 0.0 || epochs.fract() != 0.0 {
            let (expected, got) =
                ("epochs: a whole number, 0 for equal shares of the run", epochs.to_string());
            return Err(Error::Option { name: "unfreeze", expected, got });
        }
        Ok(Box::new(Unfreeze { stages: order.stages(params), epochs: epochs as usize }))
    },
};

/// The order in which layers begin to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Gradual,
    ChainThaw,
    LastThenAll,
    Sequential,
}

impl Order {
    const ALL: [(&'static str, Order); 4] = [
        ("gradual", Order::Gradual),
        ("chain-thaw", Order::ChainThaw),
        ("last-then-all", Order::LastThenAll),
        ("sequential", Order::Sequential),
    ];

    fn parse(value: &Value) -> Result<Self, Error> {
        let found = value.as_str().and_then(|name| Self::ALL.iter().find(|(known, _)| *known == name));
        found.map(|(_, order)| *order).ok_or_else(|| Error::Option {
            name: "unfreeze",
            expected: "order: gradual, chain-thaw, last-then-all or sequential",
            got: value.to_string(),
        })
    }

    /// The depth groups that learn in each stage.
    fn stages(self, params: &[ParamInfo]) -> Vec<BTreeSet<usize>> {
        let learning = params.iter().filter(|param| param.kind.learns());
        let groups: Vec<usize> =
            learning.map(|param| param.group).collect::<BTreeSet<_>>().into_iter().collect();
        let Some((&top, below)) = groups.split_last() else { return Vec::new() };
        let one = |group: usize| BTreeSet::from([group]);
        let all = || groups.iter().copied().collect::<BTreeSet<_>>();
        match self {
            Order::Gradual => {
                (0..groups.len()).rev().map(|from| groups[from..].iter().copied().collect()).collect()
            }
            Order::ChainThaw => std::iter::once(one(top))
                .chain(below.iter().map(|&group| one(group)))
                .chain([all()])
                .collect(),
            Order::LastThenAll => vec![one(top), all()],
            Order::Sequential => groups.iter().rev().map(|&group| one(group)).collect(),
        }
    }
}

struct Unfreeze {
    stages: Vec<BTreeSet<usize>>,
    epochs: usize,
}

impl Unfreeze {
    fn stage(&self, at: Progress) -> usize {
        let stage = match self.epochs {
            0 => at.step * self.stages.len() / at.total.max(1),
            epochs => at.epoch / epochs,
        };
        stage.min(self.stages.len().saturating_sub(1))
    }
}

impl Technique for Unfreeze {
    fn plan(&self, at: Progress, params: &[ParamInfo], plan: &mut [Plan]) {
        let Some(learning) = self.stages.get(self.stage(at)) else { return };
        for (plan, param) in plan.iter_mut().zip(params) {
            plan.train &= learning.contains(&param.group);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use topwork_nn::ParamKind;

    use super::*;

    /// Embeddings, two layers, a head; group 3 has numbers that never learn.
    fn params() -> Vec<ParamInfo> {
        let param = |path: &str, group, kind| ParamInfo { path: path.into(), group, kind };
        vec![
            param("embed.word.weight", 0, ParamKind::Weight),
            param("layers.0.q.weight", 1, ParamKind::Weight),
            param("layers.1.q.weight", 2, ParamKind::Weight),
            param("table", 3, ParamKind::Fixed),
            param("head.out.weight", 4, ParamKind::Weight),
        ]
    }

    /// Which parameters learn in each of `steps` steps, two to an epoch: a digit each.
    fn course(options: Value, steps: usize) -> Vec<String> {
        let params = params();
        let technique = (ENTRY.build)(&options, &params).unwrap();
        let at = |step: usize| {
            let mut plan = vec![Plan::default(); params.len()];
            technique.plan(Progress { epoch: step / 2, step, total: steps }, &params, &mut plan);
            let learning = plan.iter().zip(&params).filter(|(plan, param)| plan.train && param.kind.learns());
            learning.map(|(_, param)| param.group.to_string()).collect()
        };
        (0..steps).map(at).collect()
    }

    #[test]
    fn each_order_is_that_of_its_paper() {
        assert_eq!(course(json!({}), 8), ["4", "4", "24", "24", "124", "124", "0124", "0124"]);
        assert_eq!(course(json!({"order": "gradual", "epochs": 1}), 10)[6..], ["0124"; 4]);
        assert_eq!(course(json!({"order": "chain-thaw"}), 5), ["4", "0", "1", "2", "0124"]);
        assert_eq!(course(json!({"order": "last-then-all"}), 4), ["4", "4", "0124", "0124"]);
        assert_eq!(course(json!({"order": "last-then-all", "epochs": 1}), 6)[..3], ["4", "4", "0124"]);
        assert_eq!(course(json!({"order": "sequential"}), 4), ["4", "2", "1", "0"]);
    }

    #[test]
    fn what_is_no_order_is_refused() {
        let error = |options| (ENTRY.build)(&options, &params()).err().unwrap().to_string();
        assert!(error(json!({"order": "upwards"})).contains("chain-thaw"));
        assert!(error(json!({"epochs": 0.5})).contains("whole number"));
    }
}

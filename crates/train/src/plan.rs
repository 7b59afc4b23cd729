//! What happens to each parameter at a step.

use topwork_nn::{Param, ParamKind, ParamStore};

/// One named parameter, as techniques see it.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamInfo {
    /// Dotted path.
    pub path: String,
    /// Depth group, 0 = embeddings, last = head.
    pub group: usize,
    /// Weight, bias or norm.
    pub kind: ParamKind,
}

impl ParamInfo {
    /// Every parameter of a store, in its order.
    pub fn of(store: &ParamStore) -> Vec<Self> {
        let info = |p: &Param| ParamInfo { path: p.path.clone(), group: p.group, kind: p.kind };
        store.iter().map(|(_, p)| info(p)).collect()
    }
}

/// What the optimizer will do to one parameter at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// False = frozen: no gradient is computed, no update applied.
    pub train: bool,
    /// Multiplies the learning rate.
    pub lr_scale: f64,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { train: true, lr_scale: 1.0 }
    }
}

/// Where training stands: besides the parameter table the only thing a plan may depend on, so that resuming
/// needs no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Epoch, counted from zero.
    pub epoch: usize,
    /// Optimizer step, counted from zero.
    pub step: usize,
    /// Optimizer steps of the whole run.
    pub total: usize,
}

/// The highest depth group: the head's.
pub(crate) fn top(params: &[ParamInfo]) -> usize {
    params.iter().map(|param| param.group).max().unwrap_or(0)
}

/// What a depth group is called: what the paths of its parameters begin with, as `layers.3`, or `pooler + head`.
pub(crate) fn group_name(params: &[ParamInfo], group: usize) -> String {
    let mut paths = params.iter().filter(|param| param.group == group).map(|param| param.path.as_str());
    let Some(first) = paths.next() else { return format!("group {group}") };
    let mut parts: Vec<&str> = first.split('.').collect();
    // The last part is the parameter itself.
    parts.pop();
    for path in paths {
        let same = parts.iter().zip(path.split('.')).take_while(|(a, b)| **a == *b).count();
        parts.truncate(same);
    }
    if !parts.is_empty() {
        return parts.join(".");
    }
    let mut names: Vec<&str> = Vec::new();
    for param in params.iter().filter(|param| param.group == group) {
        let name = param.path.split('.').next().unwrap_or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(" + ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Embeddings, two layers and a head, each with a weight and a bias, and a norm between.
    pub(crate) fn tower() -> Vec<ParamInfo> {
        let mut all = Vec::new();
        for (group, name) in
            ["embed.word", "layers.0.attn.q", "layers.1.attn.q", "head.out"].into_iter().enumerate()
        {
            let mut add = |last: &str, kind| {
                all.push(ParamInfo { path: format!("{name}.{last}"), group, kind });
            };
            add("weight", ParamKind::Weight);
            add("bias", ParamKind::Bias);
            add("norm", ParamKind::Norm);
        }
        all
    }

    #[test]
    fn groups_are_called_what_their_paths_share() {
        let params = tower();
        assert_eq!(top(&params), 3);
        assert_eq!(group_name(&params, 1), "layers.0.attn.q");
        let two = |paths: [&str; 2]| -> String {
            let param = |path: &str| ParamInfo { path: path.into(), group: 0, kind: ParamKind::Weight };
            group_name(&paths.map(param), 0)
        };
        assert_eq!(two(["layers.3.attn.q.weight", "layers.3.ffn.up.weight"]), "layers.3");
        assert_eq!(two(["pooler.weight", "head.out.weight"]), "pooler + head");
        assert_eq!(group_name(&params, 9), "group 9");
    }
}

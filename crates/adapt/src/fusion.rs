//! AdapterFusion: adapters of several tasks stand in the same blocks and stay as they are; what each of them gives is mixed, for
//! each token, by an attention that alone learns.
//!
//! Paper: Pfeiffer et al. 2021, "AdapterFusion: Non-Destructive Task Composition for Transfer Learning", section 3.2,
//! <https://arxiv.org/abs/2005.00247>. As computed by the package `adapters` (`Fuse`, of its configurations `dynamic`, and `static`
//! without the map of values). Differs from it in training: no attention scores are dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Tensor;
use serde_json::Value;
use topwork_nn::layers::{LayerNorm, Linear};
use topwork_nn::reparam::together;
use topwork_nn::{Error as NnError, Graft, Init, ParamId, ParamKind, ParamStore, Pass};

use crate::adapter_hub::member;
use crate::bottleneck::{Bottleneck, PARALLEL};
use crate::error::Error;
use crate::peft::Upstream;
use crate::{AdapterEntry, Attached, Part, Settings, names};

/// The entry in the list.
pub(crate) const ENTRY: AdapterEntry = AdapterEntry {
    name: "fusion",
    summary: "bottleneck adapters of other tasks, mixed for each token by an attention that alone learns",
    paper: "https://arxiv.org/abs/2005.00247",
    merges: false,
    options: &[
        ("adapters", "folders of houlsby or pfeiffer adapters, or of runs that have some, as runs/a+runs/b"),
        (
            "values",
            "whether what they give goes through a map of its own, which starts as nothing (default true)",
        ),
    ],
    attach: |options, store, seed, upstream| {
        let wrong = |key, expected, got| Error::Option { adapter: "fusion", key, expected, got };
        let expected = "folders of at least two adapters, as runs/a+runs/b";
        let folders = names("fusion", options, "adapters")?;
        let folders = folders.ok_or_else(|| wrong("adapters", expected, "none".to_string()))?;
        if folders.len() < 2 {
            return Err(wrong("adapters", expected, folders.join("+")));
        }
        let values = match options.get("values") {
            None => true,
            Some(Value::Bool(values)) => *values,
            Some(other) => return Err(wrong("values", "true or false", other.to_string())),
        };
        fuse(&named(&folders), FusionSettings { values }, store, seed, upstream)
    },
};

/// Numbers of a fusion that are the same in all layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FusionSettings {
    /// Whether what is mixed goes through a map first.
    pub values: bool,
}

/// What adapters are called: the last part of their path that is a name of one, with a number where two are called alike.
fn named(folders: &[String]) -> Vec<(String, PathBuf)> {
    let mut taken = BTreeSet::new();
    let name = |folder: &String| {
        let mut parts = Path::new(folder).components().rev().filter_map(|part| part.as_os_str().to_str());
        let own = parts.find(|part| !["adapter", "best", ".", "..", "/"].contains(part));
        let mut own = own.unwrap_or("adapter").replace([',', '.'], "_");
        while !taken.insert(own.clone()) {
            own.push_str("-2");
        }
        (own, PathBuf::from(folder))
    };
    folders.iter().map(name).collect()
}

/// Puts adapters with their names into a model, and what mixes them.
///
/// # Errors
/// Files that do not fit the model; adapters of different kinds, or of one that is not mixed here.
pub(crate) fn fuse(
    named: &[(String, PathBuf)],
    settings: FusionSettings,
    store: &mut ParamStore,
    seed: u64,
    upstream: &Upstream,
) -> Result<Attached, Error> {
    let mut members: Vec<(String, Attached)> = Vec::new();
    let mut places: BTreeMap<ParamId, Vec<Arc<Bottleneck>>> = BTreeMap::new();
    for (name, folder) in named {
        let (attached, grafts) = member(folder, name, store, upstream)?;
        let first = members.first().map_or(attached.kind, |(_, first)| first.kind);
        if attached.kind != first || first == PARALLEL.name {
            let reason = format!(
                "it is a {} adapter: what is mixed are adapters of one kind, houlsby or pfeiffer; the first is a {first} adapter",
                attached.kind
            );
            return Err(Error::File { path: folder.clone(), reason });
        }
        for (weight, graft) in grafts {
            places.entry(weight).or_default().push(graft);
        }
        members.push((name.clone(), attached));
    }
    let mut parts = Vec::new();
    for (weight, members) in places {
        let param = store.param(weight);
        let (path, group, width) = (param.path.clone(), param.group, param.shape[0]);
        let stem = format!("{}.adapter.fusion", path.trim_end_matches(".weight"));
        let mut params = Vec::new();
        let mut map = |[weight_name, bias_name]: [&'static str; 2]| -> Result<Linear, Error> {
            let mut declare = |name: &'static str, sizes: &[usize], kind, init| {
                let id = store.declare_attachment(&format!("{stem}.{name}"), sizes, group, kind, init);
                params.push((name, id));
                store.initialise(id, seed).map(|()| id)
            };
            let weight = declare(weight_name, &[width, width], ParamKind::Weight, Init::Normal(0.02))?;
            let bias = match bias_name {
                "" => None,
                name => Some(declare(name, &[width], ParamKind::Bias, Init::Zeros)?),
            };
            Ok(Linear { weight, bias })
        };
        let query = map(["query.weight", "query.bias"])?;
        let key = map(["key.weight", "key.bias"])?;
        let value = if settings.values { Some(map([VALUE, ""])?) } else { None };
        if let Some(value) = &value {
            let same = |at: usize| if at.is_multiple_of(width + 1) { 1.0 } else { 1e-6 };
            store.set(value.weight, (0..width * width).map(same).collect())?;
        }
        store.graft(weight, Arc::new(Fusion { members, query, key, value }));
        parts.push(Part { weight: path, params, scales_input: false });
    }
    Ok(Attached { kind: ENTRY.name, parts, settings: Settings::Fusion(settings), members })
}

/// What the weight of the map of values of a fusion is called.
pub const VALUE: &str = "value.weight";

/// `added + Σ softmax(query(x) · key(uᵢ)) value(uᵢ)`, over what each adapter gives, `uᵢ`.
///
/// # Shapes
/// - all maps: `[hidden, hidden]`
#[derive(Debug)]
struct Fusion {
    members: Vec<Arc<Bottleneck>>,
    query: Linear,
    key: Linear,
    value: Option<Linear>,
}

impl Graft for Fusion {
    fn added(
        &self,
        pass: &Pass,
        added: Tensor<2>,
        before: &Tensor<2>,
        norm: Option<&LayerNorm>,
    ) -> Result<Tensor<2>, NnError> {
        let x = self.members[0].manner.sees(pass, &added, before, norm)?;
        let given: Vec<Tensor<2>> =
            self.members.iter().map(|member| member.own(pass, x.clone())).collect::<Result<_, _>>()?;
        let ([tokens, width], count) = (x.dims(), given.len());
        let given = Tensor::cat(given, 0);
        let query = self.query.forward(pass, x)?.reshape([1, tokens, width]);
        let keys = self.key.forward(pass, given.clone())?.reshape([count, tokens, width]);
        let values = match &self.value {
            Some(value) => value.forward(pass, given)?,
            None => given,
        };
        let (query, keys) = together(query, keys);
        let weights = shares((query * keys).sum_dim(2));
        let (weights, values) = together(weights, values.reshape([count, tokens, width]));
        let mixed: Tensor<2> = (weights * values).sum_dim(0).reshape([tokens, width]);
        let (added, mixed) = together(added, mixed);
        Ok(added + mixed)
    }
}

/// The softmax over the first axis. Of steps that are the same to the bit with a graph and without, as Burn's own is not.
fn shares(scores: Tensor<3>) -> Tensor<3> {
    let most = scores.clone().detach().max_dim(0);
    let (scores, most) = together(scores, most);
    let powers = (scores - most).exp();
    powers.clone() / powers.sum_dim(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_are_called_after_their_runs() {
        let folders = ["runs/mails/best/adapter", "runs/mood/", "other/mails", "/a/b.c,d/adapter"];
        let named = named(&folders.map(str::to_string));
        let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["mails", "mood", "mails-2", "b_c_d"]);
        assert_eq!(named[0].1, PathBuf::from(folders[0]));
    }
}

//! Compacter: bottleneck adapters whose maps are sums of Kronecker products, of small matrices that all of them share and of thin
//! ones of their own.
//!
//! Paper: Karimi Mahabadi, Henderson, Ruder 2021, "Compacter: Efficient Low-Rank Hypercomplex Adapter Layers", sections 3.1 to 3.3,
//! <https://arxiv.org/abs/2106.04647>. As computed by the package `adapters` (`compacter`, `compacter++`). Differs from it in what
//! it begins with: the map back at zero, so that attaching changes no output at all, and the shared matrices at one half of a
//! normal draw in place of 1e-4 of it, for which the zero now stands.

use std::sync::Arc;

use burn::tensor::Tensor;
use serde_json::Value;
use topwork_kernels::activation::Activation;
use topwork_nn::layers::LayerNorm;
use topwork_nn::reparam::together;
use topwork_nn::{Error as NnError, Graft, Init, ParamId, ParamKind, ParamStore, Pass};

use crate::bottleneck::{LEAVE_OUT, Manner, activation_of, places};
use crate::error::Error;
use crate::{AdapterEntry, Attached, Part, Settings, number};

const OPTIONS: &[(&str, &str)] = &[
    ("reduction", "how many times narrower than the model it is inside (default 32)"),
    ("terms", "how many Kronecker products a map is the sum of; divides both widths (default 4)"),
    ("rank", "of the thin matrices (default 1)"),
    ("activation", "between its maps: gelu, gelu_new, relu, silu, tanh, linear (default gelu)"),
    LEAVE_OUT,
];

/// The entry in the list.
pub(crate) const COMPACTER: AdapterEntry = AdapterEntry {
    name: "compacter",
    summary: "as houlsby, its maps made of shared small matrices and thin ones: a twentieth of the values",
    paper: "https://arxiv.org/abs/2106.04647",
    merges: false,
    options: OPTIONS,
    attach: |options, store, seed, _| attach("compacter", Manner::After, options, store, seed),
};

/// The entry in the list.
pub(crate) const COMPACTER_PLUS: AdapterEntry = AdapterEntry {
    name: "compacter-plus",
    summary: "compacter after the feed-forward block of each layer alone, on what its norm gives",
    paper: "https://arxiv.org/abs/2106.04647",
    merges: false,
    options: OPTIONS,
    attach: |options, store, seed, _| attach("compacter-plus", Manner::AfterSum, options, store, seed),
};

/// What the shared matrices are called among the parameters of the first part.
pub(crate) const RULE: &str = "shared.phm_rule";

/// Numbers of such an adapter that are the same in all layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompacterSettings {
    /// The width of the model divided by the width inside.
    pub reduction: f64,
    /// Kronecker products in a map.
    pub terms: usize,
    /// Of the thin matrices.
    pub rank: usize,
    /// Between the two maps.
    pub activation: Activation,
}

impl CompacterSettings {
    fn read(adapter: &'static str, options: &Value, width: usize) -> Result<(Self, usize), Error> {
        let wrong = |key, expected, got: String| Error::Option { adapter, key, expected, got };
        let whole = |key: &'static str, default: f64| {
            let value = number(adapter, options, key, default)?;
            let fits = value >= 1.0 && value.fract() == 0.0 && value <= 1e6;
            if fits {
                Ok(value as usize)
            } else {
                Err(wrong(key, "a whole number of at least 1", value.to_string()))
            }
        };
        let (terms, rank) = (whole("terms", 4.0)?, whole("rank", 1.0)?);
        let reduction = number(adapter, options, "reduction", 32.0)?;
        if reduction <= 0.0 || width as f64 / reduction > 1e6 {
            return Err(wrong("reduction", "a number above 0", reduction.to_string()));
        }
        let size = (width as f64 / reduction).floor() as usize;
        if !width.is_multiple_of(terms) || !size.is_multiple_of(terms) || size == 0 {
            let got = format!(
                "{terms}, with {width} outside and {size} inside; take another reduction or other terms"
            );
            return Err(wrong(
                "terms",
                "a number that divides the width of the model and the width inside",
                got,
            ));
        }
        let activation = activation_of(adapter, options, Activation::Gelu)?;
        Ok((CompacterSettings { reduction, terms, rank, activation }, size))
    }
}

fn attach(
    adapter: &'static str,
    manner: Manner,
    options: &Value,
    store: &mut ParamStore,
    seed: u64,
) -> Result<Attached, Error> {
    let found = places(adapter, manner, options, store)?;
    let width = store.param(found[0]).shape[0];
    let (settings, size) = CompacterSettings::read(adapter, options, width)?;
    let CompacterSettings { terms, rank, activation, .. } = settings;
    let top = found.iter().map(|&weight| store.param(weight).group).max().unwrap_or(0);
    let rule = store.declare_attachment(
        "adapter.rule.weight",
        &[terms, terms * terms],
        top,
        ParamKind::Weight,
        Init::Normal(0.5),
    );
    store.initialise(rule, seed)?;
    let mut parts = Vec::new();
    for weight in found {
        let param = store.param(weight);
        let (path, group) = (param.path.clone(), param.group);
        let stem = format!("{}.adapter", path.trim_end_matches(".weight"));
        // As Glorot and Bengio have it, for the two sides of each thin matrix.
        let spread = |a: usize, b: usize| Init::Uniform((6.0 / (a + b) as f32).sqrt());
        let mut map = |name: &str, [from, to]: [usize; 2], zero: bool| -> Result<Map, Error> {
            let (from, to) = (from / terms, to / terms);
            let right = if zero { Init::Zeros } else { spread(rank, to) };
            let mut declare = |part: &str, shape: &[usize], kind, init| {
                let id = store.declare_attachment(&format!("{stem}.{name}.{part}"), shape, group, kind, init);
                store.initialise(id, seed).map(|()| id)
            };
            Ok(Map {
                left: declare("left", &[terms, from, rank], ParamKind::Weight, spread(from, rank))?,
                right: declare("right", &[terms, rank, to], ParamKind::Weight, right)?,
                bias: declare("bias", &[terms * to], ParamKind::Bias, Init::Zeros)?,
                rule,
            })
        };
        let (down, up) = (map("down", [width, size], false)?, map("up", [size, width], true)?);
        let mut params = vec![
            ("adapter_down.0.W_left", down.left),
            ("adapter_down.0.W_right", down.right),
            ("adapter_down.0.b", down.bias),
            ("adapter_up.W_left", up.left),
            ("adapter_up.W_right", up.right),
            ("adapter_up.b", up.bias),
        ];
        if parts.is_empty() {
            params.push((RULE, rule));
        }
        store.graft(weight, Arc::new(Compacter { down, up, activation, manner }));
        parts.push(Part { weight: path, params, scales_input: false });
    }
    Ok(Attached { kind: adapter, parts, settings: Settings::Compacter(settings), members: Vec::new() })
}

/// A linear map: the sum over terms of the Kronecker product of a shared matrix and of `left right`.
///
/// # Shapes
/// - left: `[terms, in / terms, rank]`; right: `[terms, rank, out / terms]`; bias: `[out]`; rule: `[terms, terms * terms]`
#[derive(Debug)]
struct Map {
    left: ParamId,
    right: ParamId,
    bias: ParamId,
    rule: ParamId,
}

impl Map {
    /// The weight that the sum is.
    ///
    /// # Shapes
    /// - returns: `[out, in]`
    fn weight(&self, pass: &Pass) -> Result<Tensor<2>, NnError> {
        let shape = |id: ParamId| pass.store().param(id).shape.clone();
        let (left, right) = (shape(self.left), shape(self.right));
        let [terms, from, rank, to] = [left[0], left[1], left[2], right[2]];
        // A leaf for each use: in which order gradients of what is shared are summed must not hang on what is recomputed.
        let thin = |id, shape: [usize; 3]| pass.matrix_apart(id).map(|matrix| matrix.reshape::<3, _>(shape));
        let (left, right) =
            together(thin(self.left, [terms, from, rank])?, thin(self.right, [terms, rank, to])?);
        let own: Tensor<2> = left.matmul(right).reshape([terms, from * to]);
        let (rule, own) = together(pass.matrix_apart(self.rule)?, own);
        let all: Tensor<4> = rule.transpose().matmul(own).reshape([terms, terms, from, to]);
        Ok(all.permute([1, 3, 0, 2]).reshape([terms * to, terms * from]))
    }
}

/// `added + up(f(down(x)))`.
#[derive(Debug)]
struct Compacter {
    down: Map,
    up: Map,
    activation: Activation,
    manner: Manner,
}

impl Graft for Compacter {
    fn added(
        &self,
        pass: &Pass,
        added: Tensor<2>,
        before: &Tensor<2>,
        norm: Option<&LayerNorm>,
    ) -> Result<Tensor<2>, NnError> {
        let x = self.manner.sees(pass, &added, before, norm)?;
        let (x, weight) = together(x, self.down.weight(pass)?);
        let inside = topwork_ops::linear(x, weight, None, pass.precision());
        let (bias, weight, up_bias) =
            (pass.vector(self.down.bias)?, self.up.weight(pass)?, pass.vector(self.up.bias)?);
        let (inside, bias) = together(inside, bias);
        let (bias, weight) = together(bias, weight);
        let (weight, up_bias) = together(weight, up_bias);
        let own =
            topwork_ops::activation_linear(inside, bias, self.activation, weight, up_bias, pass.precision());
        let (added, own) = together(added, own);
        Ok(added + own)
    }
}

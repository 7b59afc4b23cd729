//! Prefix tuning: keys and values in front of those of each text, in every layer, which alone learn.
//!
//! Paper: Li, Liang 2021, "Prefix-Tuning: Optimizing Continuous Prompts for Generation", sections 4.2 and 4.3 (a network that makes
//! them while they learn), <https://arxiv.org/abs/2101.00190>. As computed by peft's `PrefixEncoder`: keys are not turned by their
//! position where a family turns keys, and the texts' own positions come behind those of the prefix.

use std::sync::Arc;

use burn::tensor::Tensor;
use serde_json::Value;
use topwork_nn::layers::Linear;
use topwork_nn::{Error as NnError, Front, Init, ParamId, ParamKind, ParamStore, Pass};

use crate::error::Error;
use crate::prompt::virtual_tokens;
use crate::{AdapterEntry, Attached, Part, Settings, number};

/// Path of what the prefix is made of.
const PATH: &str = "embed.prefix";

/// The entry in the list.
pub(crate) const ENTRY: AdapterEntry = AdapterEntry {
    name: "prefix",
    summary: "keys and values in front of those of each text, in every layer, which alone learn",
    paper: "https://arxiv.org/abs/2101.00190",
    merges: false,
    options: &[
        ("tokens", "how many virtual tokens (default 20)"),
        (
            "inner",
            "they are made by a network while they learn, and this is its width inside (default 0: no network)",
        ),
    ],
    attach: |options, store, seed, _| attach(options, store, seed),
};

/// Numbers of a prefix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrefixSettings {
    /// Virtual tokens in front of each text.
    pub tokens: usize,
    /// Layers that have one.
    pub layers: usize,
    /// Width of a key, and of a value.
    pub width: usize,
}

/// How many layers have keys, and how wide these are.
fn layers(store: &ParamStore) -> Option<(usize, usize)> {
    let (mut layers, mut width) = (0, None);
    for (_, param) in store.iter() {
        let Some((layer, name)) = param.path.strip_prefix("layers.").and_then(|rest| rest.split_once('.'))
        else {
            continue;
        };
        let own = match name {
            "attn.k.weight" => param.shape[0],
            "attn.qkv.weight" => param.shape[0] / 3,
            _ => continue,
        };
        layers = layers.max(layer.parse::<usize>().ok()? + 1);
        if *width.get_or_insert(own) != own {
            return None;
        }
    }
    Some((layers, width?))
}

fn attach(options: &Value, store: &mut ParamStore, seed: u64) -> Result<Attached, Error> {
    let tokens = virtual_tokens("prefix", options)?;
    let inner = number("prefix", options, "inner", 0.0)?;
    if inner < 0.0 || inner.fract() != 0.0 || inner > 1e6 {
        let (expected, got) = ("a whole number", inner.to_string());
        return Err(Error::Option { adapter: "prefix", key: "inner", expected, got });
    }
    let found = layers(store).filter(|_| store.front().is_none());
    let (layers, width) = found.ok_or(Error::NoKeys)?;
    let all = 2 * layers * width;
    let mut declare = |name: &str, shape: &[usize], kind, init| {
        let id = store.declare_attachment(&format!("{PATH}{name}"), shape, 0, kind, init);
        store.initialise(id, seed).map(|()| id)
    };
    // As PyTorch draws embeddings and maps.
    let mut params = Vec::new();
    let network = if inner == 0.0 {
        let rows = declare("", &[tokens, all], ParamKind::Weight, Init::Normal(1.0))?;
        params.push(("embedding.weight", rows));
        (rows, None)
    } else {
        let inner = inner as usize;
        let rows = declare("", &[tokens, width], ParamKind::Weight, Init::Normal(1.0))?;
        params.push(("embedding.weight", rows));
        let mut map = |name: &str, at: [&'static str; 2], [out, into]: [usize; 2]| {
            let drawn = Init::Uniform(1.0 / (into as f32).sqrt());
            let weight = declare(&format!(".{name}.weight"), &[out, into], ParamKind::Weight, drawn)?;
            let bias = declare(&format!(".{name}.bias"), &[out], ParamKind::Bias, drawn)?;
            params.push((at[0], weight));
            params.push((at[1], bias));
            Ok::<_, Error>(Linear { weight, bias: Some(bias) })
        };
        let into = map("in", ["transform.0.weight", "transform.0.bias"], [inner, width])?;
        let out = map("out", ["transform.2.weight", "transform.2.bias"], [all, inner])?;
        (rows, Some([into, out]))
    };
    let (rows, network) = network;
    store.set_front(Arc::new(Prefix { rows, network, tokens, layers, width }));
    let part = Part { weight: PATH.to_string(), params, scales_input: false };
    let settings = Settings::Prefix(PrefixSettings { tokens, layers, width });
    Ok(Attached { kind: "prefix", parts: vec![part], settings, members: Vec::new() })
}

#[derive(Debug)]
struct Prefix {
    /// `[tokens, 2 * layers * width]`: keys and values of each layer in turn; or `[tokens, width]`, what a network makes them of.
    rows: ParamId,
    network: Option<[Linear; 2]>,
    tokens: usize,
    layers: usize,
    width: usize,
}

impl Prefix {
    /// `[tokens, 2 * layers * width]`
    fn whole(&self, pass: &Pass) -> Result<Tensor<2>, NnError> {
        let rows = pass.matrix(self.rows)?;
        match &self.network {
            None => Ok(rows),
            Some([into, out]) => out.forward(pass, into.forward(pass, rows)?.tanh()),
        }
    }
}

impl Front for Prefix {
    fn tokens(&self) -> usize {
        self.tokens
    }

    fn keys_values(&self, pass: &Pass, layer: usize) -> Result<Option<[Tensor<2>; 2]>, NnError> {
        if layer >= self.layers {
            return Ok(None);
        }
        let whole = self.whole(pass)?;
        let part = |at: usize| whole.clone().slice_dim(1, at * self.width..(at + 1) * self.width);
        Ok(Some([part(2 * layer), part(2 * layer + 1)]))
    }
}

/// What the prefix is, whatever makes it: `[tokens, 2 * layers * width]`.
///
/// # Errors
/// A parameter without values.
pub(crate) fn values(attached: &Attached, store: &ParamStore) -> Result<Vec<f32>, Error> {
    let params: Vec<ParamId> =
        attached.parts.iter().flat_map(|part| &part.params).map(|(_, id)| *id).collect();
    let Settings::Prefix(PrefixSettings { tokens, layers, width }) = attached.settings else {
        return Ok(Vec::new());
    };
    let network = match params[..] {
        [_, a, b, c, d] => Some([Linear { weight: a, bias: Some(b) }, Linear { weight: c, bias: Some(d) }]),
        _ => None,
    };
    let prefix = Prefix { rows: params[0], network, tokens, layers, width };
    let pass = Pass::eval(store, topwork_kernels::gemm::Precision::F32);
    let whole = prefix.whole(&pass)?.into_dispatch();
    topwork_nn::param::download(whole, 2)
        .map_err(|reason| NnError::Device { path: PATH.to_string(), reason }.into())
}

//! Bottleneck adapters: at the end of a block, two small maps with an activation between them, which alone learn.
//!
//! They change hidden states, not weights, so nothing can be merged: a model with them is a model of another architecture.
//!
//! Paper: Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP", section 2.1, <https://arxiv.org/abs/1902.00751>
//! (after attention and after the feed-forward block); Pfeiffer et al. 2021, "AdapterFusion: Non-Destructive Task Composition for
//! Transfer Learning", section 5.1, <https://arxiv.org/abs/2005.00247> (after the feed-forward block only); He et al. 2022,
//! "Towards a Unified View of Parameter-Efficient Transfer Learning", section 3.3, <https://arxiv.org/abs/2110.04366> (beside the
//! feed-forward block, scaled). As computed by the package `adapters` (`double_seq_bn`, `seq_bn`, `par_bn`). Differs from it in
//! how the map back starts: at zero, so that attaching changes no output at all.

use std::sync::Arc;

use burn::tensor::Tensor;
use serde_json::Value;
use topwork_kernels::activation::Activation;
use topwork_nn::layers::{LayerNorm, Linear};
use topwork_nn::reparam::together;
use topwork_nn::{Error as NnError, Graft, Init, ParamId, ParamKind, ParamStore, Pass};

use crate::error::Error;
use crate::{AdapterEntry, Attached, Part, Settings, number, targets};

const REDUCTION: (&str, &str) =
    ("reduction", "how many times narrower than the model it is inside (default 16; of parallel 2)");
const SIZE: (&str, &str) = ("size", "how wide it is inside, in place of reduction");
const ACTIVATION: (&str, &str) = (
    "activation",
    "between its maps: gelu, gelu_new, relu, silu, tanh, linear (default relu; of houlsby silu)",
);
pub(crate) const LEAVE_OUT: (&str, &str) =
    ("leave-out", "numbers of the layers that get none, from 0, as 0+1 (default none)");

/// The entry in the list.
pub(crate) const HOULSBY: AdapterEntry = AdapterEntry {
    name: "houlsby",
    summary: "two small maps after attention and after the feed-forward block of each layer",
    paper: "https://arxiv.org/abs/1902.00751",
    merges: false,
    options: &[REDUCTION, SIZE, ACTIVATION, LEAVE_OUT],
    attach: |options, store, seed, _| attach(Manner::After, options, store, seed),
};

/// The entry in the list.
pub(crate) const PFEIFFER: AdapterEntry = AdapterEntry {
    name: "pfeiffer",
    summary: "two small maps after the feed-forward block of each layer, on what its norm gives",
    paper: "https://arxiv.org/abs/2005.00247",
    merges: false,
    options: &[REDUCTION, SIZE, ACTIVATION, LEAVE_OUT],
    attach: |options, store, seed, _| attach(Manner::AfterSum, options, store, seed),
};

/// The entry in the list.
pub(crate) const PARALLEL: AdapterEntry = AdapterEntry {
    name: "parallel",
    summary: "two small maps beside the feed-forward block of each layer, scaled",
    paper: "https://arxiv.org/abs/2110.04366",
    merges: false,
    options: &[
        REDUCTION,
        SIZE,
        ACTIVATION,
        LEAVE_OUT,
        ("scale", "what its result is multiplied by (default 4)"),
    ],
    attach: |options, store, seed, _| attach(Manner::Beside, options, store, seed),
};

/// Where it stands, and what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It sees what the block made.
    After,
    /// It sees the sum of that and of what went into the block, normed where the layer norms it.
    AfterSum,
    /// It sees what went into the block.
    Beside,
}

/// Numbers of a bottleneck adapter that are the same in all layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BottleneckSettings {
    /// The width of the model divided by the width inside; there it is rounded down.
    pub reduction: f64,
    /// Between the two maps.
    pub activation: Activation,
    /// What the result is multiplied by.
    pub scale: f64,
}

impl Manner {
    /// The name of the adapter.
    pub fn name(self) -> &'static str {
        match self {
            Manner::After => HOULSBY.name,
            Manner::AfterSum => PFEIFFER.name,
            Manner::Beside => PARALLEL.name,
        }
    }

    /// That of the adapter of this name.
    pub fn of(name: &str) -> Option<Self> {
        [Manner::After, Manner::AfterSum, Manner::Beside].into_iter().find(|manner| manner.name() == name)
    }

    /// What it sees at the end of a block, as [`Graft::added`] is asked.
    pub fn sees(
        self,
        pass: &Pass,
        added: &Tensor<2>,
        before: &Tensor<2>,
        norm: Option<&LayerNorm>,
    ) -> Result<Tensor<2>, NnError> {
        match (self, norm) {
            (Manner::After, _) => Ok(added.clone()),
            (Manner::AfterSum, Some(norm)) => {
                norm.forward_residual(pass, added.clone(), before.clone(), None)
            }
            (Manner::AfterSum, None) => {
                let (before, added) = together(before.clone(), added.clone());
                Ok(before + added)
            }
            (Manner::Beside, _) => Ok(before.clone()),
        }
    }

    /// The last maps of the blocks that it stands at.
    fn blocks(self) -> &'static [&'static str] {
        match self {
            Manner::After => &["attn.out", "ffn.down"],
            Manner::AfterSum | Manner::Beside => &["ffn.down"],
        }
    }
}

impl BottleneckSettings {
    /// Reads the options; `width` is that of the model.
    fn read(manner: Manner, options: &Value, width: usize) -> Result<Self, Error> {
        let adapter = manner.name();
        let beside = manner == Manner::Beside;
        let wrong = |key, expected, got| Error::Option { adapter, key, expected, got };
        let mut reduction = number(adapter, options, "reduction", if beside { 2.0 } else { 16.0 })?;
        if reduction <= 0.0 || width as f64 / reduction > 1e6 {
            return Err(wrong("reduction", "a number above 0", reduction.to_string()));
        }
        if options.get("size").is_some() {
            let size = number(adapter, options, "size", 0.0)?;
            if options.get("reduction").is_some() {
                return Err(wrong("size", "either it or reduction", "both".to_string()));
            }
            if size < 1.0 || size.fract() != 0.0 || size > 1e6 {
                return Err(wrong("size", "a whole number of at least 1", size.to_string()));
            }
            // A width that does not divide is in the middle of what is rounded down to it, so that no rounding of the quotient
            // makes another one of it.
            let divides = width as f64 % size == 0.0;
            reduction = width as f64 / if divides { size } else { size + 0.5 };
        }
        let usual = if manner == Manner::After { Activation::Silu } else { Activation::Relu };
        let activation = activation_of(adapter, options, usual)?;
        let scale = number(adapter, options, "scale", if beside { 4.0 } else { 1.0 })?;
        Ok(BottleneckSettings { reduction, activation, scale })
    }

    /// How wide it is inside a model of that width.
    pub fn size(&self, width: usize) -> usize {
        ((width as f64 / self.reduction).floor() as usize).max(1)
    }
}

/// The activation among the options, or the usual one.
pub(crate) fn activation_of(
    adapter: &'static str,
    options: &Value,
    usual: Activation,
) -> Result<Activation, Error> {
    let Some(given) = options.get("activation") else { return Ok(usual) };
    given.as_str().and_then(|name| name.parse().ok()).ok_or_else(|| Error::Option {
        adapter,
        key: "activation",
        expected: "one of gelu, gelu_new, relu, silu, tanh, linear",
        got: given.to_string(),
    })
}

/// Numbers of layers among the options: a list, or one text with `+` between them.
fn left_out(adapter: &'static str, options: &Value) -> Result<Vec<usize>, Error> {
    let found: Option<Vec<usize>> = match options.get("leave-out") {
        None => Some(Vec::new()),
        Some(Value::String(text)) => text.split('+').map(|number| number.trim().parse().ok()).collect(),
        Some(Value::Array(list)) => list.iter().map(|one| one.as_u64().map(|one| one as usize)).collect(),
        Some(one) => one.as_u64().map(|one| vec![one as usize]),
    };
    found.ok_or_else(|| Error::Option {
        adapter,
        key: "leave-out",
        expected: "numbers of layers, such as [0, 1] or 0+1",
        got: options["leave-out"].to_string(),
    })
}

/// The last weights of the blocks that such an adapter stands at, without those of layers that the options leave out.
///
/// # Errors
/// [`Error::NoTarget`] for a model without such blocks; [`Error::Option`] for layers that are not there, or for all of them.
pub(crate) fn places(
    adapter: &'static str,
    manner: Manner,
    options: &Value,
    store: &ParamStore,
) -> Result<Vec<ParamId>, Error> {
    let blocks: Vec<String> = manner.blocks().iter().map(|block| block.to_string()).collect();
    let weights = targets(store, &blocks)?;
    let without = left_out(adapter, options)?;
    let wrong = |expected, got| Error::Option { adapter, key: "leave-out", expected, got };
    // The first layer is the depth group after that of the embeddings.
    let layers = weights.iter().map(|&weight| store.param(weight).group).max().unwrap_or(0);
    if let Some(number) = without.iter().find(|&&number| number >= layers) {
        return Err(wrong("numbers of layers of this model", number.to_string()));
    }
    let stays = |weight: &ParamId| !without.contains(&(store.param(*weight).group - 1));
    let found: Vec<ParamId> = weights.into_iter().filter(stays).collect();
    if found.is_empty() {
        return Err(wrong("some layers that are not left out", "all".to_string()));
    }
    Ok(found)
}

fn attach(manner: Manner, options: &Value, store: &mut ParamStore, seed: u64) -> Result<Attached, Error> {
    let (attached, grafts) = declare(manner, options, store, seed, "adapter")?;
    for (weight, graft) in grafts {
        store.graft(weight, graft);
    }
    Ok(attached)
}

/// Such adapters, each with the last weight of the block that it is for, where it is not attached yet.
pub(crate) type Grafts = Vec<(ParamId, Arc<Bottleneck>)>;

/// Declares what an adapter has in each block, below that name of it.
pub(crate) fn declare(
    manner: Manner,
    options: &Value,
    store: &mut ParamStore,
    seed: u64,
    name: &str,
) -> Result<(Attached, Grafts), Error> {
    let weights = places(manner.name(), manner, options, store)?;
    let width = store.param(weights[0]).shape[0];
    let settings = BottleneckSettings::read(manner, options, width)?;
    let (mut parts, mut grafts) = (Vec::new(), Vec::new());
    for weight in weights {
        let param = store.param(weight);
        let (path, group, width) = (param.path.clone(), param.group, param.shape[0]);
        let stem = format!("{}.{name}", path.trim_end_matches(".weight"));
        let size = settings.size(width);
        let down = match manner {
            Manner::Beside => Init::Uniform(1.0 / (width as f32).sqrt()),
            Manner::After | Manner::AfterSum => Init::Normal(0.02),
        };
        let mut linear = |name: &str, sizes: [usize; 2], init| {
            let path = format!("{stem}.{name}");
            let weight =
                store.declare_attachment(&format!("{path}.weight"), &sizes, group, ParamKind::Weight, init);
            let bias = store.declare_attachment(
                &format!("{path}.bias"),
                &sizes[..1],
                group,
                ParamKind::Bias,
                Init::Zeros,
            );
            store.initialise(weight, seed)?;
            store.initialise(bias, seed)?;
            Ok::<_, Error>((Linear { weight, bias: Some(bias) }, [weight, bias]))
        };
        let (down, [down_weight, down_bias]) = linear("down", [size, width], down)?;
        let (up, [up_weight, up_bias]) = linear("up", [width, size], Init::Zeros)?;
        let BottleneckSettings { activation, scale, .. } = settings;
        grafts.push((weight, Arc::new(Bottleneck { down, up, activation, scale, manner })));
        parts.push(Part {
            weight: path,
            params: vec![
                ("adapter_down.0.weight", down_weight),
                ("adapter_down.0.bias", down_bias),
                ("adapter_up.weight", up_weight),
                ("adapter_up.bias", up_bias),
            ],
            scales_input: false,
        });
    }
    let settings = Settings::Bottleneck(settings);
    Ok((Attached { kind: manner.name(), parts, settings, members: Vec::new() }, grafts))
}

/// `added + scale · up(f(down(x)))`.
///
/// # Shapes
/// - down: `[size, hidden]`; up: `[hidden, size]`
#[derive(Debug)]
pub(crate) struct Bottleneck {
    down: Linear,
    up: Linear,
    activation: Activation,
    scale: f64,
    pub(crate) manner: Manner,
}

impl Bottleneck {
    /// `scale · up(f(down(x)))`.
    pub fn own(&self, pass: &Pass, x: Tensor<2>) -> Result<Tensor<2>, NnError> {
        let own = self.down.forward_through(pass, x, self.activation, &self.up)?;
        Ok(if self.scale == 1.0 { own } else { own.mul_scalar(self.scale) })
    }
}

impl Graft for Bottleneck {
    fn added(
        &self,
        pass: &Pass,
        added: Tensor<2>,
        before: &Tensor<2>,
        norm: Option<&LayerNorm>,
    ) -> Result<Tensor<2>, NnError> {
        let x = self.manner.sees(pass, &added, before, norm)?;
        let (added, own) = together(added, self.own(pass, x)?);
        Ok(added + own)
    }
}

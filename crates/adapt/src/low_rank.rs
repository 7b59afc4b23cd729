//! A weight plus the product of two thin matrices: what LoRA and DoRA share.

use burn::tensor::Tensor;
use serde_json::Value;
use topwork_kernels::gemm::Precision;
use topwork_nn::reparam::together;
use topwork_nn::{Error as NnError, Init, ParamId, ParamKind, ParamStore, Pass};

use crate::error::Error;
use crate::lora::QLORA;
use crate::{adaptable, first_that_fits, names, number, targets};

/// The options that both have.
pub(crate) const OPTIONS: &[(&str, &str)] = &[
    ("rank", "columns of the added matrices (default 8)"),
    ("alpha", "the product is scaled by alpha / rank (default twice the rank)"),
    ("by-root", "scale by alpha / sqrt(rank) instead, as rsLoRA does (default false)"),
    ("targets", "names or patterns of weights (default attn.q and attn.v, or attn.qkv)"),
];

/// Numbers of LoRA and DoRA that are the same for all weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LowRankSettings {
    /// Rank of the added matrices.
    pub rank: usize,
    /// What the product of the two is multiplied by, times the rank (or times its root, if `by_root`).
    pub alpha: f64,
    /// Divide by the root of the rank.
    pub by_root: bool,
}

/// `weight + scale · b·a`.
///
/// # Shapes
/// - weight: `[out, in]`; `a`: `[rank, in]`; `b`: `[out, rank]`
#[derive(Clone, Copy, Debug)]
pub(crate) struct LowRank {
    pub a: ParamId,
    pub b: ParamId,
    pub scale: f32,
}

impl LowRank {
    /// The sum. As the model works with the whole matrix, every kernel and every precision treats it as it treats a plain
    /// weight; next to the products with texts the product here is small: `rank` columns instead of as many as tokens.
    pub fn sum(&self, pass: &Pass, weight: Tensor<2>) -> Result<Tensor<2>, NnError> {
        let (b, a) = together(pass.matrix(self.b)?, pass.matrix(self.a)?);
        // As the product of a linear map, which is the same to the bit on any number of threads.
        let product = topwork_ops::linear(b, a.transpose(), None, Precision::F32);
        let (weight, added) = together(weight, product.mul_scalar(self.scale));
        Ok(weight + added)
    }
}

/// Reads the options, and declares the two matrices of each target: `a` evenly drawn as PyTorch draws a linear map, `b` zero, so
/// that the sum is the weight.
pub(crate) fn declare(
    adapter: &'static str,
    options: &Value,
    store: &mut ParamStore,
    seed: u64,
) -> Result<(LowRankSettings, Vec<(ParamId, LowRank)>), Error> {
    let rank = number(adapter, options, "rank", 8.0)?;
    if rank < 1.0 || rank.fract() != 0.0 || rank > 1e6 {
        let (expected, got) = ("a whole number of at least 1", rank.to_string());
        return Err(Error::Option { adapter, key: "rank", expected, got });
    }
    let alpha = number(adapter, options, "alpha", 2.0 * rank)?;
    let by_root = match options.get("by-root") {
        None => false,
        Some(Value::Bool(by_root)) => *by_root,
        Some(other) => {
            let (expected, got) = ("true or false", other.to_string());
            return Err(Error::Option { adapter, key: "by-root", expected, got });
        }
    };
    let weights = match names(adapter, options, "targets")? {
        Some(patterns) => targets(store, &patterns)?,
        None if adapter == QLORA.name => adaptable(store).into_iter().map(|(id, _)| id).collect(),
        None => first_that_fits(store, &[&["attn.q", "attn.v"], &["attn.qkv"]])?,
    };
    let settings = LowRankSettings { rank: rank as usize, alpha, by_root };
    let scale = settings.scale() as f32;
    let mut parts = Vec::with_capacity(weights.len());
    for weight in weights {
        let param = store.param(weight);
        let (path, group) = (param.path.clone(), param.group);
        let [out, width] = [param.shape[0], param.shape[1]];
        let most = 1.0 / (width as f32).sqrt();
        let mut matrix = |name: &str, shape: [usize; 2], init| {
            let path = format!("{}.{name}", path.trim_end_matches(".weight"));
            let id = store.declare_attachment(&path, &shape, group, ParamKind::Weight, init);
            store.initialise(id, seed).map(|()| id)
        };
        let a = matrix("lora_a", [settings.rank, width], Init::Uniform(most))?;
        let b = matrix("lora_b", [out, settings.rank], Init::Zeros)?;
        parts.push((weight, LowRank { a, b, scale }));
    }
    Ok((settings, parts))
}

impl LowRankSettings {
    /// What the product is multiplied by.
    pub fn scale(self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.by_root { rank.sqrt() } else { rank }
    }
}

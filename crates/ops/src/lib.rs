//! Differentiable operations for packed batches of text.
//!
//! Each operation is one file: a public function on Burn tensors, a backend extension trait, the CPU
//! implementation over [`topwork_kernels`], a hand-written backward, and the same computation composed
//! of Burn's own operations, which is what every other backend runs.
//!
//! Tensors that no gradient is wanted for take the plain path: nothing is saved for them. On the CPU
//! the kernels compute in `f32`; tensors of another type take the composed body.

mod accumulate;
mod adamw;
mod attention;
mod bias_activation;
mod columns;
mod cross_entropy;
mod dropout;
mod embedding;
mod flex;
mod host;
mod linear;
mod linear_qkv;
mod norm;
mod optional;
mod packed;
mod pool;
mod record;
mod sum_squares;

pub use topwork_kernels::{
    activation::Activation, adamw::AdamW, gemm::Precision, loss::IGNORE, pool::Pool, rng::Dropout,
};

pub use crate::{
    accumulate::accumulate,
    adamw::{AdamWOps, Gradient, adamw},
    attention::{AttentionOps, attention},
    bias_activation::{BiasActivationOps, bias_activation},
    cross_entropy::{CrossEntropyOps, cross_entropy},
    dropout::{DropoutOps, dropout},
    embedding::{EmbeddingOps, embedding},
    linear::{LinearOps, linear},
    linear_qkv::{LinearQkvOps, linear_qkv},
    norm::{NormOps, layer_norm, residual_dropout_norm},
    optional::OptionalFloat,
    pool::{PoolOps, pool},
    sum_squares::{SumSquaresOps, sum_squares},
};

/// The operations in Burn's own operations, for any backend.
pub mod composed {
    pub use crate::{
        adamw::composed as adamw, attention::composed as attention,
        bias_activation::composed as bias_activation, cross_entropy::composed as cross_entropy,
        dropout::composed as dropout, embedding::composed as embedding, linear::composed as linear,
        linear_qkv::composed as linear_qkv, norm::composed as norm, pool::composed as pool,
        sum_squares::composed as sum_squares,
    };
}

/// An operation, for lists and docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// The name of the function.
    pub name: &'static str,
    /// What it computes, in a few words.
    pub summary: &'static str,
}

macro_rules! ops {
    ($($name:ident: $summary:literal,)*) => {
        /// Every operation of this crate, in alphabetical order.
        pub const OPS: &[Op] = &[$(Op { name: stringify!($name), summary: $summary },)*];
    };
}

ops! {
    accumulate: "gradients added up in place",
    adamw: "one AdamW step in one pass, dense or by rows",
    attention: "attention inside each sequence of a packed batch, with dropout on its probabilities",
    bias_activation: "a bias and the activation behind it",
    cross_entropy: "mean cross-entropy with weights, label smoothing and ignored rows",
    dropout: "dropout whose mask is computed, never stored",
    embedding: "rows of a table by index",
    layer_norm: "layer normalisation",
    linear: "x·Wᵀ + b, in f32 or bf16",
    linear_qkv: "queries, keys and values in one operation",
    pool: "first token, mean or maximum of each sequence",
    residual_dropout_norm: "LayerNorm(dropout(x) + residual)",
    sum_squares: "sum of squares, for gradient norms",
}

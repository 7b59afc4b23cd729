//! Differentiable operations for packed batches of text.
//!
//! Each operation is one file: a public function on Burn tensors, a backend extension trait, the CPU
//! implementation over [`topwork_kernels`], a hand-written backward, and the same computation composed
//! of Burn's own operations, which is what every other backend runs.
//!
//! Tensors that no gradient is wanted for take the plain path: nothing is saved for them. On the CPU
//! the kernels compute in `f32`; tensors of another type take the composed body.

mod accumulate;
mod activation_linear;
mod adamw;
mod attend;
mod attend_places;
mod attention;
mod bias_activation;
#[cfg(test)]
mod check;
mod columns;
mod conv1d;
mod conv1d_max;
mod crf;
mod cross_entropy;
mod dropout;
mod embedding;
mod flex;
mod gated_activation;
mod highway;
mod host;
mod linear;
mod linear_qkv;
mod lstm;
mod masked;
mod norm;
mod optional;
mod packed;
mod pool;
pub mod profile;
mod record;
mod relative_attend;
mod rms_norm;
mod rotary;
mod sum_squares;

pub use topwork_kernels::{
    activation::Activation,
    adamw::AdamW,
    attend_layout::{AttendLayout, Mask},
    conv::Conv,
    gemm::Precision,
    loss::IGNORE,
    lstm::Lstm,
    pool::Pool,
    rng::Dropout,
};

pub use crate::{
    accumulate::accumulate,
    activation_linear::{ActivationLinearOps, activation_linear},
    adamw::{AdamWOps, Gradient, adamw},
    attend::{AttendOps, attend},
    attention::{AttentionOps, attention},
    bias_activation::{BiasActivationOps, bias_activation},
    conv1d::{Conv1dOps, conv1d},
    conv1d_max::{Conv1dMaxOps, conv1d_max},
    crf::{CrfOps, crf},
    cross_entropy::{CrossEntropyOps, cross_entropy},
    dropout::{DropoutOps, dropout},
    embedding::{EmbeddingOps, embedding},
    gated_activation::{GatedActivationOps, gated_activation, gated_product},
    highway::{HighwayOps, highway},
    linear::{LinearOps, linear, linear_packed},
    linear_qkv::{LinearQkvOps, linear_qkv, linear_qkv_packed},
    lstm::{LstmOps, LstmStates, lstm},
    masked::{MaskedOps, embedding_dropout, locked_dropout, weight_drop},
    norm::{NormOps, layer_norm, residual_dropout_norm},
    optional::OptionalFloat,
    pool::{PoolOps, pool},
    relative_attend::{
        RelativeAttendOps, RelativeLayout, RelativeTerms, Segments, SevenGradients, relative_attend,
    },
    rms_norm::{RmsNormOps, rms_norm},
    rotary::{RotaryOps, rotary},
    sum_squares::{SumSquaresOps, sum_squares},
};

/// The operations in Burn's own operations, for any backend.
pub mod composed {
    pub use crate::{
        activation_linear::composed as activation_linear, adamw::composed as adamw,
        attend::composed as attend, attention::composed as attention,
        bias_activation::composed as bias_activation, conv1d::composed as conv1d,
        conv1d_max::composed as conv1d_max, crf::composed as crf, cross_entropy::composed as cross_entropy,
        dropout::composed as dropout, embedding::composed as embedding,
        gated_activation::composed as gated_activation, highway::composed as highway,
        linear::composed as linear, linear_qkv::composed as linear_qkv, lstm::composed as lstm,
        masked::composed as masked, norm::composed as norm, pool::composed as pool,
        relative_attend::composed as relative_attend, rms_norm::composed as rms_norm,
        rotary::composed as rotary, sum_squares::composed as sum_squares,
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
    ($($name:ident ($checks:path): $summary:literal,)*) => {
        /// Every operation of this crate, in alphabetical order.
        pub const OPS: &[Op] = &[$(Op { name: stringify!($name), summary: $summary },)*];

        /// What checks each operation, and returns how much it checked.
        #[cfg(test)]
        const CHECKS: &[(&str, fn() -> usize)] = &[$((stringify!($name), $checks),)*];
    };
}

ops! {
    accumulate (accumulate::tests::sums):
        "gradients added up in place",
    activation_linear (activation_linear::tests::gradients):
        "an activation and the linear layer behind it, keeping only what comes before both",
    adamw (adamw::tests::steps):
        "one AdamW step in one pass, dense or by rows",
    attend (attend::tests::gradients):
        "attention of queries to keys: masks, caches, shared heads, a bias by distance",
    attention (attention::tests::gradients):
        "attention inside each sequence of a packed batch, with dropout on its probabilities",
    bias_activation (bias_activation::tests::gradients):
        "a bias and the activation behind it",
    conv1d (conv1d::tests::gradients):
        "convolution over the tokens of each sequence",
    conv1d_max (conv1d_max::tests::gradients):
        "convolution, maximum over time and activation: a vector for each sequence",
    crf (crf::tests::gradients):
        "mean negative log-likelihood of labellings under a linear-chain random field",
    cross_entropy (cross_entropy::tests::gradients):
        "mean cross-entropy with weights, label smoothing and ignored rows",
    dropout (dropout::tests::gradients):
        "dropout whose mask is computed, never stored",
    embedding (embedding::tests::gradients):
        "rows of a table by index",
    embedding_dropout (masked::tests::embedding_gradients):
        "dropout of whole words",
    gated_activation (gated_activation::tests::gradients):
        "an activation of one half of each row times the other half, with a bias",
    gated_product (gated_activation::tests::product_gradients):
        "an activation of one tensor times another",
    highway (highway::tests::gradients):
        "the gate of a highway layer",
    layer_norm (norm::tests::layer_norm_gradients):
        "layer normalisation",
    linear (linear::tests::gradients):
        "x·Wᵀ + b, in f32 or bf16",
    linear_qkv (linear_qkv::tests::gradients):
        "queries, keys and values in one operation",
    locked_dropout (masked::tests::locked_gradients):
        "dropout of the same columns at every token of a sequence",
    lstm (lstm::tests::gradients):
        "one layer of an LSTM in one direction, with projection and clips",
    pool (pool::tests::gradients):
        "first token, last token, mean or maximum of each sequence",
    relative_attend (relative_attend::tests::gradients):
        "attention with terms of content and distance, and of segments",
    residual_dropout_norm (norm::tests::residual_dropout_norm_gradients):
        "LayerNorm(dropout(x) + residual)",
    rms_norm (rms_norm::tests::gradients):
        "normalisation by the root of the mean square",
    rotary (rotary::tests::gradients):
        "queries or keys turned by their positions",
    sum_squares (sum_squares::tests::sums):
        "sum of squares, for gradient norms",
    weight_drop (masked::tests::weight_gradients):
        "dropout of the numbers of a weight",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_passes_its_checks() {
        let mut checked = Vec::new();
        for (name, check) in CHECKS {
            let count = check();
            assert!(count > 0, "{name} checks nothing");
            checked.push(*name);
        }
        assert_eq!(checked.len(), 28);
        assert_eq!(checked, OPS.iter().map(|op| op.name).collect::<Vec<_>>());
        assert!(checked.is_sorted());
    }
}

//! Cross-entropy over classes, weighted and smoothed.
//!
//! Paper: label smoothing from Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7,
//! <https://arxiv.org/abs/1512.00567>

use std::sync::Arc;

use burn::tensor::Tensor;

/// Mean cross-entropy of `logits` against class numbers. With class weights the mean is weighted by them, as
/// `torch.nn.CrossEntropyLoss` does. A target of `topwork_kernels::loss::IGNORE` counts for nothing.
///
/// # Shapes
/// - `logits`: `[rows, labels]`; `target`: `[rows]`; `weights`: `[labels]`
/// - returns: `[1]`
pub fn cross_entropy(
    logits: Tensor<2>,
    target: &Arc<[u32]>,
    weights: Option<&Arc<[f32]>>,
    smoothing: f32,
) -> Tensor<1> {
    topwork_ops::cross_entropy(logits, target, weights, smoothing)
}

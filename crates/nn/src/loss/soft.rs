//! Cross-entropy against shares: what one model answers is learnt by another.
//!
//! Paper: Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2,
//! <https://arxiv.org/abs/1503.02531>

use burn::tensor::{Tensor, TensorData, activation};

/// Mean over all rows of `-sum of p log softmax(z)` (`torch.nn.functional.cross_entropy` with shares). Its gradient is that of the
/// Kullback-Leibler divergence from `p`. A row of zeros teaches nothing and counts in the mean.
///
/// # Shapes
/// - `logits`: `[batch, labels]`; `shares`: `[batch * labels]` row-major, each row a distribution
/// - returns: `[1]`
pub fn soft_cross_entropy(logits: Tensor<2>, shares: &[f32]) -> Tensor<1> {
    let [batch, labels] = logits.dims();
    let shares = Tensor::<2>::from_data(TensorData::new(shares.to_vec(), [batch, labels]), &logits.device());
    let terms = shares * activation::log_softmax(logits, 1);
    terms.sum().div_scalar(-(batch as f64))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::Device;

    use super::*;
    use crate::loss::cross_entropy;

    fn logits() -> Tensor<2> {
        let z = vec![2.0f32, -1.0, 0.5, 80.0, -80.0, 0.0];
        Tensor::from_data(TensorData::new(z, [2, 3]), &Device::flex())
    }

    #[test]
    fn of_whole_shares_it_is_cross_entropy() {
        let soft = soft_cross_entropy(logits(), &[0.0, 1.0, 0.0, 1.0, 0.0, 0.0]).into_scalar::<f32>();
        let hard = cross_entropy(logits(), &Arc::from([1, 0]), None, 0.0).into_scalar::<f32>();
        assert!((soft - hard).abs() < 1e-5, "{soft} {hard}");
    }

    #[test]
    fn a_row_of_zeros_counts_and_teaches_nothing() {
        let one = soft_cross_entropy(logits().slice_dim(0, 0..1), &[0.2, 0.3, 0.5]).into_scalar::<f32>();
        let two = soft_cross_entropy(logits(), &[0.2, 0.3, 0.5, 0.0, 0.0, 0.0]).into_scalar::<f32>();
        assert!((two - one / 2.0).abs() < 1e-6, "{one} {two}");
        let by_hand = |z: [f64; 3]| {
            let sum = z.iter().map(|z| z.exp()).sum::<f64>().ln();
            -(0.2 * (z[0] - sum) + 0.3 * (z[1] - sum) + 0.5 * (z[2] - sum))
        };
        assert!((f64::from(one) - by_hand([2.0, -1.0, 0.5])).abs() < 1e-6, "{one}");
    }
}

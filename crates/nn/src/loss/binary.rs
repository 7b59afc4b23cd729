//! Binary cross-entropy from logits: several labels may hold at once.
//!
//! Paper: Nam et al. 2014, "Large-scale Multi-label Text Classification", section 2.3,
//! <https://arxiv.org/abs/1312.5419>

use burn::tensor::{Tensor, TensorData, activation};

/// Mean over all rows and labels of `softplus(z) - y z`, the stable form of binary cross-entropy
/// (`torch.nn.BCEWithLogitsLoss`). `weights` multiplies the terms of a label where it is present
/// (`pos_weight`).
///
/// # Shapes
/// - `logits`: `[batch, labels]`; `target`: `[batch * labels]` row-major, 0 or 1; `weights`: `[labels]`
/// - returns: `[1]`
pub fn binary_cross_entropy(logits: Tensor<2>, target: &[f32], weights: Option<&[f32]>) -> Tensor<1> {
    let [batch, labels] = logits.dims();
    let device = logits.device();
    let constant =
        |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [batch, labels]), &device);
    let pos = |j: usize| weights.map_or(1.0, |w| w[j % labels]);
    // loss = (1 - y) z + (1 + (w - 1) y) softplus(-z)
    let scale = constant(target.iter().enumerate().map(|(j, y)| 1.0 + (pos(j) - 1.0) * y).collect());
    let absent = constant(target.iter().map(|y| 1.0 - y).collect());
    let softplus = activation::softplus(logits.clone().neg(), 1.0);
    (absent * logits + scale * softplus).mean()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn equals_the_definition_and_stays_finite() {
        let z = [2.0f32, -1.0, 0.5, 80.0, -80.0, 0.0];
        let y = [1.0f32, 0.0, 1.0, 1.0, 0.0, 1.0];
        let w = [1.0f32, 2.0, 3.0];
        let expected: f64 = (0..6)
            .map(|i| {
                let p = 1.0 / (1.0 + (-(z[i] as f64)).exp());
                let (y, w) = (y[i] as f64, w[i % 3] as f64);
                let log = |x: f64| x.max(1e-300).ln();
                -(w * y * log(p) + (1.0 - y) * log(1.0 - p))
            })
            .sum::<f64>()
            / 6.0;
        let logits = Tensor::<2>::from_data(TensorData::new(z.to_vec(), [2, 3]), &Device::flex());
        let got = binary_cross_entropy(logits, &y, Some(&w)).into_scalar::<f32>();
        assert!((got as f64 - expected).abs() < 1e-6, "{got} {expected}");
    }
}

//! Cross-entropy for classes in order: a near miss is taught as less wrong than a far one.
//!
//! Paper: Diaz and Marathe 2019, "Soft Labels for Ordinal Regression", section 3,
//! <https://openaccess.thecvf.com/content_CVPR_2019/html/Diaz_Soft_Labels_for_Ordinal_Regression_CVPR_2019_paper.html>

use burn::tensor::{Tensor, TensorData, activation};
use topwork_kernels::loss::IGNORE;

/// Mean cross-entropy against soft labels: a class `d` places from the right one is asked for in proportion to
/// `exp(-sharpness d)`. The mean is weighted by the classes as that of [`cross_entropy`](super::cross_entropy) is, which it nears
/// as `sharpness` grows. A target of `topwork_kernels::loss::IGNORE` counts for nothing; without any that counts the loss is NaN.
///
/// # Shapes
/// - `logits`: `[rows, labels]`, the labels from lowest to highest; `target`: `[rows]`; `weights`: `[labels]`
/// - returns: `[1]`
pub fn ordinal(logits: Tensor<2>, target: &[u32], weights: Option<&[f32]>, sharpness: f32) -> Tensor<1> {
    let [rows, labels] = logits.dims();
    let device = logits.device();
    let weight = |label: u32| weights.map_or(1.0, |weights| f64::from(weights[label as usize]));
    let known = || target.iter().enumerate().filter(|(_, label)| **label != IGNORE);
    let total: f64 = known().map(|(_, &label)| weight(label)).sum();
    let mut shares = vec![if total == 0.0 { f32::NAN } else { 0.0 }; rows * labels];
    for (row, &label) in known() {
        let near = |class: usize| (-f64::from(sharpness) * class.abs_diff(label as usize) as f64).exp();
        let all: f64 = (0..labels).map(near).sum();
        let scale = weight(label) / (total * all);
        for (class, share) in shares[row * labels..][..labels].iter_mut().enumerate() {
            *share = (scale * near(class)) as f32;
        }
    }
    let shares = Tensor::<2>::from_data(TensorData::new(shares, [rows, labels]), &device);
    (activation::log_softmax(logits, 1).neg() * shares).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::Device;

    use super::super::cross_entropy;
    use super::*;

    const Z: [f32; 12] = [2.0, -1.0, 0.5, 0.1, -0.3, 1.5, 0.2, -2.0, 0.4, 0.6, -0.8, 1.1];

    fn logits() -> Tensor<2> {
        Tensor::from_data(TensorData::new(Z.to_vec(), [3, 4]), &Device::flex())
    }

    #[test]
    fn value_and_gradient_equal_torch() {
        // torch 2.15: F.cross_entropy(z, y, reduction="none") with y = softmax(-1.5 |class - target|), targets 0, 2, 3 and
        // class weights 1, 2, 0.5, 4, the weighted mean of it; z in f64.
        let z = logits().autodiff().require_grad();
        let loss = ordinal(z.clone(), &[0, 2, 3], Some(&[1.0, 2.0, 0.5, 4.0]), 1.5);
        let gradient = z.grad(&loss.clone().backward()).unwrap().into_data().try_to_vec::<f32>().unwrap();
        assert!((loss.into_scalar::<f32>() - VALUE).abs() < 1e-6);
        for (got, expected) in gradient.iter().zip(GRADIENT) {
            assert!((got - expected).abs() < 1e-6, "{gradient:?}");
        }
    }

    const VALUE: f32 = 1.188_485;
    #[rustfmt::skip]
    const GRADIENT: [f32; 12] = [
        -0.01378284, -0.0252316, 0.02147002, 0.01754441, 0.00721093, 0.04836722,
        -0.04388938, -0.01168877, 0.154_029, 0.16761727, -0.07809317, -0.24355309,
    ];

    #[test]
    fn what_is_sharp_is_cross_entropy() {
        let target = [1, IGNORE, 2];
        let plain = cross_entropy(logits(), &Arc::from(&target[..]), None, 0.0).into_scalar::<f32>();
        let sharp = ordinal(logits(), &target, None, 40.0).into_scalar::<f32>();
        assert!((plain - sharp).abs() < 1e-6, "{plain} {sharp}");
        assert!(ordinal(logits(), &[IGNORE; 3], None, 1.0).into_scalar::<f32>().is_nan());
    }

    #[test]
    fn a_near_miss_costs_less() {
        let at = |class: usize| {
            let mut z = vec![0.0f32; 4];
            z[class] = 5.0;
            let z = Tensor::<2>::from_data(TensorData::new(z, [1, 4]), &Device::flex());
            ordinal(z, &[0], None, 1.0).into_scalar::<f32>()
        };
        assert!(at(0) < at(1) && at(1) < at(2) && at(2) < at(3));
    }
}

//! Focal losses: what a model is already sure of counts less, so that a rare class is not drowned by many easy examples.
//!
//! Paper: Lin et al. 2017, "Focal Loss for Dense Object Detection", section 3.2 (the loss) and appendix A (its gradient),
//! <https://arxiv.org/abs/1708.02002>

use burn::tensor::{Tensor, TensorData, activation};
use topwork_kernels::loss::IGNORE;

/// Mean over rows of `w (1 - p)^gamma (-ln p)`, where `p` is the probability of the target and `w` the weight of its class. The
/// mean is weighted by the classes as that of [`cross_entropy`](super::cross_entropy) is, which it equals for `gamma = 0`. A
/// target of `topwork_kernels::loss::IGNORE` counts for nothing; without any that counts the loss is NaN.
///
/// # Shapes
/// - `logits`: `[rows, labels]`; `target`: `[rows]`; `weights`: `[labels]`
/// - returns: `[1]`
pub fn focal(logits: Tensor<2>, target: &[u32], weights: Option<&[f32]>, gamma: f32) -> Tensor<1> {
    let [rows, labels] = logits.dims();
    let device = logits.device();
    let weight = |label: u32| match label {
        IGNORE => 0.0,
        label => weights.map_or(1.0, |weights| weights[label as usize]),
    };
    let total: f64 = target.iter().map(|&label| f64::from(weight(label))).sum();
    // One number a row, where its label is: what is not asked for is nowhere.
    let mut shares = vec![0.0; rows * labels];
    for (row, &label) in target.iter().enumerate().filter(|(_, label)| **label != IGNORE) {
        shares[row * labels + label as usize] = (f64::from(weight(label)) / total) as f32;
    }
    if total == 0.0 {
        shares.fill(f32::NAN);
    }
    let shares = Tensor::<2>::from_data(TensorData::new(shares, [rows, labels]), &device);
    let log = activation::log_softmax(logits, 1);
    (power(log.clone(), gamma) * log.neg() * shares).sum()
}

/// Mean over all rows and labels of the same for each label's yes or no (`sigmoid_focal_loss` of torchvision without `alpha`).
/// `weights` multiplies the terms of a label where it is present.
///
/// # Shapes
/// - `logits`: `[batch, labels]`; `target`: `[batch * labels]` row-major, 0 or 1; `weights`: `[labels]`
/// - returns: `[1]`
pub fn binary_focal(logits: Tensor<2>, target: &[f32], weights: Option<&[f32]>, gamma: f32) -> Tensor<1> {
    let [batch, labels] = logits.dims();
    let device = logits.device();
    let constant =
        |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [batch, labels]), &device);
    let weight = |at: usize| weights.map_or(1.0, |weights| weights[at % labels]);
    let present = constant(target.iter().enumerate().map(|(at, y)| weight(at) * y).collect());
    let absent = constant(target.iter().map(|y| 1.0 - y).collect());
    let yes = activation::log_sigmoid(logits.clone());
    let no = activation::log_sigmoid(logits.neg());
    let present = power(yes.clone(), gamma) * yes.neg() * present;
    let absent = power(no.clone(), gamma) * no.neg() * absent;
    (present + absent).mean()
}

/// `(1 - exp(log))^gamma`, for logarithms of probabilities, none above 0.
///
/// # Shapes
/// - `log` and what is returned: the same
fn power(log: Tensor<2>, gamma: f32) -> Tensor<2> {
    // The bound, about the last digit of a number near one, keeps the power's gradient finite where gamma is below 1.
    (log.exp().neg() + 1.0).clamp_min(1e-7).powf_scalar(gamma)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use topwork_kernels::rng::Stream;

    use std::sync::Arc;

    use super::super::{binary_cross_entropy, cross_entropy};
    use super::*;

    fn tensor(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
    }

    fn random(count: usize) -> Vec<f32> {
        let mut stream = Stream(5);
        (0..count).map(|_| 6.0 * (stream.below(1 << 20) as f32 / (1 << 20) as f32 - 0.5)).collect()
    }

    /// The loss by its definition, in f64.
    fn defined(z: &[f64], labels: usize, target: &[u32], weights: Option<&[f32]>, gamma: f64) -> f64 {
        let (mut sum, mut total) = (0.0, 0.0);
        for (row, &label) in z.chunks(labels).zip(target).filter(|(_, label)| **label != IGNORE) {
            let all: f64 = row.iter().map(|z| z.exp()).sum();
            let p = row[label as usize].exp() / all;
            let weight = weights.map_or(1.0, |weights| f64::from(weights[label as usize]));
            sum -= weight * (1.0 - p).powf(gamma) * p.ln();
            total += weight;
        }
        sum / total
    }

    #[test]
    fn value_and_gradient_equal_the_definition() {
        let target = [0, 2, 1, IGNORE, 2, 2, 0];
        let weights = [0.5f32, 1.0, 3.0];
        let z = random(21);
        let device = Device::flex();
        for weights in [None, Some(&weights[..])] {
            for gamma in [0.0f32, 0.5, 2.0, 5.0] {
                let logits = tensor(&z, [7, 3], &device).autodiff().require_grad();
                let loss = focal(logits.clone(), &target, weights, gamma);
                let wide: Vec<f64> = z.iter().map(|&z| f64::from(z)).collect();
                let value = |z: &[f64]| defined(z, 3, &target, weights, f64::from(gamma));
                let got = loss.clone().into_scalar::<f32>();
                assert!((f64::from(got) - value(&wide)).abs() < 1e-6, "{gamma}: {got} {}", value(&wide));
                let grads = loss.backward();
                let got = logits.grad(&grads).unwrap().into_data().try_to_vec::<f32>().unwrap();
                for at in 0..z.len() {
                    let step = |h: f64| {
                        let mut moved = wide.clone();
                        moved[at] += h;
                        value(&moved)
                    };
                    let expected = (step(1e-5) - step(-1e-5)) / 2e-5;
                    assert!(
                        (f64::from(got[at]) - expected).abs() < 2e-6,
                        "gamma {gamma}, {at}: {} {expected}",
                        got[at]
                    );
                }
            }
        }
    }

    #[test]
    fn without_a_focus_it_is_cross_entropy() {
        let device = Device::flex();
        let (z, target, weights) = (random(12), [1u32, 0, 3], [1.0f32, 2.0, 0.5, 4.0]);
        let one = focal(tensor(&z, [3, 4], &device), &target, Some(&weights), 0.0).into_scalar::<f32>();
        let other = cross_entropy(
            tensor(&z, [3, 4], &device),
            &Arc::from(&target[..]),
            Some(&Arc::from(&weights[..])),
            0.0,
        );
        assert!((one - other.into_scalar::<f32>()).abs() < 1e-6);
        let y: Vec<f32> = (0..12).map(|at| f32::from(u8::from(at % 3 == 0))).collect();
        let one = binary_focal(tensor(&z, [3, 4], &device), &y, Some(&weights), 0.0).into_scalar::<f32>();
        let other =
            binary_cross_entropy(tensor(&z, [3, 4], &device), &y, Some(&weights)).into_scalar::<f32>();
        assert!((one - other).abs() < 1e-6);
    }

    #[test]
    fn what_is_sure_counts_little_and_stays_finite() {
        let device = Device::flex();
        let logits = tensor(&[60.0, -60.0, -60.0, 60.0], [2, 2], &device).autodiff().require_grad();
        // The first row is right beyond doubt, the second as wrong.
        let loss = focal(logits.clone(), &[0, 0], None, 0.5);
        let gradient =
            logits.grad(&loss.clone().backward()).unwrap().into_data().try_to_vec::<f32>().unwrap();
        assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
        assert!(gradient[..2].iter().all(|g| g.abs() < 1e-6) && gradient[2] < -0.4, "{gradient:?}");
        assert!((loss.into_scalar::<f32>() - 60.0).abs() < 1e-3);
        let nothing = focal(logits, &[IGNORE, IGNORE], None, 2.0).into_scalar::<f32>();
        assert!(nothing.is_nan(), "{nothing}");
    }

    #[test]
    fn yes_and_no_equal_torchvision() {
        // torchvision.ops.sigmoid_focal_loss(z, y, alpha=-1, gamma=2, reduction="mean"), by its formula in f64.
        let (z, y) = ([2.0f32, -1.0, 0.5, -3.0], [1.0f32, 1.0, 0.0, 0.0]);
        let expected: f64 = z
            .iter()
            .zip(&y)
            .map(|(&z, &y)| {
                let p = 1.0 / (1.0 + (-f64::from(z)).exp());
                let right = if y == 1.0 { p } else { 1.0 - p };
                -(1.0 - right).powi(2) * right.ln()
            })
            .sum::<f64>()
            / 4.0;
        let got = binary_focal(tensor(&z, [2, 2], &Device::flex()), &y, None, 2.0).into_scalar::<f32>();
        assert!((f64::from(got) - expected).abs() < 1e-6, "{got} {expected}");
    }
}

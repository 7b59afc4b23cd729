//! Cross entropy, equal to `torch.nn.CrossEntropyLoss` with mean reduction.
//!
//! Label smoothing: Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision", section 7,
//! <https://arxiv.org/abs/1512.00567>.

use crate::cpu::multiversion;
use crate::math::{LANES, exp, sum_lanes};
use crate::parallel::{each, rows_per_task};

/// The target of a row that takes no part.
pub const IGNORE: u32 = u32::MAX;

/// The mean loss and the denominator of the mean (the summed weight of the targets).
///
/// With `weights` each row counts with the weight of its target; with `smoothing` that share of the target is
/// spread over all labels. When every row is ignored the loss is NaN, as in PyTorch.
///
/// # Shapes
/// - `logits`: `[rows, labels]`; `target`, `log_sum_exp` (filled for the backward pass): `[rows]`
/// - `weights`: `[labels]`
pub fn cross_entropy_forward(
    logits: &[f32],
    labels: usize,
    target: &[u32],
    weights: Option<&[f32]>,
    smoothing: f32,
    log_sum_exp: &mut [f32],
) -> (f32, f32) {
    check(logits.len(), labels, target, weights);
    assert_eq!(log_sum_exp.len(), target.len(), "cross entropy: log_sum_exp and target");
    let block = rows_per_task(labels);
    let tasks: Vec<_> = logits.chunks(block * labels).zip(log_sum_exp.chunks_mut(block)).collect();
    each(tasks, logits.len(), |(logits, out)| log_sum_exp_rows(logits, labels, out));
    // Sums in f64, one row after the other: the order is fixed and the rounding is small.
    let (mut loss, mut denominator) = (0.0_f64, 0.0_f64);
    let total_weight = total_weight(labels, weights);
    for ((row, &target), &lse) in logits.chunks_exact(labels).zip(target).zip(&*log_sum_exp) {
        if target == IGNORE {
            continue;
        }
        let target = target as usize;
        let weight = f64::from(weights.map_or(1.0, |weights| weights[target]));
        denominator += weight;
        loss += (1.0 - f64::from(smoothing)) * weight * f64::from(lse - row[target]);
        if smoothing != 0.0 {
            let weighted: f64 = match weights {
                Some(weights) => row.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum(),
                None => row.iter().map(|x| f64::from(*x)).sum(),
            };
            loss += f64::from(smoothing) / labels as f64 * (total_weight * f64::from(lse) - weighted);
        }
    }
    ((loss / denominator) as f32, denominator as f32)
}

/// The gradient of [`cross_entropy_forward`] with respect to the logits, times `d_loss`.
///
/// # Shapes
/// - `logits`, `d_logits`: `[rows, labels]`; `target`, `log_sum_exp`: `[rows]`; `weights`: `[labels]`
#[allow(clippy::too_many_arguments)]
pub fn cross_entropy_backward(
    logits: &[f32],
    labels: usize,
    target: &[u32],
    weights: Option<&[f32]>,
    smoothing: f32,
    log_sum_exp: &[f32],
    denominator: f32,
    d_loss: f32,
    d_logits: &mut [f32],
) {
    check(logits.len(), labels, target, weights);
    assert_eq!(log_sum_exp.len(), target.len(), "cross entropy: log_sum_exp and target");
    assert_eq!(d_logits.len(), logits.len(), "cross entropy: d_logits and logits");
    let block = rows_per_task(labels);
    let inputs = logits.chunks(block * labels).zip(target.chunks(block)).zip(log_sum_exp.chunks(block));
    let tasks: Vec<_> = inputs.zip(d_logits.chunks_mut(block * labels)).collect();
    let unit = d_loss / denominator;
    let spread = smoothing / labels as f32;
    let smooth_weight = spread * total_weight(labels, weights) as f32;
    each(tasks, logits.len(), |(((logits, target), lse), d_logits)| {
        let rows = logits.chunks_exact(labels).zip(d_logits.chunks_exact_mut(labels));
        for ((logits, d_logits), (&target, &lse)) in rows.zip(target.iter().zip(lse)) {
            if target == IGNORE {
                d_logits.fill(0.0);
                continue;
            }
            let target = target as usize;
            let share = (1.0 - smoothing) * weights.map_or(1.0, |weights| weights[target]);
            probabilities(logits, lse, unit * (share + smooth_weight), d_logits);
            d_logits[target] -= unit * share;
            if smoothing != 0.0 {
                match weights {
                    Some(weights) => {
                        d_logits.iter_mut().zip(weights).for_each(|(d, w)| *d -= unit * spread * w)
                    }
                    None => d_logits.iter_mut().for_each(|d| *d -= unit * spread),
                }
            }
        }
    });
}

fn check(elements: usize, labels: usize, target: &[u32], weights: Option<&[f32]>) {
    assert!(
        labels > 0 && elements == target.len() * labels,
        "cross entropy: {elements} logits are not {} rows of {labels}",
        target.len()
    );
    assert!(
        weights.is_none_or(|w| w.len() == labels),
        "cross entropy: weights are not one for each of {labels} labels"
    );
    let worst = target.iter().filter(|&&t| t != IGNORE).max();
    assert!(
        worst.is_none_or(|&t| (t as usize) < labels),
        "cross entropy: target {worst:?} of {labels} labels"
    );
}

fn total_weight(labels: usize, weights: Option<&[f32]>) -> f64 {
    weights.map_or(labels as f64, |weights| weights.iter().map(|&w| f64::from(w)).sum())
}

multiversion! {
    fn log_sum_exp_rows(logits: &[f32], labels: usize, out: &mut [f32]) = log_sum_exp_body;
    fn probabilities(logits: &[f32], lse: f32, scale: f32, out: &mut [f32]) = probabilities_body;
}

#[inline(always)]
fn log_sum_exp_body<const FMA: bool>(logits: &[f32], labels: usize, out: &mut [f32]) {
    for (row, out) in logits.chunks_exact(labels).zip(out) {
        let (blocks, tail) = row.as_chunks::<LANES>();
        let mut highest = [f32::NEG_INFINITY; LANES];
        for block in blocks {
            for lane in 0..LANES {
                highest[lane] = if block[lane] > highest[lane] { block[lane] } else { highest[lane] };
            }
        }
        for (highest, &x) in highest.iter_mut().zip(tail) {
            *highest = if x > *highest { x } else { *highest };
        }
        let highest = highest.into_iter().fold(f32::NEG_INFINITY, f32::max);
        let mut sums = [0.0; LANES];
        for block in blocks {
            for lane in 0..LANES {
                sums[lane] += exp::<FMA>(block[lane] - highest);
            }
        }
        for (sum, x) in sums.iter_mut().zip(tail) {
            *sum += exp::<FMA>(x - highest);
        }
        *out = highest + sum_lanes(sums).ln();
    }
}

#[inline(always)]
fn probabilities_body<const FMA: bool>(logits: &[f32], lse: f32, scale: f32, out: &mut [f32]) {
    for (out, x) in out.iter_mut().zip(logits) {
        *out = scale * exp::<FMA>(x - lse);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;
    use crate::testing::{close, gradient, random, same_on_any_threads};

    fn reference(x: &[f64], labels: usize, target: &[u32], weights: Option<&[f32]>, smoothing: f64) -> f64 {
        let (mut loss, mut denominator) = (0.0, 0.0);
        let weight = |label: usize| weights.map_or(1.0, |w| f64::from(w[label]));
        for (row, &target) in x.chunks(labels).zip(target) {
            if target == IGNORE {
                continue;
            }
            let lse = row.iter().map(|x| x.exp()).sum::<f64>().ln();
            let target = target as usize;
            denominator += weight(target);
            for (label, logit) in row.iter().enumerate() {
                let wanted = if label == target { 1.0 - smoothing } else { 0.0 } + smoothing / labels as f64;
                loss += wanted * weight(label) * (lse - logit);
            }
        }
        loss / denominator
    }

    #[test]
    fn loss_and_gradient_equal_the_definition() {
        let mut seen = 0;
        for (rows, labels) in [(1, 2), (7, 3), (31, 17), (5, 100), (40, 33)] {
            for weighted in [false, true] {
                for smoothing in [0.0_f32, 0.1] {
                    let logits: Vec<f32> = random(1, rows * labels).iter().map(|x| 3.0 * x).collect();
                    let mut stream = Stream(2);
                    let mut target: Vec<u32> =
                        (0..rows).map(|_| stream.below(labels as u64) as u32).collect();
                    if rows > 5 {
                        target[3] = IGNORE;
                    }
                    let weights: Vec<f32> = random(3, labels).iter().map(|x| x.abs() + 0.1).collect();
                    let weights = weighted.then_some(&weights[..]);
                    let mut lse = vec![0.0; rows];
                    let (loss, denominator) =
                        cross_entropy_forward(&logits, labels, &target, weights, smoothing, &mut lse);
                    let value = |x: &[f64]| reference(x, labels, &target, weights, f64::from(smoothing));
                    let wide: Vec<f64> = logits.iter().map(|&v| f64::from(v)).collect();
                    close(&[loss], &[value(&wide)], 1e-6);
                    let mut d = vec![f32::NAN; logits.len()];
                    cross_entropy_backward(
                        &logits,
                        labels,
                        &target,
                        weights,
                        smoothing,
                        &lse,
                        denominator,
                        2.0,
                        &mut d,
                    );
                    close(&d, &gradient(&logits, |x| 2.0 * value(x)), 2e-6);
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 20);
    }

    #[test]
    fn large_logits_are_finite_and_nothing_to_learn_is_nan() {
        let mut lse = [0.0; 2];
        let (loss, _) = cross_entropy_forward(&[1000.0, 0.0, -1000.0, 0.0], 2, &[0, 1], None, 0.0, &mut lse);
        assert_eq!(loss, 0.0);
        let (loss, denominator) = cross_entropy_forward(&[1.0, 2.0], 2, &[IGNORE], None, 0.0, &mut lse[..1]);
        assert!(loss.is_nan() && denominator == 0.0);
        let (loss, _) = cross_entropy_forward(&[f32::NAN, 2.0], 2, &[1], None, 0.0, &mut lse[..1]);
        assert!(loss.is_nan());
    }

    #[test]
    fn threads_do_not_change_bits() {
        let logits = random(1, 64 * 1000);
        let target: Vec<u32> = (0..64).collect();
        same_on_any_threads(|| {
            let mut lse = vec![0.0; 64];
            let (loss, denominator) = cross_entropy_forward(&logits, 1000, &target, None, 0.0, &mut lse);
            let mut d = vec![0.0; logits.len()];
            cross_entropy_backward(&logits, 1000, &target, None, 0.0, &lse, denominator, 1.0, &mut d);
            d.push(loss);
            d
        });
    }
}

//! AdamW in one pass over memory, equal to `torch.optim.AdamW`.
//!
//! Paper: Loshchilov and Hutter 2019, "Decoupled weight decay regularization", <https://arxiv.org/abs/1711.05101>.
//! Differs from PyTorch in one point: a moment that decayed below the smallest normal float becomes zero, because
//! arithmetic on subnormals is a hundred times slower and a row of an embedding that is not seen again would
//! hold them forever.

use crate::cpu::multiversion;
use crate::math::{LANES, fma};
use crate::parallel::{each, rows_per_task};

/// Settings of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Number of this step, from 1 (bias correction).
    pub step: u64,
    /// What the gradient is multiplied with first (gradient clipping folded in); 1 for none.
    pub grad_scale: f32,
}

/// The numbers of [`AdamW`] as the inner loop wants them.
#[derive(Clone, Copy)]
struct Factors {
    grad_scale: f32,
    decay: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    step_size: f32,
    inverse_root_correction: f32,
    eps: f32,
}

impl From<&AdamW> for Factors {
    fn from(settings: &AdamW) -> Self {
        assert!(settings.step >= 1, "adamw: steps count from 1");
        let steps = settings.step.min(i32::MAX as u64) as i32;
        let correction1 = 1.0 - settings.beta1.powi(steps);
        let correction2 = 1.0 - settings.beta2.powi(steps);
        Self {
            grad_scale: settings.grad_scale,
            decay: (1.0 - settings.lr * settings.weight_decay) as f32,
            one_minus_beta1: (1.0 - settings.beta1) as f32,
            beta2: settings.beta2 as f32,
            one_minus_beta2: (1.0 - settings.beta2) as f32,
            step_size: (settings.lr / correction1) as f32,
            inverse_root_correction: (1.0 / correction2.sqrt()) as f32,
            eps: settings.eps as f32,
        }
    }
}

/// Elements per task.
const BLOCK: usize = 32 * 1024;

/// One step on a whole parameter: `param`, `m` and `v` are updated in place.
///
/// # Shapes
/// - all slices of equal length
pub fn dense(param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], settings: &AdamW) {
    let len = param.len();
    assert!(
        grad.len() == len && m.len() == len && v.len() == len,
        "adamw: param {len}, grad {}, m {}, v {}",
        grad.len(),
        m.len(),
        v.len()
    );
    let factors = Factors::from(settings);
    let state = m.chunks_mut(BLOCK).zip(v.chunks_mut(BLOCK));
    let tasks: Vec<_> = param.chunks_mut(BLOCK).zip(grad.chunks(BLOCK)).zip(state).collect();
    each(tasks, len, |((param, grad), (m, v))| update(param, grad, m, v, factors));
}

/// One step on a table of which only `rows` (sorted, each once) have a gradient; the gradient of all others is
/// zero, so their moments decay and weight decay acts: bit for bit what [`dense`] does with zeros.
///
/// # Shapes
/// - `param`, `m`, `v`: `[table rows, hidden]`; `grad`: `[rows.len(), hidden]`
pub fn rows(
    param: &mut [f32],
    hidden: usize,
    rows: &[u32],
    grad: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    settings: &AdamW,
) {
    let len = param.len();
    assert!(hidden > 0 && len.is_multiple_of(hidden), "adamw: param {len} is not rows of {hidden}");
    assert!(m.len() == len && v.len() == len, "adamw: param {len}, m {}, v {}", m.len(), v.len());
    assert_eq!(grad.len(), rows.len() * hidden, "adamw: grad is not {} x {hidden}", rows.len());
    assert!(rows.windows(2).all(|pair| pair[0] < pair[1]), "adamw: rows are not sorted and unique");
    let last = rows.last().copied();
    assert!(last.is_none_or(|row| (row as usize) < len / hidden), "adamw: row {last:?} of {}", len / hidden);
    let factors = Factors::from(settings);
    let block = rows_per_task(hidden);
    let state = m.chunks_mut(block * hidden).zip(v.chunks_mut(block * hidden));
    let tasks: Vec<_> = param.chunks_mut(block * hidden).zip(state).enumerate().collect();
    each(tasks, len, |(task, (param, (m, v)))| {
        let first = task * block;
        let mut next = rows.partition_point(|&row| (row as usize) < first);
        let table =
            param.chunks_exact_mut(hidden).zip(m.chunks_exact_mut(hidden).zip(v.chunks_exact_mut(hidden)));
        for (row, (param, (m, v))) in (first..).zip(table) {
            if rows.get(next).is_some_and(|&named| named as usize == row) {
                update(param, &grad[next * hidden..(next + 1) * hidden], m, v, factors);
                next += 1;
            } else {
                update_without_gradient(param, m, v, factors);
            }
        }
    });
}

/// The sum of squares, in f64 and in an order that depends on the length alone.
pub fn sum_squares(x: &[f32]) -> f64 {
    let mut partial = vec![0.0; x.len().div_ceil(BLOCK)];
    let tasks: Vec<_> = x.chunks(BLOCK).zip(&mut partial).collect();
    each(tasks, x.len(), |(x, out)| *out = squares(x));
    partial.iter().sum()
}

multiversion! {
    fn update(param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], factors: Factors) = update_body;
    fn update_without_gradient(param: &mut [f32], m: &mut [f32], v: &mut [f32], factors: Factors) = zero_body;
    fn squares(x: &[f32]) -> f64 = squares_body;
}

#[inline(always)]
fn update_body<const FMA: bool>(
    param: &mut [f32],
    grad: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    factors: Factors,
) {
    for (((param, grad), m), v) in param.iter_mut().zip(grad).zip(m).zip(v) {
        (*param, *m, *v) = element::<FMA>(*param, *grad, *m, *v, factors);
    }
}

#[inline(always)]
fn zero_body<const FMA: bool>(param: &mut [f32], m: &mut [f32], v: &mut [f32], factors: Factors) {
    // A row never seen has zero moments, which stay zero: only weight decay is left, the same bits with a third
    // of the memory traffic or less.
    let bits = m.iter().chain(&*v).fold(0, |bits, x| bits | x.to_bits());
    if bits == 0 && factors.eps > 0.0 {
        if factors.decay != 1.0 {
            param.iter_mut().for_each(|param| *param *= factors.decay);
        }
        return;
    }
    for ((param, m), v) in param.iter_mut().zip(m).zip(v) {
        (*param, *m, *v) = element::<FMA>(*param, 0.0, *m, *v, factors);
    }
}

#[inline(always)]
fn element<const FMA: bool>(param: f32, grad: f32, m: f32, v: f32, factors: Factors) -> (f32, f32, f32) {
    let grad = grad * factors.grad_scale;
    let m = normal_or_zero(fma::<FMA>(grad - m, factors.one_minus_beta1, m));
    let v = normal_or_zero(fma::<FMA>(factors.one_minus_beta2 * grad, grad, factors.beta2 * v));
    let root = fma::<FMA>(v.sqrt(), factors.inverse_root_correction, factors.eps);
    let param = param * factors.decay - factors.step_size * (m / root);
    (param, m, v)
}

/// Zero for subnormals; NaN stays.
#[inline(always)]
fn normal_or_zero(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0.0 } else { x }
}

#[inline(always)]
fn squares_body<const FMA: bool>(x: &[f32]) -> f64 {
    let (blocks, tail) = x.as_chunks::<LANES>();
    let mut lanes = [0.0_f64; LANES];
    for block in blocks {
        for lane in 0..LANES {
            let x = f64::from(block[lane]);
            lanes[lane] += x * x;
        }
    }
    for (lane, x) in lanes.iter_mut().zip(tail) {
        *lane += f64::from(*x) * f64::from(*x);
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, random, same_on_any_threads};

    fn settings(step: u64) -> AdamW {
        AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1, step, grad_scale: 0.5 }
    }

    #[test]
    fn ten_steps_equal_the_definition() {
        for len in [1, 17, 1000] {
            let mut param = random(1, len);
            let (mut m, mut v) = (vec![0.0; len], vec![0.0; len]);
            let mut wide: Vec<f64> = param.iter().map(|&x| f64::from(x)).collect();
            let (mut wide_m, mut wide_v) = (vec![0.0_f64; len], vec![0.0_f64; len]);
            for step in 1..=10 {
                let grad = random(step + 1, len);
                let s = settings(step);
                dense(&mut param, &grad, &mut m, &mut v, &s);
                for i in 0..len {
                    let g = f64::from(grad[i]) * 0.5;
                    wide[i] *= 1.0 - s.lr * s.weight_decay;
                    wide_m[i] = s.beta1 * wide_m[i] + (1.0 - s.beta1) * g;
                    wide_v[i] = s.beta2 * wide_v[i] + (1.0 - s.beta2) * g * g;
                    let m_hat = wide_m[i] / (1.0 - s.beta1.powi(step as i32));
                    let v_hat = wide_v[i] / (1.0 - s.beta2.powi(step as i32));
                    wide[i] -= s.lr * m_hat / (v_hat.sqrt() + s.eps);
                }
            }
            close(&param, &wide, 2e-6);
            close(&m, &wide_m, 1e-6);
            close(&v, &wide_v, 1e-6);
        }
    }

    #[test]
    fn absent_rows_are_rows_of_zeros_to_the_bit() {
        let (table, hidden) = (700, 33);
        let mut runs = 0;
        for weight_decay in [0.0, 0.1] {
            let mut sparse =
                (random(1, table * hidden), vec![0.0; table * hidden], vec![0.0; table * hidden]);
            let mut full = sparse.clone();
            for step in 1..=4 {
                let named: Vec<u32> =
                    (0..table as u32).filter(|row| (row * 7 + step as u32).is_multiple_of(5)).collect();
                let grad = random(step, named.len() * hidden);
                let mut all = vec![0.0; table * hidden];
                for (i, &row) in named.iter().enumerate() {
                    all[row as usize * hidden..][..hidden].copy_from_slice(&grad[i * hidden..][..hidden]);
                }
                let s = AdamW { weight_decay, ..settings(step) };
                rows(&mut sparse.0, hidden, &named, &grad, &mut sparse.1, &mut sparse.2, &s);
                dense(&mut full.0, &all, &mut full.1, &mut full.2, &s);
                let bits = |x: &[f32]| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert!(bits(&sparse.0) == bits(&full.0), "param at step {step}");
                assert!(
                    bits(&sparse.1) == bits(&full.1) && bits(&sparse.2) == bits(&full.2),
                    "state at {step}"
                );
                runs += 1;
            }
        }
        assert_eq!(runs, 8);
    }

    #[test]
    fn moments_decay_to_zero_not_to_subnormals() {
        let (mut param, mut m, mut v) = (vec![1.0], vec![0.0], vec![0.0]);
        dense(&mut param, &[1e-3], &mut m, &mut v, &settings(1));
        for step in 2..1200 {
            dense(&mut param, &[0.0], &mut m, &mut v, &settings(step));
        }
        assert_eq!(m[0], 0.0);
        assert!(v[0].is_normal());
    }

    #[test]
    fn squares_add_up_and_nan_is_seen() {
        let x = random(1, 100_003);
        let expected: f64 = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        assert!((sum_squares(&x) - expected).abs() < 1e-9 * expected);
        assert!(sum_squares(&[1.0, f32::NAN]).is_nan());
        let (mut param, mut m, mut v) = (vec![1.0], vec![0.0], vec![0.0]);
        dense(&mut param, &[f32::NAN], &mut m, &mut v, &settings(1));
        assert!(param[0].is_nan());
    }

    #[test]
    fn threads_do_not_change_bits() {
        let x = random(1, 200_000);
        same_on_any_threads(|| {
            let mut out = x.clone();
            let (mut m, mut v) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            dense(&mut out, &x, &mut m, &mut v, &settings(1));
            out.push(sum_squares(&x) as f32);
            out
        });
    }
}

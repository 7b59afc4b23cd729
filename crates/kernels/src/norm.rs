//! Layer normalisation with the dropout and residual sum that stand before it in a post-norm block.
//!
//! `y = LayerNorm(dropout(x) + residual) * gamma + beta`, one pass over memory.
//! Paper: Ba, Kiros and Hinton 2016, "Layer normalization", <https://arxiv.org/abs/1607.06450>.

use crate::cpu::multiversion;
use crate::math::{LANES, fma, sum_lanes};
use crate::parallel::{REDUCE_ROWS, each, pieces, rows_per_task, split, sum_rows};
use crate::rng::{Dropout, keep, row_key, threshold};
use crate::scratch::Scratch;

/// `y = LayerNorm(dropout(x) + residual)`.
///
/// `sum`, `mean` and `rstd` are kept for [`backward`]; pass empty slices when there will be none.
///
/// # Shapes
/// - `x`, `residual`, `y`, `sum`: `[rows, hidden]`
/// - `gamma`, `beta`: `[hidden]`; `mean`, `rstd`: `[rows]`
///
/// The dropout mask is indexed by row and hidden index.
#[allow(clippy::too_many_arguments)]
pub fn forward(
    x: &[f32],
    residual: Option<&[f32]>,
    gamma: &[f32],
    beta: &[f32],
    eps: f32,
    dropout: Option<Dropout>,
    y: &mut [f32],
    sum: &mut [f32],
    mean: &mut [f32],
    rstd: &mut [f32],
) {
    let hidden = gamma.len();
    assert!(hidden > 0 && beta.len() == hidden, "norm: gamma {hidden}, beta {}", beta.len());
    assert!(x.len().is_multiple_of(hidden), "norm: x {} is not rows of {hidden}", x.len());
    let rows = x.len() / hidden;
    let residual = residual.unwrap_or_default();
    assert!(
        residual.is_empty() || residual.len() == x.len(),
        "norm: residual {} x {}",
        residual.len(),
        x.len()
    );
    assert_eq!(y.len(), x.len(), "norm: y and x");
    assert!(sum.is_empty() || sum.len() == x.len(), "norm: sum {} x {}", sum.len(), x.len());
    assert!(mean.is_empty() || mean.len() == rows, "norm: mean {} rows {rows}", mean.len());
    assert!(rstd.is_empty() || rstd.len() == rows, "norm: rstd {} rows {rows}", rstd.len());
    let block = rows_per_task(hidden);
    let size = block * hidden;
    let n = rows.div_ceil(block);
    let mut tasks = Vec::with_capacity(n);
    let outputs = split(y, size, n).into_iter().zip(split(sum, size, n));
    let statistics = split(mean, block, n).into_iter().zip(split(rstd, block, n));
    let inputs = pieces(x, size, n).into_iter().zip(pieces(residual, size, n));
    for (task, ((input, output), (mean, rstd))) in inputs.zip(outputs).zip(statistics).enumerate() {
        tasks.push((task * block, input, output, mean, rstd));
    }
    each(tasks, x.len(), |(first, (x, residual), (y, sum), mean, rstd)| {
        forward_rows(first, x, residual, gamma, beta, eps, dropout, y, sum, mean, rstd);
    });
}

/// Gradients of [`forward`] with respect to the normalised sum, `gamma` and `beta`, all overwritten.
///
/// The gradient of the residual is `d_sum` itself, that of `x` is [`crate::dropout::forward`] of it.
///
/// # Shapes
/// - `dy`, `sum`, `d_sum`: `[rows, hidden]`; `mean`, `rstd`: `[rows]`
/// - `gamma`, `d_gamma`, `d_beta`: `[hidden]`
#[allow(clippy::too_many_arguments)]
pub fn backward(
    dy: &[f32],
    sum: &[f32],
    mean: &[f32],
    rstd: &[f32],
    gamma: &[f32],
    d_sum: &mut [f32],
    d_gamma: &mut [f32],
    d_beta: &mut [f32],
) {
    let hidden = gamma.len();
    let rows = mean.len();
    assert!(hidden > 0 && dy.len() == rows * hidden, "norm: dy {} is not {rows} x {hidden}", dy.len());
    assert_eq!(sum.len(), dy.len(), "norm: sum and dy");
    assert_eq!(rstd.len(), rows, "norm: rstd and mean");
    assert_eq!(d_sum.len(), dy.len(), "norm: d_sum and dy");
    assert!(d_gamma.len() == hidden && d_beta.len() == hidden, "norm: d_gamma, d_beta are not {hidden}");
    let size = REDUCE_ROWS * hidden;
    let n = rows.div_ceil(REDUCE_ROWS);
    let mut partial = Scratch::new(2 * n * hidden);
    let (partial_gamma, partial_beta) = partial.split_at_mut(n * hidden);
    let inputs =
        dy.chunks(size).zip(sum.chunks(size)).zip(mean.chunks(REDUCE_ROWS).zip(rstd.chunks(REDUCE_ROWS)));
    let partials = partial_gamma.chunks_mut(hidden).zip(partial_beta.chunks_mut(hidden));
    let tasks: Vec<_> = inputs.zip(d_sum.chunks_mut(size).zip(partials)).collect();
    each(tasks, dy.len(), |(((dy, sum), (mean, rstd)), (d_sum, (d_gamma, d_beta)))| {
        backward_rows(dy, sum, mean, rstd, gamma, d_sum, d_gamma, d_beta);
    });
    sum_rows(partial_gamma, d_gamma);
    sum_rows(partial_beta, d_beta);
}

multiversion! {
    fn forward_rows(
        first: usize, x: &[f32], residual: &[f32], gamma: &[f32], beta: &[f32], eps: f32,
        dropout: Option<Dropout>, y: &mut [f32], sum: &mut [f32], mean: &mut [f32], rstd: &mut [f32],
    ) = forward_body;
    fn backward_rows(
        dy: &[f32], sum: &[f32], mean: &[f32], rstd: &[f32], gamma: &[f32],
        d_sum: &mut [f32], d_gamma: &mut [f32], d_beta: &mut [f32],
    ) = backward_body;
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn forward_body<const FMA: bool>(
    first: usize,
    x: &[f32],
    residual: &[f32],
    gamma: &[f32],
    beta: &[f32],
    eps: f32,
    dropout: Option<Dropout>,
    y: &mut [f32],
    sum: &mut [f32],
    mean: &mut [f32],
    rstd: &mut [f32],
) {
    let hidden = gamma.len();
    for (row, (x, y)) in x.chunks_exact(hidden).zip(y.chunks_exact_mut(hidden)).enumerate() {
        // The sum is formed in `y`, which is in cache, and kept only if asked for.
        match dropout {
            Some(dropout) => {
                let key = row_key(dropout.seed, (first + row) as u64);
                let (limit, scale) = (threshold(dropout.p), dropout.scale());
                for (col, (y, x)) in y.iter_mut().zip(x).enumerate() {
                    *y = if keep(key, col as u32, limit) { x * scale } else { 0.0 };
                }
            }
            None => y.copy_from_slice(x),
        }
        if !residual.is_empty() {
            for (y, residual) in y.iter_mut().zip(&residual[row * hidden..(row + 1) * hidden]) {
                *y += residual;
            }
        }
        if !sum.is_empty() {
            sum[row * hidden..(row + 1) * hidden].copy_from_slice(y);
        }
        let center = total(y) / hidden as f32;
        let inverse = 1.0 / (squares_around::<FMA>(y, center) / hidden as f32 + eps).sqrt();
        for ((y, gamma), beta) in y.iter_mut().zip(gamma).zip(beta) {
            *y = fma::<FMA>((*y - center) * inverse, *gamma, *beta);
        }
        if !mean.is_empty() {
            mean[row] = center;
        }
        if !rstd.is_empty() {
            rstd[row] = inverse;
        }
    }
}

#[inline(always)]
fn total(row: &[f32]) -> f32 {
    let (blocks, tail) = row.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for block in blocks {
        for lane in 0..LANES {
            lanes[lane] += block[lane];
        }
    }
    for (lane, value) in lanes.iter_mut().zip(tail) {
        *lane += value;
    }
    sum_lanes(lanes)
}

#[inline(always)]
fn squares_around<const FMA: bool>(row: &[f32], center: f32) -> f32 {
    let (blocks, tail) = row.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for block in blocks {
        for lane in 0..LANES {
            let d = block[lane] - center;
            lanes[lane] = fma::<FMA>(d, d, lanes[lane]);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(tail) {
        let d = value - center;
        *lane = fma::<FMA>(d, d, *lane);
    }
    sum_lanes(lanes)
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn backward_body<const FMA: bool>(
    dy: &[f32],
    sum: &[f32],
    mean: &[f32],
    rstd: &[f32],
    gamma: &[f32],
    d_sum: &mut [f32],
    d_gamma: &mut [f32],
    d_beta: &mut [f32],
) {
    let hidden = gamma.len();
    d_gamma.fill(0.0);
    d_beta.fill(0.0);
    let rows = dy.chunks_exact(hidden).zip(sum.chunks_exact(hidden)).zip(d_sum.chunks_exact_mut(hidden));
    for (((dy, sum), d_sum), (&mean, &rstd)) in rows.zip(mean.iter().zip(rstd)) {
        // d_sum first holds dy * gamma; the two means of the gradient are taken on the way.
        let mut plain = [0.0; LANES];
        let mut scaled = [0.0; LANES];
        let whole = hidden / LANES * LANES;
        for start in (0..whole).step_by(LANES) {
            let range = start..start + LANES;
            let (dy, sum, gamma) = (&dy[range.clone()], &sum[range.clone()], &gamma[range.clone()]);
            let (d_gamma, d_beta) = (&mut d_gamma[range.clone()], &mut d_beta[range]);
            for lane in 0..LANES {
                let normal = (sum[lane] - mean) * rstd;
                let g = dy[lane] * gamma[lane];
                plain[lane] += g;
                scaled[lane] = fma::<FMA>(g, normal, scaled[lane]);
                d_gamma[lane] = fma::<FMA>(dy[lane], normal, d_gamma[lane]);
                d_beta[lane] += dy[lane];
            }
        }
        for col in whole..hidden {
            let normal = (sum[col] - mean) * rstd;
            let g = dy[col] * gamma[col];
            plain[col - whole] += g;
            scaled[col - whole] = fma::<FMA>(g, normal, scaled[col - whole]);
            d_gamma[col] = fma::<FMA>(dy[col], normal, d_gamma[col]);
            d_beta[col] += dy[col];
        }
        let plain = sum_lanes(plain) / hidden as f32;
        let scaled = sum_lanes(scaled) / hidden as f32;
        for (((d_sum, dy), sum), gamma) in d_sum.iter_mut().zip(dy).zip(sum).zip(gamma) {
            let normal = (sum - mean) * rstd;
            // Not fused: `plain` is a mean of rounded products and must cancel against them.
            *d_sum = rstd * ((dy * gamma - plain) - normal * scaled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, gradient, random};

    fn reference(x: &[f64], residual: &[f32], gamma: &[f64], beta: &[f64], eps: f64) -> Vec<f64> {
        let hidden = gamma.len();
        let mut y = Vec::new();
        for (row, x) in x.chunks(hidden).enumerate() {
            let s: Vec<f64> = (0..hidden).map(|j| x[j] + f64::from(residual[row * hidden + j])).collect();
            let mean = s.iter().sum::<f64>() / hidden as f64;
            let variance = s.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / hidden as f64;
            y.extend((0..hidden).map(|j| (s[j] - mean) / (variance + eps).sqrt() * gamma[j] + beta[j]));
        }
        y
    }

    fn wide(x: &[f32]) -> Vec<f64> {
        x.iter().map(|&v| f64::from(v)).collect()
    }

    #[test]
    fn forward_and_gradients_equal_the_definition() {
        let mut seen = 0;
        for (rows, hidden) in [(1, 1), (3, 17), (70, 33), (5, 384), (100, 100)] {
            let (x, residual, dy) =
                (random(1, rows * hidden), random(2, rows * hidden), random(3, rows * hidden));
            let (gamma, beta) = (random(4, hidden), random(5, hidden));
            let mut y = vec![0.0; rows * hidden];
            let (mut sum, mut mean, mut rstd) = (y.clone(), vec![0.0; rows], vec![0.0; rows]);
            forward(&x, Some(&residual), &gamma, &beta, 1e-5, None, &mut y, &mut sum, &mut mean, &mut rstd);
            let value = |x: &[f64], gamma: &[f64], beta: &[f64]| reference(x, &residual, gamma, beta, 1e-5);
            close(&y, &value(&wide(&x), &wide(&gamma), &wide(&beta)), 1e-6);
            let (mut d_sum, mut d_gamma, mut d_beta) = (y.clone(), gamma.clone(), beta.clone());
            backward(&dy, &sum, &mean, &rstd, &gamma, &mut d_sum, &mut d_gamma, &mut d_beta);
            let dot = |y: Vec<f64>| y.iter().zip(&dy).map(|(y, d)| y * f64::from(*d)).sum::<f64>();
            if rows * hidden < 4000 {
                let (g, b) = (wide(&gamma), wide(&beta));
                close(&d_sum, &gradient(&x, |x| dot(value(x, &g, &b))), 2e-5);
                close(&d_gamma, &gradient(&gamma, |g| dot(value(&wide(&x), g, &b))), 2e-6);
                close(&d_beta, &gradient(&beta, |b| dot(value(&wide(&x), &g, b))), 2e-6);
            }
            seen += 1;
        }
        assert_eq!(seen, 5);
    }

    #[test]
    fn dropout_happens_before_the_sum() {
        let (rows, hidden) = (50, 96);
        let (x, residual) = (random(1, rows * hidden), random(2, rows * hidden));
        let dropout = Dropout { p: 0.3, seed: 9 };
        let (gamma, beta) = (vec![1.0; hidden], vec![0.0; hidden]);
        let run = |x: &[f32], dropout| {
            let (mut y, mut sum) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            forward(x, Some(&residual), &gamma, &beta, 1e-5, dropout, &mut y, &mut sum, &mut [], &mut []);
            (y, sum)
        };
        let mut dropped = vec![0.0; x.len()];
        crate::dropout::forward(&x, hidden, dropout, &mut dropped);
        assert_eq!(run(&x, Some(dropout)), run(&dropped, None));
        let (y, _) = run(&x, Some(dropout));
        let mut evaluated = vec![0.0; x.len()];
        let nothing = (&mut [][..], &mut [][..], &mut [][..]);
        forward(
            &x,
            Some(&residual),
            &gamma,
            &beta,
            1e-5,
            Some(dropout),
            &mut evaluated,
            nothing.0,
            nothing.1,
            nothing.2,
        );
        assert_eq!(evaluated, y, "not keeping the sum changes nothing");
    }

    #[test]
    fn a_row_does_not_depend_on_its_place() {
        let hidden = 100;
        let x = random(1, 300 * hidden);
        let (gamma, beta) = (random(4, hidden), random(5, hidden));
        let run = |x: &[f32]| {
            let mut y = vec![0.0; x.len()];
            forward(x, None, &gamma, &beta, 1e-12, None, &mut y, &mut [], &mut [], &mut []);
            y
        };
        let all = run(&x);
        for row in [0, 1, 163, 299] {
            let range = row * hidden..(row + 1) * hidden;
            assert_eq!(run(&x[range.clone()]), &all[range]);
        }
    }

    #[test]
    fn nan_stays_visible() {
        let mut y = [0.0; 4];
        forward(
            &[1.0, f32::NAN, 2.0, 3.0],
            None,
            &[1.0; 4],
            &[0.0; 4],
            1e-5,
            None,
            &mut y,
            &mut [],
            &mut [],
            &mut [],
        );
        assert!(y.iter().all(|v| v.is_nan()));
    }
}

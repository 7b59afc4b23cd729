//! Normalisation by the root of the mean square.
//!
//! `y = x / sqrt(mean(x^2) + eps) * gain`. Paper: Zhang and Sennrich 2019, "Root mean square layer normalization",
//! <https://arxiv.org/abs/1910.07467>.

use crate::cpu::multiversion;
use crate::math::{LANES, fma, sum_lanes};
use crate::parallel::{REDUCE_ROWS, each, rows_per_task, split, sum_rows};
use crate::scratch::Scratch;

/// `y = x * rsqrt(mean(x^2) + eps) * gain`, all of it written. `rstd` is kept for [`backward`]; empty when there will be
/// none.
///
/// # Shapes
/// - `x`, `y`: `[rows, hidden]`; `gain`: `[hidden]`; `rstd`: `[rows]`
pub fn forward(x: &[f32], gain: &[f32], eps: f32, y: &mut [f32], rstd: &mut [f32]) {
    let hidden = gain.len();
    assert!(hidden > 0 && x.len().is_multiple_of(hidden), "rms_norm: x {} is not rows of {hidden}", x.len());
    assert_eq!(y.len(), x.len(), "rms_norm: y and x");
    let rows = x.len() / hidden;
    assert!(rstd.is_empty() || rstd.len() == rows, "rms_norm: rstd {} rows {rows}", rstd.len());
    let block = rows_per_task(hidden);
    let n = rows.div_ceil(block);
    let tasks = x.chunks(block * hidden).zip(y.chunks_mut(block * hidden)).zip(split(rstd, block, n));
    each(tasks.collect(), x.len(), |((x, y), rstd)| forward_rows(x, gain, eps, y, rstd));
}

/// The gradients of [`forward`]: `d_x` and `d_gain`, both overwritten.
///
/// # Shapes
/// - `dy`, `x`, `d_x`: `[rows, hidden]`; `rstd`: `[rows]`; `gain`, `d_gain`: `[hidden]`
pub fn backward(dy: &[f32], x: &[f32], rstd: &[f32], gain: &[f32], d_x: &mut [f32], d_gain: &mut [f32]) {
    let (hidden, rows) = (gain.len(), rstd.len());
    assert!(hidden > 0 && x.len() == rows * hidden, "rms_norm: x {} is not {rows} x {hidden}", x.len());
    assert!(dy.len() == x.len() && d_x.len() == x.len(), "rms_norm: dy, d_x and x");
    assert_eq!(d_gain.len(), hidden, "rms_norm: d_gain and gain");
    let size = REDUCE_ROWS * hidden;
    let mut partial = Scratch::new(rows.div_ceil(REDUCE_ROWS) * hidden);
    let inputs = dy.chunks(size).zip(x.chunks(size)).zip(rstd.chunks(REDUCE_ROWS));
    let tasks = inputs.zip(d_x.chunks_mut(size).zip(partial.chunks_mut(hidden)));
    each(tasks.collect(), x.len(), |(((dy, x), rstd), (d_x, d_gain))| {
        backward_rows(dy, x, rstd, gain, d_x, d_gain);
    });
    sum_rows(&partial, d_gain);
}

multiversion! {
    fn forward_rows(x: &[f32], gain: &[f32], eps: f32, y: &mut [f32], rstd: &mut [f32]) = forward_body;
    fn backward_rows(
        dy: &[f32], x: &[f32], rstd: &[f32], gain: &[f32], d_x: &mut [f32], d_gain: &mut [f32],
    ) = backward_body;
}

#[inline(always)]
fn forward_body<const FMA: bool>(x: &[f32], gain: &[f32], eps: f32, y: &mut [f32], rstd: &mut [f32]) {
    let hidden = gain.len();
    for (row, (x, y)) in x.chunks_exact(hidden).zip(y.chunks_exact_mut(hidden)).enumerate() {
        let (blocks, tail) = x.as_chunks::<LANES>();
        let mut squares = [0.0; LANES];
        for block in blocks {
            for lane in 0..LANES {
                squares[lane] = fma::<FMA>(block[lane], block[lane], squares[lane]);
            }
        }
        for (square, x) in squares.iter_mut().zip(tail) {
            *square = fma::<FMA>(*x, *x, *square);
        }
        let inverse = 1.0 / (sum_lanes(squares) / hidden as f32 + eps).sqrt();
        for ((y, x), gain) in y.iter_mut().zip(x).zip(gain) {
            *y = x * inverse * gain;
        }
        if !rstd.is_empty() {
            rstd[row] = inverse;
        }
    }
}

#[inline(always)]
fn backward_body<const FMA: bool>(
    dy: &[f32],
    x: &[f32],
    rstd: &[f32],
    gain: &[f32],
    d_x: &mut [f32],
    d_gain: &mut [f32],
) {
    let hidden = gain.len();
    d_gain.fill(0.0);
    let rows = dy.chunks_exact(hidden).zip(x.chunks_exact(hidden)).zip(d_x.chunks_exact_mut(hidden));
    for (((dy, x), d_x), &rstd) in rows.zip(rstd) {
        let mut along = [0.0; LANES];
        let whole = hidden / LANES * LANES;
        for start in (0..whole).step_by(LANES) {
            let range = start..start + LANES;
            let (dy, x, gain) = (&dy[range.clone()], &x[range.clone()], &gain[range.clone()]);
            let d_gain = &mut d_gain[range];
            for lane in 0..LANES {
                let normal = x[lane] * rstd;
                along[lane] = fma::<FMA>(dy[lane] * gain[lane], normal, along[lane]);
                d_gain[lane] = fma::<FMA>(dy[lane], normal, d_gain[lane]);
            }
        }
        for col in whole..hidden {
            let normal = x[col] * rstd;
            along[col - whole] = fma::<FMA>(dy[col] * gain[col], normal, along[col - whole]);
            d_gain[col] = fma::<FMA>(dy[col], normal, d_gain[col]);
        }
        let along = sum_lanes(along) / hidden as f32;
        for (((d_x, dy), x), gain) in d_x.iter_mut().zip(dy).zip(x).zip(gain) {
            *d_x = rstd * (dy * gain - x * rstd * along);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, gradient, random, same_on_any_threads};

    fn reference(x: &[f64], gain: &[f64], eps: f64) -> Vec<f64> {
        let row = |x: &[f64]| -> Vec<f64> {
            let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
            x.iter().zip(gain).map(|(x, gain)| x / (mean + eps).sqrt() * gain).collect()
        };
        x.chunks(gain.len()).flat_map(row).collect()
    }

    fn wide(x: &[f32]) -> Vec<f64> {
        x.iter().map(|&v| f64::from(v)).collect()
    }

    #[test]
    fn forward_and_gradients_equal_the_definition() {
        let mut seen = 0;
        for (rows, hidden) in [(1, 1), (3, 17), (70, 33), (5, 100)] {
            let (x, gain, dy) = (random(1, rows * hidden), random(2, hidden), random(3, rows * hidden));
            let (mut y, mut rstd) = (vec![f32::NAN; x.len()], vec![f32::NAN; rows]);
            forward(&x, &gain, 1e-5, &mut y, &mut rstd);
            close(&y, &reference(&wide(&x), &wide(&gain), 1e-5), 1e-6);
            let mut evaluated = y.clone();
            forward(&x, &gain, 1e-5, &mut evaluated, &mut []);
            assert_eq!(evaluated, y);
            let (mut d_x, mut d_gain) = (vec![f32::NAN; x.len()], vec![f32::NAN; hidden]);
            backward(&dy, &x, &rstd, &gain, &mut d_x, &mut d_gain);
            let dot = |y: Vec<f64>| y.iter().zip(&dy).map(|(y, d)| y * f64::from(*d)).sum::<f64>();
            // One more number, because a row of one has a gradient of nearly 0.
            let one = |mut values: Vec<f64>| {
                values.push(1.0);
                values
            };
            let expected = one(gradient(&x, |x| dot(reference(x, &wide(&gain), 1e-5))));
            close(&[&d_x[..], &[1.0]].concat(), &expected, 5e-6);
            let expected = gradient(&gain, |gain| dot(reference(&wide(&x), gain, 1e-5)));
            close(&d_gain, &expected, 2e-6);
            seen += 1;
        }
        assert_eq!(seen, 4);
    }

    #[test]
    fn neither_threads_nor_neighbours_change_bits() {
        let (rows, hidden) = (300, 100);
        let (x, gain, dy) = (random(1, rows * hidden), random(2, hidden), random(3, rows * hidden));
        let run = |x: &[f32], dy: &[f32]| {
            let (mut y, mut rstd) = (vec![0.0; x.len()], vec![0.0; x.len() / hidden]);
            forward(x, &gain, 1e-6, &mut y, &mut rstd);
            let (mut d_x, mut d_gain) = (y.clone(), gain.clone());
            backward(dy, x, &rstd, &gain, &mut d_x, &mut d_gain);
            [y, d_x, d_gain]
        };
        same_on_any_threads(|| run(&x, &dy).concat());
        let all = run(&x, &dy);
        for row in [0, 33, 163, 299] {
            let range = row * hidden..(row + 1) * hidden;
            let alone = run(&x[range.clone()], &dy[range.clone()]);
            assert_eq!(alone[0], all[0][range.clone()]);
            assert_eq!(alone[1], all[1][range]);
        }
    }

    #[test]
    fn a_nan_stays_in_its_row() {
        let mut y = [0.0; 4];
        forward(&[1.0, f32::NAN, 2.0, 3.0], &[1.0; 2], 1e-6, &mut y, &mut []);
        assert!(y[0].is_nan() && y[1].is_nan() && y[2].is_finite() && y[3].is_finite());
    }
}

//! The gate of a highway layer: part of the input passes as it is, the rest through a layer.
//!
//! Paper: Srivastava, Greff and Schmidhuber 2015, "Highway networks", §2, <https://arxiv.org/abs/1505.00387>. The gate is
//! for what passes, as in AllenNLP and ELMo; the paper's is for what is transformed.

use crate::cpu::multiversion;
use crate::math::{fma, sigmoid};
use crate::parallel::{each, rows_per_task};

/// `y = g x + (1 - g) relu(a)` with `g = sigmoid(b)`, where a row of `projected` is `a` and then `b`.
///
/// # Shapes
/// - `x`, `y`: `[rows, cols]`; `projected`: `[rows, 2 cols]`
pub fn forward(x: &[f32], projected: &[f32], cols: usize, y: &mut [f32]) {
    check(x, projected, cols);
    assert_eq!(y.len(), x.len(), "highway: y and x");
    let size = rows_per_task(cols) * cols;
    let inputs = x.chunks(size).zip(projected.chunks(2 * size));
    let tasks: Vec<_> = inputs.zip(y.chunks_mut(size)).collect();
    each(tasks, x.len(), |((x, projected), y)| forward_rows(x, projected, cols, y));
}

/// Gradients of [`forward`], all overwritten.
///
/// # Shapes
/// - `x`, `dy`, `dx`: `[rows, cols]`; `projected`, `d_projected`: `[rows, 2 cols]`
pub fn backward(
    x: &[f32],
    projected: &[f32],
    cols: usize,
    dy: &[f32],
    dx: &mut [f32],
    d_projected: &mut [f32],
) {
    check(x, projected, cols);
    assert!(dy.len() == x.len() && dx.len() == x.len(), "highway: dy, dx and x");
    assert_eq!(d_projected.len(), projected.len(), "highway: d_projected and projected");
    let size = rows_per_task(cols) * cols;
    let inputs = x.chunks(size).zip(projected.chunks(2 * size)).zip(dy.chunks(size));
    let tasks: Vec<_> = inputs.zip(dx.chunks_mut(size).zip(d_projected.chunks_mut(2 * size))).collect();
    each(tasks, x.len(), |(((x, projected), dy), (dx, d_projected))| {
        backward_rows(x, projected, cols, dy, dx, d_projected);
    });
}

fn check(x: &[f32], projected: &[f32], cols: usize) {
    assert!(cols > 0 && x.len().is_multiple_of(cols), "highway: x {} is not rows of {cols}", x.len());
    assert_eq!(projected.len(), 2 * x.len(), "highway: projected is not twice x");
}

multiversion! {
    fn forward_rows(x: &[f32], projected: &[f32], cols: usize, y: &mut [f32]) = forward_body;
    fn backward_rows(
        x: &[f32], projected: &[f32], cols: usize, dy: &[f32], dx: &mut [f32], d_projected: &mut [f32],
    ) = backward_body;
}

/// `max(x, 0)`; NaN stays.
#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

#[inline(always)]
fn forward_body<const FMA: bool>(x: &[f32], projected: &[f32], cols: usize, y: &mut [f32]) {
    let rows = x.chunks_exact(cols).zip(projected.chunks_exact(2 * cols)).zip(y.chunks_exact_mut(cols));
    for ((x, projected), y) in rows {
        let (through, gate) = projected.split_at(cols);
        for (((x, a), b), y) in x.iter().zip(through).zip(gate).zip(y) {
            let (g, a) = (sigmoid::<FMA>(*b), relu(*a));
            *y = fma::<FMA>(g, x - a, a);
        }
    }
}

#[inline(always)]
fn backward_body<const FMA: bool>(
    x: &[f32],
    projected: &[f32],
    cols: usize,
    dy: &[f32],
    dx: &mut [f32],
    d_projected: &mut [f32],
) {
    let inputs = x.chunks_exact(cols).zip(projected.chunks_exact(2 * cols)).zip(dy.chunks_exact(cols));
    let outputs = dx.chunks_exact_mut(cols).zip(d_projected.chunks_exact_mut(2 * cols));
    for (((x, projected), dy), (dx, d_projected)) in inputs.zip(outputs) {
        let (through, gate) = projected.split_at(cols);
        let (d_through, d_gate) = d_projected.split_at_mut(cols);
        let inputs = x.iter().zip(through).zip(gate).zip(dy);
        let outputs = dx.iter_mut().zip(d_through).zip(d_gate);
        for ((((x, a), b), dy), ((dx, da), db)) in inputs.zip(outputs) {
            let g = sigmoid::<FMA>(*b);
            *dx = dy * g;
            *da = if *a > 0.0 { dy * (1.0 - g) } else { 0.0 };
            *db = dy * (x - relu(*a)) * g * (1.0 - g);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, gradient, random, same_on_any_threads};

    fn reference(x: &[f64], projected: &[f64], cols: usize) -> Vec<f64> {
        let value = |(at, x): (usize, &f64)| {
            let (row, col) = (at / cols, at % cols);
            let [a, b] = [0, cols].map(|part| projected[row * 2 * cols + part + col]);
            let g = 1.0 / (1.0 + (-b).exp());
            g * x + (1.0 - g) * a.max(0.0)
        };
        x.iter().enumerate().map(value).collect()
    }

    #[test]
    fn forward_and_gradients_equal_the_definition() {
        let mut seen = 0;
        for (rows, cols) in [(1, 1), (5, 17), (40, 33)] {
            let (x, projected, dy) =
                (random(1, rows * cols), random(2, 2 * rows * cols), random(3, rows * cols));
            let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
            let mut y = vec![f32::NAN; x.len()];
            forward(&x, &projected, cols, &mut y);
            close(&y, &reference(&wide(&x), &wide(&projected), cols), 1e-6);
            let (mut dx, mut d_projected) = (vec![f32::NAN; x.len()], vec![f32::NAN; projected.len()]);
            backward(&x, &projected, cols, &dy, &mut dx, &mut d_projected);
            let dot = |y: Vec<f64>| y.iter().zip(&dy).map(|(y, d)| y * f64::from(*d)).sum::<f64>();
            close(&dx, &gradient(&x, |x| dot(reference(x, &wide(&projected), cols))), 1e-6);
            close(&d_projected, &gradient(&projected, |p| dot(reference(&wide(&x), p, cols))), 1e-6);
            seen += 1;
        }
        assert_eq!(seen, 3);
    }

    #[test]
    fn threads_do_not_change_bits_and_a_nan_stays() {
        let (x, mut projected) = (random(1, 900 * 64), random(2, 900 * 128));
        let run = |projected: &[f32]| {
            let mut y = vec![0.0; x.len()];
            forward(&x, projected, 64, &mut y);
            y
        };
        same_on_any_threads(|| run(&projected));
        projected[7 * 128] = f32::NAN;
        let y = run(&projected);
        let at: Vec<usize> = (0..y.len()).filter(|&at| y[at].is_nan()).collect();
        assert_eq!(at, [7 * 64]);
    }
}

//! Dropout whose mask is computed, not stored. Paper: Srivastava et al. 2014, "Dropout: a simple way to prevent
//! neural networks from overfitting", <https://jmlr.org/papers/v15/srivastava14a.html>.

use crate::cpu::multiversion;
use crate::parallel::{each, rows_per_task};
use crate::rng::{Dropout, keep, row_key, threshold};

/// `y = x * mask / (1 - p)`; the backward pass is the same function on `dy`.
///
/// # Shapes
/// - `x`, `y`: `[rows, cols]`; the mask is indexed by row and column.
pub fn forward(x: &[f32], cols: usize, dropout: Dropout, y: &mut [f32]) {
    assert!(cols > 0 && x.len().is_multiple_of(cols), "dropout: x {} is not rows of {cols}", x.len());
    assert_eq!(y.len(), x.len(), "dropout: y and x");
    let block = rows_per_task(cols);
    let tasks: Vec<_> = x.chunks(block * cols).zip(y.chunks_mut(block * cols)).enumerate().collect();
    each(tasks, x.len(), |(task, (x, y))| rows(task * block, x, cols, dropout, y));
}

multiversion! {
    fn rows(first: usize, x: &[f32], cols: usize, dropout: Dropout, y: &mut [f32]) = body;
}

#[inline(always)]
fn body<const FMA: bool>(first: usize, x: &[f32], cols: usize, dropout: Dropout, y: &mut [f32]) {
    let (limit, scale) = (threshold(dropout.p), dropout.scale());
    for (row, (x, y)) in x.chunks_exact(cols).zip(y.chunks_exact_mut(cols)).enumerate() {
        let key = row_key(dropout.seed, (first + row) as u64);
        for (col, (y, x)) in y.iter_mut().zip(x).enumerate() {
            *y = if keep(key, col as u32, limit) { x * scale } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{random, same_on_any_threads};

    #[test]
    fn the_mask_is_the_one_of_rng_on_every_path() {
        let (rows, cols) = (700, 37);
        let x = random(1, rows * cols);
        let dropout = Dropout { p: 0.25, seed: 5 };
        let mut y = vec![0.0; x.len()];
        forward(&x, cols, dropout, &mut y);
        let mut kept = 0;
        for (i, (x, y)) in x.iter().zip(&y).enumerate() {
            let expected = keep(row_key(5, (i / cols) as u64), (i % cols) as u32, threshold(0.25));
            assert_eq!(*y, if expected { x * dropout.scale() } else { 0.0 });
            kept += usize::from(expected);
        }
        let rate = kept as f64 / x.len() as f64;
        assert!((rate - 0.75).abs() < 0.012, "kept {rate}");
    }

    #[test]
    fn threads_do_not_change_the_mask() {
        let x = vec![1.0; 64 * 1024];
        same_on_any_threads(|| {
            let mut y = vec![0.0; x.len()];
            forward(&x, 64, Dropout { p: 0.1, seed: 3 }, &mut y);
            y
        });
    }
}

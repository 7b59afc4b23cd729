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

/// What rows of one group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mask {
    /// The columns that are dropped: variational dropout, where the group is the sequence of a token. Paper: Gal and
    /// Ghahramani 2016, "A theoretically grounded application of dropout in recurrent neural networks", §4,
    /// <https://arxiv.org/abs/1512.05287>.
    Columns,
    /// Whether they are dropped as a whole: embedding dropout, where the group is the word of a token. Paper: as above,
    /// §5; Merity, Keskar and Socher 2018, "Regularizing and optimizing LSTM language models", §4.3,
    /// <https://arxiv.org/abs/1708.02182>.
    Whole,
}

/// [`forward`] with one mask for all rows of a group; the backward pass is the same function on `dy`.
///
/// # Shapes
/// - `x`, `y`: `[rows, cols]`; `groups`: `[rows]`; the mask is indexed by group and, for [`Mask::Columns`], by column.
pub fn grouped(x: &[f32], cols: usize, groups: &[u32], mask: Mask, dropout: Dropout, y: &mut [f32]) {
    assert!(
        cols > 0 && x.len() == groups.len() * cols,
        "dropout: x {} is not {} x {cols}",
        x.len(),
        groups.len()
    );
    assert_eq!(y.len(), x.len(), "dropout: y and x");
    let block = rows_per_task(cols);
    let size = block * cols;
    let tasks: Vec<_> = groups.chunks(block).zip(x.chunks(size).zip(y.chunks_mut(size))).collect();
    each(tasks, x.len(), |(groups, (x, y))| grouped_rows(x, cols, groups, mask, dropout, y));
}

multiversion! {
    fn rows(first: usize, x: &[f32], cols: usize, dropout: Dropout, y: &mut [f32]) = body;
    fn grouped_rows(
        x: &[f32], cols: usize, groups: &[u32], mask: Mask, dropout: Dropout, y: &mut [f32],
    ) = grouped_body;
}

#[inline(always)]
fn grouped_body<const FMA: bool>(
    x: &[f32],
    cols: usize,
    groups: &[u32],
    mask: Mask,
    dropout: Dropout,
    y: &mut [f32],
) {
    let (limit, scale) = (threshold(dropout.p), dropout.scale());
    for ((x, y), &group) in x.chunks_exact(cols).zip(y.chunks_exact_mut(cols)).zip(groups) {
        let key = row_key(dropout.seed, u64::from(group));
        match mask {
            Mask::Columns => {
                for (col, (y, x)) in y.iter_mut().zip(x).enumerate() {
                    *y = if keep(key, col as u32, limit) { x * scale } else { 0.0 };
                }
            }
            Mask::Whole if keep(key, 0, limit) => y.iter_mut().zip(x).for_each(|(y, x)| *y = x * scale),
            Mask::Whole => y.fill(0.0),
        }
    }
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

    #[test]
    fn rows_of_a_group_are_masked_alike() {
        let (rows, cols) = (900, 40);
        let groups: Vec<u32> = (0..rows as u32).map(|row| row / 3).collect();
        let x = random(1, rows * cols);
        let dropout = Dropout { p: 0.4, seed: 6 };
        let mut alone = vec![0.0; 300 * cols];
        forward(&vec![1.0; 300 * cols], cols, dropout, &mut alone);
        let mut y = vec![f32::NAN; x.len()];
        grouped(&x, cols, &groups, Mask::Columns, dropout, &mut y);
        for (at, (x, y)) in x.iter().zip(&y).enumerate() {
            assert_eq!(*y, x * alone[groups[at / cols] as usize * cols + at % cols]);
        }
        grouped(&x, cols, &groups, Mask::Whole, dropout, &mut y);
        let mut kept = 0;
        for ((x, y), &group) in x.chunks(cols).zip(y.chunks(cols)).zip(&groups) {
            let scale = alone[group as usize * cols];
            assert!(x.iter().zip(y).all(|(x, y)| *y == x * scale), "group {group}");
            kept += usize::from(scale > 0.0);
        }
        // 300 coins: four standard deviations.
        let rate = kept as f64 / rows as f64;
        assert!((rate - 0.6).abs() < 0.114, "kept {rate}");
        same_on_any_threads(|| {
            let mut y = vec![0.0; x.len()];
            grouped(&x, cols, &groups, Mask::Columns, dropout, &mut y);
            y
        });
    }
}

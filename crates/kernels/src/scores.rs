//! One row of attention scores: scale, bias, mask, softmax, dropout, and the gradient through all of them.
//!
//! Sums run over lanes that are counted from the first key of the sequence, and a key that is not seen adds exact
//! zeros. So a row has the same bits however many other queries and unseen keys are handled with it: a query over a
//! cache of keys gives what it gave in the whole sequence.

use crate::cpu::multiversion;
use crate::math::{LANES, exp, fma, sum_lanes};
use crate::rng::{Dropout, keep, row_key, threshold};

/// What makes probabilities of a row of raw scores. Columns are keys from a multiple of [`LANES`] on.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    /// What scores are multiplied with, above 0.
    pub(crate) scale: f32,
    /// Added to the scaled scores; empty for none.
    pub(crate) bias: &'a [f32],
    /// Not 0 where a key is seen; empty for everywhere.
    pub(crate) pairs: &'a [u8],
    /// So many of the first columns are not seen.
    pub(crate) masked: usize,
    /// The key of the first column, for dropout.
    pub(crate) first: usize,
    /// Dropout, and the number of this row in its mask.
    pub(crate) dropout: Option<(Dropout, u64)>,
}

impl Row<'_> {
    fn sees_nothing(&self, cols: usize) -> bool {
        self.masked >= cols
            || (!self.pairs.is_empty() && self.pairs[self.masked..].iter().all(|&pair| pair == 0))
    }
}

/// Replaces scores by `e^(scale * score + bias - max)`, 0 where nothing is seen or dropout says so. Returns the
/// log-sum-exp of the scaled scores and what a weighted sum with the row is to be multiplied with.
///
/// A row that sees nothing becomes zeros, with an infinite log-sum-exp.
pub(crate) fn softmax(scores: &mut [f32], row: Row<'_>) -> (f32, f32) {
    softmax_row(scores, row)
}

/// From raw scores `p` and the gradient `d` of the dropped probabilities: the dropped probabilities and the gradient of
/// the raw scores, in place. The gradient of the scaled ones is added to `d_bias`, if that is not empty. `inner` is the
/// product of the row's output with the output's gradient.
pub(crate) fn gradient(p: &mut [f32], d: &mut [f32], row: Row<'_>, lse: f32, inner: f32, d_bias: &mut [f32]) {
    gradient_row(p, d, row, lse, inner, d_bias);
}

/// `a . b`.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    dot_row(a, b)
}

multiversion! {
    fn softmax_row(scores: &mut [f32], row: Row<'_>) -> (f32, f32) = softmax_body;
    fn gradient_row(
        p: &mut [f32], d: &mut [f32], row: Row<'_>, lse: f32, inner: f32, d_bias: &mut [f32],
    ) = gradient_body;
    fn dot_row(a: &[f32], b: &[f32]) -> f32 = dot_body;
}

#[inline(always)]
fn softmax_body<const FMA: bool>(scores: &mut [f32], row: Row<'_>) -> (f32, f32) {
    if row.sees_nothing(scores.len()) {
        scores.fill(0.0);
        return (f32::INFINITY, 0.0);
    }
    if row.bias.is_empty() {
        for x in &mut *scores {
            *x *= row.scale;
        }
    } else {
        for (x, bias) in scores.iter_mut().zip(row.bias) {
            *x = fma::<FMA>(*x, row.scale, *bias);
        }
    }
    hide(scores, row, f32::NEG_INFINITY);
    let (blocks, tail) = scores.as_chunks_mut::<LANES>();
    let mut highest = [f32::NEG_INFINITY; LANES];
    for block in &*blocks {
        for lane in 0..LANES {
            highest[lane] = if block[lane] > highest[lane] { block[lane] } else { highest[lane] };
        }
    }
    for (highest, x) in highest.iter_mut().zip(&*tail) {
        *highest = if *x > *highest { *x } else { *highest };
    }
    let highest = highest.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0.0; LANES];
    for block in &mut *blocks {
        for lane in 0..LANES {
            block[lane] = exp::<FMA>(block[lane] - highest);
            sums[lane] += block[lane];
        }
    }
    for (sum, x) in sums.iter_mut().zip(tail) {
        *x = exp::<FMA>(*x - highest);
        *sum += *x;
    }
    let sum = sum_lanes(sums);
    let mut inverse = 1.0 / sum;
    if let Some((dropout, number)) = row.dropout {
        let (key, limit) = (row_key(dropout.seed, number), threshold(dropout.p));
        inverse *= dropout.scale();
        for (col, x) in scores.iter_mut().enumerate() {
            *x = if keep(key, (row.first + col) as u32, limit) { *x } else { 0.0 };
        }
    }
    (highest + sum.ln(), inverse)
}

#[inline(always)]
fn hide(x: &mut [f32], row: Row<'_>, with: f32) {
    x[..row.masked].fill(with);
    if !row.pairs.is_empty() {
        for (x, &pair) in x.iter_mut().zip(row.pairs) {
            *x = if pair == 0 { with } else { *x };
        }
    }
}

#[inline(always)]
fn gradient_body<const FMA: bool>(
    p: &mut [f32],
    d: &mut [f32],
    row: Row<'_>,
    lse: f32,
    inner: f32,
    d_bias: &mut [f32],
) {
    if lse == f32::INFINITY {
        // Nothing is seen.
        p.fill(0.0);
        d.fill(0.0);
        return;
    }
    if row.bias.is_empty() {
        for p in &mut *p {
            *p = exp::<FMA>(fma::<FMA>(*p, row.scale, -lse));
        }
    } else {
        for (p, bias) in p.iter_mut().zip(row.bias) {
            *p = exp::<FMA>(fma::<FMA>(*p, row.scale, *bias) - lse);
        }
    }
    hide(p, row, 0.0);
    match row.dropout {
        None => {
            for (p, d) in p.iter().zip(&mut *d) {
                *d = *p * (*d - inner);
            }
        }
        Some((dropout, number)) => {
            let (key, limit) = (row_key(dropout.seed, number), threshold(dropout.p));
            let up = dropout.scale();
            for (col, (p, d)) in p.iter_mut().zip(&mut *d).enumerate() {
                let mask = if keep(key, (row.first + col) as u32, limit) { up } else { 0.0 };
                *d = *p * fma::<FMA>(*d, mask, -inner);
                *p *= mask;
            }
        }
    }
    for (d_bias, d) in d_bias.iter_mut().zip(&*d) {
        *d_bias += d;
    }
    for d in d {
        *d *= row.scale;
    }
}

#[inline(always)]
fn dot_body<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] = fma::<FMA>(a[lane], b[lane], lanes[lane]);
        }
    }
    for ((lane, a), b) in lanes.iter_mut().zip(a_tail).zip(b_tail) {
        *lane = fma::<FMA>(*a, *b, *lane);
    }
    sum_lanes(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    const PLAIN: Row<'static> = Row { scale: 0.5, bias: &[], pairs: &[], masked: 0, first: 0, dropout: None };

    #[test]
    fn what_is_not_seen_changes_no_bit() {
        let x = random(1, 50);
        let mut alone = x[..37].to_vec();
        let expected = softmax(&mut alone, PLAIN);
        let pairs: Vec<u8> = (0..50).map(|at| u8::from(at < 37)).collect();
        let mut longer = x.clone();
        assert_eq!(softmax(&mut longer, Row { pairs: &pairs, ..PLAIN }), expected);
        assert_eq!(longer[..37], alone);
        assert_eq!(longer[37..], [0.0; 13]);
        // The columns before it, a whole number of lanes of them.
        let mut moved = [random(2, 32), x[..37].to_vec()].concat();
        assert_eq!(softmax(&mut moved, Row { masked: 32, ..PLAIN }), expected);
        assert_eq!(moved[32..], alone);
    }

    #[test]
    fn a_row_that_sees_nothing_is_zero_both_ways() {
        for row in [
            Row { masked: 5, ..PLAIN },
            Row { pairs: &[0; 5], ..PLAIN },
            Row { masked: 1, pairs: &[1, 0, 0, 0, 0], ..PLAIN },
        ] {
            let mut x = random(1, 5);
            let (lse, inverse) = softmax(&mut x, row);
            assert_eq!((x, lse, inverse), (vec![0.0; 5], f32::INFINITY, 0.0));
            let (mut p, mut d, mut d_bias) = (random(1, 5), random(2, 5), [1.0; 5]);
            gradient(&mut p, &mut d, row, lse, 0.0, &mut d_bias);
            assert_eq!((p, d, d_bias), (vec![0.0; 5], vec![0.0; 5], [1.0; 5]));
        }
        let (lse, _) = softmax(&mut [f32::NAN; 3], PLAIN);
        assert!(lse.is_nan(), "a NaN is not nothing");
    }
}

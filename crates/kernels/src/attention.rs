//! Attention inside packed sequences, forward and backward, without a kept matrix of scores.
//!
//! One task is one head of one sequence (in the forward pass one block of its queries): scores, softmax and the
//! weighted sum stay in the thread's scratch. The backward pass computes the probabilities again from the kept
//! log-sum-exp. Papers: Vaswani et al. 2017, "Attention is all you need", <https://arxiv.org/abs/1706.03762>;
//! recomputation as in Dao et al. 2022, "FlashAttention", <https://arxiv.org/abs/2205.14135>.
#![allow(unsafe_code, reason = "heads are interleaved columns of one output")]

use crate::cpu::multiversion;
use crate::gemm::{Mat, MatMut, direct};
use crate::math::{LANES, exp, fma, sum_lanes};
use crate::parallel::each;
use crate::rng::{Dropout, keep, row_key, threshold};
use crate::scores::dot;
use crate::scratch::Scratch;
use crate::shared::Shared;

/// Queries handled at once: bounds the scratch to this many rows of scores.
const QUERIES: usize = 128;

/// `out = softmax(scale * q k^T) v` for every head of every sequence, bidirectional.
///
/// With `dropout`, probabilities are dropped after the softmax; the mask is indexed by
/// `head * tokens + query token` and the key's position in its sequence.
///
/// # Shapes
/// - `qkv`: `[tokens, 3 * hidden]`, q, k and v side by side, each `heads` heads wide
/// - `offsets`: `[batch + 1]`, from 0 to `tokens`
/// - `out`: `[tokens, hidden]`; `lse`: `[heads, tokens]`, the log-sum-exp of each query's scaled scores
#[allow(clippy::too_many_arguments)]
pub fn forward(
    qkv: &[f32],
    offsets: &[u32],
    heads: usize,
    scale: f32,
    dropout: Option<Dropout>,
    out: &mut [f32],
    lse: &mut [f32],
) {
    let shape = Shape::new(qkv, offsets, heads, out.len(), lse.len());
    let mut tasks = Vec::new();
    for sequence in offsets.windows(2) {
        let (first, last) = (sequence[0] as usize, sequence[1] as usize);
        for head in 0..heads {
            for start in (first..last).step_by(QUERIES) {
                tasks.push((first, last, head, start..(start + QUERIES).min(last)));
            }
        }
    }
    let elements = work(&shape, offsets);
    let (out, lse) = (Shared::new(out), Shared::new(lse));
    each(tasks, elements, |(first, last, head, queries)| {
        let (seq, dim) = (last - first, shape.head_dim);
        let width = direct::padded(seq);
        let mut scratch = Scratch::new(queries.len() * (width + dim + 1) + width * dim);
        let (scores, rest) = scratch.split_at_mut(queries.len() * width);
        let (turned, rest) = rest.split_at_mut(width * dim);
        let (mixed, inverse) = rest.split_at_mut(queries.len() * dim);
        let q = shape.part(qkv, 0, head, queries.start, queries.len());
        let k = shape.part(qkv, 1, head, first, seq);
        let v = shape.part(qkv, 2, head, first, seq);
        direct::nt(q, k, MatMut::strided(scores, queries.len(), seq, width), turned);
        // SAFETY: each task has its own head and queries, so its piece of `lse` is its own.
        let lse =
            unsafe { lse.piece(head * shape.tokens + queries.start..head * shape.tokens + queries.end) };
        let key = head * shape.tokens + queries.start;
        softmax_rows(scores, [seq, width], scale, dropout, key, lse, inverse);
        let scores = Mat::strided(scores, queries.len(), seq, width);
        direct::nn(scores, v, MatMut::new(mixed, queries.len(), dim));
        for ((token, row), inverse) in queries.zip(mixed.chunks_exact(dim)).zip(inverse) {
            let start = token * shape.hidden + head * dim;
            // SAFETY: the columns of this head in the rows of these queries belong to this task alone.
            let out = unsafe { out.piece(start..start + dim) };
            for (out, x) in out.iter_mut().zip(row) {
                *out = x * *inverse;
            }
        }
    });
}

/// The gradient of [`forward`] with respect to `qkv`; all of `d_qkv` is written.
///
/// # Shapes
/// - as in [`forward`]; `d_out` like `out`, `d_qkv` like `qkv`
#[allow(clippy::too_many_arguments)]
pub fn backward(
    qkv: &[f32],
    offsets: &[u32],
    heads: usize,
    scale: f32,
    dropout: Option<Dropout>,
    out: &[f32],
    lse: &[f32],
    d_out: &[f32],
    d_qkv: &mut [f32],
) {
    let shape = Shape::new(qkv, offsets, heads, out.len(), lse.len());
    assert_eq!(d_out.len(), out.len(), "attention: d_out and out");
    assert_eq!(d_qkv.len(), qkv.len(), "attention: d_qkv and qkv");
    let mut tasks = Vec::new();
    for sequence in offsets.windows(2).filter(|sequence| sequence[0] < sequence[1]) {
        for head in 0..heads {
            tasks.push((sequence[0] as usize, sequence[1] as usize, head));
        }
    }
    let elements = work(&shape, offsets);
    let d_qkv = Shared::new(d_qkv);
    each(tasks, elements, |(first, last, head)| {
        let (seq, dim) = (last - first, shape.head_dim);
        let block = QUERIES.min(seq);
        let width = direct::padded(seq);
        let mut scratch = Scratch::new(2 * block * width + width * dim + 3 * seq * dim + block);
        let (probabilities, rest) = scratch.split_at_mut(block * width);
        let (d_scores, rest) = rest.split_at_mut(block * width);
        let (turned, rest) = rest.split_at_mut(width * dim);
        let (dq, rest) = rest.split_at_mut(seq * dim);
        let (dk, rest) = rest.split_at_mut(seq * dim);
        let (dv, inner) = rest.split_at_mut(seq * dim);
        let k = shape.part(qkv, 1, head, first, seq);
        let v = shape.part(qkv, 2, head, first, seq);
        for start in (0..seq).step_by(QUERIES) {
            let count = QUERIES.min(seq - start);
            let token = first + start;
            let (probabilities, d_scores) =
                (&mut probabilities[..count * width], &mut d_scores[..count * width]);
            let q = shape.part(qkv, 0, head, token, count);
            let at = token * shape.hidden + head * dim;
            let d_out = Mat::strided(&d_out[at..], count, dim, shape.hidden);
            let out = Mat::strided(&out[at..], count, dim, shape.hidden);
            direct::nt(q, k, MatMut::strided(probabilities, count, seq, width), turned);
            direct::nt(d_out, v, MatMut::strided(d_scores, count, seq, width), turned);
            for (row, inner) in inner[..count].iter_mut().enumerate() {
                *inner = dot(out.row(row), d_out.row(row));
            }
            let key = head * shape.tokens + token;
            let lse = &lse[key..key + count];
            let sizes = [seq, width];
            score_gradient_rows(probabilities, d_scores, sizes, scale, dropout, key, lse, &inner[..count]);
            // From here `probabilities` are the dropped ones, `d_scores` carry the scale.
            let probabilities = Mat::strided(probabilities, count, seq, width);
            let d_scores = Mat::strided(d_scores, count, seq, width);
            let dq = &mut dq[start * dim..(start + count) * dim];
            direct::nn(d_scores, k, MatMut::new(dq, count, dim));
            direct::tn(probabilities, d_out, MatMut::new(dv, seq, dim), start > 0);
            direct::tn(d_scores, q, MatMut::new(dk, seq, dim), start > 0);
        }
        for (part, source) in [dq, dk, dv].into_iter().enumerate() {
            for (token, row) in (first..last).zip(source.chunks_exact(dim)) {
                let start = token * 3 * shape.hidden + part * shape.hidden + head * dim;
                // SAFETY: the columns of this head in the rows of this sequence belong to this task alone.
                unsafe { d_qkv.piece(start..start + dim) }.copy_from_slice(row);
            }
        }
    });
}

/// Asserts that `offsets` runs from 0 to `tokens` without going back.
pub(crate) fn check_offsets(offsets: &[u32], tokens: usize) {
    assert!(offsets.first() == Some(&0), "offsets do not start with 0");
    assert!(offsets.is_sorted(), "offsets go back");
    assert!(
        offsets.last().is_some_and(|&last| last as usize == tokens),
        "offsets end at {:?}, not at {tokens} tokens",
        offsets.last()
    );
}

struct Shape {
    tokens: usize,
    hidden: usize,
    head_dim: usize,
}

impl Shape {
    fn new(qkv: &[f32], offsets: &[u32], heads: usize, out: usize, lse: usize) -> Self {
        assert_eq!(qkv.len(), 3 * out, "attention: qkv is not three times out");
        let tokens = offsets.last().map_or(0, |&last| last as usize);
        check_offsets(offsets, tokens);
        assert!(heads > 0 && lse == heads * tokens, "attention: lse {lse} is not {heads} x {tokens}");
        let hidden = out.checked_div(tokens).unwrap_or_default();
        assert_eq!(hidden * tokens, out, "attention: out is not rows of {tokens} tokens");
        assert!(hidden.is_multiple_of(heads), "attention: {hidden} is not {heads} heads");
        Self { tokens, hidden, head_dim: hidden / heads }
    }

    /// `rows` tokens of q (0), k (1) or v (2) of one head.
    fn part<'a>(&self, qkv: &'a [f32], part: usize, head: usize, token: usize, rows: usize) -> Mat<'a> {
        let start = token * 3 * self.hidden + part * self.hidden + head * self.head_dim;
        Mat::strided(&qkv[start..], rows, self.head_dim, 3 * self.hidden)
    }
}

/// Multiplications of the whole call, to decide whether threads are worth waking.
fn work(shape: &Shape, offsets: &[u32]) -> usize {
    let pairs: usize = offsets.windows(2).map(|s| ((s[1] - s[0]) as usize).pow(2)).sum();
    pairs * shape.hidden / 4
}

multiversion! {
    fn softmax_rows(
        scores: &mut [f32], sizes: [usize; 2], scale: f32, dropout: Option<Dropout>, first_key: usize,
        lse: &mut [f32], inverse: &mut [f32],
    ) = softmax_body;
    fn score_gradient_rows(
        probabilities: &mut [f32], d_scores: &mut [f32], sizes: [usize; 2], scale: f32, dropout: Option<Dropout>,
        first_key: usize, lse: &[f32], inner: &[f32],
    ) = score_gradient_body;
}

/// Rows are `width` apart, of which `seq` numbers count. Replaces each row of scores by `e^(scale * score - max)`,
/// dropped where dropout says so; `inverse` receives what the weighted sum of values is to be multiplied with.
#[inline(always)]
fn softmax_body<const FMA: bool>(
    scores: &mut [f32],
    [seq, width]: [usize; 2],
    scale: f32,
    dropout: Option<Dropout>,
    first_key: usize,
    lse: &mut [f32],
    inverse: &mut [f32],
) {
    for (row, ((scores, lse), inverse)) in scores.chunks_exact_mut(width).zip(lse).zip(inverse).enumerate() {
        let scores = &mut scores[..seq];
        let (blocks, tail) = scores.as_chunks_mut::<LANES>();
        let mut highest = [f32::NEG_INFINITY; LANES];
        for block in &mut *blocks {
            for lane in 0..LANES {
                block[lane] *= scale;
                highest[lane] = if block[lane] > highest[lane] { block[lane] } else { highest[lane] };
            }
        }
        for (highest, x) in highest.iter_mut().zip(&mut *tail) {
            *x *= scale;
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
        *lse = highest + sum.ln();
        *inverse = 1.0 / sum;
        if let Some(dropout) = dropout {
            let (key, limit) = (row_key(dropout.seed, (first_key + row) as u64), threshold(dropout.p));
            *inverse *= dropout.scale();
            for (col, x) in scores.iter_mut().enumerate() {
                *x = if keep(key, col as u32, limit) { *x } else { 0.0 };
            }
        }
    }
}

/// Rows as in [`softmax_body`]. From scores and the gradient of the dropped probabilities: the dropped probabilities and
/// the gradient of the unscaled scores, in place.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn score_gradient_body<const FMA: bool>(
    probabilities: &mut [f32],
    d_scores: &mut [f32],
    [seq, width]: [usize; 2],
    scale: f32,
    dropout: Option<Dropout>,
    first_key: usize,
    lse: &[f32],
    inner: &[f32],
) {
    let rows = probabilities.chunks_exact_mut(width).zip(d_scores.chunks_exact_mut(width));
    for (row, ((p, d), (&lse, &inner))) in rows.zip(lse.iter().zip(inner)).enumerate() {
        let (p, d) = (&mut p[..seq], &mut d[..seq]);
        match dropout {
            None => {
                for (p, d) in p.iter_mut().zip(d) {
                    *p = exp::<FMA>(fma::<FMA>(*p, scale, -lse));
                    *d = *p * (*d - inner) * scale;
                }
            }
            Some(dropout) => {
                let (key, limit) = (row_key(dropout.seed, (first_key + row) as u64), threshold(dropout.p));
                let up = dropout.scale();
                for (col, (p, d)) in p.iter_mut().zip(d).enumerate() {
                    let mask = if keep(key, col as u32, limit) { up } else { 0.0 };
                    let probability = exp::<FMA>(fma::<FMA>(*p, scale, -lse));
                    *d = probability * fma::<FMA>(*d, mask, -inner) * scale;
                    *p = probability * mask;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, gradient, random, same_on_any_threads};

    fn reference(
        qkv: &[f64],
        offsets: &[u32],
        heads: usize,
        hidden: usize,
        scale: f64,
        dropout: Option<Dropout>,
    ) -> Vec<f64> {
        let tokens = qkv.len() / (3 * hidden);
        let dim = hidden / heads;
        let mut out = vec![0.0; tokens * hidden];
        let at = |token: usize, part: usize, head: usize, i: usize| {
            qkv[token * 3 * hidden + part * hidden + head * dim + i]
        };
        for s in offsets.windows(2) {
            let (first, last) = (s[0] as usize, s[1] as usize);
            for head in 0..heads {
                for query in first..last {
                    let weights: Vec<f64> = (first..last)
                        .map(|key| (0..dim).map(|i| at(query, 0, head, i) * at(key, 1, head, i)).sum::<f64>())
                        .map(|score| (score * scale).exp())
                        .collect();
                    let total: f64 = weights.iter().sum();
                    for (key, weight) in (first..last).zip(&weights) {
                        let mask = dropout.map_or(1.0, |d| {
                            let row = row_key(d.seed, (head * tokens + query) as u64);
                            let kept = keep(row, (key - first) as u32, threshold(d.p));
                            if kept { 1.0 / (1.0 - f64::from(d.p)) } else { 0.0 }
                        });
                        for i in 0..dim {
                            out[query * hidden + head * dim + i] +=
                                mask * weight / total * at(key, 2, head, i);
                        }
                    }
                }
            }
        }
        out
    }

    fn run(
        qkv: &[f32],
        offsets: &[u32],
        heads: usize,
        hidden: usize,
        drop: Option<Dropout>,
    ) -> (Vec<f32>, Vec<f32>) {
        let tokens = qkv.len() / (3 * hidden);
        let (mut out, mut lse) = (vec![f32::NAN; tokens * hidden], vec![f32::NAN; heads * tokens]);
        forward(qkv, offsets, heads, 0.3, drop, &mut out, &mut lse);
        (out, lse)
    }

    #[test]
    fn forward_and_gradient_equal_the_definition() {
        let mut seen = 0;
        let cases: [(&[u32], usize, usize); 4] =
            [(&[0, 1], 1, 1), (&[0, 3, 3, 20], 2, 10), (&[0, 17, 18], 3, 24), (&[0, 33], 1, 16)];
        for (offsets, heads, hidden) in cases {
            for dropout in [None, Some(Dropout { p: 0.3, seed: 11 })] {
                let tokens = *offsets.last().unwrap() as usize;
                let (qkv, d_out) = (random(1, tokens * 3 * hidden), random(2, tokens * hidden));
                let scale = f64::from(0.3_f32);
                let value = |x: &[f64]| reference(x, offsets, heads, hidden, scale, dropout);
                let wide: Vec<f64> = qkv.iter().map(|&v| f64::from(v)).collect();
                let (out, lse) = run(&qkv, offsets, heads, hidden, dropout);
                close(&out, &value(&wide), 1e-6);
                let mut d_qkv = vec![f32::NAN; qkv.len()];
                backward(&qkv, offsets, heads, 0.3, dropout, &out, &lse, &d_out, &mut d_qkv);
                let loss =
                    |x: &[f64]| value(x).iter().zip(&d_out).map(|(y, d)| y * f64::from(*d)).sum::<f64>();
                close(&d_qkv, &gradient(&qkv, loss), 3e-6);
                seen += 1;
            }
        }
        assert_eq!(seen, 8);
    }

    #[test]
    fn long_sequences_go_through_blocks_of_queries() {
        let (tokens, heads, hidden) = (300, 2, 8);
        let qkv = random(1, tokens * 3 * hidden);
        let offsets = [0, tokens as u32];
        let dropout = Some(Dropout { p: 0.1, seed: 2 });
        let (out, lse) = run(&qkv, &offsets, heads, hidden, dropout);
        let wide: Vec<f64> = qkv.iter().map(|&v| f64::from(v)).collect();
        // Scores of about 10 carry a rounding of 6e-7 into the exponent.
        close(&out, &reference(&wide, &offsets, heads, hidden, f64::from(0.3_f32), dropout), 3e-6);
        // Directional derivative along a random direction instead of 7200 differences.
        let (d_out, direction) = (random(2, out.len()), random(3, qkv.len()));
        let mut d_qkv = vec![0.0; qkv.len()];
        backward(&qkv, &offsets, heads, 0.3, dropout, &out, &lse, &d_out, &mut d_qkv);
        let loss = |t: f64| {
            let moved: Vec<f64> = wide.iter().zip(&direction).map(|(x, d)| x + t * f64::from(*d)).collect();
            let out = reference(&moved, &offsets, heads, hidden, f64::from(0.3_f32), dropout);
            out.iter().zip(&d_out).map(|(y, d)| y * f64::from(*d)).sum::<f64>()
        };
        let expected = (loss(1e-6) - loss(-1e-6)) / 2e-6;
        let actual: f64 = d_qkv.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
        assert!((actual - expected).abs() < 1e-4 * expected.abs().max(1.0), "{actual} instead of {expected}");
    }

    #[test]
    fn a_sequence_does_not_depend_on_its_neighbours() {
        let (heads, hidden) = (4, 32);
        let offsets = [0, 5, 45, 180];
        let qkv = random(1, 180 * 3 * hidden);
        let (all, all_lse) = run(&qkv, &offsets, heads, hidden, None);
        let mut d_all = vec![0.0; qkv.len()];
        backward(&qkv, &offsets, heads, 0.3, None, &all, &all_lse, &all, &mut d_all);
        for s in offsets.windows(2) {
            let (first, last) = (s[0] as usize, s[1] as usize);
            let own = &qkv[first * 3 * hidden..last * 3 * hidden];
            let alone_offsets = [0, s[1] - s[0]];
            let (alone, lse) = run(own, &alone_offsets, heads, hidden, None);
            assert_eq!(alone, all[first * hidden..last * hidden]);
            let mut d_own = vec![0.0; own.len()];
            backward(own, &alone_offsets, heads, 0.3, None, &alone, &lse, &alone, &mut d_own);
            assert_eq!(d_own, d_all[first * 3 * hidden..last * 3 * hidden]);
        }
    }

    #[test]
    fn threads_do_not_change_bits() {
        let (offsets, heads, hidden) = ([0, 100, 130, 300], 4, 64);
        let qkv = random(1, 300 * 3 * hidden);
        let dropout = Some(Dropout { p: 0.1, seed: 1 });
        same_on_any_threads(|| {
            let (mut out, lse) = run(&qkv, &offsets, heads, hidden, dropout);
            let mut d_qkv = vec![0.0; qkv.len()];
            backward(&qkv, &offsets, heads, 0.3, dropout, &out, &lse, &out, &mut d_qkv);
            out.extend(lse);
            out.extend(d_qkv);
            out
        });
    }

    #[test]
    fn nothing_to_attend_to_is_fine_and_nan_is_seen() {
        run(&[], &[0, 0], 2, 4, None);
        let mut qkv = random(1, 4 * 12);
        qkv[1] = f32::NAN;
        let (out, _) = run(&qkv, &[0, 4], 1, 4, None);
        assert!(out[..4].iter().all(|v| v.is_nan()));
        assert!(out[4..].iter().all(|v| v.is_finite()));
    }
}

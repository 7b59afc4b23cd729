//! Attention of queries to keys of their own sequence: cross-attention, caches of keys, masks, shared heads of keys and
//! a bias by distance; forward and backward, without a kept matrix of scores.
//!
//! One task is a block of queries of one head, or, where a sequence has a single query, the heads that share its keys.
//! Keys that no query of a block sees are not multiplied. The backward pass computes the probabilities again from the
//! kept log-sum-exp. A query's output has the same bits whichever queries stand beside it.
//!
//! Papers: Vaswani et al. 2017, "Attention is all you need", <https://arxiv.org/abs/1706.03762>; recomputation as in Dao
//! et al. 2022, "FlashAttention", <https://arxiv.org/abs/2205.14135>; shared keys: Ainslie et al. 2023, "GQA",
//! <https://arxiv.org/abs/2305.13245>; the bias: Raffel et al. 2020, "T5", <https://arxiv.org/abs/1910.10683>, and Press
//! et al. 2022, "ALiBi", <https://arxiv.org/abs/2108.12409>.
#![allow(unsafe_code, reason = "heads are interleaved columns of one output")]

use std::ops::Range;

use crate::attend_layout::{AttendLayout, Sequence, entry};
use crate::gemm::{Mat, MatMut, direct};
use crate::parallel::{each, sum_rows};
use crate::rng::Dropout;
use crate::scores::{Row, dot, gradient, softmax};
use crate::scratch::Scratch;
use crate::shared::Shared;

/// Keys whose columns are turned at once: with the usual width of a head they stay in the second-level cache.
const KEYS: usize = 512;

/// Queries handled at once, so that a block's scores over `keys` keys stay in the second-level cache too.
pub(crate) fn block(keys: usize) -> usize {
    (256 * 1024 / keys.max(1)).clamp(16, 128)
}

/// `out = softmax(scale * q k^T + bias) v` for every head of every sequence, over the keys that the mask of `layout` lets
/// a query see. A query that sees none gets zeros, and an infinite `lse`.
///
/// `bias` is added to the scaled score of a query and a key in the column of their distance,
/// `clamp(key - query + layout.zero)`, where the last query stands at the last key. With `dropout`, probabilities are
/// dropped after the softmax; the mask is indexed by `head * q_tokens + query token` and the key's position in its
/// sequence.
///
/// # Shapes
/// - `q`: `[q_tokens, heads * head_dim]`; `k`: `[k_tokens, kv_heads * head_dim]`
/// - `v`: `[k_tokens, kv_heads * v_dim]`; `out`: `[q_tokens, heads * v_dim]`
/// - `bias`: `[heads, span]`
/// - `lse`: `[heads, q_tokens]`, the log-sum-exp of each query's scores
///
/// # Panics
/// If the shapes do not fit together.
#[allow(clippy::too_many_arguments)]
pub fn forward(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    layout: &AttendLayout,
    bias: Option<&[f32]>,
    dropout: Option<Dropout>,
    out: &mut [f32],
    lse: &mut [f32],
) {
    let shape = Shape::new(q, k, v, layout, bias, out.len(), lse.len());
    let (heads, group) = (layout.heads, layout.group());
    let sequences = layout.sequences();
    let mut blocks = Vec::new();
    for sequence in &sequences {
        match sequence.queries.len() {
            // The heads that share keys read them together.
            1 => blocks.extend((0..heads).step_by(group).map(|head| Block {
                sequence,
                head,
                heads: group,
                queries: 0..1,
            })),
            count => {
                for head in 0..heads {
                    for start in (0..count).step_by(block(sequence.keys.len())) {
                        let queries = start..(start + block(sequence.keys.len())).min(count);
                        blocks.push(Block { sequence, head, heads: 1, queries });
                    }
                }
            }
        }
    }
    let elements = shape.work(&sequences);
    let (out, lse) = (Shared::new(out), Shared::new(lse));
    each(blocks, elements, |block| {
        let (dim, v_dim, rows) = (shape.dim, shape.v_dim, block.rows());
        let keys = layout.keys(block.sequence, block.queries.clone());
        let width = direct::padded(keys.len());
        let (turned, spread) =
            (direct::padded(keys.len().min(KEYS)) * dim, shape.spread(keys.len() + block.queries.len()));
        let mut scratch = Scratch::new(rows * (width + v_dim + 1) + turned + spread);
        let (scores, rest) = scratch.split_at_mut(rows * width);
        let (mixed, rest) = rest.split_at_mut(rows * v_dim);
        let (inverse, rest) = rest.split_at_mut(rows);
        let (turned, spread) = rest.split_at_mut(turned);
        shape.products(shape.q(q, &block), shape.k(k, &block, &keys), scores, width, turned);
        for (row, inverse) in inverse.iter_mut().enumerate() {
            let (head, query) = block.row(row);
            let number = head * shape.q_tokens + block.sequence.queries.start + query;
            let visible = layout.visible(block.sequence, query);
            let biases = shape.bias_row(bias, &block, &keys, row, spread);
            let scores = &mut scores[row * width..][..keys.len()];
            let (scores, hidden) = scores.split_at_mut(visible.end.max(keys.start) - keys.start);
            hidden.fill(0.0);
            let numbers = Row {
                scale: layout.scale,
                bias: &biases[..biases.len().min(scores.len())],
                pairs: seen(layout, block.sequence, query, &keys, scores.len()),
                masked: (visible.start - keys.start).min(scores.len()),
                first: keys.start,
                dropout: dropout.map(|dropout| (dropout, number as u64)),
            };
            let (sum, factor) = softmax(scores, numbers);
            *inverse = factor;
            // SAFETY: each task has its own heads and queries, so these pieces of `lse` are its own.
            unsafe { lse.piece(number..number + 1) }.fill(sum);
        }
        let scores = Mat::strided(scores, rows, keys.len(), width);
        direct::nn(scores, shape.v(v, &block, &keys), MatMut::new(mixed, rows, v_dim));
        for (row, (mixed, inverse)) in mixed.chunks_exact(v_dim.max(1)).zip(inverse).enumerate() {
            let (head, query) = block.row(row);
            let start = ((block.sequence.queries.start + query) * heads + head) * v_dim;
            // SAFETY: the columns of these heads in the rows of these queries belong to this task alone.
            let out = unsafe { out.piece(start..start + v_dim) };
            for (out, x) in out.iter_mut().zip(mixed) {
                *out = x * *inverse;
            }
        }
    });
}

/// The gradients of [`forward`]: all of `d_q`, `d_k`, `d_v` and, unless it is empty, `d_bias` is written.
///
/// # Shapes
/// - as in [`forward`]; `d_out` like `out`, the others like what they are the gradients of
///
/// # Panics
/// If the shapes do not fit together.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    layout: &AttendLayout,
    bias: Option<&[f32]>,
    dropout: Option<Dropout>,
    out: &[f32],
    lse: &[f32],
    d_out: &[f32],
    d_q: &mut [f32],
    d_k: &mut [f32],
    d_v: &mut [f32],
    d_bias: &mut [f32],
) {
    let shape = Shape::new(q, k, v, layout, bias, out.len(), lse.len());
    assert_eq!(d_out.len(), out.len(), "attend: d_out and out");
    assert!(d_q.len() == q.len() && d_k.len() == k.len() && d_v.len() == v.len(), "attend: gradients");
    assert!(d_bias.is_empty() || Some(d_bias.len()) == bias.map(<[f32]>::len), "attend: d_bias and bias");
    let (heads, group) = (layout.heads, layout.group());
    let sequences = layout.sequences();
    let mut tasks = Vec::new();
    for (at, sequence) in sequences.iter().enumerate() {
        tasks.extend((0..heads).map(|head| (at, sequence, head)));
    }
    let elements = shape.work(&sequences);
    if layout.k_lens.is_some() {
        d_k.fill(0.0);
        d_v.fill(0.0);
    }
    // Where heads share keys each has a sum of its own first.
    let own = if group > 1 { shape.k_tokens * heads } else { 0 };
    let mut partial = Scratch::new(own * (shape.dim + shape.v_dim) + sequences.len() * d_bias.len());
    let (partial_k, rest) = partial.split_at_mut(own * shape.dim);
    let (partial_v, partial_bias) = rest.split_at_mut(own * shape.v_dim);
    partial_bias.fill(0.0);
    {
        let (to_k, to_v) =
            if group > 1 { (&mut *partial_k, &mut *partial_v) } else { (&mut *d_k, &mut *d_v) };
        let (d_q, to_k, to_v) = (Shared::new(d_q), Shared::new(to_k), Shared::new(to_v));
        let to_bias = Shared::new(partial_bias);
        let span = d_bias.len() / heads;
        each(tasks, elements, |(at, sequence, head)| {
            let start = (at * heads + head) * span;
            // SAFETY: each task has a row of its own.
            let d_bias = unsafe { to_bias.piece(start..start + span) };
            let whole = Block { sequence, head, heads: 1, queries: 0..sequence.queries.len() };
            let saved = Saved { q, k, v, bias, out, lse, d_out, dropout };
            shape.backward(whole, saved, [&d_q, &to_k, &to_v], d_bias);
        });
    }
    sum_rows(partial_bias, d_bias);
    if group > 1 {
        shape.gather(&sequences, partial_k, shape.dim, d_k);
        shape.gather(&sequences, partial_v, shape.v_dim, d_v);
    }
}

/// Queries of one head, or one query of several heads that share their keys.
#[derive(Clone)]
struct Block<'a> {
    sequence: &'a Sequence,
    head: usize,
    heads: usize,
    queries: Range<usize>,
}

impl Block<'_> {
    fn rows(&self) -> usize {
        self.heads * self.queries.len()
    }

    /// The head and the query of a row.
    fn row(&self, row: usize) -> (usize, usize) {
        if self.heads > 1 {
            (self.head + row, self.queries.start)
        } else {
            (self.head, self.queries.start + row)
        }
    }
}

/// What the backward pass reads.
#[derive(Clone, Copy)]
struct Saved<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    bias: Option<&'a [f32]>,
    out: &'a [f32],
    lse: &'a [f32],
    d_out: &'a [f32],
    dropout: Option<Dropout>,
}

/// The pairs of a query, in the columns of a block.
pub(crate) fn seen<'a>(
    layout: &'a AttendLayout,
    sequence: &Sequence,
    query: usize,
    keys: &Range<usize>,
    cols: usize,
) -> &'a [u8] {
    let pairs = layout.pairs(sequence, query);
    if pairs.is_empty() { pairs } else { &pairs[keys.start..keys.start + cols] }
}

struct Shape<'a> {
    layout: &'a AttendLayout,
    q_tokens: usize,
    k_tokens: usize,
    dim: usize,
    v_dim: usize,
    span: usize,
}

impl<'a> Shape<'a> {
    fn new(
        q: &[f32],
        k: &[f32],
        v: &[f32],
        layout: &'a AttendLayout,
        bias: Option<&[f32]>,
        out: usize,
        lse: usize,
    ) -> Self {
        let tokens = |offsets: &[u32]| offsets.last().map_or(0, |&last| last as usize);
        let (q_tokens, k_tokens) = (tokens(&layout.q_offsets), tokens(&layout.k_offsets));
        if let Err(error) = layout.check(q_tokens, k_tokens) {
            panic!("attend: {error}");
        }
        let rows = q_tokens * layout.heads;
        let dim = q.len().checked_div(rows).unwrap_or_default();
        let v_dim = out.checked_div(rows).unwrap_or_default();
        assert_eq!(q.len(), rows * dim, "attend: q is not rows of {q_tokens} tokens");
        assert_eq!(out, rows * v_dim, "attend: out is not rows of {q_tokens} tokens");
        if rows > 0 {
            let rows = k_tokens * layout.kv_heads;
            assert_eq!(k.len(), rows * dim, "attend: k is not {k_tokens} rows of heads of {dim}");
            assert_eq!(v.len(), rows * v_dim, "attend: v is not {k_tokens} rows of heads of {v_dim}");
        }
        assert_eq!(lse, rows, "attend: lse is not {} x {q_tokens}", layout.heads);
        let span = bias.map_or(0, |bias| bias.len() / layout.heads);
        let fits = bias.is_none_or(|bias| span > 0 && bias.len() == span * layout.heads);
        assert!(fits, "attend: a bias that is not rows of {} heads", layout.heads);
        Self { layout, q_tokens, k_tokens, dim, v_dim, span }
    }

    /// Multiplications of the whole call, to decide whether threads are worth waking.
    fn work(&self, sequences: &[Sequence]) -> usize {
        let pairs: usize = sequences.iter().map(|s| s.queries.len() * s.keys.len()).sum();
        pairs * self.layout.heads * (self.dim + self.v_dim) / 8
    }

    /// Room for the bias of `distances`.
    fn spread(&self, distances: usize) -> usize {
        if self.span > 0 { distances } else { 0 }
    }

    fn q<'b>(&self, q: &'b [f32], block: &Block<'_>) -> Mat<'b> {
        self.rows_of(q, block, self.dim)
    }

    /// The rows of a block, of a matrix of `[q_tokens, heads * dim]`.
    fn rows_of<'b>(&self, x: &'b [f32], block: &Block<'_>, dim: usize) -> Mat<'b> {
        let heads = self.layout.heads;
        let token = block.sequence.queries.start + block.queries.start;
        let stride = if block.heads > 1 { dim } else { heads * dim };
        Mat::strided(
            x.get((token * heads + block.head) * dim..).unwrap_or_default(),
            block.rows(),
            dim,
            stride,
        )
    }

    fn k<'b>(&self, k: &'b [f32], block: &Block<'_>, keys: &Range<usize>) -> Mat<'b> {
        self.keys_of(k, block, keys, self.dim)
    }

    fn v<'b>(&self, v: &'b [f32], block: &Block<'_>, keys: &Range<usize>) -> Mat<'b> {
        self.keys_of(v, block, keys, self.v_dim)
    }

    fn keys_of<'b>(&self, x: &'b [f32], block: &Block<'_>, keys: &Range<usize>, dim: usize) -> Mat<'b> {
        let (heads, head) = (self.layout.kv_heads, block.head / self.layout.group());
        let start = ((block.sequence.keys.start + keys.start) * heads + head) * dim;
        Mat::strided(x.get(start..).unwrap_or_default(), keys.len(), dim, heads * dim)
    }

    /// `scores = q k^T`, some keys at a time.
    fn products(&self, q: Mat<'_>, k: Mat<'_>, scores: &mut [f32], width: usize, turned: &mut [f32]) {
        for start in (0..k.rows).step_by(KEYS) {
            let count = KEYS.min(k.rows - start);
            let k = Mat::strided(&k.data[start * k.stride..], count, k.cols, k.stride);
            direct::nt(q, k, MatMut::strided(&mut scores[start..], q.rows, count, width), turned);
        }
    }

    /// The bias of one row in the columns of its block; empty for none. `spread` holds, for the head it was last filled
    /// for, the bias of every distance in the block.
    fn bias_row<'b>(
        &self,
        bias: Option<&[f32]>,
        block: &Block<'_>,
        keys: &Range<usize>,
        row: usize,
        spread: &'b mut [f32],
    ) -> &'b [f32] {
        let Some(bias) = bias else { return &[] };
        let queries = block.queries.len();
        if row == 0 || block.heads > 1 {
            let (head, _) = block.row(row);
            let bias = &bias[head * self.span..][..self.span];
            let first = keys.start as i64 - block.sequence.place(block.queries.end - 1);
            for (at, spread) in spread.iter_mut().enumerate() {
                *spread = bias[entry(first + at as i64, self.layout.zero, self.span)];
            }
        }
        let (_, query) = block.row(row);
        &spread[queries - 1 - (query - block.queries.start)..][..keys.len()]
    }

    /// The gradients of one head of one sequence; `d_bias` is the row of that.
    fn backward(
        &self,
        whole: Block<'_>,
        saved: Saved<'_>,
        [d_q, d_k, d_v]: [&Shared<'_>; 3],
        d_bias: &mut [f32],
    ) {
        let (layout, dim, v_dim) = (self.layout, self.dim, self.v_dim);
        let (sequence, head) = (whole.sequence, whole.head);
        let (queries, keys) = (sequence.queries.len(), sequence.keys.len());
        let block = block(keys).min(queries);
        let (width, turned) = (direct::padded(keys), direct::padded(keys.min(KEYS)) * dim.max(v_dim));
        let spread = if self.span > 0 { keys + block } else { 0 };
        let mut scratch =
            Scratch::new(block * (2 * width + dim) + turned + keys * (dim + v_dim) + 2 * spread);
        let (probabilities, rest) = scratch.split_at_mut(block * width);
        let (d_scores, rest) = rest.split_at_mut(block * width);
        let (rows, rest) = rest.split_at_mut(block * dim);
        let (turned, rest) = rest.split_at_mut(turned);
        let (dk, rest) = rest.split_at_mut(keys * dim);
        let (dv, rest) = rest.split_at_mut(keys * v_dim);
        let (spread, d_spread) = rest.split_at_mut(spread);
        dk.fill(0.0);
        dv.fill(0.0);
        for start in (0..queries).step_by(block.max(1)) {
            let block = Block { queries: start..(start + block).min(queries), ..whole };
            let keys = layout.keys(sequence, block.queries.clone());
            let (count, width) = (block.queries.len(), direct::padded(keys.len()));
            let (probabilities, d_scores) =
                (&mut probabilities[..count * width], &mut d_scores[..count * width]);
            let (q, k) = (self.q(saved.q, &block), self.k(saved.k, &block, &keys));
            let (out, d_out) =
                (self.rows_of(saved.out, &block, v_dim), self.rows_of(saved.d_out, &block, v_dim));
            self.products(q, k, probabilities, width, turned);
            self.products(d_out, self.v(saved.v, &block, &keys), d_scores, width, turned);
            d_spread.fill(0.0);
            for row in 0..count {
                let query = block.queries.start + row;
                let number = head * self.q_tokens + sequence.queries.start + query;
                let visible = layout.visible(sequence, query);
                let cols = visible.end.max(keys.start) - keys.start;
                let biases = self.bias_row(saved.bias, &block, &keys, row, spread);
                let (p, p_hidden) = probabilities[row * width..][..keys.len()].split_at_mut(cols);
                let (d, d_hidden) = d_scores[row * width..][..keys.len()].split_at_mut(cols);
                p_hidden.fill(0.0);
                d_hidden.fill(0.0);
                let numbers = Row {
                    scale: layout.scale,
                    bias: &biases[..biases.len().min(cols)],
                    pairs: seen(layout, sequence, query, &keys, cols),
                    masked: (visible.start - keys.start).min(cols),
                    first: keys.start,
                    dropout: saved.dropout.map(|dropout| (dropout, number as u64)),
                };
                let wanted = if d_bias.is_empty() { 0 } else { cols };
                let d_bias = &mut d_spread[if wanted > 0 { count - 1 - row } else { 0 }..][..wanted];
                gradient(p, d, numbers, saved.lse[number], dot(out.row(row), d_out.row(row)), d_bias);
            }
            if !d_bias.is_empty() {
                let first = keys.start as i64 - sequence.place(block.queries.end - 1);
                for (at, d) in d_spread[..keys.len() + count - 1].iter().enumerate() {
                    d_bias[entry(first + at as i64, layout.zero, self.span)] += d;
                }
            }
            // From here `probabilities` are the dropped ones, `d_scores` carry the scale.
            let probabilities = Mat::strided(probabilities, count, keys.len(), width);
            let d_scores = Mat::strided(d_scores, count, keys.len(), width);
            let rows = &mut rows[..count * dim];
            direct::nn(d_scores, k, MatMut::new(rows, count, dim));
            for (row, rows) in rows.chunks_exact(dim.max(1)).enumerate() {
                let start =
                    ((sequence.queries.start + block.queries.start + row) * layout.heads + head) * dim;
                // SAFETY: the columns of this head in the rows of this sequence belong to this task alone.
                unsafe { d_q.piece(start..start + dim) }.copy_from_slice(rows);
            }
            let dv = &mut dv[keys.start * v_dim..keys.end * v_dim];
            direct::tn(probabilities, d_out, MatMut::new(dv, keys.len(), v_dim), true);
            let dk = &mut dk[keys.start * dim..keys.end * dim];
            direct::tn(d_scores, q, MatMut::new(dk, keys.len(), dim), true);
        }
        for (to, from, dim) in [(d_k, dk, dim), (d_v, dv, v_dim)] {
            for (token, row) in sequence.keys.clone().zip(from.chunks_exact(dim.max(1))) {
                let start = (token * layout.heads + head) * dim;
                // SAFETY: see above.
                unsafe { to.piece(start..start + dim) }.copy_from_slice(row);
            }
        }
    }

    /// Sums over the heads that share keys, in order.
    fn gather(&self, sequences: &[Sequence], partial: &[f32], dim: usize, out: &mut [f32]) {
        let (heads, group) = (self.layout.heads, self.layout.group());
        for token in sequences.iter().flat_map(|sequence| sequence.keys.clone()) {
            let own = &partial[token * heads * dim..][..heads * dim];
            let out = &mut out[token * self.layout.kv_heads * dim..][..self.layout.kv_heads * dim];
            for (own, out) in own.chunks_exact((group * dim).max(1)).zip(out.chunks_exact_mut(dim.max(1))) {
                sum_rows(own, out);
            }
        }
    }
}

#[cfg(test)]
#[path = "attend_tests.rs"]
mod tests;

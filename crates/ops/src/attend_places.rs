//! Queries and keys of an [`AttendLayout`] padded to the longest sequence, for the composed bodies of attention.

use burn::backend::{
    Backend, Shape,
    tensor::{FloatTensor, IndexingUpdateOp},
};
use rayon::prelude::*;
use topwork_kernels::attend_layout::{AttendLayout, Sequence, entry};
use topwork_kernels::rng::Dropout;

use crate::host;

/// What is added to a score whose key is not seen.
const MASKED: f32 = -1e30;

/// Where the queries and keys of a batch would lie if padded.
pub(crate) struct Places<'a> {
    pub(crate) layout: &'a AttendLayout,
    sequences: Vec<Sequence>,
    pub(crate) batch: usize,
    /// The most queries of a sequence.
    pub(crate) q_seq: usize,
    /// The most keys of a sequence.
    pub(crate) k_seq: usize,
}

/// Which rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Queries,
    Keys,
}

impl<'a> Places<'a> {
    pub(crate) fn new(layout: &'a AttendLayout) -> Self {
        let sequences = layout.sequences();
        let q_seq = sequences.iter().map(|s| s.queries.len()).max().unwrap_or(0);
        let k_seq = sequences.iter().map(|s| s.keys.len()).max().unwrap_or(0);
        Self { layout, batch: sequences.len(), sequences, q_seq, k_seq }
    }

    /// Whether there is not one pair of a query and a key.
    pub(crate) fn is_empty(&self) -> bool {
        self.q_seq == 0 || self.k_seq == 0
    }

    fn seq(&self, side: Side) -> usize {
        if side == Side::Queries { self.q_seq } else { self.k_seq }
    }

    /// The row and the place of each query or key.
    fn rows(&self, side: Side) -> impl Iterator<Item = (usize, usize)> {
        let seq = self.seq(side);
        self.sequences.iter().enumerate().flat_map(move |(at, s)| {
            let range = if side == Side::Queries { s.queries.clone() } else { s.keys.clone() };
            range.zip(at * seq..)
        })
    }

    /// Rows `[tokens, heads * dim]` to `[batch, heads, seq, dim]`. Places without a row hold row 0.
    pub(crate) fn pad<B: Backend>(&self, x: FloatTensor<B>, side: Side, heads: usize) -> FloatTensor<B> {
        let (seq, [_, width]) = (self.seq(side), host::dims(&x));
        let mut rows = vec![0; self.batch * seq];
        self.rows(side).for_each(|(row, place)| rows[place] = row);
        let rows = host::indices::<B>(rows, [self.batch * seq], &x);
        let x = B::float_select(x, 0, rows);
        let x = B::float_reshape(x, Shape::from([self.batch, seq, heads, width / heads]));
        B::float_permute(x, &[0, 2, 1, 3])
    }

    /// [`Places::pad`] with zeros in the places without a row.
    pub(crate) fn pad_with_zeros<B: Backend>(
        &self,
        x: FloatTensor<B>,
        side: Side,
        heads: usize,
    ) -> FloatTensor<B> {
        let seq = self.seq(side);
        let mut present = vec![0.0; self.batch * seq];
        self.rows(side).for_each(|(_, place)| present[place] = 1.0);
        let present = host::floats::<B>(present, [self.batch, 1, seq, 1], &x);
        B::float_mul(self.pad::<B>(x, side, heads), present)
    }

    /// `[batch, heads, seq, dim]` to the `tokens` rows `[tokens, heads * dim]`; rows of no sequence become zeros.
    pub(crate) fn merge<B: Backend>(&self, x: FloatTensor<B>, side: Side, tokens: usize) -> FloatTensor<B> {
        let [batch, heads, seq, dim] = host::dims(&x);
        let x = B::float_permute(x, &[0, 2, 1, 3]);
        let x = B::float_reshape(x, Shape::from([batch * seq, heads * dim]));
        let (rows, places): (Vec<usize>, Vec<usize>) = self.rows(side).unzip();
        let count = rows.len();
        let places = host::indices::<B>(places, [count], &x);
        let x = B::float_select(x, 0, places);
        if count == tokens {
            return x;
        }
        let rows = host::indices::<B>(rows, [count], &x);
        let zeros = host::zeros::<B>([tokens, heads * dim], &x);
        B::float_select_assign(zeros, 0, rows, x, IndexingUpdateOp::Add)
    }

    /// Heads of keys `[batch, kv_heads, seq, dim]` as often as heads of queries share them.
    pub(crate) fn repeat<B: Backend>(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        let AttendLayout { heads, kv_heads, .. } = *self.layout;
        if heads == kv_heads {
            return x;
        }
        let index = (0..heads).map(|head| head / (heads / kv_heads));
        let index = host::indices::<B>(index, [heads], &x);
        B::float_select(x, 1, index)
    }

    /// The sums over heads that share keys: `[batch, heads, seq, dim]` to `[batch, kv_heads, seq, dim]`.
    pub(crate) fn gather<B: Backend>(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        let AttendLayout { heads, kv_heads, .. } = *self.layout;
        if heads == kv_heads {
            return x;
        }
        let [batch, _, seq, dim] = host::dims(&x);
        let x = B::float_reshape(x, Shape::from([batch, kv_heads, heads / kv_heads, seq, dim]));
        B::float_reshape(B::float_sum_dim(x, 2), Shape::from([batch, kv_heads, seq, dim]))
    }

    /// 1 where a query sees a key: `[batch, 1, q_seq, k_seq]`, and 1 where it sees none: `[batch, 1, q_seq, 1]`.
    pub(crate) fn seen<B: Backend>(&self, like: &FloatTensor<B>) -> [FloatTensor<B>; 2] {
        let mut seen = vec![0.0; self.batch * self.q_seq * self.k_seq];
        let mut blind = vec![1.0; self.batch * self.q_seq];
        for (at, s) in self.sequences.iter().enumerate() {
            for query in 0..s.queries.len() {
                let row = at * self.q_seq + query;
                let pairs = self.layout.pairs(s, query);
                for key in self.layout.visible(s, query) {
                    if pairs.is_empty() || pairs[key] != 0 {
                        seen[row * self.k_seq + key] = 1.0;
                        blind[row] = 0.0;
                    }
                }
            }
        }
        [
            host::floats::<B>(seen, [self.batch, 1, self.q_seq, self.k_seq], like),
            host::floats::<B>(blind, [self.batch, 1, self.q_seq, 1], like),
        ]
    }

    /// For each pair of a place of a query and one of a key, its entry in a row or table of `span` by distance.
    pub(crate) fn entries(&self, span: usize) -> Vec<usize> {
        let mut entries = vec![0; self.batch * self.q_seq * self.k_seq];
        for (at, s) in self.sequences.iter().enumerate() {
            for query in 0..s.queries.len() {
                for key in 0..s.keys.len() {
                    let distance = key as i64 - s.place(query);
                    entries[(at * self.q_seq + query) * self.k_seq + key] =
                        entry(distance, self.layout.zero, span);
                }
            }
        }
        entries
    }

    /// 1 where a query and a key are of one segment: `[batch, 1, q_seq, k_seq]`.
    pub(crate) fn same(&self, q_segments: &[u32], k_segments: &[u32]) -> Vec<f32> {
        let mut same = vec![0.0; self.batch * self.q_seq * self.k_seq];
        for (at, s) in self.sequences.iter().enumerate() {
            for (query, of_query) in q_segments[s.queries.clone()].iter().enumerate() {
                for (key, of_key) in k_segments[s.keys.clone()].iter().enumerate() {
                    let place = (at * self.q_seq + query) * self.k_seq + key;
                    same[place] = if of_query == of_key { 1.0 } else { 0.0 };
                }
            }
        }
        same
    }

    /// Probabilities of scaled scores `[batch, heads, q_seq, k_seq]`, and the log-sum-exp of each row.
    pub(crate) fn softmax<B: Backend>(&self, scores: FloatTensor<B>) -> [FloatTensor<B>; 2] {
        let [seen, blind] = self.seen::<B>(&scores);
        let hidden = B::float_mul_scalar(B::float_sub_scalar(seen.clone(), 1.0.into()), (-MASKED).into());
        let scores = B::float_add(scores, hidden);
        // Only keeps the exponentials in range: it cancels out of the gradient.
        let max = B::float_max_dim(B::float_detach(scores.clone()), 3);
        let exp = B::float_mul(B::float_exp(B::float_sub(scores, max.clone())), seen);
        // A query that sees nothing divides 0 by 1.
        let sum = B::float_add(B::float_sum_dim(exp.clone(), 3), blind);
        let lse = B::float_add(max, B::float_log(sum.clone()));
        [B::float_div(exp, sum), lse]
    }

    /// What dropout multiplies the probabilities by: `[batch, heads, q_seq, k_seq]`.
    pub(crate) fn dropout<B: Backend>(&self, dropout: Dropout, like: &FloatTensor<B>) -> FloatTensor<B> {
        let (heads, q_seq) = (self.layout.heads, self.q_seq);
        let tokens = self.layout.q_offsets.last().map_or(0, |&last| last as usize);
        let mut values = vec![0.0; self.batch * heads * q_seq * self.k_seq];
        values.par_chunks_mut(self.k_seq).enumerate().for_each(|(at, values)| {
            let (query, head, s) = (at % q_seq, at / q_seq % heads, &self.sequences[at / q_seq / heads]);
            if query < s.queries.len() {
                let row = head * tokens + s.queries.start + query;
                host::dropout_row(row, dropout, &mut values[..s.keys.len()]);
            }
        });
        host::floats::<B>(values, [self.batch, heads, q_seq, self.k_seq], like)
    }
}

/// What goes from the gradient of the output to the scaled scores and the values.
pub(crate) struct Back<B: Backend> {
    /// The gradient of the scaled scores: `[batch, heads, q_seq, k_seq]`.
    pub(crate) d_scaled: FloatTensor<B>,
    /// The gradient of the values, a head of queries each: `[batch, heads, k_seq, v_dim]`.
    pub(crate) d_v: FloatTensor<B>,
}

impl<B: Backend> Back<B> {
    /// Through the weighted sum with `v` `[batch, heads, k_seq, v_dim]`, dropout and softmax. `d_out` is
    /// `[q_tokens, heads * v_dim]`.
    pub(crate) fn new(
        places: &Places<'_>,
        d_out: FloatTensor<B>,
        probabilities: FloatTensor<B>,
        v: FloatTensor<B>,
        dropout: Option<Dropout>,
    ) -> Self {
        let d_out = places.pad_with_zeros::<B>(d_out, Side::Queries, places.layout.heads);
        let mut kept = probabilities.clone();
        let mut d_probabilities = B::float_matmul(d_out.clone(), B::float_transpose(v));
        if let Some(dropout) = dropout {
            let scale = places.dropout::<B>(dropout, &probabilities);
            kept = B::float_mul(kept, scale.clone());
            d_probabilities = B::float_mul(d_probabilities, scale);
        }
        let d_v = B::float_matmul(B::float_transpose(kept), d_out);
        let inner = B::float_mul(d_probabilities.clone(), probabilities.clone());
        let inner = B::float_sum_dim(inner, 3);
        let d_scaled = B::float_mul(probabilities, B::float_sub(d_probabilities, inner));
        Self { d_scaled, d_v }
    }
}

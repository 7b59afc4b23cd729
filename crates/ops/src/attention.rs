//! Scaled dot-product attention over packed sequences.
//!
//! Paper: Vaswani et al. 2017, "Attention Is All You Need", §3.2,
//! <https://arxiv.org/abs/1706.03762>. The backward from the log-sum-exp alone, without keeping the
//! probabilities: Dao et al. 2022, "FlashAttention", §3.1, <https://arxiv.org/abs/2205.14135>.

use std::sync::Arc;

use burn::{
    Tensor,
    backend::{
        Autodiff, AutodiffBackend, Backend, Dispatch, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops},
        },
        backend_extension,
        tensor::FloatTensor,
    },
};
use topwork_kernels::unwritten;
use topwork_kernels::{attention as kernel, rng::Dropout};

use crate::{flex, host, packed, profile, record::record};

/// Every token attends to all tokens of its own sequence, and to nothing else.
///
/// Scores are scaled by `1 / sqrt(head_dim)`. Dropout acts on the attention probabilities.
///
/// # Shapes
/// - `qkv`: `[tokens, 3 * hidden]`, queries, keys and values side by side
/// - `offsets`: `[batch + 1]`, where each sequence starts and the last one ends
/// - returns: `[tokens, hidden]`
///
/// # Panics
/// If `heads` does not divide `hidden`, or `offsets` does not rise from 0 to `tokens`.
pub fn attention(qkv: Tensor<2>, offsets: &Arc<[u32]>, heads: usize, dropout: Option<Dropout>) -> Tensor<2> {
    let [tokens, width] = qkv.dims();
    assert!(
        heads > 0 && width % (3 * heads) == 0,
        "attention: {width} columns do not divide into queries, keys and values of {heads} heads"
    );
    packed::check("attention", offsets, tokens);
    let head_dim = width / (3 * heads);
    let scale = 1.0 / (head_dim as f32).sqrt();
    Tensor::from_dispatch(Dispatch::attention_forward(
        qkv.into_dispatch(),
        offsets.clone(),
        heads,
        scale,
        dropout,
    ))
}

/// [`attention`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait AttentionOps: Backend {
    /// Packed attention: see [`attention`].
    fn attention_forward(
        qkv: FloatTensor<Self>,
        offsets: Arc<[u32]>,
        heads: usize,
        scale: f32,
        dropout: Option<Dropout>,
    ) -> FloatTensor<Self> {
        Self::attention_with_lse(qkv, offsets, heads, scale, dropout).0
    }

    /// Packed attention and, for the backward, the log-sum-exp of each row of scores:
    /// `[heads, tokens]`.
    fn attention_with_lse(
        qkv: FloatTensor<Self>,
        offsets: Arc<[u32]>,
        heads: usize,
        scale: f32,
        dropout: Option<Dropout>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::forward::<Self>(qkv, &offsets, heads, scale, dropout)
    }

    /// The gradient of `qkv`: `[tokens, 3 * hidden]`.
    #[allow(clippy::too_many_arguments)]
    fn attention_d_qkv(
        d_out: FloatTensor<Self>,
        qkv: FloatTensor<Self>,
        out: FloatTensor<Self>,
        lse: FloatTensor<Self>,
        offsets: Arc<[u32]>,
        heads: usize,
        scale: f32,
        dropout: Option<Dropout>,
    ) -> FloatTensor<Self> {
        // The composed body computes the probabilities again, which needs neither.
        let _ = (out, lse);
        composed::d_qkv::<Self>(d_out, qkv, &offsets, heads, scale, dropout)
    }
}

/// [`attention`] in Burn's own operations, for any backend: sequences are padded to the longest one
/// inside, and what was padded is masked.
pub mod composed {
    use std::ops::Range;

    use burn::backend::{Backend, Shape, tensor::FloatTensor};
    use rayon::prelude::*;
    use topwork_kernels::rng::Dropout;

    use crate::{host, packed::Padding};

    /// What is added to the score of a key that is only padding: its probability becomes exactly 0.
    const MASKED: f32 = -1e30;

    /// Packed attention, and the log-sum-exp of each row of scores.
    pub fn forward<B: Backend>(
        qkv: FloatTensor<B>,
        offsets: &[u32],
        heads: usize,
        scale: f32,
        dropout: Option<Dropout>,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let padding = Padding::new(offsets);
        let [tokens, _] = host::dims(&qkv);
        let [q, k, v] = split::<B>(qkv, &padding, heads);
        let (mut probabilities, lse) = probabilities::<B>(q, k, &padding, scale);
        if let Some(dropout) = dropout {
            let scale = dropout_scale::<B>(&probabilities, &padding, tokens, heads, dropout);
            probabilities = B::float_mul(probabilities, scale);
        }
        let out = merge::<B>(B::float_matmul(probabilities, v), &padding);
        // [batch, heads, seq, 1] to [heads, tokens]
        let lse = B::float_transpose(merge::<B>(lse, &padding));
        (out, lse)
    }

    /// The gradient of `qkv`.
    pub fn d_qkv<B: Backend>(
        d_out: FloatTensor<B>,
        qkv: FloatTensor<B>,
        offsets: &[u32],
        heads: usize,
        scale: f32,
        dropout: Option<Dropout>,
    ) -> FloatTensor<B> {
        let padding = Padding::new(offsets);
        let [tokens, hidden] = host::dims(&d_out);
        let Padding { batch, seq, .. } = padding;
        let head_dim = hidden / heads;

        let present = host::floats::<B>(padding.present(), [batch * seq, 1], &d_out);
        let rows = host::indices::<B>(padding.rows(), [batch * seq], &d_out);
        let d_out = B::float_mul(B::float_select(d_out, 0, rows), present);
        let d_out = B::float_reshape(d_out, Shape::from([batch, seq, heads, head_dim]));
        let d_out = B::float_permute(d_out, &[0, 2, 1, 3]); // [batch, heads, seq, head_dim]

        let [q, k, v] = split::<B>(qkv, &padding, heads);
        let (probabilities, _) = probabilities::<B>(q.clone(), k.clone(), &padding, scale);
        let mut kept = probabilities.clone();
        let mut d_probabilities = B::float_matmul(d_out.clone(), B::float_transpose(v));
        if let Some(dropout) = dropout {
            let scale = dropout_scale::<B>(&probabilities, &padding, tokens, heads, dropout);
            kept = B::float_mul(kept, scale.clone());
            d_probabilities = B::float_mul(d_probabilities, scale);
        }
        let d_v = B::float_matmul(B::float_transpose(kept), d_out);

        // Through the softmax.
        let inner = B::float_mul(d_probabilities.clone(), probabilities.clone());
        let inner = B::float_sum_dim(inner, 3);
        let d_scores = B::float_mul(probabilities, B::float_sub(d_probabilities, inner));
        let d_scores = B::float_mul_scalar(d_scores, scale.into());
        let d_q = B::float_matmul(d_scores.clone(), k);
        let d_k = B::float_matmul(B::float_transpose(d_scores), q);
        let parts = [d_q, d_k, d_v].map(|part| merge::<B>(part, &padding));
        B::float_cat(parts.into(), 1)
    }

    /// Packed rows to padded queries, keys and values, each `[batch, heads, seq, head_dim]`.
    fn split<B: Backend>(qkv: FloatTensor<B>, padding: &Padding, heads: usize) -> [FloatTensor<B>; 3] {
        let [_, width] = host::dims(&qkv);
        let Padding { batch, seq, .. } = *padding;
        let head_dim = width / (3 * heads);
        let rows = host::indices::<B>(padding.rows(), [batch * seq], &qkv);
        let padded = B::float_select(qkv, 0, rows);
        let padded = B::float_reshape(padded, Shape::from([batch, seq, 3, heads, head_dim]));
        let padded = B::float_permute(padded, &[2, 0, 3, 1, 4]);
        [0, 1, 2].map(|part| {
            let slices = [
                (part..part + 1).into(),
                (0..batch).into(),
                (0..heads).into(),
                (0..seq).into(),
                (0..head_dim).into(),
            ];
            let part = B::float_slice(padded.clone(), &slices);
            B::float_reshape(part, Shape::from([batch, heads, seq, head_dim]))
        })
    }

    /// `[batch, heads, seq, width]` to the rows that are tokens: `[tokens, heads * width]`.
    fn merge<B: Backend>(padded: FloatTensor<B>, padding: &Padding) -> FloatTensor<B> {
        let [batch, heads, seq, width] = host::dims(&padded);
        let rows = B::float_permute(padded, &[0, 2, 1, 3]);
        let rows = B::float_reshape(rows, Shape::from([batch * seq, heads * width]));
        let places: Vec<usize> = padding.places().collect();
        let shape = [places.len()];
        let index = host::indices::<B>(places, shape, &rows);
        B::float_select(rows, 0, index)
    }

    /// Attention probabilities `[batch, heads, seq, seq]` and the log-sum-exp of each row.
    fn probabilities<B: Backend>(
        q: FloatTensor<B>,
        k: FloatTensor<B>,
        padding: &Padding,
        scale: f32,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let Padding { batch, seq, .. } = *padding;
        let mask = padding.present().into_iter().map(|present| (1.0 - present) * MASKED).collect();
        let mask = host::floats::<B>(mask, [batch, 1, 1, seq], &q);
        let scores = B::float_matmul(q, B::float_transpose(k));
        let scores = B::float_add(B::float_mul_scalar(scores, scale.into()), mask);
        // Only keeps the exponentials in range: it cancels out of the gradient.
        let max = B::float_max_dim(B::float_detach(scores.clone()), 3);
        let exp = B::float_exp(B::float_sub(scores, max.clone()));
        let sum = B::float_sum_dim(exp.clone(), 3);
        let lse = B::float_add(max, B::float_log(sum.clone()));
        (B::float_div(exp, sum), lse)
    }

    /// What dropout multiplies the probabilities by.
    fn dropout_scale<B: Backend>(
        like: &FloatTensor<B>,
        padding: &Padding,
        tokens: usize,
        heads: usize,
        dropout: Dropout,
    ) -> FloatTensor<B> {
        let Padding { batch, seq, .. } = *padding;
        let sequences: Vec<Range<usize>> = padding.sequences().collect();
        let mut values = vec![0.0; batch * heads * seq * seq];
        if seq > 0 {
            values.par_chunks_mut(seq).enumerate().for_each(|(at, values)| {
                let (query, head, sequence) = (at % seq, at / seq % heads, &sequences[at / seq / heads]);
                if query < sequence.len() {
                    let row = head * tokens + sequence.start + query;
                    host::dropout_row(row, dropout, &mut values[..sequence.len()]);
                }
            });
        }
        host::floats::<B>(values, [batch, heads, seq, seq], like)
    }
}

impl AttentionOps for Flex {
    fn attention_with_lse(
        qkv: FloatTensor<Self>,
        offsets: Arc<[u32]>,
        heads: usize,
        scale: f32,
        dropout: Option<Dropout>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("attention_with_lse");
        if !flex::all_f32([&qkv]) {
            return composed::forward::<Self>(qkv, &offsets, heads, scale, dropout);
        }
        let qkv = flex::dense(qkv);
        let [tokens, width] = host::dims(&qkv);
        let mut out = unwritten(tokens * width / 3);
        let mut lse = unwritten(heads * tokens);
        kernel::forward(flex::values(&qkv), &offsets, heads, scale, dropout, &mut out, &mut lse);
        (flex::tensor(out, [tokens, width / 3]), flex::tensor(lse, [heads, tokens]))
    }

    fn attention_d_qkv(
        d_out: FloatTensor<Self>,
        qkv: FloatTensor<Self>,
        out: FloatTensor<Self>,
        lse: FloatTensor<Self>,
        offsets: Arc<[u32]>,
        heads: usize,
        scale: f32,
        dropout: Option<Dropout>,
    ) -> FloatTensor<Self> {
        let _time = profile::time("attention_d_qkv");
        if !flex::all_f32([&d_out, &qkv, &out, &lse]) {
            return composed::d_qkv::<Self>(d_out, qkv, &offsets, heads, scale, dropout);
        }
        let [d_out, qkv, out, lse] = [d_out, qkv, out, lse].map(flex::dense);
        let [tokens, width] = host::dims(&qkv);
        let mut d_qkv = unwritten(tokens * width);
        kernel::backward(
            flex::values(&qkv),
            &offsets,
            heads,
            scale,
            dropout,
            flex::values(&out),
            flex::values(&lse),
            flex::values(&d_out),
            &mut d_qkv,
        );
        flex::tensor(d_qkv, [tokens, width])
    }
}

#[cfg(feature = "cube")]
impl AttentionOps for burn::backend::Cube {}

/// What [`AttentionBackward`] needs.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    qkv: FloatTensor<B>,
    out: FloatTensor<B>,
    lse: FloatTensor<B>,
    offsets: Arc<[u32]>,
    heads: usize,
    scale: f32,
    dropout: Option<Dropout>,
}

/// Parent: qkv.
#[derive(Debug)]
struct AttentionBackward;

impl<B: AttentionOps> Backward<B, 1> for AttentionBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_out = grads.consume::<B>(&ops.node);
        let [node] = ops.parents;
        if let Some(node) = node {
            let saved = ops.state;
            let d_qkv = B::attention_d_qkv(
                d_out,
                saved.qkv,
                saved.out,
                saved.lse,
                saved.offsets,
                saved.heads,
                saved.scale,
                saved.dropout,
            );
            grads.register::<B>(node.id, d_qkv);
        }
    }
}

impl<B: AttentionOps, C: CheckpointStrategy> AttentionOps for Autodiff<B, C> {
    fn attention_forward(
        qkv: FloatTensor<Self>,
        offsets: Arc<[u32]>,
        heads: usize,
        scale: f32,
        dropout: Option<Dropout>,
    ) -> FloatTensor<Self> {
        if !qkv.is_tracked() {
            let qkv = qkv.into_primitive();
            return Self::from_inner(B::attention_forward(qkv, offsets, heads, scale, dropout));
        }
        let (qkv, node) = qkv.into_parts();
        let (out, lse) = B::attention_with_lse(qkv.clone(), offsets.clone(), heads, scale, dropout);
        let saved = Saved { qkv, out: out.clone(), lse, offsets, heads, scale, dropout };
        record::<B, C, _, 1>(AttentionBackward, [node], saved, out)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::check::{Case, OFFSETS, close, floats, normal};

    const DROPOUT: Option<Dropout> = Some(Dropout { p: 0.3, seed: 5 });

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        // The last one is longer than a block of queries in the kernel.
        for offsets in OFFSETS.into_iter().chain([&[0, 2, 2, 133][..]]) {
            for (heads, head_dim) in [(1, 1), (3, 4), (2, 17)] {
                for dropout in [None, DROPOUT] {
                    let tokens = *offsets.last().unwrap() as usize;
                    let scale = 1.0 / (head_dim as f32).sqrt();
                    let offsets: Arc<[u32]> = offsets.into();
                    let case = Case {
                        name: format!("attention {offsets:?}, {heads} heads of {head_dim}, {dropout:?}"),
                        shapes: vec![vec![tokens, 3 * heads * head_dim]],
                        operation: &|inputs| {
                            let qkv = inputs[0].clone();
                            Dispatch::attention_forward(qkv, offsets.clone(), heads, scale, dropout)
                        },
                        composed: &|inputs| {
                            let qkv = inputs[0].clone();
                            composed::forward::<Dispatch>(qkv, &offsets, heads, scale, dropout).0
                        },
                    };
                    checked += case.check();
                }
            }
        }
        checked
    }

    #[test]
    fn the_log_sum_exp_equals_the_composed_one() {
        let offsets: Arc<[u32]> = OFFSETS[2].into();
        let qkv = normal::<2>([20, 24], 1).into_dispatch();
        let (_, kernel) = Dispatch::attention_with_lse(qkv.clone(), offsets.clone(), 2, 0.5, DROPOUT);
        let (_, composed) = composed::forward::<Dispatch>(qkv, &offsets, 2, 0.5, DROPOUT);
        let [kernel, composed] = [kernel, composed].map(Tensor::<2>::from_dispatch);
        assert_eq!(kernel.dims(), [2, 20]);
        assert_eq!(composed.dims(), [2, 20]);
        close(&floats(kernel), &floats(composed), 1e-5).unwrap();
    }

    #[test]
    fn a_sequence_alone_is_what_it_is_in_a_batch() {
        let qkv = normal::<2>([20, 24], 1);
        let all = attention(qkv.clone(), &OFFSETS[2].into(), 2, None);
        for pair in OFFSETS[2].windows(2) {
            let rows = pair[0] as usize..pair[1] as usize;
            let alone = attention(qkv.clone().slice(rows.clone()), &[0, pair[1] - pair[0]].into(), 2, None);
            assert_eq!(floats(alone), floats(all.clone().slice(rows)));
        }
    }

    #[test]
    #[should_panic(expected = "attention: 25 columns do not divide")]
    fn heads_that_do_not_divide_are_refused() {
        attention(normal([2, 25], 1), &[0, 2].into(), 2, None);
    }
}

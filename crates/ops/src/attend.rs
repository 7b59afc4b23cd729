//! Attention of queries to keys that may come from elsewhere: decoders, cross-attention, caches of keys, windows, biases
//! by distance.
//!
//! Papers: Vaswani et al. 2017, "Attention Is All You Need", §3.2, <https://arxiv.org/abs/1706.03762>; heads that share
//! keys: Ainslie et al. 2023, "GQA", §2.2, <https://arxiv.org/abs/2305.13245>; the bias by distance: Raffel et al. 2020,
//! "T5", §2.1, <https://arxiv.org/abs/1910.10683>, and Press et al. 2022, "ALiBi", §3, <https://arxiv.org/abs/2108.12409>.

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
use topwork_kernels::attend as kernel;
use topwork_kernels::attend_layout::AttendLayout;
use topwork_kernels::rng::Dropout;
use topwork_kernels::unwritten;

use crate::{flex, host, optional::OptionalFloat, profile, record::record};

/// Every query attends to the keys of its own sequence that the mask of `layout` lets it see.
///
/// `softmax(scale * q kᵀ + bias) v`. In each sequence the last query stands at the last key, so that new tokens over a
/// cache of past keys see what they see in the whole sequence, to the bit. A query that sees no key gets zeros. The value
/// of a query and a key in `bias` is that of their distance, in column `clamp(key - query + layout.zero)`. Dropout acts
/// on the probabilities.
///
/// # Shapes
/// - `q`: `[q_tokens, heads * head_dim]`; `k`: `[k_tokens, kv_heads * head_dim]`
/// - `v`: `[k_tokens, kv_heads * v_dim]`
/// - `bias`: `[heads, span]`
/// - returns: `[q_tokens, heads * v_dim]`
///
/// # Panics
/// If the shapes do not fit together or to `layout`.
pub fn attend(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    layout: &AttendLayout,
    bias: Option<Tensor<2>>,
    dropout: Option<Dropout>,
) -> Tensor<2> {
    check("attend", &q, &k, &v, layout);
    if let Some(bias) = &bias {
        let [rows, span] = bias.dims();
        assert!(
            rows == layout.heads && span > 0,
            "attend: a bias of {rows} x {span}, expected a row for each of {} heads",
            layout.heads
        );
    }
    Tensor::from_dispatch(Dispatch::attend_forward(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        layout.clone(),
        bias.map(Tensor::into_dispatch).into(),
        dropout,
    ))
}

/// Stops an operation whose queries, keys and values do not fit together or to the layout.
pub(crate) fn check(operation: &str, q: &Tensor<2>, k: &Tensor<2>, v: &Tensor<2>, layout: &AttendLayout) {
    let ([q_tokens, q], [k_tokens, k], [v_tokens, v]) = (q.dims(), k.dims(), v.dims());
    if let Err(error) = layout.check(q_tokens, k_tokens) {
        panic!("{operation}: {error}");
    }
    let AttendLayout { heads, kv_heads, .. } = *layout;
    assert!(v_tokens == k_tokens, "{operation}: {k_tokens} rows of keys, {v_tokens} of values");
    assert!(
        q % heads == 0 && k % kv_heads == 0 && v % kv_heads == 0 && q / heads == k / kv_heads,
        "{operation}: {q} columns of queries in {heads} heads, {k} of keys and {v} of values in {kv_heads}"
    );
}

/// [`attend`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
#[allow(clippy::too_many_arguments)]
pub trait AttendOps: Backend {
    /// Attention: see [`attend`].
    fn attend_forward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        layout: AttendLayout,
        #[extension_type] bias: OptionalFloat<Self>,
        dropout: Option<Dropout>,
    ) -> FloatTensor<Self> {
        Self::attend_with_lse(q, k, v, layout, bias, dropout).0
    }

    /// Attention and, for the backward, the log-sum-exp of each row of scores: `[heads, q_tokens]`. What it is for a
    /// query that sees nothing is for the backward of the same backend to know.
    fn attend_with_lse(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        layout: AttendLayout,
        #[extension_type] bias: OptionalFloat<Self>,
        dropout: Option<Dropout>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::forward::<Self>(q, k, v, &layout, bias.into_option(), dropout)
    }

    /// The gradients of `q`, `k`, `v` and, where there is one and `bias_wanted`, of the bias (else `[heads, 0]`).
    fn attend_backward(
        d_out: FloatTensor<Self>,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        #[extension_type] bias: OptionalFloat<Self>,
        out: FloatTensor<Self>,
        lse: FloatTensor<Self>,
        layout: AttendLayout,
        dropout: Option<Dropout>,
        bias_wanted: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        // The composed body computes the probabilities again, which needs neither.
        let _ = (out, lse);
        composed::backward::<Self>(d_out, [q, k, v], bias.into_option(), &layout, dropout, bias_wanted)
    }
}

/// [`attend`] in Burn's own operations, for any backend: sequences are padded to the longest one inside, and what was
/// padded is masked.
pub mod composed {
    use burn::backend::{
        Backend, Shape,
        tensor::{FloatTensor, IndexingUpdateOp},
    };
    use topwork_kernels::attend_layout::AttendLayout;
    use topwork_kernels::rng::Dropout;

    use crate::attend_places::{Back, Places, Side};
    use crate::host;

    /// Attention, and the log-sum-exp of each row of scores.
    pub fn forward<B: Backend>(
        q: FloatTensor<B>,
        k: FloatTensor<B>,
        v: FloatTensor<B>,
        layout: &AttendLayout,
        bias: Option<FloatTensor<B>>,
        dropout: Option<Dropout>,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let places = Places::new(layout);
        let ([tokens, _], [_, width]) = (host::dims(&q), host::dims(&v));
        let heads = layout.heads;
        if places.is_empty() {
            let out = host::zeros::<B>([tokens, width / layout.kv_heads * heads], &q);
            let lse = host::zeros::<B>([heads, tokens], &q);
            return (out, lse);
        }
        let q = places.pad::<B>(q, Side::Queries, heads);
        let k = places.repeat::<B>(places.pad::<B>(k, Side::Keys, layout.kv_heads));
        let v = places.repeat::<B>(places.pad::<B>(v, Side::Keys, layout.kv_heads));
        let [mut probabilities, lse] = places.softmax::<B>(scaled::<B>(&places, q, k, bias));
        if let Some(dropout) = dropout {
            let scale = places.dropout::<B>(dropout, &probabilities);
            probabilities = B::float_mul(probabilities, scale);
        }
        let out = places.merge::<B>(B::float_matmul(probabilities, v), Side::Queries, tokens);
        let lse = B::float_transpose(places.merge::<B>(lse, Side::Queries, tokens));
        (out, lse)
    }

    /// The gradients of `q`, `k`, `v` and of the bias if that is wanted.
    pub fn backward<B: Backend>(
        d_out: FloatTensor<B>,
        [q, k, v]: [FloatTensor<B>; 3],
        bias: Option<FloatTensor<B>>,
        layout: &AttendLayout,
        dropout: Option<Dropout>,
        bias_wanted: bool,
    ) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
        let places = Places::new(layout);
        let (heads, kv_heads) = (layout.heads, layout.kv_heads);
        let span = match &bias {
            Some(bias) if bias_wanted => host::dims::<2>(bias)[1],
            _ => 0,
        };
        if places.is_empty() {
            let zeros = |x: &FloatTensor<B>| host::zeros::<B>(host::dims::<2>(x), x);
            return (zeros(&q), zeros(&k), zeros(&v), host::zeros::<B>([heads, span], &q));
        }
        let ([q_tokens, _], [k_tokens, _]) = (host::dims(&q), host::dims(&k));
        let q = places.pad::<B>(q, Side::Queries, heads);
        let k = places.repeat::<B>(places.pad::<B>(k, Side::Keys, kv_heads));
        let v = places.repeat::<B>(places.pad::<B>(v, Side::Keys, kv_heads));
        let [probabilities, _] = places.softmax::<B>(scaled::<B>(&places, q.clone(), k.clone(), bias));
        let Back { d_scaled, d_v } = Back::<B>::new(&places, d_out, probabilities, v, dropout);
        let mut d_bias = host::zeros::<B>([heads, span], &q);
        if span > 0 {
            let entries = places.entries(span);
            let index = host::indices::<B>(entries, [places.batch * places.q_seq * places.k_seq], &q);
            let by_head = B::float_permute(d_scaled.clone(), &[1, 0, 2, 3]);
            let by_head =
                B::float_reshape(by_head, Shape::from([heads, places.batch * places.q_seq * places.k_seq]));
            d_bias = B::float_select_assign(d_bias, 1, index, by_head, IndexingUpdateOp::Add);
        }
        let d_scores = B::float_mul_scalar(d_scaled, layout.scale.into());
        let d_q = B::float_matmul(d_scores.clone(), k);
        let d_k = B::float_matmul(B::float_transpose(d_scores), q);
        (
            places.merge::<B>(d_q, Side::Queries, q_tokens),
            places.merge::<B>(places.gather::<B>(d_k), Side::Keys, k_tokens),
            places.merge::<B>(places.gather::<B>(d_v), Side::Keys, k_tokens),
            d_bias,
        )
    }

    /// `scale * q kᵀ + bias`.
    fn scaled<B: Backend>(
        places: &Places<'_>,
        q: FloatTensor<B>,
        k: FloatTensor<B>,
        bias: Option<FloatTensor<B>>,
    ) -> FloatTensor<B> {
        let scores = B::float_matmul(q, B::float_transpose(k));
        let scores = B::float_mul_scalar(scores, places.layout.scale.into());
        let Some(bias) = bias else { return scores };
        let [heads, span] = host::dims(&bias);
        let entries = places.entries(span);
        let index = host::indices::<B>(entries, [places.batch * places.q_seq * places.k_seq], &scores);
        let bias = B::float_select(bias, 1, index);
        let bias = B::float_reshape(bias, Shape::from([heads, places.batch, places.q_seq, places.k_seq]));
        B::float_add(scores, B::float_permute(bias, &[1, 0, 2, 3]))
    }
}

impl AttendOps for Flex {
    fn attend_with_lse(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        layout: AttendLayout,
        bias: OptionalFloat<Self>,
        dropout: Option<Dropout>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("attend_with_lse");
        let bias = bias.into_option();
        if !flex::all_f32([&q, &k, &v].into_iter().chain(&bias)) {
            return composed::forward::<Self>(q, k, v, &layout, bias, dropout);
        }
        let ([q, k, v], bias) = ([q, k, v].map(flex::dense), bias.map(flex::dense));
        let ([tokens, _], [_, width]) = (host::dims(&q), host::dims(&v));
        let (heads, width) = (layout.heads, width / layout.kv_heads * layout.heads);
        let (mut out, mut lse) = (unwritten(tokens * width), unwritten(heads * tokens));
        let [q, k, v] = [&q, &k, &v].map(flex::values);
        kernel::forward(q, k, v, &layout, bias.as_ref().map(flex::values), dropout, &mut out, &mut lse);
        (flex::tensor(out, [tokens, width]), flex::tensor(lse, [heads, tokens]))
    }

    fn attend_backward(
        d_out: FloatTensor<Self>,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: OptionalFloat<Self>,
        out: FloatTensor<Self>,
        lse: FloatTensor<Self>,
        layout: AttendLayout,
        dropout: Option<Dropout>,
        bias_wanted: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("attend_backward");
        let bias = bias.into_option();
        if !flex::all_f32([&d_out, &q, &k, &v, &out, &lse].into_iter().chain(&bias)) {
            return composed::backward::<Self>(d_out, [q, k, v], bias, &layout, dropout, bias_wanted);
        }
        let [d_out, q, k, v, out, lse] = [d_out, q, k, v, out, lse].map(flex::dense);
        let bias = bias.map(flex::dense);
        let [of_q, of_k, of_v] = [&q, &k, &v].map(host::dims::<2>);
        let bias = bias.as_ref().map(flex::values);
        let span = if bias_wanted { bias.map_or(0, <[f32]>::len) / layout.heads } else { 0 };
        let [mut d_q, mut d_k, mut d_v] = [of_q, of_k, of_v].map(|[rows, cols]| unwritten(rows * cols));
        let mut d_bias = unwritten(layout.heads * span);
        let [q, k, v, out, lse, d_out] = [&q, &k, &v, &out, &lse, &d_out].map(flex::values);
        kernel::backward(
            q,
            k,
            v,
            &layout,
            bias,
            dropout,
            out,
            lse,
            d_out,
            &mut d_q,
            &mut d_k,
            &mut d_v,
            &mut d_bias,
        );
        (
            flex::tensor(d_q, of_q),
            flex::tensor(d_k, of_k),
            flex::tensor(d_v, of_v),
            flex::tensor(d_bias, [layout.heads, span]),
        )
    }
}

#[cfg(feature = "cube")]
impl AttendOps for burn::backend::Cube {}

/// What [`AttendBackward`] needs.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    qkv: [FloatTensor<B>; 3],
    bias: Option<FloatTensor<B>>,
    out: FloatTensor<B>,
    lse: FloatTensor<B>,
    layout: AttendLayout,
    dropout: Option<Dropout>,
}

/// Parents: q, k, v and, where there is one, the bias.
#[derive(Debug)]
struct AttendBackward;

impl<B: AttendOps, const N: usize> Backward<B, N> for AttendBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_out = grads.consume::<B>(&ops.node);
        let Saved { qkv: [q, k, v], bias, out, lse, layout, dropout } = ops.state;
        let bias_wanted = ops.parents.get(3).is_some_and(Option::is_some);
        let (d_q, d_k, d_v, d_bias) =
            B::attend_backward(d_out, q, k, v, bias.into(), out, lse, layout, dropout, bias_wanted);
        for (node, grad) in ops.parents.into_iter().zip([d_q, d_k, d_v, d_bias]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

impl<B: AttendOps, C: CheckpointStrategy> AttendOps for Autodiff<B, C> {
    fn attend_forward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        layout: AttendLayout,
        bias: OptionalFloat<Self>,
        dropout: Option<Dropout>,
    ) -> FloatTensor<Self> {
        let bias = bias.into_option();
        let tracked = [&q, &k, &v].into_iter().chain(&bias).any(|input| input.is_tracked());
        let [(q, q_node), (k, k_node), (v, v_node)] = [q, k, v].map(|input| input.into_parts());
        let (bias, bias_node) = bias.map(|bias| bias.into_parts()).unzip();
        if !tracked {
            return Self::from_inner(B::attend_forward(q, k, v, layout, bias.into(), dropout));
        }
        let qkv = [q.clone(), k.clone(), v.clone()];
        let (out, lse) = B::attend_with_lse(q, k, v, layout.clone(), bias.clone().into(), dropout);
        let saved = Saved { qkv, bias, out: out.clone(), lse, layout, dropout };
        match bias_node {
            Some(bias_node) => {
                record::<B, C, _, 4>(AttendBackward, [q_node, k_node, v_node, bias_node], saved, out)
            }
            None => record::<B, C, _, 3>(AttendBackward, [q_node, k_node, v_node], saved, out),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use topwork_kernels::attend_layout::Mask;

    use super::*;
    use crate::check::{Case, close, floats, normal};

    const DROPOUT: Option<Dropout> = Some(Dropout { p: 0.3, seed: 5 });

    /// The layouts worth trying, with the width of a head and of its values.
    pub(crate) fn layouts() -> Vec<(AttendLayout, [usize; 2])> {
        let layout = |q: &[u32], k: &[u32], heads, kv_heads, mask| AttendLayout {
            q_offsets: q.into(),
            k_offsets: k.into(),
            kv_heads,
            ..AttendLayout::new(&[0].into(), heads, 4, mask)
        };
        let long = [0, 2, 2, 133];
        let pairs: Arc<[u8]> = (0..3 * 5 + 4 * 2).map(|at| u8::from(at % 3 > 0 && at > 4)).collect();
        let mut room = layout(&[0, 1, 4], &[0, 9, 20], 2, 2, Mask::Causal);
        room.k_lens = Some([6, 11].into());
        vec![
            (layout(&[0, 1], &[0, 1], 1, 1, Mask::Causal), [1, 1]),
            (layout(&long, &long, 2, 2, Mask::Causal), [5, 5]),
            (layout(&[0, 3, 4], &[0, 2, 20], 4, 2, Mask::Full), [4, 3]),
            (layout(&[0, 3, 9], &[0, 1, 12], 2, 1, Mask::Window { left: 2, right: 1 }), [4, 4]),
            (layout(&[0, 3, 7], &[0, 5, 7], 2, 2, Mask::Pairs(pairs)), [4, 4]),
            (room, [4, 6]),
        ]
    }

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        for (layout, [dim, v_dim]) in layouts() {
            for (span, dropout) in [(0, None), (0, DROPOUT), (6, None), (6, DROPOUT)] {
                let layout = AttendLayout { zero: span / 2, ..layout.clone() };
                let [q, k] = [&layout.q_offsets, &layout.k_offsets].map(|x| *x.last().unwrap() as usize);
                let mut shapes = vec![
                    vec![q, layout.heads * dim],
                    vec![k, layout.kv_heads * dim],
                    vec![k, layout.kv_heads * v_dim],
                ];
                if span > 0 {
                    shapes.push(vec![layout.heads, span]);
                }
                let case = Case {
                    name: format!(
                        "attend {layout:?}, heads of {dim} and {v_dim}, a bias of {span}, {dropout:?}"
                    ),
                    shapes,
                    operation: &|inputs| {
                        let [q, k, v] = [0, 1, 2].map(|input| inputs[input].clone());
                        let bias = inputs.get(3).cloned().into();
                        Dispatch::attend_forward(q, k, v, layout.clone(), bias, dropout)
                    },
                    composed: &|inputs| {
                        let [q, k, v] = [0, 1, 2].map(|input| inputs[input].clone());
                        composed::forward::<Dispatch>(q, k, v, &layout, inputs.get(3).cloned(), dropout).0
                    },
                };
                checked += case.check();
            }
        }
        checked
    }

    #[test]
    fn the_log_sum_exp_equals_the_composed_one() {
        let layout = AttendLayout { zero: 2, ..AttendLayout::new(&[0, 3, 20].into(), 2, 4, Mask::Causal) };
        let [q, k, v] = [1, 2, 3].map(|seed| normal::<2>([20, 8], seed).into_dispatch());
        let bias = normal::<2>([2, 3], 4).into_dispatch();
        let present = OptionalFloat::Present(bias.clone());
        let (_, kernel) =
            Dispatch::attend_with_lse(q.clone(), k.clone(), v.clone(), layout.clone(), present, DROPOUT);
        let (_, composed) = composed::forward::<Dispatch>(q, k, v, &layout, Some(bias), DROPOUT);
        let [kernel, composed] = [kernel, composed].map(Tensor::<2>::from_dispatch);
        assert_eq!((kernel.dims(), composed.dims()), ([2, 20], [2, 20]));
        close(&floats(kernel), &floats(composed), 1e-5).unwrap();
    }

    #[test]
    fn without_keys_there_are_zeros_and_no_gradient() {
        let device = burn::tensor::Device::flex().autodiff();
        let leaf = |rows, seed| {
            Tensor::<2>::from_data(normal::<2>([rows, 8], seed).into_data(), &device).require_grad()
        };
        let (q, k, v) = (leaf(2, 1), leaf(0, 2), leaf(0, 3));
        let layout =
            AttendLayout { k_offsets: [0, 0].into(), ..AttendLayout::new(&[0, 2].into(), 2, 4, Mask::Full) };
        let out = attend(q.clone(), k, v, &layout, None, DROPOUT);
        assert_eq!(floats(out.clone()), [0.0; 16]);
        assert_eq!(floats(q.grad(&out.sum().backward()).unwrap()), [0.0; 16]);
    }

    #[test]
    fn without_a_mask_it_is_attention() {
        let offsets: Arc<[u32]> = [0, 3, 20].into();
        let layout = AttendLayout::new(&offsets, 2, 4, Mask::Full);
        let qkv = normal::<2>([20, 24], 1);
        let [q, k, v] = [0, 8, 16].map(|from| qkv.clone().slice([0..20, from..from + 8]));
        let got = attend(q, k, v, &layout, None, DROPOUT);
        assert_eq!(floats(got), floats(crate::attention(qkv, &offsets, 2, DROPOUT)));
    }

    #[test]
    #[should_panic(expected = "attend: a bias of 3 x 5, expected a row for each of 2 heads")]
    fn a_bias_of_other_heads_is_refused() {
        let x = normal::<2>([2, 8], 1);
        let layout = AttendLayout::new(&[0, 2].into(), 2, 4, Mask::Full);
        attend(x.clone(), x.clone(), x, &layout, Some(normal([3, 5], 1)), None);
    }

    #[test]
    #[should_panic(expected = "attend: 8 columns of queries in 2 heads, 6 of keys and 8 of values in 2")]
    fn keys_of_another_width_are_refused() {
        let (x, k) = (normal::<2>([2, 8], 1), normal::<2>([2, 6], 1));
        attend(x.clone(), k, x, &AttendLayout::new(&[0, 2].into(), 2, 4, Mask::Full), None, None);
    }

    #[test]
    #[should_panic(expected = "attend: k_offsets must rise from 0 to 2")]
    fn offsets_beyond_the_rows_are_refused() {
        let x = normal::<2>([2, 8], 1);
        let layout =
            AttendLayout { k_offsets: [0, 3].into(), ..AttendLayout::new(&[0, 2].into(), 2, 4, Mask::Full) };
        attend(x.clone(), x.clone(), x, &layout, None, None);
    }
}

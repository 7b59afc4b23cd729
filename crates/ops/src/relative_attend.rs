//! Attention whose scores have terms of content and distance: Transformer-XL, XLNet, DeBERTa.
//!
//! Papers: Dai et al. 2019, "Transformer-XL", §3.3, <https://arxiv.org/abs/1901.02860>; Yang et al. 2019, "XLNet", §2.4 and
//! 2.5, <https://arxiv.org/abs/1906.08237>; He et al. 2021, "DeBERTa", §3.1, <https://arxiv.org/abs/2006.03654>.

use std::sync::Arc;

use burn::{
    Tensor,
    backend::{
        Autodiff, AutodiffBackend, Backend, Dispatch, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, NodeGuard, Ops},
        },
        backend_extension,
        tensor::FloatTensor,
    },
};
use topwork_kernels::attend_layout::AttendLayout;
use topwork_kernels::relative_attend as kernel;
use topwork_kernels::rng::Dropout;
use topwork_kernels::unwritten;

use crate::{attend, flex, host, optional::OptionalFloat, profile, record::record};

/// The terms that stand beside the product of a query and a key in [`relative_attend`]. Each may be absent.
///
/// The row of a query and a key is `table[clamp(key - query + layout.zero)]`, where the last query stands at the last key.
/// For DeBERTa the table holds the buckets; for Transformer-XL and XLNet row after row, as both rise with key minus query.
#[derive(Clone, Debug, Default)]
pub struct RelativeTerms {
    /// What queries find at a distance, `position · r_key[row]`: the queries for it `[q_tokens, heads * head_dim]`
    /// (those of content with another bias, or the same), and the rows `[span, heads * head_dim]`.
    pub of_queries: Option<(Tensor<2>, Tensor<2>)>,
    /// What keys find at a distance, `k · r_query[row]`: the rows `[span, heads * head_dim]`.
    pub of_keys: Option<Tensor<2>>,
    /// From distances to rows, below `span`.
    pub table: Arc<[u32]>,
    /// What a query adds for the segment of a key.
    pub segments: Option<Segments>,
}

/// The term of segments of XLNet: one number for keys of the query's own segment, one for the others.
#[derive(Clone, Debug)]
pub struct Segments {
    /// `[q_tokens, heads * 2]`: for each head the number of the same and of another segment.
    pub choice: Tensor<2>,
    /// The segment of each query: `[q_tokens]`.
    pub of_queries: Arc<[u32]>,
    /// The segment of each key: `[k_tokens]`.
    pub of_keys: Arc<[u32]>,
}

impl Segments {
    /// The term `q · rows[same or other]` of each head.
    ///
    /// # Shapes
    /// - `q`: `[q_tokens, heads * head_dim]`, queries with the bias of this term
    /// - `rows`: `[2, heads * head_dim]`, for the same and for another segment
    /// - `of_queries`: `[q_tokens]`; `of_keys`: `[k_tokens]`
    ///
    /// # Panics
    /// If the shapes do not fit together.
    pub fn new(
        q: Tensor<2>,
        rows: Tensor<2>,
        heads: usize,
        of_queries: Arc<[u32]>,
        of_keys: Arc<[u32]>,
    ) -> Self {
        let ([tokens, width], of_rows) = (q.dims(), rows.dims());
        assert!(heads > 0 && width % heads == 0, "relative_attend: {width} columns in {heads} heads");
        assert_eq!(of_rows, [2, width], "relative_attend: the rows of segments");
        let choices = [0, 1].map(|row| {
            let products = q.clone() * rows.clone().slice([row..row + 1, 0..width]);
            products.reshape([tokens, heads, width / heads]).sum_dim(2)
        });
        Self { choice: Tensor::cat(choices.into(), 2).reshape([tokens, heads * 2]), of_queries, of_keys }
    }
}

/// Attention with the scores `scale * (q · k + position · r_key[row] + k · r_query[row] + choice[same or other])`.
///
/// Masks, alignment and dropout are those of [`attend()`](crate::attend()); every head has keys of its own. The biases of
/// Transformer-XL are added to the queries before: `q` and the queries of the terms are separate.
///
/// # Shapes
/// - `q`: `[q_tokens, heads * head_dim]`; `k`, `v`: `[k_tokens, heads * head_dim]`; `terms`: see [`RelativeTerms`]
/// - returns: `[q_tokens, heads * head_dim]`
///
/// # Panics
/// If the shapes do not fit together or to `layout`, or the table leads to a row that is not there.
pub fn relative_attend(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    layout: &AttendLayout,
    terms: RelativeTerms,
    dropout: Option<Dropout>,
) -> Tensor<2> {
    attend::check("relative_attend", &q, &k, &v, layout);
    check(&q, &k, &v, layout, &terms);
    let RelativeTerms { of_queries, of_keys, table, segments } = terms;
    let (position, r_key) = of_queries.unzip();
    let none: Arc<[u32]> = Arc::new([]);
    let (choice, of_queries, of_keys_segments) = match segments {
        Some(Segments { choice, of_queries, of_keys }) => (Some(choice), of_queries, of_keys),
        None => (None, none.clone(), none),
    };
    let optional = |tensor: Option<Tensor<2>>| tensor.map(Tensor::into_dispatch).into();
    Tensor::from_dispatch(Dispatch::relative_attend_forward(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        optional(position),
        optional(r_key),
        optional(of_keys),
        optional(choice),
        RelativeLayout {
            layout: layout.clone(),
            table,
            q_segments: of_queries,
            k_segments: of_keys_segments,
            dropout,
        },
    ))
}

fn check(q: &Tensor<2>, k: &Tensor<2>, v: &Tensor<2>, layout: &AttendLayout, terms: &RelativeTerms) {
    let (heads, kv_heads) = (layout.heads, layout.kv_heads);
    assert!(heads == kv_heads, "relative_attend: {heads} heads share {kv_heads} heads of keys");
    let ([q_tokens, width], [k_tokens, _], [_, values]) = (q.dims(), k.dims(), v.dims());
    assert!(values == width, "relative_attend: {width} columns of queries, {values} of values");
    let mut spans = Vec::new();
    if let Some((position, r_key)) = &terms.of_queries {
        assert_eq!(position.dims(), q.dims(), "relative_attend: the shape of the queries for distances");
        spans.push(r_key.dims());
    }
    spans.extend(terms.of_keys.iter().map(Tensor::dims));
    for &[span, columns] in &spans {
        assert!(
            columns == width,
            "relative_attend: {columns} columns of rows by distance for {width} of queries"
        );
        assert!(span == spans[0][0], "relative_attend: {} and {span} rows by distance", spans[0][0]);
        let highest = terms.table.iter().max();
        assert!(
            highest.is_some_and(|&row| (row as usize) < span),
            "relative_attend: the table leads to row {highest:?} of {span}"
        );
    }
    if let Some(Segments { choice, of_queries, of_keys }) = &terms.segments {
        assert_eq!(
            choice.dims(),
            [q_tokens, 2 * heads],
            "relative_attend: the shape of the choice by segment"
        );
        let segments = (of_queries.len(), of_keys.len());
        assert_eq!(segments, (q_tokens, k_tokens), "relative_attend: a segment for each query and each key");
    }
}

/// What [`relative_attend`] has besides tensors.
#[derive(Clone, Debug)]
pub struct RelativeLayout {
    /// Where sequences lie, and what they see.
    pub layout: AttendLayout,
    /// From distances to rows.
    pub table: Arc<[u32]>,
    /// The segment of each query, if there are segments.
    pub q_segments: Arc<[u32]>,
    /// The segment of each key, if there are segments.
    pub k_segments: Arc<[u32]>,
    /// Dropout of probabilities.
    pub dropout: Option<Dropout>,
}

/// The gradients of q, k, v, position, r_key, r_query and choice; those of what is absent are empty.
pub type SevenGradients<B> = (
    FloatTensor<B>,
    FloatTensor<B>,
    FloatTensor<B>,
    FloatTensor<B>,
    FloatTensor<B>,
    FloatTensor<B>,
    FloatTensor<B>,
);

/// [`relative_attend`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
pub trait RelativeAttendOps: Backend {
    /// Attention: see [`relative_attend`].
    fn relative_attend_forward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        #[extension_type] position: OptionalFloat<Self>,
        #[extension_type] r_key: OptionalFloat<Self>,
        #[extension_type] r_query: OptionalFloat<Self>,
        #[extension_type] choice: OptionalFloat<Self>,
        fixed: RelativeLayout,
    ) -> FloatTensor<Self> {
        Self::relative_attend_with_lse(q, k, v, position, r_key, r_query, choice, fixed).0
    }

    /// Attention and, for the backward, the log-sum-exp of each row of scores: `[heads, q_tokens]`.
    fn relative_attend_with_lse(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        #[extension_type] position: OptionalFloat<Self>,
        #[extension_type] r_key: OptionalFloat<Self>,
        #[extension_type] r_query: OptionalFloat<Self>,
        #[extension_type] choice: OptionalFloat<Self>,
        fixed: RelativeLayout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let terms = [position, r_key, r_query, choice].map(OptionalFloat::into_option);
        composed::forward::<Self>([q, k, v], terms, &fixed)
    }

    /// The gradients of the tensors in the order of the arguments; those of what is absent are empty.
    fn relative_attend_backward(
        d_out: FloatTensor<Self>,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        #[extension_type] position: OptionalFloat<Self>,
        #[extension_type] r_key: OptionalFloat<Self>,
        #[extension_type] r_query: OptionalFloat<Self>,
        #[extension_type] choice: OptionalFloat<Self>,
        out: FloatTensor<Self>,
        lse: FloatTensor<Self>,
        fixed: RelativeLayout,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        // The composed body computes the probabilities again, which needs neither.
        let _ = (out, lse);
        let terms = [position, r_key, r_query, choice].map(OptionalFloat::into_option);
        composed::backward::<Self>(d_out, [q, k, v], terms, &fixed)
    }
}

pub mod composed;

/// The kernel's inputs of dense tensors; `terms` are position, r_key, r_query and choice.
fn inputs<'a>(
    [q, k, v]: [&'a FloatTensor<Flex>; 3],
    terms: &'a [Option<FloatTensor<Flex>>; 4],
    fixed: &'a RelativeLayout,
) -> kernel::Inputs<'a> {
    let [q, k, v] = [q, k, v].map(flex::values);
    let [position, r_key, r_query, choice] =
        terms.each_ref().map(|term| term.as_ref().map(flex::values).unwrap_or_default());
    let RelativeLayout { table, q_segments, k_segments, .. } = fixed;
    kernel::Inputs { q, k, v, position, r_key, r_query, choice, table, q_segments, k_segments }
}

impl RelativeAttendOps for Flex {
    fn relative_attend_with_lse(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        position: OptionalFloat<Self>,
        r_key: OptionalFloat<Self>,
        r_query: OptionalFloat<Self>,
        choice: OptionalFloat<Self>,
        fixed: RelativeLayout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("relative_attend_with_lse");
        let terms = [position, r_key, r_query, choice].map(OptionalFloat::into_option);
        if !flex::all_f32([&q, &k, &v].into_iter().chain(terms.iter().flatten())) {
            return composed::forward::<Self>([q, k, v], terms, &fixed);
        }
        let ([q, k, v], terms) = ([q, k, v].map(flex::dense), terms.map(|term| term.map(flex::dense)));
        let ([tokens, width], heads) = (host::dims(&q), fixed.layout.heads);
        let (mut out, mut lse) = (unwritten(tokens * width), unwritten(heads * tokens));
        let inputs = inputs([&q, &k, &v], &terms, &fixed);
        kernel::forward(inputs, &fixed.layout, fixed.dropout, &mut out, &mut lse);
        (flex::tensor(out, [tokens, width]), flex::tensor(lse, [heads, tokens]))
    }

    fn relative_attend_backward(
        d_out: FloatTensor<Self>,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        position: OptionalFloat<Self>,
        r_key: OptionalFloat<Self>,
        r_query: OptionalFloat<Self>,
        choice: OptionalFloat<Self>,
        out: FloatTensor<Self>,
        lse: FloatTensor<Self>,
        fixed: RelativeLayout,
    ) -> SevenGradients<Self> {
        let _time = profile::time("relative_attend_backward");
        let terms = [position, r_key, r_query, choice].map(OptionalFloat::into_option);
        if !flex::all_f32([&d_out, &q, &k, &v, &out, &lse].into_iter().chain(terms.iter().flatten())) {
            return composed::backward::<Self>(d_out, [q, k, v], terms, &fixed);
        }
        let [d_out, q, k, v, out, lse] = [d_out, q, k, v, out, lse].map(flex::dense);
        let terms = terms.map(|term| term.map(flex::dense));
        let shapes = [Some(&q), Some(&k), Some(&v)].into_iter().chain(terms.iter().map(Option::as_ref));
        let shapes: Vec<[usize; 2]> = shapes.map(|x| x.map_or([0, 0], host::dims)).collect();
        let mut grads: Vec<Vec<f32>> = shapes.iter().map(|[rows, cols]| unwritten(rows * cols)).collect();
        let [q_to, k_to, v_to, position, r_key, r_query, choice] = &mut grads[..] else {
            unreachable!("seven inputs have seven gradients")
        };
        let to = kernel::Gradients { q: q_to, k: k_to, v: v_to, position, r_key, r_query, choice };
        let inputs = inputs([&q, &k, &v], &terms, &fixed);
        let [out, lse, d_out] = [&out, &lse, &d_out].map(flex::values);
        kernel::backward(inputs, &fixed.layout, fixed.dropout, out, lse, d_out, to);
        let mut made = grads.into_iter().zip(shapes).map(|(values, shape)| flex::tensor(values, shape));
        let mut next = || match made.next() {
            Some(grad) => grad,
            None => unreachable!("seven inputs have seven gradients"),
        };
        (next(), next(), next(), next(), next(), next(), next())
    }
}

#[cfg(feature = "cube")]
impl RelativeAttendOps for burn::backend::Cube {}

/// What [`RelativeAttendBackward`] needs.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    qkv: [FloatTensor<B>; 3],
    terms: [Option<FloatTensor<B>>; 4],
    out: FloatTensor<B>,
    lse: FloatTensor<B>,
    fixed: RelativeLayout,
}

/// Parents: q, k, v and those of position, r_key, r_query and choice that are there.
#[derive(Debug)]
struct RelativeAttendBackward;

impl<B: RelativeAttendOps, const N: usize> Backward<B, N> for RelativeAttendBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_out = grads.consume::<B>(&ops.node);
        let Saved { qkv: [q, k, v], terms, out, lse, fixed } = ops.state;
        let there = terms.each_ref().map(Option::is_some);
        let [position, r_key, r_query, choice] = terms.map(OptionalFloat::from);
        let (d_q, d_k, d_v, d_position, d_r_key, d_r_query, d_choice) =
            B::relative_attend_backward(d_out, q, k, v, position, r_key, r_query, choice, out, lse, fixed);
        let of_terms = [d_position, d_r_key, d_r_query, d_choice].into_iter().zip(there);
        let of_terms = of_terms.filter_map(|(grad, there)| there.then_some(grad));
        for (node, grad) in ops.parents.into_iter().zip([d_q, d_k, d_v].into_iter().chain(of_terms)) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

impl<B: RelativeAttendOps, C: CheckpointStrategy> RelativeAttendOps for Autodiff<B, C> {
    fn relative_attend_forward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        position: OptionalFloat<Self>,
        r_key: OptionalFloat<Self>,
        r_query: OptionalFloat<Self>,
        choice: OptionalFloat<Self>,
        fixed: RelativeLayout,
    ) -> FloatTensor<Self> {
        let terms = [position, r_key, r_query, choice].map(OptionalFloat::into_option);
        let tracked = [&q, &k, &v].into_iter().chain(terms.iter().flatten()).any(|input| input.is_tracked());
        let mut nodes: Vec<NodeGuard> = Vec::with_capacity(7);
        let [q, k, v] = [q, k, v].map(|input| {
            let (input, node) = input.into_parts();
            nodes.push(node);
            input
        });
        let terms = terms.map(|term| {
            term.map(|term| {
                let (term, node) = term.into_parts();
                nodes.push(node);
                term
            })
        });
        let [position, r_key, r_query, choice] = terms.clone().map(OptionalFloat::from);
        if !tracked {
            let out = B::relative_attend_forward(q, k, v, position, r_key, r_query, choice, fixed);
            return Self::from_inner(out);
        }
        let qkv = [q.clone(), k.clone(), v.clone()];
        let (out, lse) =
            B::relative_attend_with_lse(q, k, v, position, r_key, r_query, choice, fixed.clone());
        let saved = Saved { qkv, terms, out: out.clone(), lse, fixed };
        match nodes.len() {
            3 => with_parents::<B, C, 3>(nodes, saved, out),
            4 => with_parents::<B, C, 4>(nodes, saved, out),
            5 => with_parents::<B, C, 5>(nodes, saved, out),
            6 => with_parents::<B, C, 6>(nodes, saved, out),
            _ => with_parents::<B, C, 7>(nodes, saved, out),
        }
    }
}

fn with_parents<B: RelativeAttendOps, C: CheckpointStrategy, const N: usize>(
    nodes: Vec<NodeGuard>,
    saved: Saved<B>,
    out: FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    match <[NodeGuard; N]>::try_from(nodes) {
        Ok(nodes) => record::<B, C, _, N>(RelativeAttendBackward, nodes, saved, out),
        Err(nodes) => unreachable!("{} parents were counted as {N}", nodes.len()),
    }
}

#[cfg(test)]
#[path = "relative_attend_tests.rs"]
pub(crate) mod tests;

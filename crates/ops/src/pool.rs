//! One vector for each sequence.

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
        tensor::{FloatTensor, IntTensor},
    },
};
use topwork_kernels::pool::{self as kernel, Pool};

use crate::{flex, host, packed, profile, record::record};

/// The first or last token, the mean or the maximum of each sequence.
///
/// # Shapes
/// - `x`: `[tokens, hidden]`
/// - `offsets`: `[batch + 1]`, where each sequence starts and the last one ends
/// - returns: `[batch, hidden]`
///
/// # Panics
/// If `offsets` does not rise from 0 to `tokens`, or a sequence has no token.
pub fn pool(x: Tensor<2>, offsets: &Arc<[u32]>, pool: Pool) -> Tensor<2> {
    let [tokens, _] = x.dims();
    packed::check("pool", offsets, tokens);
    for (sequence, pair) in offsets.windows(2).enumerate() {
        assert!(pair[0] < pair[1], "pool: sequence {sequence} has no token to pool");
    }
    Tensor::from_dispatch(Dispatch::pool_forward(x.into_dispatch(), offsets.clone(), pool))
}

/// [`pool()`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait PoolOps: Backend {
    /// One vector for each sequence: see [`pool()`].
    fn pool_forward(x: FloatTensor<Self>, offsets: Arc<[u32]>, pool: Pool) -> FloatTensor<Self> {
        Self::pool_with_argmax(x, offsets, pool).0
    }

    /// The same and, for the backward of the maximum, the token each value came from:
    /// `[batch, hidden]`, empty for the other kinds.
    fn pool_with_argmax(
        x: FloatTensor<Self>,
        offsets: Arc<[u32]>,
        pool: Pool,
    ) -> (FloatTensor<Self>, IntTensor<Self>) {
        composed::forward::<Self>(x, &offsets, pool)
    }

    /// The gradient of `x`: `[tokens, hidden]`.
    fn pool_d_x(
        d_y: FloatTensor<Self>,
        argmax: IntTensor<Self>,
        offsets: Arc<[u32]>,
        pool: Pool,
    ) -> FloatTensor<Self> {
        composed::d_x::<Self>(d_y, argmax, &offsets, pool)
    }
}

/// [`pool()`] in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{
        Backend, IntDType, Shape, TensorMetadata,
        tensor::{FloatTensor, IndexingUpdateOp, IntTensor},
    };
    use topwork_kernels::pool::Pool;

    use crate::{host, packed::Padding};

    /// One vector for each sequence, and the token each value came from if it is a maximum.
    pub fn forward<B: Backend>(
        x: FloatTensor<B>,
        offsets: &[u32],
        pool: Pool,
    ) -> (FloatTensor<B>, IntTensor<B>) {
        let [_, hidden] = host::dims(&x);
        let padding = Padding::new(offsets);
        let Padding { batch, seq, .. } = padding;
        let none = host::indices::<B>([], [0, hidden], &x);
        match pool {
            Pool::Cls | Pool::Last => {
                let rows = host::indices::<B>(picked(&padding, pool), [batch], &x);
                (B::float_select(x, 0, rows), none)
            }
            Pool::Mean => {
                let [tokens, _] = host::dims(&x);
                let sequence = padding.sequence_of_rows();
                let sequence = host::indices::<B>(sequence, [tokens], &x);
                let shares = shares::<B>(&padding, &x);
                let zeros = host::zeros::<B>([batch, hidden], &x);
                let sums = B::float_select_assign(zeros, 0, sequence, x, IndexingUpdateOp::Add);
                (B::float_mul(sums, shares), none)
            }
            Pool::Max => {
                let rows = host::indices::<B>(padding.rows(), [batch * seq], &x);
                let masked = padding
                    .present()
                    .into_iter()
                    .map(|present| if present > 0.0 { 0.0 } else { f32::NEG_INFINITY })
                    .collect();
                let masked = host::floats::<B>(masked, [batch, seq, 1], &x);
                let padded = B::float_select(x, 0, rows);
                let padded = B::float_reshape(padded, Shape::from([batch, seq, hidden]));
                let padded = B::float_add(padded, masked);
                let (y, place) = B::float_max_dim_with_indices(padded, 1, IntDType::I32);
                let starts = padding.sequences().map(|range| range.start);
                let starts = host::indices::<B>(starts, [batch, 1], &y);
                let place = B::int_reshape(place, Shape::from([batch, hidden]));
                let y = B::float_reshape(y, Shape::from([batch, hidden]));
                (y, B::int_add(place, starts))
            }
        }
    }

    /// The gradient of `x`.
    pub fn d_x<B: Backend>(
        d_y: FloatTensor<B>,
        argmax: IntTensor<B>,
        offsets: &[u32],
        pool: Pool,
    ) -> FloatTensor<B> {
        let [_, hidden] = host::dims(&d_y);
        let padding = Padding::new(offsets);
        let tokens = offsets.last().map_or(0, |&last| last as usize);
        match pool {
            Pool::Cls | Pool::Last => {
                let rows = host::indices::<B>(picked(&padding, pool), [padding.batch], &d_y);
                let zeros = host::zeros::<B>([tokens, hidden], &d_y);
                B::float_select_assign(zeros, 0, rows, d_y, IndexingUpdateOp::Add)
            }
            Pool::Mean => {
                let sequence = padding.sequence_of_rows();
                let sequence = host::indices::<B>(sequence, [tokens], &d_y);
                let shares = shares::<B>(&padding, &d_y);
                B::float_select(B::float_mul(d_y, shares), 0, sequence)
            }
            Pool::Max => {
                let zeros = host::zeros::<B>([tokens, hidden], &d_y);
                debug_assert_eq!(argmax.shape(), d_y.shape());
                B::float_scatter(0, zeros, argmax, d_y, IndexingUpdateOp::Add)
            }
        }
    }

    /// The row of each sequence that stands for it.
    fn picked(padding: &Padding, pool: Pool) -> impl Iterator<Item = usize> {
        padding.sequences().map(move |range| if pool == Pool::Last { range.end - 1 } else { range.start })
    }

    /// One over the length of each sequence: `[batch, 1]`.
    fn shares<B: Backend>(padding: &Padding, like: &FloatTensor<B>) -> FloatTensor<B> {
        let shares = padding.sequences().map(|range| 1.0 / range.len() as f32);
        host::floats::<B>(shares.collect(), [padding.batch, 1], like)
    }
}

impl PoolOps for Flex {
    fn pool_with_argmax(
        x: FloatTensor<Self>,
        offsets: Arc<[u32]>,
        pool: Pool,
    ) -> (FloatTensor<Self>, IntTensor<Self>) {
        let _time = profile::time("pool_with_argmax");
        if !flex::all_f32([&x]) {
            return composed::forward::<Self>(x, &offsets, pool);
        }
        let x = flex::dense(x);
        let [_, hidden] = host::dims(&x);
        let batch = offsets.len() - 1;
        let rows = if pool == Pool::Max { batch } else { 0 };
        let mut y = vec![0.0; batch * hidden];
        let mut argmax = vec![0; rows * hidden];
        kernel::forward(flex::values(&x), hidden, &offsets, pool, &mut y, &mut argmax);
        (flex::tensor(y, [batch, hidden]), flex::index_tensor(argmax, [rows, hidden]))
    }

    fn pool_d_x(
        d_y: FloatTensor<Self>,
        argmax: IntTensor<Self>,
        offsets: Arc<[u32]>,
        pool: Pool,
    ) -> FloatTensor<Self> {
        let _time = profile::time("pool_d_x");
        if !flex::all_f32([&d_y]) {
            return composed::d_x::<Self>(d_y, argmax, &offsets, pool);
        }
        let (d_y, argmax) = (flex::dense(d_y), flex::dense(argmax));
        let [_, hidden] = host::dims(&d_y);
        let tokens = offsets.last().map_or(0, |&last| last as usize);
        let mut d_x = vec![0.0; tokens * hidden];
        kernel::backward(flex::values(&d_y), hidden, &offsets, pool, flex::indices(&argmax), &mut d_x);
        flex::tensor(d_x, [tokens, hidden])
    }
}

#[cfg(feature = "cube")]
impl PoolOps for burn::backend::Cube {}

/// What [`PoolBackward`] needs.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    argmax: IntTensor<B>,
    offsets: Arc<[u32]>,
    pool: Pool,
}

/// Parent: x.
#[derive(Debug)]
struct PoolBackward;

impl<B: PoolOps> Backward<B, 1> for PoolBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_y = grads.consume::<B>(&ops.node);
        let Saved { argmax, offsets, pool } = ops.state;
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::pool_d_x(d_y, argmax, offsets, pool));
        }
    }
}

impl<B: PoolOps, C: CheckpointStrategy> PoolOps for Autodiff<B, C> {
    fn pool_forward(x: FloatTensor<Self>, offsets: Arc<[u32]>, pool: Pool) -> FloatTensor<Self> {
        if !x.is_tracked() {
            return Self::from_inner(B::pool_forward(x.into_primitive(), offsets, pool));
        }
        let (x, node) = x.into_parts();
        let (y, argmax) = B::pool_with_argmax(x, offsets.clone(), pool);
        let saved = Saved { argmax, offsets, pool };
        record::<B, C, _, 1>(PoolBackward, [node], saved, y)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::check::{Case, OFFSETS, normal};

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        for offsets in OFFSETS {
            for kind in [Pool::Cls, Pool::Last, Pool::Mean, Pool::Max] {
                let tokens = *offsets.last().unwrap() as usize;
                let offsets: Arc<[u32]> = offsets.into();
                let case = Case {
                    name: format!("pool {kind:?} {offsets:?}"),
                    shapes: vec![vec![tokens, 9]],
                    operation: &|inputs| Dispatch::pool_forward(inputs[0].clone(), offsets.clone(), kind),
                    composed: &|inputs| composed::forward::<Dispatch>(inputs[0].clone(), &offsets, kind).0,
                };
                checked += case.check();
            }
        }
        checked
    }

    #[test]
    #[should_panic(expected = "pool: sequence 1 has no token to pool")]
    fn an_empty_sequence_is_refused() {
        pool(normal([3, 2], 1), &[0, 2, 2, 3].into(), Pool::Mean);
    }
}

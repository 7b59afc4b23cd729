//! The gate of a highway layer in one pass.
//!
//! Paper: Srivastava, Greff and Schmidhuber 2015, "Highway networks", §2, <https://arxiv.org/abs/1505.00387>. The gate is
//! for what passes, as in AllenNLP and ELMo; the paper's is for what is transformed.

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
use topwork_kernels::highway as kernel;
use topwork_kernels::unwritten;

use crate::{flex, host, profile, record::record};

/// `g·x + (1 - g)·relu(a)` with `g = sigmoid(b)`, where a row of `projected` is `a` and then `b`.
///
/// `projected` is a linear layer of `x` with twice its width.
///
/// # Shapes
/// - `x`, returns: `[tokens, hidden]`
/// - `projected`: `[tokens, 2 hidden]`
///
/// # Panics
/// If the shapes do not fit together.
pub fn highway(x: Tensor<2>, projected: Tensor<2>) -> Tensor<2> {
    let ([tokens, hidden], of_projected) = (x.dims(), projected.dims());
    assert_eq!(of_projected, [tokens, 2 * hidden], "highway: projected is not twice as wide as x");
    Tensor::from_dispatch(Dispatch::highway_forward(x.into_dispatch(), projected.into_dispatch()))
}

/// [`highway`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait HighwayOps: Backend {
    /// `g·x + (1 - g)·relu(a)`: see [`highway`].
    fn highway_forward(x: FloatTensor<Self>, projected: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::forward::<Self>(x, projected)
    }

    /// The gradients of `x` and of `projected`.
    fn highway_backward(
        d_y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        projected: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::backward::<Self>(d_y, x, projected)
    }
}

/// [`highway`] in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{Backend, Slice, tensor::FloatTensor};

    use crate::bias_activation::composed::{one_minus, sigmoid};
    use crate::host;

    /// `g·x + (1 - g)·relu(a)`.
    pub fn forward<B: Backend>(x: FloatTensor<B>, projected: FloatTensor<B>) -> FloatTensor<B> {
        let [a, b] = halves::<B>(projected);
        let (a, gate) = (B::float_clamp_min(a, 0.0.into()), sigmoid::<B>(b));
        let passed = B::float_mul(gate.clone(), x);
        B::float_add(passed, B::float_mul(one_minus::<B>(gate), a))
    }

    /// The gradients of `x` and of `projected`.
    pub fn backward<B: Backend>(
        d_y: FloatTensor<B>,
        x: FloatTensor<B>,
        projected: FloatTensor<B>,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let [a, b] = halves::<B>(projected);
        let (a, gate) = (B::float_clamp_min(a, 0.0.into()), sigmoid::<B>(b));
        let closed = one_minus::<B>(gate.clone());
        let d_x = B::float_mul(d_y.clone(), gate.clone());
        let d_a = B::float_mul(B::float_mul(d_y.clone(), closed.clone()), B::float_sign(a.clone()));
        let d_b = B::float_mul(B::float_mul(d_y, B::float_sub(x, a)), B::float_mul(gate, closed));
        (d_x, B::float_cat(vec![d_a, d_b], 1))
    }

    fn halves<B: Backend>(projected: FloatTensor<B>) -> [FloatTensor<B>; 2] {
        let [rows, width] = host::dims(&projected);
        [0, 1].map(|half| {
            let columns = half * width / 2..(half + 1) * width / 2;
            B::float_slice(projected.clone(), &[Slice::from(0..rows), Slice::from(columns)])
        })
    }
}

impl HighwayOps for Flex {
    fn highway_forward(x: FloatTensor<Self>, projected: FloatTensor<Self>) -> FloatTensor<Self> {
        let _time = profile::time("highway_forward");
        if !flex::all_f32([&x, &projected]) {
            return composed::forward::<Self>(x, projected);
        }
        let [x, projected] = [x, projected].map(flex::dense);
        let [tokens, hidden] = host::dims(&x);
        let mut y = unwritten(tokens * hidden);
        kernel::forward(flex::values(&x), flex::values(&projected), hidden, &mut y);
        flex::tensor(y, [tokens, hidden])
    }

    fn highway_backward(
        d_y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        projected: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("highway_backward");
        if !flex::all_f32([&d_y, &x, &projected]) {
            return composed::backward::<Self>(d_y, x, projected);
        }
        let [d_y, x, projected] = [d_y, x, projected].map(flex::dense);
        let [tokens, hidden] = host::dims(&x);
        let (mut d_x, mut d_projected) = (unwritten(tokens * hidden), unwritten(2 * tokens * hidden));
        let (of_x, of_projected) = (flex::values(&x), flex::values(&projected));
        kernel::backward(of_x, of_projected, hidden, flex::values(&d_y), &mut d_x, &mut d_projected);
        (flex::tensor(d_x, [tokens, hidden]), flex::tensor(d_projected, [tokens, 2 * hidden]))
    }
}

#[cfg(feature = "cube")]
impl HighwayOps for burn::backend::Cube {}

/// What [`HighwayBackward`] needs.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    x: FloatTensor<B>,
    projected: FloatTensor<B>,
}

/// Parents: x and projected.
#[derive(Debug)]
struct HighwayBackward;

impl<B: HighwayOps> Backward<B, 2> for HighwayBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_y = grads.consume::<B>(&ops.node);
        let (d_x, d_projected) = B::highway_backward(d_y, ops.state.x, ops.state.projected);
        for (node, gradient) in ops.parents.into_iter().zip([d_x, d_projected]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: HighwayOps, C: CheckpointStrategy> HighwayOps for Autodiff<B, C> {
    fn highway_forward(x: FloatTensor<Self>, projected: FloatTensor<Self>) -> FloatTensor<Self> {
        let tracked = x.is_tracked() || projected.is_tracked();
        let (x, x_node) = x.into_parts();
        let (projected, projected_node) = projected.into_parts();
        if !tracked {
            return Self::from_inner(B::highway_forward(x, projected));
        }
        let y = B::highway_forward(x.clone(), projected.clone());
        record::<B, C, _, 2>(HighwayBackward, [x_node, projected_node], Saved { x, projected }, y)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::check::{Case, normal};

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        for (tokens, hidden) in [(1, 1), (5, 33), (130, 7)] {
            let case = Case {
                name: format!("highway {tokens}x{hidden}"),
                shapes: vec![vec![tokens, hidden], vec![tokens, 2 * hidden]],
                operation: &|inputs| Dispatch::highway_forward(inputs[0].clone(), inputs[1].clone()),
                composed: &|inputs| composed::forward::<Dispatch>(inputs[0].clone(), inputs[1].clone()),
            };
            checked += case.check();
        }
        checked
    }

    #[test]
    #[should_panic(expected = "highway: projected is not twice as wide as x")]
    fn a_projection_of_another_width_is_refused() {
        highway(normal([2, 4], 1), normal([2, 4], 2));
    }
}

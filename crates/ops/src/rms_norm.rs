//! Normalisation by the root of the mean square, as in T5, Llama and what came after them.
//!
//! Paper: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization", §4, <https://arxiv.org/abs/1910.07467>.

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
use topwork_kernels::{rms_norm as kernel, unwritten};

use crate::{flex, host, profile, record::record};

/// `x / sqrt(mean(x²) + eps) * gain` of each row.
///
/// Families that store `gain - 1` (Gemma) add the one to their parameter first.
///
/// # Shapes
/// - `x`, returns: `[tokens, hidden]`; the heads of queries or keys are normalised as `[tokens * heads, head_dim]`
/// - `gain`: `[hidden]`
///
/// # Panics
/// If the shapes do not fit together.
pub fn rms_norm(x: Tensor<2>, gain: Tensor<1>, eps: f64) -> Tensor<2> {
    let ([_, hidden], [len]) = (x.dims(), gain.dims());
    assert_eq!(hidden, len, "rms_norm: x has {hidden} columns, gain {len} values");
    Tensor::from_dispatch(Dispatch::rms_norm_forward(x.into_dispatch(), gain.into_dispatch(), eps))
}

/// [`rms_norm`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait RmsNormOps: Backend {
    /// The normalised rows: see [`rms_norm`].
    fn rms_norm_forward(x: FloatTensor<Self>, gain: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        Self::rms_norm_with_rstd(x, gain, eps).0
    }

    /// The same and, for the backward, the inverse root of the mean square of each row: `[tokens]`.
    fn rms_norm_with_rstd(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::forward::<Self>(x, gain, eps)
    }

    /// The gradients of `x` and `gain`.
    fn rms_norm_backward(
        d_y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        rstd: FloatTensor<Self>,
        gain: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::backward::<Self>(d_y, x, rstd, gain)
    }
}

/// [`rms_norm`] in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{Backend, Shape, tensor::FloatTensor};

    use crate::host;

    /// The normalised rows, and the inverse root of the mean square of each.
    pub fn forward<B: Backend>(
        x: FloatTensor<B>,
        gain: FloatTensor<B>,
        eps: f64,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let [tokens, _] = host::dims(&x);
        let mean = B::float_mean_dim(B::float_mul(x.clone(), x.clone()), 1);
        let rstd = B::float_recip(B::float_sqrt(B::float_add_scalar(mean, eps.into())));
        let y = B::float_mul(B::float_mul(x, rstd.clone()), host::row::<B>(gain));
        (y, B::float_reshape(rstd, Shape::from([tokens])))
    }

    /// The gradients of `x` and `gain`.
    pub fn backward<B: Backend>(
        d_y: FloatTensor<B>,
        x: FloatTensor<B>,
        rstd: FloatTensor<B>,
        gain: FloatTensor<B>,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let [tokens, hidden] = host::dims(&x);
        let rstd = B::float_reshape(rstd, Shape::from([tokens, 1]));
        let normal = B::float_mul(x, rstd.clone());
        let d_gain = B::float_sum_dim(B::float_mul(d_y.clone(), normal.clone()), 0);
        let d_normal = B::float_mul(d_y, host::row::<B>(gain));
        let along = B::float_mean_dim(B::float_mul(d_normal.clone(), normal.clone()), 1);
        let d_x = B::float_sub(d_normal, B::float_mul(normal, along));
        (B::float_mul(d_x, rstd), B::float_reshape(d_gain, Shape::from([hidden])))
    }
}

/// Runs the forward kernel, which keeps the inverse roots if they are wanted.
fn run(x: &FloatTensor<Flex>, gain: &FloatTensor<Flex>, eps: f64, keep: bool) -> (Vec<f32>, Vec<f32>) {
    let [tokens, hidden] = host::dims(x);
    let (mut y, mut rstd) = (unwritten(tokens * hidden), unwritten(if keep { tokens } else { 0 }));
    kernel::forward(flex::values(x), flex::values(gain), eps as f32, &mut y, &mut rstd);
    (y, rstd)
}

impl RmsNormOps for Flex {
    fn rms_norm_forward(x: FloatTensor<Self>, gain: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        let _time = profile::time("rms_norm_forward");
        if !flex::all_f32([&x, &gain]) {
            return composed::forward::<Self>(x, gain, eps).0;
        }
        let [x, gain] = [x, gain].map(flex::dense);
        let (y, _) = run(&x, &gain, eps, false);
        flex::tensor(y, host::dims::<2>(&x))
    }

    fn rms_norm_with_rstd(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("rms_norm_with_rstd");
        if !flex::all_f32([&x, &gain]) {
            return composed::forward::<Self>(x, gain, eps);
        }
        let [x, gain] = [x, gain].map(flex::dense);
        let [tokens, hidden] = host::dims(&x);
        let (y, rstd) = run(&x, &gain, eps, true);
        (flex::tensor(y, [tokens, hidden]), flex::tensor(rstd, [tokens]))
    }

    fn rms_norm_backward(
        d_y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        rstd: FloatTensor<Self>,
        gain: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("rms_norm_backward");
        if !flex::all_f32([&d_y, &x, &rstd, &gain]) {
            return composed::backward::<Self>(d_y, x, rstd, gain);
        }
        let [d_y, x, rstd, gain] = [d_y, x, rstd, gain].map(flex::dense);
        let [tokens, hidden] = host::dims(&x);
        let (mut d_x, mut d_gain) = (unwritten(tokens * hidden), unwritten(hidden));
        let [d_y, x, rstd, gain] = [&d_y, &x, &rstd, &gain].map(flex::values);
        kernel::backward(d_y, x, rstd, gain, &mut d_x, &mut d_gain);
        (flex::tensor(d_x, [tokens, hidden]), flex::tensor(d_gain, [hidden]))
    }
}

#[cfg(feature = "cube")]
impl RmsNormOps for burn::backend::Cube {}

/// What [`RmsNormBackward`] needs.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    x: FloatTensor<B>,
    rstd: FloatTensor<B>,
    gain: FloatTensor<B>,
}

/// Parents: x and gain.
#[derive(Debug)]
struct RmsNormBackward;

impl<B: RmsNormOps> Backward<B, 2> for RmsNormBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_y = grads.consume::<B>(&ops.node);
        let Saved { x, rstd, gain } = ops.state;
        let (d_x, d_gain) = B::rms_norm_backward(d_y, x, rstd, gain);
        for (node, grad) in ops.parents.into_iter().zip([d_x, d_gain]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

impl<B: RmsNormOps, C: CheckpointStrategy> RmsNormOps for Autodiff<B, C> {
    fn rms_norm_forward(x: FloatTensor<Self>, gain: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        let tracked = x.is_tracked() || gain.is_tracked();
        let ((x, x_node), (gain, gain_node)) = (x.into_parts(), gain.into_parts());
        if !tracked {
            return Self::from_inner(B::rms_norm_forward(x, gain, eps));
        }
        let (y, rstd) = B::rms_norm_with_rstd(x.clone(), gain.clone(), eps);
        record::<B, C, _, 2>(RmsNormBackward, [x_node, gain_node], Saved { x, rstd, gain }, y)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::check::{Case, normal};

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        for (tokens, hidden) in [(1, 3), (1, 33), (5, 8), (70, 19)] {
            let case = Case {
                name: format!("rms_norm {tokens}x{hidden}"),
                shapes: vec![vec![tokens, hidden], vec![hidden]],
                operation: &|inputs| Dispatch::rms_norm_forward(inputs[0].clone(), inputs[1].clone(), 1e-5),
                composed: &|inputs| {
                    composed::forward::<Dispatch>(inputs[0].clone(), inputs[1].clone(), 1e-5).0
                },
            };
            checked += case.check();
        }
        checked
    }

    #[test]
    #[should_panic(expected = "rms_norm: x has 4 columns, gain 5 values")]
    fn a_gain_of_another_length_is_refused() {
        rms_norm(normal([2, 4], 1), normal([5], 2), 1e-5);
    }
}

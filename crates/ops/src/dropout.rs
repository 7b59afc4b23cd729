//! Dropout whose mask is a function of seed, row and column, so that nothing is stored for the
//! backward.
//!
//! Paper: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from
//! Overfitting", §4, <https://jmlr.org/papers/v15/srivastava14a.html>. Differs from the paper in
//! scaling when training (by `1 / (1 - p)`) and not when predicting, as everybody does since.

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
use topwork_kernels::{dropout as kernel, rng::Dropout};

use crate::{flex, host, profile, record::record};

/// Drops each value with probability `p` and scales the others by `1 / (1 - p)`. `None` changes
/// nothing.
///
/// # Shapes
/// - `x`, returns: `[tokens, hidden]`
pub fn dropout(x: Tensor<2>, dropout: Option<Dropout>) -> Tensor<2> {
    match dropout {
        Some(dropout) => Tensor::from_dispatch(Dispatch::dropout_forward(x.into_dispatch(), dropout)),
        None => x,
    }
}

/// [`dropout()`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait DropoutOps: Backend {
    /// Drops and scales values: see [`dropout()`]. Its backward is itself.
    fn dropout_forward(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        composed::forward::<Self>(x, dropout)
    }
}

/// [`dropout()`] in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{Backend, tensor::FloatTensor};
    use topwork_kernels::rng::Dropout;

    use crate::host;

    /// Drops and scales values. Its backward is itself.
    pub fn forward<B: Backend>(x: FloatTensor<B>, dropout: Dropout) -> FloatTensor<B> {
        let [rows, cols] = host::dims(&x);
        let scale = host::dropout_scale(rows, cols, dropout);
        let scale = host::floats::<B>(scale, [rows, cols], &x);
        B::float_mul(x, scale)
    }
}

impl DropoutOps for Flex {
    fn dropout_forward(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        let _time = profile::time("dropout_forward");
        if !flex::all_f32([&x]) {
            return composed::forward::<Self>(x, dropout);
        }
        let x = flex::dense(x);
        let [rows, cols] = host::dims(&x);
        let mut y = vec![0.0; rows * cols];
        kernel::forward(flex::values(&x), cols, dropout, &mut y);
        flex::tensor(y, [rows, cols])
    }
}

#[cfg(feature = "cube")]
impl DropoutOps for burn::backend::Cube {}

/// Parent: x.
#[derive(Debug)]
struct DropoutBackward;

impl<B: DropoutOps> Backward<B, 1> for DropoutBackward {
    type State = Dropout;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_y = grads.consume::<B>(&ops.node);
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::dropout_forward(d_y, ops.state));
        }
    }
}

impl<B: DropoutOps, C: CheckpointStrategy> DropoutOps for Autodiff<B, C> {
    fn dropout_forward(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        if !x.is_tracked() {
            return Self::from_inner(B::dropout_forward(x.into_primitive(), dropout));
        }
        let (x, node) = x.into_parts();
        let y = B::dropout_forward(x, dropout);
        record::<B, C, _, 1>(DropoutBackward, [node], dropout, y)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::check::{Case, floats, normal};

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        for (tokens, hidden) in [(1, 1), (7, 33), (130, 5)] {
            for p in [0.0, 0.1, 0.9] {
                let dropout = Dropout { p, seed: 9 };
                let case = Case {
                    name: format!("dropout {tokens}x{hidden}, {p}"),
                    shapes: vec![vec![tokens, hidden]],
                    operation: &|inputs| Dispatch::dropout_forward(inputs[0].clone(), dropout),
                    composed: &|inputs| composed::forward::<Dispatch>(inputs[0].clone(), dropout),
                };
                checked += case.check();
            }
        }
        checked
    }

    #[test]
    fn without_dropout_nothing_changes() {
        let x = normal::<2>([5, 6], 1);
        assert_eq!(floats(dropout(x.clone(), None)), floats(x));
    }

    #[test]
    fn drops_the_share_asked_for_and_keeps_the_mean() {
        let x = Tensor::<2>::ones([200, 100], &burn::tensor::Device::flex());
        let y = floats(dropout(x, Some(Dropout { p: 0.25, seed: 1 })));
        let dropped = y.iter().filter(|&&value| value == 0.0).count() as f64 / y.len() as f64;
        assert!((dropped - 0.25).abs() < 0.02, "{dropped}");
        let mean = y.iter().sum::<f64>() / y.len() as f64;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
    }
}

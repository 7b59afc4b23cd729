//! The sum of squares of a tensor, from which gradient norms are made.

use burn::{
    Tensor,
    backend::{
        Autodiff, AutodiffBackend, Backend, Dispatch, DispatchTensor, Flex,
        autodiff::checkpoint::strategy::CheckpointStrategy, backend_extension, flex::FlexTensor,
        tensor::FloatTensor,
    },
};
use topwork_kernels::adamw as kernel;

use crate::flex;

/// The sum of the squares of all values, accumulated in `f64` on the CPU.
///
/// # Shapes
/// - `x`: any
pub fn sum_squares(x: &DispatchTensor) -> f64 {
    let sum = Tensor::<1>::from_dispatch(Dispatch::sum_squares(x));
    sum.into_data().iter::<f64>().sum()
}

/// [`sum_squares()`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait SumSquaresOps: Backend {
    /// The sum of the squares of all values, `[1]`: see [`sum_squares()`].
    fn sum_squares(x: &FloatTensor<Self>) -> FloatTensor<Self> {
        composed::forward::<Self>(x.clone())
    }
}

/// [`sum_squares()`] in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{Backend, tensor::FloatTensor};

    /// The sum of the squares of all values: `[1]`.
    pub fn forward<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
        B::float_sum(B::float_mul(x.clone(), x))
    }
}

impl SumSquaresOps for Flex {
    fn sum_squares(x: &FloatTensor<Self>) -> FloatTensor<Self> {
        if !flex::all_f32([x]) {
            return composed::forward::<Self>(x.clone());
        }
        let x = flex::dense(x.clone());
        let sum = kernel::sum_squares(flex::values(&x));
        // Kept in f64: a norm over a hundred million values is more than f32 can add up.
        FlexTensor::from_data(burn::tensor::TensorData::new(vec![sum], [1]))
    }
}

#[cfg(feature = "cube")]
impl SumSquaresOps for burn::backend::Cube {}

/// Only ever read: not differentiated.
impl<B: SumSquaresOps, C: CheckpointStrategy> SumSquaresOps for Autodiff<B, C> {
    fn sum_squares(x: &FloatTensor<Self>) -> FloatTensor<Self> {
        Self::from_inner(B::sum_squares(x.primitive()))
    }
}

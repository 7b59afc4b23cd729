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
use crate::profile;

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
        let _time = profile::time("sum_squares");
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

#[cfg(test)]
pub(crate) mod tests {
    use burn::backend::TensorMetadata;

    use super::*;
    use crate::check::{close, floats, normal};

    pub(crate) fn sums() -> usize {
        let mut checked = 0;
        for shape in [[1, 1], [7, 33], [300, 100]] {
            let x = normal::<2>(shape, 1);
            let expected: f64 = floats(x.clone()).iter().map(|value| value * value).sum();
            let tensor = x.clone().into_dispatch();
            let composed = composed::forward::<Dispatch>(tensor.clone());
            assert_eq!(composed.shape(), [1].into());
            close(&[sum_squares(&tensor)], &[expected], 1e-12).unwrap();
            close(&floats(Tensor::<1>::from_dispatch(composed)), &[expected], 1e-5).unwrap();
            // Of a view, and of a vector.
            close(&[sum_squares(&x.clone().transpose().into_dispatch())], &[expected], 1e-12).unwrap();
            close(&[sum_squares(&x.flatten::<1>(0, 1).into_dispatch())], &[expected], 1e-12).unwrap();
            checked += 1;
        }
        checked
    }

    #[test]
    fn reads_a_tensor_of_the_autodiff_device() {
        let device = burn::tensor::Device::flex().autodiff();
        let x = Tensor::<1>::from_floats([3.0, 4.0], &device).require_grad();
        assert_eq!(sum_squares(&x.into_dispatch()), 25.0);
    }
}

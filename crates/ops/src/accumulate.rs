//! Adding up gradients over several batches.

use burn::backend::{Dispatch, DispatchTensor, TensorMetadata, ops::FloatTensorOps};

/// `into + grad`, written over `into` where nobody else holds it.
///
/// # Shapes
/// - `into`, `grad`, returns: the same shape, of any rank
///
/// # Panics
/// If the shapes differ.
pub fn accumulate(into: DispatchTensor, grad: DispatchTensor) -> DispatchTensor {
    let (expected, got) = (into.shape(), grad.shape());
    assert!(expected == got, "accumulate: a gradient of shape {got} for one of shape {expected}");
    // Every backend's addition already reuses a buffer it alone holds.
    Dispatch::float_add(into, grad)
}

#[cfg(test)]
pub(crate) mod tests {
    use burn::{
        Tensor,
        backend::{Flex, ops::FloatTensorOps as _},
    };

    use super::*;
    use crate::{
        check::{floats, normal},
        flex,
    };

    pub(crate) fn sums() -> usize {
        let mut checked = 0;
        for shape in [[1, 1], [7, 33], [300, 100]] {
            let (into, grad) = (normal::<2>(shape, 1), normal::<2>(shape, 2));
            let expected = floats(into.clone() + grad.clone());
            let sum = accumulate(into.into_dispatch(), grad.into_dispatch());
            assert_eq!(floats(Tensor::<2>::from_dispatch(sum)), expected);
            checked += 1;
        }
        checked
    }

    #[test]
    fn burn_adds_in_place_when_nobody_else_holds_the_sum() {
        let into = flex::tensor(vec![1.0, 2.0], [2]);
        let grad = flex::tensor(vec![3.0, 4.0], [2]);
        let place = into.bytes().as_ptr();
        let sum = Flex::float_add(into, grad.clone());
        assert_eq!(flex::values(&sum), [4.0, 6.0]);
        assert_eq!(sum.bytes().as_ptr(), place);
    }

    #[test]
    #[should_panic(expected = "accumulate: a gradient of shape")]
    fn a_gradient_of_another_shape_is_refused() {
        accumulate(normal::<2>([2, 3], 1).into_dispatch(), normal::<2>([3, 2], 2).into_dispatch());
    }
}

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

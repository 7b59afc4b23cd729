//! Flex tensors as the slices the kernels take.

use burn::backend::{DType, TensorData, TensorMetadata, flex::FlexTensor};

/// Whether every tensor holds `f32`, which is all the kernels compute in.
///
/// Other types (an `f64` gradient check, a model loaded in half precision) take the composed body.
pub(crate) fn all_f32<'a>(tensors: impl IntoIterator<Item = &'a FlexTensor>) -> bool {
    tensors.into_iter().all(|tensor| tensor.dtype() == DType::F32)
}

/// The tensor with its elements in row-major order, copied only if they are not.
pub(crate) fn dense(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

/// The elements of a [`dense`] `f32` tensor.
pub(crate) fn values(tensor: &FlexTensor) -> &[f32] {
    match tensor.as_slice() {
        Some(values) => values,
        None => unreachable!("a dense f32 tensor has a slice"),
    }
}

/// The elements of a [`dense`] `u32` tensor.
pub(crate) fn indices(tensor: &FlexTensor) -> &[u32] {
    match tensor.as_slice() {
        Some(values) => values,
        None => unreachable!("a dense u32 tensor has a slice"),
    }
}

/// Lets `write` change the elements, in place when nobody else holds the storage.
pub(crate) fn update<R>(tensor: FlexTensor, write: impl FnOnce(&mut [f32]) -> R) -> (FlexTensor, R) {
    let elements = tensor.shape().num_elements();
    let whole = tensor.is_contiguous()
        && tensor.layout().start_offset() == 0
        && tensor.bytes().len() == elements * size_of::<f32>();
    let mut tensor = if whole {
        tensor
    } else {
        // A view into a larger buffer: the copy has the elements and nothing else.
        FlexTensor::from_data(tensor.into_data())
    };
    let result = write(tensor.storage_mut());
    (tensor, result)
}

/// A new tensor around `values`, which are moved and not copied.
pub(crate) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// A new index tensor around `values`.
pub(crate) fn index_tensor<const D: usize>(values: Vec<u32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

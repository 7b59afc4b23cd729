//! Small tensors computed on the host and sent to where an operation runs: indices, masks, row weights.

use burn::backend::{
    Backend, DType, FloatDType, Shape, TensorData, TensorMetadata,
    tensor::{FloatTensor, IntTensor},
};
use rayon::prelude::*;
use topwork_kernels::rng::{self, Dropout};

/// The sizes of a tensor of known rank.
pub(crate) fn dims<const D: usize>(tensor: &impl TensorMetadata) -> [usize; D] {
    tensor.shape().dims()
}

/// Float values on the device, and in the type, of `like`.
pub(crate) fn floats<B: Backend>(
    values: Vec<f32>,
    shape: impl Into<Shape>,
    like: &FloatTensor<B>,
) -> FloatTensor<B> {
    let tensor = B::float_from_data(TensorData::new(values, shape), &like.device());
    match like.dtype() {
        DType::F32 => tensor,
        dtype => B::float_cast(tensor, FloatDType::from(dtype)),
    }
}

/// Index values on the device of `like`.
pub(crate) fn indices<B: Backend>(
    values: impl IntoIterator<Item = usize>,
    shape: impl Into<Shape>,
    like: &FloatTensor<B>,
) -> IntTensor<B> {
    // 32 bits everywhere: a packed batch never has two thousand million rows.
    let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
    B::int_from_data(TensorData::new(values, shape), &like.device())
}

/// Zeros on the device, and in the type, of `like`.
pub(crate) fn zeros<B: Backend>(shape: impl Into<Shape>, like: &FloatTensor<B>) -> FloatTensor<B> {
    B::float_zeros(shape.into(), &like.device(), FloatDType::from(like.dtype()))
}

/// A vector as one row, to broadcast over the rows of a matrix.
pub(crate) fn row<B: Backend>(vector: FloatTensor<B>) -> FloatTensor<B> {
    let [width] = dims(&vector);
    B::float_reshape(vector, Shape::from([1, width]))
}

/// What dropout multiplies by: 0 where a value is dropped, `1 / (1 - p)` where it is kept.
///
/// The same numbers as the CPU kernels draw, so that a model trains alike on every backend.
pub(crate) fn dropout_scale(rows: usize, cols: usize, dropout: Dropout) -> Vec<f32> {
    let mut values = vec![0.0; rows * cols];
    if cols > 0 {
        let rows = values.par_chunks_mut(cols).enumerate();
        rows.for_each(|(row, values)| dropout_row(row, dropout, values));
    }
    values
}

/// One row of [`dropout_scale`], from its first column on, written over zeros.
pub(crate) fn dropout_row(row: usize, dropout: Dropout, values: &mut [f32]) {
    let threshold = rng::threshold(dropout.p);
    let key = rng::row_key(dropout.seed, row as u64);
    for (col, value) in values.iter_mut().enumerate() {
        if rng::keep(key, col as u32, threshold) {
            *value = dropout.scale();
        }
    }
}

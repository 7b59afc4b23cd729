//! Mean squared error, for regression.
//!
//! Paper: none needed; as `torch.nn.MSELoss`, <https://pytorch.org/docs/stable/generated/torch.nn.MSELoss.html>

use burn::tensor::{Tensor, TensorData};

/// Mean over rows of `(prediction - target)^2`.
///
/// # Shapes
/// - `prediction`: `[batch, 1]`; `target`: `[batch]`
/// - returns: `[1]`
pub fn mean_squared_error(prediction: Tensor<2>, target: &[f32]) -> Tensor<1> {
    let [batch, width] = prediction.dims();
    let target = TensorData::new(target.to_vec(), [batch, width]);
    let difference = prediction.clone() - Tensor::<2>::from_data(target, &prediction.device());
    (difference.clone() * difference).mean()
}

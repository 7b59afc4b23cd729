//! A float tensor that may be absent, in the form Burn's dispatch can route.

use burn::backend::{Backend, ExtensionType, tensor::FloatTensor};

/// A float tensor argument that may be absent, such as a bias.
///
/// Burn's dispatch unwraps plain tensors and types deriving `ExtensionType`, but not `Option`.
#[derive(ExtensionType)]
pub enum OptionalFloat<B: Backend> {
    /// The tensor.
    Present(FloatTensor<B>),
    /// No tensor.
    Absent,
}

impl<B: Backend> From<Option<FloatTensor<B>>> for OptionalFloat<B> {
    fn from(tensor: Option<FloatTensor<B>>) -> Self {
        match tensor {
            Some(tensor) => Self::Present(tensor),
            None => Self::Absent,
        }
    }
}

impl<B: Backend> OptionalFloat<B> {
    /// The same as an option.
    pub fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Present(tensor) => Some(tensor),
            Self::Absent => None,
        }
    }
}

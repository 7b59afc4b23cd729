//! Parameters that are used as something else than what they are: where adapters of weights attach from outside.

use burn::tensor::Tensor;

use crate::error::Error;
use crate::pass::Pass;

/// What a parameter is used as. It sees the values as the store has them and gives those that the model computes with: a
/// function of them and of parameters of its own, which it asks the pass for.
///
/// A model does not know of it, and needs no place for it: every family and every kernel works on the values that come out.
/// What comes out must have the shape of what goes in.
pub trait Reparam: std::fmt::Debug + Send + Sync {
    /// Of a matrix.
    ///
    /// # Errors
    /// A parameter of its own without values.
    fn matrix(&self, _pass: &Pass, value: Tensor<2>) -> Result<Tensor<2>, Error> {
        Ok(value)
    }

    /// Of a vector.
    ///
    /// # Errors
    /// A parameter of its own without values.
    fn vector(&self, _pass: &Pass, value: Tensor<1>) -> Result<Tensor<1>, Error> {
        Ok(value)
    }

    /// True if a parameter is what it is wherever it does not learn: then saving and answering need not ask.
    fn only_in_training(&self) -> bool {
        false
    }
}

/// Two tensors for an operation on both: if one is tracked, so are both.
///
/// Values of the store that do not learn come without a graph, and Burn's operations want all or none to have one.
pub fn together<const A: usize, const B: usize>(a: Tensor<A>, b: Tensor<B>) -> (Tensor<A>, Tensor<B>) {
    match (a.is_tracked(), b.is_tracked()) {
        (true, false) => (a, b.autodiff()),
        (false, true) => (a.autodiff(), b),
        _ => (a, b),
    }
}

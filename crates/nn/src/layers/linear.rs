//! Affine map of the last axis.

use burn::tensor::Tensor;
use topwork_kernels::activation::Activation;
use topwork_kernels::rng::Dropout;

use crate::error::Error;
use crate::init::Init;
use crate::param::{ParamId, ParamKind, ParamStore};
use crate::pass::Pass;

/// `y = x Wᵀ + b`, or without `b`, with `W` of shape `[out, in]` as PyTorch keeps it.
#[derive(Clone, Debug)]
pub struct Linear {
    /// The weight, `[out, in]`.
    pub weight: ParamId,
    /// The bias, `[out]`, if there is one.
    pub bias: Option<ParamId>,
}

impl Linear {
    /// Declares `{path}.weight` and `{path}.bias`; fresh weights are normal with standard deviation `std`.
    pub fn declare(store: &mut ParamStore, path: &str, sizes: [usize; 2], group: usize, std: f32) -> Self {
        Self::declare_with(store, path, sizes, group, std, true)
    }

    /// [`Linear::declare`], with or without a bias.
    pub fn declare_with(
        store: &mut ParamStore,
        path: &str,
        sizes: [usize; 2],
        group: usize,
        std: f32,
        bias: bool,
    ) -> Self {
        let init = Init::Normal(std);
        let weight = store.declare(&format!("{path}.weight"), &sizes, group, ParamKind::Weight, init);
        let bias = bias.then(|| {
            store.declare(&format!("{path}.bias"), &sizes[..1], group, ParamKind::Bias, Init::Zeros)
        });
        Linear { weight, bias }
    }

    /// # Shapes
    /// - `x`: `[rows, in]`
    /// - returns: `[rows, out]`
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn forward(&self, pass: &Pass, x: Tensor<2>) -> Result<Tensor<2>, Error> {
        pass.linear(x, self.weight, self.bias)
    }

    /// The map followed by an activation; the bias is added in the activation's pass over memory.
    ///
    /// # Shapes
    /// As [`Linear::forward`].
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn forward_activated(&self, pass: &Pass, x: Tensor<2>, f: Activation) -> Result<Tensor<2>, Error> {
        let z = pass.linear(x, self.weight, None)?;
        Ok(topwork_ops::bias_activation(z, self.bias_or_zeros(pass)?, f))
    }

    /// The map followed by an activation and another map. A training pass keeps neither the activation's output nor
    /// anything else of that width but its input.
    ///
    /// # Shapes
    /// - `x`: `[rows, in]`
    /// - returns: `[rows, out]` of `next`
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn forward_through(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        f: Activation,
        next: &Linear,
    ) -> Result<Tensor<2>, Error> {
        if !pass.training() {
            return next.forward(pass, self.forward_activated(pass, x, f)?);
        }
        let z = pass.linear(x, self.weight, None)?;
        let (bias, next_bias) = (self.bias_or_zeros(pass)?, next.bias_or_zeros(pass)?);
        let next_weight = pass.matrix(next.weight)?;
        Ok(topwork_ops::activation_linear(z, bias, f, next_weight, next_bias, pass.precision()))
    }

    /// [`Linear::forward_through`] with dropout on what the activation gives.
    ///
    /// # Shapes
    /// As [`Linear::forward_through`].
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn forward_through_dropped(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        f: Activation,
        dropout: Option<Dropout>,
        next: &Linear,
    ) -> Result<Tensor<2>, Error> {
        if dropout.is_none() {
            return self.forward_through(pass, x, f, next);
        }
        let y = self.forward_activated(pass, x, f)?;
        next.forward(pass, topwork_ops::dropout(y, dropout))
    }

    /// The bias; zeros, which nothing learns, where there is none.
    fn bias_or_zeros(&self, pass: &Pass) -> Result<Tensor<1>, Error> {
        pass.vector_or_zeros(self.bias, pass.store().param(self.weight).shape[0])
    }
}

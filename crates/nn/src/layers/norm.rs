//! Layer normalisation.
//!
//! Paper: Ba, Kiros, Hinton 2016, "Layer Normalization", section 3, <https://arxiv.org/abs/1607.06450>

use burn::tensor::Tensor;
use topwork_kernels::rng::Dropout;

use crate::error::Error;
use crate::init::Init;
use crate::param::{ParamId, ParamKind, ParamStore};
use crate::pass::Pass;

/// Normalises each row to mean 0 and variance 1, then scales and shifts.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    gain: ParamId,
    bias: Option<ParamId>,
    hidden: usize,
    /// Added to the variance.
    pub eps: f64,
}

impl LayerNorm {
    /// Declares `{path}.weight` and `{path}.bias`.
    pub fn declare(store: &mut ParamStore, path: &str, hidden: usize, group: usize, eps: f64) -> Self {
        Self::declare_with(store, path, hidden, group, eps, true)
    }

    /// [`LayerNorm::declare`], with or without a bias.
    pub fn declare_with(
        store: &mut ParamStore,
        path: &str,
        hidden: usize,
        group: usize,
        eps: f64,
        bias: bool,
    ) -> Self {
        let shape = [hidden];
        let gain = store.declare(&format!("{path}.weight"), &shape, group, ParamKind::Norm, Init::Ones);
        let bias =
            bias.then(|| store.declare(&format!("{path}.bias"), &shape, group, ParamKind::Bias, Init::Zeros));
        LayerNorm { gain, bias, hidden, eps }
    }

    /// # Shapes
    /// - `x` and result: `[tokens, hidden]`
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn forward(&self, pass: &Pass, x: Tensor<2>) -> Result<Tensor<2>, Error> {
        Ok(topwork_ops::layer_norm(
            x,
            pass.vector(self.gain)?,
            pass.vector_or_zeros(self.bias, self.hidden)?,
            self.eps,
        ))
    }

    /// `LayerNorm(dropout(x) + residual)`, the end of a post-norm block, in one operation.
    ///
    /// # Shapes
    /// - `x`, `residual` and result: `[tokens, hidden]`
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn forward_residual(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        residual: Tensor<2>,
        dropout: Option<Dropout>,
    ) -> Result<Tensor<2>, Error> {
        let (gain, bias) = (pass.vector(self.gain)?, pass.vector_or_zeros(self.bias, self.hidden)?);
        Ok(topwork_ops::residual_dropout_norm(x, residual, gain, bias, self.eps, dropout))
    }
}

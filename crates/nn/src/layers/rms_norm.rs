//! Normalisation by the root of the mean square.
//!
//! Paper: Zhang, Sennrich 2019, "Root Mean Square Layer Normalization", section 4, <https://arxiv.org/abs/1910.07467>

use burn::tensor::Tensor;

use crate::error::Error;
use crate::init::Init;
use crate::param::{ParamId, ParamKind, ParamStore};
use crate::pass::Pass;

/// Divides each row by the root of its mean square, then scales.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    gain: ParamId,
    /// Added to the mean square.
    pub eps: f64,
}

impl RmsNorm {
    /// Declares `{path}.weight`.
    pub fn declare(store: &mut ParamStore, path: &str, hidden: usize, group: usize, eps: f64) -> Self {
        let gain = format!("{path}.weight");
        RmsNorm { gain: store.declare(&gain, &[hidden], group, ParamKind::Norm, Init::Ones), eps }
    }

    /// # Shapes
    /// - `x` and result: `[rows, hidden]`
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn forward(&self, pass: &Pass, x: Tensor<2>) -> Result<Tensor<2>, Error> {
        Ok(topwork_ops::rms_norm(x, pass.vector(self.gain)?, self.eps))
    }

    /// The same on each head of queries or keys.
    ///
    /// # Shapes
    /// - `x` and result: `[tokens, heads * hidden]`
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn forward_heads(&self, pass: &Pass, x: Tensor<2>, heads: usize) -> Result<Tensor<2>, Error> {
        let [tokens, width] = x.dims();
        let x = self.forward(pass, x.reshape([tokens * heads, width / heads]))?;
        Ok(x.reshape([tokens, width]))
    }
}

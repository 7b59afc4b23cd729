//! The part that classification and regression share: one vector for a text, through the family's dense layer if
//! it has one, to a few outputs.

use burn::tensor::Tensor;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::Linear;
use topwork_nn::{ParamStore, Pass};

use crate::error::Error;
use crate::family::Encoder;
use crate::head::Pooling;
use crate::heads::dense::Dense;

/// Pooled vector to outputs.
pub struct PooledOutputs {
    pool: Pool,
    dense: Option<Dense>,
    dropout: f32,
    out: Linear,
}

impl PooledOutputs {
    /// Declares `head.out` and, for the family's own pooling, its dense layer.
    pub fn declare(store: &mut ParamStore, encoder: &dyn Encoder, pool: Pooling, outputs: usize) -> Self {
        let (size, style) = (encoder.size(), encoder.classifier());
        let group = encoder.parts() + 1;
        let own = pool == Pooling::Family;
        let dense = style.dense.filter(|_| own).map(|dense| Dense::declare(store, encoder, dense));
        let width = style.dense.filter(|_| own).map_or(size.hidden, |dense| dense.width);
        let bias = style.bias || !own;
        let out = Linear::declare_with(store, "head.out", [outputs, width], group, size.std, bias);
        PooledOutputs { pool: pool.pool(encoder), dense, dropout: style.dropout, out }
    }

    /// The operation over tokens.
    pub fn pool(&self) -> Pool {
        self.pool
    }

    /// # Shapes
    /// - `x`: `[batch, hidden]`; returns `[batch, outputs]`
    pub fn forward(&self, pass: &Pass, mut x: Tensor<2>) -> Result<Tensor<2>, Error> {
        if let Some(dense) = &self.dense {
            x = dense.forward(pass, x)?;
        }
        let x = topwork_ops::dropout(x, pass.dropout(self.dropout, "head.out"));
        Ok(self.out.forward(pass, x)?)
    }
}

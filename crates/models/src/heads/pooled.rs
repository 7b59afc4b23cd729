//! The part that classification and regression share: one vector for a text, through the family's dense layer if
//! it has one, to a few outputs.

use burn::tensor::Tensor;
use topwork_kernels::activation::Activation;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::Linear;
use topwork_nn::{ParamStore, Pass};

use crate::error::Error;
use crate::family::Encoder;
use crate::head::Pooling;

/// Pooled vector to outputs.
pub struct PooledOutputs {
    pool: Pool,
    dense: Option<Dense>,
    dropout: f32,
    out: Linear,
}

struct Dense {
    linear: Linear,
    activation: Activation,
    dropout_before: bool,
}

impl PooledOutputs {
    /// Declares `head.out` and, for the family's own pooling, its dense layer.
    pub fn declare(store: &mut ParamStore, encoder: &dyn Encoder, pool: Pooling, outputs: usize) -> Self {
        let (size, style) = (encoder.size(), encoder.classifier());
        let group = size.layers + 1;
        let dense = (pool == Pooling::Family).then(|| Dense {
            linear: Linear::declare(store, style.dense, [size.hidden, size.hidden], group, size.std),
            activation: style.activation,
            dropout_before: style.dropout_before,
        });
        let out = Linear::declare(store, "head.out", [outputs, size.hidden], group, size.std);
        PooledOutputs { pool: pool.pool(), dense, dropout: style.dropout, out }
    }

    /// The operation over tokens.
    pub fn pool(&self) -> Pool {
        self.pool
    }

    /// # Shapes
    /// - `x`: `[batch, hidden]`; returns `[batch, outputs]`
    pub fn forward(&self, pass: &Pass, mut x: Tensor<2>) -> Result<Tensor<2>, Error> {
        if let Some(dense) = &self.dense {
            if dense.dropout_before {
                x = topwork_ops::dropout(x, pass.dropout(self.dropout, "head.dense"));
            }
            x = dense.linear.forward_activated(pass, x, dense.activation)?;
        }
        let x = topwork_ops::dropout(x, pass.dropout(self.dropout, "head.out"));
        Ok(self.out.forward(pass, x)?)
    }
}

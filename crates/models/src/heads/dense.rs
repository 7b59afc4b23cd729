//! The dense layer that many families have before their outputs: of a classifier, of a language model.

use burn::tensor::Tensor;
use topwork_kernels::activation::Activation;
use topwork_nn::layers::{LayerNorm, Linear};
use topwork_nn::{ParamStore, Pass};

use crate::error::Error;
use crate::family::{DenseStyle, Encoder, Size};
use crate::onnx::{Graph, Value};

/// Dropout, linear map, activation and, where the family has one, a norm.
pub struct Dense {
    style: DenseStyle,
    linear: Linear,
    norm: Option<LayerNorm>,
}

impl Dense {
    /// Declares the map and the norm at the paths of the style.
    pub fn declare(store: &mut ParamStore, encoder: &dyn Encoder, style: DenseStyle) -> Self {
        let Size { std, hidden, .. } = *encoder.size();
        Self::declare_in(store, std, style, hidden, encoder.parts() + 1)
    }

    /// [`Dense::declare`] over rows of another width, in a depth group of the caller's choice; `std` is that of fresh weights.
    pub fn declare_in(
        store: &mut ParamStore,
        std: f32,
        style: DenseStyle,
        inputs: usize,
        group: usize,
    ) -> Self {
        let sizes = [style.width, inputs];
        let linear = Linear::declare_with(store, style.path, sizes, group, std, style.bias);
        let norm = style
            .norm
            .map(|(path, eps, bias)| LayerNorm::declare_with(store, path, style.width, group, eps, bias));
        Dense { style, linear, norm }
    }

    /// # Shapes
    /// - `x`: `[rows, hidden]`; returns `[rows, width]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn forward(&self, pass: &Pass, x: Tensor<2>) -> Result<Tensor<2>, Error> {
        let x = topwork_ops::dropout(x, pass.dropout(self.style.dropout, "head.dense"));
        let x = match self.style.activation {
            Activation::Identity => self.linear.forward(pass, x)?,
            activation => self.linear.forward_activated(pass, x, activation)?,
        };
        match &self.norm {
            None => Ok(x),
            Some(norm) => Ok(norm.forward(pass, x)?),
        }
    }

    /// [`Dense::forward`] as a graph.
    pub fn describe(&self, graph: &mut Graph, x: &Value) -> Result<Value, Error> {
        let mapped = graph.linear(x, self.linear.weight, self.linear.bias)?;
        let active = graph.activation(&mapped, self.style.activation);
        match self.style.norm {
            None => Ok(active),
            Some((path, eps, _)) => graph.layer_norm(&active, path, eps),
        }
    }
}

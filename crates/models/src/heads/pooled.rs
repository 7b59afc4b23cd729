//! The part that heads over texts share: one vector for a text, through the family's dense layer if it has one, to a few
//! outputs.

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::Linear;
use topwork_nn::{ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::{ClassifierStyle, Encoder};
use crate::head::Pooling;
use crate::heads::concat::ConcatOutputs;
use crate::heads::dense::Dense;
use crate::onnx::{Graph, HeadGraph, Output, Value};
use crate::target::{Sources, TargetSide};

/// What a text becomes, and from there to the outputs.
pub enum PooledOutputs {
    /// One pooled row.
    Row(RowOutputs),
    /// Several rows side by side, where the family's own classifier reads them.
    Concat(ConcatOutputs),
    /// The row of the end token, once the side that writes has read the text too.
    Again(RowOutputs, Box<dyn TargetSide>),
}

/// Pooled vector to outputs.
pub struct RowOutputs {
    pool: Pool,
    dense: Option<Dense>,
    dropout: f32,
    outputs: usize,
    out: Linear,
}

impl PooledOutputs {
    /// As the family's own classifier does it, with its dense layer; or straight from the pooled vector, for another pooling than
    /// the family's own.
    pub fn declare(store: &mut ParamStore, encoder: &dyn Encoder, pool: Pooling, outputs: usize) -> Self {
        if let Some(style) = encoder.concat_classifier().filter(|_| pool == Pooling::Family) {
            return PooledOutputs::Concat(ConcatOutputs::declare(store, encoder, style, outputs));
        }
        let style = encoder.classifier();
        let style = match pool {
            Pooling::Family => style,
            _ => ClassifierStyle {
                pool: pool.pool(encoder),
                dense: None,
                bias: true,
                out: "head.out",
                ..style
            },
        };
        match if pool == Pooling::Family { encoder.declare_target(store) } else { None } {
            None => PooledOutputs::Row(RowOutputs::declare(store, encoder, style, outputs)),
            Some(target) => {
                let group = encoder.parts() + target.size().layers + 1;
                PooledOutputs::Again(RowOutputs::declare_in(store, encoder, style, outputs, group), target)
            }
        }
    }

    /// The operation over tokens; `None` if every token is wanted.
    pub fn pool(&self) -> Option<Pool> {
        match self {
            PooledOutputs::Row(row) => Some(row.pool),
            PooledOutputs::Concat(_) | PooledOutputs::Again(..) => None,
        }
    }

    /// # Shapes
    /// - `x`: `[batch, hidden]`, or `[tokens, hidden]` if every token is wanted; returns `[batch, outputs]`
    ///
    /// # Errors
    /// [`Error::NoEnd`] for a text without the token that stands for it; a parameter without values.
    pub fn forward(&self, pass: &Pass, x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        match self {
            PooledOutputs::Row(row) => row.forward(pass, x),
            PooledOutputs::Concat(concat) => concat.forward(pass, x, input),
            PooledOutputs::Again(row, target) => {
                row.forward(pass, read_again(target.as_ref(), pass, x, input)?)
            }
        }
    }

    /// What puts it into an ONNX graph.
    pub fn onnx(&self) -> Option<&dyn HeadGraph> {
        match self {
            PooledOutputs::Row(row) => Some(row),
            PooledOutputs::Concat(_) | PooledOutputs::Again(..) => None,
        }
    }
}

impl RowOutputs {
    /// Declares the output layer of the style and, where it has one, its dense layer.
    pub fn declare(
        store: &mut ParamStore,
        encoder: &dyn Encoder,
        style: ClassifierStyle,
        outputs: usize,
    ) -> Self {
        Self::declare_in(store, encoder, style, outputs, encoder.parts() + 1)
    }

    /// [`RowOutputs::declare`] in a depth group of the caller's choice.
    fn declare_in(
        store: &mut ParamStore,
        encoder: &dyn Encoder,
        style: ClassifierStyle,
        outputs: usize,
        group: usize,
    ) -> Self {
        let size = encoder.size();
        let dense = style.dense.map(|dense| Dense::declare_in(store, encoder, dense, group));
        let width = style.dense.map_or(size.hidden, |dense| dense.width);
        let out = Linear::declare_with(store, style.out, [outputs, width], group, size.std, style.bias);
        RowOutputs { pool: style.pool, dense, dropout: style.dropout, outputs, out }
    }

    /// The operation over tokens.
    pub fn pool(&self) -> Pool {
        self.pool
    }

    /// # Shapes
    /// - `x`: `[batch, hidden]`; returns `[batch, outputs]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn forward(&self, pass: &Pass, mut x: Tensor<2>) -> Result<Tensor<2>, Error> {
        if let Some(dense) = &self.dense {
            x = dense.forward(pass, x)?;
        }
        let x = topwork_ops::dropout(x, pass.dropout(self.dropout, "head.out"));
        Ok(self.out.forward(pass, x)?)
    }
}

impl HeadGraph for RowOutputs {
    fn describe(&self, graph: &mut Graph, x: Value) -> Result<Output, Error> {
        let x = match &self.dense {
            Some(dense) => dense.describe(graph, &x)?,
            None => x,
        };
        let Linear { weight, bias } = self.out;
        Ok(Output { value: graph.linear(&x, weight, bias)?, width: self.outputs, vector: false })
    }
}

/// The vector of the last end token of each text, which the side that writes gives when it reads the text itself.
fn read_again(
    target: &dyn TargetSide,
    pass: &Pass,
    x: Tensor<2>,
    input: &Packed,
) -> Result<Tensor<2>, Error> {
    let style = target.style();
    let last_end = |(text, pair): (usize, &[u32])| {
        let tokens = &input.ids[pair[0] as usize..pair[1] as usize];
        let place = tokens.iter().rposition(|id| style.end.contains(id));
        place.map(|place| pair[0] + place as u32).ok_or(Error::NoEnd { text, end: style.end.clone() })
    };
    let rows = input.offsets.windows(2).enumerate().map(last_end).collect::<Result<Arc<[u32]>, Error>>()?;
    let read = style.read_for(&input.ids, &input.offsets);
    let hidden = target.read(pass, &read, &Sources::new(x, &input.offsets), None)?;
    Ok(topwork_ops::embedding(hidden, &rows))
}

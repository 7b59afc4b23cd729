//! The part that heads over texts share: one vector for a text, through the family's dense layer if it has one, to a few
//! outputs.

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::Linear;
use topwork_nn::{ParamId, ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::{ClassifierStyle, Encoder};
use crate::head::Pooling;
use crate::heads::attention_pool::AttentionPool;
use crate::heads::body::{BiLstm, Body};
use crate::heads::concat::ConcatOutputs;
use crate::heads::dense::Dense;
use crate::model::some_tokens;
use crate::onnx::{Graph, HeadGraph, Output, Value};
use crate::states::{Layers, Mix};
use crate::target::{Sources, TargetSide};

/// What a head over texts reads, and what it has before its outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PooledSpec {
    /// How a text becomes a vector.
    pub pool: Pooling,
    /// What stands before the outputs.
    pub body: Body,
    /// The states that are read.
    pub layers: Layers,
}

/// Hidden states to outputs.
pub struct PooledOutputs {
    layers: Layers,
    mix: Option<Mix>,
    lstm: Option<BiLstm>,
    /// Whether a text is what the LSTM ends with.
    ends: bool,
    attention: Option<AttentionPool>,
    outputs: Outputs,
}

/// What a text becomes, and from there to the outputs.
enum Outputs {
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
    /// Numbers that the outputs read.
    width: usize,
    out: Linear,
}

impl PooledOutputs {
    /// As the family's own classifier does it, with its dense layer; or straight from the pooled vector, or through another body,
    /// for another pooling or body than the family's own.
    ///
    /// # Errors
    /// As [`Layers::check`]; [`Error::Setting`].
    pub(crate) fn declare(
        store: &mut ParamStore,
        encoder: &dyn Encoder,
        spec: PooledSpec,
        outputs: usize,
    ) -> Result<Self, Error> {
        let PooledSpec { pool, body, layers } = spec;
        let layers = layers.of(encoder);
        let own = pool == Pooling::Family && body == Body::Own;
        let style = encoder.classifier();
        let concat = encoder.concat_classifier().filter(|_| own);
        body.check(encoder, layers, own && (concat.is_some() || style.dense.is_some()))?;
        let (hidden, group) = (encoder.size().hidden, encoder.parts() + 1);
        let mix = Mix::declare(store, encoder, layers);
        let mut width = layers.width_mixed(encoder);
        let lstm = BiLstm::declare(store, encoder, body, width, style.dropout);
        width = lstm.as_ref().map_or(width, |lstm| lstm.width);
        let attention = (pool == Pooling::Attention).then(|| AttentionPool::declare(store, width, group));
        let ends = lstm.is_some() && pool == Pooling::Family;
        let finish = |outputs| PooledOutputs { layers, mix, lstm, ends, attention, outputs };
        if let Some(style) = concat {
            return Ok(finish(Outputs::Concat(ConcatOutputs::declare(store, encoder, style, outputs))));
        }
        let style = match own {
            true => style,
            false => ClassifierStyle {
                pool: pool.pool(encoder).unwrap_or(Pool::Mean),
                dense: body.dense(None, style.dropout),
                bias: true,
                out: "head.out",
                ..style
            },
        };
        Ok(finish(match if own { encoder.declare_target(store) } else { None } {
            None => Outputs::Row(RowOutputs::declare_in(store, encoder, style, [outputs, width], group)),
            Some(target) => {
                body.check(encoder, layers, true)?;
                let group = encoder.parts() + target.size().layers + 1;
                let row = RowOutputs::declare_in(store, encoder, style, [outputs, hidden], group);
                Outputs::Again(row, target)
            }
        }))
    }

    /// The operation over tokens; `None` if every token is wanted.
    ///
    /// A mix comes before pooling where that makes a difference, as it does for the maximum. Elsewhere pooled rows are mixed: they
    /// are fewer.
    pub fn pool(&self) -> Option<Pool> {
        let Outputs::Row(row) = &self.outputs else { return None };
        let mixed_first = self.mix.is_some() && row.pool == Pool::Max;
        (self.lstm.is_none() && self.attention.is_none() && !mixed_first).then_some(row.pool)
    }

    /// The states it reads.
    pub fn layers(&self) -> Layers {
        self.layers
    }

    /// The numbers whose softmax are the shares of its mix.
    pub fn mix(&self) -> Option<&[ParamId]> {
        self.mix.as_ref().map(|mix| std::slice::from_ref(&mix.weights))
    }

    /// # Shapes
    /// - `x`: `[batch, width]`, or `[tokens, width]` if every token is wanted; returns `[batch, outputs]`
    ///
    /// # Errors
    /// [`Error::NoEnd`] for a text without the token that stands for it; a parameter without values.
    pub fn forward(&self, pass: &Pass, x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        let x = self.vector(pass, x, input)?;
        match &self.outputs {
            Outputs::Row(_) => self.last(pass, x),
            Outputs::Concat(concat) => concat.forward(pass, x, input),
            Outputs::Again(row, target) => row.forward(pass, read_again(target.as_ref(), pass, x, input)?),
        }
    }

    /// Numbers of the vector that the outputs read; `None` where they read more than one vector.
    pub fn width(&self) -> Option<usize> {
        let Outputs::Row(row) = &self.outputs else { return None };
        Some(row.width)
    }

    /// What the outputs read, where that is one vector (see [`PooledOutputs::width`]); else the states that they begin with.
    ///
    /// # Shapes
    /// - `x` as in [`PooledOutputs::forward`]; returns `[batch, width]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn vector(&self, pass: &Pass, mut x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        if let Some(mix) = &self.mix {
            x = mix.forward(pass, x)?;
        }
        match &self.outputs {
            Outputs::Row(row) if self.pool().is_some() => row.vector(pass, x),
            Outputs::Row(row) => row.vector(pass, self.vectors(row.pool, pass, x, input)?),
            Outputs::Concat(_) | Outputs::Again(..) => Ok(x),
        }
    }

    /// The outputs of such vectors.
    ///
    /// # Shapes
    /// - `x`: `[batch, width]`; returns `[batch, outputs]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn last(&self, pass: &Pass, x: Tensor<2>) -> Result<Tensor<2>, Error> {
        match &self.outputs {
            Outputs::Row(row) | Outputs::Again(row, _) => Ok(row.out.forward(pass, x)?),
            Outputs::Concat(_) => Ok(x),
        }
    }

    /// Vectors of texts, from states that have not been pooled.
    fn vectors(&self, pool: Pool, pass: &Pass, x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        some_tokens(&input.offsets)?;
        let offsets: Arc<[u32]> = Arc::from(input.offsets.as_slice());
        let x = match &self.lstm {
            None => x,
            Some(lstm) => {
                let read = lstm.forward(pass, x, &offsets)?;
                if self.ends {
                    return Ok(read.last);
                }
                read.states
            }
        };
        match &self.attention {
            None => Ok(topwork_ops::pool(x, &offsets, pool)),
            Some(attention) => attention.forward(pass, x, &offsets),
        }
    }

    /// What puts it into an ONNX graph.
    pub fn onnx(&self) -> Option<&dyn HeadGraph> {
        match &self.outputs {
            Outputs::Row(row) if self.layers == Layers::Last && self.pool().is_some() => Some(row),
            _ => None,
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
        let sizes = [outputs, encoder.size().hidden];
        Self::declare_in(store, encoder, style, sizes, encoder.parts() + 1)
    }

    /// [`RowOutputs::declare`] over rows of another width, in a depth group of the caller's choice.
    fn declare_in(
        store: &mut ParamStore,
        encoder: &dyn Encoder,
        style: ClassifierStyle,
        [outputs, inputs]: [usize; 2],
        group: usize,
    ) -> Self {
        let std = encoder.size().std;
        let dense =
            style.dense.map(|dense| Dense::declare_in(store, encoder.size().std, dense, inputs, group));
        let width = style.dense.map_or(inputs, |dense| dense.width);
        let out = Linear::declare_with(store, style.out, [outputs, width], group, std, style.bias);
        RowOutputs { pool: style.pool, dense, dropout: style.dropout, outputs, width, out }
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
    pub fn forward(&self, pass: &Pass, x: Tensor<2>) -> Result<Tensor<2>, Error> {
        Ok(self.out.forward(pass, self.vector(pass, x)?)?)
    }

    /// What the outputs read: `[batch, width]`.
    fn vector(&self, pass: &Pass, mut x: Tensor<2>) -> Result<Tensor<2>, Error> {
        if let Some(dense) = &self.dense {
            x = dense.forward(pass, x)?;
        }
        Ok(topwork_ops::dropout(x, pass.dropout(self.dropout, "head.out")))
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

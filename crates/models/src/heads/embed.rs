//! A vector for a text.
//!
//! Paper: Reimers, Gurevych 2019, "Sentence-BERT", section 3, <https://arxiv.org/abs/1908.10084>

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use topwork_kernels::activation::Activation;
use topwork_kernels::pool::Pool;
use topwork_nn::loss::vectors::unit;
use topwork_nn::{ParamStore, Pass};
use topwork_text::Packed;
use topwork_weights::onnx::Attribute;

use crate::error::Error;
use crate::family::{DenseStyle, Encoder};
use crate::head::{Head, HeadEntry, HeadSpec, LossOptions, Pooling, Targets};
use crate::heads::attention_pool::AttentionPool;
use crate::heads::dense::Dense;
use crate::onnx::{Graph, HeadGraph, Output, Value};

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "embed",
    summary: "a vector for a text: first or last token, mean or maximum, scaled to length one if wanted",
    paper: "https://arxiv.org/abs/1908.10084",
    build,
};

/// A map of pooled vectors, as sentence-transformers' `Dense` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EmbedDense {
    /// Width of what comes out.
    pub width: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// Whether the hyperbolic tangent follows.
    pub tanh: bool,
}

impl HeadSpec {
    /// A vector for a text, straight from pooling.
    pub fn embedder(pool: Pooling, normalise: bool) -> Self {
        HeadSpec::Embed { pool, normalise, dense: None }
    }
}

struct Embed {
    width: usize,
    pool: EmbedPool,
    dense: Option<Dense>,
    normalise: bool,
}

enum EmbedPool {
    /// Of fixed shares.
    Fixed(Pool),
    /// By a query that is learnt.
    Learnt(AttentionPool),
}

fn build(spec: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    let HeadSpec::Embed { pool, normalise, dense } = spec else {
        return Err(Error::UnknownHead { got: spec.name().to_string(), known: ENTRY.name.to_string() });
    };
    let (hidden, group) = (encoder.size().hidden, encoder.parts() + 1);
    let pool = match pool.pool(encoder) {
        Some(pool) => EmbedPool::Fixed(pool),
        None => EmbedPool::Learnt(AttentionPool::declare(store, hidden, group)),
    };
    let style = dense.map(|dense| DenseStyle {
        path: "head.dense",
        width: dense.width,
        bias: dense.bias,
        activation: if dense.tanh { Activation::Tanh } else { Activation::Identity },
        dropout: 0.0,
        norm: None,
    });
    let width = style.map_or(hidden, |style| style.width);
    let dense = style.map(|style| Dense::declare_in(store, encoder.size().std, style, hidden, group));
    Ok(Box::new(Embed { width, pool, dense, normalise: *normalise }))
}

impl Head for Embed {
    fn pooled(&self) -> Option<Pool> {
        match self.pool {
            EmbedPool::Fixed(pool) => Some(pool),
            EmbedPool::Learnt(_) => None,
        }
    }

    fn onnx(&self) -> Option<&dyn HeadGraph> {
        self.pooled().map(|_| self as &dyn HeadGraph)
    }

    fn forward(&self, pass: &Pass, x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        let mut x = match &self.pool {
            EmbedPool::Fixed(_) => x,
            EmbedPool::Learnt(pool) => pool.forward(pass, x, &input.offsets.as_slice().into())?,
        };
        if let Some(dense) = &self.dense {
            x = dense.forward(pass, x)?;
        }
        Ok(if self.normalise { unit(x) } else { x })
    }

    fn loss(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        targets: &Targets,
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        let Targets::Compared(compared) = targets else {
            return Err(Error::Targets {
                head: ENTRY.name,
                expected: "texts to compare",
                got: targets.kind(),
            });
        };
        compared.loss(&self.forward(pass, x, input)?, &options.vectors, self.normalise)
    }
}

impl HeadGraph for Embed {
    fn describe(&self, graph: &mut Graph, x: Value) -> Result<Output, Error> {
        let (mut value, width) = (x, self.width);
        if let Some(dense) = &self.dense {
            value = dense.describe(graph, &value)?;
        }
        if self.normalise {
            let axes = [("axes", Attribute::Ints(vec![-1])), ("keepdims", Attribute::Int(1))];
            let (length, least) = (graph.step("ReduceL2", &[&value], &axes), graph.number(1e-12));
            let length = graph.step("Max", &[&length, &least], &[]);
            value = graph.div(&value, &length);
        }
        Ok(Output { value, width, vector: true })
    }
}

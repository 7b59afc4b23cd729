//! A vector for a text.
//!
//! Paper: Reimers, Gurevych 2019, "Sentence-BERT", section 3, <https://arxiv.org/abs/1908.10084>

use burn::tensor::Tensor;
use topwork_kernels::pool::Pool;
use topwork_nn::{ParamStore, Pass};
use topwork_text::Packed;
use topwork_weights::onnx::Attribute;

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec, LossOptions, Targets};
use crate::heads::attention_pool::AttentionPool;
use crate::onnx::{Graph, HeadGraph, Output, Value};

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "embed",
    summary: "a vector for a text: first or last token, mean or maximum, scaled to length one if wanted",
    paper: "https://arxiv.org/abs/1908.10084",
    build,
};

struct Embed {
    width: usize,
    pool: EmbedPool,
    normalise: bool,
}

enum EmbedPool {
    /// Of fixed shares.
    Fixed(Pool),
    /// By a query that is learnt.
    Learnt(AttentionPool),
}

fn build(spec: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    let HeadSpec::Embed { pool, normalise } = spec else {
        return Err(Error::UnknownHead { got: spec.name().to_string(), known: ENTRY.name.to_string() });
    };
    let width = encoder.size().hidden;
    let pool = match pool.pool(encoder) {
        Some(pool) => EmbedPool::Fixed(pool),
        None => EmbedPool::Learnt(AttentionPool::declare(store, width, encoder.parts() + 1)),
    };
    Ok(Box::new(Embed { width, pool, normalise: *normalise }))
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
        let x = match &self.pool {
            EmbedPool::Fixed(_) => x,
            EmbedPool::Learnt(pool) => pool.forward(pass, x, &input.offsets.as_slice().into())?,
        };
        if !self.normalise {
            return Ok(x);
        }
        // The bound is that of torch.nn.functional.normalize, which sentence-transformers uses.
        let length = (x.clone() * x.clone()).sum_dim(1).sqrt().clamp_min(1e-12);
        Ok(x / length)
    }

    fn loss(
        &self,
        _: &Pass,
        _: Tensor<2>,
        _: &Packed,
        targets: &Targets,
        _: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        Err(Error::Targets {
            head: ENTRY.name,
            expected: "none: it has no loss of its own",
            got: targets.kind(),
        })
    }
}

impl HeadGraph for Embed {
    fn describe(&self, graph: &mut Graph, x: Value) -> Result<Output, Error> {
        let (mut value, width) = (x, self.width);
        if self.normalise {
            let axes = [("axes", Attribute::Ints(vec![-1])), ("keepdims", Attribute::Int(1))];
            let (length, least) = (graph.step("ReduceL2", &[&value], &axes), graph.number(1e-12));
            let length = graph.step("Max", &[&length, &least], &[]);
            value = graph.div(&value, &length);
        }
        Ok(Output { value, width, vector: true })
    }
}

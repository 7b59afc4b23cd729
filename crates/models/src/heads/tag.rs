//! A label for each token: named entities, parts of speech.

use burn::tensor::Tensor;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::Linear;
use topwork_nn::loss::cross_entropy;
use topwork_nn::{ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec, LossOptions, Targets};
use crate::heads::dense::Dense;
use crate::onnx::{Graph, HeadGraph, Output, Value};

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "tag",
    summary: "a label for each token",
    paper: "https://arxiv.org/abs/1810.04805",
    build,
};

struct Tag {
    dense: Option<Dense>,
    labels: usize,
    dropout: f32,
    out: Linear,
}

fn build(spec: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    let HeadSpec::Tag { labels } = spec else {
        return Err(Error::UnknownHead { got: spec.name().to_string(), known: ENTRY.name.to_string() });
    };
    let (size, style) = (encoder.size(), encoder.tagger());
    let dense = style.dense.map(|dense| Dense::declare(store, encoder, dense));
    let width = style.dense.map_or(size.hidden, |dense| dense.width);
    let sizes = [labels.len(), width];
    let out = Linear::declare(store, style.path, sizes, encoder.parts() + 1, size.std);
    Ok(Box::new(Tag { labels: labels.len(), dense, dropout: style.dropout, out }))
}

impl Head for Tag {
    fn pooled(&self) -> Option<Pool> {
        None
    }

    fn onnx(&self) -> Option<&dyn HeadGraph> {
        Some(self)
    }

    fn forward(&self, pass: &Pass, mut x: Tensor<2>, _: &Packed) -> Result<Tensor<2>, Error> {
        if let Some(dense) = &self.dense {
            x = dense.forward(pass, x)?;
        }
        let x = topwork_ops::dropout(x, pass.dropout(self.dropout, "head.out"));
        Ok(self.out.forward(pass, x)?)
    }

    fn loss(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        targets: &Targets,
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        let Targets::Tokens(target) = targets else {
            return Err(Error::Targets { head: ENTRY.name, expected: "tokens", got: targets.kind() });
        };
        let logits = self.forward(pass, x, input)?;
        Ok(cross_entropy(logits, target, options.class_weights.as_ref(), options.smoothing))
    }
}

impl HeadGraph for Tag {
    fn describe(&self, graph: &mut Graph, x: Value) -> Result<Output, Error> {
        let x = match &self.dense {
            Some(dense) => dense.describe(graph, &x)?,
            None => x,
        };
        let Linear { weight, bias } = self.out;
        let value = graph.linear(&x, weight, bias)?;
        Ok(Output { value, width: self.labels, vector: false })
    }
}

//! Whether a token is another than the one that stood there: a score for each token, above zero where it was replaced.
//!
//! Paper: Clark et al. 2020, "ELECTRA", section 2, <https://arxiv.org/abs/2003.10555>; differs from the paper, as its code does,
//! in a dense layer before the score.

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::loss::IGNORE;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::Linear;
use topwork_nn::loss::binary_cross_entropy;
use topwork_nn::{ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec, LossOptions, Targets};
use crate::heads::dense::Dense;
use crate::onnx::{Graph, HeadGraph, Output, Value};

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "replaced-token",
    summary: "whether each token was replaced by another",
    paper: "https://arxiv.org/abs/2003.10555",
    build,
};

struct ReplacedToken {
    dense: Dense,
    out: Linear,
}

fn build(_: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    let style = encoder.replaced_token();
    let dense = Dense::declare(store, encoder, style);
    let (group, std) = (encoder.parts() + 1, encoder.size().std);
    let out = Linear::declare(store, "head.replaced", [1, style.width], group, std);
    Ok(Box::new(ReplacedToken { dense, out }))
}

impl Head for ReplacedToken {
    fn pooled(&self) -> Option<Pool> {
        None
    }

    fn onnx(&self) -> Option<&dyn HeadGraph> {
        Some(self)
    }

    fn forward(&self, pass: &Pass, x: Tensor<2>, _: &Packed) -> Result<Tensor<2>, Error> {
        Ok(self.out.forward(pass, self.dense.forward(pass, x)?)?)
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
        let asked: Arc<[u32]> = (0..target.len() as u32).filter(|&t| target[t as usize] != IGNORE).collect();
        let replaced: Vec<f32> = asked
            .iter()
            .map(|&t| if target[t as usize] == 0 { 0.0 } else { 1.0 })
            .map(|y: f32| y * (1.0 - options.smoothing) + 0.5 * options.smoothing)
            .collect();
        let scores = self.forward(pass, topwork_ops::embedding(x, &asked), input)?;
        Ok(binary_cross_entropy(scores, &replaced, options.class_weights.as_deref()))
    }
}

impl HeadGraph for ReplacedToken {
    fn describe(&self, graph: &mut Graph, x: Value) -> Result<Output, Error> {
        let x = self.dense.describe(graph, &x)?;
        let value = graph.linear(&x, self.out.weight, self.out.bias)?;
        Ok(Output { value, width: 1, vector: false })
    }
}

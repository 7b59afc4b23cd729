//! A number for a text or a pair of texts.

use burn::tensor::Tensor;
use topwork_kernels::pool::Pool;
use topwork_nn::loss::mean_squared_error;
use topwork_nn::{ParamId, ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec, LossOptions, Targets};
use crate::heads::pooled::{PooledOutputs, PooledSpec};
use crate::onnx::HeadGraph;
use crate::states::Layers;

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "regress",
    summary: "a number for a text or a pair of texts",
    paper: "https://arxiv.org/abs/1810.04805",
    build,
};

struct Regress(PooledOutputs);

fn build(spec: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    let HeadSpec::Regress { pool, body, layers } = spec else {
        return Err(Error::UnknownHead { got: spec.name().to_string(), known: ENTRY.name.to_string() });
    };
    let spec = PooledSpec { pool: *pool, body: *body, layers: *layers };
    Ok(Box::new(Regress(PooledOutputs::declare(store, encoder, spec, 1)?)))
}

impl Head for Regress {
    fn pooled(&self) -> Option<Pool> {
        self.0.pool()
    }

    fn layers(&self) -> Layers {
        self.0.layers()
    }

    fn mix(&self) -> Option<&[ParamId]> {
        self.0.mix()
    }

    fn onnx(&self) -> Option<&dyn HeadGraph> {
        self.0.onnx()
    }

    fn forward(&self, pass: &Pass, x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        self.0.forward(pass, x, input)
    }

    fn loss(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        targets: &Targets,
        _: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        let Targets::Scores(scores) = targets else {
            return Err(Error::Targets { head: ENTRY.name, expected: "scores", got: targets.kind() });
        };
        Ok(mean_squared_error(self.forward(pass, x, input)?, scores))
    }
}

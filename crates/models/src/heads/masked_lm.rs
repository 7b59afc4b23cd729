//! The words behind masks.

use burn::tensor::Tensor;
use topwork_kernels::pool::Pool;
use topwork_nn::{ParamStore, Pass};

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec, LossOptions, Targets};
use crate::heads::words::Words;

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "masked-lm",
    summary: "the words behind masks",
    paper: "https://arxiv.org/abs/1810.04805",
    build,
};

struct MaskedLm(Words);

fn build(_: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    Ok(Box::new(MaskedLm(Words::declare(store, encoder))))
}

impl Head for MaskedLm {
    fn pooled(&self) -> Option<Pool> {
        None
    }

    fn forward(&self, pass: &Pass, x: Tensor<2>) -> Result<Tensor<2>, Error> {
        self.0.forward(pass, x)
    }

    fn loss(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        targets: &Targets,
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        let Targets::Tokens(target) = targets else {
            return Err(Error::Targets { head: ENTRY.name, expected: "tokens", got: targets.kind() });
        };
        self.0.loss(pass, x, target, options)
    }
}

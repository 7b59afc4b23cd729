//! Whether the second text of a pair follows the first: class 0 if it does, 1 if not. Where a family learned the order of two
//! texts instead (ALBERT), class 1 is the wrong order.

use burn::tensor::Tensor;
use topwork_kernels::pool::Pool;
use topwork_nn::loss::cross_entropy;
use topwork_nn::{ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec, LossOptions, Targets};
use crate::heads::pooled::RowOutputs;
use crate::onnx::HeadGraph;

/// It does follow, or it does not.
pub const OUTPUTS: usize = 2;

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "next-sentence",
    summary: "whether the second text of a pair follows the first",
    paper: "https://arxiv.org/abs/1810.04805",
    build,
};

struct NextSentence(RowOutputs);

fn build(_: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    Ok(Box::new(NextSentence(RowOutputs::declare(store, encoder, encoder.next_sentence(), OUTPUTS))))
}

impl Head for NextSentence {
    fn pooled(&self) -> Option<Pool> {
        Some(self.0.pool())
    }

    fn onnx(&self) -> Option<&dyn HeadGraph> {
        Some(&self.0)
    }

    fn forward(&self, pass: &Pass, x: Tensor<2>, _: &Packed) -> Result<Tensor<2>, Error> {
        self.0.forward(pass, x)
    }

    fn loss(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        targets: &Targets,
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        let Targets::Classes(target) = targets else {
            return Err(Error::Targets { head: ENTRY.name, expected: "classes", got: targets.kind() });
        };
        let logits = self.forward(pass, x, input)?;
        Ok(cross_entropy(logits, target, options.class_weights.as_ref(), options.smoothing))
    }
}

//! The words behind masks: a transform of each token and a decoder tied to the embedding table.

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::activation::Activation;
use topwork_kernels::loss::IGNORE;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::{LayerNorm, Linear};
use topwork_nn::loss::cross_entropy;
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass};

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec, LossOptions, Targets};

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "masked-lm",
    summary: "the words behind masks, decoded with the embedding table",
    paper: "https://arxiv.org/abs/1810.04805",
    build,
};

struct MaskedLm {
    dense: Linear,
    activation: Activation,
    norm: LayerNorm,
    table: ParamId,
    bias: ParamId,
}

fn build(_: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    let (size, style) = (encoder.size(), encoder.masked_lm());
    let group = size.layers + 1;
    Ok(Box::new(MaskedLm {
        dense: Linear::declare(store, "head.mlm.dense", [size.hidden, size.hidden], group, size.std),
        activation: style.activation,
        norm: LayerNorm::declare(store, "head.mlm.norm", size.hidden, group, style.eps),
        table: encoder.word_table(),
        bias: store.declare("head.mlm.bias", &[size.vocab], group, ParamKind::Bias, Init::Zeros),
    }))
}

impl Head for MaskedLm {
    fn pooled(&self) -> Option<Pool> {
        None
    }

    fn forward(&self, pass: &Pass, x: Tensor<2>) -> Result<Tensor<2>, Error> {
        let x = self.dense.forward_activated(pass, x, self.activation)?;
        let x = self.norm.forward(pass, x)?;
        let (table, bias) = (pass.matrix(self.table)?, pass.vector(self.bias)?);
        Ok(topwork_ops::linear(x, table, Some(bias), pass.precision()))
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
        // Only asked-for tokens go through the decoder: it is the widest product of the model, and in masked
        // language modelling 85% of its rows would be thrown away.
        let asked: Arc<[u32]> = (0..target.len() as u32).filter(|&t| target[t as usize] != IGNORE).collect();
        let wanted: Arc<[u32]> = target.iter().copied().filter(|&t| t != IGNORE).collect();
        let logits = self.forward(pass, topwork_ops::embedding(x, &asked))?;
        Ok(cross_entropy(logits, &wanted, options.class_weights.as_ref(), options.smoothing))
    }
}

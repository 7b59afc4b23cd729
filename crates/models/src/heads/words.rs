//! Scores of words for tokens, and their loss: the head of both kinds of language model.

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::loss::IGNORE;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::Linear;
use topwork_nn::loss::cross_entropy;
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, LossOptions, Targets};
use crate::heads::dense::Dense;

/// The family's layer before the decoder, and the decoder.
pub struct Words {
    /// The name of the head, for messages.
    head: &'static str,
    transform: Option<Dense>,
    /// The token table, or a matrix of its own.
    table: ParamId,
    bias: Option<ParamId>,
}

impl Words {
    /// Declares what the family's language model has beyond its token table; `head` is the name of the head it is.
    pub fn declare(head: &'static str, store: &mut ParamStore, encoder: &dyn Encoder) -> Self {
        let (size, style) = (encoder.size(), encoder.language_model());
        let group = encoder.parts() + 1;
        let width = style.transform.map_or(size.hidden, |dense| dense.width);
        let transform = style.transform.map(|dense| Dense::declare(store, encoder, dense));
        let table = if style.tied {
            encoder.word_table()
        } else {
            Linear::declare_with(store, "head.lm", [size.vocab, width], group, size.std, false).weight
        };
        let bias =
            style.bias.map(|path| store.declare(path, &[size.vocab], group, ParamKind::Bias, Init::Zeros));
        Words { head, transform, table, bias }
    }
}

impl Head for Words {
    fn pooled(&self) -> Option<Pool> {
        None
    }

    fn forward(&self, pass: &Pass, mut x: Tensor<2>, _: &Packed) -> Result<Tensor<2>, Error> {
        if let Some(transform) = &self.transform {
            x = transform.forward(pass, x)?;
        }
        Ok(pass.linear(x, self.table, self.bias)?)
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
            return Err(Error::Targets { head: self.head, expected: "tokens", got: targets.kind() });
        };
        // Only asked-for tokens go through the decoder: it is the widest product of the model, and in masked
        // language modelling 85% of its rows would be thrown away.
        let asked: Arc<[u32]> = (0..target.len() as u32).filter(|&t| target[t as usize] != IGNORE).collect();
        let wanted: Arc<[u32]> = target.iter().copied().filter(|&t| t != IGNORE).collect();
        let logits = self.forward(pass, topwork_ops::embedding(x, &asked), input)?;
        Ok(cross_entropy(logits, &wanted, options.class_weights.as_ref(), options.smoothing))
    }
}

//! Scores of words for tokens, and their loss: what both kinds of language model share.

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::loss::IGNORE;
use topwork_nn::layers::Linear;
use topwork_nn::loss::cross_entropy;
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass};

use crate::error::Error;
use crate::family::Encoder;
use crate::head::LossOptions;
use crate::heads::dense::Dense;

/// The family's layer before the decoder, and the decoder.
pub struct Words {
    transform: Option<Dense>,
    /// The token table, or a matrix of its own.
    table: ParamId,
    bias: Option<ParamId>,
}

impl Words {
    /// Declares what the family's language model has beyond its token table.
    pub fn declare(store: &mut ParamStore, encoder: &dyn Encoder) -> Self {
        let (size, style) = (encoder.size(), encoder.language_model());
        let group = size.layers + 1;
        let width = style.transform.map_or(size.hidden, |dense| dense.width);
        let transform = style.transform.map(|dense| Dense::declare(store, encoder, dense));
        let table = if style.tied {
            encoder.word_table()
        } else {
            Linear::declare_with(store, "head.lm", [size.vocab, width], group, size.std, false).weight
        };
        let bias =
            style.bias.map(|path| store.declare(path, &[size.vocab], group, ParamKind::Bias, Init::Zeros));
        Words { transform, table, bias }
    }

    /// # Shapes
    /// - `x`: `[rows, hidden]`; returns `[rows, vocab]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn forward(&self, pass: &Pass, mut x: Tensor<2>) -> Result<Tensor<2>, Error> {
        if let Some(transform) = &self.transform {
            x = transform.forward(pass, x)?;
        }
        Ok(pass.linear(x, self.table, self.bias)?)
    }

    /// Mean cross-entropy of the tokens that are asked for.
    ///
    /// # Shapes
    /// - `x`: `[tokens, hidden]`; `target`: `[tokens]`, [`IGNORE`] where nothing is asked; returns `[1]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn loss(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        target: &[u32],
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        // Only asked-for tokens go through the decoder: it is the widest product of the model, and in masked
        // language modelling 85% of its rows would be thrown away.
        let asked: Arc<[u32]> = (0..target.len() as u32).filter(|&t| target[t as usize] != IGNORE).collect();
        let wanted: Arc<[u32]> = target.iter().copied().filter(|&t| t != IGNORE).collect();
        let logits = self.forward(pass, topwork_ops::embedding(x, &asked))?;
        Ok(cross_entropy(logits, &wanted, options.class_weights.as_ref(), options.smoothing))
    }
}

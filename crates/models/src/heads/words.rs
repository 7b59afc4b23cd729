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
use crate::family::{Encoder, Regularisation};
use crate::head::{Head, LossOptions, Targets};
use crate::heads::adaptive::Adaptive;
use crate::heads::dense::Dense;
use crate::onnx::{Graph, HeadGraph, Output, Value};

/// Scores of words as the family makes them: of all at once, or of clusters and then of the words in them.
pub fn build(head: &'static str, store: &mut ParamStore, encoder: &dyn Encoder) -> Box<dyn Head> {
    match encoder.clusters() {
        Some(clusters) => Box::new(Adaptive::declare(head, store, encoder, clusters)),
        None => Box::new(Words::declare(head, store, encoder)),
    }
}

/// The family's layer before the decoder, and the decoder.
pub struct Words {
    /// The name of the head, for messages.
    head: &'static str,
    transform: Option<Dense>,
    vocab: usize,
    /// The token table, or a matrix of its own.
    table: ParamId,
    bias: Option<ParamId>,
    regularisation: Option<Regularisation>,
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
        let (vocab, regularisation) = (size.vocab, encoder.regularisation());
        Words { head, transform, vocab, table, bias, regularisation }
    }

    /// The mean cross-entropy of the words asked for.
    ///
    /// # Shapes
    /// - `x`: `[tokens, hidden]`; `target`: `[tokens]`, [`IGNORE`] where none is asked for; returns `[1]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn loss_of(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        target: &[u32],
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        // Only asked-for tokens go through the decoder: it is the widest product of the model, and in masked
        // language modelling 85% of its rows would be thrown away.
        let asked: Arc<[u32]> = (0..target.len() as u32).filter(|&t| target[t as usize] != IGNORE).collect();
        let wanted: Arc<[u32]> = target.iter().copied().filter(|&t| t != IGNORE).collect();
        let dropped = self.dropped(pass, x.clone(), input);
        let logits = self.scores(pass, topwork_ops::embedding(dropped.clone(), &asked))?;
        let loss = cross_entropy(logits, &wanted, options.class_weights.as_ref(), options.smoothing);
        Ok(match self.regularisation.filter(|_| pass.training()) {
            Some(how) => loss + penalty(how, x, dropped, &input.offsets),
            None => loss,
        })
    }

    /// Hidden states with the dropout of the family's language model.
    fn dropped(&self, pass: &Pass, x: Tensor<2>, input: &Packed) -> Tensor<2> {
        let dropout = self.regularisation.and_then(|how| pass.dropout(how.dropout, "head.lm"));
        if dropout.is_none() {
            return x;
        }
        topwork_ops::locked_dropout(x, &input.offsets.as_slice().into(), dropout)
    }

    /// Scores of words.
    fn scores(&self, pass: &Pass, mut x: Tensor<2>) -> Result<Tensor<2>, Error> {
        if let Some(transform) = &self.transform {
            x = transform.forward(pass, x)?;
        }
        Ok(pass.linear(x, self.table, self.bias)?)
    }
}

/// What is added to the loss for large activations and for their change.
fn penalty(how: Regularisation, x: Tensor<2>, dropped: Tensor<2>, offsets: &[u32]) -> Tensor<1> {
    let mean_square = |x: Tensor<2>| (x.clone() * x).mean();
    let mut sum = mean_square(dropped).mul_scalar(how.activation);
    let starts = |pair: &[u32]| pair[0]..pair[1].saturating_sub(1).max(pair[0]);
    let earlier: Arc<[u32]> = offsets.windows(2).flat_map(starts).collect();
    if !earlier.is_empty() {
        let later: Arc<[u32]> = earlier.iter().map(|token| token + 1).collect();
        let change = topwork_ops::embedding(x.clone(), &later) - topwork_ops::embedding(x, &earlier);
        sum = sum + mean_square(change).mul_scalar(how.change);
    }
    sum
}

impl Head for Words {
    fn pooled(&self) -> Option<Pool> {
        None
    }

    fn onnx(&self) -> Option<&dyn HeadGraph> {
        Some(self)
    }

    fn forward(&self, pass: &Pass, x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        self.scores(pass, self.dropped(pass, x, input))
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
        self.loss_of(pass, x, input, target, options)
    }
}

impl HeadGraph for Words {
    fn describe(&self, graph: &mut Graph, x: Value) -> Result<Output, Error> {
        let x = match &self.transform {
            Some(transform) => transform.describe(graph, &x)?,
            None => x,
        };
        let value = graph.linear(&x, self.table, self.bias)?;
        Ok(Output { value, width: self.vocab, vector: false })
    }
}

//! Two heads at once: words for tokens, and something for texts. The loss is the sum of both, the words' times a weight.

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::pool::Pool;
use topwork_nn::loss::cross_entropy;
use topwork_nn::{ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::{ClassifierStyle, Encoder};
use crate::head::{Head, LossOptions, Targets};
use crate::heads::multiple_choice::choice_loss;
use crate::heads::pooled::RowOutputs;
use crate::heads::words::Words;
use crate::onnx::{Graph, HeadGraph, Output, Value};

/// Words, and outputs over texts.
pub struct Both {
    head: &'static str,
    words: Words,
    texts: RowOutputs,
    task: TextTask,
    weight: f32,
}

/// What is asked of texts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TextTask {
    /// One class of a few for each text.
    Classes(usize),
    /// The right one of a question's texts.
    Choices,
}

impl Both {
    /// Declares what the family's language model has, and the outputs of `style`; `weight` is that of the words' loss where the
    /// options name none.
    pub fn declare(
        head: &'static str,
        store: &mut ParamStore,
        encoder: &dyn Encoder,
        (style, task): (ClassifierStyle, TextTask),
        weight: f32,
    ) -> Self {
        let outputs = match task {
            TextTask::Classes(outputs) => outputs,
            TextTask::Choices => 1,
        };
        let words = Words::declare(head, store, encoder);
        Both { head, words, texts: RowOutputs::declare(store, encoder, style, outputs), task, weight }
    }

    fn over_texts(&self, pass: &Pass, x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        let offsets: Arc<[u32]> = Arc::from(input.offsets.as_slice());
        self.texts.forward(pass, topwork_ops::pool(x, &offsets, self.texts.pool()))
    }
}

impl Head for Both {
    fn pooled(&self) -> Option<Pool> {
        None
    }

    fn onnx(&self) -> Option<&dyn HeadGraph> {
        Some(self)
    }

    fn forward(&self, pass: &Pass, x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        self.words.forward(pass, x, input)
    }

    fn forward_texts(&self, pass: &Pass, x: Tensor<2>, input: &Packed) -> Result<Option<Tensor<2>>, Error> {
        self.over_texts(pass, x, input).map(Some)
    }

    fn loss(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        targets: &Targets,
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        let Targets::Both { tokens, texts } = targets else {
            let expected = "tokens and texts";
            return Err(Error::Targets { head: self.head, expected, got: targets.kind() });
        };
        let outputs = self.over_texts(pass, x.clone(), input)?;
        let of_texts = match (self.task, texts.as_ref()) {
            (TextTask::Classes(_), Targets::Classes(target)) => {
                cross_entropy(outputs, target, None, options.smoothing)
            }
            (TextTask::Choices, Targets::Choices { right, questions }) => {
                choice_loss(&outputs, right, questions, options.smoothing)?
            }
            (task, other) => {
                let expected = match task {
                    TextTask::Classes(_) => "tokens and classes",
                    TextTask::Choices => "tokens and choices",
                };
                return Err(Error::Targets { head: self.head, expected, got: other.kind() });
            }
        };
        let of_words = self.words.loss_of(pass, x, input, tokens, options)?;
        let weight = options.words.unwrap_or(self.weight);
        let of_words = if weight == 1.0 { of_words } else { of_words * weight };
        Ok(of_words + of_texts)
    }
}

impl HeadGraph for Both {
    fn describe(&self, graph: &mut Graph, x: Value) -> Result<Output, Error> {
        self.words.describe(graph, x)
    }

    fn over_texts(&self) -> Option<(Pool, &dyn HeadGraph)> {
        Some((self.texts.pool(), &self.texts))
    }
}

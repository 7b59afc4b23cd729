//! A model over long texts, read segment by segment, and over words that are asked for in some order.

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_nn::{Memory, Pass};
use topwork_text::Packed;

use super::Model;
use crate::error::Error;
use crate::head::{LossOptions, Permuted, Targets};
use crate::states::Layers;

impl Model {
    /// The memory that `sequences` texts start with, for reading them segment by segment.
    ///
    /// # Errors
    /// [`Error::NoMemory`] for families without one.
    pub fn memory(&self, sequences: usize) -> Result<Memory, Error> {
        self.no_virtual_tokens("reading segment by segment")?;
        self.encoder.segment_reader().map(|encoder| encoder.memory(sequences)).ok_or(Error::NoMemory)
    }

    /// Hidden states of the last layer for the next segment of some texts, which then is in the memory.
    ///
    /// # Shapes
    /// - `input`: the next tokens of as many sequences as the memory has
    /// - returns: `[tokens, hidden]`
    ///
    /// # Errors
    /// [`Error::NoMemory`]; as [`Model::hidden`].
    pub fn hidden_on(&self, pass: &Pass, input: &Packed, memory: &mut Memory) -> Result<Tensor<2>, Error> {
        let encoder = self.encoder.segment_reader().ok_or(Error::NoMemory)?;
        if memory.sequences() != input.batch() {
            return Err(Error::Segment { expected: memory.sequences(), got: input.batch() });
        }
        encoder.read_segment(pass, input, memory)
    }

    /// [`Model::loss`] of the next segment of some texts, which then is in the memory. Gradients end at its start.
    ///
    /// # Errors
    /// As [`Model::hidden_on`] and [`Model::head_loss`].
    pub fn loss_on(
        &self,
        pass: &Pass,
        input: &Packed,
        targets: &Targets,
        options: &LossOptions,
        memory: &mut Memory,
    ) -> Result<Tensor<1>, Error> {
        if let Targets::Permuted(permuted) = targets {
            return self.permuted_loss(pass, input, permuted, options, memory);
        }
        if self.head.layers() != Layers::Last {
            return Err(Error::Setting {
                setting: format!("layers = {:?}", self.head.layers().name()),
                expected: "\"last\", for reading segment by segment".to_string(),
                got: "another".to_string(),
            });
        }
        let hidden = self.hidden_on(pass, input, memory)?;
        let features = self.pool(hidden, &Arc::from(input.offsets.as_slice()))?;
        self.head_loss(pass, features, input, targets, options)
    }

    /// Scores of words for the tokens asked for, each from those before it in the order.
    ///
    /// # Shapes
    /// - returns: `[asked, vocab]`
    ///
    /// # Errors
    /// [`Error::Targets`] for a head that predicts no words in an order; [`Error::Permuted`]; as [`Model::hidden_on`].
    pub fn permuted(
        &self,
        pass: &Pass,
        input: &Packed,
        permuted: &Permuted,
        memory: &mut Memory,
    ) -> Result<Tensor<2>, Error> {
        let features = self.permuted_features(pass, input, permuted, memory)?;
        self.head.forward(pass, features, input)
    }

    fn permuted_features(
        &self,
        pass: &Pass,
        input: &Packed,
        permuted: &Permuted,
        memory: &mut Memory,
    ) -> Result<Tensor<2>, Error> {
        let (Some(encoder), Some(unknown)) = (self.encoder.two_streams(), self.head.unknown()) else {
            let (head, got) = (self.spec.name(), "words in an order");
            return Err(Error::Targets { head, expected: "another kind", got });
        };
        if memory.sequences() != input.batch() {
            return Err(Error::Segment { expected: memory.sequences(), got: input.batch() });
        }
        encoder.read_permuted(pass, input, permuted, pass.matrix(unknown)?, memory)
    }

    pub(super) fn permuted_loss(
        &self,
        pass: &Pass,
        input: &Packed,
        permuted: &Permuted,
        options: &LossOptions,
        memory: &mut Memory,
    ) -> Result<Tensor<1>, Error> {
        let features = self.permuted_features(pass, input, permuted, memory)?;
        self.head_loss(pass, features, input, &Targets::Tokens(Arc::clone(&permuted.words)), options)
    }
}

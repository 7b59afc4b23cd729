//! What to do with some data: what it is, which kind of transfer that makes, and the commands that go with it.
//!
//! [`Facts`] are looked up in the data and, where a model is given, with its tokenizer; [`Scenario`] is their place in the
//! taxonomy of transfer learning; [`advise`] gives commands, each choice with its reason and the figure that it rests on. Nothing
//! is trained. Every figure stands in `dev/LOG.md` or `docs/results.md`, or comes from the data itself.
//!
//! Paper: Ruder 2019, "Neural Transfer Learning for Natural Language Processing", section 3.2 (after Pan, Yang 2010),
//! <https://ruder.io/thesis/neural_transfer_learning_for_nlp.pdf>

mod advice;
mod facts;
mod overlap;
mod scenario;
mod steps;

use serde::Serialize;

pub use advice::advise;
pub use facts::{Class, Columns, Facts, Reader, Side, Speech, Tokens, Words, look, rate};
pub use overlap::{Overlap, overlap};
pub use scenario::{Order, Scenario};
pub use steps::{Choice, Step};

/// What is known, from which a plan follows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Known {
    /// The data.
    pub data: Facts,
    /// The data that it is to serve, if that is other data.
    pub target: Option<Facts>,
    /// How alike the words of the two are.
    pub overlap: Option<Overlap>,
    /// The model, as it was named; `None` where none was.
    pub model: Option<String>,
    /// Width of the model's hidden states.
    pub hidden: Option<usize>,
    /// Minutes there are for training.
    pub minutes: Option<f64>,
    /// Texts of the data that the model learns from in a second on this machine, where that was measured.
    pub texts_per_second: Option<f64>,
    /// In which order two tasks are to be learnt, where that was said.
    pub order: Option<Order>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// Where it stands in the taxonomy.
    pub scenario: Scenario,
    /// Why there.
    pub because: Vec<String>,
    /// What is done, in this order.
    pub steps: Vec<Step>,
    /// What is worth comparing.
    pub compare: Vec<Step>,
    /// What speaks against the data or the model as they are.
    pub warnings: Vec<String>,
}

#[cfg(test)]
mod tests;

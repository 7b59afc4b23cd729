//! Labelling with a model in the loop: it asks for the labels that it would learn most from, and learns again after each batch.
//!
//! What a pretrained encoder makes of every text of a pool is computed once ([`Features`]); after each batch a linear head is
//! learnt anew from all labels, which takes a moment, and the next texts are chosen by what it says of the others
//! ([`Strategy`]). Every answer is a line of a file before the next question is asked ([`LabelFile`]), so that a kill loses
//! none. [`simulate`](mod@simulate) plays the same with labels that are there already, and holds each strategy against random order.
//!
//! Paper: Settles 2009, "Active Learning Literature Survey", sections 3.1 and 6, <https://minds.wisconsin.edu/handle/1793/60660>

mod choose;
mod features;
mod file;
mod head;
mod session;
pub mod simulate;
mod table;

pub use choose::Strategy;
pub use features::{Features, Kept, PoolText, pool};
pub use file::{LabelFile, Record};
pub use head::{Held, Scores};
pub use session::{CurvePoint, Question, Round, Session, Settings};

#[cfg(test)]
mod tests;

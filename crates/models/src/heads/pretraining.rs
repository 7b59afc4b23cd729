//! The words behind masks, and whether the second text of a pair follows the first: what BERT, ALBERT (the order of two texts) and
//! ERNIE were pretrained with, both at once.

use topwork_nn::ParamStore;

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec};
use crate::heads::both::{Both, TextTask};
use crate::heads::next_sentence::OUTPUTS;

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "pretraining",
    summary: "the words behind masks, and whether the second text of a pair follows the first",
    paper: "https://arxiv.org/abs/1810.04805",
    build,
};

fn build(_: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    if !encoder.has_words() {
        return Err(Error::NoWords { what: "the pretraining head" });
    }
    let task = TextTask::Classes(OUTPUTS);
    Ok(Box::new(Both::declare(ENTRY.name, store, encoder, (encoder.next_sentence(), task), 1.0)))
}

//! The words behind masks.

use topwork_nn::ParamStore;

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec};
use crate::heads::words;

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "masked-lm",
    summary: "the words behind masks",
    paper: "https://arxiv.org/abs/1810.04805",
    build,
};

fn build(_: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    if !encoder.has_words() {
        return Err(Error::NoWords { what: "the masked-lm head" });
    }
    Ok(words::build(ENTRY.name, store, encoder))
}

//! The next words, and the right one of several texts, for families that read from left to right.
//!
//! Paper: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", section 3.2 (equation 5, the words'
//! loss times 0.5: section 4.1),
//! <https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf>

use topwork_nn::ParamStore;

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec};
use crate::heads::both::{Both, TextTask};

/// The weight of the words' loss in the paper.
const WORDS: f32 = 0.5;

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "double-heads",
    summary: "the next words and the right one of several texts, for families that read from left to right",
    paper: "https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf",
    build,
};

fn build(_: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    if encoder.decoder().is_none() {
        return Err(Error::NotCausal { head: ENTRY.name });
    }
    if !encoder.has_words() {
        return Err(Error::NoWords { what: "the double-heads head" });
    }
    Ok(Box::new(Both::declare(ENTRY.name, store, encoder, (encoder.chooser(), TextTask::Choices), WORDS)))
}

//! The next word. The target of a token is the token after it, so the last of each text has none ([`next_words`]).

use topwork_kernels::loss::IGNORE;
use topwork_nn::ParamStore;
use topwork_text::Packed;

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec, Targets};
use crate::heads::words;

/// The targets of a batch: for each token the one after it in its text, [`IGNORE`] at the end of a text.
///
/// # Shapes
/// - returns: `[tokens]`
pub fn next_words(input: &Packed) -> Targets {
    let mut targets = vec![IGNORE; input.ids.len()];
    for pair in input.offsets.windows(2) {
        let (first, last) = (pair[0] as usize, pair[1] as usize);
        if first < last {
            targets[first..last - 1].copy_from_slice(&input.ids[first + 1..last]);
        }
    }
    Targets::Tokens(targets.into())
}

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "causal-lm",
    summary: "the next word, for families that read from left to right",
    paper: "https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf",
    build,
};

fn build(_: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    if encoder.decoder().is_none() {
        return Err(Error::NotCausal { head: ENTRY.name });
    }
    if !encoder.has_words() {
        return Err(Error::NoWords { what: "the causal-lm head" });
    }
    Ok(words::build(ENTRY.name, store, encoder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_is_asked_for_the_next_of_its_text() {
        let input = Packed::new(vec![5, 6, 7, 8, 9], vec![0; 5], vec![0, 3, 3, 4, 5]).unwrap();
        assert_eq!(next_words(&input), Targets::Tokens([6, 7, IGNORE, IGNORE, IGNORE].into()));
    }
}

//! The parts of a tokenizer as a GGUF file may give them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::{Parts, caught, encode_all};
use topwork_text::Tokenizer;

fuzz_target!(init: caught(), |parts: Parts| {
    if let Ok(tokenizer) = Tokenizer::from_gguf(&parts.into_gguf()) {
        encode_all(&tokenizer);
    }
});

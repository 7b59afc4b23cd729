//! A tokenizer.bin of llama2.c.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::{Folder, caught, encode_all};
use topwork_text::Tokenizer;

fuzz_target!(init: caught(), |data: &[u8]| {
    if let Ok(tokenizer) = Tokenizer::from_llama2c(Folder::new().one("tokenizer.bin", data)) {
        encode_all(&tokenizer);
    }
});

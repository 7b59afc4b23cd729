//! A vocab.txt, and the settings beside it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::{Folder, caught, encode_all};
use topwork_text::Tokenizer;

const NAMES: [&str; 4] =
    ["vocab.txt", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"];

fuzz_target!(init: caught(), |data: &[u8]| {
    let folder = Folder::new();
    folder.several(data, &NAMES);
    if let Ok(tokenizer) = Tokenizer::from_folder(folder.path()) {
        encode_all(&tokenizer);
    }
});

//! A model in three GGUF files.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::{Folder, caught, gguf};

const NAMES: [&str; 3] =
    ["model-00001-of-00003.gguf", "model-00002-of-00003.gguf", "model-00003-of-00003.gguf"];

fuzz_target!(init: caught(), |data: &[u8]| {
    let folder = Folder::new();
    folder.several(data, &NAMES);
    gguf(&folder.path().join(NAMES[0]));
});

//! A GGUF file: tensors, settings, tokenizer and chat template.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::{Folder, caught, gguf};

fuzz_target!(init: caught(), |data: &[u8]| gguf(&Folder::new().one("input.gguf", data)));

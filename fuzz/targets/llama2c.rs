//! A checkpoint of llama2.c.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::read_all;
use topwork_weights::llama2c::Llama2cFile;

fuzz_target!(|data: &[u8]| {
    if let Ok(file) = Llama2cFile::from_bytes("input", data.to_vec()) {
        read_all(&file);
    }
});

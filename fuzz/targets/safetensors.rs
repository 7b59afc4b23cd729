//! A safetensors file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::read_all;
use topwork_weights::SafeTensorsFile;

fuzz_target!(|data: &[u8]| {
    if let Ok(file) = SafeTensorsFile::from_bytes("input", data.to_vec()) {
        read_all(&file);
    }
});

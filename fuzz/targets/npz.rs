//! A NumPy archive.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::read_all;
use topwork_weights::npz::NpzFile;

fuzz_target!(|data: &[u8]| {
    if let Ok(file) = NpzFile::from_bytes("input", data.to_vec()) {
        read_all(&file);
    }
});

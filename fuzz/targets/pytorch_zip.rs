//! A PyTorch file, the archive included.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::read_all;
use topwork_weights::pytorch::PyTorchFile;

fuzz_target!(|data: &[u8]| {
    if let Ok(file) = PyTorchFile::from_bytes("input", data.to_vec()) {
        read_all(&file);
    }
});

//! A PyTorch file of the older form: pickles one after the other, then the storages.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::pytorch;
use topwork_weights::pytorch::PyTorchFile;

fuzz_target!(|data: &[u8]| {
    if let Ok(file) = PyTorchFile::from_bytes("input", data.to_vec()) {
        pytorch(&file);
    }
});

//! The pickle of a PyTorch file, in an archive that is whole.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::{pytorch, stored};
use topwork_weights::pytorch::PyTorchFile;

fuzz_target!(|data: &[u8]| {
    let numbers = [0; 64];
    let archive = stored(&[
        ("archive/data.pkl", data),
        ("archive/version", b"3\n"),
        ("archive/data/0", &numbers),
        ("archive/data/1", &numbers[..24]),
    ]);
    if let Ok(file) = PyTorchFile::from_bytes("input", archive) {
        pytorch(&file);
    }
});

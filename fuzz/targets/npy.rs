//! An array of a NumPy archive that is whole.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::{read_all, stored};
use topwork_weights::npz::NpzFile;

fuzz_target!(|data: &[u8]| {
    if let Ok(file) = NpzFile::from_bytes("input", stored(&[("a.npy", data)])) {
        read_all(&file);
    }
});

//! An HDF5 file, and the names of Keras in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::read_all;
use topwork_weights::{Hdf5File, TensorflowNames};

fuzz_target!(|data: &[u8]| {
    let Ok(file) = Hdf5File::from_bytes("input", data.to_vec()) else { return };
    read_all(&file);
    let _ = file.layers();
    if let Ok(named) = TensorflowNames::over_hdf5(file) {
        read_all(named.as_ref());
    }
});

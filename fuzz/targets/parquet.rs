//! A Parquet file of texts and labels.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::{Folder, rows};

fuzz_target!(
    // The reader answers panics of the parquet crate with an error; one that comes through still ends the run.
    init: std::panic::set_hook(Box::new(|_| ())),
    |data: &[u8]| {
        let path = Folder::new().one("input.parquet", data);
        rows(|options| topwork_data::read(&path, options));
    }
);

//! A Parquet file of texts and labels.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::{Folder, caught, rows};

fuzz_target!(init: caught(), |data: &[u8]| {
    let path = Folder::new().one("input.parquet", data);
    rows(|options| topwork_data::read(&path, options));
});

//! An Arrow stream or file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::{caught, rows};

fuzz_target!(init: caught(), |data: &[u8]| {
    rows(|options| topwork_data::read_from("input.arrow", data, options));
});

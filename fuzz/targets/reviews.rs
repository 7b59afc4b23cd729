//! A file of reviews between tags.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::rows;

fuzz_target!(|data: &[u8]| rows(|options| topwork_data::read_from("input.review", data, options)));

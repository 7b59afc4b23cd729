//! Dependency trees in ten columns.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::rows;

fuzz_target!(|data: &[u8]| rows(|options| topwork_data::read_from("input.conllu", data, options)));

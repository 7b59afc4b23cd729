//! PersonaChat's JSON, in the form told by its keys or said.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_data::{Format, ReadOptions};
use topwork_fuzz::rows;

fuzz_target!(|data: &[u8]| rows(|options| {
    let options = ReadOptions { format: Some(Format::PersonaChat), ..options.clone() };
    topwork_data::read_from("input.json", data, &options)
}));

//! A chat template.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::chat;
use topwork_text::ChatTemplate;

fuzz_target!(|data: &str| {
    if let Ok(template) = ChatTemplate::new("input", data) {
        chat(&template);
    }
});

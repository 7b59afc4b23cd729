//! A picture in any format, and the settings by which it is prepared.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::{Folder, caught};
use topwork_text::Tokenizer;

const NAMES: [&str; 2] = ["picture", "preprocessor_config.json"];
const CONFIG: &[u8] = br#"{"model_type": "vit", "image_size": 12, "patch_size": 4}"#;

fuzz_target!(init: caught(), |data: &[u8]| {
    let folder = Folder::new();
    folder.several(data, &NAMES);
    folder.one("config.json", CONFIG);
    let Ok(tokenizer) = Tokenizer::from_folder(folder.path()) else { return };
    let path = folder.path().join("picture");
    if let Ok(encoding) = tokenizer.encode(&path.to_string_lossy(), None, None) {
        assert_eq!((encoding.ids.len(), encoding.pixels.len()), (10, 480));
    }
});

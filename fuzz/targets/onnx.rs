//! An ONNX file, and one of tensors beside it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::{Folder, read_all};
use topwork_weights::Onnx;

fuzz_target!(|data: &[u8]| {
    let folder = Folder::new();
    folder.several(data, &["model.onnx", "parts.bin"]);
    if let Ok(file) = Onnx::open(folder.path().join("model.onnx")) {
        read_all(&file);
        let _ = file.left_out();
    }
});

//! A TensorFlow checkpoint: an older file, or an index and one or two files of data.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::{Folder, read_all};
use topwork_weights::{TensorflowCheckpoint, TensorflowNames};

const ONE: [&str; 2] = ["x.ckpt.index", "x.ckpt.data-00000-of-00001"];
const TWO: [&str; 3] = ["x.ckpt.index", "x.ckpt.data-00000-of-00002", "x.ckpt.data-00001-of-00002"];

fuzz_target!(|data: &[u8]| {
    let folder = Folder::new();
    if folder.several(data, &TWO) < 3 {
        folder.several(data, &ONE);
    }
    let Ok(file) = TensorflowCheckpoint::open(folder.path().join(TWO[0])) else { return };
    read_all(&file);
    let _ = file.left_out();
    if let Ok(named) = TensorflowNames::over(Box::new(file)) {
        read_all(&named);
    }
});

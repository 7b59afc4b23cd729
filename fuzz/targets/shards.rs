//! An index of shards and two shards.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::Folder;
use topwork_weights::Checkpoint;

const NAMES: [&str; 3] =
    ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"];

fuzz_target!(|data: &[u8]| {
    let folder = Folder::new();
    folder.several(data, &NAMES);
    let Ok(checkpoint) = Checkpoint::open(folder.path()) else { return };
    for name in checkpoint.names() {
        let _ = checkpoint.read(name);
    }
});

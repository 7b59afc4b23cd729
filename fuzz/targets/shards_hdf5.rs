//! An index of shards and two HDF5 files.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::Folder;
use topwork_weights::Checkpoint;

const NAMES: [&str; 3] =
    ["tf_model.h5.index.json", "tf_model-00001-of-00002.h5", "tf_model-00002-of-00002.h5"];

fuzz_target!(|data: &[u8]| {
    let folder = Folder::new();
    folder.several(data, &NAMES);
    let Ok(checkpoint) = Checkpoint::open(folder.path()) else { return };
    for name in checkpoint.names() {
        let _ = checkpoint.read(name);
    }
});

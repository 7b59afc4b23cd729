//! A file of word vectors of any format, packed by gzip or not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_fuzz::{Folder, vectors};
use topwork_weights::WordVectors;

fuzz_target!(|data: &[u8]| {
    let path = Folder::new().one("input.vec", data);
    for limit in [usize::MAX, 3] {
        if let Ok(found) = WordVectors::open_first(&path, limit) {
            vectors(&found);
        }
    }
});

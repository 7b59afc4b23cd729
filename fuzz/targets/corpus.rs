//! An Arrow stream or file whose rows are read one by one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use topwork_data::corpus::{Corpus, InBlocks, Rows};
use topwork_fuzz::{Folder, caught};

/// Rows that are looked at: a few bytes can stand for very many.
const ROWS: usize = 200;

fuzz_target!(init: caught(), |data: &[u8]| {
    let path = Folder::new().one("input.arrow", data);
    // The columns of the fixtures, together and as they are found.
    for columns in [&[][..], &["text"], &["text", "view", "score", "flag", "small"], &["text", "label"]] {
        let Ok(corpus) = Corpus::open(&[&path], columns) else { continue };
        let len = corpus.len();
        let blocks = corpus.clone().shuffled_in_blocks(InBlocks { rows: 3, window: 2 }, 1, 0).expect("blocks");
        for row in corpus.iter(0).take(ROWS).chain(blocks.iter(0).take(ROWS)).flatten() {
            assert!(row.values.len() == corpus.columns().len());
        }
        assert!(corpus.get(len).is_err());
        let _ = corpus.class_names(0);
    }
});

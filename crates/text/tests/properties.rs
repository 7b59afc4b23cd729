//! What holds for any text at all.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

use std::path::Path;

use proptest::prelude::*;
use topwork_text::{Packed, Tokenizer};

fn tokenizers() -> [Tokenizer; 2] {
    ["bert", "roberta"].map(|name| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tokenizer").join(name);
        Tokenizer::from_folder(folder).unwrap()
    })
}

#[test]
fn offsets_lie_in_the_text_in_order_and_limits_hold() {
    let tokenizers = tokenizers();
    let text = prop_oneof![any::<String>(), "[a-z A-Z0-9.,!éß中🙂\\t]{0,80}"];
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(text in text, most in 3usize..40)| {
        for tokenizer in &tokenizers {
            let whole = tokenizer.encode(&text, None, None).unwrap();
            let mut last = 0;
            for origin in &whole.origins {
                let (start, end) = origin.offsets();
                if !origin.special {
                    prop_assert!(text.get(start..end).is_some(), "{start}..{end}");
                    prop_assert!(start >= last, "{start} after {last}");
                    last = start;
                }
            }
            prop_assert!(whole.ids.iter().all(|&id| (id as usize) < tokenizer.id_limit()));
            let cut = tokenizer.encode(&text, None, Some(most)).unwrap();
            prop_assert!(cut.len() <= most);
            prop_assert_eq!(cut.full_len(), whole.len());
            let kept = cut.len() - 1;
            prop_assert_eq!(&cut.ids[..kept], &whole.ids[..kept]);
            prop_assert_eq!(cut.ids.last(), whole.ids.last());
            let batch = tokenizer.encode_batch(&["x", &text], None).unwrap();
            prop_assert_eq!(&batch[1], &whole);
            let packed = Packed::from_encodings(&batch);
            prop_assert_eq!(packed.sequence(1).0, &whole.ids[..]);
        }
    });
}

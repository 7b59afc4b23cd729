//! Lines that a seed makes, as `tokenizers` encodes them: what the example `million` does, small.

#[path = "../examples/million/lines.rs"]
mod lines;

use rayon::prelude::*;
use topwork_text::Tokenizer;

/// Texts that are in the repository, in more than one language.
const TEXTS: [&str; 4] = [
    include_str!("../../../fixtures/tokenizer/bert/golden.json"),
    include_str!("../../../fixtures/tokenizer/roberta/golden.json"),
    include_str!("../../../STYLE.md"),
    include_str!("../../../ARCHITECTURE.md"),
];

fn check(folder: &str, count: u64) {
    let path = format!("{}/../../fixtures/tokenizer/{folder}/tokenizer.json", env!("CARGO_MANIFEST_DIR"));
    let ours = Tokenizer::from_file(&path).unwrap();
    let mut crates = tokenizers::Tokenizer::from_file(&path).unwrap();
    crates.with_truncation(None).unwrap();
    crates.with_padding(None);
    // Only the texts themselves of the goldens, not the numbers around them.
    let texts: Vec<&str> = TEXTS
        .iter()
        .flat_map(|text| lines::pieces(text))
        .filter(|piece| piece.chars().filter(|char| char.is_alphabetic()).count() * 2 > piece.len() / 2)
        .collect();
    assert!(texts.len() > 300, "{} texts", texts.len());
    let mut made = vec![String::new(); count as usize];
    made.par_iter_mut().enumerate().for_each(|(number, line)| lines::make(&texts, 7, number as u64, line));
    let made: Vec<&str> = made.iter().map(String::as_str).collect();
    let got = ours.encode_batch(&made, None).unwrap();
    let expected = crates.encode_batch(made.clone(), true).unwrap();
    assert_eq!(got.len(), made.len());
    for (line, (ours, theirs)) in made.iter().zip(got.iter().zip(&expected)) {
        assert_eq!(ours.ids, theirs.get_ids(), "{line:?}");
        assert_eq!(ours.offsets, theirs.get_offsets(), "{line:?}");
    }
    let plain = made.iter().filter(|line| texts.contains(line)).count();
    assert!((made.len() / 3..made.len() * 2 / 3).contains(&plain), "{plain} of {count} lines are unchanged");
}

#[test]
fn made_lines_encode_as_in_the_crate_by_word_pieces() {
    check("bert", 10_000);
}

#[test]
fn made_lines_encode_as_in_the_crate_by_byte_pairs() {
    check("roberta", 10_000);
}

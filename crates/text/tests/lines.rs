//! Lines that a seed makes, as `tokenizers` encodes them: what the example `million` does, small. Also the lines of a
//! reader.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

#[path = "../examples/million/lines.rs"]
mod lines;

use std::io::{BufReader, Cursor, Read};

use rayon::prelude::*;
use topwork_text::{Encoding, Error, Tokenizer};

/// Texts that are in the repository, in more than one language.
const TEXTS: [&str; 4] = [
    include_str!("../../../fixtures/tokenizer/bert/golden.json"),
    include_str!("../../../fixtures/tokenizer/roberta/golden.json"),
    include_str!("../../../STYLE.md"),
    include_str!("../../../ARCHITECTURE.md"),
];

fn path(folder: &str) -> String {
    format!("{}/../../fixtures/tokenizer/{folder}/tokenizer.json", env!("CARGO_MANIFEST_DIR"))
}

fn check(folder: &str, count: u64) {
    let path = path(folder);
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
        assert_eq!(ours.offsets().collect::<Vec<_>>(), theirs.get_offsets(), "{line:?}");
    }
    let plain = made.iter().filter(|line| texts.contains(line)).count();
    assert!((made.len() / 3..made.len() * 2 / 3).contains(&plain), "{plain} of {count} lines are unchanged");
}

#[test]
fn made_lines_encode_as_in_the_crate_by_word_pieces() {
    check("bert", 7_000);
}

#[test]
fn made_lines_encode_as_in_the_crate_by_unigrams() {
    check("unigram", 7_000);
}

#[test]
fn made_lines_encode_as_in_the_crate_by_byte_pairs() {
    check("roberta", 7_000);
}

/// Lines with every end there is, and enough of them for several blocks.
fn text_of_lines() -> String {
    let texts: Vec<&str> = TEXTS[2..].iter().flat_map(|text| lines::pieces(text)).collect();
    let (mut text, mut line) = (String::new(), String::new());
    for number in 0..20_000 {
        lines::make(&texts, 11, number, &mut line);
        text.push_str(&line);
        text.push_str(["\n", "\r\n", "\n\n"][number as usize % 3]);
    }
    text.push_str("the last line has no end");
    assert!(text.len() > 3 << 19, "{} bytes", text.len());
    text
}

/// A reader that gives few bytes at a time.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(4099);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn lines_of_a_reader_are_encoded_as_lines_of_a_text() {
    let text = text_of_lines();
    let texts: Vec<&str> = text.lines().collect();
    for folder in ["bert", "roberta"] {
        let tokenizer = Tokenizer::from_file(path(folder)).unwrap();
        for most in [None, Some(9)] {
            let expected = tokenizer.encode_batch(&texts, most).unwrap();
            let got: Result<Vec<Encoding>, Error> = tokenizer.encode_lines(text.as_bytes(), most).collect();
            assert!(got.unwrap() == expected, "{folder} within {most:?}");
            let (mut lines, mut cut, mut parts) = (expected.iter(), 0, 0);
            for some in tokenizer.ids_of_lines(BufReader::new(Slow(text.as_bytes())), most) {
                let some = some.unwrap();
                assert!(!some.is_empty());
                assert_eq!(some.iter().map(<[u32]>::len).sum::<usize>(), some.ids().len());
                for ids in some.iter() {
                    assert_eq!(Some(ids), lines.next().map(|encoding| &encoding.ids[..]), "{folder}");
                }
                cut += some.cut();
                parts += 1;
            }
            assert!(lines.next().is_none() && parts > 3);
            assert_eq!(cut, expected.iter().map(|encoding| encoding.cut).sum::<usize>());
        }
    }
}

#[test]
fn a_reader_without_lines_gives_none() {
    let tokenizer = Tokenizer::from_file(path("bert")).unwrap();
    assert_eq!(tokenizer.encode_lines(Cursor::new(""), None).count(), 0);
    assert_eq!(tokenizer.ids_of_lines(Cursor::new(""), None).count(), 0);
    assert_eq!(tokenizer.encode_lines(Cursor::new("\n"), None).count(), 1);
}

#[test]
fn a_line_longer_than_a_block_is_one_line() {
    let tokenizer = Tokenizer::from_file(path("roberta")).unwrap();
    let text = format!("first\n{}\nlast", "abc de ".repeat(400_000));
    let got: Vec<Encoding> = tokenizer.encode_lines(text.as_bytes(), None).map(Result::unwrap).collect();
    assert_eq!(got.len(), 3);
    assert_eq!(got[1].origins[got[1].len() - 2].end, 2_800_000);
    assert_eq!(got[2], tokenizer.encode("last", None, None).unwrap());
}

#[test]
fn an_error_says_the_line_and_ends_the_lines() {
    let tokenizer = Tokenizer::from_file(path("bert")).unwrap();
    let mut text = text_of_lines().into_bytes();
    let at = text.len() - 40_000;
    text[at] = 0xff;
    let line = text[..at].iter().filter(|&&byte| byte == b'\n').count();
    let mut found = tokenizer.ids_of_lines(&text[..], None).filter_map(Result::err);
    let Some(Error::ReadLine { line: said, source }) = found.next() else { panic!("no error") };
    assert_eq!((said, source.kind()), (line, std::io::ErrorKind::InvalidData));
    assert!(found.next().is_none());

    let mut short = tokenizer.encode_lines(&b"a\nb"[..], Some(1));
    assert!(matches!(short.next(), Some(Err(Error::TooShort { .. }))));
    assert!(short.next().is_none());
}

//! Files of every format against the programs they come from, and files that are wrong.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use topwork_testkit::close_with_floor;

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors").join(name)
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(fixture("expected.json")).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|x| x.as_str().unwrap()).collect()
}

fn words(vectors: &WordVectors) -> Vec<&str> {
    vectors.words().iter().map(|word| &**word).collect()
}

/// Opens bytes as a file.
fn open(bytes: &[u8]) -> Result<WordVectors, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v");
    std::fs::write(&path, bytes).unwrap();
    WordVectors::open(&path)
}

fn refused(bytes: &[u8], parts: &[&str]) {
    let error = open(bytes).unwrap_err().to_string();
    for part in parts.iter().chain(&["/v"]) {
        assert!(error.contains(part), "{part:?} expected in: {error}");
    }
}

#[test]
fn every_format_is_named_once_and_recognised() {
    assert_eq!(VECTOR_FORMATS.len(), 4, "count the formats when you add one");
    for (n, format) in VECTOR_FORMATS.iter().enumerate() {
        assert!(format.link.starts_with("https://") && format.summary.len() > 10);
        assert!(VECTOR_FORMATS[..n].iter().all(|other| other.name != format.name));
    }
    let files = [
        ("word2vec.txt", "word2vec-text"),
        ("word2vec.txt.gz", "word2vec-text"),
        ("fasttext.vec", "word2vec-text"),
        ("word2vec.bin", "word2vec-binary"),
        ("word2vec-c.bin", "word2vec-binary"),
        ("glove.txt", "glove"),
        ("fasttext.bin", "fasttext"),
        ("fasttext-unnumbered.bin", "fasttext"),
        ("fasttext-pruned.ftz", "fasttext"),
    ];
    for (file, name) in files {
        assert_eq!(
            WordVectors::recognises(fixture(file)).unwrap().map(|format| format.name),
            Some(name),
            "{file}"
        );
        assert_eq!(WordVectors::open(fixture(file)).unwrap().report().format, name);
    }
    assert!(WordVectors::recognises(fixture("expected.json")).unwrap().is_none());
    let error = WordVectors::open(fixture("pairs.tsv")).unwrap_err().to_string();
    assert!(error.contains("pairs.tsv") && error.contains("glove"), "{error}");
    assert!(matches!(WordVectors::open(fixture("")), Err(Error::Read { .. })));
}

#[test]
fn word2vec_and_glove_files_hold_what_gensim_wrote() {
    let expected = expected();
    let (names, values) = (strings(&expected["words"]), floats(&expected["values"]));
    for file in ["word2vec.txt", "word2vec.txt.gz", "word2vec.bin", "word2vec-c.bin", "glove.txt"] {
        let vectors = WordVectors::open(fixture(file)).unwrap();
        assert_eq!(words(&vectors), names, "{file}");
        assert_eq!((vectors.width(), vectors.data()), (12, &values[..]), "{file}");
        assert_eq!(vectors.get("мир"), Some(vectors.row(vectors.index("мир").unwrap())));
        assert!(vectors.report().lines().is_empty() && vectors.vector("unicorn").is_none());
        let some = WordVectors::open_first(fixture(file), 5).unwrap();
        assert_eq!((words(&some), some.data()), (names[..5].to_vec(), &values[..5 * 12]), "{file}");
        let left = if file == "glove.txt" { 0 } else { names.len() - 5 };
        assert_eq!(some.report().left_out, left, "{file}");
    }
}

#[test]
fn fasttext_vectors_are_those_of_get_word_vector() {
    let expected = expected();
    let mut seen = 0;
    for (file, golden) in expected["fasttext"].as_object().unwrap() {
        let vectors = WordVectors::open(fixture(file)).unwrap();
        assert_eq!(words(&vectors), strings(&golden["words"]), "{file}");
        assert_eq!(vectors.width() as u64, golden["width"].as_u64().unwrap());
        assert_eq!(vectors.report().labels as u64, golden["labels"].as_u64().unwrap());
        for (word, golden) in golden["vectors"].as_object().unwrap() {
            let golden = floats(golden);
            match vectors.vector(word) {
                // Sums are in the same order; fused multiplications of the reference may round once less.
                Some(vector) => close_with_floor(&vector, &golden, 1e-6, 1e-8).unwrap_or_else(|error| {
                    panic!("{file}: {word}: {error}");
                }),
                // Where there is nothing to put together, fastText gives zeros.
                None => assert!(golden.iter().all(|&x| x == 0.0), "{file}: {word}"),
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 6 * 16);

    let new = WordVectors::open(fixture("fasttext-short.bin")).unwrap();
    let old = WordVectors::open(fixture("fasttext-unnumbered.bin")).unwrap();
    assert_eq!(old.data(), new.data());
    assert_eq!(old.vector("sticky"), new.vector("sticky"));
    let subwords = new.subwords().unwrap();
    assert_eq!((subwords.lengths(), subwords.buckets(), subwords.kept()), ((1, 2), 50, 50));
    assert!(WordVectors::open(fixture("fasttext-no-ngrams.bin")).unwrap().subwords().is_none());
    // Vectors of words beyond a limit are put together like those of other unknown words.
    let some = WordVectors::open_first(fixture("fasttext.bin"), 3).unwrap();
    let all = WordVectors::open(fixture("fasttext.bin")).unwrap();
    assert_eq!((some.len(), some.report().left_out), (3, all.len() - 3));
    assert_eq!(some.data(), &all.data()[..3 * all.width()]);
    assert_eq!(some.vector("sticky"), all.vector("sticky"));
    // The text form has the same numbers, shortened.
    let text = WordVectors::open(fixture("fasttext.vec")).unwrap();
    close_with_floor(text.data(), all.data(), 1e-4, 1e-6).unwrap();
    // Packed, nothing says how long the file is.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&std::fs::read(fixture("fasttext-pruned.ftz")).unwrap()).unwrap();
    let packed = open(&packed.finish().unwrap()).unwrap();
    assert_eq!(packed.data(), WordVectors::open(fixture("fasttext-pruned.ftz")).unwrap().data());
}

#[test]
fn odd_words_are_kept_and_counted() {
    let vectors = open(b"3 1\na 1\nb 2\na 3\n").unwrap();
    assert_eq!((words(&vectors), vectors.data()), (vec!["a", "b"], &[1.0, 2.0][..]));
    assert_eq!((vectors.report().entries, vectors.report().duplicates), (3, 1));
    assert!(vectors.report().lines()[0].contains("\"a\""));
    let vectors = open(b"caf\xe9 1 2\n. . . 3 4\n 5 6\r\n\n\n").unwrap();
    assert_eq!(words(&vectors), ["caf\u{fffd}", ". . .", ""]);
    let report = vectors.report();
    assert_eq!((report.not_utf8, report.spaced, report.empty, report.lines().len()), (1, 1, 1, 3));
    assert_eq!(words(&open("\u{feff}2 2\na 1 2\nb 3 4\n".as_bytes()).unwrap()), ["a", "b"]);
    let mut binary = b"1 2\nn\xff ".to_vec();
    binary.extend([1.5_f32, 2.5].map(f32::to_le_bytes).concat());
    let vectors = open(&binary).unwrap();
    assert_eq!((words(&vectors), vectors.data()), (vec!["n\u{fffd}"], &[1.5, 2.5][..]));
    assert_eq!(vectors.report().not_utf8, 1);
    let made = WordVectors::new(["a", "b", "a"], 1, &[1.0, 2.0, 3.0]);
    assert_eq!((made.data(), made.report().duplicates), (&[1.0, 2.0][..], 1));
}

#[test]
fn many_lines_come_out_as_they_went_in() {
    // Several blocks and many pieces.
    let mut text = String::new();
    for at in 0..200_000 {
        text.push_str(&format!("w{at} {} {} -0.5\n", at % 1000, at as f32 / 7.0));
    }
    let vectors = open(text.as_bytes()).unwrap();
    assert_eq!(vectors.len(), 200_000);
    for at in [0, 1, 77_777, 199_999] {
        assert_eq!(vectors.get(&format!("w{at}")), Some(&[(at % 1000) as f32, at as f32 / 7.0, -0.5][..]));
    }
    let wrong = text.replacen("w150000 ", "w150000 1 ", 1);
    refused(wrong.as_bytes(), &["line 150001", "4 numbers, expected 3"]);
}

#[test]
fn text_that_is_wrong_is_refused_by_its_line() {
    refused(b"a 1 2\nb 1\n", &["line 2", "1 numbers, expected 2"]);
    refused(b"2 2\na 1 2\nb 1 2 3\n", &["line 3", "3 numbers, expected 2"]);
    refused(b"a 1 2\nb 1 nan\n", &["line 2", "\"nan\" in column 3 is not finite"]);
    refused(b"a 1 2\n\nb 1 2\n", &["line 2", "empty, with more lines"]);
    refused(b"3 2\na 1.25 2.75\nb 1 2\n", &["3 words", "there are 2", "header lies"]);
    refused(b"1 2\na 1 2\nb 1 2\n", &["line 3", "one more"]);
    refused(b"2 0\na\nb\n", &["line 1", "no numbers"]);
    refused(b"9000000000 300\na 1 2\nb 1 2\n", &["bytes", "header lies"]);
    refused(b"0 5\n", &["no words"]);
    refused(b"", &["no words"]);
    refused(b"{\"a\": 1}", &["no format"]);
    let mut long = b"a 1 2\nb".to_vec();
    long.resize(20 << 20, b'1');
    refused(&long, &["line 2", "longer than"]);
}

#[test]
fn binary_files_that_are_wrong_are_refused() {
    let whole = std::fs::read(fixture("word2vec.bin")).unwrap();
    refused(&whole[..whole.len() - 1], &["word 47 of 47", "cut short or its header lies"]);
    refused(&[&whole[..], b"more"].concat(), &["more follows after the 47 words"]);
    let mut hole = whole.clone();
    let at = hole.iter().skip(8).position(|&byte| byte == b' ').unwrap() + 9;
    hole[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    refused(&hole, &["word 1 of 47", "holds NaN at number 1"]);
    // Packed, the length is unknown, and the end comes in the middle.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&whole[..whole.len() - 1]).unwrap();
    refused(&packed.finish().unwrap(), &["in the middle of word 47 of 47", "cut short"]);

    // A fastText model cut anywhere is an error that says what is missing, and so is one with a wrong byte in its head.
    let mut seen = 0;
    for file in ["fasttext.bin", "fasttext-pruned.ftz", "fasttext-quantised.ftz"] {
        let whole = std::fs::read(fixture(file)).unwrap();
        for cut in (8..whole.len()).step_by(97).chain([whole.len() - 1]) {
            let error = open(&whole[..cut]).unwrap_err().to_string();
            assert!(error.contains("cut short") || error.contains("header lies"), "{file} at {cut}: {error}");
            seen += 1;
        }
        for at in (4..160).chain((160..4000).step_by(37)) {
            for flip in [0x80, 0x01] {
                let mut wrong = whole.clone();
                wrong[at] ^= flip;
                // Counts and letters of words may change without notice; what matters is that nothing panics.
                drop(open(&wrong));
            }
        }
        refused(&[&whole[..], b"more"].concat(), &["more follows"]);
    }
    assert!(seen > 300, "{seen}");
    let mut version = std::fs::read(fixture("fasttext.bin")).unwrap();
    version[4] = 13;
    refused(&version, &["version 13, expected 11 or 12"]);
}

#[test]
fn what_is_saved_opens_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let whole = WordVectors::open(fixture("word2vec.bin")).unwrap();
    for format in ["word2vec-text", "word2vec-binary", "glove"] {
        let path = folder.path().join(format);
        whole.save(&path, format).unwrap();
        let again = WordVectors::open(&path).unwrap();
        assert_eq!(
            (again.report().format, words(&again), again.data()),
            (format, words(&whole), whole.data())
        );
    }
    let error = whole.save(folder.path().join("x"), "fasttext").unwrap_err().to_string();
    assert!(error.contains("word2vec-text, word2vec-binary, glove"), "{error}");
    let spaced = WordVectors::new(["a b"], 1, &[1.0]);
    assert!(spaced.save(folder.path().join("x"), "glove").unwrap_err().to_string().contains("a b"));
}

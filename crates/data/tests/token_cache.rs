//! The cache of tokens: the same encodings to the last bit, only what is new tokenized, and no harm from damage, from other
//! processes or from another tokenizer.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use topwork_data::{CacheUse, Encoder, TokenCache};
use topwork_text::{Input, Tokenizer};

fn tokenizer(folder: &str) -> Tokenizer {
    Tokenizer::from_folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(folder)).unwrap()
}

fn cache(folder: &Path) -> TokenCache {
    TokenCache::new(folder, b"bert")
}

/// Encodes with what is in the folder, which must be what there is without, and gives how many texts were found and made.
fn check(folder: &Path, tokenizer: &Tokenizer, texts: &[String], most: Option<usize>) -> (usize, usize) {
    let inputs: Vec<&str> = texts.iter().map(String::as_str).collect();
    let encoder = Encoder::cached(tokenizer, cache(folder));
    let found = encoder.encode_batch(&inputs, most).unwrap();
    assert_eq!(found, tokenizer.encode_batch(&inputs, most).unwrap());
    let CacheUse { found, made, trouble } = encoder.used().unwrap();
    assert_eq!(trouble, None);
    (found, made)
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("the cat number {n} sat on {} mats of the dogs", n * n)).collect()
}

/// The two files of the one shelf there is.
fn shelf(folder: &Path) -> [PathBuf; 2] {
    let only = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    ["index", "data"].map(|name| only.join(name))
}

#[test]
fn only_texts_that_are_new_are_tokenized() {
    let (folder, tokenizer) = (tempfile::tempdir().unwrap(), tokenizer("bert"));
    let mut all = texts(3000);
    assert_eq!(check(folder.path(), &tokenizer, &all, None), (0, 3000));
    assert_eq!(check(folder.path(), &tokenizer, &all, None), (3000, 0));
    // A changed row, a new one in front, and another order.
    all[17] = "another text".into();
    all.insert(0, "the first".into());
    all.reverse();
    assert_eq!(check(folder.path(), &tokenizer, &all, None), (2999, 2));
    // Another limit is another question.
    assert_eq!(check(folder.path(), &tokenizer, &all, Some(8)), (0, 3001));
    assert_eq!(check(folder.path(), &tokenizer, &all[..10], Some(8)), (10, 0));
    let other = Encoder::cached(&tokenizer, TokenCache::new(folder.path(), b"another tokenizer"));
    other.encode_batch(&["another text"], None).unwrap();
    assert_eq!(other.used().unwrap().found, 0);
    let alone = Encoder::new(&tokenizer);
    assert_eq!((alone.encode_batch(&["a"], None).unwrap().len(), alone.used()), (1, None));
}

#[test]
fn pairs_are_not_their_texts() {
    let (folder, tokenizer) = (tempfile::tempdir().unwrap(), tokenizer("bert"));
    let inputs = [("the cat", Some("sat")), ("the cat", None), ("the catsat", None), ("the cat", Some(""))];
    let inputs: Vec<Input<'_>> = inputs.iter().map(|&(text, pair)| Input { text, pair }).collect();
    for found in [0, 4] {
        let encoder = Encoder::cached(&tokenizer, cache(folder.path()));
        let encodings = encoder.encode_batch(&inputs, None).unwrap();
        assert_eq!(encodings, tokenizer.encode_batch(&inputs, None).unwrap());
        assert_eq!(encoder.used().unwrap().found, found);
    }
}

#[test]
fn damage_costs_time_and_nothing_else() {
    let (folder, tokenizer) = (tempfile::tempdir().unwrap(), tokenizer("bert"));
    let all = texts(200);
    check(folder.path(), &tokenizer, &all, None);
    let [index, data] = shelf(folder.path());
    let (good_index, good_data) = (fs::read(&index).unwrap(), fs::read(&data).unwrap());
    // A byte of a record, an entry cut short, records cut short, an entry that leads nowhere.
    let mut bytes = good_data.clone();
    bytes[1000] ^= 1;
    fs::write(&data, bytes).unwrap();
    assert_eq!(check(folder.path(), &tokenizer, &all, None), (199, 1));
    fs::write(&data, &good_data).unwrap();
    fs::write(&index, &good_index[..good_index.len() - 5]).unwrap();
    assert_eq!(check(folder.path(), &tokenizer, &all, None), (199, 1));
    assert_eq!(check(folder.path(), &tokenizer, &all, None), (200, 0));
    fs::write(&index, &good_index).unwrap();
    fs::write(&data, &good_data[..good_data.len() / 2]).unwrap();
    let (found, made) = check(folder.path(), &tokenizer, &all, None);
    assert!((90..110).contains(&found) && found + made == 200, "{found} found");
    assert_eq!(check(folder.path(), &tokenizer, &all, None), (200, 0));
    let mut bytes = good_index.clone();
    bytes[16..28].fill(0xff);
    fs::write(&index, bytes).unwrap();
    fs::write(&data, &good_data).unwrap();
    assert_eq!(check(folder.path(), &tokenizer, &all, None), (199, 1));
}

#[test]
fn tokens_of_another_version_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (bert, roberta) = (tokenizer("bert"), tokenizer("roberta"));
    let all = texts(500);
    check(folder.path(), &bert, &all, None);
    // Under the same name, as if the program had learnt to tokenize otherwise.
    assert_eq!(check(folder.path(), &roberta, &all, None), (0, 500));
    assert_eq!(check(folder.path(), &roberta, &all, None), (500, 0));
}

#[test]
fn the_limit_of_size_holds() {
    let (folder, tokenizer) = (tempfile::tempdir().unwrap(), tokenizer("bert"));
    let encode = |texts: &[String], limit: u64| {
        let inputs: Vec<&str> = texts.iter().map(String::as_str).collect();
        let encoder = Encoder::cached(&tokenizer, cache(folder.path()).with_limit(limit));
        encoder.encode_batch(&inputs, None).unwrap();
        encoder.used().unwrap().found
    };
    let all = texts(400);
    encode(&all[..100], 150_000);
    let size = || {
        shelf(folder.path()).map(|file| fs::metadata(file).map_or(0, |file| file.len())).iter().sum::<u64>()
    };
    assert!(size() > 10_000);
    assert_eq!(encode(&all[..100], 150_000), 100);
    encode(&all[100..200], 150_000);
    assert!(size() <= 160_000, "{}", size());
    // More than fits at all is not kept.
    encode(&all, 1000);
    assert!(size() <= 160_000);
}

#[test]
fn a_cache_that_cannot_be_written_is_told_and_does_no_harm() {
    let (folder, tokenizer) = (tempfile::tempdir().unwrap(), tokenizer("bert"));
    let file = folder.path().join("a file");
    fs::write(&file, "").unwrap();
    let encoder = Encoder::cached(&tokenizer, cache(&file.join("tokens")));
    assert_eq!(
        encoder.encode_batch(&["the cat"], None).unwrap(),
        tokenizer.encode_batch(&["the cat"], None).unwrap()
    );
    let used = encoder.used().unwrap();
    assert!(used.trouble.is_some() && used.to_string().contains("could not be used"), "{used}");
    let error =
        Encoder::cached(&tokenizer, cache(folder.path())).encode_batch(&["the", "cat"], Some(1)).unwrap_err();
    assert_eq!(error.to_string(), tokenizer.encode_batch(&["the", "cat"], Some(1)).unwrap_err().to_string());
}

/// Threads stand for processes: each has its own handle, and the lock is the file's.
#[test]
fn several_may_write_at_once() {
    let (folder, tokenizer) = (tempfile::tempdir().unwrap(), tokenizer("bert"));
    let all = texts(2000);
    std::thread::scope(|scope| {
        for part in 0..4 {
            let (folder, tokenizer, all) = (folder.path(), &tokenizer, &all);
            scope.spawn(move || {
                for some in all[part * 400..part * 400 + 800].chunks(50) {
                    check(folder, tokenizer, some, None);
                }
            });
        }
    });
    assert_eq!(check(folder.path(), &tokenizer, &all, None), (2000, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever the files hold, the encodings are right.
    #[test]
    fn any_bytes_in_the_files_are_survived(index in prop::collection::vec(any::<u8>(), 0..200), data in prop::collection::vec(any::<u8>(), 0..400), tail in any::<bool>()) {
        let (folder, tokenizer) = (tempfile::tempdir().unwrap(), tokenizer("bert"));
        let all = texts(20);
        check(folder.path(), &tokenizer, &all, None);
        for (path, bytes) in shelf(folder.path()).iter().zip([&index, &data]) {
            if tail {
                OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
            } else {
                fs::write(path, bytes).unwrap();
            }
        }
        check(folder.path(), &tokenizer, &all, None);
        check(folder.path(), &tokenizer, &all, None);
    }
}

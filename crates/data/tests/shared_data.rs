//! The data sets of `../shared/data`, where they are: what is detected and how it splits.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // in helpers too: a test that cannot go on has failed, a skip is told

use std::path::{Path, PathBuf};
use std::time::Instant;

use topwork_data::{NearOptions, ReadOptions, SplitOptions, Task, duplicates, leaks, read, split};

fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

#[test]
fn sms_spam_needs_no_options_and_splits_in_a_second() {
    let Some(path) = shared("sms-spam/SMSSpamCollection") else { return };
    let start = Instant::now();
    let dataset = read(&path, &ReadOptions::default()).unwrap();
    println!("read in {:?}\n{}", start.elapsed(), dataset.report.lines().join("\n"));
    assert_eq!(dataset.len(), 5574);
    assert_eq!(dataset.label_counts(), [("ham".to_string(), 4827), ("spam".to_string(), 747)]);
    let start = Instant::now();
    let found = split(&dataset, &SplitOptions::default()).unwrap();
    println!("split in {:?}\n{}", start.elapsed(), found.report.lines().join("\n"));
    assert!(found.report.exact > 400, "{:?}", found.report);
    assert!(found.test.len().abs_diff(557) <= 3, "{}", found.test.len());
    let [train, test] = [&found.train, &found.test].map(|part| dataset.select(part));
    assert!(leaks(&[("train", &train), ("test", &test)], Some(&NearOptions::default())).is_clean());
}

#[test]
fn the_usual_collections_are_read_as_they_come() {
    let with = |text: &str, pair: Option<&str>, label: &str, task| ReadOptions {
        text: Some(text.into()),
        pair: pair.map(String::from),
        label: vec![label.into()],
        task,
        ..ReadOptions::default()
    };
    let class = ReadOptions::default();
    let mut seen = 0;
    for (name, rows, pair, options) in [
        ("glue/SST-2/dev.tsv", 872, false, class.clone()),
        ("glue/RTE/dev.tsv", 277, true, class.clone()),
        ("glue/CoLA/dev.tsv", 1043, false, with("4", None, "2", Task::Class)),
        ("glue/STS-B/dev.tsv", 1500, true, ReadOptions { task: Task::Score, ..class.clone() }),
        ("banking77/train.csv", 10003, false, class.clone()),
        ("banking77/test.csv", 3080, false, class),
    ] {
        let Some(path) = shared(name) else { continue };
        let start = Instant::now();
        let dataset = read(&path, &options).unwrap_or_else(|error| panic!("{error}"));
        println!("{name} in {:?}\n{}", start.elapsed(), dataset.report.lines().join("\n"));
        assert_eq!(dataset.len() + dataset.report.rows_skipped(), rows, "{name}");
        assert_eq!(dataset.examples[0].pair.is_some(), pair, "{name}");
        seen += 1;
    }
    println!("{seen} collections read");
}

/// A hundred thousand texts in seconds, on made ones.
#[test]
fn duplicates_among_many_texts_take_seconds() {
    let Some(path) = shared("banking77/train.csv") else { return };
    let dataset = read(&path, &ReadOptions::default()).unwrap();
    let mut many = dataset.clone();
    for copy in 1..10 {
        // Other words in the same order of letters: no duplicate of the original, as long as it.
        let turned = |c: char| {
            if c.is_ascii_lowercase() { char::from((c as u8 - b'a' + copy) % 26 + b'a') } else { c }
        };
        many.examples.extend(dataset.examples.iter().cloned().map(|mut example| {
            example.text = example.text.to_lowercase().chars().map(turned).collect();
            example
        }));
    }
    let start = Instant::now();
    let one = duplicates(&dataset, Some(&NearOptions::default()));
    println!("{} texts in {:?}: {} exact, {} near", dataset.len(), start.elapsed(), one.exact, one.near);
    let start = Instant::now();
    let all = duplicates(&many, Some(&NearOptions::default()));
    println!("{} texts in {:?}: {} exact, {} near", many.len(), start.elapsed(), all.exact, all.near);
    assert!(all.exact >= 10 * one.exact && one.near > 0);
}

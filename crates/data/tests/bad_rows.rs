//! Rows that cannot be read: named where they refuse a file, and left out alone where that is asked for.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

mod reads;

use proptest::prelude::*;
use reads::{from, refused, said, task};
use topwork_data::{Dataset, Error, Label, ReadOptions, Task};

fn skipping() -> ReadOptions {
    ReadOptions { skip_bad_rows: true, max_record_bytes: 4000, ..task(Task::Class) }
}

fn found(dataset: &Dataset) -> Vec<(usize, &str, &str)> {
    let label = |label: &Option<Label>| match label {
        Some(Label::One(name)) => name.clone().leak() as &str,
        other => panic!("{other:?}"),
    };
    dataset.examples.iter().map(|e| (e.row, e.text.as_str(), label(&e.label))).collect()
}

/// Reads with bad rows left out: these rows stay, and this is said.
fn check(name: &str, text: &str, expected: &[(usize, &str, &str)], lines: &[&str]) {
    let dataset = from(name, text, &skipping()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert_eq!(found(&dataset), expected, "{text:?}");
    lines.iter().for_each(|line| said(&dataset, line));
}

#[test]
fn all_rows_that_differ_are_named() {
    let csv = "text,label\nhi,ham\na, b,spam\nho,spam\nx, y,ham\n";
    refused("a.csv", csv, &task(Task::Class), &["line 3", "2 of 5", "(lines 3, 5)", "skip-bad-rows"]);
    let scores = "text;score\nhi;0.5\nho;good\nhu;bad\n";
    refused("a.csv", scores, &task(Task::Score), &["row 3", "2 rows are so: 3, 4"]);
    let mut many = String::from("text,label\n");
    (0..30).for_each(|_| many.push_str("hi,ham\na, b,spam\n"));
    refused("a.csv", &many, &task(Task::Class), &["30 of 61", ", 41, ...)"]);
}

#[test]
fn rows_of_another_width_are_left_out_by_number() {
    let csv = "text,label\nhi,ham\na, b,spam\nho,spam\nalone\nhu,ham\n";
    let kept = [(2, "hi", "ham"), (4, "ho", "spam"), (6, "hu", "ham")];
    check("a.csv", csv, &kept, &["2 rows left out: another number of fields (rows 3, 5)"]);
    check("a.tsv", &csv.replace(',', "\t"), &kept, &["(rows 3, 5)"]);
}

#[test]
fn a_stray_quote_costs_its_own_line_alone() {
    let csv = "text,label\nhi,ham\n\"oh no,ham\nho,spam\n\"a, b\",ham\n\"two\nlines\",spam\n";
    let kept = [(2, "hi", "ham"), (4, "ho", "spam"), (5, "a, b", "ham"), (6, "two\nlines", "spam")];
    check("a.csv", csv, &kept, &["1 rows left out: a quote that does not close as it should (rows 3)"]);
    let last = "text,label\nhi,ham\nho,spam\n\"oh no,ham";
    check("a.csv", last, &[(2, "hi", "ham"), (3, "ho", "spam")], &["(rows 4)"]);
    let inside = "text,label\nhi,ham\n\"x\" y,ham\nho,spam\n";
    check("a.csv", inside, &[(2, "hi", "ham"), (4, "ho", "spam")], &["(rows 3)"]);
}

#[test]
fn lines_that_are_no_text_or_too_long_are_left_out() {
    let long = format!("text,label\nhi,ham\n{},spam\nho,spam\n", "x".repeat(5000));
    check(
        "a.csv",
        &long,
        &[(2, "hi", "ham"), (4, "ho", "spam")],
        &["longer than the limit of a record (rows 3)"],
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, b"text,label\nhi,ham\nsch\xf6n,spam\n\"two\nl\xefnes\",ham\nho,spam\n").unwrap();
    let dataset = topwork_data::read(&path, &skipping()).unwrap();
    assert_eq!(found(&dataset), [(2, "hi", "ham"), (6, "ho", "spam")]);
    said(&dataset, "2 rows left out: bytes that are no UTF-8 (rows 3, 5)");
    said(&dataset, "1 rows left out: a quote that does not close as it should (rows 4)");
}

#[test]
fn broken_json_and_labels_that_are_none_are_left_out() {
    let json = "{\"text\": \"hi\", \"label\": \"ham\"}\n{\"text\": \"ho\"\n[1]\n{\"text\": \"hu\", \"label\": \"spam\"}\n\
                {\"text\": \"ha\", \"label\": [\"ham\"]}\n{\"text\": \"he\", \"label\": null}\n";
    let said = [
        "2 rows left out: no JSON object (rows 2, 3)",
        "1 rows left out: a cell that cannot be used (rows 5)",
        "no label (rows 6)",
    ];
    check("a.jsonl", json, &[(1, "hi", "ham"), (4, "hu", "spam")], &said);
}

#[test]
fn a_file_of_bad_rows_is_refused_all_the_same() {
    let mut csv = String::from("text,label\n");
    (0..100).for_each(|n| csv.push_str(if n % 4 == 0 { "a, b,ham\n" } else { "hi,ham\n" }));
    let error = from("a.csv", &csv, &skipping()).unwrap_err();
    assert!(matches!(error, Error::BadRows { bad: 21, .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("a.csv: 21 of the first") && said.contains("too many to leave out"), "{said}");
}

/// A row, and whether it is good: plain, quoted, over two lines, of another width, with a quote that does not close.
fn row() -> impl Strategy<Value = (String, bool)> {
    prop_oneof![
        4 => "[a-z]{1,6}".prop_map(|text| (format!("{text},ham\n"), true)),
        2 => "[a-z]{1,6}".prop_map(|text| (format!("\"{text}, \"\"so\"\"\",spam\n"), true)),
        2 => "[a-z]{1,6}".prop_map(|text| (format!("\"{text}\nmore\",spam\n"), true)),
        1 => "[a-z]{1,6}".prop_map(|text| (format!("{text},ham,spam\n"), false)),
        1 => "[a-z]{1,6}".prop_map(|text| (format!("\"{text},ham\n"), false)),
        1 => "[a-z]{1,6}".prop_map(|text| (format!("\"{text}\" {text},ham\n"), false)),
    ]
}

proptest! {
    /// Whatever stands between them, every good row is read as it is read alone, and every bad one is named.
    #[test]
    fn nothing_else_is_lost(rows in prop::collection::vec(row(), 1..40)) {
        let bad = rows.iter().filter(|(_, good)| !good).count();
        prop_assume!(bad <= 20 && bad < rows.len());
        let whole: String = rows.iter().map(|(text, _)| text.as_str()).collect();
        let alone: String = rows.iter().filter(|(_, good)| *good).map(|(text, _)| text.as_str()).collect();
        let head = "text,label\n";
        let texts = |dataset: &Dataset| -> Vec<String> {
            found(dataset).iter().map(|(_, text, label)| format!("{text}|{label}")).collect()
        };
        let (dataset, expected) = (
            from("a.csv", &format!("{head}{whole}"), &skipping()).unwrap(),
            from("a.csv", &format!("{head}{alone}"), &task(Task::Class)).unwrap(),
        );
        prop_assert_eq!(texts(&dataset), texts(&expected));
        let mut line = 2;
        let mut named: Vec<usize> = Vec::new();
        for (text, good) in &rows {
            if !good {
                named.push(line);
            }
            line += text.matches('\n').count();
        }
        let mut left: Vec<usize> = dataset.report.skipped.iter().flat_map(|skipped| skipped.first.clone()).collect();
        left.sort_unstable();
        prop_assert_eq!(left, named);
    }
}

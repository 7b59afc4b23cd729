//! Texts that go together: what is read of them, and by which columns.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

use topwork_data::{Dataset, Label, ReadOptions, Result, Task, read, write_arrow};

fn from(name: &str, text: &str, options: &ReadOptions) -> Result<Dataset> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    read(&path, options)
}

fn pairs() -> ReadOptions {
    ReadOptions { task: Task::Pairs, ..ReadOptions::default() }
}

/// Each example on a line: the texts, and what is known of them.
fn shown(dataset: &Dataset) -> Vec<String> {
    let one = |e: &topwork_data::Example| {
        let known = match &e.label {
            None => String::new(),
            Some(Label::Score(score)) => format!(" = {score}"),
            Some(Label::One(class)) => format!(" : {class}"),
            Some(Label::Choice { options, right: 0 }) => format!(" > {}", options.join(" / ")),
            other => panic!("{other:?}"),
        };
        format!("{}{}{known}", e.text, e.pair.as_ref().map(|pair| format!(" | {pair}")).unwrap_or_default())
    };
    dataset.examples.iter().map(one).collect()
}

#[test]
fn columns_say_what_goes_together() {
    let check = |name: &str, text: &str, options: &ReadOptions, expected: &[&str]| {
        let dataset = from(name, text, options).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(shown(&dataset), expected, "{text:?}");
    };
    check("a.csv", "anchor,positive\na b,c\nd,e\n", &pairs(), &["a b | c", "d | e"]);
    check("a.csv", "sentence1,sentence2,score\na,b,4.5\nc,d,0\n", &pairs(), &["a | b = 4.5", "c | d = 0"]);
    check(
        "a.jsonl",
        "{\"query\": \"a\", \"positive\": \"b\", \"negative\": [\"c\", \"d\"]}\n{\"query\": \"e\", \"positive\": \"f\", \"negative\": \"g\"}\n",
        &pairs(),
        &["a > b / c / d", "e > f / g"],
    );
    check(
        "a.tsv",
        "query\tpositive\tnegative_1\tnegative_2\na\tb\tc\t\nd\te\tf\tg\n",
        &pairs(),
        &["a > b / c", "d > e / f / g"],
    );
    check("a.csv", "text,label\na,x\nb,y\nc,x\n", &pairs(), &["a : x", "b : y", "c : x"]);
    // A column of words beside a pair is no number for it.
    check("a.csv", "premise,hypothesis,label\na,b,yes\nc,d,no\n", &pairs(), &["a | b", "c | d"]);
    let told =
        ReadOptions { text: Some("3".into()), pair: Some("1".into()), label: vec!["2".into()], ..pairs() };
    check("a.tsv", "b\t0.5\ta\nd\t1\tc\n", &told, &["a | b = 0.5", "c | d = 1"]);
    let wrong =
        ReadOptions { negative: vec!["c".into()], text: Some("a".into()), pair: Some("b".into()), ..pairs() };
    check("a.csv", "a,b,c\nx,y,z\n", &wrong, &["x > y / z"]);
}

#[test]
fn what_is_missing_is_counted_or_refused() {
    let dataset = from("a.csv", "anchor,positive,negative\na,b,\nc,,d\ne,f,g\n", &pairs()).unwrap();
    assert_eq!(shown(&dataset), ["e > f / g"]);
    let lines = dataset.report.lines().join("\n");
    assert!(lines.contains("does not go with the first") && lines.contains("empty second text"), "{lines}");
    let refused = |text: &str, options: &ReadOptions, part: &str| {
        let error = from("a.csv", text, options).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused("anchor,positive,negative\na,b,\n", &pairs(), "anchor");
    let pair = ReadOptions { pair: Some("b".into()), ..pairs() };
    refused("a,b\nx,y\n", &pair, "--text");
    let unknown = ReadOptions { negative: vec!["negativ".into()], ..pairs() };
    refused("anchor,positive,negative\na,b,c\n", &unknown, "negative");
}

#[test]
fn what_was_stored_is_read_as_pairs_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.arrow");
    let dataset = from("a.csv", "anchor,positive,negative\na,b,c\n", &pairs()).unwrap();
    write_arrow(&path, &dataset).unwrap();
    assert_eq!(shown(&read(&path, &pairs()).unwrap()), ["a > b / c"]);
}

#[test]
fn rows_have_names_where_they_are_wanted() {
    let ids = |options: ReadOptions| -> Vec<Option<String>> {
        let rows = "_id,text,number\nd1,a b c,7\nd2,d e f,8\n";
        from("a.csv", rows, &options).unwrap().examples.into_iter().map(|e| e.id).collect()
    };
    let plain = ReadOptions { task: Task::Unlabelled, ..ReadOptions::default() };
    let some = |names: [&str; 2]| names.map(|name| Some(name.to_string())).to_vec();
    assert_eq!(ids(plain.clone()), [None, None]);
    assert_eq!(ids(ReadOptions { ids: true, ..plain.clone() }), some(["d1", "d2"]));
    assert_eq!(ids(ReadOptions { id: Some("number".into()), ..plain.clone() }), some(["7", "8"]));
    let error = from("a.csv", "text\na\n", &ReadOptions { id: Some("nam".into()), ..plain }).unwrap_err();
    assert!(error.to_string().contains("nam"), "{error}");
}

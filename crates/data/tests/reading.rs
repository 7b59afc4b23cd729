//! What is read from each format, and what the report says was chosen.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

use std::path::PathBuf;

use topwork_data::{Dataset, Format, Label, LabelMap, Labels, ReadOptions, Task, read, read_from};

fn from(name: &str, text: &str, options: &ReadOptions) -> Dataset {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    read(&path, options).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn task(task: Task) -> ReadOptions {
    ReadOptions { task, ..ReadOptions::default() }
}

fn rows(dataset: &Dataset) -> Vec<(String, String, usize)> {
    dataset
        .examples
        .iter()
        .map(|example| {
            let label = match &example.label {
                Some(Label::One(name)) => name.clone(),
                Some(Label::Many(names)) => names.join("+"),
                Some(Label::Score(score)) => score.to_string(),
                Some(other) => format!("{other:?}"),
                None => "-".into(),
            };
            (example.text.clone(), label, example.row)
        })
        .collect()
}

fn check(name: &str, text: &str, options: &ReadOptions, expected: &[(&str, &str, usize)]) -> Dataset {
    let dataset = from(name, text, options);
    let expected: Vec<_> =
        expected.iter().map(|(text, label, row)| (text.to_string(), label.to_string(), *row)).collect();
    assert_eq!(rows(&dataset), expected, "{text:?}\n{}", dataset.report.lines().join("\n"));
    dataset
}

#[test]
fn the_usual_files_need_no_options() {
    let class = task(Task::Class);
    let both = [("hi you", "ham", 2), ("win, now", "spam", 3)];
    check("a.csv", "text,label\nhi you,ham\n\"win, now\",spam\n", &class, &both);
    check("a.csv", "id;Category;Message\n1;ham;hi you\n2;spam;win, now\n", &class, &both);
    check("a.tsv", "label\tbody\nham\thi you\nspam\twin, now\n", &class, &both);
    let headerless = [("hi you", "ham", 1), ("win, now", "spam", 2), ("\"so\" it is", "ham", 3)];
    let sms = "ham\thi you\nspam\twin, now\nham\t\"so\" it is\n";
    for name in ["a.tsv", "a.data", "SMSSpamCollection", "a.txt", "a.csv"] {
        let dataset = check(name, sms, &class, &headerless);
        let lines = dataset.report.lines().join("\n");
        assert!(
            lines.contains("no header")
                && lines.contains("text column \"2\"")
                && lines.contains("label column \"1\""),
            "{lines}"
        );
    }
    let json = [("hi you", "ham", 1), ("win, now", "spam", 3)];
    check(
        "a.jsonl",
        "{\"text\": \"hi you\", \"label\": \"ham\"}\n\n{\"label\": \"spam\", \"text\": \"win, now\"}\n",
        &class,
        &json,
    );
    check(
        "a.json",
        "[{\"text\": \"hi you\", \"label\": 0},\n {\"text\": \"win\", \"label\": 1}]",
        &class,
        &[("hi you", "0", 1), ("win", "1", 2)],
    );
    check(
        "a.txt",
        "one text\n\ntwo texts\r\n",
        &task(Task::Unlabelled),
        &[("one text", "-", 1), ("two texts", "-", 3)],
    );
}

#[test]
fn columns_may_be_said_by_name_or_number() {
    let csv = "a,b,c\nhello you there,x,1\nhello me here,y,2\n";
    let options = ReadOptions { text: Some("A".into()), label: vec!["3".into()], ..task(Task::Class) };
    let dataset = check("a.csv", csv, &options, &[("hello you there", "1", 2), ("hello me here", "2", 3)]);
    assert_eq!(dataset.report.text.why, "as said");
    let unlabelled = ReadOptions { text: Some("a".into()), ..task(Task::Unlabelled) };
    check("a.csv", csv, &unlabelled, &[("hello you there", "-", 2), ("hello me here", "-", 3)]);
}

#[test]
fn pairs_are_found_by_their_names() {
    let dataset =
        from("a.tsv", "sentence1\tsentence2\tlabel\na b\tc d\t1\ne f\tg h\t0\n", &task(Task::Class));
    assert_eq!(dataset.examples[0].pair.as_deref(), Some("c d"));
    assert!(dataset.report.lines()[1].contains("pair column \"sentence2\""), "{:?}", dataset.report.lines());
    let jsonl = "{\"text\": \"a b\", \"pair\": \"c d\", \"idx\": 3, \"label\": \"x\"}\n{\"text\": \"e f\", \"pair\": \"g h\", \"idx\": 4, \"label\": \"y\"}\n";
    let dataset = from("a.jsonl", jsonl, &task(Task::Class));
    assert_eq!(dataset.examples[0].pair.as_deref(), Some("c d"));
    assert_eq!(dataset.report.notes, ["not read: idx"]);
    // A column that might be meant is named where it is not read.
    let said = ReadOptions { text: Some("text".into()), ..task(Task::Class) };
    let dataset = from("a.jsonl", jsonl, &said);
    assert_eq!(
        (dataset.examples[0].pair.as_deref(), &dataset.report.notes[..]),
        (None, &["not read: pair, idx".to_string()][..])
    );
    let options = ReadOptions {
        text: Some("5".into()),
        pair: Some("6".into()),
        label: vec!["4".into()],
        ..task(Task::Score)
    };
    let sts = "news\tx\t0001\t5.000\tA plane.\tAn air plane.\nnews\tx\t0002\t0.5\tA man.\tA dog.\n";
    let dataset = check("a.csv", sts, &options, &[("A plane.", "5", 1), ("A man.", "0.5", 2)]);
    assert_eq!(dataset.examples[1].pair.as_deref(), Some("A dog."));
}

#[test]
fn several_labels_in_every_spelling() {
    let multi = task(Task::Multi);
    let expected = [("t one", "a+b", 2), ("t two", "", 3), ("t three", "b", 4)];
    check("a.csv", "text,labels\nt one,a|b\nt two,\nt three, b |b\n", &multi, &expected);
    check(
        "a.csv",
        "text,labels\nt one,\"[\"\"a\"\", \"\"b\"\"]\"\nt two,[]\nt three,\"[\"\"b\"\"]\"\n",
        &multi,
        &expected,
    );
    let space = ReadOptions { separator: ' ', ..multi.clone() };
    check("a.csv", "text,labels\nt one,a b\nt two,\nt three,b\n", &space, &expected);
    let json = "{\"text\":\"t one\",\"labels\":[\"a\",\"b\"]}\n{\"text\":\"t two\",\"labels\":[]}\n";
    check("a.jsonl", json, &multi, &[("t one", "a+b", 1), ("t two", "", 2)]);
    let flags = ReadOptions { label: vec!["a".into(), "b".into(), "c".into()], ..multi };
    let dataset =
        check("a.csv", "text,a,b,c\nt one,1,1,0\nt two,0,0,0\nt three,0,true,0\n", &flags, &expected);
    let map = LabelMap::from_dataset(&dataset).unwrap();
    assert_eq!(map.names(), ["a", "b", "c"], "a column that is nowhere 1 is a class too");
    let labels = Labels::new(&dataset, Some(&map)).unwrap();
    assert_eq!(labels, Labels::Multi { values: vec![1., 1., 0., 0., 0., 0., 0., 1., 0.], labels: 3 });
    assert_eq!(labels.counts(3), [1, 2, 0]);
    assert_eq!(labels.select(&[2, 0]), Labels::Multi { values: vec![0., 1., 0., 1., 1., 0.], labels: 3 });
}

#[test]
fn a_folder_holds_one_class_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("pos/b.txt", "good"),
        ("pos/sub/a.txt", "fine"),
        ("neg/x.txt", "bad\nindeed"),
        ("neg/y.txt", " "),
        ("README", "x"),
        ("neg/.hidden", "x"),
    ] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let dataset = read(folder.path(), &task(Task::Class)).unwrap();
    let found: Vec<_> = rows(&dataset).into_iter().map(|(text, label, _)| (text, label)).collect();
    let expected = [("bad\nindeed", "neg"), ("good", "pos"), ("fine", "pos")];
    assert_eq!(found, expected.map(|(text, label)| (text.to_string(), label.to_string())));
    assert!(dataset.place(2).ends_with("a.txt"), "{}", dataset.place(2));
    let lines = dataset.report.lines().join("\n");
    assert!(lines.contains("README") && lines.contains("1 rows left out: empty text"), "{lines}");
    assert_eq!(dataset.select(&[1]).place(0), dataset.place(1));
}

#[test]
fn tabs_with_quotes_are_read_when_only_that_fits() {
    let tsv = "text\tlabel\n\"a\tb\"\tham\nc d\tspam\n";
    let dataset = check("a.tsv", tsv, &task(Task::Class), &[("a\tb", "ham", 2), ("c d", "spam", 3)]);
    assert!(dataset.report.lines().join("\n").contains("quoted"));
}

#[test]
fn odd_labels_are_remarked_upon() {
    let csv: String = (0..40).map(|i| format!("text number {i},{}.5\n", i)).collect();
    let dataset = from("a.csv", &format!("text,label\n{csv}"), &task(Task::Class));
    assert!(dataset.report.lines().join("\n").contains("regression"), "{:?}", dataset.report);
    let dataset = from("a.csv", "text,label\na b,ham\nc d,1\n", &task(Task::Class));
    assert!(dataset.report.lines().join("\n").contains("1 of 2 labels are numbers"), "{:?}", dataset.report);
}

#[test]
fn standard_input_is_read_like_a_file() {
    let options = ReadOptions { format: Some(Format::Jsonl), ..task(Task::Unlabelled) };
    let dataset =
        read_from("standard input", &b"{\"text\": \"a\"}\n{\"text\": \"b\"}\n"[..], &options).unwrap();
    assert_eq!(dataset.texts().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(dataset.place(1), "standard input row 2");
    let text = read_from("standard input", &b"one\ntwo\n"[..], &task(Task::Unlabelled)).unwrap();
    assert_eq!(text.report.format, Format::Text);
}

#[test]
fn parquet_is_read_however_pyarrow_lays_it_out() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/parquet");
    let texts = ["hi you", "win, now", "an old tree", "été 🙂", "win, now", "last"];
    let expect = |labels: [&str; 6]| -> Vec<(String, String, usize)> {
        (0..6).map(|row| (texts[row].to_string(), labels[row].to_string(), row + 1)).collect()
    };
    for name in ["plain", "snappy", "gzip", "zstd", "lz4", "delta"] {
        let path = folder.join(format!("{name}.parquet"));
        let options = ReadOptions { skip_unlabelled: true, ..task(Task::Class) };
        let dataset = read(&path, &options).unwrap_or_else(|error| panic!("{error}"));
        let mut expected = expect(["ham", "spam", "ham", "ham", "spam", "-"]);
        expected.pop();
        assert_eq!(rows(&dataset), expected, "{name}");
        let options = ReadOptions { label: vec!["score".into()], ..task(Task::Score) };
        let dataset = read(&path, &options).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(rows(&dataset), expect(["0.5", "1", "-2", "0", "3.25", "0.001"]), "{name}");
    }
    let dataset = read(folder.join("lists.parquet"), &task(Task::Multi)).unwrap();
    assert_eq!(rows(&dataset), expect(["a", "a+b", "", "b", "a+b+c", "c"]));
}

#[test]
fn a_folder_of_parquet_files_is_one_table() {
    let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/parquet");
    let folder = tempfile::tempdir().unwrap();
    // The same rows in two forms, in the order of the names.
    for (number, form) in ["gzip", "plain"].iter().enumerate() {
        let to = folder.path().join(format!("000{number}.parquet"));
        std::fs::copy(from.join(format!("{form}.parquet")), to).unwrap();
    }
    let options = ReadOptions { skip_unlabelled: true, ..task(Task::Class) };
    let dataset = read(folder.path(), &options).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((dataset.len(), dataset.report.rows_read, dataset.report.rows_skipped()), (10, 12, 2));
    let found = rows(&dataset);
    assert_eq!((found[0].2, &found[5].0, found[5].2), (1, &found[0].0, 7), "rows are counted through");
    assert_eq!(dataset.report.skipped[0].first, [6, 12]);
    assert_eq!(dataset.report.format, Format::Parquet);
    // Parts that are to be kept apart are not one table.
    let test = folder.path().join("test-00000-of-00001.parquet");
    std::fs::rename(folder.path().join("0001.parquet"), &test).unwrap();
    std::fs::rename(folder.path().join("0000.parquet"), folder.path().join("train-00000-of-00001.parquet"))
        .unwrap();
    let error = read(folder.path(), &options).unwrap_err().to_string();
    assert!(error.contains("several parts") && error.contains("a folder of its own"), "{error}");
    std::fs::remove_file(test).unwrap();
    assert_eq!(read(folder.path(), &options).unwrap().len(), 5);
    // Anything else beside them, and it is what it was before: a folder that is no table.
    std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
    assert!(read(folder.path(), &options).is_err());
}

const REVIEWS: &str = "<review>\n<unique_id>\nB1:fine\n</unique_id>\n<rating>\n4.0\n</rating>\n<helpful>\n\n</helpful>\n\
    <review_text>\n\nI said: 1 < 2 & so on.\n\nTwice.\n</review_text>\n</review>\n\n<review>\n<unique_id>\nB2\n</unique_id>\n\
    <unique_id>\nB2:other\n</unique_id>\n<review_text>\nGood enough.\n</review_text>\n<rating>\n5.0\n</rating>\n</review>\n";

#[test]
fn files_of_reviews_are_labelled_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("positive.review", REVIEWS);
    write("negative.review", &REVIEWS.replace("Good", "Not good"));
    let dataset = read(folder.path(), &task(Task::Class)).unwrap_or_else(|error| panic!("{error}"));
    let found = rows(&dataset);
    assert_eq!((found.len(), dataset.report.format), (4, Format::Reviews));
    assert_eq!((found[1].0.as_str(), found[1].1.as_str()), ("Not good enough.", "negative"));
    assert_eq!((found[2].0.as_str(), found[2].1.as_str()), ("I said: 1 < 2 & so on.\n\nTwice.", "positive"));
    // Stars, of one file and of both.
    let stars = read(folder.path().join("positive.review"), &task(Task::Score)).unwrap();
    assert_eq!(rows(&stars).iter().map(|row| row.1.as_str()).collect::<Vec<_>>(), ["4", "5"]);
    let named = ReadOptions { label: vec!["rating".into()], ..task(Task::Class) };
    assert_eq!(rows(&read(folder.path(), &named).unwrap())[3].1, "5.0");
}

#[test]
fn broken_reviews_are_named_and_can_be_left_out() {
    let refused = |text: &str, line: usize, part: &str| {
        let error = read_from("positive.review", text.as_bytes(), &task(Task::Score)).unwrap_err();
        let said = error.to_string();
        assert!(said.contains(&format!("line {line}:")) && said.contains(part), "{said}");
        // With another whole review behind it, that one is kept.
        let skipping = ReadOptions { skip_bad_rows: true, ..task(Task::Score) };
        let both = format!("{text}\n{REVIEWS}");
        let dataset = read_from("positive.review", both.as_bytes(), &skipping).unwrap();
        assert_eq!(
            (dataset.len(), dataset.report.skipped[0].reason.as_str()),
            (2, "no whole review"),
            "{text}"
        );
    };
    refused("stray\n", 1, "\"stray\" outside of a review");
    refused("<review>\n<rating>\n4.0\n</review>\n", 4, "inside of <rating>");
    refused("<review>\nwords\n</review>\n", 2, "\"words\" where a field begins");
    refused("<review>\n<rating>\n4.0\n</rating>\n", 4, "the review that begins in line 1");
}

//! Every kind of bad file: a clear error that names the place and the way out, never a panic.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

use std::path::PathBuf;

use topwork_data::{Error, Format, Label, LabelMap, Labels, ReadOptions, Result, Task, read, read_from};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn task(task: Task) -> ReadOptions {
    ReadOptions { task, ..ReadOptions::default() }
}

/// Reads `bytes` as a file called `name` and checks that the message holds every part.
fn refused(name: &str, bytes: impl AsRef<[u8]>, options: &ReadOptions, parts: &[&str]) -> Error {
    let folder = Folder::new();
    let error = read(folder.file(name, bytes), options).expect_err(name);
    let text = error.to_string();
    for part in parts.iter().chain(&[name]) {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    error
}

fn class() -> ReadOptions {
    task(Task::Class)
}

#[test]
fn a_missing_column_lists_the_columns_and_the_nearest() {
    let options = ReadOptions { label: vec!["lable".into()], ..class() };
    let error = refused(
        "a.csv",
        "text,label\nhi,ham\n",
        &options,
        &["\"lable\"", "text, label", "did you mean \"label\""],
    );
    assert!(matches!(error, Error::MissingColumn { role: "label", .. }));
    let options = ReadOptions { text: Some("body".into()), ..class() };
    refused("a.jsonl", "{\"t\": \"x\", \"label\": 1}\n", &options, &["\"body\"", "t, label"]);
    let options = ReadOptions { text: Some("7".into()), ..class() };
    refused("a.tsv", "ham\thi\nspam\tho\n", &options, &["\"7\"", "1 (\"ham\"), 2 (\"hi\")"]);
}

#[test]
fn columns_that_cannot_be_told_apart_are_not_guessed() {
    let csv = "left,right,kind\nsome words here,other words here,a\nmore words here,yet other words,b\n";
    let error = refused("a.csv", csv, &class(), &["text", "--text", "left, right, kind"]);
    assert!(matches!(error, Error::UnclearColumn { .. }));
    let csv = "text,u,v\nsome words,a,c\nmore words,b,d\nnew words,a,c\nold words,b,d\n";
    refused("a.csv", csv, &class(), &["--label", "u, v all could be"]);
    refused("a.csv", "text\nsome words\nmore words\n", &class(), &["--label", "no column beside the text"]);
}

#[test]
fn nothing_to_read_is_an_error() {
    for (name, bytes) in [
        ("a.csv", ""),
        ("a.csv", "\n\n"),
        ("a.csv", "text,label\n"),
        ("a.tsv", ""),
        ("a.jsonl", ""),
        ("a.jsonl", "[]"),
        ("a.jsonl", "\n \n"),
    ] {
        let error = refused(name, bytes, &class(), &[]);
        assert!(matches!(error, Error::Empty { .. }), "{bytes:?}: {error}");
    }
    let error = refused("a.txt", "", &task(Task::Unlabelled), &["empty"]);
    assert!(matches!(error, Error::Empty { .. }));
    refused("a.txt", "hello\nyou\n", &class(), &["no labels"]);
    assert!(matches!(read("/nowhere/a.csv", &class()), Err(Error::Read { .. })));
    let error = refused("a.xyz", "hello\nyou\n", &class(), &["csv, tsv, jsonl"]);
    assert!(matches!(error, Error::UnknownFormat { .. }));
}

#[test]
fn one_class_only_is_nothing_to_learn() {
    let folder = Folder::new();
    let dataset = read(folder.file("a.csv", "text,label\nhi,ham\nho,ham\n"), &class()).unwrap();
    let text = LabelMap::from_dataset(&dataset).unwrap_err().to_string();
    assert!(
        text.contains("a.csv") && text.contains("only \"ham\" in 2 rows") && text.contains("label"),
        "{text}"
    );
}

#[test]
fn a_label_unseen_in_training_is_named() {
    let folder = Folder::new();
    let train = read(folder.file("train.csv", "text,label\nhi,ham\nho,spam\n"), &class()).unwrap();
    let map = LabelMap::from_dataset(&train).unwrap();
    let test = read(folder.file("test.csv", "text,label\nhi,ham\nha,spma\nhu,spma\n"), &class()).unwrap();
    let text = Labels::new(&test, Some(&map)).unwrap_err().to_string();
    for part in ["test.csv", "\"spma\"", "rows 3, 4", "2 in all", "ham, spam", "did you mean \"spam\""] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert_eq!(Labels::new(&train, Some(&map)).unwrap(), Labels::Class(vec![0, 1]));
}

#[test]
fn empty_texts_are_counted_and_all_empty_is_an_error() {
    let folder = Folder::new();
    let path = folder.file("a.csv", "text,label\nhi,ham\n  ,ham\n\"\",spam\nho,spam\n");
    let dataset = read(&path, &class()).unwrap();
    assert_eq!(dataset.len(), 2);
    assert_eq!((dataset.report.rows_read, dataset.report.rows_skipped()), (4, 2));
    assert_eq!(dataset.report.skipped[0].first, [3, 4]);
    let lines = dataset.report.lines().join("\n");
    assert!(lines.contains("2 rows left out: empty text (rows 3, 4)"), "{lines}");
    let error = refused("a.csv", "text,label\n,ham\n \t,spam\n", &class(), &["all 2 texts", "\"text\""]);
    assert!(matches!(error, Error::AllEmpty { rows: 2, .. }));
}

#[test]
fn broken_utf8_names_line_and_byte() {
    let latin = b"text,label\nhi,ham\ncaf\xe9,spam\n";
    let error = refused("a.csv", latin, &class(), &["line 3", "0xe9", "byte 21", "iconv -f WINDOWS-1252"]);
    assert!(matches!(error, Error::NotUtf8 { line: 3, offset: 21, byte: 0xe9, .. }));
    refused("a.jsonl", b"{\"text\": \"\xff\"}\n", &class(), &["line 1", "0xff"]);
    refused("a.csv", b"\xff\xfet\x00e\x00x\x00t\x00\n\x00", &class(), &["UTF-16"]);
    let folder = Folder::new();
    folder.file("set/ham/1.txt", "hi");
    folder.file("set/spam/1.txt", b"x\ny\xe4");
    let text = read(folder.0.path().join("set"), &class()).unwrap_err().to_string();
    assert!(text.contains("1.txt line 2") && text.contains("0xe4"), "{text}");
}

#[test]
fn scores_are_finite_numbers() {
    for bad in ["nan", "inf", "-inf", "good", "1e99", "1,5"] {
        let csv = format!("text;score\nhi;0.5\nho;{bad}\nhu;{bad}\n");
        let error = refused(
            "a.csv",
            csv,
            &task(Task::Score),
            &["row 3", "\"score\"", "a finite number", bad, "2 rows"],
        );
        assert!(matches!(error, Error::Cell { count: 2, .. }));
    }
    let csv = "text,score\nhi,0.5\nho,\nhu,1\n";
    let error = refused("a.csv", csv, &task(Task::Score), &["1 of 3 rows", "rows 3"]);
    assert!(matches!(error, Error::MissingLabel { .. }));
}

#[test]
fn missing_labels_are_refused_unless_they_may_be_skipped() {
    let csv = "text,label\nhi,ham\nho,\nhu,NaN\nha,spam\n";
    refused("a.csv", csv, &class(), &["2 of 4 rows", "rows 3, 4", "\"label\"", "skip"]);
    let folder = Folder::new();
    let options = ReadOptions { skip_unlabelled: true, ..class() };
    let dataset = read(folder.file("a.csv", csv), &options).unwrap();
    assert_eq!(dataset.len(), 2);
    assert!(dataset.report.lines().join("\n").contains("2 rows left out: no label"));
    let none = "text,label\nhi,\nho,\n";
    assert!(matches!(read(folder.file("b.csv", none), &options), Err(Error::MissingLabel { count: 2, .. })));
}

#[test]
fn a_stray_quote_names_the_line_that_swallows_the_rest() {
    let mut csv = String::from("text,label\n");
    for i in 0..50 {
        csv.push_str(if i == 20 { "\"oh no,ham\n" } else { "fine,spam\n" });
    }
    let error =
        refused("a.csv", &csv, &class(), &["line 22", "never closes", "29 lines", "twice", "quotes off"]);
    assert!(matches!(error, Error::Quote { line: 22, column: 1, .. }));
    let folder = Folder::new();
    let off = ReadOptions { quotes: Some(false), ..class() };
    assert_eq!(read(folder.file("a.csv", &csv), &off).unwrap().len(), 50);
}

#[test]
fn uneven_rows_are_counted() {
    let csv = "text,label\nhi,ham\nwell, well,spam\nho,spam\nno label\n";
    let error = refused(
        "a.csv",
        csv,
        &class(),
        &["line 3", "expected 2 fields as in line 1", "got 3", "2 of 5", "','"],
    );
    assert!(matches!(error, Error::Ragged { count: 2, .. }));
}

#[test]
fn a_record_without_end_is_stopped() {
    let small = |task| ReadOptions { max_record_bytes: 1000, task, ..ReadOptions::default() };
    let long = format!("text,label\nhi,ham\n{},spam\n", "x".repeat(2000));
    let error = refused("a.csv", long, &small(Task::Class), &["line 3", "1000 bytes"]);
    assert!(matches!(error, Error::RecordTooLong { line: 3, .. }));
    refused("a.jsonl", format!("{{\"text\": \"{}\"}}", "x".repeat(2000)), &small(Task::Class), &["line 1"]);
    refused("a.txt", "x".repeat(2000), &small(Task::Unlabelled), &["line 1"]);
    refused(
        "a.csv",
        format!("text,label\n\"{}", "x\n".repeat(2000)),
        &small(Task::Class),
        &["line 2", "1000 bytes"],
    );
}

/// A stream of 4 GB without a line end is given up at the limit and never held in memory.
#[test]
#[cfg(target_os = "linux")]
fn four_gigabytes_in_one_line_take_no_memory() {
    let folder = Folder::new();
    let path = folder.0.path().join("zeros.csv");
    // A sparse file: it takes no room on disk.
    std::fs::File::create(&path).unwrap().set_len(4 << 30).unwrap();
    let start = std::time::Instant::now();
    assert!(matches!(read(&path, &class()), Err(Error::RecordTooLong { line: 1, .. })));
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn a_bad_json_line_is_named() {
    let good = "{\"text\": \"hi\", \"label\": \"ham\"}\n";
    for (bad, part) in [
        ("{\"text\": \"ho\"", "EOF"),
        ("hello", "expected value"),
        ("[1]", "an array"),
        ("3", "a number"),
        ("\"x\"", "a string"),
    ] {
        let error = refused("a.jsonl", format!("{good}{bad}\n{good}"), &class(), &["line 2", part]);
        assert!(matches!(error, Error::Json { line: 2, .. }));
    }
    refused("a.json", "[{\"text\": 1}, 3]", &class(), &["element 2 is a number"]);
    refused("a.json", "[{\"text\": 1}, ", &class(), &["EOF"]);
}

#[test]
fn labels_of_mixed_kinds_are_refused() {
    let json = "{\"text\": \"hi\", \"label\": 1}\n{\"text\": \"ho\", \"label\": \"spam\"}\n";
    refused("a.jsonl", json, &class(), &["row 2", "a number as in row 1", "\"spam\""]);
    let json = "{\"text\": \"hi\", \"label\": [\"a\"]}\n";
    refused("a.jsonl", json, &class(), &["one class", "a list of 1", "multi"]);
    refused(
        "a.jsonl",
        "{\"text\": [1, 2], \"label\": 1}\n{\"text\": [1], \"label\": 2}\n",
        &ReadOptions { text: Some("text".into()), ..class() },
        &["row 1", "a list of 2"],
    );
    refused("a.jsonl", "{\"text\": \"hi\", \"label\": {\"a\": 1}}\n", &task(Task::Multi), &["an object"]);
    let flags = ReadOptions { label: vec!["a".into(), "b".into()], ..task(Task::Multi) };
    refused("a.csv", "text,a,b\nhi,0,1\nho,2,0\n", &flags, &["row 3", "\"a\"", "0 or 1", "\"2\""]);
    refused("a.csv", "text,labels\nhi,\"[\"\"a\"\", \"\n", &task(Task::Multi), &["row 2", "JSON list"]);
}

#[test]
fn damaged_parquet_is_an_error_whatever_the_damage() {
    let folder = Folder::new();
    let mut table = topwork_data::Table::new();
    let texts: Vec<String> = (0..500).map(|i| format!("text number {i}")).collect();
    let labels: Vec<String> = (0..500).map(|i| if i % 3 == 0 { "ham" } else { "spam" }.to_string()).collect();
    table.push("text", topwork_data::Column::Text(texts)).unwrap();
    table.push("label", topwork_data::Column::Text(labels)).unwrap();
    let path = folder.0.path().join("a.parquet");
    table.write(&path, topwork_data::TableFormat::Parquet).unwrap();
    assert_eq!(read(&path, &class()).unwrap().len(), 500);
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 3, 4, 8, 100, whole.len() / 2, whole.len() - 1] {
        let path = folder.file("cut.parquet", &whole[..length]);
        assert!(matches!(read(path, &class()), Err(Error::Parquet { .. })), "cut at {length}");
    }
    // Any byte changed: an error or other texts, never a panic that escapes.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut refused = 0;
    for at in (0..whole.len()).step_by(whole.len() / 150) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        refused += usize::from(read(folder.file("changed.parquet", &bytes), &class()).is_err());
    }
    std::panic::set_hook(hook);
    assert!(refused > 5, "only {refused} of 150 changes were noticed");
}

#[test]
fn few_bytes_do_not_make_much_memory() {
    // A cell for each row and key: 100 KB would be 3 GB.
    let rows: String = (0..10_000).map(|row| format!("{{\"k{row}\": 1}}\n")).collect();
    refused("a.jsonl", &rows, &class(), &["different keys"]);
    let array = format!("[{}]", rows.trim_end().replace('\n', ","));
    refused("a.json", &array, &class(), &["different keys"]);
    // The same text over and over is next to nothing in a Parquet file.
    let folder = Folder::new();
    let path = folder.0.path().join("same.parquet");
    let mut table = topwork_data::Table::new();
    table.push("text", topwork_data::Column::Text(vec!["x".repeat(4096); 30_000])).unwrap();
    table.push("label", topwork_data::Column::Text(vec!["a".into(); 30_000])).unwrap();
    table.write(&path, topwork_data::TableFormat::Parquet).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < 100_000);
    let text = read(&path, &class()).unwrap_err().to_string();
    assert!(text.contains("same.parquet") && text.contains("bytes, the file has"), "{text}");
}

#[test]
fn folders_without_classes_say_what_is_there() {
    let folder = Folder::new();
    folder.file("set/train.csv", "text,label\n");
    let text = read(folder.0.path().join("set"), &class()).unwrap_err().to_string();
    assert!(text.contains("train.csv") && text.contains("one folder a class"), "{text}");
    std::fs::create_dir_all(folder.0.path().join("set/ham")).unwrap();
    let text = read(folder.0.path().join("set"), &class()).unwrap_err().to_string();
    assert!(text.contains("ham") && text.contains("empty"), "{text}");
    let multi = read(folder.0.path().join("set"), &task(Task::Multi)).unwrap_err().to_string();
    assert!(multi.contains("table"), "{multi}");
}

#[test]
fn names_of_formats_and_tasks_are_checked() {
    let text = "jsnl".parse::<Format>().unwrap_err().to_string();
    assert!(text.contains("did you mean \"jsonl\"") && text.contains("parquet"), "{text}");
    assert_eq!("CSV".parse::<Format>().unwrap(), Format::Csv);
    assert!("classes".parse::<Task>().is_err());
    let options = ReadOptions { delimiter: Some('"'), ..class() };
    assert!(matches!(
        read_from("x", &b"a,b\n"[..], &ReadOptions { format: Some(Format::Csv), ..options }),
        Err(Error::Setting { .. })
    ));
}

/// Whatever the bytes: an error or a data set, never a panic.
#[test]
fn any_bytes_in_any_text_format() {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    let pieces = prop::sample::select(vec![
        "text",
        "label",
        ",",
        "\t",
        "\"",
        "\"\"",
        "\n",
        "\r\n",
        "{",
        "}",
        "[",
        "]",
        ":",
        "\"text\"",
        "ham",
        "spam",
        "1",
        "0.5",
        "é",
        "\u{feff}",
        " ",
        "|",
        "null",
        "a long text of words",
        "<review>\n",
        "\n<rating>\n4.0\n</rating>\n",
        "\n<review_text>\n",
        "\n</review_text>\n",
        "\n</review>\n",
    ]);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut outcomes = [0, 0];
    let text = prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat());
    for _ in 0..400 {
        let text = text.new_tree(&mut runner).unwrap().current();
        for (_, format) in Format::ALL.into_iter().take(5).chain([("reviews", Format::Reviews)]) {
            for (_, task) in Task::ALL {
                let options = ReadOptions { format: Some(format), task, ..ReadOptions::default() };
                let found: Result<_> = read_from("any", text.as_bytes(), &options);
                if let Ok(dataset) = &found {
                    assert!(!dataset.is_empty());
                    assert!(dataset.examples.iter().all(|example| !example.text.trim().is_empty()));
                    assert!(dataset.examples.iter().all(|example| match &example.label {
                        Some(Label::Score(score)) => score.is_finite(),
                        Some(Label::One(name)) => !name.is_empty(),
                        Some(_) | None => true,
                    }));
                }
                outcomes[usize::from(found.is_ok())] += 1;
            }
        }
    }
    assert!(outcomes[0] > 100 && outcomes[1] > 100, "{outcomes:?}");
}

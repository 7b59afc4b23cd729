//! Arrow files, folders that HuggingFace's datasets saved, documents, and sets written and read again.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use topwork_data::{
    Answer, ChosenColumn, Dataset, Error, Example, Exchange, Format, Label, Node, ReadOptions, ReadReport,
    Related, Splits, TaggedWord, Task, Unit, read, read_from, splits_of, texts, write_arrow,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/data-readers").join(name)
}

fn task(task: Task) -> ReadOptions {
    ReadOptions { task, ..ReadOptions::default() }
}

fn label(example: &Example) -> String {
    match &example.label {
        Some(Label::One(name)) => name.clone(),
        Some(Label::Many(names)) => names.join("+"),
        Some(Label::Score(score)) => score.to_string(),
        Some(Label::Words(words)) => {
            let word = |word: &TaggedWord| format!("{}/{}", &example.text[word.start..word.end], word.tag);
            words.iter().map(word).collect::<Vec<_>>().join(" ")
        }
        Some(Label::Answers(answers)) => answers
            .iter()
            .map(|answer| format!("{}@{}", answer.text, answer.start))
            .collect::<Vec<_>>()
            .join(" "),
        Some(Label::Text(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}

fn check(path: &Path, options: &ReadOptions, expected: &[&str]) -> Dataset {
    let dataset = read(path, options).unwrap_or_else(|error| panic!("{error}"));
    let found: Vec<String> = dataset.examples.iter().map(label).collect();
    assert_eq!(found, expected, "{}", dataset.report.lines().join("\n"));
    dataset
}

fn said(dataset: &Dataset, part: &str) {
    let lines = dataset.report.lines().join("\n");
    assert!(lines.contains(part), "{part:?} is not in:\n{lines}");
}

#[test]
fn arrow_is_read_however_pyarrow_writes_it() {
    let texts = ["hi you", "win, now", "an old tree", "\u{e9}t\u{e9} \u{1f642}", "win, now", "last"];
    for name in ["lz4.feather", "zstd.feather", "uncompressed.feather", "stream.arrow"] {
        let path = fixture(name);
        let with = |text: &str, label: &str, task| ReadOptions {
            text: Some(text.into()),
            label: vec![label.into()],
            task,
            ..ReadOptions::default()
        };
        let class = ["ham", "spam", "ham", "ham", "spam", "ham"];
        for text in ["text", "view"] {
            let dataset = check(&path, &with(text, "label", Task::Class), &class);
            assert_eq!(dataset.texts().collect::<Vec<_>>(), texts, "{name}");
            assert_eq!((dataset.report.format, dataset.examples[5].row), (Format::Arrow, 6));
        }
        check(&path, &with("text", "score", Task::Score), &["0.5", "1", "-2", "0", "3.25", "0.001"]);
        check(&path, &with("text", "half", Task::Score), &["0.5", "1", "-2", "0", "3.25", "2"]);
        check(&path, &with("text", "many", Task::Multi), &["a", "a+b", "", "b", "a+b+c", "c"]);
        check(&path, &with("text", "fixed", Task::Multi), &["a+b"; 6]);
        let skip = ReadOptions { skip_unlabelled: true, ..with("text", "small", Task::Class) };
        check(&path, &skip, &["1", "-2", "3", "5", "6"]);
        check(
            &path,
            &with("text", "flag", Task::Class),
            &["true", "false", "true", "false", "true", "false"],
        );
        let error = read(&path, &with("text", "time", Task::Class)).unwrap_err().to_string();
        assert!(error.contains("a date or time"), "{error}");
        let bytes = std::fs::read(&path).unwrap();
        let piped =
            read_from("standard input", bytes.as_slice(), &with("text", "label", Task::Class)).unwrap();
        assert_eq!(piped.len(), 6);
    }
    let error = read(fixture("version1.feather"), &task(Task::Unlabelled)).unwrap_err().to_string();
    assert!(error.contains("Feather version 1"), "{error}");
}

#[test]
fn folders_of_datasets_have_splits_and_names_of_classes() {
    let skip = ReadOptions { skip_unlabelled: true, ..task(Task::Class) };
    let dataset = check(&fixture("splits"), &skip, &["ham", "spam", "ham", "ham"]);
    said(&dataset, "split train of train, validation, test");
    said(&dataset, "the names ham, spam");
    let validation = ReadOptions { split: Some("validation".into()), ..skip.clone() };
    let dataset = check(&fixture("splits"), &validation, &["spam"]);
    said(&dataset, "1 rows left out: no label (rows 2)");
    check(&fixture("splits/test"), &task(Task::Class), &["ham"]);
    let missing = ReadOptions { split: Some("dev".into()), ..skip };
    let error = read(fixture("splits"), &missing).unwrap_err().to_string();
    assert!(error.contains("\"dev\"") && error.contains("validation"), "{error}");
    let expected = Splits {
        train: Some(fixture("splits/train")),
        dev: Some(fixture("splits/validation")),
        test: Some(fixture("splits/test")),
    };
    assert_eq!(splits_of(fixture("splits")), Some(expected));
    assert_eq!(splits_of(fixture("tagged")), None);

    let words = ["EU/B-ORG rejects/O", "Zo\u{eb}/B-PER O'Neil/I-PER in/O Paris/B-LOC", "no/O one/O"];
    for name in ["tagged", "tagged.parquet"] {
        let dataset = check(&fixture(name), &task(Task::Tags), &words);
        assert_eq!(dataset.examples[2].id.as_deref(), Some("c"));
        assert_eq!(dataset.examples[2].row, 3);
        said(&dataset, "BIO (IOB2)");
    }
    let dataset =
        check(&fixture("answers"), &task(Task::Answers), &["Zo\u{eb}@0", "Paris@16 in Paris@13", ""]);
    assert_eq!(dataset.examples[0].pair.as_deref(), Some("Zo\u{eb} met Bob in Paris."));
    let there = ReadOptions { label: vec!["de".into()], ..task(Task::Texts) };
    check(&fixture("translations"), &there, &["ein Baum", "ein Haus"]);
    let back = ReadOptions { text: Some("de".into()), ..task(Task::Texts) };
    check(&fixture("translations"), &back, &["a tree", "a house"]);
    let error = read(fixture("tagged"), &task(Task::Trees)).unwrap_err().to_string();
    assert!(error.contains("hf files hold no labels for the task trees"), "{error}");
}

#[test]
fn folders_that_lead_elsewhere_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let check = |file: &str, text: &str, parts: &[&str]| {
        std::fs::write(folder.path().join(file), text).unwrap();
        let error = read(folder.path(), &task(Task::Unlabelled)).unwrap_err().to_string();
        for part in parts.iter().chain(&[file]) {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
        std::fs::remove_file(folder.path().join(file)).unwrap();
    };
    check("dataset_dict.json", "{\"splits\": [\"../other\"]}", &["\"../other\""]);
    check("dataset_dict.json", "{\"splits\": [1]}", &["names of the splits"]);
    check("dataset_dict.json", "{", &["line 1"]);
    check("state.json", "{\"_data_files\": [{\"filename\": \"/etc/passwd\"}]}", &["_data_files"]);
    check("state.json", "{\"_data_files\": [], \"_indices_files\": [{}]}", &["indices"]);
    std::fs::write(folder.path().join("state.json"), "{\"_data_files\": []}").unwrap();
    let error = read(folder.path(), &task(Task::Unlabelled)).unwrap_err().to_string();
    assert!(error.contains("no .arrow file"), "{error}");
}

#[test]
fn parts_are_found_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["eng.train", "eng.testa", "eng.testb", "README.md", "train.md"] {
        std::fs::write(folder.path().join(name), "x O\n").unwrap();
    }
    let at = |name: &str| Some(folder.path().join(name));
    let expected = Splits { train: at("eng.train"), dev: at("eng.testa"), test: at("eng.testb") };
    assert_eq!(splits_of(folder.path()), Some(expected));
    // Two files could be the part for training.
    std::fs::write(folder.path().join("train.de"), "x O\n").unwrap();
    assert_eq!(splits_of(folder.path()), None);
    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir(other.path().join("data")).unwrap();
    let file = other.path().join("data/test-00000-of-00001.parquet");
    std::fs::write(&file, "").unwrap();
    assert_eq!(splits_of(other.path()), Some(Splits { test: Some(file), ..Splits::default() }));
    assert_eq!(splits_of(other.path().join("none")), None);
}

#[test]
fn damaged_arrow_is_an_error_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.arrow");
    let mut seen = 0;
    for name in ["lz4.feather", "zstd.feather", "stream.arrow", "answers/data-00000-of-00001.arrow"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        let mut broken: Vec<Vec<u8>> =
            (0..whole.len()).step_by(197).map(|length| whole[..length].to_vec()).collect();
        for at in (0..whole.len()).step_by(41) {
            for value in [0, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                broken.push(bytes);
            }
        }
        for bytes in broken {
            std::fs::write(&path, &bytes).unwrap();
            let options = ReadOptions { text: Some("1".into()), ..task(Task::Unlabelled) };
            match read(&path, &options) {
                Ok(dataset) => assert!(dataset.examples.iter().all(|example| !example.text.is_empty())),
                Err(error) => assert!(error.to_string().contains("a.arrow"), "{error}"),
            }
            seen += 1;
        }
    }
    assert!(seen > 500, "{seen}");
    std::fs::write(&path, "text,label\na,b\n").unwrap();
    let error = read(&path, &task(Task::Class)).unwrap_err().to_string();
    assert!(error.contains("is this an arrow file?"), "{error}");
    std::fs::write(&path, "").unwrap();
    assert!(matches!(read(&path, &task(Task::Class)), Err(Error::Arrow { .. })));
}

/// A body of 2,000 bytes that claims a terabyte unpacked is refused before the memory is asked for.
#[test]
fn packed_buffers_claim_no_more_than_they_can_hold() {
    let mut bytes = std::fs::read(fixture("lz4.feather")).unwrap();
    // LZ4's frames begin so, and the eight bytes before them are their length.
    let frames: Vec<usize> = bytes
        .windows(4)
        .enumerate()
        .filter(|(_, four)| *four == [0x04, 0x22, 0x4d, 0x18])
        .map(|(at, _)| at)
        .collect();
    assert!(!frames.is_empty());
    bytes[frames[0] - 8..frames[0]].copy_from_slice(&(1u64 << 40).to_le_bytes());
    let error = read_from("a.arrow", bytes.as_slice(), &task(Task::Unlabelled)).unwrap_err().to_string();
    assert!(error.contains("claims 10995116"), "{error}");
}

#[test]
fn documents_end_at_blank_lines_and_can_be_read_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let path = file("a.txt", "\u{feff}\r\none\r\ntwo\r\n\r\n \r\nthree\r\n");
    let documents = ReadOptions { unit: Unit::Document, ..task(Task::Unlabelled) };
    let dataset = read(&path, &documents).unwrap();
    assert_eq!(dataset.texts().collect::<Vec<_>>(), ["one\ntwo", "three"]);
    assert_eq!(dataset.examples.iter().map(|example| example.row).collect::<Vec<_>>(), [2, 6]);
    let all = |path: &Path, options: &ReadOptions| -> Vec<(usize, String)> {
        texts(path, options).unwrap().map(|text| text.unwrap()).collect()
    };
    let pair = |row: usize, text: &str| (row, text.to_string());
    assert_eq!(all(&path, &documents), [pair(2, "one\ntwo"), pair(6, "three")]);
    assert_eq!(all(&path, &task(Task::Unlabelled)), [pair(2, "one"), pair(3, "two"), pair(6, "three")]);
    let json = file("a.jsonl", "{\"text\": \"one\"}\n\n{\"text\": \" \"}\n{\"text\": \"two\\nthree\"}\n");
    assert_eq!(all(&json, &documents), [pair(1, "one"), pair(4, "two\nthree")]);
    let other = ReadOptions { text: Some("body".into()), ..documents.clone() };
    let mut broken = texts(&json, &other).unwrap();
    let error = broken.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("a.jsonl line 1") && error.contains("\"body\""), "{error}");
    assert!(broken.next().is_none());
    let small = ReadOptions { max_record_bytes: 20, ..documents.clone() };
    let long = file("b.txt", &format!("short\n\n{}", "twelve bytes\n".repeat(5)));
    let mut found = texts(&long, &small).unwrap();
    assert_eq!(found.next().unwrap().unwrap(), pair(1, "short"));
    assert!(matches!(found.next(), Some(Err(Error::RecordTooLong { line: 3, .. }))));
    assert!(matches!(texts(file("a.csv", "x"), &documents), Err(Error::UnknownFormat { .. })));
}

/// The golden of `conllu`: forms, parts of speech, heads and relations, in the text of the comment.
#[test]
fn trees_are_those_that_the_python_library_reads() {
    let dataset = read(fixture("trees.conllu"), &task(Task::Trees)).unwrap();
    let golden: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixture("trees.json")).unwrap()).unwrap();
    let golden = golden.as_array().unwrap();
    assert_eq!(dataset.len(), golden.len());
    let mut words = 0;
    for (example, expected) in dataset.examples.iter().zip(golden) {
        let Some(Label::Tree(nodes)) = &example.label else { panic!() };
        assert_eq!(Some(example.text.as_str()), expected["text"].as_str());
        assert_eq!(example.id.as_deref(), expected["id"].as_str());
        let expected = expected["words"].as_array().unwrap();
        assert_eq!(nodes.len(), expected.len());
        for (node, word) in nodes.iter().zip(expected) {
            // A word of "ao" has no place of its own: "a" and "o" are written one after the other, so these have.
            assert_eq!(Some(&example.text[node.start..node.end]), word[0].as_str());
            assert_eq!(Some(node.tag.as_str()), word[1].as_str());
            assert_eq!(Some(node.head as u64), word[2].as_u64());
            assert_eq!(Some(node.relation.as_str()), word[3].as_str());
            words += 1;
        }
    }
    assert_eq!(words, 16);
}

/// The golden of `seqeval`: the spans of random tags.
#[test]
fn spans_are_those_that_seqeval_reads() {
    use topwork_data::tags::{Scheme, spans};
    let golden: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixture("spans.json")).unwrap()).unwrap();
    let (mut seen, mut sound) = (0, 0);
    for case in golden.as_array().unwrap() {
        let tags: Vec<&str> =
            case["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        let scheme = match case["scheme"].as_str().unwrap() {
            "iob1" => Scheme::Iob1,
            "iob2" => Scheme::Iob2,
            "bioes" => Scheme::Bioes,
            _ => Scheme::Bilou,
        };
        let (found, malformed) = spans(tags.iter().copied(), scheme);
        let shown: Vec<serde_json::Value> =
            found.iter().map(|span| serde_json::json!([span.kind, span.start, span.end - 1])).collect();
        assert_eq!(&shown, case["lenient"].as_array().unwrap(), "{scheme} {tags:?}");
        if malformed.is_empty() {
            assert_eq!(&shown, case["strict"].as_array().unwrap(), "{scheme} {tags:?}");
            sound += 1;
        }
        seen += 1;
    }
    assert!(seen == 160 && sound > 30, "{seen} {sound}");
}

fn report(path: &str) -> ReadReport {
    ReadReport {
        path: path.into(),
        format: Format::Conll,
        text: ChosenColumn { name: "1".into(), why: "the first".into() },
        pair: None,
        label: Vec::new(),
        rows_read: 3,
        skipped: Vec::new(),
        notes: vec!["a note".into()],
    }
}

/// A label of the kind for the text and the second text.
fn made(kind: usize, text: &str, pair: &str, name: &str, number: usize) -> Label {
    let [end, pair_end] = [text, pair].map(|text| text.chars().next().map_or(0, char::len_utf8));
    match kind {
        0 => Label::One(name.into()),
        1 => Label::Many(vec![name.into(); number % 3]),
        2 => Label::Score(number as f32 / 7.0),
        3 => Label::Words(vec![TaggedWord { start: 0, end, tag: name.into() }; number % 3]),
        4 => Label::Answers(vec![Answer { start: 0, text: pair.into() }; number % 3]),
        5 => Label::Text(name.into()),
        6 => Label::Choice { options: vec![name.into(), pair.into()], right: number % 2 },
        7 => Label::Related(Related { spans: [0..end, 0..pair_end], name: Some(name.into()) }),
        8 => Label::Related(Related { spans: [0..end, 0..pair_end], name: None }),
        9 => Label::Exchange(Exchange {
            conversation: number,
            persona: vec![pair.into(); number % 3],
            history: vec![name.into(), pair.into(), text.into()],
            candidates: vec![name.into(), pair.into()],
            right: number % 2,
        }),
        _ => Label::Tree(vec![Node { start: 0, end, tag: name.into(), head: 0, relation: pair.into() }]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is written is read again, whatever the labels are.
    #[test]
    fn a_set_is_read_as_it_was_written(
        kind in 0..11usize,
        rows in prop::collection::vec(("[a-z\u{e9}\u{1f642}]{1,9}", "[a-z ]{1,9}", "[A-Z]{1,3}", 0..9usize, any::<(bool, bool, bool)>()), 1..9),
    ) {
        let examples: Vec<Example> = rows
            .into_iter()
            .map(|(text, pair, name, number, (paired, named, labelled))| Example {
                label: labelled.then(|| made(kind, &text, &pair, &name, number)),
                text,
                pair: (paired || matches!(kind, 4 | 7 | 8)).then_some(pair),
                row: number + 1,
                id: named.then_some(name),
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.arrow");
        let dataset = Dataset::new(examples, report("a.conll"));
        write_arrow(&path, &dataset).unwrap();
        let tasks = [Task::Class, Task::Multi, Task::Score, Task::Tags, Task::Answers, Task::Texts, Task::Choice, Task::Relation, Task::Spans, Task::Dialog, Task::Trees];
        let labelled = dataset.examples.iter().any(|example| example.label.is_some());
        let task_of = if labelled { tasks[kind] } else { Task::Unlabelled };
        let again = read(&path, &task(task_of)).unwrap();
        prop_assert_eq!(&again.examples, &dataset.examples);
        prop_assert_eq!(&again.report.notes[0], "a note");
        prop_assert_eq!(again.report.path, path.clone());
        let bare = read(&path, &task(Task::Unlabelled)).unwrap();
        prop_assert!(bare.examples.iter().all(|example| example.label.is_none()));
        if labelled {
            let other = read(&path, &task(tasks[(kind + 1) % tasks.len()])).unwrap_err().to_string();
            prop_assert!(other.contains("it holds"), "{}", other);
        }
    }
}

#[test]
fn labels_of_several_kinds_are_not_written() {
    let example = |label| Example { text: "a".into(), pair: None, label, row: 1, id: None };
    let examples = vec![example(Some(Label::Score(1.0))), example(Some(Label::One("x".into())))];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.arrow");
    let error = write_arrow(&path, &Dataset::new(examples, report("a"))).unwrap_err().to_string();
    assert!(error.contains("score and class"), "{error}");
    assert!(!path.exists());
}

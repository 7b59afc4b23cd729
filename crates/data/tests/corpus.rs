//! Corpora of Arrow files: rows in any order are the rows of the file, and damage is an error that says where.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Int16Array, Int64Array, LargeStringArray, RecordBatch, StringArray,
    StringViewArray,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{Field, Schema};
use proptest::prelude::*;
use topwork_data::corpus::{Corpus, InBlocks, Record, Rows, Value, concatenate};
use topwork_data::{Error, ReadOptions, Task, read};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/data-readers").join(name)
}

/// How a file is written.
#[derive(Clone, Copy, Debug)]
enum Way {
    File,
    Stream,
    Lz4,
    Zstd,
}

/// Writes batches of columns.
fn write(path: &Path, way: Way, batches: &[Vec<(&str, ArrayRef)>]) {
    let fields: Vec<Field> =
        batches[0].iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let batches = batches.iter().map(|columns| {
        let arrays = columns.iter().map(|(_, array)| array.clone()).collect();
        RecordBatch::try_new(schema.clone(), arrays).unwrap()
    });
    let out = std::fs::File::create(path).unwrap();
    let compression = match way {
        Way::File => None,
        Way::Lz4 => Some(CompressionType::LZ4_FRAME),
        Way::Zstd => Some(CompressionType::ZSTD),
        Way::Stream => {
            let mut writer = StreamWriter::try_new(out, &schema).unwrap();
            batches.for_each(|batch| writer.write(&batch).unwrap());
            return writer.finish().unwrap();
        }
    };
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = FileWriter::try_new_with_options(out, &schema, options).unwrap();
    batches.for_each(|batch| writer.write(&batch).unwrap());
    writer.finish().unwrap();
}

/// The rows from one on.
fn all<S: Rows>(source: &S, from: u64) -> Vec<S::Row> {
    source.iter(from).map(|row| row.unwrap_or_else(|error| panic!("{error}"))).collect()
}

fn texts(records: &[Record]) -> Vec<Option<&str>> {
    records.iter().map(Record::text).collect()
}

#[test]
fn files_of_pyarrow_give_the_rows_that_reading_them_gives() {
    for name in ["lz4.feather", "zstd.feather", "uncompressed.feather", "stream.arrow"] {
        let options =
            ReadOptions { text: Some("text".into()), task: Task::Unlabelled, ..ReadOptions::default() };
        let expected = read(fixture(name), &options).unwrap();
        let corpus = Corpus::open(&[fixture(name)], &["text", "view", "flag", "score", "small"]).unwrap();
        assert_eq!(corpus.is_compressed(), name.starts_with("lz4") || name.starts_with("zstd"), "{name}");
        let rows = all(&corpus, 0);
        assert_eq!(rows.len(), 6);
        assert_eq!(texts(&rows), expected.texts().map(Some).collect::<Vec<_>>(), "{name}");
        assert!(rows.iter().all(|row| row.values[0] == row.values[1]), "{name}");
        let column = |at: usize| rows.iter().map(|row| row.values[at].clone()).collect::<Vec<_>>();
        assert_eq!(column(2), [true, false, true, false, true, false].map(Value::Bool));
        assert_eq!(column(3), [0.5, 1.0, -2.0, 0.0, 3.25, 0.001].map(Value::Float));
        let small = [Some(1), Some(-2), Some(3), None, Some(5), Some(6)];
        assert_eq!(column(4), small.map(|value| value.map_or(Value::Null, Value::Int)));
        assert_eq!(corpus.get(5).unwrap(), rows[5]);
        assert!(corpus.get(6).unwrap_err().to_string().contains("below 6, got 6"));
    }
}

#[test]
fn folders_of_datasets_are_opened_with_their_names_of_classes() {
    let train = fixture("splits/train");
    let corpus = Corpus::open(&[&train], &["text", "label"]).unwrap();
    assert_eq!(corpus.class_names(1).unwrap(), ["ham", "spam"]);
    assert_eq!((corpus.class_names(0), corpus.len(), corpus.files()), (None, 4, 1));
    // 2 MiB, a quarter of which is left for long rows, for eight blocks of rows of average length.
    let rows = (3 << 19) / (corpus.bytes() / 4) / 8;
    assert_eq!(corpus.blocks(), InBlocks { rows, window: 8 });
    assert_eq!(corpus.get(1).unwrap().values[1], Value::Int(1));
    let both = Corpus::open(&[train, fixture("splits/validation")], &[]).unwrap();
    assert_eq!((both.len(), both.columns()), (6, ["text".to_string()].as_slice()));
    let error = Corpus::open(&[fixture("splits")], &[]).unwrap_err().to_string();
    assert!(error.contains("no .arrow file"), "{error}");
}

#[test]
fn what_cannot_be_read_row_by_row_is_refused_with_a_reason() {
    let refused = |columns: &[&str]| {
        let path = fixture("uncompressed.feather");
        Corpus::open(&[path], columns).unwrap_err().to_string()
    };
    assert!(refused(&["label"]).contains("dictionary_decode"), "{}", refused(&["label"]));
    assert!(refused(&["many"]).contains("expected texts, numbers or true and false"));
    assert!(refused(&["txet"]).contains("did you mean \"text\"?"));
    assert!(refused(&["text", "text"]).contains("text twice"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.arrow");
    let column = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    write(&path, Way::File, &[vec![("a", column("x")), ("b", column("y"))]]);
    let error = Corpus::open(&[&path], &[]).unwrap_err().to_string();
    assert!(error.contains("2 columns hold texts") && error.contains("--column"), "{error}");
    std::fs::write(&path, "text,label\na,b\n").unwrap();
    let error = Corpus::open(&[&path], &[]).unwrap_err().to_string();
    assert!(error.contains("is this an arrow file?"), "{error}");
    assert!(Corpus::open(&[fixture("version1.feather")], &[]).unwrap_err().to_string().contains("version 1"));
    assert!(Corpus::open::<&Path>(&[], &[]).is_err());
    assert!(matches!(Corpus::open(&[folder.path().join("none")], &[]), Err(Error::Read { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the types, the batches and the way of writing: rows in order, shuffled and in blocks are those written.
    #[test]
    fn rows_in_any_order_are_those_that_were_written(
        rows in prop::collection::vec(
            (prop::option::weighted(0.8, ".{0,30}"), any::<i64>(), any::<Option<i16>>(), any::<bool>()), 1..120),
        batch in 1usize..50,
        files in 1usize..4,
        way in prop::sample::select(vec![Way::File, Way::Stream, Way::Lz4, Way::Zstd]),
        seed: u64,
        block in 1u64..30,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (number, part) in rows.chunks(rows.len().div_ceil(files)).enumerate() {
            let path = folder.path().join(format!("{number}.arrow"));
            let batches: Vec<Vec<(&str, ArrayRef)>> = part
                .chunks(batch)
                .map(|rows| {
                    let text = || rows.iter().map(|row| row.0.as_deref());
                    let columns: Vec<(&str, ArrayRef)> = vec![
                        ("number", Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Int64Array>())),
                        ("view", Arc::new(text().collect::<StringViewArray>())),
                        ("short", Arc::new(text().collect::<StringArray>())),
                        ("maybe", Arc::new(rows.iter().map(|row| row.2).collect::<Int16Array>())),
                        ("text", Arc::new(text().collect::<LargeStringArray>())),
                        ("flag", Arc::new(rows.iter().map(|row| Some(row.3)).collect::<BooleanArray>())),
                        ("half", Arc::new(rows.iter().map(|row| row.2.map(f32::from)).collect::<Float32Array>())),
                    ];
                    columns
                })
                .collect();
            write(&path, way, &batches);
            paths.push(path);
        }
        let expected: Vec<Record> = rows
            .iter()
            .map(|(text, number, maybe, flag)| {
                let text = || text.clone().map_or(Value::Null, Value::Text);
                let values = vec![
                    text(),
                    text(),
                    maybe.map_or(Value::Null, |value| Value::Float(f64::from(value))),
                    text(),
                    Value::Int(*number),
                    Value::Bool(*flag),
                    maybe.map_or(Value::Null, |value| Value::Int(value.into())),
                ];
                Record { values }
            })
            .collect();
        let columns = ["text", "view", "half", "short", "number", "flag", "maybe"];
        let corpus = Corpus::open(&paths, &columns).unwrap();
        prop_assert_eq!(corpus.len(), rows.len() as u64);
        for (at, row) in expected.iter().enumerate() {
            prop_assert_eq!(&corpus.get(at as u64).unwrap(), row);
        }
        prop_assert_eq!(&all(&corpus, 0), &expected);
        let shuffled = corpus.clone().shuffled(seed, 0);
        let blocks = corpus.clone().shuffled_in_blocks(InBlocks { rows: block, window: 3 }, seed, 0).unwrap();
        for (order, found) in [
            (topwork_data::corpus::Order::shuffled(corpus.len(), seed, 0), all(&shuffled, 0)),
            (
                topwork_data::corpus::Order::shuffled_in_blocks(
                    corpus.len(), InBlocks { rows: block, window: 3 }, seed, 0).unwrap(),
                all(&blocks, 0),
            ),
        ] {
            prop_assert_eq!(found.len(), expected.len());
            for (at, row) in found.iter().enumerate() {
                prop_assert_eq!(row, &expected[order.get(at as u64).unwrap() as usize]);
            }
        }
        // Through everything that can be made of it, and from any place on.
        let made = concatenate(vec![corpus.clone().shard(1, 2).unwrap(), corpus.clone().take(7)]).unwrap();
        let made = made.filter(|row| row.values[5] == Value::Bool(true)).unwrap().map(|row| Ok(row.values));
        let half = expected.len() / 2;
        let wanted: Vec<Vec<Value>> = expected[half..]
            .iter()
            .chain(expected.iter().take(7))
            .filter(|row| row.values[5] == Value::Bool(true))
            .map(|row| row.values.clone())
            .collect();
        let from = wanted.len() / 3;
        prop_assert_eq!(&all(&made, from as u64), &wanted[from..]);
    }
}

/// A file of two batches of texts, and where the offsets and the texts of the second one lie in it.
fn two_batches(path: &Path) -> (Vec<u8>, usize, usize) {
    let batch = |texts: [&str; 3]| -> Vec<(&str, ArrayRef)> {
        vec![("text", Arc::new(StringArray::from(texts.to_vec())) as ArrayRef)]
    };
    write(path, Way::File, &[batch(["one", "two", "three"]), batch(["an oak", "a birch", "a yew"])]);
    let bytes = std::fs::read(path).unwrap();
    let find = |part: &[u8]| bytes.windows(part.len()).position(|window| window == part).unwrap();
    let offsets: Vec<u8> = [0_i32, 6, 13, 18].iter().flat_map(|end| end.to_le_bytes()).collect();
    (bytes.clone(), find(&offsets), find(b"an oaka birch"))
}

#[test]
fn a_damaged_row_is_named_with_file_row_and_batch_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("oaks.arrow");
    let (whole, offsets, texts) = two_batches(&path);
    let check = |at: usize, new: &[u8], bad: &[u64], part: &str| {
        let mut bytes = whole.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        std::fs::write(&path, bytes).unwrap();
        let corpus = Corpus::open(&[&path], &["text"]).unwrap();
        let mut seen = 0;
        for (row, found) in corpus.iter(0).enumerate() {
            let row = row as u64;
            assert_eq!(found.is_err(), bad.contains(&row), "{part}: row {row} is {found:?}");
            if let Err(error) = found {
                let said = error.to_string();
                assert!(matches!(error, Error::CorpusRow { .. }), "{said}");
                let place = format!("oaks.arrow row {}, in batch 2: ", row + 1);
                assert!(said.contains(&place) && said.contains(part), "{said}");
            }
            seen += 1;
        }
        assert_eq!(seen, 6);
    };
    check(texts, b"an oak", &[], "");
    // The second text ends before it begins, and the third begins there.
    check(offsets + 8, &3_i32.to_le_bytes(), &[4], "from 6 to 3 of 18 bytes");
    check(offsets + 12, &1000_i32.to_le_bytes(), &[5], "from 13 to 1000 of 18 bytes");
    check(offsets + 4, &(-6_i32).to_le_bytes(), &[3, 4], "the file is damaged");
    check(texts + 7, &[0xff], &[4], "byte 0xff at byte 1");
    // In the middle of a letter, so that both of its halves are no text.
    check(texts + 5, "\u{e9}".as_bytes(), &[3, 4], "expected UTF-8 text");
}

#[test]
fn cut_files_are_refused_wherever_they_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("oaks.arrow");
    let (whole, _, _) = two_batches(&path);
    let mut seen = 0;
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = Corpus::open(&[&path], &["text"]).unwrap_err().to_string();
        assert!(error.contains("oaks.arrow"), "{error}");
        seen += 1;
    }
    assert!(seen > 500, "{seen}");
    // A file that is cut while it is open.
    std::fs::write(&path, &whole).unwrap();
    let corpus = Corpus::open(&[&path], &["text"]).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(corpus.get(5).unwrap_err().to_string().contains("oaks.arrow"));
    // A stream that ends in the middle of a batch.
    let stream = std::fs::read(fixture("stream.arrow")).unwrap();
    std::fs::write(&path, &stream[..stream.len() - 200]).unwrap();
    let error = Corpus::open(&[&path], &["text"]).unwrap_err().to_string();
    assert!(error.contains("oaks.arrow: batch 2: the file ends in the middle of a message"), "{error}");
}

/// Every byte of small files changed: an error that names the file, or rows that are texts; never a panic.
#[test]
fn any_changed_byte_is_an_error_or_another_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.arrow");
    let (mut opened, mut refused) = (0, 0);
    for name in ["lz4.feather", "zstd.feather", "uncompressed.feather", "stream.arrow"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for at in (0..whole.len()).step_by(37) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                std::fs::write(&path, &bytes).unwrap();
                let corpus = match Corpus::open(&[&path], &["text", "view", "score"]) {
                    Ok(corpus) => corpus,
                    Err(error) => {
                        assert!(error.to_string().contains("a.arrow"), "{error}");
                        refused += 1;
                        continue;
                    }
                };
                opened += 1;
                let blocks = corpus.clone().shuffled_in_blocks(InBlocks::of(2), 1, 0).unwrap();
                for row in corpus.iter(0).chain(blocks.iter(0)).take(100) {
                    if let Err(error) = row {
                        assert!(error.to_string().contains("a.arrow"), "{error}");
                    }
                }
            }
        }
    }
    assert!(opened > 300 && refused > 30, "{opened} opened, {refused} refused");
}

/// Two buffers of a head that lead to the same bytes are not what a writer makes.
#[test]
fn buffers_that_overlap_or_lie_outside_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("oaks.arrow");
    let (whole, _, _) = two_batches(&path);
    // The head lists buffers as offset and length: find the texts' by its length of 13 in the first batch.
    let entry = |offset: u64, length: u64| [offset.to_le_bytes(), length.to_le_bytes()].concat();
    let find = |offset, length| {
        let wanted = entry(offset, length);
        whole.windows(16).position(|window| window == wanted)
    };
    let (offset, at) = (0..10).map(|step| step * 64).find_map(|o| find(o, 11).map(|at| (o, at))).unwrap();
    let changed = |new: Vec<u8>| {
        let mut bytes = whole.clone();
        bytes[at..at + 16].copy_from_slice(&new);
        std::fs::write(&path, bytes).unwrap();
        Corpus::open(&[&path], &["text"]).unwrap_err().to_string()
    };
    assert!(offset >= 64, "{offset}");
    for (new, part) in [
        (entry(offset - 64, 11), "overlap"),
        (entry(offset + (1 << 40), 11), "is not inside the batch"),
        (entry(offset, 1 << 40), "is not inside the batch"),
        (entry(u64::MAX, 11), "is not inside the batch"),
    ] {
        let error = changed(new);
        assert!(error.contains("oaks.arrow: batch 1: ") && error.contains(part), "{error}");
    }
}

//! A corpus takes a few megabytes of memory whatever its size. A test of its own: what others do counts in the same process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, Schema};
use topwork_data::corpus::{Corpus, InBlocks, Rows};

const ROWS: u64 = 120_000;
/// What may be added, in kilobytes: the limit for a file of 18 GB.
const MOST: u64 = 9000;

/// Kilobytes of resident memory, now or at most.
fn resident(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_file_of_72_mb_is_read_in_9_mb() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.arrow");
    let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, false)]));
    let mut writer = FileWriter::try_new(std::fs::File::create(&path).unwrap(), &schema).unwrap();
    for from in (0..ROWS).step_by(500) {
        let texts = (from..from + 500).map(|row| format!("{row:08} {}", "oak ".repeat(148)));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
        writer.write(&RecordBatch::try_new(schema.clone(), vec![texts]).unwrap()).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size > 70_000_000, "{size}");

    let before = resident("VmRSS");
    let corpus = Corpus::open(&[&path], &[]).unwrap();
    let number = |text: Option<&str>| text.unwrap()[..8].parse::<u64>().unwrap();
    let (mut sum, mut seen) = (0, 0);
    let shuffled = corpus.clone().shuffled(1, 0);
    for row in shuffled.iter(0).take(60_000) {
        sum += number(row.unwrap().text()).min(1);
        seen += 1;
    }
    let blocks = corpus.clone().shuffled_in_blocks(InBlocks::of(500), 1, 0).unwrap();
    let mut all = 0;
    for row in blocks.iter(0) {
        all += number(row.unwrap().text());
        seen += 1;
    }
    assert!(sum >= 59_999 && all == ROWS * (ROWS - 1) / 2, "{sum}, {all}");
    assert_eq!(seen, 60_000 + ROWS);
    let grown = resident("VmHWM") - before;
    assert!(grown <= MOST, "{grown} kB more than at the start");
    // The count sees what is held: the same measure of the whole file in memory.
    let held = std::fs::read(&path).unwrap();
    assert!(resident("VmHWM") - before > MOST, "{} bytes held and not seen", held.len());
}

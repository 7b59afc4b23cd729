//! Two megabytes of rows that will be asked for next, read in long runs: a disk gives one run many times as fast as its parts.

use std::io;
use std::ops::Range;

use super::index::Shard;
use super::layout::{Kind, Layout, Span};
use super::record::{self, Record};

/// The most bytes that are held: a huge page of memory, which some systems give as a whole.
pub(super) const MOST: u64 = 2 << 20;
/// Bytes of a record that is held, its texts left out.
const RECORD: u64 = 96;

/// Bytes of a file.
#[derive(Clone, Copy, Debug)]
struct Run {
    shard: usize,
    /// Where they lie in the file.
    at: u64,
    /// Where they lie in the window.
    from: usize,
    bytes: usize,
}

/// What is held.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Sorted by file and place, once [`Window::sort`] was called.
    runs: Vec<Run>,
    /// The bytes of the runs lie in here: one buffer, asked for once, of which only what is written to becomes resident.
    bytes: Vec<u8>,
    /// Where a huge page begins in it, so that the runs lie in one and not in parts of two.
    begin: usize,
    /// Bytes of the runs.
    used: usize,
    /// Rows of compressed batches; sorted likewise.
    records: Vec<(u64, Record)>,
    /// Bytes of everything.
    held: u64,
}

impl Window {
    /// Lets go of everything.
    pub fn clear(&mut self) {
        self.held = 0;
        self.records.clear();
        self.runs.clear();
        self.used = 0;
    }

    /// Puts what was held last in its order, for looking it up.
    pub fn sort(&mut self) {
        self.runs.sort_unstable_by_key(|run| (run.shard, run.at));
        self.records.sort_unstable_by_key(|(row, _)| *row);
    }

    /// Copies bytes of a file that are held; false if they are not.
    pub fn copy(&self, shard: usize, at: u64, into: &mut [u8]) -> bool {
        let next = self.runs.partition_point(|run| (run.shard, run.at) <= (shard, at));
        let Some(run) = next.checked_sub(1).map(|last| self.runs[last]).filter(|run| run.shard == shard)
        else {
            return false;
        };
        // Runs that are not sorted yet, while another thread reads them, are looked up in vain.
        let inside = |skipped: &u64| skipped.saturating_add(into.len() as u64) <= run.bytes as u64;
        let Some(skipped) = at.checked_sub(run.at).filter(inside) else { return false };
        let from = run.from + skipped as usize;
        into.copy_from_slice(&self.bytes[from..from + into.len()]);
        true
    }

    /// A row of a compressed batch, if it is held.
    pub fn record(&self, row: u64) -> Option<&Record> {
        let at = self.records.binary_search_by_key(&row, |(row, _)| *row).ok()?;
        Some(&self.records[at].1)
    }

    /// Holds records while there is room.
    pub fn hold_records(&mut self, records: impl Iterator<Item = (u64, Record)>) {
        for (row, record) in records {
            let bytes = RECORD + record.text_bytes();
            if bytes > MOST - self.held {
                break;
            }
            self.held += bytes;
            self.records.push((row, record));
        }
    }

    /// Reads what holds these rows of a batch, fewer of them if there is no room for all. What cannot be read is not held.
    pub fn hold(&mut self, shard: &Shard, number: usize, layout: &Layout, rows: Range<u64>) {
        for (column, kind) in layout.columns.iter().zip(&shard.kinds) {
            let bits = |span: Span| (span.at + rows.start / 8, rows.end.div_ceil(8) - rows.start / 8);
            if let Some((at, bytes)) = column.validity.map(bits) {
                self.read(shard, number, at, bytes);
            }
            let main = column.main;
            let wide = |width: u64, more: u64| {
                (main.at + rows.start * width, (rows.end - rows.start + more) * width)
            };
            let (at, bytes) = match *kind {
                Kind::Text(width) => wide(width.into(), 1),
                Kind::View => wide(16, 0),
                Kind::Bool => bits(main),
                Kind::Int(width) | Kind::Unsigned(width) | Kind::Float(width) => wide(width.into(), 0),
            };
            if !self.read(shard, number, at, bytes) {
                return;
            }
            // Texts of views lie anywhere; they are read one by one.
            if let (Kind::Text(width), Some(texts)) = (*kind, column.texts.first()) {
                let offsets = self.runs[self.runs.len() - 1];
                let mut end = rows.end;
                while end > rows.start {
                    let held = &self.bytes;
                    let mut fetch = |at: u64, into: &mut [u8]| -> io::Result<()> {
                        let from = offsets.from + (at - offsets.at) as usize;
                        into.copy_from_slice(&held[from..from + into.len()]);
                        Ok(())
                    };
                    let found = record::ends(column, width, rows.start, end, &mut fetch);
                    let Ok((from, bytes)) = found else { break };
                    if self.read(shard, number, texts.at + from, bytes) {
                        break;
                    }
                    end = rows.start + (end - rows.start) / 2;
                }
            }
        }
    }

    /// Reads a run of bytes, if there is room for it.
    fn read(&mut self, shard: &Shard, number: usize, at: u64, bytes: u64) -> bool {
        if bytes > MOST - self.held {
            return false;
        }
        if self.bytes.is_empty() {
            self.bytes = vec![0; 2 * MOST as usize];
            self.begin = self.bytes.as_ptr().align_offset(MOST as usize).min(MOST as usize);
        }
        let from = self.begin + self.used;
        if shard.file.read_exact(at, &mut self.bytes[from..from + bytes as usize]).is_err() {
            return false;
        }
        self.used += bytes as usize;
        self.held += bytes;
        self.runs.push(Run { shard: number, at, from, bytes: bytes as usize });
        true
    }
}

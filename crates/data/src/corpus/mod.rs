//! Data that is larger than memory: Arrow files whose rows are read one by one, in any order, from where they lie.
//!
//! [`Corpus`] opens files of Arrow's IPC format, with a footer (Feather version 2) or as streams, as HuggingFace's datasets
//! keep them, and finds any row by two small readings: its offsets, then its bytes. Nothing is mapped, because mapped pages
//! count as resident memory; what is kept is at most one place for every batch, and a window of a few megabytes.
//!
//! [`Rows`] is what a corpus and everything made of one have in common: a number of rows, and any of them by its number.
//! [`Rows::map`], [`Rows::filter`], [`Rows::part`], [`Rows::shard`], [`Rows::shuffled`], [`Rows::shuffled_in_blocks`],
//! [`concatenate`] and [`Interleaved`] are made on the way, never in memory. Each is a function of its source, of a seed and
//! of an epoch, so a run goes on at any row by asking for the rows from there on.

mod entries;
mod file;
mod filter;
mod index;
mod interleave;
mod layout;
mod order;
mod packed;
mod record;
mod rows;
mod window;

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;

use crate::{Error, Result};
pub use filter::Filtered;
use index::{Group, Index, Shard};
pub use interleave::{Ending, Interleaved};
use layout::Layout;
pub use order::{InBlocks, Order, Permutation};
use record::Fault;
pub use record::{Record, Value};
pub use rows::{Concatenated, Iter, Mapped, Ordered, Part, Rows, concatenate};
use window::Window;

/// The most batches whose layouts are kept.
const LAYOUTS: u64 = 1024;
/// Bytes of neighbouring rows that are read at once where rows are read in order.
const STRETCH: u64 = 1 << 20;

/// A batch of a file, unpacked: number of the file, number of the batch, its columns.
type Unpacked = (usize, u64, Arc<RecordBatch>);

/// Rows of Arrow files that stay on disk.
///
/// Rows of batches that are not compressed are read at once from where they lie. A compressed batch has to be unpacked as a
/// whole for any of its rows: the last one is kept, so in order or in blocks such files are read well, in a random order over
/// all rows badly, and the memory of a batch comes on top.
///
/// A clone shares what was found out at opening and has a window of its own: for a second reader in another order.
pub struct Corpus {
    index: Arc<Index>,
    /// Layouts of groups that were asked for last, each in the place that its number leads to.
    groups: Mutex<Vec<Option<Arc<Group>>>>,
    window: Mutex<Window>,
    unpacked: Mutex<Option<Unpacked>>,
}

impl fmt::Debug for Corpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Corpus");
        shown
            .field("files", &self.files())
            .field("rows", &self.index.rows)
            .field("columns", &self.index.columns);
        shown.finish_non_exhaustive()
    }
}

impl Clone for Corpus {
    fn clone(&self) -> Self {
        Self::over(self.index.clone())
    }
}

impl Corpus {
    /// Opens files, in this order, for reading these columns: texts, numbers, true and false. Without a name it is the column
    /// called `text`, or the only one of texts. A folder stands for the files in it that HuggingFace's datasets saved.
    ///
    /// Only the heads of messages are read.
    ///
    /// # Errors
    /// If a file is missing, is no Arrow file or is damaged as far as its heads can tell, or has no such column; each names
    /// the file, and the batch where there is one.
    pub fn open<P: AsRef<Path>>(paths: &[P], columns: &[&str]) -> Result<Self> {
        let mut files: Vec<PathBuf> = Vec::with_capacity(paths.len());
        for path in paths.iter().map(AsRef::as_ref) {
            if !path.is_dir() {
                files.push(path.into());
                continue;
            }
            let before = files.len();
            files.extend(crate::read::hf_files(path)?);
            if files.len() == before {
                let what = "there is no .arrow file in it; name the files, or the folder of one split".into();
                return Err(Error::Empty { path: path.into(), what });
            }
        }
        Ok(Self::over(Arc::new(Index::open(&files, columns)?)))
    }

    fn over(index: Arc<Index>) -> Self {
        let groups = vec![None; (LAYOUTS / index.stride).max(1) as usize];
        Self {
            index,
            groups: Mutex::new(groups),
            window: Mutex::new(Window::default()),
            unpacked: Mutex::new(None),
        }
    }

    /// The largest blocks of rows of average length, eight of which are held at once; larger ones are read in part row by row.
    pub fn blocks(&self) -> InBlocks {
        let mean = (self.index.bytes / self.index.rows.max(1)).max(1);
        // Some room for rows that are longer.
        let rows = window::MOST * 3 / 4 / mean / InBlocks::of(1).window;
        InBlocks::of(rows.clamp(1, 1 << 12))
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.index.bytes
    }

    /// Files.
    pub fn files(&self) -> usize {
        self.index.shards.len()
    }

    /// Names of the columns that are read.
    pub fn columns(&self) -> &[String] {
        &self.index.columns
    }

    /// Whether a batch is compressed.
    pub fn is_compressed(&self) -> bool {
        self.index.shards.iter().any(|shard| shard.schema.is_some())
    }

    /// The names of the classes that a column has as numbers, in the order of the numbers, if HuggingFace's datasets wrote
    /// them into the first file.
    pub fn class_names(&self, column: usize) -> Option<Vec<String>> {
        let features = self.index.features.as_ref()?;
        crate::read::classes(features, &self.index.columns).remove(&column)
    }

    /// The group with a row, read or remembered.
    fn group(&self, row: u64) -> Result<Arc<Group>> {
        let (shard, entry) = self.index.find(row).ok_or_else(|| rows::beyond(row, self.index.rows))?;
        let slot = {
            let groups = lock(&self.groups);
            // Neighbouring groups of one file never share a place.
            let slot = (entry + shard * 37) % groups.len();
            match &groups[slot] {
                Some(group) if (group.shard, group.entry) == (shard, entry) => return Ok(group.clone()),
                _ => slot,
            }
        };
        let group = Arc::new(self.index.group(shard, entry)?);
        lock(&self.groups)[slot] = Some(group.clone());
        Ok(group)
    }

    /// A compressed batch, unpacked.
    fn unpacked(
        &self,
        shard: usize,
        batch: u64,
        layout: &Layout,
    ) -> std::result::Result<Arc<RecordBatch>, Fault> {
        let mut held = lock(&self.unpacked);
        if let Some((_, _, found)) = held.as_ref().filter(|held| (held.0, held.1) == (shard, batch)) {
            return Ok(found.clone());
        }
        // The old one first: two of them need not fit.
        *held = None;
        let found = Arc::new(packed::unpack(&self.index.shards[shard], layout)?);
        *held = Some((shard, batch, found.clone()));
        Ok(found)
    }

    /// A row of a batch, by its number in the batch.
    fn record(
        &self,
        shard: usize,
        batch: u64,
        layout: &Layout,
        at: u64,
    ) -> std::result::Result<Record, Fault> {
        let of = &self.index.shards[shard];
        if layout.packed {
            let unpacked = self.unpacked(shard, batch, layout)?;
            return packed::record(&unpacked, &of.kinds, at as usize);
        }
        let mut fetch = |from: u64, into: &mut [u8]| {
            if lock(&self.window).copy(shard, from, into) { Ok(()) } else { of.file.read_exact(from, into) }
        };
        record::read(layout, &of.kinds, at, &mut fetch)
    }
}

impl Rows for Corpus {
    type Row = Record;

    fn len(&self) -> u64 {
        self.index.rows
    }

    fn get(&self, row: u64) -> Result<Record> {
        if let Some(record) = lock(&self.window).record(row) {
            return Ok(record.clone());
        }
        let group = self.group(row)?;
        let shard = &self.index.shards[group.shard];
        let Some((batch, first, layout)) = group.find(row) else {
            return Err(rows::beyond(row, self.index.rows));
        };
        self.record(group.shard, batch, layout, row - first).map_err(|fault| wrong(shard, row, batch, fault))
    }

    /// Reads the bytes of these rows, as many as the window takes. What is wrong with them shows when they are asked for.
    fn ready(&self, near: &[Range<u64>]) -> Result<()> {
        lock(&self.window).clear();
        for range in near {
            let mut row = range.start;
            let end = range.end.min(self.index.rows);
            while row < end {
                let group = self.group(row)?;
                let Some((batch, first, layout)) = group.find(row) else { break };
                let rows = row - first..(end - first).min(layout.rows);
                row = first + rows.end;
                if layout.packed {
                    // Into records, so that rows of several batches are at hand and one batch is unpacked.
                    let Ok(unpacked) = self.unpacked(group.shard, batch, layout) else { continue };
                    let kinds = &self.index.shards[group.shard].kinds;
                    let records = rows.map_while(|at| {
                        packed::record(&unpacked, kinds, at as usize).ok().map(|record| (first + at, record))
                    });
                    lock(&self.window).hold_records(records);
                } else {
                    lock(&self.window).hold(&self.index.shards[group.shard], group.shard, layout, rows);
                }
            }
        }
        lock(&self.window).sort();
        Ok(())
    }

    fn stretch(&self) -> u64 {
        let mean = self.index.bytes / self.index.rows.max(1);
        (STRETCH / mean.max(1)).clamp(1, 1 << 14)
    }
}

/// A panic elsewhere while the lock was held leaves nothing half done that matters: all of it can be read again.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error of a row, which says file, row and batch.
fn wrong(shard: &Shard, row: u64, batch: u64, fault: Fault) -> Error {
    let reason = match fault {
        Fault::Wrong(reason) => reason,
        Fault::Io(error) => match error.kind() {
            io::ErrorKind::InvalidData => error.to_string(),
            io::ErrorKind::UnexpectedEof => "the file ends before it; was it cut since it was opened?".into(),
            _ => return Error::Read { path: shard.file.path().into(), source: error },
        },
    };
    shard.wrong_row(row, batch, reason)
}

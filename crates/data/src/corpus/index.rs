//! Where the batches of a corpus lie: what opening finds out, small however large the files are.
//!
//! Kept is the place of a batch and its first row, 16 bytes; its buffers are read from its head again when they are wanted.
//! With very many small batches only every second, fourth, ... one is kept, and the heads from there on are walked.

use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_ipc::{Endianness, MetadataVersion};
use arrow_schema::{DataType, Field, Schema};

use super::entries::{Entries, Entry};
use super::file::{Positioned, Reader};
use super::layout::{self, Kind, Layout, Slot};
use super::packed;
use super::record::Fault;
use crate::error::nearest;
use crate::ipc::{self, MARK};
use crate::{Error, Result};

/// The most batches whose places are kept.
const ENTRIES: usize = 1 << 16;
/// Files that stay open; systems let a program have some thousand, often 1,024.
const OPEN: usize = 256;
/// The most files of one corpus.
const FILES: usize = 1 << 14;
/// Bytes that are read at once where heads are looked for.
const HEADS: usize = 4096;

/// One file of a corpus.
#[derive(Debug)]
pub(super) struct Shard {
    pub file: Positioned,
    /// Its first row, over all files.
    pub first_row: u64,
    rows: u64,
    /// The columns asked for, in that order.
    pub slots: Vec<Slot>,
    /// How each is read.
    pub kinds: Vec<Kind>,
    pub version: MetadataVersion,
    /// What arrow needs to unpack a batch; only where one is compressed.
    pub schema: Option<Arc<Schema>>,
    entries: Entries,
}

impl Shard {
    /// An error of a row, which is counted over all files here and in its own file for the reader.
    pub fn wrong_row(&self, row: u64, batch: u64, reason: String) -> Error {
        let (row, batch) = (row - self.first_row + 1, batch + 1);
        Error::CorpusRow { path: self.file.path().into(), row, batch, reason }
    }
}

/// Neighbouring batches of which the first has its place kept: the unit in which layouts are read.
#[derive(Debug)]
pub(super) struct Group {
    /// Number of the file.
    pub shard: usize,
    /// Number of its entry in the file.
    pub entry: usize,
    /// Number of the first batch in the file, from 0.
    pub batch: u64,
    /// First row, over all files, and layout.
    pub batches: Vec<(u64, Layout)>,
}

impl Group {
    /// The batch with a row of this group: its number in the file, its first row over all files, its layout.
    pub fn find(&self, row: u64) -> Option<(u64, u64, &Layout)> {
        let at = self.batches.partition_point(|(first, _)| *first <= row).checked_sub(1)?;
        let (first, layout) = &self.batches[at];
        (row - first < layout.rows).then_some((self.batch + at as u64, *first, layout))
    }
}

/// The batches of all files.
#[derive(Debug)]
pub(super) struct Index {
    pub shards: Vec<Shard>,
    /// Names of the columns asked for.
    pub columns: Vec<String>,
    /// What the first file says of its columns beside their types.
    pub features: Option<String>,
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Of how many batches of a file one has its place kept.
    pub stride: u64,
    /// Entries of the files before the one that is being added.
    kept: usize,
    /// The most entries; each file has one all the same.
    limit: usize,
}

impl Index {
    /// Walks the heads of all files.
    pub fn open(paths: &[PathBuf], columns: &[&str]) -> Result<Self> {
        Self::within(paths, columns, ENTRIES)
    }

    fn within(paths: &[PathBuf], columns: &[&str], limit: usize) -> Result<Self> {
        if paths.is_empty() || paths.len() > FILES {
            return Err(Error::Setting {
                what: "files of a corpus",
                expected: format!("1 to {FILES}"),
                got: paths.len().to_string(),
            });
        }
        if let Some(twice) = columns.iter().enumerate().find(|(at, name)| columns[..*at].contains(*name)) {
            return Err(Error::Setting {
                what: "columns of a corpus",
                expected: "each once".into(),
                got: format!("{} twice", twice.1),
            });
        }
        let mut index = Self {
            shards: Vec::with_capacity(paths.len()),
            columns: columns.iter().map(|name| (*name).to_string()).collect(),
            features: None,
            rows: 0,
            bytes: 0,
            stride: 1,
            kept: 0,
            limit,
        };
        for path in paths {
            index.add(path)?;
        }
        Ok(index)
    }

    /// The file and the entry whose group has a row.
    pub fn find(&self, row: u64) -> Option<(usize, usize)> {
        if row >= self.rows {
            return None;
        }
        let shard = self.shards.partition_point(|shard| shard.first_row <= row).checked_sub(1)?;
        Some((shard, self.shards[shard].entries.find(row)?))
    }

    /// Reads the heads of a group.
    pub fn group(&self, shard: usize, entry: usize) -> Result<Group> {
        let of = &self.shards[shard];
        let changed = || wrong(of.file.path(), "the file has changed since it was opened; open it again");
        let (from, batch) = (of.entries.get(entry).ok_or_else(changed)?, entry as u64 * self.stride);
        let end = of.entries.get(entry + 1).map_or(of.first_row + of.rows, |next| next.row);
        let mut walk = Walk::new(&of.file, &of.slots, from.at, batch);
        let mut group = Group { shard, entry, batch, batches: Vec::new() };
        let mut row = from.row;
        while (group.batches.len() as u64) < self.stride
            && let Some(layout) = walk.next()?
        {
            let first = row;
            row = row.saturating_add(layout.rows);
            group.batches.push((first, layout));
        }
        if row != end {
            return Err(changed());
        }
        Ok(group)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let file = Positioned::open(path, self.shards.len() < OPEN)?;
        let length = file.length();
        let failed = |error| failed(path, error);
        let mut bytes = BufReader::with_capacity(HEADS, file.reader(0));
        if ipc::start(&mut bytes).map_err(failed)? > 0 {
            // A file that was cut off lacks the mark at its end, wherever it was cut.
            let mut mark = [0; MARK.len()];
            let end = length.saturating_sub(MARK.len() as u64);
            file.read_exact(end, &mut mark).map_err(failed)?;
            if mark != *MARK {
                return Err(wrong(
                    path,
                    "the file is cut off: an arrow file ends with the mark it begins with",
                ));
            }
        }
        let mut head = Vec::new();
        let no_schema = || wrong(path, "its first message is no schema");
        let (place, message) =
            ipc::next(&mut bytes, length, true, &mut head).map_err(failed)?.ok_or_else(no_schema)?;
        let header = message.header_as_schema().ok_or_else(no_schema)?;
        if header.endianness() != Endianness::Little {
            return Err(wrong(path, "its numbers are big-endian; write it again on a little-endian machine"));
        }
        let version = message.version();
        let schema = arrow_ipc::convert::try_fb_to_schema(header)
            .map_err(|error| wrong(path, format!("not readable as arrow: {error}")))?;
        if self.columns.is_empty() {
            self.columns = vec![text_column(path, &schema)?];
        }
        if self.shards.is_empty() {
            self.features = schema.metadata().get("huggingface").cloned();
        }
        let slots = slots(path, &schema, version, &self.columns)?;
        let first_row = self.rows;
        let mut entries = Entries::default();
        let mut packed = false;
        let mut walk = Walk::new(&file, &slots, place.body + place.bytes, 0);
        loop {
            let batch = walk.batch;
            let Some(layout) = walk.next()? else { break };
            if layout.packed {
                packed::check(&file, &layout).map_err(|fault| at_batch(path, batch, fault))?;
                packed = true;
            }
            if batch.is_multiple_of(self.stride) {
                if self.kept + entries.len() >= self.limit {
                    self.thin(&mut entries);
                }
                if batch.is_multiple_of(self.stride) {
                    entries.push(Entry { row: self.rows, at: layout.place.at });
                }
            }
            let rows = self.rows.checked_add(layout.rows);
            self.rows = rows.ok_or_else(|| wrong(path, "it claims more rows than can be counted"))?;
        }
        self.bytes += length;
        self.kept += entries.len();
        let kinds = slots.iter().map(|slot| slot.kind).collect();
        let (rows, schema) = (self.rows - first_row, packed.then(|| Arc::new(schema)));
        self.shards.push(Shard { file, first_row, rows, slots, kinds, version, schema, entries });
        Ok(())
    }

    /// Keeps every second of the places that are kept, those of the file that is being added (`last`) too.
    fn thin(&mut self, last: &mut Entries) {
        self.stride *= 2;
        self.shards.iter_mut().for_each(|shard| shard.entries.thin());
        last.thin();
        self.kept = self.shards.iter().map(|shard| shard.entries.len()).sum();
    }
}

/// Goes from head to head.
struct Walk<'a> {
    bytes: BufReader<Reader<'a>>,
    file: &'a Positioned,
    slots: &'a [Slot],
    /// Number of the next batch in the file.
    batch: u64,
    head: Vec<u8>,
}

impl<'a> Walk<'a> {
    fn new(file: &'a Positioned, slots: &'a [Slot], from: u64, batch: u64) -> Self {
        let bytes = BufReader::with_capacity(HEADS, file.reader(from));
        Self { bytes, file, slots, batch, head: Vec::new() }
    }

    /// The next batch; `None` at the end of the stream.
    fn next(&mut self) -> Result<Option<Layout>> {
        let (path, batch) = (self.file.path(), self.batch);
        let failed = |error| at_batch(path, batch, Fault::Io(error));
        loop {
            let found = ipc::next(&mut self.bytes, self.file.length(), false, &mut self.head);
            let Some((place, message)) = found.map_err(failed)? else { return Ok(None) };
            // All of the body is in the file, whose length no system lets pass the range of an offset.
            let body = i64::try_from(place.bytes).unwrap_or(i64::MAX);
            self.bytes.seek_relative(body).map_err(failed)?;
            if message.header_as_schema().is_some() {
                return Err(at_batch(path, batch, Fault::Wrong("there is a second schema".into())));
            }
            if let Some(head) = message.header_as_record_batch() {
                let layout = Layout::of(&head, place, self.slots);
                self.batch += 1;
                return layout.map(Some).map_err(|reason| at_batch(path, batch, Fault::Wrong(reason)));
            }
        }
    }
}

fn wrong(path: &Path, reason: impl Into<String>) -> Error {
    Error::Arrow { path: path.into(), reason: reason.into() }
}

fn failed(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData => wrong(path, error.to_string()),
        io::ErrorKind::UnexpectedEof => wrong(path, "the file ends in the middle of a message"),
        _ => Error::Read { path: path.into(), source: error },
    }
}

/// An error of a batch, which is counted from 0 here and from 1 for the reader.
fn at_batch(path: &Path, batch: u64, fault: Fault) -> Error {
    match fault {
        Fault::Wrong(reason) => wrong(path, format!("batch {}: {reason}", batch + 1)),
        Fault::Io(error) => match failed(path, error) {
            Error::Arrow { path, reason } => {
                Error::Arrow { path, reason: format!("batch {}: {reason}", batch + 1) }
            }
            other => other,
        },
    }
}

/// The columns asked for in a file.
fn slots(path: &Path, schema: &Schema, version: MetadataVersion, wanted: &[String]) -> Result<Vec<Slot>> {
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    let slot = |name: &String| {
        let Some(column) = names().position(|known| known == name) else {
            return Err(Error::MissingColumn {
                path: path.into(),
                role: "corpus",
                wanted: name.clone(),
                columns: names().map(String::from).collect(),
                suggestion: nearest(name, names()),
            });
        };
        let kind = schema.field(column).data_type();
        match Kind::of(kind) {
            Some(kind) => Ok(layout::slot(schema, version, column, kind)),
            None => Err(wrong(path, format!("column {name:?}: {}", refusal(kind)))),
        }
    };
    wanted.iter().map(slot).collect()
}

/// Why a column of this type is not read.
fn refusal(kind: &DataType) -> String {
    match kind {
        DataType::Dictionary(..) => {
            "its values lie in a dictionary, which is not read row by row; write them plainly \
             (in pyarrow: column.dictionary_decode())"
                .into()
        }
        other => format!("expected texts, numbers or true and false, got {other}"),
    }
}

/// The column of texts where none is named: the one called text, else the only one.
fn text_column(path: &Path, schema: &Schema) -> Result<String> {
    let is_text = |field: &&Arc<Field>| Kind::of(field.data_type()).is_some_and(Kind::is_text);
    let texts: Vec<&str> =
        schema.fields().iter().filter(is_text).map(|field| field.name().as_str()).collect();
    match texts.as_slice() {
        [only] => Ok((*only).to_string()),
        several if several.contains(&"text") => Ok("text".into()),
        several => Err(Error::UnclearColumn {
            path: path.into(),
            role: "text",
            why: format!("{} columns hold texts and none is called text", several.len()),
            columns: schema.fields().iter().map(|field| field.name().clone()).collect(),
            option: "--column",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{RecordBatch, StringArray};
    use arrow_ipc::writer::StreamWriter;

    /// A stream of batches with so many rows each.
    fn stream(path: &Path, batches: &[usize]) {
        let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, false)]));
        let mut writer = StreamWriter::try_new(std::fs::File::create(path).unwrap(), &schema).unwrap();
        for rows in batches {
            let texts = StringArray::from_iter_values((0..*rows).map(|row| row.to_string()));
            writer.write(&RecordBatch::try_new(schema.clone(), vec![Arc::new(texts)]).unwrap()).unwrap();
        }
        writer.finish().unwrap();
    }

    #[test]
    fn with_many_batches_fewer_places_are_kept_and_every_row_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let sizes: Vec<Vec<usize>> =
            vec![(0..40).map(|at| at % 4).collect(), Vec::new(), vec![0, 0], vec![5; 13], vec![1; 70]];
        let paths: Vec<PathBuf> = (0..sizes.len()).map(|at| folder.path().join(at.to_string())).collect();
        paths.iter().zip(&sizes).for_each(|(path, batches)| stream(path, batches));
        // Which file, batch, and row of the batch each row is.
        let mut expected = Vec::new();
        for (shard, batches) in sizes.iter().enumerate() {
            for (batch, rows) in batches.iter().enumerate() {
                expected.extend((0..*rows as u64).map(|at| (shard, batch as u64, at)));
            }
        }
        for (limit, stride) in [(1000, 1), (100, 2), (16, 16), (7, 32)] {
            let index = Index::within(&paths, &["text"], limit).unwrap();
            assert_eq!((index.rows, index.stride), (expected.len() as u64, stride), "limit {limit}");
            let kept: usize = index.shards.iter().map(|shard| shard.entries.len()).sum();
            assert!(kept <= limit, "{kept} of {limit}");
            for (row, expected) in expected.iter().enumerate() {
                let (shard, entry) = index.find(row as u64).unwrap();
                let group = index.group(shard, entry).unwrap();
                let (batch, first, layout) = group.find(row as u64).unwrap();
                assert!(row as u64 - first < layout.rows);
                assert_eq!((shard, batch, row as u64 - first), *expected, "row {row}, limit {limit}");
            }
            assert_eq!(index.find(index.rows), None);
        }
    }
}

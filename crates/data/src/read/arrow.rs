//! Arrow's IPC format: streams as HuggingFace's datasets keep them, and files, also called Feather version 2.
//!
//! A file is read as the stream it holds between its marks. What each message claims is checked against what is there
//! before arrow's own reader sees it: that one takes the memory that a packed buffer claims.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_schema::DataType;
use serde_json::Value;

use super::cell::{CELL, Cell, Table, memory};
use super::source::Source;
use crate::ipc::{self, CONTINUATION, MARK, bad};
use crate::{Error, ReadOptions, Result};

trait Bytes: BufRead + Seek {}
impl<T: BufRead + Seek> Bytes for T {}

/// The rows of a file, and what its schema says beside the columns.
pub(super) fn read(source: &Source, options: &ReadOptions) -> Result<(Table, BTreeMap<String, String>)> {
    // The reader checks what it meets, but panics in places; a broken file must not end the program.
    match catch_unwind(AssertUnwindSafe(|| read_rows(source, options))) {
        Ok(read) => read,
        Err(_) => Err(wrong(source, "the file is damaged: its columns do not decode")),
    }
}

/// True when the sample is an Arrow file or stream.
pub(super) fn looks_so(sample: &[u8]) -> bool {
    sample.starts_with(MARK) || sample.starts_with(&CONTINUATION) && sample.get(8..12).is_some()
}

fn wrong(source: &Source, reason: impl std::fmt::Display) -> Error {
    Error::Arrow { path: source.path().into(), reason: reason.to_string() }
}

fn read_rows(source: &Source, options: &ReadOptions) -> Result<(Table, BTreeMap<String, String>)> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData => wrong(source, error),
        io::ErrorKind::UnexpectedEof => wrong(source, "the file ends in the middle of a message"),
        _ => source.failed(error),
    };
    let mut bytes = open(source)?;
    let length = bytes.seek(SeekFrom::End(0)).map_err(failed)?;
    let start = ipc::start(&mut bytes).map_err(failed)?;
    check(&mut bytes, length).map_err(failed)?;
    bytes.seek(SeekFrom::Start(start)).map_err(failed)?;
    let unreadable = |error| wrong(source, format!("not readable as arrow: {error}"));
    let reader = StreamReader::try_new(bytes, None).map_err(unreadable)?;
    let schema = reader.schema();
    let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let metadata: BTreeMap<String, String> =
        schema.metadata().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut budget = Budget { left: memory(length) };
    let mut rows = Vec::new();
    for batch in reader {
        let batch: RecordBatch = batch.map_err(unreadable)?;
        for at in 0..batch.num_rows() {
            let row = rows.len() + 1;
            let over = || {
                wrong(
                    source,
                    format!("its first {row} rows take more memory than {length} bytes can stand for"),
                )
            };
            budget.take(0).ok_or_else(over)?;
            let cells: Option<Vec<Cell>> =
                batch.columns().iter().map(|column| cell(column.as_ref(), at, &mut budget)).collect();
            let cells = cells.ok_or_else(over)?;
            if let Some(limit) = too_long(&cells, options) {
                return Err(Error::RecordTooLong { path: source.path().into(), line: row, limit });
            }
            rows.push((row, cells));
        }
    }
    let classes = metadata.get("huggingface").map_or_else(BTreeMap::new, |text| classes(text, &columns));
    Ok((Table { columns, named: true, rows, classes, ..Table::default() }, metadata))
}

fn too_long(cells: &[Cell], options: &ReadOptions) -> Option<usize> {
    let long = |cell: &Cell| matches!(cell, Cell::Text(text) if text.len() > options.max_record_bytes);
    cells.iter().any(long).then_some(options.max_record_bytes)
}

fn open(source: &Source) -> Result<Box<dyn Bytes + '_>> {
    match source.held() {
        Some(bytes) => Ok(Box::new(Cursor::new(bytes))),
        None => {
            let file = File::open(source.path()).map_err(|error| source.failed(error))?;
            Ok(Box::new(BufReader::with_capacity(1 << 16, file)))
        }
    }
}

/// Checks every message of the stream: that its head is one, that its body is there, that packed buffers claim no more
/// than a file of this length may.
fn check(bytes: &mut dyn Bytes, length: u64) -> io::Result<()> {
    let mut first = true;
    let mut head = Vec::new();
    while let Some((place, message)) = ipc::next(bytes, length, first, &mut head)? {
        first = false;
        let batch = message
            .header_as_record_batch()
            .or_else(|| message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()));
        if let Some(batch) = batch.filter(|batch| batch.compression().is_some()) {
            let mut claimed = 0u64;
            for buffer in batch.buffers().iter().flatten() {
                let at = u64::try_from(buffer.offset()).ok().filter(|&at| at <= place.bytes);
                let (Some(at), true) = (at, buffer.length() >= 8) else { continue };
                bytes.seek(SeekFrom::Start(place.body + at))?;
                let mut unpacked = [0; 8];
                bytes.read_exact(&mut unpacked)?;
                claimed = claimed.saturating_add(u64::try_from(i64::from_le_bytes(unpacked)).unwrap_or(0));
                if claimed > memory(length) {
                    let body = place.bytes;
                    return Err(bad(format!("a message of {body} bytes claims {claimed}, unpacked")));
                }
            }
        }
        bytes.seek(SeekFrom::Start(place.body + place.bytes))?;
    }
    Ok(())
}

/// Memory that cells may still take.
struct Budget {
    left: u64,
}

impl Budget {
    /// Takes the memory of a cell with so many bytes of text; `None` when there is no more.
    fn take(&mut self, bytes: usize) -> Option<()> {
        self.left = self.left.checked_sub(CELL + bytes as u64)?;
        Some(())
    }
}

/// One value; `None` when the memory is used up.
fn cell(array: &dyn Array, at: usize, budget: &mut Budget) -> Option<Cell> {
    budget.take(0)?;
    if array.is_null(at) {
        return Some(Cell::Null);
    }
    let text = |text: &str, budget: &mut Budget| {
        budget.take(text.len())?;
        Some(Cell::Text(text.to_string()))
    };
    let bytes = |bytes: &[u8], budget: &mut Budget| match std::str::from_utf8(bytes) {
        Ok(words) => text(words, budget),
        Err(_) => Some(Cell::Other("bytes that are not UTF-8")),
    };
    macro_rules! number {
        ($kind:ty) => {
            Cell::Number(array.as_primitive::<$kind>().value(at).to_string())
        };
    }
    let list = |values: ArrayRef, budget: &mut Budget| {
        let cells: Option<Vec<Cell>> =
            (0..values.len()).map(|at| cell(values.as_ref(), at, budget)).collect();
        cells.map(Cell::List)
    };
    Some(match array.data_type() {
        DataType::Null => Cell::Null,
        DataType::Boolean => Cell::Bool(array.as_boolean().value(at)),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float16 => number!(Float16Type),
        DataType::Float32 => number!(Float32Type),
        DataType::Float64 => number!(Float64Type),
        DataType::Utf8 => text(array.as_string::<i32>().value(at), budget)?,
        DataType::LargeUtf8 => text(array.as_string::<i64>().value(at), budget)?,
        DataType::Utf8View => text(array.as_string_view().value(at), budget)?,
        DataType::Binary => bytes(array.as_binary::<i32>().value(at), budget)?,
        DataType::LargeBinary => bytes(array.as_binary::<i64>().value(at), budget)?,
        DataType::BinaryView => bytes(array.as_binary_view().value(at), budget)?,
        DataType::List(_) => list(array.as_list::<i32>().value(at), budget)?,
        DataType::LargeList(_) => list(array.as_list::<i64>().value(at), budget)?,
        DataType::FixedSizeList(..) => list(array.as_fixed_size_list().value(at), budget)?,
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let mut cells = Vec::with_capacity(columns.len());
            for (field, column) in fields.iter().zip(columns) {
                budget.take(field.name().len())?;
                cells.push((field.name().clone(), cell(column.as_ref(), at, budget)?));
            }
            Cell::Struct(cells)
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let Cell::Number(key) = cell(dictionary.keys(), at, budget)? else {
                return Some(Cell::Null);
            };
            match key.parse::<usize>().ok().filter(|&key| key < dictionary.values().len()) {
                Some(key) => cell(dictionary.values().as_ref(), key, budget)?,
                None => Cell::Other("a key that its dictionary lacks"),
            }
        }
        DataType::Map(..) => Cell::Other("a map"),
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => Cell::Other("a decimal"),
        DataType::Date32
        | DataType::Date64
        | DataType::Timestamp(..)
        | DataType::Time32(_)
        | DataType::Time64(_) => Cell::Other("a date or time"),
        _ => Cell::Other("a value of a kind that is not read"),
    })
}

/// The columns that hold numbers of classes, from the features that HuggingFace's datasets write into a file: alone,
/// or in lists.
pub(crate) fn classes(features: &str, columns: &[String]) -> BTreeMap<usize, Vec<String>> {
    let Ok(value) = serde_json::from_str::<Value>(features) else { return BTreeMap::new() };
    let features = value.pointer("/info/features").or_else(|| value.get("features")).unwrap_or(&value);
    let found =
        columns.iter().enumerate().filter_map(|(at, column)| Some((at, names(features.get(column)?, 0)?)));
    found.collect()
}

fn names(feature: &Value, depth: usize) -> Option<Vec<String>> {
    if depth > 8 {
        return None;
    }
    if let Some(entries) = feature.as_array() {
        return entries.first().and_then(|entry| names(entry, depth + 1));
    }
    match feature.get("_type").and_then(Value::as_str) {
        Some("ClassLabel") => {
            let names = feature.get("names")?.as_array()?;
            names.iter().map(|name| name.as_str().map(String::from)).collect()
        }
        _ => names(feature.get("feature")?, depth + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_classes_are_found_alone_and_in_lists() {
        let class = r#"{"names": ["neg", "pos"], "_type": "ClassLabel"}"#;
        let features = format!(
            r#"{{"info": {{"features": {{"a": {class}, "b": {{"feature": {class}, "_type": "List"}}, "c": [{class}],
               "d": {{"dtype": "string", "_type": "Value"}}}}}}}}"#
        );
        let columns = ["d", "c", "b", "a"].map(String::from);
        let found = classes(&features, &columns);
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
        assert!(found.values().all(|names| names == &["neg", "pos"]));
        assert!(classes("no json", &columns).is_empty());
    }
}

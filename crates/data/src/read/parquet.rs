//! Parquet through its record reader, without arrow.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;

use super::cell::{CELL, Cell, Table, memory};
use super::source::Source;
use super::{arrow, pages};
use crate::{Error, ReadOptions, Result};

pub(super) fn read(source: &Source, options: &ReadOptions) -> Result<Table> {
    if !source.is_file() {
        return Err(wrong(source, "parquet is read from its end: give a file, not a stream".into()));
    }
    // The reader checks most of what it meets, but asserts in some decoders; a broken file must not end the program.
    match catch_unwind(AssertUnwindSafe(|| read_rows(source, options))) {
        Ok(table) => table,
        Err(_) => Err(wrong(source, "the file is damaged: its pages do not decode".into())),
    }
}

fn wrong(source: &Source, reason: String) -> Error {
    Error::Parquet { path: source.path().into(), reason }
}

fn read_rows(source: &Source, options: &ReadOptions) -> Result<Table> {
    let failed =
        |error: ::parquet::errors::ParquetError| wrong(source, format!("not readable as parquet: {error}"));
    let file = File::open(source.path()).map_err(|error| source.failed(error))?;
    let pages = file.try_clone().map_err(|error| source.failed(error))?;
    let length = file.metadata().map_err(|error| source.failed(error))?.len();
    let reader = SerializedFileReader::new(file).map_err(failed)?;
    pages::check(&pages, length, reader.metadata())
        .map_err(|error| wrong(source, format!("not readable as parquet: {error}")))?;
    let schema = reader.metadata().file_metadata().schema();
    let columns: Vec<String> = schema.get_fields().iter().map(|field| field.name().to_string()).collect();
    let mut rows = Vec::new();
    let mut taken = 0;
    for (index, row) in reader.get_row_iter(None).map_err(failed)?.enumerate() {
        let row = row.map_err(failed)?;
        let cells: Vec<Cell> = row.get_column_iter().map(|(_, field)| cell(field)).collect();
        for text in &cells {
            if let Cell::Text(text) = text
                && text.len() > options.max_record_bytes
            {
                let limit = options.max_record_bytes;
                return Err(Error::RecordTooLong { path: source.path().into(), line: index + 1, limit });
            }
        }
        taken += CELL + cells.iter().map(size).sum::<u64>();
        if taken > memory(length) {
            let reason = format!("its first {} rows take {taken} bytes, the file has {length}", index + 1);
            return Err(wrong(source, reason));
        }
        rows.push((index + 1, cells));
    }
    let said = reader.metadata().file_metadata().key_value_metadata();
    let features = said.into_iter().flatten().find(|entry| entry.key == "huggingface");
    let classes =
        features.and_then(|entry| entry.value.as_deref()).map(|text| arrow::classes(text, &columns));
    Ok(Table { columns, named: true, rows, classes: classes.unwrap_or_default(), ..Table::default() })
}

/// Bytes of a cell in memory.
fn size(cell: &Cell) -> u64 {
    let more = match cell {
        Cell::Text(text) | Cell::Number(text) => text.len() as u64,
        Cell::List(cells) => cells.iter().map(size).sum(),
        Cell::Struct(fields) => fields.iter().map(|(name, cell)| name.len() as u64 + size(cell)).sum(),
        Cell::Null | Cell::Bool(_) | Cell::Other(_) => 0,
    };
    CELL + more
}

fn cell(field: &Field) -> Cell {
    match field {
        Field::Null => Cell::Null,
        Field::Bool(value) => Cell::Bool(*value),
        Field::Byte(value) => Cell::Number(value.to_string()),
        Field::Short(value) => Cell::Number(value.to_string()),
        Field::Int(value) => Cell::Number(value.to_string()),
        Field::Long(value) => Cell::Number(value.to_string()),
        Field::UByte(value) => Cell::Number(value.to_string()),
        Field::UShort(value) => Cell::Number(value.to_string()),
        Field::UInt(value) => Cell::Number(value.to_string()),
        Field::ULong(value) => Cell::Number(value.to_string()),
        Field::Float16(value) => Cell::Number(value.to_string()),
        Field::Float(value) => Cell::Number(value.to_string()),
        Field::Double(value) => Cell::Number(value.to_string()),
        Field::Str(text) => Cell::Text(text.clone()),
        // Older writers leave the UTF-8 mark off their strings.
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Cell::Text(text.into()),
            Err(_) => Cell::Other("bytes that are not UTF-8"),
        },
        Field::ListInternal(list) => Cell::List(list.elements().iter().map(cell).collect()),
        Field::Decimal(_) => Cell::Other("a decimal"),
        Field::Group(row) => {
            Cell::Struct(row.get_column_iter().map(|(name, field)| (name.clone(), cell(field))).collect())
        }
        Field::MapInternal(_) => Cell::Other("a map"),
        _ => Cell::Other("a date or time"),
    }
}

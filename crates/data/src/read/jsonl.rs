//! JSON lines, and one JSON array of objects (which is then read whole).

use std::collections::HashMap;
use std::io::Read;

use serde_json::{Map, Value};

use super::bad_rows::BadRows;
use super::cell::{CELL, Cell, Table, memory};
use super::lines::{Lines, bare};
use super::source::Source;
use crate::{Error, ReadOptions, Result};

pub(super) fn read(source: &Source, options: &ReadOptions) -> Result<Table> {
    let mut keys = Keys::default();
    // Bytes read, and cells of all rows so far.
    let (mut bytes, mut cells) = (0u64, 0u64);
    let mut table = Table { named: true, ..Table::default() };
    let sample = source.sample()?;
    let start = String::from_utf8_lossy(&sample[..sample.len().min(64)]).into_owned();
    if start.trim_start_matches('\u{feff}').trim_start().starts_with('[') {
        bytes = read_array(source, &mut keys, &mut table)?;
        table.notes.push("one JSON array; rows are counted from 1".into());
    } else {
        let mut lines = Lines::new(source.open()?, source.path(), options.max_record_bytes);
        let mut bad = BadRows::new(source.path(), options);
        loop {
            let line = match lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    bad.add(lines.line(), table.rows.len(), error)?;
                    continue;
                }
            };
            bytes += line.len() as u64;
            let parsed =
                if bare(line).trim().is_empty() { None } else { Some(serde_json::from_str::<Value>(line)) };
            let line = lines.line();
            let wrong = |got: String| Error::Json { path: source.path().into(), line, got };
            match parsed {
                None => table.skipped.push(("blank line", line)),
                Some(Ok(Value::Object(object))) => {
                    table.rows.push((line, keys.row(object)));
                    cells += keys.names.len() as u64;
                    if cells.saturating_mul(CELL) > memory(bytes) {
                        fits(source, &table.rows, keys.names.len(), bytes)?;
                    }
                }
                Some(Ok(other)) => bad.add(line, table.rows.len(), wrong(kind(&other).into()))?,
                Some(Err(error)) => {
                    let said = format!("{error}").replace(" at line 1 column", " at column");
                    bad.add(line, table.rows.len(), wrong(said))?;
                }
            }
        }
        table.skipped.extend(bad.found);
    }
    table.columns = keys.names;
    let width = table.columns.len();
    fits(source, &table.rows, width, bytes)?;
    for (_, cells) in &mut table.rows {
        cells.resize(width, Cell::Null);
    }
    Ok(table)
}

/// Whether there is room for a cell for each row and key.
fn fits(source: &Source, rows: &[(usize, Vec<Cell>)], width: usize, bytes: u64) -> Result<()> {
    let cells = rows.len() as u64 * width as u64;
    if cells.saturating_mul(CELL) <= memory(bytes) {
        return Ok(());
    }
    let line = rows.last().map_or(0, |(line, _)| *line);
    let got = format!(
        "{width} different keys in {} rows: the keys of a table are the same in most rows",
        rows.len()
    );
    Err(Error::Json { path: source.path().into(), line, got })
}

/// Gives how many bytes there were.
fn read_array(source: &Source, keys: &mut Keys, table: &mut Table) -> Result<u64> {
    let mut bytes = Vec::new();
    source.open()?.read_to_end(&mut bytes).map_err(|error| source.failed(error))?;
    let length = bytes.len() as u64;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let wrong = |line: usize, got: String| Error::Json { path: source.path().into(), line, got };
    let values: Vec<Value> =
        serde_json::from_slice(bytes).map_err(|error| wrong(error.line(), error.to_string()))?;
    let mut cells = 0u64;
    for (index, value) in values.into_iter().enumerate() {
        match value {
            Value::Object(object) => {
                table.rows.push((index + 1, keys.row(object)));
                cells += keys.names.len() as u64;
                if cells.saturating_mul(CELL) > memory(length) {
                    fits(source, &table.rows, keys.names.len(), length)?;
                }
            }
            other => {
                return Err(wrong(1, format!("an array whose element {} is {}", index + 1, kind(&other))));
            }
        }
    }
    Ok(length)
}

/// Columns in the order their keys are first seen.
#[derive(Default)]
struct Keys {
    names: Vec<String>,
    index: HashMap<String, usize>,
}

impl Keys {
    fn row(&mut self, object: Map<String, Value>) -> Vec<Cell> {
        let mut cells = vec![Cell::Null; self.names.len()];
        for (key, value) in object {
            let at = match self.index.get(&key) {
                Some(&at) => at,
                None => {
                    let at = self.names.len();
                    self.index.insert(key.clone(), at);
                    self.names.push(key);
                    cells.push(Cell::Null);
                    at
                }
            };
            cells[at] = cell(value);
        }
        cells
    }
}

fn cell(value: Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Bool(value) => Cell::Bool(value),
        Value::Number(number) => Cell::Number(number.to_string()),
        Value::String(text) => Cell::Text(text),
        Value::Array(values) => Cell::List(values.into_iter().map(cell).collect()),
        Value::Object(object) => {
            Cell::Struct(object.into_iter().map(|(key, value)| (key, cell(value))).collect())
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true/false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

//! What stands in one cell, whatever the format.

use std::collections::BTreeMap;

use crate::ReadOptions;

/// Memory that the rows of any file may take, and how much more for each of its bytes: few bytes can stand for very many cells.
const MEMORY: u64 = 64 << 20;
const MEMORY_PER_BYTE: u64 = 256;

/// The most memory for the rows of a file of so many bytes.
pub(crate) fn memory(length: u64) -> u64 {
    length.saturating_mul(MEMORY_PER_BYTE).saturating_add(MEMORY)
}

/// Bytes of a cell, its text left out.
pub(crate) const CELL: u64 = 32;

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    /// Nothing: JSON null, a key that is absent, a Parquet null.
    Null,
    /// Text. Every cell of CSV and TSV is text.
    Text(String),
    /// A number, as it is written.
    Number(String),
    /// True or false.
    Bool(bool),
    /// A list of cells.
    List(Vec<Cell>),
    /// Cells under names, in the order of the file: a JSON object, a struct.
    Struct(Vec<(String, Cell)>),
    /// A value of a kind that no column here can hold.
    Other(&'static str),
}

impl Cell {
    /// The kind, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Cell::Null => "nothing",
            Cell::Text(_) => "text",
            Cell::Number(_) => "a number",
            Cell::Bool(_) => "true/false",
            Cell::List(_) => "a list",
            Cell::Struct(_) => "an object",
            Cell::Other(kind) => kind,
        }
    }

    /// The value as words, if it is one value.
    pub fn words(&self) -> Option<String> {
        match self {
            Cell::Text(text) => Some(text.clone()),
            Cell::Number(number) => Some(number.clone()),
            Cell::Bool(value) => Some(value.to_string()),
            Cell::Null | Cell::List(_) | Cell::Struct(_) | Cell::Other(_) => None,
        }
    }

    /// True when there is nothing in it but white space.
    pub fn is_blank(&self) -> bool {
        match self {
            Cell::Null => true,
            Cell::Text(text) => text.trim().is_empty(),
            Cell::Number(_) | Cell::Bool(_) | Cell::List(_) | Cell::Struct(_) | Cell::Other(_) => false,
        }
    }

    /// The value under one of the names, the first name first; nothing for other kinds.
    pub fn get(&self, names: &[&str]) -> Option<&Cell> {
        let Cell::Struct(fields) = self else { return None };
        names.iter().find_map(|name| fields.iter().find(|(key, _)| key == name).map(|(_, cell)| cell))
    }

    /// The values of a list.
    pub fn list(&self) -> Option<&[Cell]> {
        if let Cell::List(cells) = self { Some(cells) } else { None }
    }

    /// A whole number of at least 0, as a number or in words.
    pub fn count(&self) -> Option<usize> {
        match self {
            Cell::Number(words) | Cell::Text(words) => words.trim().parse().ok(),
            _ => None,
        }
    }

    /// The value for a message, cut to 60 characters.
    pub fn show(&self) -> String {
        match self {
            Cell::Null => "nothing".into(),
            Cell::Text(text) => {
                let start: String = text.chars().take(60).collect();
                let dots = if start.len() < text.len() { "..." } else { "" };
                format!("{start:?}{dots}")
            }
            Cell::Number(number) => format!("the number {number}"),
            Cell::Bool(value) => value.to_string(),
            Cell::List(cells) => format!("a list of {}", cells.len()),
            Cell::Struct(_) => "an object".into(),
            Cell::Other(kind) => (*kind).into(),
        }
    }
}

/// Rows of cells under column names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// Names; `1`, `2`, ... where the file has none.
    pub columns: Vec<String>,
    /// True when the file itself names its columns.
    pub named: bool,
    /// Line or record number, and as many cells as there are columns.
    pub rows: Vec<(usize, Vec<Cell>)>,
    /// For the report.
    pub notes: Vec<String>,
    /// Rows left out already: reason and row.
    pub skipped: Vec<(&'static str, usize)>,
    /// For columns that hold numbers of classes, by number: the names of the classes.
    pub classes: BTreeMap<usize, Vec<String>>,
}

impl Table {
    /// The names of the classes that a column has as numbers: as said, else as the file says.
    pub fn names(&self, column: Option<usize>, options: &ReadOptions) -> Vec<String> {
        match column.and_then(|column| self.classes.get(&column)) {
            Some(names) if options.names.is_empty() => names.clone(),
            _ => options.names.clone(),
        }
    }
}

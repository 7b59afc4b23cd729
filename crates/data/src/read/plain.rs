//! Plain text: one text a line.

use super::cell::{Cell, Table};
use super::lines::{Lines, bare};
use super::source::Source;
use crate::{ReadOptions, Result};

pub(super) fn read(source: &Source, options: &ReadOptions) -> Result<Table> {
    let mut lines = Lines::new(source.open()?, source.path(), options.max_record_bytes);
    let mut rows = Vec::new();
    while let Some(line) = lines.next()? {
        let text = bare(line).to_string();
        rows.push((lines.line(), vec![Cell::Text(text)]));
    }
    Ok(Table { columns: vec!["line".into()], named: true, rows, ..Table::default() })
}

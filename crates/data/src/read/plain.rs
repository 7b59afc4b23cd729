//! Plain text: one text a line, or lines up to a blank one; read whole, or one text at a time for files larger than memory.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::cell::{Cell, Table};
use super::lines::{Lines, bare};
use super::source::{self, Source};
use crate::{Error, Format, ReadOptions, Result, Unit};

pub(super) fn read(source: &Source, options: &ReadOptions) -> Result<Table> {
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    match options.unit {
        Unit::Line => {
            let mut lines = Lines::new(source.open()?, source.path(), options.max_record_bytes);
            while let Some(line) = lines.next()? {
                let text = bare(line).to_string();
                rows.push((lines.line(), vec![Cell::Text(text)]));
            }
        }
        Unit::Document => {
            notes.push("documents end at blank lines".to_string());
            for document in Texts::new(source.open()?, source.path(), Kind::Documents, options) {
                let (row, text) = document?;
                rows.push((row, vec![Cell::Text(text)]));
            }
        }
    }
    let column = if options.unit == Unit::Line { "line" } else { "document" };
    Ok(Table { columns: vec![column.into()], named: true, rows, notes, ..Table::default() })
}

/// The texts of a file one after the other, for files larger than memory: plain text by [`ReadOptions::unit`], or JSON
/// lines by the key [`ReadOptions::text`] (`text` if not said). Blank texts are passed over.
///
/// # Errors
/// [`Error::Read`] if the file cannot be opened, [`Error::UnknownFormat`] for another format.
pub fn texts(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Texts<'static>> {
    let path = path.as_ref();
    let kind = match options.format.or_else(|| Format::of(path)) {
        Some(Format::Jsonl) => Kind::Jsonl(options.text.clone().unwrap_or_else(|| "text".into())),
        Some(Format::Text) => match options.unit {
            Unit::Line => Kind::Lines,
            Unit::Document => Kind::Documents,
        },
        _ => return Err(Error::UnknownFormat { path: path.into(), formats: vec!["text", "jsonl"] }),
    };
    Ok(Texts::new(source::open(path)?, path, kind, options))
}

enum Kind {
    Lines,
    Documents,
    /// The key of the text.
    Jsonl(String),
}

/// An iterator over the row (line number, from 1) and the text of each text of a file; see [`texts`]. It ends at the
/// first error.
pub struct Texts<'a> {
    lines: Lines<'a>,
    path: PathBuf,
    kind: Kind,
    limit: usize,
    over: bool,
}

impl<'a> Texts<'a> {
    fn new(reader: Box<dyn BufRead + 'a>, path: &Path, kind: Kind, options: &ReadOptions) -> Self {
        let limit = options.max_record_bytes;
        Self { lines: Lines::new(reader, path, limit), path: path.into(), kind, limit, over: false }
    }

    fn line(&mut self) -> Result<Option<(usize, String)>> {
        while let Some(line) = self.lines.next()? {
            let text = bare(line);
            if text.trim().is_empty() {
                continue;
            }
            let text = text.to_string();
            let row = self.lines.line();
            let Kind::Jsonl(key) = &self.kind else { return Ok(Some((row, text))) };
            let wrong = |got: String| Error::Json { path: self.path.clone(), line: row, got };
            let mut value: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
            match value.get_mut(key).map(Value::take) {
                Some(Value::String(text)) if text.trim().is_empty() => {}
                Some(Value::String(text)) => return Ok(Some((row, text))),
                _ => return Err(wrong(format!("one without a text under {key:?}"))),
            }
        }
        Ok(None)
    }

    fn document(&mut self) -> Result<Option<(usize, String)>> {
        let mut first = 0;
        let mut text = String::new();
        while let Some(line) = self.lines.next()? {
            let line = bare(line);
            match (line.trim().is_empty(), text.is_empty()) {
                (true, true) => continue,
                (true, false) => return Ok(Some((first, text))),
                (false, false) => text.push('\n'),
                (false, true) => {}
            }
            text.push_str(line);
            if first == 0 {
                first = self.lines.line();
            }
            if text.len() > self.limit {
                return Err(Error::RecordTooLong { path: self.path.clone(), line: first, limit: self.limit });
            }
        }
        Ok((!text.is_empty()).then_some((first, text)))
    }
}

impl Iterator for Texts<'_> {
    type Item = Result<(usize, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = match self.kind {
            Kind::Documents => self.document(),
            Kind::Lines | Kind::Jsonl(_) => self.line(),
        };
        self.over = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

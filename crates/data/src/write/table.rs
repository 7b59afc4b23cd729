//! Columns of texts, numbers and vectors into CSV, TSV, JSONL or Parquet.

use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use serde_json::{Map, Number, Value};

use super::{atomic, parquet};
use crate::options::choose;
use crate::{Error, Result};

/// A format for tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableFormat {
    /// Comma separated with a header, quoted where needed.
    Csv,
    /// Tab separated with a header, quoted where needed.
    Tsv,
    /// One JSON object a line.
    Jsonl,
    /// Parquet; vectors as lists of floats.
    Parquet,
}

impl TableFormat {
    /// All formats with their names.
    pub const ALL: [(&'static str, TableFormat); 4] = [
        ("csv", TableFormat::Csv),
        ("tsv", TableFormat::Tsv),
        ("jsonl", TableFormat::Jsonl),
        ("parquet", TableFormat::Parquet),
    ];

    /// The format a file name stands for.
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        let name = match extension.as_str() {
            "ndjson" | "json" => "jsonl",
            "pq" => "parquet",
            "tab" => "tsv",
            other => other,
        };
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }
}

impl FromStr for TableFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        choose("format", name, &Self::ALL)
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Texts.
    Text(Vec<String>),
    /// Texts, some absent.
    OptionalText(Vec<Option<String>>),
    /// Whole numbers.
    Integer(Vec<i64>),
    /// Numbers.
    Number(Vec<f64>),
    /// A list of texts for each row.
    Texts(Vec<Vec<String>>),
    /// A vector for each row, row-major.
    Vectors {
        /// `[rows, width]`
        values: Vec<f32>,
        /// Numbers in a row.
        width: usize,
    },
}

impl Column {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Text(values) => values.len(),
            Self::OptionalText(values) => values.len(),
            Self::Integer(values) => values.len(),
            Self::Number(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Vectors { values, width } => values.len() / width.max(&1),
        }
    }

    fn json(&self, row: usize) -> Value {
        // A number that is not finite has no JSON; null is what pandas and JavaScript write.
        let number = |value: f64| Number::from_f64(value).map_or(Value::Null, Value::Number);
        match self {
            Self::Text(values) => Value::from(values[row].as_str()),
            Self::OptionalText(values) => values[row].as_deref().map_or(Value::Null, Value::from),
            Self::Integer(values) => Value::from(values[row]),
            Self::Number(values) => number(values[row]),
            Self::Texts(values) => values[row].iter().map(|text| Value::from(text.as_str())).collect(),
            Self::Vectors { values, width } => values[row * width..(row + 1) * width]
                .iter()
                // Through text, so that 0.1f32 is written 0.1 and not 0.10000000149011612.
                .map(|value| value.to_string().parse::<f64>().map_or(Value::Null, number))
                .collect(),
        }
    }

    fn cell(&self, row: usize) -> String {
        match self {
            Self::Text(values) => values[row].clone(),
            Self::OptionalText(values) => values[row].clone().unwrap_or_default(),
            Self::Integer(values) => values[row].to_string(),
            Self::Number(values) => values[row].to_string(),
            Self::Texts(_) | Self::Vectors { .. } => self.json(row).to_string(),
        }
    }
}

/// Named columns of the same length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    columns: Vec<(String, Column)>,
}

impl Table {
    /// No columns yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column on the right.
    ///
    /// # Errors
    /// [`Error::Shape`] if it has another number of rows than the columns before it, or its name is taken.
    pub fn push(&mut self, name: &str, column: Column) -> Result<()> {
        let wrong =
            |expected: String, got: String| Error::Shape { what: format!("column {name:?}"), expected, got };
        if let Column::Vectors { values, width } = &column
            && (*width == 0 || !values.len().is_multiple_of(*width))
        {
            return Err(wrong(format!("whole rows of {width}"), format!("{} values", values.len())));
        }
        if let Some((_, first)) = self.columns.first()
            && first.rows() != column.rows()
        {
            return Err(wrong(format!("{} rows", first.rows()), column.rows().to_string()));
        }
        if self.columns.iter().any(|(known, _)| known == name) {
            return Err(wrong("a new name".into(), "one that is taken".into()));
        }
        self.columns.push((name.into(), column));
        Ok(())
    }

    /// The columns with their names.
    pub fn columns(&self) -> &[(String, Column)] {
        &self.columns
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| column.rows())
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`] or [`Error::Parquet`].
    pub fn write(&self, path: impl AsRef<Path>, format: TableFormat) -> Result<()> {
        let path = path.as_ref();
        atomic::write(path, |mut out| match format {
            TableFormat::Parquet => parquet::write(path, out, self),
            TableFormat::Csv | TableFormat::Tsv | TableFormat::Jsonl => {
                self.lines(&mut out, format).map_err(|source| Error::Write { path: path.into(), source })?;
                atomic::done(path, out)
            }
        })
    }

    /// Writes CSV, TSV or JSONL to a stream, such as standard output. A stream cannot take Parquet, which is then
    /// an error of kind `Unsupported`.
    ///
    /// # Errors
    /// The stream's own, such as a broken pipe.
    pub fn lines(&self, out: &mut dyn Write, format: TableFormat) -> std::io::Result<()> {
        let delimiter = match format {
            TableFormat::Csv => ',',
            TableFormat::Tsv => '\t',
            TableFormat::Jsonl => {
                for row in 0..self.rows() {
                    let object: Map<String, Value> =
                        self.columns.iter().map(|(name, column)| (name.clone(), column.json(row))).collect();
                    serde_json::to_writer(&mut *out, &object)?;
                    out.write_all(b"\n")?;
                }
                return Ok(());
            }
            TableFormat::Parquet => {
                let kind = std::io::ErrorKind::Unsupported;
                return Err(std::io::Error::new(kind, "parquet needs a file, not a stream"));
            }
        };
        let mut line = |cells: &mut dyn Iterator<Item = String>| {
            let cells: Vec<String> = cells.map(|cell| quoted(cell, delimiter)).collect();
            writeln!(out, "{}", cells.join(&delimiter.to_string()))
        };
        line(&mut self.columns.iter().map(|(name, _)| name.clone()))?;
        (0..self.rows())
            .try_for_each(|row| line(&mut self.columns.iter().map(|(_, column)| column.cell(row))))
    }
}

/// A field in quotes if it would not be read back as it is.
fn quoted(field: String, delimiter: char) -> String {
    let plain = !field.contains([delimiter, '"', '\n', '\r']);
    if plain { field } else { format!("\"{}\"", field.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ReadOptions, Task, read};

    fn table() -> Table {
        let mut table = Table::new();
        table.push("text", Column::Text(vec!["a, \"b\"\nc".into(), "d\te é🙂".into()])).unwrap();
        table.push("label", Column::Text(vec!["ham".into(), "spam".into()])).unwrap();
        table.push("p", Column::Number(vec![0.25, 1.0])).unwrap();
        table.push("n", Column::Integer(vec![-3, i64::MAX])).unwrap();
        table.push("pair", Column::OptionalText(vec![None, Some("x".into())])).unwrap();
        table.push("all", Column::Texts(vec![vec![], vec!["a".into(), "b".into()]])).unwrap();
        table.push("vector", Column::Vectors { values: vec![0.1, -2.0, 3.5, 1e-8], width: 2 }).unwrap();
        table
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = 0;
        for (name, format) in TableFormat::ALL {
            let path = folder.path().join(format!("t.{name}"));
            table().write(&path, format).unwrap();
            assert_eq!(TableFormat::of(&path), Some(format));
            let quotes = Some(true);
            let options = ReadOptions {
                text: Some("text".into()),
                label: vec!["label".into()],
                quotes,
                ..Default::default()
            };
            let back = read(&path, &options).unwrap();
            let texts: Vec<&str> = back.texts().collect();
            assert_eq!(texts, ["a, \"b\"\nc", "d\te é🙂"], "{name}");
            let score = ReadOptions { label: vec!["p".into()], task: Task::Score, ..options };
            let scores = read(&path, &score).unwrap();
            assert_eq!(scores.examples[0].label, Some(crate::Label::Score(0.25)), "{name}");
            seen += 1;
        }
        assert_eq!(seen, 4);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4, "no part file stays");
    }

    #[test]
    fn short_floats_stay_short() {
        let mut out = Vec::new();
        table().lines(&mut out, TableFormat::Jsonl).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().next().unwrap().ends_with("\"vector\":[0.1,-2.0]}"), "{text}");
        assert!(table().lines(&mut Vec::new(), TableFormat::Parquet).is_err());
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        let mut table = table();
        assert!(table.push("short", Column::Integer(vec![1])).is_err());
        assert!(table.push("p", Column::Integer(vec![1, 2])).is_err());
        assert!(table.push("v", Column::Vectors { values: vec![1.0; 3], width: 2 }).is_err());
    }
}

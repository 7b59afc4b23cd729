//! Texts and the texts to be written for them: two columns, one column of translations, or two files of as many lines.

use std::path::Path;

use super::cell::{Cell, Table};
use super::columns::{by_name, chosen, find, shown as names_of};
use super::faults::Faults;
use super::lines::{Lines, bare};
use super::source::Source;
use crate::dataset::{Dataset, Example, Label};
use crate::report::{ChosenColumn, ReadReport};
use crate::{Error, Format, ReadOptions, Result};

/// Columns that belong together.
const PAIRS: &[(&str, &str)] = &[
    ("source", "target"),
    ("src", "tgt"),
    ("src", "trg"),
    ("input", "output"),
    ("input", "target"),
    ("inputs", "targets"),
    ("input_text", "target_text"),
    ("article", "highlights"),
    ("document", "summary"),
    ("dialogue", "summary"),
    ("article", "summary"),
    ("text", "summary"),
    ("text", "target"),
    ("text", "label"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("instruction", "output"),
    ("question", "answer"),
];

/// A column of objects with a text for each language.
const TRANSLATION: &[&str] = &["translation", "translations"];

/// Two files, line by line.
pub(super) fn read(source: &Source, options: &ReadOptions) -> Result<Dataset> {
    let path = source.path();
    let Some(other) = &options.pair_file else {
        return Err(Error::Empty {
            path: path.into(),
            what: "one text a line has no texts to be written; name the file that has them (pair_file), or use CSV, TSV, \
                   JSONL or Parquet with two columns"
                .into(),
        });
    };
    let other = Source::file(other);
    let mut first = Lines::new(source.open()?, path, options.max_record_bytes);
    let mut second = Lines::new(other.open()?, other.path(), options.max_record_bytes);
    let mut gathered = Gathered::default();
    loop {
        let row = first.line() + 1;
        let (text, target) = (first.next()?.map(bare), second.next()?.map(bare));
        match (text, target) {
            (Some(text), Some(target)) => gathered.push(row, None, text.into(), target.into()),
            (None, None) => break,
            (text, _) => {
                // The shorter one is at its end.
                let (longer, shorter) = if text.is_some() { (first, &second) } else { (second, &first) };
                return Err(uneven(longer, shorter));
            }
        }
    }
    let rows = first.line();
    let chosen = |source: &Source| ChosenColumn {
        name: source.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        why: "one text a line".into(),
    };
    gathered.finish(path, Format::Text, chosen(source), chosen(&other), Vec::new(), rows)
}

/// One file has lines that the other lacks.
fn uneven(mut longer: Lines<'_>, shorter: &Lines<'_>) -> Error {
    while let Ok(Some(_)) = longer.next() {}
    let told = |lines: &Lines<'_>| format!("{} in {}", lines.line(), lines.path().display());
    Error::Record {
        place: told(&longer),
        expected: "as many lines in both files".into(),
        got: told(shorter),
        count: 1,
        way_out: "line N of one goes with line N of the other: give each text one line".into(),
    }
}

/// Where the two texts of a row are.
enum Layout {
    Columns(usize, usize),
    /// Under two keys of the objects in a column.
    Keys(usize, String, String),
}

pub(super) fn build(path: &Path, format: Format, table: Table, options: &ReadOptions) -> Result<Dataset> {
    if table.rows.is_empty() {
        return Err(Error::Empty { path: path.into(), what: "the file is empty".into() });
    }
    let (layout, text, target) = layout(path, &table, options)?;
    let taken = match &layout {
        Layout::Columns(text, target) => vec![*text, *target],
        Layout::Keys(column, ..) => vec![*column],
    };
    let id = by_name(&table, &["id", "guid"], &taken);
    let mut gathered = Gathered { skipped: table.skipped, ..Gathered::default() };
    let mut faults = Faults::new(path);
    let rows = table.rows.len();
    for (row, cells) in table.rows {
        let (text, target) = match &layout {
            Layout::Columns(text, target) => (&cells[*text], &cells[*target]),
            Layout::Keys(column, text, target) => {
                let cell = |key: &str| cells[*column].get(&[key]).unwrap_or(&Cell::Null);
                (cell(text), cell(target))
            }
        };
        let words = |cell: &Cell| if matches!(cell, Cell::Null) { Some(String::new()) } else { cell.words() };
        match (words(text), words(target)) {
            (Some(text), Some(target)) => {
                gathered.push(row, id.and_then(|id| cells[id].words()), text, target);
            }
            _ => {
                let got = format!("{} and {}", text.kind(), target.kind());
                faults.add(
                    format_args!("row {row}"),
                    "a text and the text to be written",
                    got,
                    "correct the row or remove it",
                );
            }
        }
    }
    faults.finish()?;
    gathered.finish(path, format, text, target, table.notes, rows)
}

fn layout(path: &Path, table: &Table, options: &ReadOptions) -> Result<(Layout, ChosenColumn, ChosenColumn)> {
    let columns = |text: usize, target: usize, why: [&str; 2]| {
        (Layout::Columns(text, target), chosen(table, text, why[0]), chosen(table, target, why[1]))
    };
    let unclear = |role, why: &str, option| Error::UnclearColumn {
        path: path.into(),
        role,
        why: why.into(),
        columns: names_of(table),
        option,
    };
    let said = (options.text.as_deref(), options.label.first().map(String::as_str));
    if let Some(column) = by_name(table, TRANSLATION, &[])
        && let Some(Cell::Struct(fields)) =
            table.rows.iter().map(|(_, cells)| &cells[column]).find(|cell| !cell.is_blank())
    {
        let keys: Vec<String> = fields.iter().map(|(key, _)| key.clone()).collect();
        let key = |wanted: Option<&str>, role, other: Option<&str>| match wanted {
            Some(wanted) if keys.iter().any(|key| key == wanted) => Ok((wanted.to_string(), "as said")),
            Some(wanted) => Err(Error::MissingColumn {
                path: path.into(),
                role,
                wanted: wanted.into(),
                columns: keys.clone(),
                suggestion: crate::error::nearest(wanted, keys.iter().map(String::as_str)),
            }),
            None => {
                match keys.iter().filter(|key| Some(key.as_str()) != other).collect::<Vec<_>>().as_slice() {
                    [only] if other.is_some() => Ok((only.to_string(), "the only other language")),
                    // Their order is that of the alphabet, not from source to target.
                    _ => Err(unclear(
                        role,
                        &format!("the languages are {}", keys.join(", ")),
                        "--text and --label",
                    )),
                }
            }
        };
        let (text, text_why) = key(said.0, "text", said.1)?;
        let (target, target_why) = key(said.1, "label", Some(&text))?;
        let chosen = |key: &str, why: &str| ChosenColumn {
            name: format!("{}.{key}", table.columns[column]),
            why: why.into(),
        };
        let both = (chosen(&text, text_why), chosen(&target, target_why));
        return Ok((Layout::Keys(column, text, target), both.0, both.1));
    }
    let only_other = |taken: usize| match table.columns.len() {
        2 => Some(1 - taken),
        _ => None,
    };
    match said {
        (Some(text), Some(target)) => {
            let (text, target) = (find(path, table, "text", text)?, find(path, table, "label", target)?);
            Ok(columns(text, target, ["as said"; 2]))
        }
        (Some(text), None) => {
            let text = find(path, table, "text", text)?;
            let names: Vec<&str> = PAIRS.iter().map(|(_, target)| *target).collect();
            let named = by_name(table, &names, &[text]).map(|at| (at, "by its name"));
            let target = named.or_else(|| only_other(text).map(|at| (at, "the only other column")));
            let (target, why) = target.ok_or_else(|| unclear("label", "none has a usual name", "--label"))?;
            Ok(columns(text, target, ["as said", why]))
        }
        (None, Some(target)) => {
            let target = find(path, table, "label", target)?;
            let names: Vec<&str> = PAIRS.iter().map(|(text, _)| *text).collect();
            let named = by_name(table, &names, &[target]).map(|at| (at, "by its name"));
            let text = named.or_else(|| only_other(target).map(|at| (at, "the only other column")));
            let (text, why) = text.ok_or_else(|| unclear("text", "none has a usual name", "--text"))?;
            Ok(columns(text, target, [why, "as said"]))
        }
        (None, None) => {
            let named = PAIRS.iter().find_map(|(text, target)| {
                Some((by_name(table, &[text], &[])?, by_name(table, &[target], &[])?))
            });
            match named {
                Some((text, target)) if table.named => Ok(columns(text, target, ["by its name"; 2])),
                _ if table.columns.len() == 2 => {
                    Ok(columns(0, 1, ["the first of two columns", "the second of two columns"]))
                }
                _ => Err(unclear("text", "no two of them have usual names", "--text and --label")),
            }
        }
    }
}

/// The texts so far.
#[derive(Default)]
struct Gathered {
    examples: Vec<Example>,
    skipped: Vec<(&'static str, usize)>,
}

impl Gathered {
    fn push(&mut self, row: usize, id: Option<String>, text: String, target: String) {
        if text.trim().is_empty() {
            self.skipped.push(("empty text", row));
        } else if target.trim().is_empty() {
            self.skipped.push(("empty text to be written", row));
        } else {
            self.examples.push(Example { text, pair: None, label: Some(Label::Text(target)), row, id });
        }
    }

    fn finish(
        self,
        path: &Path,
        format: Format,
        text: ChosenColumn,
        target: ChosenColumn,
        notes: Vec<String>,
        rows_read: usize,
    ) -> Result<Dataset> {
        if self.examples.is_empty() {
            return Err(match rows_read {
                0 => Error::Empty { path: path.into(), what: "the file is empty".into() },
                rows => Error::AllEmpty { path: path.into(), column: text.name, rows },
            });
        }
        let mut report = ReadReport {
            path: path.into(),
            format,
            text,
            pair: None,
            label: vec![target],
            rows_read,
            skipped: Vec::new(),
            notes,
        };
        self.skipped.iter().for_each(|(reason, row)| report.skip(reason, *row));
        Ok(Dataset { examples: self.examples, report, files: Vec::new(), pictures: false })
    }
}

//! Rows of cells to texts and labels, with every fault counted before the first is reported.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use super::bad_rows::BadRows;
use super::cell::{Cell, Table};
use super::columns::{self, Chosen};
use crate::dataset::{Dataset, Example, Label};
use crate::report::{ChosenColumn, NAMED, ReadReport};
use crate::{Error, Format, ReadOptions, Result, Task};

/// Columns that are named where they are not read.
const UNREAD: usize = 8;

pub(super) fn build(path: &Path, format: Format, table: Table, options: &ReadOptions) -> Result<Dataset> {
    if table.rows.is_empty() {
        let what = if table.columns.is_empty() || !table.named || format == Format::Text {
            "the file is empty".to_string()
        } else {
            format!("there is no row under the columns {}", table.columns.join(", "))
        };
        return Err(Error::Empty { path: path.into(), what });
    }
    let chosen = columns::choose(path, &table, options)?;
    let mut report = ReadReport {
        path: path.into(),
        format,
        text: chosen.text.1.clone(),
        pair: chosen.pair.as_ref().map(|(_, column)| column.clone()),
        label: chosen.label.iter().map(|(_, column)| column.clone()).collect(),
        rows_read: table.rows.len(),
        skipped: Vec::new(),
        notes: table.notes.clone(),
    };
    for (reason, row) in &table.skipped {
        report.skip(reason, *row);
    }
    let names = table.names(chosen.label.first().map(|(at, _)| *at), options);
    if !names.is_empty() && matches!(options.task, Task::Class | Task::Multi) {
        report.notes.push(format!("numbers of labels have the names {}", names.join(", ")));
    }
    let mut reader = Reader {
        path,
        options,
        chosen: &chosen,
        names: &names,
        faults: Vec::new(),
        unlabelled: Vec::new(),
        kind: None,
    };
    let id = columns::names_of_rows(path, &table, options, &chosen)?;
    // What stands beside, so that nobody takes a second text for read that is not.
    let read = |at: &usize| {
        let texts = [Some(chosen.text.0), chosen.pair.as_ref().map(|(pair, _)| *pair), id];
        texts.contains(&Some(*at)) || chosen.label.iter().any(|(label, _)| label == at)
    };
    let unread: Vec<&str> =
        (0..table.columns.len()).filter(|at| !read(at)).map(|at| table.columns[at].as_str()).collect();
    if !unread.is_empty() && table.named {
        let more = if unread.len() > UNREAD {
            format!(" and {} more", unread.len() - UNREAD)
        } else {
            String::new()
        };
        report.notes.push(format!("not read: {}{more}", unread[..unread.len().min(UNREAD)].join(", ")));
    }
    let mut examples = Vec::with_capacity(table.rows.len());
    let rows = table.rows.len();
    for (row, cells) in table.rows {
        let mut cells = cells;
        let Some((text, pair)) = reader.texts(row, &mut cells, &mut report) else { continue };
        match reader.label(row, &cells) {
            Found::Label(label) => {
                let id = id.and_then(|at| cells[at].words());
                examples.push(Example { text, pair, label, row, id });
            }
            Found::Missing if options.skip_unlabelled || options.skip_bad_rows => {
                report.skip("no label", row);
            }
            Found::Missing => reader.unlabelled.push(row),
            Found::Fault => {}
        }
    }
    reader.finish(rows, examples.len(), &mut report)?;
    if examples.is_empty() {
        let column = report.text.name.clone();
        return Err(match report.skipped.iter().find(|skipped| skipped.reason == "no label") {
            Some(skipped) => Error::MissingLabel {
                path: path.into(),
                column: report.label.first().map_or(String::new(), |label| label.name.clone()),
                first: skipped.first.clone(),
                count: skipped.count,
                rows,
            },
            None => Error::AllEmpty { path: path.into(), column, rows },
        });
    }
    note_odd_labels(&examples, &mut report);
    Ok(Dataset { examples, report, files: Vec::new(), pictures: false })
}

enum Found {
    Label(Option<Label>),
    Missing,
    Fault,
}

/// A cell that cannot be used; all are counted, the first is told.
struct Fault {
    row: usize,
    column: String,
    expected: String,
    got: String,
    way_out: &'static str,
}

struct Reader<'a> {
    path: &'a Path,
    options: &'a ReadOptions,
    chosen: &'a Chosen,
    /// Of classes that are numbers.
    names: &'a [String],
    faults: Vec<Fault>,
    unlabelled: Vec<usize>,
    /// The kind of the first label and its row: typed formats must not mix kinds.
    kind: Option<(&'static str, usize)>,
}

impl Reader<'_> {
    /// The texts of a row, taken out of it; `None` if it is left out.
    fn texts(
        &mut self,
        row: usize,
        cells: &mut [Cell],
        report: &mut ReadReport,
    ) -> Option<(String, Option<String>)> {
        let text = self.text(row, cells, &self.chosen.text)?;
        let pair = match &self.chosen.pair {
            Some(column) => Some(self.text(row, cells, column)?),
            None => None,
        };
        if text.trim().is_empty() {
            report.skip("empty text", row);
            return None;
        }
        if pair.as_ref().is_some_and(|pair| pair.trim().is_empty()) {
            report.skip("empty second text", row);
            return None;
        }
        Some((text, pair))
    }

    /// The text of one column; `None`, and a fault, for what is no text.
    fn text(&mut self, row: usize, cells: &mut [Cell], column: &(usize, ChosenColumn)) -> Option<String> {
        let (at, column) = column;
        let again = self.chosen.label.iter().any(|(label, _)| label == at);
        let words = match &mut cells[*at] {
            Cell::Null => Some(String::new()),
            Cell::Text(text) if !again => Some(std::mem::take(text)),
            cell => cell.words(),
        };
        if words.is_none() {
            let way_out = "say the text column with --text";
            self.fault(row, column.name.clone(), "text".into(), &cells[*at], way_out);
        }
        words
    }

    fn label(&mut self, row: usize, cells: &[Cell]) -> Found {
        let (at, column) = match self.chosen.label.as_slice() {
            [] => return Found::Label(None),
            [one] => one,
            _ => return self.columns_of_flags(row, cells),
        };
        let cell = &cells[*at];
        let name = column.name.clone();
        if !cell.is_blank() && !matches!(cell, Cell::List(_)) && self.options.task != Task::Score {
            let kind = cell.kind();
            match self.kind {
                None => self.kind = Some((kind, row)),
                Some((known, first)) if known != kind => {
                    let expected = format!("{known} as in row {first}");
                    return self.fault(row, name, expected, cell, "write all labels alike");
                }
                Some(_) => {}
            }
        }
        match self.options.task {
            Task::Class => match cell.words() {
                _ if cell.is_blank() => Found::Missing,
                Some(words) if words.trim().eq_ignore_ascii_case("nan") => Found::Missing,
                // HuggingFace's number for "not known".
                Some(words) if !self.names.is_empty() && words.trim() == "-1" => Found::Missing,
                Some(words) if !self.names.is_empty() => match numbered(&words, self.names) {
                    Some(class) => Found::Label(Some(Label::One(class))),
                    None => {
                        let expected = format!("a number of one of the {} classes", self.names.len());
                        self.fault(row, name, expected, cell, "correct the row or the names")
                    }
                },
                Some(words) => Found::Label(Some(Label::One(words.trim().to_string()))),
                None => self.fault(row, name, "one class".into(), cell, "use the multi-label task for lists"),
            },
            Task::Score => match cell.words() {
                _ if cell.is_blank() => Found::Missing,
                Some(words) => match words.trim().parse::<f32>() {
                    Ok(value) if value.is_finite() => Found::Label(Some(Label::Score(value))),
                    _ => {
                        self.fault(row, name, "a finite number".into(), cell, "correct the row or remove it")
                    }
                },
                None => self.fault(row, name, "a finite number".into(), cell, "correct the row or remove it"),
            },
            Task::Multi => match many(cell, self.options.separator) {
                Some(labels) if !self.names.is_empty() => {
                    match labels.iter().map(|label| numbered(label, self.names)).collect() {
                        Some(classes) => Found::Label(Some(Label::Many(classes))),
                        None => {
                            let expected = format!("numbers of the {} classes", self.names.len());
                            self.fault(row, name, expected, cell, "correct the row or the names")
                        }
                    }
                }
                Some(labels) => Found::Label(Some(Label::Many(labels))),
                None => {
                    let expected =
                        format!("labels separated by {:?}, or a JSON list of labels", self.options.separator);
                    self.fault(row, name, expected, cell, "correct the row, or say another separator")
                }
            },
            // Their labels stand in more than one column and are read elsewhere.
            Task::Unlabelled
            | Task::Tags
            | Task::Answers
            | Task::Texts
            | Task::Choice
            | Task::Trees
            | Task::Pairs
            | Task::Relation
            | Task::Spans
            | Task::Dialog => Found::Label(None),
        }
    }

    /// Several columns, each 0 or 1.
    fn columns_of_flags(&mut self, row: usize, cells: &[Cell]) -> Found {
        let mut labels = Vec::new();
        for (at, column) in &self.chosen.label {
            let cell = &cells[*at];
            let words = cell.words().unwrap_or_default();
            match words.trim() {
                "1" | "1.0" | "true" | "True" | "TRUE" => labels.push(column.name.clone()),
                "0" | "0.0" | "false" | "False" | "FALSE" => {}
                _ => {
                    let name = column.name.clone();
                    return self.fault(
                        row,
                        name,
                        "0 or 1".into(),
                        cell,
                        "several label columns hold one 0 or 1 each",
                    );
                }
            }
        }
        Found::Label(Some(Label::Many(labels)))
    }

    fn fault(
        &mut self,
        row: usize,
        column: String,
        expected: String,
        got: &Cell,
        way_out: &'static str,
    ) -> Found {
        self.faults.push(Fault { row, column, expected, got: got.show(), way_out });
        Found::Fault
    }

    fn finish(self, rows: usize, good: usize, report: &mut ReadReport) -> Result<()> {
        let count = self.faults.len();
        let named: Vec<usize> = self.faults.iter().map(|fault| fault.row).take(NAMED).collect();
        let mut bad = BadRows::new(self.path, self.options);
        for fault in self.faults {
            let error = Error::Cell {
                place: format!("{} row {}", self.path.display(), fault.row),
                column: fault.column,
                expected: fault.expected,
                got: fault.got,
                rows: named.clone(),
                count,
                way_out: fault.way_out,
            };
            bad.add(fault.row, good, error)?;
        }
        bad.found.iter().for_each(|(reason, row)| report.skip(reason, *row));
        if !self.unlabelled.is_empty() {
            return Err(Error::MissingLabel {
                path: self.path.into(),
                column: self.chosen.label.first().map_or(String::new(), |(_, column)| column.name.clone()),
                first: self.unlabelled.iter().take(NAMED).copied().collect(),
                count: self.unlabelled.len(),
                rows,
            });
        }
        Ok(())
    }
}

/// The class that a number stands for.
fn numbered(number: &str, names: &[String]) -> Option<String> {
    number.trim().parse::<usize>().ok().and_then(|number| names.get(number)).cloned()
}

/// The labels of one cell: a list, a list as JSON, or words with a separator. An empty cell is no label.
fn many(cell: &Cell, separator: char) -> Option<Vec<String>> {
    let mut labels: Vec<String> = match cell {
        Cell::Null => Vec::new(),
        Cell::List(cells) => cells.iter().map(Cell::words).collect::<Option<_>>()?,
        Cell::Text(text) if text.trim_start().starts_with('[') => {
            let values: Vec<serde_json::Value> = serde_json::from_str(text.trim()).ok()?;
            let word = |value: &serde_json::Value| match value {
                serde_json::Value::String(text) => Some(text.clone()),
                serde_json::Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            values.iter().map(word).collect::<Option<_>>()?
        }
        Cell::Text(_) | Cell::Number(_) | Cell::Bool(_) => {
            cell.words()?.split(separator).map(String::from).collect()
        }
        Cell::Struct(_) | Cell::Other(_) => return None,
    };
    for label in &mut labels {
        *label = label.trim().to_string();
    }
    labels.retain(|label| !label.is_empty());
    let mut seen = HashSet::new();
    labels.retain(|label| seen.insert(label.clone()));
    Some(labels)
}

/// Labels that are allowed but often a mistake.
fn note_odd_labels(examples: &[Example], report: &mut ReadReport) {
    let none = examples
        .iter()
        .filter(|e| matches!(&e.label, Some(Label::Many(labels)) if labels.is_empty()))
        .count();
    if none > 0 {
        report.notes.push(format!("{none} rows have no label at all, which is a valid answer"));
    }
    let names: Vec<&str> = examples
        .iter()
        .filter_map(|example| match &example.label {
            Some(Label::One(name)) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let numbers = names.iter().filter(|name| name.parse::<f64>().is_ok()).count();
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    let fractions = distinct.iter().any(|name| name.contains('.'));
    if numbers > 0 && numbers < names.len() {
        report.notes.push(format!("{numbers} of {} labels are numbers, the others words", names.len()));
    } else if numbers > 0 && distinct.len() > 20 && fractions {
        report
            .notes
            .push(format!("the labels are {} different numbers: is this a regression?", distinct.len()));
    } else if names.len() >= 20 && distinct.len() * 2 > names.len() {
        let note = "different labels in";
        report.notes.push(format!(
            "{} {note} {} rows: is this the label column?",
            distinct.len(),
            names.len()
        ));
    }
}

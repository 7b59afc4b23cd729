//! Texts that go together: pairs, pairs with a number for how alike they are, pairs with texts that do not go with the first, or
//! texts with the class they share. What a file has is told by its columns.

use std::path::Path;

use super::cell::{Cell, Table};
use super::columns::{self, by_name, chosen, find};
use super::examples;
use super::faults::Faults;
use crate::dataset::{Dataset, Example, Label};
use crate::report::{ChosenColumn, ReadReport};
use crate::{Error, Format, ReadOptions, Result, Task};

/// First and second text, as collections for retrieval and likeness call them.
const PAIRS: &[(&str, &str)] = &[
    ("anchor", "positive"),
    ("query", "positive"),
    ("question", "positive"),
    ("sentence", "positive"),
    ("anchor", "entailment"),
    ("query", "passage"),
    ("query", "document"),
    ("query", "answer"),
    ("question", "answer"),
    ("question", "passage"),
    ("text", "pair"),
    ("text", "positive"),
    ("source", "target"),
    ("title", "text"),
    ("title", "body"),
    ("title", "abstract"),
];

/// Texts that do not go with the first, besides those with a number behind: `negative_1`, `negative_2`, ...
const NEGATIVE: &[&str] =
    &["negative", "negatives", "neg", "hard_negative", "hard_negatives", "contradiction"];

/// How alike.
const SCORE: &[&str] = &["score", "similarity", "similarity_score", "label", "labels", "gold", "rating"];

/// True if a column called so would be recognised here.
pub(super) fn is_known_name(name: &str) -> bool {
    let name = name.to_lowercase();
    PAIRS.iter().any(|(first, second)| *first == name || *second == name) || is_negative(&name)
}

/// Whether a column of this name, in lower case, has texts that do not go with the first.
fn is_negative(name: &str) -> bool {
    let rest = name.strip_prefix("negative_").or_else(|| name.strip_prefix("neg_"));
    NEGATIVE.contains(&name)
        || rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

pub(super) fn build(path: &Path, format: Format, table: Table, options: &ReadOptions) -> Result<Dataset> {
    if table.rows.is_empty() {
        return Err(Error::Empty { path: path.into(), what: "the file is empty".into() });
    }
    let Some((text, pair)) = pair(path, &table, options)? else {
        // Texts with the class they share.
        return examples::build(path, format, table, &ReadOptions { task: Task::Class, ..options.clone() });
    };
    let negatives = negatives(path, &table, options, [text, pair])?;
    let column = |at: usize| Some((at + 1).to_string());
    let mut plain = ReadOptions { text: column(text), pair: column(pair), ..options.clone() };
    if negatives.is_empty() {
        let taken = [text, pair];
        if plain.label.is_empty()
            && let Some(at) = by_name(&table, SCORE, &taken).filter(|&at| of_numbers(&table, at))
        {
            plain.label = vec![table.columns[at].clone()];
        }
        plain.task = if plain.label.is_empty() { Task::Unlabelled } else { Task::Score };
        let mut dataset = examples::build(path, format, table, &plain)?;
        // It was told of columns that nobody said.
        let why = |column: &mut ChosenColumn, said: bool| {
            if !said {
                column.why = "by its name".into();
            }
        };
        why(&mut dataset.report.text, options.text.is_some());
        dataset.report.pair.iter_mut().for_each(|column| why(column, options.pair.is_some()));
        dataset.report.label.iter_mut().for_each(|column| why(column, !options.label.is_empty()));
        return Ok(dataset);
    }
    with_negatives(path, format, &table, [text, pair], &negatives)
}

/// The columns of the two texts; `None` where there is one text only.
fn pair(path: &Path, table: &Table, options: &ReadOptions) -> Result<Option<(usize, usize)>> {
    let said = |wanted: &Option<String>, role| {
        wanted.as_deref().map(|wanted| find(path, table, role, wanted)).transpose()
    };
    let (text, pair) = (said(&options.text, "text")?, said(&options.pair, "pair")?);
    if let (Some(text), Some(pair)) = (text, pair) {
        return Ok(Some((text, pair)));
    }
    for (first, second) in columns::PAIRS.iter().chain(PAIRS) {
        if let (Some(a), Some(b)) = (by_name(table, &[first], &[]), by_name(table, &[second], &[]))
            && text.is_none_or(|text| text == a)
            && pair.is_none_or(|pair| pair == b)
        {
            return Ok(Some((a, b)));
        }
    }
    match (text, pair) {
        (None, Some(_)) => Err(Error::UnclearColumn {
            path: path.into(),
            role: "text",
            why: "only the second text of the pair is named".into(),
            columns: columns::shown(table),
            option: "--text",
        }),
        _ => Ok(None),
    }
}

/// The columns of texts that do not go with the first.
fn negatives(path: &Path, table: &Table, options: &ReadOptions, taken: [usize; 2]) -> Result<Vec<usize>> {
    if !options.negative.is_empty() {
        return options.negative.iter().map(|wanted| find(path, table, "negative", wanted)).collect();
    }
    let columns = table.columns.iter().enumerate();
    let columns = columns.filter(|(at, name)| !taken.contains(at) && is_negative(&name.to_lowercase()));
    Ok(columns.map(|(at, _)| at).collect())
}

/// Whether a column holds a number in every row that has something in it.
fn of_numbers(table: &Table, at: usize) -> bool {
    let mut cells = table.rows.iter().map(|(_, cells)| &cells[at]).filter(|cell| !cell.is_blank());
    let number = |cell: &Cell| cell.words().is_some_and(|words| words.trim().parse::<f32>().is_ok());
    table.rows.iter().any(|(_, cells)| !cells[at].is_blank()) && cells.all(number)
}

fn with_negatives(
    path: &Path,
    format: Format,
    table: &Table,
    [text, pair]: [usize; 2],
    negatives: &[usize],
) -> Result<Dataset> {
    let column = |at: usize| -> ChosenColumn { chosen(table, at, "texts that go together") };
    let mut report = ReadReport {
        path: path.into(),
        format,
        text: column(text),
        pair: Some(column(pair)),
        label: negatives.iter().map(|&at| chosen(table, at, "texts that do not go with the first")).collect(),
        rows_read: table.rows.len(),
        skipped: Vec::new(),
        notes: table.notes.clone(),
    };
    table.skipped.iter().for_each(|(reason, row)| report.skip(reason, *row));
    let mut faults = Faults::new(path);
    let mut examples = Vec::with_capacity(table.rows.len());
    let words = |cell: &Cell| if matches!(cell, Cell::Null) { Some(String::new()) } else { cell.words() };
    for (row, cells) in &table.rows {
        let row = *row;
        let (Some(first), Some(second)) = (words(&cells[text]), words(&cells[pair])) else {
            faults.add(
                format_args!("row {row}"),
                "two texts",
                "something else",
                "correct the row or remove it",
            );
            continue;
        };
        let mut options = vec![second];
        let mut fits = true;
        for &at in negatives {
            let found: Option<Vec<String>> = match &cells[at] {
                Cell::List(cells) => cells.iter().map(Cell::words).collect(),
                cell => words(cell).map(|words| vec![words]),
            };
            match found {
                Some(found) => options.extend(found.into_iter().filter(|text| !text.trim().is_empty())),
                None => {
                    let expected = "a text or a list of texts";
                    faults.add(
                        format_args!("row {row}"),
                        expected,
                        cells[at].show(),
                        "correct the row or remove it",
                    );
                    fits = false;
                }
            }
        }
        let reason = match (first.trim().is_empty(), options[0].trim().is_empty(), options.len()) {
            (true, ..) => Some("empty text"),
            (_, true, _) => Some("empty second text"),
            (.., 1) => Some("no text that does not go with the first"),
            _ => None,
        };
        match reason {
            Some(reason) if fits => report.skip(reason, row),
            None if fits => {
                let label = Some(Label::Choice { options, right: 0 });
                examples.push(Example { text: first, pair: None, label, row, id: None });
            }
            _ => {}
        }
    }
    faults.finish()?;
    if examples.is_empty() {
        let column = report.text.name.clone();
        return Err(Error::AllEmpty { path: path.into(), column, rows: table.rows.len() });
    }
    Ok(Dataset { examples, report, files: Vec::new(), pictures: false })
}

//! Multiple choice: a text and several others, of which one goes with it, in the columns of the usual collections.
//!
//! Where there is a passage and a question, the text is the passage, and each option follows the question, or takes the
//! place of the gap `_` in it, as in the reference implementation of RACE and SWAG in transformers.

use std::path::Path;

use super::cell::{Cell, Table};
use super::columns::{by_name, chosen, find, shown as names_of};
use super::faults::{Faults, labelled};
use crate::dataset::{Dataset, Example, Label};
use crate::report::{ChosenColumn, ReadReport};
use crate::{Error, Format, ReadOptions, Result};

/// What comes first: SWAG, HellaSwag, RACE and others.
const TEXT: &[&str] = &[
    "sent1", "ctx", "article", "passage", "context", "premise", "goal", "sentence", "story", "prompt",
    "query",
];
/// What each option follows.
const QUESTION: &[&str] = &["sent2", "question", "question_stem", "text"];
/// A list of options.
const LIST: &[&str] = &["choices", "options", "endings", "answers", "candidates"];
/// Columns of one option each, but for the number.
const PARTS: &[&str] = &[
    "ending", "choice", "option", "answer", "sol", "solution", "choice_", "option_", "answer_", "ending_",
    "op", "",
];
/// Which is right.
const RIGHT: &[&str] = &[
    "label",
    "answer",
    "answerkey",
    "answer_key",
    "correct",
    "correct_option",
    "correct_answer",
    "target",
    "gold",
    "cop",
    "correct_answer_id",
];

pub(super) fn build(path: &Path, format: Format, table: Table, options: &ReadOptions) -> Result<Dataset> {
    if table.rows.is_empty() {
        return Err(Error::Empty { path: path.into(), what: "the file is empty".into() });
    }
    let layout = Layout::new(path, &table, options)?;
    let mut report = ReadReport {
        path: path.into(),
        format,
        text: layout.column(&table, layout.text, options.text.is_some()),
        pair: layout.question.map(|at| layout.column(&table, at, options.pair.is_some())),
        label: vec![layout.column(&table, layout.right, !options.label.is_empty())],
        rows_read: table.rows.len(),
        skipped: Vec::new(),
        notes: table.notes.clone(),
    };
    table.skipped.iter().for_each(|(reason, row)| report.skip(reason, *row));
    report.notes.push(match &layout.options {
        Options::List(at) => format!("options from the lists of column {:?}", table.columns[*at]),
        Options::Columns(columns) => {
            let names: Vec<&str> = columns.iter().map(|&at| table.columns[at].as_str()).collect();
            format!("options from the columns {}", names.join(", "))
        }
    });
    if layout.causes {
        report.notes.push("cause and effect are written as because and so before each option".into());
    }
    let mut faults = Faults::new(path);
    let mut unlabelled = Vec::new();
    // What is right as the file says it, until it is clear whether numbers begin at 0 or 1.
    let mut found: Vec<(Example, Vec<String>, Said)> = Vec::new();
    for (row, cells) in &table.rows {
        let row = *row;
        let way_out = "correct the row or remove it";
        let words = |at: usize| match &cells[at] {
            Cell::Null => Some(String::new()),
            cell => cell.words(),
        };
        let (Some(text), Some(question)) =
            (words(layout.text), layout.question.map_or(Some(String::new()), words))
        else {
            let got = cells[layout.text].show();
            faults.add(format_args!("row {row}"), "a text", got, way_out);
            continue;
        };
        let Some((keys, texts)) = layout.options_of(cells) else {
            let got = match layout.options {
                Options::List(at) => cells[at].show(),
                Options::Columns(_) => "an option that is empty or no text".into(),
            };
            faults.add(format_args!("row {row}"), "at least two options, each a text", got, way_out);
            continue;
        };
        if text.trim().is_empty() && question.trim().is_empty() {
            report.skip("empty text", row);
            continue;
        }
        let right = &cells[layout.right];
        if right.is_blank() || right.words().is_some_and(|words| words.trim() == "-1") {
            if options.skip_unlabelled {
                report.skip("no label", row);
            } else {
                unlabelled.push(row);
            }
            continue;
        }
        let Some(said) = right.words().and_then(|words| said(&words, &keys, &texts)) else {
            let expected = format!("the number, the letter or the text of one of {} options", texts.len());
            faults.add(format_args!("row {row}"), expected, right.show(), way_out);
            continue;
        };
        let question = match question.as_str() {
            "cause" if layout.causes => "because",
            "effect" if layout.causes => "so",
            question => question,
        };
        let (text, texts) = joined(text, question, texts);
        let id = layout.id.and_then(|id| cells[id].words());
        found.push((Example { text, pair: None, label: None, row, id }, texts, said));
    }
    let from = first_number(&found, &mut report);
    let mut examples = Vec::with_capacity(found.len());
    for (mut example, options, said) in found {
        let right = match said {
            Said::Option(at) => Some(at),
            Said::Number(number) => number.checked_sub(from).filter(|&at| at < options.len()),
        };
        match right {
            Some(right) => {
                example.label = Some(Label::Choice { options, right });
                examples.push(example);
            }
            None => {
                let Said::Number(number) = said else { continue };
                let expected = format!("a number from {from} to {}", options.len() - 1 + from);
                let place = format!("row {}", example.row);
                faults.add(
                    place,
                    expected,
                    number.to_string(),
                    "correct the row; numbers begin where the smallest does",
                );
            }
        }
    }
    faults.finish()?;
    labelled(path, report, examples, unlabelled, table.rows.len())
}

/// What a file says is right.
enum Said {
    /// The position of an option.
    Option(usize),
    /// A number, from 0 or from 1.
    Number(usize),
}

/// A key of the options comes before a number, a number before a letter, a letter before the text of an option.
fn said(words: &str, keys: &[String], texts: &[String]) -> Option<Said> {
    let words = words.trim();
    if let Some(at) = keys.iter().position(|key| key == words) {
        return Some(Said::Option(at));
    }
    if let Ok(number) = words.parse() {
        return Some(Said::Number(number));
    }
    let mut letters = words.chars();
    if let (Some(letter), None) = (letters.next(), letters.next())
        && letter.is_ascii_alphabetic()
    {
        let at = (letter.to_ascii_uppercase() as u8 - b'A') as usize;
        if at < texts.len() {
            return Some(Said::Option(at));
        }
    }
    let mut same = texts.iter().enumerate().filter(|(_, text)| text.trim() == words);
    match (same.next(), same.next()) {
        (Some((at, _)), None) => Some(Said::Option(at)),
        _ => None,
    }
}

/// Whether numbers begin at 0 or at 1: at 1 only if one says the last option so and none is 0.
fn first_number(found: &[(Example, Vec<String>, Said)], report: &mut ReadReport) -> usize {
    let numbers: Vec<(usize, usize)> = found
        .iter()
        .filter_map(
            |(_, options, said)| {
                if let Said::Number(number) = said { Some((*number, options.len())) } else { None }
            },
        )
        .collect();
    if numbers.is_empty() {
        return 0;
    }
    let zero = numbers.iter().any(|(number, _)| *number == 0);
    let last = numbers.iter().any(|(number, options)| number == options);
    let from = usize::from(last && !zero);
    let why = match (zero, last) {
        (true, _) => "",
        (false, true) => ", as the largest shows",
        (false, false) => "; neither 0 nor the number of options stands there",
    };
    report.notes.push(format!("right options are numbered from {from}{why}"));
    from
}

/// The text, and the options as they follow it.
fn joined(text: String, question: &str, options: Vec<String>) -> (String, Vec<String>) {
    let (text, question) =
        if text.trim().is_empty() { (question.to_string(), "") } else { (text, question.trim()) };
    if question.is_empty() {
        return (text, options);
    }
    let join = |option: String| match question.contains('_') {
        true => question.replace('_', &option),
        false => format!("{question} {option}"),
    };
    (text, options.into_iter().map(join).collect())
}

enum Options {
    List(usize),
    Columns(Vec<usize>),
}

struct Layout {
    text: usize,
    /// What comes between the text and each option.
    question: Option<usize>,
    /// The question is `cause` or `effect`.
    causes: bool,
    options: Options,
    right: usize,
    id: Option<usize>,
}

impl Layout {
    fn new(path: &Path, table: &Table, options: &ReadOptions) -> Result<Self> {
        let unclear = |role, why: String, option| Error::UnclearColumn {
            path: path.into(),
            role,
            why,
            columns: names_of(table),
            option,
        };
        let said =
            |role, wanted: Option<&String>| wanted.map(|wanted| find(path, table, role, wanted)).transpose();
        let text = said("text", options.text.as_ref())?;
        let question = said("pair", options.pair.as_ref())?;
        let right = said("label", options.label.first())?;
        let mut taken: Vec<usize> = [text, question, right].into_iter().flatten().collect();

        let lists =
            |at: &usize| table.rows.iter().map(|(_, cells)| &cells[*at]).any(|cell| list_of(cell).is_some());
        let list = LIST.iter().find_map(|name| by_name(table, &[name], &taken).filter(lists));
        let found = match list {
            Some(at) => Some(Options::List(at)),
            None => numbered(table, &taken).map(Options::Columns),
        };
        let why = "there is neither a list (choices, options, endings) nor columns like choice0, choice1";
        let found = found.ok_or_else(|| {
            unclear("options", why.into(), "--text for the text, and these names for options")
        })?;
        match &found {
            Options::List(at) => taken.push(*at),
            Options::Columns(columns) => taken.extend(columns),
        }
        let right = match right.or_else(|| by_name(table, RIGHT, &taken)) {
            Some(right) => right,
            None => return Err(unclear("label", format!("none is called {}", RIGHT.join(", ")), "--label")),
        };
        taken.push(right);
        let mut text = text.or_else(|| by_name(table, TEXT, &taken));
        taken.extend(text);
        let mut question = question.or_else(|| by_name(table, QUESTION, &taken));
        if text.is_none() {
            text = question.take();
        }
        let text = text.ok_or_else(|| unclear("text", "none has a usual name".into(), "--text"))?;
        taken.extend(question);
        let id = by_name(table, &["id", "example_id", "ind", "idx"], &taken);
        // COPA's question is one of two words.
        let causes = question.is_some_and(|at| {
            let is = |cell: &Cell| matches!(cell, Cell::Text(word) if word == "cause" || word == "effect");
            table.rows.iter().all(|(_, cells)| is(&cells[at]))
        });
        Ok(Self { text, question, causes, options: found, right, id })
    }

    fn column(&self, table: &Table, at: usize, said: bool) -> ChosenColumn {
        chosen(table, at, if said { "as said" } else { "by its name" })
    }

    /// Keys (where the file has them) and texts of the options of a row, at least two.
    fn options_of(&self, cells: &[Cell]) -> Option<(Vec<String>, Vec<String>)> {
        let (keys, texts) = match &self.options {
            Options::List(at) => list_of(&cells[*at])?,
            Options::Columns(columns) => {
                let mut texts: Vec<String> = Vec::with_capacity(columns.len());
                for &at in columns {
                    match &cells[at] {
                        Cell::Null => texts.push(String::new()),
                        cell => texts.push(cell.words()?),
                    }
                }
                // Questions with fewer options leave the last columns empty.
                while texts.last().is_some_and(|text| text.trim().is_empty()) {
                    texts.pop();
                }
                (Vec::new(), texts)
            }
        };
        let good = texts.len() >= 2 && texts.iter().all(|text| !text.trim().is_empty());
        good.then_some((keys, texts))
    }
}

/// A list of texts, or ARC's object of a list of texts and one of keys, or a list of objects with a text and a key.
fn list_of(cell: &Cell) -> Option<(Vec<String>, Vec<String>)> {
    const TEXT: &[&str] = &["text"];
    const KEY: &[&str] = &["label", "key"];
    let texts = |cells: &[Cell]| cells.iter().map(Cell::words).collect::<Option<Vec<String>>>();
    match cell {
        Cell::List(cells)
            if cells.iter().all(|cell| matches!(cell, Cell::Struct(_))) && !cells.is_empty() =>
        {
            let part = |names: &[&str]| {
                cells.iter().map(|cell| cell.get(names)?.words()).collect::<Option<Vec<_>>>()
            };
            Some((part(KEY).unwrap_or_default(), part(TEXT)?))
        }
        Cell::List(cells) => Some((Vec::new(), texts(cells)?)),
        Cell::Struct(_) => {
            let keys = cell.get(KEY).and_then(Cell::list).and_then(texts).unwrap_or_default();
            let texts = texts(cell.get(TEXT)?.list()?)?;
            (keys.is_empty() || keys.len() == texts.len()).then_some((keys, texts))
        }
        // A list in a cell of CSV.
        Cell::Text(text) if text.trim_start().starts_with('[') => {
            serde_json::from_str::<Vec<String>>(text.trim()).ok().map(|texts| (Vec::new(), texts))
        }
        _ => None,
    }
}

/// At least two columns that differ in their number (from 0 or 1) or letter only.
fn numbered(table: &Table, taken: &[usize]) -> Option<Vec<usize>> {
    let series = |name: &dyn Fn(usize) -> String| -> Vec<usize> {
        (0..26).map_while(|at| by_name(table, &[&name(at)], taken)).collect()
    };
    PARTS.iter().find_map(|part| {
        let letter = |at: usize| format!("{part}{}", char::from(b'a' + at as u8));
        let mut all = vec![series(&letter)];
        if !part.is_empty() {
            all.push(series(&|at| format!("{part}{at}")));
            all.push(series(&|at| format!("{part}{}", at + 1)));
        }
        all.into_iter().find(|columns| columns.len() >= 2)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_may_be_said_in_many_ways() {
        let keys = ["1".to_string(), "2".to_string()];
        let texts = ["a thing".to_string(), "B".to_string()];
        let check = |words: &str, keys: &[String], expected: Option<(bool, usize)>| {
            let found = said(words, keys, &texts).map(|said| match said {
                Said::Option(at) => (true, at),
                Said::Number(number) => (false, number),
            });
            assert_eq!(found, expected, "{words:?}");
        };
        check("1", &keys, Some((true, 0)));
        check("1", &[], Some((false, 1)));
        check(" b ", &[], Some((true, 1)));
        check("a thing", &[], Some((true, 0)));
        check("C", &[], None);
        check("another", &[], None);
    }
}

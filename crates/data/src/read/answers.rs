//! Tables of questions, passages and answers, as HuggingFace lays SQuAD flat.

use std::collections::HashSet;
use std::path::Path;

use super::cell::{Cell, Table};
use super::columns::{by_name, chosen, find, shown as names_of};
use super::faults::{Faults, shown};
use super::offsets::Offsets;
use crate::dataset::{Answer, Dataset, Example, Label};
use crate::report::ReadReport;
use crate::{Error, Format, ReadOptions, Result};

const QUESTION: &[&str] = &["question", "query", "text"];
const PASSAGE: &[&str] = &["context", "passage", "paragraph", "document"];
const ANSWERS: &[&str] = &["answers", "answer"];

pub(super) fn build(path: &Path, format: Format, table: Table, options: &ReadOptions) -> Result<Dataset> {
    let mut taken = Vec::new();
    let mut column = |role: &'static str, said: Option<&String>, names: &[&str], option: &'static str| {
        let found = match said {
            Some(wanted) => (find(path, &table, role, wanted)?, "as said"),
            None => match by_name(&table, names, &taken) {
                Some(at) => (at, "by its name"),
                None => {
                    let why = format!("none is called {}", names.join(", "));
                    let columns = names_of(&table);
                    return Err(Error::UnclearColumn { path: path.into(), role, why, columns, option });
                }
            },
        };
        taken.push(found.0);
        Ok(found)
    };
    if table.rows.is_empty() {
        return Err(Error::Empty { path: path.into(), what: "the file is empty".into() });
    }
    let (question, why) = column("text", options.text.as_ref(), QUESTION, "--text")?;
    let text = chosen(&table, question, why);
    let (passage, why) = column("pair", options.pair.as_ref(), PASSAGE, "--pair")?;
    let pair = chosen(&table, passage, why);
    let (answers, why) = column("label", options.label.first(), ANSWERS, "--label")?;
    let label = chosen(&table, answers, why);
    let [id, impossible] =
        [&["id", "qid", "_id"][..], &["is_impossible"]].map(|names| by_name(&table, names, &taken));

    let rows = table.rows.len();
    let mut gathered = Gathered::new(path, options);
    table.skipped.iter().for_each(|(reason, row)| gathered.skip(reason, *row));
    for (row, cells) in table.rows {
        let id = id.and_then(|id| cells[id].words());
        let (Some(question), Some(passage)) = (cells[question].words(), cells[passage].words()) else {
            if cells[question].is_blank() || cells[passage].is_blank() {
                let empty = if cells[question].is_blank() { "empty question" } else { "empty passage" };
                gathered.skip(empty, row);
            } else {
                let got = format!("{} and {}", cells[question].kind(), cells[passage].kind());
                gathered.fault(
                    row,
                    id.as_deref(),
                    "a question and a passage",
                    got,
                    "correct the row or remove it",
                );
            }
            continue;
        };
        let impossible = impossible.is_some_and(|at| cells[at] == Cell::Bool(true));
        let given = match &cells[answers] {
            Cell::Null => Given::Missing,
            cell => match of_cell(cell) {
                Some(answers) => Given::Answers { answers, impossible, may_lack: true },
                None => {
                    let expected = "answers as lists of text and answer_start";
                    gathered.fault(row, id.as_deref(), expected, cell.show(), "correct the row or remove it");
                    continue;
                }
            },
        };
        let offsets = Offsets::new(&passage);
        gathered.push(row, id, question, &passage, &offsets, given);
    }
    gathered.finish(format, text, pair, label, table.notes, rows)
}

/// Texts and their places: an object of two lists, a list of objects, or one object.
fn of_cell(cell: &Cell) -> Option<Vec<(String, usize)>> {
    const TEXT: &[&str] = &["text"];
    const START: &[&str] = &["answer_start", "start"];
    if let Some(cells) = cell.list() {
        return cells
            .iter()
            .map(|cell| Some((cell.get(TEXT)?.words()?, cell.get(START)?.count()?)))
            .collect();
    }
    match (cell.get(TEXT)?, cell.get(START)?) {
        (Cell::List(texts), Cell::List(starts)) => {
            let both = texts.iter().zip(starts);
            (texts.len() == starts.len())
                .then(|| both.map(|(text, start)| Some((text.words()?, start.count()?))).collect())?
        }
        (text, start) => Some(vec![(text.words()?, start.count()?)]),
    }
}

/// What a file says about the answers to a question; places in characters.
pub(super) enum Given {
    /// Nothing.
    Missing,
    /// These.
    Answers {
        answers: Vec<(String, usize)>,
        /// Said to have no answer in the passage.
        impossible: bool,
        /// No answer means that there is none, without further words.
        may_lack: bool,
    },
}

/// The questions of a file so far.
pub(super) struct Gathered<'a> {
    path: &'a Path,
    options: &'a ReadOptions,
    faults: Faults<'a>,
    examples: Vec<Example>,
    skipped: Vec<(String, usize)>,
    unlabelled: Vec<usize>,
    ids: HashSet<String>,
    without: usize,
}

impl<'a> Gathered<'a> {
    pub fn new(path: &'a Path, options: &'a ReadOptions) -> Self {
        Self {
            path,
            options,
            faults: Faults::new(path),
            examples: Vec::new(),
            skipped: Vec::new(),
            unlabelled: Vec::new(),
            ids: HashSet::new(),
            without: 0,
        }
    }

    pub fn skip(&mut self, reason: &str, row: usize) {
        self.skipped.push((reason.into(), row));
    }

    pub fn fault(&mut self, row: usize, id: Option<&str>, expected: &str, got: String, way_out: &str) {
        match id {
            Some(id) => self.faults.add(format_args!("question {id}"), expected, got, way_out),
            None => self.faults.add(format_args!("row {row}"), expected, got, way_out),
        }
    }

    /// Takes a question; every answer must stand in the passage where it is said to.
    pub fn push(
        &mut self,
        row: usize,
        id: Option<String>,
        question: String,
        passage: &str,
        offsets: &Offsets,
        given: Given,
    ) {
        if question.trim().is_empty() {
            return self.skip("empty question", row);
        }
        if passage.trim().is_empty() {
            return self.skip("empty passage", row);
        }
        if let Some(id) = &id
            && !self.ids.insert(id.clone())
        {
            return self.fault(
                row,
                Some(id),
                "different ids",
                format!("this one again in row {row}"),
                "rename one",
            );
        }
        let Given::Answers { answers, impossible, may_lack } = given else {
            return match self.options.skip_unlabelled {
                true => self.skip("no label", row),
                false => self.unlabelled.push(row),
            };
        };
        if impossible && !answers.is_empty() {
            let got = format!("{} though it says is_impossible", answers.len());
            return self.fault(row, id.as_deref(), "no answer", got, "correct the question or remove it");
        }
        if answers.is_empty() && !impossible && !may_lack {
            let way_out = "give it an answer, or say is_impossible";
            return self.fault(row, id.as_deref(), "an answer", "none".into(), way_out);
        }
        let mut found = Vec::with_capacity(answers.len());
        for (text, start) in answers {
            let at = offsets.byte(start);
            match at.filter(|&at| !text.trim().is_empty() && passage[at..].starts_with(&text)) {
                Some(start) => found.push(Answer { start, text }),
                None => {
                    let there = at.map_or_else(
                        || format!("its end, at character {}", offsets.len()),
                        |at| shown(&passage[at..].chars().take(text.chars().count()).collect::<String>()),
                    );
                    let else_where = match passage.find(&text).filter(|_| !text.trim().is_empty()) {
                        Some(byte) => format!("; it stands at character {}", offsets.character(byte)),
                        None => "; it stands nowhere in the passage".into(),
                    };
                    let expected = format!("the answer {} at character {start} of the passage", shown(&text));
                    let way_out = "correct answer_start, which counts characters from 0";
                    return self.fault(row, id.as_deref(), &expected, there + &else_where, way_out);
                }
            }
        }
        self.without += usize::from(found.is_empty());
        let label = (!matches!(self.options.task, crate::Task::Unlabelled)).then_some(Label::Answers(found));
        self.examples.push(Example { text: question, pair: Some(passage.into()), label, row, id });
    }

    pub fn finish(
        self,
        format: Format,
        text: crate::ChosenColumn,
        pair: crate::ChosenColumn,
        label: crate::ChosenColumn,
        mut notes: Vec<String>,
        rows_read: usize,
    ) -> Result<Dataset> {
        let path = self.path;
        self.faults.finish()?;
        let skipped = self.skipped.iter().filter(|(reason, _)| reason == "no label").map(|(_, row)| *row);
        let unlabelled: Vec<usize> = self.unlabelled.iter().copied().chain(skipped).collect();
        if !self.unlabelled.is_empty() || self.examples.is_empty() && !unlabelled.is_empty() {
            return Err(Error::MissingLabel {
                path: path.into(),
                column: label.name,
                first: unlabelled.iter().take(5).copied().collect(),
                count: unlabelled.len(),
                rows: rows_read,
            });
        }
        if self.examples.is_empty() {
            return Err(Error::Empty { path: path.into(), what: "there is no question in the file".into() });
        }
        if self.without > 0 {
            notes.push(format!(
                "{} of {} questions have no answer in their passage",
                self.without,
                self.examples.len()
            ));
        }
        let mut report = ReadReport {
            path: path.into(),
            format,
            text,
            pair: Some(pair),
            label: vec![label],
            rows_read,
            skipped: Vec::new(),
            notes,
        };
        self.skipped.iter().for_each(|(reason, row)| report.skip(reason, *row));
        Ok(Dataset { examples: self.examples, report, files: Vec::new(), pictures: false })
    }
}

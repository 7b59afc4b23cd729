//! Conversations, exchange by exchange: what one side is like, what was said so far, and the reply, with others that it is told from.
//!
//! Two layouts are read: PersonaChat's JSON as HuggingFace published it for TransferTransfo (splits of conversations, of which each
//! exchange has all that was said before it and candidates, the right one last), and tables of an exchange a row.
//!
//! Paper: Zhang et al. 2018, "Personalizing Dialogue Agents: I have a dog, do you have pets too?", section 3,
//! <https://arxiv.org/abs/1801.07243>; Wolf et al. 2019, "TransferTransfo", section 2, <https://arxiv.org/abs/1901.08149>

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::cell::{Cell, Table};
use super::columns::{by_name, chosen, find, shown as names_of};
use super::faults::{Faults, labelled, shown};
use super::source::Source;
use crate::dataset::{Dataset, Example, Exchange, Label};
use crate::report::{ChosenColumn, ReadReport};
use crate::{Error, Format, ReadOptions, Result, Task};

const PERSONA: &[&str] = &["persona", "personality", "personas", "your_persona", "profile"];
const HISTORY: &[&str] = &["history", "context", "dialog", "dialogue", "turns", "utterances"];
const REPLY: &[&str] = &["reply", "response", "answer", "target", "label"];
const CANDIDATES: &[&str] = &["candidates", "options", "choices"];

/// The split that is read when none is said.
const TRAIN: &str = "train";

#[derive(Deserialize)]
struct Conversation {
    #[serde(default)]
    personality: Vec<String>,
    utterances: Vec<Utterance>,
}

#[derive(Deserialize)]
struct Utterance {
    history: Vec<String>,
    candidates: Vec<String>,
}

/// Reads PersonaChat's JSON: an object of splits, or the list of one.
pub(super) fn read(source: &Source, options: &ReadOptions) -> Result<Dataset> {
    let mut bytes = Vec::new();
    source.open()?.read_to_end(&mut bytes).map_err(|error| source.failed(error))?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let wrong = |error: serde_json::Error| {
        Error::Record {
        place: format!("{} line {}", source.path().display(), error.line()),
        expected: "PersonaChat's layout: splits of conversations with personality and utterances, each with history and \
                   candidates"
            .into(),
        got: error.to_string(),
        count: 1,
        way_out: "exchanges one a line are read with the format jsonl".into(),
    }
    };
    let list = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let mut notes =
        vec!["rows are exchanges, counted from 1; the last candidate is the right one".to_string()];
    let conversations: Vec<Conversation> = if list {
        serde_json::from_slice(bytes).map_err(wrong)?
    } else {
        let mut splits: BTreeMap<String, Vec<Conversation>> = serde_json::from_slice(bytes).map_err(wrong)?;
        let names: Vec<String> = splits.keys().cloned().collect();
        let only = names.first().filter(|_| names.len() == 1).map(String::as_str);
        let wanted = options.split.as_deref().or(only).unwrap_or(TRAIN);
        let Some(found) = splits.remove(wanted) else {
            let what = format!("there is no split {wanted:?} in it; there are {}", names.join(", "));
            return Err(Error::Empty { path: source.path().into(), what });
        };
        notes.push(format!("split {wanted} of {}", names.join(", ")));
        found
    };
    let mut gathered = Gathered::new(source.path(), options);
    let mut row = 0;
    for (number, conversation) in conversations.into_iter().enumerate() {
        for (at, Utterance { history, candidates }) in conversation.utterances.into_iter().enumerate() {
            row += 1;
            let given = Given {
                persona: conversation.personality.clone(),
                history,
                // Without any candidate there is no reply either, which is said.
                reply: candidates.last().cloned(),
                candidates: Some(candidates),
            };
            let place = format!("row {row} (conversation {}, exchange {})", number + 1, at + 1);
            gathered.push(row, &place, Some(number), None, given);
        }
    }
    let column = |name: &str| ChosenColumn { name: name.into(), why: "by the format".into() };
    let report = ReadReport {
        path: source.path().into(),
        format: Format::PersonaChat,
        text: column("history"),
        pair: Some(column("personality")),
        label: vec![column("candidates")],
        rows_read: row,
        skipped: Vec::new(),
        notes,
    };
    gathered.finish(report)
}

/// True when the sample has the keys of PersonaChat's layout.
pub(super) fn looks_so(sample: &[u8]) -> bool {
    let text = String::from_utf8_lossy(sample);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let keys = ["\"utterances\"", "\"history\"", "\"candidates\""];
    text.starts_with(['{', '[']) && keys.iter().all(|key| text.contains(key))
}

/// The exchanges of a table.
pub(super) fn build(path: &Path, format: Format, table: Table, options: &ReadOptions) -> Result<Dataset> {
    if table.rows.is_empty() {
        return Err(Error::Empty { path: path.into(), what: "the file is empty".into() });
    }
    let layout = Layout::new(path, &table, options)?;
    let column = |at: usize, said: bool| chosen(&table, at, if said { "as said" } else { "by its name" });
    let right = layout.reply.or(layout.candidates).unwrap_or(layout.history);
    let mut report = ReadReport {
        path: path.into(),
        format,
        text: column(layout.history, options.text.is_some()),
        pair: layout.persona.map(|at| column(at, options.pair.is_some())),
        label: vec![column(right, !options.label.is_empty())],
        rows_read: table.rows.len(),
        skipped: Vec::new(),
        notes: table.notes.clone(),
    };
    table.skipped.iter().for_each(|(reason, row)| report.skip(reason, *row));
    match (layout.reply, layout.candidates) {
        (None, _) => report.notes.push("no column of replies: the last candidate is the right one".into()),
        (Some(_), Some(at)) => {
            report.notes.push(format!("candidates from column {:?}", table.columns[at]));
        }
        (Some(_), None) => {}
    }
    let mut gathered = Gathered::new(path, options);
    for (row, cells) in &table.rows {
        let place = format!("row {row}");
        let mut wrong = |expected: &str, at: usize| {
            gathered.faults.add(&place, expected, cells[at].show(), "correct the row or remove it");
        };
        let persona = match layout.persona.map(|at| texts(&cells[at]).ok_or(at)) {
            None => Vec::new(),
            Some(Ok(persona)) => persona,
            Some(Err(at)) => {
                wrong("a persona as a list of sentences", at);
                continue;
            }
        };
        let Some(history) = texts(&cells[layout.history]) else {
            wrong("a history as a list of turns", layout.history);
            continue;
        };
        let candidates = match layout.candidates.map(|at| (&cells[at], at)) {
            None | Some((Cell::Null, _)) => None,
            Some((cell, at)) => match cell.list().and_then(|_| texts(cell)) {
                Some(candidates) => Some(candidates),
                None => {
                    wrong("candidates as a list of texts", at);
                    continue;
                }
            },
        };
        let reply = match layout.reply.map(|at| &cells[at]) {
            None => candidates.as_ref().and_then(|candidates| candidates.last().cloned()),
            Some(cell) => cell.words(),
        };
        let id = layout.id.and_then(|id| cells[id].words());
        gathered.push(*row, &place, None, id, Given { persona, history, reply, candidates });
    }
    gathered.finish(report)
}

/// A list of texts; a text alone is a list of one, nothing an empty list.
fn texts(cell: &Cell) -> Option<Vec<String>> {
    match cell {
        Cell::Null => Some(Vec::new()),
        Cell::List(cells) => cells.iter().map(Cell::words).collect(),
        cell if cell.is_blank() => Some(Vec::new()),
        cell => cell.words().map(|text| vec![text]),
    }
}

/// Which columns are used.
struct Layout {
    history: usize,
    persona: Option<usize>,
    reply: Option<usize>,
    candidates: Option<usize>,
    id: Option<usize>,
}

impl Layout {
    fn new(path: &Path, table: &Table, options: &ReadOptions) -> Result<Self> {
        let unclear = |role, names: &[&str], option| Error::UnclearColumn {
            path: path.into(),
            role,
            why: format!("none is called {}", names.join(", ")),
            columns: names_of(table),
            option,
        };
        let said =
            |role, wanted: Option<&String>| wanted.map(|wanted| find(path, table, role, wanted)).transpose();
        let history = said("history", options.text.as_ref())?;
        let persona = said("persona", options.pair.as_ref())?;
        let reply = said("reply", options.label.first())?;
        let mut taken: Vec<usize> = [history, persona, reply].into_iter().flatten().collect();
        let candidates = by_name(table, CANDIDATES, &taken);
        taken.extend(candidates);
        let history = history.or_else(|| by_name(table, HISTORY, &taken));
        let history = history.ok_or_else(|| unclear("history", HISTORY, "--text"))?;
        taken.push(history);
        let reply = reply.or_else(|| by_name(table, REPLY, &taken));
        if reply.is_none() && candidates.is_none() {
            return Err(unclear("reply", REPLY, "--label"));
        }
        taken.extend(reply);
        let persona = persona.or_else(|| by_name(table, PERSONA, &taken));
        taken.extend(persona);
        let id = by_name(table, &["id", "conv_id", "conversation_id", "dialog_id"], &taken);
        Ok(Self { history, persona, reply, candidates, id })
    }
}

/// What a file says of an exchange.
struct Given {
    persona: Vec<String>,
    history: Vec<String>,
    reply: Option<String>,
    candidates: Option<Vec<String>>,
}

/// The exchanges of a file so far.
struct Gathered<'a> {
    options: &'a ReadOptions,
    faults: Faults<'a>,
    examples: Vec<Example>,
    /// Rows without a reply.
    unlabelled: Vec<usize>,
    /// The same, where such rows are left out.
    left_out: Vec<usize>,
    /// Conversations so far.
    conversations: usize,
    path: &'a Path,
}

impl<'a> Gathered<'a> {
    fn new(path: &'a Path, options: &'a ReadOptions) -> Self {
        Gathered {
            options,
            faults: Faults::new(path),
            examples: Vec::new(),
            unlabelled: Vec::new(),
            left_out: Vec::new(),
            conversations: 0,
            path,
        }
    }

    /// Takes an exchange. Without the number of its conversation it belongs to that of the exchange before, if it goes on from it.
    fn push(&mut self, row: usize, place: &str, number: Option<usize>, id: Option<String>, given: Given) {
        let Given { persona, history, reply, candidates } = given;
        let way_out = "correct the row or remove it";
        let blank = |texts: &[String]| texts.iter().any(|text| text.trim().is_empty());
        let Some(last) = history.last() else {
            return self.faults.add(place, "a history of at least one turn", "an empty one", way_out);
        };
        if blank(&history) || blank(&persona) {
            let got = "one that is empty";
            return self.faults.add(place, "turns and sentences with something in them", got, way_out);
        }
        if self.options.task == Task::Unlabelled {
            self.conversations = self.conversations.max(number.unwrap_or_default() + 1);
            self.examples.push(Example { text: last.clone(), pair: None, label: None, row, id });
            return;
        }
        let Some(reply) = reply.filter(|reply| !reply.trim().is_empty()) else {
            match self.options.skip_unlabelled {
                true => self.left_out.push(row),
                false => self.unlabelled.push(row),
            }
            return;
        };
        let (candidates, right) = match candidates {
            None => (vec![reply], 0),
            Some(candidates) => {
                if blank(&candidates) {
                    let expected = "candidates with something in them";
                    return self.faults.add(place, expected, "one that is empty", way_out);
                }
                let different: HashSet<&str> = candidates.iter().map(|text| text.trim()).collect();
                // The last of equals, as the published file has the right one.
                let Some(right) = candidates.iter().rposition(|text| text.trim() == reply.trim()) else {
                    let expected = format!("the reply among its {} candidates", candidates.len());
                    return self.faults.add(place, expected, shown(&reply), way_out);
                };
                if different.len() < 2 {
                    let got = format!("{}, all the same", candidates.len());
                    let got = if candidates.len() == 1 { "one".to_string() } else { got };
                    let way_out =
                        "add wrong ones, or leave the candidates out: then they are drawn from other replies";
                    return self.faults.add(place, "at least two different candidates", got, way_out);
                }
                (candidates, right)
            }
        };
        let goes_on = |example: &Example| match &example.label {
            Some(Label::Exchange(before)) => {
                before.persona == persona
                    && history.len() > before.history.len()
                    && history.starts_with(&before.history)
            }
            _ => false,
        };
        let conversation = number.unwrap_or_else(|| {
            let same = self.examples.last().is_some_and(goes_on);
            if same { self.conversations - 1 } else { self.conversations }
        });
        self.conversations = self.conversations.max(conversation + 1);
        let text = last.clone();
        let label = Some(Label::Exchange(Exchange { conversation, persona, history, candidates, right }));
        self.examples.push(Example { text, pair: None, label, row, id });
    }

    fn finish(mut self, mut report: ReadReport) -> Result<Dataset> {
        let mut drawn = self.examples.iter().filter_map(|example| match &example.label {
            Some(Label::Exchange(exchange)) if exchange.candidates.len() == 1 => {
                Some((example.row, exchange.candidates[0].trim()))
            }
            _ => None,
        });
        if let Some((row, first)) = drawn.next() {
            let all = self.examples.iter().filter_map(|example| match &example.label {
                Some(Label::Exchange(exchange)) => Some(exchange.reply().trim()),
                _ => None,
            });
            let different = all.into_iter().any(|reply| reply != first);
            let without = 1 + drawn.count();
            if !different && self.unlabelled.is_empty() {
                let expected = "at least two different replies in the file, or candidates";
                let got = format!("{} everywhere", shown(first));
                let way_out = "a reply is told from others: give some, or candidates";
                self.faults.add(format_args!("row {row}"), expected, got, way_out);
            }
            report
                .notes
                .push(format!("{without} exchanges have no candidates: those are drawn from other replies"));
        }
        self.faults.finish()?;
        if self.examples.is_empty() && self.unlabelled.is_empty() && self.left_out.is_empty() {
            let what = "there is no exchange in the file".into();
            return Err(Error::Empty { path: self.path.into(), what });
        }
        self.left_out.iter().for_each(|row| report.skip("no label", *row));
        report.notes.push(format!(
            "{} exchanges of {} conversations",
            self.examples.len(),
            self.conversations
        ));
        let rows = report.rows_read;
        labelled(self.path, report, self.examples, self.unlabelled, rows)
    }
}

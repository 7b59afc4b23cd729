//! Tables of texts with two marked spans each and how they are related, in the columns of the usual collections.
//!
//! The spans stand in one column of both, in a column each (as lists `[start, end]` or objects with these), in four columns of
//! numbers, or as the marks `<e1>`, `</e1>`, `<e2>`, `</e2>` in the text itself. Starts count from 0, ends stand behind the last.
//! They count characters; where the text is a list of words, words. With a second text, the second span is in that one.

use std::ops::Range;
use std::path::Path;

use super::cell::{Cell, Table};
use super::columns::{PAIRS, by_name, chosen, find, shown as names_of};
use super::faults::{Faults, labelled, shown};
use super::offsets::Offsets;
use crate::dataset::{Dataset, Example, Label, Related};
use crate::report::ReadReport;
use crate::{Error, Format, ReadOptions, Result, Task};

/// Lists of words, FewRel's and TACRED's first.
const WORDS: &[&str] = &["tokens", "token", "words"];
const TEXT: &[&str] = &["text", "sentence", "sentence1", "text1", "context", "content", "document"];
const LABEL: &[&str] = &["relation", "label", "labels", "class", "relation_type", "predicate", "target"];
/// One column of both spans.
const BOTH: &[&str] = &["spans", "entities", "mentions"];
/// A column for each span.
const EACH: &[(&str, &str)] = &[
    ("span1", "span2"),
    ("e1", "e2"),
    ("entity1", "entity2"),
    ("h", "t"),
    ("head", "tail"),
    ("subject", "object"),
    ("subj", "obj"),
    ("arg1", "arg2"),
];
/// Four columns of numbers.
const ENDS: &[[&str; 4]] = &[
    ["start1", "end1", "start2", "end2"],
    ["span1_start", "span1_end", "span2_start", "span2_end"],
    ["e1_start", "e1_end", "e2_start", "e2_end"],
    ["head_start", "head_end", "tail_start", "tail_end"],
    ["subject_start", "subject_end", "object_start", "object_end"],
    TACRED,
];
/// The only ones whose ends are the last words themselves.
const TACRED: [&str; 4] = ["subj_start", "subj_end", "obj_start", "obj_end"];
/// Marks in the text, as SemEval 2010 has them.
const MARKS: [&str; 4] = ["<e1>", "</e1>", "<e2>", "</e2>"];

const START: &[&str] = &["start", "start_offset", "start_char", "begin", "from"];
const END: &[&str] = &["end", "end_offset", "end_char", "to"];
const POSITION: &[&str] = &["pos", "position", "span", "offset", "offsets"];

pub(super) fn build(path: &Path, format: Format, table: Table, options: &ReadOptions) -> Result<Dataset> {
    if table.rows.is_empty() {
        return Err(Error::Empty { path: path.into(), what: "the file is empty".into() });
    }
    let layout = Layout::new(path, &table, options)?;
    let names = table.names(layout.label, options);
    let column = |at: usize, said: bool| chosen(&table, at, if said { "as said" } else { "by its name" });
    let mut report = ReadReport {
        path: path.into(),
        format,
        text: column(layout.text, options.text.is_some()),
        pair: layout.pair.map(|at| column(at, options.pair.is_some())),
        label: layout.label.iter().map(|&at| column(at, !options.label.is_empty())).collect(),
        rows_read: table.rows.len(),
        skipped: Vec::new(),
        notes: table.notes.clone(),
    };
    table.skipped.iter().for_each(|(reason, row)| report.skip(reason, *row));
    report.notes.push(layout.note(&table));
    if !names.is_empty() && layout.label.is_some() {
        report.notes.push(format!("numbers of labels have the names {}", names.join(", ")));
    }
    let id = by_name(&table, &["id", "guid", "idx"], &layout.taken());
    let mut faults = Faults::new(path);
    let mut unlabelled = Vec::new();
    let mut examples = Vec::with_capacity(table.rows.len());
    for (row, cells) in &table.rows {
        let row = *row;
        let empty = |at: usize| cells[at].is_blank() || cells[at].list().is_some_and(<[Cell]>::is_empty);
        if empty(layout.text) || layout.pair.is_some_and(empty) {
            report.skip("empty text", row);
            continue;
        }
        let name = match layout.label.map(|at| &cells[at]) {
            None => None,
            Some(cell) => match class(cell, &names) {
                Ok(Some(name)) => Some(name),
                Ok(None) if options.skip_unlabelled => {
                    report.skip("no label", row);
                    continue;
                }
                Ok(None) => {
                    unlabelled.push(row);
                    continue;
                }
                Err(expected) => {
                    faults.add(
                        format_args!("row {row}"),
                        expected,
                        cell.show(),
                        "correct the row or the names",
                    );
                    continue;
                }
            },
        };
        match layout.texts(cells) {
            Ok((text, pair, spans)) => {
                let id = id.and_then(|id| cells[id].words());
                let label = Some(Label::Related(Related { spans, name }));
                examples.push(Example { text, pair, label, row, id });
            }
            Err((expected, got)) => {
                faults.add(format_args!("row {row}"), expected, got, "correct the row or remove it");
            }
        }
    }
    faults.finish()?;
    labelled(path, report, examples, unlabelled, table.rows.len())
}

/// The class a cell names; `None` if it names none; else what was expected.
fn class(cell: &Cell, names: &[String]) -> std::result::Result<Option<String>, String> {
    match cell {
        Cell::Number(number) if !names.is_empty() => {
            let name = number.parse::<usize>().ok().and_then(|number| names.get(number));
            name.map(|name| Some(name.clone()))
                .ok_or_else(|| format!("a number of the {} classes", names.len()))
        }
        cell if cell.is_blank() => Ok(None),
        cell => cell.words().map(|name| Some(name.trim().to_string())).ok_or_else(|| "one class".to_string()),
    }
}

/// Where the spans of a row are told.
enum Spans {
    Both(usize),
    Each([usize; 2]),
    Ends([usize; 4]),
    Marks,
}

/// Which columns are used.
struct Layout {
    text: usize,
    pair: Option<usize>,
    label: Option<usize>,
    spans: Spans,
    /// Ends are the last words themselves.
    inclusive: bool,
    /// The text is a list of words.
    words: bool,
}

/// What was expected, and what is there.
type Fault = (String, String);

/// A text, the second one, and the spans.
type Texts = (String, Option<String>, [Range<usize>; 2]);

impl Layout {
    fn new(path: &Path, table: &Table, options: &ReadOptions) -> Result<Self> {
        let unclear = |role, why: &str, option| Error::UnclearColumn {
            path: path.into(),
            role,
            why: why.into(),
            columns: names_of(table),
            option,
        };
        let said =
            |role, wanted: Option<&String>| wanted.map(|wanted| find(path, table, role, wanted)).transpose();
        let (text, mut pair) = (said("text", options.text.as_ref())?, said("pair", options.pair.as_ref())?);
        let lists = |at: usize| {
            table
                .rows
                .iter()
                .map(|(_, cells)| &cells[at])
                .find(|cell| **cell != Cell::Null)
                .is_some_and(|cell| cell.list().is_some())
        };
        let by_pair = || {
            let names = [("text", "pair"), ("text", "text_pair"), ("context1", "context2")];
            names.iter().chain(PAIRS).find_map(|(first, second)| {
                Some((by_name(table, &[first], &[])?, by_name(table, &[second], &[])?))
            })
        };
        let text = match text {
            Some(text) => text,
            None => {
                let words = by_name(table, WORDS, &[]).filter(|&at| lists(at));
                let two = by_pair().filter(|_| pair.is_none() && words.is_none());
                pair = pair.or(two.map(|(_, second)| second));
                let named = || by_name(table, TEXT, &[]);
                let why = "none has a usual name for a text or for a list of words";
                let text = words.or(two.map(|(first, _)| first)).or_else(named);
                text.ok_or_else(|| unclear("text", why, "--text"))?
            }
        };
        let mut taken: Vec<usize> = std::iter::once(text).chain(pair).collect();
        let label = match (options.task, options.label.first()) {
            (Task::Spans, _) => None,
            (_, Some(wanted)) => Some(find(path, table, "label", wanted)?),
            _ => {
                let label = by_name(table, LABEL, &taken);
                let why = format!("none is called {}", LABEL.join(", "));
                Some(label.ok_or_else(|| unclear("label", &why, "--label"))?)
            }
        };
        taken.extend(label);
        let (words, mut inclusive) = (lists(text), false);
        let holds = |at: usize| table.rows.iter().any(|(_, cells)| ends(&cells[at]).is_some());
        let each = || {
            EACH.iter().find_map(|(first, second)| {
                let columns = [by_name(table, &[first], &taken)?, by_name(table, &[second], &taken)?];
                columns.iter().all(|&at| holds(at)).then_some(Spans::Each(columns))
            })
        };
        let mut four = || {
            ENDS.iter().find_map(|names| {
                let columns: Option<Vec<usize>> =
                    names.iter().map(|name| by_name(table, &[name], &taken)).collect();
                inclusive = *names == TACRED;
                <[usize; 4]>::try_from(columns?).ok().map(Spans::Ends)
            })
        };
        let both = || {
            let lists = |at: &usize| table.rows.iter().any(|(_, cells)| both_of(&cells[*at]).is_some());
            BOTH.iter().find_map(|name| by_name(table, &[name], &taken).filter(lists)).map(Spans::Both)
        };
        let marks = || {
            let marked = |text: String| MARKS.iter().all(|mark| text.contains(mark));
            let first = table.rows.iter().find_map(|(_, cells)| cells[text].words());
            (pair.is_none() && first.is_some_and(marked)).then_some(Spans::Marks)
        };
        let why = "no columns tell two spans (span1 and span2 as [start, end]; spans as a list of two; start1, end1, start2, \
                   end2; h and t with pos), nor does the text have <e1> and <e2>";
        let spans = each().or_else(&mut four).or_else(both).or_else(marks);
        let spans = spans.ok_or_else(|| unclear("spans", why, "one of these, named so"))?;
        let inclusive = inclusive && matches!(spans, Spans::Ends(_));
        Ok(Self { text, pair, label, spans, inclusive, words })
    }

    /// The columns that are no ids.
    fn taken(&self) -> Vec<usize> {
        std::iter::once(self.text).chain(self.pair).chain(self.label).collect()
    }

    fn note(&self, table: &Table) -> String {
        let name = |at: &usize| table.columns[*at].clone();
        let columns = |columns: &[usize]| columns.iter().map(name).collect::<Vec<_>>().join(", ");
        let unit = if self.words { "words" } else { "characters" };
        let last = if self.inclusive { ", the end counted" } else { "" };
        match &self.spans {
            Spans::Both(at) => format!("two spans from column {}, in {unit}", name(at)),
            Spans::Each(at) => format!("two spans from columns {}, in {unit}", columns(at)),
            Spans::Ends(at) => format!("two spans from columns {}, in {unit}{last}", columns(at)),
            Spans::Marks => "two spans from <e1> and <e2> in the text, which are taken out".into(),
        }
    }

    fn texts(&self, cells: &[Cell]) -> std::result::Result<Texts, Fault> {
        let told = match &self.spans {
            Spans::Marks => {
                let text = cells[self.text].words().unwrap_or_default();
                let got =
                    || ("one each of <e1>, </e1>, <e2> and </e2>, each ended".to_string(), shown(&text));
                let (text, spans) = unmarked(&text).ok_or_else(got)?;
                let spans = [within(&text, &spans[0])?, within(&text, &spans[1])?];
                return Ok((text, None, spans));
            }
            Spans::Both(at) => both_of(&cells[*at])
                .ok_or_else(|| ("two spans, each with start and end".to_string(), cells[*at].show()))?,
            Spans::Each(columns) => {
                let of = |at: usize| {
                    ends(&cells[at])
                        .ok_or_else(|| ("a span with start and end".to_string(), cells[at].show()))
                };
                [of(columns[0])?, of(columns[1])?]
            }
            Spans::Ends(columns) => {
                let of = |at: usize| {
                    cells[at].count().ok_or_else(|| ("a number from 0".to_string(), cells[at].show()))
                };
                let [from, to, second_from, second_to] = *columns;
                let more = usize::from(self.inclusive);
                [(of(from)?, of(to)? + more), (of(second_from)?, of(second_to)? + more)]
            }
        };
        let first = Written::new(&cells[self.text], self.words)?;
        let second = self.pair.map(|at| Written::new(&cells[at], self.words)).transpose()?;
        let spans = [first.bytes(told[0])?, second.as_ref().unwrap_or(&first).bytes(told[1])?];
        Ok((first.text, second.map(|second| second.text), spans))
    }
}

/// A text, with the places of its words where it is a list of them.
struct Written {
    text: String,
    words: Option<Vec<Range<usize>>>,
}

impl Written {
    fn new(cell: &Cell, words: bool) -> std::result::Result<Self, Fault> {
        let wrong = |expected: &str| (expected.to_string(), cell.show());
        if !words {
            return Ok(Self { text: cell.words().ok_or_else(|| wrong("a text"))?, words: None });
        }
        let (mut text, mut places) = (String::new(), Vec::new());
        for word in cell.list().ok_or_else(|| wrong("a list of words"))? {
            let word = word.words().ok_or_else(|| wrong("a list of words"))?;
            if !text.is_empty() {
                text.push(' ');
            }
            places.push(text.len()..text.len() + word.len());
            text.push_str(&word);
        }
        Ok(Self { text, words: Some(places) })
    }

    /// A span in bytes.
    fn bytes(&self, (start, end): (usize, usize)) -> std::result::Result<Range<usize>, Fault> {
        let (found, count, unit) = match &self.words {
            None => {
                let offsets = Offsets::new(&self.text);
                (offsets.byte(start).zip(offsets.byte(end)), offsets.len(), "characters")
            }
            Some(places) => {
                let last = end.checked_sub(1).and_then(|last| places.get(last));
                let ends = places.get(start).zip(last).map(|(first, last)| (first.start, last.end));
                (ends, places.len(), "words")
            }
        };
        let wrong = |expected: String| (expected, format!("{start} to {end}"));
        let (from, to) = found.ok_or_else(|| wrong(format!("spans within the {count} {unit}")))?;
        if from >= to {
            return Err(wrong("spans with something in them".to_string()));
        }
        within(&self.text, &(from..to))
    }
}

/// A span without the space at its ends.
fn within(text: &str, span: &Range<usize>) -> std::result::Result<Range<usize>, Fault> {
    let inner = &text[span.clone()];
    let from = span.start + (inner.len() - inner.trim_start().len());
    match inner.trim().len() {
        0 => Err(("spans with something in them".to_string(), shown(inner))),
        length => Ok(from..from + length),
    }
}

/// Start and end out of a list of both, of an object, or of FewRel's name, id and places.
fn ends(cell: &Cell) -> Option<(usize, usize)> {
    let number = |cell: &Cell| if matches!(cell, Cell::Number(_)) { cell.count() } else { None };
    match cell {
        Cell::List(cells) => match cells.as_slice() {
            [_, _, Cell::List(places)] => {
                // Each place is a list of words; the first is taken.
                let words: Vec<usize> = places.first()?.list()?.iter().map(number).collect::<Option<_>>()?;
                Some((*words.first()?, words.last()? + 1))
            }
            [start, end] | [start, end, _] => Some((number(start)?, number(end)?)),
            _ => None,
        },
        Cell::Struct(_) => match (cell.get(START), cell.get(END)) {
            (Some(start), Some(end)) => Some((number(start)?, number(end)?)),
            _ => ends(cell.get(POSITION)?),
        },
        // A list in a cell of CSV.
        Cell::Text(text) if text.trim_start().starts_with('[') => {
            let [start, end] = serde_json::from_str::<[usize; 2]>(text.trim()).ok()?;
            Some((start, end))
        }
        _ => None,
    }
}

fn both_of(cell: &Cell) -> Option<[(usize, usize); 2]> {
    match cell.list()? {
        [first, second] => Some([ends(first)?, ends(second)?]),
        _ => None,
    }
}

/// The text without the marks, and what stood between them.
fn unmarked(text: &str) -> Option<(String, [Range<usize>; 2])> {
    let mut found = Vec::with_capacity(4);
    for (number, mark) in MARKS.iter().enumerate() {
        let mut places = text.match_indices(mark);
        let (place, _) = places.next()?;
        if places.next().is_some() {
            return None;
        }
        found.push((place, mark.len(), number));
    }
    found.sort_unstable();
    let (mut clean, mut at, mut places) = (String::with_capacity(text.len()), 0, [0; 4]);
    for (place, length, number) in found {
        clean.push_str(&text[at..place]);
        places[number] = clean.len();
        at = place + length;
    }
    clean.push_str(&text[at..]);
    let [start, end, second_start, second_end] = places;
    (start < end && second_start < second_end).then_some((clean, [start..end, second_start..second_end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_taken_out_of_a_text() {
        let check = |text: &str, expected: Option<(&str, [&str; 2])>| {
            let found = unmarked(text);
            let found = found
                .as_ref()
                .map(|(text, spans)| (text.as_str(), [&text[spans[0].clone()], &text[spans[1].clone()]]));
            assert_eq!(found, expected, "{text:?}");
        };
        check(
            "The <e1>\u{e9}tude</e1> of <e2>ice</e2>.",
            Some(("The \u{e9}tude of ice.", ["\u{e9}tude", "ice"])),
        );
        check("<e2>a</e2><e1>b</e1>", Some(("ab", ["b", "a"])));
        check("<e1>a <e2>b</e2></e1>", Some(("a b", ["a b", "b"])));
        check("<e1>a</e1> b", None);
        check("<e1>a</e1> <e1>a</e1> <e2>b</e2>", None);
        check("<e1></e1> <e2>b</e2>", None);
        check("</e1>a<e1> <e2>b</e2>", None);
    }
}

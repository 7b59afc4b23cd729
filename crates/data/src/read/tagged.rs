//! Tables of tagged words: a list of words and a list of tags, or a text and spans in it.
//!
//! Spans count characters, as doccano, spaCy and prodigy write them. The text is split into [`words`], each of which
//! is tagged `B-`, `I-` or `O`; a span that ends inside a word is widened to the whole word, and counted.

use std::path::Path;

use super::cell::{Cell, Table};
use super::columns::{by_name, chosen, find, shown as names_of};
use super::faults::{Faults, shown};
use super::offsets::Offsets;
use crate::dataset::{Dataset, Example, Label, TaggedWord};
use crate::report::ReadReport;
use crate::{Error, Format, ReadOptions, Result, tags, words};

const TOKENS: &[&str] = &["tokens", "words", "token", "word", "form"];
const TAGS: &[&str] = &[
    "ner_tags",
    "tags",
    "ner",
    "labels",
    "label",
    "entities",
    "upos",
    "pos_tags",
    "pos",
    "xpos",
    "chunk_tags",
];
const TEXT: &[&str] = &["text", "sentence", "content", "data", "document"];
const SPANS: &[&str] = &["entities", "spans", "labels", "label", "ents", "annotations"];
const START: &[&str] = &["start", "start_offset", "begin", "from"];
const END: &[&str] = &["end", "end_offset", "to"];
const KIND: &[&str] = &["label", "type", "entity", "entity_group", "tag", "kind"];

pub(super) fn build(path: &Path, format: Format, table: Table, options: &ReadOptions) -> Result<Dataset> {
    let Some(layout) = Layout::new(path, &table, options)? else {
        return Err(Error::Empty { path: path.into(), what: "the file is empty".into() });
    };
    let names = table.names(Some(layout.label), options);
    let mut report = ReadReport {
        path: path.into(),
        format,
        text: chosen(&table, layout.text, layout.text_why),
        pair: None,
        label: vec![chosen(&table, layout.label, layout.label_why)],
        rows_read: table.rows.len(),
        skipped: Vec::new(),
        notes: table.notes.clone(),
    };
    table.skipped.iter().for_each(|(reason, row)| report.skip(reason, *row));
    let id = by_name(&table, &["id", "guid", "sent_id"], &[layout.text, layout.label]);
    let mut reader =
        Reader { faults: Faults::new(path), names: &names, widened: Vec::new(), blank: Vec::new() };
    let mut unlabelled = Vec::new();
    let mut examples = Vec::with_capacity(table.rows.len());
    for (row, cells) in &table.rows {
        let (row, text, label) = (*row, &cells[layout.text], &cells[layout.label]);
        if text.is_blank() || text.list().is_some_and(<[Cell]>::is_empty) {
            report.skip("empty text", row);
            continue;
        }
        if matches!(label, Cell::Null) {
            if options.skip_unlabelled {
                report.skip("no label", row);
            } else {
                unlabelled.push(row);
            }
            continue;
        }
        let found = match layout.spans {
            true => reader.spans(row, text, label),
            false => reader.tokens(row, text, label),
        };
        let Some((text, words)) = found else { continue };
        if words.is_empty() {
            report.skip("empty text", row);
            continue;
        }
        let id = id.and_then(|id| cells[id].words());
        examples.push(Example { text, pair: None, label: Some(Label::Words(words)), row, id });
    }
    reader.finish(&mut report)?;
    if !unlabelled.is_empty() || examples.is_empty() && report.skipped.iter().any(|s| s.reason == "no label")
    {
        return Err(Error::MissingLabel {
            path: path.into(),
            column: report.label[0].name.clone(),
            first: unlabelled.iter().take(5).copied().collect(),
            count: unlabelled.len().max(report.rows_skipped()),
            rows: table.rows.len(),
        });
    }
    if examples.is_empty() {
        let column = report.text.name.clone();
        return Err(Error::AllEmpty { path: path.into(), column, rows: table.rows.len() });
    }
    let mut dataset = Dataset { examples, report, files: Vec::new(), pictures: false };
    dataset.report.notes.push(format!("scheme of the tags: {}", tags::scheme_of(&dataset)));
    Ok(dataset)
}

/// Which columns are used, and how.
struct Layout {
    text: usize,
    text_why: &'static str,
    label: usize,
    label_why: &'static str,
    /// A text and spans, rather than words and tags.
    spans: bool,
}

impl Layout {
    /// `None` if there are no rows.
    fn new(path: &Path, table: &Table, options: &ReadOptions) -> Result<Option<Self>> {
        if table.rows.is_empty() {
            return Ok(None);
        }
        let lists = |at: usize| {
            let kind = table.rows.iter().find_map(|(_, cells)| match &cells[at] {
                Cell::List(_) => Some(true),
                Cell::Text(_) => Some(false),
                _ => None,
            });
            kind == Some(true)
        };
        let unclear = |role, why: &str, option| Error::UnclearColumn {
            path: path.into(),
            role,
            why: why.into(),
            columns: names_of(table),
            option,
        };
        let (text, text_why) = match &options.text {
            Some(wanted) => (find(path, table, "text", wanted)?, "as said"),
            None => {
                let tokens = by_name(table, TOKENS, &[]).filter(|&at| lists(at));
                let text = tokens.or_else(|| by_name(table, TEXT, &[]));
                let why = "none has a usual name for a list of words or for a text";
                (text.ok_or_else(|| unclear("text", why, "--text"))?, "by its name")
            }
        };
        let spans = !lists(text);
        let (label, label_why) = match options.label.as_slice() {
            [] => {
                let why = "none has a usual name for a list of tags or of spans";
                let label = by_name(table, if spans { SPANS } else { TAGS }, &[text]);
                (label.ok_or_else(|| unclear("label", why, "--label"))?, "by its name")
            }
            [wanted, ..] => (find(path, table, "label", wanted)?, "as said"),
        };
        Ok(Some(Self { text, text_why, label, label_why, spans }))
    }
}

struct Reader<'a> {
    faults: Faults<'a>,
    /// Of tags that are numbers.
    names: &'a [String],
    /// Rows with spans that ended inside a word.
    widened: Vec<usize>,
    /// Rows with words of nothing.
    blank: Vec<usize>,
}

type Found = Option<(String, Vec<TaggedWord>)>;

impl Reader<'_> {
    fn fault(&mut self, row: usize, expected: impl Into<String>, got: impl Into<String>) -> Found {
        self.faults.add(format_args!("row {row}"), expected, got, "correct the row or remove it");
        None
    }

    fn finish(self, report: &mut ReadReport) -> Result<()> {
        self.faults.finish()?;
        for (rows, what) in [
            (&self.widened, "spans ended inside a word and were widened to whole words"),
            (&self.blank, "words of nothing but space left out"),
        ] {
            if !rows.is_empty() {
                let mut first: Vec<String> = rows.iter().map(usize::to_string).collect();
                first.dedup();
                first.truncate(5);
                report.notes.push(format!("{} {what} (rows {})", rows.len(), first.join(", ")));
            }
        }
        if !self.names.is_empty() {
            report.notes.push(format!("numbers of tags have the names {}", self.names.join(", ")));
        }
        Ok(())
    }

    /// A list of words and one of tags.
    fn tokens(&mut self, row: usize, text: &Cell, label: &Cell) -> Found {
        let (Some(tokens), Some(tags)) = (text.list(), label.list()) else {
            let got = format!("{} and {}", text.kind(), label.kind());
            return self.fault(row, "a list of words and a list of tags", got);
        };
        if tokens.len() != tags.len() {
            let expected = format!("{} tags, one for each word", tokens.len());
            return self.fault(row, expected, tags.len().to_string());
        }
        let mut text = String::new();
        let mut words = Vec::with_capacity(tokens.len());
        for (at, (token, tag)) in tokens.iter().zip(tags).enumerate() {
            let Some(word) = token.words() else {
                return self.fault(row, format!("a text as word {}", at + 1), token.show());
            };
            let tag = match tag {
                Cell::Number(number) if !self.names.is_empty() => {
                    let name = number.parse::<usize>().ok().and_then(|number| self.names.get(number));
                    match name {
                        Some(name) => name.clone(),
                        None => {
                            let expected = format!("a number of one of the {} tags", self.names.len());
                            return self.fault(row, expected, format!("{number} for word {}", at + 1));
                        }
                    }
                }
                tag => match tag.words().filter(|words| !words.trim().is_empty()) {
                    Some(words) => words.trim().to_string(),
                    None => return self.fault(row, format!("a tag for word {}", at + 1), tag.show()),
                },
            };
            if word.trim().is_empty() {
                self.blank.push(row);
                continue;
            }
            if !text.is_empty() {
                text.push(' ');
            }
            let start = text.len();
            text.push_str(word.trim());
            words.push(TaggedWord { start, end: text.len(), tag });
        }
        Some((text, words))
    }

    /// A text and spans in it.
    fn spans(&mut self, row: usize, text: &Cell, label: &Cell) -> Found {
        let Some(text) = text.words() else {
            return self.fault(row, "a text", text.show());
        };
        let Some(cells) = label.list() else {
            return self.fault(row, "a list of spans", label.show());
        };
        let offsets = Offsets::new(&text);
        let mut spans = Vec::with_capacity(cells.len());
        for (at, cell) in cells.iter().enumerate() {
            let Some((start, end, kind)) = span(cell) else {
                let expected = format!("start, end and label (in characters) as span {}", at + 1);
                return self.fault(row, expected, shown_span(cell));
            };
            let told = format!("span {} from {start} to {end} ({kind})", at + 1);
            let (Some(from), Some(to)) = (offsets.byte(start), offsets.byte(end)) else {
                return self.fault(row, format!("spans within the {} characters", offsets.len()), told);
            };
            if from >= to || text[from..to].trim().is_empty() {
                return self.fault(row, "spans with something in them", told);
            }
            // Space at the ends belongs to no word.
            let from = to - text[from..to].trim_start().len();
            let to = from + text[from..to].trim_end().len();
            spans.push((from, to, kind, told));
        }
        spans.sort_by_key(|(from, to, ..)| (*from, *to));
        let mut tagged: Vec<TaggedWord> = words(&text)
            .into_iter()
            .map(|word| TaggedWord { start: word.start, end: word.end, tag: "O".into() })
            .collect();
        // The word after the last of the span before.
        let mut next = 0;
        for index in 0..spans.len() {
            let (from, to, kind, told) = &spans[index];
            let first = tagged.partition_point(|word| word.end <= *from);
            let end = tagged.partition_point(|word| word.start < *to);
            if first >= end {
                return self.fault(row, "spans with a word in them", told.clone());
            }
            if index > 0 && *from < spans[index - 1].1 {
                let before = &spans[index - 1].3;
                return self.fault(row, "spans that do not overlap", format!("{before} and {told}"));
            }
            if first < next {
                let (before, word) = (&spans[index - 1].3, &text[tagged[first].start..tagged[first].end]);
                let got = format!("{before} and {told} in the word {}", shown(word));
                return self.fault(row, "spans of different words", got);
            }
            if tagged[first].start < *from || tagged[end - 1].end > *to {
                self.widened.push(row);
            }
            for (at, word) in tagged[first..end].iter_mut().enumerate() {
                word.tag = format!("{}-{kind}", if at == 0 { "B" } else { "I" });
            }
            next = end;
        }
        Some((text, tagged))
    }
}

/// A span as a list of three or an object.
fn span(cell: &Cell) -> Option<(usize, usize, String)> {
    let (start, end, kind) = match cell {
        Cell::List(cells) => match cells.as_slice() {
            [start, end, kind] => (start, end, kind),
            _ => return None,
        },
        _ => (cell.get(START)?, cell.get(END)?, cell.get(KIND)?),
    };
    let kind = kind.words().map(|kind| kind.trim().to_string()).filter(|kind| !kind.is_empty())?;
    match (start, end) {
        (Cell::Number(_), Cell::Number(_)) => Some((start.count()?, end.count()?, kind)),
        _ => None,
    }
}

fn shown_span(cell: &Cell) -> String {
    match cell {
        Cell::List(cells) => {
            let cells: Vec<String> = cells.iter().take(5).map(Cell::show).collect();
            format!("[{}]", cells.join(", "))
        }
        Cell::Struct(fields) => {
            let names: Vec<&str> = fields.iter().take(8).map(|(name, _)| name.as_str()).collect();
            format!("an object of {}", names.join(", "))
        }
        cell => cell.show(),
    }
}

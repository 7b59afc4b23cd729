//! Examples back from a file that [`write_arrow`](crate::write_arrow) wrote: with their labels, rows and names.

use super::cell::{Cell, Table};
use super::source::Source;
use crate::dataset::{Answer, Dataset, Example, Exchange, Label, Node, Related, TaggedWord};
use crate::write::{KEY, Stored};
use crate::{Error, Format, ReadOptions, Result, Task};

/// The examples, if the schema says that this crate wrote the file.
pub(super) fn read(
    source: &Source,
    table: &Table,
    metadata: &std::collections::BTreeMap<String, String>,
    options: &ReadOptions,
) -> Option<Result<Dataset>> {
    let stored = metadata.get(KEY)?;
    Some(examples(source, table, stored, options))
}

fn examples(source: &Source, table: &Table, stored: &str, options: &ReadOptions) -> Result<Dataset> {
    let wrong = |reason: String| Error::Arrow { path: source.path().into(), reason };
    let stored: Stored = serde_json::from_str(stored)
        .map_err(|error| wrong(format!("not written by this version: {error}")))?;
    let pairs = options.task == Task::Pairs
        && matches!(stored.task, Task::Unlabelled | Task::Score | Task::Class | Task::Choice);
    if stored.task != options.task && options.task != Task::Unlabelled && !pairs {
        return Err(wrong(format!("it holds {}, not {}; read it as that", stored.task, options.task)));
    }
    let columns: Option<Vec<usize>> = ["row", "text", "pair", "id"]
        .iter()
        .chain(columns(stored.task))
        .map(|name| table.columns.iter().position(|column| column == name))
        .collect();
    let columns = columns
        .ok_or_else(|| wrong(format!("a column is missing; there are {}", table.columns.join(", "))))?;
    let mut examples = Vec::with_capacity(table.rows.len());
    for (number, cells) in &table.rows {
        let cells: Vec<&Cell> = columns.iter().map(|&at| &cells[at]).collect();
        let example = example(&cells, stored.task);
        let mut example =
            example.ok_or_else(|| wrong(format!("row {number} is not as this program writes it")))?;
        if options.task == Task::Unlabelled {
            example.label = None;
        }
        examples.push(example);
    }
    if examples.is_empty() {
        return Err(Error::Empty { path: source.path().into(), what: "the file is empty".into() });
    }
    let mut report = stored.report;
    report.notes.push(format!("stored before; made from {}", report.path.display()));
    report.path = source.path().into();
    report.format = Format::Arrow;
    Ok(Dataset { examples, report, files: Vec::new(), pictures: false })
}

/// The columns of the labels of a task.
fn columns(task: Task) -> &'static [&'static str] {
    match task {
        Task::Unlabelled | Task::Pairs => &[],
        Task::Choice => &["options", "right"],
        Task::Relation => &["spans", "label"],
        Task::Spans => &["spans"],
        Task::Dialog => &["candidates", "right", "persona", "history", "conversation"],
        Task::Class | Task::Multi | Task::Score | Task::Tags | Task::Answers | Task::Texts | Task::Trees => {
            &["label"]
        }
    }
}

/// An example, if all in it is as it should be.
fn example(cells: &[&Cell], task: Task) -> Option<Example> {
    let words = |cell: &Cell| match cell {
        Cell::Null => Some(None),
        cell => cell.words().map(Some),
    };
    let [row, text, pair, id, label @ ..] = cells else { return None };
    let text = text.words().filter(|text| !text.trim().is_empty())?;
    let pair = words(pair)?;
    let label = match label {
        [] | [Cell::Null, ..] => None,
        [label, rest @ ..] => Some(of(label, rest, task, &text, pair.as_deref())?),
    };
    Some(Example { text, pair, label, row: row.count()?, id: words(id)? })
}

fn of(label: &Cell, rest: &[&Cell], task: Task, text: &str, pair: Option<&str>) -> Option<Label> {
    let text_of = |cell: &Cell, name: &str| cell.get(&[name])?.words();
    let range = |cell: &Cell| {
        let (start, end) = (cell.get(&["start"])?.count()?, cell.get(&["end"])?.count()?);
        (start < end && text.is_char_boundary(start) && text.is_char_boundary(end)).then_some((start, end))
    };
    Some(match task {
        Task::Unlabelled | Task::Pairs => return None,
        Task::Class => Label::One(label.words()?),
        Task::Multi => Label::Many(label.list()?.iter().map(Cell::words).collect::<Option<_>>()?),
        Task::Score => Label::Score(label.words()?.parse().ok().filter(|score: &f32| score.is_finite())?),
        Task::Texts => Label::Text(label.words()?),
        Task::Choice => {
            let options: Vec<String> = label.list()?.iter().map(Cell::words).collect::<Option<_>>()?;
            let right = rest.first()?.count().filter(|&right| right < options.len())?;
            Label::Choice { options, right }
        }
        Task::Tags => {
            let word = |cell: &Cell| {
                let (start, end) = range(cell)?;
                Some(TaggedWord { start, end, tag: text_of(cell, "tag")? })
            };
            Label::Words(label.list()?.iter().map(word).collect::<Option<_>>()?)
        }
        Task::Answers => {
            let answer = |cell: &Cell| {
                let (start, text) = (cell.get(&["start"])?.count()?, text_of(cell, "text")?);
                pair?.get(start..)?.starts_with(&text).then_some(Answer { start, text })
            };
            Label::Answers(label.list()?.iter().map(answer).collect::<Option<_>>()?)
        }
        Task::Trees => {
            let words = label.list()?;
            let node = |cell: &Cell| {
                let (start, end) = range(cell)?;
                let head = cell.get(&["head"])?.count().filter(|&head| head <= words.len())?;
                Some(Node {
                    start,
                    end,
                    tag: text_of(cell, "tag")?,
                    head,
                    relation: text_of(cell, "relation")?,
                })
            };
            Label::Tree(words.iter().map(node).collect::<Option<_>>()?)
        }
        Task::Relation | Task::Spans => {
            let [first, second] = label.list()? else { return None };
            let inside = |cell: &Cell, text: &str| {
                let (start, end) = (cell.get(&["start"])?.count()?, cell.get(&["end"])?.count()?);
                text.get(start..end).filter(|span| !span.is_empty()).map(|_| start..end)
            };
            let spans = [inside(first, text)?, inside(second, pair.unwrap_or(text))?];
            let name = match rest.first() {
                None => None,
                Some(name) => Some(name.words()?),
            };
            Label::Related(Related { spans, name })
        }
        Task::Dialog => {
            let texts = |cell: &Cell| cell.list()?.iter().map(Cell::words).collect::<Option<Vec<_>>>();
            let [right, persona, history, conversation] = rest else { return None };
            let (candidates, history) = (texts(label)?, texts(history)?);
            let right = right.count().filter(|&right| right < candidates.len())?;
            let (persona, conversation) = (texts(persona)?, conversation.count()?);
            history.last().filter(|last| *last == text)?;
            Label::Exchange(Exchange { conversation, persona, history, candidates, right })
        }
    })
}

//! A data set into an Arrow file, to be read again at once and without its options.
//!
//! Columns: `row`, `text`, `pair`, `id` and `label` (for multiple choice `options` and `right`, for relations `spans` too, for
//! conversations `candidates`, `right`, `persona`, `history` and `conversation`); labels
//! of words, answers, trees and spans are lists of structs with offsets in bytes. The metadata of the schema under [`KEY`] says the task.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{LargeListBuilder, LargeStringBuilder};
use arrow_array::{
    ArrayRef, Float32Array, LargeListArray, LargeStringArray, RecordBatch, StructArray, UInt64Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use crate::{Dataset, Error, Example, Exchange, Label, ReadReport, Related, Result, Task};

/// The key of the schema's metadata that says what is stored.
pub(crate) const KEY: &str = "topwork";
/// Examples in one batch.
const BATCH: usize = 4096;

/// What is stored beside the columns.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stored {
    /// The kind of the labels.
    pub task: Task,
    /// What reading the first file did.
    pub report: ReadReport,
}

/// Writes the examples of a set into an Arrow file, which [`read`](crate::read) gives back as they are; only the files
/// of a folder are then no longer named.
///
/// # Errors
/// [`Error::LabelMap`] if the labels are of several kinds, [`Error::Write`] if the file cannot be written.
pub fn write_arrow(path: impl AsRef<Path>, dataset: &Dataset) -> Result<()> {
    let path = path.as_ref();
    let task = task(dataset)?;
    let stored = Stored { task, report: dataset.report.clone() };
    let stored = serde_json::to_string(&stored)
        .map_err(|error| failed(path, ArrowError::from_external_error(Box::new(error))))?;
    let metadata = HashMap::from([(KEY.to_string(), stored)]);
    super::atomic::write(path, |out| fill(path, out, dataset, task, metadata))
}

fn failed(path: &Path, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => Error::Write { path: path.into(), source },
        other => Error::Arrow { path: path.into(), reason: other.to_string() },
    }
}

/// The task that the labels are for.
fn task(dataset: &Dataset) -> Result<Task> {
    let kind = |example: &Example| {
        example.label.as_ref().map(|label| match label {
            Label::One(_) => Task::Class,
            Label::Many(_) => Task::Multi,
            Label::Score(_) => Task::Score,
            Label::Words(_) => Task::Tags,
            Label::Answers(_) => Task::Answers,
            Label::Text(_) => Task::Texts,
            Label::Choice { .. } => Task::Choice,
            Label::Tree(_) => Task::Trees,
            Label::Related(Related { name: Some(_), .. }) => Task::Relation,
            Label::Related(_) => Task::Spans,
            Label::Exchange(_) => Task::Dialog,
        })
    };
    let mut kinds = dataset.examples.iter().filter_map(kind);
    let Some(first) = kinds.next() else { return Ok(Task::Unlabelled) };
    match kinds.find(|kind| *kind != first) {
        None => Ok(first),
        Some(other) => Err(Error::LabelMap {
            expected: "labels of one kind".into(),
            got: format!("{first} and {other}"),
        }),
    }
}

fn fill(
    path: &Path,
    out: BufWriter<File>,
    dataset: &Dataset,
    task: Task,
    metadata: HashMap<String, String>,
) -> Result<File> {
    let failed = |error| failed(path, error);
    let empty = columns(&[], task);
    let fields: Vec<Field> = empty
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), !matches!(*name, "row" | "text")))
        .collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let mut writer = FileWriter::try_new(out, &schema).map_err(failed)?;
    for examples in dataset.examples.chunks(BATCH) {
        let arrays = columns(examples, task).into_iter().map(|(_, array)| array).collect();
        let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(failed)?;
        writer.write(&batch).map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    super::atomic::done(path, writer.into_inner().map_err(failed)?)
}

fn columns(examples: &[Example], task: Task) -> Vec<(&'static str, ArrayRef)> {
    let texts = |text: &dyn Fn(&Example) -> Option<&str>| -> ArrayRef {
        // Closures over references need the loop spelt out: what is borrowed is the example.
        let mut builder = LargeStringBuilder::new();
        examples.iter().for_each(|example| builder.append_option(text(example)));
        Arc::new(builder.finish())
    };
    let numbers = |number: &dyn Fn(&Example) -> Option<u64>| -> ArrayRef {
        Arc::new(examples.iter().map(number).collect::<UInt64Array>())
    };
    let lists = |list: &dyn Fn(&Example) -> Option<&[String]>| -> ArrayRef {
        let mut builder = LargeListBuilder::new(LargeStringBuilder::new());
        for example in examples {
            match list(example) {
                Some(texts) => {
                    texts.iter().for_each(|text| builder.values().append_value(text));
                    builder.append(true);
                }
                None => builder.append(false),
            }
        }
        Arc::new(builder.finish())
    };
    let mut columns = vec![
        ("row", numbers(&|example| Some(example.row as u64))),
        ("text", texts(&|example| Some(&example.text))),
        ("pair", texts(&|example| example.pair.as_deref())),
        ("id", texts(&|example| example.id.as_deref())),
    ];
    match task {
        Task::Unlabelled | Task::Pairs => {}
        Task::Class => columns.push((
            "label",
            texts(&|example| match &example.label {
                Some(Label::One(name)) => Some(name),
                _ => None,
            }),
        )),
        Task::Texts => columns.push((
            "label",
            texts(&|example| match &example.label {
                Some(Label::Text(text)) => Some(text),
                _ => None,
            }),
        )),
        Task::Multi => columns.push((
            "label",
            lists(&|example| match &example.label {
                Some(Label::Many(names)) => Some(names),
                _ => None,
            }),
        )),
        Task::Score => {
            let score = |example: &Example| {
                if let Some(Label::Score(score)) = &example.label { Some(*score) } else { None }
            };
            columns.push(("label", Arc::new(examples.iter().map(score).collect::<Float32Array>())));
        }
        Task::Choice => {
            columns.push((
                "options",
                lists(&|example| match &example.label {
                    Some(Label::Choice { options, .. }) => Some(options),
                    _ => None,
                }),
            ));
            columns.push((
                "right",
                numbers(&|example| match &example.label {
                    Some(Label::Choice { right, .. }) => Some(*right as u64),
                    _ => None,
                }),
            ));
        }
        Task::Tags => columns.push((
            "label",
            structs(
                examples,
                |label| match label {
                    Label::Words(words) => Some(words),
                    _ => None,
                },
                &["start", "end"],
                &["tag"],
                |word| (vec![word.start, word.end], vec![&word.tag]),
            ),
        )),
        Task::Answers => columns.push((
            "label",
            structs(
                examples,
                |label| match label {
                    Label::Answers(answers) => Some(answers),
                    _ => None,
                },
                &["start"],
                &["text"],
                |answer| (vec![answer.start], vec![&answer.text]),
            ),
        )),
        Task::Trees => columns.push((
            "label",
            structs(
                examples,
                |label| match label {
                    Label::Tree(nodes) => Some(nodes),
                    _ => None,
                },
                &["start", "end", "head"],
                &["tag", "relation"],
                |node| (vec![node.start, node.end, node.head], vec![&node.tag, &node.relation]),
            ),
        )),
        Task::Relation | Task::Spans => {
            columns.push((
                "spans",
                structs(
                    examples,
                    |label| match label {
                        Label::Related(related) => Some(&related.spans),
                        _ => None,
                    },
                    &["start", "end"],
                    &[],
                    |span| (vec![span.start, span.end], Vec::new()),
                ),
            ));
            if task == Task::Relation {
                columns.push((
                    "label",
                    texts(&|example| match &example.label {
                        Some(Label::Related(related)) => related.name.as_deref(),
                        _ => None,
                    }),
                ));
            }
        }
        Task::Dialog => {
            columns.push(("candidates", lists(&|example| Some(exchange(example)?.candidates.as_slice()))));
            columns.push(("right", numbers(&|example| Some(exchange(example)?.right as u64))));
            columns.push(("persona", lists(&|example| Some(exchange(example)?.persona.as_slice()))));
            columns.push(("history", lists(&|example| Some(exchange(example)?.history.as_slice()))));
            columns.push(("conversation", numbers(&|example| Some(exchange(example)?.conversation as u64))));
        }
    }
    columns
}

/// The exchange of an example of a conversation.
fn exchange(example: &Example) -> Option<&Exchange> {
    match &example.label {
        Some(Label::Exchange(exchange)) => Some(exchange),
        _ => None,
    }
}

/// A list of structs for each example: numbers and texts under these names.
fn structs<T>(
    examples: &[Example],
    entries: impl for<'a> Fn(&'a Label) -> Option<&'a [T]>,
    numbers: &[&str],
    texts: &[&str],
    values: impl for<'a> Fn(&'a T) -> (Vec<usize>, Vec<&'a String>),
) -> ArrayRef {
    let lists: Vec<Option<&[T]>> =
        examples.iter().map(|example| example.label.as_ref().and_then(&entries)).collect();
    let all: Vec<(Vec<usize>, Vec<&String>)> =
        lists.iter().flatten().flat_map(|list| list.iter()).map(values).collect();
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (at, name) in numbers.iter().enumerate() {
        fields.push(Field::new(*name, DataType::UInt64, false));
        arrays
            .push(Arc::new(all.iter().map(|(numbers, _)| Some(numbers[at] as u64)).collect::<UInt64Array>()));
    }
    for (at, name) in texts.iter().enumerate() {
        fields.push(Field::new(*name, DataType::LargeUtf8, false));
        arrays.push(Arc::new(
            all.iter().map(|(_, texts)| Some(texts[at].as_str())).collect::<LargeStringArray>(),
        ));
    }
    let entries = StructArray::new(fields.clone().into(), arrays, None);
    let field = Arc::new(Field::new("item", DataType::Struct(fields.into()), true));
    let offsets = OffsetBuffer::from_lengths(lists.iter().map(|list| list.map_or(0, <[T]>::len)));
    let nulls: NullBuffer = lists.iter().map(Option::is_some).collect();
    Arc::new(LargeListArray::new(field, offsets, Arc::new(entries), Some(nulls)))
}

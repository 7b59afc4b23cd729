//! Files to examples: each format gives rows of cells, the columns are chosen, the cells become texts and labels.

mod answers;
mod arrow;
mod bad_rows;
mod cell;
mod choice;
mod columns;
mod conll;
mod conllu;
mod delimited;
mod dialog;
mod examples;
mod faults;
mod folder;
mod header;
mod hf;
mod jsonl;
mod lines;
mod offsets;
mod packed;
mod pages;
mod pairs;
mod parquet;
mod plain;
mod related;
mod reviews;
mod shards;
mod source;
mod squad;
mod stored;
mod tagged;
mod texts;

use std::io::BufRead;
use std::path::Path;

use crate::{Dataset, Error, Format, ReadOptions, Result, Task};
use cell::Table;
pub use plain::{Texts, texts};
use source::Source;

/// Reads the examples of a file, of a folder with one folder a class, or of a folder of Parquet files, or of files of reviews, that
/// are one table.
///
/// # Errors
/// Anything wrong with the file, naming row and column; see [`enum@Error`].
pub fn read(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Dataset> {
    let path = path.as_ref();
    let meta = std::fs::metadata(path).map_err(|source| Error::Read { path: path.into(), source })?;
    if meta.is_dir() {
        if let Some((format, files)) = shards::of(path)
            && options.format.is_none_or(|said| said == format)
        {
            return shards::read(path, format, &files, options);
        }
        return match options.format {
            Some(Format::Hf) => from_hf(path, options),
            None if hf::looks_so(path) => from_hf(path, options),
            None | Some(Format::Folder) => folder::read(path, options),
            Some(_) => Err(Error::Empty {
                path: path.into(),
                what: "this is a folder; name one file in it, or leave the format out to read one class a folder".into(),
            }),
        };
    }
    read_source(&Source::file(path), options)
}

/// Reads examples from a stream, such as standard input; `name` stands in the messages.
///
/// # Errors
/// As [`read`]; Parquet and folders cannot be read from a stream.
pub fn read_from(name: &str, mut reader: impl BufRead, options: &ReadOptions) -> Result<Dataset> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|source| Error::Read { path: name.into(), source })?;
    read_source(&Source::bytes(name, bytes), options)
}

pub(crate) use arrow::classes;
pub(crate) use cell::memory;
pub(crate) use hf::{files as hf_files, looks_so as is_hf};

/// The splits of a folder that HuggingFace's datasets saved, if it has several.
pub(crate) fn hf_splits(folder: &Path) -> Option<Vec<(String, std::path::PathBuf)>> {
    hf::splits(folder).ok()
}

fn from_hf(folder: &Path, options: &ReadOptions) -> Result<Dataset> {
    if !Format::of_task(options.task).contains(&Format::Hf) {
        return Err(unfit(folder, Format::Hf, options.task));
    }
    build(folder, Format::Hf, hf::read(folder, options)?, options)
}

/// The error for a format that cannot hold what the task needs.
fn unfit(path: &Path, format: Format, task: Task) -> Error {
    let names = Format::ALL.iter().filter(|(_, format)| Format::of_task(task).contains(format));
    let formats = names.map(|(name, _)| *name).collect();
    Error::Unfit { path: path.into(), format, task, formats }
}

fn read_source(source: &Source, options: &ReadOptions) -> Result<Dataset> {
    let (format, note) = match options.format {
        Some(format) => (format, None),
        None => source.detect(options)?,
    };
    // An Arrow file may be one that this crate wrote, which can hold anything.
    let may = Format::of_task(options.task).contains(&format) || format == Format::Arrow;
    if !may && !table_errors(format, options.task) {
        return Err(unfit(source.path(), format, options.task));
    }
    let mut dataset = match format {
        Format::Conll => conll::read(source, options)?,
        Format::Conllu => conllu::read(source, options)?,
        Format::Squad => squad::read(source, options)?,
        Format::PersonaChat => dialog::read(source, options)?,
        Format::Arrow => {
            let (table, metadata) = arrow::read(source, options)?;
            match stored::read(source, &table, &metadata, options) {
                Some(dataset) => dataset?,
                None if Format::of_task(options.task).contains(&format) => {
                    build(source.path(), format, table, options)?
                }
                None => return Err(unfit(source.path(), format, options.task)),
            }
        }
        Format::Text if options.task == Task::Texts => texts::read(source, options)?,
        _ => {
            let table = table(source, format, options)?;
            build(source.path(), format, table, options)?
        }
    };
    dataset.report.notes.extend(note);
    Ok(dataset)
}

/// Formats whose own message says more than that they do not fit the task.
fn table_errors(format: Format, task: Task) -> bool {
    matches!(format, Format::Text | Format::Folder) && task.is_plain()
}

/// Rows to examples, as the task needs them.
fn build(path: &Path, format: Format, table: Table, options: &ReadOptions) -> Result<Dataset> {
    match options.task {
        Task::Unlabelled | Task::Class | Task::Multi | Task::Score => {
            examples::build(path, format, table, options)
        }
        Task::Tags => tagged::build(path, format, table, options),
        Task::Answers => answers::build(path, format, table, options),
        Task::Texts => texts::build(path, format, table, options),
        Task::Choice => choice::build(path, format, table, options),
        Task::Pairs => pairs::build(path, format, table, options),
        Task::Relation | Task::Spans => related::build(path, format, table, options),
        Task::Dialog => dialog::build(path, format, table, options),
        Task::Trees => Err(unfit(path, format, options.task)),
    }
}

/// The rows of a format that has rows.
fn table(source: &Source, format: Format, options: &ReadOptions) -> Result<Table> {
    match format {
        Format::Csv | Format::Tsv => delimited::read(source, format, options),
        Format::Jsonl => jsonl::read(source, options),
        Format::Parquet => parquet::read(source, options),
        Format::Reviews => reviews::read(source, options),
        Format::Text if options.task == Task::Unlabelled => plain::read(source, options),
        Format::Text => Err(Error::Empty {
            path: source.path().into(),
            what: "one text a line has no labels; use CSV, TSV, JSONL, Parquet or one folder a class".into(),
        }),
        Format::Folder | Format::Hf => Err(Error::Empty {
            path: source.path().into(),
            what: match format {
                Format::Hf => "expected a folder that datasets saved, got a file".into(),
                _ => "expected a folder with one folder a class, got a file".into(),
            },
        }),
        Format::Conll | Format::Conllu | Format::Squad | Format::PersonaChat | Format::Arrow => {
            Err(unfit(source.path(), format, options.task))
        }
    }
}

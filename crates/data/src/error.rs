//! What can be wrong with data. Every message names the file, the row and the column, and a way out.

use std::path::PathBuf;

use crate::{Format, Task};

/// The errors of this crate. Rows are line numbers in text formats and record numbers elsewhere, from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file could not be written; the old one, if any, is as it was.
    #[error("cannot write {}: {source}; nothing there was changed", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The format cannot be told from the name.
    #[error("{}: cannot tell the format from the name; say it: one of {}", .path.display(), .formats.join(", "))]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The names of the formats.
        formats: Vec<&'static str>,
    },
    /// A format that cannot hold what the task needs.
    #[error("{}: {format} files hold no labels for the task {task}; those are read from {}", .path.display(), .formats.join(", "))]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: Format,
        /// The task.
        task: Task,
        /// The formats that hold it.
        formats: Vec<&'static str>,
    },
    /// A word is not one of the names allowed.
    #[error("unknown {what} {got:?}: expected one of {}{}", .expected.join(", "), did_you_mean(.suggestion))]
    UnknownName {
        /// What the word should have named.
        what: &'static str,
        /// The word.
        got: String,
        /// The names allowed.
        expected: Vec<&'static str>,
        /// The nearest of them.
        suggestion: Option<String>,
    },
    /// There is not one example in the file.
    #[error("{}: {what}", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What is there instead, and the way out.
        what: String,
    },
    /// Bytes that are not UTF-8.
    #[error(
        "{} line {line}: expected UTF-8 text, got byte 0x{byte:02x} at byte {offset} of the file; \
         convert it: iconv -f {guess} -t UTF-8",
        .path.display()
    )]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// Offset of the byte in the file, from 0.
        offset: u64,
        /// The byte.
        byte: u8,
        /// The encoding it probably is.
        guess: &'static str,
    },
    /// One record is larger than the limit.
    #[error(
        "{} line {line}: the record that starts here is longer than {limit} bytes; is this a text file with one \
         example a line? raise the limit if it is",
        .path.display()
    )]
    RecordTooLong {
        /// The file.
        path: PathBuf,
        /// Line where the record starts.
        line: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A quote in a CSV file that does not end as it should.
    #[error("{} line {line}, column {column}: a quote opens here and {problem}; {way_out}", .path.display())]
    Quote {
        /// The file.
        path: PathBuf,
        /// Line where the quote opens.
        line: usize,
        /// Field number in the record, from 1.
        column: usize,
        /// What goes wrong after it.
        problem: String,
        /// What to do.
        way_out: &'static str,
    },
    /// A row with another number of fields than the first.
    #[error(
        "{} line {line}: expected {expected} fields as in line {first}, got {got}: {start:?}; \
         {count} of {rows} rows are so (lines {}); quote fields that contain {delimiter:?}, say the delimiter, or leave \
         such rows out (skip-bad-rows)",
        .path.display(), some(.lines, *.count)
    )]
    Ragged {
        /// The file.
        path: PathBuf,
        /// The first such line.
        line: usize,
        /// Fields expected.
        expected: usize,
        /// The line that set the number.
        first: usize,
        /// Fields found.
        got: usize,
        /// How the row begins.
        start: String,
        /// The first lines that are so.
        lines: Vec<usize>,
        /// How many rows differ.
        count: usize,
        /// Rows in all.
        rows: usize,
        /// The delimiter used.
        delimiter: char,
    },
    /// More rows cannot be read than can be left out.
    #[error(
        "{}: {bad} of the first {rows} rows cannot be read (rows {}, ...), too many to leave out: {last}",
        .path.display(), list(.first)
    )]
    BadRows {
        /// The file.
        path: PathBuf,
        /// How many.
        bad: usize,
        /// Rows read by then, these included.
        rows: usize,
        /// The first of them.
        first: Vec<usize>,
        /// What is wrong with the last of them.
        last: Box<Error>,
    },
    /// A file of reviews whose tags do not fit together.
    #[error("{} line {line}: expected reviews as <review>, fields such as <rating> with their ends, </review>, each tag on a line of its own; got {got}", .path.display())]
    Review {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What stands there.
        got: String,
    },
    /// A line of a JSONL file that is no JSON object.
    #[error("{} line {line}: expected one JSON object a line, got {got}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What the parser says, or what kind of value stands there.
        got: String,
    },
    /// A record that is not as its format has it.
    #[error("{place}: expected {expected}, got {got}{}; {way_out}", also(*.count))]
    Record {
        /// File, and row, line or name of the record.
        place: String,
        /// What is allowed.
        expected: String,
        /// What stands there.
        got: String,
        /// How many records are so in some way, this one included.
        count: usize,
        /// What to do.
        way_out: String,
    },
    /// A Parquet file that cannot be read or written.
    #[error("{}: {reason}", .path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// An Arrow file that cannot be read or written.
    #[error("{}: {reason}", .path.display())]
    Arrow {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A row of a corpus that cannot be read.
    #[error("{} row {row}, in batch {batch}: {reason}", .path.display())]
    CorpusRow {
        /// The file.
        path: PathBuf,
        /// The row in this file, from 1.
        row: u64,
        /// The batch in this file, from 1.
        batch: u64,
        /// What is wrong with it, and the way out where there is one.
        reason: String,
    },
    /// A column that is not there.
    #[error("{}: no column {wanted:?} for the {role}: the columns are {}{}", .path.display(), .columns.join(", "), did_you_mean(.suggestion))]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// `text`, `pair` or `label`.
        role: &'static str,
        /// The name or number asked for.
        wanted: String,
        /// The columns there are.
        columns: Vec<String>,
        /// The nearest name.
        suggestion: Option<String>,
    },
    /// No column could be recognised by name or place.
    #[error("{}: cannot tell which column is the {role}: {why}; the columns are {}; say it with {option}", .path.display(), .columns.join(", "))]
    UnclearColumn {
        /// The file.
        path: PathBuf,
        /// `text` or `label`.
        role: &'static str,
        /// Why not.
        why: String,
        /// The columns there are.
        columns: Vec<String>,
        /// The option to say it with.
        option: &'static str,
    },
    /// A cell that is not what its column should hold.
    #[error("{}, column {column:?}: expected {expected}, got {got}{}; {way_out}", .place, more(.rows, *.count))]
    Cell {
        /// File and row.
        place: String,
        /// The column.
        column: String,
        /// What is allowed.
        expected: String,
        /// What stands there.
        got: String,
        /// The first rows that are so, this one included.
        rows: Vec<usize>,
        /// How many rows are so.
        count: usize,
        /// What to do.
        way_out: &'static str,
    },
    /// Rows without a label.
    #[error(
        "{}: {count} of {rows} rows have no label in column {column:?} (first: rows {}); label them, remove them, or \
         skip unlabelled rows",
        .path.display(), list(.first)
    )]
    MissingLabel {
        /// The file.
        path: PathBuf,
        /// The label column.
        column: String,
        /// The first rows.
        first: Vec<usize>,
        /// How many.
        count: usize,
        /// Rows in all.
        rows: usize,
    },
    /// Every text is empty.
    #[error("{}: all {rows} texts in column {column:?} are empty; say another text column", .path.display())]
    AllEmpty {
        /// The file.
        path: PathBuf,
        /// The text column.
        column: String,
        /// How many rows.
        rows: usize,
    },
    /// There is nothing to tell apart.
    #[error(
        "{}: expected at least two classes, got {}; there is nothing to learn: check the label column ({column})",
        .path.display(), .only.as_deref().map_or("none".to_string(), |only| format!("only {only:?} in {rows} rows"))
    )]
    OneClass {
        /// The file.
        path: PathBuf,
        /// The label column.
        column: String,
        /// The one class.
        only: Option<String>,
        /// How many rows.
        rows: usize,
    },
    /// A label the model was not trained on.
    #[error(
        "{}: label {label:?} (rows {}; {count} in all) is not one of the known labels {}{}; correct it, or put \
         examples of it into the training data",
        .path.display(), list(.first), .known.join(", "), did_you_mean(.suggestion)
    )]
    UnseenLabel {
        /// The file.
        path: PathBuf,
        /// The label.
        label: String,
        /// The first rows with it.
        first: Box<[usize]>,
        /// How many rows have it.
        count: usize,
        /// The labels known (at most 20).
        known: Box<[String]>,
        /// The nearest of them.
        suggestion: Option<String>,
    },
    /// A label map that is not one.
    #[error("label map: expected {expected}, got {got}")]
    LabelMap {
        /// The rule.
        expected: String,
        /// What was given.
        got: String,
    },
    /// Class weights that do not fit the classes.
    #[error("class weights{}: {problem}; the classes are {}", .path.as_ref().map(|p| format!(" {}", p.display())).unwrap_or_default(), .classes.join(", "))]
    ClassWeights {
        /// The file, if they came from one.
        path: Option<PathBuf>,
        /// What is wrong.
        problem: String,
        /// The classes.
        classes: Vec<String>,
    },
    /// A split that cannot be made.
    #[error("cannot split {rows} examples: {problem}")]
    Split {
        /// Examples there are.
        rows: usize,
        /// What is wrong and the way out.
        problem: String,
    },
    /// A setting out of its range.
    #[error("{what}: expected {expected}, got {got}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// What is allowed.
        expected: String,
        /// What was given.
        got: String,
    },
    /// Values that do not fill their shape.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// What was to be written.
        what: String,
        /// The shape expected.
        expected: String,
        /// What was given.
        got: String,
    },
    /// The tokenizer refused.
    #[error("{place}: {source}")]
    Text {
        /// File, and row where it is known.
        place: String,
        /// The tokenizer's error.
        source: topwork_text::Error,
    },
}

/// `Result` with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|name| format!("; did you mean {name:?}?")).unwrap_or_default()
}

fn more(rows: &[usize], count: usize) -> String {
    if count > 1 { format!(" ({count} rows are so: {})", some(rows, count)) } else { String::new() }
}

/// The first of some rows.
fn some(rows: &[usize], count: usize) -> String {
    format!("{}{}", list(rows), if count > rows.len() { ", ..." } else { "" })
}

fn also(count: usize) -> String {
    if count > 1 { format!(" ({count} faults in all)") } else { String::new() }
}

fn list(rows: &[usize]) -> String {
    rows.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

/// The name nearest to `wanted`, if it is near enough to be a slip.
pub(crate) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let wanted_low = wanted.to_lowercase();
    names
        .into_iter()
        .map(|name| (edit_distance(&wanted_low, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count().max(wanted.chars().count()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name.to_string())
}

/// Levenshtein distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let names = ["text", "label", "subject"];
        assert_eq!(nearest("lable", names).as_deref(), Some("label"));
        assert_eq!(nearest("Text", names).as_deref(), Some("text"));
        assert_eq!(nearest("category", names), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }
}

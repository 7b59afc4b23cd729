//! How a file is to be read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::nearest;
use crate::{Error, Result};

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma (or semicolon, tab, bar) separated, with quotes.
    Csv,
    /// Tab separated, without quotes.
    Tsv,
    /// One JSON object a line, or one array of objects.
    Jsonl,
    /// Parquet.
    Parquet,
    /// One text a line.
    Text,
    /// A folder with a folder of files for each class.
    Folder,
    /// Words and tags in columns, a word a line, a blank line between sentences.
    Conll,
    /// CoNLL-U: dependency trees in ten columns.
    Conllu,
    /// SQuAD's JSON: articles, paragraphs, questions.
    Squad,
    /// PersonaChat's JSON: splits of conversations.
    PersonaChat,
    /// Arrow's IPC format, streams and files (Feather version 2).
    Arrow,
    /// A folder that HuggingFace's datasets saved.
    Hf,
    /// Reviews between tags, as the multi-domain sentiment data set has them (`positive.review`).
    Reviews,
}

impl Format {
    /// All formats with their names.
    pub const ALL: [(&'static str, Format); 13] = [
        ("csv", Format::Csv),
        ("tsv", Format::Tsv),
        ("jsonl", Format::Jsonl),
        ("parquet", Format::Parquet),
        ("text", Format::Text),
        ("folder", Format::Folder),
        ("conll", Format::Conll),
        ("conllu", Format::Conllu),
        ("squad", Format::Squad),
        ("personachat", Format::PersonaChat),
        ("arrow", Format::Arrow),
        ("hf", Format::Hf),
        ("reviews", Format::Reviews),
    ];

    /// The format a name stands for: folders by being one, files by their extension.
    pub fn of(path: &Path) -> Option<Format> {
        if path.is_dir() {
            return Some(if crate::read::is_hf(path) { Format::Hf } else { Format::Folder });
        }
        let mut extension = path.extension()?.to_str()?.to_ascii_lowercase();
        if extension == "gz" {
            // What it holds, unpacked.
            extension = Path::new(path.file_stem()?).extension()?.to_str()?.to_ascii_lowercase();
        }
        match extension.as_str() {
            "csv" => Some(Format::Csv),
            "tsv" | "tab" => Some(Format::Tsv),
            "jsonl" | "ndjson" | "json" => Some(Format::Jsonl),
            "parquet" | "pq" => Some(Format::Parquet),
            "txt" | "text" => Some(Format::Text),
            "conll" | "iob" | "iob2" | "bio" => Some(Format::Conll),
            "conllu" => Some(Format::Conllu),
            "review" => Some(Format::Reviews),
            "arrow" | "feather" | "ipc" => Some(Format::Arrow),
            _ => None,
        }
    }

    /// The task whose labels a format is made for, if it is made for one.
    pub fn only_task(self) -> Option<Task> {
        match self {
            Format::Conll => Some(Task::Tags),
            Format::Conllu => Some(Task::Trees),
            Format::Squad => Some(Task::Answers),
            Format::PersonaChat => Some(Task::Dialog),
            _ => None,
        }
    }

    /// The formats a task is read from.
    pub(crate) fn of_task(task: Task) -> &'static [Format] {
        use Format::{
            Arrow, Conll, Conllu, Csv, Folder, Hf, Jsonl, Parquet, PersonaChat, Reviews, Squad, Text, Tsv,
        };
        match task {
            Task::Unlabelled => &[
                Csv,
                Tsv,
                Jsonl,
                Parquet,
                Text,
                Folder,
                Conll,
                Conllu,
                Squad,
                PersonaChat,
                Arrow,
                Hf,
                Reviews,
            ],
            Task::Class => &[Csv, Tsv, Jsonl, Parquet, Folder, Arrow, Hf, Reviews],
            Task::Multi | Task::Score => &[Csv, Tsv, Jsonl, Parquet, Arrow, Hf, Reviews],
            Task::Tags => &[Conll, Conllu, Jsonl, Parquet, Arrow, Hf],
            Task::Trees => &[Conllu],
            Task::Answers => &[Squad, Jsonl, Parquet, Arrow, Hf],
            Task::Texts => &[Csv, Tsv, Jsonl, Parquet, Text, Arrow, Hf],
            Task::Choice | Task::Pairs | Task::Relation | Task::Spans => {
                &[Csv, Tsv, Jsonl, Parquet, Arrow, Hf]
            }
            Task::Dialog => &[PersonaChat, Jsonl, Parquet, Arrow, Hf],
        }
    }

    pub(crate) fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, format)| format == self).map_or("", |(name, _)| *name);
        f.write_str(name)
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        choose("format", name, &Self::ALL)
    }
}

/// What the label column is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Texts only; a label column is left alone.
    Unlabelled,
    /// One class for each text.
    #[default]
    Class,
    /// Any number of classes for each text.
    Multi,
    /// A number for each text.
    Score,
    /// A tag for each word.
    Tags,
    /// A question, and where in a passage its answers are.
    Answers,
    /// A text to be written for each text: translation, summaries.
    Texts,
    /// Which of several texts goes with each text.
    Choice,
    /// The head and the relation of each word.
    Trees,
    /// Texts that go together: pairs, with a number or with texts that do not go with the first, or texts with the class they share.
    Pairs,
    /// How two marked spans of each text, or of two texts, are related: `span1` and `span2` as `[start, end]` in characters, beside
    /// `text` (and `pair`, or other usual names of two texts) and `relation` or `label`. FewRel's `h` and `t`, TACRED's and WiC's
    /// columns of numbers, a list `spans` of two, and SemEval's `<e1>` and `<e2>` in the text are read too.
    Relation,
    /// Two marked spans of each text, or of two texts; a label column is left alone.
    Spans,
    /// The reply to what was said so far: `persona` and `history` as lists of texts, `reply`, and `candidates` with the reply among
    /// them, or without these other replies of the file. PersonaChat's file of conversations is read too.
    Dialog,
}

impl Task {
    /// All tasks with their names.
    pub const ALL: [(&'static str, Task); 13] = [
        ("unlabelled", Task::Unlabelled),
        ("class", Task::Class),
        ("multi", Task::Multi),
        ("score", Task::Score),
        ("tags", Task::Tags),
        ("answers", Task::Answers),
        ("texts", Task::Texts),
        ("choice", Task::Choice),
        ("trees", Task::Trees),
        ("pairs", Task::Pairs),
        ("relation", Task::Relation),
        ("spans", Task::Spans),
        ("dialog", Task::Dialog),
    ];

    /// True for one class, several or a score for each text: what any table can hold in a column.
    pub(crate) fn is_plain(self) -> bool {
        matches!(self, Task::Unlabelled | Task::Class | Task::Multi | Task::Score)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, task)| task == self).map_or("", |(name, _)| *name);
        f.write_str(name)
    }
}

impl FromStr for Task {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        choose("task", name, &Self::ALL)
    }
}

/// What is a text in plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Each line.
    #[default]
    Line,
    /// Lines up to a blank one, as corpora of documents are often laid out.
    Document,
}

impl Unit {
    /// All units with their names.
    pub const ALL: [(&'static str, Unit); 2] = [("line", Unit::Line), ("document", Unit::Document)];
}

impl FromStr for Unit {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        choose("unit of text", name, &Self::ALL)
    }
}

/// How to read a file. The default detects everything and expects one class for each text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// The format; by name and content if not said.
    pub format: Option<Format>,
    /// What the labels are for.
    pub task: Task,
    /// The text column: its name, or its number from 1.
    pub text: Option<String>,
    /// The column of the second text of a pair.
    pub pair: Option<String>,
    /// The column of the names of rows.
    pub id: Option<String>,
    /// Whether a column that is called as names of rows usually are is read as such where none is said.
    pub ids: bool,
    /// The columns of texts that do not go with the first, for [`Task::Pairs`].
    pub negative: Vec<String>,
    /// The label column; several 0/1 columns for [`Task::Multi`].
    pub label: Vec<String>,
    /// Whether the first row of CSV or TSV names the columns.
    pub header: Option<bool>,
    /// What stands between the fields of CSV or TSV.
    pub delimiter: Option<char>,
    /// Whether `"` quotes a field. Yes for CSV, no for TSV if not said.
    pub quotes: Option<bool>,
    /// What stands between the labels of one cell in [`Task::Multi`].
    pub separator: char,
    /// The largest record, in bytes.
    pub max_record_bytes: usize,
    /// Leave rows without a label out (counted) instead of refusing the file.
    pub skip_unlabelled: bool,
    /// Leave rows out that cannot be read (each named) instead of refusing the file: of CSV, TSV and JSON lines those that are
    /// broken, and of all tables those with a label that is none. Refused all the same where they are many.
    pub skip_bad_rows: bool,
    /// The file of the second texts, a text a line, for [`Task::Texts`]: `train.de` beside `train.en`.
    pub pair_file: Option<PathBuf>,
    /// What is a text in plain text.
    pub unit: Unit,
    /// The split of a folder that HuggingFace's datasets saved, or of PersonaChat's file; `train` if not said, or the only one.
    pub split: Option<String>,
    /// Names of the classes or tags that the file writes as numbers, in the order of the numbers from 0.
    pub names: Vec<String>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            format: None,
            task: Task::default(),
            text: None,
            pair: None,
            id: None,
            ids: false,
            negative: Vec::new(),
            label: Vec::new(),
            header: None,
            delimiter: None,
            quotes: None,
            separator: '|',
            max_record_bytes: 64 << 20,
            skip_unlabelled: false,
            skip_bad_rows: false,
            pair_file: None,
            unit: Unit::default(),
            split: None,
            names: Vec::new(),
        }
    }
}

/// Finds a name in a list, or says which names there are.
pub(crate) fn choose<T: Copy>(what: &'static str, name: &str, all: &[(&'static str, T)]) -> Result<T> {
    let lower = name.to_ascii_lowercase();
    match all.iter().find(|(known, _)| *known == lower) {
        Some((_, value)) => Ok(*value),
        None => {
            let expected: Vec<&'static str> = all.iter().map(|(known, _)| *known).collect();
            let suggestion = nearest(name, expected.iter().copied());
            Err(Error::UnknownName { what, got: name.into(), expected, suggestion })
        }
    }
}

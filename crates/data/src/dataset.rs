//! Examples and where they came from.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::ReadReport;

/// The label of an example as the file has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Label {
    /// One class.
    One(String),
    /// Any number of classes, sorted as in the file, none twice.
    Many(Vec<String>),
    /// A finite number.
    Score(f32),
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The text, never empty.
    pub text: String,
    /// The second text of a pair.
    pub pair: Option<String>,
    /// The label, if the task has labels.
    pub label: Option<Label>,
    /// Line number in text formats, record number in Parquet, file number in a folder; from 1.
    pub row: usize,
}

/// The examples of one file or folder.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The examples, in the order of the file.
    pub examples: Vec<Example>,
    /// What reading did.
    pub report: ReadReport,
    /// For a folder of files: the file of each example, by `row - 1`.
    pub(crate) files: Vec<PathBuf>,
}

impl Dataset {
    /// Examples made elsewhere (decoded mails, a generated set), with a report that says so.
    pub fn new(examples: Vec<Example>, report: ReadReport) -> Self {
        Self { examples, report, files: Vec::new() }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// True when there is no example.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// The first texts.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.examples.iter().map(|example| example.text.as_str())
    }

    /// Where example `index` stands: `mails.csv row 17`, or its own file.
    pub fn place(&self, index: usize) -> String {
        let row = self.examples[index].row;
        match self.files.get(row.wrapping_sub(1)) {
            Some(file) => file.display().to_string(),
            None => format!("{} row {row}", self.report.path.display()),
        }
    }

    /// The chosen examples as a set of their own, in the order given, under the same report.
    pub fn select(&self, indices: &[usize]) -> Self {
        Self {
            examples: indices.iter().map(|&index| self.examples[index].clone()).collect(),
            report: self.report.clone(),
            files: self.files.clone(),
        }
    }

    /// True when every example has a label.
    pub fn has_labels(&self) -> bool {
        !self.examples.is_empty() && self.examples.iter().all(|example| example.label.is_some())
    }

    /// How often each class stands, sorted by name (numbers by value). Scores are not counted.
    pub fn label_counts(&self) -> Vec<(String, usize)> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for example in &self.examples {
            match &example.label {
                Some(Label::One(name)) => *counts.entry(name).or_default() += 1,
                Some(Label::Many(names)) => {
                    for name in names {
                        *counts.entry(name).or_default() += 1;
                    }
                }
                Some(Label::Score(_)) | None => {}
            }
        }
        let mut counts: Vec<(String, usize)> =
            counts.into_iter().map(|(name, count)| (name.to_string(), count)).collect();
        counts.sort_by(|(a, _), (b, _)| crate::labels::by_name(a, b));
        counts
    }
}

//! What is wrong with records: all of it is counted, the first is told.

use std::fmt::Display;
use std::path::Path;

use crate::dataset::{Dataset, Example};
use crate::report::ReadReport;
use crate::{Error, Result};

/// The faults of one file.
pub(super) struct Faults<'a> {
    path: &'a Path,
    first: Option<Error>,
    count: usize,
}

impl<'a> Faults<'a> {
    pub fn new(path: &'a Path) -> Self {
        Self { path, first: None, count: 0 }
    }

    /// A fault at `place` (`row 3`, `line 7`) of the file.
    pub fn add(
        &mut self,
        place: impl Display,
        expected: impl Into<String>,
        got: impl Into<String>,
        way_out: impl Into<String>,
    ) {
        self.count += 1;
        self.first.get_or_insert_with(|| Error::Record {
            place: format!("{} {place}", self.path.display()),
            expected: expected.into(),
            got: got.into(),
            count: 1,
            way_out: way_out.into(),
        });
    }

    /// # Errors
    /// The first fault, if there was one.
    pub fn finish(self) -> Result<()> {
        match self.first {
            None => Ok(()),
            Some(Error::Record { place, expected, got, way_out, .. }) => {
                Err(Error::Record { place, expected, got, way_out, count: self.count })
            }
            Some(other) => Err(other),
        }
    }
}

/// The examples of a table, if there are some and no row lacks a label.
///
/// # Errors
/// [`Error::MissingLabel`]; [`Error::AllEmpty`] where nothing is left for another reason.
pub(super) fn labelled(
    path: &Path,
    report: ReadReport,
    examples: Vec<Example>,
    unlabelled: Vec<usize>,
    rows: usize,
) -> Result<Dataset> {
    let left_out = report.skipped.iter().find(|skipped| skipped.reason == "no label");
    if !unlabelled.is_empty() || examples.is_empty() && left_out.is_some() {
        let first = left_out.map_or(&unlabelled, |skipped| &skipped.first);
        return Err(Error::MissingLabel {
            path: path.into(),
            column: report.label.first().map_or_else(String::new, |label| label.name.clone()),
            first: first.iter().take(5).copied().collect(),
            count: left_out.map_or(unlabelled.len(), |skipped| skipped.count),
            rows,
        });
    }
    if examples.is_empty() {
        return Err(Error::AllEmpty { path: path.into(), column: report.text.name, rows });
    }
    Ok(Dataset { examples, report, files: Vec::new(), pictures: false })
}

/// A text for a message, cut to 60 characters.
pub(super) fn shown(text: &str) -> String {
    let start: String = text.chars().take(60).collect();
    let dots = if start.len() < text.len() { "..." } else { "" };
    format!("{start:?}{dots}")
}

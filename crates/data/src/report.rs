//! What was read, what was chosen and why, and what was left out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Format;

/// Rows that are named where some are left out or refused.
pub(crate) const NAMED: usize = 20;

/// A column that was chosen, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenColumn {
    /// Its name, or its number (from 1) if the file has no header.
    pub name: String,
    /// Why this one: `as said`, `by its name`, `the only other column`, ...
    pub why: String,
}

/// Rows left out for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The reason.
    pub reason: String,
    /// How many.
    pub count: usize,
    /// The first of them (at most 20): line numbers, or record numbers.
    pub first: Vec<usize>,
}

/// What reading a file did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadReport {
    /// The file or folder.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// The text column.
    pub text: ChosenColumn,
    /// The column of the second text of a pair.
    pub pair: Option<ChosenColumn>,
    /// The label columns: one, or several 0/1 columns.
    pub label: Vec<ChosenColumn>,
    /// Rows in the file, header not counted.
    pub rows_read: usize,
    /// Rows left out, by reason.
    pub skipped: Vec<Skipped>,
    /// Anything else the user should know: header found or not, delimiter, quoting.
    pub notes: Vec<String>,
}

impl ReadReport {
    /// The report as lines for the user.
    pub fn lines(&self) -> Vec<String> {
        let column =
            |role: &str, column: &ChosenColumn| format!("{role} column {:?} ({})", column.name, column.why);
        let mut chosen = vec![column("text", &self.text)];
        chosen.extend(self.pair.iter().map(|pair| column("pair", pair)));
        match self.label.as_slice() {
            [] => {}
            [one] => chosen.push(column("label", one)),
            [first, .., last] => chosen.push(format!(
                "{} label columns {:?} to {:?} ({})",
                self.label.len(),
                first.name,
                last.name,
                first.why
            )),
        }
        let mut lines = vec![
            format!("{}: {}, {} rows", self.path.display(), self.format, self.rows_read),
            format!("  {}", chosen.join(", ")),
        ];
        lines.extend(self.notes.iter().map(|note| format!("  {note}")));
        for skipped in &self.skipped {
            let first: Vec<String> = skipped.first.iter().map(usize::to_string).collect();
            let dots = if skipped.count > skipped.first.len() { ", ..." } else { "" };
            lines.push(format!(
                "  {} rows left out: {} (rows {}{dots})",
                skipped.count,
                skipped.reason,
                first.join(", ")
            ));
        }
        lines
    }

    /// Rows left out, over all reasons.
    pub fn rows_skipped(&self) -> usize {
        self.skipped.iter().map(|skipped| skipped.count).sum()
    }

    pub(crate) fn skip(&mut self, reason: &str, row: usize) {
        let at = match self.skipped.iter().position(|skipped| skipped.reason == reason) {
            Some(at) => at,
            None => {
                self.skipped.push(Skipped { reason: reason.into(), count: 0, first: Vec::new() });
                self.skipped.len() - 1
            }
        };
        let entry = &mut self.skipped[at];
        entry.count += 1;
        if entry.first.len() < NAMED {
            entry.first.push(row);
        }
    }
}

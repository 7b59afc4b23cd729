//! A prepared corpus on disk: JSON lines, the account first, then one row a line.

use std::path::Path;

use super::{Corpus, Counts, Row, View};
use crate::hub::{Error, write_atomically};

/// Goes up whenever the preparation changes, so that what an older version prepared is not used.
const VERSION: u32 = 2;

/// The name of the file for a view.
pub(crate) fn file_name(view: View) -> String {
    let view = match view {
        View::Subjects => "subjects",
        View::Mails => "mails",
    };
    format!("{view}-v{VERSION}.jsonl")
}

/// Reads a prepared corpus; `None` when there is none or it is not whole.
pub(crate) fn read(path: &Path) -> Option<Corpus> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut lines = text.lines();
    let counts: Counts = serde_json::from_str(lines.next()?).ok()?;
    let rows: Vec<Row> = lines.map(|line| serde_json::from_str(line).ok()).collect::<Option<_>>()?;
    (rows.len() == counts.rows).then_some(Corpus { rows, counts, licence: None })
}

/// Writes a prepared corpus under a temporary name, then renames it.
pub(crate) fn write(path: &Path, corpus: &Corpus) -> Result<(), Error> {
    let line = |json: serde_json::Result<String>| {
        json.map_err(|error| Error::Entry { path: path.to_owned(), problem: error.to_string() })
    };
    let mut text = line(serde_json::to_string(&corpus.counts))?;
    for row in &corpus.rows {
        text.push('\n');
        text.push_str(&line(serde_json::to_string(row))?);
    }
    text.push('\n');
    write_atomically(path, text.as_bytes())
}

//! Rows that cannot be read: they refuse the file, or are left out by name where that was asked for.

use std::path::Path;

use crate::{Error, ReadOptions, Result};

/// So many are left out whatever their share is.
const FEW: usize = 20;
/// Of more than these, at most one row in so many.
const SHARE: usize = 10;

/// The rows of one file that cannot be read.
pub(super) struct BadRows<'a> {
    path: &'a Path,
    skip: bool,
    /// Why, and which row.
    pub found: Vec<(&'static str, usize)>,
}

impl<'a> BadRows<'a> {
    /// None yet; they are left out if the options say so.
    pub fn new(path: &'a Path, options: &ReadOptions) -> Self {
        Self { path, skip: options.skip_bad_rows, found: Vec::new() }
    }

    /// None yet, and the first is an error.
    pub fn refused(path: &'a Path) -> Self {
        Self { path, skip: false, found: Vec::new() }
    }

    /// Whether they are left out.
    pub fn skips(&self) -> bool {
        self.skip
    }

    /// Leaves a row out; `good` rows were read so far.
    ///
    /// # Errors
    /// `error`, where rows are not to be left out or it is not about a row; [`Error::BadRows`] where so many are bad that the
    /// file is not what it was taken for.
    pub fn add(&mut self, row: usize, good: usize, error: Error) -> Result<()> {
        let Some(reason) = reason(&error).filter(|_| self.skip) else { return Err(error) };
        self.found.push((reason, row));
        let bad = self.found.len();
        if bad <= FEW || bad * SHARE <= bad + good {
            return Ok(());
        }
        Err(Error::BadRows {
            path: self.path.into(),
            bad,
            rows: bad + good,
            first: self.found.iter().map(|(_, row)| *row).take(5).collect(),
            last: Box::new(error),
        })
    }
}

/// What is wrong with a row in a few words; nothing for errors that are not of one row.
fn reason(error: &Error) -> Option<&'static str> {
    match error {
        Error::Ragged { .. } => Some("another number of fields"),
        Error::Quote { .. } => Some("a quote that does not close as it should"),
        Error::NotUtf8 { .. } => Some("bytes that are no UTF-8"),
        Error::RecordTooLong { .. } => Some("longer than the limit of a record"),
        Error::Review { .. } => Some("no whole review"),
        Error::Json { .. } => Some("no JSON object"),
        Error::Cell { .. } => Some("a cell that cannot be used"),
        _ => None,
    }
}

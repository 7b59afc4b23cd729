//! What is wrong with records: all of it is counted, the first is told.

use std::fmt::Display;
use std::path::Path;

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

/// A text for a message, cut to 60 characters.
pub(super) fn shown(text: &str) -> String {
    let start: String = text.chars().take(60).collect();
    let dots = if start.len() < text.len() { "..." } else { "" };
    format!("{start:?}{dots}")
}

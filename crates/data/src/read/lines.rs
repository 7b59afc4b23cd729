//! Lines of UTF-8 with a limit on their length, so that a file without line ends cannot fill the memory.

use std::collections::VecDeque;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// A reader of lines that knows line numbers and byte offsets.
pub(crate) struct Lines<'a> {
    reader: Box<dyn BufRead + 'a>,
    path: PathBuf,
    limit: usize,
    /// Number of the line last given, from 1.
    line: usize,
    /// Lines taken from the reader.
    taken: usize,
    /// Offset of the reader's next byte.
    offset: u64,
    bytes: Vec<u8>,
    /// The last line was too long, and the reader still stands in it.
    unfinished: bool,
    /// Lines that were put back, and the number of the first.
    back: VecDeque<String>,
    back_line: usize,
}

impl<'a> Lines<'a> {
    pub fn new(reader: Box<dyn BufRead + 'a>, path: &Path, limit: usize) -> Self {
        Self {
            reader,
            path: path.into(),
            limit,
            line: 0,
            taken: 0,
            offset: 0,
            bytes: Vec::new(),
            unfinished: false,
            back: VecDeque::new(),
            back_line: 0,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the line last given.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The next line with its line end, `None` at the end of the file.
    pub fn next(&mut self) -> Result<Option<&str>> {
        if let Some(line) = self.back.pop_front() {
            self.line = self.back_line;
            self.back_line += 1;
            self.bytes = line.into_bytes();
            // It was text when it was first read.
            return Ok(std::str::from_utf8(&self.bytes).ok());
        }
        self.finish_line()?;
        self.bytes.clear();
        let read = (&mut self.reader)
            .take(self.limit as u64 + 1)
            .read_until(b'\n', &mut self.bytes)
            .map_err(|source| Error::Read { path: self.path.clone(), source })?;
        if read == 0 {
            return Ok(None);
        }
        self.taken += 1;
        self.line = self.taken;
        let start = self.offset;
        self.offset += read as u64;
        if read > self.limit {
            self.unfinished = self.bytes.last() != Some(&b'\n');
            return Err(Error::RecordTooLong { path: self.path.clone(), line: self.line, limit: self.limit });
        }
        let first = self.line == 1;
        let utf16 = first && (self.bytes.starts_with(b"\xff\xfe") || self.bytes.starts_with(b"\xfe\xff"));
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => Ok(Some(if first { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text })),
            Err(error) => {
                let at = error.valid_up_to();
                Err(Error::NotUtf8 {
                    path: self.path.clone(),
                    line: self.line,
                    offset: start + at as u64,
                    byte: self.bytes[at],
                    guess: if utf16 { "UTF-16" } else { "WINDOWS-1252" },
                })
            }
        }
    }

    /// Puts lines back, of which the first has this number: they come again before all others.
    pub fn put_back(&mut self, lines: &str, first: usize) {
        if lines.is_empty() {
            return;
        }
        for line in lines.split_inclusive('\n').rev() {
            self.back.push_front(line.to_string());
        }
        self.back_line = first;
    }

    /// Passes over what is left of a line that is too long.
    fn finish_line(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.unfinished) {
            return Ok(());
        }
        let failed = |source| Error::Read { path: self.path.clone(), source };
        loop {
            let (used, done) = {
                let buffer = self.reader.fill_buf().map_err(failed)?;
                match buffer.iter().position(|&byte| byte == b'\n') {
                    Some(end) => (end + 1, true),
                    None => (buffer.len(), buffer.is_empty()),
                }
            };
            self.reader.consume(used);
            self.offset += used as u64;
            if done {
                return Ok(());
            }
        }
    }
}

/// A line without its line end.
pub(crate) fn bare(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

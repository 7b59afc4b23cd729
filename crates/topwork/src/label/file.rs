//! The file of labels: a line of JSON for each, written before the next question is asked.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A label. Lines of other programs need a text and a label alone, so any file of those can be gone on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The text.
    pub text: String,
    /// The second text of a pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
    /// Its class.
    pub label: String,
    /// The round in which it was asked for, from 1; 0 where none did.
    #[serde(default)]
    pub round: usize,
    /// Its place among the answers of the round, from 1.
    #[serde(default)]
    pub answer: usize,
    /// Its row in the file of the pool, from 1.
    #[serde(default)]
    pub row: usize,
}

/// A file of labels that no other session has open.
pub struct LabelFile {
    path: PathBuf,
    file: File,
    /// Where each line begins, in bytes, and where the next one will.
    starts: Vec<u64>,
}

impl LabelFile {
    /// Opens a file, or makes it, with the labels that are in it, and what is to be said of it. A last line that was not written
    /// to its end is taken away.
    ///
    /// # Errors
    /// A file that is open in another session or cannot be written to, a line that is no label.
    pub fn open(path: &Path) -> Result<(Self, Vec<Record>, Vec<String>), Error> {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(Error::file(parent))?;
        }
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).open(path);
        let mut file = opened.map_err(Error::file(path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(wrong(
                    path,
                    None,
                    "it is open in another session: end that one, or name another --out",
                ));
            }
            // Some file systems know no locks.
            Err(TryLockError::Error(_)) => {}
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(Error::file(path))?;
        let (mut records, mut starts, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        let mut at = 0;
        for (number, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let whole = line.ends_with(b"\n");
            match serde_json::from_slice::<Record>(line) {
                Ok(record) => {
                    starts.push(at);
                    records.push(record);
                    at += line.len() as u64;
                    if !whole {
                        file.seek(SeekFrom::Start(at)).map_err(Error::file(path))?;
                        file.write_all(b"\n").map_err(Error::file(path))?;
                        at += 1;
                    }
                }
                Err(_) if line.trim_ascii().is_empty() => at += line.len() as u64,
                Err(_) if !whole => {
                    file.set_len(at).map_err(Error::file(path))?;
                    notes.push(format!(
                        "{}: the last line was not written to its end and is taken away",
                        path.display()
                    ));
                }
                Err(error) => {
                    let reason =
                        format!("this is no label ({error}): expected {{\"text\": ..., \"label\": ...}}");
                    return Err(wrong(path, Some(number + 1), &reason));
                }
            }
        }
        starts.push(at);
        Ok((LabelFile { path: path.to_path_buf(), file, starts }, records, notes))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a label; it is on the disk when this returns.
    ///
    /// # Errors
    /// A full disk: then the line is taken away again.
    pub fn append(&mut self, record: &Record) -> Result<(), Error> {
        let start = self.end();
        let text =
            serde_json::to_string(record).map_err(|error| wrong(&self.path, None, &error.to_string()))?;
        let line = format!("{text}\n");
        let written = self
            .file
            .seek(SeekFrom::Start(start))
            .and_then(|_| self.file.write_all(line.as_bytes()))
            .and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            let _ = self.file.set_len(start);
            return Err(Error::file(&self.path)(source));
        }
        self.starts.push(start + line.len() as u64);
        Ok(())
    }

    /// Takes the last label away; false where there is none.
    ///
    /// # Errors
    /// A file that cannot be written to any more.
    pub fn undo(&mut self) -> Result<bool, Error> {
        let [.., start, _] = self.starts[..] else { return Ok(false) };
        self.file.set_len(start).and_then(|()| self.file.sync_data()).map_err(Error::file(&self.path))?;
        self.starts.pop();
        Ok(true)
    }

    fn end(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }
}

fn wrong(path: &Path, line: Option<usize>, reason: &str) -> Error {
    let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
    Error::Labels { place: format!("{}{line}", path.display()), reason: reason.to_string() }
}

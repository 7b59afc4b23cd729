//! Where bytes come from, openable more than once.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use super::packed::unpacked;
use super::{arrow, conll, conllu, delimited, dialog, squad};
use crate::{Error, Format, ReadOptions, Result, Task};

/// Bytes looked at to tell delimiter, header and format.
const SAMPLE: u64 = 256 << 10;

/// A file, or bytes with a name.
pub(crate) struct Source {
    path: PathBuf,
    bytes: Option<Vec<u8>>,
}

/// A file from the beginning, unpacked if it is packed.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let opened = || {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        unpacked(Box::new(BufReader::with_capacity(1 << 16, file)), length)
    };
    opened().map_err(|source| Error::Read { path: path.into(), source })
}

impl Source {
    pub fn file(path: &Path) -> Self {
        Self { path: path.into(), bytes: None }
    }

    pub fn bytes(name: &str, bytes: Vec<u8>) -> Self {
        Self { path: name.into(), bytes: Some(bytes) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True for a file on disk, which can be read from any place.
    pub fn is_file(&self) -> bool {
        self.bytes.is_none()
    }

    /// The bytes, if they are held.
    pub fn held(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }

    /// The bytes from the beginning, unpacked if they are packed.
    pub fn open(&self) -> Result<Box<dyn BufRead + '_>> {
        match &self.bytes {
            Some(bytes) => {
                let length = bytes.len() as u64;
                unpacked(Box::new(Cursor::new(bytes.as_slice())), length).map_err(|error| self.failed(error))
            }
            None => open(&self.path),
        }
    }

    pub fn failed(&self, source: std::io::Error) -> Error {
        Error::Read { path: self.path.clone(), source }
    }

    /// The first bytes.
    pub fn sample(&self) -> Result<Vec<u8>> {
        let mut sample = Vec::new();
        self.open()?.take(SAMPLE).read_to_end(&mut sample).map_err(|error| self.failed(error))?;
        Ok(sample)
    }

    /// The format by name, or by what the file begins with; with a note for the report when the name does not say.
    pub fn detect(&self, options: &ReadOptions) -> Result<(Format, Option<String>)> {
        let by_name = Format::of(&self.path);
        if matches!(by_name, None | Some(Format::Jsonl)) {
            let (sample, note) = (self.sample()?, Some("format told by its keys".to_string()));
            if squad::looks_so(&sample) {
                return Ok((Format::Squad, note));
            }
            if dialog::looks_so(&sample) {
                return Ok((Format::PersonaChat, note));
            }
        }
        match by_name {
            // Files of words and tags have many names; tables that hold neither are not asked for here.
            None | Some(Format::Text | Format::Tsv | Format::Csv)
                if matches!(options.task, Task::Tags | Task::Trees) =>
            {
                let sample = self.sample()?;
                if conllu::looks_so(&sample) {
                    return Ok((Format::Conllu, Some("format told by its ten columns".into())));
                }
                if options.task == Task::Tags && conll::looks_so(&sample) {
                    return Ok((Format::Conll, Some("format told by a word in each line".into())));
                }
            }
            None if options.pair_file.is_some() && options.task == Task::Texts => {
                return Ok((Format::Text, Some("a text a line, as the second file has them".into())));
            }
            // Labelled texts are often called .txt: then every line has a tab.
            Some(Format::Text) if options.task != Task::Unlabelled => {}
            Some(format) => return Ok((format, None)),
            None => {}
        }
        let sample = self.sample()?;
        if arrow::looks_so(&sample) {
            return Ok((Format::Arrow, Some("format told by its first bytes".into())));
        }
        if sample.starts_with(b"PAR1") {
            return Ok((Format::Parquet, Some("format told by its first bytes".into())));
        }
        let text = String::from_utf8_lossy(&sample);
        if text.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
            return Ok((Format::Jsonl, Some("format told by its first character".into())));
        }
        if delimited::consistent(&sample, '\t', false).is_some_and(|columns| columns > 1) {
            return Ok((Format::Tsv, Some("format told by the tab in every line".into())));
        }
        if let Some(format) = by_name {
            return Ok((format, None));
        }
        if delimited::consistent(&sample, ',', true).is_some_and(|columns| columns > 1) {
            return Ok((Format::Csv, Some("format told by the commas in every line".into())));
        }
        if self.bytes.is_some() && options.task == Task::Unlabelled {
            return Ok((Format::Text, None));
        }
        Err(Error::UnknownFormat { path: self.path.clone(), formats: Format::names() })
    }
}

//! Texts from the command line, from a file or from standard input, a few at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::bail;
use topwork::prepare::look_at;
use topwork_data::{Error, Example, Format, Label, ReadOptions, Task};
use topwork_text::Tokenizer;

use crate::global::Global;

/// Where the texts come from.
#[derive(clap::Args)]
pub struct TextArgs {
    /// Texts, or paths of pictures; without them and without --file, standard input is read, one a line
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,
    /// File of texts (a text a line, CSV, TSV, JSON lines, Parquet), or a folder; `-` is standard input
    #[arg(long, short, value_name = "FILE", conflicts_with = "texts")]
    file: Option<PathBuf>,
    /// Column of the text, for a file with columns [default: detected and said]
    #[arg(long = "text", value_name = "COLUMN")]
    column: Option<String>,
    /// The second text of a pair; with --file, its column
    #[arg(long, value_name = "TEXT|COLUMN")]
    pair: Option<String>,
    /// Format of the file: text, csv, tsv, jsonl, parquet [default: by its name]
    #[arg(long)]
    format: Option<Format>,
}

/// A text with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Argument number, line number or record number, from 1.
    pub row: usize,
    /// The text.
    pub text: String,
    /// The second text of a pair.
    pub pair: Option<String>,
    /// The spans that are asked about, in bytes.
    pub spans: Option<[Range<usize>; 2]>,
}

/// The longest line.
const MOST_BYTES: usize = 64 << 20;

/// Texts, a few at a time.
pub enum Texts {
    /// All there already.
    Known(std::vec::IntoIter<Text>),
    /// Lines that may still be written.
    Lines(Lines),
}

impl TextArgs {
    /// Opens the source for what a model reads, texts or the paths of pictures, and says what it chose. A path in a file begins in
    /// the folder of the file, another one here.
    pub fn open_for(&self, tokenizer: &Tokenizer, global: &Global) -> anyhow::Result<Texts> {
        let path = self.file.as_deref().filter(|path| *path != Path::new("-"));
        let lines = match self.open_source(Some(tokenizer), global)? {
            Texts::Lines(lines) => lines,
            known @ Texts::Known(_) => return Ok(known),
        };
        let folder = path.filter(|_| tokenizer.reads_pictures()).and_then(Path::parent);
        Ok(Texts::Lines(Lines { folder: folder.map(Path::to_path_buf), ..lines }))
    }

    /// Opens the source and says what it chose.
    pub fn open(&self, global: &Global) -> anyhow::Result<Texts> {
        self.open_source(None, global)
    }

    fn open_source(&self, tokenizer: Option<&Tokenizer>, global: &Global) -> anyhow::Result<Texts> {
        if !self.texts.is_empty() {
            if self.pair.is_some() && self.texts.len() > 1 {
                bail!("--pair goes with one TEXT, got {}; use --file for many pairs", self.texts.len());
            }
            if self.column.is_some() || self.format.is_some() {
                bail!("--text and --format are about a --file, and there is none");
            }
            let one = |(at, text): (usize, &String)| Text {
                row: at + 1,
                text: text.clone(),
                pair: self.pair.clone(),
                spans: None,
            };
            let known: Vec<Text> = self.texts.iter().enumerate().map(one).collect();
            return Ok(Texts::Known(known.into_iter()));
        }
        let path = self.file.as_deref().filter(|path| *path != Path::new("-"));
        let format = self.format.or_else(|| path.map(|path| Format::of(path).unwrap_or(Format::Text)));
        match (path, format) {
            (None, None | Some(Format::Text)) => {
                self.only_lines("standard input")?;
                Ok(Texts::Lines(Lines::of_input()))
            }
            (Some(path), Some(Format::Text)) => {
                self.only_lines(&path.display().to_string())?;
                let file = File::open(path).map_err(|source| Error::Read { path: path.into(), source })?;
                Ok(Texts::Lines(Lines::new(path.into(), Box::new(file))))
            }
            (path, format) => self.table(path, format, Task::Unlabelled, tokenizer, global),
        }
    }

    /// The same with two spans of each text, or of two texts, from a file of them: JSON lines on standard input.
    pub fn open_spans(&self, global: &Global) -> anyhow::Result<Texts> {
        if !self.texts.is_empty() {
            bail!(
                "this model is asked about two spans of a text: give it a --file of rows that have them, as in \
                 {{\"text\": ..., \"span1\": [0, 5], \"span2\": [18, 25]}}"
            );
        }
        let path = self.file.as_deref().filter(|path| *path != Path::new("-"));
        let format = self.format.or(if path.is_none() { Some(Format::Jsonl) } else { None });
        self.table(path, format, Task::Spans, None, global)
    }

    fn table(
        &self,
        path: Option<&Path>,
        format: Option<Format>,
        task: Task,
        tokenizer: Option<&Tokenizer>,
        global: &Global,
    ) -> anyhow::Result<Texts> {
        let options = ReadOptions {
            format,
            task,
            text: self.column.clone(),
            pair: self.pair.clone(),
            ..ReadOptions::default()
        };
        let mut dataset = match path {
            Some(path) => topwork_data::read(path, &options)?,
            None => topwork_data::read_from("standard input", std::io::stdin().lock(), &options)?,
        };
        if let Some(tokenizer) = tokenizer {
            look_at(&mut dataset, tokenizer)?;
        }
        dataset.report.lines().iter().for_each(|line| global.note(line));
        let text = |example: Example| {
            let spans = match example.label {
                Some(Label::Related(related)) => Some(related.spans),
                _ => None,
            };
            Text { row: example.row, text: example.text, pair: example.pair, spans }
        };
        let texts: Vec<Text> = dataset.examples.into_iter().map(text).collect();
        Ok(Texts::Known(texts.into_iter()))
    }

    fn only_lines(&self, name: &str) -> anyhow::Result<()> {
        if self.column.is_some() || self.pair.is_some() {
            bail!(
                "{name} is read a text a line and has no columns; say another --format (csv, tsv, jsonl, parquet)"
            );
        }
        Ok(())
    }
}

impl Texts {
    /// The next texts, at most `most`; none at the end. Waits for one, and takes more only if they are there
    /// already, so that whoever writes a line gets an answer to it.
    pub fn next(&mut self, most: usize) -> anyhow::Result<Vec<Text>> {
        match self {
            Texts::Known(texts) => Ok(texts.by_ref().take(most).collect()),
            Texts::Lines(lines) => lines.next(most),
        }
    }
}

/// Lines of a stream.
pub struct Lines {
    name: PathBuf,
    reader: BufReader<Box<dyn Read>>,
    row: usize,
    offset: u64,
    /// Where the paths of pictures begin, if lines are such.
    folder: Option<PathBuf>,
}

impl Lines {
    /// Lines of standard input.
    pub fn of_input() -> Self {
        Lines::new("standard input".into(), Box::new(std::io::stdin()))
    }

    fn new(name: PathBuf, stream: Box<dyn Read>) -> Self {
        Lines { name, reader: BufReader::with_capacity(1 << 16, stream), row: 0, offset: 0, folder: None }
    }

    fn next(&mut self, most: usize) -> anyhow::Result<Vec<Text>> {
        let mut texts = Vec::new();
        while texts.len() < most && (texts.is_empty() || self.reader.buffer().contains(&b'\n')) {
            let Some(mut text) = self.line()? else { break };
            if let Some(folder) = self.folder.as_ref().filter(|_| !text.trim().is_empty()) {
                text = folder.join(text).to_string_lossy().into_owned();
            }
            texts.push(Text { row: self.row, text, pair: None, spans: None });
        }
        Ok(texts)
    }

    /// The next line without its end; `None` at the end of the stream.
    ///
    /// # Errors
    /// A stream that cannot be read, a line that is too long or no UTF-8.
    pub fn line(&mut self) -> anyhow::Result<Option<String>> {
        let mut bytes = Vec::new();
        let failed = |source| Error::Read { path: self.name.clone(), source };
        (&mut self.reader).take(MOST_BYTES as u64 + 1).read_until(b'\n', &mut bytes).map_err(failed)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.row += 1;
        if bytes.len() > MOST_BYTES {
            let (path, line) = (self.name.clone(), self.row);
            return Err(Error::RecordTooLong { path, line, limit: MOST_BYTES }.into());
        }
        let start = self.offset;
        self.offset += bytes.len() as u64;
        match String::from_utf8(bytes) {
            Ok(text) => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                let text = if self.row == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
                Ok(Some(text.to_string()))
            }
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                Err(Error::NotUtf8 {
                    path: self.name.clone(),
                    line: self.row,
                    offset: start + at as u64,
                    byte: error.as_bytes()[at],
                    guess: "WINDOWS-1252",
                }
                .into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &'static [u8]) -> Lines {
        Lines::new("in".into(), Box::new(bytes))
    }

    #[test]
    fn lines_keep_their_numbers_and_lose_their_ends() {
        let mut lines = lines("\u{feff}one\r\n\nthree".as_bytes());
        let all: Vec<(usize, String)> =
            std::iter::from_fn(|| lines.next(2).ok().filter(|some| !some.is_empty()))
                .flatten()
                .map(|text| (text.row, text.text))
                .collect();
        assert_eq!(all, [(1, "one".into()), (2, String::new()), (3, "three".into())]);
    }

    #[test]
    fn a_wrong_byte_is_named_by_line_and_place() {
        let mut lines = lines(b"ab\ncd\xff\n");
        let error = lines.next(9).unwrap_err().to_string();
        assert!(error.contains("in line 2") && error.contains("0xff at byte 5"), "{error}");
    }
}

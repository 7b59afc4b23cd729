//! Static word vectors: one vector for each word, whatever text it stands in.
//!
//! [`WordVectors::open`] recognises a file by its content. These files are no checkpoints of a model, so they are not
//! in [`crate::FORMATS`]: [`VECTOR_FORMATS`] is their list.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("vectors.txt");
//! std::fs::write(&path, "2 3\nstick 0.5 1 -2\nwood 0.25 1 0\n")?;
//! let vectors = topwork_weights::WordVectors::open(&path)?;
//! assert_eq!((vectors.report().format, vectors.width()), ("word2vec-text", 3));
//! assert_eq!(vectors.get("stick"), Some(&[0.5, 1.0, -2.0][..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod fasttext;
mod gather;
mod glove;
mod quantised;
mod stream;
mod subwords;
#[cfg(test)]
mod tests;
mod text;
mod word2vec_binary;
mod word2vec_text;
mod write;

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

pub use gather::VectorReport;
pub use subwords::Subwords;

use crate::Error;
use gather::Gather;
use stream::Stream;

/// Words and a vector for each.
#[derive(Clone, Debug)]
pub struct WordVectors {
    words: Vec<Arc<str>>,
    width: usize,
    data: Vec<f32>,
    index: HashMap<Arc<str>, u32>,
    subwords: Option<Subwords>,
    report: VectorReport,
}

/// A file format of word vectors. All of them may be packed by gzip.
pub struct VectorFormat {
    /// Kebab-case name.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Where the format is described.
    pub link: &'static str,
    /// Whether a file is of this format, from its first bytes.
    is: fn(&[u8]) -> bool,
    /// Reads a file of this format, at most so many words.
    read: fn(&mut Stream, usize) -> Result<WordVectors, Error>,
    /// Writes vectors in this format, where that can be done without their sub-words.
    write: Option<write::Writer>,
}

/// Every format, in the order in which a file's first bytes are held against them.
pub const VECTOR_FORMATS: &[&VectorFormat] =
    &[&fasttext::FORMAT, &word2vec_text::FORMAT, &word2vec_binary::FORMAT, &glove::FORMAT];

impl VectorFormat {
    /// Whether [`WordVectors::save`] writes it.
    pub fn is_written(&self) -> bool {
        self.write.is_some()
    }
}

impl WordVectors {
    /// Reads a file of vectors in the format that its content says it has.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`]; [`Error::BadLine`] and [`Error::BadFile`] for what is wrong inside: a wrong number of
    /// columns, a number that is not finite, a header that does not hold, a file that ends early.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_first(path, usize::MAX)
    }

    /// Reads the first `limit` words of a file; a repeated word counts.
    ///
    /// # Errors
    /// As [`WordVectors::open`].
    pub fn open_first(path: impl AsRef<Path>, limit: usize) -> Result<Self, Error> {
        let path = path.as_ref();
        let (mut stream, head) = Stream::open(path)?;
        let Some(format) = VECTOR_FORMATS.iter().find(|format| (format.is)(&head)) else {
            let known = VECTOR_FORMATS.iter().map(|format| format.name).collect::<Vec<_>>().join(", ");
            return Err(Error::UnknownFormat { path: path.to_path_buf(), known });
        };
        stream.format = format.name;
        (format.read)(&mut stream, limit)
    }

    /// Whether a file looks like vectors, from its first bytes.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn recognises(path: impl AsRef<Path>) -> Result<Option<&'static VectorFormat>, Error> {
        let (_, head) = Stream::open(path.as_ref())?;
        Ok(VECTOR_FORMATS.iter().copied().find(|format| (format.is)(&head)))
    }

    /// Vectors from words and rows; the first of equal words wins, and the report counts the others.
    ///
    /// # Shapes
    /// - `data`: `[words, width]`
    ///
    /// # Panics
    /// If `data` has another length.
    pub fn new(words: impl IntoIterator<Item = impl Into<Arc<str>>>, width: usize, data: &[f32]) -> Self {
        let mut gather = Gather::new("memory", width);
        let mut seen = 0;
        for word in words {
            let row = &data[seen * width..][..width];
            seen += 1;
            if gather.take(word.into(), true) {
                gather.data.extend_from_slice(row);
            }
        }
        assert_eq!(data.len(), seen * width, "{seen} words of {width}");
        gather.finish(None)
    }

    /// The words, in the order of the file: most frequent first in every format's own custom.
    pub fn words(&self) -> &[Arc<str>] {
        &self.words
    }

    /// Number of words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// True without words.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Length of a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Every vector.
    ///
    /// # Shapes
    /// - returns: `[words, width]`
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The vector of the word at `at`.
    ///
    /// # Panics
    /// If there is no such word.
    pub fn row(&self, at: usize) -> &[f32] {
        &self.data[at * self.width..][..self.width]
    }

    /// Where a word stands.
    pub fn index(&self, word: &str) -> Option<usize> {
        self.index.get(word).map(|&at| at as usize)
    }

    /// The vector of a word that is in the file.
    pub fn get(&self, word: &str) -> Option<&[f32]> {
        self.index(word).map(|at| self.row(at))
    }

    /// The vector of a word: its own, or one put together from its character n-grams where the file has them.
    pub fn vector(&self, word: &str) -> Option<Cow<'_, [f32]>> {
        match self.get(word) {
            Some(row) => Some(Cow::Borrowed(row)),
            None => self.subwords.as_ref()?.vector(word).map(Cow::Owned),
        }
    }

    /// What vectors of unknown words are put together from (fastText).
    pub fn subwords(&self) -> Option<&Subwords> {
        self.subwords.as_ref()
    }

    /// What reading met.
    pub fn report(&self) -> &VectorReport {
        &self.report
    }

    /// Writes words and vectors in a format of [`VECTOR_FORMATS`], by its name. Read again, they are the same to the
    /// bit; sub-words are not written.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`] for a format that is not written here, [`Error::BadFile`] for words that the format
    /// cannot hold, [`Error::Write`].
    pub fn save(&self, path: impl AsRef<Path>, format: &str) -> Result<(), Error> {
        let path = path.as_ref();
        let writers = || VECTOR_FORMATS.iter().filter_map(|format| Some((format.name, format.write?)));
        let Some((name, writer)) = writers().find(|(name, _)| *name == format) else {
            let known = writers().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
            return Err(Error::UnknownFormat {
                path: path.to_path_buf(),
                known: format!("written: {known}"),
            });
        };
        write::save(self, path, name, writer)
    }
}

//! Words and rows as they come from a file: the first of equal words wins, and what is odd is counted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::WordVectors;
use super::subwords::Subwords;

/// What reading a file of vectors met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VectorReport {
    /// The format's name in [`super::VECTOR_FORMATS`].
    pub format: &'static str,
    /// Words read, repeated ones counted.
    pub entries: usize,
    /// Words that stood there before and were left out: the first wins.
    pub duplicates: usize,
    /// The first few of them.
    pub repeated: Vec<String>,
    /// Words that are not UTF-8; what is not was replaced by U+FFFD.
    pub not_utf8: usize,
    /// Words with blanks in them (some GloVe files have them).
    pub spaced: usize,
    /// Words of no letters at all.
    pub empty: usize,
    /// Labels of a fastText classifier, which have no vectors.
    pub labels: usize,
    /// Entries left out because only the first were asked for, where the file says how many there are.
    pub left_out: usize,
}

/// How many repeated words are kept for the report.
const REPEATED: usize = 5;

impl VectorReport {
    /// What a person should know, a line each; none where all is as it should be.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = |count: usize, one: &str, several: &str, rest: String| match count {
            0 => {}
            1 => lines.push(format!("1 {one}{rest}")),
            _ => lines.push(format!("{count} {several}{rest}")),
        };
        let repeated = self.repeated.join("\", \"");
        let more = if self.duplicates > self.repeated.len() { ", ..." } else { "" };
        let rest = format!(" left out, the first of each kept: \"{repeated}\"{more}");
        line(self.duplicates, "repeated word", "repeated words", rest);
        line(self.not_utf8, "word is", "words are", " not UTF-8: what is not was replaced by U+FFFD".into());
        line(self.spaced, "word has", "words have", " blanks inside".into());
        line(self.empty, "word is", "words are", " empty".into());
        line(self.labels, "label", "labels", " of a classifier left out, having no vector".into());
        line(self.left_out, "word", "words", format!(" after the first {} not read", self.entries));
        lines
    }
}

/// A word from its bytes, and whether it was UTF-8.
pub(super) fn word(bytes: &[u8]) -> (Arc<str>, bool) {
    match std::str::from_utf8(bytes) {
        Ok(word) => (word.into(), true),
        Err(_) => (String::from_utf8_lossy(bytes).into(), false),
    }
}

/// Vectors in the making.
pub(super) struct Gather {
    pub width: usize,
    pub words: Vec<Arc<str>>,
    pub data: Vec<f32>,
    pub report: VectorReport,
    index: HashMap<Arc<str>, u32>,
}

impl Gather {
    pub fn new(format: &'static str, width: usize) -> Self {
        let report = VectorReport { format, ..VectorReport::default() };
        Gather { width, words: Vec::new(), data: Vec::new(), report, index: HashMap::new() }
    }

    /// Makes room for words and rows that the file's length backs.
    pub fn reserve(&mut self, words: usize) {
        self.words.reserve(words);
        self.index.reserve(words);
        self.data.reserve_exact(words * self.width);
    }

    /// Takes a word; true if it is new, and its row is then to be added.
    pub fn take(&mut self, word: Arc<str>, utf8: bool) -> bool {
        self.report.entries += 1;
        self.report.not_utf8 += usize::from(!utf8);
        self.report.empty += usize::from(word.is_empty());
        // Bounded by the files there are: 2^32 words of one number are 16 GB and a longer list of words.
        let next = self.words.len() as u32;
        match self.index.entry(word) {
            Entry::Vacant(place) => {
                self.words.push(place.key().clone());
                place.insert(next);
                true
            }
            Entry::Occupied(old) => {
                self.report.duplicates += 1;
                if self.report.repeated.len() < REPEATED {
                    self.report.repeated.push(old.key().to_string());
                }
                false
            }
        }
    }

    pub fn finish(mut self, subwords: Option<Subwords>) -> WordVectors {
        self.data.shrink_to_fit();
        let Gather { width, words, data, report, index } = self;
        debug_assert_eq!(words.len() * width, data.len());
        WordVectors { words, width, data, index, subwords, report }
    }
}

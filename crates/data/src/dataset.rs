//! Examples and where they came from.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::{ChosenColumn, Format, ReadReport};

/// The label of an example as the file has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Label {
    /// One class.
    One(String),
    /// Any number of classes, sorted as in the file, none twice.
    Many(Vec<String>),
    /// A finite number.
    Score(f32),
    /// A tag for each word of the text.
    Words(Vec<TaggedWord>),
    /// Answers to the question `text` in the passage `pair`; none where the passage has none.
    Answers(Vec<Answer>),
    /// The text to be written for `text`.
    Text(String),
    /// Which of several texts goes with `text`.
    Choice {
        /// The texts to choose from, at least two.
        options: Vec<String>,
        /// The position of the right one.
        right: usize,
    },
    /// The head and the relation of each word.
    Tree(Vec<Node>),
    /// Two spans and what is between them.
    Related(Related),
    /// What was said up to `text`, and the reply to it.
    Exchange(Exchange),
}

impl Label {
    /// True for a class, several or a score: two texts that are the same should have the same.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Label::One(_) | Label::Many(_) | Label::Score(_))
    }
}

/// A word and its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedWord {
    /// Where it begins in the text, in bytes.
    pub start: usize,
    /// Where it ends, in bytes.
    pub end: usize,
    /// Its tag: a part of speech, or `B-PER`, `I-PER`, `O` for named spans.
    pub tag: String,
}

/// A piece of the passage that answers the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Where it begins in the passage, in bytes.
    pub start: usize,
    /// What stands there.
    pub text: String,
}

/// A word of a dependency tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where the word begins in the text, in bytes.
    pub start: usize,
    /// Where it ends, in bytes. The words of a contraction that is not written as they are (`du` for `de` and `le`) all
    /// stand where it stands.
    pub end: usize,
    /// Its universal part of speech.
    pub tag: String,
    /// The number of its head, words counted from 1; 0 for the root.
    pub head: usize,
    /// Its relation to the head.
    pub relation: String,
}

/// Two spans of a text, or one in each of two texts, and how they are related.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// Where they stand, in bytes: both in the text, or the second in the second text where there is one.
    pub spans: [Range<usize>; 2],
    /// The class; none where it is to be answered.
    pub name: Option<String>,
}

/// What is known when one side of a conversation is to speak, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The number of the conversation in its file, from 0.
    pub conversation: usize,
    /// What the side that replies is like, a sentence each; may be none.
    pub persona: Vec<String>,
    /// What was said, the oldest turn first, by both sides in turn; the last one is the other side's, and the example's text.
    pub history: Vec<String>,
    /// The right reply and others; alone where the others are to be drawn.
    pub candidates: Vec<String>,
    /// The position of the right one.
    pub right: usize,
}

impl Exchange {
    /// The right reply.
    pub fn reply(&self) -> &str {
        &self.candidates[self.right]
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The text, never empty; for a model that reads pictures, the path of one.
    pub text: String,
    /// The second text of a pair.
    pub pair: Option<String>,
    /// The label, if the task has labels.
    pub label: Option<Label>,
    /// Line number in text formats, record number in Parquet, file number in a folder; from 1.
    pub row: usize,
    /// What the file calls it, where it has names (the questions of SQuAD, the sentences of CoNLL-U).
    pub id: Option<String>,
}

/// The examples of one file or folder.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The examples, in the order of the file.
    pub examples: Vec<Example>,
    /// What reading did.
    pub report: ReadReport,
    /// For a folder of files: the file of each example, by `row - 1`.
    pub(crate) files: Vec<PathBuf>,
    /// Whether the texts are paths of pictures.
    pub(crate) pictures: bool,
}

impl Dataset {
    /// Examples made elsewhere (decoded mails, a generated set), with a report that says so.
    pub fn new(examples: Vec<Example>, report: ReadReport) -> Self {
        Self { examples, report, files: Vec::new(), pictures: false }
    }

    /// Examples that no file holds: what a program was given.
    pub fn given(examples: Vec<Example>) -> Self {
        let column = |name: &str| ChosenColumn { name: name.to_string(), why: "as given".to_string() };
        let report = ReadReport {
            path: PathBuf::from("input"),
            format: Format::Text,
            text: column("text"),
            pair: None,
            label: Vec::new(),
            rows_read: examples.len(),
            skipped: Vec::new(),
            notes: Vec::new(),
        };
        Self::new(examples, report)
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// True when there is no example.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// The first texts.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.examples.iter().map(|example| example.text.as_str())
    }

    /// Where example `index` stands: `mails.csv row 17`, or its own file.
    pub fn place(&self, index: usize) -> String {
        let row = self.examples[index].row;
        match self.files.get(row.wrapping_sub(1)) {
            Some(file) => file.display().to_string(),
            None => format!("{} row {row}", self.report.path.display()),
        }
    }

    /// Whether the texts are the paths of pictures: of a folder of pictures, or after [`find_pictures`](Self::find_pictures).
    pub fn is_of_pictures(&self) -> bool {
        self.pictures
    }

    /// Takes the texts for the paths of pictures, as a model that reads pictures does. One that is not absolute begins in the folder
    /// of the data file.
    pub fn find_pictures(&mut self) {
        if self.pictures {
            return;
        }
        self.pictures = true;
        let path = &self.report.path;
        let folder = if path.is_dir() { Some(path.as_path()) } else { path.parent() };
        let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) else { return };
        for example in &mut self.examples {
            // Of a path that is absolute nothing of the folder is left.
            example.text = folder.join(&example.text).to_string_lossy().into_owned();
        }
        self.report.notes.push(format!("pictures: their paths begin in {}", folder.display()));
    }

    /// Whether every text looks like the name of a picture.
    pub fn names_pictures(&self) -> bool {
        !self.is_empty() && self.texts().all(topwork_text::pictures::names_picture)
    }

    /// What stands for each example's content: of a picture the digest of its file, of others the text. A picture that cannot be
    /// read is its path.
    pub fn content(&self) -> Vec<Cow<'_, str>> {
        let of = |example: &'_ Example| match self.pictures {
            false => None,
            true => std::fs::read(&example.text).ok().map(|bytes| {
                Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
            }),
        };
        let all = self.examples.par_iter();
        all.map(|example| of(example).map_or(Cow::Borrowed(example.text.as_str()), Cow::Owned)).collect()
    }

    /// The chosen examples as a set of their own, in the order given, under the same report.
    pub fn select(&self, indices: &[usize]) -> Self {
        Self {
            examples: indices.iter().map(|&index| self.examples[index].clone()).collect(),
            report: self.report.clone(),
            files: self.files.clone(),
            pictures: self.pictures,
        }
    }

    /// True when every example has a label.
    pub fn has_labels(&self) -> bool {
        !self.examples.is_empty() && self.examples.iter().all(|example| example.label.is_some())
    }

    /// How often each class stands, sorted by name (numbers by value): of tagged words each tag, of trees each relation.
    /// Scores, answers, texts, choices and replies are not counted.
    pub fn label_counts(&self) -> Vec<(String, usize)> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for example in &self.examples {
            match &example.label {
                Some(Label::One(name) | Label::Related(Related { name: Some(name), .. })) => {
                    *counts.entry(name).or_default() += 1;
                }
                Some(Label::Many(names)) => {
                    for name in names {
                        *counts.entry(name).or_default() += 1;
                    }
                }
                Some(Label::Words(words)) => {
                    for word in words {
                        *counts.entry(&word.tag).or_default() += 1;
                    }
                }
                Some(Label::Tree(nodes)) => {
                    for node in nodes {
                        *counts.entry(&node.relation).or_default() += 1;
                    }
                }
                Some(
                    Label::Score(_)
                    | Label::Answers(_)
                    | Label::Text(_)
                    | Label::Choice { .. }
                    | Label::Related(_)
                    | Label::Exchange(_),
                )
                | None => {}
            }
        }
        let mut counts: Vec<(String, usize)> =
            counts.into_iter().map(|(name, count)| (name.to_string(), count)).collect();
        counts.sort_by(|(a, _), (b, _)| crate::labels::by_name(a, b));
        counts
    }
}

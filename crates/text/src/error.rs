//! What can go wrong between a tokenizer folder and token ids.

use std::path::PathBuf;

/// The errors of this crate. Each says where, what was expected, what was found, and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder holds none of the files that a tokenizer is made from.
    #[error(
        "no tokenizer in {}: expected tokenizer.json, vocab.txt, vocab.json with merges.txt, or a SentencePiece \
         model, found {}{}",
        .folder.display(),
        if .found.is_empty() { "no files".to_string() } else { .found.join(", ") },
        .hint.as_deref().map(|h| format!("; {h}")).unwrap_or_default()
    )]
    NoTokenizer {
        /// The folder looked into.
        folder: PathBuf,
        /// The files that are there (at most 20 names).
        found: Vec<String>,
        /// What to do about a format that is there but not read.
        hint: Option<String>,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A line of a reader could not be read, or is not UTF-8.
    #[error("cannot read line {}: {source}", .line + 1)]
    ReadLine {
        /// Number of the line, from 0.
        line: usize,
        /// The reason.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A tokenizer file is not what it claims to be.
    #[error("{} is not a tokenizer this program reads: {reason}; fetch the file again or check its \"version\"", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// A setting in `tokenizer_config.json` (or a file beside it) has the wrong type or value.
    #[error("{}: key {key:?}: expected {expected}, got {got}", .path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is allowed.
        expected: String,
        /// What stands there.
        got: String,
    },
    /// A line of `vocab.txt` cannot be a token.
    #[error("{} line {line}: {problem}", .path.display())]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A binary file is broken, or holds what this program does not read.
    #[error("{} byte {at}: {problem}", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes from 0.
        at: usize,
        /// What is wrong there.
        problem: String,
    },
    /// An entry of a tokenizer file cannot be used.
    #[error("{}: {entry}: {problem}", .path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry: a token, a key, a place in a list.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing says what kind of tokenizer the files of a folder are, or it is a kind that is not read.
    #[error(
        "{}: expected the kind of tokenizer as \"tokenizer_class\" of tokenizer_config.json or \"model_type\" of \
         config.json, got {}; write tokenizer.json with transformers' \
         AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
        .folder.display(),
        .got.as_deref().unwrap_or("neither")
    )]
    Class {
        /// The folder.
        folder: PathBuf,
        /// What stands there.
        got: Option<String>,
    },
    /// A chat template is broken, or refuses the messages.
    #[error("{}: chat template: {problem}", .path.display())]
    Chat {
        /// The file with the template.
        path: PathBuf,
        /// What is wrong, and in which line of the template.
        problem: String,
    },
    /// The limit leaves no room for the special tokens.
    #[error(
        "a limit of {max_tokens} tokens leaves no room: the tokenizer itself adds {special} special tokens; \
         expected a limit of at least {}",
        .special + 1
    )]
    TooShort {
        /// The limit asked for.
        max_tokens: usize,
        /// How many special tokens are added.
        special: usize,
    },
    /// The tokenizer refused a text.
    #[error("cannot tokenize text {index} ({start:?}): {reason}")]
    Encode {
        /// Position in the call (0 for a single text).
        index: usize,
        /// How the text begins.
        start: String,
        /// The tokenizer's reason.
        reason: String,
    },
    /// A picture that a text names could not be read as the model needs it.
    #[error("{}: {reason}", .path.display())]
    Picture {
        /// Position in the call (0 for a single one).
        index: usize,
        /// The file, as the text names it.
        path: PathBuf,
        /// What is wrong with it, and the way out.
        reason: String,
    },
    /// A tokenizer has no form in GGUF files.
    #[error("{path}: the tokenizer cannot be put into a GGUF file: {reason}", path = .path.display())]
    NoGguf {
        /// The tokenizer's file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Ids could not be turned back into text.
    #[error("cannot decode {count} ids: {reason}")]
    Decode {
        /// How many ids were given.
        count: usize,
        /// The tokenizer's reason.
        reason: String,
    },
    /// The parts of a packed batch do not fit together.
    #[error("packed batch: expected {expected}, got {got}")]
    Packed {
        /// The rule.
        expected: String,
        /// What was given.
        got: String,
    },
}

/// `Result` with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

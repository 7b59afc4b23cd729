//! What can go wrong between a reference and a file on disk.

use std::path::PathBuf;

/// An error of the hub: where it happened, what was expected, what was found, and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A reference that cannot be read.
    #[error("`{reference}` is not a reference: {problem}; {way_out}")]
    Reference {
        /// The text as given.
        reference: String,
        /// What is wrong with it.
        problem: String,
        /// What to write instead.
        way_out: String,
    },
    /// A local path that does not exist.
    #[error("`{}` does not exist{hint}", path.display())]
    NoSuchPath {
        /// The path as given.
        path: PathBuf,
        /// A suggestion, starting with its own separator, or nothing.
        hint: String,
    },
    /// A file operation failed.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// The verb: `read`, `write`, `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// No cache folder can be chosen on this machine.
    #[error("no cache folder: neither TOPWORK_CACHE nor a home folder is set; set TOPWORK_CACHE to a folder")]
    NoCacheFolder,
    /// Asked to stay off the network, and the thing is not in the cache.
    #[error("`{reference}` is not in the cache at `{}` and --offline forbids fetching it; {way_out}", cache.display())]
    Offline {
        /// What was asked for.
        reference: String,
        /// The cache that was searched.
        cache: PathBuf,
        /// The command to run where there is a network.
        way_out: String,
    },
    /// A cached file is gone or is not what was fetched.
    #[error("`{}` of `{reference}` in the cache {problem}; {way_out}", file.display())]
    Damaged {
        /// What was asked for.
        reference: String,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// The command that repairs it.
        way_out: String,
    },
    /// The bytes fetched are not the bytes that were fetched (or published) before.
    #[error(
        "{what} has sha-256 {got}, but {expected} is pinned ({pinned_by}): the source changed or was tampered with; \
         if you trust the new one, delete `{}` and fetch again", entry.display()
    )]
    HashMismatch {
        /// The artefact.
        what: String,
        /// The pinned hash, in hexadecimal.
        expected: String,
        /// The hash of what came, in hexadecimal.
        got: String,
        /// Who pinned it.
        pinned_by: &'static str,
        /// The cache entry that holds the pin.
        entry: PathBuf,
    },
    /// A program this reference needs is not installed.
    #[error("`{reference}` needs {program}, which was not found on PATH; {way_out}")]
    NoProgram {
        /// What was asked for.
        reference: String,
        /// The program.
        program: &'static str,
        /// How to get it, or how to do without.
        way_out: String,
    },
    /// `pip` or `npm` ran and failed.
    #[error("`{command}` failed ({status}): {message}; {way_out}")]
    Program {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// The last lines it wrote.
        message: String,
        /// What to try.
        way_out: String,
    },
    /// A server could not be reached or answered with an error.
    #[error("cannot fetch `{url}`: {message}; {way_out}")]
    Network {
        /// The address.
        url: String,
        /// What happened.
        message: String,
        /// What to try.
        way_out: String,
    },
    /// A server's answer is not what its interface promises.
    #[error("`{url}` answered with something else than {expected}: {got}")]
    Answer {
        /// The address.
        url: String,
        /// What was expected.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// An archive is broken or tries to write outside its folder.
    #[error("`{}` is refused: {problem}", archive.display())]
    Archive {
        /// The archive.
        archive: PathBuf,
        /// The entry and what is wrong with it.
        problem: String,
    },
    /// No model, or more than one, where one was expected.
    #[error("no single model in `{}`: {problem}; {way_out}", folder.display())]
    NoModel {
        /// The folder searched.
        folder: PathBuf,
        /// What was found instead.
        problem: String,
        /// What to give instead.
        way_out: String,
    },
    /// A repository of data lacks a folder, or it holds no Parquet file.
    #[error("{repository} has no Parquet files in `{folder}` (it has {there}); {way_out}")]
    NoFolder {
        /// The repository, with its commit.
        repository: String,
        /// The folder that was wanted.
        folder: String,
        /// Folders that it has.
        there: String,
        /// What to do without it.
        way_out: String,
    },
    /// A file the hub wrote in the cache cannot be read back.
    #[error("`{}` in the cache cannot be read: {problem}; delete it and fetch again", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// A result of the hub.
pub type Result<T> = std::result::Result<T, Error>;

/// Adds the verb and the path to an operating system error.
pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.into();
    move |source| Error::Io { action, path, source }
}

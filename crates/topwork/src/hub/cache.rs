//! The cache on disk.
//!
//! ```text
//! refs/<slug>.json               what a reference means: the pinned hash, the commit, the time
//! content/<sha256>/files/...     the unpacked tree, keyed by the hash of what was fetched
//! content/<sha256>/manifest.json size, time and hash of every file in it
//! content/<sha256>/derived/...   what is computed from it (prepared corpora)
//! locks/<slug>.lock              held while a reference is being fetched
//! temp/<slug>/                   a fetch in progress, renamed into content/ when it is complete
//! ```
//!
//! Nothing under `content/` is ever half written: a tree is unpacked under `temp/` and renamed. A process
//! killed on the way leaves a folder under `temp/` that the next fetch of the same reference, which holds
//! the lock, removes.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::{Error, Result, io};
use super::hash;
use super::progress::Progress;

/// What a reference means in this cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The reference, as written.
    pub reference: String,
    /// SHA-256 of the artefact (wheel, tarball), or, for a repository of many files, over the hashes and
    /// names of its files. It is the pin: the same reference must give the same bytes again.
    pub sha256: String,
    /// The name of the artefact.
    pub artefact: String,
    /// The commit, for a repository of a hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// When it was fetched, in seconds since 1970.
    pub fetched: u64,
}

/// One file of a fetched tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Item {
    path: String,
    bytes: u64,
    modified: u64,
    sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    files: Vec<Item>,
}

/// What a fetch hands over for installation.
#[derive(Debug)]
pub(crate) struct Staged {
    pub sha256: String,
    pub artefact: String,
    pub commit: Option<String>,
    /// Hashes already known, by path, so that files are not read twice.
    pub hashes: Vec<(String, String)>,
}

/// How a cached tree compares to what was fetched.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Every file is there and as it was; the counts are files and bytes.
    Good { files: usize, bytes: u64 },
    /// The tree is not there at all.
    Missing,
    /// A file is gone or altered.
    Damaged { file: PathBuf, problem: String },
}

/// How thoroughly [`Cache::check`] looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Sizes and times; a file whose time differs is hashed.
    Quick,
    /// Every file is hashed.
    Full,
}

/// One cache folder. Opening it creates nothing.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// A cache at `root`, which need not exist yet.
    pub fn at(root: impl Into<PathBuf>) -> Cache {
        Cache { root: root.into() }
    }

    /// The folder of the cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the files of an entry lie.
    pub fn files(&self, entry: &Entry) -> PathBuf {
        self.content(&entry.sha256).join("files")
    }

    /// Where what is computed from an entry is kept.
    pub fn derived(&self, entry: &Entry) -> PathBuf {
        self.content(&entry.sha256).join("derived")
    }

    /// Every entry, ordered by reference.
    ///
    /// # Errors
    /// An entry that cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let folder = self.root.join("refs");
        let mut entries = Vec::new();
        let listing = match fs::read_dir(&folder) {
            Ok(listing) => listing,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(entries),
            Err(error) => return Err(io("read", folder)(error)),
        };
        for file in listing {
            let path = file.map_err(io("read", &folder))?.path();
            if path.extension().is_some_and(|e| e == "json") {
                entries.push(read_json(&path)?);
            }
        }
        entries.sort_by(|a: &Entry, b: &Entry| a.reference.cmp(&b.reference));
        Ok(entries)
    }

    /// The entry of a reference; `key` is the reference, with a prefix where one text has two meanings.
    pub(crate) fn lookup(&self, key: &str) -> Result<Option<Entry>> {
        let path = self.entry_path(key);
        match path.try_exists() {
            Ok(true) => read_json(&path).map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(io("read", path)(error)),
        }
    }

    pub(crate) fn entry_path(&self, key: &str) -> PathBuf {
        self.root.join("refs").join(format!("{}.json", slug(key)))
    }

    fn content(&self, sha256: &str) -> PathBuf {
        self.root.join("content").join(sha256)
    }

    /// Compares a cached tree to its manifest.
    pub(crate) fn check(&self, entry: &Entry, depth: Depth, progress: &dyn Progress) -> Result<State> {
        let content = self.content(&entry.sha256);
        let manifest_path = content.join("manifest.json");
        if !manifest_path.exists() {
            return Ok(State::Missing);
        }
        let mut manifest: Manifest = match read_json(&manifest_path) {
            Ok(manifest) => manifest,
            Err(error) => return Ok(State::Damaged { file: manifest_path, problem: error.to_string() }),
        };
        let bytes: u64 = manifest.files.iter().map(|item| item.bytes).sum();
        let mut retimed = false;
        let mut done = 0;
        if depth == Depth::Full {
            progress.start(&format!("checking {}", entry.reference), Some(bytes));
        }
        for item in &mut manifest.files {
            let file = content.join("files").join(&item.path);
            let damaged = |problem: String| Ok(State::Damaged { file: file.clone(), problem });
            let found = match fs::metadata(&file) {
                Ok(found) => found,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return damaged("is gone".into());
                }
                Err(error) => return Err(io("read", file)(error)),
            };
            if found.len() != item.bytes {
                return damaged(format!("has {} bytes, {} expected", found.len(), item.bytes));
            }
            let now = modified(&found);
            // A copied or restored cache has new times and the same bytes: hash it once, then believe it.
            if depth == Depth::Full || now != item.modified {
                let got = hash::of_file(&file, |n| progress.advance(done + n))?;
                if got != item.sha256 {
                    return damaged(format!("has sha-256 {got}, {} expected", item.sha256));
                }
                retimed |= now != item.modified;
                item.modified = now;
            }
            done += item.bytes;
        }
        if depth == Depth::Full {
            progress.finish();
        }
        if retimed {
            // Only a shortcut for the next time; a read-only cache works without it.
            let _ = write_json(&manifest_path, &manifest);
        }
        Ok(State::Good { files: manifest.files.len(), bytes })
    }

    /// Takes the lock of a reference, waiting for another process that fetches the same one.
    pub(crate) fn lock(&self, key: &str, progress: &dyn Progress) -> Result<Lock> {
        let folder = self.root.join("locks");
        fs::create_dir_all(&folder).map_err(io("create", &folder))?;
        let path = folder.join(format!("{}.lock", slug(key)));
        let file = File::options().create(true).append(true).open(&path).map_err(io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.note("another process is fetching the same thing; waiting for it");
                file.lock().map_err(io("lock", &path))?;
            }
            // Some network file systems have no locks. The renames still keep the content whole.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                progress.note("the cache's file system has no locks; do not fetch twice at the same time");
            }
            Err(TryLockError::Error(error)) => return Err(io("lock", path)(error)),
        }
        Ok(Lock { _file: file })
    }

    /// Fetches into a staging folder with `fetch`, then installs the result and writes the entry.
    ///
    /// `fetch` gets the staging folder, puts the final tree under `files/` in it and may use the rest as
    /// scratch. `pins` are the hashes this reference must have, with who said so.
    pub(crate) fn install(
        &self,
        _lock: &Lock,
        key: &str,
        reference: &str,
        pins: &[(&str, &'static str)],
        progress: &dyn Progress,
        fetch: impl FnOnce(&Path) -> Result<Staged>,
    ) -> Result<Entry> {
        let staging = Staging::create(self.root.join("temp").join(slug(key)))?;
        let staged = fetch(&staging.path)?;
        for (expected, pinned_by) in pins {
            if *expected != staged.sha256 {
                return Err(Error::HashMismatch {
                    what: staged.artefact,
                    expected: (*expected).to_owned(),
                    got: staged.sha256,
                    pinned_by,
                    entry: self.entry_path(key),
                });
            }
        }
        let entry = Entry {
            reference: reference.to_owned(),
            sha256: staged.sha256,
            artefact: staged.artefact,
            commit: staged.commit,
            fetched: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()),
        };
        let target = self.content(&entry.sha256);
        if !matches!(self.check(&entry, Depth::Quick, progress)?, State::Good { .. }) {
            write_json(
                &staging.path.join("manifest.json"),
                &manifest_of(&staging.path.join("files"), &staged.hashes)?,
            )?;
            for extra in fs::read_dir(&staging.path).map_err(io("read", &staging.path))? {
                let extra = extra.map_err(io("read", &staging.path))?;
                if extra.file_name() != "files" && extra.file_name() != "manifest.json" {
                    remove(&extra.path())?;
                }
            }
            let parent = self.root.join("content");
            fs::create_dir_all(&parent).map_err(io("create", &parent))?;
            remove(&target)?;
            if let Err(error) = fs::rename(&staging.path, &target) {
                // Another reference with the same bytes may have been installed in between.
                if !matches!(self.check(&entry, Depth::Quick, progress)?, State::Good { .. }) {
                    return Err(io("create", target)(error));
                }
            }
        }
        write_json(&self.entry_path(key), &entry)?;
        Ok(entry)
    }
}

/// The lock of one reference; released when dropped, and by the system when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// A staging folder, removed when dropped unless it was renamed away.
struct Staging {
    path: PathBuf,
}

impl Staging {
    fn create(path: PathBuf) -> Result<Staging> {
        remove(&path)?;
        fs::create_dir_all(path.join("files")).map_err(io("create", &path))?;
        Ok(Staging { path })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next fetch, which holds the same lock.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn manifest_of(folder: &Path, hashes: &[(String, String)]) -> Result<Manifest> {
    let mut paths = Vec::new();
    walk(folder, folder, &mut paths)?;
    paths.sort();
    let files = paths
        .into_par_iter()
        .map(|path| {
            let file = folder.join(&path);
            let found = fs::metadata(&file).map_err(io("read", &file))?;
            Ok(Item {
                bytes: found.len(),
                modified: modified(&found),
                sha256: match hashes.iter().find(|(known, _)| *known == path) {
                    Some((_, sha256)) => sha256.clone(),
                    None => hash::of_file(&file, |_| ())?,
                },
                path,
            })
        })
        .collect::<Result<Vec<Item>>>()?;
    Ok(Manifest { files })
}

/// Collects the files under `folder` as paths relative to `root`, with `/` between their parts.
fn walk(root: &Path, folder: &Path, paths: &mut Vec<String>) -> Result<()> {
    for file in fs::read_dir(folder).map_err(io("read", folder))? {
        let path = file.map_err(io("read", folder))?.path();
        if path.is_dir() {
            walk(root, &path, paths)?;
        } else if let Ok(relative) = path.strip_prefix(root) {
            let parts: Vec<String> =
                relative.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
            paths.push(parts.join("/"));
        }
    }
    Ok(())
}

fn modified(metadata: &fs::Metadata) -> u64 {
    let time = metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    time.map_or(0, |t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX))
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(io("read", path))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::Entry { path: path.to_owned(), problem: error.to_string() })
}

/// Writes to a temporary name beside the target, syncs, and renames.
fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::Entry { path: path.to_owned(), problem: error.to_string() })?;
    write_atomically(path, text.as_bytes())
}

/// Writes `bytes` to a temporary name beside `path`, syncs, and renames.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(io("create", folder))?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(io("write", &temporary))
        .and_then(|()| fs::rename(&temporary, path).map_err(io("write", path)));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A file name for a reference: readable, and made unique by a hash, also where case does not count.
fn slug(key: &str) -> String {
    let readable: String = key
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' })
        .collect();
    format!("{}-{}", readable, &hash::of_bytes(key.as_bytes())[..8])
}

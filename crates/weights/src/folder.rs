//! Model folders: `config.json`, `model.safetensors` and what else belongs to a model, replaced as a whole.
//!
//! Everything is written and synced in a hidden folder beside the target, which then takes the target's
//! place in one step (Linux exchanges the two names; elsewhere the old folder is set aside for the moment
//! between two renames, and the next write puts it back if that moment was the last). A reader never sees a
//! folder of which one half is old.

use std::fs;
use std::io;
use std::path::Path;

use crate::{Error, Named, atomic, safetensors};

/// Files that may be replaced along with a model folder even when the new one has no such file.
const KNOWN: &[&str] = &[
    "README.md",
    "added_tokens.json",
    "card.md",
    "config.json",
    "config_sentence_transformers.json",
    "generation_config.json",
    "merges.txt",
    "model.safetensors",
    "model.safetensors.index.json",
    "modules.json",
    "sentence_bert_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "topwork.json",
    "vocab.json",
    "vocab.txt",
];

/// Folders in a model folder: those of sentence-transformers, and that of an adapter as peft has it; and the files that each
/// may hold.
const INNER: &[&str] = &["1_Pooling", "2_Dense", "2_Normalize", "3_Normalize", ADAPTER];
const IN_INNER: &[&str] = &[
    "README.md",
    "adapter.safetensors",
    "adapter_config.json",
    "adapter_fusion_config.json",
    "adapter_model.safetensors",
    "config.json",
    "model_adapter_fusion.safetensors",
    "model.safetensors",
    "topwork.json",
    "topwork_head.safetensors",
];

/// The folder of the model where an adapter lies apart from it.
pub const BASE: &str = "base";

/// The folder of an adapter.
pub const ADAPTER: &str = "adapter";

/// What is kept when a folder cannot be written.
const KEPT: &str = "an existing folder was left as it was";

/// The content of a model folder.
#[derive(Clone, Debug)]
pub struct ModelFolder<'a> {
    /// `config.json`, as transformers reads it.
    pub config: &'a serde_json::Value,
    /// `model.safetensors`, under the names of the checkpoint format (see [`export`](crate::export)).
    pub tensors: &'a [Named<'a>],
    /// Further files: name and content (`tokenizer.json`, `tokenizer_config.json`, our own `topwork.json`), or the name in a
    /// folder of its own (`1_Pooling/config.json`, `adapter/adapter_config.json`).
    pub files: &'a [(&'a str, &'a [u8])],
    /// Files of an adapter that the model is not complete without. If there are some, they go into [`ADAPTER`] and all of the
    /// above into [`BASE`], so that nothing opens the one and misses the other. One that is made of several adapters has a folder
    /// for each (`mails/adapter.safetensors`).
    pub adapter: &'a [(&'a str, &'a [u8])],
}

impl ModelFolder<'_> {
    /// Writes the folder; one that stands there is replaced as a whole.
    ///
    /// # Errors
    /// [`Error::ForeignEntry`] when the folder that stands there holds anything that is no part of a model,
    /// [`Error::BadFileName`], [`Error::Write`] and the errors of [`safetensors::write`]; the old folder then
    /// stands as it was.
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        let folder = folder.as_ref();
        let fail = |source| Error::Write { path: folder.to_path_buf(), kept: KEPT, source };
        for (at, (name, _)) in self.files.iter().enumerate() {
            let taken = ["config.json", "model.safetensors"].contains(name)
                || self.files[..at].iter().any(|(other, _)| other == name);
            if !is_plain(name) && !is_inner(name) || taken {
                return Err(Error::BadFileName(name.to_string()));
            }
        }
        if let Some((name, _)) = self.adapter.iter().find(|(name, _)| !of_adapter(name)) {
            return Err(Error::BadFileName(name.to_string()));
        }
        restore(folder).map_err(fail)?;
        self.refuse_foreign(folder)?;
        fs::create_dir_all(atomic::parent(folder)).map_err(fail)?;
        // What an earlier attempt at this folder left when it was killed. It may be someone else's and stay.
        let name = folder.file_name().and_then(|name| name.to_str());
        let _ = atomic::sweep_for(atomic::parent(folder), |target| Some(target) == name);
        let new = atomic::temporary_beside(folder).map_err(fail)?;
        let written = self.fill_all(&new).and_then(|()| replace(folder, &new).map_err(fail));
        if written.is_err() {
            // Only the leftover of our own attempt; when even that fails, the first error is the one to tell.
            let _ = fs::remove_dir_all(&new);
        }
        written
    }

    /// Writes all files into a new folder, those of model and adapter apart if there is an adapter.
    fn fill_all(&self, new: &Path) -> Result<(), Error> {
        if self.adapter.is_empty() {
            return self.fill(new);
        }
        let fail = |source| Error::Write { path: new.to_path_buf(), kept: KEPT, source };
        let adapter = new.join(ADAPTER);
        fs::create_dir_all(&adapter).map_err(fail)?;
        for (name, content) in self.adapter {
            let file = adapter.join(name);
            fs::create_dir_all(atomic::parent(&file)).map_err(fail)?;
            atomic::write(file, content)?;
        }
        self.fill(&new.join(BASE))
    }

    /// Writes the files of the model into a new folder.
    fn fill(&self, new: &Path) -> Result<(), Error> {
        let fail = |source| Error::Write { path: new.to_path_buf(), kept: KEPT, source };
        fs::create_dir(new).map_err(fail)?;
        let mut config =
            serde_json::to_vec_pretty(self.config).map_err(|error| fail(io::Error::other(error)))?;
        config.push(b'\n');
        atomic::write(new.join("config.json"), &config)?;
        for (name, content) in self.files {
            let file = new.join(name);
            if is_inner(name) {
                fs::create_dir_all(atomic::parent(&file)).map_err(fail)?;
            }
            atomic::write(file, content)?;
        }
        safetensors::write(new.join("model.safetensors"), self.tensors)
    }

    /// Refuses to replace a folder in which something lies that no model folder has: `--out ~/documents`.
    fn refuse_foreign(&self, folder: &Path) -> Result<(), Error> {
        let read = |source| Error::Read { path: folder.to_path_buf(), source };
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(read(error)),
        };
        for entry in entries {
            let entry = entry.map_err(read)?;
            let is_file = entry.file_type().map_err(read)?.is_file();
            let name = entry.file_name().to_string_lossy().into_owned();
            let known = KNOWN.contains(&name.as_str())
                || self.files.iter().any(|(own, _)| *own == name)
                || name.ends_with(".safetensors");
            let depth = usize::from(name == ADAPTER);
            let inner = || INNER.contains(&name.as_str()) && holds_only(&entry.path(), IN_INNER, depth);
            if name == BASE && !is_file {
                self.refuse_foreign(&entry.path())?;
                continue;
            }
            if !(is_file && known || inner()) {
                return Err(Error::ForeignEntry { path: folder.to_path_buf(), entry: name });
            }
        }
        Ok(())
    }
}

/// Puts `new` in the place of `folder`.
fn replace(folder: &Path, new: &Path) -> io::Result<()> {
    atomic::sync_folder(new)?;
    if !folder.exists() {
        fs::rename(new, folder)?;
    } else if exchange(folder, new)? {
        // `new` is now the old folder. The new one stands: a leftover is no reason to fail.
        let _ = fs::remove_dir_all(new);
    } else {
        let aside = set_aside_name(folder)?;
        fs::rename(folder, &aside)?;
        if let Err(error) = fs::rename(new, folder) {
            fs::rename(&aside, folder)?;
            return Err(error);
        }
        let _ = fs::remove_dir_all(&aside);
    }
    atomic::sync_folder(atomic::parent(folder))
}

/// Brings back a folder that an interrupted replacement had set aside.
fn restore(folder: &Path) -> io::Result<()> {
    let aside = set_aside_name(folder)?;
    if aside.exists() && !folder.exists() { fs::rename(aside, folder) } else { Ok(()) }
}

/// Where the old folder stands between the two renames of a replacement.
fn set_aside_name(folder: &Path) -> io::Result<std::path::PathBuf> {
    let name = folder.file_name().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "the path does not end in a folder name")
    })?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".old");
    Ok(folder.with_file_name(hidden))
}

/// Exchanges two names in one step; `false` when the file system cannot.
#[cfg(target_os = "linux")]
fn exchange(a: &Path, b: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Exchanges two names in one step; `false` where the system has no such call.
#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Whether a name is that of a file in one of the folders of a model folder.
fn is_inner(name: &str) -> bool {
    name.split_once('/').is_some_and(|(folder, file)| INNER.contains(&folder) && IN_INNER.contains(&file))
}

/// Whether a file of that name may stand in the folder of an adapter, or in that of one of several that it is made of.
fn of_adapter(name: &str) -> bool {
    let (folder, file) = name.split_once('/').unwrap_or(("own", name));
    is_plain(folder) && IN_INNER.contains(&file)
}

/// Whether a folder holds nothing but files of these names, and folders of such down to a depth.
fn holds_only(folder: &Path, names: &[&str], depth: usize) -> bool {
    let of_ours = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| {
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            let known = || entry.file_name().to_str().is_some_and(|name| names.contains(&name));
            if is_file { known() } else { depth > 0 && holds_only(&entry.path(), names, depth - 1) }
        })
    };
    fs::read_dir(folder).is_ok_and(|mut entries| entries.all(of_ours))
}

/// Whether a name is one plain path component: no separator, no `..`, nothing hidden.
pub(crate) fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tensors(value: f32) -> Vec<Named<'static>> {
        vec![Named { name: "w".into(), shape: vec![3], data: vec![value; 3].into() }]
    }

    fn write(folder: &Path, value: f32, files: &[(&str, &[u8])]) -> Result<(), Error> {
        let config = json!({"model_type": "bert", "value": value});
        ModelFolder { config: &config, tensors: &tensors(value), files, adapter: &[] }.write(folder)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_written_and_replaced_as_a_whole() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("deep/model");
        write(&folder, 1.0, &[("vocab.txt", b"a\n")]).unwrap();
        assert_eq!(names(&folder), ["config.json", "model.safetensors", "vocab.txt"]);
        write(&folder, 2.0, &[("tokenizer.json", b"{}")]).unwrap();
        assert_eq!(names(&folder), ["config.json", "model.safetensors", "tokenizer.json"]);
        let read = crate::Checkpoint::open(&folder).unwrap().read("w").unwrap();
        assert_eq!(read, [2.0; 3]);
        assert_eq!(names(folder.parent().unwrap()), ["model"], "nothing is left beside it");
        let config: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
        assert_eq!(config["value"], 2.0);
    }

    #[test]
    fn the_same_content_gives_the_same_bytes() {
        let root = tempfile::tempdir().unwrap();
        let (a, b) = (root.path().join("a"), root.path().join("b"));
        write(&a, 1.0, &[]).unwrap();
        write(&b, 1.0, &[]).unwrap();
        for name in names(&a) {
            assert_eq!(fs::read(a.join(&name)).unwrap(), fs::read(b.join(&name)).unwrap(), "{name}");
        }
    }

    #[test]
    fn a_folder_with_anything_foreign_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("documents");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("thesis.tex"), "years of work").unwrap();
        let error = write(&folder, 1.0, &[]).unwrap_err().to_string();
        assert!(error.contains("thesis.tex"), "{error}");
        assert_eq!(names(&folder), ["thesis.tex"]);
        assert_eq!(names(root.path()), ["documents"]);

        let model = root.path().join("model");
        write(&model, 1.0, &[]).unwrap();
        fs::create_dir(model.join("config")).unwrap();
        assert!(matches!(write(&model, 2.0, &[]), Err(Error::ForeignEntry { .. })));
        assert_eq!(crate::Checkpoint::open(&model).unwrap().read("w").unwrap(), [1.0; 3]);
    }

    #[test]
    fn folders_of_modules_are_a_part_of_it() {
        let root = tempfile::tempdir().unwrap();
        let model = root.path().join("model");
        let file: &[(&str, &[u8])] = &[("1_Pooling/config.json", b"{}")];
        write(&model, 1.0, file).unwrap();
        assert!(model.join("1_Pooling/config.json").is_file());
        write(&model, 2.0, &[]).unwrap();
        assert!(!model.join("1_Pooling").exists());
        write(&model, 3.0, file).unwrap();
        fs::write(model.join("1_Pooling/thesis.tex"), "years of work").unwrap();
        assert!(matches!(write(&model, 4.0, &[]), Err(Error::ForeignEntry { .. })));
        for bad in ["1_Pooling/../x", "other/config.json", "1_Pooling/x"] {
            assert!(
                matches!(write(&root.path().join("b"), 1.0, &[(bad, b"")]), Err(Error::BadFileName(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_model_and_its_adapter_lie_apart_and_are_replaced_together() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("model");
        let (config, tensors) = (json!({"model_type": "bert"}), tensors(1.0));
        let write_both = |adapter: &[(&str, &[u8])]| {
            let files: &[(&str, &[u8])] = &[("vocab.txt", b"a\n")];
            ModelFolder { config: &config, tensors: &tensors, files, adapter }.write(&folder)
        };
        write(&folder, 1.0, &[]).unwrap();
        write_both(&[("adapter_config.json", b"{}")]).unwrap();
        assert_eq!(names(&folder), [ADAPTER, BASE]);
        assert_eq!(names(&folder.join(BASE)), ["config.json", "model.safetensors", "vocab.txt"]);
        fs::write(folder.join("README.md"), "a card").unwrap();
        write_both(&[("adapter.safetensors", b"x")]).unwrap();
        assert_eq!(names(&folder.join(ADAPTER)), ["adapter.safetensors"]);
        for foreign in ["thesis.tex", "mails/thesis.tex", "../adapter.safetensors", "a/b/adapter.safetensors"]
        {
            assert!(matches!(write_both(&[(foreign, b"x")]), Err(Error::BadFileName(_))), "{foreign}");
        }
        write_both(&[("adapter_config.json", b"{}"), ("mails/adapter.safetensors", b"x")]).unwrap();
        assert_eq!(names(&folder.join(ADAPTER)), ["adapter_config.json", "mails"]);
        fs::write(folder.join(ADAPTER).join("mails/thesis.tex"), "years of work").unwrap();
        assert!(matches!(write(&folder, 2.0, &[]), Err(Error::ForeignEntry { .. })));
        fs::remove_file(folder.join(ADAPTER).join("mails/thesis.tex")).unwrap();
        fs::write(folder.join(BASE).join("thesis.tex"), "years of work").unwrap();
        assert!(matches!(write(&folder, 2.0, &[]), Err(Error::ForeignEntry { .. })));
        fs::remove_file(folder.join(BASE).join("thesis.tex")).unwrap();
        write(&folder, 2.0, &[]).unwrap();
        assert_eq!(names(&folder), ["config.json", "model.safetensors"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_folder_and_no_rubbish() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("model");
        write(&folder, 1.0, &[]).unwrap();
        let config = json!({});
        let bad = [Named { name: "w".into(), shape: vec![4], data: vec![2.0; 3].into() }];
        let error = ModelFolder { config: &config, tensors: &bad, files: &[], adapter: &[] }.write(&folder);
        assert!(matches!(error, Err(Error::WrongLength { .. })));
        assert_eq!(crate::Checkpoint::open(&folder).unwrap().read("w").unwrap(), [1.0; 3]);
        assert_eq!(names(root.path()), ["model"]);
    }

    #[test]
    fn a_file_in_the_way_is_a_clear_error() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model");
        fs::write(&path, "a file").unwrap();
        assert!(write(&path, 1.0, &[]).unwrap_err().to_string().contains("model"));
        assert!(write(&path.join("below"), 1.0, &[]).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"a file");
    }

    #[test]
    fn an_interrupted_replacement_is_put_back() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("model");
        write(&folder, 1.0, &[]).unwrap();
        fs::rename(&folder, root.path().join(".model.old")).unwrap();
        let config = json!({});
        let bad = [Named { name: "w".into(), shape: vec![4], data: vec![2.0; 3].into() }];
        assert!(
            ModelFolder { config: &config, tensors: &bad, files: &[], adapter: &[] }.write(&folder).is_err()
        );
        assert_eq!(crate::Checkpoint::open(&folder).unwrap().read("w").unwrap(), [1.0; 3]);
    }

    #[test]
    fn the_leftover_of_a_killed_attempt_goes_with_the_next() {
        let root = tempfile::tempdir().unwrap();
        for name in ["model", "other"] {
            fs::create_dir(root.path().join(format!(".{name}.4294967295-1f-0.tmp"))).unwrap();
        }
        write(&root.path().join("model"), 1.0, &[]).unwrap();
        let left = names(root.path());
        assert!(left.contains(&".other.4294967295-1f-0.tmp".to_string()), "{left:?}");
        assert_eq!(left.len(), if Path::new("/proc/self").exists() { 2 } else { 3 }, "{left:?}");
    }

    #[test]
    fn only_plain_file_names_are_taken() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("model");
        for name in ["../x", "a/b", "", ".hidden", "config.json", "a\\b", "c:x"] {
            assert!(matches!(write(&folder, 1.0, &[(name, b"")]), Err(Error::BadFileName(_))), "{name}");
        }
        assert!(matches!(write(&folder, 1.0, &[("a", b""), ("a", b"")]), Err(Error::BadFileName(_))));
        assert!(!folder.exists());
    }
}

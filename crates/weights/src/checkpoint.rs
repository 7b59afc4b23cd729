//! A published checkpoint on disk: one file of a format in [`FORMATS`], or several with an index.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::format::{self, FORMATS, TensorFile};
use crate::hdf5::HDF5;
use crate::{Error, Hdf5File, TensorflowNames, convert, gguf, tensorflow};

/// The tensors of a checkpoint, whether they lie in one file or in shards. Opening reads the headers only.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    files: Vec<Box<dyn TensorFile>>,
    /// Which file has a tensor.
    place: HashMap<String, usize>,
}

impl Checkpoint {
    /// Opens a folder (the first file that a format of [`FORMATS`] is known to be called by), a file of such a format,
    /// the index of shards, or TensorFlow's files by the part that their names have in common.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::NoWeights`], [`Error::BadIndex`], [`Error::UnknownFormat`], [`Error::BadFile`],
    /// [`Error::BadTensor`].
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint, Error> {
        // TensorFlow's users name a checkpoint by what its files have in common.
        let path = &tensorflow::index_of(path.as_ref()).unwrap_or_else(|| path.as_ref().to_path_buf());
        let about = fs::metadata(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
        let weights = if about.is_dir() { find_in(path)? } else { path.to_path_buf() };
        let files = if weights.extension().is_some_and(|extension| extension == "json") {
            open_shards(&weights)?
        } else {
            vec![format::open(&weights)?]
        };
        let mut place = HashMap::new();
        for (at, file) in files.iter().enumerate() {
            for name in file.names() {
                if let Some(first) = place.insert(name.to_string(), at) {
                    let (first, second) = (files[first].path().display(), file.path().display());
                    let reason = format!("tensor \"{name}\" lies both in {first} and in {second}");
                    return Err(Error::BadIndex { path: weights, reason });
                }
            }
        }
        Ok(Checkpoint { path: weights, files, place })
    }

    /// The file that was opened (for shards: the index).
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors' names, file by file in the order they lie there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().flat_map(|file| file.names())
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.place.len()
    }

    /// Whether there is no tensor at all.
    pub fn is_empty(&self) -> bool {
        self.place.is_empty()
    }

    /// A tensor's shape, or `None` when there is no such tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.file(name).and_then(|file| file.shape(name))
    }

    /// A tensor's number format as the file spells it (`F32`, `BF16`).
    pub fn dtype(&self, name: &str) -> Option<String> {
        self.file(name).and_then(|file| file.dtype(name))
    }

    /// Reads one tensor as `f32`, row-major.
    ///
    /// # Errors
    /// As [`TensorFile::read`]; [`Error::NotFinite`].
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let Some(file) = self.file(name) else {
            return Err(Error::NoTensor { path: self.path.clone(), tensor: name.to_string() });
        };
        let data = file.read(name)?;
        match convert::first_not_finite(&data) {
            None => Ok(data),
            Some(index) => Err(Error::NotFinite {
                path: file.path().to_path_buf(),
                tensor: name.to_string(),
                index,
                value: data[index],
            }),
        }
    }

    /// The `config.json` that the weights file itself implies, for formats that carry a model's settings.
    pub fn config(&self) -> Option<Value> {
        self.files.iter().find_map(|file| file.config())
    }

    fn file(&self, name: &str) -> Option<&dyn TensorFile> {
        self.place.get(name).map(|&at| self.files[at].as_ref())
    }
}

/// The weights file of a folder: the first format that has one, by its fixed names, then by its patterns.
fn find_in(folder: &Path) -> Result<PathBuf, Error> {
    let read = |source| Error::Read { path: folder.to_path_buf(), source };
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        found.insert(entry.map_err(read)?.file_name().to_string_lossy().into_owned());
    }
    for (format, wild) in
        FORMATS.iter().flat_map(|format| format.files.iter().map(move |wild| (format, wild)))
    {
        let fits = |name: &&String| format::fits(wild, name);
        let mut fitting: Vec<PathBuf> = found.iter().filter(fits).map(|name| folder.join(name)).collect();
        // The first part of a model in parts stands for all.
        fitting.retain(|path| path.is_file() && !gguf::split::is_later(path));
        if fitting.len() > 1 {
            // Names such as `*.bin` are common: of several files, those that are of the format count.
            fitting.retain(|path| format::head_of(path).is_ok_and(|head| (format.is)(path, &head)));
        }
        if fitting.len() == 1 {
            return Ok(fitting.swap_remove(0));
        }
    }
    let mut names: Vec<&str> = found.iter().take(12).map(String::as_str).collect();
    if found.len() > names.len() {
        names.push("...");
    }
    let found = if names.is_empty() { "nothing".to_string() } else { names.join(", ") };
    Err(Error::NoWeights { path: folder.to_path_buf(), found })
}

/// The shards an index names, each holding exactly what the index says of it.
fn open_shards(index: &Path) -> Result<Vec<Box<dyn TensorFile>>, Error> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let bad = |reason: String| Error::BadIndex { path: index.to_path_buf(), reason };
    let text = fs::read(index).map_err(|source| Error::Read { path: index.to_path_buf(), source })?;
    let Index { weight_map } = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    let mut by_file: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (tensor, file) in &weight_map {
        // The index comes from elsewhere: it may not point outside its folder.
        if !crate::folder::is_plain(file) {
            return Err(bad(format!(
                "tensor \"{tensor}\" is said to lie in \"{file}\", which is no plain file name"
            )));
        }
        by_file.entry(file).or_default().insert(tensor);
    }
    if by_file.is_empty() {
        return Err(bad("it names no tensor".to_string()));
    }
    let count = by_file.len();
    let mut files = Vec::new();
    for (name, expected) in by_file {
        let path = index.with_file_name(name);
        if !path.is_file() {
            return Err(Error::MissingPart { path: index.to_path_buf(), part: path, count });
        }
        let fits = |file: &dyn TensorFile, expected: BTreeSet<&str>| -> Result<(), Error> {
            let held: BTreeSet<&str> = file.names().into_iter().collect();
            if let Some(missing) = expected.difference(&held).next() {
                return Err(bad(format!("tensor \"{missing}\" is not in {name}")));
            }
            match held.difference(&expected).next() {
                Some(extra) => Err(bad(format!(
                    "{name} holds the tensor \"{extra}\", which the index does not place there"
                ))),
                None => Ok(()),
            }
        };
        if format::head_of(&path).is_ok_and(|head| (HDF5.is)(&path, &head)) {
            // The index has TensorFlow's names.
            let file = Hdf5File::open(&path)?;
            fits(&file, expected.into_iter().map(TensorflowNames::in_shard).collect())?;
            files.push(TensorflowNames::of_shard(file)?);
        } else {
            let file = format::open(&path)?;
            fits(file.as_ref(), expected)?;
            files.push(file);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Named, pytorch, safetensors};

    const SINGLE: &str = "model.safetensors";
    const INDEX: &str = "model.safetensors.index.json";

    fn tensor(name: &str, value: f32) -> Named<'static> {
        Named { name: name.into(), shape: vec![2], data: vec![value; 2].into() }
    }

    fn sharded(index: &str) -> (tempfile::TempDir, Result<Checkpoint, Error>) {
        let folder = tempfile::tempdir().unwrap();
        safetensors::write(folder.path().join("a.safetensors"), &[tensor("x", 1.0)]).unwrap();
        safetensors::write(folder.path().join("b.safetensors"), &[tensor("y", 2.0), tensor("z", 3.0)])
            .unwrap();
        fs::write(folder.path().join(INDEX), index).unwrap();
        let opened = Checkpoint::open(folder.path());
        (folder, opened)
    }

    #[test]
    fn shards_read_as_one() {
        let index = r#"{"metadata": {"total_size": 24},
            "weight_map": {"x": "a.safetensors", "z": "b.safetensors", "y": "b.safetensors"}}"#;
        let (_folder, checkpoint) = sharded(index);
        let checkpoint = checkpoint.unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["x", "y", "z"]);
        assert_eq!(checkpoint.read("z").unwrap(), [3.0, 3.0]);
        assert_eq!(checkpoint.shape("x"), Some(&[2usize][..]));
        assert!(matches!(checkpoint.read("w"), Err(Error::NoTensor { .. })));
    }

    #[test]
    fn an_index_that_does_not_fit_is_refused() {
        let check = |index: &str, part: &str| {
            let error = sharded(index).1.unwrap_err().to_string();
            assert!(error.contains(part), "{index}: {error}");
        };
        check(r#"{"weight_map": {"x": "b.safetensors"}}"#, "\"x\" is not in b.safetensors");
        check(r#"{"weight_map": {"y": "b.safetensors"}}"#, "holds the tensor \"z\"");
        check(r#"{"weight_map": {"x": "../../etc/passwd"}}"#, "no plain file name");
        check(r#"{"weight_map": {"x": "/etc/passwd"}}"#, "no plain file name");
        check(r#"{"weight_map": {"x": "c.safetensors"}}"#, "c.safetensors is not there, one of 1 files");
        check(r#"{"weight_map": {}}"#, "names no tensor");
        check(r#"{"weights": {}}"#, "weight_map");
        check("{", INDEX);
    }

    #[test]
    fn a_folder_is_searched_and_its_content_named() {
        let folder = tempfile::tempdir().unwrap();
        let nothing = Checkpoint::open(folder.path()).unwrap_err().to_string();
        assert!(nothing.contains("found: nothing"), "{nothing}");
        fs::write(folder.path().join("weights.xyz"), "x").unwrap();
        let unknown = Checkpoint::open(folder.path()).unwrap_err().to_string();
        assert!(unknown.contains("found: weights.xyz"), "{unknown}");
        safetensors::write(folder.path().join("only.safetensors"), &[tensor("x", 1.0)]).unwrap();
        assert_eq!(Checkpoint::open(folder.path()).unwrap().len(), 1);
        safetensors::write(folder.path().join("two.safetensors"), &[tensor("x", 1.0)]).unwrap();
        assert!(matches!(Checkpoint::open(folder.path()), Err(Error::NoWeights { .. })));
        safetensors::write(folder.path().join(SINGLE), &[tensor("y", 1.0)]).unwrap();
        assert_eq!(Checkpoint::open(folder.path()).unwrap().names().collect::<Vec<_>>(), ["y"]);
        assert!(matches!(Checkpoint::open(folder.path().join("nowhere")), Err(Error::Read { .. })));
    }

    #[test]
    fn the_best_format_of_a_folder_is_taken_and_common_names_are_looked_into() {
        let folder = tempfile::tempdir().unwrap();
        let names =
            |folder: &Path| Checkpoint::open(folder).unwrap().names().map(String::from).collect::<Vec<_>>();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/weights");
        fs::copy(fixtures.join("llama2c/v0-tied.bin"), folder.path().join("model.bin")).unwrap();
        assert!(names(folder.path()).contains(&"model.norm.weight".to_string()));
        // A second file of that ending, which is no model.
        fs::write(folder.path().join("tokenizer.bin"), "x").unwrap();
        assert!(names(folder.path()).contains(&"model.norm.weight".to_string()));
        pytorch::write(folder.path().join("other.bin"), &[tensor("p", 1.0)]).unwrap();
        assert_eq!(names(folder.path()), ["p"]);
        pytorch::write(folder.path().join("pytorch_model.bin"), &[tensor("q", 1.0)]).unwrap();
        assert_eq!(names(folder.path()), ["q"]);
        safetensors::write(folder.path().join(SINGLE), &[tensor("s", 1.0)]).unwrap();
        assert_eq!(names(folder.path()), ["s"]);
    }

    #[test]
    fn shards_of_pytorch_read_as_one() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/weights/pytorch");
        let checkpoint = Checkpoint::open(fixtures.join("sharded")).unwrap();
        let golden = crate::SafeTensorsFile::open(fixtures.join("golden.safetensors")).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        for name in checkpoint.names() {
            assert_eq!(checkpoint.read(name).unwrap(), golden.read(&format!("sharded.{name}")).unwrap());
        }
    }
}

//! What a file of tensors is, whatever its format, and the list of all formats.

use std::fmt::Debug;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::hdf5::HDF5;
use crate::llama2c::LLAMA2C;
use crate::npz::NPZ;
use crate::pytorch::PYTORCH;
use crate::tensorflow::TENSORFLOW;
use crate::{Error, SafeTensorsFile, gguf, onnx};

/// An open file of tensors. Opening checks what the file says of itself; numbers are read when they are asked for,
/// by several threads at once.
pub trait TensorFile: Debug + Send + Sync {
    /// The file that was opened.
    fn path(&self) -> &Path;

    /// The tensors' names, in the order of their numbers in the file.
    fn names(&self) -> Vec<&str>;

    /// A tensor's shape, or `None` when the file has no such tensor.
    fn shape(&self, name: &str) -> Option<&[usize]>;

    /// A tensor's number format as the file spells it (`F32`, `BF16`, `Q4_K`), or `None` when the file has no such tensor.
    fn dtype(&self, name: &str) -> Option<String>;

    /// Reads one tensor as `f32`, row-major, whatever it is stored as. Whoever asks checks that the numbers are finite.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::WrongDtype`], [`Error::Read`], [`Error::BadTensor`].
    fn read(&self, name: &str) -> Result<Vec<f32>, Error>;

    /// The `config.json` that belongs to the model, for formats whose files carry its settings themselves (GGUF).
    fn config(&self) -> Option<Value> {
        None
    }
}

/// A file format that can hold the weights of a model.
pub struct Format {
    /// Kebab-case name.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Where the format is described.
    pub link: &'static str,
    /// Files that a folder's weights may be called in this format, best first; `*` stands for anything. A pattern with `*`
    /// only counts where a single file of the folder matches it, by its content if not by its name alone.
    pub files: &'static [&'static str],
    /// Whether a file is of this format, from its path and its first bytes (up to [`HEAD_BYTES`] of them).
    pub is: fn(&Path, &[u8]) -> bool,
    /// Opens a file of this format.
    pub open: OpenFormat,
}

/// How a file of some format is opened.
pub type OpenFormat = fn(&Path) -> Result<Box<dyn TensorFile>, Error>;

/// How much of a file [`Format::is`] sees.
pub const HEAD_BYTES: usize = 512;

/// Every format, in the order in which a folder is searched for them.
pub const FORMATS: &[&Format] =
    &[&SAFETENSORS, &PYTORCH, &gguf::FORMAT, &HDF5, &TENSORFLOW, &onnx::FORMAT, &NPZ, &LLAMA2C];

/// The entry of safetensors.
pub const SAFETENSORS: Format = Format {
    name: "safetensors",
    summary: "one file, or shards with an index",
    link: "https://github.com/huggingface/safetensors#format",
    files: &["model.safetensors", "model.safetensors.index.json", "*.safetensors"],
    is: |_, head| head.get(8) == Some(&b'{'),
    open: |path| Ok(Box::new(SafeTensorsFile::open(path)?)),
};

/// Opens one file in the format that its content, or failing that its name, says it has.
///
/// # Errors
/// [`Error::UnknownFormat`], and what the format's own `open` finds wrong.
pub fn open(path: &Path) -> Result<Box<dyn TensorFile>, Error> {
    let head = head_of(path)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let by_content = FORMATS.iter().find(|format| (format.is)(path, &head));
    let by_name = || FORMATS.iter().find(|format| format.files.iter().any(|wild| fits(wild, &name)));
    match by_content.or_else(by_name) {
        Some(format) => (format.open)(path),
        None => Err(Error::UnknownFormat {
            path: path.to_path_buf(),
            known: FORMATS.iter().map(|format| format.name).collect::<Vec<_>>().join(", "),
        }),
    }
}

/// Whether a file of this name may be weights of some format.
pub fn is_weights_name(name: &str) -> bool {
    FORMATS.iter().any(|format| format.files.iter().any(|wild| fits(wild, name)))
}

/// The first bytes of a file.
pub fn head_of(path: &Path) -> Result<Vec<u8>, Error> {
    let read = |source| Error::Read { path: path.to_path_buf(), source };
    let mut head = Vec::new();
    File::open(path).map_err(read)?.take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(read)?;
    Ok(head)
}

/// Whether a file name is what `wild` says, where one `*` stands for anything.
pub(crate) fn fits(wild: &str, name: &str) -> bool {
    match wild.split_once('*') {
        None => wild == name,
        Some((start, end)) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_complete_and_named_once() {
        assert_eq!(FORMATS.len(), 8, "count the formats when you add one");
        for (n, format) in FORMATS.iter().enumerate() {
            assert!(format.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            assert!(format.link.starts_with("https://"), "{}", format.name);
            assert!(!format.files.is_empty(), "{}", format.name);
            assert!(FORMATS[..n].iter().all(|other| other.name != format.name), "{}", format.name);
        }
    }

    #[test]
    fn weights_are_told_by_their_names() {
        for name in
            ["model.safetensors", "pytorch_model.bin", "bert_model.ckpt.index", "x.gguf", "weights.hdf5"]
        {
            assert!(is_weights_name(name), "{name}");
        }
        for name in ["config.json", "model.safetensors.part", "vocab.txt", "tokenizer.model", "README.md"] {
            assert!(!is_weights_name(name), "{name}");
        }
    }

    #[test]
    fn names_fit_their_patterns() {
        assert!(fits("model.safetensors", "model.safetensors"));
        assert!(!fits("model.safetensors", "model.safetensors.bak"));
        assert!(fits("*.gguf", "a.gguf") && fits("*.gguf", ".gguf") && !fits("*.gguf", "a.gguf.part"));
        assert!(fits("model*.bin", "model.bin") && !fits("ab*ba", "aba"));
    }

    #[test]
    fn a_file_of_no_known_format_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.xyz");
        std::fs::write(&path, b"something else").unwrap();
        let error = open(&path).unwrap_err().to_string();
        assert!(error.contains("weights.xyz") && error.contains("safetensors"), "{error}");
        assert!(matches!(open(&folder.path().join("nowhere")), Err(Error::Read { .. })));
    }
}

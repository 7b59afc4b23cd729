//! GGUF files in and out: the models of llama.cpp, mostly with quantised weights.
//!
//! Format: metadata (the model's settings and its tokenizer), the tensors' entries, the numbers.
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>
//!
//! A [`Gguf`] shows a file as it is; [`open`] shows the architectures known here under the names and shapes that
//! HuggingFace's checkpoints of the same models have, and [`write()`] and [`export`] go the other way. Quantised tensors
//! are read as `f32`. Files in parts (`-00001-of-00003.gguf`) are one, whichever part is named.

mod architecture;
mod config;
mod header;
mod k_quants;
mod kinds;
mod names;
pub(crate) mod split;
mod tokenizer;
mod value;
mod write;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::cursor::Cursor;
use crate::format::Format;
use crate::source::Source;
use crate::{Error, Renamed, TensorFile};

use header::Info;
use kinds::Kind;

pub use names::export;
pub use tokenizer::GgufTokenizer;
pub use value::{List, Metadata, Value};
pub use write::{Store, write};

/// The entry of GGUF.
pub const FORMAT: Format = Format {
    name: "gguf",
    summary: "llama.cpp's models, whole numbers of few bits included",
    link: "https://github.com/ggml-org/ggml/blob/master/docs/gguf.md",
    files: &["model.gguf", "*.gguf"],
    is: |_, head| head.starts_with(b"GGUF"),
    open: |path| Ok(Box::new(open(path)?)),
};

/// Whether models of a `model_type` are written as GGUF here, and read from it under the names of transformers.
pub fn is_known(model_type: &str) -> bool {
    architecture::of_model_type(model_type).is_some()
}

/// Opens a file under the names HuggingFace gives its tensors; where the architecture is not known here, the names are the
/// file's own. What is left out, because it is no weight of the HuggingFace model, says [`Gguf::left_out`].
///
/// # Errors
/// As [`Gguf::open`]; [`Error::BadTensor`] where a tensor's shape does not fit the metadata.
pub fn open(path: impl AsRef<Path>) -> Result<Renamed<Gguf>, Error> {
    names::as_published(Gguf::open(path)?)
}

/// An open GGUF file under its own names: the head checked, the numbers still on disk.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    /// The file, or the files of all parts.
    sources: Vec<(PathBuf, Source)>,
    metadata: Metadata,
    tensors: Vec<Info>,
    by_name: HashMap<String, usize>,
}

impl Gguf {
    /// Opens a file and checks its head against itself and against the file's length; with all others of a model in parts.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::BadFile`], [`Error::BadTensor`], [`Error::MissingPart`].
    pub fn open(path: impl AsRef<Path>) -> Result<Gguf, Error> {
        let file = Gguf::open_part(path.as_ref())?;
        let path = file.path.clone();
        Ok(Gguf { path, ..split::whole(file)? })
    }

    fn open_part(path: &Path) -> Result<Gguf, Error> {
        let (source, len) = Source::open(path).map_err(|fault| fault.in_file(path, "gguf"))?;
        Gguf::from_source(path, source, len)
    }

    /// The same for one file already in memory; `path` only serves the messages.
    ///
    /// # Errors
    /// [`Error::BadFile`], [`Error::BadTensor`].
    pub fn from_bytes(path: impl AsRef<Path>, bytes: Vec<u8>) -> Result<Gguf, Error> {
        let len = bytes.len() as u64;
        Gguf::from_source(path.as_ref(), Source::Bytes(bytes), len)
    }

    fn from_source(path: &Path, source: Source, len: u64) -> Result<Gguf, Error> {
        let header = header::read(&mut Cursor::new(&source, path, "gguf", len))?;
        let by_name = header.tensors.iter().enumerate().map(|(at, info)| (info.name.clone(), at)).collect();
        let (metadata, tensors) = (header.metadata, header.tensors);
        let sources = vec![(path.to_path_buf(), source)];
        Ok(Gguf { path: path.to_path_buf(), sources, metadata, tensors, by_name })
    }

    /// Everything the file says besides its tensors.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The model's architecture as llama.cpp calls it (`llama`, `bert`), or nothing where the file does not say.
    pub fn architecture(&self) -> &str {
        self.metadata.text("general.architecture").unwrap_or_default()
    }

    /// The tokenizer, when the file has one.
    ///
    /// # Errors
    /// [`Error::BadFile`] when its parts contradict each other.
    pub fn tokenizer(&self) -> Result<Option<GgufTokenizer>, Error> {
        GgufTokenizer::of(&self.metadata).map_err(|reason| Error::BadFile {
            path: self.path.clone(),
            format: "gguf",
            reason,
        })
    }

    /// Tensors that [`open`] leaves out, each with the reason.
    pub fn left_out(&self) -> Vec<(&str, &'static str)> {
        let names = self.tensors.iter().map(|info| info.name.as_str());
        names.filter_map(|name| Some((name, names::left_out(self, name)?))).collect()
    }

    fn info(&self, name: &str) -> Option<&Info> {
        self.by_name.get(name).map(|&at| &self.tensors[at])
    }
}

impl TensorFile for Gguf {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.iter().map(|info| info.name.as_str()).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.info(name).map(|info| info.shape.as_slice())
    }

    fn dtype(&self, name: &str) -> Option<String> {
        self.info(name).map(|info| info.kind.name.to_string())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let Some(info) = self.info(name) else {
            return Err(Error::NoTensor { path: self.path.clone(), tensor: name.to_string() });
        };
        let unread = || Error::BadTensor {
            path: self.path.clone(),
            tensor: name.to_string(),
            reason: format!(
                "it holds {}, which is not read here: take a file of {}",
                info.kind.name,
                Kind::readable()
            ),
        };
        if info.kind.decode.is_none() {
            return Err(unread());
        }
        let mut bytes = vec![0; info.len as usize];
        let (path, source) = &self.sources[info.part];
        source
            .read_at(info.start, &mut bytes)
            .map_err(|source| Error::Read { path: path.clone(), source })?;
        info.kind.to_f32(&bytes).ok_or_else(unread)
    }

    fn config(&self) -> Option<serde_json::Value> {
        config::of(self)
    }
}

#[cfg(test)]
#[path = "gguf_tests.rs"]
mod tests;

//! PyTorch files (`pytorch_model.bin`, `.pt`, `.pth`, `.ckpt`) in and out, without executing what they hold.
//!
//! `torch.save` writes a Python pickle, a program that may call anything; loading it in Python runs it. Here it is read
//! as data by a machine that calls nothing (`pickle.rs`), and names it asks for are looked up in a list (`globals.rs`).
//! Both forms are read: the ZIP archive of PyTorch 1.6 and later (`archive.rs`) and what was there before (`legacy.rs`).
//! Not read are tensors that are sparse or quantised, TorchScript, and whole models saved as objects.
//!
//! Format: <https://docs.pytorch.org/docs/stable/notes/serialization.html>

mod archive;
mod call;
mod flair;
mod globals;
mod legacy;
mod pickle;
mod state;
mod stream;
mod value;
mod write;

use std::collections::HashMap;
use std::path::Path;

use ::safetensors::Dtype;

use self::value::{Id, Pickle, Value};
use crate::format::Format;
use crate::input::Input;
use crate::strided::Strided;
use crate::{Error, TensorFile, convert, zip};

pub use self::flair::FlairModel;
pub use self::write::{to_bytes, write};

/// The entry of PyTorch files.
pub const PYTORCH: Format = Format {
    name: "pytorch",
    summary: "what torch.save writes, read as data and never executed; one file, or shards with an index",
    link: "https://docs.pytorch.org/docs/stable/notes/serialization.html",
    files: &["pytorch_model.bin", "pytorch_model.bin.index.json", "*.bin", "*.pt", "*.pth", "*.ckpt"],
    is: |_, head| legacy::is(head) || zip::first_name(head).is_some_and(is_ours),
    open: |path| Ok(Box::new(PyTorchFile::open(path)?)),
};

/// The name of this format in messages.
const NAME: &str = "PyTorch";

/// Most axes of a tensor.
const MAX_AXES: usize = 16;

/// Whether an archive whose first file is called so is PyTorch's: all its files lie in a folder, and none is an array.
fn is_ours(first: &str) -> bool {
    first.contains('/') && !first.ends_with(".npy")
}

/// An open PyTorch file: the pickle read and checked against the storages, the numbers still on disk.
#[derive(Debug)]
pub struct PyTorchFile {
    input: Input,
    /// Sorted by place in the file.
    tensors: Vec<(String, Tensor)>,
    by_name: HashMap<String, usize>,
    big_endian: bool,
    flair: Option<FlairModel>,
}

/// Where a storage lies, in bytes.
#[derive(Clone, Copy, Debug)]
struct Stored {
    start: u64,
    len: u64,
}

/// A tensor, all of whose numbers are known to be in the file.
#[derive(Debug)]
struct Tensor {
    dtype: Dtype,
    /// Where the storage's numbers start in the file.
    start: u64,
    layout: Strided,
}

impl PyTorchFile {
    /// Opens a file of either form and checks every tensor against the storage it lies in.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::BadFile`], [`Error::BadTensor`], [`Error::Code`] when the pickle asks for a name that has
    /// no part in weights.
    pub fn open(path: impl AsRef<Path>) -> Result<PyTorchFile, Error> {
        PyTorchFile::from_input(Input::open(path.as_ref(), NAME)?)
    }

    /// The same for a file already in memory; `path` only serves the messages.
    ///
    /// # Errors
    /// As [`PyTorchFile::open`].
    pub fn from_bytes(path: impl AsRef<Path>, bytes: Vec<u8>) -> Result<PyTorchFile, Error> {
        PyTorchFile::from_input(Input::from_bytes(path.as_ref(), NAME, bytes))
    }

    fn from_input(input: Input) -> Result<PyTorchFile, Error> {
        let head = input.bytes(0, input.len.min(64), "the start")?;
        let (pickle, stored, big_endian) = if head.starts_with(zip::MAGIC) {
            archive::open(&input)?
        } else if legacy::is(&head) {
            let (pickle, stored) = legacy::open(&input)?;
            (pickle, stored, false)
        } else {
            return Err(input.bad("it starts neither like a ZIP archive nor with the older magic number"));
        };
        let mut tensors = Vec::new();
        for (name, id) in state::tensors(&input, &pickle)? {
            let tensor = resolve(&pickle, id, &stored).map_err(|reason| input.bad_tensor(&name, reason))?;
            tensors.push((name, tensor));
        }
        tensors.sort_by(|(a, x), (b, y)| (x.place(), a).cmp(&(y.place(), b)));
        let by_name = tensors.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        let flair = flair::of(&input, &pickle)?;
        Ok(PyTorchFile { input, tensors, by_name, big_endian, flair })
    }

    /// What the file says of its model, if flair saved it.
    pub fn flair(&self) -> Option<&FlairModel> {
        self.flair.as_ref()
    }

    fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.by_name.get(name).map(|&at| &self.tensors[at].1)
    }
}

impl TensorFile for PyTorchFile {
    fn path(&self) -> &Path {
        &self.input.path
    }

    fn config(&self) -> Option<serde_json::Value> {
        self.flair.as_ref().map(|model| model.config.clone())
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensor(name).map(|tensor| tensor.layout.shape())
    }

    fn dtype(&self, name: &str) -> Option<String> {
        self.tensor(name).map(|tensor| tensor.dtype.to_string())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let Some(tensor) = self.tensor(name) else { return Err(self.input.no_tensor(name)) };
        let wrong = || self.input.wrong_dtype(name, tensor.dtype.to_string());
        let Some(width) = convert::width(tensor.dtype) else { return Err(wrong()) };
        let span = tensor.layout.span();
        let at = tensor.start + (span.start * width) as u64;
        let data = if tensor.dtype == Dtype::F32 && cfg!(target_endian = "little") && !self.big_endian {
            // Straight into its place: no second copy.
            let mut data = vec![0f32; span.len()];
            self.input.fill(at, bytemuck::cast_slice_mut(&mut data))?;
            data
        } else {
            let mut bytes = self.input.bytes(at, (span.len() * width) as u64, name)?;
            if self.big_endian {
                bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
            }
            convert::to_f32(tensor.dtype, &bytes).ok_or_else(wrong)?
        };
        Ok(if tensor.layout.is_contiguous() { data } else { tensor.layout.gather(&data) })
    }
}

impl Tensor {
    /// Where its first number lies in the file.
    fn place(&self) -> u64 {
        self.start + self.layout.span().start as u64 * bytes_of(self.dtype)
    }
}

/// The tensor at `id` with its storage looked up, every number of it known to lie there; or what is wrong with it.
fn resolve(pickle: &Pickle, id: Id, stored: &HashMap<String, Stored>) -> Result<Tensor, String> {
    let Value::Tensor(tensor) = pickle.value(id) else { return Err("it is no tensor".to_string()) };
    let Value::Storage(storage) = pickle.value(tensor.storage) else {
        return Err("it has no storage".to_string());
    };
    let key = pickle.key(storage.key).ok_or("the name of its storage is no text")?;
    let place =
        stored.get(key.as_ref()).ok_or_else(|| format!("its storage \"{key}\" is not in the file"))?;
    let width = bytes_of(storage.dtype);
    if storage.len.checked_mul(width) != Some(place.len) {
        return Err(format!(
            "its storage \"{key}\" is said to have {} numbers of {width} bytes and has {} bytes",
            storage.len, place.len
        ));
    }
    let (from, len) = storage.part.unwrap_or((0, storage.len));
    if from.checked_add(len).is_none_or(|end| end > storage.len) {
        return Err(format!(
            "its part ({len} from {from}) lies outside the {} numbers of storage \"{key}\"",
            storage.len
        ));
    }
    // A storage without a number format of its own is counted in bytes.
    let numbers = len * width / bytes_of(tensor.dtype);
    let numbers = usize::try_from(numbers).map_err(|_| "its storage is beyond this machine")?;
    let offset = pickle.size(tensor.offset).ok_or("its offset is no whole number from 0 on")?;
    let layout = Strided::new(
        offset,
        sizes(pickle, tensor.shape, "shape")?,
        sizes(pickle, tensor.stride, "stride")?,
        numbers,
    )?;
    Ok(Tensor { dtype: tensor.dtype, start: place.start + from * width, layout })
}

/// The numbers of a shape or of strides.
fn sizes(pickle: &Pickle, id: Id, what: &str) -> Result<Vec<usize>, String> {
    let Value::Sequence(items) = pickle.value(id) else { return Err(format!("its {what} is no tuple")) };
    if items.len() > MAX_AXES {
        return Err(format!("its {what} has {} axes, more than {MAX_AXES}", items.len()));
    }
    let sizes = items.iter().map(|&id| pickle.size(id)).collect::<Option<_>>();
    sizes.ok_or_else(|| format!("its {what} holds something that is no whole number from 0 on"))
}

/// Bytes of one number. All formats on the list of [`globals`] are of whole bytes.
fn bytes_of(dtype: Dtype) -> u64 {
    dtype.bitsize() as u64 / 8
}

#[cfg(test)]
#[path = "pytorch_tests.rs"]
mod tests;

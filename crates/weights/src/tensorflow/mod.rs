//! TensorFlow checkpoints in and out: `X.index` with `X.data-00000-of-00001`, as TensorFlow has written them since version 1.0;
//! and in also the single file of older ones.
//!
//! Format: <https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/tensor_bundle.proto>. The index is a
//! sorted table from names to entries: number format, shape, and where the numbers lie in which data file. Every tensor's
//! checksum is compared when it is read.
//!
//! What an optimizer remembers, counters and the description of objects are no weights: they are left out, and
//! [`TensorflowCheckpoint::left_out`] names them.

mod entry;
mod proto;
mod slices;
mod snappy;
mod table;
mod write;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ::safetensors::Dtype;

use self::entry::{Entry, Place, Stored};
use self::slices::Extents;
use self::table::Table;
pub use self::write::write;
use crate::bounded::{Disk, Fault, bad};
pub use crate::tensorflow_names::export_original as export;
use crate::{Error, Format, TensorFile, TensorflowNames, convert};

/// The entry of TensorFlow's checkpoints.
pub const TENSORFLOW: Format = Format {
    name: "tensorflow-checkpoint",
    summary: "an index with data files, under the names of the original releases of BERT, ALBERT, ELECTRA, GPT-2, T5, XLNet",
    link: "https://www.tensorflow.org/guide/checkpoint",
    files: &["bert_model.ckpt.index", "model.ckpt.index", "*.ckpt.index", "*.index", "*.ckpt"],
    is: |path, _| {
        let named = path.extension().is_some_and(|ending| ending == "index" || ending == "ckpt");
        // What kind of file it is stands at its end.
        named && Disk::open(path).is_ok_and(|disk| table::is_table(&disk))
    },
    open: |path| Ok(Box::new(TensorflowNames::over(Box::new(TensorflowCheckpoint::open(path)?))?)),
};

/// The name of the format in messages.
const NAME: &str = "TensorFlow checkpoint";

/// What stands behind a variable's path in checkpoints of objects.
const VARIABLE: &str = "/.ATTRIBUTES/VARIABLE_VALUE";

/// Parts of names of what is no weight: what optimizers remember, and counters.
const NO_WEIGHT: &[&str] = &[
    ".OPTIMIZER_SLOT",
    "Adam",
    "Adam_1",
    "AdamWeightDecayOptimizer",
    "AdamWeightDecayOptimizer_1",
    "Adafactor",
    "LAMBOptimizer",
    "Momentum",
    "_CHECKPOINTABLE_OBJECT_GRAPH",
    "adam_m",
    "adam_v",
    "beta1_power",
    "beta2_power",
    "global_step",
    "keras_api",
    "lamb_m",
    "lamb_v",
    "optimizer",
    "save_counter",
];

/// An open checkpoint: its entries known, the numbers still on disk.
#[derive(Debug)]
pub struct TensorflowCheckpoint {
    path: PathBuf,
    /// The files that hold numbers, by their number; for an old checkpoint the one file itself.
    files: HashMap<u32, (PathBuf, Disk)>,
    table: Table,
    /// Sorted by place, so that reading all of them in order is one pass over each file.
    tensors: Vec<(String, Entry)>,
    by_name: HashMap<String, usize>,
    left_out: Vec<String>,
}

impl TensorflowCheckpoint {
    /// Opens a checkpoint by its `.index` file, by the name that its files have in common, or by the one file of an old one.
    ///
    /// # Errors
    /// [`Error::Read`] (also where a data file is missing), [`Error::BadFile`], [`Error::BadTensor`].
    pub fn open(path: impl AsRef<Path>) -> Result<TensorflowCheckpoint, Error> {
        let path = path.as_ref();
        let path = index_of(path).unwrap_or_else(|| path.to_path_buf());
        let wrong = |fault: Fault| fault.in_file(&path, NAME);
        let disk = Disk::open(&path).map_err(wrong)?;
        let table = Table::open(&disk).map_err(wrong)?;
        let (entries, shards) = entry::read(&disk, &table).map_err(wrong)?;
        let mut tensors = Vec::new();
        let mut left_out = Vec::new();
        for (name, entry) in entries {
            if name.split('/').any(|part| NO_WEIGHT.contains(&part) || part.contains("_slot_")) {
                left_out.push(name);
            } else {
                tensors.push((name.strip_suffix(VARIABLE).unwrap_or(&name).to_string(), entry));
            }
        }
        tensors.sort_by(|(a, x), (b, y)| (x.place.order(), a).cmp(&(y.place.order(), b)));
        let files = match shards {
            Some(shards) => open_shards(&path, shards, &tensors)?,
            None => HashMap::from([(0, (path.clone(), disk))]),
        };
        let mut by_name = HashMap::new();
        for (at, (name, entry)) in tensors.iter().enumerate() {
            entry.check(&files).map_err(|fault| fault.in_tensor(&path, name))?;
            if by_name.insert(name.clone(), at).is_some() {
                return Err(wrong(Fault::Bad(format!("it has the tensor \"{name}\" twice"))));
            }
        }
        Ok(TensorflowCheckpoint { path, files, table, tensors, by_name, left_out })
    }

    /// The names of entries that are no weights: what optimizers remember, counters, descriptions of objects.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.by_name.get(name).map(|&at| &self.tensors[at].1)
    }

    fn numbers(&self, entry: &Entry, dtype: Dtype) -> Result<Vec<f32>, Fault> {
        match &entry.place {
            Place::Data(stored) => self.stored(stored, dtype),
            Place::Parts(parts) => {
                let part = |(extents, stored): &(Extents, Stored)| {
                    let (shape, at) = slices::within(extents, &entry.shape)?;
                    Ok((self.stored(stored, dtype)?, shape, at))
                };
                slices::assemble(parts.iter().map(part).collect::<Result<_, Fault>>()?, entry)
            }
            Place::Slices(slices) => match self.files.get(&0) {
                Some((_, disk)) => slices::read(disk, &self.table, slices, entry),
                None => bad("its file is missing"),
            },
        }
    }

    fn stored(&self, stored: &Stored, dtype: Dtype) -> Result<Vec<f32>, Fault> {
        let Some((_, disk)) = self.files.get(&stored.file) else { return bad("its data file is missing") };
        let bytes = disk.bytes(stored.offset, stored.len, "its numbers")?;
        if table::mask(crc32c::crc32c(&bytes)) != stored.sum && cfg!(not(fuzzing)) {
            return bad("the checksum of its numbers is wrong: the file is damaged");
        }
        match convert::to_f32(dtype, &bytes) {
            Some(numbers) => Ok(numbers),
            None => bad("it holds no weights"),
        }
    }
}

impl TensorFile for TensorflowCheckpoint {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entry(name).map(|entry| entry.shape.as_slice())
    }

    fn dtype(&self, name: &str) -> Option<String> {
        self.entry(name).map(Entry::dtype_name)
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let (path, tensor) = (self.path.clone(), name.to_string());
        let Some(entry) = self.entry(name) else { return Err(Error::NoTensor { path, tensor }) };
        match entry.weight() {
            Some(dtype) => self.numbers(entry, dtype).map_err(|fault| fault.in_tensor(&path, name)),
            None => Err(Error::WrongDtype { path, tensor, got: entry.dtype_name() }),
        }
    }
}

/// The index of a checkpoint that is named by what its files have in common.
pub fn index_of(prefix: &Path) -> Option<PathBuf> {
    let mut name = prefix.file_name()?.to_os_string();
    name.push(".index");
    let index = prefix.with_file_name(name);
    (!prefix.exists() && index.is_file()).then_some(index)
}

/// Opens the data files that hold tensors.
fn open_shards(
    index: &Path,
    shards: u32,
    tensors: &[(String, Entry)],
) -> Result<HashMap<u32, (PathBuf, Disk)>, Error> {
    let stem = index.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let mut files = HashMap::new();
    for (_, entry) in tensors {
        for file in entry.place.files() {
            if let std::collections::hash_map::Entry::Vacant(free) = files.entry(file) {
                let path = index.with_file_name(format!("{stem}.data-{file:05}-of-{shards:05}"));
                let disk = Disk::open(&path).map_err(|fault| fault.in_file(&path, NAME))?;
                free.insert((path, disk));
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

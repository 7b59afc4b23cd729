//! HDF5 files in, and out as Keras writes them: what Keras, transformers' TensorFlow classes and AllenNLP keep weights in.
//!
//! Format: <https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html>. This reader knows superblocks 0 to 3, object
//! headers of both versions, groups by symbol tables, by links in the header and by links in a fractal heap; datasets that are
//! compact, in one piece or in chunks; the filters deflate, shuffle, fletcher32 and LZF. It does not follow links by path or into
//! other files, and does not read attributes. Numbers that cannot be weights are listed, and refused when they are read.
//!
//! Structures are read once, when a file is opened; their checksums are compared where the format has them.

mod btree2;
mod checksum;
mod chunk;
mod dataset;
mod datatype;
mod filter;
mod group;
mod heap;
mod object;
mod space;
mod write;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use self::dataset::Dataset;
use self::space::{SIGNATURE, Sizes, Space};
pub use self::write::{KerasLayer, write};
use crate::bounded::{Disk, Fault, bad};
pub use crate::tensorflow_names::export_keras as export;
use crate::{Error, Format, TensorFile, TensorflowNames};

/// The entry of HDF5.
pub const HDF5: Format = Format {
    name: "hdf5",
    summary: "weights of Keras, of transformers' TensorFlow classes (shards with an index too) and of AllenNLP",
    link: "https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html",
    files: &["tf_model.h5", "tf_model.h5.index.json", "model.weights.h5", "*.h5", "*weights.hdf5", "*.hdf5"],
    is: |_, head| head.starts_with(SIGNATURE),
    open: |path| TensorflowNames::over_hdf5(Hdf5File::open(path)?),
};

/// Deepest tree of groups.
const MAX_DEPTH: usize = 64;

/// An open HDF5 file: its structure known, the numbers still on disk.
#[derive(Debug)]
pub struct Hdf5File {
    path: PathBuf,
    disk: Disk,
    sizes: Sizes,
    datasets: Vec<(String, Dataset)>,
    by_name: HashMap<String, usize>,
    /// Groups that say which weights of a Keras layer they hold.
    layers: Vec<String>,
}

impl Hdf5File {
    /// Opens a file and reads all of its structure.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::BadFile`].
    pub fn open(path: impl AsRef<Path>) -> Result<Hdf5File, Error> {
        let path = path.as_ref();
        let disk = Disk::open(path).map_err(|fault| fault.in_file(path, "HDF5"))?;
        Hdf5File::from_disk(path, disk)
    }

    /// The same for a file already in memory; `path` only serves the messages.
    ///
    /// # Errors
    /// [`Error::BadFile`].
    pub fn from_bytes(path: impl AsRef<Path>, bytes: Vec<u8>) -> Result<Hdf5File, Error> {
        Hdf5File::from_disk(path.as_ref(), Disk::from_bytes(bytes))
    }

    fn from_disk(path: &Path, disk: Disk) -> Result<Hdf5File, Error> {
        let wrong = |fault: Fault| fault.in_file(path, "HDF5");
        let (sizes, root) = space::superblock(&disk).map_err(wrong)?;
        let space = Space::new(&disk, sizes);
        let mut walk =
            Walk { space: &space, groups: HashSet::new(), datasets: Vec::new(), layers: Vec::new() };
        walk.object("", root, 0).map_err(wrong)?;
        let Walk { datasets, layers, .. } = walk;
        let mut by_name = HashMap::new();
        for (at, (name, _)) in datasets.iter().enumerate() {
            if by_name.insert(name.clone(), at).is_some() {
                return Err(wrong(Fault::Bad(format!("it has the dataset \"{name}\" twice"))));
            }
        }
        Ok(Hdf5File { path: path.to_path_buf(), disk, sizes, datasets, by_name, layers })
    }

    /// The groups of Keras layers: a layer's weights lie below its group, each under its whole name.
    pub fn layers(&self) -> &[String] {
        &self.layers
    }

    fn dataset(&self, name: &str) -> Option<&Dataset> {
        self.by_name.get(name).map(|&at| &self.datasets[at].1)
    }
}

impl TensorFile for Hdf5File {
    fn path(&self) -> &Path {
        &self.path
    }

    /// Paths from the root group, without a slash before them: `bert/pooler/dense/kernel:0`.
    fn names(&self) -> Vec<&str> {
        self.datasets.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.dataset(name).map(|dataset| dataset.shape.as_slice())
    }

    fn dtype(&self, name: &str) -> Option<String> {
        self.dataset(name).map(|dataset| dataset.datatype.name())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let Some(dataset) = self.dataset(name) else {
            return Err(Error::NoTensor { path: self.path.clone(), tensor: name.to_string() });
        };
        if dataset.datatype.width().is_none() {
            let got = dataset.datatype.name();
            return Err(Error::WrongDtype { path: self.path.clone(), tensor: name.to_string(), got });
        }
        dataset.read(&self.disk, self.sizes).map_err(|fault| fault.in_tensor(&self.path, name))
    }
}

/// The way through all groups.
struct Walk<'a> {
    space: &'a Space<'a>,
    /// The groups gone through: each once, also where several links lead to it or it holds itself.
    groups: HashSet<u64>,
    datasets: Vec<(String, Dataset)>,
    layers: Vec<String>,
}

impl Walk<'_> {
    fn object(&mut self, name: &str, address: u64, depth: usize) -> Result<(), Fault> {
        if self.groups.contains(&address) {
            return Ok(());
        }
        // Long paths to few bytes are no way to fill the memory.
        self.space.spend(name.len() as u64)?;
        let place = if name.is_empty() { "/" } else { name };
        let messages = object::messages(self.space, address).map_err(|fault| fault.at(place))?;
        if let Some(dataset) = Dataset::parse(self.space, &messages).map_err(|fault| fault.at(place))? {
            self.datasets.push((name.to_string(), dataset));
            return Ok(());
        }
        let Some(links) = group::links(self.space, &messages).map_err(|fault| fault.at(place))? else {
            // A datatype with a name.
            return Ok(());
        };
        if depth > MAX_DEPTH {
            return bad(format!("groups more than {MAX_DEPTH} deep, at {name}"));
        }
        self.groups.insert(address);
        if object::has_attribute(&messages, "weight_names") {
            self.layers.push(name.to_string());
        }
        for (link, address) in links {
            let path = if name.is_empty() { link } else { format!("{name}/{link}") };
            self.object(&path, address, depth + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

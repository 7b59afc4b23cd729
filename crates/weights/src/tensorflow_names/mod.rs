//! TensorFlow's names as the names that PyTorch's classes of the same models have, and its matrices turned as they are there; and
//! the way back.
//!
//! Two kinds of files are known: those that transformers' TensorFlow classes wrote (`tf_model.h5`), and the original releases
//! of BERT, ALBERT, ELECTRA, GPT-2, T5, Transformer-XL and XLNet. In all others the names stay as they are.
//!
//! Reference: `convert_tf_weight_name_to_pt_weight_name` and the functions `load_tf_weights_in_*` of transformers 4.30,
//! <https://github.com/huggingface/transformers/blob/v4.30.2/src/transformers/modeling_tf_pytorch_utils.py>.

mod export;
mod keras;
mod original;
mod to_keras;
mod to_original;

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

pub use self::export::{export_keras, export_original};
use crate::{Error, Hdf5File, TensorFile, strided};

/// What is done to a tensor on the way.
#[derive(Clone, Debug, PartialEq)]
enum Change {
    /// Nothing.
    Keep,
    /// Its axes come in this order.
    Turn(Vec<usize>),
    /// Axes of one element are left out or put in.
    Shape(Vec<usize>),
    /// One row of the first axis.
    Row(usize),
}

impl Change {
    /// All axes the other way round: the transposed matrix.
    fn reverse(shape: &[usize]) -> Change {
        if shape.len() < 2 { Change::Keep } else { Change::Turn((0..shape.len()).rev().collect()) }
    }

    /// The shape that comes of it.
    fn shape(&self, shape: &[usize]) -> Vec<usize> {
        match self {
            Change::Keep => shape.to_vec(),
            Change::Turn(axes) => axes.iter().map(|axis| shape[*axis]).collect(),
            Change::Shape(shape) => shape.clone(),
            Change::Row(_) => shape[1..].to_vec(),
        }
    }

    /// Row-major numbers of that shape, changed.
    fn apply<'a>(&self, data: Cow<'a, [f32]>, shape: &[usize]) -> Cow<'a, [f32]> {
        match self {
            Change::Keep | Change::Shape(_) => data,
            Change::Turn(axes) => strided::turn(&data, shape, axes).into(),
            Change::Row(row) => {
                let len: usize = shape[1..].iter().product();
                data.get(row * len..(row + 1) * len).unwrap_or_default().to_vec().into()
            }
        }
    }
}

/// A tensor under its new name.
#[derive(Debug)]
struct Renamed {
    name: String,
    /// Its name in the file.
    from: String,
    change: Change,
    /// Its shape after the change.
    shape: Vec<usize>,
}

/// A file of TensorFlow's under the names of PyTorch.
#[derive(Debug)]
pub struct TensorflowNames {
    file: Box<dyn TensorFile>,
    tensors: Vec<Renamed>,
    by_name: HashMap<String, usize>,
    left_out: Vec<String>,
}

impl TensorflowNames {
    /// Over a checkpoint, whose names say what kind it is.
    ///
    /// # Errors
    /// [`Error::BadFile`] where two tensors would have the same name.
    pub fn over(file: Box<dyn TensorFile>) -> Result<TensorflowNames, Error> {
        let kind = original::kind(&file.names());
        let names = |name: &str, shape: &[usize]| match kind {
            Some(kind) => original::names(kind, name, shape),
            None => vec![(name.to_string(), Change::Keep)],
        };
        TensorflowNames::with(file, names, |_, _| false)
    }

    /// Over an HDF5 file, where transformers' TensorFlow classes wrote it; any other is left under its own names.
    ///
    /// # Errors
    /// [`Error::BadFile`] where two tensors would have the same name.
    pub fn over_hdf5(file: Hdf5File) -> Result<Box<dyn TensorFile>, Error> {
        let layers = file.layers().to_vec();
        if !keras::is_of_transformers(&layers, &file.names()) {
            return Ok(Box::new(file));
        }
        let names = |name: &str, shape: &[usize]| vec![keras::name(&layers, name, shape)];
        // A weight that several layers use is stored below each of them.
        let copies = |a: &str, b: &str| keras::weight(&layers, a) == keras::weight(&layers, b);
        Ok(Box::new(TensorflowNames::with(Box::new(file), names, copies)?))
    }

    /// Over one of the several HDF5 files that transformers writes with an index. Their datasets are called as the weights are,
    /// without the model's own name, and nothing in a file says that it is of transformers: the index does.
    ///
    /// # Errors
    /// [`Error::BadFile`] where two tensors would have the same name.
    pub(crate) fn of_shard(file: Hdf5File) -> Result<Box<dyn TensorFile>, Error> {
        let names = |name: &str, shape: &[usize]| vec![keras::name(&[], name, shape)];
        Ok(Box::new(TensorflowNames::with(Box::new(file), names, |_, _| false)?))
    }

    /// What the index calls a weight, as the file that holds it does.
    pub(crate) fn in_shard(weight: &str) -> &str {
        // As `save_pretrained` of transformers decides it.
        if weight.contains("model.") {
            weight
        } else {
            weight.split_once('/').map_or(weight, |(_, rest)| rest)
        }
    }

    /// With the names that `names` gives; of two tensors that are copies of each other the first is taken.
    fn with(
        file: Box<dyn TensorFile>,
        names: impl Fn(&str, &[usize]) -> Vec<(String, Change)>,
        copies: impl Fn(&str, &str) -> bool,
    ) -> Result<TensorflowNames, Error> {
        let mut tensors: Vec<Renamed> = Vec::new();
        let mut by_name = HashMap::new();
        let mut left_out = Vec::new();
        for from in file.names() {
            let held = file.shape(from).unwrap_or_default();
            let new = names(from, held);
            if new.is_empty() {
                left_out.push(from.to_string());
            }
            for (name, change) in new {
                if let Some(&first) = by_name.get(&name) {
                    let first: &Renamed = &tensors[first];
                    if copies(&first.from, from) && file.shape(&first.from) == Some(held) {
                        left_out.push(from.to_string());
                        continue;
                    }
                    let reason = format!("both \"{}\" and \"{from}\" are \"{name}\" in PyTorch", first.from);
                    return Err(Error::BadFile {
                        path: file.path().to_path_buf(),
                        format: "TensorFlow",
                        reason,
                    });
                }
                by_name.insert(name.clone(), tensors.len());
                let shape = change.shape(held);
                tensors.push(Renamed { name, from: from.to_string(), change, shape });
            }
        }
        Ok(TensorflowNames { file, tensors, by_name, left_out })
    }

    /// Tensors of the file that have no name in PyTorch (the generator beside ELECTRA's discriminator), and copies of others.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    fn tensor(&self, name: &str) -> Option<&Renamed> {
        self.by_name.get(name).map(|&at| &self.tensors[at])
    }
}

impl TensorFile for TensorflowNames {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.iter().map(|tensor| tensor.name.as_str()).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensor(name).map(|tensor| tensor.shape.as_slice())
    }

    fn dtype(&self, name: &str) -> Option<String> {
        self.tensor(name).and_then(|tensor| self.file.dtype(&tensor.from))
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let Some(tensor) = self.tensor(name) else {
            return Err(Error::NoTensor { path: self.path().to_path_buf(), tensor: name.to_string() });
        };
        let data = self.file.read(&tensor.from)?;
        let held = self.file.shape(&tensor.from).unwrap_or_default();
        Ok(tensor.change.apply(data.into(), held).into_owned())
    }
}

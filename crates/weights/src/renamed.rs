//! A file of tensors under other names: for formats that call and lay out a model's tensors in their own way.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use crate::{Error, Op, TensorFile};

/// What is done to a tensor when it is read under another name. Each has an inverse, for writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Keep,
    /// The two axes are swapped.
    Transpose,
    /// Rows of `heads` heads, in which rotary positions turn neighbouring rows, put so that they turn row `i` with row
    /// `i + head_dim / 2`, as HuggingFace's rotary positions do.
    PairsToHalves {
        /// How many heads the rows hold.
        heads: usize,
    },
    /// The inverse of [`Change::PairsToHalves`].
    HalvesToPairs {
        /// How many heads the rows hold.
        heads: usize,
    },
    /// So many rows of zeros are put before the first.
    LeadRows(usize),
    /// The inverse of [`Change::LeadRows`].
    CutRows(usize),
    /// One is taken off each number (a norm's weight kept as `1 + weight`).
    LessOne,
    /// The inverse of [`Change::LessOne`].
    PlusOne,
}

impl Change {
    /// The change that undoes this one.
    pub fn inverse(self) -> Change {
        match self {
            Change::Keep => Change::Keep,
            Change::Transpose => Change::Transpose,
            Change::PairsToHalves { heads } => Change::HalvesToPairs { heads },
            Change::HalvesToPairs { heads } => Change::PairsToHalves { heads },
            Change::LeadRows(rows) => Change::CutRows(rows),
            Change::CutRows(rows) => Change::LeadRows(rows),
            Change::LessOne => Change::PlusOne,
            Change::PlusOne => Change::LessOne,
        }
    }

    /// The shape after the change, or in words why a tensor of this shape cannot be changed so.
    ///
    /// # Errors
    /// The reason.
    pub fn shape(self, shape: &[usize]) -> Result<Vec<usize>, String> {
        match (self, shape) {
            (Change::Keep | Change::LessOne | Change::PlusOne, _) => Ok(shape.to_vec()),
            (Change::Transpose, &[rows, cols]) => Ok(vec![cols, rows]),
            (Change::Transpose, _) => Err(format!("it has shape {shape:?}, expected two axes")),
            (Change::PairsToHalves { heads } | Change::HalvesToPairs { heads }, [rows, ..])
                if heads > 0 && rows % heads == 0 && rows / heads % 2 == 0 =>
            {
                Ok(shape.to_vec())
            }
            (Change::PairsToHalves { heads } | Change::HalvesToPairs { heads }, _) => {
                Err(format!("it has shape {shape:?}, whose rows are no {heads} heads of an even width"))
            }
            // No more than there are, so that nothing grows beyond twice what the file holds.
            (Change::LeadRows(more), [rows, rest @ ..]) if *rows >= more => {
                let rows =
                    rows.checked_add(more).ok_or_else(|| format!("{rows} and {more} rows are too many"))?;
                Ok([&[rows], rest].concat())
            }
            (Change::CutRows(less), [rows, rest @ ..]) if *rows >= less => {
                Ok([&[rows - less], rest].concat())
            }
            (Change::LeadRows(count) | Change::CutRows(count), _) => {
                Err(format!("it has shape {shape:?}, expected at least {count} rows"))
            }
        }
    }

    /// Changes row-major `data` of `shape`.
    ///
    /// # Errors
    /// As [`Change::shape`], and when `data` does not have as many numbers as `shape` says.
    pub fn apply(self, shape: &[usize], mut data: Vec<f32>) -> Result<Vec<f32>, String> {
        self.shape(shape)?;
        if data.len() != shape.iter().product::<usize>() {
            return Err(format!("it has shape {shape:?} and came with {} numbers", data.len()));
        }
        let row = shape.iter().skip(1).product::<usize>();
        match self {
            Change::Keep => {}
            Change::Transpose => {
                return Op::Transpose.apply("", shape, data).map_err(|error| error.to_string());
            }
            Change::PairsToHalves { heads } | Change::HalvesToPairs { heads } => {
                let rows = shape.first().copied().unwrap_or(0);
                let (width, old) = (rows / heads, data.clone());
                for (head, at) in (0..heads).flat_map(|head| (0..width).map(move |at| (head, at))) {
                    // In halves, number `at` of a head is pair `at % half`, first or second of the two.
                    let pair = at % (width / 2) * 2 + at / (width / 2);
                    let (to, from) = match self {
                        Change::PairsToHalves { .. } => (at, pair),
                        _ => (pair, at),
                    };
                    let (to, from) = ((head * width + to) * row, (head * width + from) * row);
                    data[to..to + row].copy_from_slice(&old[from..from + row]);
                }
            }
            Change::LeadRows(rows) => data.splice(0..0, std::iter::repeat_n(0.0, rows * row)).for_each(drop),
            Change::CutRows(rows) => data.drain(..rows * row).for_each(drop),
            Change::LessOne => data.iter_mut().for_each(|x| *x -= 1.0),
            Change::PlusOne => data.iter_mut().for_each(|x| *x += 1.0),
        }
        Ok(data)
    }
}

/// Another file's tensors under names of our own.
#[derive(Debug)]
pub struct Renamed<F> {
    file: F,
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    source: String,
    change: Change,
    shape: Vec<usize>,
}

impl<F: TensorFile> Renamed<F> {
    /// Shows `file` as `rename` says: what a tensor of it, of that name and shape, is called and what is done to it, or `None` for
    /// one that is left out.
    ///
    /// # Errors
    /// [`Error::BadTensor`] when two tensors get one name, or a tensor's shape does not allow its change.
    pub fn new(
        file: F,
        rename: impl Fn(&F, &str, &[usize]) -> Option<(String, Change)>,
    ) -> Result<Renamed<F>, Error> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut by_name = HashMap::new();
        for source in file.names() {
            let old = file.shape(source).unwrap_or_default();
            let Some((name, change)) = rename(&file, source, old) else { continue };
            let shape = change.shape(old).map_err(|reason| bad(&file, source, reason))?;
            if let Some(first) = by_name.insert(name.clone(), entries.len()) {
                let reason = format!("both it and \"{}\" are \"{name}\"", entries[first].source);
                return Err(bad(&file, source, reason));
            }
            entries.push(Entry { name, source: source.to_string(), change, shape });
        }
        Ok(Renamed { file, entries, by_name })
    }

    /// The file as it calls its tensors itself.
    pub fn file(&self) -> &F {
        &self.file
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.by_name.get(name).map(|&at| &self.entries[at])
    }
}

fn bad(file: &impl TensorFile, tensor: &str, reason: String) -> Error {
    Error::BadTensor { path: file.path().to_path_buf(), tensor: tensor.to_string(), reason }
}

impl<F: TensorFile> TensorFile for Renamed<F> {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn names(&self) -> Vec<&str> {
        self.entries.iter().map(|entry| entry.name.as_str()).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entry(name).map(|entry| entry.shape.as_slice())
    }

    fn dtype(&self, name: &str) -> Option<String> {
        self.file.dtype(&self.entry(name)?.source)
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let Some(entry) = self.entry(name) else {
            return Err(Error::NoTensor { path: self.path().to_path_buf(), tensor: name.to_string() });
        };
        let data = self.file.read(&entry.source)?;
        if entry.change == Change::Keep {
            return Ok(data);
        }
        let old = self.file.shape(&entry.source).unwrap_or_default();
        entry.change.apply(old, data).map_err(|reason| bad(&self.file, &entry.source, reason))
    }

    fn config(&self) -> Option<Value> {
        self.file.config()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Named, SafeTensorsFile, safetensors};

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|x| x as f32).collect()
    }

    #[test]
    fn every_change_is_undone_by_its_inverse() {
        let changes = [
            Change::Keep,
            Change::Transpose,
            Change::PairsToHalves { heads: 2 },
            Change::HalvesToPairs { heads: 1 },
            Change::LeadRows(2),
            Change::LessOne,
        ];
        for change in changes {
            let (shape, data) = ([8, 3], numbers(24));
            let new = change.apply(&shape, data.clone()).unwrap();
            let new_shape = change.shape(&shape).unwrap();
            assert_eq!(new.len(), new_shape.iter().product::<usize>(), "{change:?}");
            assert_eq!(new == data, change == Change::Keep, "{change:?}");
            assert_eq!(change.inverse().apply(&new_shape, new).unwrap(), data, "{change:?}");
        }
    }

    #[test]
    fn pairs_become_halves_head_by_head() {
        let change = Change::PairsToHalves { heads: 2 };
        assert_eq!(change.apply(&[8], numbers(8)).unwrap(), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
        assert_eq!(
            Change::PairsToHalves { heads: 1 }.apply(&[4, 2], numbers(8)).unwrap(),
            [0.0, 1.0, 4.0, 5.0, 2.0, 3.0, 6.0, 7.0]
        );
    }

    #[test]
    fn a_shape_that_does_not_fit_is_refused() {
        assert!(Change::Transpose.shape(&[2, 3, 4]).is_err());
        for heads in [0, 3, 4] {
            assert!(Change::PairsToHalves { heads }.shape(&[4, 2]).is_err(), "{heads}");
        }
        assert!(Change::CutRows(3).shape(&[2, 2]).is_err() && Change::LeadRows(1).shape(&[]).is_err());
        assert!(Change::LeadRows(1).shape(&[usize::MAX]).is_err());
        assert!(Change::Keep.apply(&[2], vec![1.0]).is_err());
    }

    #[test]
    fn a_file_is_read_under_its_new_names() {
        let tensor = |name: &str| Named { name: name.into(), shape: vec![2, 3], data: numbers(6).into() };
        let bytes = safetensors::to_bytes(&[tensor("a"), tensor("b"), tensor("c")]).unwrap();
        let open = || SafeTensorsFile::from_bytes("x", bytes.clone()).unwrap();
        let renamed = Renamed::new(open(), |_, name, _| match name {
            "a" => Some(("first".to_string(), Change::Keep)),
            "b" => Some(("second".to_string(), Change::Transpose)),
            _ => None,
        })
        .unwrap();
        assert_eq!(renamed.names(), ["first", "second"]);
        assert_eq!(renamed.shape("second"), Some(&[3usize, 2][..]));
        assert_eq!(renamed.dtype("first").as_deref(), Some("F32"));
        assert_eq!(renamed.read("first").unwrap(), numbers(6));
        assert_eq!(renamed.read("second").unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert!(matches!(renamed.read("c"), Err(Error::NoTensor { .. })));
        let twice = Renamed::new(open(), |_, _, _| Some(("one".to_string(), Change::Keep))).unwrap_err();
        assert!(twice.to_string().contains("both it and \"a\" are \"one\""), "{twice}");
    }
}

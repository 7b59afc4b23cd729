//! Golden values: named arrays that a reference implementation wrote, as safetensors or JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

/// Why a golden file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GoldenError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what its name says.
    #[error("{}: {reason}", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is no array of that name.
    #[error("{} has no array \"{name}\" (it has {})", path.display(), known.join(", "))]
    Missing {
        /// The file.
        path: PathBuf,
        /// The array asked for.
        name: String,
        /// The arrays there are.
        known: Vec<String>,
    },
    /// The array holds another kind of numbers.
    #[error("{}: array \"{name}\" does not hold {expected}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// The array.
        name: String,
        /// The kind asked for.
        expected: &'static str,
    },
}

/// One array: its shape and its numbers, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T> {
    /// The shape.
    pub shape: Vec<usize>,
    /// The numbers.
    pub data: Vec<T>,
}

#[derive(Debug)]
enum Values {
    Floats(Vec<f64>),
    Integers(Vec<i64>),
}

/// A file of named arrays.
#[derive(Debug)]
pub struct Golden {
    path: PathBuf,
    arrays: BTreeMap<String, (Vec<usize>, Values)>,
}

impl Golden {
    /// Opens a `.safetensors` file (F32, F64, I32, I64, U8, BOOL) or a `.json` file (an object of nested
    /// lists of numbers).
    ///
    /// # Errors
    /// [`GoldenError::Read`], [`GoldenError::Bad`].
    pub fn open(path: impl AsRef<Path>) -> Result<Golden, GoldenError> {
        let path = path.as_ref().to_path_buf();
        let bytes = fs::read(&path).map_err(|source| GoldenError::Read { path: path.clone(), source })?;
        let arrays = if path.extension().is_some_and(|extension| extension == "json") {
            read_json(&bytes)
        } else {
            read_safetensors(&bytes)
        };
        match arrays {
            Ok(arrays) if arrays.is_empty() => {
                Err(GoldenError::Bad { path, reason: "it holds no array".into() })
            }
            Ok(arrays) => Ok(Golden { path, arrays }),
            Err(reason) => Err(GoldenError::Bad { path, reason }),
        }
    }

    /// The arrays' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }

    /// The arrays whose names start with `prefix`, without it: `("grad.", …)` gives each parameter's name.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.names().filter_map(move |name| name.strip_prefix(prefix))
    }

    /// Whether there is such an array.
    pub fn has(&self, name: &str) -> bool {
        self.arrays.contains_key(name)
    }

    /// An array of floating-point numbers.
    ///
    /// # Errors
    /// [`GoldenError::Missing`], [`GoldenError::Kind`].
    pub fn floats(&self, name: &str) -> Result<Array<f32>, GoldenError> {
        match self.get(name)? {
            (shape, Values::Floats(data)) => {
                Ok(Array { shape: shape.clone(), data: data.iter().map(|&x| x as f32).collect() })
            }
            (_, Values::Integers(_)) => Err(self.kind(name, "floating-point numbers")),
        }
    }

    /// An array of integers.
    ///
    /// # Errors
    /// [`GoldenError::Missing`], [`GoldenError::Kind`].
    pub fn integers(&self, name: &str) -> Result<Array<i64>, GoldenError> {
        match self.get(name)? {
            (shape, Values::Integers(data)) => Ok(Array { shape: shape.clone(), data: data.clone() }),
            (_, Values::Floats(_)) => Err(self.kind(name, "integers")),
        }
    }

    /// An array of one floating-point number.
    ///
    /// # Errors
    /// [`GoldenError::Missing`], [`GoldenError::Kind`].
    pub fn scalar(&self, name: &str) -> Result<f64, GoldenError> {
        match self.get(name)? {
            (_, Values::Floats(data)) if data.len() == 1 => Ok(data[0]),
            _ => Err(self.kind(name, "a single floating-point number")),
        }
    }

    fn get(&self, name: &str) -> Result<&(Vec<usize>, Values), GoldenError> {
        self.arrays.get(name).ok_or_else(|| GoldenError::Missing {
            path: self.path.clone(),
            name: name.to_string(),
            known: self.names().take(20).map(str::to_string).collect(),
        })
    }

    fn kind(&self, name: &str, expected: &'static str) -> GoldenError {
        GoldenError::Kind { path: self.path.clone(), name: name.to_string(), expected }
    }
}

type Arrays = BTreeMap<String, (Vec<usize>, Values)>;

fn read_safetensors(bytes: &[u8]) -> Result<Arrays, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut arrays = Arrays::new();
    for (name, view) in file.iter() {
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => Values::Floats(each(data, |raw| f64::from(f32::from_le_bytes(raw)))),
            Dtype::F64 => Values::Floats(each(data, f64::from_le_bytes)),
            Dtype::I32 => Values::Integers(each(data, |raw| i64::from(i32::from_le_bytes(raw)))),
            Dtype::I64 => Values::Integers(each(data, i64::from_le_bytes)),
            Dtype::U8 | Dtype::BOOL => Values::Integers(data.iter().map(|&x| i64::from(x)).collect()),
            other => return Err(format!("array \"{name}\" holds {other}, which no golden file should")),
        };
        arrays.insert(name.to_string(), (view.shape().to_vec(), values));
    }
    Ok(arrays)
}

fn each<T, const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&raw| number(raw)).collect()
}

fn read_json(bytes: &[u8]) -> Result<Arrays, String> {
    let object: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let mut arrays = Arrays::new();
    for (name, value) in object {
        let mut shape = Vec::new();
        let mut level = &value;
        while let Some(list) = level.as_array() {
            shape.push(list.len());
            match list.first() {
                Some(first) => level = first,
                None => break,
            }
        }
        let mut flat = Vec::new();
        flatten(&value, &shape, &mut flat).map_err(|reason| format!("array \"{name}\": {reason}"))?;
        let integers: Option<Vec<i64>> = flat.iter().map(|number| number.as_i64()).collect();
        let values = match integers {
            Some(integers) => Values::Integers(integers),
            None => Values::Floats(flat.iter().filter_map(|number| number.as_f64()).collect()),
        };
        arrays.insert(name, (shape, values));
    }
    Ok(arrays)
}

fn flatten<'a>(
    value: &'a serde_json::Value,
    shape: &[usize],
    out: &mut Vec<&'a serde_json::Number>,
) -> Result<(), String> {
    match (value, shape) {
        (serde_json::Value::Number(number), []) => out.push(number),
        (serde_json::Value::Array(list), [len, rest @ ..]) if list.len() == *len => {
            for value in list {
                flatten(value, rest, out)?;
            }
        }
        _ => return Err("expected lists of numbers, all of the same length".to_string()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    fn json(text: &str) -> Result<Golden, GoldenError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.json");
        fs::write(&path, text).unwrap();
        Golden::open(path)
    }

    #[test]
    fn json_arrays_keep_shape_and_kind() {
        let golden = json(r#"{"a": [[1, 2], [3, 4], [5, 6]], "b": [0.5, 1], "c": 2.5, "d": []}"#).unwrap();
        assert_eq!(golden.integers("a").unwrap(), Array { shape: vec![3, 2], data: vec![1, 2, 3, 4, 5, 6] });
        assert_eq!(golden.floats("b").unwrap().data, [0.5, 1.0]);
        assert_eq!(golden.scalar("c").unwrap(), 2.5);
        assert_eq!(golden.integers("d").unwrap().shape, [0]);
        assert!(matches!(golden.floats("a"), Err(GoldenError::Kind { .. })));
        assert!(matches!(golden.integers("b"), Err(GoldenError::Kind { .. })));
        assert!(matches!(golden.scalar("b"), Err(GoldenError::Kind { .. })));
        let missing = golden.floats("e").unwrap_err().to_string();
        assert!(missing.contains("no array \"e\" (it has a, b, c, d)"), "{missing}");
    }

    #[test]
    fn uneven_and_empty_files_are_refused() {
        assert!(json(r#"{"a": [[1, 2], [3]]}"#).unwrap_err().to_string().contains("same length"));
        assert!(json(r#"{"a": [1, "x"]}"#).is_err());
        assert!(json(r#"{"a": null}"#).is_err());
        assert!(json("{}").unwrap_err().to_string().contains("no array"));
        assert!(matches!(Golden::open("/no/such/file"), Err(GoldenError::Read { .. })));
    }

    #[test]
    fn safetensors_arrays_are_read_by_kind() {
        let floats: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let doubles = 0.1f64.to_le_bytes();
        let integers: Vec<u8> = [7i64, -1].iter().flat_map(|x| x.to_le_bytes()).collect();
        let views = [
            ("grad.w", TensorView::new(Dtype::F32, vec![2, 1], &floats).unwrap()),
            ("loss", TensorView::new(Dtype::F64, vec![], &doubles).unwrap()),
            ("ids", TensorView::new(Dtype::I64, vec![2], &integers).unwrap()),
            ("mask", TensorView::new(Dtype::BOOL, vec![2], &[1, 0]).unwrap()),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.safetensors");
        fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        let golden = Golden::open(&path).unwrap();
        assert_eq!(golden.floats("grad.w").unwrap(), Array { shape: vec![2, 1], data: vec![1.5, -2.0] });
        assert_eq!(golden.scalar("loss").unwrap(), 0.1);
        assert_eq!(golden.integers("ids").unwrap().data, [7, -1]);
        assert_eq!(golden.integers("mask").unwrap().data, [1, 0]);
        assert_eq!(golden.below("grad.").collect::<Vec<_>>(), ["w"]);
        assert!(golden.has("ids") && !golden.has("id"));
        fs::write(&path, b"rubbish").unwrap();
        assert!(matches!(Golden::open(&path), Err(GoldenError::Bad { .. })));
    }
}

//! TensorFlow checkpoints out: to the byte what TensorFlow's own saver makes of the same variables.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::table::{Builder, mask};
use crate::protobuf::{put_bytes, put_key, put_number};
use crate::safetensors::{Named, ordered};
use crate::{Error, atomic, convert};

/// The number of `f32` among TensorFlow's number formats.
const FLOAT: u64 = 1;

/// The entry without a name, which says what the others are: one data file, little-endian, version 1.
const HEAD: &[u8] = &[0x08, 1, 0x1a, 2, 0x08, 1];

/// Writes a checkpoint of `f32` variables: `PREFIX.index` and `PREFIX.data-00000-of-00001`, where `prefix` may also be the name
/// of the index. Each file is replaced as a whole, the numbers first; should the second never be written, an old index does not
/// fit the new numbers' checksums, which readers compare.
///
/// # Errors
/// [`Error::WrongLength`], [`Error::BadTensor`] for a name that comes twice or is empty, [`Error::Write`], also where a file
/// called `prefix` stands, which would be opened instead.
pub fn write(prefix: impl AsRef<Path>, tensors: &[Named]) -> Result<(), Error> {
    let prefix = prefix_of(prefix.as_ref());
    if prefix.exists() {
        let source = io::Error::new(
            io::ErrorKind::AlreadyExists,
            "what its two files are to be called after exists itself, and would be opened instead of them",
        );
        return Err(Error::Write { path: prefix, kept: "nothing was changed", source });
    }
    let order = ordered(&prefix, tensors)?;
    if order.first().is_some_and(|tensor| tensor.name.is_empty()) {
        let reason = "a variable needs a name".to_string();
        return Err(Error::BadTensor { path: prefix, tensor: String::new(), reason });
    }
    let mut table = Builder::default();
    table.add(b"", HEAD);
    atomic::write_with(with_end(&prefix, ".data-00000-of-00001"), |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let mut offset = 0;
        for tensor in &order {
            let bytes = convert::le_bytes(&tensor.data);
            out.write_all(&bytes)?;
            table.add(tensor.name.as_bytes(), &entry(tensor, offset, crc32c::crc32c(&bytes)));
            offset += bytes.len() as u64;
        }
        out.flush()
    })?;
    atomic::write(with_end(&prefix, ".index"), &table.finish())
}

/// What the two files' names begin with.
fn prefix_of(path: &Path) -> PathBuf {
    let is_index = path.extension().is_some_and(|ending| ending == "index");
    if is_index { path.with_extension("") } else { path.to_path_buf() }
}

fn with_end(prefix: &Path, end: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_os_string();
    name.push(end);
    PathBuf::from(name)
}

/// A variable's entry. As everywhere in such messages, a number that is 0 is not written.
fn entry(tensor: &Named, offset: u64, sum: u32) -> Vec<u8> {
    fn put(out: &mut Vec<u8>, field: u64, value: u64) {
        if value != 0 {
            put_number(out, field, value);
        }
    }
    let mut shape = Vec::new();
    for axis in &tensor.shape {
        let mut len = Vec::new();
        put(&mut len, 1, *axis as u64);
        put_bytes(&mut shape, 2, &len);
    }
    let mut out = Vec::new();
    put(&mut out, 1, FLOAT);
    put_bytes(&mut out, 2, &shape);
    put(&mut out, 4, offset);
    put(&mut out, 5, 4 * tensor.data.len() as u64);
    put_key(&mut out, 6, 5);
    out.extend(mask(sum).to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{TensorFile, TensorflowCheckpoint};

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/weights-tensorflow").join(name)
    }

    /// The variables of a checkpoint, under their own names.
    fn variables(path: &Path) -> Vec<Named<'static>> {
        let file = TensorflowCheckpoint::open(path).unwrap();
        let variable = |name: &str| Named {
            name: name.to_string(),
            shape: file.shape(name).unwrap().to_vec(),
            data: file.read(name).unwrap().into(),
        };
        file.names().into_iter().map(variable).collect()
    }

    #[test]
    fn both_files_are_to_the_byte_what_tensorflow_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.ckpt");
        write(&path, &variables(&fixture("gpt2/model.ckpt.index"))).unwrap();
        for end in [".index", ".data-00000-of-00001"] {
            let written = fs::read(folder.path().join(format!("x.ckpt{end}"))).unwrap();
            assert!(written == fs::read(fixture("gpt2").join(format!("model.ckpt{end}"))).unwrap(), "{end}");
        }
    }

    #[test]
    fn what_is_written_is_read_again_however_large_the_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.index");
        // So many entries that the table has several blocks.
        let mut tensors: Vec<Named> = (0..9000usize)
            .map(|n| Named {
                name: format!("model/layer_{n}/{}/kernel", n * n),
                shape: vec![1, n % 3],
                data: vec![n as f32 + 0.5; n % 3].into(),
            })
            .collect();
        tensors.push(Named { name: "scalar".into(), shape: vec![], data: vec![7.25].into() });
        write(&path, &tensors).unwrap();
        assert!(fs::metadata(folder.path().join("x.index")).unwrap().len() > 1 << 18);
        let again = variables(&path);
        assert_eq!(again.len(), tensors.len());
        let file = TensorflowCheckpoint::open(folder.path().join("x")).unwrap();
        for tensor in &tensors {
            assert_eq!(file.shape(&tensor.name), Some(tensor.shape.as_slice()), "{}", tensor.name);
            assert_eq!(file.read(&tensor.name).unwrap(), tensor.data.as_ref(), "{}", tensor.name);
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused_and_nothing_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.ckpt");
        let tensor =
            |name: &str, len| Named { name: name.into(), shape: vec![len], data: vec![1.0; 2].into() };
        assert!(matches!(write(&path, &[tensor("a", 3)]), Err(Error::WrongLength { .. })));
        let twice = write(&path, &[tensor("a", 2), tensor("a", 2)]).unwrap_err().to_string();
        assert!(twice.contains("written twice"), "{twice}");
        assert!(write(&path, &[tensor("", 2)]).unwrap_err().to_string().contains("needs a name"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::write(&path, "an old checkpoint").unwrap();
        let there = write(&path, &[tensor("a", 2)]).unwrap_err().to_string();
        assert!(there.contains("exists itself"), "{there}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

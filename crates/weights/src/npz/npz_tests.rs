//! The reader against NumPy's own files, broken ones, and ones that unpack to more than they say.

use super::*;
use crate::safetensors::SafeTensorsFile;
use crate::zip::tests::{Raw, archive};
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/weights/npz").join(name)
}

/// Opens, and reads every array that can be a weight.
fn read_all(bytes: Vec<u8>) -> Result<usize, Error> {
    let file = NpzFile::from_bytes("x.npz", bytes)?;
    for name in file.names() {
        match file.read(name) {
            Ok(data) => assert_eq!(data.len(), file.shape(name).unwrap().iter().product::<usize>()),
            Err(Error::WrongDtype { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(file.names().len())
}

fn refused(files: &[Raw], parts: &[&str]) {
    let error = read_all(archive(files)).unwrap_err().to_string();
    for part in parts.iter().chain(&["x.npz"]) {
        assert!(error.contains(part), "{part:?} not in: {error}");
    }
}

/// An array of `f32` with this shape.
fn npy(shape: &str, numbers: usize) -> Vec<u8> {
    let head = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((head.len() as u16).to_le_bytes());
    bytes.extend(head.as_bytes());
    bytes.resize(bytes.len() + 4 * numbers, 0);
    bytes
}

#[test]
fn every_array_of_numpy_reads_as_numpy_reads_it() {
    let golden = SafeTensorsFile::open(fixture("golden.safetensors")).unwrap();
    for name in ["stored.npz", "compressed.npz"] {
        let file = crate::format::open(&fixture(name)).unwrap();
        assert_eq!(file.names().len(), 16);
        let mut seen = 0;
        for array in golden.names() {
            assert_eq!(file.shape(array), golden.shape(array), "{name}: {array}");
            assert_eq!(file.read(array).unwrap(), golden.read(array).unwrap(), "{name}: {array}");
            seen += 1;
        }
        assert_eq!(seen, 11);
        for (array, dtype) in [
            ("i8", "I64"),
            ("bool", "BOOL"),
            ("text", "<U2"),
            ("object", "|O"),
            ("record", "[('a', '<f4'), ('b', '<i8')]"),
        ] {
            assert_eq!(file.dtype(array).as_deref(), Some(dtype));
            let error = file.read(array).unwrap_err();
            assert!(matches!(&error, Error::WrongDtype { got, .. } if got == dtype), "{error}");
        }
        assert_eq!(
            ["f2", "f4", "f8", "big/f8"].map(|a| file.dtype(a).unwrap()),
            ["F16", "F32", "F64", "F64"]
        );
        assert!(matches!(file.read("nothing"), Err(Error::NoTensor { .. })));
    }
}

#[test]
fn arrays_that_are_not_as_long_as_they_say_are_refused() {
    assert_eq!(read_all(archive(&[Raw::stored("w.npy", &npy("(2, 3)", 6))])).unwrap(), 1);
    refused(&[Raw::stored("w.npy", &npy("(2, 3)", 5))], &["\"w\"", "beyond its storage of 5 numbers"]);
    refused(&[Raw::stored("w.npy", &npy("(2, 3)", 7))], &["\"w\"", "takes 6 numbers"]);
    refused(
        &[Raw::stored("w.npy", &npy("(1000000000000, 1000000000000)", 1))],
        &["\"w\"", "beyond any file"],
    );
    refused(&[Raw::stored("w.npy", &npy("(4611686018427387904,)", 0))], &["\"w\"", "beyond its storage"]);
    refused(&[Raw::stored("w.npy", b"\x93NUMPY\x01\x00\xff\xff{")], &["\"w\"", "head cannot be read"]);
    refused(&[Raw::stored("w.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{")], &["claims a head of 4294967295"]);
    refused(&[Raw::stored("w.npy", b"\x93NUMPY\x07\x00\x01\x00{")], &["version 7"]);
    refused(&[Raw::stored("w.npy", b"GIF89a..")], &["\"w\"", "does not start like"]);
    refused(&[Raw::stored("w.npy", b"")], &["\"w\"", "head cannot be read"]);
    refused(&[Raw::stored("w.txt", b"")], &["\"w.txt\", which is no array"]);
    refused(&[], &["holds no array"]);
    let mut damaged = Raw::stored("w.npy", &npy("(2,)", 2));
    *damaged.packed.last_mut().unwrap() ^= 1;
    refused(&[damaged], &["\"w\"", "checksum"]);
}

#[test]
fn a_compressed_array_may_not_be_longer_than_it_says() {
    // A gigabyte of zeros would be some 200 bytes here.
    let long = npy("(1000000,)", 1_000_000);
    let honest = Raw::deflated("w.npy", &long);
    assert!(honest.packed.len() < 10_000);
    assert_eq!(read_all(archive(std::slice::from_ref(&honest))).unwrap(), 1);
    let short = npy("(2,)", 2);
    // Said to be short, in the archive and in its own head.
    let mut bomb = Raw::deflated("w.npy", &npy("(2,)", 1_000_000));
    bomb.len = short.len() as u32;
    refused(&[bomb], &["\"w\"", "unpacks to more"]);
    let mut empty = Raw::deflated("w.npy", &short);
    empty.len = long.len() as u32;
    refused(&[empty.clone()], &["\"w\"", "takes 2 numbers"]);
    // Said to be long in both, with nothing behind it.
    let mut hollow = Raw::deflated("w.npy", &npy("(1000000000,)", 1));
    hollow.len = (npy("(1000000000,)", 0).len() + 4_000_000_000) as u32;
    refused(&[hollow], &["\"w\"", "unpacks to less"]);
    let mut broken = honest;
    broken.packed.truncate(broken.packed.len() - 5);
    refused(&[broken], &["\"w\"", "cannot be unpacked"]);
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let whole = fs::read(fixture("compressed.npz")).unwrap();
    for len in 0..whole.len() {
        assert!(read_all(whole[..len].to_vec()).is_err(), "{len} of {} bytes", whole.len());
    }
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(
        compressed: bool,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let name = if compressed { "compressed.npz" } else { "stored.npz" };
        let mut bytes = fs::read(fixture(name)).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = read_all(bytes);
    }

    #[test]
    fn any_head_never_panics(head in "[{}'a-z():, 0-9<>|\\[\\]]{0,80}") {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((head.len() as u16).to_le_bytes());
        bytes.extend(head.as_bytes());
        let _ = read_all(archive(&[Raw::stored("w.npy", &bytes)]));
    }
}

//! The reader against files of h5py (`fixtures/make/weights_hdf5.py`), and broken and hostile ones.

use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;
use topwork_testkit::Golden;

/// Files of all superblocks.
const FILES: &[&str] = &[
    "superblock0.h5",
    "superblock1.h5",
    "superblock2.h5",
    "superblock3.h5",
    "user_block.h5",
    "small_old.h5",
    "small_new.h5",
];

/// What the reader refuses, and the word that says why.
const REFUSED: &[(&str, &str)] = &[
    ("superblock0.h5/filters/scaleoffset", "scaleoffset"),
    ("superblock3.h5/filters/scaleoffset", "scaleoffset"),
    ("superblock3.h5/filters/gzip_grows", "extensible array"),
    ("superblock3.h5/layouts/grows", "extensible array"),
    ("superblock3.h5/nodes/grows", "extensible array"),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/weights-hdf5").join(name)
}

/// Opens, and reads all that can be a weight.
fn read_all(bytes: Vec<u8>) -> Result<usize, Error> {
    let file = Hdf5File::from_bytes("x.h5", bytes)?;
    let mut read = 0;
    for name in file.names() {
        match file.read(name) {
            Err(Error::WrongDtype { .. }) => {}
            result => read += result.map(|_| 1)?,
        }
    }
    Ok(read)
}

fn refused(bytes: Vec<u8>, part: &str) {
    let error = read_all(bytes).unwrap_err().to_string();
    assert!(error.contains("x.h5") && error.contains(part), "{part:?} not in: {error}");
}

/// Every place of some bytes.
fn places(bytes: &[u8], of: &[u8]) -> Vec<usize> {
    bytes.windows(of.len()).enumerate().filter(|(_, window)| *window == of).map(|(at, _)| at).collect()
}

#[test]
fn every_layout_reads_as_h5py_reads_it() {
    let golden = Golden::open(fixture("golden.safetensors")).unwrap();
    let (mut seen, mut refused) = (0, 0);
    for name in FILES {
        let file = Hdf5File::open(fixture(name)).unwrap();
        let prefix = format!("{name}/");
        for key in golden.below(&prefix) {
            let expected = golden.floats(&format!("{prefix}{key}")).unwrap();
            assert_eq!(file.shape(key), Some(expected.shape.as_slice()), "{name}: {key}");
            let whole = format!("{prefix}{key}");
            if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == whole) {
                let error = file.read(key).unwrap_err().to_string();
                assert!(error.contains(why) && error.contains(key), "{error}");
                refused += 1;
                continue;
            }
            let bits = |data: &[f32]| data.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&file.read(key).unwrap()), bits(&expected.data), "{name}: {key}");
            seen += 1;
        }
    }
    assert_eq!((seen, refused), (503, REFUSED.len()));
}

#[test]
fn what_is_no_weight_is_listed_and_refused() {
    let mut seen = 0;
    for name in &FILES[..5] {
        let file = Hdf5File::open(fixture(name)).unwrap();
        for (key, dtype) in [
            ("numbers/whole", "I64"),
            ("numbers/byte", "U8"),
            ("numbers/truth", "ENUM"),
            ("numbers/text", "STRING"),
            ("numbers/words", "VARIABLE LENGTH"),
            ("numbers/pairs", "COMPOUND"),
        ] {
            assert_eq!(file.dtype(key).as_deref(), Some(dtype), "{name}: {key}");
            assert!(matches!(file.read(key), Err(Error::WrongDtype { got, .. }) if got == dtype), "{key}");
            seen += 1;
        }
        assert_eq!(file.dtype("numbers/f16_big").as_deref(), Some("F16"));
        assert_eq!(file.shape("numbers/nothing"), Some(&[0][..]));
        assert!(file.read("numbers/nothing").unwrap().is_empty());
        assert!(matches!(file.read("numbers"), Err(Error::NoTensor { .. })));
        let links: Vec<&str> = file.names().into_iter().filter(|name| name.starts_with("links/")).collect();
        assert_eq!(
            links.len(),
            2,
            "links by path and the group's link to itself are not followed: {links:?}"
        );
    }
    assert_eq!(seen, 30);
}

#[test]
fn groups_of_keras_layers_are_known() {
    for name in ["small_old.h5", "small_new.h5"] {
        assert_eq!(Hdf5File::open(fixture(name)).unwrap().layers(), ["a"], "{name}");
    }
    assert!(Hdf5File::open(fixture("superblock0.h5")).unwrap().layers().is_empty());
}

#[test]
fn shapes_without_numbers_fill_no_memory() {
    let file = Hdf5File::open(fixture("hostile.h5")).unwrap();
    for name in ["chunks", "piece", "one"] {
        let error = file.read(name).unwrap_err().to_string();
        assert!(error.contains("next to nothing of it is stored"), "{error}");
    }
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    for name in ["small_old.h5", "small_new.h5"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        assert_eq!(read_all(whole.clone()).unwrap(), 13, "{name}");
        for len in 0..whole.len() {
            assert!(read_all(whole[..len].to_vec()).is_err(), "{name}: {len} of {} bytes", whole.len());
        }
    }
}

#[test]
fn every_byte_may_be_wrong() {
    let mut errors = 0;
    for name in ["small_old.h5", "small_new.h5"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for at in 0..whole.len() {
            for value in [1, 0xff, whole[at] ^ 0x10] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                errors += usize::from(read_all(bytes).is_err());
            }
        }
    }
    assert!(errors > 10_000, "{errors}");
}

#[test]
fn trees_that_hold_themselves_end() {
    // Nodes of level 1: of groups, and of chunks.
    let whole = std::fs::read(fixture("superblock1.h5")).unwrap();
    for (node, key) in [(0u8, 8), (1, 8 + 8 * 3)] {
        let trees = places(&whole, &[b"TREE".as_slice(), &[node, 1]].concat());
        assert!(!trees.is_empty());
        let mut bytes = whole.clone();
        let child = trees[0] + 24 + key;
        bytes[child..child + 8].copy_from_slice(&(trees[0] as u64).to_le_bytes());
        refused(bytes, "level 1");
    }
}

#[test]
fn damage_is_found_and_named() {
    let whole = std::fs::read(fixture("small_new.h5")).unwrap();
    for signature in [b"OHDR", b"BTHD", b"BTLF", b"FRHP"] {
        let mut bytes = whole.clone();
        let at = *places(&whole, signature).last().unwrap();
        bytes[at + 12] ^= 1;
        refused(bytes, "checksum");
    }
    refused(b"\x89HDF\r\n\x1a\n".to_vec(), "superblock ends too early");
    refused(vec![0; 3000], "no HDF5 signature");
    refused([SIGNATURE.as_slice(), &[9; 100]].concat(), "superblock version 9");
    let mut old = std::fs::read(fixture("small_old.h5")).unwrap();
    let at = places(&old, b"SNOD")[0];
    old[at + 6] = 0xff;
    old[at + 7] = 0xff;
    refused(old, "SNOD should be");
}

static SMALL: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let read = |name: &&str| std::fs::read(fixture(name)).unwrap();
    ["small_old.h5", "small_new.h5"].iter().map(read).collect()
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn flipped_bytes_never_panic(which in 0usize..2, flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..12)) {
        let mut bytes = SMALL[which].clone();
        for (at, value) in flips {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        let _ = read_all(bytes);
    }

    #[test]
    fn swapped_words_never_panic(which in 0usize..2, swaps in proptest::collection::vec((any::<usize>(), any::<usize>()), 1..4)) {
        // Addresses and lengths end up where others belong: what single bytes seldom do.
        let mut bytes = SMALL[which].clone();
        for (a, b) in swaps {
            let (a, b) = (a % (bytes.len() / 8) * 8, b % (bytes.len() / 8) * 8);
            let word = bytes[b..b + 8].to_vec();
            bytes[a..a + 8].copy_from_slice(&word);
        }
        let _ = read_all(bytes);
    }
}

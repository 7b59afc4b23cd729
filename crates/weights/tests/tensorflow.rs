//! Checkpoints that TensorFlow wrote, and files of transformers' TensorFlow classes (`fixtures/make/weights_tensorflow.py`),
//! against what transformers' PyTorch classes make of them; and a published ELMo, when it is at hand.

#![allow(clippy::unwrap_used, reason = "a test file: what is not a test here serves one")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use topwork_testkit::Golden;
use topwork_weights::{Checkpoint, Error, TensorFile, TensorflowCheckpoint, TensorflowNames};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/weights-tensorflow").join(name)
}

fn bits(data: &[f32]) -> Vec<u32> {
    data.iter().map(|x| x.to_bits()).collect()
}

/// Compares the tensors of these names to the bit.
fn same<'a>(checkpoint: &Checkpoint, golden: &Golden, names: impl Iterator<Item = &'a str>) -> usize {
    let mut seen = 0;
    for name in names {
        let expected = golden.floats(name).unwrap();
        let at = checkpoint.path().display();
        assert_eq!(checkpoint.shape(name), Some(expected.shape.as_slice()), "{at}: {name}");
        assert_eq!(bits(&checkpoint.read(name).unwrap()), bits(&expected.data), "{at}: {name}");
        seen += 1;
    }
    seen
}

#[test]
fn models_have_the_names_and_numbers_of_their_pytorch_classes() {
    let mut seen = 0;
    for (folder, file) in [
        ("keras-bert", "tf_model.h5"),
        ("keras-gpt2", "tf_model.h5"),
        ("keras-t5", "tf_model.h5"),
        ("keras-shards", "tf_model.h5.index.json"),
        ("bert", "model.ckpt.index"),
        ("bert-v1", "model.ckpt"),
        ("albert", "model.ckpt.index"),
        ("electra", "model.ckpt.index"),
        ("gpt2", "model.ckpt.index"),
        ("t5", "model.ckpt.index"),
        ("transformer-xl", "model.ckpt.index"),
        ("xlnet", "model.ckpt.index"),
    ] {
        // A folder, the file itself, and what the files' names have in common are the same checkpoint.
        let golden = Golden::open(fixture(folder).join("golden.safetensors")).unwrap();
        for path in [file, file.trim_end_matches(".index")] {
            let checkpoint = Checkpoint::open(fixture(folder).join(path)).unwrap();
            let held: BTreeSet<&str> = checkpoint.names().collect();
            assert_eq!(held, golden.names().collect(), "{folder}");
            seen += same(&checkpoint, &golden, golden.names());
        }
    }
    assert_eq!(seen, 2 * (30 + 28 + 26 + 26 + 30 + 30 + 32 + 27 + 28 + 26 + 35 + 37));
}

#[test]
fn files_of_keras_in_parts_are_one_checkpoint_and_none_may_be_missing() {
    let names = ["tf_model.h5.index.json", "tf_model-00001-of-00002.h5", "tf_model-00002-of-00002.h5"];
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        fs::copy(fixture("keras-shards").join(name), folder.path().join(name)).unwrap();
    }
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!((checkpoint.len(), checkpoint.path()), (26, folder.path().join(names[0]).as_path()));
    // The second part alone has nothing that says whose names these are; the index does.
    assert!(checkpoint.names().any(|name| name == "cls.predictions.bias"));

    let index = fs::read_to_string(folder.path().join(names[0])).unwrap();
    let refused = |index: &str, part: &str| {
        fs::write(folder.path().join(names[0]), index).unwrap();
        let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(
        &index.replace("mlm___cls/predictions/bias:0", "mlm___cls/predictions/bios:0"),
        "bios:0\" is not in",
    );
    refused(
        &index.replace("00002-of-00002.h5", "00003-of-00002.h5"),
        "tf_model-00003-of-00002.h5 is not there, one of 2",
    );
    refused(&index.replace("tf_model-00002", "../tf_model-00002"), "no plain file name");
    fs::remove_file(folder.path().join(names[1])).unwrap();
    refused(&index, "tf_model-00001-of-00002.h5 is not there, one of 2 files");
}

#[test]
fn a_folder_with_a_checkpoint_opens() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [("index", "index"), ("data-00000-of-00001", "data-00000-of-00001")] {
        let from = fixture("bert").join(format!("model.ckpt.{from}"));
        fs::copy(from, folder.path().join(format!("bert_model.ckpt.{to}"))).unwrap();
    }
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.len(), 30);
    assert_eq!(Checkpoint::open(folder.path().join("bert_model.ckpt")).unwrap().len(), 30);
    fs::remove_file(folder.path().join("bert_model.ckpt.data-00000-of-00001")).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("bert_model.ckpt.data-00000-of-00001"), "{error}");
}

#[test]
fn every_way_of_storing_reads_as_tensorflow_reads_it() {
    let golden = Golden::open(fixture("formats").join("golden.safetensors")).unwrap();
    let mut seen = 0;
    for (file, names) in [
        ("all.ckpt.index", &["float/f32", "float/f64", "float/f16", "float/bf16", "scalar", "empty"][..]),
        ("parts-v2.ckpt", &["parts"]),
        ("parts-v1.ckpt", &["parts"]),
        ("shards.ckpt", &["part_0", "part_1"]),
        (
            "objects-1.index",
            &["model/layers/0/kernel", "model/layers/0/bias", "model/layers/1/kernel", "model/layers/1/bias"],
        ),
    ] {
        let checkpoint = Checkpoint::open(fixture("formats").join(file)).unwrap();
        seen += same(&checkpoint, &golden, names.iter().copied());
        let others = checkpoint.names().filter(|name| !name.starts_with("other/"));
        assert_eq!(others.count(), names.len(), "{file}");
    }
    assert_eq!(seen, 14);
    let all = Checkpoint::open(fixture("formats").join("all.ckpt")).unwrap();
    assert_eq!(all.dtype("float/bf16").as_deref(), Some("BF16"));
    for (name, dtype) in [("i32", "I32"), ("u8", "U8"), ("bool", "BOOL"), ("i64", "I64"), ("text", "STRING")]
    {
        let name = format!("other/{name}");
        assert_eq!(all.dtype(&name).as_deref(), Some(dtype));
        assert!(matches!(all.read(&name), Err(Error::WrongDtype { got, .. }) if got == dtype));
    }
    assert!(matches!(all.read("nothing"), Err(Error::NoTensor { .. })));
}

#[test]
fn what_is_no_weight_is_counted() {
    let left_out = |path: &str| TensorflowCheckpoint::open(fixture(path)).unwrap().left_out().to_vec();
    assert_eq!(left_out("bert/model.ckpt.index").len(), 7, "three slots of two kinds, and the step");
    assert_eq!(left_out("bert-v1/model.ckpt").len(), 7);
    assert_eq!(left_out("t5/model.ckpt.index").len(), 2);
    let objects = left_out("formats/objects-1.index");
    assert!(objects.iter().any(|name| name == "_CHECKPOINTABLE_OBJECT_GRAPH"), "{objects:?}");
    assert_eq!(objects.iter().filter(|name| name.contains(".OPTIMIZER_SLOT")).count(), 8);
    let raw = TensorflowCheckpoint::open(fixture("electra/model.ckpt.index")).unwrap();
    let named = TensorflowNames::over(Box::new(raw)).unwrap();
    assert_eq!(named.left_out().len(), 5, "the generator: {:?}", named.left_out());
}

/// A copy of a fixture's checkpoint with some bytes changed.
fn changed(name: &str, file: &str, change: impl Fn(&mut Vec<u8>)) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "golden.safetensors" {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    let path = folder.path().join(file);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Opens, and reads every tensor.
fn read_all(path: &Path) -> Result<usize, Error> {
    let file = TensorflowNames::over(Box::new(TensorflowCheckpoint::open(path)?))?;
    for name in file.names() {
        match file.read(name) {
            Err(Error::WrongDtype { .. }) => {}
            result => drop(result?),
        }
    }
    Ok(file.names().len())
}

#[test]
fn damaged_numbers_are_found_by_their_checksum() {
    let data = "model.ckpt.data-00000-of-00001";
    let len = fs::read(fixture("xlnet").join(data)).unwrap().len();
    // The first eight bytes are the step, which is no weight.
    for at in (8..len).step_by(97) {
        let (folder, _) = changed("xlnet", data, |bytes| bytes[at] ^= 4);
        let error = read_all(&folder.path().join("model.ckpt")).unwrap_err();
        assert!(matches!(&error, Error::BadTensor { tensor, .. } if tensor.starts_with("model/")), "{error}");
        assert!(error.to_string().contains("checksum"), "{error}");
    }
    let (folder, _) = changed("xlnet", data, |bytes| bytes.truncate(100));
    let error = read_all(&folder.path().join("model.ckpt")).unwrap_err().to_string();
    assert!(error.contains(data) && error.contains("100 bytes: cut short?"), "{error}");
}

#[test]
fn a_truncated_or_damaged_index_is_refused_at_every_byte() {
    for (name, file) in
        [("bert", "model.ckpt.index"), ("formats", "parts-v1.ckpt"), ("formats", "parts-v2.ckpt.index")]
    {
        let (_folder, path) = changed(name, file, |_| {});
        let whole = fs::read(&path).unwrap();
        assert!(read_all(&path).is_ok());
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let error = read_all(&path).unwrap_err().to_string();
            assert!(error.contains(file), "{error}");
        }
        // Checksums cover the blocks. Not read are the padding in the last 48 bytes and an empty block of 13 before them.
        let mut refused = 0;
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x21;
            fs::write(&path, bytes).unwrap();
            refused += usize::from(read_all(&path).is_err());
        }
        assert!(refused + 61 >= whole.len(), "{name}: {refused} of {}", whole.len());
    }
}

#[test]
fn a_file_of_another_kind_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.index");
    fs::write(&path, [7; 100]).unwrap();
    let error = TensorflowCheckpoint::open(&path).unwrap_err().to_string();
    assert!(error.contains("does not end as a table of TensorFlow does"), "{error}");
    assert!(TensorflowCheckpoint::open(folder.path()).is_err());
}

#[test]
fn a_published_elmo_opens_under_its_own_names() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/models/elmo-tiny-fixture/lm_weights.hdf5");
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return;
    }
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.len(), 33);
    assert_eq!(checkpoint.shape("char_embed"), Some(&[261, 4][..]));
    for name in checkpoint.names() {
        let len: usize = checkpoint.shape(name).unwrap().iter().product();
        assert_eq!(checkpoint.read(name).unwrap().len(), len, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn flipped_bytes_never_panic(
        which in 0usize..3,
        flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8),
    ) {
        let (name, file) =
            [("t5", "model.ckpt.index"), ("bert-v1", "model.ckpt"), ("formats", "parts-v2.ckpt.index")][which];
        let (_folder, path) = changed(name, file, |bytes| {
            for (at, value) in &flips {
                let at = at % bytes.len();
                bytes[at] = *value;
            }
        });
        let _ = read_all(&path);
    }
}

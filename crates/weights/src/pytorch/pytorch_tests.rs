//! The reader against files of PyTorch's own, of both forms, and against files that lie; the writer against PyTorch's.

use super::*;
use crate::safetensors::{Named, SafeTensorsFile};
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/weights").join(name)
}

fn open(bytes: Vec<u8>) -> Result<PyTorchFile, Error> {
    PyTorchFile::from_bytes("x.bin", bytes)
}

/// Opens, and reads every tensor that can be a weight.
fn read_all(bytes: Vec<u8>) -> Result<usize, Error> {
    let file = open(bytes)?;
    for name in file.names() {
        match file.read(name) {
            Ok(data) => assert_eq!(data.len(), file.shape(name).unwrap().iter().product::<usize>()),
            Err(Error::WrongDtype { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(file.names().len())
}

fn refused(bytes: Vec<u8>, parts: &[&str]) {
    let error = read_all(bytes).unwrap_err().to_string();
    for part in parts.iter().chain(&["x.bin"]) {
        assert!(error.contains(part), "{part:?} not in: {error}");
    }
}

#[test]
fn every_file_of_pytorch_reads_as_pytorch_reads_it() {
    let golden = SafeTensorsFile::open(fixture("pytorch/golden.safetensors")).unwrap();
    let mut seen = 0;
    for (name, tensors) in [
        ("zip-2", 25),
        ("zip-3", 25),
        ("zip-4", 25),
        ("zip-5", 25),
        ("legacy-2", 23),
        ("legacy-4", 23),
        ("big-endian", 23),
    ] {
        let file = crate::format::open(&fixture(&format!("pytorch/{name}.bin"))).unwrap();
        assert_eq!(file.names().len(), tensors, "{name}");
        for tensor in file.names() {
            let dtype = file.dtype(tensor).unwrap();
            if !["F32", "F16", "BF16", "F64"].contains(&dtype.as_str()) {
                let error = file.read(tensor).unwrap_err();
                assert!(matches!(&error, Error::WrongDtype { got, .. } if *got == dtype), "{error}");
                continue;
            }
            assert_eq!(file.shape(tensor), golden.shape(tensor), "{name}: {tensor}");
            assert_eq!(file.read(tensor).unwrap(), golden.read(tensor).unwrap(), "{name}: {tensor}");
            seen += 1;
        }
        let dtypes =
            ["half", "bfloat16", "double", "long", "int", "bool", "byte"].map(|t| file.dtype(t).unwrap());
        assert_eq!(dtypes, ["F16", "BF16", "F64", "I64", "I32", "BOOL", "U8"]);
        assert!(matches!(file.read("nothing"), Err(Error::NoTensor { .. })));
    }
    assert_eq!(seen, 7 * 19);
}

#[test]
fn of_a_training_checkpoint_the_state_dict_is_read() {
    let golden = SafeTensorsFile::open(fixture("pytorch/golden.safetensors")).unwrap();
    let file = PyTorchFile::open(fixture("pytorch/checkpoint.ckpt")).unwrap();
    assert_eq!(file.names(), ["0.weight", "0.bias", "1.weight", "1.bias"]);
    for name in file.names() {
        assert_eq!(file.read(name).unwrap(), golden.read(&format!("checkpoint.{name}")).unwrap());
    }
}

#[test]
fn hostile_files_are_refused_and_the_call_is_named() {
    let mut seen = 0;
    for (name, part) in [
        ("os-system", "asks to call posix.system: refused, nothing was executed"),
        ("eval", ".eval: refused"),
        ("getattr", ".getattr: refused"),
        ("load-from-bytes", "torch.storage._load_from_bytes: refused"),
        ("whole-model", "torch.nn.modules.linear.Linear: refused"),
        ("partial", "__main__.Call: refused"),
    ] {
        for protocol in [2, 4] {
            let bytes = fs::read(fixture(&format!("hostile/{name}-{protocol}.bin"))).unwrap();
            assert!(matches!(open(bytes.clone()), Err(Error::Code { .. })), "{name}");
            refused(bytes, &[part, "state_dict()"]);
            seen += 1;
        }
    }
    assert_eq!(seen, 12);
    for (name, part) in [
        ("os-system-legacy", "posix.system: refused"),
        ("bare", "neither like a ZIP archive nor with the older magic number"),
        ("sparse", "torch._utils._rebuild_sparse_tensor: refused"),
        ("hidden", "a tensor within an object (\"args\")"),
        ("expanded", "call contiguous() before saving"),
        ("nothing", "holds no tensor"),
        ("bare-tensor", "without a name"),
    ] {
        refused(fs::read(fixture(&format!("hostile/{name}.bin"))).unwrap(), &[part]);
    }
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    for name in ["pytorch/zip-2.bin", "pytorch/legacy-2.bin", "pytorch/legacy-4.bin"] {
        let whole = fs::read(fixture(name)).unwrap();
        assert!(read_all(whole.clone()).is_ok());
        for len in 0..whole.len() {
            assert!(read_all(whole[..len].to_vec()).is_err(), "{name}: {len} of {} bytes", whole.len());
        }
    }
}

/// A text of a pickle.
fn text(text: &str) -> Vec<u8> {
    [&[b'U', text.len() as u8], text.as_bytes()].concat()
}

fn number(number: i32) -> Vec<u8> {
    [b"J".as_slice(), &number.to_le_bytes()].concat()
}

fn numbers(of: &[i32]) -> Vec<u8> {
    [b"(".to_vec(), of.iter().flat_map(|&n| number(n)).collect(), b"t".to_vec()].concat()
}

/// A dictionary of these keys and values.
fn dictionary(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let pairs: Vec<u8> = pairs.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [b"}(".as_slice(), &pairs, b"u"].concat()
}

/// A tensor in storage "s" of 4 floats: its offset, shape and stride, and what else the storage's description has.
fn tensor(offset: i32, shape: &[i32], stride: &[i32], part: &[u8]) -> Vec<u8> {
    let storage = [b"(U\x07storagectorch\nFloatStorage\nU\x01sU\x03cpu".as_slice(), &number(4), part, b"tQ"];
    let rest = [number(offset), numbers(shape), numbers(stride)].concat();
    [b"ctorch._utils\n_rebuild_tensor_v2\n(".as_slice(), &storage.concat(), &rest, b"\x89NtR"].concat()
}

/// A file of the older form with this value, whose storage "s" holds these numbers.
fn legacy(value: &[u8], held: &[f32]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02";
    let mut bytes = [magic.as_slice(), value, b".\x80\x02]U\x01sa."].concat();
    bytes.extend((held.len() as u64).to_le_bytes());
    bytes.extend(held.iter().flat_map(|x| x.to_le_bytes()));
    bytes
}

/// The same as an archive.
fn zipped(value: &[u8], held: &[f32]) -> Vec<u8> {
    let held: Vec<u8> = held.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut bytes = Vec::new();
    let mut writer = zip::Writer::new(&mut bytes, 0);
    writer.add("m/data.pkl", &[b"\x80\x02", value, b"."].concat()).unwrap();
    writer.add("m/data/s", &held).unwrap();
    writer.finish().unwrap();
    bytes
}

const HELD: [f32; 4] = [1.0, 2.0, 3.0, 4.0];

#[test]
fn parts_of_storages_are_read() {
    let part = |start, len| [b"(U\x01v".to_vec(), number(start), number(len), b"t".to_vec()].concat();
    for form in [legacy, zipped] {
        let file = open(form(&dictionary(&[("w", tensor(1, &[2], &[1], &part(1, 3)))]), &HELD)).unwrap();
        assert_eq!(file.read("w").unwrap(), [3.0, 4.0]);
        let value = dictionary(&[("w", tensor(1, &[3], &[1], &part(1, 3)))]);
        refused(form(&value, &HELD), &["\"w\"", "beyond its storage of 3 numbers"]);
        let value = dictionary(&[("w", tensor(0, &[1], &[1], &part(2, 3)))]);
        refused(form(&value, &HELD), &["\"w\"", "outside the 4 numbers of storage \"s\""]);
    }
}

#[test]
fn tensors_that_reach_outside_their_storage_are_refused_by_name() {
    let check = |offset, shape: &[i32], stride: &[i32], part: &str| {
        let value = dictionary(&[("w", tensor(offset, shape, stride, b""))]);
        refused(legacy(&value, &HELD), &["\"w\"", part]);
        refused(zipped(&value, &HELD), &["\"w\"", part]);
    };
    check(0, &[5], &[1], "beyond its storage of 4 numbers");
    check(1, &[4], &[1], "beyond its storage");
    check(0, &[2, 2], &[3, 2], "beyond its storage");
    check(0, &[i32::MAX, i32::MAX, i32::MAX], &[0, 0, 0], "beyond any file");
    check(0, &[i32::MAX], &[0], "repeats the 4 numbers");
    check(0, &[2], &[1, 1], "1 axes");
    check(-1, &[1], &[1], "offset is no whole number from 0 on");
    check(0, &[-1], &[1], "shape holds something that is no whole number");
    check(0, &[2], &[-1], "stride holds something");
    check(0, &[1; 17], &[1; 17], "17 axes");
}

#[test]
fn storages_that_are_not_there_or_not_as_described_are_refused() {
    let value = dictionary(&[("w", tensor(0, &[4], &[1], b""))]);
    assert_eq!(read_all(legacy(&value, &HELD)).unwrap(), 1);
    assert_eq!(read_all(zipped(&value, &HELD)).unwrap(), 1);
    refused(legacy(&value, &HELD[..3]), &["storage s has 3 numbers and is said to have 4"]);
    refused(zipped(&value, &HELD[..3]), &["\"w\"", "4 numbers of 4 bytes and has 12 bytes"]);
    let mut more = legacy(&value, &HELD);
    more.push(0);
    refused(more, &["1 bytes stand behind"]);
    let elsewhere = [&b"\x80\x02"[..], &dictionary(&[("w", tensor(0, &[4], &[1], b""))]), b"."].concat();
    let file = |name: &'static str, bytes: &[u8]| zip::tests::Raw::stored(name, bytes);
    refused(zip::tests::archive(&[file("m/data.pkl", &elsewhere)]), &["\"s\" is not in the file"]);
    refused(zip::tests::archive(&[file("m/data/s", &[0; 16])]), &["no data.pkl"]);
    let program = [file("m/data.pkl", &elsewhere), file("m/constants.pkl", b"N.")];
    refused(zip::tests::archive(&program), &["TorchScript"]);
    let order = [file("m/data.pkl", &elsewhere), file("m/byteorder", b"middle")];
    refused(zip::tests::archive(&order), &["\"middle\" is no byte order"]);
    let packed = [zip::tests::Raw::deflated("m/data.pkl", &elsewhere)];
    refused(zip::tests::archive(&packed), &["m/data.pkl", "compressed"]);
    let mut long = zipped(&value, &HELD);
    let at = long.windows(6).position(|window| window == b"J\x04\0\0\0t").unwrap();
    long[at + 4] = 0x7f;
    refused(long, &["\"w\"", "is said to have 2130706436 numbers"]);
    refused(legacy(b"N", &HELD), &["names one that no tensor has"]);
    let other = legacy(&value, &HELD).iter().map(|&b| if b == 0xe9 { 0xea } else { b }).collect();
    refused(other, &["version Int(1002)"]);
}

#[test]
fn names_are_the_keys_that_lead_to_a_tensor() {
    let tensor = || tensor(0, &[1], &[1], b"");
    let check = |value: Vec<u8>, expected: &[&str]| {
        let file = open(zipped(&value, &HELD)).unwrap();
        assert_eq!(file.names(), expected);
    };
    let inner = dictionary(&[("a", tensor()), ("b", tensor())]);
    check(dictionary(&[("x", inner.clone()), ("epoch", number(3))]), &["x.a", "x.b"]);
    for wrapper in ["state_dict", "model_state_dict", "model", "module"] {
        check(dictionary(&[(wrapper, inner.clone()), ("optimizer", inner.clone())]), &["a", "b"]);
    }
    // Two of these keys, or a tensor beside one: nothing says which is meant.
    let two = dictionary(&[("model", inner.clone()), ("state_dict", inner.clone())]);
    check(two, &["model.a", "model.b", "state_dict.a", "state_dict.b"]);
    check(dictionary(&[("model", inner.clone()), ("w", tensor())]), &["model.a", "model.b", "w"]);
    let list = [b"](".to_vec(), tensor(), inner.clone(), b"e".to_vec()].concat();
    check(dictionary(&[("l", list.clone())]), &["l.0", "l.1.a", "l.1.b"]);
    check(list, &["0", "1.a", "1.b"]);
    let by_number = [b"}K\x07".to_vec(), tensor(), b"s".to_vec()].concat();
    check(dictionary(&[("p", by_number)]), &["p.7"]);
    // The last value of a key counts, also when that is no tensor.
    check(dictionary(&[("a", tensor()), ("a", number(1)), ("b", tensor())]), &["b"]);
    let twice = dictionary(&[("x", dictionary(&[("a", tensor())])), ("x.a", tensor())]);
    refused(zipped(&twice, &HELD), &["\"x.a\"", "twice"]);
    let no_text = [b"}N".to_vec(), tensor(), b"s".to_vec()].concat();
    refused(zipped(&dictionary(&[("p", no_text)]), &HELD), &["\"p\" under a key that is no text"]);
}

#[test]
fn dictionaries_that_hold_themselves_or_each_other_come_to_an_end() {
    let tensor = tensor(0, &[1], &[1], b"");
    let circle = [b"}q\x00(U\x01wq\x01".to_vec(), tensor.clone(), b"U\x01xh\x00u".to_vec()].concat();
    assert_eq!(open(zipped(&circle, &HELD)).unwrap().names(), ["w"]);
    // Each holds the one before twice: 2^60 ways lead to the tensor.
    let mut doubling = dictionary(&[("w", tensor.clone())]);
    for n in 0..60 {
        let get = [b'h', n];
        doubling = [&doubling[..], &[b'q', n], b"0}(U\x01a", &get, b"U\x01b", &get, b"u"].concat();
    }
    refused(zipped(&doubling, &HELD), &["over and over"]);
    // A long key before many short ones.
    let many: Vec<u8> = (0..5000).flat_map(|n| [text(&n.to_string()), b"h\x00".to_vec()].concat()).collect();
    let long = [b"X\x00\x00\x01\x00".to_vec(), vec![b'k'; 0x10000]].concat();
    let value = [tensor.clone(), b"q\x000}".to_vec(), long, b"}(".to_vec(), many, b"us".to_vec()].concat();
    refused(zipped(&value, &HELD), &["over and over"]);
    let mut deep = tensor;
    for _ in 0..100 {
        deep = dictionary(&[("d", deep)]);
    }
    refused(zipped(&deep, &HELD), &["nested more than 64 deep"]);
}

fn named(name: &str, shape: &[usize], data: Vec<f32>) -> Named<'static> {
    Named { name: name.into(), shape: shape.to_vec(), data: data.into() }
}

#[test]
fn the_pickle_written_is_pythons_to_the_byte() {
    let file = PyTorchFile::open(fixture("pytorch/plain.pt")).unwrap();
    let tensors: Vec<Named> = file
        .names()
        .iter()
        .map(|name| named(name, file.shape(name).unwrap(), file.read(name).unwrap()))
        .collect();
    assert_eq!(tensors.len(), 8);
    let of = |bytes: Vec<u8>| {
        let input = Input::from_bytes(Path::new("x.bin"), NAME, bytes);
        let entries = zip::entries(&input).unwrap();
        let part = |name: &str| {
            let entry = entries.iter().find(|entry| entry.name.ends_with(name)).unwrap();
            input.bytes(entry.start, entry.len, name).unwrap()
        };
        ["/data.pkl", "/data/0", "/data/7", "/version", "/byteorder", "/.format_version"].map(part)
    };
    let theirs = of(fs::read(fixture("pytorch/plain.pt")).unwrap());
    assert_eq!(of(to_bytes(&tensors).unwrap()), theirs);

    // Beyond 256 remembered values, and beyond the 1000 entries that are set at once.
    let shape = |n: usize| vec![n % 2, 300];
    let mut many: Vec<Named> =
        (0..2100).map(|n| named(&format!("w.{n:05}"), &shape(n), vec![0.0; n % 2 * 300])).collect();
    many.push(named("x", &[70_000], vec![0.0; 70_000]));
    let pickle = write::pickled(&many.iter().collect::<Vec<_>>());
    let golden: serde_json::Value =
        serde_json::from_slice(&fs::read(fixture("pytorch/many.json")).unwrap()).unwrap();
    assert_eq!(golden["len"], pickle.len());
    assert_eq!(golden["crc"], zip::tests::crc(&pickle));
}

#[test]
fn what_is_written_is_read_again_and_lies_where_it_can_be_mapped() {
    let tensors = [
        named("z.weight", &[2, 3], (0..6).map(|x| x as f32).collect()),
        named("a.b", &[0, 2], vec![]),
        named("m", &[], vec![7.0]),
        named("five", &[1, 2, 1, 1, 2], vec![1.0, 2.0, 3.0, f32::MIN_POSITIVE]),
    ];
    let bytes = to_bytes(&tensors).unwrap();
    let mut turned = tensors.to_vec();
    turned.reverse();
    assert_eq!(to_bytes(&turned).unwrap(), bytes);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("pytorch_model.bin"), &tensors).unwrap();
    assert_eq!(fs::read(folder.path().join("pytorch_model.bin")).unwrap(), bytes);
    let file = open(bytes).unwrap();
    assert_eq!(file.names().len(), 4);
    for tensor in &tensors {
        assert_eq!(file.shape(&tensor.name), Some(tensor.shape.as_slice()));
        assert_eq!(file.read(&tensor.name).unwrap(), *tensor.data);
        assert_eq!(file.tensor(&tensor.name).unwrap().start % zip::ALIGNMENT, 0);
    }
    assert!(matches!(to_bytes(&[named("w", &[2], vec![1.0])]), Err(Error::WrongLength { .. })));
    let twice = [named("w", &[1], vec![1.0]), named("w", &[1], vec![1.0])];
    assert!(matches!(to_bytes(&twice), Err(Error::BadTensor { .. })));
}

proptest! {
    #[test]
    fn writing_what_was_read_gives_the_same_bytes(
        tensors in proptest::collection::btree_map("[a-z.\"é]{1,8}", proptest::collection::vec(any::<f32>(), 0..9), 1..5)
    ) {
        let tensors: Vec<Named> = tensors.into_iter().map(|(name, data)| named(&name, &[data.len()], data)).collect();
        let first = to_bytes(&tensors).unwrap();
        let file = open(first.clone()).unwrap();
        let again: Vec<Named> = file.names().into_iter()
            .map(|name| named(name, file.shape(name).unwrap(), file.read(name).unwrap())).collect();
        prop_assert_eq!(to_bytes(&again).unwrap(), first);
    }

    #[test]
    fn changed_bytes_never_panic(
        which in 0usize..4,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let name = ["zip-2.bin", "legacy-2.bin", "legacy-4.bin", "checkpoint.ckpt"][which];
        let mut bytes = fs::read(fixture("pytorch").join(name)).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = read_all(bytes);
    }

    #[test]
    fn any_bytes_give_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read_all(bytes.clone()).is_err());
        prop_assert!(read_all([zip::MAGIC, &bytes].concat()).is_err());
        prop_assert!(read_all([&legacy(b"N", &[])[..34], &bytes].concat()).is_err());
    }
}

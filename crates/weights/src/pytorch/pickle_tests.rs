//! The machine on pickles written by hand: every instruction, every limit, and programs that mean harm.

use super::*;
use proptest::prelude::*;
use std::path::Path;

fn input(bytes: &[u8]) -> Input {
    Input::from_bytes(Path::new("x.bin"), "PyTorch", bytes.to_vec())
}

fn run(bytes: &[u8]) -> Result<Pickle, Error> {
    let input = input(bytes);
    read(&input, 0, input.len)
}

/// A value written out, as far down as it is no circle.
fn shown(pickle: &Pickle, id: Id) -> String {
    let all = |items: &[Id]| items.iter().map(|&id| shown(pickle, id)).collect::<Vec<_>>().join(" ");
    match pickle.value(id) {
        Value::Opaque => "-".to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Real(number) => format!("{number:?}"),
        Value::Bytes(bytes) => format!("b'{}'", bytes.escape_ascii()),
        Value::Text(text) => format!("'{text}'"),
        Value::Sequence(items) => format!("[{}]", all(items)),
        Value::Mapping(pairs) => {
            let pairs = pairs.iter().map(|&(key, value)| all(&[key, value])).collect::<Vec<_>>();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::Global(role) => format!("{role:?}"),
        Value::Storage(storage) => format!("storage {} {}", shown(pickle, storage.key), storage.len),
        Value::Tensor(tensor) => {
            format!("tensor {} of {}", shown(pickle, tensor.shape), shown(pickle, tensor.storage))
        }
        Value::Object(parts) => format!("<{}>", all(parts)),
    }
}

fn check(bytes: &[u8], expected: &str) {
    let pickle = run(bytes).unwrap_or_else(|error| panic!("{}: {error}", bytes.escape_ascii()));
    assert_eq!(shown(&pickle, pickle.root), expected, "{}", bytes.escape_ascii());
    assert_eq!(pickle.end, bytes.len() as u64);
}

fn refused(bytes: &[u8], part: &str) {
    let error = run(bytes).unwrap_err().to_string();
    assert!(error.contains("x.bin") && error.contains(part), "{part:?} not in: {error}");
}

#[test]
fn every_instruction_does_what_it_does_in_python() {
    check(b"N.", "-");
    check(b"\x80\x05\x88.", "true");
    check(b"\x89.", "false");
    check(b"I01\n.", "true");
    check(b"I00\n.", "false");
    check(b"I12\n.", "12");
    check(b"I-12\n.", "-12");
    check(b"L123456789012345678901L\n.", "123456789012345678901");
    check(b"J\xff\xff\xff\xff.", "-1");
    check(b"K\xff.", "255");
    check(b"M\x01\x02.", "513");
    check(b"\x8a\x00.", "0");
    check(b"\x8a\x01\xff.", "-1");
    check(b"\x8a\x02\xff\x00.", "255");
    check(b"\x8b\x03\x00\x00\x00\x01\x02\x03.", "197121");
    check(&[b"\x8a\x11".as_slice(), &[1; 17], b"."].concat(), "-");
    check(b"F1.5\n.", "1.5");
    check(b"Fnone\n.", "-");
    check(b"G\x3f\xf0\0\0\0\0\0\0.", "1.0");
    check(b"S'a\\'\\x41\\n'\n.", "'a'A\n'");
    check(b"V\\u00e9\\d\n.", "'\u{e9}\\d'");
    check(b"X\x02\0\0\0ab.", "'ab'");
    check(b"T\x02\0\0\0ab.", "'ab'");
    check(b"U\x02ab.", "'ab'");
    check(b"\x8c\x02ab.", "'ab'");
    check(b"\x8d\x02\0\0\0\0\0\0\0ab.", "'ab'");
    check(b"B\x02\0\0\0ab.", "b'ab'");
    check(b"C\x02ab.", "b'ab'");
    check(&[b"C\x41".as_slice(), &[7; 65], b"."].concat(), "-");
    check(b"\x8e\x02\0\0\0\0\0\0\0ab.", "b'ab'");
    check(b"\x96\x02\0\0\0\0\0\0\0ab.", "b'ab'");
    // As the older protocols spell them.
    check("c_codecs\nencode\n(X\x03\0\0\0aéX\x06\0\0\0latin1tR.".as_bytes(), "b'a\\xe9'");
    check("c_codecs\nencode\n(X\x03\0\0\0\u{20ac}tR.".as_bytes(), "-");
    check(b"\x80\x04\x95\x02\0\0\0\0\0\0\0N.", "-");
    check(b").", "[]");
    check(b"].", "[]");
    check(b"}.", "{}");
    check(b"\x8f(K\x01K\x02\x90.", "[1 2]");
    check(b"(K\x01K\x02\x91.", "[1 2]");
    check(b"(K\x01K\x02t.", "[1 2]");
    check(b"(K\x01K\x02l.", "[1 2]");
    check(b"K\x01\x85.", "[1]");
    check(b"K\x01K\x02\x86.", "[1 2]");
    check(b"K\x01K\x02K\x03\x87.", "[1 2 3]");
    check(b"]K\x01a.", "[1]");
    check(b"](K\x01K\x02e.", "[1 2]");
    check(b"(K\x01K\x02d.", "{1 2}");
    check(b"}K\x01K\x02s.", "{1 2}");
    check(b"}(K\x01K\x02K\x03K\x04u.", "{1 2, 3 4}");
    check(b"K\x010K\x02.", "2");
    check(b"K\x01(K\x02K\x031.", "1");
    check(b"K\x01(0.", "1");
    check(b"K\x012\x86.", "[1 1]");
    check(b"K\x01q\x00h\x00\x86.", "[1 1]");
    check(b"K\x01p300\nr\x07\0\0\0g300\nj\x07\0\0\0\x87.", "[1 1 1]");
    check(b"K\x01\x94h\x00\x86.", "[1 1]");
    // A dictionary that is filled after it was remembered.
    check(b"(}q\x00h\x00K\x01K\x02st.", "[{1 2} {1 2}]");
}

#[test]
fn known_names_give_data() {
    check(b"ccollections\nOrderedDict\n)R.", "{}");
    check(b"ccollections\nOrderedDict\n](]K\x01aK\x02a]K\x03aK\x04ae\x85R.", "{1 2, 3 4}");
    check(b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R(K\x01K\x02u.", "{1 2}");
    check(b"ccollections\nOrderedDict\n)R}U\x09_metadataK\x01sb.", "{}");
    check(b"\x8c\x0bcollections\x8c\x0bOrderedDict\x93)\x81.", "{}");
    check(b"ctorch\nSize\n(K\x02K\x03t\x85R.", "[2 3]");
    check(b"ctorch\nSize\n)R.", "[]");
    check(b"cbuiltins\nset\n](K\x02e\x85R.", "[2]");
    check(b"cargparse\nNamespace\n)R}U\x02lrK\x01sb.", "<[] {'lr' 1}>");
    check(b"cargparse\nNamespace\n)}U\x02lrK\x01s\x92.", "<[] {'lr' 1}>");
    check(b"(K\x01iargparse\nNamespace\n.", "<[1]>");
    check(b"(cargparse\nNamespace\nK\x01o.", "<[1]>");
}

/// A tensor of shape [2] in a storage of 4 floats.
const STORAGE: &[u8] = b"(U\x07storagectorch\nFloatStorage\nU\x03keyU\x03cpuK\x04tQ";

fn tensor(call: &[u8], rest: &[u8]) -> Vec<u8> {
    [call, b"(", STORAGE, b"K\x00K\x02\x85K\x01\x85", rest, b"tR."].concat()
}

#[test]
fn tensors_are_described_and_not_made() {
    let expected = "tensor [2] of storage 'key' 4";
    check(&tensor(b"ctorch._utils\n_rebuild_tensor\n", b""), expected);
    let two = tensor(b"ctorch._utils\n_rebuild_tensor_v2\n", b"\x89ccollections\nOrderedDict\n)R");
    check(&two, expected);
    check(&tensor(b"ctorch._utils\n_rebuild_tensor_v3\n", b"\x89Nctorch\nfloat32\n"), expected);
    let bare = &two[..two.len() - 1];
    let parameter = [b"ctorch._utils\n_rebuild_parameter\n(".as_slice(), bare, b"\x88Nt", b"R."].concat();
    check(&parameter, expected);
    let arguments = &bare[b"ctorch._utils\n_rebuild_tensor_v2\n".len()..bare.len() - 1];
    let subclass = [
        b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n"
            .as_slice(),
        arguments,
        b"}tR.",
    ];
    check(&subclass.concat(), expected);
    refused(b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "made of 0 arguments");
    refused(b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x01K\x01K\x01tR.", "no storage");
    refused(&tensor(b"ctorch._utils\n_rebuild_tensor_v3\n", b"\x89NN"), "no number format");
    let nested = b"ctorch._tensor\n_rebuild_from_type_v2\nq\x00(h\x00NNNtR.";
    refused(nested, "no function that makes tensors");
    for described in [
        b"NQ.".as_slice(),
        b")Q.",
        b"(U\x07storageK\x01K\x01K\x01K\x01tQ.",
        b"(U\x07storagectorch\nFloatStorage\nU\x03keyU\x03cpuJ\xff\xff\xff\xfftQ.",
        b"(U\x07storagectorch\nFloatStorage\nU\x03keyU\x03cpuK\x04K\x01tQ.",
        b"(U\x07storagectorch\nFloatStorage\nU\x03keyU\x03cpuK\x04(NK\x01J\xff\xff\xff\xffttQ.",
    ] {
        refused(described, "a storage");
    }
    refused(b"(U\x06modulectorch\nTensor\nNNtQ.", "whole program");
}

#[test]
fn names_that_are_not_known_are_refused_and_named() {
    let hidden = [
        b"cos\nsystem\nU\x04true\x85R.".as_slice(),
        b"(U\x04trueios\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"cos\nsystem\n0N.",
    ];
    for bytes in hidden {
        refused(bytes, "asks to call os.system: refused, nothing was executed");
        assert!(matches!(run(bytes), Err(Error::Code { .. })));
    }
    refused(b"c__builtin__\neval\n.", "__builtin__.eval");
    // What is called must be a name, never something made.
    refused(b"cargparse\nNamespace\n)R)R.", "calls something that is no name");
    refused(b"U\x06system)R.", "calls something that is no name");
    // A long name takes no long message.
    let long = [b"c".as_slice(), &[b'x'; 100_000], b"\nx\n."].concat();
    assert!(run(&long).unwrap_err().to_string().len() < 600);
}

#[test]
fn broken_programs_are_refused() {
    for (bytes, part) in [
        (b"".as_slice(), "cut short"),
        (b"N", "cut short"),
        (b".", "more from its stack"),
        (b"0.", "not opened"),
        (b"(\x85.", "more from its stack"),
        (b"(.", "more from its stack"),
        (b"K\x01(\x86.", "more from its stack"),
        (b"1.", "not opened"),
        (b"t.", "not opened"),
        (b"h\x05.", "value 5, which it never kept"),
        (b"q\x05.", "more from its stack"),
        (b"Ix\n.", "not spelt"),
        (b"Sabc\n.", "not spelt"),
        (b"V\\uzzzz\n.", "not spelt"),
        (b"V\\ud800\n.", "not spelt"),
        (b"\x80\x06N.", "protocol 6"),
        (b"\x82\x01.", "no instruction"),
        (b"P1\n.", "no instruction"),
        (b"\x97.", "no instruction"),
        (b"K\x01K\x02a.", "no list"),
        (b"K\x01K\x02K\x03s.", "no dictionary"),
        (b"}(K\x01u.", "no dictionary"),
        (b"K\x01Nb.", "state"),
        (b"(o.", "made of nothing"),
        (b"NN\x93.", "no text"),
        (b"ccollections\nOrderedDict\n](K\x01e\x85R.", "other than pairs"),
        (b"X\xff\xff\xff\xffab.", "cut short"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffab.", "cut short"),
        (b"\x8b\xff\xff\xff\xff.", "cut short"),
    ] {
        refused(bytes, part);
    }
}

#[test]
fn nesting_and_repeating_have_bounds() {
    let deep = [b"(".repeat(9_999), b")".to_vec(), b"t".repeat(9_999), b".".to_vec()].concat();
    assert_eq!(run(&deep).unwrap().values.len(), 10_003);
    refused(&b"(".repeat(20_000), "groups are open");
    refused(&b"N".repeat(2 << 20), "values are open at once");
    // Nested by lists within lists, which no group holds open; dropping it must not walk down either.
    let nested = [b"]".repeat(500_000), b"a".repeat(499_999), b".".to_vec()].concat();
    assert_eq!(run(&nested).unwrap().values.len(), 500_003);
    refused(&b"]0".repeat(9 << 20), "holds more than");
    // One list of pairs made into dictionaries many times takes no more memory than once.
    let pairs = [b"](".to_vec(), b"NN\x86".repeat(10_000), b"eq\x00".to_vec()].concat();
    let many = b"0ccollections\nOrderedDict\nh\x00\x85R".repeat(10_000);
    assert!(run(&[pairs, many, b".".to_vec()].concat()).unwrap().values.len() < 60_000);
}

proptest! {
    #[test]
    fn any_program_gives_data_or_an_error(
        codes in proptest::collection::vec(
            proptest::sample::select(b"(.012NIJKLMXUTBC)]}tladesuRbQqhprgjio\x80\x81\x85\x86\x87\x88\x8a\x8c\x8f\x90\x91\x92\x93\x94\x95\x00\x01\x02\n'".to_vec()),
            0..60)
    ) {
        let _ = run(&codes);
    }
}

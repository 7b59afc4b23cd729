//! The reader against sound, broken and hostile files; the writer against the reference crate's.

use super::*;
use ::safetensors::tensor::TensorView;
use proptest::prelude::*;

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn open(bytes: Vec<u8>) -> Result<SafeTensorsFile, Error> {
    SafeTensorsFile::from_bytes("x.safetensors", bytes)
}

/// Opens, and reads every tensor.
fn read_all(bytes: Vec<u8>) -> Result<usize, Error> {
    let file = open(bytes)?;
    for name in file.names() {
        file.read(name)?;
    }
    Ok(file.names().len())
}

fn named(name: &str, shape: &[usize], data: Vec<f32>) -> Named<'static> {
    Named { name: name.into(), shape: shape.to_vec(), data: data.into() }
}

fn refused(bytes: Vec<u8>, parts: &[&str]) {
    let error = read_all(bytes.clone()).unwrap_err().to_string();
    assert!(error.contains("x.safetensors"), "names no file: {error}");
    for part in parts {
        assert!(error.contains(part), "{part:?} not in: {error}");
    }
}

#[test]
fn hostile_headers_are_refused_without_allocating() {
    let tera = r#"{"w":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}"#;
    refused(file(tera, &[0; 16]), &["\"w\"", "0..4000000000000 lie outside the 16 bytes"]);
    let lies = r#"{"w":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,16]}}"#;
    refused(file(lies, &[0; 16]), &["\"w\"", "4000000000000 bytes", "16"]);
    let overflow = r#"{"w":{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,16]}}"#;
    refused(file(overflow, &[0; 16]), &["\"w\"", "beyond any file"]);
    refused(
        file(
            &format!("{{\"w\":{{\"dtype\":\"F32\",\"shape\":[{}],\"data_offsets\":[0,4]}}}}", u128::MAX),
            &[0; 4],
        ),
        &["\"w\""],
    );
    refused(u64::MAX.to_le_bytes().to_vec(), &["claims a header of 18446744073709551615 bytes"]);
    refused(1_000_000u64.to_le_bytes().to_vec(), &["1000000", "cut short"]);
    let nested = "[".repeat(100_000);
    refused(file(&format!("{{\"w\":{nested}"), &[]), &["not JSON"]);
}

#[test]
fn broken_files_are_refused_by_name() {
    refused(vec![], &["too short"]);
    refused(vec![0; 7], &["too short"]);
    refused(file("", &[]), &["not a JSON object"]);
    refused(file("{", &[]), &["not JSON"]);
    refused(file("[]", &[]), &["not a JSON object"]);
    let mut bad_text = file("{}", &[]);
    bad_text[9] = 0xff;
    refused(bad_text, &["not UTF-8"]);
    let overlap = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    refused(file(overlap, &[0; 12]), &["\"b\"", "overlap"]);
    let hole = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#;
    refused(file(hole, &[0; 12]), &["\"b\"", "4 unused bytes"]);
    let backwards = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#;
    refused(file(backwards, &[0; 4]), &["\"a\"", "4..0"]);
    let strange = r#"{"a":{"dtype":"F7","shape":[1],"data_offsets":[0,4]}}"#;
    refused(file(strange, &[0; 4]), &["\"a\"", "F7"]);
    let negative = r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#;
    refused(file(negative, &[0; 4]), &["\"a\""]);
    let whole = r#"{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#;
    refused(file(whole, &[0; 8]), &["\"a\"", "holds I64", "expected one of F32"]);
    let one = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    refused(file(one, &[0; 5]), &["1 bytes", "appended"]);
    refused(file(one, &[0; 3]), &["\"a\"", "3 bytes", "cut short"]);
    refused(file(one, &f32::NAN.to_le_bytes()), &["\"a\"", "NaN at element 0"]);
    let f64s = r#"{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}"#;
    refused(file(f64s, &1e300f64.to_le_bytes()), &["\"a\"", "inf at element 0"]);
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let whole = to_bytes(&[named("a", &[2, 2], vec![1.0; 4]), named("b", &[3], vec![2.0; 3])]).unwrap();
    assert_eq!(read_all(whole.clone()).unwrap(), 2);
    for len in 0..whole.len() {
        assert!(read_all(whole[..len].to_vec()).is_err(), "{len} of {} bytes", whole.len());
    }
}

#[test]
fn half_and_double_precision_are_converted() {
    let header = r#"{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"F16","shape":[1],"data_offsets":[4,6]},"c":{"dtype":"F64","shape":[],"data_offsets":[6,14]}}"#;
    let mut data = Vec::new();
    data.extend([0x80, 0x3f, 0x20, 0xc0]); // 1.0, -2.5
    data.extend([0x00, 0x3e]); // 1.5
    data.extend(0.25f64.to_le_bytes());
    let file = open(file(header, &data)).unwrap();
    assert_eq!(file.read("a").unwrap(), [1.0, -2.5]);
    assert_eq!(file.read("b").unwrap(), [1.5]);
    assert_eq!(file.read("c").unwrap(), [0.25]);
    assert_eq!(file.shape("c"), Some(&[][..]));
    assert_eq!(file.dtype("a").as_deref(), Some("BF16"));
    assert!(matches!(file.read("d"), Err(Error::NoTensor { .. })));
}

#[test]
fn the_writer_agrees_with_the_reference_to_the_byte() {
    let tensors = [
        named("z.weight", &[2, 3], (0..6).map(|x| x as f32).collect()),
        named("a.b", &[0], vec![]),
        named("m", &[], vec![7.0]),
    ];
    let raw: Vec<(String, Vec<u8>, Vec<usize>)> = tensors
        .iter()
        .map(|t| (t.name.clone(), t.data.iter().flat_map(|x| x.to_le_bytes()).collect(), t.shape.clone()))
        .collect();
    let views: Vec<(&str, TensorView)> = raw
        .iter()
        .map(|(name, bytes, shape)| {
            (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        })
        .collect();
    let remark = Some([("format".to_string(), "pt".to_string())].into_iter().collect());
    let reference = ::safetensors::serialize(views, remark).unwrap();
    assert_eq!(to_bytes(&tensors).unwrap(), reference);
}

#[test]
fn a_file_on_disk_reads_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write(&path, &[named("w", &[2], vec![1.0, 2.0])]).unwrap();
    let file = SafeTensorsFile::open(&path).unwrap();
    assert_eq!(file.read("w").unwrap(), [1.0, 2.0]);
    assert_eq!(file.metadata(), [("format".to_string(), "pt".to_string())]);
    assert!(matches!(SafeTensorsFile::open(folder.path()), Err(Error::BadFile { .. })));
}

#[test]
fn what_cannot_be_written_soundly_is_refused() {
    assert!(matches!(to_bytes(&[named("w", &[2], vec![1.0])]), Err(Error::WrongLength { .. })));
    let twice = [named("w", &[1], vec![1.0]), named("w", &[1], vec![1.0])];
    assert!(matches!(to_bytes(&twice), Err(Error::BadTensor { .. })));
    assert!(matches!(to_bytes(&[named("__metadata__", &[1], vec![1.0])]), Err(Error::BadTensor { .. })));
}

proptest! {
    #[test]
    fn any_bytes_give_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_all(bytes);
    }

    #[test]
    fn any_header_is_judged_as_the_reference_judges_it(
        entries in proptest::collection::vec(
            ("[ab]", prop_oneof![Just("F32"), Just("F16"), Just("I64"), Just("F4"), Just("X")],
             proptest::collection::vec(0usize..4, 0..3), 0usize..20, 0usize..20), 0..3),
        data in 0usize..24,
    ) {
        let text: Vec<String> = entries.iter().map(|(name, dtype, shape, start, end)| {
            format!("\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}")
        }).collect();
        let bytes = file(&format!("{{{}}}", text.join(",")), &vec![0; data]);
        let reference = ::safetensors::SafeTensors::deserialize(&bytes).is_ok();
        prop_assert_eq!(open(bytes).is_ok(), reference);
    }

    #[test]
    fn a_flipped_byte_never_panics(at in 0usize..200, value: u8) {
        let mut bytes = to_bytes(&[named("a", &[2, 2], vec![1.0; 4]), named("b", &[3], vec![2.0; 3])]).unwrap();
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = read_all(bytes);
    }

    #[test]
    fn saving_what_was_loaded_gives_the_same_bytes(
        tensors in proptest::collection::btree_map("[a-z.\"é]{1,8}", proptest::collection::vec(-1e30f32..1e30, 0..9), 0..5)
    ) {
        let tensors: Vec<Named> = tensors.into_iter().map(|(name, data)| named(&name, &[data.len()], data)).collect();
        let first = to_bytes(&tensors).unwrap();
        let file = open(first.clone()).unwrap();
        let again: Vec<Named> = file.names()
            .map(|name| named(name, file.shape(name).unwrap(), file.read(name).unwrap())).collect();
        prop_assert_eq!(to_bytes(&again).unwrap(), first);
    }
}

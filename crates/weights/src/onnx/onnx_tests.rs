//! The reader against models that exporters and quantisers wrote (`fixtures/make/weights_onnx.py`), and against broken and
//! hostile ones.

use proptest::prelude::*;

use super::*;
use crate::SafeTensorsFile;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/weights/onnx").join(name)
}

/// Compares a model with what it was exported from; `golden` later ones win. Gives how many tensors the last one had.
fn check(model: &str, golden: &[&str]) -> Onnx {
    let file = Onnx::open(fixture(model)).unwrap();
    let golden: Vec<SafeTensorsFile> =
        golden.iter().map(|name| SafeTensorsFile::open(fixture(name)).unwrap()).collect();
    let mut expected: Vec<&str> = golden.iter().flat_map(|file| file.names()).collect();
    expected.sort_unstable();
    expected.dedup();
    let mut got = file.names();
    got.sort_unstable();
    assert_eq!(got, expected, "{model}");
    for name in got {
        let golden = golden.iter().rev().find(|file| file.shape(name).is_some()).unwrap();
        assert_eq!(file.shape(name), golden.shape(name), "{model}: {name}");
        assert_eq!(file.read(name).unwrap(), golden.read(name).unwrap(), "{model}: {name}");
    }
    file
}

#[test]
fn exported_models_come_out_as_they_were() {
    let older = check("bert.onnx", &["bert.safetensors"]);
    assert_eq!(older.dtype("bert.pooler.dense.weight").as_deref(), Some("F32"));
    let newer = check("bert-newer.onnx", &["bert.safetensors"]);
    let reason = |name: &str| newer.left_out().iter().find(|(own, _)| own == name).map(|(_, reason)| *reason);
    assert_eq!(reason("bert.embeddings.position_ids"), Some("whole numbers: a constant of the graph"));
    assert_eq!(reason("zeros"), Some("a constant of the graph"));
}

#[test]
fn eight_bit_models_come_out_as_their_runtime_has_them() {
    let whole = check("bert-int8.onnx", &["bert.safetensors", "bert-int8.safetensors"]);
    let query = "bert.encoder.layer.0.attention.self.query.weight";
    assert_eq!(whole.dtype(query).as_deref(), Some("U8"));
    let channels = check("bert-channels.onnx", &["bert.safetensors", "bert-channels.safetensors"]);
    assert_eq!(channels.dtype(query).as_deref(), Some("I8"));
}

#[test]
fn four_bit_models_come_out_as_their_runtime_has_them() {
    let middle = check("bert-q4.onnx", &["bert.safetensors", "bert-q4.safetensors"]);
    assert_eq!(middle.dtype("bert.encoder.layer.0.output.dense.weight").as_deref(), Some("U4"));
    check("bert-q4-zeros.onnx", &["bert.safetensors", "bert-q4-zeros.safetensors"]);
}

#[test]
fn parts_of_every_kind_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["parts.onnx", "parts.bin"] {
        std::fs::copy(fixture(name), folder.path().join(name)).unwrap();
    }
    let file = Onnx::open(folder.path().join("parts.onnx")).unwrap();
    let golden = SafeTensorsFile::open(fixture("parts.safetensors")).unwrap();
    for name in golden.names() {
        assert_eq!(file.shape(name), golden.shape(name), "{name}");
        assert_eq!(file.read(name).unwrap(), golden.read(name).unwrap(), "{name}");
    }
    // Whole numbers of which nothing says what they stand for.
    let lone = file.read("lone.weight").unwrap_err();
    assert!(matches!(&lone, Error::WrongDtype { got, .. } if got == "I8"), "{lone}");
    assert_eq!(file.names().len(), golden.names().len() + 1);
    let out: Vec<&str> = file.left_out().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(out, ["embeddings.position_ids", "onnx::Mul_8", "onnx::Unsqueeze_4"]);

    std::fs::write(folder.path().join("parts.bin"), [0; 80]).unwrap();
    let error = Onnx::open(folder.path().join("parts.onnx")).unwrap_err().to_string();
    assert!(error.contains("\"outside.last\"") && error.contains("parts.bin"), "{error}");
    std::fs::remove_file(folder.path().join("parts.bin")).unwrap();
    assert!(matches!(Onnx::open(folder.path().join("parts.onnx")), Err(Error::Read { .. })));
}

/// A field of bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut len = content.len();
    while len > 127 {
        bytes.push(len as u8 | 128);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes.extend(content);
    bytes
}

/// A field of a small number.
fn number(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

/// An initialiser: name, axes, number format, and further fields.
fn tensor(name: &str, dims: &[u8], kind: u8, rest: &[&[u8]]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&dim| number(1, dim)).collect();
    field(5, &[&dims[..], &number(2, kind), &field(8, name.as_bytes()), &rest.concat()].concat())
}

/// A node: operator, name, inputs, and attributes that are small numbers.
fn node(op: &str, name: &str, inputs: &[&str], attributes: &[(&str, u8)]) -> Vec<u8> {
    let mut content: Vec<u8> = inputs.iter().flat_map(|name| field(1, name.as_bytes())).collect();
    content.extend([field(2, b"y"), field(3, name.as_bytes()), field(4, op.as_bytes())].concat());
    for (name, value) in attributes {
        content.extend(field(5, &[field(1, name.as_bytes()), number(3, *value)].concat()));
    }
    field(1, &content)
}

fn model(parts: &[Vec<u8>]) -> Vec<u8> {
    [number(1, 9), field(7, &parts.concat())].concat()
}

/// Opens, and reads everything.
fn read_all(bytes: Vec<u8>) -> Result<usize, Error> {
    let file = Onnx::from_bytes("nowhere/x.onnx", bytes)?;
    for name in file.names() {
        file.read(name)?;
    }
    Ok(file.names().len())
}

fn refused(bytes: Vec<u8>, parts: &[&str]) {
    let error = read_all(bytes).unwrap_err().to_string();
    for part in parts {
        assert!(error.contains(part), "{part:?} not in: {error}");
    }
}

#[test]
fn broken_models_are_refused_by_name() {
    refused(vec![], &["x.onnx", "no graph"]);
    refused(number(1, 9), &["no graph"]);
    refused(vec![0x3a, 200, 1], &["cut short"]);
    refused(vec![0x3b], &["of kind 3"]);
    let one = |parts: &[Vec<u8>], words: &[&str]| refused(model(parts), words);
    let raw = |len: usize| field(9, &vec![0; len]);
    one(
        &[tensor("l.w", &[2, 2], 1, &[&raw(15)])],
        &["x.onnx", "\"l.w\"", "takes 16 bytes, the model holds 15"],
    );
    one(&[tensor("l.w", &[2], 1, &[])], &["\"l.w\"", "holds 0"]);
    one(&[tensor("l.w", &[2], 1, &[&field(4, &[0; 12])])], &["\"l.w\"", "holds 12"]);
    one(&[tensor("l.w", &[2], 10, &[&field(5, &[1, 2, 3])])], &["\"l.w\"", "came with 3 numbers"]);
    one(&[tensor("l.w", &[127; 16], 1, &[&raw(4)])], &["\"l.w\"", "beyond any file"]);
    one(&[tensor("l.w", &[1; 17], 1, &[&raw(4)])], &["more than 16 axes"]);
    let minus = [&[8u8][..], &[0xff; 9], &[1]].concat();
    one(&[tensor("l.w", &[], 1, &[&minus])], &["\"l.w\"", "beyond any file"]);
    one(&[tensor("l.w", &[1], 1, &[&raw(4)]), tensor("l.w", &[1, 1], 1, &[&raw(4)])], &["\"l.w\"", "both"]);
    one(&[tensor("l.w", &[1], 1, &[&number(3, 0)])], &["segments"]);
    one(&[field(15, &[])], &["sparse"]);
    one(&[field(5, &field(8, &[0xff]))], &["not UTF-8"]);
}

#[test]
fn numbers_in_other_files_stay_in_the_folder() {
    let outside = |entries: &[(&str, &str)]| {
        let entries: Vec<u8> = entries
            .iter()
            .flat_map(|(key, value)| {
                field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat())
            })
            .collect();
        model(&[tensor("l.w", &[1], 1, &[&entries, &number(14, 1)])])
    };
    refused(outside(&[]), &["\"l.w\"", "without a name"]);
    for location in ["../secret", "/etc/passwd", "a/b", "..", ""] {
        refused(outside(&[("location", location)]), &["\"l.w\"", "no plain file name"]);
    }
    refused(outside(&[("location", "x.bin"), ("offset", "-1")]), &["\"l.w\"", "offset", "no number"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.bin"), [0; 8]).unwrap();
    let check = |offset: &str, length: &str, part: &str| {
        let bytes = outside(&[("location", "x.bin"), ("offset", offset), ("length", length)]);
        let error = Onnx::from_bytes(folder.path().join("x.onnx"), bytes).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("\"l.w\""), "{error}");
    };
    check("5", "4", "outside \"x.bin\" of 8 bytes");
    check("18446744073709551615", "4", "outside");
    check("0", "3", "is said to be 3");
    check("0", "18446744073709551615", "takes 4 bytes");
}

/// A small sound model with a plain tensor and one of each quantised form.
fn small() -> Vec<u8> {
    let floats = |count: usize| field(9, &1.5f32.to_le_bytes().repeat(count));
    model(&[
        tensor("a.weight", &[2, 3], 1, &[&floats(6)]),
        tensor("b_quantized", &[2, 2], 2, &[&field(9, &[1, 2, 3, 4])]),
        tensor("b_scale", &[2], 1, &[&floats(2)]),
        tensor("onnx::MatMul_1_Q4", &[2, 1, 8], 2, &[&field(9, &[0x12; 16])]),
        tensor("onnx::MatMul_1_scales", &[2], 1, &[&floats(2)]),
        node("DequantizeLinear", "", &["b_quantized", "b_scale"], &[("axis", 0)]),
        node(
            "MatMulNBits",
            "/c/d/MatMul_Q4",
            &["x", "onnx::MatMul_1_Q4", "onnx::MatMul_1_scales"],
            &[("K", 10), ("N", 2), ("bits", 4), ("block_size", 16)],
        ),
    ])
}

#[test]
fn parts_that_do_not_fit_each_other_are_refused() {
    assert_eq!(Onnx::from_bytes("x", small()).unwrap().names(), ["a.weight", "b", "c.d.weight"]);
    assert_eq!(read_all(small()).unwrap(), 3);
    let bytes = field(9, &[0; 16]);
    let floats = |count: usize| field(9, &vec![0; 4 * count]);
    let scaled = |scales: u8, axis: u8, block: u8, words: &[&str]| {
        refused(
            model(&[
                tensor("b_quantized", &[4, 4], 2, &[&bytes]),
                tensor("b_scale", &[scales], 1, &[&floats(scales.into())]),
                node(
                    "DequantizeLinear",
                    "",
                    &["b_quantized", "b_scale"],
                    &[("axis", axis), ("block_size", block)],
                ),
            ]),
            words,
        );
    };
    scaled(3, 0, 0, &["\"b_quantized\"", "scales have shape [3]"]);
    scaled(0, 0, 0, &["\"b_quantized\"", "scales have shape [0]"]);
    scaled(4, 2, 0, &["\"b_quantized\"", "axis 2"]);
    scaled(4, 0, 2, &["\"b_quantized\"", "scales have shape [4]"]);
    let blocks = |sizes: [u8; 4], zeros: u8| {
        let attributes = [("K", sizes[0]), ("N", sizes[1]), ("bits", sizes[2]), ("block_size", sizes[3])];
        model(&[
            tensor("q", &[2, 1, 8], 2, &[&bytes]),
            tensor("s", &[2], 1, &[&floats(2)]),
            tensor("z", &[zeros], 2, &[&field(9, &vec![0; zeros.into()])]),
            node("MatMulNBits", "/c/MatMul", &["x", "q", "s", "z"], &attributes),
        ])
    };
    assert!(read_all(blocks([16, 2, 4, 16], 2)).is_ok());
    for sizes in [
        [0, 2, 4, 16],
        [16, 0, 4, 16],
        [16, 2, 0, 16],
        [16, 2, 4, 0],
        [17, 2, 4, 16],
        [16, 3, 4, 16],
        [16, 2, 3, 16],
        [16, 2, 8, 16],
    ] {
        refused(blocks(sizes, 2), &["\"q\"", "do not fit"]);
    }
    refused(blocks([16, 2, 4, 16], 3), &["\"q\"", "zero points"]);
    // An axis of 0 hides no others, whose product is beyond any number.
    let huge = [&[8u8][..], &[0x80; 8], &[0x40]].concat();
    let empty = [
        tensor("b_quantized", &[0], 2, &[&huge, &huge]),
        tensor("b_scale", &[2], 1, &[&floats(2)]),
        node("DequantizeLinear", "", &["b_quantized", "b_scale"], &[("axis", 0)]),
    ];
    refused(model(&empty), &["\"b_quantized\"", "beyond any file"]);
}

#[test]
fn a_truncated_model_is_refused_at_every_length() {
    let whole = small();
    for len in 0..whole.len() {
        assert!(read_all(whole[..len].to_vec()).is_err(), "{len} of {} bytes", whole.len());
    }
}

#[test]
fn the_ending_tells_the_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, small()).unwrap();
    assert_eq!(crate::Checkpoint::open(folder.path()).unwrap().len(), 3);
    std::fs::write(&path, b"not a model").unwrap();
    assert!(matches!(crate::Checkpoint::open(&path), Err(Error::BadFile { format: "onnx", .. })));
}

proptest! {
    #[test]
    fn a_flipped_byte_never_panics(at: usize, value: u8) {
        let mut bytes = small();
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = read_all(bytes);
    }

    #[test]
    fn a_flipped_byte_of_an_exported_model_never_panics(at: usize, value: u8) {
        let mut bytes = std::fs::read(fixture("parts.onnx")).unwrap();
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(file) = Onnx::from_bytes(fixture("parts.onnx"), bytes) {
            for name in file.names() {
                let _ = file.read(name);
            }
        }
    }

    #[test]
    fn any_bytes_give_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_all(bytes.clone());
        let _ = read_all(model(std::slice::from_ref(&bytes)));
        let _ = read_all(model(&[field(5, &bytes), field(1, &bytes)]));
    }
}

//! Writes ONNX files: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>. Numbers go from where they are into the file.

use std::collections::HashSet;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::computation::{Attribute, Axis, Computation, Constant, Numbers, Port, Step};
use crate::protobuf::{put_bytes, put_key, put_number, put_varint};
use crate::{Error, atomic, convert};

/// Version of the file format that goes with [`OPSET`]: <https://github.com/onnx/onnx/blob/main/docs/Versioning.md>.
const IR_VERSION: u64 = 8;

/// Version of the set of operations: the first that has `LayerNormalization`.
pub const OPSET: u64 = 17;

/// Protocol buffers hold less than two gigabytes.
pub const LIMIT: u64 = i32::MAX as u64;

/// Least bytes of a constant that stands in a file of its own; small ones say shapes, which are asked for before that is read.
const LEAST_OUTSIDE: u64 = 1024;

/// Where numbers begin in that file: at whole pages, so that they can be mapped into memory.
const PAGE: u64 = 4096;

/// Writes a file, atomically: the old file stands until the new one is whole and on disk. What takes two gigabytes or more is
/// written as two files: the graph, and its numbers in one called as it is with `.data` behind it, which is given.
///
/// # Errors
/// [`Error::WrongLength`], [`Error::BadTensor`] for a name that comes twice, [`Error::Write`].
pub fn write(path: impl AsRef<Path>, computation: &Computation) -> Result<Option<PathBuf>, Error> {
    write_within(path, computation, LIMIT)
}

/// The same with another limit to the length of the one file, in bytes.
///
/// # Errors
/// As [`write()`]; [`Error::NoOnnx`] if the graph alone takes more, or for a path that is no text.
pub fn write_within(
    path: impl AsRef<Path>,
    computation: &Computation,
    limit: u64,
) -> Result<Option<PathBuf>, Error> {
    let path = path.as_ref();
    let whole = File::of(path, computation, None)?;
    if whole.len <= limit {
        atomic::write_with(path, |out| whole.write(&mut BufWriter::with_capacity(1 << 20, out)))?;
        return Ok(None);
    }
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(Error::NoOnnx { reason: format!("{} is no name that can be written", path.display()) });
    };
    let name = format!("{name}.data");
    let beside = path.with_file_name(&name);
    let graph = File::of(path, computation, Some(&name))?;
    if graph.len > limit {
        let reason = format!(
            "its graph takes {} bytes without its weights, and a file holds at most {limit}",
            graph.len
        );
        return Err(Error::NoOnnx { reason });
    }
    atomic::write_with(&beside, |out| graph.write_outside(&mut BufWriter::with_capacity(1 << 20, out)))?;
    atomic::write_with(path, |out| graph.write(&mut BufWriter::with_capacity(1 << 20, out)))?;
    Ok(Some(beside))
}

/// The bytes of a file, but for the numbers.
struct File<'c, 'a> {
    /// Up to the first constant.
    head: Vec<u8>,
    /// What stands before the numbers of each constant; and where these begin in the other file, if they stand there.
    constants: Vec<(Vec<u8>, &'c Constant<'a>, Option<u64>)>,
    /// Behind the last constant.
    tail: Vec<u8>,
    /// Bytes of all, with the numbers that stand in it.
    len: u64,
}

impl<'c, 'a> File<'c, 'a> {
    /// With large constants in another file of that name, if one is given.
    fn of(path: &Path, computation: &'c Computation<'a>, beside: Option<&str>) -> Result<Self, Error> {
        let mut names = HashSet::new();
        let mut graph = Vec::new();
        computation.steps.iter().for_each(|step| put_bytes(&mut graph, 1, &step_bytes(step)));
        put_bytes(&mut graph, 2, computation.name.as_bytes());
        let (mut constants, mut len, mut outside) = (Vec::new(), 0, 0u64);
        for constant in &computation.constants {
            if !names.insert(constant.name.as_str()) {
                return Err(Error::BadTensor {
                    path: path.to_path_buf(),
                    tensor: constant.name.clone(),
                    reason: "it was to be written twice".to_string(),
                });
            }
            if constant.numbers.len() != constant.shape.iter().product::<usize>() {
                let (name, shape) = (constant.name.clone(), constant.shape.clone());
                return Err(Error::WrongLength { name, shape, got: constant.numbers.len() });
            }
            let raw = raw_len(&constant.numbers);
            if let Some(name) = beside.filter(|_| raw >= LEAST_OUTSIDE) {
                let start = outside.next_multiple_of(PAGE);
                outside = start + raw;
                let field = outside_field(constant, name, start);
                len += field.len() as u64;
                constants.push((field, constant, Some(start)));
            } else {
                let before = before_numbers(constant);
                len += before.len() as u64 + raw;
                constants.push((before, constant, None));
            }
        }
        let mut ports = Vec::new();
        computation.inputs.iter().for_each(|port| put_bytes(&mut ports, 11, &port_bytes(port)));
        computation.outputs.iter().for_each(|port| put_bytes(&mut ports, 12, &port_bytes(port)));
        let mut head = Vec::new();
        put_number(&mut head, 1, IR_VERSION);
        put_bytes(&mut head, 2, b"topwork");
        put_key(&mut head, 7, 2);
        put_varint(&mut head, len + (graph.len() + ports.len()) as u64);
        head.extend(graph);
        let mut tail = ports;
        let mut opset = Vec::new();
        put_number(&mut opset, 2, OPSET);
        put_bytes(&mut tail, 8, &opset);
        for (key, value) in &computation.notes {
            let mut note = Vec::new();
            put_bytes(&mut note, 1, key.as_bytes());
            put_bytes(&mut note, 2, value.as_bytes());
            put_bytes(&mut tail, 14, &note);
        }
        let len = len + (head.len() + tail.len()) as u64;
        Ok(File { head, constants, tail, len })
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.head)?;
        for (before, constant, outside) in &self.constants {
            out.write_all(before)?;
            if outside.is_none() {
                write_numbers(out, &constant.numbers)?;
            }
        }
        out.write_all(&self.tail)?;
        out.flush()
    }

    /// Writes the other file.
    fn write_outside(&self, out: &mut impl Write) -> io::Result<()> {
        let mut at = 0;
        for (_, constant, start) in &self.constants {
            let Some(start) = *start else { continue };
            out.write_all(&[0; PAGE as usize][..(start - at) as usize])?;
            write_numbers(out, &constant.numbers)?;
            at = start + raw_len(&constant.numbers);
        }
        out.flush()
    }
}

fn write_numbers(out: &mut impl Write, numbers: &Numbers) -> io::Result<()> {
    match numbers {
        Numbers::F32(numbers) => out.write_all(&convert::le_bytes(numbers)),
        Numbers::I64(numbers) => numbers.iter().try_for_each(|number| out.write_all(&number.to_le_bytes())),
    }
}

fn raw_len(numbers: &Numbers) -> u64 {
    numbers.len() as u64
        * match numbers {
            Numbers::F32(_) => 4,
            Numbers::I64(_) => 8,
        }
}

/// A constant's field of the graph, up to its numbers.
fn before_numbers(constant: &Constant) -> Vec<u8> {
    let mut tensor = Vec::new();
    constant.shape.iter().for_each(|&dim| put_number(&mut tensor, 1, dim as u64));
    put_number(&mut tensor, 2, constant.numbers.kind().number().cast_unsigned());
    put_bytes(&mut tensor, 8, constant.name.as_bytes());
    let raw = raw_len(&constant.numbers);
    put_key(&mut tensor, 9, 2);
    put_varint(&mut tensor, raw);
    let mut field = Vec::new();
    put_key(&mut field, 5, 2);
    put_varint(&mut field, tensor.len() as u64 + raw);
    field.extend(tensor);
    field
}

/// A constant's field of the graph, its numbers in another file.
fn outside_field(constant: &Constant, file: &str, start: u64) -> Vec<u8> {
    let mut tensor = Vec::new();
    constant.shape.iter().for_each(|&dim| put_number(&mut tensor, 1, dim as u64));
    put_number(&mut tensor, 2, constant.numbers.kind().number().cast_unsigned());
    put_bytes(&mut tensor, 8, constant.name.as_bytes());
    let len = raw_len(&constant.numbers);
    for (key, value) in [("location", file), ("offset", &start.to_string()), ("length", &len.to_string())] {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, key.as_bytes());
        put_bytes(&mut entry, 2, value.as_bytes());
        put_bytes(&mut tensor, 13, &entry);
    }
    put_number(&mut tensor, 14, 1);
    let mut field = Vec::new();
    put_bytes(&mut field, 5, &tensor);
    field
}

fn step_bytes(step: &Step) -> Vec<u8> {
    let mut node = Vec::new();
    step.inputs.iter().for_each(|name| put_bytes(&mut node, 1, name.as_bytes()));
    put_bytes(&mut node, 2, step.output.as_bytes());
    put_bytes(&mut node, 3, step.name.as_bytes());
    put_bytes(&mut node, 4, step.op.as_bytes());
    for (name, value) in &step.attributes {
        let mut attribute = Vec::new();
        put_bytes(&mut attribute, 1, name.as_bytes());
        let kind = match value {
            Attribute::Float(value) => {
                put_key(&mut attribute, 2, 5);
                attribute.extend(value.to_le_bytes());
                1
            }
            Attribute::Int(value) => {
                put_number(&mut attribute, 3, value.cast_unsigned());
                2
            }
            Attribute::Ints(values) => {
                values.iter().for_each(|value| put_number(&mut attribute, 8, value.cast_unsigned()));
                7
            }
        };
        put_number(&mut attribute, 20, kind);
        put_bytes(&mut node, 5, &attribute);
    }
    node
}

fn port_bytes(port: &Port) -> Vec<u8> {
    let mut shape = Vec::new();
    for axis in &port.shape {
        let mut dim = Vec::new();
        match axis {
            Axis::Size(size) => put_number(&mut dim, 1, *size as u64),
            Axis::Any(name) => put_bytes(&mut dim, 2, name.as_bytes()),
        }
        put_bytes(&mut shape, 1, &dim);
    }
    let mut tensor = Vec::new();
    put_number(&mut tensor, 1, port.kind.number().cast_unsigned());
    put_bytes(&mut tensor, 2, &shape);
    let mut kind = Vec::new();
    put_bytes(&mut kind, 1, &tensor);
    let mut bytes = Vec::new();
    put_bytes(&mut bytes, 1, port.name.as_bytes());
    put_bytes(&mut bytes, 2, &kind);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{Kind, Onnx};
    use crate::{Op, TensorFile};

    fn constant(name: &str, shape: &[usize], numbers: Vec<f32>) -> Constant<'static> {
        Constant { name: name.to_string(), shape: shape.to_vec(), numbers: Numbers::F32(numbers.into()) }
    }

    fn computation() -> Computation<'static> {
        let port = |name: &str, width| Port {
            name: name.to_string(),
            kind: Kind::F32,
            shape: vec![Axis::Any("batch"), Axis::Size(width)],
        };
        let step = |op, inputs: [&str; 2], output: &str| Step {
            op,
            name: format!("/layer/{op}"),
            inputs: inputs.map(str::to_string).to_vec(),
            output: output.to_string(),
            attributes: Vec::new(),
        };
        let axes =
            Constant { name: "Constant_0".into(), shape: vec![2], numbers: Numbers::I64(vec![-1, 300]) };
        let mut last = step("ReduceSum", ["sum", "Constant_0"], "y");
        last.attributes = vec![
            ("keepdims", Attribute::Int(0)),
            ("alpha", Attribute::Float(1.0)),
            ("more", Attribute::Ints(vec![-1, 7])),
        ];
        Computation {
            name: "test".to_string(),
            steps: vec![
                step("MatMul", ["x", "layer.weight_Transposed"], "product"),
                step("Add", ["product", "layer.bias"], "sum"),
                last,
            ],
            constants: vec![
                constant("layer.weight_Transposed", &[2, 3], (0..6).map(|x| x as f32).collect()),
                constant("layer.bias", &[3], vec![0.5, -1.5, f32::MIN]),
                axes,
            ],
            inputs: vec![port("x", 2)],
            outputs: vec![port("y", 3)],
            notes: vec![("key".to_string(), "é".to_string())],
        }
    }

    #[test]
    fn weights_come_back_under_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.onnx");
        let computation = computation();
        write(&path, &computation).unwrap();
        let file = Onnx::open(&path).unwrap();
        assert_eq!(file.names(), ["layer.weight", "layer.bias"]);
        assert_eq!(file.shape("layer.weight"), Some(&[3, 2][..]));
        let turned = Op::Transpose.apply("", &[2, 3], (0..6).map(|x| x as f32).collect()).unwrap();
        assert_eq!(file.read("layer.weight").unwrap(), turned);
        assert_eq!(file.read("layer.bias").unwrap(), [0.5, -1.5, f32::MIN]);
        assert_eq!(file.left_out().len(), 1);
        let first = std::fs::read(&path).unwrap();
        write(&path, &computation).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first, "the same bytes again");
    }

    #[test]
    fn numbers_of_the_computation_are_no_weights() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.onnx");
        let mut computation = computation();
        computation.constants.push(constant("Constant_1", &[3], vec![1.0, 0.1, 0.01]));
        write(&path, &computation).unwrap();
        let file = Onnx::open(&path).unwrap();
        assert_eq!(file.names(), ["layer.weight", "layer.bias"]);
        assert_eq!(file.left_out()[1], ("Constant_1".to_string(), "a constant of the graph"));
    }

    #[test]
    fn the_bytes_are_those_of_the_reference_library() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.onnx");
        write(&path, &computation()).unwrap();
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/onnx/written.onnx");
        assert!(std::fs::read(&path).unwrap() == std::fs::read(golden).unwrap());
    }

    #[test]
    fn what_no_file_can_hold_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.onnx");
        let mut bad = computation();
        bad.constants[1].shape = vec![4];
        assert!(matches!(write(&path, &bad), Err(Error::WrongLength { .. })));
        let mut bad = computation();
        bad.constants[1].name = "layer.weight_Transposed".to_string();
        assert!(write(&path, &bad).unwrap_err().to_string().contains("written twice"));
        let error = write_within(&path, &computation(), 100).unwrap_err().to_string();
        assert!(error.contains("bytes without its weights, and a file holds at most 100"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn what_one_file_cannot_hold_stands_in_two() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.onnx");
        let mut large = computation();
        for (name, len) in [("first", 300), ("second", 1500)] {
            large.constants.push(constant(name, &[len], (0..len).map(|x| x as f32).collect()));
        }
        assert_eq!(write(&path, &large).unwrap(), None);
        let whole = Onnx::open(&path).unwrap();
        let len = std::fs::metadata(&path).unwrap().len();
        assert_eq!(write_within(&path, &large, len).unwrap(), None, "it just fits");
        let beside = write_within(&path, &large, len - 1).unwrap().unwrap();
        assert_eq!(beside, folder.path().join("a.onnx.data"));
        // Each begins at a page.
        assert_eq!(std::fs::metadata(&beside).unwrap().len(), 4096 + 1500 * 4);
        let parted = Onnx::open(&path).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() < len - 1800 * 4 + 200);
        assert_eq!(parted.names(), whole.names());
        for name in whole.names() {
            assert_eq!(parted.read(name).unwrap(), whole.read(name).unwrap(), "{name}");
        }
        std::fs::remove_file(beside).unwrap();
        assert!(Onnx::open(&path).unwrap_err().to_string().contains("a.onnx.data"));
    }
}

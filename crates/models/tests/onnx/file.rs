//! Reads the graph of an ONNX file: all of it, where the reader of `topwork_weights` asks for weights alone.

use std::collections::BTreeMap;

use crate::array::{Array, Kind};

/// A graph.
#[derive(Debug, Default)]
pub struct Graph {
    pub opset: u64,
    pub nodes: Vec<Node>,
    pub constants: BTreeMap<String, Array>,
    /// Names, kinds and shapes; an axis of any length has its name.
    pub inputs: Vec<(String, u64, Vec<String>)>,
    pub outputs: Vec<(String, u64, Vec<String>)>,
    pub notes: BTreeMap<String, String>,
}

/// A step.
#[derive(Debug, Default)]
pub struct Node {
    pub op: String,
    pub name: String,
    pub inputs: Vec<String>,
    pub output: String,
    pub ints: BTreeMap<String, Vec<i64>>,
    pub floats: BTreeMap<String, f32>,
}

impl Node {
    pub fn int(&self, name: &str) -> Option<i64> {
        self.ints.get(name).map(|values| values[0])
    }
}

/// The content of a field: a whole number, or bytes.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn number(self) -> u64 {
        if let Field::Number(number) = self { number } else { panic!("bytes in the place of a number") }
    }

    fn bytes(self) -> &'a [u8] {
        if let Field::Bytes(bytes) = self { bytes } else { panic!("a number in the place of bytes") }
    }

    fn text(self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 127) << shift;
        shift += 7;
        if byte < 128 {
            return value;
        }
    }
}

/// The fields of a message, each with its number.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            wire @ (2 | 5) => {
                let len = if wire == 2 { varint(&mut bytes) as usize } else { 4 };
                let (field, rest) = bytes.split_at(len);
                bytes = rest;
                Field::Bytes(field)
            }
            wire => panic!("a field laid out as {wire}"),
        };
        found.push((key >> 3, field));
    }
    found
}

/// The graph of a file.
pub fn read(bytes: &[u8]) -> Graph {
    let mut graph = Graph::default();
    for (number, field) in fields(bytes) {
        match number {
            1 => assert_eq!(field.number(), 8),
            2 => assert_eq!(field.bytes(), b"topwork"),
            7 => fields(field.bytes()).into_iter().for_each(|(number, field)| graph.part(number, field)),
            8 => graph.opset = fields(field.bytes()).pop().unwrap().1.number(),
            14 => {
                let mut note = fields(field.bytes()).into_iter().map(|(_, field)| field.text());
                graph.notes.insert(note.next().unwrap(), note.next().unwrap());
            }
            other => panic!("field {other} of a model"),
        }
    }
    graph
}

impl Graph {
    fn part(&mut self, number: u64, field: Field) {
        match number {
            1 => self.nodes.push(node(field.bytes())),
            2 => assert!(!field.text().is_empty()),
            5 => {
                let (name, array) = constant(field.bytes());
                assert!(self.constants.insert(name, array).is_none());
            }
            11 => self.inputs.push(port(field.bytes())),
            12 => self.outputs.push(port(field.bytes())),
            other => panic!("field {other} of a graph"),
        }
    }
}

fn node(bytes: &[u8]) -> Node {
    let mut node = Node::default();
    for (number, field) in fields(bytes) {
        match number {
            1 => node.inputs.push(field.text()),
            2 => node.output = field.text(),
            3 => node.name = field.text(),
            4 => node.op = field.text(),
            5 => {
                let (mut name, mut ints, mut float, mut kind) = (String::new(), Vec::new(), None, 0);
                for (number, field) in fields(field.bytes()) {
                    match number {
                        1 => name = field.text(),
                        2 => float = Some(f32::from_le_bytes(field.bytes().try_into().unwrap())),
                        3 | 8 => ints.push(field.number().cast_signed()),
                        20 => kind = field.number(),
                        other => panic!("field {other} of an attribute"),
                    }
                }
                match (kind, float) {
                    (1, Some(float)) => assert!(node.floats.insert(name, float).is_none()),
                    (2 | 7, None) => assert!(node.ints.insert(name, ints).is_none()),
                    other => panic!("an attribute of kind {other:?}"),
                }
            }
            other => panic!("field {other} of a node"),
        }
    }
    node
}

fn constant(bytes: &[u8]) -> (String, Array) {
    let (mut name, mut shape, mut kind, mut raw) = (String::new(), Vec::new(), 0, Vec::new());
    for (number, field) in fields(bytes) {
        match number {
            1 => shape.push(field.number() as usize),
            2 => kind = field.number(),
            8 => name = field.text(),
            9 => raw = field.bytes().to_vec(),
            other => panic!("field {other} of a tensor"),
        }
    }
    let array = match kind {
        1 => {
            let number = |bytes: &[u8]| f64::from(f32::from_le_bytes(bytes.try_into().unwrap()));
            Array::new(shape, Kind::Real, raw.chunks(4).map(number).collect())
        }
        7 => {
            let number = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().unwrap()) as f64;
            Array::new(shape, Kind::Whole, raw.chunks(8).map(number).collect())
        }
        other => panic!("a tensor of kind {other}"),
    };
    (name, array)
}

fn port(bytes: &[u8]) -> (String, u64, Vec<String>) {
    let mut parts = fields(bytes).into_iter();
    let name = parts.next().unwrap().1.text();
    let (_, kind) = fields(parts.next().unwrap().1.bytes()).pop().unwrap();
    let mut tensor = fields(kind.bytes()).into_iter();
    let (kind, shape) = (tensor.next().unwrap().1.number(), tensor.next().unwrap().1.bytes());
    let axis = |field: Field| match fields(field.bytes()).pop().unwrap() {
        (1, size) => size.number().to_string(),
        (2, name) => name.text(),
        (other, _) => panic!("field {other} of an axis"),
    };
    (name, kind, fields(shape).into_iter().map(|(_, field)| axis(field)).collect())
}

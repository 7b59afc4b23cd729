//! The parts of an ONNX model that tell what its weights are: initialisers and nodes.
//! <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>

use super::wire::{Span, Wire, fields, text, varints};
use crate::Error;
use crate::cursor::Cursor;

/// Nodes, names, axes and so on in all, at most: far above any model, and what keeps a hostile file's lists short.
const ENTRIES: usize = 4_000_000;

/// Axes of a tensor, at most.
const AXES: usize = 16;

/// A computation with its constants.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) tensors: Vec<Tensor>,
    pub(super) nodes: Vec<Node>,
    entries: usize,
}

/// A constant.
#[derive(Clone, Debug, Default)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// ONNX's number of the number format.
    pub(super) kind: u64,
    pub(super) data: Data,
    /// Whether it is a node of the graph rather than an initialiser.
    pub(super) is_node: bool,
}

impl Tensor {
    /// How many numbers it has, or more than any file can hold.
    pub(super) fn count(&self) -> usize {
        self.shape.iter().fold(1, |count: usize, &dim| count.saturating_mul(dim))
    }
}

/// Where a constant's numbers are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Data {
    #[default]
    None,
    /// Little-endian, as in memory.
    Raw(Span),
    /// Four or eight bytes each.
    Fixed(Vec<Span>),
    /// Seven bits to a byte.
    Varints(Vec<Span>),
    /// In another file.
    External {
        location: String,
        offset: u64,
        /// To the file's end where the model does not say.
        len: Option<u64>,
    },
}

/// A step of the computation.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) op: String,
    pub(super) name: String,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    /// Attributes that are whole numbers.
    pub(super) numbers: Vec<(String, i64)>,
}

impl Node {
    /// Input `at`, nothing where it is left out.
    pub(super) fn input(&self, at: usize) -> &str {
        self.inputs.get(at).map_or("", String::as_str)
    }

    /// A whole number of the node.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.numbers.iter().find(|(own, _)| own == name).map(|&(_, value)| value)
    }
}

/// Reads a model's graph; the numbers stay where they are.
pub(super) fn read(cursor: &mut Cursor) -> Result<Graph, Error> {
    let mut graph = Graph::default();
    let (end, mut found) = (cursor.remaining(), false);
    fields(cursor, end, |cursor, number, wire| match (number, wire) {
        (7, Wire::Bytes(span)) => {
            found = true;
            read_graph(cursor, span, &mut graph)
        }
        _ => Ok(()),
    })?;
    if found { Ok(graph) } else { Err(cursor.bad("it holds no graph")) }
}

fn read_graph(cursor: &mut Cursor, span: Span, graph: &mut Graph) -> Result<(), Error> {
    fields(cursor, span.start + span.len, |cursor, number, wire| {
        match (number, wire) {
            (1, Wire::Bytes(span)) => {
                graph.count(cursor, 1)?;
                let node = read_node(cursor, span, graph)?;
                graph.nodes.push(node);
            }
            (5, Wire::Bytes(span)) => {
                graph.count(cursor, 1)?;
                let tensor = read_tensor(cursor, span, graph)?;
                graph.tensors.push(tensor);
            }
            (15, _) => return Err(cursor.bad("it holds sparse initialisers, which are not read here")),
            _ => {}
        }
        Ok(())
    })
}

impl Graph {
    fn count(&mut self, cursor: &Cursor, more: usize) -> Result<(), Error> {
        self.entries += more;
        if self.entries <= ENTRIES {
            return Ok(());
        }
        Err(cursor.bad(format!("its graph has more than {ENTRIES} entries")))
    }
}

fn read_node(cursor: &mut Cursor, span: Span, graph: &mut Graph) -> Result<Node, Error> {
    let (mut node, mut constant) = (Node::default(), None);
    fields(cursor, span.start + span.len, |cursor, number, wire| {
        graph.count(cursor, 1)?;
        match (number, wire) {
            (1, _) => node.inputs.push(text(cursor, wire)?),
            (2, _) => node.outputs.push(text(cursor, wire)?),
            (3, _) => node.name = text(cursor, wire)?,
            (4, _) => node.op = text(cursor, wire)?,
            (5, Wire::Bytes(span)) => {
                let (mut name, mut value, mut tensor) = (String::new(), None, None);
                fields(cursor, span.start + span.len, |cursor, number, wire| {
                    match (number, wire) {
                        (1, _) => name = text(cursor, wire)?,
                        (3, Wire::Varint(number, _)) => value = Some(number.cast_signed()),
                        (5, Wire::Bytes(span)) => tensor = Some(read_tensor(cursor, span, graph)?),
                        _ => {}
                    }
                    Ok(())
                })?;
                if name == "value" && tensor.is_some() {
                    constant = tensor;
                } else if let Some(value) = value {
                    node.numbers.push((name, value));
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    // A constant that is a node serves like an initialiser of that name.
    if node.op == "Constant"
        && let (Some(mut tensor), Some(name)) = (constant, node.outputs.first())
    {
        tensor.name = name.clone();
        tensor.is_node = true;
        graph.tensors.push(tensor);
    }
    Ok(node)
}

fn read_tensor(cursor: &mut Cursor, span: Span, graph: &mut Graph) -> Result<Tensor, Error> {
    let mut tensor = Tensor::default();
    let (mut raw, mut fixed, mut packed) = (None, Vec::new(), Vec::new());
    let (mut external, mut elsewhere) = (Vec::new(), false);
    let mut dims: Vec<u64> = Vec::new();
    fields(cursor, span.start + span.len, |cursor, number, wire| {
        match (number, wire) {
            (1, Wire::Varint(dim, _)) => dims.push(dim),
            (1, Wire::Bytes(span)) if span.len <= 10 * AXES as u64 => {
                dims.extend(varints(&cursor.bytes("a shape", span.len)?));
            }
            (2, _) => tensor.kind = wire.number(),
            (3, _) => return Err(cursor.bad("it holds a tensor in segments, which are not read here")),
            (4 | 10, _) => {
                graph.count(cursor, 1)?;
                fixed.push(wire.span());
            }
            (5 | 7 | 11, _) => {
                graph.count(cursor, 1)?;
                packed.push(wire.span());
            }
            (8, _) => tensor.name = text(cursor, wire)?,
            (9, Wire::Bytes(span)) => raw = Some(span),
            (13, Wire::Bytes(span)) => {
                graph.count(cursor, 1)?;
                let (mut key, mut value) = (String::new(), String::new());
                fields(cursor, span.start + span.len, |cursor, number, wire| {
                    match number {
                        1 => key = text(cursor, wire)?,
                        2 => value = text(cursor, wire)?,
                        _ => {}
                    }
                    Ok(())
                })?;
                external.push((key, value));
            }
            (14, _) => elsewhere = wire.number() == 1,
            _ => {}
        }
        if dims.len() > AXES {
            Err(cursor.bad(format!("it holds a tensor of more than {AXES} axes")))
        } else {
            Ok(())
        }
    })?;
    let bad = |reason: String| Error::BadTensor {
        path: cursor.path().to_path_buf(),
        tensor: tensor.name.clone(),
        reason,
    };
    tensor.shape = dims
        .iter()
        .map(|&dim| usize::try_from(dim.cast_signed()))
        .collect::<Result<_, _>>()
        .map_err(|_| bad(format!("its shape {dims:?} is beyond any file")))?;
    tensor.data = if elsewhere {
        let get = |key: &str| external.iter().find(|(own, _)| own == key).map(|(_, value)| value);
        let number = |key: &str| {
            let value = get(key).map(|value| value.parse::<u64>());
            value.transpose().map_err(|_| bad(format!("the {key} of its external data is no number")))
        };
        let location =
            get("location").ok_or_else(|| bad("it lies in another file without a name".to_string()))?;
        Data::External {
            location: location.clone(),
            offset: number("offset")?.unwrap_or(0),
            len: number("length")?,
        }
    } else if let Some(span) = raw {
        Data::Raw(span)
    } else if !fixed.is_empty() {
        Data::Fixed(fixed)
    } else if !packed.is_empty() {
        Data::Varints(packed)
    } else {
        Data::None
    };
    Ok(tensor)
}

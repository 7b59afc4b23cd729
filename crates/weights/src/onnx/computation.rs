//! A computation as it is written into an ONNX file: steps in the order they run, the constants they use, and what goes in and
//! comes out.

use std::borrow::Cow;

/// A computation with everything it needs.
#[derive(Clone, Debug, Default)]
pub struct Computation<'a> {
    /// Its name.
    pub name: String,
    /// Its steps; each uses only inputs, constants and what steps before it made.
    pub steps: Vec<Step>,
    /// Weights, and the numbers that belong to the computation itself.
    pub constants: Vec<Constant<'a>>,
    /// What a caller gives.
    pub inputs: Vec<Port>,
    /// What a caller gets.
    pub outputs: Vec<Port>,
    /// What else a reader should know, by name.
    pub notes: Vec<(String, String)>,
}

/// One operation of ONNX's own set, version [`OPSET`](super::OPSET).
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The operation, e.g. `MatMul`.
    pub op: &'static str,
    /// A name nothing else has.
    pub name: String,
    /// Names of what it uses.
    pub inputs: Vec<String>,
    /// The name of what it makes.
    pub output: String,
    /// Its settings.
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// A setting of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A real number.
    Float(f32),
    /// A whole number.
    Int(i64),
    /// Whole numbers.
    Ints(Vec<i64>),
}

/// Numbers that are part of the file.
#[derive(Clone, Debug)]
pub struct Constant<'a> {
    /// A name nothing else has.
    pub name: String,
    /// Its shape; none of one number.
    pub shape: Vec<usize>,
    /// Its numbers, row-major.
    pub numbers: Numbers<'a>,
}

/// Numbers of one kind.
#[derive(Clone, Debug)]
pub enum Numbers<'a> {
    /// Real ones.
    F32(Cow<'a, [f32]>),
    /// Whole ones.
    I64(Vec<i64>),
}

impl Numbers<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Numbers::F32(numbers) => numbers.len(),
            Numbers::I64(numbers) => numbers.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which kind they are of.
    pub fn kind(&self) -> Kind {
        match self {
            Numbers::F32(_) => Kind::F32,
            Numbers::I64(_) => Kind::I64,
        }
    }
}

/// A kind of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Real numbers of 32 bits.
    F32,
    /// Whole numbers of 64 bits.
    I64,
    /// Yes or no.
    Bool,
}

impl Kind {
    /// ONNX's number of the kind, which `Cast` is told too.
    pub fn number(self) -> i64 {
        match self {
            Kind::F32 => 1,
            Kind::I64 => 7,
            Kind::Bool => 9,
        }
    }
}

/// Something that goes in or comes out.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// What its numbers are.
    pub kind: Kind,
    /// Its shape.
    pub shape: Vec<Axis>,
}

/// An axis of something that goes in or comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// As long as the caller wants, and as long as every other of that name.
    Any(&'static str),
    /// As long as this.
    Size(usize),
}

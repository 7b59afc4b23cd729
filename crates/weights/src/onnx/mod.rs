//! ONNX models in: the weights among their initialisers. And out: a [`Computation`], which [`write()`] puts into a file.
//!
//! Format: protocol buffers, <https://github.com/onnx/onnx/blob/main/docs/IR.md>. There is no magic number, so the name's
//! ending tells the format. Nothing of the graph is run: it is only asked what the initialisers are, so that a weight has the
//! name and the shape it had before the export, and numbers of few bits become real ones (per tensor, per axis, in blocks, as
//! `DequantizeLinear`, `MatMulNBits` and their relations define them).
//!
//! Left out are the graph's own constants, above all whole numbers: shapes, indices, axes ([`Onnx::left_out`]). A tensor whose
//! name says nothing and that no node tells of keeps its name. Initialisers within the bodies of loops and branches are not
//! looked for. Fused operators of optimised graphs (`Attention`) keep their own names and shapes.

mod computation;
mod graph;
mod numbers;
mod weights;
mod wire;
mod write;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::cursor::Cursor;
use crate::format::Format;
use crate::source::Source;
use crate::{Error, Op, TensorFile, folder};

use graph::{Data, Tensor};
use numbers::{Blocks, Scaling};
use weights::{Form, Weight};
use wire::Span;

pub use computation::{Attribute, Axis, Computation, Constant, Kind, Numbers, Port, Step};
pub use write::{LIMIT, OPSET, write, write_within};

/// The entry of ONNX.
pub const FORMAT: Format = Format {
    name: "onnx",
    summary: "the initialisers of a graph, quantised ones included",
    link: "https://github.com/onnx/onnx/blob/main/docs/IR.md",
    files: &["model.onnx", "*.onnx"],
    // Field 1, the version of the format, which stands first.
    is: |path, head| head.first() == Some(&8) && path.extension().is_some_and(|ending| ending == "onnx"),
    open: |path| Ok(Box::new(Onnx::open(path)?)),
};

/// An open ONNX model: its graph read, the numbers still on disk.
#[derive(Debug)]
pub struct Onnx {
    path: PathBuf,
    source: Source,
    /// Files beside the model that hold numbers, by name, and how long they are.
    others: HashMap<String, (Source, u64)>,
    tensors: Vec<Tensor>,
    /// Where the bytes of each tensor lie in a file of `others`.
    outside: HashMap<usize, (String, Span)>,
    weights: Vec<(Weight, Layout)>,
    by_name: HashMap<String, usize>,
    left_out: Vec<(String, &'static str)>,
}

/// A weight's shape and how its numbers come about.
#[derive(Debug)]
struct Layout {
    shape: Vec<usize>,
    decode: Decode,
}

#[derive(Debug)]
enum Decode {
    Plain,
    Scaled(Scaling),
    Blocks(Blocks),
}

impl Onnx {
    /// Opens a model, checks what it says of its initialisers, and finds the files beside it that hold some of them.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::BadFile`], [`Error::BadTensor`].
    pub fn open(path: impl AsRef<Path>) -> Result<Onnx, Error> {
        let path = path.as_ref();
        let (source, len) = open_file(path)?;
        Onnx::from_source(path, source, len)
    }

    /// The same for a model already in memory; beside `path` lie the files it names.
    ///
    /// # Errors
    /// As [`Onnx::open`].
    pub fn from_bytes(path: impl AsRef<Path>, bytes: Vec<u8>) -> Result<Onnx, Error> {
        let len = bytes.len() as u64;
        Onnx::from_source(path.as_ref(), Source::Bytes(bytes), len)
    }

    fn from_source(path: &Path, source: Source, len: u64) -> Result<Onnx, Error> {
        let graph = graph::read(&mut Cursor::new(&source, path, "onnx", len))?;
        let found = weights::find(&graph);
        let mut file = Onnx {
            path: path.to_path_buf(),
            source,
            others: HashMap::new(),
            tensors: graph.tensors,
            outside: HashMap::new(),
            weights: Vec::new(),
            by_name: HashMap::new(),
            left_out: found.left_out,
        };
        for weight in found.weights {
            file.check_data(weight.data)?;
            if let Form::Scaled { scale, zero, .. } | Form::Blocks { scale, zero, .. } = weight.form {
                file.check_data(scale)?;
                zero.map_or(Ok(()), |zero| file.check_data(zero))?;
            }
            let layout = file.layout(&weight)?;
            if let Some(first) = file.by_name.insert(weight.name.clone(), file.weights.len()) {
                let other = &file.tensors[file.weights[first].0.data].name;
                let reason = format!("both it and \"{other}\" are \"{}\"", weight.name);
                return Err(file.bad(weight.data, reason));
            }
            file.weights.push((weight, layout));
        }
        Ok(file)
    }

    /// Initialisers that are no weights of the model, each with the reason.
    pub fn left_out(&self) -> &[(String, &'static str)] {
        &self.left_out
    }

    fn bad(&self, tensor: usize, reason: impl Into<String>) -> Error {
        let tensor = self.tensors[tensor].name.clone();
        Error::BadTensor { path: self.path.clone(), tensor, reason: reason.into() }
    }

    /// Numbers of a tensor, or `None` beyond any file.
    fn count(&self, at: usize) -> Option<usize> {
        // An axis of 0 must not hide what the others claim.
        let shape = &self.tensors[at].shape;
        let claimed = shape.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim.max(1)));
        claimed.map(|count| if shape.contains(&0) { 0 } else { count })
    }

    /// Compares a tensor's shape with its bytes, and finds them.
    fn check_data(&mut self, at: usize) -> Result<(), Error> {
        let tensor = &self.tensors[at];
        let Some(bits) = numbers::bits(tensor.kind) else {
            return Err(self.bad(at, format!("its numbers are of kind {}, which is unknown", tensor.kind)));
        };
        let beyond = || self.bad(at, format!("shape {:?} is beyond any file", tensor.shape));
        let count = self.count(at).ok_or_else(beyond)? as u64;
        let expected = count.checked_mul(bits).ok_or_else(beyond)?.div_ceil(8);
        let got = match &tensor.data {
            Data::None => 0,
            Data::Raw(span) => span.len,
            Data::Fixed(spans) => spans.iter().map(|span| span.len).sum(),
            // Each number takes a byte at least; how many there are is seen when they are read.
            Data::Varints(spans) => {
                expected.min(spans.iter().map(|span| span.len).sum::<u64>() * bits.div_ceil(8))
            }
            Data::External { location, offset, len } => {
                let (location, offset, len) = (location.clone(), *offset, *len);
                return self.check_outside(at, location, offset, len, expected);
            }
        };
        if got == expected {
            return Ok(());
        }
        let (name, shape) = (numbers::name(tensor.kind), &tensor.shape);
        Err(self.bad(at, format!("{name} of shape {shape:?} takes {expected} bytes, the model holds {got}")))
    }

    /// The same for a tensor in a file beside the model.
    fn check_outside(
        &mut self,
        at: usize,
        location: String,
        offset: u64,
        len: Option<u64>,
        expected: u64,
    ) -> Result<(), Error> {
        // The model comes from elsewhere: it may not point outside its folder.
        if !folder::is_plain(&location) {
            return Err(
                self.bad(at, format!("it is said to lie in \"{location}\", which is no plain file name"))
            );
        }
        let held = match self.others.get(&location) {
            Some((_, held)) => *held,
            None => {
                let (source, held) = open_file(&self.path.with_file_name(&location))?;
                self.others.insert(location.clone(), (source, held));
                held
            }
        };
        let len = len.unwrap_or_else(|| held.saturating_sub(offset));
        if len != expected {
            return Err(
                self.bad(at, format!("it takes {expected} bytes and is said to be {len} in \"{location}\""))
            );
        }
        if offset.checked_add(len).is_none_or(|end| end > held) {
            let reason =
                format!("its {len} bytes at {offset} lie outside \"{location}\" of {held} bytes: cut short?");
            return Err(self.bad(at, reason));
        }
        self.outside.insert(at, (location, Span { start: offset, len }));
        Ok(())
    }

    /// A weight's shape, and whether its parts fit each other.
    fn layout(&self, weight: &Weight) -> Result<Layout, Error> {
        let shape = self.tensors[weight.data].shape.clone();
        let fail = |reason: String| Err(self.bad(weight.data, reason));
        let (mut shape, decode) = match weight.form {
            Form::Plain => (shape, Decode::Plain),
            Form::Scaled { scale, zero, axis, block } => {
                let scaling = match self.scaling(&shape, scale, axis, block) {
                    Ok(scaling) => scaling,
                    Err(reason) => return fail(reason),
                };
                if zero.is_some_and(|zero| self.count(zero) != self.count(scale)) {
                    return fail("its zero points are not as many as its scales".to_string());
                }
                (shape, Decode::Scaled(scaling))
            }
            Form::Blocks { regrouped: true, .. } => {
                return fail("its columns are regrouped (g_idx), which is not read here".to_string());
            }
            Form::Blocks { scale, zero, rows, cols, block, bits, .. } => {
                match self.blocks([rows, cols, block, bits], weight.data, scale, zero) {
                    Ok(blocks) => (vec![blocks.rows, blocks.cols], Decode::Blocks(blocks)),
                    Err(reason) => return fail(reason),
                }
            }
        };
        if weight.transposed {
            match shape.as_slice() {
                &[rows, cols] => shape = vec![cols, rows],
                _ => return fail(format!("it is multiplied by and has shape {shape:?}, expected two axes")),
            }
        }
        Ok(Layout { shape, decode })
    }

    fn scaling(&self, shape: &[usize], scale: usize, axis: i64, block: i64) -> Result<Scaling, String> {
        let scales = &self.tensors[scale];
        let count = self.count(scale).unwrap_or(0);
        if block == 0 && count == 1 {
            return Ok(Scaling { axis: 1, inner: 1, block: 0, scales: 1, across: false });
        }
        let place = if axis < 0 { axis.saturating_add(shape.len() as i64) } else { axis };
        let place = usize::try_from(place).ok().filter(|&place| place < shape.len());
        let place =
            place.ok_or_else(|| format!("its scales are for axis {axis} and it has shape {shape:?}"))?;
        let inner = shape[place + 1..].iter().product::<usize>();
        let axis = shape[place];
        let unfit = || format!("its scales have shape {:?} and it has {shape:?}", scales.shape);
        if block == 0 {
            return match count == axis && count > 0 {
                true => Ok(Scaling { axis, inner, block: 1, scales: count, across: false }),
                false => Err(unfit()),
            };
        }
        let block = usize::try_from(block).map_err(|_| unfit())?;
        let mut expected = shape.to_vec();
        expected[place] = axis.div_ceil(block);
        if scales.shape != expected {
            return Err(unfit());
        }
        Ok(Scaling { axis, inner, block, scales: expected[place], across: true })
    }

    /// Blocks of `[rows, columns, block, bits]`.
    fn blocks(
        &self,
        sizes: [i64; 4],
        data: usize,
        scale: usize,
        zero: Option<usize>,
    ) -> Result<Blocks, String> {
        let unfit = || {
            let [rows, cols, block, bits] = sizes;
            let (data, scale) = (&self.tensors[data].shape, &self.tensors[scale].shape);
            format!(
                "{rows} rows of {cols} numbers of {bits} bits in blocks of {block} do not fit its shape {data:?} and its scales' {scale:?}"
            )
        };
        let sizes = sizes.map(|size| usize::try_from(size).ok().filter(|&size| size > 0));
        let [Some(rows), Some(cols), Some(block), Some(bits @ (2 | 4 | 8))] = sizes else {
            return Err(unfit());
        };
        let blocks = Blocks { rows, cols, block, bits };
        if block * bits % 8 != 0 || self.tensors[data].kind != 2 {
            return Err(unfit());
        }
        let all = rows.checked_mul(blocks.per_row()).ok_or_else(unfit)?;
        // A table's rows hold no more than their numbers; a product's fill their last block up.
        let bytes =
            all.checked_mul(block).and_then(|numbers| numbers.checked_mul(bits)).ok_or_else(unfit)? / 8;
        if self.count(data) != Some(bytes) || self.count(scale) != Some(all) {
            return Err(unfit());
        }
        let packed = rows * (blocks.per_row() * bits).div_ceil(8);
        match zero.map(|zero| (self.tensors[zero].kind, self.count(zero))) {
            None => Ok(blocks),
            Some((2, Some(count))) if count == packed => Ok(blocks),
            Some((kind, Some(count))) if count == all && numbers::is_real(kind) => Ok(blocks),
            Some(_) => Err("its zero points do not fit its blocks".to_string()),
        }
    }

    /// The bytes of a tensor, little-endian, as many as its shape and number format take.
    fn bytes(&self, at: usize) -> Result<Vec<u8>, Error> {
        let tensor = &self.tensors[at];
        let read = |source: &Source, span: Span| {
            let mut bytes = vec![0; span.len as usize];
            let read = source.read_at(span.start, &mut bytes);
            read.map(|()| bytes).map_err(|source| Error::Read { path: self.path.clone(), source })
        };
        let spans = match &tensor.data {
            Data::None => return Ok(Vec::new()),
            Data::Raw(span) => return read(&self.source, *span),
            Data::External { .. } => {
                let found =
                    self.outside.get(&at).and_then(|(name, span)| Some((&self.others.get(name)?.0, *span)));
                return found.map_or(Ok(Vec::new()), |(source, span)| read(source, span));
            }
            Data::Fixed(spans) | Data::Varints(spans) => spans,
        };
        let mut bytes = Vec::new();
        for span in spans {
            bytes.extend(read(&self.source, *span)?);
        }
        if let Data::Fixed(_) = tensor.data {
            return Ok(bytes);
        }
        let width = numbers::bits(tensor.kind).unwrap_or(8).div_ceil(8) as usize;
        let values = wire::varints(&bytes);
        let expected =
            (self.count(at).unwrap_or(0) * numbers::bits(tensor.kind).unwrap_or(8) as usize).div_ceil(8);
        if values.len() * width != expected {
            let (name, shape) = (numbers::name(tensor.kind), &tensor.shape);
            let reason = format!("{name} of shape {shape:?} came with {} numbers", values.len());
            return Err(self.bad(at, reason));
        }
        Ok(values.iter().flat_map(|value| value.to_le_bytes()[..width.min(8)].to_vec()).collect())
    }

    /// A tensor's numbers, whole ones as they are.
    fn numbers(&self, at: usize) -> Result<Vec<f32>, Error> {
        let (tensor, bytes) = (&self.tensors[at], self.bytes(at)?);
        numbers::to_f32(tensor.kind, &bytes, self.count(at).unwrap_or(0)).ok_or_else(|| Error::WrongDtype {
            path: self.path.clone(),
            tensor: tensor.name.clone(),
            got: numbers::name(tensor.kind).to_string(),
        })
    }

    fn weight(&self, name: &str) -> Option<&(Weight, Layout)> {
        self.by_name.get(name).map(|&at| &self.weights[at])
    }
}

/// Opens a regular file and says how long it is.
fn open_file(path: &Path) -> Result<(Source, u64), Error> {
    Source::open(path).map_err(|fault| fault.in_file(path, "onnx"))
}

impl TensorFile for Onnx {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> Vec<&str> {
        self.weights.iter().map(|(weight, _)| weight.name.as_str()).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.weight(name).map(|(_, layout)| layout.shape.as_slice())
    }

    fn dtype(&self, name: &str) -> Option<String> {
        let (weight, layout) = self.weight(name)?;
        Some(match layout.decode {
            Decode::Blocks(blocks) => format!("U{}", blocks.bits),
            Decode::Plain | Decode::Scaled(_) => numbers::name(self.tensors[weight.data].kind).to_string(),
        })
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let Some((weight, layout)) = self.weight(name) else {
            return Err(Error::NoTensor { path: self.path.clone(), tensor: name.to_string() });
        };
        let data = match (&layout.decode, &weight.form) {
            (Decode::Scaled(scaling), &Form::Scaled { scale, zero, .. }) => {
                let (mut data, scales) = (self.numbers(weight.data)?, self.numbers(scale)?);
                let zeros = zero.map(|zero| self.numbers(zero)).transpose()?;
                scaling.apply(&mut data, &scales, zeros.as_deref());
                data
            }
            (Decode::Blocks(blocks), &Form::Blocks { scale, zero, .. }) => {
                let (bytes, scales) = (self.bytes(weight.data)?, self.numbers(scale)?);
                let zeros = match zero {
                    Some(zero) if self.tensors[zero].kind == 2 => {
                        Some(blocks.unpack_zeros(&self.bytes(zero)?))
                    }
                    Some(zero) => Some(self.numbers(zero)?),
                    None => None,
                };
                blocks.to_f32(&bytes, &scales, zeros.as_deref())
            }
            _ if numbers::is_real(self.tensors[weight.data].kind) => self.numbers(weight.data)?,
            _ => {
                let got = numbers::name(self.tensors[weight.data].kind).to_string();
                return Err(Error::WrongDtype { path: self.path.clone(), tensor: name.to_string(), got });
            }
        };
        match (weight.transposed, layout.shape.as_slice()) {
            (true, &[rows, cols]) => Op::Transpose.apply(name, &[cols, rows], data),
            _ => Ok(data),
        }
    }
}

#[cfg(test)]
#[path = "onnx_tests.rs"]
mod tests;

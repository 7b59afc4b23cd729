//! Puts a graph together, step by step.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use topwork_kernels::activation::Activation;
use topwork_nn::{ParamId, ParamStore};
use topwork_weights::onnx::{Attribute, Axis, Computation, Constant, Kind, Numbers, Port, Step};
use topwork_weights::{Op, Table};

use crate::error::Error;

/// Something that a graph computes, or is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(String);

/// A graph that grows.
pub struct Graph<'m> {
    store: &'m ParamStore,
    table: &'m Table,
    computation: Computation<'m>,
    /// Where steps are in the model, for their names.
    scope: String,
    /// Numbers of the computation itself, written once each.
    numbers: HashMap<Own, Value>,
    /// The constant of each parameter that the graph has, and whether its axes are swapped.
    written: HashMap<ParamId, (Value, bool)>,
}

/// Numbers of the computation itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Own {
    Real(u32),
    Reals(Vec<u32>),
    Whole(i64),
    Wholes(Vec<i64>),
}

impl<'m> Graph<'m> {
    /// An empty graph over the parameters of a store, which a table names.
    pub(super) fn new(store: &'m ParamStore, table: &'m Table) -> Self {
        Graph {
            store,
            table,
            computation: Computation { name: "model".to_string(), ..Computation::default() },
            scope: String::new(),
            numbers: HashMap::new(),
            written: HashMap::new(),
        }
    }

    pub(super) fn input(&mut self, name: &str, shape: &[Axis]) -> Value {
        self.computation.inputs.push(Port { name: name.to_string(), kind: Kind::I64, shape: shape.to_vec() });
        Value(name.to_string())
    }

    /// Gives what comes out its name. It must be the output of a step, and no output yet.
    pub(super) fn output(&mut self, name: &str, value: Value, shape: &[Axis]) {
        for step in &mut self.computation.steps {
            let names = step.inputs.iter_mut().chain([&mut step.output]);
            names.filter(|own| **own == value.0).for_each(|own| *own = name.to_string());
        }
        self.computation.outputs.push(Port {
            name: name.to_string(),
            kind: Kind::F32,
            shape: shape.to_vec(),
        });
    }

    pub(super) fn note(&mut self, name: &str, text: &str) {
        self.computation.notes.push((name.to_string(), text.to_string()));
    }

    /// The whole, or the path of a parameter that it leaves out.
    pub(super) fn finish(self) -> Result<Computation<'m>, String> {
        match self.store.iter().find(|(id, _)| !self.written.contains_key(id)) {
            Some((_, param)) => Err(param.path.clone()),
            None => Ok(self.computation),
        }
    }

    /// Says where in the model the next steps are, for their names: `layers.3.attn`.
    pub fn enter(&mut self, scope: &str) {
        self.scope = scope.to_string();
    }

    /// Adds an operation of ONNX: <https://github.com/onnx/onnx/blob/main/docs/Operators.md>.
    pub fn step(
        &mut self,
        op: &'static str,
        inputs: &[&Value],
        attributes: &[(&'static str, Attribute)],
    ) -> Value {
        let name = format!("/{}/{op}_{}", self.scope, self.computation.steps.len());
        let output = format!("{name}_output_0");
        self.computation.steps.push(Step {
            op,
            name,
            inputs: inputs.iter().map(|value| value.0.clone()).collect(),
            output: output.clone(),
            attributes: attributes.to_vec(),
        });
        Value(output)
    }

    /// A real number.
    pub fn number(&mut self, number: f32) -> Value {
        self.own(Own::Real(number.to_bits()), &[], Numbers::F32(vec![number].into()))
    }

    /// Real numbers.
    ///
    /// # Shapes
    /// - returns: `[numbers]`
    pub fn numbers(&mut self, numbers: &[f32]) -> Value {
        let key = Own::Reals(numbers.iter().map(|number| number.to_bits()).collect());
        self.own(key, &[numbers.len()], Numbers::F32(numbers.to_vec().into()))
    }

    /// A whole number.
    pub fn integer(&mut self, number: i64) -> Value {
        self.own(Own::Whole(number), &[], Numbers::I64(vec![number]))
    }

    /// Whole numbers.
    ///
    /// # Shapes
    /// - returns: `[numbers]`
    pub fn integers(&mut self, numbers: &[i64]) -> Value {
        self.own(Own::Wholes(numbers.to_vec()), &[numbers.len()], Numbers::I64(numbers.to_vec()))
    }

    fn own(&mut self, key: Own, shape: &[usize], numbers: Numbers<'m>) -> Value {
        if let Some(value) = self.numbers.get(&key) {
            return value.clone();
        }
        let name = format!("Constant_{}", self.numbers.len());
        self.numbers.insert(key, Value(name.clone()));
        self.computation.constants.push(Constant { name: name.clone(), shape: shape.to_vec(), numbers });
        Value(name)
    }

    /// Whether the model has a parameter of that path.
    pub fn has(&self, path: &str) -> bool {
        self.store.id(path).is_ok()
    }

    /// A parameter.
    ///
    /// # Errors
    /// A parameter that does not exist or has no values.
    pub fn param(&mut self, path: &str) -> Result<Value, Error> {
        match self.stored(self.store.id(path)?, false)? {
            (value, false) => Ok(value),
            (value, true) => Ok(self.transpose(&value, &[1, 0])),
        }
    }

    /// The constant that holds a parameter, with its two axes swapped if that is `preferred` or how checkpoints have it; and
    /// whether they are. There is one constant of each parameter.
    fn stored(&mut self, id: ParamId, preferred: bool) -> Result<(Value, bool), Error> {
        let param = self.store.param(id);
        let (mut name, own) = match self.table.export(&param.path) {
            Ok((name, Op::Keep)) => (name, false),
            Ok((name, Op::Transpose)) => (name, true),
            // What its checkpoints have in yet another form, or not at all.
            _ => (param.path.clone(), false),
        };
        let (constant, swapped) = match self.written.entry(id) {
            Entry::Occupied(entry) => return Ok(entry.get().clone()),
            Entry::Vacant(entry) => {
                let swapped = own || preferred;
                if swapped && !own {
                    // As ONNX Runtime's own tools call it.
                    name.push_str("_Transposed");
                }
                entry.insert((Value(name.clone()), swapped)).clone()
            }
        };
        let op = if swapped { Op::Transpose } else { Op::Keep };
        let shape = op.shape(&name, &param.shape)?;
        let data = op.apply(&name, &param.shape, self.store.values(id)?)?;
        self.computation.constants.push(Constant { name, shape, numbers: Numbers::F32(data.into()) });
        Ok((constant, swapped))
    }

    /// Rows of a table.
    ///
    /// # Shapes
    /// - `rows`: any; returns: the same with the table's width behind it
    ///
    /// # Errors
    /// As [`Graph::param`].
    pub fn lookup(&mut self, path: &str, rows: &Value) -> Result<Value, Error> {
        let table = self.param(path)?;
        Ok(self.step("Gather", &[&table, rows], &[]))
    }

    /// `x Wᵀ`, plus the bias where there is one.
    ///
    /// # Shapes
    /// - `x`: `[..., in]`, the weight `[out, in]`; returns: `[..., out]`
    ///
    /// # Errors
    /// As [`Graph::param`].
    pub fn linear(&mut self, x: &Value, weight: ParamId, bias: Option<ParamId>) -> Result<Value, Error> {
        // A product wants `[in, out]`; a table that is already there is turned on the way rather than written twice.
        let turned = match self.stored(weight, true)? {
            (value, true) => value,
            (value, false) => self.transpose(&value, &[1, 0]),
        };
        let product = self.step("MatMul", &[x, &turned], &[]);
        let Some(bias) = bias else { return Ok(product) };
        let bias = self.stored(bias, false)?.0;
        Ok(self.add(&product, &bias))
    }

    /// [`Graph::linear`] with `{path}.weight` and, if the model has it, `{path}.bias`.
    ///
    /// # Errors
    /// As [`Graph::param`].
    pub fn linear_at(&mut self, x: &Value, path: &str) -> Result<Value, Error> {
        let weight = self.store.id(&format!("{path}.weight"))?;
        self.linear(x, weight, self.store.id(&format!("{path}.bias")).ok())
    }

    /// Layer normalisation over the last axis with `{path}.weight` and, if the model has it, `{path}.bias`.
    ///
    /// # Errors
    /// As [`Graph::param`].
    pub fn layer_norm(&mut self, x: &Value, path: &str, eps: f64) -> Result<Value, Error> {
        let mut inputs = vec![x.clone(), self.param(&format!("{path}.weight"))?];
        let bias = format!("{path}.bias");
        if self.has(&bias) {
            inputs.push(self.param(&bias)?);
        }
        let settings = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(eps as f32))];
        Ok(self.step("LayerNormalization", &inputs.iter().collect::<Vec<_>>(), &settings))
    }

    /// Normalisation by the root of the mean square of the last axis, with `{path}.weight`.
    ///
    /// # Errors
    /// As [`Graph::param`].
    pub fn rms_norm(&mut self, x: &Value, path: &str, eps: f64) -> Result<Value, Error> {
        let square = self.mul(x, x);
        let axes = [("axes", Attribute::Ints(vec![-1])), ("keepdims", Attribute::Int(1))];
        let mean = self.step("ReduceMean", &[&square], &axes);
        let eps = self.number(eps as f32);
        let sum = self.add(&mean, &eps);
        let root = self.step("Sqrt", &[&sum], &[]);
        let (scaled, gain) = (self.div(x, &root), self.param(&format!("{path}.weight"))?);
        Ok(self.mul(&scaled, &gain))
    }

    /// An activation.
    pub fn activation(&mut self, x: &Value, activation: Activation) -> Value {
        match activation {
            Activation::Identity => x.clone(),
            Activation::Relu => self.step("Relu", &[x], &[]),
            Activation::Tanh => self.step("Tanh", &[x], &[]),
            Activation::Silu => {
                let gate = self.step("Sigmoid", &[x], &[]);
                self.mul(x, &gate)
            }
            Activation::QuickGelu => {
                let steep = self.number(1.702);
                let scaled = self.mul(x, &steep);
                let gate = self.step("Sigmoid", &[&scaled], &[]);
                self.mul(x, &gate)
            }
            Activation::Gelu => {
                let root = self.number(std::f32::consts::SQRT_2);
                let scaled = self.div(x, &root);
                let erf = self.step("Erf", &[&scaled], &[]);
                self.half_gated(x, &erf)
            }
            Activation::GeluTanh => {
                let (square, factor) = (self.mul(x, x), self.number(0.044715));
                let cube = self.mul(&square, x);
                let small = self.mul(&cube, &factor);
                let sum = self.add(x, &small);
                let root = self.number((2.0 / std::f32::consts::PI).sqrt());
                let scaled = self.mul(&sum, &root);
                let tanh = self.step("Tanh", &[&scaled], &[]);
                self.half_gated(x, &tanh)
            }
        }
    }

    /// `x (1 + gate) / 2`
    fn half_gated(&mut self, x: &Value, gate: &Value) -> Value {
        let (one, half) = (self.number(1.0), self.number(0.5));
        let gate = self.add(gate, &one);
        let product = self.mul(x, &gate);
        self.mul(&product, &half)
    }

    /// The sum of two values, the smaller one repeated.
    pub fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.step("Add", &[a, b], &[])
    }

    /// The difference of two values.
    pub fn sub(&mut self, a: &Value, b: &Value) -> Value {
        self.step("Sub", &[a, b], &[])
    }

    /// The product of two values, number by number.
    pub fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.step("Mul", &[a, b], &[])
    }

    /// The ratio of two values, number by number.
    pub fn div(&mut self, a: &Value, b: &Value) -> Value {
        self.step("Div", &[a, b], &[])
    }

    /// The same numbers in another shape: 0 keeps an axis, -1 is what is left.
    pub fn reshape(&mut self, x: &Value, shape: &[i64]) -> Value {
        let shape = self.integers(shape);
        self.step("Reshape", &[x, &shape], &[])
    }

    /// The axes in another order.
    pub fn transpose(&mut self, x: &Value, order: &[i64]) -> Value {
        self.step("Transpose", &[x], &[("perm", Attribute::Ints(order.to_vec()))])
    }

    /// A part of an axis.
    pub fn slice(&mut self, x: &Value, axis: i64, part: Range<usize>) -> Value {
        let [start, end] = [part.start, part.end].map(|at| self.integers(&[at as i64]));
        let axis = self.integers(&[axis]);
        self.step("Slice", &[x, &start, &end, &axis], &[])
    }

    /// Values behind each other, along an axis.
    pub fn concat(&mut self, parts: &[&Value], axis: i64) -> Value {
        self.step("Concat", parts, &[("axis", Attribute::Int(axis))])
    }

    /// Numbers of another kind.
    pub fn cast(&mut self, x: &Value, kind: Kind) -> Value {
        self.step("Cast", &[x], &[("to", Attribute::Int(kind.number()))])
    }

    /// With further axes of length one.
    pub fn unsqueeze(&mut self, x: &Value, axes: &[i64]) -> Value {
        let axes = self.integers(axes);
        self.step("Unsqueeze", &[x, &axes], &[])
    }

    /// Sums over an axis, which goes.
    pub fn sum(&mut self, x: &Value, axis: i64) -> Value {
        let axes = self.integers(&[axis]);
        self.step("ReduceSum", &[x, &axes], &[("keepdims", Attribute::Int(0))])
    }
}

#[cfg(test)]
mod tests {
    use topwork_nn::{Init, ParamKind};

    use super::*;

    #[test]
    fn a_parameter_is_written_once_and_none_is_left_out() {
        let mut store = ParamStore::new(&burn::tensor::Device::flex());
        let [word, out] = ["embed.word.weight", "head.out.weight"]
            .map(|path| store.declare(path, &[3, 2], 0, ParamKind::Weight, Init::Zeros));
        store.set(word, (0..6).map(|x| x as f32).collect()).unwrap();
        let mut graph = Graph::new(&store, &Table::EMPTY);
        let ids = graph.input("ids", &[Axis::Any("batch")]);
        let rows = graph.lookup("embed.word.weight", &ids).unwrap();
        let scores = graph.linear(&rows, word, None).unwrap();
        assert!(graph.linear(&scores, out, None).is_err(), "it has no values");
        graph.output("y", scores, &[Axis::Any("batch"), Axis::Size(3)]);
        let ops: Vec<&str> = graph.computation.steps.iter().map(|step| step.op).collect();
        assert_eq!(ops, ["Gather", "Transpose", "MatMul"], "one table, turned for the second use");
        assert_eq!(graph.computation.steps[2].output, "y");
        assert_eq!(graph.computation.constants.len(), 1);

        let mut store = ParamStore::new(&burn::tensor::Device::flex());
        store.declare("embed.word.weight", &[3, 2], 0, ParamKind::Weight, Init::Zeros);
        assert_eq!(Graph::new(&store, &Table::EMPTY).finish().unwrap_err(), "embed.word.weight");
    }

    #[test]
    fn numbers_of_the_computation_stand_there_once() {
        let store = ParamStore::new(&burn::tensor::Device::flex());
        let mut graph = Graph::new(&store, &Table::EMPTY);
        assert_eq!(graph.number(1.0), graph.number(1.0));
        assert_ne!(graph.number(1.0), graph.numbers(&[1.0]));
        assert_ne!(graph.integer(1), graph.integers(&[1]));
        assert_eq!(graph.finish().unwrap().constants.len(), 4);
    }
}

//! Runs a graph, as the definition of each operation says:
//! <https://github.com/onnx/onnx/blob/main/docs/Operators.md>, set 17.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::array::{Array, Kind, common};
use crate::file::{Graph, Node};

/// What comes out, by name.
pub fn run(graph: &Graph, inputs: &[(&str, Array)]) -> BTreeMap<String, Array> {
    assert_eq!(graph.opset, 17);
    let mut values = graph.constants.clone();
    let names: Vec<&str> = graph.inputs.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, inputs.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    values.extend(inputs.iter().map(|(name, array)| (name.to_string(), array.clone())));
    for node in &graph.nodes {
        let inputs: Vec<&Array> = node
            .inputs
            .iter()
            .map(|name| values.get(name).unwrap_or_else(|| panic!("{name} is not there")))
            .collect();
        let made = step(node, &inputs);
        let before = values.insert(node.output.clone(), made);
        assert!(before.is_none(), "{} is made twice", node.output);
    }
    let outputs = graph.outputs.iter().map(|(name, ..)| (name.clone(), values[name].clone()));
    outputs.collect()
}

fn step(node: &Node, inputs: &[&Array]) -> Array {
    let x = inputs[0];
    match (node.op.as_str(), inputs) {
        ("Add", [a, b]) => a.with(b, |a, b| a + b),
        ("Sub", [a, b]) => a.with(b, |a, b| a - b),
        ("Mul", [a, b]) => a.with(b, |a, b| a * b),
        ("Div", [a, b]) => a.with(b, |a, b| a / b),
        ("Min", [a, b]) => a.with(b, f64::min),
        ("Max", [a, b]) => a.with(b, f64::max),
        ("MatMul", [a, b]) => a.product(b),
        ("Relu", [x]) => x.map(|x| x.max(0.0)),
        ("Tanh", [x]) => x.map(f64::tanh),
        ("Sigmoid", [x]) => x.map(|x| 1.0 / (1.0 + (-x).exp())),
        ("Sqrt", [x]) => x.map(f64::sqrt),
        ("Cos", [x]) => x.map(f64::cos),
        ("Sin", [x]) => x.map(f64::sin),
        ("Erf", [x]) => x.map(erf),
        ("Transpose", [x]) => x.transpose(&node.ints["perm"]),
        ("Reshape", [x, shape]) => reshape(x, &shape.whole()),
        ("Unsqueeze", [x, axes]) => unsqueeze(x, &axes.whole()),
        ("Cast", [x]) => cast(x, node.int("to").unwrap()),
        ("Shape", [x]) => {
            Array::new(vec![x.shape.len()], Kind::Whole, x.shape.iter().map(|&n| n as f64).collect())
        }
        ("Range", [first, end, step]) => {
            let [first, end, step] = [first, end, step].map(|x| x.whole()[0]);
            assert_eq!(step, 1);
            let numbers: Vec<f64> = (first..end).map(|n| n as f64).collect();
            Array::new(vec![numbers.len()], Kind::Whole, numbers)
        }
        ("Gather", [x, places]) => gather(x, places, node.int("axis").unwrap_or(0)),
        ("GatherND", [x, places]) => gather_rows(x, places, node.int("batch_dims").unwrap()),
        ("LessOrEqual", [a, b]) => Array { kind: Kind::Bool, ..a.with(b, |a, b| f64::from(a <= b)) },
        ("Slice", [x, start, end, axis]) => slice(x, axis.whole()[0], start.whole()[0]..end.whole()[0]),
        ("Concat", parts) => concat(parts, node.int("axis").unwrap()),
        ("Where", [condition, a, b]) => choose(condition, a, b),
        ("Softmax", [x]) => softmax(x, node.int("axis").unwrap()),
        ("LayerNormalization", [x, gain, rest @ ..]) => {
            assert_eq!(node.int("axis"), Some(-1));
            layer_norm(x, gain, rest.first().copied(), f64::from(node.floats["epsilon"]))
        }
        ("ReduceSum", [x, axes]) => {
            x.reduce(axes.whole()[0], node.int("keepdims") != Some(0), |line| line.iter().sum())
        }
        ("ReduceMean", [x]) => {
            let mean = |line: &[f64]| line.iter().sum::<f64>() / line.len() as f64;
            x.reduce(node.int("axes").unwrap(), node.int("keepdims") != Some(0), mean)
        }
        ("ReduceMax", [x]) => {
            let most = |line: &[f64]| line.iter().copied().fold(f64::MIN, f64::max);
            x.reduce(node.int("axes").unwrap(), node.int("keepdims") != Some(0), most)
        }
        ("ReduceL2", [x]) => {
            let length = |line: &[f64]| line.iter().map(|x| x * x).sum::<f64>().sqrt();
            x.reduce(node.int("axes").unwrap(), node.int("keepdims") != Some(0), length)
        }
        (op, inputs) => panic!("{op} of {} values, the first of shape {:?}", inputs.len(), x.shape),
    }
}

/// The error function: its series where that is quick, else the continued fraction of its complement.
/// Reference: Abramowitz, Stegun 1964, 7.1.6 and 7.1.14.
fn erf(x: f64) -> f64 {
    let (a, square) = (x.abs(), x * x);
    let two_by_root = 2.0 / std::f64::consts::PI.sqrt();
    if a > 6.0 {
        return x.signum();
    }
    if a < 3.0 {
        let (mut term, mut sum) = (a, a);
        for n in 1..80 {
            term *= 2.0 * square / f64::from(2 * n + 1);
            sum += term;
        }
        return x.signum() * two_by_root * (-square).exp() * sum;
    }
    let mut fraction = 0.0;
    for n in (1..60).rev() {
        fraction = f64::from(n) / 2.0 / (a + fraction);
    }
    x.signum() * (1.0 - (-square).exp() / std::f64::consts::PI.sqrt() / (a + fraction))
}

fn reshape(x: &Array, wanted: &[i64]) -> Array {
    let mut shape: Vec<usize> = Vec::new();
    for (axis, &size) in wanted.iter().enumerate() {
        shape.push(match size {
            0 => x.shape[axis],
            -1 => {
                let rest = wanted.iter().enumerate().filter(|&(at, _)| at != axis);
                x.data.len()
                    / rest
                        .map(|(at, &size)| if size == 0 { x.shape[at] } else { size as usize })
                        .product::<usize>()
            }
            size => size as usize,
        });
    }
    Array::new(shape, x.kind, x.data.clone())
}

fn unsqueeze(x: &Array, axes: &[i64]) -> Array {
    let mut shape = x.shape.clone();
    axes.iter().for_each(|&axis| shape.insert(axis as usize, 1));
    Array { shape, ..x.clone() }
}

fn cast(x: &Array, kind: i64) -> Array {
    match kind {
        1 => Array { kind: Kind::Real, ..x.clone() },
        9 => Array {
            kind: Kind::Bool,
            data: x.data.iter().map(|&x| f64::from(x != 0.0)).collect(),
            ..x.clone()
        },
        other => panic!("a cast to {other}"),
    }
}

fn slice(x: &Array, axis: i64, part: Range<i64>) -> Array {
    let axis = x.axis(axis);
    assert!(0 <= part.start && part.end <= x.shape[axis] as i64, "{part:?} of {:?}", x.shape);
    let places =
        Array::new(vec![(part.end - part.start) as usize], Kind::Whole, part.map(|n| n as f64).collect());
    gather(x, &places, axis as i64)
}

fn concat(parts: &[&Array], axis: i64) -> Array {
    let axis = parts[0].axis(axis);
    let mut shape = parts[0].shape.clone();
    shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
    let [before, ..] = parts[0].around(axis);
    let row = |at: usize| {
        parts.iter().flat_map(move |part| {
            let len = part.data.len() / before;
            part.data[at * len..(at + 1) * len].iter().copied()
        })
    };
    Array::new(shape, parts[0].kind, (0..before).flat_map(row).collect())
}

fn gather(x: &Array, places: &Array, axis: i64) -> Array {
    let axis = x.axis(axis);
    let [before, len, behind] = x.around(axis);
    let places_at = places.whole();
    let mut data = Vec::new();
    for outer in 0..before {
        for &place in &places_at {
            assert!((0..len as i64).contains(&place), "place {place} of {len}");
            let start = (outer * len + place as usize) * behind;
            data.extend_from_slice(&x.data[start..start + behind]);
        }
    }
    let shape = [&x.shape[..axis], &places.shape, &x.shape[axis + 1..]].concat();
    Array::new(shape, x.kind, data)
}

/// `GatherND` of one row for each row of a batch.
fn gather_rows(x: &Array, places: &Array, batch_axes: i64) -> Array {
    let &[batch, seq, hidden] = x.shape.as_slice() else { panic!("rows of {:?}", x.shape) };
    assert_eq!((places.shape.as_slice(), batch_axes), (&[batch, 1][..], 1));
    let row = |(text, &place): (usize, &i64)| {
        let start = (text * seq + place as usize) * hidden;
        x.data[start..start + hidden].to_vec()
    };
    Array::new(vec![batch, hidden], x.kind, places.whole().iter().enumerate().flat_map(row).collect())
}

fn choose(condition: &Array, a: &Array, b: &Array) -> Array {
    assert_eq!(condition.kind, Kind::Bool);
    assert_eq!(a.kind, b.kind, "numbers of different kinds");
    let shape = common(&condition.shape, &common(&a.shape, &b.shape));
    let [condition, a, b] = [condition, a, b].map(|array| array.spread(&shape));
    let pick = |at: usize| if condition.data[at] != 0.0 { a.data[at] } else { b.data[at] };
    Array { data: (0..a.data.len()).map(pick).collect(), ..a.clone() }
}

fn softmax(x: &Array, axis: i64) -> Array {
    let most = x.reduce(axis, true, |line| line.iter().copied().fold(f64::MIN, f64::max));
    let raised = x.with(&most, |x, most| (x - most).exp());
    let sum = raised.reduce(axis, true, |line| line.iter().sum());
    raised.with(&sum, |x, sum| x / sum)
}

fn layer_norm(x: &Array, gain: &Array, bias: Option<&Array>, eps: f64) -> Array {
    let width = x.shape[x.shape.len() - 1] as f64;
    let mean = x.reduce(-1, true, |line| line.iter().sum::<f64>() / width);
    let apart = x.with(&mean, |x, mean| x - mean);
    let root = apart.reduce(-1, true, |line| (line.iter().map(|x| x * x).sum::<f64>() / width + eps).sqrt());
    let scaled = apart.with(&root, |x, root| x / root).with(gain, |x, gain| x * gain);
    bias.map_or(scaled.clone(), |bias| scaled.with(bias, |x, bias| x + bias))
}

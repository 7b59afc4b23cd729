//! The operations of recurrent and convolutional models against PyTorch: values and all gradients.
#![allow(clippy::unwrap_used, reason = "a golden that is missing fails the test")]

use std::path::PathBuf;
use std::sync::Arc;

use burn::Tensor;
use burn::backend::TensorData;
use burn::tensor::{Device, Gradients};
use topwork_ops::{Activation, Conv, Lstm, Precision, conv1d, conv1d_max, highway, linear, lstm};
use topwork_testkit::Golden;

/// Values agree to a few roundings of their largest, gradients to the sums of many such.
const VALUES: f64 = 1e-5;
const GRADIENTS: f64 = 1e-4;

/// What is below one name in the file of goldens.
struct Case<'a> {
    golden: &'a Golden,
    name: String,
    device: Device,
}

impl Case<'_> {
    fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let array = self.golden.floats(&format!("{}.{name}", self.name)).unwrap();
        // Leading sizes of one, or PyTorch's three of a filter, are folded.
        let columns: usize = if D == 1 { 1 } else { array.shape[1..].iter().product() };
        let rows = array.data.len() / columns;
        let shape: [usize; D] = std::array::from_fn(|dim| if dim == 0 { rows } else { columns });
        Tensor::from_data(TensorData::new(array.data, shape), &self.device)
    }

    fn leaf<const D: usize>(&self, name: &str) -> Tensor<D> {
        self.tensor::<D>(name).require_grad()
    }

    fn compare(&self, name: &str, got: Vec<f32>, tolerance: f64) {
        let expected = self.golden.floats(&format!("{}.{name}", self.name)).unwrap().data;
        assert_eq!(got.len(), expected.len(), "{}.{name}", self.name);
        let scale = expected.iter().fold(0.0_f64, |scale, x| scale.max(f64::from(x.abs())));
        assert!(scale > 0.0, "{}.{name} is nothing but zeros", self.name);
        for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let error = f64::from((got - expected).abs()) / scale;
            assert!(error <= tolerance, "{}.{name}[{at}]: {got} instead of {expected}", self.name);
        }
    }

    /// Checks an output and gives its part of the loss.
    fn output<const D: usize>(&self, name: &str, output: Tensor<D>) -> Tensor<1> {
        self.compare(name, numbers(output.clone()), VALUES);
        let [weights] = [self.tensor::<2>(&format!("out.{name}"))];
        let dims = output.dims();
        (output * weights.reshape(dims)).sum()
    }

    fn gradient<const D: usize>(&self, name: &str, leaf: &Tensor<D>, gradients: &Gradients) {
        self.compare(&format!("grad.{name}"), numbers(leaf.grad(gradients).unwrap()), GRADIENTS);
    }

    fn number(&self, name: &str) -> Vec<usize> {
        let array = self.golden.integers(&format!("{}.{name}", self.name)).unwrap();
        array.data.iter().map(|&x| x as usize).collect()
    }
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn golden() -> (Golden, Arc<[u32]>) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/recurrent/golden.safetensors");
    let golden = Golden::open(path).unwrap();
    let offsets = golden.integers("offsets").unwrap().data.iter().map(|&x| x as u32).collect();
    (golden, offsets)
}

fn case<'a>(golden: &'a Golden, name: &str) -> Case<'a> {
    Case { golden, name: name.into(), device: Device::flex().autodiff() }
}

/// Both directions of `torch.nn.LSTM`.
fn bidirectional(name: &str, projects: bool) {
    let (golden, offsets) = golden();
    let case = case(&golden, name);
    let batch = offsets.len() - 1;
    let (x, h0, c0) = (case.leaf::<2>("x"), case.leaf::<2>("h0"), case.leaf::<2>("c0"));
    // The first states of both directions lie behind each other, as rows of [2, batch·width].
    let direction = |state: &Tensor<2>, at: usize| {
        let [_, width] = state.dims();
        state.clone().slice(at..at + 1).reshape([batch, width / batch])
    };
    let (mut leaves, mut parts) = (Vec::new(), Vec::new());
    for (at, suffix) in ["", "_reverse"].into_iter().enumerate() {
        let weight = |kind: &str| format!("{kind}_l0{suffix}");
        let matrices = ["weight_ih", "weight_hh", "weight_hr"].map(weight);
        let count = if projects { 3 } else { 2 };
        let matrices: Vec<_> =
            matrices[..count].iter().map(|name| (name.clone(), case.leaf::<2>(name))).collect();
        let biases = ["bias_ih", "bias_hh"].map(weight).map(|name| (name.clone(), case.leaf::<1>(&name)));
        let bias = biases[0].1.clone() + biases[1].1.clone();
        let gates_x = linear(x.clone(), matrices[0].1.clone(), Some(bias), Precision::F32);
        let projection = matrices.get(2).map(|(_, projection)| projection.clone());
        let state = Some((direction(&h0, at), direction(&c0, at)));
        let settings = Lstm { reverse: at == 1, ..Lstm::default() };
        parts.push(lstm(gates_x, matrices[1].1.clone(), projection, state, &offsets, settings));
        leaves.push((matrices, biases));
    }
    let [forward, reverse] = &parts[..] else { unreachable!("there are two directions") };
    let both = |pick: fn(&topwork_ops::LstmStates) -> &Tensor<2>, dim| {
        Tensor::cat(vec![pick(forward).clone(), pick(reverse).clone()], dim)
    };
    let loss = case.output("y", both(|states| &states.y, 1))
        + case.output("h_n", both(|states| &states.h_n, 0))
        + case.output("c_n", both(|states| &states.c_n, 0));
    let gradients = loss.backward();
    let mut compared = 0;
    for (name, leaf) in [("x", &x), ("h0", &h0), ("c0", &c0)] {
        case.gradient(name, leaf, &gradients);
        compared += 1;
    }
    for (matrices, biases) in &leaves {
        for (name, leaf) in matrices {
            case.gradient(name, leaf, &gradients);
            compared += 1;
        }
        for (name, leaf) in biases {
            case.gradient(name, leaf, &gradients);
            compared += 1;
        }
    }
    let expected = golden.below(&format!("{name}.grad.")).count();
    assert!(compared == expected && compared == if projects { 13 } else { 11 });
}

#[test]
fn lstm_in_both_directions_is_that_of_pytorch() {
    bidirectional("lstm", false);
}

#[test]
fn projected_lstm_in_both_directions_is_that_of_pytorch() {
    bidirectional("projected", true);
}

#[test]
fn clipped_lstm_is_the_one_written_out() {
    let (golden, offsets) = golden();
    for (name, reverse) in [("clipped.forward", false), ("clipped.reverse", true)] {
        let case = case(&golden, name);
        let clips = golden.floats(&format!("{name}.clips")).unwrap().data;
        let [cell_clip, projection_clip] = [clips[0], clips[1]].map(Some);
        let settings = Lstm { reverse, cell_clip, projection_clip, precision: Precision::F32 };
        let names = ["gates_x", "recurrent", "projection"];
        let [gates_x, recurrent, projection] = names.map(|name| case.leaf::<2>(name));
        let projected = Some(projection.clone());
        let states = lstm(gates_x.clone(), recurrent.clone(), projected, None, &offsets, settings);
        let loss =
            case.output("y", states.y) + case.output("h_n", states.h_n) + case.output("c_n", states.c_n);
        let gradients = loss.backward();
        for (name, leaf) in names.iter().zip([gates_x, recurrent, projection]) {
            case.gradient(name, &leaf, &gradients);
        }
    }
}

#[test]
fn conv1d_is_that_of_pytorch() {
    let (golden, offsets) = golden();
    let mut seen = 0;
    while golden.has(&format!("conv.{seen}.x")) {
        let case = case(&golden, &format!("conv.{seen}"));
        let (x, weight, bias) = (case.leaf::<2>("x"), case.leaf::<2>("weight"), case.leaf::<1>("bias"));
        let padding = case.number("padding");
        let width = weight.dims()[1] / x.dims()[1];
        let conv = Conv { width, left: padding[0], right: padding[1] };
        let y = conv1d(x.clone(), weight.clone(), Some(bias.clone()), &offsets, conv, Precision::F32);
        let gradients = case.output("y", y).backward();
        case.gradient("x", &x, &gradients);
        case.gradient("weight", &weight, &gradients);
        case.gradient("bias", &bias, &gradients);
        seen += 1;
    }
    assert_eq!(seen, 8);
}

#[test]
fn conv1d_max_is_that_of_pytorch() {
    let (golden, _) = golden();
    let mut seen = 0;
    while golden.has(&format!("chars.{seen}.x")) {
        let case = case(&golden, &format!("chars.{seen}"));
        let (x, weight, bias) = (case.leaf::<2>("x"), case.leaf::<2>("weight"), case.leaf::<1>("bias"));
        let conv = Conv::valid(weight.dims()[1] / x.dims()[1]);
        let activation = [Activation::Relu, Activation::Tanh][case.number("activation")[0]];
        let offsets: Arc<[u32]> = (0..=11).map(|word| word * 9).collect();
        let y = conv1d_max(x.clone(), weight.clone(), Some(bias.clone()), &offsets, conv, activation);
        let gradients = case.output("y", y).backward();
        case.gradient("x", &x, &gradients);
        case.gradient("weight", &weight, &gradients);
        case.gradient("bias", &bias, &gradients);
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[test]
fn highway_is_that_of_allennlp() {
    let (golden, _) = golden();
    let case = case(&golden, "highway");
    let (x, projected) = (case.leaf::<2>("x"), case.leaf::<2>("projected"));
    let gradients = case.output("y", highway(x.clone(), projected.clone())).backward();
    case.gradient("x", &x, &gradients);
    case.gradient("projected", &projected, &gradients);
}

#[test]
#[should_panic(expected = "highway.y[7]")]
fn one_part_in_a_thousand_is_noticed() {
    let (golden, _) = golden();
    let case = case(&golden, "highway");
    let mut y = golden.floats("highway.y").unwrap().data;
    let largest = y.iter().fold(0.0_f32, |largest, y| largest.max(y.abs()));
    y[7] += largest * 1e-3;
    case.compare("y", y, GRADIENTS);
}

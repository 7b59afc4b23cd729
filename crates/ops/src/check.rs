//! Checks an operation against itself in `f64`, against Burn's autodiff and against central differences.

use burn::{
    Tensor,
    backend::{DType, DispatchTensor, TensorData, TensorMetadata},
    tensor::Device,
};
use topwork_kernels::rng::Stream;

/// The offsets of packed batches worth trying: one token, one sequence, several of different lengths.
pub(crate) const OFFSETS: [&[u32]; 3] = [&[0, 1], &[0, 7], &[0, 3, 4, 11, 13, 20]];

/// Values tried by central differences, of each input.
const SAMPLES: usize = 16;

/// The f32 kernels against f64: a few roundings of the largest value.
const ROUNDING: f64 = 1e-5;

type Function<'a> = &'a dyn Fn(&[DispatchTensor]) -> DispatchTensor;

/// An operation with everything but its float inputs fixed.
pub(crate) struct Case<'a> {
    /// Shown when a claim fails.
    pub(crate) name: String,
    /// The shapes of the float inputs, of one or two dimensions.
    pub(crate) shapes: Vec<Vec<usize>>,
    /// The operation. It computes in the type of its inputs: `f32` is the kernel, `f64` the composed body.
    pub(crate) operation: Function<'a>,
    /// Its composed body on `Dispatch`, which Burn can differentiate.
    pub(crate) composed: Function<'a>,
}

/// One output and the gradients of the inputs that were tracked.
struct Run {
    output: Vec<f64>,
    grads: Vec<Option<Vec<f64>>>,
}

impl Case<'_> {
    /// Checks every claim and returns how many gradients were checked.
    pub(crate) fn check(&self) -> usize {
        let values = self.values();
        let all = vec![true; self.shapes.len()];
        let none = vec![false; self.shapes.len()];
        let plain = Device::flex();
        let autodiff = Device::flex().autodiff();

        let kernel = self.run(self.operation, DType::F32, &autodiff, &values, &all);
        let exact = self.run(self.operation, DType::F64, &autodiff, &values, &all);
        let burn = self.run(self.composed, DType::F64, &autodiff, &values, &all);
        let burn_f32 = self.run(self.composed, DType::F32, &autodiff, &values, &all);

        self.same(&exact, &burn, 1e-9, "the composed backward and Burn's autodiff in f64");
        self.same(&kernel, &exact, ROUNDING, "the kernel and the composed body in f64");
        self.same(&kernel, &burn_f32, ROUNDING, "the kernel and the composed body in f32");
        self.differences(&exact, &values);

        // Without tracking, the same bits and no graph, with and without an autodiff device.
        for device in [&plain, &autodiff] {
            let untracked = self.run(self.operation, DType::F32, device, &values, &none);
            assert_eq!(untracked.output, kernel.output, "{}: tracking changes the output", self.name);
        }
        // Burn recomputes the cheap operations around this one under checkpointing.
        let checkpointed = autodiff.clone().gradient_checkpointing();
        let checkpointed = self.run(self.operation, DType::F32, &checkpointed, &values, &all);
        assert_eq!(checkpointed.grads, kernel.grads, "{}: checkpointing changes the gradients", self.name);
        // Each gradient alone is, to the bit, what it is among all.
        for input in 0..self.shapes.len() {
            let mut only = none.clone();
            only[input] = true;
            let run = self.run(self.operation, DType::F32, &autodiff, &values, &only);
            assert_eq!(run.output, kernel.output, "{}: tracking changes the output", self.name);
            assert_eq!(
                run.grads[input], kernel.grads[input],
                "{}: the gradient of input {input} alone",
                self.name
            );
        }
        self.shapes.len()
    }

    fn values(&self) -> Vec<Vec<f64>> {
        let mut stream = Stream(7);
        let fill = |shape: &Vec<usize>| {
            let len = shape.iter().product();
            // Through f32, so that f32 and f64 start from the same numbers.
            std::iter::repeat_with(|| f64::from(stream.normal())).take(len).collect()
        };
        self.shapes.iter().map(fill).collect()
    }

    fn run(
        &self,
        function: Function<'_>,
        dtype: DType,
        device: &Device,
        values: &[Vec<f64>],
        tracked: &[bool],
    ) -> Run {
        // Leaves are flat, because an input may have one or two dimensions.
        let leaves: Vec<Tensor<1>> = values
            .iter()
            .zip(tracked)
            .map(|(values, &tracked)| {
                let data = TensorData::new(values.clone(), [values.len()]);
                let leaf = Tensor::from_data(data, (device, dtype));
                if tracked { leaf.require_grad() } else { leaf }
            })
            .collect();
        let inputs: Vec<DispatchTensor> =
            leaves.iter().zip(&self.shapes).map(|(leaf, shape)| shaped(leaf, shape)).collect();
        let output = flat(function(&inputs));
        let weights = projection(output.dims()[0]);
        let grads = if tracked.contains(&true) {
            let weights = Tensor::from_data(TensorData::new(weights, output.dims()), (device, dtype));
            let grads = (output.clone() * weights).sum().backward();
            leaves.iter().map(|leaf| leaf.grad(&grads).map(floats)).collect()
        } else {
            assert!(!output.is_tracked(), "{}: an untracked output is in the graph", self.name);
            vec![None; leaves.len()]
        };
        for (input, (grad, &tracked)) in grads.iter().zip(tracked).enumerate() {
            assert_eq!(grad.is_some(), tracked, "{}: a gradient of input {input}", self.name);
        }
        Run { output: floats(output), grads }
    }

    fn same(&self, got: &Run, expected: &Run, tolerance: f64, what: &str) {
        if let Err(error) = close(&got.output, &expected.output, tolerance) {
            panic!("{}: {what} differ in the output: {error}", self.name);
        }
        for (input, (got, expected)) in got.grads.iter().zip(&expected.grads).enumerate() {
            let (Some(got), Some(expected)) = (got, expected) else {
                panic!("{}: no gradient of input {input}", self.name);
            };
            if let Err(error) = close(got, expected, tolerance) {
                panic!("{}: {what} differ in the gradient of input {input}: {error}", self.name);
            }
        }
    }

    /// The gradients in f64 against central differences, whose error is the square of the step.
    fn differences(&self, exact: &Run, values: &[Vec<f64>]) {
        const STEP: f64 = 1e-4;
        let device = Device::flex();
        let untracked = vec![false; values.len()];
        let loss = |values: &[Vec<f64>]| -> f64 {
            let output = self.run(self.operation, DType::F64, &device, values, &untracked).output;
            let weights = projection(output.len());
            output.iter().zip(&weights).map(|(output, weight)| output * weight).sum()
        };
        for (input, grad) in exact.grads.iter().enumerate() {
            let Some(grad) = grad else { panic!("{}: no gradient of input {input}", self.name) };
            let stride = (grad.len() / SAMPLES).max(1);
            let at: Vec<usize> = (0..grad.len()).step_by(stride).collect();
            let mut values = values.to_vec();
            let measured: Vec<f64> = at
                .iter()
                .map(|&at| {
                    let value = values[input][at];
                    values[input][at] = value + STEP;
                    let above = loss(&values);
                    values[input][at] = value - STEP;
                    let below = loss(&values);
                    values[input][at] = value;
                    (above - below) / (2.0 * STEP)
                })
                .collect();
            let claimed: Vec<f64> = at.iter().map(|&at| grad[at]).collect();
            if let Err(error) = close(&claimed, &measured, 1e-5) {
                panic!("{}: the gradient of input {input} against differences: {error}", self.name);
            }
        }
    }
}

/// Fixed random weights that make one number of an output.
fn projection(len: usize) -> Vec<f64> {
    let mut stream = Stream(11);
    std::iter::repeat_with(|| f64::from(stream.normal())).take(len).collect()
}

fn shaped(leaf: &Tensor<1>, shape: &[usize]) -> DispatchTensor {
    match *shape {
        [_] => leaf.clone().into_dispatch(),
        [rows, cols] => leaf.clone().reshape([rows, cols]).into_dispatch(),
        _ => panic!("inputs have one or two dimensions, not {}", shape.len()),
    }
}

fn flat(tensor: DispatchTensor) -> Tensor<1> {
    match tensor.shape().rank() {
        1 => Tensor::from_dispatch(tensor),
        2 => {
            let tensor = Tensor::<2>::from_dispatch(tensor);
            let [rows, cols] = tensor.dims();
            tensor.reshape([rows * cols])
        }
        rank => panic!("outputs have one or two dimensions, not {rank}"),
    }
}

/// The values of a tensor.
pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Standard normal numbers, as a tensor on the plain CPU device.
pub(crate) fn normal<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut stream = Stream(seed);
    let values: Vec<f32> = std::iter::repeat_with(|| stream.normal()).take(shape.iter().product()).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// Whether all values agree within `tolerance` of the largest expected one.
pub(crate) fn close(got: &[f64], expected: &[f64], tolerance: f64) -> Result<(), String> {
    if got.len() != expected.len() {
        return Err(format!("{} values, expected {}", got.len(), expected.len()));
    }
    let scale = expected.iter().fold(0.0, |scale: f64, value| scale.max(value.abs()));
    // Some gradients are exactly zero and come out as roundings of numbers around one.
    let limit = tolerance * scale.max(1e-2);
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        // The comparison is this way round so that NaN fails it.
        if (got - expected).abs() <= limit {
            continue;
        }
        return Err(format!("{got} at {at}, expected {expected} within {limit:e}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_beyond_the_tolerance_is_seen() {
        assert!(close(&[1.0, 2.0], &[1.0, 2.0], 1e-9).is_ok());
        assert!(close(&[1.0, 2.02], &[1.0, 2.0], 1e-3).is_err());
        assert!(close(&[f64::NAN, 2.0], &[1.0, 2.0], 1e-3).is_err());
        assert!(close(&[1.0], &[1.0, 2.0], 1e-3).is_err());
    }

    #[test]
    #[should_panic(expected = "differ in the gradient of input 0")]
    fn a_wrong_gradient_is_seen() {
        let double = |inputs: &[DispatchTensor]| {
            let x = Tensor::<1>::from_dispatch(inputs[0].clone());
            (x.clone() + x.detach()).into_dispatch()
        };
        let composed =
            |inputs: &[DispatchTensor]| (Tensor::<1>::from_dispatch(inputs[0].clone()) * 2.0).into_dispatch();
        let case =
            Case { name: "double".into(), shapes: vec![vec![3]], operation: &double, composed: &composed };
        case.check();
    }

    #[test]
    #[should_panic(expected = "against differences")]
    fn a_gradient_wrong_in_both_is_seen() {
        let square = |inputs: &[DispatchTensor]| {
            let x = Tensor::<1>::from_dispatch(inputs[0].clone());
            (x.clone() * x.detach()).into_dispatch()
        };
        let case =
            Case { name: "square".into(), shapes: vec![vec![3]], operation: &square, composed: &square };
        case.check();
    }
}

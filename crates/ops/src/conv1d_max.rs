//! Convolution, the maximum over time and an activation in one: one vector for each sequence, such as a word made of its
//! characters.
//!
//! Paper: Kim et al. 2016, "Character-aware neural language models", §2.2, <https://arxiv.org/abs/1508.06615>.

use std::sync::Arc;

use burn::{
    Tensor,
    backend::{
        Autodiff, AutodiffBackend, Backend, Dispatch, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops},
        },
        backend_extension,
        tensor::{FloatTensor, IntTensor},
    },
};
use topwork_kernels::{activation::Activation, conv::Conv, conv_max as kernel, unwritten};

use crate::{conv1d, flex, host, linear::LinearOps, optional::OptionalFloat, profile, record::record};

/// `activation(max over time of conv1d(x))` of each sequence.
///
/// The activation must rise everywhere, so that it may stand behind the maximum: ReLU, tanh or none.
///
/// # Shapes
/// - `x`: `[tokens, in]`; for words of a fixed number of characters, `[words·chars, in]`
/// - `weight`: `[out, in·width]`, which is PyTorch's `[out, in, width]`
/// - `bias`: `[out]`
/// - `offsets`: `[batch + 1]`, where each sequence (or word) starts and the last one ends
/// - returns: `[batch, out]`
///
/// # Panics
/// If the shapes do not fit together, as [`conv1d`](crate::conv1d()), if a sequence is shorter than the filters, zeros
/// included, or if the activation falls somewhere.
pub fn conv1d_max(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    offsets: &Arc<[u32]>,
    conv: Conv,
    activation: Activation,
) -> Tensor<2> {
    conv1d::check("conv1d_max", &x, &weight, bias.as_ref(), offsets, conv);
    for (sequence, pair) in offsets.windows(2).enumerate() {
        let len = (pair[1] - pair[0]) as usize;
        assert!(
            conv.outputs(len) > 0,
            "conv1d_max: sequence {sequence} has {len} tokens, filters are {} wide",
            conv.width
        );
    }
    assert!(
        matches!(activation, Activation::Relu | Activation::Tanh | Activation::Identity),
        "conv1d_max: {} does not rise everywhere",
        activation.name()
    );
    let bias = OptionalFloat::from(bias.map(Tensor::into_dispatch));
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(Dispatch::conv1d_max_forward(x, weight, bias, offsets.clone(), conv, activation))
}

/// [`conv1d_max`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait Conv1dMaxOps: Backend {
    /// One vector for each sequence: see [`conv1d_max`].
    fn conv1d_max_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        conv: Conv,
        activation: Activation,
    ) -> FloatTensor<Self> {
        Self::conv1d_max_with_argmax(x, weight, bias, offsets, conv, activation).0
    }

    /// The same and, for the backward, the output of the convolution each maximum came from: `[batch, out]`.
    fn conv1d_max_with_argmax(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        conv: Conv,
        activation: Activation,
    ) -> (FloatTensor<Self>, IntTensor<Self>) {
        composed::forward::<Self>(x, weight, bias.into_option(), &offsets, conv, activation)
    }

    /// The gradient before the activation, `[batch, out]`, from `y`, which stands behind it.
    fn conv1d_max_d_z(
        d_y: FloatTensor<Self>,
        y: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        composed::d_z::<Self>(d_y, y, activation)
    }

    /// The gradient of `x`: `[tokens, in]`.
    fn conv1d_max_d_x(
        d_z: FloatTensor<Self>,
        argmax: IntTensor<Self>,
        weight: FloatTensor<Self>,
        offsets: Arc<[u32]>,
        conv: Conv,
    ) -> FloatTensor<Self> {
        composed::d_x::<Self>(d_z, argmax, weight, &offsets, conv)
    }

    /// The gradient of `weight`: `[out, in·width]`.
    fn conv1d_max_d_weight(
        d_z: FloatTensor<Self>,
        argmax: IntTensor<Self>,
        x: FloatTensor<Self>,
        offsets: Arc<[u32]>,
        conv: Conv,
    ) -> FloatTensor<Self> {
        composed::d_weight::<Self>(d_z, argmax, x, &offsets, conv)
    }
}

/// [`conv1d_max`] in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{
        Backend,
        tensor::{FloatTensor, IntTensor},
    };
    use topwork_kernels::{activation::Activation, conv::Conv, gemm::Precision, pool::Pool};

    use crate::{bias_activation::composed::one_minus, conv1d, pool};

    /// One vector for each sequence, and the output of the convolution each value came from.
    pub fn forward<B: Backend>(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        bias: Option<FloatTensor<B>>,
        offsets: &[u32],
        conv: Conv,
        activation: Activation,
    ) -> (FloatTensor<B>, IntTensor<B>) {
        let z = conv1d::composed::forward::<B>(x, weight, bias, offsets, conv, Precision::F32);
        let (z, argmax) = pool::composed::forward::<B>(z, &conv.offsets(offsets), Pool::Max);
        let y = match activation {
            Activation::Relu => B::float_clamp_min(z, 0.0.into()),
            Activation::Tanh => B::float_tanh(z),
            _ => z,
        };
        (y, argmax)
    }

    /// The gradient before the activation.
    pub fn d_z<B: Backend>(d_y: FloatTensor<B>, y: FloatTensor<B>, activation: Activation) -> FloatTensor<B> {
        match activation {
            Activation::Relu => B::float_mul(d_y, B::float_sign(y)),
            Activation::Tanh => B::float_mul(d_y, one_minus::<B>(B::float_mul(y.clone(), y))),
            _ => d_y,
        }
    }

    /// The gradient of `x`.
    pub fn d_x<B: Backend>(
        d_z: FloatTensor<B>,
        argmax: IntTensor<B>,
        weight: FloatTensor<B>,
        offsets: &[u32],
        conv: Conv,
    ) -> FloatTensor<B> {
        let d_all = pool::composed::d_x::<B>(d_z, argmax, &conv.offsets(offsets), Pool::Max);
        conv1d::composed::d_x::<B>(d_all, weight, offsets, conv, Precision::F32)
    }

    /// The gradient of `weight`.
    pub fn d_weight<B: Backend>(
        d_z: FloatTensor<B>,
        argmax: IntTensor<B>,
        x: FloatTensor<B>,
        offsets: &[u32],
        conv: Conv,
    ) -> FloatTensor<B> {
        let d_all = pool::composed::d_x::<B>(d_z, argmax, &conv.offsets(offsets), Pool::Max);
        conv1d::composed::d_weight::<B>(d_all, x, offsets, conv, Precision::F32)
    }
}

/// Runs the forward kernel; `argmax` is filled if it is not empty.
fn run(
    x: FloatTensor<Flex>,
    weight: FloatTensor<Flex>,
    bias: Option<FloatTensor<Flex>>,
    offsets: &[u32],
    (conv, activation): (Conv, Activation),
    argmax: &mut [u32],
) -> FloatTensor<Flex> {
    let (x, weight, bias) = (flex::dense(x), flex::dense(weight), bias.map(flex::dense));
    let ([_, inputs], [out, _]) = (host::dims(&x), host::dims(&weight));
    let batch = offsets.len() - 1;
    let mut y = unwritten(batch * out);
    kernel::forward(
        flex::values(&x),
        inputs,
        flex::values(&weight),
        bias.as_ref().map(flex::values),
        offsets,
        conv,
        activation,
        &mut y,
        argmax,
    );
    flex::tensor(y, [batch, out])
}

impl Conv1dMaxOps for Flex {
    fn conv1d_max_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        conv: Conv,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _time = profile::time("conv1d_max_forward");
        let bias = bias.into_option();
        if !flex::all_f32([&x, &weight].into_iter().chain(&bias)) {
            return composed::forward::<Self>(x, weight, bias, &offsets, conv, activation).0;
        }
        run(x, weight, bias, &offsets, (conv, activation), &mut [])
    }

    fn conv1d_max_with_argmax(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        conv: Conv,
        activation: Activation,
    ) -> (FloatTensor<Self>, IntTensor<Self>) {
        let _time = profile::time("conv1d_max_with_argmax");
        let bias = bias.into_option();
        if !flex::all_f32([&x, &weight].into_iter().chain(&bias)) {
            return composed::forward::<Self>(x, weight, bias, &offsets, conv, activation);
        }
        let ([out, _], batch) = (host::dims(&weight), offsets.len() - 1);
        let mut argmax = vec![0; batch * out];
        let y = run(x, weight, bias, &offsets, (conv, activation), &mut argmax);
        (y, flex::index_tensor(argmax, [batch, out]))
    }

    fn conv1d_max_d_z(
        d_y: FloatTensor<Self>,
        y: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        if !flex::all_f32([&d_y, &y]) {
            return composed::d_z::<Self>(d_y, y, activation);
        }
        let [d_y, y] = [d_y, y].map(flex::dense);
        let [batch, out] = host::dims(&y);
        let mut d_z = unwritten(batch * out);
        kernel::d_z(flex::values(&d_y), flex::values(&y), activation, &mut d_z);
        flex::tensor(d_z, [batch, out])
    }

    fn conv1d_max_d_x(
        d_z: FloatTensor<Self>,
        argmax: IntTensor<Self>,
        weight: FloatTensor<Self>,
        offsets: Arc<[u32]>,
        conv: Conv,
    ) -> FloatTensor<Self> {
        let _time = profile::time("conv1d_max_d_x");
        if !flex::all_f32([&d_z, &weight]) {
            return composed::d_x::<Self>(d_z, argmax, weight, &offsets, conv);
        }
        let [d_z, argmax, weight] = [d_z, argmax, weight].map(flex::dense);
        let [_, columns] = host::dims(&weight);
        let (inputs, tokens) = (columns / conv.width, offsets.last().map_or(0, |&last| last as usize));
        let mut d_x = unwritten(tokens * inputs);
        let (d_z, argmax) = (flex::values(&d_z), flex::indices(&argmax));
        kernel::d_x(d_z, argmax, inputs, flex::values(&weight), &offsets, conv, &mut d_x);
        flex::tensor(d_x, [tokens, inputs])
    }

    fn conv1d_max_d_weight(
        d_z: FloatTensor<Self>,
        argmax: IntTensor<Self>,
        x: FloatTensor<Self>,
        offsets: Arc<[u32]>,
        conv: Conv,
    ) -> FloatTensor<Self> {
        let _time = profile::time("conv1d_max_d_weight");
        if !flex::all_f32([&d_z, &x]) {
            return composed::d_weight::<Self>(d_z, argmax, x, &offsets, conv);
        }
        let [d_z, argmax, x] = [d_z, argmax, x].map(flex::dense);
        let ([_, out], [_, inputs]) = (host::dims(&d_z), host::dims(&x));
        let columns = inputs * conv.width;
        let mut d_weight = unwritten(out * columns);
        let (d_z, argmax) = (flex::values(&d_z), flex::indices(&argmax));
        kernel::d_weight(d_z, argmax, flex::values(&x), inputs, &offsets, conv, &mut d_weight);
        flex::tensor(d_weight, [out, columns])
    }
}

#[cfg(feature = "cube")]
impl Conv1dMaxOps for burn::backend::Cube {}

/// What [`Conv1dMaxBackward`] needs: each factor only if the other one's gradient is wanted.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    x: Option<FloatTensor<B>>,
    weight: Option<FloatTensor<B>>,
    y: FloatTensor<B>,
    argmax: IntTensor<B>,
    offsets: Arc<[u32]>,
    conv: Conv,
    activation: Activation,
}

/// Parents: x, weight and, where there is one, bias.
#[derive(Debug)]
struct Conv1dMaxBackward;

impl<B: Conv1dMaxOps + LinearOps, const N: usize> Backward<B, N> for Conv1dMaxBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_y = grads.consume::<B>(&ops.node);
        let Saved { x, weight, y, argmax, offsets, conv, activation } = ops.state;
        let d_z = B::conv1d_max_d_z(d_y, y, activation);
        let mut parents = ops.parents.into_iter();
        let mut next = || parents.next().flatten();
        if let (Some(node), Some(weight)) = (next(), weight) {
            let d_x = B::conv1d_max_d_x(d_z.clone(), argmax.clone(), weight, offsets.clone(), conv);
            grads.register::<B>(node.id, d_x);
        }
        if let (Some(node), Some(x)) = (next(), x) {
            let d_weight = B::conv1d_max_d_weight(d_z.clone(), argmax, x, offsets, conv);
            grads.register::<B>(node.id, d_weight);
        }
        if let Some(node) = next() {
            grads.register::<B>(node.id, B::linear_d_bias(d_z));
        }
    }
}

impl<B: Conv1dMaxOps + LinearOps, C: CheckpointStrategy> Conv1dMaxOps for Autodiff<B, C> {
    fn conv1d_max_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        conv: Conv,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let bias = bias.into_option();
        let tracked =
            [x.is_tracked(), weight.is_tracked(), bias.as_ref().is_some_and(|bias| bias.is_tracked())];
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.map(|bias| bias.into_parts()).unzip();
        if tracked == [false; 3] {
            return Self::from_inner(B::conv1d_max_forward(
                x,
                weight,
                bias.into(),
                offsets,
                conv,
                activation,
            ));
        }
        let kept = (tracked[1].then(|| x.clone()), tracked[0].then(|| weight.clone()));
        let (y, argmax) =
            B::conv1d_max_with_argmax(x, weight, bias.into(), offsets.clone(), conv, activation);
        let saved = Saved { x: kept.0, weight: kept.1, y: y.clone(), argmax, offsets, conv, activation };
        match bias_node {
            Some(bias_node) => {
                let parents = [x_node, weight_node, bias_node];
                record::<B, C, _, 3>(Conv1dMaxBackward, parents, saved, y)
            }
            None => record::<B, C, _, 2>(Conv1dMaxBackward, [x_node, weight_node], saved, y),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use burn::backend::{DispatchTensor, ops::FloatTensorOps};

    use super::*;
    use crate::check::{Case, OFFSETS, normal};

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        for offsets in OFFSETS.into_iter().chain([&[0, 9, 18, 27][..]]) {
            for (conv, activation) in [
                (Conv::same(1), Activation::Identity),
                (Conv::same(4), Activation::Relu),
                (Conv::same(3), Activation::Tanh),
                (Conv { width: 3, left: 2, right: 2 }, Activation::Relu),
            ] {
                for with_bias in [true, false] {
                    let tokens = *offsets.last().unwrap() as usize;
                    let offsets: Arc<[u32]> = offsets.into();
                    let bias = |inputs: &[DispatchTensor]| inputs.get(2).cloned();
                    // Smaller weights: the largest of several sums would leave nothing of the slope of tanh.
                    let split = |inputs: &[DispatchTensor]| {
                        let weight = Dispatch::float_mul_scalar(inputs[1].clone(), 0.125.into());
                        (inputs[0].clone(), weight)
                    };
                    let mut shapes = vec![vec![tokens, 5], vec![6, 5 * conv.width]];
                    shapes.extend(with_bias.then(|| vec![6]));
                    let case = Case {
                        name: format!("conv1d_max {offsets:?} {conv:?} {activation:?} bias {with_bias}"),
                        shapes,
                        operation: &|inputs| {
                            let (x, weight) = split(inputs);
                            let (bias, offsets) = (bias(inputs).into(), offsets.clone());
                            Dispatch::conv1d_max_forward(x, weight, bias, offsets, conv, activation)
                        },
                        composed: &|inputs| {
                            let (x, weight) = split(inputs);
                            let bias = bias(inputs);
                            composed::forward::<Dispatch>(x, weight, bias, &offsets, conv, activation).0
                        },
                    };
                    checked += case.check();
                }
            }
        }
        checked
    }

    #[test]
    #[should_panic(expected = "conv1d_max: sequence 1 has 2 tokens, filters are 3 wide")]
    fn a_sequence_shorter_than_the_filters_is_refused() {
        let (x, weight) = (normal([5, 4], 1), normal([3, 12], 2));
        conv1d_max(x, weight, None, &[0, 3, 5].into(), Conv::valid(3), Activation::Relu);
    }

    #[test]
    #[should_panic(expected = "conv1d_max: gelu does not rise everywhere")]
    fn an_activation_that_falls_is_refused() {
        let (x, weight) = (normal([5, 4], 1), normal([3, 12], 2));
        conv1d_max(x, weight, None, &[0, 5].into(), Conv::valid(3), Activation::Gelu);
    }
}

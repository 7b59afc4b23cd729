//! Convolution over the tokens of each sequence.
//!
//! Paper: Kim 2014, "Convolutional neural networks for sentence classification", §2,
//! <https://arxiv.org/abs/1408.5882>.

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
        tensor::FloatTensor,
    },
};
use topwork_kernels::conv::{self as kernel, Conv};
use topwork_kernels::gemm::Precision;
use topwork_kernels::unwritten;

use crate::{flex, host, linear::LinearOps, optional::OptionalFloat, packed, profile, record::record};

/// `y[t] = bias + Σ_j weight[.., j]·x[t - left + j]` inside each sequence, zeros around it.
///
/// With [`Conv::same`] there are as many outputs as tokens; where the outputs of other kinds lie says
/// [`Conv::offsets`]. With [`Precision::Bf16`] the factors of all three products are rounded, as in
/// [`linear`](crate::linear()).
///
/// # Shapes
/// - `x`: `[tokens, in]`
/// - `weight`: `[out, in·width]`, which is PyTorch's `[out, in, width]`
/// - `bias`: `[out]`
/// - `offsets`: `[batch + 1]`, where each sequence starts and the last one ends
/// - returns: `[outputs, out]`
///
/// # Panics
/// If the shapes do not fit together, `offsets` does not rise from 0 to `tokens`, the width is zero, or there are as many
/// zeros on a side as the filters are wide.
pub fn conv1d(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    offsets: &Arc<[u32]>,
    conv: Conv,
    precision: Precision,
) -> Tensor<2> {
    check("conv1d", &x, &weight, bias.as_ref(), offsets, conv);
    let bias = OptionalFloat::from(bias.map(Tensor::into_dispatch));
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(Dispatch::conv1d_forward(x, weight, bias, offsets.clone(), conv, precision))
}

/// Stops an operation whose inputs do not fit together.
pub(crate) fn check(
    operation: &str,
    x: &Tensor<2>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
    offsets: &[u32],
    conv: Conv,
) {
    let ([tokens, inputs], [out, columns]) = (x.dims(), weight.dims());
    let Conv { width, left, right } = conv;
    assert!(
        left < width && right < width,
        "{operation}: {left} and {right} zeros around a sequence, filters are {width} wide"
    );
    assert_eq!(
        columns,
        inputs * width,
        "{operation}: weight has {columns} columns, x {inputs} times {width}"
    );
    if let Some(bias) = bias {
        let [len] = bias.dims();
        assert_eq!(len, out, "{operation}: bias has {len} values, weight {out} rows");
    }
    packed::check(operation, offsets, tokens);
}

/// [`conv1d`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait Conv1dOps: Backend {
    /// The convolution: see [`conv1d`].
    fn conv1d_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        conv: Conv,
        precision: Precision,
    ) -> FloatTensor<Self> {
        composed::forward::<Self>(x, weight, bias.into_option(), &offsets, conv, precision)
    }

    /// The gradient of `x`: `[tokens, in]`.
    fn conv1d_d_x(
        d_y: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        offsets: Arc<[u32]>,
        conv: Conv,
        precision: Precision,
    ) -> FloatTensor<Self> {
        composed::d_x::<Self>(d_y, weight, &offsets, conv, precision)
    }

    /// The gradient of `weight`: `[out, in·width]`.
    fn conv1d_d_weight(
        d_y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        offsets: Arc<[u32]>,
        conv: Conv,
        precision: Precision,
    ) -> FloatTensor<Self> {
        composed::d_weight::<Self>(d_y, x, &offsets, conv, precision)
    }
}

/// [`conv1d`] in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{
        Backend, Shape, Slice,
        tensor::{FloatTensor, IndexingUpdateOp, IntTensor},
    };
    use topwork_kernels::{conv::Conv, gemm::Precision};

    use crate::{host, linear};

    /// The convolution.
    pub fn forward<B: Backend>(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        bias: Option<FloatTensor<B>>,
        offsets: &[u32],
        conv: Conv,
        precision: Precision,
    ) -> FloatTensor<B> {
        let windows = windows::<B>(x, offsets, conv);
        linear::composed::forward::<B>(windows, by_tap::<B>(weight, conv.width), bias, precision)
    }

    /// The gradient of `x`.
    pub fn d_x<B: Backend>(
        d_y: FloatTensor<B>,
        weight: FloatTensor<B>,
        offsets: &[u32],
        conv: Conv,
        precision: Precision,
    ) -> FloatTensor<B> {
        let [_, columns] = host::dims(&weight);
        let [outputs, _] = host::dims(&d_y);
        let inputs = columns / conv.width;
        let tokens = offsets.last().map_or(0, |&last| last as usize);
        let index = index::<B>(offsets, conv, &d_y);
        let d_windows = linear::composed::d_x::<B>(d_y, by_tap::<B>(weight, conv.width), precision);
        let d_windows = B::float_reshape(d_windows, Shape::from([outputs * conv.width, inputs]));
        let zeros = host::zeros::<B>([tokens + 1, inputs], &d_windows);
        let d_x = B::float_select_assign(zeros, 0, index, d_windows, IndexingUpdateOp::Add);
        B::float_slice(d_x, &[Slice::from(0..tokens), Slice::from(0..inputs)])
    }

    /// The gradient of `weight`.
    pub fn d_weight<B: Backend>(
        d_y: FloatTensor<B>,
        x: FloatTensor<B>,
        offsets: &[u32],
        conv: Conv,
        precision: Precision,
    ) -> FloatTensor<B> {
        let [_, inputs] = host::dims(&x);
        let [_, out] = host::dims(&d_y);
        let d_weight = linear::composed::d_weight::<B>(d_y, windows::<B>(x, offsets, conv), precision);
        let d_weight = B::float_reshape(d_weight, Shape::from([out, conv.width, inputs]));
        let d_weight = B::float_swap_dims(d_weight, 1, 2);
        B::float_reshape(d_weight, Shape::from([out, inputs * conv.width]))
    }

    /// The tokens under each output, one after the other: `[outputs, width·in]`.
    fn windows<B: Backend>(x: FloatTensor<B>, offsets: &[u32], conv: Conv) -> FloatTensor<B> {
        let [_, inputs] = host::dims(&x);
        let outputs = outputs(offsets, conv);
        let index = index::<B>(offsets, conv, &x);
        let zero = host::zeros::<B>([1, inputs], &x);
        let windows = B::float_select(B::float_cat(vec![x, zero], 0), 0, index);
        B::float_reshape(windows, Shape::from([outputs, conv.width * inputs]))
    }

    /// A weight whose columns are as in [`windows`].
    fn by_tap<B: Backend>(weight: FloatTensor<B>, width: usize) -> FloatTensor<B> {
        let [out, columns] = host::dims(&weight);
        let weight = B::float_reshape(weight, Shape::from([out, columns / width, width]));
        B::float_reshape(B::float_swap_dims(weight, 1, 2), Shape::from([out, columns]))
    }

    fn outputs(offsets: &[u32], conv: Conv) -> usize {
        conv.offsets(offsets).last().map_or(0, |&last| last as usize)
    }

    /// The row of each token of each window; the row behind the last one where there is no token.
    fn index<B: Backend>(offsets: &[u32], conv: Conv, like: &FloatTensor<B>) -> IntTensor<B> {
        let Conv { width, left, .. } = conv;
        let tokens = offsets.last().map_or(0, |&last| last as usize);
        let rows: Vec<usize> = offsets
            .windows(2)
            .map(|range| range[0] as usize..range[1] as usize)
            .flat_map(|range| {
                let starts = 0..conv.outputs(range.len());
                starts
                    .flat_map(move |first| (first..first + width).map(move |at| (range.start, range.end, at)))
            })
            .map(
                |(start, end, at)| {
                    if at < left || start + at - left >= end { tokens } else { start + at - left }
                },
            )
            .collect();
        let len = rows.len();
        host::indices::<B>(rows, [len], like)
    }
}

impl Conv1dOps for Flex {
    fn conv1d_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        conv: Conv,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let _time = profile::time("conv1d_forward");
        let bias = bias.into_option();
        if !flex::all_f32([&x, &weight].into_iter().chain(&bias)) {
            return composed::forward::<Self>(x, weight, bias, &offsets, conv, precision);
        }
        let (x, weight, bias) = (flex::dense(x), flex::dense(weight), bias.map(flex::dense));
        let ([_, inputs], [out, _]) = (host::dims(&x), host::dims(&weight));
        let outputs = conv.offsets(&offsets).last().map_or(0, |&last| last as usize);
        let mut y = unwritten(outputs * out);
        let bias = bias.as_ref().map(flex::values);
        kernel::forward(
            flex::values(&x),
            inputs,
            flex::values(&weight),
            bias,
            &offsets,
            conv,
            precision,
            &mut y,
        );
        flex::tensor(y, [outputs, out])
    }

    fn conv1d_d_x(
        d_y: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        offsets: Arc<[u32]>,
        conv: Conv,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let _time = profile::time("conv1d_d_x");
        if !flex::all_f32([&d_y, &weight]) {
            return composed::d_x::<Self>(d_y, weight, &offsets, conv, precision);
        }
        let [d_y, weight] = [d_y, weight].map(flex::dense);
        let [out, columns] = host::dims(&weight);
        let (inputs, tokens) = (columns / conv.width, offsets.last().map_or(0, |&last| last as usize));
        let mut d_x = unwritten(tokens * inputs);
        kernel::d_x(flex::values(&d_y), out, flex::values(&weight), &offsets, conv, precision, &mut d_x);
        flex::tensor(d_x, [tokens, inputs])
    }

    fn conv1d_d_weight(
        d_y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        offsets: Arc<[u32]>,
        conv: Conv,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let _time = profile::time("conv1d_d_weight");
        if !flex::all_f32([&d_y, &x]) {
            return composed::d_weight::<Self>(d_y, x, &offsets, conv, precision);
        }
        let [d_y, x] = [d_y, x].map(flex::dense);
        let ([_, out], [_, inputs]) = (host::dims(&d_y), host::dims(&x));
        let columns = inputs * conv.width;
        let mut d_weight = unwritten(out * columns);
        let (d_y, x) = (flex::values(&d_y), flex::values(&x));
        kernel::d_weight(d_y, x, inputs, &offsets, conv, precision, &mut d_weight);
        flex::tensor(d_weight, [out, columns])
    }
}

#[cfg(feature = "cube")]
impl Conv1dOps for burn::backend::Cube {}

/// What [`Conv1dBackward`] needs: each factor only if the other one's gradient is wanted.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    x: Option<FloatTensor<B>>,
    weight: Option<FloatTensor<B>>,
    offsets: Arc<[u32]>,
    conv: Conv,
    precision: Precision,
}

/// Parents: x, weight and, where there is one, bias.
#[derive(Debug)]
struct Conv1dBackward;

impl<B: Conv1dOps + LinearOps, const N: usize> Backward<B, N> for Conv1dBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_y = grads.consume::<B>(&ops.node);
        let Saved { x, weight, offsets, conv, precision } = ops.state;
        let mut parents = ops.parents.into_iter();
        let mut next = || parents.next().flatten();
        if let (Some(node), Some(weight)) = (next(), weight) {
            let d_x = B::conv1d_d_x(d_y.clone(), weight, offsets.clone(), conv, precision);
            grads.register::<B>(node.id, d_x);
        }
        if let (Some(node), Some(x)) = (next(), x) {
            let d_weight = B::conv1d_d_weight(d_y.clone(), x, offsets, conv, precision);
            grads.register::<B>(node.id, d_weight);
        }
        if let Some(node) = next() {
            grads.register::<B>(node.id, B::linear_d_bias(d_y));
        }
    }
}

impl<B: Conv1dOps + LinearOps, C: CheckpointStrategy> Conv1dOps for Autodiff<B, C> {
    fn conv1d_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        conv: Conv,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let bias = bias.into_option();
        let tracked =
            [x.is_tracked(), weight.is_tracked(), bias.as_ref().is_some_and(|bias| bias.is_tracked())];
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.map(|bias| bias.into_parts()).unzip();
        let saved = Saved {
            x: tracked[1].then(|| x.clone()),
            weight: tracked[0].then(|| weight.clone()),
            offsets: offsets.clone(),
            conv,
            precision,
        };
        let y = B::conv1d_forward(x, weight, bias.into(), offsets, conv, precision);
        if tracked == [false; 3] {
            return Self::from_inner(y);
        }
        match bias_node {
            Some(bias_node) => {
                let parents = [x_node, weight_node, bias_node];
                record::<B, C, _, 3>(Conv1dBackward, parents, saved, y)
            }
            None => record::<B, C, _, 2>(Conv1dBackward, [x_node, weight_node], saved, y),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use burn::backend::DispatchTensor;

    use super::*;
    use crate::check::{Case, OFFSETS, normal};

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        let kinds = [Conv::same(1), Conv::same(4), Conv::same(3), Conv { width: 3, left: 2, right: 0 }];
        // Sequences shorter than the filters have no output.
        let valid = [(OFFSETS[2], Conv::valid(3)), (&[0, 1, 5, 5, 8][..], Conv::valid(3))];
        let same = OFFSETS.into_iter().flat_map(|offsets| kinds.map(|conv| (offsets, conv)));
        for (offsets, conv) in same.chain(valid) {
            for with_bias in [true, false] {
                let tokens = *offsets.last().unwrap() as usize;
                let offsets: Arc<[u32]> = offsets.into();
                let bias = |inputs: &[DispatchTensor]| inputs.get(2).cloned();
                let mut shapes = vec![vec![tokens, 5], vec![6, 5 * conv.width]];
                shapes.extend(with_bias.then(|| vec![6]));
                let precision = Precision::F32;
                let case = Case {
                    name: format!("conv1d {offsets:?} {conv:?} bias {with_bias}"),
                    shapes,
                    operation: &|inputs| {
                        let [x, weight] = [0, 1].map(|input| inputs[input].clone());
                        let bias = bias(inputs).into();
                        Dispatch::conv1d_forward(x, weight, bias, offsets.clone(), conv, precision)
                    },
                    composed: &|inputs| {
                        let [x, weight] = [0, 1].map(|input| inputs[input].clone());
                        composed::forward::<Dispatch>(x, weight, bias(inputs), &offsets, conv, precision)
                    },
                };
                checked += case.check();
            }
        }
        checked
    }

    #[test]
    #[should_panic(expected = "conv1d: weight has 10 columns, x 4 times 3")]
    fn a_weight_of_another_width_is_refused() {
        let offsets = [0, 2].into();
        conv1d(normal([2, 4], 1), normal([3, 10], 2), None, &offsets, Conv::same(3), Precision::F32);
    }

    #[test]
    #[should_panic(expected = "conv1d: 3 and 0 zeros around a sequence, filters are 3 wide")]
    fn windows_of_nothing_but_zeros_are_refused() {
        let conv = Conv { width: 3, left: 3, right: 0 };
        conv1d(normal([2, 4], 1), normal([3, 12], 2), None, &[0, 2].into(), conv, Precision::F32);
    }
}

//! The linear layer: `y = x·Wᵀ + b`.

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
use topwork_kernels::gemm::{self, Mat, MatMut, Packed, Precision};
use topwork_kernels::unwritten;

use crate::{columns, flex, host, optional::OptionalFloat, profile, record::record};

/// `x·weightᵀ + bias`.
///
/// With [`Precision::Bf16`] the factors of this product, and of both products of its backward, are
/// rounded to bf16 and accumulated in f32.
///
/// # Shapes
/// - `x`: `[tokens, in]`
/// - `weight`: `[out, in]`
/// - `bias`: `[out]`
/// - returns: `[tokens, out]`
///
/// # Panics
/// If the shapes do not fit together.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>, precision: Precision) -> Tensor<2> {
    let [_, width] = x.dims();
    let [out, expected] = weight.dims();
    assert_eq!(width, expected, "linear: x has {width} columns, weight takes {expected}");
    if let Some(bias) = &bias {
        let [len] = bias.dims();
        assert_eq!(len, out, "linear: bias has {len} values, weight {out} rows");
    }
    let bias = OptionalFloat::from(bias.map(Tensor::into_dispatch));
    Tensor::from_dispatch(Dispatch::linear_forward(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias,
        precision,
    ))
}

/// [`linear`] with a weight packed once, for inference: the same bits, without packing it again.
///
/// A device other than the CPU, and a pass that tracks gradients, computes with `weight` itself.
///
/// # Shapes
/// As [`linear`]; `packed` holds `weight`.
///
/// # Panics
/// If the shapes do not fit together.
pub fn linear_packed(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    packed: Arc<Packed>,
) -> Tensor<2> {
    let ([_, width], [out, expected]) = (x.dims(), weight.dims());
    assert_eq!(width, expected, "linear: x has {width} columns, weight takes {expected}");
    assert_eq!((packed.rows(), packed.cols()), (out, width), "linear_packed: panels of another weight");
    let bias = OptionalFloat::from(bias.map(Tensor::into_dispatch));
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(Dispatch::linear_packed_forward(x, weight, bias, packed))
}

/// [`linear`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait LinearOps: Backend {
    /// `x·weightᵀ + bias`: see [`linear`].
    fn linear_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: OptionalFloat<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        composed::forward::<Self>(x, weight, bias.into_option(), precision)
    }

    /// `x·weightᵀ + bias` with `weight` packed: see [`linear_packed`].
    fn linear_packed_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: OptionalFloat<Self>,
        packed: Arc<Packed>,
    ) -> FloatTensor<Self> {
        Self::linear_forward(x, weight, bias, packed.precision())
    }

    /// The gradient of `x`: `d_y·weight`, `[tokens, in]`.
    fn linear_d_x(
        d_y: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        composed::d_x::<Self>(d_y, weight, precision)
    }

    /// The gradient of `weight`: `d_yᵀ·x`, `[out, in]`.
    fn linear_d_weight(
        d_y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        composed::d_weight::<Self>(d_y, x, precision)
    }

    /// The gradient of `bias`: the column sums of `d_y`, `[out]`.
    fn linear_d_bias(d_y: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::d_bias::<Self>(d_y)
    }
}

/// [`linear`] in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{Backend, DType, FloatDType, Shape, TensorMetadata, tensor::FloatTensor};
    use topwork_kernels::gemm::Precision;

    use crate::host;

    /// `x·weightᵀ + bias`.
    pub fn forward<B: Backend>(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        bias: Option<FloatTensor<B>>,
        precision: Precision,
    ) -> FloatTensor<B> {
        let weight = B::float_transpose(round::<B>(weight, precision));
        let y = B::float_matmul(round::<B>(x, precision), weight);
        match bias {
            Some(bias) => B::float_add(y, host::row::<B>(bias)),
            None => y,
        }
    }

    /// `d_y·weight`.
    pub fn d_x<B: Backend>(
        d_y: FloatTensor<B>,
        weight: FloatTensor<B>,
        precision: Precision,
    ) -> FloatTensor<B> {
        B::float_matmul(round::<B>(d_y, precision), round::<B>(weight, precision))
    }

    /// `d_yᵀ·x`.
    pub fn d_weight<B: Backend>(
        d_y: FloatTensor<B>,
        x: FloatTensor<B>,
        precision: Precision,
    ) -> FloatTensor<B> {
        let d_y = B::float_transpose(round::<B>(d_y, precision));
        B::float_matmul(d_y, round::<B>(x, precision))
    }

    /// The column sums of `d_y`.
    pub fn d_bias<B: Backend>(d_y: FloatTensor<B>) -> FloatTensor<B> {
        let [_, out] = host::dims(&d_y);
        B::float_reshape(B::float_sum_dim(d_y, 0), Shape::from([out]))
    }

    /// A factor of a product as `precision` sees it.
    ///
    /// The product itself stays in the tensor's own type, because a bf16 product would also round
    /// its result. A device that cannot hold bf16 keeps the full factor.
    pub(crate) fn round<B: Backend>(x: FloatTensor<B>, precision: Precision) -> FloatTensor<B> {
        let dtype = x.dtype();
        match precision {
            Precision::Bf16 if dtype != DType::BF16 && B::supports_dtype(&x.device(), DType::BF16) => {
                B::float_cast(B::float_cast(x, FloatDType::BF16), FloatDType::from(dtype))
            }
            Precision::F32 | Precision::Bf16 => x,
        }
    }
}

impl LinearOps for Flex {
    fn linear_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalFloat<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let _time = profile::time("linear_forward");
        let bias = bias.into_option();
        if !flex::all_f32([&x, &weight].into_iter().chain(&bias)) {
            return composed::forward::<Self>(x, weight, bias, precision);
        }
        let (x, weight, bias) = (flex::dense(x), flex::dense(weight), bias.map(flex::dense));
        let [tokens, width] = host::dims(&x);
        let [out, _] = host::dims(&weight);
        let mut y = unwritten(tokens * out);
        gemm::nt(
            Mat::new(flex::values(&x), tokens, width),
            Mat::new(flex::values(&weight), out, width),
            MatMut::new(&mut y, tokens, out),
            bias.as_ref().map(flex::values),
            false,
            precision,
        );
        flex::tensor(y, [tokens, out])
    }

    fn linear_packed_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalFloat<Self>,
        packed: Arc<Packed>,
    ) -> FloatTensor<Self> {
        let _time = profile::time("linear_packed_forward");
        let bias = bias.into_option();
        if !flex::all_f32([&x].into_iter().chain(&bias)) {
            return composed::forward::<Self>(x, weight, bias, packed.precision());
        }
        let (x, bias) = (flex::dense(x), bias.map(flex::dense));
        let [tokens, width] = host::dims(&x);
        let out = packed.rows();
        let mut y = unwritten(tokens * out);
        let x = Mat::new(flex::values(&x), tokens, width);
        packed.nt(x, MatMut::new(&mut y, tokens, out), bias.as_ref().map(flex::values));
        flex::tensor(y, [tokens, out])
    }

    fn linear_d_x(
        d_y: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let _time = profile::time("linear_d_x");
        if !flex::all_f32([&d_y, &weight]) {
            return composed::d_x::<Self>(d_y, weight, precision);
        }
        let (d_y, weight) = (flex::dense(d_y), flex::dense(weight));
        let [tokens, out] = host::dims(&d_y);
        let [_, width] = host::dims(&weight);
        let mut d_x = unwritten(tokens * width);
        gemm::nn(
            Mat::new(flex::values(&d_y), tokens, out),
            Mat::new(flex::values(&weight), out, width),
            MatMut::new(&mut d_x, tokens, width),
            false,
            precision,
        );
        flex::tensor(d_x, [tokens, width])
    }

    fn linear_d_weight(
        d_y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let _time = profile::time("linear_d_weight");
        if !flex::all_f32([&d_y, &x]) {
            return composed::d_weight::<Self>(d_y, x, precision);
        }
        let (d_y, x) = (flex::dense(d_y), flex::dense(x));
        let [tokens, out] = host::dims(&d_y);
        let [_, width] = host::dims(&x);
        let mut d_weight = unwritten(out * width);
        gemm::tn(
            Mat::new(flex::values(&d_y), tokens, out),
            Mat::new(flex::values(&x), tokens, width),
            MatMut::new(&mut d_weight, out, width),
            false,
            precision,
        );
        flex::tensor(d_weight, [out, width])
    }

    fn linear_d_bias(d_y: FloatTensor<Self>) -> FloatTensor<Self> {
        let _time = profile::time("linear_d_bias");
        if !flex::all_f32([&d_y]) {
            return composed::d_bias::<Self>(d_y);
        }
        let d_y = flex::dense(d_y);
        let [_, out] = host::dims(&d_y);
        flex::tensor(columns::sums(flex::values(&d_y), out, 0..out), [out])
    }
}

#[cfg(feature = "cube")]
impl LinearOps for burn::backend::Cube {}

/// What [`LinearBackward`] needs: each factor only if the other one's gradient is wanted.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    x: Option<FloatTensor<B>>,
    weight: Option<FloatTensor<B>>,
    precision: Precision,
}

/// Parents: x, weight and, where there is one, bias.
#[derive(Debug)]
struct LinearBackward;

impl<B: LinearOps, const N: usize> Backward<B, N> for LinearBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_y = grads.consume::<B>(&ops.node);
        let Saved { x, weight, precision } = ops.state;
        let mut parents = ops.parents.into_iter();
        let mut next = || parents.next().flatten();
        if let (Some(node), Some(weight)) = (next(), weight) {
            let d_x = B::linear_d_x(d_y.clone(), weight, precision);
            grads.register::<B>(node.id, d_x);
        }
        if let (Some(node), Some(x)) = (next(), x) {
            let d_weight = B::linear_d_weight(d_y.clone(), x, precision);
            grads.register::<B>(node.id, d_weight);
        }
        if let Some(node) = next() {
            grads.register::<B>(node.id, B::linear_d_bias(d_y));
        }
    }
}

impl<B: LinearOps, C: CheckpointStrategy> LinearOps for Autodiff<B, C> {
    fn linear_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalFloat<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let bias = bias.into_option();
        let tracked =
            [x.is_tracked(), weight.is_tracked(), bias.as_ref().is_some_and(|bias| bias.is_tracked())];
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.map(|bias| bias.into_parts()).unzip();
        let saved =
            Saved { x: tracked[1].then(|| x.clone()), weight: tracked[0].then(|| weight.clone()), precision };
        let y = B::linear_forward(x, weight, bias.into(), precision);
        if tracked == [false; 3] {
            return Self::from_inner(y);
        }
        match bias_node {
            Some(bias_node) => {
                let parents = [x_node, weight_node, bias_node];
                record::<B, C, _, 3>(LinearBackward, parents, saved, y)
            }
            None => record::<B, C, _, 2>(LinearBackward, [x_node, weight_node], saved, y),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use burn::backend::{DispatchTensor, autodiff::checkpoint::strategy::NoCheckpointing, flex::FlexTensor};

    use super::*;
    use crate::check::{Case, close, floats, normal};

    type Tracked = Autodiff<Flex, NoCheckpointing>;

    /// Whether somebody besides `tensor` itself holds its storage.
    fn is_kept(tensor: &FlexTensor) -> bool {
        // `data_arc` hands out one more reference while we count.
        std::sync::Arc::strong_count(&tensor.data_arc()) > 2
    }

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        for (tokens, width, out) in [(1, 1, 1), (1, 5, 3), (7, 16, 33), (70, 9, 5)] {
            for with_bias in [true, false] {
                let bias = |inputs: &[DispatchTensor]| inputs.get(2).cloned();
                let mut shapes = vec![vec![tokens, width], vec![out, width]];
                shapes.extend(with_bias.then(|| vec![out]));
                let case = Case {
                    name: format!("linear {tokens}x{width}x{out}, bias {with_bias}"),
                    shapes,
                    operation: &|inputs| {
                        let [x, weight] = [0, 1].map(|input| inputs[input].clone());
                        Dispatch::linear_forward(x, weight, bias(inputs).into(), Precision::F32)
                    },
                    composed: &|inputs| {
                        let [x, weight] = [0, 1].map(|input| inputs[input].clone());
                        composed::forward::<Dispatch>(x, weight, bias(inputs), Precision::F32)
                    },
                };
                checked += case.check();
            }
        }
        checked
    }

    #[test]
    fn bf16_rounds_the_factors_of_all_three_products() {
        let [x, weight, d_y] = [([9, 20], 1), ([6, 20], 2), ([9, 6], 3)]
            .map(|(shape, seed)| normal::<2>(shape, seed).into_dispatch());
        let in_f64 = |tensor: &DispatchTensor| {
            let tensor = Tensor::<2>::from_dispatch(tensor.clone());
            tensor.cast(burn::tensor::DType::F64).into_dispatch()
        };
        let compare = |product: &dyn Fn(Precision) -> DispatchTensor, exact: DispatchTensor| {
            let [bf16, f32] = [Precision::Bf16, Precision::F32]
                .map(|precision| floats(Tensor::<2>::from_dispatch(product(precision))));
            let exact = floats(Tensor::<2>::from_dispatch(exact));
            close(&bf16, &exact, 1e-5).unwrap();
            // The rounding is there to be seen.
            assert!(close(&f32, &exact, 1e-4).is_err());
            close(&f32, &exact, 2e-2).unwrap();
        };
        let (x64, weight64, d_y64) = (in_f64(&x), in_f64(&weight), in_f64(&d_y));
        compare(
            &|p| Dispatch::linear_forward(x.clone(), weight.clone(), OptionalFloat::Absent, p),
            composed::forward::<Dispatch>(x64.clone(), weight64.clone(), None, Precision::Bf16),
        );
        compare(
            &|p| Dispatch::linear_d_x(d_y.clone(), weight.clone(), p),
            composed::d_x::<Dispatch>(d_y64.clone(), weight64, Precision::Bf16),
        );
        compare(
            &|p| Dispatch::linear_d_weight(d_y.clone(), x.clone(), p),
            composed::d_weight::<Dispatch>(d_y64, x64, Precision::Bf16),
        );
    }

    #[test]
    fn the_backward_uses_the_precision_of_the_forward() {
        let device = burn::tensor::Device::flex().autodiff();
        let grads = |precision| {
            let [x, weight] = [normal([9, 20], 1), normal([6, 20], 2)]
                .map(|tensor| Tensor::<2>::from_data(tensor.into_data(), &device).require_grad());
            let weights = Tensor::from_data(normal::<2>([9, 6], 3).into_data(), &device);
            let y = linear(x.clone(), weight.clone(), None, precision);
            let grads = (y * weights).sum().backward();
            [x, weight].map(|tensor| floats(tensor.grad(&grads).unwrap()))
        };
        for (bf16, f32) in grads(Precision::Bf16).iter().zip(&grads(Precision::F32)) {
            close(bf16, f32, 2e-2).unwrap();
            assert!(close(bf16, f32, 1e-4).is_err());
        }
    }

    #[test]
    fn only_what_the_backward_needs_is_kept() {
        let primitive = |seed| {
            crate::flex::tensor(floats(normal::<2>([4, 4], seed)).iter().map(|&v| v as f32).collect(), [4, 4])
        };
        for (x_tracked, weight_tracked) in [(true, true), (true, false), (false, true), (false, false)] {
            let (x, weight) = (primitive(1), primitive(2));
            let lift = |tensor: &FlexTensor, tracked: bool| {
                let tensor = <Tracked as AutodiffBackend>::from_inner(tensor.clone());
                if tracked { tensor.require_grad() } else { tensor }
            };
            let y = Tracked::linear_forward(
                lift(&x, x_tracked),
                lift(&weight, weight_tracked),
                OptionalFloat::Absent,
                Precision::F32,
            );
            assert_eq!(y.is_tracked(), x_tracked || weight_tracked);
            assert_eq!(is_kept(&x), weight_tracked, "x is for the gradient of the weight");
            assert_eq!(is_kept(&weight), x_tracked, "the weight is for the gradient of x");
        }
    }

    #[test]
    fn constants_of_either_device_are_taken_with_tracked_weights() {
        let autodiff = burn::tensor::Device::flex().autodiff();
        let (x, weight) = (normal::<2>([5, 4], 1), normal::<2>([3, 4], 2));
        let grad = |x: Tensor<2>| {
            let weight = Tensor::<2>::from_data(weight.to_data(), &autodiff).require_grad();
            let y = linear(x, weight.clone(), None, Precision::F32);
            floats(weight.grad(&(y.clone() * y).sum().backward()).unwrap())
        };
        let lifted = Tensor::from_data(x.to_data(), &autodiff);
        assert_eq!(grad(x), grad(lifted));
    }

    #[test]
    fn checkpointing_finds_results_that_are_not_in_the_graph() {
        let device = burn::tensor::Device::flex().autodiff();
        let grad = |device: &burn::tensor::Device| {
            let [x, weight, scale] = [([5, 4], 1), ([3, 4], 2), ([5, 3], 3)]
                .map(|(shape, seed)| Tensor::<2>::from_data(normal::<2>(shape, seed).into_data(), device));
            let scale = scale.require_grad();
            let frozen = linear(x, weight, None, Precision::F32);
            assert!(!frozen.is_tracked());
            let loss = (frozen * scale.clone()).exp().sum();
            floats(scale.grad(&loss.backward()).unwrap())
        };
        assert_eq!(grad(&device.clone().gradient_checkpointing()), grad(&device));
    }

    #[test]
    fn transposed_inputs_are_read_as_they_are_seen() {
        let (x, weight) = (normal::<2>([5, 4], 1), normal::<2>([5, 3], 2));
        let y = linear(x.clone().transpose(), weight.clone().transpose(), None, Precision::F32);
        let expected = x.transpose().matmul(weight);
        close(&floats(y), &floats(expected), 1e-6).unwrap();
    }

    #[test]
    #[should_panic(expected = "linear: x has 4 columns, weight takes 5")]
    fn a_weight_of_another_width_is_refused() {
        linear(normal([2, 4], 1), normal([3, 5], 2), None, Precision::F32);
    }
}

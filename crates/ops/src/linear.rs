//! The linear layer: `y = x·Wᵀ + b`.

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
use topwork_kernels::gemm::{self, Mat, MatMut, Precision};

use crate::{columns, flex, host, optional::OptionalFloat, record::record};

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
        let bias = bias.into_option();
        if !flex::all_f32([&x, &weight].into_iter().chain(&bias)) {
            return composed::forward::<Self>(x, weight, bias, precision);
        }
        let (x, weight, bias) = (flex::dense(x), flex::dense(weight), bias.map(flex::dense));
        let [tokens, width] = host::dims(&x);
        let [out, _] = host::dims(&weight);
        let mut y = vec![0.0; tokens * out];
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

    fn linear_d_x(
        d_y: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        if !flex::all_f32([&d_y, &weight]) {
            return composed::d_x::<Self>(d_y, weight, precision);
        }
        let (d_y, weight) = (flex::dense(d_y), flex::dense(weight));
        let [tokens, out] = host::dims(&d_y);
        let [_, width] = host::dims(&weight);
        let mut d_x = vec![0.0; tokens * width];
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
        if !flex::all_f32([&d_y, &x]) {
            return composed::d_weight::<Self>(d_y, x, precision);
        }
        let (d_y, x) = (flex::dense(d_y), flex::dense(x));
        let [tokens, out] = host::dims(&d_y);
        let [_, width] = host::dims(&x);
        let mut d_weight = vec![0.0; out * width];
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

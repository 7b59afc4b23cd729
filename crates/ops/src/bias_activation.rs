//! A bias and the activation behind it in one pass.

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
use topwork_kernels::activation::{self as kernel, Activation};
use topwork_kernels::unwritten;

use crate::{flex, host, profile, record::record};

/// `activation(x + bias)`.
///
/// # Shapes
/// - `x`, returns: `[tokens, hidden]`
/// - `bias`: `[hidden]`
///
/// # Panics
/// If the bias is not as long as the rows.
pub fn bias_activation(x: Tensor<2>, bias: Tensor<1>, activation: Activation) -> Tensor<2> {
    let ([_, hidden], [len]) = (x.dims(), bias.dims());
    assert_eq!(hidden, len, "bias_activation: x has {hidden} columns, bias {len} values");
    Tensor::from_dispatch(Dispatch::bias_activation_forward(
        x.into_dispatch(),
        bias.into_dispatch(),
        activation,
    ))
}

/// [`bias_activation`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait BiasActivationOps: Backend {
    /// `activation(x + bias)`: see [`bias_activation`].
    fn bias_activation_forward(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        composed::forward::<Self>(x, bias, activation)
    }

    /// The gradients of `x` and of `bias`.
    fn bias_activation_backward(
        d_y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::backward::<Self>(d_y, x, bias, activation)
    }
}

/// [`bias_activation`] in Burn's own operations, for any backend.
pub mod composed {
    use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

    use burn::backend::{Backend, tensor::FloatTensor};
    use topwork_kernels::activation::Activation;

    use crate::{host, linear};

    /// The cubic term of the tanh form of GELU.
    const CUBIC: f64 = 0.044715;

    /// How steep the sigmoid is that stands for the normal distribution.
    const STEEP: f64 = 1.702;

    /// `activation(x + bias)`.
    pub fn forward<B: Backend>(
        x: FloatTensor<B>,
        bias: FloatTensor<B>,
        activation: Activation,
    ) -> FloatTensor<B> {
        let x = B::float_add(x, host::row::<B>(bias));
        match activation {
            Activation::Gelu => B::float_mul(x.clone(), normal_cdf::<B>(x)),
            Activation::GeluTanh => {
                let gate = B::float_tanh(gelu_tanh_argument::<B>(x.clone()));
                let gate = B::float_add_scalar(gate, 1.0.into());
                B::float_mul(B::float_mul_scalar(x, 0.5.into()), gate)
            }
            Activation::Relu => B::float_clamp_min(x, 0.0.into()),
            Activation::QuickGelu => {
                B::float_mul(x.clone(), sigmoid::<B>(B::float_mul_scalar(x, STEEP.into())))
            }
            Activation::Silu => B::float_mul(x.clone(), sigmoid::<B>(x)),
            Activation::Tanh => B::float_tanh(x),
            Activation::Identity => x,
        }
    }

    /// The gradients of `x` and of `bias`.
    pub fn backward<B: Backend>(
        d_y: FloatTensor<B>,
        x: FloatTensor<B>,
        bias: FloatTensor<B>,
        activation: Activation,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let x = B::float_add(x, host::row::<B>(bias));
        let d_x = match slope::<B>(x, activation) {
            Some(slope) => B::float_mul(d_y, slope),
            None => d_y,
        };
        (d_x.clone(), linear::composed::d_bias::<B>(d_x))
    }

    /// The derivative of the activation; `None` is 1 everywhere.
    fn slope<B: Backend>(x: FloatTensor<B>, activation: Activation) -> Option<FloatTensor<B>> {
        let square = |x: FloatTensor<B>| B::float_mul(x.clone(), x);
        Some(match activation {
            Activation::Gelu => {
                let density = B::float_exp(B::float_mul_scalar(square(x.clone()), (-0.5).into()));
                let density = B::float_mul_scalar(density, (1.0 / (2.0 * PI).sqrt()).into());
                B::float_add(normal_cdf::<B>(x.clone()), B::float_mul(x, density))
            }
            Activation::GeluTanh => {
                let gate = B::float_tanh(gelu_tanh_argument::<B>(x.clone()));
                let inner = B::float_mul_scalar(square(x.clone()), (3.0 * CUBIC).into());
                let inner = B::float_add_scalar(inner, 1.0.into());
                let inner = B::float_mul_scalar(inner, (FRAC_2_SQRT_PI * FRAC_1_SQRT_2).into());
                let d_gate = B::float_mul(one_minus::<B>(square(gate.clone())), inner);
                let sum = B::float_add_scalar(gate, 1.0.into());
                let sum = B::float_add(sum, B::float_mul(x, d_gate));
                B::float_mul_scalar(sum, 0.5.into())
            }
            Activation::QuickGelu => {
                let x = B::float_mul_scalar(x, STEEP.into());
                let sigmoid = sigmoid::<B>(x.clone());
                let rest = B::float_mul(x, one_minus::<B>(sigmoid.clone()));
                B::float_mul(sigmoid, B::float_add_scalar(rest, 1.0.into()))
            }
            // 1 above zero, 0 at zero and below.
            Activation::Relu => B::float_sign(B::float_clamp_min(x, 0.0.into())),
            Activation::Silu => {
                let sigmoid = sigmoid::<B>(x.clone());
                let rest = B::float_mul(x, one_minus::<B>(sigmoid.clone()));
                B::float_mul(sigmoid, B::float_add_scalar(rest, 1.0.into()))
            }
            Activation::Tanh => one_minus::<B>(square(B::float_tanh(x))),
            Activation::Identity => return None,
        })
    }

    /// The cumulative distribution function of the standard normal distribution.
    fn normal_cdf<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
        let erf = B::float_erf(B::float_mul_scalar(x, FRAC_1_SQRT_2.into()));
        B::float_mul_scalar(B::float_add_scalar(erf, 1.0.into()), 0.5.into())
    }

    /// `sqrt(2 / pi) * (x + 0.044715 x³)`.
    fn gelu_tanh_argument<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
        let cubic = B::float_mul(B::float_mul(x.clone(), x.clone()), x.clone());
        let sum = B::float_add(x, B::float_mul_scalar(cubic, CUBIC.into()));
        B::float_mul_scalar(sum, (FRAC_2_SQRT_PI * FRAC_1_SQRT_2).into())
    }

    /// `1 / (1 + e^-x)`.
    pub(crate) fn sigmoid<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
        let exp = B::float_exp(B::float_neg(x));
        B::float_recip(B::float_add_scalar(exp, 1.0.into()))
    }

    /// `1 - x`.
    pub(crate) fn one_minus<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
        B::float_add_scalar(B::float_neg(x), 1.0.into())
    }
}

impl BiasActivationOps for Flex {
    fn bias_activation_forward(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _time = profile::time("bias_activation_forward");
        if !flex::all_f32([&x, &bias]) {
            return composed::forward::<Self>(x, bias, activation);
        }
        let [x, bias] = [x, bias].map(flex::dense);
        let shape: [usize; 2] = host::dims(&x);
        let mut y = unwritten(shape[0] * shape[1]);
        kernel::forward(flex::values(&x), flex::values(&bias), activation, &mut y);
        flex::tensor(y, shape)
    }

    fn bias_activation_backward(
        d_y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("bias_activation_backward");
        if !flex::all_f32([&d_y, &x, &bias]) {
            return composed::backward::<Self>(d_y, x, bias, activation);
        }
        let [d_y, x, bias] = [d_y, x, bias].map(flex::dense);
        let [tokens, hidden] = host::dims(&x);
        let mut d_x = unwritten(tokens * hidden);
        let mut d_bias = vec![0.0; hidden];
        kernel::backward(
            flex::values(&x),
            flex::values(&bias),
            activation,
            flex::values(&d_y),
            &mut d_x,
            &mut d_bias,
        );
        (flex::tensor(d_x, [tokens, hidden]), flex::tensor(d_bias, [hidden]))
    }
}

#[cfg(feature = "cube")]
impl BiasActivationOps for burn::backend::Cube {}

/// What [`BiasActivationBackward`] needs.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    x: FloatTensor<B>,
    bias: FloatTensor<B>,
    activation: Activation,
}

/// Parents: x and bias.
#[derive(Debug)]
struct BiasActivationBackward;

impl<B: BiasActivationOps> Backward<B, 2> for BiasActivationBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_y = grads.consume::<B>(&ops.node);
        let Saved { x, bias, activation } = ops.state;
        let (d_x, d_bias) = B::bias_activation_backward(d_y, x, bias, activation);
        let [x_node, bias_node] = ops.parents;
        if let Some(node) = x_node {
            grads.register::<B>(node.id, d_x);
        }
        if let Some(node) = bias_node {
            grads.register::<B>(node.id, d_bias);
        }
    }
}

impl<B: BiasActivationOps, C: CheckpointStrategy> BiasActivationOps for Autodiff<B, C> {
    fn bias_activation_forward(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let tracked = x.is_tracked() || bias.is_tracked();
        let (x, x_node) = x.into_parts();
        let (bias, bias_node) = bias.into_parts();
        if !tracked {
            return Self::from_inner(B::bias_activation_forward(x, bias, activation));
        }
        let y = B::bias_activation_forward(x.clone(), bias.clone(), activation);
        let saved = Saved { x, bias, activation };
        record::<B, C, _, 2>(BiasActivationBackward, [x_node, bias_node], saved, y)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::check::{Case, normal};

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        for activation in [
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::QuickGelu,
            Activation::Relu,
            Activation::Silu,
            Activation::Tanh,
            Activation::Identity,
        ] {
            for (tokens, hidden) in [(1, 1), (5, 33), (130, 7)] {
                let case = Case {
                    name: format!("bias_activation {activation:?} {tokens}x{hidden}"),
                    shapes: vec![vec![tokens, hidden], vec![hidden]],
                    operation: &|inputs| {
                        let [x, bias] = [0, 1].map(|input| inputs[input].clone());
                        Dispatch::bias_activation_forward(x, bias, activation)
                    },
                    composed: &|inputs| {
                        let [x, bias] = [0, 1].map(|input| inputs[input].clone());
                        composed::forward::<Dispatch>(x, bias, activation)
                    },
                };
                checked += case.check();
            }
        }
        checked
    }

    #[test]
    #[should_panic(expected = "bias_activation: x has 4 columns, bias 5 values")]
    fn a_bias_of_another_length_is_refused() {
        bias_activation(normal([2, 4], 1), normal([5], 2), Activation::Gelu);
    }
}

//! An activation and the linear layer behind it, of which only the activation's input is kept.

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
use topwork_kernels::gemm::Precision;

use crate::bias_activation::BiasActivationOps;
use crate::linear::LinearOps;
use crate::{flex, host, profile, record::record};

/// `activation(x + bias)·weightᵀ + out_bias`.
///
/// The same bits as [`bias_activation`](crate::bias_activation()) and [`linear`](crate::linear()) give one after the
/// other. What the activation gave is not kept for the backward: it comes back in the pass that computes the
/// activation's derivative. In a Transformer's feed-forward block that is the widest tensor of a layer.
///
/// # Shapes
/// - `x`: `[tokens, inner]`; `bias`: `[inner]`
/// - `weight`: `[out, inner]`; `out_bias`: `[out]`
/// - returns: `[tokens, out]`
///
/// # Panics
/// If the shapes do not fit together.
pub fn activation_linear(
    x: Tensor<2>,
    bias: Tensor<1>,
    activation: Activation,
    weight: Tensor<2>,
    out_bias: Tensor<1>,
    precision: Precision,
) -> Tensor<2> {
    let ([_, inner], [out, width]) = (x.dims(), weight.dims());
    assert_eq!([inner], bias.dims(), "activation_linear: x has {inner} columns, the bias another number");
    assert_eq!(inner, width, "activation_linear: x has {inner} columns, weight takes {width}");
    assert_eq!([out], out_bias.dims(), "activation_linear: weight has {out} rows, its bias another number");
    let [x, weight] = [x, weight].map(Tensor::into_dispatch);
    let [bias, out_bias] = [bias, out_bias].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::activation_linear_forward(
        x, bias, activation, weight, out_bias, precision,
    ))
}

/// [`activation_linear`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait ActivationLinearOps: BiasActivationOps + LinearOps {
    /// `activation(x + bias)·weightᵀ + out_bias`: see [`activation_linear`].
    fn activation_linear_forward(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
        weight: FloatTensor<Self>,
        out_bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let inner = Self::bias_activation_forward(x, bias, activation);
        Self::linear_forward(inner, weight, Some(out_bias).into(), precision)
    }

    /// `activation(x + bias)` once more, and the gradients of `x` and of `bias` for `d_inner`, its gradient.
    fn activation_linear_inner(
        d_inner: FloatTensor<Self>,
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        one_by_one::<Self>(d_inner, x, bias, activation)
    }
}

/// [`ActivationLinearOps::activation_linear_inner`] in two passes.
fn one_by_one<B: BiasActivationOps>(
    d_inner: FloatTensor<B>,
    x: FloatTensor<B>,
    bias: FloatTensor<B>,
    activation: Activation,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let inner = B::bias_activation_forward(x.clone(), bias.clone(), activation);
    let (d_x, d_bias) = B::bias_activation_backward(d_inner, x, bias, activation);
    (inner, d_x, d_bias)
}

/// [`activation_linear`] in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{Backend, tensor::FloatTensor};
    use topwork_kernels::activation::Activation;
    use topwork_kernels::gemm::Precision;

    use crate::bias_activation::composed as activated;
    use crate::linear::composed as linear;

    /// `activation(x + bias)·weightᵀ + out_bias`.
    pub fn forward<B: Backend>(
        x: FloatTensor<B>,
        bias: FloatTensor<B>,
        activation: Activation,
        weight: FloatTensor<B>,
        out_bias: FloatTensor<B>,
        precision: Precision,
    ) -> FloatTensor<B> {
        let inner = activated::forward::<B>(x, bias, activation);
        linear::forward::<B>(inner, weight, Some(out_bias), precision)
    }
}

impl ActivationLinearOps for Flex {
    fn activation_linear_inner(
        d_inner: FloatTensor<Self>,
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if !flex::all_f32([&d_inner, &x, &bias]) {
            return one_by_one::<Self>(d_inner, x, bias, activation);
        }
        let _time = profile::time("activation_linear_inner");
        let bias = flex::dense(bias);
        let [hidden] = host::dims(&bias);
        let mut d_bias = vec![0.0; hidden];
        // In place: `x` was kept for nothing else, and `d_inner` was just made.
        let (x, (d_x, ())) = flex::update(x, |x| {
            flex::update(d_inner, |d_inner| {
                kernel::backward_in_place(x, flex::values(&bias), activation, d_inner, &mut d_bias);
            })
        });
        (x, d_x, flex::tensor(d_bias, [hidden]))
    }
}

#[cfg(feature = "cube")]
impl ActivationLinearOps for burn::backend::Cube {}

/// What [`ActivationLinearBackward`] needs: the weight only if what comes before it wants a gradient.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    x: FloatTensor<B>,
    bias: FloatTensor<B>,
    activation: Activation,
    weight: Option<FloatTensor<B>>,
    precision: Precision,
}

/// Parents: x, bias, weight, out_bias.
#[derive(Debug)]
struct ActivationLinearBackward;

impl<B: ActivationLinearOps> Backward<B, 4> for ActivationLinearBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_y = grads.consume::<B>(&ops.node);
        let Saved { x, bias, activation, weight, precision } = ops.state;
        let [x_node, bias_node, weight_node, out_bias_node] = ops.parents;
        if let Some(node) = out_bias_node {
            grads.register::<B>(node.id, B::linear_d_bias(d_y.clone()));
        }
        let inner = match weight {
            None => B::bias_activation_forward(x, bias, activation),
            Some(weight) => {
                let d_inner = B::linear_d_x(d_y.clone(), weight, precision);
                let (inner, d_x, d_bias) = B::activation_linear_inner(d_inner, x, bias, activation);
                if let Some(node) = x_node {
                    grads.register::<B>(node.id, d_x);
                }
                if let Some(node) = bias_node {
                    grads.register::<B>(node.id, d_bias);
                }
                inner
            }
        };
        if let Some(node) = weight_node {
            grads.register::<B>(node.id, B::linear_d_weight(d_y, inner, precision));
        }
    }
}

impl<B: ActivationLinearOps, C: CheckpointStrategy> ActivationLinearOps for Autodiff<B, C> {
    fn activation_linear_forward(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
        weight: FloatTensor<Self>,
        out_bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let inputs = [x, bias, weight, out_bias];
        let tracked = inputs.each_ref().map(|input| input.is_tracked());
        let nodes = inputs.each_ref().map(|input| input.node());
        let [x, bias, weight, out_bias] = inputs.map(|input| input.into_primitive());
        if tracked == [false; 4] {
            let y = B::activation_linear_forward(x, bias, activation, weight, out_bias, precision);
            return Self::from_inner(y);
        }
        let saved = Saved {
            x: x.clone(),
            bias: bias.clone(),
            activation,
            weight: (tracked[0] || tracked[1]).then(|| weight.clone()),
            precision,
        };
        let y = B::activation_linear_forward(x, bias, activation, weight, out_bias, precision);
        record::<B, C, _, 4>(ActivationLinearBackward, nodes, saved, y)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::check::{Case, floats, normal};
    use crate::{bias_activation, linear};

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        for activation in [Activation::Gelu, Activation::Silu] {
            for (tokens, inner, out) in [(1, 1, 1), (5, 33, 7), (70, 9, 20)] {
                let input = |inputs: &[burn::backend::DispatchTensor]| -> [_; 4] {
                    [0, 1, 2, 3].map(|input| inputs[input].clone())
                };
                let case = Case {
                    name: format!("activation_linear {activation:?} {tokens}x{inner}x{out}"),
                    shapes: vec![vec![tokens, inner], vec![inner], vec![out, inner], vec![out]],
                    operation: &|inputs| {
                        let [x, bias, weight, out_bias] = input(inputs);
                        let precision = Precision::F32;
                        Dispatch::activation_linear_forward(x, bias, activation, weight, out_bias, precision)
                    },
                    composed: &|inputs| {
                        let [x, bias, weight, out_bias] = input(inputs);
                        let precision = Precision::F32;
                        composed::forward::<Dispatch>(x, bias, activation, weight, out_bias, precision)
                    },
                };
                checked += case.check();
            }
        }
        checked
    }

    #[test]
    fn the_two_operations_one_after_the_other_give_the_same_bits() {
        let device = burn::tensor::Device::flex().autodiff();
        let run = |fused: bool, precision| {
            let [x, weight] = [([9, 20], 1), ([6, 20], 2)].map(|(shape, seed)| {
                Tensor::<2>::from_data(normal::<2>(shape, seed).into_data(), &device).require_grad()
            });
            let [bias, out_bias] = [(20, 3), (6, 4)].map(|(len, seed)| {
                Tensor::<1>::from_data(normal::<1>([len], seed).into_data(), &device).require_grad()
            });
            let (x_in, b_in, w_in, o_in) = (x.clone(), bias.clone(), weight.clone(), out_bias.clone());
            let y = if fused {
                activation_linear(x_in, b_in, Activation::Gelu, w_in, o_in, precision)
            } else {
                linear(bias_activation(x_in, b_in, Activation::Gelu), w_in, Some(o_in), precision)
            };
            let by = Tensor::from_data(normal::<2>([9, 6], 5).into_data(), &device);
            let grads = (y.clone() * by).sum().backward();
            let mut all =
                vec![floats(y), floats(x.grad(&grads).unwrap()), floats(weight.grad(&grads).unwrap())];
            all.extend([bias, out_bias].map(|bias| floats(bias.grad(&grads).unwrap())));
            all
        };
        for precision in [Precision::F32, Precision::Bf16] {
            assert_eq!(run(true, precision), run(false, precision));
        }
    }

    #[test]
    #[should_panic(expected = "activation_linear: x has 4 columns, weight takes 5")]
    fn a_weight_of_another_width_is_refused() {
        let (x, weight) = (normal([2, 4], 1), normal([3, 5], 2));
        activation_linear(x, normal([4], 3), Activation::Gelu, weight, normal([3], 4), Precision::F32);
    }
}

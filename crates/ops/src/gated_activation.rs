//! Gated activations: SwiGLU, GeGLU and their like.
//!
//! Paper: Shazeer 2020, "GLU Variants Improve Transformer", §2, <https://arxiv.org/abs/2002.05202>.

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
use topwork_kernels::activation::Activation;
use topwork_kernels::gated::{self as kernel, Gated, GatedMut, Halves};
use topwork_kernels::unwritten;

use crate::{flex, host, optional::OptionalFloat, profile, record::record};

/// `activation(gate + bias) * (up + bias)` of the two halves of each row.
///
/// Only the input is kept for the backward.
///
/// # Shapes
/// - `x`: `[tokens, 2 * ffn]`, `halves` says which half is the gate; `bias`: `[2 * ffn]`
/// - returns: `[tokens, ffn]`
///
/// # Panics
/// If the columns are not even or the bias is not as long as the rows.
pub fn gated_activation(
    x: Tensor<2>,
    bias: Option<Tensor<1>>,
    activation: Activation,
    halves: Halves,
) -> Tensor<2> {
    let [_, width] = x.dims();
    assert!(width > 0 && width % 2 == 0, "gated_activation: {width} columns have no halves");
    if let Some(bias) = &bias {
        let [len] = bias.dims();
        assert_eq!(width, len, "gated_activation: x has {width} columns, bias {len} values");
    }
    Tensor::from_dispatch(Dispatch::gated_activation_forward(
        x.into_dispatch(),
        bias.map(Tensor::into_dispatch).into(),
        activation,
        halves,
    ))
}

/// `activation(gate) * up`, of two tensors.
///
/// # Shapes
/// - `gate`, `up`, returns: `[tokens, ffn]`
///
/// # Panics
/// If the shapes differ.
pub fn gated_product(gate: Tensor<2>, up: Tensor<2>, activation: Activation) -> Tensor<2> {
    let (of_gate, of_up) = (gate.dims(), up.dims());
    assert_eq!(of_gate, of_up, "gated_product: gate and up differ in shape");
    Tensor::from_dispatch(Dispatch::gated_product_forward(
        gate.into_dispatch(),
        up.into_dispatch(),
        activation,
    ))
}

/// [`gated_activation`] and [`gated_product`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait GatedActivationOps: Backend {
    /// See [`gated_activation`].
    fn gated_activation_forward(
        x: FloatTensor<Self>,
        #[extension_type] bias: OptionalFloat<Self>,
        activation: Activation,
        halves: Halves,
    ) -> FloatTensor<Self> {
        composed::forward::<Self>(x, bias.into_option(), activation, halves)
    }

    /// The gradients of `x` and of the bias, or what would be that of a bias.
    fn gated_activation_backward(
        d_y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        #[extension_type] bias: OptionalFloat<Self>,
        activation: Activation,
        halves: Halves,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::backward::<Self>(d_y, x, bias.into_option(), activation, halves)
    }

    /// See [`gated_product`].
    fn gated_product_forward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        composed::product::<Self>(gate, up, activation)
    }

    /// The gradients of `gate` and `up`.
    fn gated_product_backward(
        d_y: FloatTensor<Self>,
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::product_backward::<Self>(d_y, gate, up, activation)
    }
}

/// Gated activations in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{Backend, Slice, tensor::FloatTensor};
    use topwork_kernels::activation::Activation;
    use topwork_kernels::gated::Halves;

    use crate::{bias_activation::composed as activations, host, linear};

    /// `activation(gate + bias) * (up + bias)`.
    pub fn forward<B: Backend>(
        x: FloatTensor<B>,
        bias: Option<FloatTensor<B>>,
        activation: Activation,
        halves: Halves,
    ) -> FloatTensor<B> {
        let [gate, up] = split::<B>(biased::<B>(x, bias), halves);
        product::<B>(gate, up, activation)
    }

    /// The gradients of `x` and of the bias.
    pub fn backward<B: Backend>(
        d_y: FloatTensor<B>,
        x: FloatTensor<B>,
        bias: Option<FloatTensor<B>>,
        activation: Activation,
        halves: Halves,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let [gate, up] = split::<B>(biased::<B>(x, bias), halves);
        let (d_gate, d_up) = product_backward::<B>(d_y, gate, up, activation);
        let parts = if halves == Halves::GateFirst { [d_gate, d_up] } else { [d_up, d_gate] };
        let d_x = B::float_cat(parts.into(), 1);
        (d_x.clone(), linear::composed::d_bias::<B>(d_x))
    }

    /// `activation(gate) * up`.
    pub fn product<B: Backend>(
        gate: FloatTensor<B>,
        up: FloatTensor<B>,
        activation: Activation,
    ) -> FloatTensor<B> {
        let zeros = zeros::<B>(&gate);
        B::float_mul(activations::forward::<B>(gate, zeros, activation), up)
    }

    /// The gradients of `gate` and `up`.
    pub fn product_backward<B: Backend>(
        d_y: FloatTensor<B>,
        gate: FloatTensor<B>,
        up: FloatTensor<B>,
        activation: Activation,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let zeros = zeros::<B>(&gate);
        let opened = activations::forward::<B>(gate.clone(), zeros.clone(), activation);
        let d_up = B::float_mul(d_y.clone(), opened);
        let (d_gate, _) = activations::backward::<B>(B::float_mul(d_y, up), gate, zeros, activation);
        (d_gate, d_up)
    }

    fn zeros<B: Backend>(x: &FloatTensor<B>) -> FloatTensor<B> {
        let [_, width] = host::dims(x);
        host::zeros::<B>([width], x)
    }

    fn biased<B: Backend>(x: FloatTensor<B>, bias: Option<FloatTensor<B>>) -> FloatTensor<B> {
        match bias {
            Some(bias) => B::float_add(x, host::row::<B>(bias)),
            None => x,
        }
    }

    /// Gate and up.
    fn split<B: Backend>(x: FloatTensor<B>, halves: Halves) -> [FloatTensor<B>; 2] {
        let [tokens, width] = host::dims(&x);
        let [first, second] = [0..width / 2, width / 2..width]
            .map(|columns| B::float_slice(x.clone(), &[Slice::from(0..tokens), Slice::from(columns)]));
        if halves == Halves::GateFirst { [first, second] } else { [second, first] }
    }
}

impl GatedActivationOps for Flex {
    fn gated_activation_forward(
        x: FloatTensor<Self>,
        bias: OptionalFloat<Self>,
        activation: Activation,
        halves: Halves,
    ) -> FloatTensor<Self> {
        let _time = profile::time("gated_activation_forward");
        let bias = bias.into_option();
        if !flex::all_f32([&x].into_iter().chain(&bias)) {
            return composed::forward::<Self>(x, bias, activation, halves);
        }
        let (x, bias) = (flex::dense(x), bias.map(flex::dense));
        let [tokens, width] = host::dims(&x);
        let mut y = unwritten(tokens * width / 2);
        let bias = bias.as_ref().map(flex::values).unwrap_or_default();
        kernel::forward(Gated::Together(flex::values(&x), halves), bias, activation, width / 2, &mut y);
        flex::tensor(y, [tokens, width / 2])
    }

    fn gated_activation_backward(
        d_y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        bias: OptionalFloat<Self>,
        activation: Activation,
        halves: Halves,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("gated_activation_backward");
        let bias = bias.into_option();
        if !flex::all_f32([&d_y, &x].into_iter().chain(&bias)) {
            return composed::backward::<Self>(d_y, x, bias, activation, halves);
        }
        let ([d_y, x], bias) = ([d_y, x].map(flex::dense), bias.map(flex::dense));
        let [tokens, width] = host::dims(&x);
        let bias = bias.as_ref().map(flex::values).unwrap_or_default();
        let (mut d_x, mut d_bias) = (unwritten(tokens * width), unwritten(bias.len()));
        let together = Gated::Together(flex::values(&x), halves);
        let to = GatedMut::Together(&mut d_x, halves);
        kernel::backward(together, bias, activation, width / 2, flex::values(&d_y), to, &mut d_bias);
        let len = d_bias.len();
        (flex::tensor(d_x, [tokens, width]), flex::tensor(d_bias, [len]))
    }

    fn gated_product_forward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _time = profile::time("gated_product_forward");
        if !flex::all_f32([&gate, &up]) {
            return composed::product::<Self>(gate, up, activation);
        }
        let [gate, up] = [gate, up].map(flex::dense);
        let [tokens, ffn] = host::dims(&gate);
        let mut y = unwritten(tokens * ffn);
        kernel::forward(Gated::Apart(flex::values(&gate), flex::values(&up)), &[], activation, ffn, &mut y);
        flex::tensor(y, [tokens, ffn])
    }

    fn gated_product_backward(
        d_y: FloatTensor<Self>,
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("gated_product_backward");
        if !flex::all_f32([&d_y, &gate, &up]) {
            return composed::product_backward::<Self>(d_y, gate, up, activation);
        }
        let [d_y, gate, up] = [d_y, gate, up].map(flex::dense);
        let [tokens, ffn] = host::dims(&gate);
        let (mut d_gate, mut d_up) = (unwritten(tokens * ffn), unwritten(tokens * ffn));
        let apart = Gated::Apart(flex::values(&gate), flex::values(&up));
        let to = GatedMut::Apart(&mut d_gate, &mut d_up);
        kernel::backward(apart, &[], activation, ffn, flex::values(&d_y), to, &mut []);
        (flex::tensor(d_gate, [tokens, ffn]), flex::tensor(d_up, [tokens, ffn]))
    }
}

#[cfg(feature = "cube")]
impl GatedActivationOps for burn::backend::Cube {}

/// What [`GatedActivationBackward`] needs.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    x: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
    activation: Activation,
    halves: Halves,
}

/// Parents: x and, where there is one, the bias.
#[derive(Debug)]
struct GatedActivationBackward;

impl<B: GatedActivationOps, const N: usize> Backward<B, N> for GatedActivationBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_y = grads.consume::<B>(&ops.node);
        let Saved { x, bias, activation, halves } = ops.state;
        let (d_x, d_bias) = B::gated_activation_backward(d_y, x, bias.into(), activation, halves);
        for (node, grad) in ops.parents.into_iter().zip([d_x, d_bias]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

/// Parents: gate and up, which are also what it needs.
#[derive(Debug)]
struct GatedProductBackward;

impl<B: GatedActivationOps> Backward<B, 2> for GatedProductBackward {
    type State = ([FloatTensor<B>; 2], Activation);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_y = grads.consume::<B>(&ops.node);
        let ([gate, up], activation) = ops.state;
        let (d_gate, d_up) = B::gated_product_backward(d_y, gate, up, activation);
        for (node, grad) in ops.parents.into_iter().zip([d_gate, d_up]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

impl<B: GatedActivationOps, C: CheckpointStrategy> GatedActivationOps for Autodiff<B, C> {
    fn gated_activation_forward(
        x: FloatTensor<Self>,
        bias: OptionalFloat<Self>,
        activation: Activation,
        halves: Halves,
    ) -> FloatTensor<Self> {
        let bias = bias.into_option();
        let tracked = x.is_tracked() || bias.as_ref().is_some_and(|bias| bias.is_tracked());
        let (x, x_node) = x.into_parts();
        let (bias, bias_node) = bias.map(|bias| bias.into_parts()).unzip();
        let y = B::gated_activation_forward(x.clone(), bias.clone().into(), activation, halves);
        if !tracked {
            return Self::from_inner(y);
        }
        let saved = Saved { x, bias, activation, halves };
        match bias_node {
            Some(bias_node) => record::<B, C, _, 2>(GatedActivationBackward, [x_node, bias_node], saved, y),
            None => record::<B, C, _, 1>(GatedActivationBackward, [x_node], saved, y),
        }
    }

    fn gated_product_forward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let tracked = gate.is_tracked() || up.is_tracked();
        let ((gate, gate_node), (up, up_node)) = (gate.into_parts(), up.into_parts());
        let y = B::gated_product_forward(gate.clone(), up.clone(), activation);
        if !tracked {
            return Self::from_inner(y);
        }
        let parents = [gate_node, up_node];
        record::<B, C, _, 2>(GatedProductBackward, parents, ([gate, up], activation), y)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::check::{Case, close, floats, normal};

    const ACTIVATIONS: [Activation; 7] = [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Relu,
        Activation::Silu,
        Activation::Tanh,
        Activation::Identity,
    ];

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        for activation in ACTIVATIONS {
            for halves in [Halves::GateFirst, Halves::UpFirst] {
                for (tokens, ffn, bias) in [(1, 1, true), (5, 33, false), (70, 7, true)] {
                    let mut shapes = vec![vec![tokens, 2 * ffn]];
                    if bias {
                        shapes.push(vec![2 * ffn]);
                    }
                    let case = Case {
                        name: format!("gated_activation {activation:?} {halves:?} {tokens}x{ffn}, {bias}"),
                        shapes,
                        operation: &|inputs| {
                            let bias = inputs.get(1).cloned().into();
                            Dispatch::gated_activation_forward(inputs[0].clone(), bias, activation, halves)
                        },
                        composed: &|inputs| {
                            let bias = inputs.get(1).cloned();
                            composed::forward::<Dispatch>(inputs[0].clone(), bias, activation, halves)
                        },
                    };
                    checked += case.check();
                }
            }
        }
        checked
    }

    pub(crate) fn product_gradients() -> usize {
        let mut checked = 0;
        for activation in ACTIVATIONS {
            for (tokens, ffn) in [(1, 1), (70, 33)] {
                let case = Case {
                    name: format!("gated_product {activation:?} {tokens}x{ffn}"),
                    shapes: vec![vec![tokens, ffn]; 2],
                    operation: &|inputs| {
                        let [gate, up] = [0, 1].map(|input| inputs[input].clone());
                        Dispatch::gated_product_forward(gate, up, activation)
                    },
                    composed: &|inputs| {
                        let [gate, up] = [0, 1].map(|input| inputs[input].clone());
                        composed::product::<Dispatch>(gate, up, activation)
                    },
                };
                checked += case.check();
            }
        }
        checked
    }

    #[test]
    fn the_two_functions_agree() {
        let (gate, up) = (normal::<2>([5, 9], 1), normal::<2>([5, 9], 2));
        let expected = floats(gated_product(gate.clone(), up.clone(), Activation::Silu));
        for (halves, parts) in
            [(Halves::GateFirst, vec![gate.clone(), up.clone()]), (Halves::UpFirst, vec![up, gate])]
        {
            let x = Tensor::cat(parts, 1);
            close(&floats(gated_activation(x, None, Activation::Silu, halves)), &expected, 1e-7).unwrap();
        }
    }

    #[test]
    #[should_panic(expected = "gated_activation: x has 4 columns, bias 2 values")]
    fn a_bias_of_another_length_is_refused() {
        gated_activation(normal([2, 4], 1), Some(normal([2], 2)), Activation::Silu, Halves::GateFirst);
    }

    #[test]
    #[should_panic(expected = "gated_activation: 5 columns have no halves")]
    fn an_odd_width_is_refused() {
        gated_activation(normal([2, 5], 1), None, Activation::Silu, Halves::GateFirst);
    }

    #[test]
    #[should_panic(expected = "gated_product: gate and up differ in shape")]
    fn gates_of_another_shape_are_refused() {
        gated_product(normal([2, 4], 1), normal([2, 5], 1), Activation::Silu);
    }
}

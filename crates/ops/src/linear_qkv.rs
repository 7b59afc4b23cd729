//! The three projections of attention as one operation: one read of `x`, one gradient of `x`.

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

use crate::{columns, flex, host, profile, record::record};

/// Queries, keys and values of `x`, side by side.
///
/// The gradient of `x` is accumulated over the three products in one buffer; nothing is ever
/// concatenated or sliced.
///
/// # Shapes
/// - `x`: `[tokens, hidden]`
/// - `weights`: query, key and value, each `[out, hidden]`
/// - `biases`: query, key and value, each `[out]`
/// - returns: `[tokens, 3 * out]`
///
/// # Panics
/// If the shapes do not fit together.
pub fn linear_qkv(
    x: Tensor<2>,
    weights: [Tensor<2>; 3],
    biases: [Tensor<1>; 3],
    precision: Precision,
) -> Tensor<2> {
    check(&x, &weights, &biases);
    let [q, k, v] = weights.map(Tensor::into_dispatch);
    let [q_bias, k_bias, v_bias] = biases.map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::linear_qkv_forward(
        x.into_dispatch(),
        q,
        k,
        v,
        q_bias,
        k_bias,
        v_bias,
        precision,
    ))
}

/// [`linear_qkv`] with the three weights packed once on each other, for inference: the same bits.
///
/// A device other than the CPU, and a pass that tracks gradients, computes with `weights` themselves.
///
/// # Shapes
/// As [`linear_qkv`]; `packed` holds `weights`.
///
/// # Panics
/// If the shapes do not fit together.
pub fn linear_qkv_packed(
    x: Tensor<2>,
    weights: [Tensor<2>; 3],
    biases: [Tensor<1>; 3],
    packed: Arc<Packed>,
) -> Tensor<2> {
    check(&x, &weights, &biases);
    let ([_, hidden], [out, _]) = (x.dims(), weights[0].dims());
    let shape = (packed.rows(), packed.cols());
    assert_eq!(shape, (3 * out, hidden), "linear_qkv_packed: panels of other weights");
    let [q, k, v] = weights.map(Tensor::into_dispatch);
    let [q_bias, k_bias, v_bias] = biases.map(Tensor::into_dispatch);
    let x = x.into_dispatch();
    Tensor::from_dispatch(Dispatch::linear_qkv_packed_forward(x, q, k, v, q_bias, k_bias, v_bias, packed))
}

fn check(x: &Tensor<2>, weights: &[Tensor<2>; 3], biases: &[Tensor<1>; 3]) {
    let [_, hidden] = x.dims();
    let [out, _] = weights[0].dims();
    for (part, (weight, bias)) in ["query", "key", "value"].iter().zip(weights.iter().zip(biases)) {
        let (weight, bias) = (weight.dims(), bias.dims());
        assert_eq!(weight, [out, hidden], "linear_qkv: the {part} weight has the wrong shape");
        assert_eq!(bias, [out], "linear_qkv: the {part} bias has the wrong shape");
    }
}

/// [`linear_qkv`] on a backend's primitives. A `part` is 0 for queries, 1 for keys, 2 for values.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
#[allow(clippy::too_many_arguments)]
pub trait LinearQkvOps: Backend {
    /// The three projections side by side: see [`linear_qkv`].
    fn linear_qkv_forward(
        x: FloatTensor<Self>,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        q_bias: FloatTensor<Self>,
        k_bias: FloatTensor<Self>,
        v_bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        composed::forward::<Self>(x, [q, k, v], [q_bias, k_bias, v_bias], precision)
    }

    /// The three projections with packed weights: see [`linear_qkv_packed`].
    fn linear_qkv_packed_forward(
        x: FloatTensor<Self>,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        q_bias: FloatTensor<Self>,
        k_bias: FloatTensor<Self>,
        v_bias: FloatTensor<Self>,
        packed: Arc<Packed>,
    ) -> FloatTensor<Self> {
        Self::linear_qkv_forward(x, q, k, v, q_bias, k_bias, v_bias, packed.precision())
    }

    /// The gradient of `x`, summed over the three products: `[tokens, hidden]`.
    fn linear_qkv_d_x(
        d_y: FloatTensor<Self>,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        composed::d_x::<Self>(d_y, [q, k, v], precision)
    }

    /// The gradient of the weight of `part`: `[out, hidden]`.
    fn linear_qkv_d_weight(
        d_y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        part: usize,
        precision: Precision,
    ) -> FloatTensor<Self> {
        composed::d_weight::<Self>(d_y, x, part, precision)
    }

    /// The gradient of the bias of `part`: `[out]`.
    fn linear_qkv_d_bias(d_y: FloatTensor<Self>, part: usize) -> FloatTensor<Self> {
        composed::d_bias::<Self>(d_y, part)
    }
}

/// [`linear_qkv`] in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{Backend, Slice, tensor::FloatTensor};
    use topwork_kernels::gemm::Precision;

    use crate::{host, linear::composed as linear};

    /// The three projections, concatenated.
    pub fn forward<B: Backend>(
        x: FloatTensor<B>,
        weights: [FloatTensor<B>; 3],
        biases: [FloatTensor<B>; 3],
        precision: Precision,
    ) -> FloatTensor<B> {
        let parts = weights.into_iter().zip(biases);
        let parts = parts
            .map(|(weight, bias)| linear::forward::<B>(x.clone(), weight, Some(bias), precision))
            .collect();
        B::float_cat(parts, 1)
    }

    /// The gradient of `x`.
    pub fn d_x<B: Backend>(
        d_y: FloatTensor<B>,
        weights: [FloatTensor<B>; 3],
        precision: Precision,
    ) -> FloatTensor<B> {
        let [d_q, d_k, d_v] = [0, 1, 2].map(|part| columns::<B>(d_y.clone(), part));
        let [q, k, v] = weights;
        let d_x = linear::d_x::<B>(d_q, q, precision);
        let d_x = B::float_add(d_x, linear::d_x::<B>(d_k, k, precision));
        B::float_add(d_x, linear::d_x::<B>(d_v, v, precision))
    }

    /// The gradient of the weight of `part`.
    pub fn d_weight<B: Backend>(
        d_y: FloatTensor<B>,
        x: FloatTensor<B>,
        part: usize,
        precision: Precision,
    ) -> FloatTensor<B> {
        linear::d_weight::<B>(columns::<B>(d_y, part), x, precision)
    }

    /// The gradient of the bias of `part`.
    pub fn d_bias<B: Backend>(d_y: FloatTensor<B>, part: usize) -> FloatTensor<B> {
        linear::d_bias::<B>(columns::<B>(d_y, part))
    }

    /// The columns of `d_y` that belong to `part`.
    fn columns<B: Backend>(d_y: FloatTensor<B>, part: usize) -> FloatTensor<B> {
        let [tokens, width] = host::dims(&d_y);
        let out = width / 3;
        let columns = part * out..(part + 1) * out;
        B::float_slice(d_y, &[Slice::from(0..tokens), Slice::from(columns)])
    }
}

impl LinearQkvOps for Flex {
    fn linear_qkv_forward(
        x: FloatTensor<Self>,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        q_bias: FloatTensor<Self>,
        k_bias: FloatTensor<Self>,
        v_bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let _time = profile::time("linear_qkv_forward");
        if !flex::all_f32([&x, &q, &k, &v, &q_bias, &k_bias, &v_bias]) {
            let (weights, biases) = ([q, k, v], [q_bias, k_bias, v_bias]);
            return composed::forward::<Self>(x, weights, biases, precision);
        }
        let x = flex::dense(x);
        let [tokens, hidden] = host::dims(&x);
        let [out, _] = host::dims(&q);
        let width = 3 * out;
        let mut y = unwritten(tokens * width);
        let parts = [(q, q_bias), (k, k_bias), (v, v_bias)];
        for (part, (weight, bias)) in parts.into_iter().enumerate() {
            let (weight, bias) = (flex::dense(weight), flex::dense(bias));
            gemm::nt(
                Mat::new(flex::values(&x), tokens, hidden),
                Mat::new(flex::values(&weight), out, hidden),
                MatMut::strided(part_of_mut(&mut y, part, out), tokens, out, width),
                Some(flex::values(&bias)),
                false,
                precision,
            );
        }
        flex::tensor(y, [tokens, width])
    }

    fn linear_qkv_packed_forward(
        x: FloatTensor<Self>,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        q_bias: FloatTensor<Self>,
        k_bias: FloatTensor<Self>,
        v_bias: FloatTensor<Self>,
        packed: Arc<Packed>,
    ) -> FloatTensor<Self> {
        let _time = profile::time("linear_qkv_packed_forward");
        if !flex::all_f32([&x, &q_bias, &k_bias, &v_bias]) {
            let (weights, biases) = ([q, k, v], [q_bias, k_bias, v_bias]);
            return composed::forward::<Self>(x, weights, biases, packed.precision());
        }
        let (x, biases) = (flex::dense(x), [q_bias, k_bias, v_bias].map(flex::dense));
        let bias = biases.each_ref().map(flex::values).concat();
        let [tokens, hidden] = host::dims(&x);
        let width = packed.rows();
        let mut y = unwritten(tokens * width);
        let x = Mat::new(flex::values(&x), tokens, hidden);
        packed.nt(x, MatMut::new(&mut y, tokens, width), Some(&bias));
        flex::tensor(y, [tokens, width])
    }

    fn linear_qkv_d_x(
        d_y: FloatTensor<Self>,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let _time = profile::time("linear_qkv_d_x");
        if !flex::all_f32([&d_y, &q, &k, &v]) {
            return composed::d_x::<Self>(d_y, [q, k, v], precision);
        }
        let d_y = flex::dense(d_y);
        let [tokens, width] = host::dims(&d_y);
        let [out, hidden] = host::dims(&q);
        let mut d_x = unwritten(tokens * hidden);
        for (part, weight) in [q, k, v].into_iter().enumerate() {
            let weight = flex::dense(weight);
            gemm::nn(
                Mat::strided(part_of(flex::values(&d_y), part, out), tokens, out, width),
                Mat::new(flex::values(&weight), out, hidden),
                MatMut::new(&mut d_x, tokens, hidden),
                part > 0,
                precision,
            );
        }
        flex::tensor(d_x, [tokens, hidden])
    }

    fn linear_qkv_d_weight(
        d_y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        part: usize,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let _time = profile::time("linear_qkv_d_weight");
        if !flex::all_f32([&d_y, &x]) {
            return composed::d_weight::<Self>(d_y, x, part, precision);
        }
        let (d_y, x) = (flex::dense(d_y), flex::dense(x));
        let [tokens, width] = host::dims(&d_y);
        let [_, hidden] = host::dims(&x);
        let out = width / 3;
        let mut d_weight = unwritten(out * hidden);
        gemm::tn(
            Mat::strided(part_of(flex::values(&d_y), part, out), tokens, out, width),
            Mat::new(flex::values(&x), tokens, hidden),
            MatMut::new(&mut d_weight, out, hidden),
            false,
            precision,
        );
        flex::tensor(d_weight, [out, hidden])
    }

    fn linear_qkv_d_bias(d_y: FloatTensor<Self>, part: usize) -> FloatTensor<Self> {
        let _time = profile::time("linear_qkv_d_bias");
        if !flex::all_f32([&d_y]) {
            return composed::d_bias::<Self>(d_y, part);
        }
        let d_y = flex::dense(d_y);
        let [_, width] = host::dims(&d_y);
        let out = width / 3;
        let sums = columns::sums(flex::values(&d_y), width, part * out..(part + 1) * out);
        flex::tensor(sums, [out])
    }
}

/// From the first column of `part` on. An empty batch has no columns to step over.
fn part_of(values: &[f32], part: usize, out: usize) -> &[f32] {
    values.get(part * out..).unwrap_or_default()
}

/// [`part_of`], to write.
fn part_of_mut(values: &mut [f32], part: usize, out: usize) -> &mut [f32] {
    values.get_mut(part * out..).unwrap_or_default()
}

#[cfg(feature = "cube")]
impl LinearQkvOps for burn::backend::Cube {}

/// What [`LinearQkvBackward`] needs: the weights if `x` wants a gradient, `x` if a weight does.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    x: Option<FloatTensor<B>>,
    weights: Option<[FloatTensor<B>; 3]>,
    precision: Precision,
}

/// Parents: x, the three weights, the three biases.
#[derive(Debug)]
struct LinearQkvBackward;

impl<B: LinearQkvOps> Backward<B, 7> for LinearQkvBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 7>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_y = grads.consume::<B>(&ops.node);
        let Saved { x, weights, precision } = ops.state;
        let [x_node, q, k, v, q_bias, k_bias, v_bias] = ops.parents;
        if let (Some(node), Some([q, k, v])) = (x_node, weights) {
            let d_x = B::linear_qkv_d_x(d_y.clone(), q, k, v, precision);
            grads.register::<B>(node.id, d_x);
        }
        for (part, node) in [q, k, v].into_iter().enumerate() {
            if let (Some(node), Some(x)) = (node, &x) {
                let d_weight = B::linear_qkv_d_weight(d_y.clone(), x.clone(), part, precision);
                grads.register::<B>(node.id, d_weight);
            }
        }
        for (part, node) in [q_bias, k_bias, v_bias].into_iter().enumerate() {
            if let Some(node) = node {
                grads.register::<B>(node.id, B::linear_qkv_d_bias(d_y.clone(), part));
            }
        }
    }
}

impl<B: LinearQkvOps, C: CheckpointStrategy> LinearQkvOps for Autodiff<B, C> {
    fn linear_qkv_forward(
        x: FloatTensor<Self>,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        q_bias: FloatTensor<Self>,
        k_bias: FloatTensor<Self>,
        v_bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let inputs = [x, q, k, v, q_bias, k_bias, v_bias];
        let tracked = inputs.each_ref().map(|input| input.is_tracked());
        let nodes = inputs.each_ref().map(|input| input.node());
        let [x, q, k, v, q_bias, k_bias, v_bias] = inputs.map(|input| input.into_primitive());
        let any_weight = tracked[1..4].contains(&true);
        let saved = Saved {
            x: any_weight.then(|| x.clone()),
            weights: tracked[0].then(|| [q.clone(), k.clone(), v.clone()]),
            precision,
        };
        let y = B::linear_qkv_forward(x, q, k, v, q_bias, k_bias, v_bias, precision);
        if tracked == [false; 7] {
            return Self::from_inner(y);
        }
        record::<B, C, _, 7>(LinearQkvBackward, nodes, saved, y)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        check::{Case, close, floats, normal},
        linear,
    };

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        for (tokens, hidden, out) in [(1, 1, 1), (7, 12, 12), (66, 8, 5)] {
            let weight = vec![out, hidden];
            let bias = vec![out];
            let case = Case {
                name: format!("linear_qkv {tokens}x{hidden}x{out}"),
                shapes: [vec![vec![tokens, hidden]], vec![weight; 3], vec![bias; 3]].concat(),
                operation: &|inputs| {
                    let [x, q, k, v, q_bias, k_bias, v_bias] =
                        [0, 1, 2, 3, 4, 5, 6].map(|input| inputs[input].clone());
                    Dispatch::linear_qkv_forward(x, q, k, v, q_bias, k_bias, v_bias, Precision::F32)
                },
                composed: &|inputs| {
                    let [x, q, k, v, q_bias, k_bias, v_bias] =
                        [0, 1, 2, 3, 4, 5, 6].map(|input| inputs[input].clone());
                    let (weights, biases) = ([q, k, v], [q_bias, k_bias, v_bias]);
                    composed::forward::<Dispatch>(x, weights, biases, Precision::F32)
                },
            };
            checked += case.check();
        }
        checked
    }

    #[test]
    fn equals_three_linear_layers_in_both_precisions() {
        for precision in [Precision::F32, Precision::Bf16] {
            let device = burn::tensor::Device::flex().autodiff();
            let leaf = |shape, seed| {
                let data = normal::<2>(shape, seed).into_data();
                Tensor::<2>::from_data(data, &device).require_grad()
            };
            let x = leaf([9, 16], 1);
            let weights = [2, 3, 4].map(|seed| leaf([16, 16], seed));
            let biases = [5, 6, 7].map(|seed| {
                Tensor::<1>::from_data(normal::<1>([16], seed).into_data(), &device).require_grad()
            });
            let scale = Tensor::from_data(normal::<2>([9, 48], 8).into_data(), &device);

            let together = linear_qkv(x.clone(), weights.clone(), biases.clone(), precision);
            let parts = weights
                .iter()
                .zip(&biases)
                .map(|(weight, bias)| linear(x.clone(), weight.clone(), Some(bias.clone()), precision));
            let apart = Tensor::cat(parts.collect(), 1);
            assert_eq!(floats(together.clone()), floats(apart.clone()), "{precision:?}");
            let [together, apart] = [together, apart].map(|y| (y * scale.clone()).sum().backward());
            let same = |got: Option<Vec<f64>>, expected: Option<Vec<f64>>| {
                close(&got.unwrap(), &expected.unwrap(), 1e-6).unwrap();
            };
            for leaf in weights.iter().chain([&x]) {
                same(leaf.grad(&together).map(floats), leaf.grad(&apart).map(floats));
            }
            for leaf in &biases {
                same(leaf.grad(&together).map(floats), leaf.grad(&apart).map(floats));
            }
        }
    }

    #[test]
    #[should_panic(expected = "linear_qkv: the value weight has the wrong shape")]
    fn a_weight_of_another_shape_is_refused() {
        let weights = [normal([4, 4], 1), normal([4, 4], 2), normal([4, 5], 3)];
        let biases = [4, 5, 6].map(|seed| normal([4], seed));
        linear_qkv(normal([2, 4], 7), weights, biases, Precision::F32);
    }
}

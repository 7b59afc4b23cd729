//! AdamW in one pass over parameter, gradient and both moments, equal to `torch.optim.AdamW`.
//!
//! Paper: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", Algorithm 2,
//! <https://arxiv.org/abs/1711.05101>.

use std::sync::Arc;

use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, DispatchTensor, Flex, TensorMetadata,
    autodiff::checkpoint::strategy::CheckpointStrategy, backend_extension, tensor::FloatTensor,
};
use topwork_kernels::adamw::{self as kernel, AdamW};

use crate::{flex, host, profile};

/// The gradient of a parameter.
#[derive(Clone, Debug)]
pub enum Gradient {
    /// One value for each value of the parameter, in its shape.
    Dense(DispatchTensor),
    /// Some rows of the gradient of a matrix. All others are zero.
    Rows {
        /// Which rows, rising: `[rows]`.
        rows: Arc<[u32]>,
        /// Those rows: `[rows, hidden]`.
        grad: DispatchTensor,
    },
}

/// One AdamW step: the new parameter and its new first and second moment.
///
/// Happens in place where nobody else holds the tensors and the backend can. Rows that the gradient
/// leaves out get exactly the step of a zero gradient: their moments and their weight decay.
///
/// # Shapes
/// - `param`, `m`, `v`, and each returned: the same shape, of any rank
///
/// # Panics
/// If the shapes differ, or rows are given for something other than a matrix that has them.
pub fn adamw(
    param: DispatchTensor,
    grad: Gradient,
    m: DispatchTensor,
    v: DispatchTensor,
    config: &AdamW,
) -> (DispatchTensor, DispatchTensor, DispatchTensor) {
    let shape = param.shape();
    assert!(
        m.shape() == shape && v.shape() == shape,
        "adamw: a parameter of shape {shape} has moments of shapes {} and {}",
        m.shape(),
        v.shape()
    );
    match grad {
        Gradient::Dense(grad) => {
            let got = grad.shape();
            assert!(got == shape, "adamw: a parameter of shape {shape} has a gradient of shape {got}");
            Dispatch::adamw_dense(param, grad, m, v, *config)
        }
        Gradient::Rows { rows, grad } => {
            let got = grad.shape();
            assert!(
                shape.rank() == 2 && got.rank() == 2 && got[0] == rows.len() && got[1] == shape[1],
                "adamw: a parameter of shape {shape} has a gradient of shape {got} for {} rows",
                rows.len()
            );
            assert!(
                rows.is_sorted_by(|a, b| a < b) && rows.last().is_none_or(|&last| (last as usize) < shape[0]),
                "adamw: rows must rise and stay below {}",
                shape[0]
            );
            Dispatch::adamw_rows(param, grad, m, v, rows, *config)
        }
    }
}

/// [`adamw()`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait AdamWOps: Backend {
    /// A step with a dense gradient: see [`adamw()`].
    fn adamw_dense(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        config: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composed::dense::<Self>(param, grad, m, v, &config)
    }

    /// A step with some rows of a gradient: see [`adamw()`].
    fn adamw_rows(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        rows: Arc<[u32]>,
        config: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composed::rows::<Self>(param, grad, m, v, &rows, &config)
    }
}

/// [`adamw()`] in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{Backend, tensor::FloatTensor};
    use topwork_kernels::adamw::AdamW;

    use crate::{embedding, host};

    /// A step with a dense gradient.
    pub fn dense<B: Backend>(
        param: FloatTensor<B>,
        grad: FloatTensor<B>,
        m: FloatTensor<B>,
        v: FloatTensor<B>,
        config: &AdamW,
    ) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
        let AdamW { lr, beta1, beta2, eps, weight_decay, step, grad_scale } = *config;
        let scale = |tensor, by: f64| B::float_mul_scalar(tensor, by.into());
        let step = step as f64;
        let grad = scale(grad, f64::from(grad_scale));
        let square = B::float_mul(grad.clone(), grad.clone());
        let m = B::float_add(scale(m, beta1), scale(grad, 1.0 - beta1));
        let v = B::float_add(scale(v, beta2), scale(square, 1.0 - beta2));
        let root = scale(B::float_sqrt(v.clone()), 1.0 / (1.0 - beta2.powf(step)).sqrt());
        let update = B::float_div(m.clone(), B::float_add_scalar(root, eps.into()));
        let update = scale(update, lr / (1.0 - beta1.powf(step)));
        let param = B::float_sub(scale(param, 1.0 - lr * weight_decay), update);
        (param, m, v)
    }

    /// A step with some rows of a gradient, scattered into zeros.
    pub fn rows<B: Backend>(
        param: FloatTensor<B>,
        grad: FloatTensor<B>,
        m: FloatTensor<B>,
        v: FloatTensor<B>,
        rows: &[u32],
        config: &AdamW,
    ) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
        let [all, _] = host::dims(&param);
        let grad = embedding::composed::d_table::<B>(grad, rows, all);
        dense::<B>(param, grad, m, v, config)
    }
}

/// Runs `step` on the elements of the three tensors, in place where they are not shared.
fn in_place(
    param: FloatTensor<Flex>,
    m: FloatTensor<Flex>,
    v: FloatTensor<Flex>,
    step: impl FnOnce(&mut [f32], &mut [f32], &mut [f32]),
) -> (FloatTensor<Flex>, FloatTensor<Flex>, FloatTensor<Flex>) {
    let (v, (m, (param, ()))) =
        flex::update(v, |v| flex::update(m, |m| flex::update(param, |param| step(param, m, v))));
    (param, m, v)
}

impl AdamWOps for Flex {
    fn adamw_dense(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        config: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("adamw_dense");
        if !flex::all_f32([&param, &grad, &m, &v]) {
            return composed::dense::<Self>(param, grad, m, v, &config);
        }
        let grad = flex::dense(grad);
        in_place(param, m, v, |param, m, v| {
            kernel::dense(param, flex::values(&grad), m, v, &config);
        })
    }

    fn adamw_rows(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        rows: Arc<[u32]>,
        config: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("adamw_rows");
        if !flex::all_f32([&param, &grad, &m, &v]) {
            return composed::rows::<Self>(param, grad, m, v, &rows, &config);
        }
        let grad = flex::dense(grad);
        let [_, hidden] = host::dims(&param);
        in_place(param, m, v, |param, m, v| {
            kernel::rows(param, hidden, &rows, flex::values(&grad), m, v, &config);
        })
    }
}

#[cfg(feature = "cube")]
impl AdamWOps for burn::backend::Cube {}

/// A step is not differentiated: what it returns is a new leaf.
impl<B: AdamWOps, C: CheckpointStrategy> AdamWOps for Autodiff<B, C> {
    fn adamw_dense(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        config: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [param, grad, m, v] = [param, grad, m, v].map(|tensor| tensor.into_primitive());
        let (param, m, v) = B::adamw_dense(param, grad, m, v, config);
        (Self::from_inner(param), Self::from_inner(m), Self::from_inner(v))
    }

    fn adamw_rows(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        rows: Arc<[u32]>,
        config: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [param, grad, m, v] = [param, grad, m, v].map(|tensor| tensor.into_primitive());
        let (param, m, v) = B::adamw_rows(param, grad, m, v, rows, config);
        (Self::from_inner(param), Self::from_inner(m), Self::from_inner(v))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use burn::Tensor;

    use super::*;
    use crate::check::{close, floats, normal};

    fn settings(step: u64) -> AdamW {
        AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.98, eps: 1e-6, weight_decay: 0.1, step, grad_scale: 0.5 }
    }

    fn values(tensor: &DispatchTensor) -> Vec<f64> {
        floats(Tensor::<2>::from_dispatch(tensor.clone()))
    }

    /// Parameter, first moment and second moment.
    fn start(rows: usize, hidden: usize) -> [DispatchTensor; 3] {
        let [param, m, v] = [1, 2, 3].map(|seed| normal::<2>([rows, hidden], seed));
        [param, m, v.powf_scalar(2.0)].map(Tensor::into_dispatch)
    }

    /// The algorithm of the paper in f64.
    fn reference(state: [Vec<f64>; 3], grad: &[f64], by: &AdamW) -> [Vec<f64>; 3] {
        let [mut param, mut m, mut v] = state;
        let (step, scale) = (by.step as f64, f64::from(by.grad_scale));
        for (at, grad) in grad.iter().enumerate() {
            let grad = grad * scale;
            m[at] = by.beta1 * m[at] + (1.0 - by.beta1) * grad;
            v[at] = by.beta2 * v[at] + (1.0 - by.beta2) * grad * grad;
            let m = m[at] / (1.0 - by.beta1.powf(step));
            let v = v[at] / (1.0 - by.beta2.powf(step));
            param[at] -= by.lr * by.weight_decay * param[at] + by.lr * m / (v.sqrt() + by.eps);
        }
        [param, m, v]
    }

    pub(crate) fn steps() -> usize {
        let mut checked = 0;
        for (all, hidden, rows) in [(1, 1, &[0][..]), (9, 5, &[1, 4, 8]), (300, 33, &[])] {
            for step in [1, 7] {
                let by = settings(step);
                let rows: Arc<[u32]> = rows.into();
                let dense = normal::<2>([all, hidden], 4);
                let some = normal::<2>([rows.len().max(1), hidden], 5).slice(0..rows.len());
                let mut scattered = vec![0.0; all * hidden];
                for (from, &row) in floats(some.clone()).chunks(hidden).zip(rows.iter()) {
                    scattered[row as usize * hidden..][..hidden].copy_from_slice(from);
                }
                let sparse = Gradient::Rows { rows: rows.clone(), grad: some.clone().into_dispatch() };
                let [param, m, v] = start(all, hidden);
                let composed_dense = composed::dense::<Dispatch>(
                    param.clone(),
                    dense.clone().into_dispatch(),
                    m.clone(),
                    v.clone(),
                    &by,
                );
                let composed_rows = composed::rows::<Dispatch>(
                    param.clone(),
                    some.into_dispatch(),
                    m.clone(),
                    v.clone(),
                    &rows,
                    &by,
                );
                let dense_values = floats(dense.clone());
                for (grad, composed, expected) in [
                    (Gradient::Dense(dense.into_dispatch()), composed_dense, dense_values),
                    (sparse, composed_rows, scattered),
                ] {
                    let before = [&param, &m, &v].map(values);
                    let expected = reference(before.clone(), &expected, &by);
                    let (new_param, new_m, new_v) = adamw(param.clone(), grad, m.clone(), v.clone(), &by);
                    let got = [&new_param, &new_m, &new_v].map(values);
                    let composed = [&composed.0, &composed.1, &composed.2].map(values);
                    for part in 0..3 {
                        close(&got[part], &expected[part], 1e-6).unwrap();
                        close(&composed[part], &expected[part], 1e-6).unwrap();
                    }
                    // Shared tensors are copied, never written over.
                    assert_eq!([&param, &m, &v].map(values), before);
                    checked += 1;
                }
            }
        }
        checked
    }

    #[test]
    fn happens_in_place_when_nobody_else_holds_the_tensors() {
        let tensor = |seed| {
            let values = floats(normal::<2>([3, 4], seed)).iter().map(|&value| value as f32).collect();
            flex::tensor(values, [3, 4])
        };
        let (param, m, v) = (tensor(1), tensor(2), tensor(3));
        let place = |tensor: &FloatTensor<Flex>| tensor.bytes().as_ptr();
        let before = [&param, &m, &v].map(place);
        let (param, m, v) = Flex::adamw_dense(param, tensor(4), m, v, settings(1));
        assert_eq!([&param, &m, &v].map(place), before);
    }

    #[test]
    fn steps_the_leaf_of_a_graph_into_a_new_leaf() {
        let device = burn::tensor::Device::flex().autodiff();
        let [param, m, v] = start(3, 4);
        let leaf = Tensor::<2>::from_data(Tensor::<2>::from_dispatch(param.clone()).into_data(), &device);
        let grad = normal::<2>([3, 4], 4).into_dispatch();
        let step = |param, m: &DispatchTensor, v: &DispatchTensor| {
            adamw(param, Gradient::Dense(grad.clone()), m.clone(), v.clone(), &settings(1)).0
        };
        let stepped = step(leaf.require_grad().into_dispatch(), &m, &v);
        let expected = step(param, &m, &v);
        assert_eq!(values(&stepped), values(&expected));
        assert!(!Tensor::<2>::from_dispatch(stepped).is_tracked());
    }

    #[test]
    fn a_view_into_a_larger_tensor_is_stepped_alone() {
        let [param, m, v] = start(6, 4);
        let view =
            |tensor: &DispatchTensor| Tensor::<2>::from_dispatch(tensor.clone()).slice(2..4).into_dispatch();
        let grad = normal::<2>([2, 4], 9).into_dispatch();
        let expected = reference(
            [view(&param), view(&m), view(&v)].map(|view| values(&view)),
            &values(&grad),
            &settings(1),
        );
        let before = values(&param);
        let (new, _, _) = adamw(view(&param), Gradient::Dense(grad), view(&m), view(&v), &settings(1));
        close(&values(&new), &expected[0], 1e-6).unwrap();
        assert_eq!(values(&param), before);
    }

    #[test]
    #[should_panic(expected = "adamw: rows must rise and stay below 3")]
    fn rows_out_of_order_are_refused() {
        let [param, m, v] = start(3, 2);
        let grad = normal::<2>([2, 2], 4).into_dispatch();
        adamw(param, Gradient::Rows { rows: [2, 1].into(), grad }, m, v, &settings(1));
    }

    #[test]
    #[should_panic(expected = "has a gradient of shape")]
    fn a_gradient_of_another_shape_is_refused() {
        let [param, m, v] = start(3, 2);
        let grad = normal::<2>([2, 3], 4).into_dispatch();
        adamw(param, Gradient::Dense(grad), m, v, &settings(1));
    }
}

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

use crate::{flex, host};

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

//! Layer normalisation, and the end of a post-norm block: dropout, residual and normalisation in one
//! pass.
//!
//! Paper: Ba, Kiros and Hinton 2016, "Layer Normalization", §3, <https://arxiv.org/abs/1607.06450>.

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
use topwork_kernels::{norm as kernel, rng::Dropout};

use crate::{dropout::DropoutOps, flex, host, optional::OptionalFloat, profile, record::record};

/// `LayerNorm(dropout(x) + residual)`: how every sub-layer of a post-norm transformer ends.
///
/// # Shapes
/// - `x`, `residual`, returns: `[tokens, hidden]`
/// - `gamma` (scale), `beta` (shift): `[hidden]`
///
/// # Panics
/// If the shapes do not fit together.
pub fn residual_dropout_norm(
    x: Tensor<2>,
    residual: Tensor<2>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    eps: f64,
    dropout: Option<Dropout>,
) -> Tensor<2> {
    let (of_x, of_residual) = (x.dims(), residual.dims());
    assert_eq!(of_x, of_residual, "residual_dropout_norm: x and residual differ in shape");
    check("residual_dropout_norm", of_x, &gamma, &beta);
    Tensor::from_dispatch(Dispatch::norm_forward(
        x.into_dispatch(),
        OptionalFloat::Present(residual.into_dispatch()),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        eps,
        dropout,
    ))
}

/// Layer normalisation of each row.
///
/// # Shapes
/// - `x`, returns: `[tokens, hidden]`
/// - `gamma` (scale), `beta` (shift): `[hidden]`
///
/// # Panics
/// If the shapes do not fit together.
pub fn layer_norm(x: Tensor<2>, gamma: Tensor<1>, beta: Tensor<1>, eps: f64) -> Tensor<2> {
    check("layer_norm", x.dims(), &gamma, &beta);
    Tensor::from_dispatch(Dispatch::norm_forward(
        x.into_dispatch(),
        OptionalFloat::Absent,
        gamma.into_dispatch(),
        beta.into_dispatch(),
        eps,
        None,
    ))
}

fn check(operation: &str, [_, hidden]: [usize; 2], gamma: &Tensor<1>, beta: &Tensor<1>) {
    let ([gamma], [beta]) = (gamma.dims(), beta.dims());
    assert!(
        gamma == hidden && beta == hidden,
        "{operation}: x has {hidden} columns, gamma {gamma} values, beta {beta}"
    );
}

/// [`residual_dropout_norm`] and [`layer_norm`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait NormOps: Backend {
    /// `LayerNorm(dropout(x) + residual)`: see [`residual_dropout_norm`].
    fn norm_forward(
        x: FloatTensor<Self>,
        #[extension_type] residual: OptionalFloat<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f64,
        dropout: Option<Dropout>,
    ) -> FloatTensor<Self> {
        composed::forward::<Self>(x, residual.into_option(), gamma, beta, eps, dropout).0
    }

    /// The same and, for the backward, `dropout(x) + residual` `[tokens, hidden]` and the mean and
    /// the inverse standard deviation of its rows, `[tokens]` each.
    fn norm_with_statistics(
        x: FloatTensor<Self>,
        #[extension_type] residual: OptionalFloat<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f64,
        dropout: Option<Dropout>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composed::forward::<Self>(x, residual.into_option(), gamma, beta, eps, dropout)
    }

    /// The gradients of `sum = dropout(x) + residual`, of `gamma` and of `beta`.
    fn norm_backward(
        d_y: FloatTensor<Self>,
        sum: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        rstd: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composed::backward::<Self>(d_y, sum, mean, rstd, gamma)
    }
}

/// Normalisation in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{Backend, Shape, tensor::FloatTensor};
    use topwork_kernels::rng::Dropout;

    use crate::{dropout, host};

    /// The normalised rows, `dropout(x) + residual`, and the mean and inverse standard deviation of
    /// the rows of that.
    pub fn forward<B: Backend>(
        x: FloatTensor<B>,
        residual: Option<FloatTensor<B>>,
        gamma: FloatTensor<B>,
        beta: FloatTensor<B>,
        eps: f64,
        dropout: Option<Dropout>,
    ) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
        let [tokens, _] = host::dims(&x);
        let mut sum = x;
        if let Some(dropout) = dropout {
            sum = dropout::composed::forward::<B>(sum, dropout);
        }
        if let Some(residual) = residual {
            sum = B::float_add(sum, residual);
        }
        let mean = B::float_mean_dim(sum.clone(), 1);
        let centred = B::float_sub(sum.clone(), mean.clone());
        let variance = B::float_mean_dim(B::float_mul(centred.clone(), centred.clone()), 1);
        let rstd = B::float_sqrt(B::float_add_scalar(variance, eps.into()));
        let rstd = B::float_recip(rstd);
        let normal = B::float_mul(centred, rstd.clone());
        let y = B::float_mul(normal, host::row::<B>(gamma));
        let y = B::float_add(y, host::row::<B>(beta));
        let column = |tensor| B::float_reshape(tensor, Shape::from([tokens]));
        (y, sum, column(mean), column(rstd))
    }

    /// The gradients of `sum`, `gamma` and `beta`.
    pub fn backward<B: Backend>(
        d_y: FloatTensor<B>,
        sum: FloatTensor<B>,
        mean: FloatTensor<B>,
        rstd: FloatTensor<B>,
        gamma: FloatTensor<B>,
    ) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
        let [tokens, hidden] = host::dims(&sum);
        let column = |tensor| B::float_reshape(tensor, Shape::from([tokens, 1]));
        let total = |tensor| {
            let total = B::float_sum_dim(tensor, 0);
            B::float_reshape(total, Shape::from([hidden]))
        };
        let rstd = column(rstd);
        let normal = B::float_mul(B::float_sub(sum, column(mean)), rstd.clone());
        let d_gamma = total(B::float_mul(d_y.clone(), normal.clone()));
        let d_beta = total(d_y.clone());

        let d_normal = B::float_mul(d_y, host::row::<B>(gamma));
        let along = B::float_mean_dim(B::float_mul(d_normal.clone(), normal.clone()), 1);
        let mean = B::float_mean_dim(d_normal.clone(), 1);
        let d_sum = B::float_sub(d_normal, mean);
        let d_sum = B::float_sub(d_sum, B::float_mul(normal, along));
        (B::float_mul(d_sum, rstd), d_gamma, d_beta)
    }
}

/// The output of the forward kernel and, if asked for, what the backward needs.
struct Forward {
    y: Vec<f32>,
    sum: Vec<f32>,
    mean: Vec<f32>,
    rstd: Vec<f32>,
}

/// Runs the forward kernel on dense tensors. Without a residual and dropout the sum is `x` itself and
/// is not written again.
fn run(
    x: &FloatTensor<Flex>,
    residual: Option<&FloatTensor<Flex>>,
    gamma: &FloatTensor<Flex>,
    beta: &FloatTensor<Flex>,
    eps: f64,
    dropout: Option<Dropout>,
    statistics: bool,
) -> Forward {
    let [tokens, hidden] = host::dims(x);
    let rows = if statistics { tokens } else { 0 };
    let keep_sum = statistics && (residual.is_some() || dropout.is_some());
    let mut forward = Forward {
        y: vec![0.0; tokens * hidden],
        sum: vec![0.0; if keep_sum { tokens * hidden } else { 0 }],
        mean: vec![0.0; rows],
        rstd: vec![0.0; rows],
    };
    kernel::forward(
        flex::values(x),
        residual.map(flex::values),
        flex::values(gamma),
        flex::values(beta),
        eps as f32,
        dropout,
        &mut forward.y,
        &mut forward.sum,
        &mut forward.mean,
        &mut forward.rstd,
    );
    forward
}

impl NormOps for Flex {
    fn norm_forward(
        x: FloatTensor<Self>,
        residual: OptionalFloat<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f64,
        dropout: Option<Dropout>,
    ) -> FloatTensor<Self> {
        let _time = profile::time("norm_forward");
        let residual = residual.into_option();
        if !flex::all_f32([&x, &gamma, &beta].into_iter().chain(&residual)) {
            return composed::forward::<Self>(x, residual, gamma, beta, eps, dropout).0;
        }
        let [x, gamma, beta] = [x, gamma, beta].map(flex::dense);
        let residual = residual.map(flex::dense);
        let shape: [usize; 2] = host::dims(&x);
        let forward = run(&x, residual.as_ref(), &gamma, &beta, eps, dropout, false);
        flex::tensor(forward.y, shape)
    }

    fn norm_with_statistics(
        x: FloatTensor<Self>,
        residual: OptionalFloat<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f64,
        dropout: Option<Dropout>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("norm_with_statistics");
        let residual = residual.into_option();
        if !flex::all_f32([&x, &gamma, &beta].into_iter().chain(&residual)) {
            return composed::forward::<Self>(x, residual, gamma, beta, eps, dropout);
        }
        let [x, gamma, beta] = [x, gamma, beta].map(flex::dense);
        let residual = residual.map(flex::dense);
        let [tokens, hidden] = host::dims(&x);
        let forward = run(&x, residual.as_ref(), &gamma, &beta, eps, dropout, true);
        let sum = if residual.is_none() && dropout.is_none() {
            x
        } else {
            flex::tensor(forward.sum, [tokens, hidden])
        };
        (
            flex::tensor(forward.y, [tokens, hidden]),
            sum,
            flex::tensor(forward.mean, [tokens]),
            flex::tensor(forward.rstd, [tokens]),
        )
    }

    fn norm_backward(
        d_y: FloatTensor<Self>,
        sum: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        rstd: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("norm_backward");
        if !flex::all_f32([&d_y, &sum, &mean, &rstd, &gamma]) {
            return composed::backward::<Self>(d_y, sum, mean, rstd, gamma);
        }
        let [d_y, sum, mean, rstd, gamma] = [d_y, sum, mean, rstd, gamma].map(flex::dense);
        let [tokens, hidden] = host::dims(&sum);
        let mut d_sum = vec![0.0; tokens * hidden];
        let mut d_gamma = vec![0.0; hidden];
        let mut d_beta = vec![0.0; hidden];
        kernel::backward(
            flex::values(&d_y),
            flex::values(&sum),
            flex::values(&mean),
            flex::values(&rstd),
            flex::values(&gamma),
            &mut d_sum,
            &mut d_gamma,
            &mut d_beta,
        );
        (
            flex::tensor(d_sum, [tokens, hidden]),
            flex::tensor(d_gamma, [hidden]),
            flex::tensor(d_beta, [hidden]),
        )
    }
}

#[cfg(feature = "cube")]
impl NormOps for burn::backend::Cube {}

/// What [`NormBackward`] needs.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    sum: FloatTensor<B>,
    mean: FloatTensor<B>,
    rstd: FloatTensor<B>,
    gamma: FloatTensor<B>,
    dropout: Option<Dropout>,
}

/// Parents: x, gamma, beta and, where there is one, the residual.
#[derive(Debug)]
struct NormBackward;

impl<B: NormOps + DropoutOps, const N: usize> Backward<B, N> for NormBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_y = grads.consume::<B>(&ops.node);
        let saved = ops.state;
        let (d_sum, d_gamma, d_beta) = B::norm_backward(d_y, saved.sum, saved.mean, saved.rstd, saved.gamma);
        let mut parents = ops.parents.into_iter();
        let mut next = || parents.next().flatten();
        if let Some(node) = next() {
            let d_x = match saved.dropout {
                Some(dropout) => B::dropout_forward(d_sum.clone(), dropout),
                None => d_sum.clone(),
            };
            grads.register::<B>(node.id, d_x);
        }
        if let Some(node) = next() {
            grads.register::<B>(node.id, d_gamma);
        }
        if let Some(node) = next() {
            grads.register::<B>(node.id, d_beta);
        }
        if let Some(node) = next() {
            grads.register::<B>(node.id, d_sum);
        }
    }
}

impl<B: NormOps + DropoutOps, C: CheckpointStrategy> NormOps for Autodiff<B, C> {
    fn norm_forward(
        x: FloatTensor<Self>,
        residual: OptionalFloat<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f64,
        dropout: Option<Dropout>,
    ) -> FloatTensor<Self> {
        let residual = residual.into_option();
        let tracked = [&x, &gamma, &beta].into_iter().chain(&residual).any(|input| input.is_tracked());
        let (x, x_node) = x.into_parts();
        let (gamma, gamma_node) = gamma.into_parts();
        let (beta, beta_node) = beta.into_parts();
        let (residual, residual_node) = residual.map(|residual| residual.into_parts()).unzip();
        let residual = residual.into();
        if !tracked {
            return Self::from_inner(B::norm_forward(x, residual, gamma, beta, eps, dropout));
        }
        let (y, sum, mean, rstd) = B::norm_with_statistics(x, residual, gamma.clone(), beta, eps, dropout);
        let saved = Saved { sum, mean, rstd, gamma, dropout };
        match residual_node {
            Some(residual_node) => {
                let parents = [x_node, gamma_node, beta_node, residual_node];
                record::<B, C, _, 4>(NormBackward, parents, saved, y)
            }
            None => {
                let parents = [x_node, gamma_node, beta_node];
                record::<B, C, _, 3>(NormBackward, parents, saved, y)
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::check::{Case, close, floats, normal};

    const EPS: f64 = 1e-5;

    pub(crate) fn residual_dropout_norm_gradients() -> usize {
        let mut checked = 0;
        for (tokens, hidden) in [(1, 3), (1, 33), (5, 8), (70, 19)] {
            for dropout in [None, Some(Dropout { p: 0.4, seed: 3 })] {
                let matrix = vec![tokens, hidden];
                let case = Case {
                    name: format!("residual_dropout_norm {tokens}x{hidden}, {dropout:?}"),
                    shapes: vec![matrix.clone(), matrix, vec![hidden], vec![hidden]],
                    operation: &|inputs| {
                        let [x, residual, gamma, beta] = [0, 1, 2, 3].map(|input| inputs[input].clone());
                        let residual = OptionalFloat::Present(residual);
                        Dispatch::norm_forward(x, residual, gamma, beta, EPS, dropout)
                    },
                    composed: &|inputs| {
                        let [x, residual, gamma, beta] = [0, 1, 2, 3].map(|input| inputs[input].clone());
                        composed::forward::<Dispatch>(x, Some(residual), gamma, beta, EPS, dropout).0
                    },
                };
                checked += case.check();
            }
        }
        checked
    }

    pub(crate) fn layer_norm_gradients() -> usize {
        let mut checked = 0;
        for (tokens, hidden) in [(1, 3), (1, 33), (5, 8), (70, 19)] {
            let case = Case {
                name: format!("layer_norm {tokens}x{hidden}"),
                shapes: vec![vec![tokens, hidden], vec![hidden], vec![hidden]],
                operation: &|inputs| {
                    let [x, gamma, beta] = [0, 1, 2].map(|input| inputs[input].clone());
                    Dispatch::norm_forward(x, OptionalFloat::Absent, gamma, beta, EPS, None)
                },
                composed: &|inputs| {
                    let [x, gamma, beta] = [0, 1, 2].map(|input| inputs[input].clone());
                    composed::forward::<Dispatch>(x, None, gamma, beta, EPS, None).0
                },
            };
            checked += case.check();
        }
        checked
    }

    #[test]
    fn the_public_functions_agree_with_each_other() {
        let (x, residual) = (normal::<2>([6, 10], 1), normal::<2>([6, 10], 2));
        let (gamma, beta) = (normal::<1>([10], 3), normal::<1>([10], 4));
        let sum = x.clone() + residual.clone();
        let expected = layer_norm(sum, gamma.clone(), beta.clone(), EPS);
        let got = residual_dropout_norm(x.clone(), residual.clone(), gamma.clone(), beta.clone(), EPS, None);
        close(&floats(got), &floats(expected), 1e-6).unwrap();

        let dropout = Some(Dropout { p: 0.5, seed: 1 });
        let sum = crate::dropout(x.clone(), dropout) + residual.clone();
        let expected = layer_norm(sum, gamma.clone(), beta.clone(), EPS);
        let got = residual_dropout_norm(x, residual, gamma, beta, EPS, dropout);
        close(&floats(got), &floats(expected), 1e-6).unwrap();
    }

    #[test]
    fn one_tensor_as_both_x_and_residual_gets_both_gradients() {
        let device = burn::tensor::Device::flex().autodiff();
        let leaf = |seed| Tensor::<2>::from_data(normal::<2>([4, 6], seed).into_data(), &device);
        let (gamma, beta) = (Tensor::ones([6], &device), Tensor::zeros([6], &device));
        let (x, scale) = (leaf(1).require_grad(), leaf(2));
        let grad = |y: Tensor<2>| floats(x.grad(&(y * scale.clone()).sum().backward()).unwrap());
        let twice = residual_dropout_norm(x.clone(), x.clone(), gamma.clone(), beta.clone(), EPS, None);
        let expected = layer_norm(x.clone() * 2.0, gamma, beta, EPS);
        close(&grad(twice), &grad(expected), 1e-5).unwrap();
    }

    #[test]
    #[should_panic(expected = "layer_norm: x has 4 columns, gamma 4 values, beta 5")]
    fn a_shift_of_another_length_is_refused() {
        layer_norm(normal([2, 4], 1), normal([4], 2), normal([5], 3), EPS);
    }
}

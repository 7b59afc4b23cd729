//! Cross-entropy from logits, equal to `torch.nn.CrossEntropyLoss` with mean reduction.
//!
//! Paper: label smoothing is Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer
//! Vision", §7, <https://arxiv.org/abs/1512.00567>.

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
use topwork_kernels::loss::{self as kernel, IGNORE};

use crate::{flex, host, profile, record::record};

/// The mean cross-entropy over the rows whose target is not [`IGNORE`].
///
/// With `weights` it is the weighted mean, as in PyTorch: divided by the sum of the weights of the
/// targets. `smoothing` moves that share of each target's probability to all labels evenly. Without
/// any row that counts the loss is NaN.
///
/// # Shapes
/// - `logits`: `[tokens, labels]`
/// - `target`: `[tokens]`
/// - `weights`: `[labels]`
/// - returns: `[1]`
///
/// # Panics
/// If the shapes do not fit together, or a target is neither a label nor [`IGNORE`].
pub fn cross_entropy(
    logits: Tensor<2>,
    target: &Arc<[u32]>,
    weights: Option<&Arc<[f32]>>,
    smoothing: f32,
) -> Tensor<1> {
    let [tokens, labels] = logits.dims();
    let targets = target.len();
    assert_eq!(targets, tokens, "cross_entropy: {targets} targets for {tokens} rows of logits");
    if let Some(weights) = weights {
        let weights = weights.len();
        assert_eq!(weights, labels, "cross_entropy: {weights} weights for {labels} labels");
    }
    for (row, &target) in target.iter().enumerate() {
        assert!(
            target == IGNORE || (target as usize) < labels,
            "cross_entropy: target {target} in row {row}, there are {labels} labels"
        );
    }
    Tensor::from_dispatch(Dispatch::cross_entropy_forward(
        logits.into_dispatch(),
        target.clone(),
        weights.cloned(),
        smoothing,
    ))
}

/// [`cross_entropy`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait CrossEntropyOps: Backend {
    /// The mean cross-entropy: see [`cross_entropy`].
    fn cross_entropy_forward(
        logits: FloatTensor<Self>,
        target: Arc<[u32]>,
        weights: Option<Arc<[f32]>>,
        smoothing: f32,
    ) -> FloatTensor<Self> {
        Self::cross_entropy_with_lse(logits, target, weights, smoothing).0
    }

    /// The same and, for the backward, the log-sum-exp of each row: `[tokens]`.
    fn cross_entropy_with_lse(
        logits: FloatTensor<Self>,
        target: Arc<[u32]>,
        weights: Option<Arc<[f32]>>,
        smoothing: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::forward::<Self>(logits, &target, weights.as_deref(), smoothing)
    }

    /// The gradient of the logits, given that of the loss, `[1]`.
    fn cross_entropy_d_logits(
        d_loss: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        lse: FloatTensor<Self>,
        target: Arc<[u32]>,
        weights: Option<Arc<[f32]>>,
        smoothing: f32,
    ) -> FloatTensor<Self> {
        composed::d_logits::<Self>(d_loss, logits, lse, &target, weights.as_deref(), smoothing)
    }
}

/// What the mean divides by: the sum of the weights of the targets.
fn denominator(target: &[u32], weights: Option<&[f32]>) -> f32 {
    let targets = target.iter().filter(|&&target| target != IGNORE);
    match weights {
        Some(weights) => targets.map(|&target| f64::from(weights[target as usize])).sum::<f64>() as f32,
        None => targets.count() as f32,
    }
}

/// [`cross_entropy`] in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{
        Backend, Shape,
        tensor::{FloatTensor, IndexingUpdateOp, IntTensor},
    };
    use topwork_kernels::loss::IGNORE;

    use super::denominator;
    use crate::host;

    /// How much each row, and each label, counts.
    struct Shares<B: Backend> {
        /// The label of each row, 0 where it is ignored: `[tokens, 1]`.
        index: IntTensor<B>,
        /// The weight of the negative log-likelihood of each row: `[tokens, 1]`.
        target: FloatTensor<B>,
        /// The smoothed part, if any.
        smooth: Option<Smooth<B>>,
    }

    /// The part of the loss that comes from label smoothing.
    struct Smooth<B: Backend> {
        /// The weight of each row: `[tokens, 1]`.
        rows: FloatTensor<B>,
        /// The weight of each label: `[1, labels]`.
        labels: FloatTensor<B>,
        /// The sum of the weights of the labels.
        total: f64,
    }

    impl<B: Backend> Shares<B> {
        fn new(target: &[u32], weights: Option<&[f32]>, smoothing: f32, logits: &FloatTensor<B>) -> Self {
            let [tokens, labels] = host::dims(logits);
            let denominator = denominator(target, weights);
            let weight = |label: u32| weights.map_or(1.0, |weights| weights[label as usize]);
            let rows = |share: &dyn Fn(u32) -> f32| {
                let rows = target.iter().map(|&target| match target {
                    IGNORE => 0.0 / denominator,
                    label => share(label) / denominator,
                });
                host::floats::<B>(rows.collect(), [tokens, 1], logits)
            };
            let index = target.iter().map(|&target| match target {
                IGNORE => 0,
                label => label as usize,
            });
            let smooth = (smoothing > 0.0).then(|| {
                let weights = weights.map_or_else(|| vec![1.0; labels], <[f32]>::to_vec);
                Smooth {
                    total: weights.iter().copied().map(f64::from).sum(),
                    rows: rows(&|_| smoothing / labels as f32),
                    labels: host::floats::<B>(weights, [1, labels], logits),
                }
            });
            Self {
                index: host::indices::<B>(index, [tokens, 1], logits),
                target: rows(&|label| (1.0 - smoothing) * weight(label)),
                smooth,
            }
        }
    }

    /// The loss `[1]`, and the log-sum-exp of each row of logits `[tokens]`.
    pub fn forward<B: Backend>(
        logits: FloatTensor<B>,
        target: &[u32],
        weights: Option<&[f32]>,
        smoothing: f32,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let [tokens, _] = host::dims(&logits);
        let shares = Shares::<B>::new(target, weights, smoothing, &logits);
        // Only keeps the exponentials in range: it cancels out of the gradient.
        let max = B::float_max_dim(B::float_detach(logits.clone()), 1);
        let exp = B::float_exp(B::float_sub(logits.clone(), max.clone()));
        let lse = B::float_add(B::float_log(B::float_sum_dim(exp, 1)), max);
        let chosen = B::float_gather(1, logits.clone(), shares.index);
        let mut loss = B::float_mul(B::float_sub(lse.clone(), chosen), shares.target);
        if let Some(smooth) = shares.smooth {
            let sum = B::float_sum_dim(B::float_mul(logits, smooth.labels), 1);
            let all = B::float_mul_scalar(lse.clone(), smooth.total.into());
            let smoothed = B::float_mul(B::float_sub(all, sum), smooth.rows);
            loss = B::float_add(loss, smoothed);
        }
        let lse = B::float_reshape(lse, Shape::from([tokens]));
        (B::float_sum(loss), lse)
    }

    /// The gradient of the logits.
    pub fn d_logits<B: Backend>(
        d_loss: FloatTensor<B>,
        logits: FloatTensor<B>,
        lse: FloatTensor<B>,
        target: &[u32],
        weights: Option<&[f32]>,
        smoothing: f32,
    ) -> FloatTensor<B> {
        let [tokens, _] = host::dims(&logits);
        let shares = Shares::<B>::new(target, weights, smoothing, &logits);
        let lse = B::float_reshape(lse, Shape::from([tokens, 1]));
        let softmax = B::float_exp(B::float_sub(logits, lse));
        let mut total = shares.target.clone();
        let mut subtract = None;
        if let Some(smooth) = shares.smooth {
            let rows = B::float_mul_scalar(smooth.rows.clone(), smooth.total.into());
            total = B::float_add(total, rows);
            subtract = Some(B::float_mul(smooth.rows, smooth.labels));
        }
        let mut d_logits = B::float_mul(softmax, total);
        if let Some(subtract) = subtract {
            d_logits = B::float_sub(d_logits, subtract);
        }
        let chosen = B::float_neg(shares.target);
        let d_logits = B::float_scatter(1, d_logits, shares.index, chosen, IndexingUpdateOp::Add);
        let d_loss = B::float_reshape(d_loss, Shape::from([1, 1]));
        B::float_mul(d_logits, d_loss)
    }
}

impl CrossEntropyOps for Flex {
    fn cross_entropy_with_lse(
        logits: FloatTensor<Self>,
        target: Arc<[u32]>,
        weights: Option<Arc<[f32]>>,
        smoothing: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("cross_entropy_with_lse");
        if !flex::all_f32([&logits]) {
            return composed::forward::<Self>(logits, &target, weights.as_deref(), smoothing);
        }
        let logits = flex::dense(logits);
        let [tokens, labels] = host::dims(&logits);
        let mut lse = vec![0.0; tokens];
        let (loss, _) = kernel::cross_entropy_forward(
            flex::values(&logits),
            labels,
            &target,
            weights.as_deref(),
            smoothing,
            &mut lse,
        );
        (flex::tensor(vec![loss], [1]), flex::tensor(lse, [tokens]))
    }

    fn cross_entropy_d_logits(
        d_loss: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        lse: FloatTensor<Self>,
        target: Arc<[u32]>,
        weights: Option<Arc<[f32]>>,
        smoothing: f32,
    ) -> FloatTensor<Self> {
        let _time = profile::time("cross_entropy_d_logits");
        let weights = weights.as_deref();
        if !flex::all_f32([&d_loss, &logits, &lse]) {
            return composed::d_logits::<Self>(d_loss, logits, lse, &target, weights, smoothing);
        }
        let [d_loss, logits, lse] = [d_loss, logits, lse].map(flex::dense);
        let [tokens, labels] = host::dims(&logits);
        let mut d_logits = vec![0.0; tokens * labels];
        kernel::cross_entropy_backward(
            flex::values(&logits),
            labels,
            &target,
            weights,
            smoothing,
            flex::values(&lse),
            denominator(&target, weights),
            flex::values(&d_loss)[0],
            &mut d_logits,
        );
        flex::tensor(d_logits, [tokens, labels])
    }
}

#[cfg(feature = "cube")]
impl CrossEntropyOps for burn::backend::Cube {}

/// What [`CrossEntropyBackward`] needs.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    logits: FloatTensor<B>,
    lse: FloatTensor<B>,
    target: Arc<[u32]>,
    weights: Option<Arc<[f32]>>,
    smoothing: f32,
}

/// Parent: logits.
#[derive(Debug)]
struct CrossEntropyBackward;

impl<B: CrossEntropyOps> Backward<B, 1> for CrossEntropyBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_loss = grads.consume::<B>(&ops.node);
        let [node] = ops.parents;
        if let Some(node) = node {
            let saved = ops.state;
            let d_logits = B::cross_entropy_d_logits(
                d_loss,
                saved.logits,
                saved.lse,
                saved.target,
                saved.weights,
                saved.smoothing,
            );
            grads.register::<B>(node.id, d_logits);
        }
    }
}

impl<B: CrossEntropyOps, C: CheckpointStrategy> CrossEntropyOps for Autodiff<B, C> {
    fn cross_entropy_forward(
        logits: FloatTensor<Self>,
        target: Arc<[u32]>,
        weights: Option<Arc<[f32]>>,
        smoothing: f32,
    ) -> FloatTensor<Self> {
        if !logits.is_tracked() {
            let logits = logits.into_primitive();
            return Self::from_inner(B::cross_entropy_forward(logits, target, weights, smoothing));
        }
        let (logits, node) = logits.into_parts();
        let (loss, lse) =
            B::cross_entropy_with_lse(logits.clone(), target.clone(), weights.clone(), smoothing);
        let saved = Saved { logits, lse, target, weights, smoothing };
        record::<B, C, _, 1>(CrossEntropyBackward, [node], saved, loss)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::check::{Case, floats, normal};

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        for (labels, target) in
            [(1, &[0][..]), (2, &[1]), (5, &[4, IGNORE, 0, 0, 3, IGNORE, 2]), (33, &[7; 70])]
        {
            for with_weights in [false, true] {
                for smoothing in [0.0, 0.1] {
                    let target: Arc<[u32]> = target.into();
                    let weights: Option<Arc<[f32]>> =
                        with_weights.then(|| (0..labels).map(|label| 0.5 + label as f32 / 4.0).collect());
                    let case = Case {
                        name: format!(
                            "cross_entropy, {labels} labels, {} rows, {weights:?}, {smoothing}",
                            target.len()
                        ),
                        shapes: vec![vec![target.len(), labels]],
                        operation: &|inputs| {
                            let (target, weights) = (target.clone(), weights.clone());
                            Dispatch::cross_entropy_forward(inputs[0].clone(), target, weights, smoothing)
                        },
                        composed: &|inputs| {
                            let weights = weights.as_deref();
                            let logits = inputs[0].clone();
                            composed::forward::<Dispatch>(logits, &target, weights, smoothing).0
                        },
                    };
                    checked += case.check();
                }
            }
        }
        checked
    }

    #[test]
    fn is_ln_2_for_two_equal_logits() {
        let logits = Tensor::<2>::zeros([3, 2], &burn::tensor::Device::flex());
        let loss = floats(cross_entropy(logits, &[0, 1, IGNORE].into(), None, 0.0));
        assert!((loss[0] - std::f64::consts::LN_2).abs() < 1e-6, "{loss:?}");
    }

    #[test]
    fn is_nan_when_every_row_is_ignored() {
        let loss = cross_entropy(normal([2, 3], 1), &[IGNORE; 2].into(), None, 0.0);
        assert!(floats(loss)[0].is_nan());
    }

    #[test]
    #[should_panic(expected = "cross_entropy: target 3 in row 1, there are 3 labels")]
    fn a_target_that_is_no_label_is_refused() {
        cross_entropy(normal([2, 3], 1), &[0, 3].into(), None, 0.0);
    }
}

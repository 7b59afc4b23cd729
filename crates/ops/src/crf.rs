//! The likelihood of labellings under a linear-chain conditional random field.
//!
//! Paper: Lafferty, McCallum and Pereira 2001, "Conditional Random Fields", section 3,
//! <https://repository.upenn.edu/handle/20.500.14332/6188>; over the states of a network: Lample et al. 2016, "Neural Architectures
//! for Named Entity Recognition", section 2.2, <https://arxiv.org/abs/1603.01360>.

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
use topwork_kernels::{
    crf::{self as kernel, Chain},
    loss::IGNORE,
};

use crate::{flex, host, packed, profile, record::record};

/// The mean negative log-likelihood of labellings: that of all sequences, divided by the number of labelled tokens. Without any
/// of those it is NaN.
///
/// The mean is over tokens, not over sequences, so that a long text counts as much as the short ones it could be cut into, and a
/// learning rate that suits [`cross_entropy`](crate::cross_entropy()) suits this: with transitions of zero it is the same number.
///
/// The chain of a sequence goes over its tokens whose target is not [`IGNORE`] (special tokens, all pieces of a word but the
/// first), as if the others were not there.
///
/// # Shapes
/// - `emissions`: `[tokens, labels]`, a score for each token and label
/// - `transitions`: `[labels, labels]`, from the row's label to the column's
/// - `start`, `end`: `[labels]`, for the first and the last label of a sequence
/// - `target`: `[tokens]`; `offsets`: `[batch + 1]`
/// - returns: `[1]`
///
/// # Panics
/// If the shapes do not fit together, or a target is neither a label nor [`IGNORE`].
pub fn crf(
    emissions: Tensor<2>,
    transitions: Tensor<2>,
    start: Tensor<1>,
    end: Tensor<1>,
    target: &Arc<[u32]>,
    offsets: &Arc<[u32]>,
) -> Tensor<1> {
    let [tokens, labels] = emissions.dims();
    packed::check("crf", offsets, tokens);
    let (of_transitions, of_start, of_end) = (transitions.dims(), start.dims(), end.dims());
    assert!(
        of_transitions == [labels, labels] && of_start == [labels] && of_end == [labels],
        "crf: scores of {labels} labels, transitions {of_transitions:?}, start {of_start:?}, end {of_end:?}"
    );
    let targets = target.len();
    assert_eq!(targets, tokens, "crf: {targets} targets for {tokens} rows of scores");
    for (row, &target) in target.iter().enumerate() {
        assert!(
            target == IGNORE || (target as usize) < labels,
            "crf: target {target} in row {row}, there are {labels} labels"
        );
    }
    Tensor::from_dispatch(Dispatch::crf_forward(
        emissions.into_dispatch(),
        transitions.into_dispatch(),
        start.into_dispatch(),
        end.into_dispatch(),
        target.clone(),
        offsets.clone(),
    ))
}

/// [`crf()`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait CrfOps: Backend {
    /// The mean negative log-likelihood: see [`crf()`].
    fn crf_forward(
        emissions: FloatTensor<Self>,
        transitions: FloatTensor<Self>,
        start: FloatTensor<Self>,
        end: FloatTensor<Self>,
        target: Arc<[u32]>,
        offsets: Arc<[u32]>,
    ) -> FloatTensor<Self> {
        composed::forward::<Self>([emissions, transitions, start, end], &target, &offsets)
    }

    /// The gradients of the emissions, the transitions, the start and the end, given that of the loss, `[1]`.
    fn crf_backward(
        d_loss: FloatTensor<Self>,
        emissions: FloatTensor<Self>,
        transitions: FloatTensor<Self>,
        start: FloatTensor<Self>,
        end: FloatTensor<Self>,
        target: Arc<[u32]>,
        offsets: Arc<[u32]>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composed::backward::<Self>(d_loss, [emissions, transitions, start, end], &target, &offsets)
    }
}

/// [`crf()`] in Burn's own operations, for any backend: the chains of all sequences are walked together, step by step.
pub mod composed {
    use burn::backend::{
        Backend, Shape,
        tensor::{FloatTensor, IndexingUpdateOp, IntTensor},
    };
    use topwork_kernels::loss::IGNORE;

    use crate::host;

    /// The tokens that take part.
    struct Chains {
        /// Of each sequence that has any.
        rows: Vec<Vec<usize>>,
        steps: usize,
        /// How many there are together.
        count: usize,
    }

    impl Chains {
        fn new(target: &[u32], offsets: &[u32]) -> Self {
            let asked = |pair: &[u32]| -> Vec<usize> {
                (pair[0] as usize..pair[1] as usize).filter(|&row| target[row] != IGNORE).collect()
            };
            let rows: Vec<Vec<usize>> =
                offsets.windows(2).map(asked).filter(|rows| !rows.is_empty()).collect();
            let steps = rows.iter().map(Vec::len).max().unwrap_or(0);
            Chains { steps, count: rows.iter().map(Vec::len).sum(), rows }
        }

        fn batch(&self) -> usize {
            self.rows.len()
        }

        /// The token of each sequence in a step, row 0 where there is none.
        fn rows<B: Backend>(&self, step: usize, like: &FloatTensor<B>) -> IntTensor<B> {
            let rows = self.rows.iter().map(|rows| rows.get(step).copied().unwrap_or(0));
            host::indices::<B>(rows, [self.batch()], like)
        }

        /// 1 for each sequence that has the step, else 0: `[batch, 1]`.
        fn present<B: Backend>(&self, step: usize, like: &FloatTensor<B>) -> FloatTensor<B> {
            let present = self.rows.iter().map(|rows| f32::from(u8::from(step < rows.len())));
            host::floats::<B>(present.collect(), [self.batch(), 1], like)
        }
    }

    /// `old` where `present` is 0 and `new` where it is 1.
    fn choose<B: Backend>(
        old: FloatTensor<B>,
        new: FloatTensor<B>,
        present: FloatTensor<B>,
    ) -> FloatTensor<B> {
        B::float_add(old.clone(), B::float_mul(B::float_sub(new, old), present))
    }

    /// The logarithm of the sum of exponentials along an axis, which stays with length 1.
    fn log_sum_exp<B: Backend>(x: FloatTensor<B>, axis: usize) -> FloatTensor<B> {
        // Only keeps the exponentials in range: it cancels out of the gradient.
        let max = B::float_max_dim(B::float_detach(x.clone()), axis);
        let exp = B::float_exp(B::float_sub(x, max.clone()));
        B::float_add(B::float_log(B::float_sum_dim(exp, axis)), max)
    }

    fn shaped<B: Backend, const D: usize>(x: FloatTensor<B>, shape: [usize; D]) -> FloatTensor<B> {
        B::float_reshape(x, Shape::from(shape))
    }

    /// Sums over what may come before each step, and over all of it.
    struct Before<B: Backend> {
        /// `[batch, labels]` of each step, of sequences that have ended what they ended with.
        steps: Vec<FloatTensor<B>>,
        /// `[batch, 1]`
        whole: FloatTensor<B>,
    }

    fn before<B: Backend>(inputs: &[FloatTensor<B>; 4], chains: &Chains) -> Before<B> {
        let [emissions, transitions, start, end] = inputs;
        let [_, labels] = host::dims(emissions);
        let batch = chains.batch();
        let scores = |step| B::float_select(emissions.clone(), 0, chains.rows::<B>(step, emissions));
        let mut steps = vec![B::float_add(scores(0), host::row::<B>(start.clone()))];
        let between = shaped::<B, 3>(transitions.clone(), [1, labels, labels]);
        for step in 1..chains.steps {
            let last = steps[step - 1].clone();
            let from = shaped::<B, 3>(last.clone(), [batch, labels, 1]);
            let next = log_sum_exp::<B>(B::float_add(from, between.clone()), 1);
            let next = B::float_add(shaped::<B, 2>(next, [batch, labels]), scores(step));
            steps.push(choose::<B>(last, next, chains.present::<B>(step, emissions)));
        }
        let ends = B::float_add(steps[chains.steps - 1].clone(), host::row::<B>(end.clone()));
        Before { steps, whole: log_sum_exp::<B>(ends, 1) }
    }

    /// The numbers at some places of a tensor, added up: `[1]`.
    fn sum_at<B: Backend>(x: &FloatTensor<B>, places: &[usize], elements: usize) -> FloatTensor<B> {
        let places = host::indices::<B>(places.iter().copied(), [places.len()], x);
        B::float_sum(B::float_select(shaped::<B, 1>(x.clone(), [elements]), 0, places))
    }

    /// The places that a labelling takes of each input.
    fn places(target: &[u32], chains: &Chains, labels: usize) -> [Vec<usize>; 4] {
        let label = |row: usize| target[row] as usize;
        let rows = || chains.rows.iter();
        [
            rows().flatten().map(|&row| row * labels + label(row)).collect(),
            rows()
                .flat_map(|rows| rows.windows(2).map(|pair| label(pair[0]) * labels + label(pair[1])))
                .collect(),
            rows().map(|rows| label(rows[0])).collect(),
            rows().map(|rows| label(rows[rows.len() - 1])).collect(),
        ]
    }

    /// The loss: `[1]`.
    pub fn forward<B: Backend>(
        inputs: [FloatTensor<B>; 4],
        target: &[u32],
        offsets: &[u32],
    ) -> FloatTensor<B> {
        let chains = Chains::new(target, offsets);
        let [tokens, labels] = host::dims(&inputs[0]);
        if chains.steps == 0 {
            return host::floats::<B>(vec![f32::NAN], [1], &inputs[0]);
        }
        let mut loss = B::float_sum(before::<B>(&inputs, &chains).whole);
        let sizes = [tokens * labels, labels * labels, labels, labels];
        for ((input, places), size) in inputs.iter().zip(places(target, &chains, labels)).zip(sizes) {
            loss = B::float_sub(loss, sum_at::<B>(input, &places, size));
        }
        B::float_mul_scalar(loss, (1.0 / chains.count as f64).into())
    }

    /// The gradients of all inputs.
    pub fn backward<B: Backend>(
        d_loss: FloatTensor<B>,
        inputs: [FloatTensor<B>; 4],
        target: &[u32],
        offsets: &[u32],
    ) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
        let chains = Chains::new(target, offsets);
        let [tokens, labels] = host::dims(&inputs[0]);
        let [emissions, transitions, start, end] = &inputs;
        let mut d = [
            host::zeros::<B>([tokens, labels], emissions),
            host::zeros::<B>([labels, labels], transitions),
            host::zeros::<B>([labels], start),
            host::zeros::<B>([labels], end),
        ];
        if chains.steps > 0 {
            add_shares::<B>(&inputs, &chains, &mut d);
        }
        let sizes = [tokens * labels, labels * labels, labels, labels];
        let shapes = [Shape::from([tokens, labels]), Shape::from([labels, labels])];
        let mut shapes = shapes.into_iter();
        let unit = B::float_mul_scalar(d_loss, (1.0 / chains.count as f64).into());
        let mut finish = |d: FloatTensor<B>, places: Vec<usize>, size: usize| {
            let flat = shaped::<B, 1>(d, [size]);
            let ones = host::floats::<B>(vec![-1.0; places.len()], [places.len()], &flat);
            let at = host::indices::<B>(places.iter().copied(), [places.len()], &flat);
            let flat = B::float_select_assign(flat, 0, at, ones, IndexingUpdateOp::Add);
            let flat = B::float_mul(flat, unit.clone());
            match shapes.next() {
                Some(shape) => B::float_reshape(flat, shape),
                None => flat,
            }
        };
        let places = places(target, &chains, labels);
        let mut found =
            d.into_iter().zip(places).zip(sizes).map(|((d, places), size)| finish(d, places, size));
        let mut next = || found.next().unwrap_or_else(|| unreachable!("four inputs"));
        (next(), next(), next(), next())
    }

    /// Adds the probabilities of labels and of steps.
    fn add_shares<B: Backend>(inputs: &[FloatTensor<B>; 4], chains: &Chains, d: &mut [FloatTensor<B>; 4]) {
        let [emissions, transitions, _, end] = inputs;
        let [_, labels] = host::dims(emissions);
        let (batch, last) = (chains.batch(), chains.steps - 1);
        let Before { steps, whole } = before::<B>(inputs, chains);
        let ends = host::row::<B>(end.clone());
        let sum = |x: FloatTensor<B>| shaped::<B, 1>(B::float_sum_dim(x, 0), [labels]);
        let share = |x: FloatTensor<B>| B::float_exp(B::float_sub(x, whole.clone()));
        d[3] = sum(share(B::float_add(steps[last].clone(), ends.clone())));
        let between = shaped::<B, 3>(transitions.clone(), [1, labels, labels]);
        let mut after = B::float_add(host::zeros::<B>([batch, labels], emissions), ends);
        for step in (0..=last).rev() {
            let (rows, present) = (chains.rows::<B>(step, emissions), chains.present::<B>(step, emissions));
            let here = share(B::float_add(steps[step].clone(), after.clone()));
            let here = B::float_mul(here, present.clone());
            let d_emissions = d[0].clone();
            d[0] = B::float_select_assign(d_emissions, 0, rows.clone(), here.clone(), IndexingUpdateOp::Add);
            if step == 0 {
                d[2] = sum(here);
                break;
            }
            let onward = B::float_add(after.clone(), B::float_select(emissions.clone(), 0, rows));
            let onward = B::float_add(between.clone(), shaped::<B, 3>(onward, [batch, 1, labels]));
            let from = shaped::<B, 3>(steps[step - 1].clone(), [batch, labels, 1]);
            let pairs = B::float_sub(
                B::float_add(from, onward.clone()),
                shaped::<B, 3>(whole.clone(), [batch, 1, 1]),
            );
            let pairs = B::float_mul(B::float_exp(pairs), shaped::<B, 3>(present.clone(), [batch, 1, 1]));
            let pairs = shaped::<B, 2>(B::float_sum_dim(pairs, 0), [labels, labels]);
            d[1] = B::float_add(d[1].clone(), pairs);
            let earlier = shaped::<B, 2>(log_sum_exp::<B>(onward, 2), [batch, labels]);
            after = choose::<B>(after, earlier, present);
        }
    }
}

impl CrfOps for Flex {
    fn crf_forward(
        emissions: FloatTensor<Self>,
        transitions: FloatTensor<Self>,
        start: FloatTensor<Self>,
        end: FloatTensor<Self>,
        target: Arc<[u32]>,
        offsets: Arc<[u32]>,
    ) -> FloatTensor<Self> {
        let _time = profile::time("crf_forward");
        let inputs = [emissions, transitions, start, end];
        if !flex::all_f32(&inputs) {
            return composed::forward::<Self>(inputs, &target, &offsets);
        }
        let inputs = inputs.map(flex::dense);
        let [emissions, transitions, start, end] = [0, 1, 2, 3].map(|at: usize| flex::values(&inputs[at]));
        let loss = kernel::forward(emissions, &offsets, &target, Chain { transitions, start, end });
        flex::tensor(vec![loss], [1])
    }

    fn crf_backward(
        d_loss: FloatTensor<Self>,
        emissions: FloatTensor<Self>,
        transitions: FloatTensor<Self>,
        start: FloatTensor<Self>,
        end: FloatTensor<Self>,
        target: Arc<[u32]>,
        offsets: Arc<[u32]>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("crf_backward");
        let inputs = [emissions, transitions, start, end];
        if !flex::all_f32(inputs.iter().chain([&d_loss])) {
            return composed::backward::<Self>(d_loss, inputs, &target, &offsets);
        }
        let (d_loss, inputs) = (flex::dense(d_loss), inputs.map(flex::dense));
        let [tokens, labels] = host::dims(&inputs[0]);
        let [emissions, transitions, start, end] = [0, 1, 2, 3].map(|at: usize| flex::values(&inputs[at]));
        let mut d_emissions = vec![0.0; tokens * labels];
        let mut d_transitions = vec![0.0; labels * labels];
        let (mut d_start, mut d_end) = (vec![0.0; labels], vec![0.0; labels]);
        kernel::backward(
            emissions,
            &offsets,
            &target,
            Chain { transitions, start, end },
            flex::values(&d_loss)[0],
            &mut d_emissions,
            &mut d_transitions,
            &mut d_start,
            &mut d_end,
        );
        (
            flex::tensor(d_emissions, [tokens, labels]),
            flex::tensor(d_transitions, [labels, labels]),
            flex::tensor(d_start, [labels]),
            flex::tensor(d_end, [labels]),
        )
    }
}

#[cfg(feature = "cube")]
impl CrfOps for burn::backend::Cube {}

/// What [`CrfBackward`] needs.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    inputs: [FloatTensor<B>; 4],
    target: Arc<[u32]>,
    offsets: Arc<[u32]>,
}

/// Parents: emissions, transitions, start, end.
#[derive(Debug)]
struct CrfBackward;

impl<B: CrfOps> Backward<B, 4> for CrfBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_loss = grads.consume::<B>(&ops.node);
        let Saved { inputs: [emissions, transitions, start, end], target, offsets } = ops.state;
        let (d_emissions, d_transitions, d_start, d_end) =
            B::crf_backward(d_loss, emissions, transitions, start, end, target, offsets);
        for (node, gradient) in ops.parents.into_iter().zip([d_emissions, d_transitions, d_start, d_end]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: CrfOps, C: CheckpointStrategy> CrfOps for Autodiff<B, C> {
    fn crf_forward(
        emissions: FloatTensor<Self>,
        transitions: FloatTensor<Self>,
        start: FloatTensor<Self>,
        end: FloatTensor<Self>,
        target: Arc<[u32]>,
        offsets: Arc<[u32]>,
    ) -> FloatTensor<Self> {
        let inputs = [emissions, transitions, start, end];
        let tracked = inputs.iter().any(|input| input.is_tracked());
        let [(emissions, of_emissions), (transitions, of_transitions), (start, of_start), (end, of_end)] =
            inputs.map(|input| input.into_parts());
        let saved = [emissions.clone(), transitions.clone(), start.clone(), end.clone()];
        let loss = B::crf_forward(emissions, transitions, start, end, target.clone(), offsets.clone());
        if !tracked {
            return Self::from_inner(loss);
        }
        let parents = [of_emissions, of_transitions, of_start, of_end];
        record::<B, C, _, 4>(CrfBackward, parents, Saved { inputs: saved, target, offsets }, loss)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::check::{Case, close, floats, normal};

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        let cases: [(usize, &[u32], &[u32]); 5] = [
            (1, &[0, 2], &[0, 0]),
            (2, &[0, 1], &[1]),
            (3, &[0, 5, 5, 6, 9], &[0, 2, 1, 1, 0, 2, 0, 1, 2]),
            (4, &[0, 3, 4, 11], &[3, IGNORE, 0, IGNORE, IGNORE, 1, 1, IGNORE, 2, 0, 3]),
            (9, &[0, 20, 40], &[5; 40]),
        ];
        for (labels, offsets, target) in cases {
            let (target, offsets): (Arc<[u32]>, Arc<[u32]>) = (target.into(), offsets.into());
            let case = Case {
                name: format!("crf, {labels} labels, {offsets:?}"),
                shapes: vec![vec![target.len(), labels], vec![labels, labels], vec![labels], vec![labels]],
                operation: &|inputs| {
                    let [emissions, transitions, start, end] =
                        [0, 1, 2, 3].map(|at: usize| inputs[at].clone());
                    let (target, offsets) = (target.clone(), offsets.clone());
                    Dispatch::crf_forward(emissions, transitions, start, end, target, offsets)
                },
                composed: &|inputs| {
                    let inputs = [0, 1, 2, 3].map(|at: usize| inputs[at].clone());
                    composed::forward::<Dispatch>(inputs, &target, &offsets)
                },
            };
            checked += case.check();
        }
        checked
    }

    #[test]
    fn without_transitions_it_is_the_cross_entropy() {
        let device = burn::tensor::Device::flex();
        let scores = normal::<2>([6, 4], 1);
        let (target, offsets): (Arc<[u32]>, Arc<[u32]>) =
            ([0, 3, IGNORE, 1, 1, 2].into(), [0, 4, 4, 6].into());
        let none = |len| Tensor::<1>::zeros([len], &device);
        let got = crf(scores.clone(), none(16).reshape([4, 4]), none(4), none(4), &target, &offsets);
        let expected = crate::cross_entropy(scores, &target, None, 0.0);
        close(&floats(got), &floats(expected), 1e-6).unwrap();
    }

    #[test]
    fn is_nan_when_nothing_is_asked() {
        let device = burn::tensor::Device::flex();
        let none = |len| Tensor::<1>::zeros([len], &device);
        let (target, offsets): (Arc<[u32]>, Arc<[u32]>) = ([IGNORE; 2].into(), [0, 2].into());
        let loss = crf(normal([2, 2], 1), none(4).reshape([2, 2]), none(2), none(2), &target, &offsets);
        assert!(floats(loss)[0].is_nan());
    }

    #[test]
    #[should_panic(expected = "crf: target 3 in row 1, there are 3 labels")]
    fn a_target_that_is_no_label_is_refused() {
        let device = burn::tensor::Device::flex();
        let none = |len| Tensor::<1>::zeros([len], &device);
        let (target, offsets): (Arc<[u32]>, Arc<[u32]>) = ([0, 3].into(), [0, 2].into());
        crf(normal([2, 3], 1), none(9).reshape([3, 3]), none(3), none(3), &target, &offsets);
    }
}

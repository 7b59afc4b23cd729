//! Dropout whose mask several rows share, and dropout of weights: what keeps recurrent models from overfitting.
//!
//! Paper: Gal and Ghahramani 2016, "A theoretically grounded application of dropout in recurrent neural networks",
//! §4 and §5, <https://arxiv.org/abs/1512.05287>; Merity, Keskar and Socher 2018, "Regularizing and optimizing LSTM
//! language models", §2, §4.2 and §4.3, <https://arxiv.org/abs/1708.02182>; the dropout of weights is that of Wan et al.
//! 2013, "Regularization of neural networks using DropConnect", <https://proceedings.mlr.press/v28/wan13.html>.

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
    dropout::{self as kernel, Mask},
    rng::Dropout,
    unwritten,
};

use crate::{dropout, flex, host, packed, profile, record::record};

/// Drops the same columns at every token of a sequence, and scales the others by `1 / (1 - p)`. `None` changes nothing.
///
/// # Shapes
/// - `x`, returns: `[tokens, hidden]`
/// - `offsets`: `[batch + 1]`, where each sequence starts and the last one ends
///
/// # Panics
/// If `offsets` does not rise from 0 to `tokens`.
pub fn locked_dropout(x: Tensor<2>, offsets: &Arc<[u32]>, dropout: Option<Dropout>) -> Tensor<2> {
    let [tokens, _] = x.dims();
    packed::check("locked_dropout", offsets, tokens);
    let Some(dropout) = dropout else { return x };
    let lengths = offsets.windows(2).map(|range| (range[1] - range[0]) as usize);
    let groups = (0..).zip(lengths).flat_map(|(sequence, len)| std::iter::repeat_n(sequence, len));
    let groups: Arc<[u32]> = groups.collect();
    Tensor::from_dispatch(Dispatch::masked_forward(x.into_dispatch(), groups, Mask::Columns, dropout))
}

/// Drops words, wherever they stand, and scales the others by `1 / (1 - p)`. `None` changes nothing.
///
/// The same as dropping rows of the table of words before it is read, without a copy of the table.
///
/// # Shapes
/// - `x`, returns: `[tokens, hidden]`, the rows of the table that `ids` names
/// - `ids`: `[tokens]`
///
/// # Panics
/// If there is not one of `ids` for each row.
pub fn embedding_dropout(x: Tensor<2>, ids: &Arc<[u32]>, dropout: Option<Dropout>) -> Tensor<2> {
    let [tokens, _] = x.dims();
    assert_eq!(ids.len(), tokens, "embedding_dropout: {} ids for {tokens} rows", ids.len());
    let Some(dropout) = dropout else { return x };
    Tensor::from_dispatch(Dispatch::masked_forward(x.into_dispatch(), ids.clone(), Mask::Whole, dropout))
}

/// Drops each number of a weight and scales the others by `1 / (1 - p)`. `None` changes nothing.
///
/// For the recurrent weight of [`lstm`](crate::lstm()): one mask for all steps, and the gradient goes to the weight
/// itself.
///
/// # Shapes
/// - `weight`, returns: `[out, in]`
pub fn weight_drop(weight: Tensor<2>, dropout: Option<Dropout>) -> Tensor<2> {
    dropout::dropout(weight, dropout)
}

/// [`locked_dropout`] and [`embedding_dropout`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait MaskedOps: Backend {
    /// Drops and scales values by the group of their row. Its backward is itself.
    fn masked_forward(
        x: FloatTensor<Self>,
        groups: Arc<[u32]>,
        mask: Mask,
        dropout: Dropout,
    ) -> FloatTensor<Self> {
        composed::forward::<Self>(x, &groups, mask, dropout)
    }
}

/// [`locked_dropout`] and [`embedding_dropout`] in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{Backend, tensor::FloatTensor};
    use topwork_kernels::{dropout::Mask, rng::Dropout};

    use crate::host;

    /// Drops and scales values by the group of their row. Its backward is itself.
    pub fn forward<B: Backend>(
        x: FloatTensor<B>,
        groups: &[u32],
        mask: Mask,
        dropout: Dropout,
    ) -> FloatTensor<B> {
        let [rows, cols] = host::dims(&x);
        // One column stands for all of them where a row is dropped whole.
        let width = match mask {
            Mask::Columns => cols,
            Mask::Whole => cols.min(1),
        };
        let mut scale = vec![0.0; rows * width];
        for (&group, scale) in groups.iter().zip(scale.chunks_mut(width.max(1))) {
            host::dropout_row(group as usize, dropout, scale);
        }
        let scale = host::floats::<B>(scale, [rows, width], &x);
        B::float_mul(x, scale)
    }
}

impl MaskedOps for Flex {
    fn masked_forward(
        x: FloatTensor<Self>,
        groups: Arc<[u32]>,
        mask: Mask,
        dropout: Dropout,
    ) -> FloatTensor<Self> {
        let _time = profile::time("masked_forward");
        if !flex::all_f32([&x]) {
            return composed::forward::<Self>(x, &groups, mask, dropout);
        }
        let x = flex::dense(x);
        let [rows, cols] = host::dims(&x);
        let mut y = unwritten(rows * cols);
        kernel::grouped(flex::values(&x), cols, &groups, mask, dropout, &mut y);
        flex::tensor(y, [rows, cols])
    }
}

#[cfg(feature = "cube")]
impl MaskedOps for burn::backend::Cube {}

/// What [`MaskedBackward`] needs.
#[derive(Clone, Debug)]
struct Saved {
    groups: Arc<[u32]>,
    mask: Mask,
    dropout: Dropout,
}

/// Parent: x.
#[derive(Debug)]
struct MaskedBackward;

impl<B: MaskedOps> Backward<B, 1> for MaskedBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_y = grads.consume::<B>(&ops.node);
        let Saved { groups, mask, dropout } = ops.state;
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::masked_forward(d_y, groups, mask, dropout));
        }
    }
}

impl<B: MaskedOps, C: CheckpointStrategy> MaskedOps for Autodiff<B, C> {
    fn masked_forward(
        x: FloatTensor<Self>,
        groups: Arc<[u32]>,
        mask: Mask,
        dropout: Dropout,
    ) -> FloatTensor<Self> {
        if !x.is_tracked() {
            return Self::from_inner(B::masked_forward(x.into_primitive(), groups, mask, dropout));
        }
        let (x, node) = x.into_parts();
        let y = B::masked_forward(x, groups.clone(), mask, dropout);
        record::<B, C, _, 1>(MaskedBackward, [node], Saved { groups, mask, dropout }, y)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::check::{Case, close, floats, normal};

    fn gradients(mask: Mask) -> usize {
        let mut checked = 0;
        for (tokens, hidden) in [(1, 1), (7, 33), (130, 5)] {
            for p in [0.0, 0.1, 0.9] {
                let dropout = Dropout { p, seed: 9 };
                let groups: Arc<[u32]> = (0..tokens as u32).map(|row| row * row % 11).collect();
                let case = Case {
                    name: format!("masked {mask:?} {tokens}x{hidden}, {p}"),
                    shapes: vec![vec![tokens, hidden]],
                    operation: &|inputs| {
                        Dispatch::masked_forward(inputs[0].clone(), groups.clone(), mask, dropout)
                    },
                    composed: &|inputs| {
                        composed::forward::<Dispatch>(inputs[0].clone(), &groups, mask, dropout)
                    },
                };
                checked += case.check();
            }
        }
        checked
    }

    pub(crate) fn locked_gradients() -> usize {
        gradients(Mask::Columns)
    }

    pub(crate) fn embedding_gradients() -> usize {
        gradients(Mask::Whole)
    }

    pub(crate) fn weight_gradients() -> usize {
        let dropout = Dropout { p: 0.3, seed: 4 };
        let weight = Tensor::<2>::from_data(
            normal::<2>([40, 30], 1).into_data(),
            &burn::tensor::Device::flex().autodiff(),
        )
        .require_grad();
        let scale = floats(weight_drop(Tensor::ones([40, 30], &burn::tensor::Device::flex()), Some(dropout)));
        let y = weight_drop(weight.clone(), Some(dropout));
        let expected: Vec<f64> = floats(weight.clone()).iter().zip(&scale).map(|(w, s)| w * s).collect();
        close(&floats(y.clone()), &expected, 1e-6).unwrap();
        let d = weight.grad(&y.sum().backward()).unwrap();
        close(&floats(d), &scale, 1e-6).unwrap();
        1
    }

    /// Shares of zeros and means are those asked for, by four standard deviations of the masks drawn.
    #[test]
    fn drops_the_share_asked_for_and_keeps_the_mean() {
        let device = burn::tensor::Device::flex();
        let p = 0.25;
        let dropout = Some(Dropout { p: p as f32, seed: 1 });
        let offsets: Arc<[u32]> = (0..=200).map(|sequence| sequence * 5).collect();
        let ids: Arc<[u32]> = (0..20_000).map(|row| row / 2).collect();
        let ones = |rows, cols| Tensor::<2>::ones([rows, cols], &device);
        let check = |y: Vec<f64>, draws: f64| {
            let dropped = y.iter().filter(|&&y| y == 0.0).count() as f64 / y.len() as f64;
            let limit = 4.0 * (p * (1.0 - p) / draws).sqrt();
            assert!((dropped - p).abs() < limit, "dropped {dropped}, limit {limit}");
            let mean = y.iter().sum::<f64>() / y.len() as f64;
            assert!((mean - 1.0).abs() < limit / (1.0 - p), "mean {mean}");
        };
        check(floats(locked_dropout(ones(1000, 60), &offsets, dropout)), 200.0 * 60.0);
        check(floats(embedding_dropout(ones(20_000, 3), &ids, dropout)), 10_000.0);
        check(floats(weight_drop(ones(200, 100), dropout)), 20_000.0);
    }

    #[test]
    fn sequences_and_words_share_their_masks() {
        let device = burn::tensor::Device::flex();
        let dropout = Some(Dropout { p: 0.5, seed: 2 });
        let offsets: Arc<[u32]> = [0, 4, 6, 30].into();
        let y = floats(locked_dropout(Tensor::ones([30, 40], &device), &offsets, dropout));
        let row = |row: usize| &y[row * 40..(row + 1) * 40];
        for range in offsets.windows(2) {
            assert!((range[0]..range[1]).all(|at| row(at as usize) == row(range[0] as usize)));
        }
        assert!(row(0) != row(4) && row(4) != row(6), "sequences have masks of their own");
        let ids: Arc<[u32]> = (0..60).map(|at| at % 20).collect();
        let y = floats(embedding_dropout(Tensor::ones([60, 4], &device), &ids, dropout));
        assert!(y[..80] == y[80..160] && y[..80] == y[160..], "a word is dropped everywhere");
        assert!(y.chunks(4).all(|row| row.iter().all(|value| *value == row[0])), "words are dropped whole");
        assert!(y.contains(&0.0) && y.contains(&2.0));
    }

    #[test]
    fn without_dropout_nothing_changes() {
        let x = normal::<2>([5, 6], 1);
        assert_eq!(floats(locked_dropout(x.clone(), &[0, 5].into(), None)), floats(x.clone()));
        assert_eq!(floats(embedding_dropout(x.clone(), &[1; 5].into(), None)), floats(x.clone()));
        assert_eq!(floats(weight_drop(x.clone(), None)), floats(x));
    }

    #[test]
    #[should_panic(expected = "embedding_dropout: 3 ids for 2 rows")]
    fn ids_of_another_number_are_refused() {
        embedding_dropout(normal([2, 4], 1), &[1, 2, 3].into(), None);
    }
}

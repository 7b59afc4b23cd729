//! Losses of vectors of texts: which belong together, and how alike they are.

use std::sync::Arc;

use burn::tensor::{Bool, Tensor, TensorData};
use topwork_kernels::gemm::Precision;

use super::cross_entropy;

/// What `torch.nn.functional.pairwise_distance` adds to each difference: equal vectors have a gradient too.
const EPS: f32 = 1e-6;

/// Vectors scaled to length one.
///
/// # Shapes
/// - `x` and what is returned: `[rows, width]`
pub fn unit(x: Tensor<2>) -> Tensor<2> {
    // The bound is that of torch.nn.functional.normalize, which sentence-transformers uses.
    let length = (x.clone() * x.clone()).sum_dim(1).sqrt().clamp_min(1e-12);
    x / length
}

/// The cosine of each row of `a` with the same row of `b`.
///
/// # Shapes
/// - `a`, `b`: `[rows, width]`; returns: `[rows, 1]`
pub fn cosines(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    (unit(a) * unit(b)).sum_dim(1)
}

/// Each query is to find the candidate that goes with it: the cross-entropy of its cosines with all candidates, each by the
/// temperature, averaged over queries.
///
/// Paper: van den Oord, Li, Vinyals 2018, "Representation Learning with Contrastive Predictive Coding", section 2.3 (InfoNCE),
/// <https://arxiv.org/abs/1807.03748>; with the other examples of a batch as candidates Henderson et al. 2017, "Efficient
/// Natural Language Response Suggestion for Smart Reply", section 4.4, <https://arxiv.org/abs/1705.00652>.
///
/// # Shapes
/// - `queries`: `[queries, width]`; `candidates`: `[candidates, width]`; `right`: `[queries]`, the number of a candidate
/// - `hidden`: `[queries, candidates]`, row-major: true for a candidate that does not count for this query
/// - returns: `[1]`
pub fn in_batch(
    queries: Tensor<2>,
    candidates: Tensor<2>,
    right: &Arc<[u32]>,
    hidden: &[bool],
    temperature: f32,
) -> Tensor<1> {
    // A difference of two cosines is divided by the temperature: 16 bits would not do.
    let scores = topwork_ops::linear(unit(queries), unit(candidates), None, Precision::F32) / temperature;
    let scores = if hidden.contains(&true) {
        let mask = TensorData::new(hidden.to_vec(), scores.dims());
        let mask = Tensor::<2, Bool>::from_data(mask, &scores.device());
        scores.mask_fill(mask, f32::NEG_INFINITY)
    } else {
        scores
    };
    cross_entropy(scores, right, None, 0.0)
}

/// What goes with an anchor is to be nearer to it than what does not, by a margin.
///
/// Paper: Reimers, Gurevych 2019, "Sentence-BERT", section 3, "Triplet Objective Function", <https://arxiv.org/abs/1908.10084>
///
/// # Shapes
/// - `anchor`, `right`, `wrong`: `[rows, width]`; returns: `[1]`
pub fn triplet(anchor: Tensor<2>, right: Tensor<2>, wrong: Tensor<2>, margin: f32) -> Tensor<1> {
    let distance = |other: Tensor<2>| {
        let difference = anchor.clone() - other + EPS;
        (difference.clone() * difference).sum_dim(1).sqrt()
    };
    burn::tensor::activation::relu(distance(right) - distance(wrong) + margin).mean()
}

/// The cosine of two vectors is to be a number: the mean squared difference.
///
/// Paper: Reimers, Gurevych 2019, "Sentence-BERT", section 3, "Regression Objective Function", <https://arxiv.org/abs/1908.10084>
///
/// # Shapes
/// - `a`, `b`: `[rows, width]`; `scores`: `[rows]`; returns: `[1]`
pub fn cosine_regression(a: Tensor<2>, b: Tensor<2>, scores: &[f32]) -> Tensor<1> {
    super::mean_squared_error(cosines(a, b), scores)
}

/// Vectors that belong together are to be near, others further apart than a margin: half the mean of the square of the
/// distance, or of what is left to the margin.
///
/// Paper: Hadsell, Chopra, LeCun 2006, "Dimensionality Reduction by Learning an Invariant Mapping", section 2.1,
/// <https://doi.org/10.1109/CVPR.2006.100>; differs from the paper in the distance, one less the cosine.
///
/// # Shapes
/// - `a`, `b`: `[rows, width]`; `together`: `[rows]`, 1 or 0; returns: `[1]`
pub fn contrastive(a: Tensor<2>, b: Tensor<2>, together: &[f32], margin: f32) -> Tensor<1> {
    let distance = -cosines(a, b) + 1.0;
    let left = burn::tensor::activation::relu(-distance.clone() + margin);
    let data = TensorData::new(together.to_vec(), distance.dims());
    let together = Tensor::<2>::from_data(data, &distance.device());
    let apart = -together.clone() + 1.0;
    (together * distance.clone() * distance + apart * left.clone() * left).mean() * 0.5
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn rows(values: &[[f32; 2]]) -> Tensor<2> {
        let flat: Vec<f32> = values.concat();
        Tensor::from_data(TensorData::new(flat, [values.len(), 2]), &Device::flex())
    }

    fn near(got: Tensor<1>, expected: f64) {
        let got = f64::from(got.into_scalar::<f32>());
        assert!((got - expected).abs() < 1e-5, "{got} against {expected}");
    }

    #[test]
    fn a_candidate_that_does_not_count_is_as_if_it_were_not_there() {
        let (queries, right) = (rows(&[[1.0, 0.0], [0.0, 2.0]]), Arc::from([0, 1]));
        let three = rows(&[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]);
        let two = rows(&[[1.0, 0.0], [0.0, 1.0]]);
        let hidden = [false, false, true, false, false, true];
        let with = in_batch(queries.clone(), three.clone(), &right, &hidden, 0.5).into_scalar::<f32>();
        near(in_batch(queries.clone(), two, &right, &[false; 4], 0.5), f64::from(with));
        // Cosines 1 and 0, by a half: ln(1 + e^-2).
        assert!((f64::from(with) - (1.0 + (-2.0f64).exp()).ln()).abs() < 1e-6, "{with}");
        let all = in_batch(queries, three, &right, &[false; 6], 0.5).into_scalar::<f32>();
        assert!(all > with + 0.1, "{all} {with}");
    }

    #[test]
    fn distances_are_held_against_their_margin() {
        let (anchor, right) = (rows(&[[0.0, 0.0]]), rows(&[[3.0, 4.0]]));
        near(triplet(anchor.clone(), right.clone(), rows(&[[0.0, 5.5]]), 1.0), 0.5);
        near(triplet(anchor, right, rows(&[[0.0, 7.0]]), 1.0), 0.0);
    }

    #[test]
    fn pairs_are_pulled_together_and_pushed_apart() {
        let (a, b) = (rows(&[[1.0, 0.0], [1.0, 0.0]]), rows(&[[0.0, 3.0], [3.0, 4.0]]));
        // Distances 1 and 0.4.
        near(contrastive(a.clone(), b.clone(), &[1.0, 0.0], 0.5), 0.5 * (1.0 + 0.01) / 2.0);
        near(contrastive(a.clone(), b.clone(), &[0.0, 1.0], 0.5), 0.5 * 0.16 / 2.0);
        near(cosine_regression(a, b, &[0.5, 0.5]), (0.25 + 0.01) / 2.0);
    }
}

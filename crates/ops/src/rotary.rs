//! Rotary position embedding of queries and keys.
//!
//! Paper: Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding", §3.2.2,
//! <https://arxiv.org/abs/2104.09864>.

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
use topwork_kernels::rotary::{Rotary, rotate};
use topwork_kernels::unwritten;

use crate::{flex, host, profile, record::record};

/// Turns the pairs of numbers of each head by the angles of its token. [`Rotary::new`] makes the angles of a batch, once
/// for all layers.
///
/// # Shapes
/// - `x` (queries or keys), returns: `[tokens, heads * head_dim]`
///
/// # Panics
/// If `rotary` is for other tokens or wider heads, or `heads` does not divide the columns.
pub fn rotary(x: Tensor<2>, heads: usize, rotary: &Rotary) -> Tensor<2> {
    let [tokens, width] = x.dims();
    assert!(heads > 0 && width % heads == 0, "rotary: {width} columns do not divide into {heads} heads");
    let (expected, dim) = (rotary.tokens().unwrap_or(tokens), rotary.dim());
    assert!(expected == tokens, "rotary: angles of {expected} tokens for {tokens}");
    assert!(dim <= width / heads, "rotary: {dim} numbers to turn in heads of {}", width / heads);
    Tensor::from_dispatch(Dispatch::rotary_forward(x.into_dispatch(), heads, rotary.clone(), false))
}

/// [`rotary()`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait RotaryOps: Backend {
    /// The turned numbers: see [`rotary()`]. Its backward is the turn `back`.
    fn rotary_forward(x: FloatTensor<Self>, heads: usize, rotary: Rotary, back: bool) -> FloatTensor<Self> {
        composed::forward::<Self>(x, heads, &rotary, back)
    }
}

/// [`rotary()`] in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{Backend, Shape, Slice, tensor::FloatTensor};
    use topwork_kernels::rotary::{Pairing, Rotary};

    use crate::host;

    /// The numbers turned, or turned `back`.
    pub fn forward<B: Backend>(
        x: FloatTensor<B>,
        heads: usize,
        rotary: &Rotary,
        back: bool,
    ) -> FloatTensor<B> {
        let ([tokens, width], half) = (host::dims(&x), rotary.dim() / 2);
        if half == 0 || tokens == 0 {
            return x;
        }
        let head_dim = width / heads;
        let all = [0..tokens, 0..heads].map(Slice::from);
        let x = B::float_reshape(x, Shape::from([tokens, heads, head_dim]));
        let part = |x: &FloatTensor<B>, range: std::ops::Range<usize>| {
            B::float_slice(x.clone(), &[all[0], all[1], Slice::from(range)])
        };
        let turning = part(&x, 0..2 * half);
        // [tokens, heads, half] each.
        let [a, b] = match rotary.pairing() {
            Pairing::Halves => [part(&turning, 0..half), part(&turning, half..2 * half)],
            Pairing::Neighbours => {
                let pairs = B::float_reshape(turning, Shape::from([tokens, heads, half, 2]));
                let pairs = B::float_permute(pairs, &[0, 1, 3, 2]);
                let pairs = B::float_reshape(pairs, Shape::from([tokens, heads, 2 * half]));
                [part(&pairs, 0..half), part(&pairs, half..2 * half)]
            }
        };
        let angles = |values: &[f32]| host::floats::<B>(values.to_vec(), [tokens, 1, half], &a);
        let (cos, sin) = (angles(rotary.cos()), angles(rotary.sin()));
        let sin = if back { B::float_neg(sin) } else { sin };
        let turned_a =
            B::float_sub(B::float_mul(a.clone(), cos.clone()), B::float_mul(b.clone(), sin.clone()));
        let turned_b = B::float_add(B::float_mul(b, cos), B::float_mul(a, sin));
        let mut turned = B::float_cat(vec![turned_a, turned_b], 2);
        if rotary.pairing() == Pairing::Neighbours {
            turned = B::float_reshape(turned, Shape::from([tokens, heads, 2, half]));
            turned = B::float_permute(turned, &[0, 1, 3, 2]);
            turned = B::float_reshape(turned, Shape::from([tokens, heads, 2 * half]));
        }
        if 2 * half < head_dim {
            turned = B::float_cat(vec![turned, part(&x, 2 * half..head_dim)], 2);
        }
        B::float_reshape(turned, Shape::from([tokens, width]))
    }
}

impl RotaryOps for Flex {
    fn rotary_forward(x: FloatTensor<Self>, heads: usize, rotary: Rotary, back: bool) -> FloatTensor<Self> {
        let _time = profile::time("rotary_forward");
        if !flex::all_f32([&x]) {
            return composed::forward::<Self>(x, heads, &rotary, back);
        }
        let x = flex::dense(x);
        let [tokens, width] = host::dims(&x);
        let mut y = unwritten(tokens * width);
        rotate(flex::values(&x), heads, &rotary, back, &mut y);
        flex::tensor(y, [tokens, width])
    }
}

#[cfg(feature = "cube")]
impl RotaryOps for burn::backend::Cube {}

/// Parent: x. What it needs: the heads, the angles and which way they were turned.
#[derive(Debug)]
struct RotaryBackward;

impl<B: RotaryOps> Backward<B, 1> for RotaryBackward {
    type State = (usize, Rotary, bool);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_y = grads.consume::<B>(&ops.node);
        let ([node], (heads, rotary, back)) = (ops.parents, ops.state);
        if let Some(node) = node {
            grads.register::<B>(node.id, B::rotary_forward(d_y, heads, rotary, !back));
        }
    }
}

impl<B: RotaryOps, C: CheckpointStrategy> RotaryOps for Autodiff<B, C> {
    fn rotary_forward(x: FloatTensor<Self>, heads: usize, rotary: Rotary, back: bool) -> FloatTensor<Self> {
        if !x.is_tracked() {
            return Self::from_inner(B::rotary_forward(x.into_primitive(), heads, rotary, back));
        }
        let (x, node) = x.into_parts();
        let y = B::rotary_forward(x, heads, rotary.clone(), back);
        record::<B, C, _, 1>(RotaryBackward, [node], (heads, rotary, back), y)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use topwork_kernels::rotary::Pairing;

    use super::*;
    use crate::check::{Case, floats, normal};

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        for pairing in [Pairing::Halves, Pairing::Neighbours] {
            for (heads, head_dim, half) in [(1, 2, 1), (2, 8, 4), (3, 10, 2), (2, 5, 0)] {
                let positions: Vec<u32> = (0..7).map(|at| at * 5 % 9).collect();
                let frequencies: Vec<f32> = (0..half).map(|at| 0.3_f32.powi(at)).collect();
                let rotary = Rotary::new(&positions, &frequencies, 1.25, pairing);
                let case = Case {
                    name: format!("rotary, {heads} heads of {head_dim}, {half} {pairing:?}"),
                    shapes: vec![vec![7, heads * head_dim]],
                    operation: &|inputs| {
                        Dispatch::rotary_forward(inputs[0].clone(), heads, rotary.clone(), false)
                    },
                    composed: &|inputs| {
                        composed::forward::<Dispatch>(inputs[0].clone(), heads, &rotary, false)
                    },
                };
                checked += case.check();
            }
        }
        checked
    }

    #[test]
    fn products_of_queries_and_keys_depend_on_their_distance_alone() {
        let (q, k) = (normal::<2>([1, 16], 1), normal::<2>([1, 16], 2));
        let product = |q_at: u32, k_at: u32| {
            let turn = |x: &Tensor<2>, at| {
                let angles = Rotary::new(&[at], &[1.0, 0.3, 0.1, 0.03], 1.0, Pairing::Halves);
                rotary(x.clone(), 2, &angles)
            };
            floats((turn(&q, q_at) * turn(&k, k_at)).sum())[0]
        };
        assert!((product(3, 10) - product(40, 47)).abs() < 1e-4);
        assert!((product(3, 10) - product(3, 11)).abs() > 1e-2);
    }

    #[test]
    #[should_panic(expected = "rotary: angles of 2 tokens for 3")]
    fn angles_of_other_tokens_are_refused() {
        rotary(normal([3, 8], 1), 2, &Rotary::new(&[0, 1], &[1.0], 1.0, Pairing::Halves));
    }

    #[test]
    #[should_panic(expected = "rotary: 6 numbers to turn in heads of 4")]
    fn heads_that_are_too_narrow_are_refused() {
        rotary(normal([1, 8], 1), 2, &Rotary::new(&[0], &[1.0; 3], 1.0, Pairing::Halves));
    }
}

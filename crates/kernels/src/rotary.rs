//! Rotary position embedding: the numbers of each head, two by two, turned by an angle that grows with the position.
//!
//! Paper: Su et al. 2021, "RoFormer", §3.2.2, <https://arxiv.org/abs/2104.09864>.

use std::sync::Arc;

use crate::cpu::multiversion;
use crate::math::fma;
use crate::parallel::{each, rows_per_task};

/// Which numbers of a head turn together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pairing {
    /// The first half of the turned numbers with the second half, as in GPT-NeoX and Llama (`rotate_half`).
    Halves,
    /// Neighbours, as in the paper, GPT-J and the original weights of Llama.
    Neighbours,
}

/// The cosines and sines of the tokens of a batch: made once, used by the queries and keys of every layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    cos: Arc<[f32]>,
    sin: Arc<[f32]>,
    /// Pairs of numbers that turn, in each head.
    half: usize,
    pairing: Pairing,
}

impl Rotary {
    /// For tokens at `positions`, turned by `position * inverse_frequencies[i]` in pair `i`. Cosines and sines are
    /// multiplied with `factor` (the attention scaling of YaRN and its like; 1 for none).
    ///
    /// The angle is rounded to f32, as in the reference implementations; cosine and sine are those of the rounded angle.
    ///
    /// # Shapes
    /// - `positions`: `[tokens]`; `inverse_frequencies`: `[rotary_dim / 2]`, where the first `rotary_dim` numbers of each
    ///   head turn and the others stay as they are
    pub fn new(positions: &[u32], inverse_frequencies: &[f32], factor: f32, pairing: Pairing) -> Self {
        let angles = positions.iter().flat_map(|&position| {
            inverse_frequencies.iter().map(move |frequency| f64::from(position as f32 * frequency))
        });
        let (sin, cos): (Vec<f32>, Vec<f32>) = angles
            .map(|angle| {
                let (sin, cos) = angle.sin_cos();
                (sin as f32 * factor, cos as f32 * factor)
            })
            .unzip();
        Self { cos: cos.into(), sin: sin.into(), half: inverse_frequencies.len(), pairing }
    }

    /// The tokens it is for; `None` where nothing turns, which fits any.
    pub fn tokens(&self) -> Option<usize> {
        self.cos.len().checked_div(self.half)
    }

    /// How many numbers of each head turn.
    pub fn dim(&self) -> usize {
        2 * self.half
    }

    /// Which numbers turn together.
    pub fn pairing(&self) -> Pairing {
        self.pairing
    }

    /// The cosines: `[tokens, dim / 2]`.
    pub fn cos(&self) -> &[f32] {
        &self.cos
    }

    /// The sines: `[tokens, dim / 2]`.
    pub fn sin(&self) -> &[f32] {
        &self.sin
    }
}

/// `y` is `x` turned by the angles of `rotary`, or, with `back`, by the same angles the other way, which is the backward
/// pass: on the gradient of `y` it gives that of `x`. All of `y` is written.
///
/// # Shapes
/// - `x`, `y`: `[tokens, heads * head_dim]`
pub fn rotate(x: &[f32], heads: usize, rotary: &Rotary, back: bool, y: &mut [f32]) {
    assert_eq!(y.len(), x.len(), "rotary: y and x");
    let Some(tokens) = rotary.tokens() else { return y.copy_from_slice(x) };
    if x.is_empty() {
        return;
    }
    assert!(
        heads > 0 && tokens > 0 && x.len().is_multiple_of(tokens * heads),
        "rotary: {} numbers are not {tokens} tokens of {heads} heads",
        x.len()
    );
    let (width, half) = (x.len() / tokens, rotary.half);
    let head_dim = width / heads;
    assert!(2 * half <= head_dim, "rotary: {} numbers to turn in heads of {head_dim}", 2 * half);
    let block = rows_per_task(width);
    let angles = rotary.cos.chunks(block * half).zip(rotary.sin.chunks(block * half));
    let tasks = x.chunks(block * width).zip(y.chunks_mut(block * width)).zip(angles);
    let sign = if back { -1.0 } else { 1.0 };
    each(tasks.collect(), x.len(), |((x, y), (cos, sin))| match rotary.pairing {
        Pairing::Halves => halves(x, [width, head_dim, half], cos, sin, sign, y),
        Pairing::Neighbours => neighbours(x, [width, head_dim, half], cos, sin, sign, y),
    });
}

multiversion! {
    fn halves(x: &[f32], sizes: [usize; 3], cos: &[f32], sin: &[f32], sign: f32, y: &mut [f32]) = halves_body;
    fn neighbours(x: &[f32], sizes: [usize; 3], cos: &[f32], sin: &[f32], sign: f32, y: &mut [f32]) = neighbours_body;
}

#[inline(always)]
fn halves_body<const FMA: bool>(
    x: &[f32],
    [width, head_dim, half]: [usize; 3],
    cos: &[f32],
    sin: &[f32],
    sign: f32,
    y: &mut [f32],
) {
    let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
    for ((x, y), (cos, sin)) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(angles) {
        for (x, y) in x.chunks_exact(head_dim).zip(y.chunks_exact_mut(head_dim)) {
            let ((x, x_rest), (y, y_rest)) = (x.split_at(2 * half), y.split_at_mut(2 * half));
            y_rest.copy_from_slice(x_rest);
            let ((a, b), (to_a, to_b)) = (x.split_at(half), y.split_at_mut(half));
            let to = to_a.iter_mut().zip(to_b);
            for (((a, b), (to_a, to_b)), (cos, sin)) in a.iter().zip(b).zip(to).zip(cos.iter().zip(sin)) {
                let sin = sin * sign;
                *to_a = fma::<FMA>(*a, *cos, -(b * sin));
                *to_b = fma::<FMA>(*b, *cos, a * sin);
            }
        }
    }
}

#[inline(always)]
fn neighbours_body<const FMA: bool>(
    x: &[f32],
    [width, head_dim, half]: [usize; 3],
    cos: &[f32],
    sin: &[f32],
    sign: f32,
    y: &mut [f32],
) {
    let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
    for ((x, y), (cos, sin)) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(angles) {
        for (x, y) in x.chunks_exact(head_dim).zip(y.chunks_exact_mut(head_dim)) {
            let ((x, x_rest), (y, y_rest)) = (x.split_at(2 * half), y.split_at_mut(2 * half));
            y_rest.copy_from_slice(x_rest);
            let pairs = x.as_chunks::<2>().0.iter().zip(y.as_chunks_mut::<2>().0);
            for (([a, b], [to_a, to_b]), (cos, sin)) in pairs.zip(cos.iter().zip(sin)) {
                let sin = sin * sign;
                *to_a = fma::<FMA>(*a, *cos, -(b * sin));
                *to_b = fma::<FMA>(*b, *cos, a * sin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, random, same_on_any_threads};

    fn frequencies(half: usize) -> Vec<f32> {
        (0..half).map(|i| 10_000_f32.powf(-(i as f32) / half as f32)).collect()
    }

    #[test]
    fn pairs_turn_by_their_angles_and_the_rest_stays() {
        let mut seen = 0;
        for pairing in [Pairing::Halves, Pairing::Neighbours] {
            for (heads, head_dim, half) in [(1, 2, 1), (3, 10, 5), (2, 16, 3), (4, 64, 32), (1, 7, 0)] {
                let positions = [0, 1, 7, 4000, 3];
                let x = random(1, 5 * heads * head_dim);
                let frequencies = frequencies(half);
                let rotary = Rotary::new(&positions, &frequencies, 0.75, pairing);
                let mut y = vec![f32::NAN; x.len()];
                rotate(&x, heads, &rotary, false, &mut y);
                let mut expected: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
                for (at, head) in expected.chunks_mut(head_dim).enumerate() {
                    for (i, frequency) in frequencies.iter().enumerate() {
                        let angle = f64::from(positions[at / heads] as f32 * frequency);
                        let (a, b) = match pairing {
                            Pairing::Halves => (i, i + half),
                            Pairing::Neighbours => (2 * i, 2 * i + 1),
                        };
                        let (from_a, from_b) = (head[a], head[b]);
                        head[a] = 0.75 * (from_a * angle.cos() - from_b * angle.sin());
                        head[b] = 0.75 * (from_b * angle.cos() + from_a * angle.sin());
                    }
                }
                close(&y, &expected, 3e-7);
                // The way back is the transpose: a turn back, and the factor once more.
                let mut back = vec![f32::NAN; x.len()];
                rotate(&y, heads, &rotary, true, &mut back);
                let scaled = |at: usize| if at % head_dim < 2 * half { 0.75 * 0.75 } else { 1.0 };
                let expected: Vec<f64> =
                    x.iter().enumerate().map(|(at, &x)| f64::from(x) * scaled(at)).collect();
                close(&back, &expected, 3e-7);
                seen += 1;
            }
        }
        assert_eq!(seen, 10);
    }

    #[test]
    fn neither_threads_nor_neighbours_change_bits() {
        let (tokens, heads, head_dim) = (400, 3, 32);
        let x = random(1, tokens * heads * head_dim);
        let positions: Vec<u32> = (0..tokens as u32).collect();
        for pairing in [Pairing::Halves, Pairing::Neighbours] {
            let run = |x: &[f32], positions: &[u32]| {
                let rotary = Rotary::new(positions, &frequencies(12), 1.0, pairing);
                let mut y = vec![0.0; x.len()];
                rotate(x, heads, &rotary, false, &mut y);
                y
            };
            same_on_any_threads(|| run(&x, &positions));
            let all = run(&x, &positions);
            for token in [0, 171, 399] {
                let range = token * heads * head_dim..(token + 1) * heads * head_dim;
                assert_eq!(run(&x[range.clone()], &positions[token..=token]), all[range]);
            }
        }
    }

    #[test]
    fn no_tokens_are_fine() {
        let rotary = Rotary::new(&[], &frequencies(2), 1.0, Pairing::Halves);
        rotate(&[], 2, &rotary, false, &mut []);
        assert_eq!((rotary.tokens(), rotary.dim()), (Some(0), 4));
    }

    #[test]
    #[should_panic(expected = "rotary: 10 numbers to turn in heads of 8")]
    fn heads_that_are_too_narrow_are_refused() {
        let rotary = Rotary::new(&[0], &frequencies(5), 1.0, Pairing::Halves);
        rotate(&[0.0; 16], 2, &rotary, false, &mut [0.0; 16]);
    }
}

//! One vector for a sequence of token vectors.

use crate::parallel::each;

/// How token vectors become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pool {
    /// The first token.
    Cls,
    /// The last token.
    Last,
    /// The mean of all tokens.
    Mean,
    /// The maximum of each component.
    Max,
}

/// `y[b]` pools the tokens `offsets[b]..offsets[b + 1]`; a sequence without tokens gives zeros.
///
/// `argmax` is filled for [`Pool::Max`] with the token each maximum came from, and may be empty otherwise.
///
/// # Shapes
/// - `x`: `[tokens, hidden]`; `offsets`: `[batch + 1]`; `y`, `argmax`: `[batch, hidden]`
pub fn forward(x: &[f32], hidden: usize, offsets: &[u32], pool: Pool, y: &mut [f32], argmax: &mut [u32]) {
    let batch = check(x.len(), hidden, offsets);
    assert_eq!(y.len(), batch * hidden, "pool: y is not {batch} x {hidden}");
    if pool == Pool::Max {
        assert_eq!(argmax.len(), batch * hidden, "pool: argmax is not {batch} x {hidden}");
    }
    let argmax = crate::parallel::split(argmax, hidden, batch);
    let tasks: Vec<_> = offsets.windows(2).zip(y.chunks_mut(hidden).zip(argmax)).collect();
    each(tasks, x.len(), |(range, (y, argmax))| {
        let (first, last) = (range[0] as usize, range[1] as usize);
        y.fill(0.0);
        if first == last {
            return;
        }
        let tokens = &x[first * hidden..last * hidden];
        match pool {
            Pool::Cls => y.copy_from_slice(&tokens[..hidden]),
            Pool::Last => y.copy_from_slice(&tokens[tokens.len() - hidden..]),
            Pool::Mean => {
                for token in tokens.chunks_exact(hidden) {
                    for (y, x) in y.iter_mut().zip(token) {
                        *y += x;
                    }
                }
                let count = (last - first) as f32;
                y.iter_mut().for_each(|y| *y /= count);
            }
            Pool::Max => {
                y.copy_from_slice(&tokens[..hidden]);
                argmax.fill(first as u32);
                for (token, x) in (first..).zip(tokens.chunks_exact(hidden)).skip(1) {
                    for ((y, at), &x) in y.iter_mut().zip(argmax.iter_mut()).zip(x) {
                        // A NaN wins and stays, as in PyTorch.
                        if x > *y || (x.is_nan() && !y.is_nan()) {
                            *y = x;
                            *at = token as u32;
                        }
                    }
                }
            }
        }
    });
}

/// The gradient of [`forward`]; every element of `dx` is written.
///
/// # Shapes
/// - `dy`, `argmax` (for [`Pool::Max`]): `[batch, hidden]`; `dx`: `[tokens, hidden]`
pub fn backward(dy: &[f32], hidden: usize, offsets: &[u32], pool: Pool, argmax: &[u32], dx: &mut [f32]) {
    let batch = check(dx.len(), hidden, offsets);
    assert_eq!(dy.len(), batch * hidden, "pool: dy is not {batch} x {hidden}");
    if pool == Pool::Max {
        assert_eq!(argmax.len(), batch * hidden, "pool: argmax is not {batch} x {hidden}");
    }
    let elements = dx.len();
    let mut rest = dx;
    let mut tasks = Vec::with_capacity(batch);
    for (sequence, range) in offsets.windows(2).enumerate() {
        let (dx, after) = rest.split_at_mut((range[1] - range[0]) as usize * hidden);
        rest = after;
        tasks.push((sequence, range[0], dx));
    }
    each(tasks, elements, |(sequence, first, dx)| {
        if dx.is_empty() {
            return;
        }
        let dy = &dy[sequence * hidden..][..hidden];
        match pool {
            Pool::Cls => {
                dx.fill(0.0);
                dx[..hidden].copy_from_slice(dy);
            }
            Pool::Last => {
                let last = dx.len() - hidden;
                dx[..last].fill(0.0);
                dx[last..].copy_from_slice(dy);
            }
            Pool::Mean => {
                let count = (dx.len() / hidden) as f32;
                for token in dx.chunks_exact_mut(hidden) {
                    for (dx, dy) in token.iter_mut().zip(dy) {
                        *dx = dy / count;
                    }
                }
            }
            Pool::Max => {
                dx.fill(0.0);
                for (col, (&at, &dy)) in argmax[sequence * hidden..][..hidden].iter().zip(dy).enumerate() {
                    dx[(at - first) as usize * hidden + col] = dy;
                }
            }
        }
    });
}

fn check(elements: usize, hidden: usize, offsets: &[u32]) -> usize {
    assert!(hidden > 0, "pool: hidden is 0");
    crate::attention::check_offsets(offsets, elements / hidden);
    assert!(elements.is_multiple_of(hidden), "pool: {elements} elements are not rows of {hidden}");
    offsets.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, gradient, random};

    const OFFSETS: [u32; 5] = [0, 3, 4, 4, 11];

    fn reference(x: &[f64], hidden: usize, pool: Pool) -> Vec<f64> {
        let mut y = Vec::new();
        for range in OFFSETS.windows(2) {
            for col in 0..hidden {
                let values: Vec<f64> =
                    (range[0]..range[1]).map(|token| x[token as usize * hidden + col]).collect();
                y.push(match pool {
                    _ if values.is_empty() => 0.0,
                    Pool::Cls => values[0],
                    Pool::Last => values[values.len() - 1],
                    Pool::Mean => values.iter().sum::<f64>() / values.len() as f64,
                    Pool::Max => values.into_iter().fold(f64::NEG_INFINITY, f64::max),
                });
            }
        }
        y
    }

    #[test]
    fn forward_and_gradient_equal_the_definition() {
        let mut seen = 0;
        for pool in [Pool::Cls, Pool::Last, Pool::Mean, Pool::Max] {
            for hidden in [1, 17, 100] {
                let (x, dy) = (random(1, 11 * hidden), random(2, 4 * hidden));
                let mut y = vec![f32::NAN; 4 * hidden];
                let mut argmax = vec![0; 4 * hidden];
                forward(&x, hidden, &OFFSETS, pool, &mut y, &mut argmax);
                let wide: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
                close(&y, &reference(&wide, hidden, pool), 1e-6);
                let mut dx = vec![f32::NAN; x.len()];
                backward(&dy, hidden, &OFFSETS, pool, &argmax, &mut dx);
                let loss = |x: &[f64]| {
                    reference(x, hidden, pool).iter().zip(&dy).map(|(y, d)| y * f64::from(*d)).sum::<f64>()
                };
                close(&dx, &gradient(&x, loss), 1e-6);
                seen += 1;
            }
        }
        assert_eq!(seen, 12);
    }

    #[test]
    fn a_nan_wins_the_maximum() {
        let (mut y, mut at) = ([0.0], [0]);
        forward(&[1.0, f32::NAN, 2.0], 1, &[0, 3], Pool::Max, &mut y, &mut at);
        assert!(y[0].is_nan() && at[0] == 1);
    }
}

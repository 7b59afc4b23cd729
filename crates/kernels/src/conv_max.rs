//! Convolution, the maximum over time and an activation, as one: one vector for each sequence.
//!
//! The convolution is [`crate::conv`]'s; its outputs are never kept, and the way back touches only the window that each
//! maximum came from.
//!
//! Paper: Kim et al. 2016, "Character-aware neural language models", §2.2, <https://arxiv.org/abs/1508.06615>.

use crate::activation::Activation;
use crate::conv::{Conv, ROWS, by_tap, from_tap, outputs, pack, sizes};
use crate::gemm::Precision;
use crate::parallel::{each, split};
use crate::scratch::Scratch;

/// `y[b] = act(max over the outputs of sequence b)`. The activation must rise: ReLU, tanh or none.
///
/// `argmax` is filled with the output each maximum came from, counted as [`Conv::offsets`] does; it may be empty.
///
/// # Shapes
/// - `x`: `[tokens, inputs]`; `offsets`: `[batch + 1]`; every sequence has an output
/// - `weight`: `[out, inputs, width]`; `bias`: `[out]`
/// - `y`, `argmax`: `[batch, out]`
#[allow(clippy::too_many_arguments)]
pub fn forward(
    x: &[f32],
    inputs: usize,
    weight: &[f32],
    bias: Option<&[f32]>,
    offsets: &[u32],
    conv: Conv,
    act: Activation,
    y: &mut [f32],
    argmax: &mut [u32],
) {
    let out = sizes(x.len(), inputs, weight.len(), offsets, conv);
    let batch = offsets.len() - 1;
    assert_eq!(y.len(), batch * out, "conv_max: y is not {batch} x {out}");
    assert!(argmax.is_empty() || argmax.len() == y.len(), "conv_max: argmax and y");
    assert!(rises(act), "conv_max: {} does not rise everywhere", act.name());
    let ends = conv.offsets(offsets);
    let filters = pack(&by_tap(weight, inputs, conv.width), out, Precision::F32);
    let places = offsets.windows(2).zip(ends.windows(2));
    let tasks: Vec<_> = places.zip(y.chunks_mut(out).zip(split(argmax, out, batch))).collect();
    let work = (ends[batch] as usize * out).saturating_mul(filters.cols());
    each(tasks, work, |((range, place), (y, argmax))| {
        let x = &x[range[0] as usize * inputs..range[1] as usize * inputs];
        let count = (place[1] - place[0]) as usize;
        assert!(count > 0, "conv_max: a sequence shorter than the filters has no maximum");
        let mut block = Scratch::new(ROWS.min(count) * out);
        for first in (0..count).step_by(ROWS) {
            let rows = ROWS.min(count - first);
            let block = &mut block[..rows * out];
            outputs(x, inputs, &filters, bias, conv, first, block);
            for (at, z) in (place[0] + first as u32..).zip(block.chunks_exact(out)) {
                if at == place[0] {
                    y.copy_from_slice(z);
                    argmax.fill(at);
                } else {
                    greater(z, at, y, argmax);
                }
            }
        }
        match act {
            // A NaN is not below zero and stays.
            Activation::Relu => y.iter_mut().filter(|y| **y < 0.0).for_each(|y| *y = 0.0),
            Activation::Tanh => tanh(y),
            _ => {}
        }
    });
}

/// The gradient before the activation, from what [`forward`] gave.
///
/// # Shapes
/// - `dy`, `y`, `d_z`: `[batch, out]`; `d_z` is overwritten. Its column sums are the gradient of the bias.
pub fn d_z(dy: &[f32], y: &[f32], act: Activation, d_z: &mut [f32]) {
    assert!(dy.len() == y.len() && d_z.len() == y.len(), "conv_max: dy, d_z and y");
    assert!(rises(act), "conv_max: {} does not rise everywhere", act.name());
    for ((d_z, dy), y) in d_z.iter_mut().zip(dy).zip(y) {
        *d_z = match act {
            Activation::Relu if *y > 0.0 => *dy,
            Activation::Relu => 0.0,
            Activation::Tanh => dy * (1.0 - y * y),
            _ => *dy,
        };
    }
}

/// The gradient of `x`.
///
/// # Shapes
/// - `d_z`, `argmax`: `[batch, out]`; `weight`: `[out, inputs, width]`; `dx`: `[tokens, inputs]`, overwritten
pub fn d_x(
    d_z: &[f32],
    argmax: &[u32],
    inputs: usize,
    weight: &[f32],
    offsets: &[u32],
    conv: Conv,
    dx: &mut [f32],
) {
    let out = sizes(dx.len(), inputs, weight.len(), offsets, conv);
    let batch = offsets.len() - 1;
    assert!(
        d_z.len() == batch * out && argmax.len() == d_z.len(),
        "conv_max: d_z, argmax are not {batch} x {out}"
    );
    let starts = conv.offsets(offsets);
    let filters = by_tap(weight, inputs, conv.width);
    let size = inputs * conv.width;
    let mut rest = dx;
    let mut tasks = Vec::with_capacity(batch);
    for (sequence, range) in offsets.windows(2).enumerate() {
        let (dx, after) = rest.split_at_mut((range[1] - range[0]) as usize * inputs);
        rest = after;
        tasks.push((sequence, dx));
    }
    each(tasks, d_z.len().saturating_mul(size), |(sequence, dx)| {
        dx.fill(0.0);
        let row = sequence * out..(sequence + 1) * out;
        for ((d, at), filter) in d_z[row.clone()].iter().zip(&argmax[row]).zip(filters.chunks_exact(size)) {
            let (under, over) = overlap((at - starts[sequence]) as usize, inputs, conv, dx.len());
            add(*d, &filter[over], &mut dx[under]);
        }
    });
}

/// The gradient of `weight`.
///
/// # Shapes
/// - `d_z`, `argmax`: `[batch, out]`; `x`: `[tokens, inputs]`; `d_weight`: `[out, inputs, width]`, overwritten
pub fn d_weight(
    d_z: &[f32],
    argmax: &[u32],
    x: &[f32],
    inputs: usize,
    offsets: &[u32],
    conv: Conv,
    d_weight: &mut [f32],
) {
    let out = sizes(x.len(), inputs, d_weight.len(), offsets, conv);
    let batch = offsets.len() - 1;
    assert!(
        d_z.len() == batch * out && argmax.len() == d_z.len(),
        "conv_max: d_z, argmax are not {batch} x {out}"
    );
    let (starts, size) = (conv.offsets(offsets), inputs * conv.width);
    let mut filters = Scratch::new(d_weight.len());
    let tasks: Vec<_> = filters.chunks_mut(size).enumerate().collect();
    each(tasks, d_z.len().saturating_mul(size), |(filter, total)| {
        total.fill(0.0);
        for (sequence, range) in offsets.windows(2).enumerate() {
            let x = &x[range[0] as usize * inputs..range[1] as usize * inputs];
            let at = sequence * out + filter;
            let (under, over) = overlap((argmax[at] - starts[sequence]) as usize, inputs, conv, x.len());
            add(d_z[at], &x[under], &mut total[over]);
        }
    });
    from_tap(&filters, inputs, conv.width, d_weight);
}

fn rises(act: Activation) -> bool {
    matches!(act, Activation::Relu | Activation::Tanh | Activation::Identity)
}

/// Where a window lies in a sequence of `len` numbers, and which part of a filter lies there.
fn overlap(
    first: usize,
    inputs: usize,
    conv: Conv,
    len: usize,
) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let start = first.saturating_sub(conv.left) * inputs;
    let end = ((first + conv.width).saturating_sub(conv.left) * inputs).min(len);
    let skipped = conv.left.saturating_sub(first) * inputs;
    (start..end, skipped..skipped + (end - start))
}

crate::cpu::multiversion! {
    fn greater(z: &[f32], at: u32, y: &mut [f32], argmax: &mut [u32]) = greater_body;
    fn tanh(y: &mut [f32]) = tanh_body;
    fn add(by: f32, from: &[f32], to: &mut [f32]) = add_body;
}

/// Takes over what is greater; a NaN wins and stays, as in PyTorch.
#[inline(always)]
fn greater_body<const FMA: bool>(z: &[f32], at: u32, y: &mut [f32], argmax: &mut [u32]) {
    let wins = |z: f32, y: f32| z > y || (z.is_nan() && !y.is_nan());
    // Without anybody to remember it the place is left out.
    for ((argmax, z), y) in argmax.iter_mut().zip(z).zip(&*y) {
        *argmax = if wins(*z, *y) { at } else { *argmax };
    }
    for (y, z) in y.iter_mut().zip(z) {
        *y = if wins(*z, *y) { *z } else { *y };
    }
}

#[inline(always)]
fn tanh_body<const FMA: bool>(y: &mut [f32]) {
    y.iter_mut().for_each(|y| *y = crate::math::tanh::<FMA>(*y));
}

#[inline(always)]
fn add_body<const FMA: bool>(by: f32, from: &[f32], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = crate::math::fma::<FMA>(by, *from, *to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{self, Pool};
    use crate::testing::{close, gradient, random, same_on_any_threads};

    const OFFSETS: [u32; 5] = [0, 5, 10, 11, 90];
    const KINDS: [(Conv, Activation); 4] = [
        (Conv { width: 1, left: 0, right: 0 }, Activation::Relu),
        (Conv { width: 3, left: 1, right: 1 }, Activation::Tanh),
        (Conv { width: 4, left: 3, right: 3 }, Activation::Relu),
        (Conv { width: 5, left: 4, right: 0 }, Activation::Identity),
    ];

    struct Case {
        inputs: usize,
        out: usize,
        conv: Conv,
        act: Activation,
        x: Vec<f32>,
        weight: Vec<f32>,
        bias: Vec<f32>,
    }

    impl Case {
        fn new(inputs: usize, out: usize, (conv, act): (Conv, Activation)) -> Self {
            let (x, weight) = (random(1, 90 * inputs), random(2, out * inputs * conv.width));
            Self { inputs, out, conv, act, x, weight, bias: random(3, out) }
        }

        fn forward(&self, x: &[f32], offsets: &[u32]) -> (Vec<f32>, Vec<u32>) {
            let len = (offsets.len() - 1) * self.out;
            let (mut y, mut argmax) = (vec![f32::NAN; len], vec![0; len]);
            let (w, b) = (&self.weight, Some(&self.bias[..]));
            forward(x, self.inputs, w, b, offsets, self.conv, self.act, &mut y, &mut argmax);
            (y, argmax)
        }

        /// Convolution, pooling and activation one after the other.
        fn apart(&self) -> (Vec<f32>, Vec<u32>) {
            let ends = self.conv.offsets(&OFFSETS);
            let mut z = vec![0.0; *ends.last().unwrap() as usize * self.out];
            let (w, b) = (&self.weight, Some(&self.bias[..]));
            crate::conv::forward(&self.x, self.inputs, w, b, &OFFSETS, self.conv, Precision::F32, &mut z);
            let (mut y, mut argmax) = (vec![0.0; 4 * self.out], vec![0; 4 * self.out]);
            pool::forward(&z, self.out, &ends, Pool::Max, &mut y, &mut argmax);
            let z = y.clone();
            crate::activation::forward(&z, &vec![0.0; self.out], self.act, &mut y);
            (y, argmax)
        }

        fn backward(&self, dy: &[f32]) -> [Vec<f32>; 3] {
            let (y, argmax) = self.forward(&self.x, &OFFSETS);
            let mut before = vec![f32::NAN; y.len()];
            d_z(dy, &y, self.act, &mut before);
            let (mut dx, mut dw) = (vec![f32::NAN; self.x.len()], vec![f32::NAN; self.weight.len()]);
            d_x(&before, &argmax, self.inputs, &self.weight, &OFFSETS, self.conv, &mut dx);
            d_weight(&before, &argmax, &self.x, self.inputs, &OFFSETS, self.conv, &mut dw);
            [before, dx, dw]
        }
    }

    #[test]
    fn equals_the_three_operations_apart_and_has_their_gradients() {
        let mut seen = 0;
        for kind in KINDS {
            for (inputs, out) in [(1, 1), (4, 21)] {
                let case = Case::new(inputs, out, kind);
                let (y, argmax) = case.forward(&case.x, &OFFSETS);
                assert!((y, argmax.clone()) == case.apart(), "{kind:?}");
                let dy = random(4, 4 * out);
                let [before, dx, dw] = case.backward(&dy);
                let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
                // The output of the windows that were chosen, in f64.
                let (starts, size) = (case.conv.offsets(&OFFSETS), inputs * case.conv.width);
                let loss = |x: &[f64], w: &[f64]| {
                    let mut sum = 0.0;
                    for (at, dy) in dy.iter().enumerate() {
                        let (sequence, filter) = (at / out, at % out);
                        let mut z = f64::from(case.bias[filter]);
                        for tap in 0..case.conv.width {
                            let token = (argmax[at] - starts[sequence]) as usize + tap;
                            let token = token as i64 - case.conv.left as i64 + i64::from(OFFSETS[sequence]);
                            if token >= i64::from(OFFSETS[sequence])
                                && token < i64::from(OFFSETS[sequence + 1])
                            {
                                let x = &x[token as usize * inputs..][..inputs];
                                let filter = &w[filter * size..][..size];
                                z += (0..inputs)
                                    .map(|i| x[i] * filter[i * case.conv.width + tap])
                                    .sum::<f64>();
                            }
                        }
                        sum += f64::from(*dy)
                            * match case.act {
                                Activation::Relu => z.max(0.0),
                                Activation::Tanh => z.tanh(),
                                _ => z,
                            };
                    }
                    sum
                };
                close(&dx, &gradient(&case.x, |x| loss(x, &wide(&case.weight))), 1e-5);
                close(&dw, &gradient(&case.weight, |w| loss(&wide(&case.x), w)), 1e-5);
                assert_eq!(before.len(), dy.len());
                seen += 1;
            }
        }
        assert_eq!(seen, 8);
    }

    #[test]
    fn neighbours_and_threads_do_not_change_bits() {
        let case = Case::new(6, 70, KINDS[2]);
        let (y, _) = case.forward(&case.x, &OFFSETS);
        for (sequence, range) in OFFSETS.windows(2).enumerate() {
            let x = &case.x[range[0] as usize * 6..range[1] as usize * 6];
            let (alone, _) = case.forward(x, &[0, range[1] - range[0]]);
            assert!(alone == y[sequence * 70..][..70], "sequence {sequence}");
        }
        let dy = random(4, 4 * 70);
        same_on_any_threads(|| {
            [vec![case.forward(&case.x, &OFFSETS).0], case.backward(&dy).to_vec()].concat().concat()
        });
    }

    #[test]
    fn a_nan_wins_and_remembering_nothing_changes_nothing() {
        let mut case = Case::new(3, 20, KINDS[2]);
        let (y, _) = case.forward(&case.x, &OFFSETS);
        let mut without = vec![f32::NAN; y.len()];
        let (w, b) = (&case.weight, Some(&case.bias[..]));
        forward(&case.x, 3, w, b, &OFFSETS, case.conv, case.act, &mut without, &mut []);
        assert!(without == y);
        case.x[7 * 3] = f32::NAN;
        let (y, _) = case.forward(&case.x, &OFFSETS);
        assert!(y[20..40].iter().all(|y| y.is_nan()));
        assert!(y[..20].iter().chain(&y[40..]).all(|y| y.is_finite()));
    }

    #[test]
    #[should_panic(expected = "a sequence shorter than the filters has no maximum")]
    fn a_sequence_without_windows_is_refused() {
        Case::new(3, 2, (Conv::valid(3), Activation::Relu)).forward(&[0.0; 6], &[0, 2]);
    }

    #[test]
    #[should_panic(expected = "gelu does not rise everywhere")]
    fn an_activation_that_falls_is_refused() {
        Case::new(3, 2, (Conv::valid(1), Activation::Gelu)).forward(&[0.0; 6], &[0, 2]);
    }
}

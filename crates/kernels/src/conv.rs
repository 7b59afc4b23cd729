//! Convolution over the tokens of each sequence of a packed batch.
//!
//! A window of tokens lies in memory as one row of a matrix whose rows overlap, so a sequence is one product with the
//! weight and no window is copied; only tokens near a border are, with the zeros around them.
//!
//! Paper: Waibel et al. 1989, "Phoneme recognition using time-delay neural networks",
//! <https://doi.org/10.1109/29.21701>; for texts, Kim 2014, "Convolutional neural networks for sentence classification",
//! <https://arxiv.org/abs/1408.5882>.

use crate::gemm::{self, Mat, MatMut, Packed, Precision};
use crate::parallel::{alone, each};
use crate::scratch::Scratch;

/// How a filter lies on a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv {
    /// Tokens under a filter, at least one.
    pub width: usize,
    /// Zeros before the first token, fewer than `width`.
    pub left: usize,
    /// Zeros after the last token, fewer than `width`.
    pub right: usize,
}

impl Conv {
    /// As many outputs as tokens; an even width reaches one token further to the right, as in PyTorch.
    pub fn same(width: usize) -> Self {
        let left = width.saturating_sub(1) / 2;
        Self { width, left, right: width.saturating_sub(1) - left }
    }

    /// No zeros: `width - 1` fewer outputs than tokens.
    pub fn valid(width: usize) -> Self {
        Self { width, left: 0, right: 0 }
    }

    /// Outputs of a sequence of `len` tokens; none if it is shorter than a filter, zeros included, or empty.
    pub fn outputs(self, len: usize) -> usize {
        if len == 0 { 0 } else { (len + self.left + self.right + 1).saturating_sub(self.width) }
    }

    /// Where the outputs of each sequence start and the last ones end, as `offsets` says of the tokens.
    pub fn offsets(self, offsets: &[u32]) -> Vec<u32> {
        let mut end = 0;
        let lengths = offsets.windows(2).map(|range| self.outputs((range[1] - range[0]) as usize) as u32);
        let ends = lengths.map(|len| {
            end += len;
            end
        });
        [0].into_iter().chain(ends).collect()
    }

    pub(crate) fn check(self, tokens: usize, offsets: &[u32]) {
        let Self { width, left, right } = self;
        assert!(
            width > 0 && left < width && right < width,
            "conv: {left} and {right} zeros at a width of {width}"
        );
        crate::attention::check_offsets(offsets, tokens);
    }
}

/// Outputs of one task, and rows of windows copied at a time for the gradient of the weight.
pub(crate) const ROWS: usize = 64;
const GRADIENT_ROWS: usize = 256;

/// `y[t] = bias + sum over j of weight[.., j] x[t - left + j]`, inside each sequence.
///
/// # Shapes
/// - `x`: `[tokens, inputs]`; `offsets`: `[batch + 1]`
/// - `weight`: `[out, inputs, width]`; `bias`: `[out]`
/// - `y`: `[outputs, out]`, its sequences at [`Conv::offsets`]
#[allow(clippy::too_many_arguments)]
pub fn forward(
    x: &[f32],
    inputs: usize,
    weight: &[f32],
    bias: Option<&[f32]>,
    offsets: &[u32],
    conv: Conv,
    precision: Precision,
    y: &mut [f32],
) {
    let out = sizes(x.len(), inputs, weight.len(), offsets, conv);
    let ends = conv.offsets(offsets);
    let filters = pack(&by_tap(weight, inputs, conv.width), out, precision);
    apply(x, inputs, offsets, &filters, bias, conv, &ends, y);
}

/// The gradient of `x`: a convolution of `dy` with the filters turned round.
///
/// # Shapes
/// - `dy`: `[outputs, out]`; `weight`: `[out, inputs, width]`; `dx`: `[tokens, inputs]`, overwritten
pub fn d_x(
    dy: &[f32],
    out: usize,
    weight: &[f32],
    offsets: &[u32],
    conv: Conv,
    precision: Precision,
    dx: &mut [f32],
) {
    let width = conv.width;
    let inputs = weight.len() / (out * width).max(1);
    assert_eq!(
        sizes(dx.len(), inputs, weight.len(), offsets, conv),
        out,
        "conv: weight is not of {out} filters"
    );
    let starts = conv.offsets(offsets);
    let mut turned = Scratch::new(weight.len());
    for (input, turned) in turned.chunks_exact_mut(width * out).enumerate() {
        for (tap, turned) in turned.chunks_exact_mut(out).enumerate() {
            for (filter, value) in turned.iter_mut().enumerate() {
                *value = weight[(filter * inputs + input) * width + width - 1 - tap];
            }
        }
    }
    let filters = pack(&turned, inputs, precision);
    let turned = Conv { width, left: width - 1 - conv.left, right: width - 1 - conv.right };
    apply(dy, out, &starts, &filters, None, turned, offsets, dx);
}

/// The gradient of `weight`.
///
/// # Shapes
/// - `dy`: `[outputs, out]`; `x`: `[tokens, inputs]`; `d_weight`: `[out, inputs, width]`, overwritten
#[allow(clippy::too_many_arguments)]
pub fn d_weight(
    dy: &[f32],
    x: &[f32],
    inputs: usize,
    offsets: &[u32],
    conv: Conv,
    precision: Precision,
    d_weight: &mut [f32],
) {
    let out = sizes(x.len(), inputs, d_weight.len(), offsets, conv);
    let (starts, size) = (conv.offsets(offsets), inputs * conv.width);
    let rows = dy.len() / out;
    assert_eq!(
        starts.last().map(|&last| last as usize * out),
        Some(dy.len()),
        "conv: dy is not of these windows"
    );
    let mut by_tap = Scratch::new(d_weight.len());
    by_tap.fill(0.0);
    let mut windows = Scratch::new(GRADIENT_ROWS.min(rows) * size);
    for (block, dy) in dy.chunks(GRADIENT_ROWS * out).enumerate() {
        let count = dy.len() / out;
        let windows = &mut windows[..count * size];
        let tasks: Vec<_> = windows.chunks_mut(size).zip(block * GRADIENT_ROWS..).collect();
        each(tasks, count * size, |(window, row)| {
            let sequence = starts.partition_point(|&start| start as usize <= row) - 1;
            let (first, last) = (offsets[sequence] as usize, offsets[sequence + 1] as usize);
            let x = &x[first * inputs..last * inputs];
            copy(x, inputs, row - starts[sequence] as usize, conv.left, window);
        });
        let (dy, windows) = (Mat::new(dy, count, out), Mat::new(windows, count, size));
        gemm::tn(dy, windows, MatMut::new(&mut by_tap, out, size), block > 0, precision);
    }
    from_tap(&by_tap, inputs, conv.width, d_weight);
}

/// Checks shapes; the number of filters.
pub(crate) fn sizes(x: usize, inputs: usize, weight: usize, offsets: &[u32], conv: Conv) -> usize {
    assert!(inputs > 0 && x.is_multiple_of(inputs), "conv: x {x} is not rows of {inputs}");
    conv.check(x / inputs, offsets);
    let size = inputs * conv.width;
    assert!(weight > 0 && weight.is_multiple_of(size), "conv: weight {weight} is not filters of {size}");
    weight / size
}

/// Filters with the inputs of a tap together, as they lie in a window: `[out, width, inputs]`.
pub(crate) fn by_tap(weight: &[f32], inputs: usize, width: usize) -> Scratch {
    let mut by_tap = Scratch::new(weight.len());
    let size = inputs * width;
    for (filter, to) in weight.chunks_exact(size).zip(by_tap.chunks_exact_mut(size)) {
        for (tap, to) in to.chunks_exact_mut(inputs).enumerate() {
            to.iter_mut().enumerate().for_each(|(input, to)| *to = filter[input * width + tap]);
        }
    }
    by_tap
}

/// The way back of [`by_tap`].
pub(crate) fn from_tap(by_tap: &[f32], inputs: usize, width: usize, weight: &mut [f32]) {
    let size = inputs * width;
    for (filter, from) in weight.chunks_exact_mut(size).zip(by_tap.chunks_exact(size)) {
        for (tap, from) in from.chunks_exact(inputs).enumerate() {
            from.iter().enumerate().for_each(|(input, value)| filter[input * width + tap] = *value);
        }
    }
}

pub(crate) fn pack(by_tap: &[f32], out: usize, precision: Precision) -> Packed {
    Packed::new(&[Mat::new(by_tap, out, by_tap.len() / out)], precision)
}

/// Outputs `first..first + y.rows` of one sequence `x`.
pub(crate) fn outputs(
    x: &[f32],
    inputs: usize,
    filters: &Packed,
    bias: Option<&[f32]>,
    conv: Conv,
    first: usize,
    y: &mut [f32],
) {
    let (rows, size) = (y.len() / filters.rows(), filters.cols());
    let needed = (rows + conv.width - 1) * inputs;
    let mut around;
    let windows = match first.checked_sub(conv.left).and_then(|start| x.get(start * inputs..)?.get(..needed))
    {
        Some(inside) => inside,
        None => {
            around = Scratch::new(needed);
            copy(x, inputs, first, conv.left, &mut around);
            &around
        }
    };
    // Rows that overlap: a window starts one token after the one before.
    let windows = Mat { data: windows, rows, cols: size, stride: inputs };
    alone(|| filters.nt(windows, MatMut::new(y, rows, filters.rows()), bias));
}

/// The tokens from `first - left` on, zeros where there are none.
fn copy(x: &[f32], inputs: usize, first: usize, left: usize, to: &mut [f32]) {
    let before = (left.saturating_sub(first) * inputs).min(to.len());
    let start = (first.saturating_sub(left) * inputs).min(x.len());
    let there = (to.len() - before).min(x.len() - start);
    to[..before].fill(0.0);
    to[before..before + there].copy_from_slice(&x[start..start + there]);
    to[before + there..].fill(0.0);
}

/// Runs [`outputs`] over a batch; `ends` says where the outputs of each sequence go.
#[allow(clippy::too_many_arguments)]
fn apply(
    x: &[f32],
    inputs: usize,
    offsets: &[u32],
    filters: &Packed,
    bias: Option<&[f32]>,
    conv: Conv,
    ends: &[u32],
    y: &mut [f32],
) {
    let out = filters.rows();
    assert_eq!(
        ends.last().map(|&last| last as usize * out),
        Some(y.len()),
        "conv: y is not of these windows"
    );
    let work = y.len().saturating_mul(filters.cols());
    let mut rest = y;
    let mut tasks = Vec::new();
    for (range, place) in offsets.windows(2).zip(ends.windows(2)) {
        let (here, after) = rest.split_at_mut((place[1] - place[0]) as usize * out);
        rest = after;
        let x = &x[range[0] as usize * inputs..range[1] as usize * inputs];
        tasks.extend(here.chunks_mut(ROWS * out).enumerate().map(|(piece, y)| (x, piece * ROWS, y)));
    }
    each(tasks, work, |(x, first, y)| match x.is_empty() {
        // Tokens under no window have no gradient.
        true => y.fill(0.0),
        false => outputs(x, inputs, filters, bias, conv, first, y),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, gradient, random, same_on_any_threads};

    const OFFSETS: [u32; 6] = [0, 3, 3, 4, 11, 16];
    const KINDS: [Conv; 6] = [
        Conv { width: 1, left: 0, right: 0 },
        Conv { width: 4, left: 1, right: 2 },
        Conv { width: 3, left: 1, right: 1 },
        Conv { width: 5, left: 0, right: 0 },
        Conv { width: 3, left: 2, right: 0 },
        Conv { width: 4, left: 3, right: 3 },
    ];

    fn reference(x: &[f64], inputs: usize, weight: &[f64], bias: &[f64], conv: Conv) -> Vec<f64> {
        let mut y = Vec::new();
        for range in OFFSETS.windows(2) {
            for first in 0..conv.outputs((range[1] - range[0]) as usize) {
                for (filter, bias) in weight.chunks(inputs * conv.width).zip(bias) {
                    let mut sum = *bias;
                    for tap in 0..conv.width {
                        let token = i64::from(range[0]) + first as i64 + tap as i64 - conv.left as i64;
                        if (i64::from(range[0])..i64::from(range[1])).contains(&token) {
                            let x = &x[token as usize * inputs..][..inputs];
                            sum += (0..inputs).map(|i| x[i] * filter[i * conv.width + tap]).sum::<f64>();
                        }
                    }
                    y.push(sum);
                }
            }
        }
        y
    }

    #[test]
    fn forward_and_gradients_equal_the_definition() {
        let mut seen = 0;
        for conv in KINDS {
            for (inputs, out) in [(1, 1), (5, 3), (17, 18)] {
                let (x, weight) = (random(1, 16 * inputs), random(2, out * inputs * conv.width));
                let bias = random(3, out);
                let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
                let rows = *conv.offsets(&OFFSETS).last().unwrap() as usize;
                let mut y = vec![f32::NAN; rows * out];
                forward(&x, inputs, &weight, Some(&bias), &OFFSETS, conv, Precision::F32, &mut y);
                close(&y, &reference(&wide(&x), inputs, &wide(&weight), &wide(&bias), conv), 1e-6);
                let dy = random(4, y.len());
                let (mut dx, mut dw) = (vec![f32::NAN; x.len()], vec![f32::NAN; weight.len()]);
                d_x(&dy, out, &weight, &OFFSETS, conv, Precision::F32, &mut dx);
                d_weight(&dy, &x, inputs, &OFFSETS, conv, Precision::F32, &mut dw);
                let dot = |y: Vec<f64>| y.iter().zip(&dy).map(|(y, d)| y * f64::from(*d)).sum::<f64>();
                let (w, b) = (wide(&weight), wide(&bias));
                close(&dx, &gradient(&x, |x| dot(reference(x, inputs, &w, &b, conv))), 1e-5);
                close(&dw, &gradient(&weight, |w| dot(reference(&wide(&x), inputs, w, &b, conv))), 1e-5);
                seen += 1;
            }
        }
        assert_eq!(seen, 18);
        assert_eq!(Conv::same(4), KINDS[1]);
        assert_eq!(Conv::same(3), KINDS[2]);
        assert_eq!(Conv::valid(5), KINDS[3]);
    }

    /// Rows that overlap are read as well as rows apart, in both precisions.
    #[test]
    fn overlapping_rows_give_the_bits_of_copied_ones() {
        let (inputs, out, tokens) = (20, 50, 150);
        let conv = Conv::valid(3);
        let (x, weight) = (random(1, tokens * inputs), random(2, out * 3 * inputs));
        for precision in [Precision::F32, Precision::Bf16] {
            let mut y = vec![0.0; (tokens - 2) * out];
            forward(&x, inputs, &weight, None, &[0, tokens as u32], conv, precision, &mut y);
            let windows: Vec<f32> = x.windows(3 * inputs).step_by(inputs).flatten().copied().collect();
            let filters = by_tap(&weight, inputs, 3);
            let mut expected = vec![0.0; y.len()];
            let (windows, filters) =
                (Mat::new(&windows, tokens - 2, 3 * inputs), Mat::new(&filters, out, 3 * inputs));
            gemm::nt(windows, filters, MatMut::new(&mut expected, tokens - 2, out), None, false, precision);
            assert!(y == expected, "{precision:?}");
        }
    }

    #[test]
    fn a_sequence_does_not_depend_on_its_neighbours() {
        let (inputs, out) = (12, 20);
        let lengths = [4_u32, 1, 90, 3, 130, 2];
        let offsets: Vec<u32> = (0..=lengths.len()).map(|end| lengths[..end].iter().sum()).collect();
        let x = random(1, 230 * inputs);
        let mut seen = 0;
        for conv in KINDS {
            let weight = random(2, out * inputs * conv.width);
            let run = |x: &[f32], offsets: &[u32]| {
                let ends = conv.offsets(offsets);
                let mut y = vec![0.0; *ends.last().unwrap() as usize * out];
                forward(x, inputs, &weight, None, offsets, conv, Precision::F32, &mut y);
                let mut dx = vec![0.0; x.len()];
                d_x(&y, out, &weight, offsets, conv, Precision::F32, &mut dx);
                (ends, y, dx)
            };
            let (ends, y, dx) = run(&x, &offsets);
            for (sequence, range) in offsets.windows(2).enumerate() {
                let rows = range[0] as usize * inputs..range[1] as usize * inputs;
                let (_, alone, d_alone) = run(&x[rows.clone()], &[0, range[1] - range[0]]);
                assert!(alone == y[ends[sequence] as usize * out..ends[sequence + 1] as usize * out]);
                assert!(d_alone == dx[rows]);
                seen += 1;
            }
        }
        assert_eq!(seen, 36);
    }

    #[test]
    fn threads_do_not_change_bits() {
        let (inputs, out, offsets) = (30, 40, [0, 400, 410, 800]);
        let conv = Conv::same(5);
        let (x, weight, bias) = (random(1, 800 * inputs), random(2, out * inputs * 5), random(3, out));
        same_on_any_threads(|| {
            let mut y = vec![0.0; 800 * out];
            forward(&x, inputs, &weight, Some(&bias), &offsets, conv, Precision::F32, &mut y);
            let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
            d_x(&y, out, &weight, &offsets, conv, Precision::F32, &mut dx);
            d_weight(&y, &x, inputs, &offsets, conv, Precision::F32, &mut dw);
            [y, dx, dw].concat()
        });
    }
}

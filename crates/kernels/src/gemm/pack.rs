//! Copying operands into panels: all elements of one step of k side by side, zeros where the matrix ends.
#![allow(
    unsafe_code,
    reason = "in-register transposes through pointers; functions compiled for CPU features"
)]

use super::lanes::Lanes;
use super::tile::Kernel;
use crate::cpu::Path;

/// How the elements of an operand lie in memory, `p` counting rows of A or columns of B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Element (p, k) at `p * stride + k`.
    AlongK,
    /// Element (p, k) at `k * stride + p`.
    AcrossK,
}

/// What happens to values on the way into a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Convert {
    /// Copied.
    Keep,
    /// Rounded to bf16, kept as f32.
    Round,
    /// Rounded to bf16, two consecutive values of k in one 32-bit element.
    Pair,
}

/// One factor of a product.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub data: &'a [f32],
    pub stride: usize,
    pub order: Order,
    pub convert: Convert,
}

/// Fills `panel` (steps of `width`) with elements `first..first + count` of `operand` over `k`.
pub(crate) fn pack(
    kernel: &Kernel,
    operand: Operand<'_>,
    first: usize,
    count: usize,
    k: std::ops::Range<usize>,
    width: usize,
    panel: &mut [f32],
) {
    assert!(count <= width && panel.len() == k.len().div_ceil(kernel.pair) * width, "pack: panel");
    if k.is_empty() {
        return;
    }
    // The last element read, so that the pointers below stay inside.
    let (p, last) = (first + count - 1, k.end - 1);
    let end = match operand.order {
        Order::AlongK => p * operand.stride + last,
        Order::AcrossK => last * operand.stride + p,
    };
    assert!(end < operand.data.len(), "pack: element {end} of {}", operand.data.len());
    match kernel.path {
        // SAFETY: a kernel is only made for a path that the CPU has; the operand covers the range.
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 => unsafe { avx512(operand, first, count, k, width, panel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 => unsafe { avx2(operand, first, count, k, width, panel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        _ => unsafe { body::<super::lanes::Sse, super::lanes::Sse>(operand, first, count, k, width, panel) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        _ => unsafe {
            body::<super::lanes::Neon, super::lanes::Neon>(operand, first, count, k, width, panel)
        },
        // SAFETY: as above.
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        _ => unsafe {
            body::<super::lanes::Plain, super::lanes::Plain>(operand, first, count, k, width, panel)
        },
    }
}

/// # Safety
/// The CPU has the features; the operand holds the range.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn avx512(
    operand: Operand<'_>,
    first: usize,
    count: usize,
    k: std::ops::Range<usize>,
    width: usize,
    panel: &mut [f32],
) {
    // SAFETY: the caller's promise.
    unsafe { body::<super::lanes::Avx512, super::lanes::Avx2>(operand, first, count, k, width, panel) }
}

/// # Safety
/// The CPU has the features; the operand holds the range.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(
    operand: Operand<'_>,
    first: usize,
    count: usize,
    k: std::ops::Range<usize>,
    width: usize,
    panel: &mut [f32],
) {
    // SAFETY: the caller's promise.
    unsafe { body::<super::lanes::Avx2, super::lanes::Sse>(operand, first, count, k, width, panel) }
}

/// # Safety
/// Inlined where the features of both are enabled; the operand holds the range. `Narrow` divides every panel
/// width; `Wide` is used for widths that it divides.
#[inline(always)]
unsafe fn body<Wide: Lanes, Narrow: Lanes>(
    operand: Operand<'_>,
    first: usize,
    count: usize,
    k: std::ops::Range<usize>,
    width: usize,
    panel: &mut [f32],
) {
    let Operand { data, stride, order, convert } = operand;
    match (order, convert) {
        (Order::AcrossK, Convert::Keep) => across::<1>(data, stride, first, count, k, width, panel, |x| x[0]),
        (Order::AcrossK, Convert::Round) => {
            across::<1>(data, stride, first, count, k, width, panel, |x| round_bf16(x[0]));
        }
        (Order::AcrossK, Convert::Pair) => {
            across::<2>(data, stride, first, count, k, width, panel, |x| pair_bf16(x[0], x[1]));
        }
        // SAFETY: passed on.
        (Order::AlongK, _) if width.is_multiple_of(Wide::N) => unsafe {
            along::<Wide>(data, stride, convert, first, count, k, width, panel);
        },
        // SAFETY: passed on.
        (Order::AlongK, _) => unsafe {
            along::<Narrow>(data, stride, convert, first, count, k, width, panel);
        },
    }
}

/// Steps lie in rows already: copy `count` of each row (`PAIR` rows to a step).
#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn across<const PAIR: usize>(
    data: &[f32],
    stride: usize,
    first: usize,
    count: usize,
    k: std::ops::Range<usize>,
    width: usize,
    panel: &mut [f32],
    convert: impl Fn([f32; PAIR]) -> f32,
) {
    for (step, to) in panel.chunks_exact_mut(width).enumerate() {
        let at = k.start + PAIR * step;
        let (to, padding) = to.split_at_mut(count);
        padding.fill(0.0);
        let rows: [&[f32]; PAIR] = std::array::from_fn(|i| {
            // Beyond an odd end the first row stands in and is zeroed below.
            let row = if at + i < k.end { at + i } else { at };
            &data[row * stride + first..][..count]
        });
        if at + PAIR <= k.end {
            for (p, to) in to.iter_mut().enumerate() {
                *to = convert(std::array::from_fn(|i| rows[i][p]));
            }
        } else {
            for (p, to) in to.iter_mut().enumerate() {
                *to = convert(std::array::from_fn(|i| if at + i < k.end { rows[i][p] } else { 0.0 }));
            }
        }
    }
}

/// Largest `Lanes::N`.
const MOST: usize = 16;

/// Steps lie in columns: transpose squares of `L::N`.
///
/// # Safety
/// Inlined where the features of `L` are enabled; the operand holds the range; `L::N` divides `width`.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn along<L: Lanes>(
    data: &[f32],
    stride: usize,
    convert: Convert,
    first: usize,
    count: usize,
    k: std::ops::Range<usize>,
    width: usize,
    panel: &mut [f32],
) {
    let pair = if convert == Convert::Pair { 2 } else { 1 };
    let steps = k.len().div_ceil(pair);
    let mut stage = [0.0_f32; MOST * MOST];
    let mut turned = [0.0_f32; MOST * MOST];
    for block in (0..steps).step_by(L::N) {
        let filled = L::N.min(steps - block);
        let at = k.start + pair * block;
        for p in (0..width).step_by(L::N) {
            let present = count.saturating_sub(p).min(L::N);
            let whole = filled == L::N && present == L::N;
            if whole && convert == Convert::Keep {
                // SAFETY: `present` whole rows from `first + p`, `filled` values each, lie in the operand, and a
                // whole square lies in the panel.
                unsafe {
                    let from = data.as_ptr().add((first + p) * stride + at);
                    L::transpose(from, stride, panel.as_mut_ptr().add(block * width + p), width);
                }
                continue;
            }
            for row in 0..L::N {
                let staged = &mut stage[row * L::N..][..L::N];
                if row >= present {
                    staged.fill(0.0);
                    continue;
                }
                let from = (first + p + row) * stride + at;
                let source = &data[from..][..(pair * filled).min(k.end - at)];
                stage_row(source, convert, staged);
            }
            // SAFETY: `stage` and `turned` hold L::N * L::N floats.
            unsafe { L::transpose(stage.as_ptr(), L::N, turned.as_mut_ptr(), L::N) };
            for step in 0..filled {
                panel[(block + step) * width + p..][..L::N].copy_from_slice(&turned[step * L::N..][..L::N]);
            }
        }
    }
}

/// Converts the values of one row and fills up with zeros.
#[inline(always)]
fn stage_row(source: &[f32], convert: Convert, staged: &mut [f32]) {
    match convert {
        Convert::Keep | Convert::Round => {
            staged[source.len()..].fill(0.0);
            for (to, &x) in staged.iter_mut().zip(source) {
                *to = if convert == Convert::Keep { x } else { round_bf16(x) };
            }
        }
        Convert::Pair => {
            let (pairs, odd) = source.as_chunks::<2>();
            staged[pairs.len()..].fill(0.0);
            for (to, &[low, high]) in staged.iter_mut().zip(pairs) {
                *to = pair_bf16(low, high);
            }
            if let &[last] = odd {
                staged[pairs.len()] = pair_bf16(last, 0.0);
            }
        }
    }
}

/// The bits of the bf16 number nearest to `x`, ties to even, in the upper half.
#[inline(always)]
fn bf16_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    // Rounding could carry a NaN into infinity; a quiet NaN stays one.
    let kept = if x.is_nan() { bits | 0x0040_0000 } else { rounded };
    kept & 0xffff_0000
}

/// `x` rounded to bf16.
#[inline(always)]
pub(crate) fn round_bf16(x: f32) -> f32 {
    f32::from_bits(bf16_bits(x))
}

/// Two bf16 numbers in the bits of one f32, the first in the lower half.
#[inline(always)]
fn pair_bf16(low: f32, high: f32) -> f32 {
    f32::from_bits((bf16_bits(low) >> 16) | bf16_bits(high))
}

#[cfg(test)]
mod tests {
    use super::super::tile::f32_kernel;
    use super::*;
    use crate::testing::random;

    #[test]
    fn rounding_is_to_nearest_even() {
        for (x, expected) in [
            (1.0, 1.0),
            (1.0 + 1.0 / 256.0, 1.0),
            (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),
            (1.0 + 1.1 / 256.0, 1.0 + 2.0 / 256.0),
            (-0.0, -0.0),
            (f32::INFINITY, f32::INFINITY),
            (f32::MAX, f32::INFINITY),
        ] {
            assert_eq!(round_bf16(x).to_bits(), f32::to_bits(expected), "{x}");
        }
        assert!(round_bf16(f32::NAN).is_nan());
        assert!(round_bf16(f32::from_bits(0x7fff_ffff)).is_nan());
        assert!(round_bf16(f32::from_bits(0xff80_0001)).is_nan());
    }

    #[test]
    fn panels_hold_every_element_once_and_zeros_elsewhere() {
        let mut seen = 0;
        let (rows, cols) = (70, 61);
        let data = random(1, rows * cols);
        for path in Path::ALL.into_iter().filter(|path| path.available()) {
            for convert in [Convert::Keep, Convert::Round, Convert::Pair] {
                for order in [Order::AlongK, Order::AcrossK] {
                    let kernel =
                        Kernel { pair: if convert == Convert::Pair { 2 } else { 1 }, ..f32_kernel(path) };
                    for width in [kernel.height, kernel.width] {
                        for (first, count, k) in
                            [(0, width, 0..48), (3, width, 2..35), (5, 1, 0..61), (2, width - 1, 7..8)]
                        {
                            let steps = k.len().div_ceil(kernel.pair);
                            let mut panel = vec![f32::NAN; steps * width];
                            let operand = Operand { data: &data, stride: cols, order, convert };
                            // Along k there are `rows` elements, across k `cols`.
                            pack(&kernel, operand, first, count, k.clone(), width, &mut panel);
                            let value = |p: usize, at: usize| {
                                if p >= count || at >= k.end {
                                    return 0.0;
                                }
                                match order {
                                    Order::AlongK => data[(first + p) * cols + at],
                                    Order::AcrossK => data[at * cols + first + p],
                                }
                            };
                            for step in 0..steps {
                                for p in 0..width {
                                    let at = k.start + kernel.pair * step;
                                    let expected = match convert {
                                        Convert::Keep => value(p, at),
                                        Convert::Round => round_bf16(value(p, at)),
                                        Convert::Pair => pair_bf16(value(p, at), value(p, at + 1)),
                                    };
                                    let actual = panel[step * width + p];
                                    assert_eq!(
                                        actual.to_bits(),
                                        expected.to_bits(),
                                        "{path:?} {convert:?} {order:?} {p} {step}"
                                    );
                                }
                            }
                            seen += 1;
                        }
                    }
                }
            }
        }
        assert!(seen >= 48, "{seen} panels");
    }
}

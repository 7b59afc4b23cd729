//! Copying operands into panels: all elements of one step of k side by side, zeros where the matrix ends.
#![allow(
    unsafe_code,
    reason = "in-register transposes through pointers; functions compiled for CPU features"
)]

use std::ops::Range;

#[cfg(target_arch = "aarch64")]
use super::lanes::Neon;
#[cfg(not(target_arch = "x86_64"))]
use super::lanes::Plain;
#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512, Sse};
use super::lanes::{Lanes, prefetch};
use super::tile::Kernel;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", test))]
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

/// Which elements go where.
#[derive(Clone)]
pub(crate) struct Part {
    /// First row of A or column of B.
    pub first: usize,
    /// How many; more than `width` fill several panels.
    pub count: usize,
    /// Values of k.
    pub k: Range<usize>,
    /// Elements of a panel in one step of k.
    pub width: usize,
    /// From the start of one panel to that of the next.
    pub apart: usize,
    /// Whether rows lie in blocks of steps, as [`Kernel::tiled`] says.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no other CPU here has tiles"))]
    pub tiled: bool,
}

/// Fills panels (steps of `width`) with the elements that `part` names, and zeros beyond `count`.
pub(crate) fn pack(kernel: &Kernel, operand: Operand<'_>, part: Part, panels: &mut [f32]) {
    let Part { first, count, k, width, apart, .. } = part.clone();
    if k.is_empty() || count == 0 {
        return;
    }
    let filled = kernel.steps(k.len()) * width;
    let end = (count.div_ceil(width) - 1) * apart + filled;
    assert!(count <= width || apart >= filled, "pack: panels of {filled} overlap {apart} apart");
    assert!(panels.len() >= end, "pack: panels end at {end} of {}", panels.len());
    // The last element read, so that the pointers below stay inside.
    let (p, last) = (first + count - 1, k.end - 1);
    let end = match operand.order {
        Order::AlongK => p * operand.stride + last,
        Order::AcrossK => last * operand.stride + p,
    };
    assert!(end < operand.data.len(), "pack: element {end} of {}", operand.data.len());
    match kernel.path {
        // SAFETY: a kernel is only made for a path that the CPU has, the other feature was detected; operand and
        // panels hold the part.
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 if operand.convert == Convert::Pair && crate::cpu::pairs() => unsafe {
            pairs::pack(operand, part, kernel.grain, panels)
        },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 if operand.convert == Convert::Keep && operand.order == Order::AcrossK => unsafe {
            pairs::pack_across(operand, part, panels)
        },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 => unsafe { avx512(operand, part, panels) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 => unsafe { avx2(operand, part, panels) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        _ => unsafe { body::<Sse, Sse, 4, 8>(operand, part, panels) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Path::Neon => unsafe { body::<Neon, Neon, 8, 12>(operand, part, panels) },
        // SAFETY: as above.
        #[cfg(not(target_arch = "x86_64"))]
        _ => unsafe { body::<Plain, Plain, 4, 8>(operand, part, panels) },
    }
}

/// # Safety
/// The CPU has the features; the operand and the panels hold the part.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn avx512(operand: Operand<'_>, part: Part, panels: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe { body::<Avx2, Avx512, 8, 48>(operand, part, panels) }
}

/// # Safety
/// The CPU has the features; the operand and the panels hold the part.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(operand: Operand<'_>, part: Part, panels: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe { body::<Sse, Avx2, 4, 24>(operand, part, panels) }
}

/// Panels of A are `H` high and transposed with `A` registers, those of B `W` wide and transposed with `B`.
///
/// # Safety
/// Inlined where the features of both are enabled; the operand and the panels hold the part.
#[inline(always)]
unsafe fn body<A: Lanes, B: Lanes, const H: usize, const W: usize>(
    operand: Operand<'_>,
    part: Part,
    panels: &mut [f32],
) {
    if part.width == H {
        // SAFETY: passed on.
        unsafe { order::<A, H>(operand, part, panels) }
    } else {
        assert_eq!(part.width, W, "pack: not the width of a panel");
        // SAFETY: passed on.
        unsafe { order::<B, W>(operand, part, panels) }
    }
}

/// # Safety
/// As [`body`].
#[inline(always)]
unsafe fn order<L: Lanes, const W: usize>(operand: Operand<'_>, part: Part, panels: &mut [f32]) {
    match (operand.order, operand.convert) {
        (Order::AcrossK, Convert::Keep) => across::<Keep, W>(operand, part, panels),
        (Order::AcrossK, Convert::Round) => across::<Round, W>(operand, part, panels),
        (Order::AcrossK, Convert::Pair) => across::<Pair, W>(operand, part, panels),
        (Order::AlongK, _) => {
            for (panel, p) in (0..part.count).step_by(W).enumerate() {
                let (first, count) = (part.first + p, W.min(part.count - p));
                let (panel, part) =
                    (&mut panels[panel * part.apart..], Part { first, count, ..part.clone() });
                // SAFETY: passed on.
                unsafe { along::<L, W>(operand, part, panel) };
            }
        }
    }
}

/// A conversion of `PAIR` values of k into one element.
trait Element {
    const PAIR: usize;
    fn convert(first: f32, second: f32) -> f32;
}

struct Keep;
struct Round;
struct Pair;

impl Element for Keep {
    const PAIR: usize = 1;
    #[inline(always)]
    fn convert(first: f32, _: f32) -> f32 {
        first
    }
}

impl Element for Round {
    const PAIR: usize = 1;
    #[inline(always)]
    fn convert(first: f32, _: f32) -> f32 {
        round_bf16(first)
    }
}

impl Element for Pair {
    const PAIR: usize = 2;
    #[inline(always)]
    fn convert(first: f32, second: f32) -> f32 {
        pair_bf16(first, second)
    }
}

/// Steps lie in rows already: cut each row (`PAIR` rows to a step) into panels.
///
/// Several steps are done together, so that whole cache lines are written.
#[inline(always)]
fn across<E: Element, const W: usize>(operand: Operand<'_>, part: Part, panels: &mut [f32]) {
    /// Steps done together.
    const TOGETHER: usize = 8;
    let Operand { data, stride, .. } = operand;
    let Part { first, count, k, apart, .. } = part;
    let whole = count / W;
    let row = |at: usize| &data[at * stride + first..][..count];
    let mut at = k.start;
    let mut start = 0;
    while at + TOGETHER * E::PAIR <= k.end {
        let rows: [[&[[f32; W]]; 2]; TOGETHER] = std::array::from_fn(|step| {
            let at = at + step * E::PAIR;
            // Rows lie in different pages, which the CPU does not foresee.
            for ahead in 0..E::PAIR {
                let next = (at + TOGETHER * E::PAIR + ahead) * stride + first;
                for col in (0..count).step_by(16) {
                    prefetch(data.as_ptr().wrapping_add(next + col));
                }
            }
            [row(at).as_chunks::<W>().0, row(at + E::PAIR - 1).as_chunks::<W>().0]
        });
        for panel in 0..whole {
            let to = &mut panels[panel * apart + start..][..TOGETHER * W];
            for (rows, to) in rows.iter().zip(to.as_chunks_mut::<W>().0) {
                let (first, second) = (&rows[0][panel], &rows[1][panel]);
                for p in 0..W {
                    to[p] = E::convert(first[p], second[p]);
                }
            }
        }
        for step in 0..TOGETHER {
            edge::<E, W>(row(at), row(at + E::PAIR - 1), whole, apart, start + step * W, panels);
            at += E::PAIR;
        }
        start += TOGETHER * W;
    }
    while at < k.end {
        // An odd end has no second row: zeros.
        let second = if at + E::PAIR <= k.end { row(at + E::PAIR - 1) } else { &[] };
        edge::<E, W>(row(at), second, 0, apart, start, panels);
        at += E::PAIR;
        start += W;
    }
}

/// Writes one step of the panels from `from` on, element by element, with zeros where the rows end.
#[inline(always)]
fn edge<E: Element, const W: usize>(
    row: &[f32],
    second: &[f32],
    from: usize,
    apart: usize,
    start: usize,
    panels: &mut [f32],
) {
    let get = |row: &[f32], p: usize| row.get(p).copied().unwrap_or(0.0);
    for (panel, p) in (0..row.len()).step_by(W).enumerate().skip(from) {
        let to = &mut panels[panel * apart + start..][..W];
        for (i, to) in to.iter_mut().enumerate() {
            *to = E::convert(get(row, p + i), get(second, p + i));
        }
    }
}

/// Largest `Lanes::N`.
const MOST: usize = 16;

/// Steps lie in columns: transpose squares of `L::N` into one panel.
///
/// # Safety
/// Inlined where the features of `L` are enabled; operand and panel hold the part; `L::N` divides `W`.
#[inline(always)]
unsafe fn along<L: Lanes, const W: usize>(operand: Operand<'_>, part: Part, panel: &mut [f32]) {
    let Operand { data, stride, convert, .. } = operand;
    let Part { first, count, k, .. } = part;
    let pair = if convert == Convert::Pair { 2 } else { 1 };
    let steps = k.len().div_ceil(pair);
    // Rows are walked to their end before the next ones are begun: few streams, which the CPU foresees.
    for p in (0..W).step_by(L::N) {
        let present = count.saturating_sub(p).min(L::N);
        let mut block = 0;
        if present == L::N && convert == Convert::Keep {
            while block + L::N <= steps {
                // SAFETY: L::N whole rows from `first + p` with as many values from `k.start + block` lie in the
                // operand, and a whole square lies in the panel.
                unsafe {
                    let from = data.as_ptr().add((first + p) * stride + k.start + block);
                    L::transpose(from, stride, panel.as_mut_ptr().add(block * W + p), W);
                }
                block += L::N;
            }
        }
        while block < steps {
            let filled = L::N.min(steps - block);
            let at = k.start + pair * block;
            let mut stage = [0.0_f32; MOST * MOST];
            let mut turned = [0.0_f32; MOST * MOST];
            for row in 0..present {
                let from = (first + p + row) * stride + at;
                let source = &data[from..][..(pair * filled).min(k.end - at)];
                stage_row(source, convert, &mut stage[row * L::N..][..L::N]);
            }
            // SAFETY: `stage` and `turned` hold L::N * L::N floats.
            unsafe { L::transpose(stage.as_ptr(), L::N, turned.as_mut_ptr(), L::N) };
            for step in 0..filled {
                panel[(block + step) * W + p..][..L::N].copy_from_slice(&turned[step * L::N..][..L::N]);
            }
            block += L::N;
        }
    }
}

/// Converts the values of one row into zeroed elements.
#[inline(always)]
fn stage_row(source: &[f32], convert: Convert, staged: &mut [f32]) {
    match convert {
        Convert::Keep => staged[..source.len()].copy_from_slice(source),
        Convert::Round => {
            for (to, &x) in staged.iter_mut().zip(source) {
                *to = round_bf16(x);
            }
        }
        Convert::Pair => {
            let (pairs, odd) = source.as_chunks::<2>();
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

#[cfg(target_arch = "x86_64")]
#[path = "pairs.rs"]
mod pairs;

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
                    let pair = if convert == Convert::Pair { 2 } else { 1 };
                    let kernel = Kernel { pair, ..f32_kernel(path) };
                    let operand = Operand { data: &data, stride: cols, order, convert };
                    for width in [kernel.height, kernel.width] {
                        for (first, count, k) in [
                            (0, width, 0..48),
                            (3, width, 2..35),
                            (5, 1, 0..61),
                            (2, width - 1, 7..8),
                            (1, 57, 0..21),
                        ] {
                            let steps = k.len().div_ceil(pair);
                            let apart = steps * width + 3;
                            let mut panels = vec![f32::NAN; count.div_ceil(width) * apart];
                            pack(
                                &kernel,
                                operand,
                                Part { first, count, k: k.clone(), width, apart, tiled: false },
                                &mut panels,
                            );
                            let value = |p: usize, at: usize| {
                                if p >= count || at >= k.end {
                                    return 0.0;
                                }
                                // Along k there are `rows` elements, across k `cols`.
                                match order {
                                    Order::AlongK => data[(first + p) * cols + at],
                                    Order::AcrossK => data[at * cols + first + p],
                                }
                            };
                            for p in 0..count.next_multiple_of(width) {
                                for step in 0..steps {
                                    let at = k.start + pair * step;
                                    let expected = match convert {
                                        Convert::Keep => value(p, at),
                                        Convert::Round => round_bf16(value(p, at)),
                                        Convert::Pair => pair_bf16(value(p, at), value(p, at + 1)),
                                    };
                                    let actual = panels[p / width * apart + step * width + p % width];
                                    let place = format!("{path:?} {convert:?} {order:?} p {p} step {step}");
                                    assert_eq!(actual.to_bits(), expected.to_bits(), "{place}");
                                }
                            }
                            seen += 1;
                        }
                    }
                }
            }
        }
        assert!(seen >= 2 * 60, "{seen} parts");
    }
}

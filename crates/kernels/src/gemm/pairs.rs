//! Packing in whole registers: into bf16 pairs with the CPU's own conversion, and as they are where steps lie in rows.
//!
//! The bits of pairs are those of the plain loops, but for subnormal numbers, which become zero: the product takes them for
//! zero anyway.

use std::arch::x86_64::*;

use super::{Operand, Order, Part};
use crate::gemm::lanes::{prefetch, turned};

/// Height of a panel of A, width of a panel of B.
const HEIGHT: usize = 8;
const WIDTH: usize = 48;
/// Height and width of panels for tile registers.
const TILED: usize = 32;
/// Elements in a register.
const N: usize = 16;

/// Fills panels as [`super::pack`] does, for pairs.
///
/// # Safety
/// The CPU has the features; the operand and the panels hold the part.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
pub(super) unsafe fn pack(operand: Operand<'_>, part: Part, grain: usize, panels: &mut [f32]) {
    let steps = part.k.len().div_ceil(2).next_multiple_of(grain);
    // SAFETY: passed on.
    unsafe {
        match (operand.order, part.width) {
            (Order::AlongK, TILED) if part.tiled => tiles_along(operand, part, panels),
            (Order::AcrossK, TILED) if part.tiled => tiles_across(operand, part, panels),
            (Order::AlongK, HEIGHT) => along::<HEIGHT>(operand, part, steps, panels),
            (Order::AlongK, WIDTH) => along::<WIDTH>(operand, part, steps, panels),
            (Order::AlongK, TILED) => along::<TILED>(operand, part, steps, panels),
            (Order::AcrossK, HEIGHT) => across::<Pair, HEIGHT>(operand, part, steps, panels),
            (Order::AcrossK, WIDTH) => across::<Pair, WIDTH>(operand, part, steps, panels),
            (Order::AcrossK, TILED) => across::<Pair, TILED>(operand, part, steps, panels),
            _ => unreachable!("panels are 8, 32 or 48 wide"),
        }
    }
}

/// Rows that lie along k, into tiles of sixteen pairs: they are only rounded.
///
/// # Safety
/// As [`pack`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
unsafe fn tiles_along(operand: Operand<'_>, part: Part, panels: &mut [f32]) {
    let Part { first, count, k, apart, .. } = part;
    let to = panels.as_mut_ptr();
    for p in 0..count.next_multiple_of(TILED) {
        let row = operand.data.as_ptr().wrapping_add((first + p) * operand.stride);
        let to = to.wrapping_add(p / TILED * apart + p % TILED * N);
        for (block, at) in k.clone().step_by(2 * N).enumerate() {
            let left = if p < count { k.end - at } else { 0 };
            // SAFETY: lanes that are read lie in row `first + p` before `k.end`; the panels hold whole blocks.
            unsafe {
                let from = row.wrapping_add(at);
                let low = _mm512_maskz_loadu_ps(lanes(left), from);
                let high = _mm512_maskz_loadu_ps(lanes(left.saturating_sub(N)), from.wrapping_add(N));
                _mm512_storeu_si512(to.add(block * TILED * N).cast(), rounded(low, high));
            }
        }
    }
}

/// Rows that lie across k, into tiles of sixteen pairs: sixteen columns of 32 rows are woven and turned.
///
/// # Safety
/// As [`pack`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
unsafe fn tiles_across(operand: Operand<'_>, part: Part, panels: &mut [f32]) {
    let Part { first, count, k, apart, .. } = part;
    let to = panels.as_mut_ptr();
    for (block, start) in k.clone().step_by(2 * N).enumerate() {
        for p in (0..count.next_multiple_of(TILED)).step_by(N) {
            let mask = lanes(count.saturating_sub(p));
            let mut steps = [_mm512_setzero_ps(); N];
            for (step, to) in steps.iter_mut().enumerate() {
                let at = start + 2 * step;
                let present = |at: usize| if at < k.end { mask } else { 0 };
                // SAFETY: lanes that are read lie in rows `at` and `at + 1` before `k.end`, in columns before `count`.
                unsafe {
                    let from = operand.data.as_ptr().wrapping_add(at * operand.stride + first + p);
                    let next = from.wrapping_add(operand.stride);
                    let a = _mm512_maskz_loadu_ps(present(at), from);
                    let b = _mm512_maskz_loadu_ps(present(at + 1), next);
                    // Rows lie in different pages, which the CPU does not foresee.
                    prefetch(from.wrapping_add(2 * N * operand.stride));
                    prefetch(next.wrapping_add(2 * N * operand.stride));
                    *to = Pair::join(a, b);
                }
            }
            // SAFETY: the features are enabled.
            let rows = unsafe { turned(steps) };
            for (i, row) in rows.into_iter().enumerate() {
                let p = p + i;
                // SAFETY: `p` lies in the part rounded up to whole panels, which hold whole blocks.
                unsafe {
                    _mm512_storeu_ps(to.add(p / TILED * apart + block * TILED * N + p % TILED * N), row);
                }
            }
        }
    }
}

/// The first `count` lanes of a register, at most all.
#[inline(always)]
fn lanes(count: usize) -> __mmask16 {
    if count >= N { !0 } else { (1 << count) - 1 }
}

/// Two registers of floats as 32 bf16 numbers, `low` first.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn rounded(low: __m512, high: __m512) -> __m512i {
    // SAFETY: both are any 512 bits.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}

/// Writes sixteen elements of one step, from element `p` of the part on: to one panel of B, or to two of A, of which the
/// second need not be there.
///
/// # Safety
/// AVX-512 F is enabled; the panels hold the elements before `count`, rounded up to whole panels.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn put<const W: usize>(to: *mut f32, p: usize, count: usize, apart: usize, step: usize, v: __m512) {
    // SAFETY: the caller's promise.
    unsafe {
        let to = to.add(p / W * apart + step * W + p % W);
        if W == HEIGHT {
            _mm256_storeu_ps(to, _mm512_castps512_ps256(v));
            if p + HEIGHT < count {
                _mm256_storeu_ps(to.add(apart), _mm512_extractf32x8_ps::<1>(v));
            }
        } else {
            _mm512_storeu_ps(to, v);
        }
    }
}

/// Steps lie in columns: squares of sixteen rows and sixteen pairs are turned.
///
/// # Safety
/// As [`pack`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
unsafe fn along<const W: usize>(operand: Operand<'_>, part: Part, steps: usize, panels: &mut [f32]) {
    let Part { first, count, k, apart, .. } = part;
    let to = panels.as_mut_ptr();
    // A panel of B is written to its end even where the matrix ends before.
    for p in (0..count.next_multiple_of(W)).step_by(N) {
        let present = count.saturating_sub(p).min(N);
        for block in (0..steps).step_by(N) {
            let at = k.start + 2 * block;
            let left = k.end.saturating_sub(at);
            let (low, high) = (lanes(left), lanes(left.saturating_sub(N)));
            let mut rows = [_mm512_setzero_ps(); N];
            for (i, row) in rows.iter_mut().enumerate().take(present) {
                // SAFETY: lanes that are read lie in row `first + p + i` before `k.end`.
                unsafe {
                    let from = operand.data.as_ptr().add((first + p + i) * operand.stride + at);
                    let (a, b) =
                        (_mm512_maskz_loadu_ps(low, from), _mm512_maskz_loadu_ps(high, from.wrapping_add(N)));
                    prefetch(from.wrapping_add(6 * N));
                    prefetch(from.wrapping_add(7 * N));
                    *row = _mm512_castsi512_ps(rounded(a, b));
                }
            }
            // SAFETY: the features are enabled.
            let columns = unsafe { turned(rows) };
            for (i, column) in columns.into_iter().enumerate().take(steps - block) {
                // SAFETY: `p` lies in the part rounded up to whole panels.
                unsafe { put::<W>(to, p, count, apart, block + i, column) };
            }
        }
    }
}

/// Fills panels as [`super::pack`] does, with the numbers as they are, where steps lie in rows.
///
/// # Safety
/// The CPU has the features; the operand and the panels hold the part.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn pack_across(operand: Operand<'_>, part: Part, panels: &mut [f32]) {
    let steps = part.k.len();
    // SAFETY: passed on.
    unsafe {
        match part.width {
            HEIGHT => across::<Single, HEIGHT>(operand, part, steps, panels),
            WIDTH => across::<Single, WIDTH>(operand, part, steps, panels),
            _ => unreachable!("panels are 8 or 48 wide"),
        }
    }
}

/// What rows of the operand make one step of the panels.
trait Step {
    /// How many rows.
    const ROWS: usize;
    /// Steps done together, so that whole cache lines are written; with more, rows that lie a multiple of 4 KiB apart
    /// push each other out of the first-level cache.
    const TOGETHER: usize;
    /// Sixteen elements of a step, from the first row and, if there is one, the second.
    ///
    /// # Safety
    /// The CPU has the features that packing with this step is compiled for.
    unsafe fn join(first: __m512, second: __m512) -> __m512;
}

/// A number of one row.
struct Single;

impl Step for Single {
    const ROWS: usize = 1;
    const TOGETHER: usize = 8;

    #[inline(always)]
    unsafe fn join(first: __m512, _: __m512) -> __m512 {
        first
    }
}

/// Numbers of two rows as bf16, woven together.
struct Pair;

impl Step for Pair {
    const ROWS: usize = 2;
    const TOGETHER: usize = 4;

    #[inline(always)]
    unsafe fn join(first: __m512, second: __m512) -> __m512 {
        // Words 0, 16, 1, 17, ...: number i of the first row beside number i of the second.
        const ORDER: [u16; 32] = {
            let mut order = [0; 32];
            let mut i = 0;
            while i < 16 {
                order[2 * i] = i as u16;
                order[2 * i + 1] = i as u16 + 16;
                i += 1;
            }
            order
        };
        // SAFETY: the caller's promise; 32 words.
        unsafe {
            let order = _mm512_loadu_si512(ORDER.as_ptr().cast());
            _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, rounded(first, second)))
        }
    }
}

/// Steps lie in rows.
///
/// # Safety
/// Inlined where the features of `S` are enabled; the operand and the panels hold the part.
#[inline(always)]
unsafe fn across<S: Step, const W: usize>(
    operand: Operand<'_>,
    part: Part,
    steps: usize,
    panels: &mut [f32],
) {
    let Part { first, count, k, apart, .. } = part;
    let to = panels.as_mut_ptr();
    for block in (0..steps).step_by(S::TOGETHER) {
        let end = (block + S::TOGETHER).min(steps);
        for p in (0..count.next_multiple_of(W)).step_by(N) {
            let mask = lanes(count.saturating_sub(p));
            for step in block..end {
                let at = k.start + S::ROWS * step;
                // Steps beyond k are zeros.
                let present = |at: usize| if at < k.end { mask } else { 0 };
                let second = if S::ROWS == 2 { present(at + 1) } else { 0 };
                // SAFETY: lanes that are read lie in rows `at` and `at + 1` before `count`; `p` lies in the part rounded
                // up to whole panels.
                unsafe {
                    let from = operand.data.as_ptr().wrapping_add(at * operand.stride + first + p);
                    let next = from.wrapping_add(operand.stride);
                    let (a, b) =
                        (_mm512_maskz_loadu_ps(present(at), from), _mm512_maskz_loadu_ps(second, next));
                    // Rows lie in different pages, which the CPU does not foresee.
                    for row in 0..S::ROWS {
                        prefetch(from.wrapping_add((S::ROWS * S::TOGETHER + row) * operand.stride));
                    }
                    put::<W>(to, p, count, apart, step, S::join(a, b));
                }
            }
        }
    }
}

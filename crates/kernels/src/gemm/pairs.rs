//! Packing into bf16 pairs with the CPU's own conversion. The bits are those of the plain loops, but for subnormal
//! numbers, which become zero: the product takes them for zero anyway.

use std::arch::x86_64::*;

use super::{Operand, Order, Part};
use crate::gemm::lanes::{prefetch, turned};

/// Height of a panel of A, width of a panel of B.
const HEIGHT: usize = 8;
const WIDTH: usize = 48;
/// Elements in a register.
const N: usize = 16;

/// Fills panels as [`super::pack`] does, for pairs.
///
/// # Safety
/// The CPU has the features; the operand and the panels hold the part.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
pub(super) unsafe fn pack(operand: Operand<'_>, part: Part, panels: &mut [f32]) {
    // SAFETY: passed on.
    unsafe {
        match (operand.order, part.width) {
            (Order::AlongK, HEIGHT) => along::<HEIGHT>(operand, part, panels),
            (Order::AlongK, WIDTH) => along::<WIDTH>(operand, part, panels),
            (Order::AcrossK, HEIGHT) => across::<HEIGHT>(operand, part, panels),
            (Order::AcrossK, WIDTH) => across::<WIDTH>(operand, part, panels),
            _ => unreachable!("panels are 8 or 48 wide"),
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
unsafe fn along<const W: usize>(operand: Operand<'_>, part: Part, panels: &mut [f32]) {
    let Part { first, count, k, apart, .. } = part;
    let steps = k.len().div_ceil(2);
    let to = panels.as_mut_ptr();
    // A panel of B is written to its end even where the matrix ends before.
    for p in (0..count.next_multiple_of(W)).step_by(N) {
        let present = count.saturating_sub(p).min(N);
        for block in (0..steps).step_by(N) {
            let at = k.start + 2 * block;
            let left = k.end - at;
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

/// Steps lie in rows, two to a step: they are woven together.
///
/// # Safety
/// As [`pack`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
unsafe fn across<const W: usize>(operand: Operand<'_>, part: Part, panels: &mut [f32]) {
    /// Steps done together, so that whole cache lines are written.
    const TOGETHER: usize = 8;
    let Part { first, count, k, apart, .. } = part;
    let steps = k.len().div_ceil(2);
    let to = panels.as_mut_ptr();
    // Words 0, 16, 1, 17, ...: number i of the first row beside number i of the second.
    let mut order = [0_u16; 32];
    for (i, pair) in order.chunks_exact_mut(2).enumerate() {
        pair.copy_from_slice(&[i as u16, i as u16 + 16]);
    }
    // SAFETY: 32 words.
    let order = unsafe { _mm512_loadu_si512(order.as_ptr().cast()) };
    for block in (0..steps).step_by(TOGETHER) {
        let end = (block + TOGETHER).min(steps);
        for p in (0..count.next_multiple_of(W)).step_by(N) {
            let mask = lanes(count.saturating_sub(p));
            for step in block..end {
                let at = k.start + 2 * step;
                let second = if at + 1 < k.end { mask } else { 0 };
                // SAFETY: lanes that are read lie in rows `at` and `at + 1` before `count`; `p` lies in the part rounded
                // up to whole panels.
                unsafe {
                    let from = operand.data.as_ptr().wrapping_add(at * operand.stride + first + p);
                    let next = from.wrapping_add(operand.stride);
                    let (a, b) = (_mm512_maskz_loadu_ps(mask, from), _mm512_maskz_loadu_ps(second, next));
                    // Rows lie in different pages, which the CPU does not foresee.
                    prefetch(from.wrapping_add(2 * TOGETHER * operand.stride));
                    prefetch(next.wrapping_add(2 * TOGETHER * operand.stride));
                    let woven = _mm512_permutexvar_epi16(order, rounded(a, b));
                    put::<W>(to, p, count, apart, step, _mm512_castsi512_ps(woven));
                }
            }
        }
    }
}

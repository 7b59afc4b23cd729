//! Products of 8-bit whole numbers: weights rounded once, the other factor rounded row by row as it comes.
//!
//! A row of the first factor becomes numbers of 0 to 255 with a scale and a zero point of its own, so that its result does
//! not depend on the rows beside it; a row of the weight becomes numbers of -127 to 127 with a scale. Sums are exact in
//! 32 bits, and what follows is three roundings in a fixed order: every path gives the same bits.
//! Reference: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
//! Inference", section 2, <https://arxiv.org/abs/1712.05877>; differs in the scales by row.
#![allow(unsafe_code, reason = "CPU vector instructions on packed panels; bytes in buffers of floats")]

use std::ops::Range;

use rayon::prelude::*;

use super::{Mat, MatMut};
use crate::cpu::multiversion;
use crate::parallel;
use crate::scratch::Scratch;
use crate::shared::Shared;

/// Rows of a tile.
const HEIGHT: usize = 8;
/// Columns of a panel.
const WIDTH: usize = 48;
/// Values of k in one step: four bytes.
const STEP: usize = 4;
/// Below this many multiplications threads cost more than they bring.
const SERIAL: usize = 1024 * 1024;
/// The largest k: beyond it a sum may not fit into 32 bits.
const MAX_K: usize = 1 << 16;

/// A weight in 8 bits, laid out for the inner loop: `[n, k]`, each row with its scale.
pub struct Int8 {
    n: usize,
    k: usize,
    /// Panels of 48 rows; in each, step after step, four values of k of every row.
    panels: Vec<i8>,
    /// What a whole number stands for, by row.
    scales: Vec<f32>,
    /// Sum of each row, for the zero point of the other factor.
    sums: Vec<i32>,
}

impl std::fmt::Debug for Int8 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Int8({} x {})", self.n, self.k)
    }
}

impl Int8 {
    /// Rounds a weight: the largest magnitude of a row becomes 127. A row with a number that is not finite gives results
    /// that are not.
    ///
    /// # Shapes
    /// - `weight`: `[n, k]`
    ///
    /// # Panics
    /// If `k` is above 65,536.
    pub fn round(weight: Mat<'_>) -> Self {
        let mut values = vec![0_i8; weight.rows * weight.cols];
        let mut scales = vec![0.0; weight.rows];
        values.par_chunks_mut(weight.cols.max(1)).zip(&mut scales).enumerate().for_each(
            |(row, (values, scale))| {
                *scale = round_weight(weight.row(row), values);
            },
        );
        Self::new(&values, scales, weight.cols)
    }

    /// A weight that is in 8 bits already, as a file has it.
    ///
    /// # Shapes
    /// - `values`: `[n, k]`, -127 to 127; `scales`: `[n]`
    ///
    /// # Panics
    /// If `values` is not `n * k` long, or `k` is above 65,536.
    pub fn new(values: &[i8], scales: Vec<f32>, k: usize) -> Self {
        let n = scales.len();
        assert_eq!(values.len(), n * k, "int8: weight of {n} x {k}");
        assert!(k <= MAX_K, "int8: {k} columns, at most {MAX_K}");
        let panel_len = k.div_ceil(STEP) * STEP * WIDTH;
        let mut panels = vec![0; n.div_ceil(WIDTH) * panel_len];
        let mut sums = vec![0; n];
        for (row, (values, sum)) in values.chunks_exact(k.max(1)).zip(&mut sums).enumerate() {
            let panel = &mut panels[row / WIDTH * panel_len..][..panel_len];
            for (step, values) in values.chunks(STEP).enumerate() {
                let at = (step * WIDTH + row % WIDTH) * STEP;
                panel[at..at + values.len()].copy_from_slice(values);
            }
            *sum = values.iter().map(|&value| i32::from(value)).sum();
        }
        Self { n, k, panels, scales, sums }
    }

    /// Rows of the weight: columns of the product.
    pub fn rows(&self) -> usize {
        self.n
    }

    /// Columns of the weight.
    pub fn cols(&self) -> usize {
        self.k
    }

    /// Bytes it takes.
    pub fn bytes(&self) -> usize {
        self.panels.len() + size_of_val(self.scales.as_slice()) + size_of_val(self.sums.as_slice())
    }

    /// The weight as numbers again, and its scales, as [`Int8::new`] takes them.
    ///
    /// # Shapes
    /// - returns: `[n, k]` and `[n]`
    pub fn parts(&self) -> (Vec<i8>, &[f32]) {
        let mut values = Vec::with_capacity(self.n * self.k);
        for row in 0..self.n {
            let panel = &self.panels[row / WIDTH * self.panel_len()..];
            values.extend((0..self.k).map(|k| panel[(k / STEP * WIDTH + row % WIDTH) * STEP + k % STEP]));
        }
        (values, &self.scales)
    }

    fn panel_len(&self) -> usize {
        self.k.div_ceil(STEP) * STEP * WIDTH
    }

    /// `c = a b^T (+ bias)` with `a` rounded row by row to 8 bits and `b` this weight.
    ///
    /// # Shapes
    /// - `a`: `[m, k]`; `c`: `[m, n]`; `bias`: `[n]`
    ///
    /// # Panics
    /// If the shapes do not fit together.
    pub fn nt(&self, a: Mat<'_>, c: MatMut<'_>, bias: Option<&[f32]>) {
        let (m, steps) = (a.rows, self.k.div_ceil(STEP));
        assert_eq!(a.cols, self.k, "int8: a has {} columns, the weight {}", a.cols, self.k);
        assert!(c.rows == m && c.cols == self.n, "int8: c is {} x {}, not {m} x {}", c.rows, c.cols, self.n);
        assert!(bias.is_none_or(|bias| bias.len() == self.n), "int8: bias for {} columns", self.n);
        if m == 0 || self.n == 0 {
            return;
        }
        let threads = if m * self.n * self.k < SERIAL { 1 } else { parallel::threads() };
        // A float's place holds one step; behind each row its scale and its zero point.
        let row_len = steps + 2;
        let mut rounded = Scratch::new(m * row_len);
        let round = |(row, to): (usize, &mut [f32])| {
            let (bytes, tail) = to.split_at_mut(steps);
            let (scale, zero) = round_row(a.row(row), as_bytes(bytes));
            tail.copy_from_slice(&[scale, zero]);
        };
        if threads == 1 {
            rounded.chunks_exact_mut(row_len).enumerate().for_each(round);
        } else {
            let enough = (16 * 1024 / self.k.max(1)).max(1);
            rounded.par_chunks_exact_mut(row_len).enumerate().with_min_len(enough).for_each(round);
        }
        let panels = self.n.div_ceil(WIDTH);
        // Two tasks for each thread: more pieces of the rows only where there are too few panels.
        let pieces = (2 * threads).div_ceil(panels).min(m.div_ceil(HEIGHT)).max(1);
        let rows = m.div_ceil(pieces).next_multiple_of(HEIGHT);
        let tasks = panels * m.div_ceil(rows);
        let stride = c.stride;
        let (rounded, c) = (&*rounded, Shared::new(c.data));
        let strip = |task: usize| {
            let (panel, piece) = (task % panels, task / panels);
            // SAFETY: strips of different tasks have no element in common.
            unsafe {
                self.strip(rounded, panel, piece * rows..((piece + 1) * rows).min(m), &c, stride, bias)
            };
        };
        if threads == 1 {
            (0..tasks).for_each(strip);
        } else {
            (0..tasks).into_par_iter().with_max_len(1).for_each(strip);
        }
    }

    /// Computes some rows of the columns of one panel.
    ///
    /// # Safety
    /// Nothing else touches these elements of `c` meanwhile.
    unsafe fn strip(
        &self,
        rounded: &[f32],
        panel: usize,
        rows: Range<usize>,
        c: &Shared<'_>,
        stride: usize,
        bias: Option<&[f32]>,
    ) {
        let (first, end) = (panel * WIDTH, ((panel + 1) * WIDTH).min(self.n));
        let b = &self.panels[panel * self.panel_len()..][..self.panel_len()];
        let steps = self.k.div_ceil(STEP);
        let row_len = steps + 2;
        let mut sums = [0_i32; HEIGHT * WIDTH];
        for start in rows.clone().step_by(HEIGHT) {
            let count = HEIGHT.min(rows.end - start);
            let a = &rounded[start * row_len..][..count * row_len];
            tile(a, b, steps, &mut sums);
            for (row, sums) in sums.chunks_exact(WIDTH).take(count).enumerate() {
                let [scale, zero] = [a[row * row_len + steps], a[row * row_len + steps + 1]];
                let at = (start + row) * stride;
                // SAFETY: this task's own elements.
                let out = unsafe { c.piece(at + first..at + end) };
                let (scales, shifts) = (&self.scales[first..end], &self.sums[first..end]);
                finish(sums, shifts, scales, scale, zero, bias.map(|bias| &bias[first..end]), out);
            }
        }
    }
}

/// The bytes of a buffer of floats.
fn as_bytes(floats: &mut [f32]) -> &mut [u8] {
    let len = size_of_val(floats);
    // SAFETY: the same memory, exclusively borrowed; bytes have no alignment and any value, as floats have any bits.
    unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), len) }
}

/// Sums of the rows of `a` (each `steps` floats' places of bytes, then two floats) with a panel.
fn tile(a: &[f32], b: &[i8], steps: usize, sums: &mut [i32; HEIGHT * WIDTH]) {
    assert!(b.len() == steps * STEP * WIDTH && a.len().is_multiple_of(steps + 2), "int8: panels");
    #[cfg(target_arch = "x86_64")]
    if crate::cpu::native_int8() {
        // SAFETY: the features were detected; the lengths are those of the assertion.
        unsafe {
            match a.len() / (steps + 2) {
                1 => vnni::tile::<1>(a.as_ptr(), b.as_ptr(), steps, sums),
                2 => vnni::tile::<2>(a.as_ptr(), b.as_ptr(), steps, sums),
                3 => vnni::tile::<3>(a.as_ptr(), b.as_ptr(), steps, sums),
                4 => vnni::tile::<4>(a.as_ptr(), b.as_ptr(), steps, sums),
                5 => vnni::tile::<5>(a.as_ptr(), b.as_ptr(), steps, sums),
                6 => vnni::tile::<6>(a.as_ptr(), b.as_ptr(), steps, sums),
                7 => vnni::tile::<7>(a.as_ptr(), b.as_ptr(), steps, sums),
                _ => vnni::tile::<8>(a.as_ptr(), b.as_ptr(), steps, sums),
            }
        }
        return;
    }
    plain(a, b, steps, sums);
}

multiversion! {
    fn plain(a: &[f32], b: &[i8], steps: usize, sums: &mut [i32; HEIGHT * WIDTH]) = plain_body;
    fn round_row(x: &[f32], to: &mut [u8]) -> (f32, f32) = round_row_body;
    fn round_weight(x: &[f32], to: &mut [i8]) -> f32 = round_weight_body;
    fn finish(
        sums: &[i32], shifts: &[i32], scales: &[f32], scale: f32, zero: f32, bias: Option<&[f32]>, out: &mut [f32],
    ) = finish_body;
}

#[inline(always)]
fn plain_body<const FMA: bool>(a: &[f32], b: &[i8], steps: usize, sums: &mut [i32; HEIGHT * WIDTH]) {
    for (row, sums) in a.chunks_exact(steps + 2).zip(sums.chunks_exact_mut(WIDTH)) {
        let mut total = [0_i32; WIDTH];
        for (four, b) in row[..steps].iter().zip(b.chunks_exact(STEP * WIDTH)) {
            let four = four.to_bits().to_le_bytes().map(i32::from);
            for (total, b) in total.iter_mut().zip(b.as_chunks::<STEP>().0) {
                for (a, &b) in four.into_iter().zip(b) {
                    *total += a * i32::from(b);
                }
            }
        }
        sums.copy_from_slice(&total);
    }
}

/// A row as bytes: its scale and its zero point. Bytes beyond the row are zero.
#[inline(always)]
fn round_row_body<const FMA: bool>(x: &[f32], to: &mut [u8]) -> (f32, f32) {
    // Sixteen of each, so that the compiler may take a register for them.
    let (mut low, mut high, mut poison) = ([0.0_f32; 16], [0.0_f32; 16], [0.0_f32; 16]);
    let (chunks, rest) = x.as_chunks::<16>();
    for x in chunks {
        for i in 0..16 {
            low[i] = if x[i] < low[i] { x[i] } else { low[i] };
            high[i] = if x[i] > high[i] { x[i] } else { high[i] };
            poison[i] += x[i] * 0.0;
        }
    }
    for (i, &x) in rest.iter().enumerate() {
        (low[i], high[i], poison[i]) = (low[i].min(x), high[i].max(x), poison[i] + x * 0.0);
    }
    let (low, high) = (low.into_iter().fold(0.0, f32::min), high.into_iter().fold(0.0, f32::max));
    // Not a number as soon as one of the row is not finite: the results of the row show it.
    let poison: f32 = poison.into_iter().sum();
    let scale = (high - low) / 255.0;
    // A row of zeros, or of numbers so small that their inverse has no bits left.
    let scale = if scale < f32::MIN_POSITIVE * 16.0 { 1.0 } else { scale };
    let inverse = 1.0 / scale;
    let zero = (-low * inverse).round_ties_even().clamp(0.0, 255.0);
    for (to, &x) in to.iter_mut().zip(x) {
        // A cast saturates, and takes what is not a number for zero.
        *to = ((x * inverse).round_ties_even() + zero) as u8;
    }
    to[x.len()..].fill(0);
    (scale + poison, zero)
}

/// A row of a weight: its scale.
#[inline(always)]
fn round_weight_body<const FMA: bool>(x: &[f32], to: &mut [i8]) -> f32 {
    let largest = x.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let poison: f32 = x.iter().map(|x| x * 0.0).sum();
    let scale = largest / 127.0;
    let scale = if scale < f32::MIN_POSITIVE * 16.0 { 1.0 } else { scale };
    let inverse = 1.0 / scale;
    for (to, &x) in to.iter_mut().zip(x) {
        *to = (x * inverse).round_ties_even().clamp(-127.0, 127.0) as i8;
    }
    scale + poison
}

/// `(sum - zero * shift) * (scale * scales) + bias`, in this order on every path.
#[inline(always)]
fn finish_body<const FMA: bool>(
    sums: &[i32],
    shifts: &[i32],
    scales: &[f32],
    scale: f32,
    zero: f32,
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let zero = zero as i32;
    for (((out, &sum), &shift), &by) in out.iter_mut().zip(sums).zip(shifts).zip(scales) {
        *out = sum.wrapping_sub(zero.wrapping_mul(shift)) as f32 * (scale * by);
    }
    if let Some(bias) = bias {
        for (out, bias) in out.iter_mut().zip(bias) {
            *out += bias;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use super::{HEIGHT, STEP, WIDTH};
    use crate::gemm::lanes::prefetch;
    use std::arch::x86_64::*;

    /// Registers across a panel.
    const ACROSS: usize = WIDTH / 16;
    /// Steps that a panel is asked for ahead of use.
    const AHEAD: usize = 8;

    /// `R` rows with a whole panel.
    ///
    /// # Safety
    /// The CPU has the features; `a` holds `R` rows of `steps + 2` floats, `b` `steps` steps of a panel.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) unsafe fn tile<const R: usize>(
        a: *const f32,
        b: *const i8,
        steps: usize,
        sums: &mut [i32; HEIGHT * WIDTH],
    ) {
        const { assert!(R >= 1 && R <= HEIGHT) };
        let mut totals = [[_mm512_setzero_si512(); ACROSS]; R];
        for step in 0..steps {
            // SAFETY: step `step` of the panel and of each row.
            unsafe {
                let b = b.add(step * STEP * WIDTH);
                let mut columns = [_mm512_setzero_si512(); ACROSS];
                for (w, column) in columns.iter_mut().enumerate() {
                    *column = _mm512_loadu_si512(b.add(64 * w).cast());
                    prefetch(b.wrapping_add(AHEAD * STEP * WIDTH + 64 * w).cast());
                }
                for (r, totals) in totals.iter_mut().enumerate() {
                    let four = _mm512_set1_epi32(a.add(r * (steps + 2) + step).cast::<i32>().read());
                    for (total, column) in totals.iter_mut().zip(columns) {
                        *total = _mm512_dpbusd_epi32(*total, four, column);
                    }
                }
            }
        }
        for (totals, sums) in totals.into_iter().zip(sums.as_chunks_mut::<WIDTH>().0) {
            for (total, sums) in totals.into_iter().zip(sums.as_chunks_mut::<16>().0) {
                // SAFETY: sixteen numbers.
                unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), total) };
            }
        }
    }
}

#[cfg(test)]
#[path = "int8_tests.rs"]
mod tests;

//! Small products on the calling thread, read where they lie: for the blocks of attention, packing costs more than it
//! saves.
//!
//! The left factor is read one number at a time from any place, the right one in whole registers along its rows. An
//! element of the result is the same chain of multiply-adds as in the packed product, so the bits are the same.
#![allow(unsafe_code, reason = "CPU vector instructions through pointers, on shapes that were checked")]

use super::lanes::Lanes;
use super::{Mat, MatMut, sequential};
use crate::cpu::{self, Path};

/// Floats in a register of this CPU's path.
pub(crate) fn lanes() -> usize {
    match cpu::path() {
        Path::Avx512 => 16,
        Path::Avx2 => 8,
        Path::Neon | Path::Portable => 4,
    }
}

/// `cols` rounded up to whole registers: the stride that [`nt`] wants of its result.
pub(crate) fn padded(cols: usize) -> usize {
    cols.next_multiple_of(lanes())
}

/// `c = a b^T`; the columns of `c` between its width and [`padded`] are overwritten too.
///
/// # Shapes
/// - `a`: `[m, k]`; `b`: `[n, k]`; `c`: `[m, n]` with a stride of at least `padded(n)`; `turned`: `k * padded(n)`
pub(crate) fn nt(a: Mat<'_>, b: Mat<'_>, c: MatMut<'_>, turned: &mut [f32]) {
    let (n, k, width) = (b.rows, b.cols, padded(b.rows));
    assert!(a.cols == k && c.rows == a.rows && c.cols == n && c.stride >= width, "nt: shapes");
    turn(b, &mut turned[..k * width], width);
    let a = Left { data: a.data, along_m: a.stride, along_k: 1 };
    multiply(a, &turned[..k * width], width, c.data, c.stride, [c.rows, width, k], false);
}

/// `c = a b`.
///
/// # Shapes
/// - `a`: `[m, k]`; `b`: `[k, n]`; `c`: `[m, n]`
pub(crate) fn nn(a: Mat<'_>, b: Mat<'_>, c: MatMut<'_>) {
    assert!(a.cols == b.rows && c.rows == a.rows && c.cols == b.cols, "nn: shapes");
    if !b.cols.is_multiple_of(lanes()) {
        return sequential::nn(a, b, c, false);
    }
    let left = Left { data: a.data, along_m: a.stride, along_k: 1 };
    multiply(left, b.data, b.stride, c.data, c.stride, [c.rows, c.cols, a.cols], false);
}

/// `c = a^T b (+ c)`.
///
/// # Shapes
/// - `a`: `[k, m]`; `b`: `[k, n]`; `c`: `[m, n]`
pub(crate) fn tn(a: Mat<'_>, b: Mat<'_>, c: MatMut<'_>, accumulate: bool) {
    assert!(a.rows == b.rows && c.rows == a.cols && c.cols == b.cols, "tn: shapes");
    if !b.cols.is_multiple_of(lanes()) {
        return sequential::tn(a, b, c, accumulate);
    }
    let left = Left { data: a.data, along_m: 1, along_k: a.stride };
    multiply(left, b.data, b.stride, c.data, c.stride, [c.rows, c.cols, a.rows], accumulate);
}

/// The left factor: element (m, k) at `m * along_m + k * along_k`.
#[derive(Clone, Copy)]
struct Left<'a> {
    data: &'a [f32],
    along_m: usize,
    along_k: usize,
}

/// `c = a b (+ c)` for `sizes` m, n (whole registers) and k.
fn multiply(
    a: Left<'_>,
    b: &[f32],
    b_stride: usize,
    c: &mut [f32],
    c_stride: usize,
    sizes: [usize; 3],
    accumulate: bool,
) {
    let [m, n, k] = sizes;
    if m == 0 || n == 0 {
        return;
    }
    assert!(n.is_multiple_of(lanes()), "direct product: {n} columns");
    assert!(c_stride >= n && c.len() >= (m - 1) * c_stride + n, "direct product: c");
    if k > 0 {
        assert!(b_stride >= n && b.len() >= (k - 1) * b_stride + n, "direct product: b");
        assert!(a.data.len() > (m - 1) * a.along_m + (k - 1) * a.along_k, "direct product: a");
    }
    let task = Task { a, b: b.as_ptr(), b_stride, c: c.as_mut_ptr(), c_stride, sizes, accumulate };
    match cpu::path() {
        // SAFETY: the path's features were detected; the sizes were checked above.
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 => unsafe { x86::avx512(task) },
        // SAFETY: see above.
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 => unsafe { x86::avx2(task) },
        // SAFETY: see above.
        #[cfg(target_arch = "x86_64")]
        _ => unsafe { task.run::<super::lanes::Sse, 4>() },
        // SAFETY: see above.
        #[cfg(target_arch = "aarch64")]
        Path::Neon => unsafe { task.run::<super::lanes::Neon, 8>() },
        // SAFETY: see above.
        #[cfg(not(target_arch = "x86_64"))]
        _ => unsafe { task.run::<super::lanes::Plain, 4>() },
    }
}

/// A product whose shapes fit together.
struct Task<'a> {
    a: Left<'a>,
    b: *const f32,
    b_stride: usize,
    c: *mut f32,
    c_stride: usize,
    sizes: [usize; 3],
    accumulate: bool,
}

impl Task<'_> {
    /// `ROWS` rows and two registers of columns at a time, what is left in smaller tiles.
    ///
    /// # Safety
    /// Inlined where the features of `L` are enabled; the shapes fit.
    #[inline(always)]
    unsafe fn run<L: Lanes, const ROWS: usize>(&self) {
        let [m, n, _] = self.sizes;
        let mut row = 0;
        while row < m {
            // SAFETY: passed on.
            unsafe {
                row += match m - row {
                    left if left >= ROWS => self.row_of_tiles::<L, ROWS>(row, n),
                    left if left >= 4 => self.row_of_tiles::<L, 4>(row, n),
                    left if left >= 2 => self.row_of_tiles::<L, 2>(row, n),
                    _ => self.row_of_tiles::<L, 1>(row, n),
                };
            }
        }
    }

    /// # Safety
    /// As [`Task::run`]; there are `R` rows from `row` on.
    #[inline(always)]
    unsafe fn row_of_tiles<L: Lanes, const R: usize>(&self, row: usize, n: usize) -> usize {
        let mut col = 0;
        while col < n {
            // SAFETY: passed on.
            unsafe {
                if n - col >= 2 * L::N {
                    self.tile::<L, R, 2>(row, col);
                    col += 2 * L::N;
                } else {
                    self.tile::<L, R, 1>(row, col);
                    col += L::N;
                }
            }
        }
        R
    }

    /// # Safety
    /// As [`Task::run`]; the tile lies inside the result.
    #[inline(always)]
    unsafe fn tile<L: Lanes, const R: usize, const W: usize>(&self, row: usize, col: usize) {
        let Left { data, along_m, along_k } = self.a;
        // SAFETY: rows `row..row + R` and columns `col..col + W * N` lie inside all three by the checks of `multiply`.
        unsafe {
            let mut sums = [[L::zero(); W]; R];
            let mut a = data.as_ptr().wrapping_add(row * along_m);
            let mut b = self.b.wrapping_add(col);
            for _ in 0..self.sizes[2] {
                let columns: [L::V; W] = std::array::from_fn(|w| L::load(b.add(w * L::N)));
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = L::splat(*a.add(r * along_m));
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        *sum = L::fma(x, column, *sum);
                    }
                }
                a = a.wrapping_add(along_k);
                b = b.wrapping_add(self.b_stride);
            }
            for (r, sums) in sums.into_iter().enumerate() {
                for (w, mut sum) in sums.into_iter().enumerate() {
                    let c = self.c.add((row + r) * self.c_stride + col + w * L::N);
                    if self.accumulate {
                        sum = L::add(sum, L::load(c));
                    }
                    L::store(c, sum);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Task;
    use crate::gemm::lanes::{Avx2, Avx512};

    /// # Safety
    /// The CPU has the feature; the shapes fit.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn avx512(task: Task<'_>) {
        // SAFETY: the caller's promise.
        unsafe { task.run::<Avx512, 8>() }
    }

    /// # Safety
    /// The CPU has the features; the shapes fit.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2(task: Task<'_>) {
        // SAFETY: the caller's promise.
        unsafe { task.run::<Avx2, 4>() }
    }

    /// Turns one square of sixteen by sixteen.
    ///
    /// # Safety
    /// The CPU has the feature; sixteen rows of sixteen floats lie on either side.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn square(from: *const f32, stride: usize, to: *mut f32, step: usize) {
        // SAFETY: the caller's promise.
        unsafe { <Avx512 as super::Lanes>::transpose(from, stride, to, step) }
    }
}

/// Writes the columns of `b` as rows, `width` apart, with zeros behind them.
fn turn(b: Mat<'_>, turned: &mut [f32], width: usize) {
    const N: usize = 16;
    let (rows, cols) = (b.rows, b.cols);
    let whole = if cfg!(target_arch = "x86_64") && cpu::path() == Path::Avx512 { N } else { usize::MAX };
    let mut row = 0;
    while row < width {
        let present = rows.saturating_sub(row).min(N);
        let mut col = 0;
        if whole == N && row + N <= width {
            // The last rows are copied, with zeros below them, so that squares are whole.
            let mut stage = [0.0_f32; N * N];
            while col + N <= cols {
                let (from, stride) = if present == N {
                    let from = &b.data[row * b.stride + col..][..(N - 1) * b.stride + N];
                    (from.as_ptr(), b.stride)
                } else {
                    for (i, stage) in stage.chunks_exact_mut(N).enumerate().take(present) {
                        stage.copy_from_slice(&b.row(row + i)[col..col + N]);
                    }
                    (stage.as_ptr(), N)
                };
                let to = &mut turned[col * width + row..][..(N - 1) * width + N];
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the path was chosen because the CPU has it; both slices hold sixteen rows of sixteen.
                unsafe {
                    x86::square(from, stride, to.as_mut_ptr(), width);
                }
                #[cfg(not(target_arch = "x86_64"))]
                let _ = (from, stride, to);
                col += N;
            }
        }
        for i in row..(row + N).min(width) {
            for at in col..cols {
                turned[at * width + i] = if i < rows { b.data[i * b.stride + at] } else { 0.0 };
            }
        }
        row += N;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn the_bits_are_those_of_the_packed_product() {
        let mut seen = 0;
        for (m, n, k) in
            [(1, 16, 3), (25, 32, 25), (7, 48, 1), (13, 64, 130), (128, 32, 64), (3, 5, 9), (9, 16, 0)]
        {
            let (a_stride, b_stride, c_stride) = (m.max(k) + 3, n + 5, n + 2);
            let (a, b) = (random(1, (m.max(k) + 1) * a_stride), random(2, (k + 1) * b_stride));
            let start = random(3, m * c_stride);
            for accumulate in [false, true] {
                let (mut direct, mut packed) = (start.clone(), start.clone());
                let across = Mat::strided(&a, k, m, a_stride);
                let b = Mat::strided(&b, k, n, b_stride);
                tn(across, b, MatMut::strided(&mut direct, m, n, c_stride), accumulate);
                sequential::tn(across, b, MatMut::strided(&mut packed, m, n, c_stride), accumulate);
                assert_eq!(bits(&direct), bits(&packed), "tn {m} {n} {k} {accumulate}");
                if !accumulate {
                    let along = Mat::strided(&a, m, k, a_stride);
                    nn(along, b, MatMut::strided(&mut direct, m, n, c_stride));
                    sequential::nn(along, b, MatMut::strided(&mut packed, m, n, c_stride), false);
                    assert_eq!(bits(&direct), bits(&packed), "nn {m} {n} {k}");
                }
                seen += 1;
            }
        }
        assert_eq!(seen, 14);
    }

    #[test]
    fn a_turned_factor_gives_the_bits_of_the_packed_product() {
        for (m, n, k) in [(1, 1, 1), (25, 25, 32), (16, 16, 16), (128, 130, 64), (5, 33, 17), (2, 31, 48)] {
            let (a_stride, b_stride, width) = (k + 3, k + 7, padded(n));
            let (a, b) = (random(1, m * a_stride), random(2, n * b_stride));
            let (a, b) = (Mat::strided(&a, m, k, a_stride), Mat::strided(&b, n, k, b_stride));
            let (mut direct, mut packed) = (vec![0.0; m * width], vec![0.0; m * n]);
            let mut turned = vec![f32::NAN; k * width];
            nt(a, b, MatMut::strided(&mut direct, m, n, width), &mut turned);
            sequential::nt(a, b, MatMut::new(&mut packed, m, n), false);
            for row in 0..m {
                let (direct, packed) = (&direct[row * width..][..n], &packed[row * n..][..n]);
                assert_eq!(bits(direct), bits(packed), "{m} {n} {k} row {row}");
            }
        }
    }
}

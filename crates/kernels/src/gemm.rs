//! Matrix products on row-major slices in the three layouts training needs.

use crate::cpu;

/// What the inputs of a product are rounded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// f32 throughout.
    F32,
    /// Inputs rounded to bf16 (nearest, ties to even), products summed in f32.
    Bf16,
}

impl Precision {
    /// Whether this CPU multiplies bf16 in hardware; otherwise [`Precision::Bf16`] is only a rounding, not faster.
    pub fn native_bf16() -> bool {
        cpu::native_bf16()
    }
}

/// A matrix: `rows` rows of `cols` numbers, one row every `stride` elements.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) stride: usize,
}

/// A matrix to write to.
#[derive(Debug)]
pub struct MatMut<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) stride: usize,
}

impl<'a> Mat<'a> {
    /// Rows one after the other.
    ///
    /// # Panics
    /// `data` is not `rows * cols` long.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "matrix of {rows} x {cols}");
        Self { data, rows, cols, stride: cols }
    }

    /// A row every `stride` elements.
    ///
    /// # Panics
    /// `data` is too short or `stride` is below `cols`.
    pub fn strided(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        check_strided(data.len(), rows, cols, stride);
        Self { data, rows, cols, stride }
    }

    #[inline]
    pub(crate) fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.stride..][..self.cols]
    }
}

impl<'a> MatMut<'a> {
    /// Rows one after the other.
    ///
    /// # Panics
    /// `data` is not `rows * cols` long.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "matrix of {rows} x {cols}");
        Self { data, rows, cols, stride: cols }
    }

    /// A row every `stride` elements; what lies between the rows is left alone.
    ///
    /// # Panics
    /// `data` is too short or `stride` is below `cols`.
    pub fn strided(data: &'a mut [f32], rows: usize, cols: usize, stride: usize) -> Self {
        check_strided(data.len(), rows, cols, stride);
        Self { data, rows, cols, stride }
    }
}

fn check_strided(len: usize, rows: usize, cols: usize, stride: usize) {
    assert!(stride >= cols, "matrix of {cols} columns with a stride of {stride}");
    assert!(
        rows == 0 || len >= (rows - 1) * stride + cols,
        "matrix of {rows} x {cols} with stride {stride} in {len} elements"
    );
}

/// `c = a b^T (+ bias) (+ c)`.
///
/// # Shapes
/// - `a`: `[m, k]`; `b`: `[n, k]`; `c`: `[m, n]`; `bias`: `[n]`
pub fn nt(a: Mat<'_>, b: Mat<'_>, c: MatMut<'_>, bias: Option<&[f32]>, accumulate: bool, p: Precision) {
    assert!(a.cols == b.cols && c.rows == a.rows && c.cols == b.rows, "nt: shapes");
    naive(c, a.cols, bias, accumulate, p, |i, k| a.row(i)[k], |k, j| b.row(j)[k]);
}

/// `c = a b (+ c)`.
///
/// # Shapes
/// - `a`: `[m, k]`; `b`: `[k, n]`; `c`: `[m, n]`
pub fn nn(a: Mat<'_>, b: Mat<'_>, c: MatMut<'_>, accumulate: bool, p: Precision) {
    assert!(a.cols == b.rows && c.rows == a.rows && c.cols == b.cols, "nn: shapes");
    naive(c, a.cols, None, accumulate, p, |i, k| a.row(i)[k], |k, j| b.row(k)[j]);
}

/// `c = a^T b (+ c)`.
///
/// # Shapes
/// - `a`: `[k, m]`; `b`: `[k, n]`; `c`: `[m, n]`
pub fn tn(a: Mat<'_>, b: Mat<'_>, c: MatMut<'_>, accumulate: bool, p: Precision) {
    assert!(a.rows == b.rows && c.rows == a.cols && c.cols == b.cols, "tn: shapes");
    naive(c, a.rows, None, accumulate, p, |i, k| a.row(k)[i], |k, j| b.row(k)[j]);
}

/// On the calling thread, in f32.
pub(crate) mod sequential {
    use super::{Mat, MatMut, Precision};
    pub(crate) fn nt(a: Mat<'_>, b: Mat<'_>, c: MatMut<'_>, accumulate: bool) {
        super::nt(a, b, c, None, accumulate, Precision::F32);
    }
    pub(crate) fn nn(a: Mat<'_>, b: Mat<'_>, c: MatMut<'_>, accumulate: bool) {
        super::nn(a, b, c, accumulate, Precision::F32);
    }
    pub(crate) fn tn(a: Mat<'_>, b: Mat<'_>, c: MatMut<'_>, accumulate: bool) {
        super::tn(a, b, c, accumulate, Precision::F32);
    }
}

fn naive(
    c: MatMut<'_>,
    k: usize,
    bias: Option<&[f32]>,
    accumulate: bool,
    p: Precision,
    a: impl Fn(usize, usize) -> f32 + Sync + Send,
    b: impl Fn(usize, usize) -> f32 + Sync + Send,
) {
    let round = |x: f32| match p {
        Precision::F32 => x,
        Precision::Bf16 => {
            let bits = x.to_bits();
            f32::from_bits((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff_0000)
        }
    };
    let (n, work) = (c.cols, c.rows * c.cols * k);
    let tasks: Vec<_> = c.data.chunks_mut(c.stride.max(1)).take(c.rows).enumerate().collect();
    crate::parallel::each(tasks, work, |(i, row)| {
        for (j, out) in row[..n].iter_mut().enumerate() {
            let mut sum = 0.0;
            for k in 0..k {
                sum += round(a(i, k)) * round(b(k, j));
            }
            sum += bias.map_or(0.0, |bias| bias[j]);
            *out = if accumulate { *out + sum } else { sum };
        }
    });
}

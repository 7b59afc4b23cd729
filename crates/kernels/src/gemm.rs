//! Matrix products on row-major slices in the three layouts training needs.
//!
//! Both operands are copied into panels (`pack`), a tile of the result is held in registers while k runs
//! (`tile`), and tasks are strips of the result (`product`). The loop structure is that of Goto and van de Geijn
//! 2008, "Anatomy of high-performance matrix multiplication", <https://doi.org/10.1145/1356052.1356053>, with the
//! strip of C rather than a block of A in the second-level cache.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
pub(crate) mod direct;
mod int8;
mod lanes;
mod pack;
mod packed;
mod peak;
mod product;
#[cfg(test)]
mod tests;
mod tile;

use crate::cpu::{self, Path};
pub use int8::Int8;
use pack::{Convert, Order};
pub use packed::Packed;
pub use peak::peak;
use product::Product;
#[cfg(target_arch = "x86_64")]
use tile::bf16_kernel;
use tile::{Kernel, f32_kernel};

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
    let product = Product::new(a, Order::AlongK, b, Order::AlongK, bias, accumulate, kernel(p));
    product.run(c);
}

/// `c = a b (+ c)`.
///
/// # Shapes
/// - `a`: `[m, k]`; `b`: `[k, n]`; `c`: `[m, n]`
pub fn nn(a: Mat<'_>, b: Mat<'_>, c: MatMut<'_>, accumulate: bool, p: Precision) {
    let product = Product::new(a, Order::AlongK, b, Order::AcrossK, None, accumulate, kernel(p));
    product.run(c);
}

/// `c = a^T b (+ c)`.
///
/// # Shapes
/// - `a`: `[k, m]`; `b`: `[k, n]`; `c`: `[m, n]`
pub fn tn(a: Mat<'_>, b: Mat<'_>, c: MatMut<'_>, accumulate: bool, p: Precision) {
    let product = Product::new(a, Order::AcrossK, b, Order::AcrossK, None, accumulate, kernel(p));
    product.run(c);
}

/// The same products in f32 on the calling thread alone, for blocks inside a parallel task.
pub(crate) mod sequential {
    use super::{Mat, MatMut, Order, Precision, Product, kernel};

    #[cfg(test)]
    pub(crate) fn nt(a: Mat<'_>, b: Mat<'_>, c: MatMut<'_>, accumulate: bool) {
        let kernel = kernel(Precision::F32);
        Product::new(a, Order::AlongK, b, Order::AlongK, None, accumulate, kernel).run_here(c);
    }

    pub(crate) fn nn(a: Mat<'_>, b: Mat<'_>, c: MatMut<'_>, accumulate: bool) {
        let kernel = kernel(Precision::F32);
        Product::new(a, Order::AlongK, b, Order::AcrossK, None, accumulate, kernel).run_here(c);
    }

    pub(crate) fn tn(a: Mat<'_>, b: Mat<'_>, c: MatMut<'_>, accumulate: bool) {
        let kernel = kernel(Precision::F32);
        Product::new(a, Order::AcrossK, b, Order::AcrossK, None, accumulate, kernel).run_here(c);
    }
}

/// The kernel for a precision on this CPU, and how values go into its panels.
fn kernel(p: Precision) -> (Kernel, Convert) {
    #[cfg(target_arch = "x86_64")]
    if p == Precision::Bf16 && cpu::tiles() {
        return (amx::kernel(), Convert::Pair);
    }
    kernel_on(cpu::path(), p, cpu::native_bf16())
}

fn kernel_on(path: Path, p: Precision, native_bf16: bool) -> (Kernel, Convert) {
    match p {
        Precision::F32 => (f32_kernel(path), Convert::Keep),
        #[cfg(target_arch = "x86_64")]
        Precision::Bf16 if native_bf16 => (bf16_kernel(path), Convert::Pair),
        Precision::Bf16 => {
            let _ = native_bf16;
            (f32_kernel(path), Convert::Round)
        }
    }
}

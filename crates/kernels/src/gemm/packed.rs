//! Weights laid out once for products without end: inference uses the same second factor every time.

use rayon::prelude::*;

use super::pack::{Convert, Operand, Order, Part, pack};
use super::product::{Panels, Product};
use super::tile::Kernel;
use super::{Mat, MatMut, Precision, kernel};

/// Panels of the second factor of [`nt`](super::nt), ready for the inner loop of this CPU.
///
/// Packing costs as much as a product of a few rows, and with bf16 the panels take half the memory of the numbers:
/// a short text is answered in less time than it would take to read its weights.
pub struct Packed {
    kernel: Kernel,
    convert: Convert,
    precision: Precision,
    n: usize,
    k: usize,
    buffer: Vec<f32>,
    /// Where the first panel starts: on a cache line.
    start: usize,
}

/// Floats in a cache line.
const LINE: usize = 16;

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed({} x {}, {:?})", self.n, self.k, self.precision)
    }
}

impl Packed {
    /// Packs matrices stacked on each other, on all threads.
    ///
    /// # Shapes
    /// - `stacked`: each `[n_i, k]`; together `[n, k]`
    ///
    /// # Panics
    /// There are none, or they differ in `k`.
    pub fn new(stacked: &[Mat<'_>], precision: Precision) -> Self {
        let k = stacked.first().map_or_else(|| panic!("packed: no matrix"), |first| first.cols);
        assert!(stacked.iter().all(|b| b.cols == k), "packed: matrices of different widths");
        let n = stacked.iter().map(|b| b.rows).sum();
        let (kernel, convert) = kernel(precision);
        let (width, apart) = (kernel.width, Self::apart(&kernel, k));
        let mut buffer = vec![0.0; usize::div_ceil(n, width) * apart + LINE];
        let start = buffer.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        let end = buffer.len() - LINE + start;
        buffer[start..end].par_chunks_mut(apart).enumerate().for_each(|(panel, to)| {
            let first = panel * width;
            let count = width.min(n - first);
            // The rows of a panel may belong to several matrices.
            let rows: Vec<&[f32]> = stacked.iter().flat_map(rows).skip(first).take(count).collect();
            let data = rows.concat();
            let operand = Operand { data: &data, stride: k, order: Order::AlongK, convert };
            // Blocks of k are packed apart, as the product walks over them.
            let block = kernel.block(k);
            for start in (0..k).step_by(block) {
                let part =
                    Part { first: 0, count, k: start..(start + block).min(k), width, apart, tiled: false };
                pack(&kernel, operand, part, &mut to[start / kernel.pair * width..]);
            }
        });
        Self { kernel, convert, precision, n, k, buffer, start }
    }

    /// From one panel to the next: a whole number of lines, one of them a gap, so that panels do not all fall into the
    /// same cache set.
    fn apart(kernel: &Kernel, k: usize) -> usize {
        (kernel.steps(k) * kernel.width).next_multiple_of(LINE) + LINE
    }

    /// Rows of the matrices together: columns of the product.
    pub fn rows(&self) -> usize {
        self.n
    }

    /// Their columns.
    pub fn cols(&self) -> usize {
        self.k
    }

    /// What products with it round to.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Bytes it takes.
    pub fn bytes(&self) -> usize {
        size_of_val(self.buffer.as_slice())
    }

    /// `c = a b^T (+ bias)`, to the bit what [`nt`](super::nt) gives.
    ///
    /// # Shapes
    /// - `a`: `[m, k]`; `c`: `[m, n]`; `bias`: `[n]`
    pub fn nt(&self, a: Mat<'_>, c: MatMut<'_>, bias: Option<&[f32]>) {
        let panels = Panels { data: &self.buffer[self.start..], apart: Self::apart(&self.kernel, self.k) };
        Product::with_panels(a, panels, [self.n, self.k], bias, (self.kernel, self.convert)).run(c);
    }
}

fn rows<'a>(b: &Mat<'a>) -> impl Iterator<Item = &'a [f32]> {
    let b = *b;
    (0..b.rows).map(move |row| b.row(row))
}

//! The data side of a linear model: rows of features that can be multiplied both ways.

/// Rows of features, dense or sparse.
pub(super) trait Design {
    /// Examples.
    fn rows(&self) -> usize;

    /// Features.
    fn width(&self) -> usize;

    /// `out = X W`.
    ///
    /// # Shapes
    /// - `weights`: `[width, outputs]`
    /// - `out`: `[rows, outputs]`
    fn product(&self, weights: &[f64], outputs: usize, out: &mut [f64]);

    /// `out = X^T R`.
    ///
    /// # Shapes
    /// - `residuals`: `[rows, outputs]`
    /// - `out`: `[width, outputs]`
    fn transposed(&self, residuals: &[f64], outputs: usize, out: &mut [f64]);

    /// Relative rounding of the products: below it, sums of losses cannot be told apart.
    fn rounding(&self) -> f64;
}

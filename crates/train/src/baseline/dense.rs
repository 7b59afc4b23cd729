//! Dense rows, multiplied by the kernels of this workspace.

use super::design::Design;
use topwork_kernels::gemm::{Mat, MatMut, Precision, nn, tn};

/// Rows of `width` numbers.
pub(super) struct Dense<'a> {
    values: &'a [f32],
    width: usize,
}

impl<'a> Dense<'a> {
    /// `values` is `[rows, width]`, row-major.
    pub fn new(values: &'a [f32], width: usize) -> Self {
        Self { values, width }
    }
}

impl Design for Dense<'_> {
    fn rows(&self) -> usize {
        self.values.len() / self.width
    }

    fn width(&self) -> usize {
        self.width
    }

    fn product(&self, weights: &[f64], outputs: usize, out: &mut [f64]) {
        let weights = narrow(weights);
        let mut product = vec![0.0; out.len()];
        let x = Mat::new(self.values, self.rows(), self.width);
        let w = Mat::new(&weights, self.width, outputs);
        nn(x, w, MatMut::new(&mut product, self.rows(), outputs), false, Precision::F32);
        out.iter_mut().zip(&product).for_each(|(out, &value)| *out = f64::from(value));
    }

    fn transposed(&self, residuals: &[f64], outputs: usize, out: &mut [f64]) {
        let residuals = narrow(residuals);
        let mut product = vec![0.0; out.len()];
        let x = Mat::new(self.values, self.rows(), self.width);
        let r = Mat::new(&residuals, self.rows(), outputs);
        tn(x, r, MatMut::new(&mut product, self.width, outputs), false, Precision::F32);
        out.iter_mut().zip(&product).for_each(|(out, &value)| *out = f64::from(value));
    }

    fn rounding(&self) -> f64 {
        1e-7
    }
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

//! Sparse rows (CSR).

use rayon::prelude::*;

use super::design::Design;

/// Rows that are worth a task of their own.
const ROWS: usize = 512;

/// Rows of which only the non-zero features are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sparse {
    width: usize,
    /// `rows + 1` entries: where each row's features begin.
    offsets: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f64>,
}

impl Sparse {
    /// No rows yet, of `width` features.
    pub fn new(width: usize) -> Self {
        Self { width, offsets: vec![0], columns: Vec::new(), values: Vec::new() }
    }

    /// Adds a row of `(column, value)`.
    pub fn push(&mut self, row: impl IntoIterator<Item = (u32, f64)>) {
        for (column, value) in row {
            self.columns.push(column);
            self.values.push(value);
        }
        self.offsets.push(self.columns.len());
    }

    /// The features of row `row`.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let span = self.offsets[row]..self.offsets[row + 1];
        self.columns[span.clone()].iter().map(|&c| c as usize).zip(self.values[span].iter().copied())
    }
}

impl Design for Sparse {
    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    fn width(&self) -> usize {
        self.width
    }

    fn product(&self, weights: &[f64], outputs: usize, out: &mut [f64]) {
        out.par_chunks_mut(outputs).with_min_len(ROWS).enumerate().for_each(|(row, out)| {
            if let [out] = out {
                *out = self.row(row).map(|(column, value)| value * weights[column]).sum();
                return;
            }
            out.fill(0.0);
            for (column, value) in self.row(row) {
                let weights = &weights[column * outputs..][..outputs];
                out.iter_mut().zip(weights).for_each(|(out, weight)| *out += value * weight);
            }
        });
    }

    fn transposed(&self, residuals: &[f64], outputs: usize, out: &mut [f64]) {
        out.fill(0.0);
        for (row, residuals) in residuals.chunks_exact(outputs).enumerate() {
            if let [residual] = residuals {
                self.row(row).for_each(|(column, value)| out[column] += value * residual);
                continue;
            }
            for (column, value) in self.row(row) {
                let out = &mut out[column * outputs..][..outputs];
                out.iter_mut().zip(residuals).for_each(|(out, residual)| *out += value * residual);
            }
        }
    }

    fn rounding(&self) -> f64 {
        1e-14
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_products() {
        let mut x = Sparse::new(3); // [[1, 0, 2], [0, 0, 0], [0, 3, 0]]
        x.push([(0, 1.0), (2, 2.0)]);
        x.push([]);
        x.push([(1, 3.0)]);
        let (mut out, mut back) = ([0.0; 6], [0.0; 6]);
        x.product(&[1.0, 10.0, 2.0, 20.0, 3.0, 30.0], 2, &mut out);
        assert_eq!(out, [7.0, 70.0, 0.0, 0.0, 6.0, 60.0]);
        x.transposed(&out, 2, &mut back);
        assert_eq!(back, [7.0, 70.0, 18.0, 180.0, 14.0, 140.0]);
        let (mut one, mut one_back) = ([0.0; 3], [0.0; 3]);
        x.product(&[1.0, 2.0, 3.0], 1, &mut one);
        x.transposed(&one, 1, &mut one_back);
        assert_eq!((one, one_back), ([7.0, 0.0, 6.0], [7.0, 18.0, 14.0]));
    }
}

//! Column sums, which are the gradients of biases.

use std::ops::Range;

use rayon::prelude::*;

/// Rows summed by one task. Fixed, so that the order of additions, and with it the result to the
/// bit, does not depend on the number of threads.
const ROWS: usize = 64;

/// The sums over all rows of the given columns of a matrix of `width` columns.
pub(crate) fn sums(values: &[f32], width: usize, columns: Range<usize>) -> Vec<f32> {
    let mut total = vec![0.0; columns.len()];
    if total.is_empty() {
        return total;
    }
    let partial: Vec<Vec<f32>> = values
        .par_chunks(ROWS * width)
        .map(|rows| {
            let mut sums = vec![0.0; columns.len()];
            for row in rows.chunks_exact(width) {
                add(&mut sums, &row[columns.clone()]);
            }
            sums
        })
        .collect();
    for sums in &partial {
        add(&mut total, sums);
    }
    total
}

fn add(into: &mut [f32], values: &[f32]) {
    for (into, value) in into.iter_mut().zip(values) {
        *into += value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_chosen_columns_over_several_tasks() {
        let (rows, width) = (2 * ROWS + 3, 5);
        let values: Vec<f32> = (0..rows * width).map(|i| (i % width) as f32).collect();
        let rows = rows as f32;
        assert_eq!(sums(&values, width, 1..4), [rows, 2.0 * rows, 3.0 * rows]);
        assert_eq!(sums(&[], width, 1..4), [0.0; 3]);
        assert!(sums(&values, width, 2..2).is_empty());
    }
}

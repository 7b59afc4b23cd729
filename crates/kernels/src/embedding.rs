//! Rows of a table gathered by index, and the gradient scattered back.

use crate::parallel::{each, rows_per_task};

/// `out[i] = table[index[i]]`, or `+=` with `accumulate`.
///
/// # Shapes
/// - `table`: `[rows, hidden]`; `out`: `[index.len(), hidden]`
pub fn gather(table: &[f32], hidden: usize, index: &[u32], out: &mut [f32], accumulate: bool) {
    assert!(
        hidden > 0 && table.len().is_multiple_of(hidden),
        "gather: table {} is not rows of {hidden}",
        table.len()
    );
    assert_eq!(out.len(), index.len() * hidden, "gather: out is not {} x {hidden}", index.len());
    let rows = table.len() / hidden;
    let block = rows_per_task(hidden);
    let tasks: Vec<_> = index.chunks(block).zip(out.chunks_mut(block * hidden)).collect();
    each(tasks, index.len() * hidden, |(index, out)| {
        for (&row, out) in index.iter().zip(out.chunks_exact_mut(hidden)) {
            let row = row as usize;
            assert!(row < rows, "gather: index {row} in a table of {rows} rows");
            let source = &table[row * hidden..(row + 1) * hidden];
            if accumulate {
                for (out, value) in out.iter_mut().zip(source) {
                    *out += value;
                }
            } else {
                out.copy_from_slice(source);
            }
        }
    });
}

/// The gradient of [`gather`]: `d_table[r]` is the sum of `d_out[i]` over `index[i] == r`, in the order of `i`;
/// rows that no index names become zero.
///
/// # Shapes
/// - `d_out`: `[index.len(), hidden]`; `d_table`: `[rows, hidden]`, overwritten
pub fn scatter(d_out: &[f32], hidden: usize, index: &[u32], rows: usize, d_table: &mut [f32]) {
    assert!(
        hidden > 0 && d_out.len() == index.len() * hidden,
        "scatter: d_out is not {} x {hidden}",
        index.len()
    );
    assert_eq!(d_table.len(), rows * hidden, "scatter: d_table is not {rows} x {hidden}");
    // Counting sort of the positions by row; stable, so each row sums in the order of the index.
    let mut start = vec![0_u32; rows + 1];
    for &row in index {
        assert!((row as usize) < rows, "scatter: index {row} in a table of {rows} rows");
        start[row as usize + 1] += 1;
    }
    for row in 0..rows {
        start[row + 1] += start[row];
    }
    let mut next = start.clone();
    let mut order = vec![0_u32; index.len()];
    for (position, &row) in index.iter().enumerate() {
        let slot = &mut next[row as usize];
        order[*slot as usize] = position as u32;
        *slot += 1;
    }
    // Small blocks: one row may be named very often ([PAD], token type 0).
    let block = rows_per_task(hidden);
    let tasks: Vec<_> = d_table.chunks_mut(block * hidden).enumerate().collect();
    each(tasks, d_out.len() + rows * hidden, |(task, d_table)| {
        for (row, target) in (task * block..).zip(d_table.chunks_exact_mut(hidden)) {
            target.fill(0.0);
            for &position in &order[start[row] as usize..start[row + 1] as usize] {
                let source = &d_out[position as usize * hidden..][..hidden];
                for (total, value) in target.iter_mut().zip(source) {
                    *total += value;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;
    use crate::testing::{close, random, same_on_any_threads};

    fn index(len: usize, rows: usize) -> Vec<u32> {
        let mut stream = Stream(4);
        (0..len).map(|_| stream.below(rows as u64) as u32).collect()
    }

    #[test]
    fn gather_copies_and_adds() {
        let (table, index) = (random(1, 50 * 33), index(100, 50));
        let mut out = vec![f32::NAN; 100 * 33];
        gather(&table, 33, &index, &mut out, false);
        for (i, &row) in index.iter().enumerate() {
            assert_eq!(out[i * 33..][..33], table[row as usize * 33..][..33]);
        }
        let once = out.clone();
        gather(&table, 33, &index, &mut out, true);
        assert!(out.iter().zip(&once).all(|(two, one)| *two == one * 2.0));
    }

    #[test]
    fn scatter_sums_every_position_once() {
        let mut seen = 0;
        for (len, rows, hidden) in [(0, 3, 5), (1, 1, 1), (100, 7, 17), (1000, 500, 33)] {
            let (d_out, index) = (random(2, len * hidden), index(len, rows));
            let mut expected = vec![0.0; rows * hidden];
            for (i, &row) in index.iter().enumerate() {
                for j in 0..hidden {
                    expected[row as usize * hidden + j] += f64::from(d_out[i * hidden + j]);
                }
            }
            let mut d_table = vec![f32::NAN; rows * hidden];
            scatter(&d_out, hidden, &index, rows, &mut d_table);
            close(&d_table, &expected, 1e-6);
            seen += 1;
        }
        assert_eq!(seen, 4);
    }

    #[test]
    fn threads_do_not_change_bits() {
        let (d_out, index) = (random(2, 2000 * 64), index(2000, 300));
        same_on_any_threads(|| {
            let mut d_table = vec![0.0; 300 * 64];
            scatter(&d_out, 64, &index, 300, &mut d_table);
            d_table
        });
    }

    #[test]
    #[should_panic(expected = "index 3 in a table of 3 rows")]
    fn an_index_outside_is_refused() {
        gather(&[0.0; 3], 1, &[3], &mut [0.0], false);
    }
}

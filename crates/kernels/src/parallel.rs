//! Cutting work into tasks whose borders depend on the shape alone, never on the number of threads.

use rayon::prelude::*;

/// Below this many elements a pass is cheaper on the calling thread than the wake-up of another.
const SERIAL: usize = 16 * 1024;

/// Rows per task of a row-wise pass: about 64 KiB of `f32`.
pub(crate) fn rows_per_task(cols: usize) -> usize {
    (16 * 1024 / cols.max(1)).clamp(1, 1024)
}

/// Rows per partial sum of a column reduction.
pub(crate) const REDUCE_ROWS: usize = 32;

/// Runs `work` on every task; `elements` is the size of the whole pass.
pub(crate) fn each<T: Send>(tasks: Vec<T>, elements: usize, work: impl Fn(T) + Sync + Send) {
    if tasks.len() < 2 || elements < SERIAL {
        tasks.into_iter().for_each(work);
    } else {
        tasks.into_par_iter().for_each(work);
    }
}

/// Cuts `x` into pieces of `size`; an empty (not wanted) `x` gives `tasks` empty pieces.
pub(crate) fn split<T>(x: &mut [T], size: usize, tasks: usize) -> Vec<&mut [T]> {
    if x.is_empty() {
        (0..tasks).map(|_| Default::default()).collect()
    } else {
        x.chunks_mut(size.max(1)).collect()
    }
}

/// The shared-reference form of [`split`].
pub(crate) fn pieces<T>(x: &[T], size: usize, tasks: usize) -> Vec<&[T]> {
    if x.is_empty() {
        (0..tasks).map(|_| Default::default()).collect()
    } else {
        x.chunks(size.max(1)).collect()
    }
}

/// Adds the rows of `partial` (`[tasks, out.len()]`) to `out` in order.
pub(crate) fn sum_rows(partial: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for row in partial.chunks_exact(out.len().max(1)) {
        for (total, value) in out.iter_mut().zip(row) {
            *total += value;
        }
    }
}

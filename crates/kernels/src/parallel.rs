//! Cutting work into tasks whose borders depend on the shape alone, never on the number of threads.

use std::cell::Cell;

use rayon::prelude::*;

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` with every kernel it calls on the calling thread alone; results are the same to the bit.
///
/// For callers that have enough independent pieces for all threads: a thread that does not wait for others at the end of
/// every operation, and whose piece stays in its own cache, gets more done.
pub fn alone<R>(work: impl FnOnce() -> R) -> R {
    /// Puts the flag back, after a panic too.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _before = Before(ALONE.replace(true));
    work()
}

/// Threads an operation may use: those of the current pool, or one inside [`alone`].
pub fn threads() -> usize {
    if ALONE.get() { 1 } else { rayon::current_num_threads() }
}

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
    if tasks.len() < 2 || elements < SERIAL || threads() == 1 {
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

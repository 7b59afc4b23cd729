//! Where the time of a step goes: seconds by operation, on the CPU backend.
//!
//! Off unless asked for; then each operation costs two readings of the clock. An operation that has one thread of
//! several to itself ([`topwork_kernels::alone`]) counts for its share of them, so the times add up to the time spent in
//! operations, whether these run one after the other or side by side.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use topwork_kernels::threads;

static ON: AtomicBool = AtomicBool::new(false);
static SPENT: Mutex<Vec<Spent>> = Mutex::new(Vec::new());

/// What one operation took since [`start`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spent {
    /// The operation, such as `linear_d_weight`.
    pub name: &'static str,
    /// How often it ran.
    pub calls: u64,
    /// All of them together.
    pub time: Duration,
}

/// Forgets what was measured and measures from here on.
pub fn start() {
    if let Ok(mut spent) = SPENT.lock() {
        spent.clear();
    }
    ON.store(true, Ordering::Relaxed);
}

/// Stops measuring; the operations that ran since [`start`], the dearest first.
pub fn stop() -> Vec<Spent> {
    ON.store(false, Ordering::Relaxed);
    let mut spent = SPENT.lock().map(|spent| spent.clone()).unwrap_or_default();
    spent.sort_by_key(|entry| std::cmp::Reverse(entry.time));
    spent
}

/// Measures until it is dropped.
pub(crate) struct Timer(Option<(&'static str, Instant)>);

/// A timer for an operation; does nothing while nobody measures.
pub(crate) fn time(name: &'static str) -> Timer {
    Timer(ON.load(Ordering::Relaxed).then(|| (name, Instant::now())))
}

impl Drop for Timer {
    fn drop(&mut self) {
        let Some((name, started)) = self.0 else { return };
        let time = started.elapsed().mul_f64(threads() as f64 / rayon::current_num_threads() as f64);
        let Ok(mut spent) = SPENT.lock() else { return };
        match spent.iter_mut().find(|entry| entry.name == name) {
            Some(entry) => {
                entry.calls += 1;
                entry.time += time;
            }
            None => spent.push(Spent { name, calls: 1, time }),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::Tensor;
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn an_operation_is_counted_while_somebody_measures() {
        // The only test that switches it on; others may run an operation meanwhile, so counts are lower bounds.
        let run = || {
            let x = Tensor::<2>::ones([3, 4], &Device::flex());
            let w = Tensor::<2>::ones([5, 4], &Device::flex());
            crate::linear(x, w, None, crate::Precision::F32)
        };
        start();
        run();
        run();
        let spent = stop();
        let linear = spent.iter().find(|spent| spent.name == "linear_forward").unwrap();
        assert!(linear.calls >= 2 && linear.time > Duration::ZERO, "{linear:?}");
        let calls = linear.calls;
        run();
        let later = stop();
        assert_eq!(later.iter().find(|spent| spent.name == "linear_forward").unwrap().calls, calls);
    }
}

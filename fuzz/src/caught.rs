//! Panics that a reader itself answers with an error, as it does for two crates that it reads with.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Lines of panics that are shown; a file that ends a run shows its own when it is run alone.
const SHOWN: usize = 100;

/// Lets panics that are caught pass, which libFuzzer's hook would take for findings. One that is not caught still ends the run.
pub fn caught() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    std::panic::set_hook(Box::new(|panic| {
        if SEEN.fetch_add(1, Ordering::Relaxed) < SHOWN {
            eprintln!("{panic}");
        }
    }));
}

//! How much memory buffers hold, as the allocator of this crate counts it.
//!
//! What a process has resident says little of a run in it: memory that an earlier one has given back stays resident.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Buffers of at least so many bytes are counted: smaller ones are many and hold little.
const COUNTED: usize = 1 << 14;

/// Bytes in counted buffers, and the most since [`count_anew`].
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// Has [`most_held`] begin at what is held now.
pub fn count_anew() {
    MOST.store(HELD.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// The most bytes that buffers of at least 16 KiB held at one time since [`count_anew`]; `None` in a program with another
/// allocator than `allocator::Allocator`, which counts nothing here. Mapped files are not in it.
pub fn most_held() -> Option<u64> {
    Some(MOST.load(Ordering::Relaxed) as u64).filter(|&most| most > 0)
}

/// A buffer of that many bytes is held from now on.
#[cfg(feature = "allocator")]
pub(crate) fn counted(size: usize) {
    if size >= COUNTED {
        let held = HELD.fetch_add(size, Ordering::Relaxed) + size;
        MOST.fetch_max(held, Ordering::Relaxed);
    }
}

/// A buffer of that many bytes is no longer held.
#[cfg(feature = "allocator")]
pub(crate) fn uncounted(size: usize) {
    if size >= COUNTED {
        HELD.fetch_sub(size, Ordering::Relaxed);
    }
}

//! The allocator of programs that train: it keeps the memory it has.
//!
//! Every operation of a step writes to a fresh buffer. From an allocator that gives memory back to the system each of
//! them costs a page fault every 4 KiB, and the system clears the page: a tenth of a step of MiniLM on short texts.
#![allow(unsafe_code, reason = "an option of a C library")]

pub use mimalloc::MiMalloc as Allocator;

/// `mi_option_purge_delay` of mimalloc 2 and 3, which the bindings do not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Has the allocator keep what is freed for the next buffer instead of giving it back. Peak memory stays within a
/// twentieth of what it was (dev/LOG.md). `MIMALLOC_PURGE_DELAY` in the environment has the last word.
pub fn keep_pages() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: sets a number under the library's own lock-free rules; any value is allowed, at any time.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_one_we_mean() {
        // SAFETY: reads a number.
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        // mimalloc's default, in milliseconds; another number here means that the options were counted anew.
        assert!([10, 1000].contains(&delay()), "{}", delay());
        keep_pages();
        assert_eq!(delay(), -1);
    }
}

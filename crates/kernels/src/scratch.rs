//! Buffers kept per thread: fresh memory costs page faults, which cost more than the loops that fill it.

use std::cell::RefCell;

thread_local! {
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// How many buffers a thread keeps at most.
const KEEP: usize = 16;

/// Floats in a cache line; buffers start on one.
const LINE: usize = 16;

/// A buffer of floats with unspecified contents, given back to its thread when dropped.
pub(crate) struct Scratch {
    buffer: Vec<f32>,
    start: usize,
    len: usize,
}

impl Scratch {
    /// Borrows a buffer of at least `len` floats, aligned to a cache line; what it holds is unspecified.
    ///
    /// Buffers are taken out while in use, so a nested call (work stealing) gets another one.
    pub(crate) fn new(len: usize) -> Self {
        let need = len + LINE;
        let mut buffer = KEPT.with_borrow_mut(|kept| {
            // The smallest that is large enough, else the largest, which then grows.
            let fits = (0..kept.len()).filter(|&i| kept[i].len() >= need).min_by_key(|&i| kept[i].len());
            let pick = fits.or_else(|| (0..kept.len()).max_by_key(|&i| kept[i].len()));
            pick.map(|i| kept.swap_remove(i)).unwrap_or_default()
        });
        if buffer.len() < need {
            buffer.resize(need.next_multiple_of(4096), 0.0);
        }
        let start = buffer.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Self { buffer, start, len }
    }
}

impl std::ops::Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.buffer[self.start..self.start + self.len]
    }
}

impl std::ops::DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[self.start..self.start + self.len]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        // A thread that is going away has nowhere to keep it.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < KEEP {
                kept.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_reused_and_aligned() {
        let first = Scratch::new(1000);
        let address = first.as_ptr() as usize;
        assert_eq!(address % 64, 0);
        let nested = Scratch::new(1000);
        assert_ne!(nested.as_ptr() as usize, address);
        drop(first);
        assert_eq!(Scratch::new(999).as_ptr() as usize, address);
    }
}

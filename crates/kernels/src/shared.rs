//! One output slice written by many tasks, each at its own places.
#![allow(
    unsafe_code,
    reason = "tasks write interleaved columns of one slice, which `split_at_mut` cannot express"
)]

use std::marker::PhantomData;
use std::ops::Range;

/// A mutable slice that parallel tasks may take disjoint pieces of.
pub(crate) struct Shared<'a> {
    data: *mut f32,
    len: usize,
    owner: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer is to floats, which any thread may write; that pieces do not overlap is the condition of
// `piece`.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self { data: slice.as_mut_ptr(), len: slice.len(), owner: PhantomData }
    }

    /// The elements of `range`.
    ///
    /// # Safety
    /// No two pieces that are alive at the same time overlap.
    #[allow(clippy::mut_from_ref, reason = "that is the purpose; the caller keeps the pieces apart")]
    #[inline(always)]
    pub(crate) unsafe fn piece(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len, "piece {range:?} of {}", self.len);
        // SAFETY: inside the slice by the assertion, not aliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(range.start), range.end - range.start) }
    }

    /// A pointer to the first element of `range`.
    ///
    /// # Safety
    /// Elements written through it are inside `range` and in no piece or other writer's reach meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn pointer(&self, range: Range<usize>) -> *mut f32 {
        assert!(range.start <= range.end && range.end <= self.len, "pointer to {range:?} of {}", self.len);
        // SAFETY: inside the slice by the assertion.
        unsafe { self.data.add(range.start) }
    }
}

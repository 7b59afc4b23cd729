//! The allocator of programs that train: it keeps the memory it has, and packs large buffers tightly.
//!
//! Every operation of a step writes to a fresh buffer. From an allocator that gives memory back to the system each of
//! them costs a page fault every 4 KiB, and the system clears the page: a tenth of a step of MiniLM on short texts.
//!
//! Tensors are few, large and of many sizes, and a general allocator sets each into a segment of its own rounding: 15% of
//! the memory of a BERT-base step lay between them. Here they lie in one range of addresses, each in the smallest hole
//! that takes it. All other memory is mimalloc's.
#![allow(unsafe_code, reason = "an allocator, and an option of a C library")]

mod spans;

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::null_mut;
use std::sync::{Mutex, OnceLock, PoisonError};

use memmap2::{MmapMut, MmapOptions};
use mimalloc::MiMalloc;

use spans::Spans;

use crate::held::{counted, uncounted};

/// Buffers of at least so many bytes are large.
const LARGE: usize = 1 << 20;
/// Large buffers begin and end at multiples of so many bytes: a page of the system.
const PAGE: usize = 4096;

/// `mi_option_purge_delay` of mimalloc 2 and 3, which the bindings do not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Has mimalloc keep what is freed for the next buffer instead of giving it back. `MIMALLOC_PURGE_DELAY` in the
/// environment has the last word.
pub fn keep_pages() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: sets a number under the library's own lock-free rules; any value is allowed, at any time.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    }
}

/// The allocator, for `#[global_allocator]`.
#[derive(Clone, Copy, Debug)]
pub struct Allocator;

/// The range of addresses in which large buffers lie.
struct Range {
    base: usize,
    len: usize,
    /// Never read: dropping it would give the range back.
    _map: MmapMut,
}

static RANGE: OnceLock<Option<Range>> = OnceLock::new();
static SPANS: Mutex<Spans> = Mutex::new(Spans::none());

/// The range, asked for by the first large buffer; `None` if the system does not give one.
fn range() -> Option<&'static Range> {
    // What this allocates is small, so it does not come back here.
    RANGE.get_or_init(reserve).as_ref()
}

/// As many addresses as the machine has memory: they take none until they are written to.
fn reserve() -> Option<Range> {
    // Elsewhere, and where Linux is told to promise no more than it has, a map is charged for before it is used.
    let strict =
        std::fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.trim() == "2");
    if cfg!(not(target_os = "linux")) || strict {
        return None;
    }
    let len = memory()? / PAGE * PAGE;
    let mut map = MmapOptions::new().len(len).no_reserve_swap().map_anon().ok()?;
    #[cfg(target_os = "linux")]
    {
        // Fewer faults and fewer entries of page tables; without it all works as well.
        let _ = map.advise(memmap2::Advice::HugePage);
    }
    let base = map.as_mut_ptr() as usize;
    *SPANS.lock().unwrap_or_else(PoisonError::into_inner) = Spans::new(len);
    Some(Range { base, len, _map: map })
}

/// Bytes of memory in the machine.
fn memory() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

/// A large buffer and how much of its beginning may not be zero; `None` if it is for mimalloc.
fn take(layout: Layout) -> Option<(*mut u8, usize)> {
    if layout.size() < LARGE || layout.align() > PAGE {
        return None;
    }
    let range = range()?;
    let len = layout.size().checked_next_multiple_of(PAGE)?;
    let taken = SPANS.lock().unwrap_or_else(PoisonError::into_inner).take(len)?;
    Some((std::ptr::with_exposed_provenance_mut(range.base + taken.start), taken.used.min(layout.size())))
}

/// Where in the range a buffer begins; `None` if it is mimalloc's.
fn place(ptr: *mut u8, layout: Layout) -> Option<usize> {
    if layout.size() < LARGE {
        return None;
    }
    let range = range()?;
    let place = ptr.addr().checked_sub(range.base)?;
    (place < range.len).then_some(place)
}

// SAFETY: large buffers are spans of one map that is never given back, each taken under a lock and free again only
// when it is given back, page-aligned, and of at least the asked size; `spans` shows that they do not overlap. All other
// calls go to mimalloc with the arguments as they are, and each buffer goes back to where it came from: whether it lies
// in the range tells.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        counted(layout.size());
        match take(layout) {
            Some((ptr, _)) => ptr,
            // SAFETY: the caller's layout, which has a size above zero.
            None => unsafe { MiMalloc.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        counted(layout.size());
        match take(layout) {
            Some((ptr, used)) => {
                // SAFETY: `used` is at most the size of the buffer, which is ours.
                unsafe { ptr.write_bytes(0, used) };
                ptr
            }
            // SAFETY: as in `alloc`.
            None => unsafe { MiMalloc.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        uncounted(layout.size());
        match place(ptr, layout) {
            Some(start) => {
                let len = layout.size().next_multiple_of(PAGE);
                SPANS.lock().unwrap_or_else(PoisonError::into_inner).give(start, len);
            }
            // SAFETY: it is not in the range, so mimalloc gave it, with this layout.
            None => unsafe { MiMalloc.dealloc(ptr, layout) },
        }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let recount = || {
            counted(new_size);
            uncounted(layout.size());
        };
        if place(ptr, layout).is_none() && new_size < LARGE {
            recount();
            // SAFETY: it is mimalloc's, and stays so.
            return unsafe { MiMalloc.realloc(ptr, layout, new_size) };
        }
        let same_pages = new_size.next_multiple_of(PAGE) == layout.size().next_multiple_of(PAGE);
        if new_size >= LARGE && same_pages && place(ptr, layout).is_some() {
            recount();
            return ptr;
        }
        // SAFETY: the caller vouches for the new size with this alignment.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
        if new.is_null() {
            return null_mut();
        }
        // SAFETY: both are live and apart, and hold at least the smaller size; the old one is given back once.
        unsafe {
            ptr.copy_to_nonoverlapping(new, layout.size().min(new_size));
            self.dealloc(ptr, layout);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::{count_anew, most_held};

    #[test]
    fn the_option_is_the_one_we_mean() {
        // SAFETY: reads a number.
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        // mimalloc's default, in milliseconds; another number here means that the options were counted anew.
        assert!([10, 1000].contains(&delay()), "{}", delay());
        keep_pages();
        assert_eq!(delay(), -1);
    }

    /// A buffer that knows what it should hold.
    struct Buffer(*mut u8, Layout, u8);

    impl Buffer {
        fn new(size: usize, mark: u8, zeroed: bool) -> Self {
            let layout = Layout::from_size_align(size, 64).unwrap();
            // SAFETY: the size is above zero.
            let ptr =
                unsafe { if zeroed { Allocator.alloc_zeroed(layout) } else { Allocator.alloc(layout) } };
            assert!(!ptr.is_null() && ptr.addr().is_multiple_of(64));
            let mut buffer = Buffer(ptr, layout, mark);
            if zeroed {
                assert!(buffer.bytes().iter().all(|&byte| byte == 0), "{size} bytes of zeros");
            }
            buffer.bytes().fill(mark);
            buffer
        }

        fn bytes(&mut self) -> &mut [u8] {
            // SAFETY: the buffer is live, ours alone, and all of it was written or zeroed before it is read.
            unsafe { std::slice::from_raw_parts_mut(self.0, self.1.size()) }
        }

        fn resize(&mut self, size: usize) {
            // SAFETY: the buffer is live, with this layout; the size is above zero.
            self.0 = unsafe { Allocator.realloc(self.0, self.1, size) };
            let kept = self.1.size().min(size);
            self.1 = Layout::from_size_align(size, 64).unwrap();
            let mark = self.2;
            assert!(self.bytes()[..kept].iter().all(|&byte| byte == mark), "kept through a resize");
            self.bytes().fill(mark);
        }
    }

    impl Drop for Buffer {
        fn drop(&mut self) {
            let mark = self.2;
            assert!(self.bytes().iter().all(|&byte| byte == mark), "nobody else wrote here");
            // SAFETY: the buffer is live, with this layout, and not used again.
            unsafe { Allocator.dealloc(self.0, self.1) };
        }
    }

    /// The other tests of this file allocate besides, so only what must at least be there is asked for.
    #[test]
    fn the_most_that_was_held_is_known() {
        count_anew();
        let before = most_held().unwrap_or(0);
        let large = 1 << 30;
        let layout = Layout::from_size_align(large, 64).unwrap();
        // SAFETY: the size is above zero; nothing is written, and it is given back with its layout.
        unsafe {
            let ptr = Allocator.alloc(layout);
            assert!(!ptr.is_null());
            Allocator.dealloc(ptr, layout);
        }
        let most = most_held().unwrap();
        assert!(most >= large as u64 && most < before + 2 * large as u64, "{before} to {most}");
        count_anew();
        assert!(most_held().unwrap_or(0) < large as u64, "what was given back is not held");
    }

    #[test]
    fn buffers_of_all_sizes_keep_what_is_written() {
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                scope.spawn(move || {
                    let mut stream = crate::rng::Stream(thread);
                    let mut live: Vec<Buffer> = Vec::new();
                    for step in 0..400_u64 {
                        // From a few bytes to 4 MiB, around the border too.
                        let size = match stream.next_u64() % 4 {
                            0 => 1 + stream.next_u64() as usize % 1000,
                            1 => LARGE - 3 + stream.next_u64() as usize % 6,
                            _ => 1 + stream.next_u64() as usize % (4 << 20),
                        };
                        let at = stream.next_u64() as usize % 12;
                        match live.get_mut(at) {
                            Some(buffer) if step % 3 == 0 => buffer.resize(size),
                            Some(_) => drop(live.swap_remove(at)),
                            None => {
                                live.push(Buffer::new(size, step as u8, stream.next_u64().is_multiple_of(2)))
                            }
                        }
                    }
                });
            }
        });
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn large_buffers_lie_in_the_range_and_small_ones_do_not() {
        let (large, small) = (Buffer::new(LARGE, 1, false), Buffer::new(LARGE - 1, 2, false));
        let Some(range) = range() else {
            println!("skipped: this system gives no range of addresses, so all buffers are mimalloc's");
            assert!(place(large.0, large.1).is_none());
            return;
        };
        assert!(place(large.0, large.1).is_some());
        assert!(place(small.0, small.1).is_none());
        assert!(!(range.base..range.base + range.len).contains(&small.0.addr()));
    }
}

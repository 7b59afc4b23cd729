//! The inner loop: a tile of C held in registers while k runs over packed panels.
//!
//! Every element of C is one chain of fused multiply-adds in the order of k, whatever tile it falls into. That is
//! why the number of rows of a product, or a row's place in it, cannot change a bit.
#![allow(unsafe_code, reason = "CPU vector instructions on packed panels, reached through pointers")]

use super::lanes::{Lanes, prefetch};
use crate::cpu::Path;

/// Computes one tile over one block of k.
///
/// `(steps, a, a_stride, b, c, stride, bias, add)`: `a` and `b` are packed panels of `steps` steps, `c` the first
/// element of the tile in a matrix with `stride`; `bias` (one number a column, or null) is added, and with `add` so is
/// what `c` holds. A tile of [`Kernel::rows`] reads `a` where it lies: rows of `steps` numbers, `a_stride` apart.
///
/// # Safety
/// The CPU has the path's features; panels hold `steps` steps of the kernel's full height and width, or `a` the tile's
/// rows; `c` is valid for the tile's rows and columns, `bias` for its columns.
pub(crate) type Tile = unsafe fn(usize, *const f32, usize, *const f32, *mut f32, usize, *const f32, bool);

/// How one instruction set multiplies panels.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    /// Instruction set, which packing uses too.
    pub path: Path,
    /// Rows of an A panel.
    pub height: usize,
    /// Columns of a B panel.
    pub width: usize,
    /// Columns of the narrowest tile; a tile is a whole number of these wide.
    pub lanes: usize,
    /// Tiles by number of rows - 1 and number of registers across - 1.
    pub tiles: &'static [&'static [Tile]],
    /// The same for rows of A that were not packed, where the kernel takes numbers as they are.
    pub rows: Option<&'static [&'static [Tile]]>,
    /// Values of k in one step: 2 for bf16 pairs, else 1.
    pub pair: usize,
    /// Most values of k handled before C is updated; what is left of k is cut evenly.
    pub depth: usize,
    /// Steps come in multiples of this; those beyond k are zeros.
    pub grain: usize,
    /// Panels of B that share one pass over A, which is too large for the second-level cache.
    pub group: usize,
    /// Whether panels of A hold blocks of `grain` steps, each row's side by side; else the elements of one step are.
    pub tiled: bool,
}

impl Kernel {
    /// Values of k in one block: depends on `k` alone.
    pub fn block(&self, k: usize) -> usize {
        let grain = (self.pair * self.grain).max(8);
        k.div_ceil(k.div_ceil(self.depth).max(1)).next_multiple_of(grain).max(grain)
    }

    /// Steps that `k` values of k take, with those of zeros.
    #[inline]
    pub fn steps(&self, k: usize) -> usize {
        k.div_ceil(self.pair).next_multiple_of(self.grain)
    }
}

/// The f32 kernel of a path.
pub(crate) fn f32_kernel(path: Path) -> Kernel {
    match path {
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 => Kernel {
            path,
            height: 8,
            width: 48,
            lanes: 16,
            tiles: avx512::TILES,
            rows: Some(avx512_rows::TILES),
            pair: 1,
            depth: DEPTH,
            grain: 1,
            group: GROUP,
            tiled: false,
        },
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 => Kernel {
            path,
            height: 4,
            width: 24,
            lanes: 8,
            tiles: avx2::TILES,
            rows: Some(avx2_rows::TILES),
            pair: 1,
            depth: DEPTH,
            grain: 1,
            group: GROUP,
            tiled: false,
        },
        #[cfg(target_arch = "aarch64")]
        Path::Neon => Kernel {
            path,
            height: 8,
            width: 12,
            lanes: 4,
            tiles: neon::TILES,
            rows: Some(neon_rows::TILES),
            pair: 1,
            depth: DEPTH,
            grain: 1,
            group: GROUP,
            tiled: false,
        },
        _ => Kernel {
            path,
            height: 4,
            width: 8,
            lanes: 4,
            tiles: portable::TILES,
            rows: Some(portable_rows::TILES),
            pair: 1,
            depth: DEPTH,
            grain: 1,
            group: GROUP,
            tiled: false,
        },
    }
}

/// The kernel that multiplies bf16 pairs in hardware, for a path that has been found to have it.
#[cfg(target_arch = "x86_64")]
pub(crate) fn bf16_kernel(path: Path) -> Kernel {
    Kernel {
        path,
        height: 8,
        width: 48,
        lanes: 16,
        tiles: avx512bf16::TILES,
        rows: None,
        pair: 2,
        depth: 2 * DEPTH,
        grain: 1,
        group: GROUP,
        tiled: false,
    }
}

/// Deep enough that C is seldom read again; a group of panels of B still fits into the second-level cache.
const DEPTH: usize = 1024;
/// Panels of B that share one pass over A.
const GROUP: usize = 4;

/// The generic tile, `R` rows by `W` registers; with `ROWS` of an A that was not packed.
///
/// # Safety
/// As [`Tile`], inlined where the features of `L` are enabled; `height` and `width` are the panels' full sizes.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn multiply<
    L: Lanes,
    const R: usize,
    const W: usize,
    const HEIGHT: usize,
    const WIDTH: usize,
    const ROWS: bool,
>(
    steps: usize,
    mut a: *const f32,
    a_stride: usize,
    mut b: *const f32,
    c: *mut f32,
    stride: usize,
    bias: *const f32,
    add: bool,
) {
    // SAFETY: every step reads HEIGHT floats of a panel of `a`, or one of each of its R rows, and at most WIDTH of `b`.
    unsafe {
        let mut sums = [[L::zero(); W]; R];
        prefetch_tile::<R>(c, stride, W * L::N);
        let (apart, step) = if ROWS { (a_stride, 1) } else { (1, HEIGHT) };
        for _ in 0..steps {
            let mut columns = [L::zero(); W];
            for (w, column) in columns.iter_mut().enumerate() {
                *column = L::load(b.add(w * L::N));
                if (w * L::N).is_multiple_of(LINE) {
                    prefetch(b.wrapping_add(AHEAD * WIDTH + w * L::N));
                }
            }
            if !ROWS {
                prefetch(a.wrapping_add(4 * AHEAD * HEIGHT));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = L::splat(*a.add(r * apart));
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = L::fma(x, column, *sum);
                }
            }
            a = a.add(step);
            b = b.add(WIDTH);
        }
        store::<L, R, W>(sums, c, stride, bias, add);
    }
}

/// Floats in a cache line.
const LINE: usize = 16;
/// Steps of k that panels are asked for ahead of use.
const AHEAD: usize = 8;

/// Asks for the tile of C while the sums are formed.
#[inline(always)]
fn prefetch_tile<const R: usize>(c: *const f32, stride: usize, cols: usize) {
    for r in 0..R {
        for col in (0..cols).step_by(LINE) {
            prefetch(c.wrapping_add(r * stride + col));
        }
    }
}

/// Writes the sums of a tile; the order of additions is (sum + bias) + old.
///
/// # Safety
/// As [`Tile`], inlined where the features of `L` are enabled.
#[inline(always)]
unsafe fn store<L: Lanes, const R: usize, const W: usize>(
    sums: [[L::V; W]; R],
    c: *mut f32,
    stride: usize,
    bias: *const f32,
    add: bool,
) {
    // SAFETY: the tile's rows and columns of `c` and columns of `bias`, by the condition of `Tile`.
    unsafe {
        for (r, sums) in sums.into_iter().enumerate() {
            for (w, mut sum) in sums.into_iter().enumerate() {
                let c = c.add(r * stride + w * L::N);
                if !bias.is_null() {
                    sum = L::add(sum, L::load(bias.add(w * L::N)));
                }
                if add {
                    sum = L::add(sum, L::load(c));
                }
                L::store(c, sum);
            }
        }
    }
}

/// Instantiates a generic tile for every height up to the panel's and every width, as a table.
macro_rules! tiles {
    ($module:ident, $(#[$feature:meta])? $body:ident::<$lanes:ty>, $height:literal x $width:literal, $rows:literal,
     [$($r:literal)*], $w:tt) => {
        pub(super) mod $module {
            use super::*;

            /// One instance.
            ///
            /// # Safety
            /// As [`Tile`].
            $(#[$feature])?
            #[allow(clippy::too_many_arguments)]
            unsafe fn tile<const R: usize, const W: usize>(
                steps: usize, a: *const f32, a_stride: usize, b: *const f32, c: *mut f32, stride: usize,
                bias: *const f32, add: bool,
            ) {
                // SAFETY: the caller's promise.
                unsafe {
                    $body::<$lanes, R, W, $height, $width, $rows>(steps, a, a_stride, b, c, stride, bias, add);
                }
            }

            pub(in super::super) const TILES: &[&[Tile]] = &[$(tiles!(@row $r $w)),*];
        }
    };
    (@row $r:literal [$($w:literal)*]) => { &[$(tile::<$r, $w>),*] };
}

#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512, Sse};

#[cfg(target_arch = "x86_64")]
tiles!(avx512, #[target_feature(enable = "avx512f")] multiply::<Avx512>, 8 x 48, false, [1 2 3 4 5 6 7 8], [1 2 3]);
#[cfg(target_arch = "x86_64")]
tiles!(avx512_rows, #[target_feature(enable = "avx512f")] multiply::<Avx512>, 8 x 48, true, [1 2 3 4 5 6 7 8], [1 2 3]);
#[cfg(target_arch = "x86_64")]
tiles!(avx2, #[target_feature(enable = "avx2,fma")] multiply::<Avx2>, 4 x 24, false, [1 2 3 4], [1 2 3]);
#[cfg(target_arch = "x86_64")]
tiles!(avx2_rows, #[target_feature(enable = "avx2,fma")] multiply::<Avx2>, 4 x 24, true, [1 2 3 4], [1 2 3]);
#[cfg(target_arch = "x86_64")]
tiles!(portable, multiply::<Sse>, 4 x 8, false, [1 2 3 4], [1 2]);
#[cfg(target_arch = "x86_64")]
tiles!(portable_rows, multiply::<Sse>, 4 x 8, true, [1 2 3 4], [1 2]);

#[cfg(target_arch = "aarch64")]
use super::lanes::Neon;
#[cfg(target_arch = "aarch64")]
tiles!(neon, multiply::<Neon>, 8 x 12, false, [1 2 3 4 5 6 7 8], [1 2 3]);
#[cfg(target_arch = "aarch64")]
tiles!(neon_rows, multiply::<Neon>, 8 x 12, true, [1 2 3 4 5 6 7 8], [1 2 3]);
#[cfg(not(target_arch = "x86_64"))]
use super::lanes::Plain;
#[cfg(not(target_arch = "x86_64"))]
tiles!(portable, multiply::<Plain>, 4 x 8, false, [1 2 3 4], [1 2]);
#[cfg(not(target_arch = "x86_64"))]
tiles!(portable_rows, multiply::<Plain>, 4 x 8, true, [1 2 3 4], [1 2]);

#[cfg(target_arch = "x86_64")]
tiles!(
    avx512bf16,
    #[target_feature(enable = "avx512f,avx512bf16")]
    multiply_pairs::<Avx512>, 8 x 48, false, [1 2 3 4 5 6 7 8], [1 2 3]
);

/// The tile on bf16 pairs: a step is two values of k, packed in the halves of each 32-bit element.
///
/// A is packed always. The pair is summed inside the instruction; which is why its bits differ from the f32 kernel on rounded inputs.
///
/// # Safety
/// As [`Tile`], inlined where AVX512-BF16 is enabled.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn multiply_pairs<
    L: Lanes,
    const R: usize,
    const W: usize,
    const HEIGHT: usize,
    const WIDTH: usize,
    const ROWS: bool,
>(
    steps: usize,
    mut a: *const f32,
    _: usize,
    mut b: *const f32,
    c: *mut f32,
    stride: usize,
    bias: *const f32,
    add: bool,
) {
    use std::arch::x86_64::*;
    const { assert!(!ROWS, "pairs are packed") };
    // SAFETY: every step reads HEIGHT elements of `a` and at most WIDTH of `b`, which the panels hold; a register
    // of 16 pairs and one of 32 bf16 numbers are the same 512 bits.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); W]; R];
        prefetch_tile::<R>(c, stride, 16 * W);
        for _ in 0..steps {
            let mut columns = [_mm512_setzero_si512(); W];
            for (w, column) in columns.iter_mut().enumerate() {
                *column = _mm512_loadu_si512(b.add(w * L::N).cast());
                prefetch(b.wrapping_add(AHEAD * WIDTH + w * 16));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(a.add(r).cast::<i32>().read());
                let x = std::mem::transmute::<__m512i, __m512bh>(x);
                for (sum, column) in sums.iter_mut().zip(columns) {
                    let column = std::mem::transmute::<__m512i, __m512bh>(column);
                    *sum = _mm512_dpbf16_ps(*sum, x, column);
                }
            }
            a = a.add(HEIGHT);
            b = b.add(WIDTH);
        }
        store::<Avx512, R, W>(sums, c, stride, bias, add);
    }
}

//! One product cut into tasks: A is packed whole, or read where it lies if its rows run along k and need no conversion;
//! then each task makes strips of C, one panel of B wide.
#![allow(unsafe_code, reason = "tasks write strips of one matrix; tiles are called through pointers")]

use std::ops::Range;

use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::pack::{Convert, Operand, Order, Part, pack};
use super::tile::{Kernel, Tile};
use super::{Mat, MatMut};
use crate::parallel;
use crate::scratch::Scratch;
use crate::shared::Shared;

/// Below this many multiplications threads cost more than they bring.
const SERIAL: usize = 256 * 1024;
/// Floats between panels, a cache line: at powers of two apart they would all fall into the same cache set.
const GAP: usize = 16;
/// Elements of C in a strip at most: what stays in the second-level cache beside the panels.
const STRIP: usize = 384 * 1024;
/// Rows of C in a strip at least, when m is cut to occupy all threads: packing B again must stay cheap.
const SHORT_STRIP: usize = 128;

/// Tile rows of A packed side by side: whole cache lines are read where A lies across k.
const TILES: usize = 16;

/// The second factor.
enum Second<'a> {
    /// Packed by each task.
    Rows(Operand<'a>),
    /// Packed long ago.
    Panels(Panels<'a>),
}

/// All panels of a second factor, each holding its blocks of k one after the other.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    pub data: &'a [f32],
    /// From one panel to the next.
    pub apart: usize,
}

/// A product about to be computed.
pub(crate) struct Product<'a> {
    kernel: Kernel,
    a: Operand<'a>,
    b: Second<'a>,
    m: usize,
    n: usize,
    k: usize,
    bias: Option<&'a [f32]>,
    accumulate: bool,
}

impl<'a> Product<'a> {
    /// Checks the shapes. [`Order::AlongK`] operands are `[p, k]`, [`Order::AcrossK`] ones `[k, p]`.
    pub fn new(
        a: Mat<'a>,
        a_order: Order,
        b: Mat<'a>,
        b_order: Order,
        bias: Option<&'a [f32]>,
        accumulate: bool,
        (kernel, convert): (Kernel, Convert),
    ) -> Self {
        let sizes = |x: &Mat<'_>, order| match order {
            Order::AlongK => (x.rows, x.cols),
            Order::AcrossK => (x.cols, x.rows),
        };
        let ((m, k), (n, b_k)) = (sizes(&a, a_order), sizes(&b, b_order));
        assert_eq!(k, b_k, "product: a has k {k}, b has k {b_k}");
        if let Some(bias) = bias {
            assert_eq!(bias.len(), n, "product: bias of {} for {n} columns", bias.len());
        }
        let operand = |x: Mat<'a>, order| Operand { data: x.data, stride: x.stride, order, convert };
        let b = Second::Rows(operand(b, b_order));
        Self { kernel, a: operand(a, a_order), b, m, n, k, bias, accumulate }
    }

    /// A product of the rows of `a` with panels that hold `[n, k]`.
    pub fn with_panels(
        a: Mat<'a>,
        panels: Panels<'a>,
        [n, k]: [usize; 2],
        bias: Option<&'a [f32]>,
        (kernel, convert): (Kernel, Convert),
    ) -> Self {
        assert_eq!(a.cols, k, "product: a has k {}, b has k {k}", a.cols);
        if let Some(bias) = bias {
            assert_eq!(bias.len(), n, "product: bias of {} for {n} columns", bias.len());
        }
        let m = a.rows;
        let a = Operand { data: a.data, stride: a.stride, order: Order::AlongK, convert };
        Self { kernel, a, b: Second::Panels(panels), m, n, k, bias, accumulate: false }
    }

    /// Computes on all threads of the current pool.
    pub fn run(&self, c: MatMut<'_>) {
        let threads = parallel::threads();
        if threads == 1 || self.m * self.n * self.k < SERIAL {
            return self.run_here(c);
        }
        self.check(&c);
        let mut packed = Scratch::new(self.packed_len());
        let tiles = if packed.is_empty() { 0 } else { self.m.div_ceil(self.kernel.height) };
        // Enough pieces to keep all threads busy, each at least a few thousand elements.
        let tiles_per_task =
            tiles.div_ceil(4 * threads).max(8192 / (self.kernel.height * self.k).max(1)).max(1);
        if tiles <= tiles_per_task {
            self.pack_a(0, tiles, &mut packed);
        } else {
            let size = tiles_per_task * self.tile_len();
            packed.par_chunks_mut(size).enumerate().for_each(|(task, packed)| {
                let first = task * tiles_per_task;
                self.pack_a(first, tiles_per_task.min(tiles - first), packed);
            });
        }
        let packed = &*packed;
        let panels = self.n.div_ceil(self.kernel.width);
        // As many panels in a task as leave every thread two tasks; cutting m as well costs packing B again, so it
        // is done only where there are too few panels.
        let group = (panels / (2 * threads)).clamp(1, self.kernel.group);
        let groups = panels.div_ceil(group);
        let pieces = (2 * threads).div_ceil(groups.max(1)).min(self.m.div_ceil(SHORT_STRIP));
        let pieces = pieces.max((self.m * group * self.kernel.width).div_ceil(STRIP)).max(1);
        let rows = self.m.div_ceil(pieces).next_multiple_of(self.kernel.height);
        let pieces = self.m.div_ceil(rows);
        let stride = c.stride;
        let c = Shared::new(c.data);
        (0..groups * pieces).into_par_iter().with_max_len(1).for_each(|task| {
            let (first, piece) = (task % groups * group, task / groups);
            let (panels, rows) =
                (first..(first + group).min(panels), piece * rows..((piece + 1) * rows).min(self.m));
            // SAFETY: strips of different tasks have no element in common.
            unsafe { self.strip(packed, panels, rows, &c, stride) };
        });
    }

    /// Computes on the calling thread; the bits are those of [`Product::run`].
    pub fn run_here(&self, c: MatMut<'_>) {
        self.check(&c);
        let mut packed = Scratch::new(self.packed_len());
        if !packed.is_empty() {
            self.pack_a(0, self.m.div_ceil(self.kernel.height), &mut packed);
        }
        let stride = c.stride;
        let c = Shared::new(c.data);
        let panels = self.n.div_ceil(self.kernel.width);
        for first in (0..panels).step_by(self.kernel.group) {
            // SAFETY: one strip at a time.
            unsafe {
                self.strip(&packed, first..(first + self.kernel.group).min(panels), 0..self.m, &c, stride)
            };
        }
    }

    fn check(&self, c: &MatMut<'_>) {
        assert!(
            c.rows == self.m && c.cols == self.n,
            "product: c is {} x {}, not {} x {}",
            c.rows,
            c.cols,
            self.m,
            self.n
        );
    }

    /// From one packed tile row of A to the next: all blocks of k one after the other, and a gap.
    fn tile_len(&self) -> usize {
        self.kernel.steps(self.k) * self.kernel.height + GAP
    }

    /// The tiles for an A that is read where it lies; `None` if it has to be packed.
    fn row_tiles(&self) -> Option<&'static [&'static [Tile]]> {
        let as_is = self.a.order == Order::AlongK && self.a.convert == Convert::Keep;
        self.kernel.rows.filter(|_| as_is)
    }

    fn packed_len(&self) -> usize {
        if self.row_tiles().is_some() {
            return 0;
        }
        self.m.div_ceil(self.kernel.height) * self.tile_len()
    }

    /// Packs `count` tile rows of A from `first` on.
    fn pack_a(&self, first: usize, count: usize, packed: &mut [f32]) {
        let (height, apart) = (self.kernel.height, self.tile_len());
        for start in (0..count).step_by(TILES) {
            let row = (first + start) * height;
            let rows = (TILES.min(count - start) * height).min(self.m - row);
            let part = Part {
                first: row,
                count: rows,
                k: 0..self.k,
                width: height,
                apart,
                tiled: self.kernel.tiled,
            };
            pack(&self.kernel, self.a, part, &mut packed[start * apart..]);
        }
    }

    /// Computes the rows of C in `rows` for a group of panels of B.
    ///
    /// # Safety
    /// Nothing else touches these elements of `c` meanwhile.
    unsafe fn strip(
        &self,
        packed: &[f32],
        panels: Range<usize>,
        rows: Range<usize>,
        c: &Shared<'_>,
        stride: usize,
    ) {
        let Kernel { height, width, pair, .. } = self.kernel;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: such a kernel is only made where the registers are available.
        let _registers = self.kernel.tiled.then(|| unsafe { amx::Registers::new() });
        let block = self.kernel.block(self.k);
        let (first, end) = (panels.start * width, (panels.end * width).min(self.n));
        let mut scratch = Scratch::new(match self.b {
            Second::Rows(_) => panels.len() * (self.kernel.steps(block) * width + GAP),
            Second::Panels(_) => 0,
        });
        let mut start = 0;
        // At least once: a product over no k at all is zero (plus bias, plus what was there).
        loop {
            let k = start..(start + block).min(self.k);
            let steps = self.kernel.steps(k.len());
            let (b_panels, apart) = match &self.b {
                Second::Rows(b) => {
                    let apart = steps * width + GAP;
                    let part = Part { first, count: end - first, k, width, apart, tiled: false };
                    pack(&self.kernel, *b, part, &mut scratch);
                    (&*scratch, apart)
                }
                Second::Panels(b) => (&b.data[panels.start * b.apart + start / pair * width..], b.apart),
            };
            for row in rows.clone().step_by(height) {
                let a_panel = if self.row_tiles().is_some() {
                    &self.a.data[row * self.a.stride + start..]
                } else {
                    &packed[row / height * self.tile_len() + start / pair * height..][..steps * height]
                };
                for (panel, col) in (first..end).step_by(width).enumerate() {
                    let b_panel = &b_panels[panel * apart..][..steps * width];
                    let (rows, cols) = (row..(row + height).min(rows.end), col..(col + width).min(end));
                    // SAFETY: passed on; the panels hold `steps` steps.
                    unsafe { self.tile(steps, a_panel, b_panel, rows, cols, start > 0, c, stride) };
                }
            }
            start += block;
            if start >= self.k {
                break;
            }
        }
    }

    /// Computes one tile over one block of k; `later` blocks add to what the first one wrote.
    ///
    /// # Safety
    /// Nothing else touches these elements of `c` meanwhile.
    #[allow(clippy::too_many_arguments)]
    #[inline]
    unsafe fn tile(
        &self,
        steps: usize,
        a: &[f32],
        b: &[f32],
        rows: Range<usize>,
        cols: Range<usize>,
        later: bool,
        c: &Shared<'_>,
        stride: usize,
    ) {
        let Kernel { height, width, lanes, tiles, .. } = self.kernel;
        let (tiles, a_stride, needed) = match self.row_tiles() {
            Some(tiles) => (tiles, self.a.stride, (rows.len() - 1) * self.a.stride + steps),
            None => (tiles, 0, steps * height),
        };
        assert!(a.len() >= needed && b.len() == steps * width, "product: panels");
        let tile = tiles[rows.len() - 1][cols.len().div_ceil(lanes) - 1];
        let add = self.accumulate || later;
        let bias = self.bias.filter(|_| !later).map(|bias| &bias[cols.clone()]);
        if cols.len().is_multiple_of(lanes) {
            // SAFETY: from the first element to the last one the tile lies in `c`, and no other task touches it;
            // panels are as long as `steps` demands; the path was detected.
            unsafe {
                let c = c.pointer(rows.start * stride + cols.start..(rows.end - 1) * stride + cols.end);
                let bias = bias.map_or(std::ptr::null(), <[f32]>::as_ptr);
                tile(steps, a.as_ptr(), a_stride, b.as_ptr(), c, stride, bias, add);
            }
            return;
        }
        let mut edge = [0.0_f32; EDGE];
        // SAFETY: `edge` holds a whole tile.
        unsafe {
            tile(steps, a.as_ptr(), a_stride, b.as_ptr(), edge.as_mut_ptr(), width, std::ptr::null(), false)
        };
        for (row, sums) in rows.zip(edge.chunks_exact(width)) {
            // SAFETY: this task's own elements.
            let c = unsafe { c.piece(row * stride + cols.start..row * stride + cols.end) };
            for (j, (c, &sum)) in c.iter_mut().zip(sums).enumerate() {
                let sum = bias.map_or(sum, |bias| sum + bias[j]);
                *c = if add { sum + *c } else { sum };
            }
        }
    }
}

/// Elements of the largest tile.
const EDGE: usize = 32 * 32;

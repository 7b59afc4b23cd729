//! One product cut into tasks: A is packed whole, then each task makes strips of C, one panel of B wide.
#![allow(unsafe_code, reason = "tasks write strips of one matrix; tiles are called through pointers")]

use rayon::prelude::*;

use super::pack::{Convert, Operand, Order, Part, pack};
use super::tile::Kernel;
use super::{Mat, MatMut};
use crate::scratch::Scratch;
use crate::shared::Shared;

/// Below this many multiplications threads cost more than they bring.
const SERIAL: usize = 256 * 1024;
/// Rows of C in a strip at most: what stays in the second-level cache beside a panel of B.
const STRIP: usize = 2048;
/// Rows of C in a strip at least, when m is cut to occupy all threads: packing B again must stay cheap.
const SHORT_STRIP: usize = 128;

/// Tile rows of A packed side by side: whole cache lines are read where A lies across k.
const TILES: usize = 16;

/// A product about to be computed.
pub(crate) struct Product<'a> {
    kernel: Kernel,
    a: Operand<'a>,
    b: Operand<'a>,
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
        Self { kernel, a: operand(a, a_order), b: operand(b, b_order), m, n, k, bias, accumulate }
    }

    /// Computes on all threads of the current pool.
    pub fn run(&self, c: MatMut<'_>) {
        let threads = rayon::current_num_threads();
        if threads == 1 || self.m * self.n * self.k < SERIAL {
            return self.run_here(c);
        }
        self.check(&c);
        let mut packed = Scratch::new(self.packed_len());
        let tiles = self.m.div_ceil(self.kernel.height);
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
        let (packed, panels) = (&*packed, self.n.div_ceil(self.kernel.width));
        // Cutting m costs packing B again, so it is done only where panels are too few.
        let pieces = (3 * threads).div_ceil(panels.max(1)).min(self.m.div_ceil(SHORT_STRIP));
        let pieces = pieces.max(self.m.div_ceil(STRIP)).max(1);
        let rows = self.m.div_ceil(pieces).next_multiple_of(self.kernel.height);
        let pieces = self.m.div_ceil(rows);
        let stride = c.stride;
        let c = Shared::new(c.data);
        (0..panels * pieces).into_par_iter().with_max_len(1).for_each(|task| {
            let (panel, piece) = (task % panels, task / panels);
            // SAFETY: strips of different tasks have no element in common.
            unsafe { self.strip(packed, panel, piece * rows..((piece + 1) * rows).min(self.m), &c, stride) };
        });
    }

    /// Computes on the calling thread; the bits are those of [`Product::run`].
    pub fn run_here(&self, c: MatMut<'_>) {
        self.check(&c);
        let mut packed = Scratch::new(self.packed_len());
        self.pack_a(0, self.m.div_ceil(self.kernel.height), &mut packed);
        let stride = c.stride;
        let c = Shared::new(c.data);
        for panel in 0..self.n.div_ceil(self.kernel.width) {
            // SAFETY: one strip at a time.
            unsafe { self.strip(&packed, panel, 0..self.m, &c, stride) };
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

    /// Elements of one packed tile row of A: all blocks of k one after the other.
    fn tile_len(&self) -> usize {
        self.k.div_ceil(self.kernel.pair) * self.kernel.height
    }

    fn packed_len(&self) -> usize {
        self.m.div_ceil(self.kernel.height) * self.tile_len()
    }

    /// Packs `count` tile rows of A from `first` on.
    fn pack_a(&self, first: usize, count: usize, packed: &mut [f32]) {
        let (height, apart) = (self.kernel.height, self.tile_len());
        for start in (0..count).step_by(TILES) {
            let row = (first + start) * height;
            let rows = (TILES.min(count - start) * height).min(self.m - row);
            let part = Part { first: row, count: rows, k: 0..self.k, width: height, apart };
            pack(&self.kernel, self.a, part, &mut packed[start * apart..]);
        }
    }

    /// Computes the rows of C in `rows` for one panel of B.
    ///
    /// # Safety
    /// Nothing else touches these elements of `c` meanwhile.
    unsafe fn strip(
        &self,
        packed: &[f32],
        panel: usize,
        rows: std::ops::Range<usize>,
        c: &Shared<'_>,
        stride: usize,
    ) {
        let Kernel { height, width, lanes, pair, .. } = self.kernel;
        let first = panel * width;
        let cols = width.min(self.n - first);
        let block = self.kernel.block(self.k);
        let mut b_panel = Scratch::new(block.div_ceil(pair) * width);
        let mut edge = [0.0_f32; EDGE];
        let mut start = 0;
        // At least once: a product over no k at all is zero (plus bias, plus what was there).
        loop {
            let k = start..(start + block).min(self.k);
            let steps = k.len().div_ceil(pair);
            let b_panel = &mut b_panel[..steps * width];
            let part = Part { first, count: cols, k: k.clone(), width, apart: b_panel.len() };
            pack(&self.kernel, self.b, part, b_panel);
            let add = self.accumulate || start > 0;
            let bias = self.bias.filter(|_| start == 0).map(|bias| &bias[first..first + cols]);
            for row in rows.clone().step_by(height) {
                let count = height.min(rows.end - row);
                let at = row / height * self.tile_len() + start / pair * height;
                let a_panel = &packed[at..at + steps * height];
                let tile = self.kernel.tiles[count - 1][cols.div_ceil(lanes) - 1];
                if cols.is_multiple_of(lanes) {
                    // SAFETY: the first element and the last row's last element lie in `c`; the tile writes
                    // `count` rows of `cols` there, which no other task touches. Panels are as long as `steps`
                    // demands, and the path was detected.
                    unsafe {
                        let end = (row + count - 1) * stride + first + cols;
                        let c = c.pointer(row * stride + first..end);
                        let bias = bias.map_or(std::ptr::null(), <[f32]>::as_ptr);
                        tile(steps, a_panel.as_ptr(), b_panel.as_ptr(), c, stride, bias, add);
                    }
                } else {
                    // SAFETY: `edge` holds a whole tile.
                    unsafe {
                        let (a, b) = (a_panel.as_ptr(), b_panel.as_ptr());
                        tile(steps, a, b, edge.as_mut_ptr(), width, std::ptr::null(), false);
                    }
                    for (i, sums) in edge.chunks_exact(width).take(count).enumerate() {
                        let at = (row + i) * stride + first;
                        // SAFETY: this task's own elements.
                        let c = unsafe { c.piece(at..at + cols) };
                        for (j, (c, &sum)) in c.iter_mut().zip(sums).enumerate() {
                            let sum = bias.map_or(sum, |bias| sum + bias[j]);
                            *c = if add { sum + *c } else { sum };
                        }
                    }
                }
            }
            start += block;
            if start >= self.k {
                break;
            }
        }
    }
}

/// Elements of the largest tile.
const EDGE: usize = 8 * 48;

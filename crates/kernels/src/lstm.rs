//! Long short-term memory over packed sequences: one layer, one direction.
//!
//! The products with the inputs are one product for all tokens and are made outside. Here sequences of all lengths
//! advance together, so that each step is one product of the states of those still going with the recurrent weight,
//! which is packed once. A row of a product does not depend on the other rows, so a text's states do not depend on its
//! neighbours.
//!
//! Paper: Hochreiter and Schmidhuber 1997, "Long short-term memory", <https://doi.org/10.1162/neco.1997.9.8.1735>, with
//! the forget gate of Gers, Schmidhuber and Cummins 2000; the projection is that of Sak, Senior and Beaufays 2014,
//! "Long short-term memory recurrent neural network architectures", §2, <https://arxiv.org/abs/1402.1128>.
//! Differs from both in having no peephole connections.

mod cell;
mod steps;
#[cfg(test)]
mod tests;

pub use steps::Steps;

use crate::buffer::unwritten;
use crate::gemm::{self, Mat, MatMut, Packed, Precision};
use crate::parallel::{each, rows_per_task};
use crate::scratch::Scratch;

/// What an LSTM does beside its weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lstm {
    /// Whether each sequence is walked from its last token to its first.
    pub reverse: bool,
    /// The cell state is held within minus and plus this, before anything is computed from it.
    pub cell_clip: Option<f32>,
    /// The projected state is held within minus and plus this.
    pub projection_clip: Option<f32>,
    /// What the inputs of the products are rounded to.
    pub precision: Precision,
}

impl Default for Lstm {
    fn default() -> Self {
        Self { reverse: false, cell_clip: None, projection_clip: None, precision: Precision::F32 }
    }
}

/// Sizes that follow from the lengths of the slices.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    tokens: usize,
    hidden: usize,
}

impl Sizes {
    fn new(
        gates: usize,
        recurrent: &[f32],
        projection: Option<&[f32]>,
        offsets: &[u32],
        cell: usize,
    ) -> Self {
        assert!(
            cell > 0 && recurrent.len().is_multiple_of(4 * cell),
            "lstm: recurrent is not [4 x {cell}, hidden]"
        );
        let hidden = recurrent.len() / (4 * cell);
        assert!(hidden > 0, "lstm: hidden is 0");
        match projection {
            Some(projection) => {
                assert_eq!(projection.len(), hidden * cell, "lstm: projection is not {hidden} x {cell}");
            }
            None => {
                assert_eq!(hidden, cell, "lstm: without a projection the states are as wide as the cells")
            }
        }
        let tokens = gates / (4 * cell);
        assert_eq!(gates, tokens * 4 * cell, "lstm: gates are not rows of 4 x {cell}");
        crate::attention::check_offsets(offsets, tokens);
        Self { batch: offsets.len() - 1, tokens, hidden }
    }
}

/// The states of every token, and those behind the last one of each sequence.
///
/// `gates` (after their sigmoid or tanh) and `cells` are kept for [`backward`]; pass empty slices when there will be
/// none. A sequence without tokens ends as it starts.
///
/// # Shapes
/// - `gates_x`: `[tokens, 4 cell]`, the gates i, f, g, o of the inputs with all biases added
/// - `recurrent`: `[4 cell, hidden]`; `projection`: `[hidden, cell]`, without it `hidden` is `cell`
/// - `state`: `h0: [batch, hidden]` and `c0: [batch, cell]`, zeros if absent
/// - `offsets`: `[batch + 1]`
/// - `y`: `[tokens, hidden]`; `h_n`: `[batch, hidden]`; `c_n`: `[batch, cell]`
/// - `gates`: `[tokens, 4 cell]`; `cells`: `[tokens, cell]`
#[allow(clippy::too_many_arguments)]
pub fn forward(
    gates_x: &[f32],
    recurrent: &[f32],
    projection: Option<&[f32]>,
    state: Option<(&[f32], &[f32])>,
    offsets: &[u32],
    cell: usize,
    settings: Lstm,
    y: &mut [f32],
    h_n: &mut [f32],
    c_n: &mut [f32],
    gates: &mut [f32],
    cells: &mut [f32],
) {
    let Sizes { batch, tokens, hidden } = Sizes::new(gates_x.len(), recurrent, projection, offsets, cell);
    assert_eq!(y.len(), tokens * hidden, "lstm: y is not {tokens} x {hidden}");
    assert_eq!(h_n.len(), batch * hidden, "lstm: h_n is not {batch} x {hidden}");
    assert_eq!(c_n.len(), batch * cell, "lstm: c_n is not {batch} x {cell}");
    assert!(gates.is_empty() || gates.len() == gates_x.len(), "lstm: gates are not as gates_x");
    assert!(cells.is_empty() || cells.len() == tokens * cell, "lstm: cells are not {tokens} x {cell}");
    let steps = Steps::new(offsets, settings.reverse);
    let (cell_limit, projection_limit) =
        (cell::limit(settings.cell_clip), cell::limit(settings.projection_clip));

    // The states by rank; those of sequences that have ended stay as they are.
    let (mut h, mut c) = (Scratch::new(batch * hidden), Scratch::new(batch * cell));
    match state {
        Some((h0, c0)) => {
            assert!(
                h0.len() == h_n.len() && c0.len() == c_n.len(),
                "lstm: the first state is not as the last"
            );
            steps.rank(h0, &mut h);
            steps.rank(c0, &mut c);
        }
        None => {
            h.fill(0.0);
            c.fill(0.0);
        }
    }
    let recurs = state.is_some() || steps.active().len() > 1;
    let recurrent = recurs.then(|| pack(recurrent, 4 * cell, hidden, settings.precision));
    let projection = projection.map(|projection| pack(projection, hidden, cell, settings.precision));
    let mut product = Scratch::new(batch * 4 * cell);
    let mut raw = Scratch::new(if projection.is_some() { batch * cell } else { 0 });
    // Each row is written at one step only, and is taken out then.
    let mut y_rows = rows_of(y, hidden);
    let (mut gates_rows, mut cells_rows) = (rows_of(gates, 4 * cell), rows_of(cells, cell));

    for (step, &active) in steps.active().iter().enumerate() {
        let product = &mut product[..active * 4 * cell];
        match &recurrent {
            Some(recurrent) if step > 0 || state.is_some() => {
                let h = Mat::new(&h[..active * hidden], active, hidden);
                recurrent.nt(h, MatMut::new(product, active, 4 * cell), None);
            }
            _ => product.fill(0.0),
        }
        let out = if projection.is_some() { &mut raw[..active * cell] } else { &mut h[..active * cell] };
        let states =
            product.chunks_exact_mut(4 * cell).zip(c.chunks_exact_mut(cell)).zip(out.chunks_exact_mut(cell));
        let tasks: Vec<_> = steps
            .rows(step)
            .zip(states)
            .map(|(row, states)| {
                let kept = (take(&mut gates_rows, row), take(&mut cells_rows, row));
                (&gates_x[row * 4 * cell..][..4 * cell], states, kept)
            })
            .collect();
        each(tasks, active * 4 * cell, |(x, ((gates, c), out), (kept_gates, kept_cells))| {
            cell::forward(x, gates, cell_limit, c, out);
            copy(gates, kept_gates);
            copy(c, kept_cells);
        });
        if let Some(projection) = &projection {
            let h = &mut h[..active * hidden];
            projection.nt(
                Mat::new(&raw[..active * cell], active, cell),
                MatMut::new(h, active, hidden),
                None,
            );
            cell::clamp(h, projection_limit);
        }
        for (row, h) in steps.rows(step).zip(h.chunks_exact(hidden)) {
            copy(h, take(&mut y_rows, row));
        }
    }
    steps.unrank(&h, h_n);
    steps.unrank(&c, c_n);
}

/// Gradients of [`forward`] with respect to the gates, the first states and the states before they were clipped.
///
/// With these, [`d_recurrent`] and [`d_projection`] are one product each. `d_h0` may be empty if it is not wanted.
///
/// # Shapes
/// - `d_y`, `d_h_n`, `d_c_n`: as `y`, `h_n`, `c_n` of [`forward`]
/// - `y` (read only with a projection), `gates`, `cells`: what [`forward`] gave and kept; `c0`: what it was given
/// - `d_gates`: `[tokens, 4 cell]`; `d_projected`: `[tokens, hidden]`, empty without a projection
/// - `d_h0`: `[batch, hidden]`; `d_c0`: `[batch, cell]`
#[allow(clippy::too_many_arguments)]
pub fn backward(
    d_y: &[f32],
    d_h_n: &[f32],
    d_c_n: &[f32],
    y: &[f32],
    gates: &[f32],
    cells: &[f32],
    recurrent: &[f32],
    projection: Option<&[f32]>,
    c0: Option<&[f32]>,
    offsets: &[u32],
    cell: usize,
    settings: Lstm,
    d_gates: &mut [f32],
    d_projected: &mut [f32],
    d_h0: &mut [f32],
    d_c0: &mut [f32],
) {
    let Sizes { batch, tokens, hidden } = Sizes::new(gates.len(), recurrent, projection, offsets, cell);
    assert_eq!(d_y.len(), tokens * hidden, "lstm: d_y is not {tokens} x {hidden}");
    assert_eq!(d_h_n.len(), batch * hidden, "lstm: d_h_n is not {batch} x {hidden}");
    assert_eq!(cells.len(), tokens * cell, "lstm: cells are not {tokens} x {cell}");
    assert_eq!(d_gates.len(), gates.len(), "lstm: d_gates are not as gates");
    assert!(d_h0.is_empty() || d_h0.len() == d_h_n.len(), "lstm: d_h0 is not as d_h_n");
    assert!(
        d_c_n.len() == batch * cell && d_c0.len() == d_c_n.len(),
        "lstm: d_c_n, d_c0 are not {batch} x {cell}"
    );
    let projects = projection.is_some();
    assert_eq!(d_projected.len(), if projects { d_y.len() } else { 0 }, "lstm: d_projected");
    assert!(!projects || y.len() == d_y.len(), "lstm: y and d_y");
    let steps = Steps::new(offsets, settings.reverse);
    let (cell_limit, projection_limit) =
        (cell::limit(settings.cell_clip), cell::limit(settings.projection_clip));

    let (mut d_h, mut d_c) = (Scratch::new(batch * hidden), Scratch::new(batch * cell));
    steps.rank(d_h_n, &mut d_h);
    steps.rank(d_c_n, &mut d_c);
    let c0_by_rank = c0.map(|c0| {
        let mut by_rank = Scratch::new(batch * cell);
        steps.rank(c0, &mut by_rank);
        by_rank
    });
    let recurs = !d_h0.is_empty() || steps.active().len() > 1;
    let recurrent = recurs.then(|| pack_across(recurrent, 4 * cell, hidden, settings.precision));
    let projection = projection.map(|projection| pack_across(projection, hidden, cell, settings.precision));
    let mut product = Scratch::new(batch * 4 * cell);
    let mut d_raw = Scratch::new(if projects { batch * cell } else { 0 });
    let mut gates_rows = rows_of(d_gates, 4 * cell);
    let mut projected_rows = rows_of(d_projected, hidden);

    for (step, &active) in steps.active().iter().enumerate().rev() {
        for (row, d_h) in steps.rows(step).zip(d_h.chunks_exact_mut(hidden)) {
            d_h.iter_mut().zip(&d_y[row * hidden..][..hidden]).for_each(|(d_h, d_y)| *d_h += d_y);
            if projects {
                cell::clamp_backward(&y[row * hidden..][..hidden], projection_limit, d_h);
                copy(d_h, take(&mut projected_rows, row));
            }
        }
        let d_out = match &projection {
            Some(projection) => {
                let d_raw = &mut d_raw[..active * cell];
                let d_h = Mat::new(&d_h[..active * hidden], active, hidden);
                projection.nt(d_h, MatMut::new(d_raw, active, cell), None);
                &*d_raw
            }
            None => &d_h[..active * cell],
        };
        let product = &mut product[..active * 4 * cell];
        let states =
            d_out.chunks_exact(cell).zip(d_c.chunks_exact_mut(cell)).zip(product.chunks_exact_mut(4 * cell));
        let tasks: Vec<_> = (0..active)
            .zip(states)
            .map(|(rank, states)| {
                let row = steps.row(rank, step);
                let before = match &c0_by_rank {
                    _ if step > 0 => &cells[steps.row(rank, step - 1) * cell..][..cell],
                    Some(c0) => &c0[rank * cell..][..cell],
                    None => &[],
                };
                let saved = (&gates[row * 4 * cell..][..4 * cell], &cells[row * cell..][..cell], before);
                (saved, states, take(&mut gates_rows, row))
            })
            .collect();
        each(tasks, active * 4 * cell, |((gates, c, before), ((d_out, d_c), d_x), kept)| {
            cell::backward(gates, c, before, cell_limit, d_out, d_c, d_x);
            copy(d_x, kept);
        });
        match &recurrent {
            Some(recurrent) if step > 0 || !d_h0.is_empty() => {
                let d_h = MatMut::new(&mut d_h[..active * hidden], active, hidden);
                recurrent.nt(Mat::new(product, active, 4 * cell), d_h, None);
            }
            _ => {}
        }
    }
    if !d_h0.is_empty() {
        steps.unrank(&d_h, d_h0);
    }
    steps.unrank(&d_c, d_c0);
}

/// The gradient of the recurrent weight: the gates' gradients times the states before each token.
///
/// # Shapes
/// - `d_gates`: `[tokens, 4 cell]`; `y`: `[tokens, hidden]`; `h0`: `[batch, hidden]`, zeros if absent
/// - `d_recurrent`: `[4 cell, hidden]`, overwritten
pub fn d_recurrent(
    d_gates: &[f32],
    y: &[f32],
    h0: Option<&[f32]>,
    offsets: &[u32],
    hidden: usize,
    settings: Lstm,
    d_recurrent: &mut [f32],
) {
    assert!(hidden > 0 && y.len().is_multiple_of(hidden), "lstm: y {} is not rows of {hidden}", y.len());
    let (tokens, width) = (y.len() / hidden, d_recurrent.len() / hidden);
    assert_eq!(d_gates.len(), tokens * width, "lstm: d_gates are not {tokens} x {width}");
    crate::attention::check_offsets(offsets, tokens);
    let mut before = unwritten(y.len());
    for (sequence, range) in offsets.windows(2).enumerate() {
        let (first, last) = (range[0] as usize * hidden, range[1] as usize * hidden);
        if first == last {
            continue;
        }
        let (to, y) = (&mut before[first..last], &y[first..last]);
        let rest = y.len() - hidden;
        let (start, others, states) = if settings.reverse {
            let (others, start) = to.split_at_mut(rest);
            (start, others, &y[hidden..])
        } else {
            let (start, others) = to.split_at_mut(hidden);
            (start, others, &y[..rest])
        };
        others.copy_from_slice(states);
        match h0 {
            Some(h0) => start.copy_from_slice(&h0[sequence * hidden..][..hidden]),
            None => start.fill(0.0),
        }
    }
    let (d_gates, before) = (Mat::new(d_gates, tokens, width), Mat::new(&before, tokens, hidden));
    gemm::tn(d_gates, before, MatMut::new(d_recurrent, width, hidden), false, settings.precision);
}

/// The gradient of the projection: the projected states' gradients times what was projected.
///
/// # Shapes
/// - `d_projected`: `[tokens, hidden]`; `gates`: `[tokens, 4 cell]`; `cells`: `[tokens, cell]`
/// - `d_projection`: `[hidden, cell]`, overwritten
pub fn d_projection(
    d_projected: &[f32],
    gates: &[f32],
    cells: &[f32],
    cell: usize,
    settings: Lstm,
    d_projection: &mut [f32],
) {
    assert!(
        cell > 0 && cells.len().is_multiple_of(cell),
        "lstm: cells {} are not rows of {cell}",
        cells.len()
    );
    let (tokens, hidden) = (cells.len() / cell, d_projection.len() / cell);
    assert_eq!(gates.len(), tokens * 4 * cell, "lstm: gates are not {tokens} x 4 x {cell}");
    assert_eq!(d_projected.len(), tokens * hidden, "lstm: d_projected is not {tokens} x {hidden}");
    let mut raw = unwritten(cells.len());
    let block = rows_per_task(cell);
    let inputs = gates.chunks(block * 4 * cell).zip(cells.chunks(block * cell));
    let tasks: Vec<_> = inputs.zip(raw.chunks_mut(block * cell)).collect();
    each(tasks, cells.len(), |((gates, cells), raw)| cell::hidden(gates, cells, cell, raw));
    let (d_projected, raw) = (Mat::new(d_projected, tokens, hidden), Mat::new(&raw, tokens, cell));
    gemm::tn(d_projected, raw, MatMut::new(d_projection, hidden, cell), false, settings.precision);
}

/// A weight `[rows, cols]` as the second factor of products over its columns.
fn pack(weight: &[f32], rows: usize, cols: usize, precision: Precision) -> Packed {
    Packed::new(&[Mat::new(weight, rows, cols)], precision)
}

/// A weight `[rows, cols]` as the second factor of products over its rows.
fn pack_across(weight: &[f32], rows: usize, cols: usize, precision: Precision) -> Packed {
    let mut across = Scratch::new(rows * cols);
    transpose(weight, rows, cols, &mut across);
    pack(&across, cols, rows, precision)
}

/// `to[col][row] = from[row][col]`, in squares that stay in the first-level cache.
fn transpose(from: &[f32], rows: usize, cols: usize, to: &mut [f32]) {
    const SIDE: usize = 32;
    let tasks: Vec<_> = to.chunks_mut(SIDE * rows).enumerate().collect();
    each(tasks, rows * cols, |(task, to)| {
        for top in (0..rows).step_by(SIDE) {
            for (col, to) in (task * SIDE..).zip(to.chunks_exact_mut(rows)) {
                let end = (top + SIDE).min(rows);
                for (row, to) in (top..end).zip(&mut to[top..end]) {
                    *to = from[row * cols + col];
                }
            }
        }
    });
}

/// The rows of a matrix, to be taken out one by one; none of one that is not wanted.
fn rows_of(x: &mut [f32], width: usize) -> Vec<Option<&mut [f32]>> {
    x.chunks_exact_mut(width).map(Some).collect()
}

fn take<'a>(rows: &mut [Option<&'a mut [f32]>], row: usize) -> Option<&'a mut [f32]> {
    rows.get_mut(row).and_then(Option::take)
}

fn copy(from: &[f32], to: Option<&mut [f32]>) {
    if let Some(to) = to {
        to.copy_from_slice(from);
    }
}

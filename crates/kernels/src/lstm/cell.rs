//! What happens to the numbers of one row at one step, between the matrix products.

use crate::cpu::multiversion;
use crate::math::{LANES, fma, sigmoid, tanh};

/// A clip as a number to compare with: nothing is above, below or at a NaN.
pub(super) fn limit(clip: Option<f32>) -> f32 {
    clip.unwrap_or(f32::NAN)
}

/// One step of one sequence: gates from their two summands, then `c` and `h = o tanh(c)`.
///
/// # Shapes
/// - `x`, `gates`: `[4 cell]`, the gates i, f, g, o one after the other; `gates` comes in as the recurrent summand and
///   leaves as the gates after their sigmoid or tanh
/// - `c` (in and out), `h`: `[cell]`
pub(super) fn forward(x: &[f32], gates: &mut [f32], limit: f32, c: &mut [f32], h: &mut [f32]) {
    forward_row(x, gates, limit, c, h);
}

/// The gradients of [`forward`].
///
/// # Shapes
/// - `gates`: `[4 cell]` as [`forward`] left them; `c`: `[cell]` as it left it, `c_prev` as it found it, empty for zeros
/// - `d_h`: `[cell]`; `d_c`: `[cell]`, in of `c`, out of `c_prev`; `d_x`: `[4 cell]`, overwritten
pub(super) fn backward(
    gates: &[f32],
    c: &[f32],
    c_prev: &[f32],
    limit: f32,
    d_h: &[f32],
    d_c: &mut [f32],
    d_x: &mut [f32],
) {
    backward_row(gates, c, c_prev, limit, d_h, d_c, d_x);
}

/// `x` held within `-limit..=limit`.
pub(super) fn clamp(x: &mut [f32], limit: f32) {
    x.iter_mut().for_each(|x| *x = held(*x, limit));
}

/// Takes the gradient away where [`clamp`] held `x` at the limit.
pub(super) fn clamp_backward(x: &[f32], limit: f32, d_x: &mut [f32]) {
    for (d_x, x) in d_x.iter_mut().zip(x) {
        *d_x = passed(*x, limit, *d_x);
    }
}

/// `h = o tanh(c)` of whole rows.
///
/// # Shapes
/// - `gates`: `[rows, 4 cell]`; `c`, `h`: `[rows, cell]`
pub(super) fn hidden(gates: &[f32], c: &[f32], cell: usize, h: &mut [f32]) {
    hidden_rows(gates, c, cell, h);
}

multiversion! {
    fn forward_row(x: &[f32], gates: &mut [f32], limit: f32, c: &mut [f32], h: &mut [f32]) = forward_body;
    fn backward_row(
        gates: &[f32], c: &[f32], c_prev: &[f32], limit: f32, d_h: &[f32], d_c: &mut [f32], d_x: &mut [f32],
    ) = backward_body;
    fn hidden_rows(gates: &[f32], c: &[f32], cell: usize, h: &mut [f32]) = hidden_body;
}

#[inline(always)]
fn held(x: f32, limit: f32) -> f32 {
    let x = if x > limit { limit } else { x };
    if x < -limit { -limit } else { x }
}

#[inline(always)]
fn passed(x: f32, limit: f32, d_x: f32) -> f32 {
    if x.abs() >= limit { 0.0 } else { d_x }
}

/// Numbers of one register; the rest of a short last block is zero.
type Lanes = [f32; LANES];

#[inline(always)]
fn load(from: &[f32]) -> Lanes {
    match from.first_chunk() {
        Some(whole) => *whole,
        None => {
            let mut lanes = [0.0; LANES];
            lanes[..from.len()].copy_from_slice(from);
            lanes
        }
    }
}

#[inline(always)]
fn store(lanes: Lanes, to: &mut [f32]) {
    match to.first_chunk_mut() {
        Some(whole) => *whole = lanes,
        None => to.copy_from_slice(&lanes[..to.len()]),
    }
}

/// The places of one block in the four gates.
#[inline(always)]
fn places(start: usize, cell: usize) -> [std::ops::Range<usize>; 4] {
    let end = (start + LANES).min(cell);
    [0, 1, 2, 3].map(|gate| gate * cell + start..gate * cell + end)
}

#[inline(always)]
fn forward_body<const FMA: bool>(x: &[f32], gates: &mut [f32], limit: f32, c: &mut [f32], h: &mut [f32]) {
    let cell = c.len();
    assert!(x.len() == 4 * cell && gates.len() == 4 * cell && h.len() == cell, "lstm: a row");
    // Blocks in arrays: with this many slices the compiler would give up proving that they do not overlap.
    for start in (0..cell).step_by(LANES) {
        let at = places(start, cell);
        let one = start..start + at[0].len();
        let [mut i, mut f, mut g, mut o] = at.each_ref().map(|at| load(&x[at.clone()]));
        let [more_i, more_f, more_g, more_o] = at.each_ref().map(|at| load(&gates[at.clone()]));
        let mut cells = load(&c[one.clone()]);
        let mut out = [0.0; LANES];
        for lane in 0..LANES {
            i[lane] = sigmoid::<FMA>(i[lane] + more_i[lane]);
        }
        for lane in 0..LANES {
            f[lane] = sigmoid::<FMA>(f[lane] + more_f[lane]);
        }
        for lane in 0..LANES {
            g[lane] = tanh::<FMA>(g[lane] + more_g[lane]);
        }
        for lane in 0..LANES {
            o[lane] = sigmoid::<FMA>(o[lane] + more_o[lane]);
        }
        for lane in 0..LANES {
            cells[lane] = held(fma::<FMA>(f[lane], cells[lane], i[lane] * g[lane]), limit);
        }
        for lane in 0..LANES {
            out[lane] = o[lane] * tanh::<FMA>(cells[lane]);
        }
        for (at, lanes) in at.into_iter().zip([i, f, g, o]) {
            store(lanes, &mut gates[at]);
        }
        store(cells, &mut c[one.clone()]);
        store(out, &mut h[one]);
    }
}

#[inline(always)]
fn backward_body<const FMA: bool>(
    gates: &[f32],
    c: &[f32],
    c_prev: &[f32],
    limit: f32,
    d_h: &[f32],
    d_c: &mut [f32],
    d_x: &mut [f32],
) {
    let cell = c.len();
    assert!(gates.len() == 4 * cell && d_x.len() == 4 * cell, "lstm: a row of gates");
    assert!(d_h.len() == cell && d_c.len() == cell, "lstm: a row");
    for start in (0..cell).step_by(LANES) {
        let at = places(start, cell);
        let one = start..start + at[0].len();
        let [mut i, mut f, mut g, mut o] = at.each_ref().map(|at| load(&gates[at.clone()]));
        let cells = load(&c[one.clone()]);
        let before = if c_prev.is_empty() { [0.0; LANES] } else { load(&c_prev[one.clone()]) };
        let d_h = load(&d_h[one.clone()]);
        let mut d_cells = load(&d_c[one.clone()]);
        for lane in 0..LANES {
            let t = tanh::<FMA>(cells[lane]);
            let through = fma::<FMA>(d_h[lane] * o[lane], fma::<FMA>(-t, t, 1.0), d_cells[lane]);
            let d = passed(cells[lane], limit, through);
            let d_o = d_h[lane] * t * o[lane] * (1.0 - o[lane]);
            let d_i = d * g[lane] * i[lane] * (1.0 - i[lane]);
            let d_g = d * i[lane] * fma::<FMA>(-g[lane], g[lane], 1.0);
            let d_f = d * before[lane] * f[lane] * (1.0 - f[lane]);
            d_cells[lane] = d * f[lane];
            (i[lane], f[lane], g[lane], o[lane]) = (d_i, d_f, d_g, d_o);
        }
        for (at, lanes) in at.into_iter().zip([i, f, g, o]) {
            store(lanes, &mut d_x[at]);
        }
        store(d_cells, &mut d_c[one]);
    }
}

#[inline(always)]
fn hidden_body<const FMA: bool>(gates: &[f32], c: &[f32], cell: usize, h: &mut [f32]) {
    let rows = gates.chunks_exact(4 * cell).zip(c.chunks_exact(cell)).zip(h.chunks_exact_mut(cell));
    for ((gates, c), h) in rows {
        for ((h, o), c) in h.iter_mut().zip(&gates[3 * cell..]).zip(c) {
            *h = o * tanh::<FMA>(*c);
        }
    }
}

//! [`lstm`](super::lstm) in Burn's own operations, for any backend.

use burn::backend::{Backend, Shape, Slice, tensor::FloatTensor};
use topwork_kernels::lstm::{Lstm, Steps};

use crate::bias_activation::composed::{one_minus, sigmoid};
use crate::{host, linear};

/// `y`, `h_n` and `c_n` one after the other, the gates and the cell states.
pub fn forward<B: Backend>(
    gates_x: FloatTensor<B>,
    recurrent: FloatTensor<B>,
    projection: Option<FloatTensor<B>>,
    state: Option<(FloatTensor<B>, FloatTensor<B>)>,
    offsets: &[u32],
    settings: Lstm,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let ([_, width], [_, hidden]) = (host::dims(&gates_x), host::dims(&recurrent));
    let (cell, mut going) = (width / 4, offsets.len() - 1);
    let steps = Steps::new(offsets, settings.reverse);
    let (mut h, mut c) = match state {
        Some((h0, c0)) => (by_rank::<B>(h0, &steps), by_rank::<B>(c0, &steps)),
        None => {
            let zeros = |width| host::zeros::<B>([going, width], &gates_x);
            (zeros(hidden), zeros(cell))
        }
    };
    let (mut ended, mut kept) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new(), Vec::new()]);
    for (step, &active) in steps.active().iter().enumerate() {
        if active < going {
            ended[0].push(rows::<B>(h.clone(), active, going));
            ended[1].push(rows::<B>(c.clone(), active, going));
            (h, c) = (rows::<B>(h, 0, active), rows::<B>(c, 0, active));
            going = active;
        }
        let at = host::indices::<B>(steps.rows(step), [active], &gates_x);
        let product = linear::composed::forward::<B>(h, recurrent.clone(), None, settings.precision);
        let sums = B::float_add(B::float_select(gates_x.clone(), 0, at), product);
        let [i, f, g, o] = [0, 1, 2, 3].map(|gate| columns::<B>(sums.clone(), gate * cell, cell));
        let ([i, f, o], g) = ([i, f, o].map(sigmoid::<B>), B::float_tanh(g));
        c = B::float_add(B::float_mul(f.clone(), c), B::float_mul(i.clone(), g.clone()));
        c = held::<B>(c, settings.cell_clip);
        h = B::float_mul(o.clone(), B::float_tanh(c.clone()));
        if let Some(projection) = &projection {
            h = linear::composed::forward::<B>(h, projection.clone(), None, settings.precision);
            h = held::<B>(h, settings.projection_clip);
        }
        for (kept, now) in kept.iter_mut().zip([h.clone(), B::float_cat(vec![i, f, g, o], 1), c.clone()]) {
            kept.push(now);
        }
    }
    for (ended, last) in ended.iter_mut().zip([h, c]) {
        // The ranks ended from the last one on.
        ended.push(last);
        ended.reverse();
    }
    let [h_n, c_n] = ended.map(|parts| by_sequence::<B>(B::float_cat(parts, 0), &steps));
    if kept[0].is_empty() {
        let nothing = |width| host::zeros::<B>([0, width], &gates_x);
        kept = [hidden, 4 * cell, cell].map(|width| vec![nothing(width)]);
    }
    let [y, gates, cells] = kept.map(|parts| by_row::<B>(parts, &steps));
    (B::float_cat([y, h_n, c_n].map(flat::<B>).into(), 0), gates, cells)
}

/// The gradients of the gates, of the projected states before they were clipped, of `h0` and of `c0`.
#[allow(clippy::too_many_arguments)]
pub fn backward<B: Backend>(
    d_flat: FloatTensor<B>,
    flat: FloatTensor<B>,
    gates: FloatTensor<B>,
    cells: FloatTensor<B>,
    (recurrent, projection): (FloatTensor<B>, Option<FloatTensor<B>>),
    c0: Option<FloatTensor<B>>,
    offsets: &[u32],
    settings: Lstm,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let ([tokens, cell], [_, hidden]) = (host::dims(&cells), host::dims(&recurrent));
    let batch = offsets.len() - 1;
    let steps = Steps::new(offsets, settings.reverse);
    let y = part::<B>(flat, 0, [tokens, hidden]);
    let d_y = part::<B>(d_flat.clone(), 0, [tokens, hidden]);
    let d_h_n = part::<B>(d_flat.clone(), tokens * hidden, [batch, hidden]);
    let d_c_n = part::<B>(d_flat, (tokens + batch) * hidden, [batch, cell]);
    let (mut d_h, mut d_c) = (by_rank::<B>(d_h_n, &steps), by_rank::<B>(d_c_n, &steps));
    let c0 = match c0 {
        Some(c0) => by_rank::<B>(c0, &steps),
        None => host::zeros::<B>([batch, cell], &cells),
    };
    let (mut d_gates, mut d_projected) = (Vec::new(), Vec::new());
    for (step, &active) in steps.active().iter().enumerate().rev() {
        let at = |step: usize| {
            let rows = (0..active).map(|rank| steps.row(rank, step));
            host::indices::<B>(rows, [active], &cells)
        };
        let here = at(step);
        let now = |tensor: &FloatTensor<B>| B::float_select(tensor.clone(), 0, here.clone());
        let (waiting_h, waiting_c) =
            (rows::<B>(d_h.clone(), active, batch), rows::<B>(d_c.clone(), active, batch));
        let mut d_out = B::float_add(rows::<B>(d_h, 0, active), now(&d_y));
        if let Some(projection) = &projection {
            d_out = passed::<B>(now(&y), settings.projection_clip, d_out);
            d_projected.push(d_out.clone());
            d_out = linear::composed::d_x::<B>(d_out, projection.clone(), settings.precision);
        }
        let all = now(&gates);
        let [i, f, g, o] = [0, 1, 2, 3].map(|gate| columns::<B>(all.clone(), gate * cell, cell));
        let c = now(&cells);
        let before = match step {
            0 => rows::<B>(c0.clone(), 0, active),
            _ => B::float_select(cells.clone(), 0, at(step - 1)),
        };
        let slope = |x: FloatTensor<B>| B::float_mul(x.clone(), one_minus::<B>(x));
        let square = |x: FloatTensor<B>| B::float_mul(x.clone(), x);
        let t = B::float_tanh(c.clone());
        let through = B::float_mul(B::float_mul(d_out.clone(), o.clone()), one_minus::<B>(square(t.clone())));
        let d = B::float_add(rows::<B>(d_c, 0, active), through);
        let d = passed::<B>(c, settings.cell_clip, d);
        let d_o = B::float_mul(B::float_mul(d_out, t), slope(o));
        let d_i = B::float_mul(B::float_mul(d.clone(), g.clone()), slope(i.clone()));
        let d_g = B::float_mul(B::float_mul(d.clone(), i), one_minus::<B>(square(g)));
        let d_f = B::float_mul(B::float_mul(d.clone(), before), slope(f.clone()));
        let d_all = B::float_cat(vec![d_i, d_f, d_g, d_o], 1);
        let d_before = linear::composed::d_x::<B>(d_all.clone(), recurrent.clone(), settings.precision);
        d_h = B::float_cat(vec![d_before, waiting_h], 0);
        d_c = B::float_cat(vec![B::float_mul(d, f), waiting_c], 0);
        d_gates.push(d_all);
    }
    let in_rows = |mut parts: Vec<FloatTensor<B>>, width: usize| {
        parts.reverse();
        match parts.is_empty() {
            true => host::zeros::<B>([0, width], &cells),
            false => by_row::<B>(parts, &steps),
        }
    };
    let (d_h0, d_c0) = (by_sequence::<B>(d_h, &steps), by_sequence::<B>(d_c, &steps));
    (in_rows(d_gates, 4 * cell), in_rows(d_projected, hidden), d_h0, d_c0)
}

/// The gradient of the recurrent weight.
pub fn d_recurrent<B: Backend>(
    d_gates: FloatTensor<B>,
    flat: FloatTensor<B>,
    h0: Option<FloatTensor<B>>,
    offsets: &[u32],
    hidden: usize,
    settings: Lstm,
) -> FloatTensor<B> {
    let [tokens, _] = host::dims(&d_gates);
    let batch = offsets.len() - 1;
    let y = part::<B>(flat, 0, [tokens, hidden]);
    let h0 = h0.unwrap_or_else(|| host::zeros::<B>([batch, hidden], &y));
    // Where the state before each row is: another row, or the first state of its sequence behind all rows.
    let mut before = Vec::with_capacity(tokens);
    for (sequence, range) in offsets.windows(2).enumerate() {
        let (first, last) = (range[0] as usize, range[1] as usize);
        let start = std::iter::repeat_n(tokens + sequence, (last - first).min(1));
        if settings.reverse {
            before.extend((first + 1..last).chain(start));
        } else {
            before.extend(start.chain(first..last.saturating_sub(1)));
        }
    }
    let before = host::indices::<B>(before, [tokens], &y);
    let states = B::float_select(B::float_cat(vec![y, h0], 0), 0, before);
    linear::composed::d_weight::<B>(d_gates, states, settings.precision)
}

/// The gradient of the projection.
pub fn d_projection<B: Backend>(
    d_projected: FloatTensor<B>,
    gates: FloatTensor<B>,
    cells: FloatTensor<B>,
    settings: Lstm,
) -> FloatTensor<B> {
    let [_, cell] = host::dims(&cells);
    let raw = B::float_mul(columns::<B>(gates, 3 * cell, cell), B::float_tanh(cells));
    linear::composed::d_weight::<B>(d_projected, raw, settings.precision)
}

fn held<B: Backend>(x: FloatTensor<B>, clip: Option<f32>) -> FloatTensor<B> {
    match clip {
        Some(clip) => B::float_clamp(x, (-clip).into(), clip.into()),
        None => x,
    }
}

/// `d_x` where `x` is inside the clip, zero where it is held at it.
fn passed<B: Backend>(x: FloatTensor<B>, clip: Option<f32>, d_x: FloatTensor<B>) -> FloatTensor<B> {
    match clip {
        Some(clip) => {
            let room = B::float_add_scalar(B::float_neg(B::float_abs(x)), clip.into());
            B::float_mul(d_x, B::float_sign(B::float_clamp_min(room, 0.0.into())))
        }
        None => d_x,
    }
}

fn rows<B: Backend>(x: FloatTensor<B>, from: usize, to: usize) -> FloatTensor<B> {
    let [_, width] = host::dims(&x);
    B::float_slice(x, &[Slice::from(from..to), Slice::from(0..width)])
}

fn columns<B: Backend>(x: FloatTensor<B>, from: usize, count: usize) -> FloatTensor<B> {
    let [rows, _] = host::dims(&x);
    B::float_slice(x, &[Slice::from(0..rows), Slice::from(from..from + count)])
}

fn flat<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [rows, width] = host::dims(&x);
    B::float_reshape(x, Shape::from([rows * width]))
}

/// A matrix out of a vector of several.
fn part<B: Backend>(flat: FloatTensor<B>, from: usize, shape: [usize; 2]) -> FloatTensor<B> {
    let part = B::float_slice(flat, &[Slice::from(from..from + shape[0] * shape[1])]);
    B::float_reshape(part, Shape::from(shape))
}

fn by_rank<B: Backend>(by_sequence: FloatTensor<B>, steps: &Steps) -> FloatTensor<B> {
    let order = steps.order().iter().map(|&sequence| sequence as usize);
    let order = host::indices::<B>(order, [steps.order().len()], &by_sequence);
    B::float_select(by_sequence, 0, order)
}

fn by_sequence<B: Backend>(by_rank: FloatTensor<B>, steps: &Steps) -> FloatTensor<B> {
    let mut ranks = vec![0; steps.order().len()];
    for (rank, &sequence) in steps.order().iter().enumerate() {
        ranks[sequence as usize] = rank;
    }
    let ranks = host::indices::<B>(ranks, [steps.order().len()], &by_rank);
    B::float_select(by_rank, 0, ranks)
}

/// What was made step by step, in the order of the rows.
fn by_row<B: Backend>(by_step: Vec<FloatTensor<B>>, steps: &Steps) -> FloatTensor<B> {
    let together = B::float_cat(by_step, 0);
    let [tokens, _] = host::dims(&together);
    let mut places = vec![0; tokens];
    let rows = (0..steps.active().len()).flat_map(|step| steps.rows(step));
    for (place, row) in rows.enumerate() {
        places[row] = place;
    }
    let places = host::indices::<B>(places, [tokens], &together);
    B::float_select(together, 0, places)
}

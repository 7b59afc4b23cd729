//! Attention whose scores have terms of content and distance: Transformer-XL, XLNet and DeBERTa; forward and backward.
//!
//! `score(i, j) = scale * (q_i . k_j + p_i . a_r + k_j . b_r + c_i[s])`, where `r` is the row that a table gives for the
//! distance of `i` and `j`, and `s` says whether both are of one segment. The products with `a` and `b` are made for the
//! rows that distances lead to and then read by distance; no matrix of scores is kept.
//!
//! Papers: Dai et al. 2019, "Transformer-XL", <https://arxiv.org/abs/1901.02860>; Yang et al. 2019, "XLNet",
//! <https://arxiv.org/abs/1906.08237>; He et al. 2021, "DeBERTa", <https://arxiv.org/abs/2006.03654>.
#![allow(unsafe_code, reason = "heads are interleaved columns of one output")]

use std::ops::Range;

use crate::attend::{block, seen};
use crate::attend_layout::{AttendLayout, Sequence, entry};
use crate::gemm::{Mat, MatMut, direct};
use crate::parallel::{each, sum_rows};
use crate::rng::Dropout;
use crate::scores::{Row, dot, gradient, softmax};
use crate::scratch::Scratch;
use crate::shared::Shared;

/// Parts of a batch that gather the gradients of rows each on their own: fixed, so that no thread count shows.
const PARTS: usize = 8;

/// What makes the scores; the last four terms may be empty.
///
/// # Shapes
/// - `q`, `position`: `[q_tokens, heads * head_dim]`; `k`, `v`: `[k_tokens, heads * head_dim]`
/// - `r_key`, `r_query`: `[span, heads * head_dim]`; `position` and `r_key` are there together
/// - `choice`: `[q_tokens, heads * 2]`, what is added for a key of the same and of another segment
/// - `table`: the row for a distance (key minus query) at `clamp(distance + layout.zero)`
/// - `q_segments`, `k_segments`: `[q_tokens]`, `[k_tokens]` if there is a `choice`
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Queries, as they meet keys.
    pub q: &'a [f32],
    /// Keys.
    pub k: &'a [f32],
    /// Values.
    pub v: &'a [f32],
    /// Queries, as they meet the rows of `r_key`.
    pub position: &'a [f32],
    /// What queries find at a distance.
    pub r_key: &'a [f32],
    /// What keys find at a distance.
    pub r_query: &'a [f32],
    /// What queries add for the segment of a key.
    pub choice: &'a [f32],
    /// Distances to rows.
    pub table: &'a [u32],
    /// The segment of each query.
    pub q_segments: &'a [u32],
    /// The segment of each key.
    pub k_segments: &'a [u32],
}

/// The gradients of [`Inputs`], as long as those; all of each is written.
#[derive(Debug)]
#[allow(missing_docs, reason = "named like the inputs")]
pub struct Gradients<'a> {
    pub q: &'a mut [f32],
    pub k: &'a mut [f32],
    pub v: &'a mut [f32],
    pub position: &'a mut [f32],
    pub r_key: &'a mut [f32],
    pub r_query: &'a mut [f32],
    pub choice: &'a mut [f32],
}

/// `out = softmax(scores) v` for every head of every sequence; masks, dropout and `lse` as in [`crate::attend::forward`].
///
/// # Shapes
/// - `out`: `[q_tokens, heads * head_dim]`; `lse`: `[heads, q_tokens]`
///
/// # Panics
/// If the shapes do not fit together, or the table leads to a row that is not there.
pub fn forward(
    inputs: Inputs<'_>,
    layout: &AttendLayout,
    dropout: Option<Dropout>,
    out: &mut [f32],
    lse: &mut [f32],
) {
    let shape = Shape::new(inputs, layout, dropout, out.len(), lse.len());
    let sequences = layout.sequences();
    let mut tasks = Vec::new();
    for sequence in &sequences {
        tasks.extend((0..layout.heads).map(|head| (sequence, head)));
    }
    let elements = shape.work(&sequences);
    let (out, lse) = (Shared::new(out), Shared::new(lse));
    each(tasks, elements, |(sequence, head)| {
        let dim = shape.dim;
        let mut table = Table::new(&shape, sequence, head);
        let size = block(sequence.keys.len()).min(sequence.queries.len());
        let mut scratch = Scratch::new(size * (direct::padded(sequence.keys.len()) + dim));
        let (scores, mixed) = scratch.split_at_mut(size * direct::padded(sequence.keys.len()));
        for start in (0..sequence.queries.len()).step_by(size.max(1)) {
            let queries = start..(start + size).min(sequence.queries.len());
            let keys = layout.keys(sequence, queries.clone());
            let (count, width) = (queries.len(), direct::padded(keys.len()));
            let (scores, mixed) = (&mut scores[..count * width], &mut mixed[..count * dim]);
            table.scores(&queries, &keys, scores);
            let mut inverse = [0.0; 128];
            for (row, inverse) in inverse[..count].iter_mut().enumerate() {
                let (numbers, cols, number) = shape.row(sequence, head, queries.start + row, &keys);
                let (scores, hidden) = scores[row * width..][..keys.len()].split_at_mut(cols);
                hidden.fill(0.0);
                let (sum, factor) = softmax(scores, numbers);
                *inverse = factor;
                // SAFETY: each task has its own head and sequence, so these pieces of `lse` are its own.
                unsafe { lse.piece(number..number + 1) }.fill(sum);
            }
            let v = shape.part(inputs.v, sequence.keys.start + keys.start, head, keys.len());
            direct::nn(Mat::strided(scores, count, keys.len(), width), v, MatMut::new(mixed, count, dim));
            for ((query, mixed), inverse) in queries.zip(mixed.chunks_exact(dim.max(1))).zip(inverse) {
                let start = ((sequence.queries.start + query) * layout.heads + head) * dim;
                // SAFETY: the columns of this head in the rows of this sequence belong to this task alone.
                let out = unsafe { out.piece(start..start + dim) };
                for (out, x) in out.iter_mut().zip(mixed) {
                    *out = x * inverse;
                }
            }
        }
    });
}

/// The gradients of [`forward`].
///
/// # Shapes
/// - as in [`forward`]; `d_out` like `out`
///
/// # Panics
/// If the shapes do not fit together.
pub fn backward(
    inputs: Inputs<'_>,
    layout: &AttendLayout,
    dropout: Option<Dropout>,
    out: &[f32],
    lse: &[f32],
    d_out: &[f32],
    to: Gradients<'_>,
) {
    let shape = Shape::new(inputs, layout, dropout, out.len(), lse.len());
    assert_eq!(d_out.len(), out.len(), "relative_attend: d_out and out");
    let lens = [
        to.q.len(),
        to.k.len(),
        to.v.len(),
        to.position.len(),
        to.r_key.len(),
        to.r_query.len(),
        to.choice.len(),
    ];
    let Inputs { q, k, v, position, r_key, r_query, choice, .. } = inputs;
    let expected = [q, k, v, position, r_key, r_query, choice].map(<[f32]>::len);
    assert_eq!(lens, expected, "relative_attend: gradients and inputs");
    let sequences = layout.sequences();
    // Parts of about as many sequences, each with sums of its own for the rows that all sequences share.
    let size = sequences.len().div_ceil(PARTS).max(1);
    let parts: Vec<&[Sequence]> = sequences.chunks(size).collect();
    let mut tasks = Vec::new();
    for (at, &part) in parts.iter().enumerate() {
        tasks.extend((0..layout.heads).map(|head| (at, part, head)));
    }
    let elements = shape.work(&sequences);
    if layout.k_lens.is_some() {
        to.k.fill(0.0);
        to.v.fill(0.0);
    }
    let mut partial = Scratch::new(parts.len() * (r_key.len() + r_query.len()));
    partial.fill(0.0);
    let (partial_key, partial_query) = partial.split_at_mut(parts.len() * r_key.len());
    {
        let shared = [to.q, to.k, to.v, to.position, to.choice].map(Shared::new);
        let rows = [(Shared::new(&mut *partial_key), r_key), (Shared::new(&mut *partial_query), r_query)];
        each(tasks, elements, |(at, sequences, head)| {
            let dim = shape.dim;
            let mut own = Scratch::new(2 * shape.span * dim);
            own.fill(0.0);
            let (d_key, d_query) = own.split_at_mut(shape.span * dim);
            for sequence in sequences {
                shape.backward(sequence, head, [out, lse, d_out], &shared, [d_key, d_query]);
            }
            for (own, (to, rows)) in [&*d_key, &*d_query].into_iter().zip(&rows) {
                for (row, own) in own.chunks_exact(dim.max(1)).enumerate().take(if rows.is_empty() {
                    0
                } else {
                    shape.span
                }) {
                    let start = at * rows.len() + (row * layout.heads + head) * dim;
                    // SAFETY: the columns of this head in the rows of this part belong to this task alone.
                    unsafe { to.piece(start..start + dim) }.copy_from_slice(own);
                }
            }
        });
    }
    sum_rows(partial_key, to.r_key);
    sum_rows(partial_query, to.r_query);
}

struct Shape<'a> {
    inputs: Inputs<'a>,
    layout: &'a AttendLayout,
    dropout: Option<Dropout>,
    q_tokens: usize,
    dim: usize,
    span: usize,
}

impl<'a> Shape<'a> {
    fn new(
        inputs: Inputs<'a>,
        layout: &'a AttendLayout,
        dropout: Option<Dropout>,
        out: usize,
        lse: usize,
    ) -> Self {
        let tokens = |offsets: &[u32]| offsets.last().map_or(0, |&last| last as usize);
        let (q_tokens, k_tokens) = (tokens(&layout.q_offsets), tokens(&layout.k_offsets));
        if let Err(error) = layout.check(q_tokens, k_tokens) {
            panic!("relative_attend: {error}");
        }
        let heads = layout.heads;
        assert_eq!(heads, layout.kv_heads, "relative_attend: every head has keys of its own");
        let dim = out.checked_div(q_tokens * heads).unwrap_or_default();
        let (queries, keys) = (q_tokens * heads * dim, k_tokens * heads * dim);
        assert!(
            out == queries && inputs.q.len() == queries,
            "relative_attend: q and out are not rows of {q_tokens} tokens"
        );
        let (k, v) = (inputs.k.len(), inputs.v.len());
        assert!(
            q_tokens == 0 || (k == keys && v == keys),
            "relative_attend: k and v are not rows of {k_tokens} tokens"
        );
        assert_eq!(lse, heads * q_tokens, "relative_attend: lse is not {heads} x {q_tokens}");
        let rows = [inputs.r_key, inputs.r_query]
            .map(|rows| rows.len().checked_div(heads * dim).unwrap_or_default());
        let span = rows[0].max(rows[1]);
        let fit =
            [inputs.r_key, inputs.r_query].into_iter().all(|r| r.is_empty() || r.len() == span * heads * dim);
        assert!(
            q_tokens == 0 || fit,
            "relative_attend: r_key and r_query are not as many rows of {heads} heads of {dim}"
        );
        let position = inputs.position.len();
        assert!(inputs.r_key.is_empty() || position == queries, "relative_attend: position is not like q");
        assert!(!inputs.r_key.is_empty() || position == 0, "relative_attend: position without r_key");
        if span > 0 {
            let highest = inputs.table.iter().max();
            assert!(
                highest.is_some_and(|&row| (row as usize) < span),
                "relative_attend: the table leads to row {highest:?} of {span}"
            );
        }
        if !inputs.choice.is_empty() {
            assert_eq!(inputs.choice.len(), q_tokens * heads * 2, "relative_attend: choice");
            let segments = (inputs.q_segments.len(), inputs.k_segments.len());
            assert_eq!(segments, (q_tokens, k_tokens), "relative_attend: a segment for each token");
        }
        Self { inputs, layout, dropout, q_tokens, dim, span }
    }

    /// Multiplications of the whole call, to decide whether threads are worth waking.
    fn work(&self, sequences: &[Sequence]) -> usize {
        let pairs: usize = sequences.iter().map(|s| s.queries.len() * s.keys.len()).sum();
        pairs * self.layout.heads * self.dim / 2
    }

    /// `rows` rows from `token` on of one head of a matrix of `[tokens, heads * dim]`.
    fn part<'b>(&self, x: &'b [f32], token: usize, head: usize, rows: usize) -> Mat<'b> {
        let stride = self.layout.heads * self.dim;
        Mat::strided(x.get(token * stride + head * self.dim..).unwrap_or_default(), rows, self.dim, stride)
    }

    /// How a row of scores becomes probabilities, how many of its columns that is about, and its number.
    fn row<'b>(
        &'b self,
        sequence: &Sequence,
        head: usize,
        query: usize,
        keys: &Range<usize>,
    ) -> (Row<'b>, usize, usize) {
        let visible = self.layout.visible(sequence, query);
        let cols = visible.end.max(keys.start) - keys.start;
        let number = head * self.q_tokens + sequence.queries.start + query;
        let row = Row {
            scale: self.layout.scale,
            bias: &[],
            pairs: seen(self.layout, sequence, query, keys, cols),
            masked: (visible.start - keys.start).min(cols),
            first: keys.start,
            dropout: self.dropout.map(|dropout| (dropout, number as u64)),
        };
        (row, cols, number)
    }

    /// The gradients of one head of one sequence; those of the rows by distance are added to `rows`.
    fn backward(
        &self,
        sequence: &Sequence,
        head: usize,
        [out, lse, d_out]: [&[f32]; 3],
        [d_q, d_k, d_v, d_position, d_choice]: &[Shared<'_>; 5],
        [d_key, d_query]: [&mut [f32]; 2],
    ) {
        let (dim, heads, inputs) = (self.dim, self.layout.heads, self.inputs);
        let (queries, keys) = (sequence.queries.len(), sequence.keys.len());
        let mut table = Table::new(self, sequence, head);
        let size = block(keys).min(queries);
        let width = direct::padded(keys);
        let turned = if table.to_keys.is_empty() { 0 } else { keys * table.width };
        let by_distance = if inputs.r_key.is_empty() { 0 } else { size * table.rows };
        let mut scratch =
            Scratch::new(size * (2 * width + dim) + width * dim + 2 * keys * dim + turned + by_distance);
        let (probabilities, rest) = scratch.split_at_mut(size * width);
        let (d_scores, rest) = rest.split_at_mut(size * width);
        let (rows, rest) = rest.split_at_mut(size * dim);
        let (room, rest) = rest.split_at_mut(width * dim);
        let (dk, rest) = rest.split_at_mut(keys * dim);
        let (dv, rest) = rest.split_at_mut(keys * dim);
        let (d_to_keys, d_by_distance) = rest.split_at_mut(turned);
        dk.fill(0.0);
        dv.fill(0.0);
        d_to_keys.fill(0.0);
        let write = |to: &Shared<'_>, first: usize, from: &[f32]| {
            for (token, row) in (first..).zip(from.chunks_exact(dim.max(1))) {
                let start = (token * heads + head) * dim;
                // SAFETY: the columns of this head in the rows of this sequence belong to this task alone.
                unsafe { to.piece(start..start + dim) }.copy_from_slice(row);
            }
        };
        for start in (0..queries).step_by(size.max(1)) {
            let block = start..(start + size).min(queries);
            let keys = self.layout.keys(sequence, block.clone());
            let (count, width, token) =
                (block.len(), direct::padded(keys.len()), sequence.queries.start + start);
            let (probabilities, d_scores) =
                (&mut probabilities[..count * width], &mut d_scores[..count * width]);
            table.scores(&block, &keys, probabilities);
            let [out, d_out] = [out, d_out].map(|x| self.part(x, token, head, count));
            let v = self.part(inputs.v, sequence.keys.start + keys.start, head, keys.len());
            direct::nt(d_out, v, MatMut::strided(d_scores, count, keys.len(), width), room);
            for row in 0..count {
                let (numbers, cols, number) = self.row(sequence, head, start + row, &keys);
                let (p, p_hidden) = probabilities[row * width..][..keys.len()].split_at_mut(cols);
                let (d, d_hidden) = d_scores[row * width..][..keys.len()].split_at_mut(cols);
                p_hidden.fill(0.0);
                d_hidden.fill(0.0);
                gradient(p, d, numbers, lse[number], dot(out.row(row), d_out.row(row)), &mut []);
            }
            // From here `probabilities` are the dropped ones, `d_scores` carry the scale.
            let probabilities = Mat::strided(probabilities, count, keys.len(), width);
            let d_scores = Mat::strided(d_scores, count, keys.len(), width);
            let q = self.part(inputs.q, token, head, count);
            let k = self.part(inputs.k, sequence.keys.start + keys.start, head, keys.len());
            let rows = &mut rows[..count * dim];
            direct::nn(d_scores, k, MatMut::new(rows, count, dim));
            write(d_q, token, rows);
            let own = keys.start * dim..keys.end * dim;
            direct::tn(probabilities, d_out, MatMut::new(&mut dv[own.clone()], keys.len(), dim), true);
            direct::tn(d_scores, q, MatMut::new(&mut dk[own], keys.len(), dim), true);
            if !inputs.r_key.is_empty() {
                let used = table.used(&block, &keys);
                let width = used.len();
                let d = &mut d_by_distance[..count * width];
                d.fill(0.0);
                for (row, d) in d.chunks_exact_mut(width.max(1)).enumerate() {
                    for (&at, x) in table.distances(start + row, &keys).iter().zip(d_scores.row(row)) {
                        d[at as usize - used.start] += x;
                    }
                }
                let d = Mat::new(d, count, width);
                direct::nn(
                    d,
                    self.part(inputs.r_key, used.start, head, width),
                    MatMut::new(rows, count, dim),
                );
                write(d_position, token, rows);
                let position = self.part(inputs.position, token, head, count);
                let d_key = &mut d_key[used.start * dim..used.end * dim];
                direct::tn(d, position, MatMut::new(d_key, width, dim), true);
            }
            if !table.to_keys.is_empty() {
                for row in 0..count {
                    let cells = keys.clone().zip(table.distances(start + row, &keys)).zip(d_scores.row(row));
                    for ((key, &at), x) in cells {
                        d_to_keys[key * table.width + at as usize - table.base] += x;
                    }
                }
            }
            if !inputs.choice.is_empty() {
                for row in 0..count {
                    let mut sums = [0.0; 2];
                    let own = inputs.q_segments[token + row];
                    let segments = &inputs.k_segments[sequence.keys.start + keys.start..][..keys.len()];
                    for (&segment, x) in segments.iter().zip(d_scores.row(row)) {
                        sums[usize::from(segment != own)] += x;
                    }
                    let start = ((token + row) * heads + head) * 2;
                    // SAFETY: see `write`.
                    unsafe { d_choice.piece(start..start + 2) }.copy_from_slice(&sums);
                }
            }
        }
        if !table.to_keys.is_empty() {
            let d = Mat::strided(d_to_keys, keys, table.rows, table.width);
            let room = &mut room[..keys * dim];
            direct::nn(
                d,
                self.part(inputs.r_query, table.base, head, table.rows),
                MatMut::new(room, keys, dim),
            );
            for (dk, more) in dk.iter_mut().zip(&*room) {
                *dk += more;
            }
            let k = self.part(inputs.k, sequence.keys.start, head, keys);
            let d_query = &mut d_query[table.base * dim..(table.base + table.rows) * dim];
            direct::tn(d, k, MatMut::new(d_query, table.rows, dim), true);
        }
        write(d_k, sequence.keys.start, dk);
        write(d_v, sequence.keys.start, dv);
    }
}

/// The rows that the distances inside one sequence lead to, and the scores of one head with them.
struct Table<'a> {
    shape: &'a Shape<'a>,
    sequence: &'a Sequence,
    head: usize,
    /// The row of each distance, from the last query and first key on to the first query and last key.
    by_distance: Vec<u32>,
    /// The first row in use.
    base: usize,
    /// Rows in use.
    rows: usize,
    /// How far apart the rows of `to_keys` are.
    width: usize,
    /// The products of keys with the rows in use, if there are such: `[keys, rows]`.
    to_keys: Scratch,
    turned: Scratch,
    products: Scratch,
}

impl<'a> Table<'a> {
    fn new(shape: &'a Shape<'a>, sequence: &'a Sequence, head: usize) -> Self {
        let (queries, keys) = (sequence.queries.len(), sequence.keys.len());
        let Inputs { table, k, r_query, .. } = shape.inputs;
        let mut by_distance = Vec::new();
        if shape.span > 0 && queries > 0 {
            let first = -sequence.place(queries - 1);
            let distances = (first..).take(keys + queries - 1);
            by_distance.extend(distances.map(|at| table[entry(at, shape.layout.zero, table.len())]));
        }
        let used = bounds(&by_distance);
        let (rows, width) = (used.len(), direct::padded(used.len()));
        let size = block(keys).min(queries);
        let wanted = if r_query.is_empty() || rows == 0 { 0 } else { keys * width };
        let mut made = Self {
            shape,
            sequence,
            head,
            by_distance,
            base: used.start,
            rows,
            width,
            to_keys: Scratch::new(wanted),
            turned: Scratch::new(width.max(direct::padded(keys)) * shape.dim),
            products: Scratch::new(if shape.inputs.r_key.is_empty() { 0 } else { size * width }),
        };
        if wanted > 0 {
            let k = shape.part(k, sequence.keys.start, head, keys);
            let r = shape.part(r_query, used.start, head, rows);
            direct::nt(k, r, MatMut::strided(&mut made.to_keys, keys, rows, width), &mut made.turned);
        }
        made
    }

    /// The rows of the distances of one query to `keys`.
    fn distances(&self, query: usize, keys: &Range<usize>) -> &[u32] {
        if self.by_distance.is_empty() {
            return &[];
        }
        &self.by_distance[self.sequence.queries.len() - 1 - query + keys.start..][..keys.len()]
    }

    /// The rows that some of `queries` and `keys` lead to.
    fn used(&self, queries: &Range<usize>, keys: &Range<usize>) -> Range<usize> {
        if self.by_distance.is_empty() || queries.is_empty() || keys.is_empty() {
            return 0..0;
        }
        let first = self.sequence.queries.len() - queries.end + keys.start;
        bounds(&self.by_distance[first..first + keys.len() + queries.len() - 1])
    }

    /// The raw scores of `queries` and `keys`, rows as far apart as whole registers of keys.
    fn scores(&mut self, queries: &Range<usize>, keys: &Range<usize>, scores: &mut [f32]) {
        let (shape, head, inputs) = (self.shape, self.head, self.shape.inputs);
        let (count, width) = (queries.len(), direct::padded(keys.len()));
        let token = self.sequence.queries.start + queries.start;
        let q = shape.part(inputs.q, token, head, count);
        let k = shape.part(inputs.k, self.sequence.keys.start + keys.start, head, keys.len());
        direct::nt(q, k, MatMut::strided(scores, count, keys.len(), width), &mut self.turned);
        if !inputs.r_key.is_empty() {
            let used = self.used(queries, keys);
            let across = direct::padded(used.len());
            let position = shape.part(inputs.position, token, head, count);
            let r = shape.part(inputs.r_key, used.start, head, used.len());
            let products = MatMut::strided(&mut self.products, count, used.len(), across);
            direct::nt(position, r, products, &mut self.turned);
            for (row, query) in queries.clone().enumerate() {
                let products = &self.products[row * across..][..used.len()];
                let scores = &mut scores[row * width..][..keys.len()];
                for (x, &at) in scores.iter_mut().zip(self.distances(query, keys)) {
                    *x += products[at as usize - used.start];
                }
            }
        }
        if !self.to_keys.is_empty() {
            for (row, query) in queries.clone().enumerate() {
                let scores = &mut scores[row * width..][..keys.len()];
                for ((x, key), &at) in scores.iter_mut().zip(keys.clone()).zip(self.distances(query, keys)) {
                    *x += self.to_keys[key * self.width + at as usize - self.base];
                }
            }
        }
        if !inputs.choice.is_empty() {
            let segments = &inputs.k_segments[self.sequence.keys.start + keys.start..][..keys.len()];
            for row in 0..count {
                let start = ((token + row) * shape.layout.heads + head) * 2;
                let (choice, own) = (&inputs.choice[start..start + 2], inputs.q_segments[token + row]);
                for (x, &segment) in scores[row * width..].iter_mut().zip(segments) {
                    *x += if segment == own { choice[0] } else { choice[1] };
                }
            }
        }
    }
}

/// From the lowest row to the highest.
fn bounds(rows: &[u32]) -> Range<usize> {
    match (rows.iter().min(), rows.iter().max()) {
        (Some(&lowest), Some(&highest)) => lowest as usize..highest as usize + 1,
        _ => 0..0,
    }
}

#[cfg(test)]
#[path = "relative_attend_tests.rs"]
mod tests;

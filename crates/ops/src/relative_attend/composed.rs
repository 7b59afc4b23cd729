//! [`relative_attend`](super::relative_attend) in Burn's own operations, for any backend: sequences are padded to the
//! longest one inside, and what was padded is masked.

use burn::backend::{
    Backend, Shape,
    tensor::{FloatTensor, IndexingUpdateOp, IntTensor},
};

use super::{RelativeLayout, SevenGradients};
use crate::attend_places::{Back, Places, Side};
use crate::host;

/// position, r_key, r_query and choice.
type Terms<B> = [Option<FloatTensor<B>>; 4];

/// Attention, and the log-sum-exp of each row of scores.
pub fn forward<B: Backend>(
    [q, k, v]: [FloatTensor<B>; 3],
    terms: Terms<B>,
    fixed: &RelativeLayout,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let (places, heads) = (Places::new(&fixed.layout), fixed.layout.heads);
    let [tokens, width] = host::dims(&q);
    if places.is_empty() {
        return (host::zeros::<B>([tokens, width], &q), host::zeros::<B>([heads, tokens], &q));
    }
    let padded = Padded::<B>::new(&places, q, k, terms, fixed);
    let v = places.pad::<B>(v, Side::Keys, heads);
    let [mut probabilities, lse] = places.softmax::<B>(padded.scaled(&places));
    if let Some(dropout) = fixed.dropout {
        let scale = places.dropout::<B>(dropout, &probabilities);
        probabilities = B::float_mul(probabilities, scale);
    }
    let out = places.merge::<B>(B::float_matmul(probabilities, v), Side::Queries, tokens);
    (out, B::float_transpose(places.merge::<B>(lse, Side::Queries, tokens)))
}

/// The gradients of q, k, v, position, r_key, r_query and choice; those of what is absent are empty.
pub fn backward<B: Backend>(
    d_out: FloatTensor<B>,
    [q, k, v]: [FloatTensor<B>; 3],
    terms: Terms<B>,
    fixed: &RelativeLayout,
) -> SevenGradients<B> {
    let (places, heads) = (Places::new(&fixed.layout), fixed.layout.heads);
    let ([q_tokens, _], [k_tokens, _]) = (host::dims(&q), host::dims(&k));
    let zeros = |x: &FloatTensor<B>| host::zeros::<B>(host::dims::<2>(x), x);
    let empty = host::zeros::<B>([0, 0], &q);
    let mut grads = terms.each_ref().map(|term| term.as_ref().map_or(empty.clone(), zeros));
    if places.is_empty() {
        let [d_position, d_r_key, d_r_query, d_choice] = grads;
        return (zeros(&q), zeros(&k), zeros(&v), d_position, d_r_key, d_r_query, d_choice);
    }
    let padded = Padded::<B>::new(&places, q, k, terms, fixed);
    let v = places.pad::<B>(v, Side::Keys, heads);
    let [probabilities, _] = places.softmax::<B>(padded.scaled(&places));
    let Back { d_scaled, d_v } = Back::<B>::new(&places, d_out, probabilities, v, fixed.dropout);
    let d_scores = B::float_mul_scalar(d_scaled, fixed.layout.scale.into());
    let d_q = B::float_matmul(d_scores.clone(), padded.k.clone());
    let mut d_k = B::float_matmul(B::float_transpose(d_scores.clone()), padded.q.clone());
    let Places { batch, q_seq, k_seq, .. } = places;
    if let Some((position, r_key)) = &padded.of_queries {
        let [_, _, span, _] = host::dims(r_key);
        let d = host::zeros::<B>([batch, heads, q_seq, span], &d_scores);
        let index = padded.rows::<B>(&places, Side::Queries, &d_scores);
        let d = B::float_scatter(3, d, index, d_scores.clone(), IndexingUpdateOp::Add);
        let d_position = B::float_matmul(d.clone(), r_key.clone());
        grads[0] = places.merge::<B>(d_position, Side::Queries, q_tokens);
        grads[1] = rows_of::<B>(B::float_matmul(B::float_transpose(d), position.clone()));
    }
    if let Some(r_query) = &padded.of_keys {
        let [_, _, span, _] = host::dims(r_query);
        let d = host::zeros::<B>([batch, heads, k_seq, span], &d_scores);
        let index = padded.rows::<B>(&places, Side::Keys, &d_scores);
        let by_key = B::float_transpose(d_scores.clone());
        let d = B::float_scatter(3, d, index, by_key, IndexingUpdateOp::Add);
        d_k = B::float_add(d_k, B::float_matmul(d.clone(), r_query.clone()));
        grads[2] = rows_of::<B>(B::float_matmul(B::float_transpose(d), padded.k.clone()));
    }
    if let Some([_, same]) = &padded.choice {
        let of_same = B::float_sum_dim(B::float_mul(d_scores.clone(), same.clone()), 3);
        let all = B::float_sum_dim(d_scores, 3);
        let both = B::float_cat(vec![of_same.clone(), B::float_sub(all, of_same)], 3);
        grads[3] = places.merge::<B>(both, Side::Queries, q_tokens);
    }
    let [d_position, d_r_key, d_r_query, d_choice] = grads;
    (
        places.merge::<B>(d_q, Side::Queries, q_tokens),
        places.merge::<B>(d_k, Side::Keys, k_tokens),
        places.merge::<B>(d_v, Side::Keys, k_tokens),
        d_position,
        d_r_key,
        d_r_query,
        d_choice,
    )
}

/// `[batch, heads, span, dim]` summed over the batch: `[span, heads * dim]`.
fn rows_of<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [_, heads, span, dim] = host::dims(&x);
    let x = B::float_permute(B::float_sum_dim(x, 0), &[0, 2, 1, 3]);
    B::float_reshape(x, Shape::from([span, heads * dim]))
}

/// The inputs of the scores, padded.
struct Padded<'a, B: Backend> {
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    /// Queries for distances, and their rows as often as there are sequences: `[batch, heads, span, dim]`.
    of_queries: Option<(FloatTensor<B>, FloatTensor<B>)>,
    of_keys: Option<FloatTensor<B>>,
    /// The choice `[batch, heads, q_seq, 2]`, and 1 where a key is of the same segment `[batch, 1, q_seq, k_seq]`.
    choice: Option<[FloatTensor<B>; 2]>,
    fixed: &'a RelativeLayout,
}

impl<'a, B: Backend> Padded<'a, B> {
    fn new(
        places: &Places<'_>,
        q: FloatTensor<B>,
        k: FloatTensor<B>,
        [position, r_key, r_query, choice]: Terms<B>,
        fixed: &'a RelativeLayout,
    ) -> Self {
        let heads = fixed.layout.heads;
        let rows = |r: FloatTensor<B>| {
            let [span, width] = host::dims(&r);
            let r = B::float_reshape(r, Shape::from([1, span, heads, width / heads]));
            let r = B::float_permute(r, &[0, 2, 1, 3]);
            B::float_repeat_dim(r, 0, places.batch)
        };
        let position = position.map(|x| places.pad::<B>(x, Side::Queries, heads));
        let shape = [places.batch, 1, places.q_seq, places.k_seq];
        Self {
            choice: choice.map(|choice| {
                let same = places.same(&fixed.q_segments, &fixed.k_segments);
                let same = host::floats::<B>(same, shape, &choice);
                [places.pad::<B>(choice, Side::Queries, heads), same]
            }),
            q: places.pad::<B>(q, Side::Queries, heads),
            k: places.pad::<B>(k, Side::Keys, heads),
            of_queries: position.zip(r_key.map(rows)),
            of_keys: r_query.map(rows),
            fixed,
        }
    }

    /// The row of each pair, `[batch, heads, q_seq, k_seq]` by queries, `[batch, heads, k_seq, q_seq]` by keys.
    fn rows<C: Backend>(&self, places: &Places<'_>, side: Side, like: &FloatTensor<C>) -> IntTensor<C> {
        let (heads, table) = (self.fixed.layout.heads, &self.fixed.table);
        let Places { batch, q_seq, k_seq, .. } = *places;
        let entries = places.entries(table.len());
        let (rows, cols) = if side == Side::Queries { (q_seq, k_seq) } else { (k_seq, q_seq) };
        let cells = (0..batch * heads * rows * cols).map(|at| {
            let (sequence, row, col) = (at / (heads * rows * cols), at / cols % rows, at % cols);
            let (query, key) = if side == Side::Queries { (row, col) } else { (col, row) };
            table[entries[(sequence * q_seq + query) * k_seq + key]] as usize
        });
        host::indices::<C>(cells, [batch, heads, rows, cols], like)
    }

    fn scaled(&self, places: &Places<'_>) -> FloatTensor<B> {
        let mut scores = B::float_matmul(self.q.clone(), B::float_transpose(self.k.clone()));
        if let Some((position, r_key)) = &self.of_queries {
            let all = B::float_matmul(position.clone(), B::float_transpose(r_key.clone()));
            let index = self.rows::<B>(places, Side::Queries, &scores);
            scores = B::float_add(scores, B::float_gather(3, all, index));
        }
        if let Some(r_query) = &self.of_keys {
            let all = B::float_matmul(self.k.clone(), B::float_transpose(r_query.clone()));
            let index = self.rows::<B>(places, Side::Keys, &scores);
            scores = B::float_add(scores, B::float_transpose(B::float_gather(3, all, index)));
        }
        if let Some([choice, same]) = &self.choice {
            let [batch, heads, q_seq, _] = host::dims(choice);
            let part = |col: usize| {
                let all = [0..batch, 0..heads, 0..q_seq, col..col + 1].map(burn::backend::Slice::from);
                B::float_slice(choice.clone(), &all)
            };
            let rest = B::float_add_scalar(B::float_neg(same.clone()), 1.0.into());
            scores = B::float_add(scores, B::float_mul(part(0), same.clone()));
            scores = B::float_add(scores, B::float_mul(part(1), rest));
        }
        B::float_mul_scalar(scores, self.fixed.layout.scale.into())
    }
}

//! Tests of [`super`].

use topwork_kernels::attend_layout::Mask;

use super::*;
use crate::check::{Case, close, floats, normal};

const DROPOUT: Option<Dropout> = Some(Dropout { p: 0.3, seed: 5 });

fn segments(tokens: usize) -> Arc<[u32]> {
    (0..tokens as u32).map(|at| at / 3 % 2).collect()
}

fn layout(q: &[u32], k: &[u32], heads: usize, mask: Mask) -> AttendLayout {
    AttendLayout {
        q_offsets: q.into(),
        k_offsets: k.into(),
        zero: 5,
        ..AttendLayout::new(&[0].into(), heads, 4, mask)
    }
}

/// Rows fall with the distance, and some distances share one.
fn table() -> Arc<[u32]> {
    [6, 6, 5, 4, 4, 3, 2, 1, 1, 0].into()
}

pub(crate) fn gradients() -> usize {
    let pairs: Arc<[u8]> = (0..3 * 5 + 4 * 2).map(|at| u8::from(at % 3 > 0 && at > 4)).collect();
    let mut room = layout(&[0, 1, 4], &[0, 9, 20], 2, Mask::Causal);
    room.k_lens = Some([6, 11].into());
    let layouts = [
        (layout(&[0, 1], &[0, 1], 1, Mask::Full), 1),
        (layout(&[0, 2, 2, 133], &[0, 2, 2, 133], 1, Mask::Full), 4),
        (layout(&[0, 3, 4], &[0, 3, 20], 2, Mask::Causal), 5),
        (layout(&[0, 3, 7], &[0, 5, 7], 2, Mask::Pairs(pairs)), 4),
        (room, 4),
    ];
    let mut checked = 0;
    for (layout, dim) in layouts {
        for terms in [[true; 3], [true, false, true], [false, true, false], [true, true, false]] {
            for dropout in [None, DROPOUT] {
                let [q, k] = [&layout.q_offsets, &layout.k_offsets].map(|x| *x.last().unwrap() as usize);
                let (heads, width) = (layout.heads, layout.heads * dim);
                let of_terms = [
                    (terms[0], vec![q, width]),
                    (terms[0], vec![7, width]),
                    (terms[1], vec![7, width]),
                    (terms[2], vec![q, 2 * heads]),
                ];
                let mut shapes = vec![vec![q, width], vec![k, width], vec![k, width]];
                shapes.extend(of_terms.iter().filter(|(there, _)| *there).map(|(_, shape)| shape.clone()));
                let fixed = RelativeLayout {
                    layout: layout.clone(),
                    table: table(),
                    q_segments: segments(q),
                    k_segments: segments(k),
                    dropout,
                };
                let split = |inputs: &[burn::backend::DispatchTensor]| {
                    let mut inputs = inputs.iter().cloned();
                    let qkv = [(); 3].map(|()| inputs.next().unwrap());
                    let terms = of_terms.each_ref().map(|(there, _)| there.then(|| inputs.next().unwrap()));
                    (qkv, terms)
                };
                let case = Case {
                    name: format!("relative_attend {layout:?}, heads of {dim}, {terms:?}, {dropout:?}"),
                    shapes,
                    operation: &|inputs| {
                        let ([q, k, v], terms) = split(inputs);
                        let [position, r_key, r_query, choice] = terms.map(OptionalFloat::from);
                        Dispatch::relative_attend_forward(
                            q,
                            k,
                            v,
                            position,
                            r_key,
                            r_query,
                            choice,
                            fixed.clone(),
                        )
                    },
                    composed: &|inputs| {
                        let (qkv, terms) = split(inputs);
                        composed::forward::<Dispatch>(qkv, terms, &fixed).0
                    },
                };
                checked += case.check();
            }
        }
    }
    checked
}

#[test]
fn without_terms_it_is_attend() {
    let layout = layout(&[0, 3, 7], &[0, 5, 20], 2, Mask::Causal);
    let (q, k, v) = (normal::<2>([7, 8], 1), normal::<2>([20, 8], 2), normal::<2>([20, 8], 3));
    let terms = RelativeTerms::default();
    let got = relative_attend(q.clone(), k.clone(), v.clone(), &layout, terms, DROPOUT);
    assert_eq!(floats(got), floats(crate::attend(q, k, v, &layout, None, DROPOUT)));
}

#[test]
fn a_term_of_segments_is_the_product_with_their_rows() {
    let (q, rows) = (normal::<2>([3, 4], 1), normal::<2>([2, 4], 2));
    let segments = Segments::new(q.clone(), rows.clone(), 2, segments(3), segments(3));
    assert_eq!(segments.choice.dims(), [3, 4]);
    let (q, rows) = (floats(q), floats(rows));
    let mut expected = Vec::new();
    for token in 0..3 {
        for head in 0..2 {
            for row in 0..2 {
                let at = |i: usize| q[token * 4 + head * 2 + i] * rows[row * 4 + head * 2 + i];
                expected.push(at(0) + at(1));
            }
        }
    }
    close(&floats(segments.choice), &expected, 1e-6).unwrap();
}

fn refused(terms: RelativeTerms) {
    let x = normal::<2>([3, 8], 1);
    relative_attend(x.clone(), x.clone(), x, &layout(&[0, 3], &[0, 3], 2, Mask::Full), terms, None);
}

#[test]
#[should_panic(expected = "relative_attend: the table leads to row Some(6) of 6")]
fn a_table_beyond_the_rows_is_refused() {
    refused(RelativeTerms { of_keys: Some(normal([6, 8], 2)), table: table(), ..Default::default() });
}

#[test]
#[should_panic(expected = "relative_attend: 7 and 8 rows by distance")]
fn rows_of_other_numbers_are_refused() {
    let of_queries = Some((normal([3, 8], 1), normal([7, 8], 2)));
    refused(RelativeTerms { of_queries, of_keys: Some(normal([8, 8], 2)), table: table(), segments: None });
}

#[test]
#[should_panic(expected = "relative_attend: a segment for each query and each key")]
fn a_token_without_a_segment_is_refused() {
    let choice = normal([3, 4], 1);
    let segments = Some(Segments { choice, of_queries: segments(3), of_keys: segments(2) });
    refused(RelativeTerms { segments, ..Default::default() });
}

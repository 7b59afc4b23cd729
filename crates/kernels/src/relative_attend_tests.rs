//! Tests of [`super`]: against the definition in f64, against [`crate::attend`] and against itself.

use std::sync::Arc;

use super::*;
use crate::attend_layout::Mask;
use crate::rng::{keep, row_key, threshold};
use crate::testing::{close, gradient, random, same_on_any_threads};

/// Everything but the numbers.
#[derive(Clone)]
struct Setting {
    layout: AttendLayout,
    dim: usize,
    table: Vec<u32>,
    /// Whether there are rows for queries, rows for keys, segments.
    terms: [bool; 3],
    dropout: Option<Dropout>,
}

/// q, k, v, position, r_key, r_query and choice, or their gradients.
type Numbers = [Vec<f32>; 7];

struct Results {
    out: Vec<f32>,
    lse: Vec<f32>,
    grads: Numbers,
}

fn segments(tokens: usize) -> Vec<u32> {
    (0..tokens as u32).map(|at| at / 3 % 2).collect()
}

impl Setting {
    fn tokens(&self) -> [usize; 2] {
        [&self.layout.q_offsets, &self.layout.k_offsets].map(|offsets| *offsets.last().unwrap() as usize)
    }

    fn span(&self) -> usize {
        self.table.iter().max().map_or(0, |&row| row as usize + 1)
    }

    fn numbers(&self) -> Numbers {
        let ([q, k], width, [r_key, r_query, choice]) =
            (self.tokens(), self.layout.heads * self.dim, self.terms);
        let rows = self.span();
        let wanted = |seed, len, wanted| random(seed, if wanted { len } else { 0 });
        [
            random(1, q * width),
            random(2, k * width),
            random(3, k * width),
            wanted(4, q * width, r_key),
            wanted(5, rows * width, r_key),
            wanted(6, rows * width, r_query),
            wanted(7, q * self.layout.heads * 2, choice),
        ]
    }

    fn d_out(&self) -> Vec<f32> {
        random(8, self.tokens()[0] * self.layout.heads * self.dim)
    }

    fn run(&self, numbers: &Numbers, d_out: &[f32]) -> Results {
        let [q_tokens, k_tokens] = self.tokens();
        self.run_with(numbers, d_out, [&segments(q_tokens), &segments(k_tokens)])
    }

    fn run_with(&self, numbers: &Numbers, d_out: &[f32], [q_segments, k_segments]: [&[u32]; 2]) -> Results {
        let [q, k, v, position, r_key, r_query, choice] = numbers.each_ref().map(|x| &x[..]);
        let table = &self.table;
        let inputs = Inputs { q, k, v, position, r_key, r_query, choice, table, q_segments, k_segments };
        let (mut out, mut lse) =
            (vec![f32::NAN; q.len()], vec![f32::NAN; self.tokens()[0] * self.layout.heads]);
        forward(inputs, &self.layout, self.dropout, &mut out, &mut lse);
        let mut grads = numbers.each_ref().map(|x| vec![f32::NAN; x.len()]);
        let [q, k, v, position, r_key, r_query, choice] = grads.each_mut().map(|x| &mut x[..]);
        let to = Gradients { q, k, v, position, r_key, r_query, choice };
        backward(inputs, &self.layout, self.dropout, &out, &lse, d_out, to);
        Results { out, lse, grads }
    }

    fn reference(&self, [q, k, v, position, r_key, r_query, choice]: [&[f64]; 7]) -> Vec<f64> {
        let Setting { layout, dim, table, dropout, .. } = self;
        let (heads, [q_tokens, k_tokens]) = (layout.heads, self.tokens());
        let (q_segments, k_segments) = (segments(q_tokens), segments(k_tokens));
        let mut out = vec![0.0; q_tokens * heads * dim];
        for s in &layout.sequences() {
            for head in 0..heads {
                let at = |x: &[f64], row: usize| x[(row * heads + head) * dim..][..*dim].to_vec();
                let dot = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                for (query, token) in s.queries.clone().enumerate() {
                    let (pairs, visible) = (layout.pairs(s, query), layout.visible(s, query));
                    let weights: Vec<f64> = (0..s.keys.len())
                        .map(|key| {
                            if !visible.contains(&key) || (!pairs.is_empty() && pairs[key] == 0) {
                                return 0.0;
                            }
                            let of_key = s.keys.start + key;
                            let mut score = dot(at(q, token), at(k, of_key));
                            if self.span() > 0 {
                                let distance = key as i64 - s.place(query) + layout.zero as i64;
                                let row = table[distance.clamp(0, table.len() as i64 - 1) as usize] as usize;
                                if !r_key.is_empty() {
                                    score += dot(at(position, token), at(r_key, row));
                                }
                                if !r_query.is_empty() {
                                    score += dot(at(k, of_key), at(r_query, row));
                                }
                            }
                            if !choice.is_empty() {
                                let other = usize::from(q_segments[token] != k_segments[of_key]);
                                score += choice[(token * heads + head) * 2 + other];
                            }
                            (score * f64::from(layout.scale)).exp()
                        })
                        .collect();
                    let total: f64 = weights.iter().sum();
                    for (key, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                        let mask = dropout.map_or(1.0, |d| {
                            let row = row_key(d.seed, (head * q_tokens + token) as u64);
                            let kept = keep(row, key as u32, threshold(d.p));
                            if kept { 1.0 / (1.0 - f64::from(d.p)) } else { 0.0 }
                        });
                        for (i, value) in at(v, s.keys.start + key).iter().enumerate() {
                            out[(token * heads + head) * dim + i] += mask * weight / total * value;
                        }
                    }
                }
            }
        }
        out
    }
}

fn setting(q: &[u32], k: &[u32], heads: usize, dim: usize, mask: Mask) -> Setting {
    let layout = AttendLayout {
        q_offsets: q.into(),
        k_offsets: k.into(),
        scale: 0.3,
        zero: 6,
        ..AttendLayout::new(&[0].into(), heads, dim, mask)
    };
    // Rows fall with the distance, some distances share one, one row is never used.
    let table = vec![7, 7, 6, 5, 5, 4, 3, 2, 2, 1, 1];
    Setting { layout, dim, table, terms: [true; 3], dropout: None }
}

fn wide(numbers: &Numbers) -> [Vec<f64>; 7] {
    numbers.each_ref().map(|x| x.iter().map(|&v| f64::from(v)).collect())
}

#[test]
fn forward_and_gradients_equal_the_definition() {
    let pairs: Arc<[u8]> = random(9, 3 * 5 + 6 * 4).iter().map(|&x| u8::from(x > 0.0)).collect();
    let mut settings = vec![
        setting(&[0, 1], &[0, 1], 1, 1, Mask::Full),
        setting(&[0, 3, 3, 9], &[0, 5, 7, 11], 2, 5, Mask::Full),
        setting(&[0, 10], &[0, 10], 1, 16, Mask::Full),
        setting(&[0, 3, 9], &[0, 20, 24], 2, 4, Mask::Causal),
        setting(&[0, 18], &[0, 18], 1, 3, Mask::Window { left: 2, right: 1 }),
        setting(&[0, 3, 9], &[0, 5, 9], 2, 4, Mask::Pairs(pairs)),
        setting(&[0, 2, 3], &[0, 0, 5], 2, 4, Mask::Full),
    ];
    let mut room = setting(&[0, 1, 4], &[0, 9, 20], 2, 4, Mask::Causal);
    room.layout.k_lens = Some([6, 11].into());
    settings.push(room);
    let mut seen = 0;
    for setting in settings {
        for terms in [[true; 3], [true, false, false], [false, true, false], [false, false, true], [false; 3]]
        {
            for dropout in [None, Some(Dropout { p: 0.3, seed: 11 })] {
                let mut setting = Setting { terms, dropout, ..setting.clone() };
                if !terms[0] && !terms[1] {
                    setting.table.clear();
                }
                let (numbers, d_out) = (setting.numbers(), setting.d_out());
                let run = setting.run(&numbers, &d_out);
                let exact = wide(&numbers);
                close(&run.out, &setting.reference(exact.each_ref().map(|x| &x[..])), 3e-6);
                for input in 0..7 {
                    let loss = |x: &[f64]| {
                        let mut numbers = exact.each_ref().map(|x| &x[..]);
                        numbers[input] = x;
                        setting
                            .reference(numbers)
                            .iter()
                            .zip(&d_out)
                            .map(|(y, d)| y * f64::from(*d))
                            .sum::<f64>()
                    };
                    // One more number, because a single key has a gradient of 0 but for roundings.
                    let mut expected = gradient(&numbers[input], loss);
                    expected.push(1.0);
                    close(&[&run.grads[input][..], &[1.0]].concat(), &expected, 6e-6);
                    seen += usize::from(!numbers[input].is_empty());
                }
            }
        }
    }
    assert_eq!(seen, 8 * 2 * (7 + 5 + 4 + 4 + 3));
}

#[test]
fn long_sequences_go_through_blocks() {
    for mask in [Mask::Full, Mask::Causal, Mask::Window { left: 90, right: 40 }] {
        let mut setting = setting(&[0, 400, 401], &[0, 500, 900], 2, 16, mask);
        setting.layout.zero = 300;
        setting.table = (0..620).map(|at: u32| (at / 2).abs_diff(150)).collect();
        setting.dropout = Some(Dropout { p: 0.1, seed: 2 });
        let (numbers, d_out) = (setting.numbers(), setting.d_out());
        let run = setting.run(&numbers, &d_out);
        let exact = wide(&numbers);
        // Scores of about 20 carry their rounding into the exponent.
        close(&run.out, &setting.reference(exact.each_ref().map(|x| &x[..])), 8e-6);
        // One direction instead of thousands of differences.
        for (input, grad) in run.grads.iter().enumerate() {
            let direction = random(10, grad.len());
            let loss = |t: f64| {
                let mut moved = exact.clone();
                moved[input].iter_mut().zip(&direction).for_each(|(x, d)| *x += t * f64::from(*d));
                let out = setting.reference(moved.each_ref().map(|x| &x[..]));
                out.iter().zip(&d_out).map(|(y, d)| y * f64::from(*d)).sum::<f64>()
            };
            let expected = (loss(1e-6) - loss(-1e-6)) / 2e-6;
            let actual: f64 = grad.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
            let error = (actual - expected).abs();
            assert!(error < 1e-4 * expected.abs().max(1.0), "input {input}: {actual} instead of {expected}");
        }
    }
}

#[test]
fn without_terms_the_bits_are_those_of_attend() {
    let mut setting = setting(&[0, 3, 150], &[0, 40, 190], 2, 16, Mask::Causal);
    (setting.terms, setting.dropout) = ([false; 3], Some(Dropout { p: 0.2, seed: 4 }));
    setting.table.clear();
    let (numbers, d_out) = (setting.numbers(), setting.d_out());
    let run = setting.run(&numbers, &d_out);
    let [q, k, v, ..] = &numbers;
    let (layout, dropout) = (&setting.layout, setting.dropout);
    let (mut out, mut lse) = (run.out.clone(), run.lse.clone());
    crate::attend::forward(q, k, v, layout, None, dropout, &mut out, &mut lse);
    assert!(out == run.out && lse == run.lse);
    let [mut d_q, mut d_k, mut d_v] = [q, k, v].map(|x| x.to_vec());
    crate::attend::backward(
        q,
        k,
        v,
        layout,
        None,
        dropout,
        &out,
        &lse,
        &d_out,
        &mut d_q,
        &mut d_k,
        &mut d_v,
        &mut [],
    );
    assert!([d_q, d_k, d_v] == run.grads[..3]);
}

#[test]
fn a_sequence_does_not_depend_on_its_neighbours() {
    let offsets = [0, 5, 45, 46, 200];
    let all = setting(&offsets, &offsets, 4, 8, Mask::Full);
    let (numbers, d_out) = (all.numbers(), all.d_out());
    let run = all.run(&numbers, &d_out);
    for s in offsets.windows(2) {
        let mut one = all.clone();
        (one.layout.q_offsets, one.layout.k_offsets) = ([0, s[1] - s[0]].into(), [0, s[1] - s[0]].into());
        let cut = |x: &[f32]| {
            let width = x.len() / 200;
            x[s[0] as usize * width..s[1] as usize * width].to_vec()
        };
        let [q, k, v, position, r_key, r_query, choice] = &numbers;
        let own = [cut(q), cut(k), cut(v), cut(position), r_key.clone(), r_query.clone(), cut(choice)];
        let segments = &segments(200)[s[0] as usize..s[1] as usize];
        let alone = one.run_with(&own, &cut(&d_out), [segments, segments]);
        assert!(alone.out == cut(&run.out));
        for input in [0, 1, 2, 3, 6] {
            assert!(alone.grads[input] == cut(&run.grads[input]), "gradient {input}");
        }
    }
}

#[test]
fn threads_do_not_change_bits() {
    let mut setting = setting(&[0, 100, 101, 300], &[0, 100, 300, 500], 4, 16, Mask::Causal);
    setting.dropout = Some(Dropout { p: 0.1, seed: 1 });
    let (numbers, d_out) = (setting.numbers(), setting.d_out());
    same_on_any_threads(|| {
        let Results { out, lse, grads } = setting.run(&numbers, &d_out);
        [out, lse, grads.concat()].concat()
    });
}

#[test]
#[should_panic(expected = "relative_attend: the table leads to row Some(8) of 8")]
fn a_table_beyond_the_rows_is_refused() {
    let setting = setting(&[0, 2], &[0, 2], 1, 4, Mask::Full);
    let numbers = setting.numbers();
    Setting { table: vec![8], ..setting.clone() }.run(&numbers, &setting.d_out());
}

#[test]
fn nothing_to_attend_to_is_fine_and_nan_is_seen() {
    let empty = setting(&[0, 0], &[0, 0], 2, 4, Mask::Causal);
    empty.run(&Numbers::default(), &[]);
    let setting = setting(&[0, 4], &[0, 4], 1, 4, Mask::Full);
    let mut numbers = setting.numbers();
    numbers[3][1] = f32::NAN;
    let run = setting.run(&numbers, &setting.d_out());
    assert!(run.out[..4].iter().all(|x| x.is_nan()) && run.out[4..].iter().all(|x| x.is_finite()));
}

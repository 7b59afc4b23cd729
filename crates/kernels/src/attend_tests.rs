//! Tests of [`super`]: against the definition in f64, against [`crate::attention`] and against itself.

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
    v_dim: usize,
    span: usize,
    dropout: Option<Dropout>,
}

struct Results {
    out: Vec<f32>,
    lse: Vec<f32>,
    grads: [Vec<f32>; 4],
}

impl Setting {
    fn tokens(&self) -> [usize; 2] {
        [&self.layout.q_offsets, &self.layout.k_offsets].map(|offsets| *offsets.last().unwrap() as usize)
    }

    /// q, k, v and the bias.
    fn inputs(&self) -> [Vec<f32>; 4] {
        let ([q, k], layout) = (self.tokens(), &self.layout);
        [
            random(1, q * layout.heads * self.dim),
            random(2, k * layout.kv_heads * self.dim),
            random(3, k * layout.kv_heads * self.v_dim),
            random(4, layout.heads * self.span),
        ]
    }

    fn d_out(&self) -> Vec<f32> {
        random(5, self.tokens()[0] * self.layout.heads * self.v_dim)
    }

    fn run(&self, [q, k, v, bias]: &[Vec<f32>; 4], d_out: &[f32]) -> Results {
        let bias = (self.span > 0).then_some(&bias[..]);
        let (mut out, mut lse) =
            (vec![f32::NAN; d_out.len()], vec![f32::NAN; self.tokens()[0] * self.layout.heads]);
        forward(q, k, v, &self.layout, bias, self.dropout, &mut out, &mut lse);
        let mut grads = [q, k, v, bias.unwrap_or_default()].map(|x| vec![f32::NAN; x.len()]);
        let [d_q, d_k, d_v, d_bias] = &mut grads;
        let (layout, dropout) = (&self.layout, self.dropout);
        backward(q, k, v, layout, bias, dropout, &out, &lse, d_out, d_q, d_k, d_v, d_bias);
        Results { out, lse, grads }
    }

    fn reference(&self, [q, k, v, bias]: [&[f64]; 4]) -> Vec<f64> {
        let Setting { layout, dim, v_dim, span, dropout } = self;
        let (heads, kv_heads, [q_tokens, _]) = (layout.heads, layout.kv_heads, self.tokens());
        let mut out = vec![0.0; q_tokens * heads * v_dim];
        for s in &layout.sequences() {
            for head in 0..heads {
                let shared = head / (heads / kv_heads);
                for (query, token) in s.queries.clone().enumerate() {
                    let pairs = layout.pairs(s, query);
                    let visible = layout.visible(s, query);
                    let weights: Vec<f64> = (0..s.keys.len())
                        .map(|key| {
                            if !visible.contains(&key) || (!pairs.is_empty() && pairs[key] == 0) {
                                return 0.0;
                            }
                            let q = &q[(token * heads + head) * dim..][..*dim];
                            let k = &k[((s.keys.start + key) * kv_heads + shared) * dim..][..*dim];
                            let score: f64 = q.iter().zip(k).map(|(q, k)| q * k).sum();
                            let distance = key as i64 - s.place(query);
                            let at =
                                (distance + layout.zero as i64).clamp(0, (*span).max(1) as i64 - 1) as usize;
                            let bias = if *span > 0 { bias[head * span + at] } else { 0.0 };
                            (score * f64::from(layout.scale) + bias).exp()
                        })
                        .collect();
                    let total: f64 = weights.iter().sum();
                    for (key, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                        let mask = dropout.map_or(1.0, |d| {
                            let row = row_key(d.seed, (head * q_tokens + token) as u64);
                            let kept = keep(row, key as u32, threshold(d.p));
                            if kept { 1.0 / (1.0 - f64::from(d.p)) } else { 0.0 }
                        });
                        for i in 0..*v_dim {
                            out[(token * heads + head) * v_dim + i] += mask * weight / total
                                * v[((s.keys.start + key) * kv_heads + shared) * v_dim + i];
                        }
                    }
                }
            }
        }
        out
    }
}

fn setting(q: &[u32], k: &[u32], [heads, kv_heads, dim, v_dim]: [usize; 4], mask: Mask) -> Setting {
    let layout = AttendLayout {
        q_offsets: q.into(),
        k_offsets: k.into(),
        kv_heads,
        scale: 0.3,
        ..AttendLayout::new(&[0].into(), heads, dim, mask)
    };
    Setting { layout, dim, v_dim, span: 0, dropout: None }
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| f64::from(v)).collect()
}

fn settings() -> Vec<Setting> {
    let window = Mask::Window { left: 2, right: 1 };
    let causal_window = Mask::Window { left: 3, right: 0 };
    let pairs: Arc<[u8]> = random(9, 3 * 5 + 6 * 4).iter().map(|&x| u8::from(x > 0.0)).collect();
    let mut all = vec![
        setting(&[0, 1], &[0, 1], [1, 1, 1, 1], Mask::Full),
        setting(&[0, 3, 3, 9], &[0, 5, 7, 11], [2, 2, 5, 5], Mask::Full),
        setting(&[0, 4, 20], &[0, 4, 20], [2, 1, 8, 3], Mask::Causal),
        setting(&[0, 1, 3, 9], &[0, 20, 27, 31], [4, 2, 16, 16], Mask::Causal),
        setting(&[0, 24], &[0, 24], [1, 1, 4, 4], window.clone()),
        setting(&[0, 3, 9], &[0, 30, 34], [2, 2, 4, 6], causal_window),
        setting(&[0, 3, 9], &[0, 5, 9], [2, 1, 4, 4], Mask::Pairs(pairs)),
        setting(&[0, 2, 3], &[0, 0, 5], [2, 2, 4, 4], Mask::Full),
    ];
    let mut room = setting(&[0, 1, 4], &[0, 9, 20], [2, 1, 4, 4], Mask::Causal);
    room.layout.k_lens = Some([6, 11].into());
    all.push(room);
    all
}

#[test]
fn forward_and_gradients_equal_the_definition() {
    let mut seen = 0;
    for setting in settings() {
        for span in [0, 1, 5, 64] {
            for dropout in [None, Some(Dropout { p: 0.3, seed: 11 })] {
                let mut setting = Setting { span, dropout, ..setting.clone() };
                setting.layout.zero = span / 2;
                let (inputs, d_out) = (setting.inputs(), setting.d_out());
                let run = setting.run(&inputs, &d_out);
                let exact = inputs.each_ref().map(|x| wide(x));
                close(&run.out, &setting.reference(exact.each_ref().map(|x| &x[..])), 2e-6);
                for input in 0..4 {
                    let loss = |x: &[f64]| {
                        let mut inputs = exact.each_ref().map(|x| &x[..]);
                        inputs[input] = x;
                        setting
                            .reference(inputs)
                            .iter()
                            .zip(&d_out)
                            .map(|(y, d)| y * f64::from(*d))
                            .sum::<f64>()
                    };
                    // One more number, because a single key has a gradient of 0 but for roundings.
                    let mut expected = gradient(&inputs[input], loss);
                    expected.push(1.0);
                    close(&[&run.grads[input][..], &[1.0]].concat(), &expected, 5e-6);
                    seen += usize::from(!inputs[input].is_empty());
                }
            }
        }
    }
    assert_eq!(seen, 9 * 2 * (4 * 3 + 3));
}

#[test]
fn long_sequences_go_through_blocks() {
    let mut setting = setting(&[0, 700, 701], &[0, 700, 1900], [2, 1, 8, 8], Mask::Causal);
    for mask in [Mask::Causal, Mask::Full, Mask::Window { left: 90, right: 40 }] {
        setting.layout.mask = mask;
        (setting.span, setting.layout.zero, setting.dropout) = (300, 250, Some(Dropout { p: 0.1, seed: 2 }));
        let (inputs, d_out) = (setting.inputs(), setting.d_out());
        let run = setting.run(&inputs, &d_out);
        let exact = inputs.each_ref().map(|x| wide(x));
        // Scores of about 10 carry a rounding of 6e-7 into the exponent.
        close(&run.out, &setting.reference(exact.each_ref().map(|x| &x[..])), 4e-6);
        // One direction instead of thousands of differences.
        for (input, grad) in run.grads.iter().enumerate() {
            let direction = random(6, grad.len());
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
fn without_masks_the_bits_are_those_of_attention() {
    let (offsets, heads, dim) = ([0, 1, 40, 180], 3, 16);
    let setting = setting(&offsets, &offsets, [heads, heads, dim, dim], Mask::Full);
    for dropout in [None, Some(Dropout { p: 0.2, seed: 4 })] {
        let setting = Setting { dropout, ..setting.clone() };
        let (inputs, d_out) = (setting.inputs(), setting.d_out());
        let run = setting.run(&inputs, &d_out);
        let hidden = heads * dim;
        let together = |parts: [&[f32]; 3]| -> Vec<f32> {
            (0..180).flat_map(|token| parts.map(|part| &part[token * hidden..][..hidden]).concat()).collect()
        };
        let qkv = together([&inputs[0], &inputs[1], &inputs[2]]);
        let (mut out, mut lse, mut d_qkv) = (run.out.clone(), run.lse.clone(), qkv.clone());
        crate::attention::forward(&qkv, &offsets, heads, 0.3, dropout, &mut out, &mut lse);
        crate::attention::backward(&qkv, &offsets, heads, 0.3, dropout, &out, &lse, &d_out, &mut d_qkv);
        assert!(run.out == out && run.lse == lse);
        let [d_q, d_k, d_v, _] = &run.grads;
        assert!(together([d_q, d_k, d_v]) == d_qkv);
    }
}

#[test]
fn a_query_over_a_cache_has_the_bits_it_had_in_the_whole_sequence() {
    let (tokens, heads, kv_heads, dim) = (150, 4, 2, 16);
    for mask in [Mask::Causal, Mask::Window { left: 37, right: 0 }] {
        let mut whole = setting(&[0, tokens], &[0, tokens], [heads, kv_heads, dim, dim], mask);
        (whole.span, whole.layout.zero) = (40, 39);
        let inputs = whole.inputs();
        let all = whole.run(&inputs, &whole.d_out());
        for (first, last) in [(149, 150), (0, 1), (60, 61), (17, 149), (3, 40)] {
            let mut part = whole.clone();
            part.layout.q_offsets = [0, last - first].into();
            // The cache has room for all, of which the first are in use.
            part.layout.k_lens = Some([last].into());
            let rows = first as usize * heads * dim..last as usize * heads * dim;
            let [q, k, v, bias] = inputs.clone();
            let got = part.run(&[q[rows.clone()].to_vec(), k, v, bias], &all.out[rows.clone()]);
            assert!(got.out == all.out[rows], "{first}..{last}");
        }
    }
}

#[test]
fn a_sequence_does_not_depend_on_its_neighbours() {
    let offsets = [0, 5, 45, 46, 200];
    let mut all = setting(&offsets, &offsets, [4, 2, 8, 8], Mask::Causal);
    (all.span, all.layout.zero) = (30, 29);
    let inputs = all.inputs();
    let d_out = all.d_out();
    let run = all.run(&inputs, &d_out);
    for s in offsets.windows(2) {
        let mut one = all.clone();
        (one.layout.q_offsets, one.layout.k_offsets) = ([0, s[1] - s[0]].into(), [0, s[1] - s[0]].into());
        let cut = |x: &[f32]| {
            let width = x.len() / 200;
            x[s[0] as usize * width..s[1] as usize * width].to_vec()
        };
        let [q, k, v, bias] = &inputs;
        let alone = one.run(&[cut(q), cut(k), cut(v), bias.clone()], &cut(&d_out));
        assert!(alone.out == cut(&run.out));
        for input in 0..3 {
            assert!(alone.grads[input] == cut(&run.grads[input]), "gradient {input}");
        }
    }
}

#[test]
fn threads_do_not_change_bits() {
    let mut setting = setting(&[0, 100, 101, 300], &[0, 100, 400, 600], [4, 2, 32, 32], Mask::Causal);
    (setting.span, setting.layout.zero, setting.dropout) = (99, 98, Some(Dropout { p: 0.1, seed: 1 }));
    let (inputs, d_out) = (setting.inputs(), setting.d_out());
    same_on_any_threads(|| {
        let Results { out, lse, grads } = setting.run(&inputs, &d_out);
        [out, lse, grads.concat()].concat()
    });
}

#[test]
fn nothing_to_attend_to_is_zero_and_nan_is_seen() {
    setting(&[0, 0], &[0, 0], [2, 2, 4, 4], Mask::Causal).run(&[vec![], vec![], vec![], vec![]], &[]);
    // Two queries stand before the first key.
    let early = setting(&[0, 4], &[0, 2], [1, 1, 4, 4], Mask::Causal);
    let run = early.run(&early.inputs(), &early.d_out());
    assert_eq!(run.out[..8], [0.0; 8]);
    assert_eq!(run.lse[..2], [f32::INFINITY; 2]);
    assert_eq!(run.grads[0][..8], [0.0; 8]);
    assert!(run.out[8..].iter().all(|x| x.is_finite()) && run.lse[2].is_finite());
    let mut inputs = early.inputs();
    inputs[0][13] = f32::NAN;
    let run = early.run(&inputs, &early.d_out());
    assert!(run.out[12..].iter().all(|x| x.is_nan()));
    assert!(run.out[..12].iter().all(|x| x.is_finite()));
}

#[test]
#[should_panic(expected = "attend: 3 heads cannot share 2 heads of keys")]
fn heads_that_do_not_divide_are_refused() {
    let odd = setting(&[0, 1], &[0, 1], [3, 2, 4, 4], Mask::Full);
    odd.run(&odd.inputs(), &odd.d_out());
}

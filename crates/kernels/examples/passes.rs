//! Measures everything but the matrix products, on 8 sequences of 128 tokens in the shapes of BERT-base and MiniLM.
#![allow(clippy::print_stdout, reason = "its output is the measurement")]

use std::time::{Duration, Instant};

use topwork_kernels::activation::{self, Activation};
use topwork_kernels::adamw::{self, AdamW};
use topwork_kernels::{Dropout, attention, embedding, loss, norm};

/// Best of many runs: the machine may be busy with other work.
fn best(mut run: impl FnMut()) -> f64 {
    run();
    let (mut best, begin) = (f64::INFINITY, Instant::now());
    while begin.elapsed() < Duration::from_millis(150) {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

fn data(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect()
}

fn main() {
    let tokens = 1024;
    let offsets: Vec<u32> = (0..=8).map(|i| i * 128).collect();
    for (hidden, heads) in [(768, 12), (384, 12)] {
        println!("hidden {hidden}, milliseconds (and GB/s of the bytes that must move):");
        let report = |name: &str, floats: usize, seconds: f64| {
            println!("  {name:24} {:7.3}  {:6.1}", seconds * 1e3, floats as f64 * 4.0 / seconds / 1e9);
        };
        let size = tokens * hidden;
        let (qkv, d_out) = (data(3 * size), data(size));
        let (mut out, mut lse) = (vec![0.0; size], vec![0.0; heads * tokens]);
        let mut d_qkv = vec![0.0; 3 * size];
        for dropout in [None, Some(Dropout { p: 0.1, seed: 1 })] {
            let name = if dropout.is_some() { " dropout" } else { "" };
            let seconds =
                best(|| attention::forward(&qkv, &offsets, heads, 0.125, dropout, &mut out, &mut lse));
            report(&format!("attention{name}"), 4 * size, seconds);
            let seconds = best(|| {
                attention::backward(&qkv, &offsets, heads, 0.125, dropout, &out, &lse, &d_out, &mut d_qkv);
            });
            report(&format!("attention back{name}"), 8 * size, seconds);
            let (gamma, beta) = (data(hidden), data(hidden));
            let (mut sum, mut mean, mut rstd) = (vec![0.0; size], vec![0.0; tokens], vec![0.0; tokens]);
            let residual = data(size);
            let seconds = best(|| {
                norm::forward(
                    &d_out,
                    Some(&residual),
                    &gamma,
                    &beta,
                    1e-12,
                    dropout,
                    &mut out,
                    &mut sum,
                    &mut mean,
                    &mut rstd,
                );
            });
            report(&format!("norm{name}"), 4 * size, seconds);
            let (mut d_gamma, mut d_beta) = (data(hidden), data(hidden));
            let seconds = best(|| {
                norm::backward(&d_out, &sum, &mean, &rstd, &gamma, &mut out, &mut d_gamma, &mut d_beta);
            });
            report("norm back", 3 * size, seconds);
        }
        let (x, bias, mut y) = (data(4 * size), data(4 * hidden), vec![0.0; 4 * size]);
        let (dy, mut d_bias) = (data(4 * size), vec![0.0; 4 * hidden]);
        for act in [Activation::Gelu, Activation::GeluTanh] {
            let seconds = best(|| activation::forward(&x, &bias, act, &mut y));
            report(&format!("bias + {act:?}"), 8 * size, seconds);
            let seconds = best(|| activation::backward(&x, &bias, act, &dy, &mut y, &mut d_bias));
            report(&format!("bias + {act:?} back"), 12 * size, seconds);
        }
        let len = 30522 * hidden;
        let settings = AdamW {
            lr: 1e-5,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.01,
            step: 3,
            grad_scale: 1.0,
        };
        let (mut param, grad, mut m, mut v) = (data(len), data(len), data(len), vec![0.1; len]);
        report("adamw", 7 * len, best(|| adamw::dense(&mut param, &grad, &mut m, &mut v, &settings)));
        report("sum of squares", len, best(|| assert!(adamw::sum_squares(&grad) > 0.0)));
        let index: Vec<u32> = (0..tokens as u32).map(|i| i * 7919 % 30000).collect();
        let seconds = best(|| embedding::gather(&param, hidden, &index, &mut out, false));
        report("embedding gather", 2 * size, seconds);
        let logits = data(tokens * 30522 / 8);
        let target: Vec<u32> = (0..128).collect();
        let mut lse = vec![0.0; 128];
        let seconds = best(|| {
            loss::cross_entropy_forward(&logits, 30522, &target, None, 0.0, &mut lse);
        });
        report("cross entropy 128x30522", logits.len(), seconds);
    }
}

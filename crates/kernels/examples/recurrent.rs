//! Times a training step of one LSTM layer in one direction, input product included.
//!
//! ```text
//! cargo run --release -p topwork-kernels --example recurrent -- HIDDEN [REPEATS]
//! ```
//!
//! 32 sequences of 20 to 60 tokens, inputs as wide as the states; prints the median in milliseconds, and that of the
//! forward alone.
#![allow(clippy::print_stdout, reason = "its output is the measurement")]

use std::time::Instant;

use topwork_kernels::lstm::{self, Lstm};
use topwork_kernels::rng::Stream;
use topwork_kernels::{Mat, MatMut, Precision, gemm, unwritten};

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let (hidden, repeats) = (arguments.next().unwrap_or(512), arguments.next().unwrap_or(7));
    let mut offsets = vec![0_u32];
    for sequence in 0..32 {
        offsets.push(offsets[sequence as usize] + 20 + sequence * 7 % 41);
    }
    let tokens = offsets[32] as usize;
    let mut stream = Stream(1);
    let mut random = |len: usize, scale: f32| (0..len).map(|_| stream.normal() * scale).collect::<Vec<f32>>();
    let scale = 1.0 / (hidden as f32).sqrt();
    let (x, w_x, w_h) = (
        random(tokens * hidden, 1.0),
        random(4 * hidden * hidden, scale),
        random(4 * hidden * hidden, scale),
    );
    let (bias, d_y) = (random(4 * hidden, scale), random(tokens * hidden, 1.0));
    let settings = Lstm::default();
    let mut times = Vec::new();
    for _ in 0..=repeats {
        let start = Instant::now();
        let p = Precision::F32;
        let mut gates_x = unwritten(tokens * 4 * hidden);
        let (xm, wm) = (Mat::new(&x, tokens, hidden), Mat::new(&w_x, 4 * hidden, hidden));
        gemm::nt(xm, wm, MatMut::new(&mut gates_x, tokens, 4 * hidden), Some(&bias), false, p);
        let (mut y, mut gates, mut cells) =
            (unwritten(tokens * hidden), unwritten(tokens * 4 * hidden), unwritten(tokens * hidden));
        let (mut h_n, mut c_n) = (unwritten(32 * hidden), unwritten(32 * hidden));
        lstm::forward(
            &gates_x, &w_h, None, None, &offsets, hidden, settings, &mut y, &mut h_n, &mut c_n, &mut gates,
            &mut cells,
        );
        let forward = start.elapsed();
        let (mut d_gates, mut d_c0, zeros) =
            (unwritten(tokens * 4 * hidden), unwritten(32 * hidden), vec![0.0; 32 * hidden]);
        lstm::backward(
            &d_y,
            &zeros,
            &zeros,
            &y,
            &gates,
            &cells,
            &w_h,
            None,
            None,
            &offsets,
            hidden,
            settings,
            &mut d_gates,
            &mut [],
            &mut [],
            &mut d_c0,
        );
        let mut d_w_h = unwritten(4 * hidden * hidden);
        lstm::d_recurrent(&d_gates, &y, None, &offsets, hidden, settings, &mut d_w_h);
        let dm = Mat::new(&d_gates, tokens, 4 * hidden);
        let (mut d_x, mut d_w_x) = (unwritten(tokens * hidden), unwritten(4 * hidden * hidden));
        gemm::nn(dm, wm, MatMut::new(&mut d_x, tokens, hidden), false, p);
        gemm::tn(dm, xm, MatMut::new(&mut d_w_x, 4 * hidden, hidden), false, p);
        times.push((start.elapsed().as_secs_f64() * 1e3, forward.as_secs_f64() * 1e3));
    }
    // The first run fills caches and pages.
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let all = median(times[1..].iter().map(|times| times.0).collect());
    let forward = median(times[1..].iter().map(|times| times.1).collect());
    println!("{all:.1} {forward:.1}");
}

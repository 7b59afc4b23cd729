//! Measures the matrix products against the peak of this CPU: `cargo run --release --example speed -- [filter]`.
#![allow(clippy::print_stdout, reason = "its output is the measurement")]

use std::time::{Duration, Instant};

use topwork_kernels::{Mat, MatMut, Precision, cpu, gemm};

/// Best of many runs: the machine may be busy with other work.
fn best(mut run: impl FnMut()) -> f64 {
    run();
    let (mut best, begin) = (f64::INFINITY, Instant::now());
    let mut runs = 0;
    while runs < 5 || begin.elapsed() < Duration::from_millis(60) {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

fn main() {
    // On a thread of the pool, as the program runs: the caller of a product then works on it, instead of waiting.
    rayon::scope(|scope| scope.spawn(|_| measure()));
}

fn measure() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let cpu = cpu();
    println!("{} {:?} threads {}", cpu.path.name(), cpu.features, cpu.threads);
    let peaks = [Precision::F32, Precision::Bf16].map(|p| (p, gemm::peak(p)));
    for (p, peak) in peaks {
        println!("peak {p:?}: {peak:.1} GFLOP/s, all threads");
    }
    let shapes = [
        (768, 768),
        (3072, 768),
        (768, 3072),
        (384, 384),
        (1536, 384),
        (384, 1536),
        (1152, 384),
        (2304, 768),
    ];
    for tokens in [1024, 128, 16] {
        for (out, inside) in shapes {
            let x = vec![0.5_f32; tokens * inside];
            let w = vec![0.25_f32; out * inside];
            let dy = vec![0.125_f32; tokens * out];
            let mut y = vec![0.0_f32; tokens * out];
            let mut dx = vec![0.0_f32; tokens * inside];
            let mut dw = vec![0.0_f32; out * inside];
            let flops = 2.0 * (tokens * out * inside) as f64;
            let mut line = format!("tokens {tokens:5} out {out:5} in {inside:5}:");
            for (p, both) in peaks {
                let mut report = |name: &str, seconds: f64| {
                    let speed = flops / seconds / 1e9;
                    line += &format!("  {name} {speed:6.1} ({:3.0}%)", 100.0 * speed / both);
                };
                let (xm, wm, dym) =
                    (Mat::new(&x, tokens, inside), Mat::new(&w, out, inside), Mat::new(&dy, tokens, out));
                if !format!("{p:?}").contains(&filter) {
                    continue;
                }
                report("nt", best(|| gemm::nt(xm, wm, MatMut::new(&mut y, tokens, out), None, false, p)));
                report("nn", best(|| gemm::nn(dym, wm, MatMut::new(&mut dx, tokens, inside), false, p)));
                report("tn", best(|| gemm::tn(dym, xm, MatMut::new(&mut dw, out, inside), false, p)));
            }
            if "Int8".contains(&filter) {
                let weight = gemm::Int8::round(Mat::new(&w, out, inside));
                let a = Mat::new(&x, tokens, inside);
                let seconds = best(|| weight.nt(a, MatMut::new(&mut y, tokens, out), None));
                line += &format!("  int8 {:6.1}", flops / seconds / 1e9);
            }
            println!("{line}  (peak now {:.0})", gemm::peak(Precision::F32));
        }
    }
}

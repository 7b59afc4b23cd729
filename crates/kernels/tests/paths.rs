//! Every instruction set this CPU has gives the same results within rounding.
//!
//! The path is chosen once per process, so each one runs in a process of its own: this test starts itself again
//! with `TOPWORK_CPU` set, and the child writes its results to a file.

use std::path::Path as File;
use std::process::Command;

use topwork_kernels::activation::{self, Activation};
use topwork_kernels::adamw::{self, AdamW};
use topwork_kernels::attend_layout::{AttendLayout, Mask};
use topwork_kernels::conv::{self, Conv};
use topwork_kernels::gated::{Gated, GatedMut, Halves};
use topwork_kernels::lstm::{self, Lstm};
use topwork_kernels::pool::{self, Pool};
use topwork_kernels::relative_attend::{Gradients, Inputs};
use topwork_kernels::rng::Stream;
use topwork_kernels::rotary::{Pairing, Rotary, rotate};
use topwork_kernels::{Dropout, Mat, MatMut, Path, Precision};
use topwork_kernels::{
    attend, attention, conv_max, cpu, dropout, gated, gemm, highway, loss, norm, relative_attend, rms_norm,
};

/// Where the sequences of the batch lie.
const OFFSETS: [u32; 4] = [0, 3, 40, 190];

const CHILD: &str = "TOPWORK_TEST_RESULTS";

fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut stream = Stream(seed);
    (0..len).map(|_| stream.normal()).collect()
}

/// Results of every kernel on the path in use, by name.
fn results() -> Vec<(&'static str, Vec<f32>)> {
    let mut all = Vec::new();
    let (m, n, k) = (70, 101, 517);
    let (a, b, c) = (random(1, m * k), random(2, n * k), random(3, m * n));
    for precision in [Precision::F32, Precision::Bf16] {
        // Bits of bf16 products differ between hardware pairs and emulation, but not by more than f32 rounding.
        let mut y = c.clone();
        gemm::nt(
            Mat::new(&a, m, k),
            Mat::new(&b, n, k),
            MatMut::new(&mut y, m, n),
            Some(&a[..n]),
            true,
            precision,
        );
        all.push(("nt", y.clone()));
        gemm::nn(Mat::new(&a, m, k), Mat::new(&b, k, n), MatMut::new(&mut y, m, n), false, precision);
        all.push(("nn", y.clone()));
        gemm::tn(Mat::new(&a, k, m), Mat::new(&b, k, n), MatMut::new(&mut y, m, n), false, precision);
        all.push(("tn", y));
    }
    let (offsets, heads, hidden) = (OFFSETS, 3, 51);
    let tokens = 190;
    let (qkv, d_out) = (random(4, tokens * 3 * hidden), random(5, tokens * hidden));
    let (mut out, mut lse, mut d_qkv) =
        (vec![0.0; tokens * hidden], vec![0.0; heads * tokens], vec![0.0; tokens * 3 * hidden]);
    let drop = Dropout { p: 0.2, seed: 8 };
    for dropout in [None, Some(drop)] {
        attention::forward(&qkv, &offsets, heads, 0.25, dropout, &mut out, &mut lse);
        attention::backward(&qkv, &offsets, heads, 0.25, dropout, &out, &lse, &d_out, &mut d_qkv);
        all.extend([("attention", out.clone()), ("lse", lse.clone()), ("attention back", d_qkv.clone())]);
    }
    let (gamma, beta) = (random(6, hidden), random(7, hidden));
    let (mut y, mut sum) = (out.clone(), out.clone());
    let (mut mean, mut rstd) = (vec![0.0; tokens], vec![0.0; tokens]);
    norm::forward(
        &d_out,
        Some(&out),
        &gamma,
        &beta,
        1e-5,
        Some(drop),
        &mut y,
        &mut sum,
        &mut mean,
        &mut rstd,
    );
    let (mut d_sum, mut d_gamma, mut d_beta) = (y.clone(), gamma.clone(), beta.clone());
    norm::backward(&d_out, &sum, &mean, &rstd, &gamma, &mut d_sum, &mut d_gamma, &mut d_beta);
    all.extend([("norm", y), ("sum", sum), ("mean", mean), ("rstd", rstd)]);
    all.extend([("norm back", d_sum), ("d_gamma", d_gamma), ("d_beta", d_beta)]);
    let mut y = vec![0.0; out.len()];
    dropout::forward(&d_out, hidden, drop, &mut y);
    all.push(("dropout", y.clone()));
    for act in [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Relu,
        Activation::Silu,
        Activation::Tanh,
    ] {
        activation::forward(&d_out, &gamma, act, &mut y);
        all.push((act.name(), y.clone()));
        let mut d_bias = gamma.clone();
        activation::backward(&d_out, &gamma, act, &out, &mut y, &mut d_bias);
        all.extend([("activation back", y.clone()), ("d_bias", d_bias)]);
    }
    all.extend(of_decoders(&qkv, &d_out, &gamma));
    let mut pooled = vec![0.0; 3 * hidden];
    pool::forward(&d_out, hidden, &offsets, Pool::Mean, &mut pooled, &mut []);
    all.push(("pool", pooled));
    let target: Vec<u32> = (0..tokens as u32).map(|i| i % hidden as u32).collect();
    let mut lse = vec![0.0; tokens];
    let (value, denominator) = loss::cross_entropy_forward(&d_out, hidden, &target, None, 0.1, &mut lse);
    loss::cross_entropy_backward(&d_out, hidden, &target, None, 0.1, &lse, denominator, 1.0, &mut y);
    all.extend([("loss", vec![value]), ("d_logits", y)]);
    all.extend(recurrent(&d_out[..190 * 48], &offsets));
    let (mut m, mut v) = (random(9, 1003), vec![0.5; 1003]);
    let (mut param, grad) = (random(10, 1003), random(11, 1003));
    let settings =
        AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1, step: 2, grad_scale: 0.7 };
    adamw::dense(&mut param, &grad, &mut m, &mut v, &settings);
    all.extend([("param", param), ("m", m), ("v", v), ("squares", vec![adamw::sum_squares(&grad) as f32])]);
    all
}

/// Results of the kernels of decoders and of relative attention, on the sequences of [`results`].
fn of_decoders(qkv: &[f32], d_out: &[f32], gamma: &[f32]) -> Vec<(&'static str, Vec<f32>)> {
    let mut all = Vec::new();
    let (offsets, heads, hidden, tokens, drop) = (OFFSETS, 3, 51, 190, Dropout { p: 0.2, seed: 8 });
    for (mask, bias) in [(Mask::Causal, None), (Mask::Window { left: 9, right: 4 }, Some(&qkv[..60]))] {
        let layout =
            AttendLayout { kv_heads: 1, zero: 8, ..AttendLayout::new(&offsets.into(), heads, 17, mask) };
        let (q, [k, v]) = (&qkv[..tokens * hidden], [&qkv[hidden..], qkv].map(|x| &x[..tokens * 17]));
        let (mut y, mut lse) = (vec![0.0; q.len()], vec![0.0; heads * tokens]);
        attend::forward(q, k, v, &layout, bias, Some(drop), &mut y, &mut lse);
        let [mut d_q, mut d_k, mut d_v] = [q, k, v].map(<[f32]>::to_vec);
        let mut d_bias = bias.unwrap_or_default().to_vec();
        let to = (&mut d_q, &mut d_k, &mut d_v, &mut d_bias);
        attend::backward(q, k, v, &layout, bias, Some(drop), &y, &lse, d_out, to.0, to.1, to.2, to.3);
        all.extend([("attend", y), ("attend lse", lse), ("attend d_q", d_q)]);
        all.extend([("attend d_k", d_k), ("attend d_v", d_v), ("attend d_bias", d_bias)]);
    }
    let layout = AttendLayout { zero: 40, ..AttendLayout::new(&offsets.into(), heads, 17, Mask::Full) };
    let table: Vec<u32> = (0..80).map(|at| at / 2).collect();
    let [q, k, v, position] = [0, 1, 2, 3].map(|at| &qkv[at * hidden..][..tokens * hidden]);
    let [r_key, r_query] = [0, 1].map(|at| &d_out[at * hidden..][..40 * hidden]);
    let (choice, segments) =
        (&d_out[..tokens * heads * 2], (0..tokens as u32).map(|at| at / 2 % 2).collect::<Vec<_>>());
    let (table, q_segments, k_segments) = (&table[..], &segments[..], &segments[..]);
    let inputs = Inputs { q, k, v, position, r_key, r_query, choice, table, q_segments, k_segments };
    let (mut y, mut lse) = (vec![0.0; q.len()], vec![0.0; heads * tokens]);
    relative_attend::forward(inputs, &layout, Some(drop), &mut y, &mut lse);
    let mut grads = [q, k, v, position, r_key, r_query, choice].map(<[f32]>::to_vec);
    let [q, k, v, position, r_key, r_query, choice] = grads.each_mut().map(|x| &mut x[..]);
    let to = Gradients { q, k, v, position, r_key, r_query, choice };
    relative_attend::backward(inputs, &layout, Some(drop), &y, &lse, d_out, to);
    all.extend([("relative_attend", y), ("relative_attend lse", lse)]);
    all.extend(grads.map(|grad| ("relative_attend back", grad)));
    let (mut y, mut d_x) = (d_out.to_vec(), d_out.to_vec());
    let (mut d_gain, mut rstd) = (gamma.to_vec(), vec![0.0; tokens]);
    rms_norm::forward(d_out, gamma, 1e-5, &mut y, &mut rstd);
    rms_norm::backward(&qkv[..d_out.len()], d_out, &rstd, gamma, &mut d_x, &mut d_gain);
    all.extend([("rms_norm", y), ("rms_norm back", d_x), ("d_gain", d_gain)]);
    let positions: Vec<u32> = (0..tokens as u32).collect();
    for pairing in [Pairing::Halves, Pairing::Neighbours] {
        let rotary = Rotary::new(&positions, &[1.0, 0.1, 0.01, 0.003, 0.001], 1.1, pairing);
        let mut y = d_out.to_vec();
        rotate(d_out, heads, &rotary, false, &mut y);
        all.push(("rotary", y));
    }
    let ffn = 3 * hidden / 2;
    let (rows, bias) = (&qkv[..tokens * 2 * ffn], &qkv[..2 * ffn]);
    let (x, mut y) = (Gated::Together(rows, Halves::UpFirst), vec![0.0; tokens * ffn]);
    gated::forward(x, bias, Activation::Silu, ffn, &mut y);
    let (mut d_x, mut d_bias) = (rows.to_vec(), bias.to_vec());
    let to = GatedMut::Together(&mut d_x, Halves::UpFirst);
    gated::backward(x, bias, Activation::Silu, ffn, &y, to, &mut d_bias);
    all.extend([("gated", y), ("gated back", d_x), ("gated d_bias", d_bias)]);
    all
}

/// Results of the kernels of recurrent and convolutional models, on rows of 48.
fn recurrent(x: &[f32], offsets: &[u32]) -> Vec<(&'static str, Vec<f32>)> {
    let (tokens, batch, cell) = (190, 3, 12);
    let scaled = |seed, len| random(seed, len).iter().map(|x| x * 0.2).collect::<Vec<f32>>();
    let (recurrent, d_y, last) = (scaled(12, 48 * cell), random(13, tokens * cell), vec![0.1; batch * cell]);
    let (mut y, mut gates, mut cells) =
        (vec![0.0; tokens * cell], vec![0.0; x.len()], vec![0.0; tokens * cell]);
    let (mut h_n, mut c_n, mut d_gates, mut d_c0) = (last.clone(), last.clone(), gates.clone(), last.clone());
    let settings = Lstm { cell_clip: Some(2.0), ..Lstm::default() };
    lstm::forward(
        x, &recurrent, None, None, offsets, cell, settings, &mut y, &mut h_n, &mut c_n, &mut gates,
        &mut cells,
    );
    lstm::backward(
        &d_y,
        &last,
        &last,
        &y,
        &gates,
        &cells,
        &recurrent,
        None,
        None,
        offsets,
        cell,
        settings,
        &mut d_gates,
        &mut [],
        &mut [],
        &mut d_c0,
    );
    let mut all = vec![("lstm", y.clone()), ("c_n", c_n), ("lstm back", d_gates), ("d_c0", d_c0)];
    let (weight, conv) = (scaled(14, 20 * 48 * 3), Conv::same(3));
    let (mut z, mut d_x, mut d_weight) = (vec![0.0; tokens * 20], x.to_vec(), weight.clone());
    conv::forward(x, 48, &weight, None, offsets, conv, Precision::F32, &mut z);
    conv::d_x(&z, 20, &weight, offsets, conv, Precision::F32, &mut d_x);
    conv::d_weight(&z, x, 48, offsets, conv, Precision::F32, &mut d_weight);
    all.extend([("conv", z), ("conv d_x", d_x), ("conv d_weight", d_weight)]);
    let mut pooled = vec![0.0; batch * 20];
    conv_max::forward(x, 48, &weight, None, offsets, conv, Activation::Tanh, &mut pooled, &mut []);
    all.push(("conv_max", pooled));
    let (mut through, mut d_through, mut d_projected) = (y.clone(), y.clone(), vec![0.0; 2 * y.len()]);
    highway::forward(&y, &x[..2 * y.len()], cell, &mut through);
    highway::backward(&y, &x[..2 * y.len()], cell, &d_y, &mut d_through, &mut d_projected);
    all.extend([("highway", through), ("highway back", d_through), ("d_projected", d_projected)]);
    all
}

fn write(file: &File) {
    let mut bytes = cpu().path.name().as_bytes().to_vec();
    bytes.push(b'\n');
    for (_, values) in results() {
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    assert!(std::fs::write(file, bytes).is_ok());
}

#[test]
fn every_path_agrees() {
    if let Some(file) = std::env::var_os(CHILD) {
        return write(file.as_ref());
    }
    let folder = tempfile::tempdir().unwrap();
    let mine = results();
    let mut compared = Vec::new();
    for path in Path::ALL.into_iter().filter(|path| path.available()) {
        let file = folder.path().join(path.name());
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "every_path_agrees"])
            .env("TOPWORK_CPU", path.name())
            .env(CHILD, &file)
            .status()
            .unwrap();
        assert!(status.success(), "{path:?}");
        let bytes = std::fs::read(&file).unwrap();
        let rest = bytes.strip_prefix(format!("{}\n", path.name()).as_bytes());
        let rest = rest.unwrap_or_else(|| panic!("TOPWORK_CPU={} ran on another path", path.name()));
        let mut theirs = rest.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        for (name, expected) in &mine {
            let scale = expected.iter().fold(1e-30_f32, |scale, x| scale.max(x.abs()));
            for (i, e) in expected.iter().enumerate() {
                let actual = theirs.next().unwrap();
                let error = (actual - e).abs() / scale;
                assert!(error <= 3e-6, "{path:?} {name}[{i}]: {actual} instead of {e}");
            }
        }
        assert!(theirs.next().is_none());
        compared.push(path);
    }
    println!("compared {compared:?} over {} results", mine.len());
    assert!(compared.contains(&Path::Portable));
    assert!(mine.len() > 60);
}

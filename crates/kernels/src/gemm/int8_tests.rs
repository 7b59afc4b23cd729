//! 8-bit products against exact sums, on every path, and the promises about bits.

use super::*;
use crate::testing::{random, same_on_any_threads};

/// The product as its definition says, from the rounded numbers.
fn expected(a: &[f32], weight: &Int8, bias: Option<&[f32]>) -> Vec<f32> {
    let (values, scales) = weight.parts();
    let (n, k) = (weight.rows(), weight.cols());
    let mut out = Vec::new();
    for row in a.chunks_exact(k) {
        let mut bytes = vec![0; k.next_multiple_of(STEP)];
        let (scale, zero) = round_row(row, &mut bytes);
        for col in 0..n {
            let sum: i64 = (0..k)
                .map(|k_at| (i64::from(bytes[k_at]) - zero as i64) * i64::from(values[col * k + k_at]))
                .sum();
            let y = sum as i32 as f32 * (scale * scales[col]);
            out.push(bias.map_or(y, |bias| y + bias[col]));
        }
    }
    out
}

fn run(a: &[f32], weight: &Int8, bias: Option<&[f32]>) -> Vec<f32> {
    let (m, n) = (a.len() / weight.cols(), weight.rows());
    let mut c = vec![f32::NAN; m * n];
    weight.nt(Mat::new(a, m, weight.cols()), MatMut::new(&mut c, m, n), bias);
    c
}

#[test]
fn every_size_gives_the_exact_sums() {
    let mut seen = 0;
    for m in [1, 2, 3, 5, 7, 8, 9, 40] {
        for n in [1, 15, 16, 47, 48, 49, 130] {
            for k in [1, 3, 4, 5, 64, 301] {
                let (a, b, bias) = (random(1, m * k), random(2, n * k), random(3, n));
                let weight = Int8::round(Mat::new(&b, n, k));
                assert_eq!(run(&a, &weight, None), expected(&a, &weight, None), "{m} x {n} x {k}");
                assert_eq!(run(&a, &weight, Some(&bias)), expected(&a, &weight, Some(&bias)));
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 8 * 7 * 6);
}

#[test]
fn the_plain_loop_gives_the_same_sums() {
    let (m, n, k) = (HEIGHT, WIDTH, 77);
    let (a, b) = (random(1, m * k), random(2, n * k));
    let weight = Int8::round(Mat::new(&b, n, k));
    let steps = k.div_ceil(STEP);
    let mut rounded = vec![0.0_f32; m * (steps + 2)];
    for (row, to) in rounded.chunks_exact_mut(steps + 2).enumerate() {
        round_row(&a[row * k..][..k], as_bytes(&mut to[..steps]));
    }
    let (mut fast, mut slow) = ([1; HEIGHT * WIDTH], [2; HEIGHT * WIDTH]);
    tile(&rounded, &weight.panels, steps, &mut fast);
    plain(&rounded, &weight.panels, steps, &mut slow);
    assert_eq!(fast, slow);
}

#[test]
fn the_error_is_that_of_rounding() {
    let (m, n, k) = (20, 60, 400);
    let (a, b) = (random(1, m * k), random(2, n * k));
    let weight = Int8::round(Mat::new(&b, n, k));
    let got = run(&a, &weight, None);
    let mut worst = 0.0_f64;
    let mut size = 0.0_f64;
    for (row, got) in a.chunks_exact(k).zip(got.chunks_exact(n)) {
        for (b, &got) in b.chunks_exact(k).zip(got) {
            let exact: f64 = row.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            worst = worst.max((exact - f64::from(got)).abs());
            size = size.max(exact.abs());
        }
    }
    assert!(worst > 0.0, "8 bits are not exact");
    assert!(worst < 0.02 * size, "{worst} of {size}");
}

#[test]
fn a_weight_in_8_bits_comes_back_as_it_was() {
    let (n, k) = (50, 13);
    let values: Vec<i8> = (0..n * k).map(|i| (i % 255) as i8).map(|v| v.max(-127)).collect();
    let weight = Int8::new(&values, vec![0.5; n], k);
    assert_eq!(weight.parts(), (values, &[0.5; 50][..]));
    assert!(weight.bytes() < 4 * n * k);
}

#[test]
fn neither_threads_nor_neighbours_change_a_bit() {
    let (m, n, k) = (70, 200, 96);
    let (a, b) = (random(1, m * k), random(2, n * k));
    let weight = Int8::round(Mat::new(&b, n, k));
    same_on_any_threads(|| run(&a, &weight, None));
    let all = run(&a, &weight, None);
    for row in [0, 1, 33, 69] {
        let alone = run(&a[row * k..][..k], &weight, None);
        assert_eq!(alone, all[row * n..][..n], "row {row}");
    }
}

#[test]
fn what_is_not_finite_stays_visible_in_its_row() {
    let (n, k) = (20, 40);
    let mut b = random(2, n * k);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, 17, 39] {
            let mut a = random(1, 3 * k);
            a[k + at] = bad;
            let y = run(&a, &Int8::round(Mat::new(&b, n, k)), None);
            assert!(y[..n].iter().chain(&y[2 * n..]).all(|y| y.is_finite()));
            assert!(y[n..2 * n].iter().all(|y| y.is_nan()), "{bad} at {at}");
        }
    }
    b[3 * k + 5] = f32::NAN;
    let y = run(&random(1, k), &Int8::round(Mat::new(&b, n, k)), None);
    assert!(y.iter().enumerate().all(|(col, y)| y.is_nan() == (col == 3)));
}

#[test]
fn zeros_and_tiny_numbers_give_zeros() {
    let (n, k) = (20, 40);
    let b = random(2, n * k);
    let weight = Int8::round(Mat::new(&b, n, k));
    for x in [0.0, -0.0, 1e-40, f32::MIN_POSITIVE] {
        assert!(run(&vec![x; k], &weight, None).iter().all(|y| y.abs() < 1e-30), "{x}");
    }
    let zero = Int8::round(Mat::new(&vec![0.0; n * k], n, k));
    assert!(run(&random(1, k), &zero, None).iter().all(|&y| y == 0.0));
}

#[test]
fn nothing_times_nothing_is_nothing() {
    let weight = Int8::new(&[], vec![1.0; 5], 0);
    let mut c = vec![f32::NAN; 10];
    weight.nt(Mat::new(&[], 2, 0), MatMut::new(&mut c, 2, 5), Some(&[1.0, 2.0, 3.0, 4.0, 5.0]));
    assert_eq!(c, [1.0, 2.0, 3.0, 4.0, 5.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert!(run(&[], &Int8::round(Mat::new(&[0.0; 12], 3, 4)), None).is_empty());
}

#[test]
#[should_panic(expected = "int8: a has 3 columns, the weight 4")]
fn a_factor_of_another_width_is_refused() {
    run_wrong();
}

fn run_wrong() {
    let weight = Int8::round(Mat::new(&[0.0; 8], 2, 4));
    weight.nt(Mat::new(&[0.0; 3], 1, 3), MatMut::new(&mut [0.0; 2], 1, 2), None);
}

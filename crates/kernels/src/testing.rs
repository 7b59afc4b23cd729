//! What the unit tests of this crate share: random data, comparison against f64, central differences.

use crate::rng::Stream;

/// `len` normal numbers, fixed by `seed`.
pub(crate) fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut stream = Stream(seed.wrapping_mul(0x1234_5678_9abc_def1));
    (0..len).map(|_| stream.normal()).collect()
}

/// Asserts that `actual` is within `tolerance` of `expected`, relative to the largest expected magnitude.
#[track_caller]
pub(crate) fn close(actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    let scale = expected.iter().fold(1e-30_f64, |scale, value| scale.max(value.abs()));
    for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(*a) - e).abs() / scale;
        assert!(error <= tolerance, "[{index}]: {a} instead of {e}, error {error:e} of scale {scale}");
    }
}

/// The gradient of `f` at `x` by central differences in f64.
pub(crate) fn gradient(x: &[f32], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let mut x: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
    (0..x.len())
        .map(|i| {
            let (at, step) = (x[i], 1e-5);
            x[i] = at + step;
            let above = f(&x);
            x[i] = at - step;
            let below = f(&x);
            x[i] = at;
            (above - below) / (2.0 * step)
        })
        .collect()
}

/// Runs `f` on pools of 1, 2 and 3 threads and asserts the same bits.
#[track_caller]
pub(crate) fn same_on_any_threads(f: impl Fn() -> Vec<f32> + Sync) {
    let bits = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(&f).into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let one = bits(1);
    for threads in [2, 3] {
        assert!(bits(threads) == one, "{threads} threads give other bits than one");
    }
}

#[test]
#[should_panic(expected = "error")]
fn one_percent_is_not_close() {
    close(&[1.01], &[1.0], 1e-3);
}

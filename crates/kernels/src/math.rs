//! Elementary functions without branches or calls, so that loops over them vectorise.
//!
//! Each is within about 1.5 units in the last place of the true value (tested against f64); NaN gives NaN.
//! `FMA` says whether `mul_add` is one instruction (see `multiversion!`).

/// `a * b + c`, fused where the CPU can.
#[inline(always)]
pub(crate) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `e^x`; 0 below -87.3, infinity above 88.37 (a little before the true overflow at 88.72).
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    const LOW: f32 = -87.3;
    const HIGH: f32 = 88.37;
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // Comparisons, not min/max: those would turn NaN into a number.
    let inside = if x < LOW { LOW } else { x };
    let inside = if inside > HIGH { HIGH } else { inside };
    let shifted = fma::<FMA>(inside, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // ln 2 in two parts, the first exact in few bits.
    let r = fma::<FMA>(n, -0.693_359_4, inside);
    let r = fma::<FMA>(n, 2.121_944_4e-4, r);
    // Cephes expf: e^r = 1 + r + r^2 P(r) on |r| <= ln2 / 2.
    let mut p = 1.987_569_1e-4;
    p = fma::<FMA>(p, r, 1.398_2e-3);
    p = fma::<FMA>(p, r, 8.333_452e-3);
    p = fma::<FMA>(p, r, 4.166_579_6e-2);
    p = fma::<FMA>(p, r, 1.666_666_5e-1);
    p = fma::<FMA>(p, r, 0.5);
    let y = fma::<FMA>(p, r * r, r) + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    let y = y * power;
    let y = if x < LOW { 0.0 } else { y };
    if x > HIGH { f32::INFINITY } else { y }
}

/// The error function. Coefficients: N. Juffa, <https://stackoverflow.com/a/35148199>.
#[inline(always)]
pub(crate) fn erf<const FMA: bool>(x: f32) -> f32 {
    let t = x.abs();
    let s = x * x;
    // |x| > 0.93: 1 - e^(polynomial).
    let mut far = fma::<FMA>(-1.728_534_7e-5, t, 3.831_971_3e-4);
    far = fma::<FMA>(far, s, fma::<FMA>(-3.883_964_4e-3, t, 2.425_462_2e-2));
    far = fma::<FMA>(far, t, -1.067_778_8e-1);
    far = fma::<FMA>(far, t, -6.348_467e-1);
    far = fma::<FMA>(far, t, -1.287_175_1e-1);
    far = fma::<FMA>(far, t, -t);
    let far = (1.0 - exp::<FMA>(far)).copysign(x);
    // Otherwise an odd polynomial.
    let mut near = -5.967_617e-4;
    near = fma::<FMA>(near, s, 4.991_194_2e-3);
    near = fma::<FMA>(near, s, -2.676_813_5e-2);
    near = fma::<FMA>(near, s, 1.128_199_25e-1);
    near = fma::<FMA>(near, s, -3.761_253_4e-1);
    near = fma::<FMA>(near, s, 1.283_791_7e-1);
    let near = fma::<FMA>(near, x, x);
    if t > 0.927_734_4 { far } else { near }
}

/// The hyperbolic tangent (Cephes tanhf near zero).
#[inline(always)]
pub(crate) fn tanh<const FMA: bool>(x: f32) -> f32 {
    let t = x.abs();
    let s = x * x;
    let far = (1.0 - 2.0 / (exp::<FMA>(2.0 * t) + 1.0)).copysign(x);
    let mut near = -5.704_988_7e-3;
    near = fma::<FMA>(near, s, 2.063_909e-2);
    near = fma::<FMA>(near, s, -5.373_971_6e-2);
    near = fma::<FMA>(near, s, 1.333_144_2e-1);
    near = fma::<FMA>(near, s, -3.333_328e-1);
    let near = fma::<FMA>(near * s, x, x);
    if t < 0.625 { near } else { far }
}

/// The logistic function `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

/// Lanes of the accumulators below: one 512-bit register.
pub(crate) const LANES: usize = 16;

/// Adds the lanes pairwise, always in the same order.
#[inline(always)]
pub(crate) fn sum_lanes(lanes: [f32; LANES]) -> f32 {
    let mut lanes = lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest relative error over a dense sweep of `from..to`, both with and without fused operations.
    fn worst(from: f64, to: f64, f: impl Fn(f32) -> [f32; 2], truth: impl Fn(f64) -> f64) -> f64 {
        let steps = 200_000;
        let mut worst = 0.0_f64;
        for step in 0..=steps {
            let x = (from + (to - from) * f64::from(step) / f64::from(steps)) as f32;
            let expected = truth(f64::from(x));
            for value in f(x) {
                let error = (f64::from(value) - expected).abs() / expected.abs().max(1e-30);
                assert!(error.is_finite(), "at {x}: {value}");
                worst = worst.max(error);
            }
        }
        worst
    }

    #[test]
    fn exp_is_accurate() {
        let error = worst(-87.0, 88.0, |x| [exp::<true>(x), exp::<false>(x)], f64::exp);
        assert!(error < 2e-7, "{error:e}");
        assert_eq!(exp::<true>(0.0), 1.0);
        assert_eq!(exp::<true>(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp::<true>(f32::INFINITY), f32::INFINITY);
        assert!(exp::<true>(f32::NAN).is_nan());
    }

    #[test]
    fn erf_is_accurate() {
        let error = worst(-6.0, 6.0, |x| [erf::<true>(x), erf::<false>(x)], libm::erf);
        assert!(error < 2e-7, "{error:e}");
        assert_eq!(erf::<true>(f32::INFINITY), 1.0);
        assert_eq!(erf::<true>(f32::NEG_INFINITY), -1.0);
        assert!(erf::<true>(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_is_accurate() {
        let error = worst(-12.0, 12.0, |x| [tanh::<true>(x), tanh::<false>(x)], f64::tanh);
        assert!(error < 2e-7, "{error:e}");
        assert_eq!(tanh::<true>(100.0), 1.0);
        assert_eq!(tanh::<true>(-100.0), -1.0);
        assert!(tanh::<true>(f32::NAN).is_nan());
    }

    #[test]
    fn sigmoid_is_accurate() {
        let truth = |x: f64| 1.0 / (1.0 + (-x).exp());
        let error = worst(-80.0, 30.0, |x| [sigmoid::<true>(x), sigmoid::<false>(x)], truth);
        assert!(error < 3e-7, "{error:e}");
        assert_eq!(sigmoid::<true>(0.0), 0.5);
        assert_eq!(sigmoid::<true>(f32::INFINITY), 1.0);
        assert_eq!(sigmoid::<true>(f32::NEG_INFINITY), 0.0);
        assert!(sigmoid::<true>(f32::NAN).is_nan());
    }

    #[test]
    fn lanes_add_up() {
        assert_eq!(sum_lanes(std::array::from_fn(|i| i as f32)), 120.0);
    }
}

//! How fast this CPU multiplies when nothing else is in the way: multiply-adds on registers alone.
#![allow(unsafe_code, reason = "CPU vector instructions")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::Precision;
#[cfg(target_arch = "x86_64")]
use super::amx;
use super::lanes::Lanes;
use crate::cpu::{self, Path};

/// Independent chains of multiply-adds: more than their latency times their throughput, no more than registers.
const CHAINS: usize = 12;
/// The same for AVX-512, which has twice the registers; bf16 pairs take longer than 12 chains can hide.
#[cfg(target_arch = "x86_64")]
const WIDE_CHAINS: usize = 24;
/// Multiply-adds of each chain in one measurement.
const ROUNDS: usize = 20_000;

/// GFLOP/s of all threads of the current pool together, multiply-adds on registers alone, for products in `precision`
/// (bf16 in hardware where [`Precision::native_bf16`] says so, else as the f32 it is computed in). Takes a tenth of a
/// second.
pub fn peak(precision: Precision) -> f64 {
    rayon::broadcast(|_| one_thread(precision)).into_iter().sum()
}

/// The best of many measurements: the machine may be busy with other work.
fn one_thread(precision: Precision) -> f64 {
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    let mut flops = 0;
    while begin.elapsed() < Duration::from_millis(50) {
        let start = Instant::now();
        flops = run(precision);
        best = best.min(start.elapsed().as_secs_f64());
    }
    flops as f64 / best / 1e9
}

/// Runs once; how many additions and multiplications that were.
fn run(precision: Precision) -> usize {
    let a_round = match cpu::path() {
        // SAFETY (all): a path is only chosen when the CPU has its features, bf16 only when it was detected.
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 if precision == Precision::Bf16 && cpu::tiles() => {
            // SAFETY: see below.
            return 2 * unsafe { amx::spin(ROUNDS) };
        }
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 if precision == Precision::Bf16 && cpu::native_bf16() => {
            // SAFETY: see above.
            unsafe { x86::bf16() };
            2 * 16 * WIDE_CHAINS
        }
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 => {
            // SAFETY: see above.
            unsafe { x86::avx512() };
            16 * WIDE_CHAINS
        }
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 => {
            // SAFETY: see above.
            unsafe { x86::avx2() };
            8 * CHAINS
        }
        #[cfg(target_arch = "x86_64")]
        _ => {
            // SAFETY: the baseline of x86-64.
            unsafe { chains::<super::lanes::Sse, CHAINS>() };
            4 * CHAINS
        }
        #[cfg(target_arch = "aarch64")]
        Path::Neon => {
            // SAFETY: the baseline of aarch64.
            unsafe { chains::<super::lanes::Neon, CHAINS>() };
            4 * CHAINS
        }
        #[cfg(not(target_arch = "x86_64"))]
        _ => {
            // SAFETY: plain Rust.
            unsafe { chains::<super::lanes::Plain, CHAINS>() };
            4 * CHAINS
        }
    };
    let _ = precision;
    2 * a_round * ROUNDS
}

/// # Safety
/// Inlined where the features of `L` are enabled.
#[inline(always)]
unsafe fn chains<L: Lanes, const N: usize>() {
    // SAFETY: the caller's promise.
    unsafe {
        let (x, y) = (L::splat(black_box(0.5)), L::splat(black_box(0.25)));
        let mut sums = [L::zero(); N];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = L::fma(x, y, *sum);
            }
        }
        black_box(sums);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;
    use crate::gemm::lanes::{Avx2, Avx512};
    use std::arch::x86_64::*;

    /// # Safety
    /// The CPU has the feature.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn avx512() {
        // SAFETY: the feature is enabled.
        unsafe { chains::<Avx512, WIDE_CHAINS>() };
    }

    /// # Safety
    /// The CPU has the features.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2() {
        // SAFETY: the features are enabled.
        unsafe { chains::<Avx2, CHAINS>() };
    }

    /// # Safety
    /// The CPU has the features.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn bf16() {
        // Pairs of bf16 numbers near one.
        let bits = |pair: i32| {
            // SAFETY: the same 512 bits under another name.
            unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(black_box(pair))) }
        };
        let (x, y) = (bits(0x3f80_3f80), bits(0x3f00_3f00));
        let mut sums = [_mm512_setzero_ps(); WIDE_CHAINS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, x, y);
            }
        }
        black_box(sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::{Mat, MatMut, nt};

    #[test]
    fn products_stay_below_the_peak() {
        // One thread each, so that neighbours of this test cannot take one of them away.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        pool.install(|| {
            for precision in [Precision::F32, Precision::Bf16] {
                let peak = (0..3).map(|_| peak(precision)).fold(0.0, f64::max);
                let (a, mut c) = (vec![0.5; 256 * 256], vec![0.0; 256 * 256]);
                let mut best = f64::INFINITY;
                for _ in 0..20 {
                    let start = Instant::now();
                    let (x, y) = (Mat::new(&a, 256, 256), Mat::new(&a, 256, 256));
                    nt(x, y, MatMut::new(&mut c, 256, 256), None, false, precision);
                    best = best.min(start.elapsed().as_secs_f64());
                }
                let reached = 2.0 * 256.0_f64.powi(3) / best / 1e9;
                // The clock may change between the two; a peak counted wrong by a factor of two is found.
                assert!(reached < 1.6 * peak, "{precision:?}: {reached} of {peak}");
                assert!(peak < 1e4, "{precision:?}: {peak} GFLOP/s of one thread: the loop was left out");
            }
        });
    }
}

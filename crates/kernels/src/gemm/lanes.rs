//! One vector register, as the tiles and packing loops see it.
#![allow(unsafe_code, reason = "CPU vector instructions are unsafe functions on pointers")]

/// A vector register of `N` floats.
///
/// # Safety
/// Every method may only be called inlined into a function compiled for the CPU feature of the implementor;
/// pointers must be valid for `N` floats.
pub(crate) trait Lanes {
    /// Floats in a register.
    const N: usize;
    /// The register.
    type V: Copy;

    unsafe fn zero() -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Reads `N` rows of `N` floats, `stride` apart, and writes them transposed, `step` apart.
    unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, step: usize);
}

/// Asks for the cache line at `at` to be brought near; any address is allowed, other CPUs do nothing.
#[inline(always)]
pub(crate) fn prefetch(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint that never faults, in the baseline of x86-64.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast())
    };
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Four floats in plain Rust, which is a register on most CPUs; fused multiply-add where that is free.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) struct Plain;

#[cfg(not(target_arch = "x86_64"))]
impl Lanes for Plain {
    const N: usize = 4;
    type V = [f32; 4];

    #[inline(always)]
    unsafe fn zero() -> [f32; 4] {
        [0.0; 4]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 4] {
        // SAFETY: valid for four floats by the trait's condition.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: [f32; 4]) {
        // SAFETY: valid for four floats by the trait's condition.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 4] {
        [x; 4]
    }

    #[inline(always)]
    unsafe fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    unsafe fn fma(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| crate::math::fma::<{ cfg!(target_arch = "aarch64") }>(a[i], b[i], c[i]))
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, step: usize) {
        for row in 0..4 {
            for col in 0..4 {
                // SAFETY: inside the 4 x 4 blocks that the trait's condition grants.
                unsafe { *to.add(col * step + row) = *from.add(row * stride + col) };
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::Lanes;
    use std::arch::aarch64::*;

    /// 128-bit NEON, part of every aarch64.
    pub(crate) struct Neon;

    // SAFETY (all blocks): NEON is in the baseline of aarch64; pointers as the trait's condition says.
    impl Lanes for Neon {
        const N: usize = 4;
        type V = float32x4_t;

        #[inline(always)]
        unsafe fn zero() -> float32x4_t {
            // SAFETY: see above.
            unsafe { vdupq_n_f32(0.0) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> float32x4_t {
            // SAFETY: see above.
            unsafe { vld1q_f32(from) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, v: float32x4_t) {
            // SAFETY: see above.
            unsafe { vst1q_f32(to, v) }
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> float32x4_t {
            // SAFETY: see above.
            unsafe { vdupq_n_f32(x) }
        }

        #[inline(always)]
        unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            // SAFETY: see above.
            unsafe { vaddq_f32(a, b) }
        }

        #[inline(always)]
        unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            // SAFETY: see above.
            unsafe { vfmaq_f32(c, a, b) }
        }

        #[inline(always)]
        unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, step: usize) {
            // SAFETY: see above.
            unsafe {
                let (r0, r1) = (vld1q_f32(from), vld1q_f32(from.add(stride)));
                let (r2, r3) = (vld1q_f32(from.add(2 * stride)), vld1q_f32(from.add(3 * stride)));
                // Pairs of rows, then pairs of pairs.
                let (even01, odd01) = (vtrn1q_f32(r0, r1), vtrn2q_f32(r0, r1));
                let (even23, odd23) = (vtrn1q_f32(r2, r3), vtrn2q_f32(r2, r3));
                let low = |a, b| vcombine_f32(vget_low_f32(a), vget_low_f32(b));
                let high = |a, b| vcombine_f32(vget_high_f32(a), vget_high_f32(b));
                vst1q_f32(to, low(even01, even23));
                vst1q_f32(to.add(step), low(odd01, odd23));
                vst1q_f32(to.add(2 * step), high(even01, even23));
                vst1q_f32(to.add(3 * step), high(odd01, odd23));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512, Sse, turned};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// 128-bit SSE2, part of every x86-64; no fused multiply-add.
    pub(crate) struct Sse;
    /// 256-bit AVX2 with FMA.
    pub(crate) struct Avx2;
    /// 512-bit AVX-512 F.
    pub(crate) struct Avx512;

    /// The columns of a square of sixteen by sixteen.
    ///
    /// # Safety
    /// Inlined where AVX-512 F is enabled.
    #[inline(always)]
    pub(crate) unsafe fn turned(rows: [__m512; 16]) -> [__m512; 16] {
        // SAFETY: the caller's promise.
        unsafe {
            // 4 x 4 transposes inside the 128-bit quarters: quarter q of fours[4 * g + j] then holds rows 4 * g.. at
            // column 4 * q + j.
            let mut fours = [_mm512_setzero_pd(); 16];
            for g in 0..4 {
                let [a, b, c, d] = [rows[4 * g], rows[4 * g + 1], rows[4 * g + 2], rows[4 * g + 3]];
                let ab_low = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
                let ab_high = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
                let cd_low = _mm512_castps_pd(_mm512_unpacklo_ps(c, d));
                let cd_high = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
                fours[4 * g] = _mm512_unpacklo_pd(ab_low, cd_low);
                fours[4 * g + 1] = _mm512_unpackhi_pd(ab_low, cd_low);
                fours[4 * g + 2] = _mm512_unpacklo_pd(ab_high, cd_high);
                fours[4 * g + 3] = _mm512_unpackhi_pd(ab_high, cd_high);
            }
            // Then a 4 x 4 transpose of whole quarters for each j.
            let mut columns = [_mm512_setzero_ps(); 16];
            for j in 0..4 {
                let [a, b, c, d] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
                let (ab_even, ab_odd) =
                    (_mm512_shuffle_f64x2::<0x88>(a, b), _mm512_shuffle_f64x2::<0xdd>(a, b));
                let (cd_even, cd_odd) =
                    (_mm512_shuffle_f64x2::<0x88>(c, d), _mm512_shuffle_f64x2::<0xdd>(c, d));
                columns[j] = _mm512_castpd_ps(_mm512_shuffle_f64x2::<0x88>(ab_even, cd_even));
                columns[4 + j] = _mm512_castpd_ps(_mm512_shuffle_f64x2::<0x88>(ab_odd, cd_odd));
                columns[8 + j] = _mm512_castpd_ps(_mm512_shuffle_f64x2::<0xdd>(ab_even, cd_even));
                columns[12 + j] = _mm512_castpd_ps(_mm512_shuffle_f64x2::<0xdd>(ab_odd, cd_odd));
            }
            columns
        }
    }

    impl Lanes for Sse {
        const N: usize = 4;
        type V = __m128;

        #[inline(always)]
        unsafe fn zero() -> __m128 {
            // SAFETY: SSE2 is in the baseline of x86-64.
            unsafe { _mm_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m128 {
            // SAFETY: valid for four floats by the trait's condition.
            unsafe { _mm_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, v: __m128) {
            // SAFETY: valid for four floats by the trait's condition.
            unsafe { _mm_storeu_ps(to, v) }
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> __m128 {
            // SAFETY: SSE2 is in the baseline of x86-64.
            unsafe { _mm_set1_ps(x) }
        }

        #[inline(always)]
        unsafe fn add(a: __m128, b: __m128) -> __m128 {
            // SAFETY: SSE2 is in the baseline of x86-64.
            unsafe { _mm_add_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn fma(a: __m128, b: __m128, c: __m128) -> __m128 {
            // SAFETY: SSE2 is in the baseline of x86-64.
            unsafe { _mm_add_ps(_mm_mul_ps(a, b), c) }
        }

        #[inline(always)]
        unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, step: usize) {
            // SAFETY: four rows of four floats on either side, by the trait's condition.
            unsafe {
                let (mut r0, mut r1) = (_mm_loadu_ps(from), _mm_loadu_ps(from.add(stride)));
                let (mut r2, mut r3) =
                    (_mm_loadu_ps(from.add(2 * stride)), _mm_loadu_ps(from.add(3 * stride)));
                _MM_TRANSPOSE4_PS(&mut r0, &mut r1, &mut r2, &mut r3);
                _mm_storeu_ps(to, r0);
                _mm_storeu_ps(to.add(step), r1);
                _mm_storeu_ps(to.add(2 * step), r2);
                _mm_storeu_ps(to.add(3 * step), r3);
            }
        }
    }

    impl Lanes for Avx2 {
        const N: usize = 8;
        type V = __m256;

        #[inline(always)]
        unsafe fn zero() -> __m256 {
            // SAFETY: inlined where AVX is enabled.
            unsafe { _mm256_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            // SAFETY: inlined where AVX is enabled; valid for eight floats.
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, v: __m256) {
            // SAFETY: inlined where AVX is enabled; valid for eight floats.
            unsafe { _mm256_storeu_ps(to, v) }
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> __m256 {
            // SAFETY: inlined where AVX is enabled.
            unsafe { _mm256_set1_ps(x) }
        }

        #[inline(always)]
        unsafe fn add(a: __m256, b: __m256) -> __m256 {
            // SAFETY: inlined where AVX is enabled.
            unsafe { _mm256_add_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            // SAFETY: inlined where FMA is enabled.
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, step: usize) {
            // SAFETY: inlined where AVX is enabled; eight rows of eight floats on either side.
            unsafe {
                // Halves of rows i and i + 4 are loaded side by side, so that only 4 x 4 transposes are left.
                let pair = |row: usize, half: usize| {
                    let low = _mm_loadu_ps(from.add(row * stride + half));
                    let high = _mm_loadu_ps(from.add((row + 4) * stride + half));
                    _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high)
                };
                for half in [0, 4] {
                    let (a, b, c, d) = (pair(0, half), pair(1, half), pair(2, half), pair(3, half));
                    let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                    let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
                    let to = to.add(half * step);
                    _mm256_storeu_ps(to, _mm256_shuffle_ps::<0x44>(ab_low, cd_low));
                    _mm256_storeu_ps(to.add(step), _mm256_shuffle_ps::<0xee>(ab_low, cd_low));
                    _mm256_storeu_ps(to.add(2 * step), _mm256_shuffle_ps::<0x44>(ab_high, cd_high));
                    _mm256_storeu_ps(to.add(3 * step), _mm256_shuffle_ps::<0xee>(ab_high, cd_high));
                }
            }
        }
    }

    impl Lanes for Avx512 {
        const N: usize = 16;
        type V = __m512;

        #[inline(always)]
        unsafe fn zero() -> __m512 {
            // SAFETY: inlined where AVX-512 F is enabled.
            unsafe { _mm512_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            // SAFETY: inlined where AVX-512 F is enabled; valid for 16 floats.
            unsafe { _mm512_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, v: __m512) {
            // SAFETY: inlined where AVX-512 F is enabled; valid for 16 floats.
            unsafe { _mm512_storeu_ps(to, v) }
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> __m512 {
            // SAFETY: inlined where AVX-512 F is enabled.
            unsafe { _mm512_set1_ps(x) }
        }

        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            // SAFETY: inlined where AVX-512 F is enabled.
            unsafe { _mm512_add_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: inlined where AVX-512 F is enabled.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, step: usize) {
            // SAFETY: inlined where AVX-512 F is enabled; sixteen rows of sixteen floats on either side.
            unsafe {
                let mut rows = [_mm512_setzero_ps(); 16];
                for (i, row) in rows.iter_mut().enumerate() {
                    let at = from.add(i * stride);
                    *row = _mm512_loadu_ps(at);
                    // Two lines ahead: rows are short streams, which the CPU is slow to recognise.
                    super::prefetch(at.wrapping_add(48));
                }
                for (i, column) in turned(rows).into_iter().enumerate() {
                    _mm512_storeu_ps(to.add(i * step), column);
                }
            }
        }
    }
}

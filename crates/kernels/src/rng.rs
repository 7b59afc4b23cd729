//! Randomness from counters: the same numbers on every backend, thread count and resume.
//!
//! Dropout asks `keep(row key, column)` instead of drawing from a stream, so a mask is never stored: the
//! backward pass asks again. The host-side [`Stream`] is one `u64` that a checkpoint can hold.

/// Dropout with probability `p`, its mask fixed by `seed`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability of zeroing an element, in `0..=1`.
    pub p: f32,
    /// Seed of this mask; another step or layer takes another seed ([`derive()`]).
    pub seed: u64,
}

impl Dropout {
    /// What kept values are multiplied with: `1 / (1 - p)`, and 0 when nothing is kept.
    pub fn scale(self) -> f32 {
        if self.p >= 1.0 { 0.0 } else { 1.0 / (1.0 - self.p) }
    }
}

/// A seed for `row` under `seed`, to be used with [`keep`].
#[inline(always)]
pub fn row_key(seed: u64, row: u64) -> u32 {
    (mix64(seed.wrapping_add(row.wrapping_mul(0x9e37_79b9_7f4a_7c15))) >> 32) as u32
}

/// The hash value below which an element is dropped, for probability `p`.
#[inline(always)]
pub fn threshold(p: f32) -> u32 {
    // A float-to-integer cast saturates: p >= 1 drops everything but one value in 2^32, whose scale is 0.
    (f64::from(p) * 4_294_967_296.0) as u32
}

/// Whether the element in column `col` of the row with `row_key` is kept.
///
/// The mixing is Chris Wellons' `lowbias32`: two 32-bit multiplications, which vectorise.
/// See <https://nullprogram.com/blog/2018/07/31/>.
#[inline(always)]
pub fn keep(row_key: u32, col: u32, threshold: u32) -> bool {
    let mut x = row_key.wrapping_add(col.wrapping_mul(0x9e37_79b9));
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^= x >> 16;
    x >= threshold
}

/// Splits `seed` by `name`: another name, another independent seed.
pub fn derive(seed: u64, name: &str) -> u64 {
    // FNV-1a over the name, then mixed with the seed.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix64(mix64(seed).wrapping_add(hash))
}

/// The finaliser of SplitMix64. Paper: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
/// generators", <https://doi.org/10.1145/2660193.2660195>.
#[inline(always)]
fn mix64(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// SplitMix64: a stream of random numbers whose whole state is its one public field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream(pub u64);

impl Stream {
    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let value = mix64(self.0);
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        value
    }

    /// Uniform in `[0, 1)`, 24 bits.
    pub fn next_f32(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / 16_777_216.0
    }

    /// Uniform in `[0, 1)`, 53 bits.
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    /// Uniform in `0..bound` without bias.
    ///
    /// # Panics
    /// `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "below(0) has no value to give");
        // Lemire's method: reject the few products that would favour small results.
        let reject = bound.wrapping_neg() % bound;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(bound);
            if wide as u64 >= reject {
                return (wide >> 64) as u64;
            }
        }
    }

    /// Standard normal (Box-Muller; two draws a value, so that the state stays one number).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.next_f64()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.next_f64()).cos()) as f32
    }

    /// Shuffles in place (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keep_rate_is_one_minus_p() {
        let mut seen = 0;
        for p in [0.0_f32, 0.1, 0.5, 0.9] {
            let limit = threshold(p);
            let kept: usize = (0..200)
                .map(|row| {
                    let key = row_key(7, row);
                    (0..1000).filter(|&col| keep(key, col, limit)).count()
                })
                .sum();
            let rate = kept as f64 / 200_000.0;
            let deviation = (f64::from(p) * (1.0 - f64::from(p)) / 200_000.0).sqrt();
            assert!((rate - (1.0 - f64::from(p))).abs() <= 4.0 * deviation + 1e-9, "p {p}: kept {rate}");
            seen += 1;
        }
        assert_eq!(seen, 4);
    }

    #[test]
    fn rows_columns_and_seeds_are_uncorrelated() {
        let limit = threshold(0.5);
        let agree = |a: &dyn Fn(u32) -> bool, b: &dyn Fn(u32) -> bool| {
            (0..20_000).filter(|&i| a(i) == b(i)).count() as f64 / 20_000.0
        };
        let base = |i: u32| keep(row_key(1, u64::from(i / 100)), i % 100, limit);
        let next_row = |i: u32| keep(row_key(1, u64::from(i / 100) + 1), i % 100, limit);
        let next_col = |i: u32| keep(row_key(1, u64::from(i / 100)), i % 100 + 1, limit);
        let next_seed = |i: u32| keep(row_key(2, u64::from(i / 100)), i % 100, limit);
        for other in [&next_row as &dyn Fn(u32) -> bool, &next_col, &next_seed] {
            let rate = agree(&base, other);
            assert!((rate - 0.5).abs() < 0.015, "agreement {rate}");
        }
    }

    #[test]
    fn certain_dropout_keeps_nothing_of_value() {
        assert_eq!(threshold(0.0), 0);
        assert_eq!(threshold(1.0), u32::MAX);
        assert_eq!(Dropout { p: 1.0, seed: 0 }.scale(), 0.0);
    }

    #[test]
    fn streams_are_uniform_normal_and_resume() {
        let mut stream = Stream(derive(3, "shuffle"));
        assert_ne!(derive(3, "shuffle"), derive(3, "shuffle2"));
        assert_ne!(derive(3, "shuffle"), derive(4, "shuffle"));
        let draws: Vec<f64> = (0..100_000).map(|_| f64::from(stream.normal())).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "mean {mean} variance {variance}");
        let mut counts = [0; 7];
        (0..70_000).for_each(|_| counts[stream.below(7) as usize] += 1);
        assert!(counts.iter().all(|&count| (9_500..10_500).contains(&count)), "{counts:?}");
        let mut resumed = Stream(stream.0);
        assert_eq!(stream.next_u64(), resumed.next_u64());
        let mut items: Vec<u32> = (0..100).collect();
        stream.shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}

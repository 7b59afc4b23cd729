//! Seeded numbers for tests.

/// A stream of numbers that is the same for the same seed, everywhere. SplitMix64: small and good enough to
/// fill test tensors; no part of training draws from it.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// A stream for a seed.
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An integer below `bound`, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// A number from `[-1, 1)`.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// `len` numbers from `[-1, 1)`.
    pub fn uniforms(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.uniform()).collect()
    }

    /// `len` numbers of mean 0 and the given standard deviation, normally distributed.
    pub fn normals(&mut self, len: usize, deviation: f32) -> Vec<f32> {
        let mut pair = || {
            // Box-Muller; 1 - x keeps the logarithm's argument above 0.
            let radius = (-2.0 * (1.0 - (self.bits() >> 11) as f64 / (1u64 << 53) as f64).ln()).sqrt();
            let angle = (self.bits() >> 11) as f64 / (1u64 << 53) as f64 * std::f64::consts::TAU;
            (radius * angle.cos()) as f32 * deviation
        };
        (0..len).map(|_| pair()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        assert_eq!(Numbers::new(1).uniforms(9), Numbers::new(1).uniforms(9));
        assert_ne!(Numbers::new(1).uniforms(9), Numbers::new(2).uniforms(9));
        // The reference value of SplitMix64 for seed 0.
        assert_eq!(Numbers::new(0).bits(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn the_distributions_are_what_they_say() {
        let uniform = Numbers::new(3).uniforms(100_000);
        assert!(uniform.iter().all(|x| (-1.0..1.0).contains(x)));
        let mean = |xs: &[f32]| xs.iter().map(|&x| f64::from(x)).sum::<f64>() / xs.len() as f64;
        let square = |xs: &[f32]| xs.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / xs.len() as f64;
        assert!(mean(&uniform).abs() < 0.01 && (square(&uniform) - 1.0 / 3.0).abs() < 0.01);
        let normal = Numbers::new(4).normals(100_000, 2.0);
        assert!(mean(&normal).abs() < 0.03 && (square(&normal) - 4.0).abs() < 0.06);
        let mut below = Numbers::new(5);
        let mut seen = [0; 7];
        (0..7000).for_each(|_| seen[below.below(7)] += 1);
        assert!(seen.iter().all(|&count| (800..1200).contains(&count)), "{seen:?}");
    }
}

//! Weights in four bits: each of sixteen values that lie as those of a normal distribution do, times the greatest of its block,
//! which is kept in eight bits itself.
//!
//! Paper: Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs", section 3 (4-bit NormalFloat, double quantization),
//! <https://arxiv.org/abs/2305.14314>. As `bitsandbytes` has it: blocks of 64, scales in blocks of 256. The eight bits are those of
//! Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization", section 2.2 (dynamic), <https://arxiv.org/abs/2110.02861>.

use std::sync::LazyLock;

use crate::parallel::{each, pieces, split};

/// Values of a block.
const BLOCK: usize = 64;
/// Scales of a block of scales.
const SCALES: usize = 256;
/// Blocks that one task works on.
const AT_ONCE: usize = 64;

/// The sixteen values. Paper: appendix E.
const NORMAL: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// The 256 values of scales, in order: seven powers of ten, each parted more finely than the one below.
static DYNAMIC: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let mut all = vec![0.0, 1.0];
    for power in 0..7 {
        let parts = 1 << power;
        let edge = |at: usize| 0.1 + 0.9 * at as f64 / parts as f64;
        for at in 0..parts {
            let middle = (edge(at) + edge(at + 1)) / 2.0 * 10_f64.powi(power - 6);
            all.extend([middle as f32, -middle as f32]);
        }
    }
    all.sort_by(f32::total_cmp);
    all
});

/// Numbers in four bits each, and eight more for every 64.
#[derive(Clone, Debug, PartialEq)]
pub struct Nf4 {
    len: usize,
    /// Two numbers in a byte, the first in its upper half.
    codes: Vec<u8>,
    scales: Vec<u8>,
    /// The greatest of each block of scales, and what was taken off all of them first.
    greatest: Vec<f32>,
    mean: f32,
}

/// The place of the nearest of ordered values.
fn nearest(values: &[f32], x: f32) -> u8 {
    let above = values.partition_point(|&value| value < x).clamp(1, values.len() - 1);
    let below = above - 1;
    (if x - values[below] <= values[above] - x { below } else { above }) as u8
}

/// The greatest size among numbers.
fn size(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |most: f32, x| most.max(x.abs()))
}

impl Nf4 {
    /// The nearest there are to these numbers, which are finite.
    pub fn of(x: &[f32]) -> Self {
        let sizes: Vec<f32> = x.chunks(BLOCK).map(size).collect();
        let count = sizes.len().max(1);
        let mean = (sizes.iter().map(|&size| f64::from(size)).sum::<f64>() / count as f64) as f32;
        let less: Vec<f32> = sizes.iter().map(|size| size - mean).collect();
        let greatest: Vec<f32> = less.chunks(SCALES).map(size).collect();
        let code = |(at, less): (usize, &f32)| {
            let most = greatest[at / SCALES];
            nearest(&DYNAMIC, if most > 0.0 { less / most } else { 0.0 })
        };
        let scales: Vec<u8> = less.iter().enumerate().map(code).collect();
        let mut codes = vec![0; x.len().div_ceil(2)];
        let tasks = count.div_ceil(AT_ONCE);
        let x_parts = pieces(x, BLOCK * AT_ONCE, tasks);
        let size_parts = pieces(&sizes, AT_ONCE, tasks);
        let work = split(&mut codes, BLOCK * AT_ONCE / 2, tasks).into_iter().zip(x_parts).zip(size_parts);
        each(work.collect(), x.len(), |((codes, x), sizes)| {
            for ((codes, x), &size) in codes.chunks_mut(BLOCK / 2).zip(x.chunks(BLOCK)).zip(sizes) {
                let inverse = if size > 0.0 { 1.0 / size } else { 0.0 };
                let code = |x: Option<&f32>| x.map_or(0, |x| nearest(&NORMAL, x * inverse));
                for (byte, two) in codes.iter_mut().zip(x.chunks(2)) {
                    *byte = (code(two.first()) << 4) | code(two.get(1));
                }
            }
        });
        Nf4 { len: x.len(), codes, scales, greatest, mean }
    }

    /// How many numbers.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without a single one.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.codes.len() + self.scales.len() + 4 * self.greatest.len() + 4
    }

    /// The numbers that it stands for.
    pub fn values(&self) -> Vec<f32> {
        let scale =
            |(at, code): (usize, &u8)| DYNAMIC[*code as usize] * self.greatest[at / SCALES] + self.mean;
        let scales: Vec<f32> = self.scales.iter().enumerate().map(scale).collect();
        let mut out = vec![0.0; self.len];
        let tasks = scales.len().max(1).div_ceil(AT_ONCE);
        let codes = pieces(&self.codes, BLOCK * AT_ONCE / 2, tasks);
        let scales = pieces(&scales, AT_ONCE, tasks);
        let work = split(&mut out, BLOCK * AT_ONCE, tasks).into_iter().zip(codes).zip(scales);
        each(work.collect(), self.len, |((out, codes), scales)| {
            for ((out, codes), scale) in out.chunks_mut(BLOCK).zip(codes.chunks(BLOCK / 2)).zip(scales) {
                for (two, byte) in out.chunks_mut(2).zip(codes) {
                    for (at, x) in two.iter_mut().enumerate() {
                        let code = if at == 0 { byte >> 4 } else { byte & 15 };
                        *x = NORMAL[code as usize] * scale;
                    }
                }
            }
        });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    fn draws(len: usize) -> Vec<f32> {
        let mut stream = Stream(7);
        (0..len).map(|_| stream.normal() * 0.05).collect()
    }

    #[test]
    fn values_are_the_nearest_of_the_sixteen() {
        // A single block: its scale is the mean of all, to the bit.
        let mut x: Vec<f32> = NORMAL.iter().map(|value| value * 3.0).collect();
        x.extend([0.1, -2.9, 2.6, 0.0]);
        let got = Nf4::of(&x).values();
        for (got, expected) in got.iter().zip(&x).take(16) {
            assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        }
        assert_eq!(&got[16..], &[NORMAL[7] * 3.0, NORMAL[0] * 3.0, NORMAL[15] * 3.0, 0.0]);
    }

    #[test]
    fn any_length_and_any_threads_give_the_same() {
        for len in [0, 1, 2, 63, 64, 65, 4096, 4097, 70_001] {
            let x = draws(len);
            let packed = Nf4::of(&x);
            assert_eq!(packed.len(), len);
            let values = packed.values();
            assert_eq!(values.len(), len);
            assert_eq!(crate::parallel::alone(|| Nf4::of(&x)), packed);
            assert_eq!(crate::parallel::alone(|| packed.values()), values);
            // The widest gap between two of the sixteen is 0.304, of the greatest of the block.
            for (block, got) in x.chunks(BLOCK).zip(values.chunks(BLOCK)) {
                let most = size(block);
                for (x, got) in block.iter().zip(got) {
                    assert!((x - got).abs() <= 0.17 * most, "{x} {got} of {most}");
                }
            }
        }
        assert_eq!(Nf4::of(&[0.0; 130]).values(), [0.0; 130]);
        // Four bits a number and eight for 64, and a little for scales of scales.
        assert!(Nf4::of(&draws(70_001)).bytes() < 70_001 * 33 / 64 + 64);
    }

    #[test]
    fn the_values_of_scales_are_ordered_and_256() {
        assert_eq!(DYNAMIC.len(), 256);
        assert!(DYNAMIC.windows(2).all(|two| two[0] < two[1]));
        assert_eq!((DYNAMIC[255], DYNAMIC.contains(&0.0)), (1.0, true));
    }
}

//! The number formats with blocks of 256: a scale for the block and one for each of its groups.
//!
//! See `kinds.rs`; the layouts are those of <https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h>.

use super::kinds::{IQ4_STEPS, each, half_at};

/// Numbers of a block.
const BLOCK: usize = 256;

/// Two bits of number `i`: 32 bytes hold 128 numbers, the first 32 in their lowest bits.
fn two_bits(packed: &[u8], i: usize) -> u8 {
    packed[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3
}

/// One bit of number `i`: 32 bytes hold 256 numbers, the first 32 in their lowest bits.
fn one_bit(packed: &[u8], i: usize) -> u8 {
    packed[i % 32] >> (i / 32) & 1
}

/// Four bits of number `i`: `width` bytes hold twice as many numbers, the first half in their lower bits.
fn four_bits(packed: &[u8], width: usize, i: usize) -> u8 {
    packed[i / (2 * width) * width + i % width] >> (i % (2 * width) / width * 4) & 15
}

/// 16 groups, each with four bits of scale and four of minimum; 64 bytes of two-bit numbers; scale, minimum (f16).
pub(super) fn q2_k(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |block: &[u8; 84], out: &mut [f32; BLOCK]| {
        let (groups, packed) = block.split_at(16);
        let (scale, least) = (half_at(block, 80), half_at(block, 82));
        for (i, x) in out.iter_mut().enumerate() {
            let group = groups[i / 16];
            let scale = scale * f32::from(group & 15);
            let least = least * f32::from(group >> 4);
            *x = scale * f32::from(two_bits(packed, i)) - least;
        }
    });
}

/// 32 bytes of third bits (0 takes 4 off), 64 bytes of two-bit numbers, 16 six-bit scales around 32, scale (f16).
pub(super) fn q3_k(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |block: &[u8; 110], out: &mut [f32; BLOCK]| {
        let (high, packed, groups) = (&block[..32], &block[32..96], &block[96..108]);
        let scale = half_at(block, 108);
        let scales: [f32; 16] = std::array::from_fn(|j| {
            let low = groups[j % 8] >> (j / 8 * 4) & 15;
            let top = groups[8 + j % 4] >> (j / 4 * 2) & 3;
            scale * (f32::from(top << 4 | low) - 32.0)
        });
        for (i, x) in out.iter_mut().enumerate() {
            let off = if one_bit(high, i) == 1 { 0.0 } else { 4.0 };
            *x = scales[i / 16] * (f32::from(two_bits(packed, i)) - off);
        }
    });
}

/// Six bits of scale and six of minimum for each of 8 groups, from 12 bytes.
fn scales_and_minima(packed: &[u8]) -> [(f32, f32); 8] {
    std::array::from_fn(|j| {
        let (scale, least) = if j < 4 {
            (packed[j] & 63, packed[4 + j] & 63)
        } else {
            let low = packed[4 + j];
            (low & 15 | packed[j - 4] >> 2 & 0x30, low >> 4 | packed[j] >> 2 & 0x30)
        };
        (f32::from(scale), f32::from(least))
    })
}

/// Scale, minimum (f16), 8 groups, 128 bytes of nibbles.
pub(super) fn q4_k(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |block: &[u8; 144], out: &mut [f32; BLOCK]| {
        let groups = scales_and_minima(&block[4..16]);
        let (scale, least) = (half_at(block, 0), half_at(block, 2));
        for (i, x) in out.iter_mut().enumerate() {
            let (group, minimum) = groups[i / 32];
            *x = scale * group * f32::from(four_bits(&block[16..], 32, i)) - least * minimum;
        }
    });
}

/// As Q4_K, with 32 bytes of fifth bits before the nibbles.
pub(super) fn q5_k(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |block: &[u8; 176], out: &mut [f32; BLOCK]| {
        let groups = scales_and_minima(&block[4..16]);
        let (scale, least) = (half_at(block, 0), half_at(block, 2));
        for (i, x) in out.iter_mut().enumerate() {
            let (group, minimum) = groups[i / 32];
            let number = four_bits(&block[48..], 32, i) | one_bit(&block[16..48], i) << 4;
            *x = scale * group * f32::from(number) - least * minimum;
        }
    });
}

/// 128 bytes of nibbles, 64 bytes of two more bits, 16 scales of a byte, scale (f16); numbers around 32.
pub(super) fn q6_k(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |block: &[u8; 210], out: &mut [f32; BLOCK]| {
        let (low, high, groups) = (&block[..128], &block[128..192], &block[192..208]);
        let scale = half_at(block, 208);
        for (i, x) in out.iter_mut().enumerate() {
            let number = four_bits(low, 64, i) | two_bits(high, i) << 4;
            *x = scale * f32::from(groups[i / 16].cast_signed()) * (f32::from(number) - 32.0);
        }
    });
}

/// Scale (f32), 256 bytes, 16 sums that only products need.
pub(super) fn q8_k(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |block: &[u8; 292], out: &mut [f32; BLOCK]| {
        let scale = f32::from_le_bytes([block[0], block[1], block[2], block[3]]);
        for (x, &q) in out.iter_mut().zip(&block[4..260]) {
            *x = scale * f32::from(q.cast_signed());
        }
    });
}

/// Scale (f16), 8 six-bit scales around 32 (high bits, then low bits), 128 bytes of nibbles that choose a step.
pub(super) fn iq4_xs(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |block: &[u8; 136], out: &mut [f32; BLOCK]| {
        let scale = half_at(block, 0);
        let tops = u16::from_le_bytes([block[2], block[3]]);
        let scales: [f32; 8] = std::array::from_fn(|j| {
            let low = block[4 + j / 2] >> (j % 2 * 4) & 15;
            let top = (tops >> (2 * j) & 3) as u8;
            scale * (f32::from(top << 4 | low) - 32.0)
        });
        for (i, x) in out.iter_mut().enumerate() {
            let step = IQ4_STEPS[usize::from(four_bits(&block[8..], 16, i))];
            *x = scales[i / 32] * f32::from(step);
        }
    });
}

/// Numbers -1, 0, 1, five to a byte (the last 16 four to a byte), scale (f16).
pub(super) fn tq1_0(bytes: &[u8], out: &mut [f32]) {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    each(bytes, out, |block: &[u8; 54], out: &mut [f32; BLOCK]| {
        let scale = half_at(block, 52);
        for (i, x) in out.iter_mut().enumerate() {
            let (byte, power) = match i {
                0..160 => (block[i % 32], POWERS[i / 32]),
                160..240 => (block[32 + i % 16], POWERS[(i - 160) / 16]),
                _ => (block[48 + i % 4], POWERS[(i - 240) / 4]),
            };
            let digit = (u16::from(byte.wrapping_mul(power)) * 3) >> 8;
            *x = scale * (f32::from(digit) - 1.0);
        }
    });
}

/// 64 bytes of two-bit numbers -1, 0, 1, scale (f16).
pub(super) fn tq2_0(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |block: &[u8; 66], out: &mut [f32; BLOCK]| {
        let scale = half_at(block, 64);
        for (i, x) in out.iter_mut().enumerate() {
            *x = scale * (f32::from(two_bits(block, i)) - 1.0);
        }
    });
}

//! The number formats of GGUF tensors: their blocks, and the older and simpler ones to `f32`.
//!
//! A quantised row is a run of blocks, each with its own scale; all integers lie little-endian. The arithmetic is that of
//! ggml's reference functions (`dequantize_row_*` in <https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>), in
//! the same order and in `f32`, so the numbers are the same to the bit.

use rayon::prelude::*;

use super::k_quants;

/// A number format.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Its number in the file.
    pub(crate) id: u32,
    /// Its name in ggml.
    pub(crate) name: &'static str,
    /// Numbers of a block.
    pub(crate) block: usize,
    /// Bytes of a block.
    pub(crate) bytes: usize,
    /// Whole blocks to numbers; `None` for formats that are known by size only.
    pub(crate) decode: Option<Decode>,
}

/// Turns whole blocks into numbers.
pub(crate) type Decode = fn(&[u8], &mut [f32]);

const fn kind(id: u32, name: &'static str, block: usize, bytes: usize, decode: Option<Decode>) -> Kind {
    Kind { id, name, block, bytes, decode }
}

/// Every number format of ggml that a file may hold today.
pub(crate) const KINDS: &[Kind] = &[
    kind(0, "F32", 1, 4, Some(f32s)),
    kind(1, "F16", 1, 2, Some(f16s)),
    kind(2, "Q4_0", 32, 18, Some(q4_0)),
    kind(3, "Q4_1", 32, 20, Some(q4_1)),
    kind(6, "Q5_0", 32, 22, Some(q5_0)),
    kind(7, "Q5_1", 32, 24, Some(q5_1)),
    kind(8, "Q8_0", 32, 34, Some(q8_0)),
    kind(9, "Q8_1", 32, 36, None),
    kind(10, "Q2_K", 256, 84, Some(k_quants::q2_k)),
    kind(11, "Q3_K", 256, 110, Some(k_quants::q3_k)),
    kind(12, "Q4_K", 256, 144, Some(k_quants::q4_k)),
    kind(13, "Q5_K", 256, 176, Some(k_quants::q5_k)),
    kind(14, "Q6_K", 256, 210, Some(k_quants::q6_k)),
    kind(15, "Q8_K", 256, 292, Some(k_quants::q8_k)),
    kind(16, "IQ2_XXS", 256, 66, None),
    kind(17, "IQ2_XS", 256, 74, None),
    kind(18, "IQ3_XXS", 256, 98, None),
    kind(19, "IQ1_S", 256, 50, None),
    kind(20, "IQ4_NL", 32, 18, Some(iq4_nl)),
    kind(21, "IQ3_S", 256, 110, None),
    kind(22, "IQ2_S", 256, 82, None),
    kind(23, "IQ4_XS", 256, 136, Some(k_quants::iq4_xs)),
    kind(24, "I8", 1, 1, None),
    kind(25, "I16", 1, 2, None),
    kind(26, "I32", 1, 4, None),
    kind(27, "I64", 1, 8, None),
    kind(28, "F64", 1, 8, Some(f64s)),
    kind(29, "IQ1_M", 256, 56, None),
    kind(30, "BF16", 1, 2, Some(bf16s)),
    kind(34, "TQ1_0", 256, 54, Some(k_quants::tq1_0)),
    kind(35, "TQ2_0", 256, 66, Some(k_quants::tq2_0)),
    kind(39, "MXFP4", 32, 17, Some(mxfp4)),
    kind(40, "NVFP4", 64, 36, None),
    kind(41, "Q1_0", 128, 18, None),
];

impl Kind {
    /// The format of that number.
    pub(crate) fn of(id: u32) -> Option<&'static Kind> {
        KINDS.iter().find(|kind| kind.id == id)
    }

    /// The names of the formats that can be read.
    pub(crate) fn readable() -> String {
        let names: Vec<&str> =
            KINDS.iter().filter(|kind| kind.decode.is_some()).map(|kind| kind.name).collect();
        names.join(", ")
    }

    /// `bytes`, whole blocks, as numbers, on several threads; `None` for a format known by size only.
    pub(crate) fn to_f32(&self, bytes: &[u8]) -> Option<Vec<f32>> {
        /// Blocks a thread takes at once.
        const BLOCKS: usize = 1 << 12;
        let decode = self.decode?;
        let mut out = vec![0f32; bytes.len() / self.bytes * self.block];
        out.par_chunks_mut(BLOCKS * self.block)
            .zip(bytes.par_chunks(BLOCKS * self.bytes))
            .for_each(|(out, bytes)| decode(bytes, out));
        Some(out)
    }
}

/// Runs `decode` on each block.
pub(super) fn each<const BYTES: usize, const BLOCK: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; BLOCK]),
) {
    for (block, out) in bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        decode(block, out);
    }
}

/// The `f16` at byte `at`.
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn f32s(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |&raw, out: &mut [f32; 1]| out[0] = f32::from_le_bytes(raw));
}

fn f16s(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |&raw, out: &mut [f32; 1]| out[0] = half::f16::from_le_bytes(raw).to_f32());
}

fn bf16s(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |&raw, out: &mut [f32; 1]| out[0] = half::bf16::from_le_bytes(raw).to_f32());
}

fn f64s(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |&raw, out: &mut [f32; 1]| out[0] = f64::from_le_bytes(raw) as f32);
}

/// Number `i` of 32 four-bit ones: the low halves of 16 bytes, then the high ones.
fn nibble(packed: &[u8], i: usize) -> u8 {
    if i < 16 { packed[i] & 15 } else { packed[i - 16] >> 4 }
}

/// Scale (f16), 16 bytes of nibbles around 8.
fn q4_0(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |block: &[u8; 18], out: &mut [f32; 32]| {
        let scale = half_at(block, 0);
        for (i, x) in out.iter_mut().enumerate() {
            *x = scale * (f32::from(nibble(&block[2..], i)) - 8.0);
        }
    });
}

/// Scale and minimum (f16), 16 bytes of nibbles.
fn q4_1(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |block: &[u8; 20], out: &mut [f32; 32]| {
        let (scale, least) = (half_at(block, 0), half_at(block, 2));
        for (i, x) in out.iter_mut().enumerate() {
            *x = scale * f32::from(nibble(&block[4..], i)) + least;
        }
    });
}

/// Number `i` of 32 five-bit ones: 4 bytes of fifth bits, then the nibbles.
fn five_bits(packed: &[u8], i: usize) -> u8 {
    (packed[i / 8] >> (i % 8) & 1) << 4 | nibble(&packed[4..], i)
}

/// Scale (f16), 32 numbers of five bits around 16.
fn q5_0(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |block: &[u8; 22], out: &mut [f32; 32]| {
        let scale = half_at(block, 0);
        for (i, x) in out.iter_mut().enumerate() {
            *x = scale * (f32::from(five_bits(&block[2..], i)) - 16.0);
        }
    });
}

/// Scale and minimum (f16), 32 numbers of five bits.
fn q5_1(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |block: &[u8; 24], out: &mut [f32; 32]| {
        let (scale, least) = (half_at(block, 0), half_at(block, 2));
        for (i, x) in out.iter_mut().enumerate() {
            *x = scale * f32::from(five_bits(&block[4..], i)) + least;
        }
    });
}

/// Scale (f16), 32 bytes.
fn q8_0(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |block: &[u8; 34], out: &mut [f32; 32]| {
        let scale = half_at(block, 0);
        for (x, &q) in out.iter_mut().zip(&block[2..]) {
            *x = f32::from(q.cast_signed()) * scale;
        }
    });
}

/// The steps of the non-linear four-bit formats.
pub(super) const IQ4_STEPS: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Scale (f16), 16 bytes of nibbles that choose a step.
fn iq4_nl(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |block: &[u8; 18], out: &mut [f32; 32]| {
        let scale = half_at(block, 0);
        for (i, x) in out.iter_mut().enumerate() {
            *x = scale * f32::from(IQ4_STEPS[usize::from(nibble(&block[2..], i))]);
        }
    });
}

/// An exponent, 16 bytes of nibbles that choose a step (twice the numbers of E2M1).
/// <https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf>
fn mxfp4(bytes: &[u8], out: &mut [f32]) {
    const STEPS: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
    each(bytes, out, |block: &[u8; 17], out: &mut [f32; 32]| {
        // Half of two to the power of (exponent - 127), which is subnormal for the two smallest.
        let exponent = u32::from(block[0]);
        let scale = f32::from_bits(if exponent < 2 { 0x0020_0000 << exponent } else { (exponent - 1) << 23 });
        for (i, x) in out.iter_mut().enumerate() {
            *x = scale * f32::from(STEPS[usize::from(nibble(&block[1..], i))]);
        }
    });
}

/// Numbers to blocks of Q8_0, as ggml's `quantize_row_q8_0_ref`; a tail shorter than a block is left out.
pub(super) fn to_q8_0(data: &[f32], mut block: impl FnMut(&[u8; 34])) {
    for numbers in data.as_chunks::<32>().0 {
        let largest = numbers.iter().fold(0f32, |most, x| most.max(x.abs()));
        let scale = largest / 127.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        let mut bytes = [0; 34];
        bytes[..2].copy_from_slice(&half::f16::from_f32(scale).to_le_bytes());
        for (byte, x) in bytes[2..].iter_mut().zip(numbers) {
            *byte = ((x * inverse).round() as i8).cast_unsigned();
        }
        block(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formats_are_named_once_and_their_sizes_fit_their_decoders() {
        assert_eq!(KINDS.len(), 34, "count the formats when you add one");
        for (n, kind) in KINDS.iter().enumerate() {
            assert!(KINDS[..n].iter().all(|other| other.id != kind.id && other.name != kind.name));
            let Some(numbers) = kind.to_f32(&vec![0x40; 3 * kind.bytes]) else { continue };
            assert_eq!(numbers.len(), 3 * kind.block, "{}", kind.name);
            // A decoder made for another size of block would leave the third block as it was.
            assert!(numbers[2 * kind.block..].iter().any(|&x| x != 0.0), "{}", kind.name);
            assert_eq!(numbers[..kind.block], numbers[2 * kind.block..], "{}", kind.name);
        }
    }
}

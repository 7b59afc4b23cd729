//! The numbers of ONNX tensors: their formats, whole numbers with a scale, and blocks of few bits.

/// A number format: ONNX's number of it, its name, and how many bits a number takes.
pub(super) const KINDS: &[(u64, &str, u64)] = &[
    (1, "F32", 32),
    (2, "U8", 8),
    (3, "I8", 8),
    (4, "U16", 16),
    (5, "I16", 16),
    (6, "I32", 32),
    (7, "I64", 64),
    (9, "BOOL", 8),
    (10, "F16", 16),
    (11, "F64", 64),
    (12, "U32", 32),
    (13, "U64", 64),
    (14, "C64", 64),
    (15, "C128", 128),
    (16, "BF16", 16),
    (17, "F8_E4M3FN", 8),
    (18, "F8_E4M3FNUZ", 8),
    (19, "F8_E5M2", 8),
    (20, "F8_E5M2FNUZ", 8),
    (21, "U4", 4),
    (22, "I4", 4),
    (23, "F4_E2M1", 4),
];

/// The name of a number format, `?` for one unknown.
pub(super) fn name(kind: u64) -> &'static str {
    KINDS.iter().find(|(id, _, _)| *id == kind).map_or("?", |(_, name, _)| name)
}

/// Bits of a number, `None` for a format unknown (or for texts).
pub(super) fn bits(kind: u64) -> Option<u64> {
    KINDS.iter().find(|(id, _, _)| *id == kind).map(|(_, _, bits)| *bits)
}

/// Whether the numbers are real.
pub(super) fn is_real(kind: u64) -> bool {
    matches!(kind, 1 | 10 | 11 | 16)
}

/// Whether the numbers are whole and so small that they stand for real ones.
pub(super) fn is_quantised(kind: u64) -> bool {
    matches!(kind, 2 | 3 | 21 | 22)
}

/// `count` numbers as `f32`, from little-endian bytes: real ones as they are, small whole ones as well; `None` for any other
/// format.
pub(super) fn to_f32(kind: u64, bytes: &[u8], count: usize) -> Option<Vec<f32>> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|&raw| number(raw)).collect()
    }
    // The lower half of a byte comes first.
    let nibble = |at: usize| bytes.get(at / 2).map_or(0, |byte| byte >> (at % 2 * 4) & 15);
    Some(match kind {
        1 => each(bytes, f32::from_le_bytes),
        2 => each(bytes, |[byte]| f32::from(byte)),
        3 => each(bytes, |[byte]| f32::from(byte.cast_signed())),
        6 => each(bytes, |raw| i32::from_le_bytes(raw) as f32),
        10 => each(bytes, |raw| half::f16::from_le_bytes(raw).to_f32()),
        11 => each(bytes, |raw| f64::from_le_bytes(raw) as f32),
        16 => each(bytes, |raw| half::bf16::from_le_bytes(raw).to_f32()),
        21 => (0..count).map(|at| f32::from(nibble(at))).collect(),
        22 => (0..count).map(|at| f32::from((nibble(at) << 4).cast_signed() >> 4)).collect(),
        _ => return None,
    })
}

/// Which scale belongs to each number of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scaling {
    /// Numbers along the axis for which there are scales.
    pub(super) axis: usize,
    /// Numbers in a step along the axis.
    pub(super) inner: usize,
    /// Numbers along the axis that share a scale; 0 where all do.
    pub(super) block: usize,
    /// Scales along the axis.
    pub(super) scales: usize,
    /// Whether each row and column across the axis has scales of its own.
    pub(super) across: bool,
}

impl Scaling {
    /// `(number - zero) * scale`, each with its own two.
    pub(super) fn apply(self, data: &mut [f32], scales: &[f32], zeros: Option<&[f32]>) {
        let one = scales.first().copied().unwrap_or(0.0);
        let zero = zeros.and_then(|zeros| zeros.first().copied()).unwrap_or(0.0);
        for (at, x) in data.iter_mut().enumerate() {
            if self.block == 0 {
                *x = (*x - zero) * one;
                continue;
            }
            let step = at / self.inner % self.axis / self.block;
            let place = if self.across {
                (at / (self.inner * self.axis) * self.scales + step) * self.inner + at % self.inner
            } else {
                step
            };
            let zero = zeros.map_or(0.0, |zeros| zeros[place]);
            *x = (*x - zero) * scales[place];
        }
    }
}

/// Rows of numbers of few bits, in blocks with a scale each (`MatMulNBits`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    /// Rows.
    pub(super) rows: usize,
    /// Numbers of a row.
    pub(super) cols: usize,
    /// Numbers of a block; the last block of a row may be filled up.
    pub(super) block: usize,
    /// Bits of a number.
    pub(super) bits: usize,
}

impl Blocks {
    /// Blocks of a row.
    pub(super) fn per_row(self) -> usize {
        self.cols.div_ceil(self.block)
    }

    /// Number `at` of numbers packed into bytes, the first in the lowest bits.
    fn packed(self, bytes: &[u8], at: usize) -> f32 {
        let per_byte = 8 / self.bits;
        let mask = (0xffu16 >> (8 - self.bits)) as u8;
        f32::from(bytes[at / per_byte] >> (at % per_byte * self.bits) & mask)
    }

    /// The rows' numbers. `zeros` is what each block's zero is, where that is not the middle.
    pub(super) fn to_f32(self, bytes: &[u8], scales: &[f32], zeros: Option<&[f32]>) -> Vec<f32> {
        let middle = (1u32 << (self.bits - 1)) as f32;
        let mut out = Vec::with_capacity(self.rows * self.cols);
        for row in 0..self.rows {
            for col in 0..self.cols {
                let block = row * self.per_row() + col / self.block;
                let zero = zeros.map_or(middle, |zeros| zeros[block]);
                out.push((self.packed(bytes, block * self.block + col % self.block) - zero) * scales[block]);
            }
        }
        out
    }

    /// The zeros of all blocks from bytes in which each row of them begins a byte.
    pub(super) fn unpack_zeros(self, bytes: &[u8]) -> Vec<f32> {
        let row = (self.per_row() * self.bits).div_ceil(8);
        bytes
            .chunks_exact(row)
            .flat_map(|bytes| (0..self.per_row()).map(|at| self.packed(bytes, at)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_of_four_bits_are_signed_or_not() {
        assert_eq!(to_f32(21, &[0xf1, 0x08], 3).unwrap(), [1.0, 15.0, 8.0]);
        assert_eq!(to_f32(22, &[0xf1, 0x08], 3).unwrap(), [1.0, -1.0, -8.0]);
        assert_eq!(to_f32(3, &[0xff], 1).unwrap(), [-1.0]);
        assert!(to_f32(7, &[0; 8], 1).is_none() && to_f32(8, &[], 0).is_none());
    }

    #[test]
    fn a_scale_is_found_for_the_tensor_the_axis_and_the_block() {
        let numbers = || vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let check = |scaling: Scaling, scales: &[f32], zeros: Option<&[f32]>, expected: [f32; 8]| {
            let mut data = numbers();
            scaling.apply(&mut data, scales, zeros);
            assert_eq!(data, expected, "{scaling:?}");
        };
        let whole = Scaling { axis: 1, inner: 1, block: 0, scales: 1, across: false };
        check(whole, &[2.0], Some(&[1.0]), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]);
        // [4, 2], a scale for each column, then for each row.
        let columns = Scaling { axis: 2, inner: 1, block: 1, scales: 2, across: false };
        check(columns, &[1.0, 10.0], Some(&[0.0, 1.0]), [1.0, 10.0, 3.0, 30.0, 5.0, 50.0, 7.0, 70.0]);
        let rows = Scaling { axis: 4, inner: 2, block: 1, scales: 4, across: false };
        check(rows, &[1.0, 2.0, 3.0, 4.0], None, [1.0, 2.0, 6.0, 8.0, 15.0, 18.0, 28.0, 32.0]);
        // [4, 2], two rows to a block, columns apart.
        let blocks = Scaling { axis: 4, inner: 2, block: 2, scales: 2, across: true };
        check(blocks, &[1.0, 2.0, 3.0, 4.0], None, [1.0, 4.0, 3.0, 8.0, 15.0, 24.0, 21.0, 32.0]);
    }

    #[test]
    fn blocks_of_few_bits_are_read_with_their_zeros() {
        // Two rows of 3 in blocks of 2; the fourth number of a row fills up.
        let blocks = Blocks { rows: 2, cols: 3, block: 2, bits: 4 };
        let bytes = [0x98, 0x07, 0x10, 0x0f];
        let scales = [1.0, 2.0, 1.0, 0.5];
        assert_eq!(blocks.to_f32(&bytes, &scales, None), [0.0, 1.0, -2.0, -8.0, -7.0, 3.5]);
        let zeros = blocks.unpack_zeros(&[0x21, 0x43]);
        assert_eq!(zeros, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(blocks.to_f32(&bytes, &scales, Some(&zeros)), [7.0, 8.0, 10.0, -3.0, -2.0, 5.5]);
        let bytes = Blocks { rows: 1, cols: 4, block: 4, bits: 2 };
        assert_eq!(bytes.to_f32(&[0b1110_0100], &[1.0], None), [-2.0, -1.0, 0.0, 1.0]);
    }
}

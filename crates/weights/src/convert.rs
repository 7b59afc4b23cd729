//! Stored numbers to `f32`, and back.

use std::borrow::Cow;

use ::safetensors::Dtype;

/// Bytes of one number of a format that can hold weights, or `None` for any other format.
pub(crate) fn width(dtype: Dtype) -> Option<usize> {
    match dtype {
        Dtype::F32 => Some(4),
        Dtype::F16 | Dtype::BF16 => Some(2),
        Dtype::F64 => Some(8),
        _ => None,
    }
}

/// Little-endian `bytes` of `dtype` as `f32`; a tail shorter than one number is left out. Doubles beyond the
/// range of `f32` become infinite, which the loader refuses. `None` for formats that hold no weights.
pub(crate) fn to_f32(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|&raw| number(raw)).collect()
    }
    match dtype {
        Dtype::F32 => Some(each(bytes, f32::from_le_bytes)),
        Dtype::F16 => Some(each(bytes, |raw| half::f16::from_le_bytes(raw).to_f32())),
        Dtype::BF16 => Some(each(bytes, |raw| half::bf16::from_le_bytes(raw).to_f32())),
        Dtype::F64 => Some(each(bytes, |raw| f64::from_le_bytes(raw) as f32)),
        _ => None,
    }
}

/// Numbers as they stand in files: their bytes where they are on little-endian machines, a copy on others.
pub(crate) fn le_bytes(data: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        Cow::Borrowed(bytemuck::cast_slice(data))
    } else {
        data.iter().flat_map(|number| number.to_le_bytes()).collect()
    }
}

/// The first number that is NaN or infinite.
pub(crate) fn first_not_finite(data: &[f32]) -> Option<usize> {
    // Whole chunks without a branch inside, so that the loop runs at the speed of memory.
    const EXPONENT: u32 = 0x7f80_0000;
    let bad = |x: &f32| x.to_bits() & EXPONENT == EXPONENT;
    let chunk = data.chunks(4096).position(|chunk| chunk.iter().fold(false, |any, x| any | bad(x)))?;
    data[chunk * 4096..].iter().position(bad).map(|at| chunk * 4096 + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_float_format_is_read() {
        let values = [0.0f32, 1.5, -2.0, 0.25];
        let f16: Vec<u8> = values.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect();
        let bf16: Vec<u8> = values.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect();
        let f32s: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let f64s: Vec<u8> = values.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect();
        for (dtype, bytes) in [(Dtype::F16, f16), (Dtype::BF16, bf16), (Dtype::F32, f32s), (Dtype::F64, f64s)]
        {
            assert_eq!(to_f32(dtype, &bytes).unwrap(), values, "{dtype}");
            assert_eq!(bytes.len(), 4 * width(dtype).unwrap());
        }
        assert!(to_f32(Dtype::I64, &[0; 8]).is_none());
        assert!(width(Dtype::F8_E4M3).is_none());
    }

    #[test]
    fn the_first_bad_number_is_found_wherever_it_is() {
        for len in [1, 4095, 4096, 4097, 10_000] {
            let good: Vec<f32> = (0..len).map(|x| x as f32).collect();
            assert_eq!(first_not_finite(&good), None);
            for at in [0, len / 2, len - 1] {
                for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut data = good.clone();
                    data[at] = value;
                    assert_eq!(first_not_finite(&data), Some(at));
                }
            }
        }
        assert_eq!(first_not_finite(&[f32::MAX, f32::MIN_POSITIVE, -0.0]), None);
    }
}

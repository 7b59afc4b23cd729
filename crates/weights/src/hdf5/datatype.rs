//! What one element of a dataset is.

use ::safetensors::Dtype;

use crate::bounded::{Cursor, Fault};
use crate::convert;

/// The kind of an element.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Datatype {
    /// A floating-point number that can be a weight.
    Float {
        /// The format.
        dtype: Dtype,
        /// The high byte comes first.
        big: bool,
    },
    /// Anything else, by name.
    Other(String),
}

impl Datatype {
    /// Reads a datatype message.
    pub(super) fn parse(message: &[u8]) -> Result<Datatype, Fault> {
        let mut cursor = Cursor::new(message, "a datatype");
        let class = cursor.u8()? & 0x0f;
        let bits = cursor.take(3)?;
        let size = cursor.u32()?;
        Ok(match class {
            0 => {
                let sign = if bits[0] & 8 != 0 { "I" } else { "U" };
                Datatype::Other(format!("{sign}{}", u64::from(size) * 8))
            }
            1 => {
                let (offset, precision) = (cursor.u16()?, cursor.u16()?);
                let place = cursor.take(4)?;
                let bias = cursor.u32()?;
                // Bits, then place and size of exponent and mantissa, and the exponent's bias.
                let dtype = match (size, precision, place, bias) {
                    (2, 16, [10, 5, 0, 10], 15) => Some(Dtype::F16),
                    (2, 16, [7, 8, 0, 7], 127) => Some(Dtype::BF16),
                    (4, 32, [23, 8, 0, 23], 127) => Some(Dtype::F32),
                    (8, 64, [52, 11, 0, 52], 1023) => Some(Dtype::F64),
                    _ => None,
                };
                let big = bits[0] & 1 != 0;
                let usual =
                    offset == 0 && bits[0] & 0x40 == 0 && u64::from(bits[1]) + 1 == u64::from(size) * 8;
                match dtype {
                    Some(dtype) if usual => Datatype::Float { dtype, big },
                    _ => Datatype::Other(format!("a float of {precision} bits in a layout of its own")),
                }
            }
            2 => Datatype::Other("TIME".to_string()),
            3 => Datatype::Other("STRING".to_string()),
            4 => Datatype::Other("BITFIELD".to_string()),
            5 => Datatype::Other("OPAQUE".to_string()),
            6 => Datatype::Other("COMPOUND".to_string()),
            7 => Datatype::Other("REFERENCE".to_string()),
            8 => Datatype::Other("ENUM".to_string()),
            9 => Datatype::Other("VARIABLE LENGTH".to_string()),
            10 => Datatype::Other("ARRAY".to_string()),
            _ => Datatype::Other(format!("CLASS {class}")),
        })
    }

    /// The name of the number format.
    pub(super) fn name(&self) -> String {
        match self {
            Datatype::Float { dtype, .. } => dtype.to_string(),
            Datatype::Other(name) => name.clone(),
        }
    }

    /// Bytes of an element, where it can be a weight.
    pub(super) fn width(&self) -> Option<usize> {
        match self {
            Datatype::Float { dtype, .. } => convert::width(*dtype),
            Datatype::Other(_) => None,
        }
    }

    /// Stored bytes as `f32`.
    pub(super) fn to_f32(&self, mut bytes: Vec<u8>) -> Option<Vec<f32>> {
        let Datatype::Float { dtype, big } = self else { return None };
        if *big {
            for number in bytes.chunks_mut(self.width()?) {
                number.reverse();
            }
        }
        convert::to_f32(*dtype, &bytes)
    }
}

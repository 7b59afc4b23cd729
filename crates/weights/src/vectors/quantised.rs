//! Rows kept as codes of a product quantizer, as fastText's `.ftz` has them.
//!
//! Paper: Joulin et al. 2016, section 3.2, "FastText.zip: Compressing text classification models",
//! <https://arxiv.org/abs/1612.03651>.

use super::stream::Stream;
use crate::Error;

/// Values of a code: one byte.
const CODES: usize = 256;

/// A matrix whose rows are codes of parts, and where that was asked for a code of its length each.
#[derive(Clone, Debug)]
pub(super) struct Quantised {
    rows: usize,
    /// `[rows, parts]`.
    codes: Vec<u8>,
    quantizer: Quantizer,
    /// Codes of the rows' lengths, and what they mean.
    lengths: Option<(Vec<u8>, Quantizer)>,
}

/// Parts of a vector, and for each part the values its codes stand for.
#[derive(Clone, Debug)]
struct Quantizer {
    width: usize,
    parts: usize,
    /// Width of each part but the last.
    part: usize,
    last: usize,
    /// Part after part, `[256, width of the part]`.
    centroids: Vec<f32>,
}

impl Quantised {
    /// Reads a matrix that is `width` wide.
    pub fn read(stream: &mut Stream, what: &str) -> Result<Self, Error> {
        let with_lengths = stream.flag(&format!("the length flag of {what}"))?;
        let (rows, width) = (stream.long(what)?, stream.long(what)?);
        let size = stream.int(what)?;
        let sound = |value: i64| usize::try_from(value).ok();
        let (Some(rows), Some(width), Some(size)) = (sound(rows), sound(width), sound(size.into())) else {
            return Err(stream.bad(format!("{what} is {rows} by {width} with {size} codes")));
        };
        let codes = stream.bytes(size as u64, what)?;
        let quantizer = Quantizer::read(stream, width, what)?;
        if rows.checked_mul(quantizer.parts) != Some(size) {
            let parts = quantizer.parts;
            return Err(stream.bad(format!("{what} has {size} codes, expected {rows} rows of {parts}")));
        }
        let lengths = if with_lengths {
            let codes = stream.bytes(rows as u64, what)?;
            Some((codes, Quantizer::read(stream, 1, what)?))
        } else {
            None
        };
        Ok(Quantised { rows, codes, quantizer, lengths })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn width(&self) -> usize {
        self.quantizer.width
    }

    /// Adds a row to `into`.
    pub fn add(&self, row: usize, into: &mut [f32]) {
        let length =
            self.lengths.as_ref().map_or(1.0, |(codes, quantizer)| quantizer.value(0, codes[row])[0]);
        let codes = &self.codes[row * self.quantizer.parts..][..self.quantizer.parts];
        for (part, (&code, into)) in codes.iter().zip(into.chunks_mut(self.quantizer.part)).enumerate() {
            let value = self.quantizer.value(part, code);
            into.iter_mut().zip(value).for_each(|(sum, value)| *sum += length * value);
        }
    }
}

impl Quantizer {
    fn read(stream: &mut Stream, width: usize, what: &str) -> Result<Self, Error> {
        let fields = [stream.int(what)?, stream.int(what)?, stream.int(what)?, stream.int(what)?];
        let [dim, parts, part, last] = fields.map(|field| usize::try_from(field).unwrap_or(0));
        let whole = parts.checked_sub(1).and_then(|parts| parts.checked_mul(part)?.checked_add(last));
        if dim != width || part == 0 || last == 0 || last > part || whole != Some(dim) {
            return Err(stream.bad(format!(
                "{what}: a quantizer of {} numbers in {} parts of {}, the last of {}, for vectors of {width}",
                fields[0], fields[1], fields[2], fields[3]
            )));
        }
        let centroids = stream.floats((dim * CODES) as u64, what)?;
        if let Some(at) = centroids.iter().position(|value| !value.is_finite()) {
            return Err(stream.bad(format!("{what}: centroid {at} is {}", centroids[at])));
        }
        Ok(Quantizer { width, parts, part, last, centroids })
    }

    /// What a code of a part stands for.
    fn value(&self, part: usize, code: u8) -> &[f32] {
        let width = if part + 1 == self.parts { self.last } else { self.part };
        &self.centroids[part * CODES * self.part + usize::from(code) * width..][..width]
    }
}

//! Resizing as Pillow does it, to the byte: a filter as wide as what becomes one pixel, along rows and then along columns, in
//! numbers with 22 bits behind the point. Pillow 13 takes columns first for some sizes, whose bytes then differ by 1; up to Pillow
//! 12 it is rows first, as here.
//!
//! Reference code: <https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c>.

use super::decode::Rgb;

/// How the pixels in the neighbourhood count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// A triangle.
    Bilinear,
    /// A cubic with a = -0.5.
    Bicubic,
}

/// Bits behind the point of a weight: 32, less 8 for the byte, and 2 because sums may pass it on the way.
const BITS: u32 = 22;

impl Filter {
    fn support(self) -> f64 {
        match self {
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
        }
    }

    fn at(self, x: f64) -> f64 {
        let (x, a) = (x.abs(), -0.5);
        match self {
            Filter::Bilinear if x < 1.0 => 1.0 - x,
            Filter::Bicubic if x < 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            Filter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * a,
            _ => 0.0,
        }
    }
}

/// What one pixel is made of: the first one it takes, and the weight of each from there.
struct Taken {
    first: usize,
    weights: Vec<i32>,
}

/// For each of `to` pixels of a line, what it takes of `from` pixels.
fn taken(from: usize, to: usize, filter: Filter) -> Vec<Taken> {
    let scale = from as f64 / to as f64;
    let wide = scale.max(1.0);
    let support = filter.support() * wide;
    let one = |at: usize| {
        let center = (at as f64 + 0.5) * scale;
        let first = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let shares: Vec<f64> =
            (first..end).map(|x| filter.at((x as f64 - center + 0.5) * (1.0 / wide))).collect();
        let sum: f64 = shares.iter().sum();
        let weight = |share: &f64| {
            let share = if sum == 0.0 { *share } else { *share / sum };
            let shifted = share * f64::from(1u32 << BITS);
            (if share < 0.0 { shifted - 0.5 } else { shifted + 0.5 }) as i32
        };
        Taken { first, weights: shares.iter().map(weight).collect() }
    };
    (0..to).map(one).collect()
}

/// A sum of weighted bytes as a byte.
fn byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// The picture with another height and width.
pub(super) fn resize(picture: Rgb, [height, width]: [usize; 2], filter: Filter) -> Rgb {
    let half = 1 << (BITS - 1);
    let mut picture = picture;
    if picture.width != width {
        let columns = taken(picture.width, width, filter);
        let mut bytes = Vec::with_capacity(picture.height * width * 3);
        for row in picture.bytes.chunks_exact(picture.width * 3) {
            for Taken { first, weights } in &columns {
                let mut sums = [half; 3];
                for (pixel, weight) in row[first * 3..].as_chunks::<3>().0.iter().zip(weights) {
                    for (sum, &value) in sums.iter_mut().zip(pixel) {
                        *sum += i32::from(value) * weight;
                    }
                }
                bytes.extend(sums.map(byte));
            }
        }
        picture = Rgb { width, bytes, ..picture };
    }
    if picture.height != height {
        let wide = width * 3;
        let mut bytes = Vec::with_capacity(height * wide);
        for Taken { first, weights } in taken(picture.height, height, filter) {
            let mut sums = vec![half; wide];
            for (row, weight) in picture.bytes[first * wide..].chunks_exact(wide).zip(&weights) {
                for (sum, &value) in sums.iter_mut().zip(row) {
                    *sum += i32::from(value) * weight;
                }
            }
            bytes.extend(sums.into_iter().map(byte));
        }
        picture = Rgb { height, bytes, ..picture };
    }
    picture
}

/// The middle of a picture; where it is smaller, zeros stand around it.
pub(super) fn center_crop(picture: &Rgb, [height, width]: [usize; 2]) -> Rgb {
    // Where a side of the result begins in the picture, which is before it where the picture is smaller: transformers rounds
    // the room before it up, and what it then takes of both together down.
    let begin = |own: usize, wanted: usize| {
        let (own, wanted) = (own as isize, wanted as isize);
        let before = (wanted.max(own) - own + 1) / 2;
        ((own - wanted).div_euclid(2) + before).max(0) - before
    };
    let (top, left) = (begin(picture.height, height), begin(picture.width, width));
    let mut bytes = vec![0; height * width * 3];
    for (y, row) in bytes.chunks_exact_mut(width * 3).enumerate() {
        let from = top + y as isize;
        if !(0..picture.height as isize).contains(&from) {
            continue;
        }
        let source = &picture.bytes[from as usize * picture.width * 3..][..picture.width * 3];
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let from = left + x as isize;
            if (0..picture.width as isize).contains(&from) {
                pixel.copy_from_slice(&source[from as usize * 3..][..3]);
            }
        }
    }
    Rgb { height, width, bytes }
}

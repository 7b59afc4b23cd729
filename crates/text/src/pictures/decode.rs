//! Files to pixels: PNG, JPEG, WebP, BMP and the first picture of a GIF.

use std::io::Cursor;
use std::panic::catch_unwind;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};

use super::names_picture;

/// The largest file that is read.
const MOST_BYTES: u64 = 256 << 20;
/// The longest side of a picture: beyond it, a small file may stand for more memory than there is.
const LONGEST_SIDE: u32 = 1 << 15;
/// The memory that decoding may take: a hundred million pixels with transparency, some more than what Pillow warns at. Formats such
/// as GIF say a size of any number in a few bytes, and all of it is taken before the first pixel.
const MOST_MEMORY: u64 = 400 << 20;

/// A picture of red, green and blue bytes, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rgb {
    pub height: usize,
    pub width: usize,
    /// `[height, width, 3]`.
    pub bytes: Vec<u8>,
}

/// Reads a picture; the error is a reason without the name of the file.
pub(super) fn read(path: &Path) -> Result<Rgb, String> {
    let named = || path.to_str().is_some_and(names_picture);
    let meta = std::fs::metadata(path).map_err(|error| match named() {
        true => format!("cannot read the picture: {error}"),
        false => format!("the model reads pictures, and this is not the name of one: {error}"),
    })?;
    if !meta.is_file() {
        return Err("expected a picture, got a folder".into());
    }
    match meta.len() {
        0 => return Err("the picture is an empty file".into()),
        size if size > MOST_BYTES => {
            return Err(format!("{} MB, more than the {} that are read", size >> 20, MOST_BYTES >> 20));
        }
        _ => {}
    }
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read the picture: {error}"))?;
    // A decoder that panics at a hostile file takes nothing but this picture with it.
    let decoded = catch_unwind(|| decode(&bytes));
    let picture = decoded
        .map_err(|_| "the picture is damaged: its decoder stops at it".to_string())?
        .map_err(|error| match error {
            ImageError::Unsupported(_) => {
                format!("no picture that is read here ({error}); save it as PNG or JPEG")
            }
            ImageError::Limits(_) => {
                format!(
                    "too large ({error}): at most {LONGEST_SIDE} pixels a side and {} MB",
                    MOST_MEMORY >> 20
                )
            }
            error => format!("the picture is damaged: {error}"),
        })?;
    if picture.height == 0 || picture.width == 0 {
        return Err("the picture has no pixels".into());
    }
    Ok(picture)
}

fn decode(bytes: &[u8]) -> Result<Rgb, ImageError> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    limits.check_dimensions(decoder.dimensions().0, decoder.dimensions().1)?;
    limits.reserve(decoder.total_bytes())?;
    let turned = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(turned);
    let rgb = match picture {
        // Pillow takes the upper byte of two.
        DynamicImage::ImageLuma16(_)
        | DynamicImage::ImageLumaA16(_)
        | DynamicImage::ImageRgb16(_)
        | DynamicImage::ImageRgba16(_) => {
            let wide = picture.into_rgb16();
            let (width, height) = wide.dimensions();
            let bytes = wide.into_raw().into_iter().map(|value| (value >> 8) as u8).collect();
            return Ok(Rgb { height: height as usize, width: width as usize, bytes });
        }
        // What is transparent counts as it is coloured, as in Pillow.
        other => other.into_rgb8(),
    };
    let (width, height) = rgb.dimensions();
    Ok(Rgb { height: height as usize, width: width as usize, bytes: rgb.into_raw() })
}

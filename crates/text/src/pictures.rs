//! Pictures as sequences: an example's text is the path of a picture, its tokens are the squares that it is cut into.
//!
//! What `preprocessor_config.json` says is done as transformers does it with Pillow: the picture is made RGB, resized and cut to
//! the model's size. Its bytes stay bytes; scaling, mean and deviation are the first step of the model (see
//! [`PictureSettings::levels`]). A picture is turned as its EXIF entry says, as transformers' `load_image` does.

mod decode;
mod resample;
mod settings;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub use settings::{PREPROCESSOR, PROCESSOR, PictureSettings};

use crate::settings::{object, read_optional};
use crate::{Encoding, Error, Input, Origin, Result};
use decode::Rgb;

/// Models that read pictures, by their `model_type` in `config.json`.
pub const PICTURE_MODELS: [&str; 2] = ["vit", "clip_vision_model"];

/// Endings of the names of pictures that are read here, in small letters.
const ENDINGS: [&str; 6] = ["png", "jpg", "jpeg", "webp", "bmp", "gif"];

/// The id of the token in front of the squares, whose state stands for the picture.
pub(crate) const CLASS: u32 = 0;

/// The id of a square.
const PATCH: u32 = 1;

/// Whether a text looks like the name of a picture: one line with the ending of a format that is read here.
pub fn names_picture(text: &str) -> bool {
    let ending = text.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) && !text.contains(['\n', '\r'])
}

/// What makes tokens of pictures.
#[derive(Clone, Debug)]
pub(crate) struct Pictures {
    settings: PictureSettings,
    /// Height and width of a square.
    patch: [usize; 2],
    /// Height and width of what the model reads.
    size: [usize; 2],
    /// The settings as they are written into a folder.
    pub file: Vec<u8>,
}

/// The file that says how the pictures of a model are prepared, where its `config.json` is one of a model that reads pictures.
pub(crate) fn settings_in(folder: &Path) -> Result<Option<PathBuf>> {
    let path = folder.join("config.json");
    let config = object(&path, read_optional(&path)?.as_deref())?;
    let kind = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    Ok(if PICTURE_MODELS.contains(&kind) { file_in(folder) } else { None })
}

/// Whether `config.json` is that of a model that reads pictures.
pub(crate) fn is_model(folder: &Path) -> bool {
    let path = folder.join("config.json");
    let config = read_optional(&path).and_then(|bytes| object(&path, bytes.as_deref())).unwrap_or_default();
    config.get("model_type").and_then(Value::as_str).is_some_and(|kind| PICTURE_MODELS.contains(&kind))
}

/// The file that says how pictures are prepared; newer folders have it together with other settings.
pub(crate) fn file_in(folder: &Path) -> Option<PathBuf> {
    [PREPROCESSOR, PROCESSOR].iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// The settings for pictures in a folder, if there are any: what stands in the file about them.
///
/// # Errors
/// A file that cannot be read.
pub fn picture_settings(folder: &Path) -> Result<Option<Value>> {
    match file_in(folder) {
        Some(path) => Ok(Some(written(&path)?.1)),
        None => Ok(None),
    }
}

/// The settings in a file: its bytes where it holds nothing else, and what they say.
fn written(path: &Path) -> Result<(Vec<u8>, Value)> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
    let whole = object(path, Some(&bytes))?;
    if path.file_name().is_some_and(|name| name == PROCESSOR) {
        let own = whole.get("image_processor").cloned().unwrap_or_default();
        let bytes = serde_json::to_vec_pretty(&own).unwrap_or_default();
        return Ok((bytes, own));
    }
    Ok((bytes, Value::Object(whole)))
}

impl Pictures {
    /// Reads the settings of a folder and the sizes that its `config.json` says, there or of its side for pictures.
    pub fn read(path: &Path) -> Result<Self> {
        let (file, value) = written(path)?;
        let settings = PictureSettings::of(&value, path)?;
        let config_path = path.with_file_name("config.json");
        let config = object(&config_path, read_optional(&config_path)?.as_deref())?;
        let config = match config.get("vision_config") {
            Some(Value::Object(side)) => side,
            _ => &config,
        };
        let sides = |key: &str, usual: usize| settings::sides(config.get(key), usual, &config_path, key);
        let usual = if config.get("model_type").and_then(Value::as_str) == Some("vit") { 16 } else { 32 };
        let (patch, size) = (sides("patch_size", usual)?, sides("image_size", 224)?);
        if patch[0] > size[0] || patch[1] > size[1] {
            let expected = format!("at most the size of a picture, {} by {}", size[0], size[1]);
            return Err(settings::wrong(&config_path, "patch_size", &expected, config.get("patch_size")));
        }
        if let Some(made) = settings.size().filter(|made| *made != size) {
            let got = format!("{} by {} (height, width)", made[0], made[1]);
            let expected = format!("the {} by {} that config.json says the model reads", size[0], size[1]);
            let key = if settings.crops() { "crop_size" } else { "size" };
            return Err(Error::Setting { path: path.into(), key: key.into(), expected, got });
        }
        Ok(Self { settings, patch, size, file })
    }

    /// Numbers of a square.
    fn row(&self) -> usize {
        3 * self.patch[0] * self.patch[1]
    }

    /// Tokens of a picture.
    fn tokens(&self) -> usize {
        1 + (self.size[0] / self.patch[0]) * (self.size[1] / self.patch[1])
    }

    /// The picture that a text names, as tokens: the class token (its pixels are zeros, and no model looks at them), then the
    /// squares from left to right and from top to bottom, each with its bytes by channel, row and column.
    pub fn encode(&self, index: usize, input: Input<'_>, max_tokens: Option<usize>) -> Result<Encoding> {
        let failed = |reason: String| Error::Picture { index, path: input.text.into(), reason };
        if input.pair.is_some() {
            return Err(failed("expected one picture, got a pair of texts: leave the second one out".into()));
        }
        let tokens = self.tokens();
        if let Some(most) = max_tokens.filter(|most| *most < tokens) {
            return Err(failed(format!(
                "a picture has {tokens} tokens and cannot be cut to {most}: leave the maximum length out"
            )));
        }
        let picture = decode::read(Path::new(input.text)).map_err(failed)?;
        let picture = self.prepared(picture);
        if [picture.height, picture.width] != self.size {
            return Err(failed(format!(
                "the model reads pictures of {} by {} (height, width), and the settings of {PREPROCESSOR} make {} by {} of this \
                 one",
                self.size[0], self.size[1], picture.height, picture.width
            )));
        }
        let mut ids = vec![PATCH; tokens];
        ids[0] = CLASS;
        let mut origins = vec![Origin::new((0, 0), None, 0, Some(0)); tokens];
        origins[0] = Origin::special(0);
        Ok(Encoding { ids, origins, pixels: self.cut(&picture), ..Encoding::default() })
    }

    /// Resized and cropped.
    fn prepared(&self, mut picture: Rgb) -> Rgb {
        if let Some((size, filter)) = self.settings.resize([picture.height, picture.width]) {
            picture = resample::resize(picture, size, filter);
        }
        match self.settings.crop() {
            Some(size) => resample::center_crop(&picture, size),
            None => picture,
        }
    }

    /// The bytes of the class token and of each square. What is left at the right and below, less than a square, is not read, as
    /// a convolution does not.
    fn cut(&self, picture: &Rgb) -> Vec<u8> {
        let [high, wide] = self.patch;
        let mut pixels = vec![0; self.row()];
        pixels.reserve(self.row() * (self.tokens() - 1));
        for top in (0..=picture.height - high).step_by(high) {
            for left in (0..=picture.width - wide).step_by(wide) {
                for channel in 0..3 {
                    for y in top..top + high {
                        let from = (y * picture.width + left) * 3 + channel;
                        pixels.extend(picture.bytes[from..].iter().step_by(3).take(wide));
                    }
                }
            }
        }
        pixels
    }
}

/// A `tokenizer.json` with the two tokens that there are.
pub(crate) fn tokenizer_json() -> Vec<u8> {
    let vocab = serde_json::json!({"[CLASS]": CLASS, "[PATCH]": PATCH});
    let model = serde_json::json!({"type": "WordLevel", "vocab": vocab, "unk_token": "[PATCH]"});
    serde_json::json!({"version": "1.0", "model": model}).to_string().into_bytes()
}

#[cfg(test)]
#[path = "pictures/tests.rs"]
mod tests;

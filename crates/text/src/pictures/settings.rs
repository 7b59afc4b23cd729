//! `preprocessor_config.json`: what is done with a picture before a model reads it.

use std::path::Path;

use serde_json::Value;

use super::resample::Filter;
use crate::{Error, Result};

/// The file that says how pictures are prepared.
pub const PREPROCESSOR: &str = "preprocessor_config.json";

/// The file in which newer folders of models with two sides have it, under `image_processor`.
pub const PROCESSOR: &str = "processor_config.json";

/// The largest side that a setting may ask for.
const LARGEST: u64 = 1 << 14;

/// Kinds of processors that are read, without the endings that say which library computes.
const KINDS: [&str; 2] = ["ViT", "CLIP"];

/// What the settings ask the size to become.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    /// Height and width.
    Exactly([usize; 2]),
    /// The shorter side.
    Shortest(usize),
}

/// What is done with a picture, as transformers' `ViTImageProcessor` and `CLIPImageProcessor` do it.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureSettings {
    resize: Option<(Target, Filter)>,
    crop: Option<[usize; 2]>,
    rescale: Option<f64>,
    normalise: Option<[[f32; 3]; 2]>,
}

impl PictureSettings {
    /// Reads the settings; what they do not say is as their kind of processor has it. `path` is for messages.
    ///
    /// # Errors
    /// A kind of processor that is not known; [`Error::Setting`] for a value that cannot be.
    pub fn of(value: &Value, path: &Path) -> Result<Self> {
        let clip = kind(value, path)? == "CLIP";
        let flag = |key: &str, usual: bool| match value.get(key) {
            None | Some(Value::Null) => Ok(usual),
            Some(Value::Bool(flag)) => Ok(*flag),
            other => Err(wrong(path, key, "true, false or null", other)),
        };
        if flag("do_pad", false)? {
            return Err(wrong(path, "do_pad", "false (pictures are not padded here)", value.get("do_pad")));
        }
        let resize = flag("do_resize", true)?.then(|| target(value.get("size"), clip, path)).transpose()?;
        let filter =
            filter(value.get("resample"), if clip { Filter::Bicubic } else { Filter::Bilinear }, path)?;
        let crop =
            flag("do_center_crop", clip)?.then(|| sides(value.get("crop_size"), 224, path, "crop_size"));
        let rescale = flag("do_rescale", true)?.then(|| number(value, "rescale_factor", 1.0 / 255.0, path));
        let [mean, std] = if clip { CLIP } else { [[0.5; 3]; 2] };
        let normalise = flag("do_normalize", true)?.then(|| {
            Ok([channels(value, "image_mean", mean, path)?, channels(value, "image_std", std, path)?])
        });
        let normalise: Option<[[f32; 3]; 2]> = normalise.transpose()?;
        if normalise.is_some_and(|[_, std]| std.contains(&0.0)) {
            return Err(wrong(path, "image_std", "numbers other than 0", value.get("image_std")));
        }
        Ok(Self {
            resize: resize.map(|target| (target, filter)),
            crop: crop.transpose()?,
            rescale: rescale.transpose()?,
            normalise,
        })
    }

    /// What a byte of each channel is for the model: scaled, less the mean, by the deviation.
    ///
    /// # Shapes
    /// - returns: `[3, 256]`
    pub fn levels(&self) -> Vec<f32> {
        let level = |channel: usize, byte: u16| {
            let scaled = self.rescale.map_or(f64::from(byte), |scale| f64::from(byte) * scale) as f32;
            self.normalise.map_or(scaled, |[mean, std]| (scaled - mean[channel]) / std[channel])
        };
        (0..3).flat_map(|channel| (0..256).map(move |byte| level(channel, byte))).collect()
    }

    /// Height and width of every picture, where they do not hang on the picture.
    pub(super) fn size(&self) -> Option<[usize; 2]> {
        match (self.crop, self.resize) {
            (Some(size), _) | (None, Some((Target::Exactly(size), _))) => Some(size),
            _ => None,
        }
    }

    /// Whether the middle is taken at the end.
    pub(super) fn crops(&self) -> bool {
        self.crop.is_some()
    }

    /// Height and width of the middle that is taken.
    pub(super) fn crop(&self) -> Option<[usize; 2]> {
        self.crop
    }

    /// The size that a picture of this height and width is brought to, and how.
    pub(super) fn resize(&self, [height, width]: [usize; 2]) -> Option<([usize; 2], Filter)> {
        let (target, filter) = self.resize?;
        let size = match target {
            Target::Exactly(size) => size,
            Target::Shortest(short) => {
                let long = |long: usize, other: usize| (short * long / other).max(1);
                if width <= height { [long(height, width), short] } else { [short, long(width, height)] }
            }
        };
        Some((size, filter))
    }
}

/// Means and deviations of the pictures that CLIP was trained on.
const CLIP: [[f32; 3]; 2] =
    [[0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_6, 0.275_777_1]];

/// Which of [`KINDS`] the settings are of.
fn kind(value: &Value, path: &Path) -> Result<&'static str> {
    let said =
        ["image_processor_type", "feature_extractor_type"].map(|key| value.get(key).and_then(Value::as_str));
    let own = |name: &str| {
        let name = name.trim_end_matches("Fast").trim_end_matches("Pil");
        let name = name.strip_suffix("ImageProcessor").or(name.strip_suffix("FeatureExtractor"))?;
        KINDS.into_iter().find(|kind| *kind == name)
    };
    said.iter().flatten().find_map(|name| own(name)).ok_or_else(|| {
        let got = said.iter().flatten().next().map(|name| Value::from(*name));
        wrong(path, "image_processor_type", "ViTImageProcessor or CLIPImageProcessor", got.as_ref())
    })
}

pub(super) fn wrong(path: &Path, key: &str, expected: &str, got: Option<&Value>) -> Error {
    let got = got.map_or("nothing".to_string(), Value::to_string);
    Error::Setting { path: path.into(), key: key.into(), expected: expected.into(), got }
}

/// A side in pixels.
fn side(value: Option<&Value>) -> Option<usize> {
    value?.as_u64().filter(|side| (1..=LARGEST).contains(side)).map(|side| side as usize)
}

/// Height and width: of an object with both, of a list of both, or of one number for both.
pub(super) fn sides(value: Option<&Value>, usual: usize, path: &Path, key: &str) -> Result<[usize; 2]> {
    let found = match value {
        None | Some(Value::Null) => Some([usual; 2]),
        Some(Value::Object(both)) => {
            side(both.get("height")).zip(side(both.get("width"))).map(<[usize; 2]>::from)
        }
        Some(Value::Array(both)) if both.len() == 2 => {
            side(both.first()).zip(side(both.get(1))).map(<[usize; 2]>::from)
        }
        one => side(one).map(|side| [side; 2]),
    };
    let expected = format!("a size from 1 to {LARGEST}, or a height and a width");
    found.ok_or_else(|| wrong(path, key, &expected, value))
}

/// What `size` asks for.
fn target(value: Option<&Value>, clip: bool, path: &Path) -> Result<Target> {
    match value {
        None | Some(Value::Null) if clip => Ok(Target::Shortest(224)),
        Some(Value::Object(keys)) if !keys.contains_key("height") => {
            let only = keys.iter().filter(|(_, value)| !value.is_null()).count() == 1;
            let short = side(keys.get("shortest_edge")).filter(|_| only);
            let expected = "a \"height\" and a \"width\", or a \"shortest_edge\"";
            short.map(Target::Shortest).ok_or_else(|| wrong(path, "size", expected, value))
        }
        // A number is the shorter side for CLIP, both sides for ViT.
        Some(Value::Number(_)) if clip => {
            side(value).map(Target::Shortest).ok_or_else(|| wrong(path, "size", "a size in pixels", value))
        }
        _ => Ok(Target::Exactly(sides(value, 224, path, "size")?)),
    }
}

fn filter(value: Option<&Value>, usual: Filter, path: &Path) -> Result<Filter> {
    match value {
        None | Some(Value::Null) => Ok(usual),
        Some(number) if number.as_u64() == Some(2) => Ok(Filter::Bilinear),
        Some(number) if number.as_u64() == Some(3) => Ok(Filter::Bicubic),
        other => Err(wrong(path, "resample", "2 (bilinear) or 3 (bicubic)", other)),
    }
}

fn number(value: &Value, key: &str, usual: f64, path: &Path) -> Result<f64> {
    match value.get(key) {
        None | Some(Value::Null) => Ok(usual),
        Some(Value::Number(number)) => Ok(number.as_f64().unwrap_or(usual)),
        other => Err(wrong(path, key, "a number", other)),
    }
}

/// A number a channel, or one for all.
fn channels(value: &Value, key: &str, usual: [f32; 3], path: &Path) -> Result<[f32; 3]> {
    let found = match value.get(key) {
        None | Some(Value::Null) => Some(usual),
        Some(Value::Array(all)) => {
            let numbers: Vec<f32> = all.iter().filter_map(|number| Some(number.as_f64()? as f32)).collect();
            <[f32; 3]>::try_from(numbers).ok().filter(|_| all.len() == 3)
        }
        Some(one) => one.as_f64().map(|number| [number as f32; 3]),
    };
    found.ok_or_else(|| wrong(path, key, "three numbers", value.get(key)))
}

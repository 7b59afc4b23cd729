//! The first step of families that read pictures: each square of a picture becomes a vector, and a class token stands before them.
//!
//! The squares come as bytes ([`Packed::pixels`]). What a byte is for the model (scaled, less the mean, by the deviation) is looked
//! up here, by the settings that lie with the model ([`PREPROCESSING`]). The convolution of the references, whose step is its width,
//! is a linear map of the bytes of a square.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use serde_json::{Value, json};
use topwork_nn::layers::Linear;
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass};
use topwork_text::Packed;
use topwork_text::pictures::{PREPROCESSOR, PictureSettings};

use crate::config::Config;
use crate::error::Error;
use crate::family::Size;

/// The key of `config.json` under which the settings for pictures stand while a model is open. Files have them apart
/// ([`PREPROCESSOR`]).
pub const PREPROCESSING: &str = "preprocessing";

/// Squares and the class token, with their places.
pub struct Patches {
    class: ParamId,
    map: Linear,
    position: ParamId,
    /// Numbers of a square.
    row: usize,
    /// Tokens of a picture.
    tokens: usize,
    /// `[3, 256]`: what a byte of each channel is.
    levels: Vec<f32>,
}

/// Height and width, which may be one number.
fn sides(config: Config, key: &str, usual: u64) -> Result<[usize; 2], Error> {
    let side =
        |value: &Value| value.as_u64().filter(|side| (1..1 << 14).contains(side)).map(|side| side as usize);
    let usual = json!(usual);
    let value = config.0.get(key).filter(|value| !value.is_null()).unwrap_or(&usual);
    let found = match value.as_array().map(Vec::as_slice) {
        Some([height, width]) => side(height).zip(side(width)),
        Some(_) => None,
        None => side(value).map(|both| (both, both)),
    };
    let expected = "a size from 1 to 16383, or a height and a width";
    found.map(<[usize; 2]>::from).ok_or_else(|| Config::wrong(key, expected, Some(value)))
}

/// How many tokens a picture has for a model with these settings, the class token counted.
///
/// # Errors
/// [`Error::Config`].
pub fn tokens(config: Config, usual_patch: u64) -> Result<usize, Error> {
    let (size, patch) = (sides(config, "image_size", 224)?, sides(config, "patch_size", usual_patch)?);
    let patches = (size[0] / patch[0]) * (size[1] / patch[1]);
    if patches == 0 {
        return Err(config.wrong_value("patch_size", "at most image_size"));
    }
    Ok(1 + patches)
}

impl Patches {
    /// Declares `embed.class.weight`, `embed.patch` and `embed.position.weight` in group 0, with the axes that files have them
    /// with: `class` and `position` may have axes of one before.
    ///
    /// # Errors
    /// [`Error::Config`]; [`Error::Unreadable`] for settings for pictures that cannot be.
    pub fn declare(
        store: &mut ParamStore,
        config: Config,
        size: &Size,
        (usual_patch, bias, wide): (u64, bool, bool),
        usual: &Value,
    ) -> Result<Self, Error> {
        config.only("num_channels", &json!(3))?;
        let [high, broad] = sides(config, "patch_size", usual_patch)?;
        let tokens = tokens(config, usual_patch)?;
        let said = config.0.get(PREPROCESSING).unwrap_or(usual);
        let settings = PictureSettings::of(said, PREPROCESSOR.as_ref())
            .map_err(|error| Error::Unreadable { path: PREPROCESSOR.into(), reason: error.to_string() })?;
        let (hidden, init) = (size.hidden, Init::Normal(size.std));
        let class = store.declare("embed.class.weight", &[1, hidden], 0, ParamKind::Weight, init);
        let shape = [hidden, 3, high, broad];
        let weight = store.declare("embed.patch.weight", &shape, 0, ParamKind::Weight, init);
        let bias =
            bias.then(|| store.declare("embed.patch.bias", &[hidden], 0, ParamKind::Bias, Init::Zeros));
        let position = store.declare("embed.position.weight", &[tokens, hidden], 0, ParamKind::Weight, init);
        if wide {
            store.split(class, &[1, 1, hidden]);
            store.split(position, &[1, tokens, hidden]);
        } else {
            store.split(class, &[hidden]);
        }
        let (map, row) = (Linear { weight, bias }, 3 * high * broad);
        Ok(Patches { class, map, position, row, tokens, levels: settings.levels() })
    }

    /// The table of places: the one table that there is.
    pub fn table(&self) -> ParamId {
        self.position
    }

    /// # Shapes
    /// - returns: `[tokens, hidden]`
    ///
    /// # Errors
    /// [`Error::NoPixels`]; a parameter without values.
    pub fn forward(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        let fits = input.pixel_row() == self.row && input.lengths().all(|tokens| tokens == self.tokens);
        if !fits {
            return Err(Error::NoPixels { tokens: self.tokens, row: self.row, got: input.pixel_row() });
        }
        let (channel, mut values) = (self.row / 3, Vec::with_capacity(input.pixels.len()));
        // For each token where its vector is found: the class token's first, then those of all squares.
        let mut places = Vec::with_capacity(input.tokens());
        let mut squares = 0;
        for (token, pixels) in input.pixels.chunks_exact(self.row).enumerate() {
            if token % self.tokens == 0 {
                places.push(0);
                continue;
            }
            squares += 1;
            places.push(squares);
            for (levels, bytes) in self.levels.chunks_exact(256).zip(pixels.chunks_exact(channel)) {
                values.extend(bytes.iter().map(|&byte| levels[usize::from(byte)]));
            }
        }
        let data = TensorData::new(values, [squares as usize, self.row]);
        let x = self.map.forward(pass, Tensor::from_data(data, pass.store().device()))?;
        let x = Tensor::cat(vec![pass.matrix(self.class)?, x], 0);
        let x = topwork_ops::embedding(x, &Arc::from(places));
        Ok(x + pass.lookup(self.position, &input.positions())?)
    }
}

//! Frequencies of rotary positions, with the ways in which published models stretch them to longer texts.
//!
//! Papers: Su et al. 2021, "RoFormer", section 3.2.2, <https://arxiv.org/abs/2104.09864>; linear: Chen et al. 2023, "Extending
//! Context Window of Large Language Models via Positional Interpolation", section 2.3, <https://arxiv.org/abs/2306.15595>;
//! yarn: Peng et al. 2023, "YaRN", section 3, <https://arxiv.org/abs/2309.00071>; llama3: Dubey et al. 2024, "The Llama 3 Herd of
//! Models", section 3.2, <https://arxiv.org/abs/2407.21783>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/modeling_rope_utils.py>.
//! Ways whose frequencies depend on the length of the text at hand (dynamic, longrope) are refused: a text's vectors would
//! then depend on what comes after it.

use std::f64::consts::PI;

use serde_json::Value;

use crate::config::Config;
use crate::error::Error;

/// How positions turn the heads of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Frequencies {
    /// Radians a position, for each pair of numbers of a head: `[rotary_dim / 2]`.
    pub inverse: Vec<f32>,
    /// What cosines and sines are multiplied with.
    pub factor: f32,
}

impl Frequencies {
    /// Reads `rope_parameters` (as transformers 5 writes it) or `rope_theta` and `rope_scaling` (as before).
    ///
    /// # Errors
    /// [`Error::Config`] for a way of scaling that is not known, or a number that is missing.
    pub fn read(config: Config, head_dim: usize, default_theta: f64) -> Result<Self, Error> {
        let object = |key: &str| config.0.get(key).filter(|value| value.is_object());
        let empty = Value::Object(serde_json::Map::new());
        let new = object("rope_parameters");
        let scaling = Config(new.or(object("rope_scaling")).unwrap_or(&empty));
        let theta = match new {
            Some(_) => scaling.number_or("rope_theta", config.number_or("rope_theta", default_theta)?)?,
            None => config.number_or("rope_theta", default_theta)?,
        };
        let share =
            config.number_or("partial_rotary_factor", scaling.number_or("partial_rotary_factor", 1.0)?)?;
        let dim = (head_dim as f64 * share) as usize / 2 * 2;
        // In 32 bits, as the reference computes them.
        let plain: Vec<f32> =
            (0..dim / 2).map(|i| 1.0 / (theta as f32).powf((2 * i) as f32 / dim as f32)).collect();
        let kind = match scaling.text("rope_type")? {
            Some(kind) => Some(kind),
            None => scaling.text("type")?,
        };
        let needed = |key: &str| -> Result<f64, Error> {
            let value = scaling.number_or(key, f64::NAN)?;
            if value.is_nan() || value <= 0.0 {
                let got = scaling.0.get(key).map_or("nothing".to_string(), Value::to_string);
                let expected = "a number above 0".to_string();
                return Err(Error::Config { key: format!("rope_scaling.{key}"), expected, got });
            }
            Ok(value)
        };
        match kind {
            None | Some("default") => Ok(Frequencies { inverse: plain, factor: 1.0 }),
            Some("linear") => {
                let factor = needed("factor")? as f32;
                Ok(Frequencies { inverse: plain.iter().map(|f| f / factor).collect(), factor: 1.0 })
            }
            Some("llama3") => {
                let (factor, low, high) =
                    (needed("factor")?, needed("low_freq_factor")?, needed("high_freq_factor")?);
                let original = needed("original_max_position_embeddings")?;
                let stretched = |f: &f32| {
                    let f = f64::from(*f);
                    let wave = 2.0 * PI / f;
                    let smooth = (original / wave - low) / (high - low);
                    (if wave > original / low {
                        f / factor
                    } else if wave < original / high {
                        f
                    } else {
                        (1.0 - smooth) * f / factor + smooth * f
                    }) as f32
                };
                Ok(Frequencies { inverse: plain.iter().map(stretched).collect(), factor: 1.0 })
            }
            Some("yarn") => {
                let factor = needed("factor")?;
                let original = match scaling.number_or("original_max_position_embeddings", 0.0)? {
                    0.0 => config.size("max_position_embeddings")? as f64,
                    original => original,
                };
                let (fast, slow) =
                    (scaling.number_or("beta_fast", 32.0)?, scaling.number_or("beta_slow", 1.0)?);
                // The pair that turns so many times within the original length.
                let pair =
                    |turns: f64| dim as f64 * (original / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln());
                let (low, high) = (pair(fast), pair(slow));
                let (low, high) = match scaling.flag_or("truncate", true)? {
                    true => (low.floor(), high.ceil()),
                    false => (low, high),
                };
                let (low, high) = (low.max(0.0), high.min(dim as f64 - 1.0));
                let high = if low == high { high + 0.001 } else { high };
                let inverse = plain.iter().enumerate().map(|(i, f)| {
                    let kept = 1.0 - ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    let f = f64::from(*f);
                    (f / factor * (1.0 - kept) + f * kept) as f32
                });
                let magnitude =
                    |scale: f64, by: f64| if scale <= 1.0 { 1.0 } else { 0.1 * by * scale.ln() + 1.0 };
                let (by, by_all) =
                    (scaling.number_or("mscale", 0.0)?, scaling.number_or("mscale_all_dim", 0.0)?);
                let natural = if by != 0.0 && by_all != 0.0 {
                    magnitude(factor, by) / magnitude(factor, by_all)
                } else {
                    magnitude(factor, 1.0)
                };
                let factor = scaling.number_or("attention_factor", natural)? as f32;
                Ok(Frequencies { inverse: inverse.collect(), factor })
            }
            Some(other) => Err(Error::Config {
                key: "rope_scaling.rope_type".to_string(),
                expected: "default, linear, llama3 or yarn".to_string(),
                got: format!("{other:?}"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(config: Value) -> Result<Frequencies, Error> {
        Frequencies::read(Config(&config), 8, 10000.0)
    }

    #[test]
    fn the_plain_ones_are_powers_of_theta() {
        let plain = read(json!({})).unwrap();
        assert_eq!(plain.factor, 1.0);
        for (got, expected) in plain.inverse.iter().zip([1.0, 0.1, 0.01, 0.001]) {
            assert!((got - expected).abs() < 1e-6 * expected, "{got} {expected}");
        }
        let other = read(json!({"rope_theta": 16.0})).unwrap();
        assert!((other.inverse[2] - 0.25).abs() < 1e-6);
        assert_eq!(
            read(json!({"rope_parameters": {"rope_theta": 16.0, "rope_type": "default"}})).unwrap(),
            other
        );
        assert_eq!(read(json!({"partial_rotary_factor": 0.5})).unwrap().inverse.len(), 2);
    }

    #[test]
    fn a_way_that_is_not_known_is_refused_by_name() {
        for (config, part) in [
            (json!({"rope_scaling": {"type": "dynamic", "factor": 2.0}}), "dynamic"),
            (json!({"rope_scaling": {"type": "linear"}}), "rope_scaling.factor"),
            (json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}), "low_freq_factor"),
            (json!({"rope_scaling": {"rope_type": 3}}), "rope_type"),
        ] {
            let error = read(config).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}

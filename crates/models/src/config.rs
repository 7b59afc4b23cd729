//! Reading `config.json`: every key with its type, and an error that names the key.

use serde_json::Value;
use topwork_kernels::activation::Activation;
use topwork_kernels::pool::Pool;

use crate::error::Error;

/// A view of `config.json`.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a>(pub &'a Value);

impl<'a> Config<'a> {
    /// The error about a key.
    pub fn wrong(key: &str, expected: &str, got: Option<&Value>) -> Error {
        let got = got.map_or_else(|| "nothing".to_string(), Value::to_string);
        Error::Config { key: key.to_string(), expected: expected.to_string(), got }
    }

    /// The settings below a key.
    ///
    /// # Errors
    /// [`Error::Config`] if there are none.
    pub fn below(&self, key: &str) -> Result<Config<'a>, Error> {
        let value = self.0.get(key);
        value
            .filter(|value| value.is_object())
            .map(Config)
            .ok_or_else(|| Self::wrong(key, "an object", value))
    }

    /// A positive number, if the key is there and not null.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn positive(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            value => value
                .and_then(Value::as_f64)
                .filter(|&number| number > 0.0)
                .map(Some)
                .ok_or_else(|| Self::wrong(key, "a positive number, or null", value)),
        }
    }

    /// A positive whole number that must be there.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn size(&self, key: &str) -> Result<usize, Error> {
        let value = self.0.get(key);
        let number = value.and_then(Value::as_u64).filter(|&n| n > 0 && n < 1 << 32);
        number.map(|n| n as usize).ok_or_else(|| Self::wrong(key, "a positive whole number", value))
    }

    /// A whole number, or a default where the key is missing.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn size_or(&self, key: &str, default: usize) -> Result<usize, Error> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(default),
            value => value
                .and_then(Value::as_u64)
                .filter(|&n| n < 1 << 32)
                .map(|n| n as usize)
                .ok_or_else(|| Self::wrong(key, "a whole number", value)),
        }
    }

    /// Token ids: one, or a list of them; a default where the key is missing or null.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn ids(&self, key: &str, default: &[u32]) -> Result<Vec<u32>, Error> {
        let value = match self.0.get(key) {
            None | Some(Value::Null) => return Ok(default.to_vec()),
            Some(value) => value,
        };
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids = match value.as_array() {
            Some(ids) => ids.iter().map(id).collect(),
            None => id(value).map(|id| vec![id]),
        };
        ids.ok_or_else(|| Self::wrong(key, "a token id or a list of them", Some(value)))
    }

    /// A width that must be even.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn even(&self, key: &str) -> Result<usize, Error> {
        let width = self.size(key)?;
        if width % 2 == 0 { Ok(width) } else { Err(self.wrong_value(key, "an even number")) }
    }

    /// A limit: none where the key is null or not above zero (upstream configs write -1), a default where it is missing.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn limit_or(&self, key: &str, default: Option<usize>) -> Result<Option<usize>, Error> {
        match self.0.get(key) {
            None => Ok(default),
            Some(Value::Null) => Ok(None),
            Some(value) => match value.as_i64().filter(|&n| n < 1 << 32) {
                Some(n) => Ok(usize::try_from(n).ok().filter(|&n| n > 0)),
                None => Err(self.wrong_value(key, "a whole number")),
            },
        }
    }

    /// The error for a key whose value is none of those expected.
    pub fn wrong_value(&self, key: &str, expected: &str) -> Error {
        Self::wrong(key, expected, self.0.get(key))
    }

    /// A number of attention heads, which must divide the width found at `width_key`.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn heads(&self, key: &str, width_key: &str) -> Result<usize, Error> {
        let (heads, width) = (self.size(key)?, self.size(width_key)?);
        if width % heads != 0 {
            return Err(Self::wrong(key, &format!("a divisor of {width_key} ({width})"), self.0.get(key)));
        }
        Ok(heads)
    }

    /// A number of attention heads, which must divide `width`, or a default where the key is missing.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn heads_or(&self, key: &str, default: usize, width: usize) -> Result<usize, Error> {
        let heads = self.size_or(key, default)?;
        match width.checked_rem(heads) {
            Some(0) => Ok(heads),
            _ => Err(self.wrong_value(key, &format!("a divisor of the width ({width})"))),
        }
    }

    /// A number, or a default where the key is missing or null.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn number_or(&self, key: &str, default: f64) -> Result<f64, Error> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(default),
            value => value.and_then(Value::as_f64).ok_or_else(|| Self::wrong(key, "a number", value)),
        }
    }

    /// A probability below one, or a default where the key is missing or null.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn probability_or(&self, key: &str, default: f64) -> Result<f32, Error> {
        let p = self.number_or(key, default)?;
        if !(0.0..1.0).contains(&p) {
            return Err(Self::wrong(key, "a probability of at least 0 and below 1", self.0.get(key)));
        }
        Ok(p as f32)
    }

    /// A flag, or a default where the key is missing or null.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn flag_or(&self, key: &str, default: bool) -> Result<bool, Error> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(default),
            value => value.and_then(Value::as_bool).ok_or_else(|| Self::wrong(key, "true or false", value)),
        }
    }

    /// A text, if the key is there.
    ///
    /// # Errors
    /// [`Error::Config`] if it is something else than a text.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, Error> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            value => value.and_then(Value::as_str).map(Some).ok_or_else(|| Self::wrong(key, "a text", value)),
        }
    }

    /// A way of pooling tokens by its name, or a default where the key is missing.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that is none.
    pub fn pool_or(&self, key: &str, default: Pool) -> Result<Pool, Error> {
        match self.text(key)? {
            None => Ok(default),
            Some("first") => Ok(Pool::Cls),
            Some("last") => Ok(Pool::Last),
            Some("mean") => Ok(Pool::Mean),
            Some("max") => Ok(Pool::Max),
            Some(_) => Err(Self::wrong(key, "first, last, mean or max", self.0.get(key))),
        }
    }

    /// An activation by its name in HuggingFace configs.
    ///
    /// # Errors
    /// [`Error::Config`] for a name topwork does not know.
    pub fn activation_or(&self, key: &str, default: Activation) -> Result<Activation, Error> {
        let Some(name) = self.text(key)? else { return Ok(default) };
        name.parse().map_err(|_| {
            Self::wrong(key, &format!("one of {}", Activation::NAMES.join(", ")), self.0.get(key))
        })
    }

    /// Refuses a setting that would change what the model computes in a way topwork does not do.
    ///
    /// # Errors
    /// [`Error::Config`] if the key is there with another value than `supported`.
    pub fn only(&self, key: &str, supported: &Value) -> Result<(), Error> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(()),
            Some(value) if value == supported => Ok(()),
            value => Err(Self::wrong(key, &supported.to_string(), value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_name_key_expected_and_got() {
        let value =
            json!({"hidden_size": "wide", "dropout": 1.5, "hidden_act": "gegelu", "is_decoder": true});
        let config = Config(&value);
        let check = |error: Error, parts: [&str; 2]| {
            let text = error.to_string();
            assert!(parts.iter().all(|p| text.contains(p)), "{text}");
        };
        check(config.size("hidden_size").unwrap_err(), ["hidden_size", "\"wide\""]);
        check(config.size("vocab_size").unwrap_err(), ["vocab_size", "nothing"]);
        check(config.probability_or("dropout", 0.1).unwrap_err(), ["dropout", "1.5"]);
        check(config.activation_or("hidden_act", Activation::Gelu).unwrap_err(), ["hidden_act", "gegelu"]);
        check(config.only("is_decoder", &json!(false)).unwrap_err(), ["is_decoder", "false"]);
    }

    #[test]
    fn missing_keys_take_their_defaults() {
        let value = json!({"a": null});
        let config = Config(&value);
        assert_eq!(config.size_or("a", 3).unwrap(), 3);
        assert_eq!(config.probability_or("b", 0.25).unwrap(), 0.25);
        assert_eq!(config.text("a").unwrap(), None);
        assert!(config.flag_or("c", true).unwrap());
        assert_eq!(config.limit_or("b", Some(7)).unwrap(), Some(7));
        assert_eq!(config.limit_or("a", Some(7)).unwrap(), None);
    }

    #[test]
    fn limits_and_even_widths() {
        let value = json!({"none": -1, "some": 5, "odd": 3, "half": 0.5});
        let config = Config(&value);
        assert_eq!(config.limit_or("none", Some(7)).unwrap(), None);
        assert_eq!(config.limit_or("some", None).unwrap(), Some(5));
        assert!(config.limit_or("half", None).is_err());
        let error = config.even("odd").unwrap_err().to_string();
        assert!(error.contains("even") && error.contains('3'), "{error}");
    }
}

//! Settings of the networks with terms of content and distance, read from `config.json`.

use serde_json::{Value, json};
use topwork_kernels::activation::Activation;

use crate::buckets;
use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, DenseStyle, LanguageModelStyle, Size};

/// Settings of the network.
pub struct Settings {
    /// Sizes.
    pub size: Size,
    /// Width of the tables of words, positions and segments.
    pub width: usize,
    /// Whether a table of positions is added to the words.
    pub positions: bool,
    /// Activation of the feed-forward blocks.
    pub activation: Activation,
    /// Added to the variance in norms.
    pub eps: f64,
    /// Dropout on embeddings, distances and block outputs.
    pub dropout: f32,
    /// Dropout on attention probabilities.
    pub attention_dropout: f32,
    /// The terms of distance in the scores, if there are distances.
    pub distances: Option<Distances>,
    /// Terms that scores are scaled for, that of content counted.
    pub terms: usize,
    /// The convolution beside the first layer, if there is one.
    pub conv: Option<ConvSettings>,
    /// The family's classifier.
    pub classifier: ClassifierStyle,
    /// Dropout of the tagger.
    pub tagger_dropout: f32,
    /// How the family predicts words.
    pub language_model: LanguageModelStyle,
}

/// Which terms of distance scores have, and where the rows of distances lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distances {
    /// What queries find at the distance of a key ("c2p").
    pub of_queries: bool,
    /// What keys find at the distance of a query ("p2c").
    pub of_keys: bool,
    /// Distances from here on share the outermost rows, in one place as in the other direction.
    pub far: usize,
    /// Buckets in each direction; `None` where each distance has its own row.
    pub buckets: Option<usize>,
    /// Whether the rows go through a norm.
    pub norm: bool,
}

impl Distances {
    /// The row in the middle.
    pub(super) fn span(&self) -> usize {
        self.buckets.unwrap_or(self.far)
    }

    /// The row of a distance (query minus key).
    pub(super) fn row(&self, distance: i64) -> usize {
        let bucket = match self.buckets {
            None => distance,
            Some(buckets) => buckets::signed(distance, buckets, self.far),
        };
        let span = self.span() as i64;
        (bucket + span).clamp(0, 2 * span - 1) as usize
    }
}

/// A convolution over what the first layer reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvSettings {
    /// Tokens under a filter, an odd number.
    pub width: usize,
    /// The activation behind it.
    pub activation: Activation,
}

impl Settings {
    /// Reads what the versions have in common.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn read(config: Config) -> Result<Self, Error> {
        let hidden = config.size("hidden_size")?;
        config.only("pooler_hidden_size", &json!(hidden))?;
        let positions = config.size_or("max_position_embeddings", 512)?;
        let size = Size {
            layers: config.size("num_hidden_layers")?,
            hidden,
            heads: config.heads("num_attention_heads", "hidden_size")?,
            ffn: config.size("intermediate_size")?,
            vocab: config.size("vocab_size")?,
            max_tokens: positions,
            types: config.size_or("type_vocab_size", 0)?,
            std: config.number_or("initializer_range", 0.02)? as f32,
        };
        let [of_queries, of_keys] = kinds(config)?;
        let distances = match config.flag_or("relative_attention", false)? {
            false => None,
            true if !of_queries && !of_keys => {
                let got = config.0.get("pos_att_type").map_or("nothing".to_string(), Value::to_string);
                let expected = "c2p, p2c or both, as relative_attention is true".to_string();
                return Err(Error::Config { key: "pos_att_type".to_string(), expected, got });
            }
            true => {
                let far = config.number_or("max_relative_positions", -1.0)?;
                let far = if far < 1.0 { positions } else { config.size("max_relative_positions")? };
                Some(Distances { of_queries, of_keys, far, buckets: None, norm: false })
            }
        };
        let width = config.size_or("embedding_size", hidden)?;
        let activation = config.activation_or("hidden_act", Activation::Gelu)?;
        let eps = config.number_or("layer_norm_eps", 1e-7)?;
        let dropout = config.probability_or("hidden_dropout_prob", 0.1)?;
        let pooler = DenseStyle {
            dropout: config.probability_or("pooler_dropout", 0.0)?,
            ..DenseStyle::plain(
                "pooler",
                hidden,
                config.activation_or("pooler_hidden_act", Activation::Gelu)?,
            )
        };
        Ok(Settings {
            width,
            positions: config.flag_or("position_biased_input", true)?,
            activation,
            eps,
            dropout,
            attention_dropout: config.probability_or("attention_probs_dropout_prob", 0.1)?,
            distances,
            terms: 1 + usize::from(of_queries) + usize::from(of_keys),
            conv: None,
            classifier: ClassifierStyle::first_token(
                pooler,
                config.probability_or("cls_dropout", f64::from(dropout))?,
            ),
            tagger_dropout: dropout,
            language_model: language_model(config, width, activation, eps)?,
            size,
        })
    }
}

/// Whether scores have the terms "c2p" and "p2c".
fn kinds(config: Config) -> Result<[bool; 2], Error> {
    let Some(value) = config.0.get("pos_att_type").filter(|value| !value.is_null()) else {
        return Ok([false; 2]);
    };
    let names: Option<Vec<String>> = match value {
        Value::String(names) => {
            Some(names.to_lowercase().split('|').map(|name| name.trim().to_string()).collect())
        }
        Value::Array(names) => names.iter().map(|name| name.as_str().map(str::to_string)).collect(),
        _ => None,
    };
    let known = |names: &Vec<String>| names.iter().all(|name| ["c2p", "p2c"].contains(&name.as_str()));
    match names.filter(known) {
        Some(names) => Ok(["c2p", "p2c"].map(|kind| names.iter().any(|name| name == kind))),
        None => Err(Error::Config {
            key: "pos_att_type".to_string(),
            expected: "c2p, p2c or both, as a list or joined by |".to_string(),
            got: value.to_string(),
        }),
    }
}

/// The head that `legacy` names is BERT's; the other one has the same parts under other names, and no width of its own.
fn language_model(
    config: Config,
    width: usize,
    activation: Activation,
    eps: f64,
) -> Result<LanguageModelStyle, Error> {
    if config.flag_or("legacy", true)? {
        return Ok(LanguageModelStyle::transformed(width, activation, eps));
    }
    let norm = Some(("head.lm.norm", eps, true));
    Ok(LanguageModelStyle {
        transform: Some(DenseStyle { norm, ..DenseStyle::plain("head.lm.dense", width, activation) }),
        tied: true,
        bias: Some("head.lm.bias"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(changes: Value) -> Value {
        let mut config = json!({
            "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24,
            "vocab_size": 40, "max_position_embeddings": 64, "relative_attention": true,
        });
        let changes = changes.as_object().cloned().unwrap_or_default();
        config.as_object_mut().unwrap().extend(changes);
        config
    }

    #[test]
    fn both_spellings_of_the_terms_say_the_same() {
        let read = |kinds: Value| {
            let config = config(json!({"pos_att_type": kinds, "max_relative_positions": -1}));
            let Settings { distances, terms, .. } = Settings::read(Config(&config)).unwrap();
            (distances.unwrap(), terms)
        };
        let both = read(json!("p2c|c2p"));
        assert_eq!(both, read(json!(["c2p", "p2c"])));
        let (Distances { of_queries, of_keys, far, .. }, terms) = both;
        assert_eq!((of_queries, of_keys, far, terms), (true, true, 64, 3));
        let (Distances { of_queries, of_keys, .. }, terms) = read(json!(["p2c"]));
        assert_eq!((of_queries, of_keys, terms), (false, true, 2));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (changes, part) in [
            (json!({"pos_att_type": "p2p|c2p"}), "p2p"),
            (json!({}), "pos_att_type"),
            (json!({"pos_att_type": "c2p", "pooler_hidden_size": 8}), "pooler_hidden_size"),
            (json!({"pos_att_type": "c2p", "max_relative_positions": 2.5}), "max_relative_positions"),
        ] {
            let config = config(changes);
            let error = Settings::read(Config(&config)).err().unwrap().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn far_distances_share_the_outer_rows() {
        let plain = Distances { of_queries: true, of_keys: true, far: 4, buckets: None, norm: false };
        let rows: Vec<usize> = (-6..=6).map(|distance| plain.row(distance)).collect();
        assert_eq!(rows, [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7]);
        let buckets = Distances { far: 24, buckets: Some(8), ..plain };
        assert_eq!([-100, -1, 0, 1, 100].map(|distance| buckets.row(distance)), [0, 7, 8, 9, 15]);
    }
}

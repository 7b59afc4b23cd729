//! What ELMo makes of a word by itself: filters over its characters, the maximum of each, highway layers and a projection.
//!
//! Paper: Kim et al. 2016, "Character-Aware Neural Language Models", section 2, <https://arxiv.org/abs/1508.06615>.

use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::Tensor;
use serde_json::Value;
use topwork_kernels::activation::Activation;
use topwork_kernels::conv::Conv;
use topwork_nn::layers::Linear;
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass};
use topwork_text::Packed;
use topwork_text::characters::{CHARACTERS, WORD};

use crate::config::Config;
use crate::error::Error;

/// The network over characters.
pub(super) struct Words {
    table: ParamId,
    activation: Activation,
    filters: Vec<Filter>,
    highway: Vec<Highway>,
    projection: Linear,
}

/// Filters of one width.
struct Filter {
    weight: ParamId,
    bias: ParamId,
    width: usize,
}

struct Highway {
    transform: Linear,
    /// Opens for what is transformed; the operation's gate is for what passes.
    gate: Linear,
}

impl Words {
    /// Declares `embed.{chars,filters,highway,projection}` in group 0; words come out `width` wide.
    pub fn declare(store: &mut ParamStore, config: Config, width: usize) -> Result<Self, Error> {
        if config.size_or("n_characters", CHARACTERS)?.abs_diff(CHARACTERS) > 1 {
            return Err(Config::wrong(
                "char_cnn.n_characters",
                "262 (261 in training)",
                config.0.get("n_characters"),
            ));
        }
        if config.size_or("max_characters_per_token", WORD)? != WORD {
            let got = config.0.get("max_characters_per_token");
            return Err(Config::wrong("char_cnn.max_characters_per_token", "50", got));
        }
        let activation = config.activation_or("activation", Activation::Relu)?;
        if !matches!(activation, Activation::Relu | Activation::Tanh) {
            return Err(Config::wrong("char_cnn.activation", "relu or tanh", config.0.get("activation")));
        }
        let dim = config.below("embedding")?.size("dim")?;
        let sizes = filters(config)?;
        let table = [CHARACTERS - 1, dim];
        let table = store.declare("embed.chars.weight", &table, 0, ParamKind::Weight, Init::Normal(0.1));
        let mut filters = Vec::with_capacity(sizes.len());
        for (i, &[width, count]) in sizes.iter().enumerate() {
            let spread = Init::Normal(1.0 / ((width * dim) as f32).sqrt());
            let (path, shape) = (format!("embed.filters.{i}"), [count, dim, width, 1]);
            let weight = store.declare(&format!("{path}.weight"), &shape, 0, ParamKind::Weight, spread);
            let bias = store.declare(&format!("{path}.bias"), &[count], 0, ParamKind::Bias, Init::Zeros);
            filters.push(Filter { weight, bias, width });
        }
        let total = sizes.iter().map(|&[_, count]| count).sum();
        let spread = 1.0 / (total as f32).sqrt();
        let mut linear = |path: &str, out: usize| Linear::declare(store, path, [out, total], 0, spread);
        let highway = (0..config.size_or("n_highway", 0)?)
            .map(|i| Highway {
                transform: linear(&format!("embed.highway.{i}.transform"), total),
                gate: linear(&format!("embed.highway.{i}.gate"), total),
            })
            .collect();
        let projection = linear("embed.projection", width);
        Ok(Words { table, activation, filters, highway, projection })
    }

    /// The table of characters.
    pub fn table(&self) -> ParamId {
        self.table
    }

    /// # Shapes
    /// - returns: `[tokens, width]`
    ///
    /// # Errors
    /// [`Error::NoCharacters`]; a character that the table lacks; a parameter without values.
    pub fn forward(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        let (tokens, got) = (input.tokens(), input.chars.len());
        if got != tokens * WORD {
            return Err(Error::NoCharacters { tokens, expected: tokens * WORD, got });
        }
        // A word is computed once, however often it stands in the batch.
        let mut places: HashMap<&[u16], u32> = HashMap::new();
        let mut chars: Vec<u32> = Vec::new();
        let index: Arc<[u32]> = input
            .chars
            .chunks_exact(WORD)
            .map(|word| {
                let next = places.len() as u32;
                *places.entry(word).or_insert_with(|| {
                    // 0 is AllenNLP's padding between sentences, for which its table has a row of zeros in front.
                    chars.extend(word.iter().map(|&char| u32::from(char).wrapping_sub(1)));
                    next
                })
            })
            .collect();
        let offsets: Arc<[u32]> = (0..=places.len() as u32).map(|word| word * WORD as u32).collect();
        let x = pass.lookup(self.table, &chars)?;
        let mut parts = Vec::with_capacity(self.filters.len());
        for filter in &self.filters {
            let (weight, bias) = (pass.matrix(filter.weight)?, Some(pass.vector(filter.bias)?));
            let conv = Conv::valid(filter.width);
            parts.push(topwork_ops::conv1d_max(x.clone(), weight, bias, &offsets, conv, self.activation));
        }
        let mut x = Tensor::cat(parts, 1);
        for Highway { transform, gate } in &self.highway {
            let (transformed, gate) = (transform.forward(pass, x.clone())?, gate.forward(pass, x.clone())?);
            x = topwork_ops::highway(x, Tensor::cat(vec![transformed, gate.neg()], 1));
        }
        Ok(topwork_ops::embedding(self.projection.forward(pass, x)?, &index))
    }
}

/// Width and number of each kind of filter.
fn filters(config: Config) -> Result<Vec<[usize; 2]>, Error> {
    let value = config.0.get("filters");
    let pair = |pair: &Value| {
        let [width, count] = pair.as_array()?.as_slice() else { return None };
        let (width, count) = (width.as_u64()? as usize, count.as_u64()? as usize);
        ((1..=WORD).contains(&width) && (1..1 << 24).contains(&count)).then_some([width, count])
    };
    let pairs: Option<Vec<_>> =
        value.and_then(Value::as_array).and_then(|all| all.iter().map(pair).collect());
    pairs.filter(|pairs| !pairs.is_empty()).ok_or_else(|| {
        Config::wrong("char_cnn.filters", "pairs of a width of 1 to 50 and a number of filters", value)
    })
}

//! What a model family is, and the list of all families.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use serde_json::Value;
use topwork_kernels::activation::Activation;
use topwork_nn::{ParamId, ParamStore, Pass};
use topwork_text::Packed;
use topwork_weights::Table;

use crate::error::Error;
use crate::families;

/// Sizes of an encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Size {
    /// Number of layers.
    pub layers: usize,
    /// Width.
    pub hidden: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width inside the feed-forward blocks.
    pub ffn: usize,
    /// Rows of the token table.
    pub vocab: usize,
    /// Longest sequence, special tokens counted.
    pub max_tokens: usize,
    /// Rows of the segment table; 0 where the family has none.
    pub types: usize,
    /// Standard deviation of fresh weights.
    pub std: f32,
}

/// How a family's own classifier goes from the first token to its outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassifierStyle {
    /// Path of its dense layer: BERT's is the encoder's pooler, others' belongs to the head.
    pub dense: &'static str,
    /// The activation after it.
    pub activation: Activation,
    /// True if dropout also comes before it.
    pub dropout_before: bool,
    /// Dropout before the outputs.
    pub dropout: f32,
}

/// How a family's masked-language-model transform works.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskedLmStyle {
    /// The activation after its dense layer.
    pub activation: Activation,
    /// Added to the variance in its norm.
    pub eps: f64,
}

/// Packed token ids to hidden states, in parts: the embeddings, then one part a layer. The parts are the depth groups
/// of the parameters (`topwork_nn::Param::group`).
pub trait Encoder: Send + Sync {
    /// The embeddings alone.
    ///
    /// # Shapes
    /// - `input`: `tokens` ids in `batch` sequences
    /// - returns: `[tokens, hidden]`
    ///
    /// # Errors
    /// A sequence longer than [`Size::max_tokens`], an id outside a table, a parameter without values.
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error>;

    /// Some of the layers, counted from 0.
    ///
    /// # Shapes
    /// - `x`: what the embeddings or the layer before returned, `[tokens, hidden]`; `offsets`: of the sequences
    /// - returns: `[tokens, hidden]`
    ///
    /// # Errors
    /// A parameter without values.
    fn layers(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error>;

    /// Its sizes.
    fn size(&self) -> &Size;

    /// The token table, for heads that tie to it.
    fn word_table(&self) -> ParamId;

    /// The family's own classifier.
    fn classifier(&self) -> ClassifierStyle;

    /// The family's masked-language-model transform.
    fn masked_lm(&self) -> MaskedLmStyle;
}

/// Names of the upstream classes whose weights a folder holds, by head.
#[derive(Clone, Copy, Debug)]
pub struct Architectures {
    /// The bare encoder.
    pub encoder: &'static str,
    /// Classification and regression with the family's own pooling.
    pub classify: &'static str,
    /// Masked language modelling.
    pub masked_lm: &'static str,
}

/// A model family: everything the rest of the house needs to know about it.
pub struct Family {
    /// Kebab-case name.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The paper.
    pub paper: &'static str,
    /// `model_type` values of `config.json` that select it.
    pub model_types: &'static [&'static str],
    /// Upstream class names.
    pub architectures: Architectures,
    /// Weight names.
    pub weights: Table,
    /// Declares the encoder's parameters and returns the encoder.
    pub build: BuildEncoder,
}

/// How a family's encoder is built from `config.json`.
pub type BuildEncoder = fn(&Value, &mut ParamStore) -> Result<Box<dyn Encoder>, Error>;

/// Every family, in the order `list` prints them.
pub const FAMILIES: &[&Family] =
    &[&families::bert::BERT, &families::roberta::ROBERTA, &families::distilbert::DISTILBERT];

/// The family of a `config.json`.
///
/// # Errors
/// [`Error::UnknownFamily`], listing the known ones.
pub fn family(config: &Value) -> Result<&'static Family, Error> {
    let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or("");
    FAMILIES.iter().copied().find(|f| f.model_types.contains(&model_type)).ok_or_else(|| {
        Error::UnknownFamily {
            got: model_type.to_string(),
            known: FAMILIES.iter().flat_map(|f| f.model_types).copied().collect::<Vec<_>>().join(", "),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_complete_and_named_once() {
        assert_eq!(FAMILIES.len(), 3, "count the families when you add one");
        for (n, family) in FAMILIES.iter().enumerate() {
            assert!(family.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", family.name);
            assert!(family.paper.starts_with("https://"), "{}", family.name);
            assert!(!family.model_types.is_empty(), "{}", family.name);
            let clash =
                FAMILIES[..n].iter().any(|f| f.model_types.iter().any(|t| family.model_types.contains(t)));
            assert!(!clash, "{} shares a model_type", family.name);
        }
    }

    #[test]
    fn an_unknown_family_lists_the_known() {
        let error = family(&serde_json::json!({"model_type": "megatron"})).err().unwrap().to_string();
        assert!(error.contains("megatron") && error.contains("distilbert"), "{error}");
    }
}

//! What a model family is, and the list of all families.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use serde_json::Value;
use topwork_kernels::activation::Activation;
use topwork_kernels::pool::Pool;
use topwork_nn::{Cache, Memory, ParamId, ParamStore, Pass};
use topwork_text::Packed;
use topwork_text::pictures::PICTURE_MODELS;
use topwork_weights::Table;

use crate::adaptive::Clusters;
use crate::encoder_decoder::layer::Above;
use crate::error::Error;
use crate::families;
use crate::head::Permuted;
use crate::joined;
use crate::onnx::EncoderGraph;
use crate::states::apart;
use crate::target::{TargetSide, TargetStyle};

/// [`Size::max_tokens`] of families that read texts of any length: as many tokens as a batch can have.
pub const NO_LIMIT: usize = u32::MAX as usize;

/// Sizes of an encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Size {
    /// Number of layers.
    pub layers: usize,
    /// Width.
    pub hidden: usize,
    /// Attention heads; 0 where the family has none.
    pub heads: usize,
    /// Width inside the feed-forward blocks.
    pub ffn: usize,
    /// Rows of the token table.
    pub vocab: usize,
    /// Longest sequence, special tokens counted; [`NO_LIMIT`] where the family reads any.
    pub max_tokens: usize,
    /// Rows of the segment table; 0 where the family has none.
    pub types: usize,
    /// Standard deviation of fresh weights.
    pub std: f32,
}

/// How a family's own classifier goes from hidden states to its outputs: one row for a text, a dense layer where the family
/// has one, and the outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassifierStyle {
    /// What stands for a text.
    pub pool: Pool,
    /// The layer before the outputs.
    pub dense: Option<DenseStyle>,
    /// Dropout before the outputs.
    pub dropout: f32,
    /// Path of the outputs' map.
    pub out: &'static str,
    /// Whether the outputs have a bias.
    pub bias: bool,
}

/// A dense layer of a head: linear map, activation and, in some families, a norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DenseStyle {
    /// Path of the linear map: BERT's classifier uses the encoder's pooler, others' belongs to the head.
    pub path: &'static str,
    /// Width of what comes out.
    pub width: usize,
    /// Whether the map has a bias.
    pub bias: bool,
    /// The activation after it.
    pub activation: Activation,
    /// Dropout before the map, 0 for none.
    pub dropout: f32,
    /// The norm after the activation, if there is one: its path, what is added to the variance, and whether it has a bias.
    pub norm: Option<(&'static str, f64, bool)>,
}

/// How a family's own tagger goes from a token's hidden state to its outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaggerStyle {
    /// The layer before its linear map, if there is one.
    pub dense: Option<DenseStyle>,
    /// Path of its linear map.
    pub path: &'static str,
    /// Dropout before it.
    pub dropout: f32,
}

impl TaggerStyle {
    /// A linear map alone.
    pub fn plain(path: &'static str, dropout: f32) -> Self {
        TaggerStyle { dense: None, path, dropout }
    }
}

impl DenseStyle {
    /// A map with a bias, and an activation; no dropout and no norm.
    pub fn plain(path: &'static str, width: usize, activation: Activation) -> Self {
        DenseStyle { path, width, bias: true, activation, dropout: 0.0, norm: None }
    }
}

impl ClassifierStyle {
    /// RoBERTa's way: a dense layer of the head's own with tanh, and dropout before it and behind it.
    pub fn dropped_twice(pool: Pool, hidden: usize, dropout: f32) -> Self {
        let dense = DenseStyle { dropout, ..DenseStyle::plain("head.dense", hidden, Activation::Tanh) };
        ClassifierStyle { pool, ..Self::first_token(dense, dropout) }
    }

    /// BERT's way: the first token through a dense layer.
    pub fn first_token(dense: DenseStyle, dropout: f32) -> Self {
        ClassifierStyle { pool: Pool::Cls, dense: Some(dense), dropout, out: "head.out", bias: true }
    }
}

/// How a family turns hidden states into scores of words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LanguageModelStyle {
    /// The layer before the decoder, if there is one.
    pub transform: Option<DenseStyle>,
    /// True if the decoder is the token table itself, false if it has a matrix of its own (`head.lm.weight`).
    pub tied: bool,
    /// Path of the decoder's bias, if it has one.
    pub bias: Option<&'static str>,
}

impl LanguageModelStyle {
    /// BERT's way: a dense layer with a norm, at `head.mlm`, and the token table with a bias.
    pub fn transformed(width: usize, activation: Activation, eps: f64) -> Self {
        let norm = Some(("head.mlm.norm", eps, true));
        LanguageModelStyle {
            transform: Some(DenseStyle { norm, ..DenseStyle::plain("head.mlm.dense", width, activation) }),
            tied: true,
            bias: Some("head.mlm.bias"),
        }
    }
}

/// How a family's own classifier goes from the last token, the maximum and the mean of a text, side by side, to its outputs: two
/// linear maps without a bias, ReLU between them, each behind a batch norm and dropout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConcatStyle {
    /// Width between the two maps.
    pub width: usize,
    /// Dropout before each map.
    pub dropout: [f32; 2],
}

/// What a language model does in training besides predicting words.
///
/// Paper: Merity, McCann and Socher 2017, "Revisiting Activation Regularization for Language RNNs", sections 3.1 and 3.2,
/// <https://arxiv.org/abs/1708.01009>
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regularisation {
    /// Dropout of columns of the hidden states of a text, before words are predicted.
    pub dropout: f32,
    /// Times the mean square of what is left of them, added to the loss.
    pub activation: f32,
    /// Times the mean square of how they change from a token to the next (without dropout), added to the loss.
    pub change: f32,
}

/// Packed token ids to hidden states, in parts: the embeddings, then as a rule one part a layer. The parts are the depth groups
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

    /// Some of the parts after the embeddings, counted from 0.
    ///
    /// # Shapes
    /// - `x`: what the embeddings or the part before returned, `[tokens, hidden]`; `offsets`: of the sequences
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

    /// [`Encoder::layers`], told the whole batch: for families whose layers read more of it than where its sequences lie (the
    /// segments of XLNet). The others leave it as it is.
    ///
    /// # Errors
    /// A parameter without values.
    fn layers_of(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error> {
        self.layers(pass, x, &Arc::from(input.offsets.as_slice()), which)
    }

    /// Its sizes.
    fn size(&self) -> &Size;

    /// Number of parts after the embeddings: as many as layers, unless layers share parameters and can only be frozen
    /// together. The head's parameters are in the depth group after the last part's.
    fn parts(&self) -> usize {
        self.size().layers
    }

    /// Width of what the first `depth` parts make of a token (the embeddings are the first part): what [`Encoder::layers`]
    /// goes on from. It is `hidden` unless layers need more than the output of the layer before.
    fn width(&self, _depth: usize) -> usize {
        self.size().hidden
    }

    /// Number of hidden states that a token has on its way: the embeddings', then one a layer.
    fn states(&self) -> usize {
        self.states_to(1 + self.parts())
    }

    /// How many of them the first `depth` parts make (the embeddings are the first part).
    fn states_to(&self, depth: usize) -> usize {
        depth
    }

    /// Width of one of them, counted from 0: the last columns of what layers hand on.
    fn state_width(&self, state: usize) -> usize {
        self.width(state + 1)
    }

    /// [`Encoder::layers_of`], with what each of the layers hands on; `x` comes from [`Pass::cut`].
    ///
    /// # Errors
    /// A parameter without values.
    fn each_layer(
        &self,
        pass: &Pass,
        mut x: Tensor<2>,
        input: &Packed,
        which: Range<usize>,
    ) -> Result<Vec<Tensor<2>>, Error> {
        let mut layers = Vec::with_capacity(which.len());
        for part in which {
            // A graph ends where a state is read twice: segments that run once more go back through it on their own.
            x = pass.cut(self.layers_of(pass, apart(&x), input, part..part + 1)?);
            layers.push(x.clone());
        }
        Ok(layers)
    }

    /// The numbers whose softmax are the shares of a mix of all layers, for families whose last layer is one.
    fn mix(&self) -> Option<&[ParamId]> {
        None
    }

    /// The token table, for heads that tie to it.
    fn word_table(&self) -> ParamId;

    /// The words in clusters, for families that keep them so and predict them so.
    fn clusters(&self) -> Option<&Clusters> {
        None
    }

    /// The family's own classifier.
    fn classifier(&self) -> ClassifierStyle;

    /// The layer over the first token that the bare upstream class has: carried in folders by heads that do without.
    fn pooler(&self) -> Option<DenseStyle> {
        self.classifier().dense
    }

    /// The family's own classifier, where it reads more of a text than one row of [`Encoder::classifier`].
    fn concat_classifier(&self) -> Option<ConcatStyle> {
        None
    }

    /// The family's own tagger: as its classifier, unless it differs.
    fn tagger(&self) -> TaggerStyle {
        TaggerStyle::plain("head.out", self.classifier().dropout)
    }

    /// How the family scores tokens as the first and the last of a span.
    fn spans(&self) -> TaggerStyle {
        TaggerStyle::plain("head.span", 0.0)
    }

    /// How the family scores the texts among which one is right: as its classifier does, unless it differs.
    fn chooser(&self) -> ClassifierStyle {
        self.classifier()
    }

    /// How the family says whether one text follows another: as its classifier does, with outputs of their own, unless it differs.
    fn next_sentence(&self) -> ClassifierStyle {
        ClassifierStyle { out: "head.next", bias: true, ..self.classifier() }
    }

    /// The layer before the score of a token that may have been replaced.
    fn replaced_token(&self) -> DenseStyle {
        DenseStyle::plain("head.replaced.dense", self.size().hidden, Activation::Gelu)
    }

    /// The side that goes on with a text, for families in which a token sees only those before it.
    fn decoder(&self) -> Option<&dyn Decoder> {
        None
    }

    /// Whether tokens are words with numbers of their own, which a language model can predict; false for families that read
    /// characters.
    fn has_words(&self) -> bool {
        true
    }

    /// What puts its computation into an ONNX graph, for families that have it.
    fn onnx(&self) -> Option<&dyn EncoderGraph> {
        None
    }

    /// Declares the side that writes a text while it looks at another, in depth groups after the encoder's, for families that
    /// have one. Their own classifier reads the text once more there, and takes the end token's vector.
    fn declare_target(&self, _store: &mut ParamStore) -> Option<Box<dyn TargetSide>> {
        None
    }

    /// Declares a side that writes beside another encoder, made as this one is: its own network with attention to the source, at
    /// paths and in depth groups of the caller's choice. `None` for families that cannot be one.
    ///
    /// # Errors
    /// A style that it cannot follow.
    fn declare_writer(
        &self,
        _store: &mut ParamStore,
        _above: Above,
        _style: TargetStyle,
    ) -> Result<Option<Box<dyn TargetSide>>, Error> {
        Ok(None)
    }

    /// The side that goes on from a memory of what it made of the segments before, for families that have one.
    fn segment_reader(&self) -> Option<&dyn SegmentReader> {
        None
    }

    /// The side that predicts words in any order, for families whose layers can keep what a place is asked for apart from what
    /// stands there.
    fn two_streams(&self) -> Option<&dyn TwoStreams> {
        None
    }

    /// How the family predicts words: those behind masks, or (a family that reads left to right) the next ones.
    fn language_model(&self) -> LanguageModelStyle;

    /// What its language model does in training besides.
    fn regularisation(&self) -> Option<Regularisation> {
        None
    }
}

/// Names of the upstream classes whose weights a folder holds, each with the name of the head here; `embed` is the bare
/// encoder.
pub type Architectures = &'static [(&'static str, &'static str)];

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
    /// Upstream class names by head. A head may stand twice: the first class is the one that is written.
    pub architectures: Architectures,
    /// Weight names.
    pub weights: Table,
    /// Declares the encoder's parameters and returns the encoder.
    pub build: BuildEncoder,
}

impl Family {
    /// Whether it reads pictures, and no texts.
    pub fn reads_pictures(&self) -> bool {
        self.model_types.iter().any(|kind| PICTURE_MODELS.contains(kind))
    }

    /// The upstream class that holds a head of this family.
    pub fn architecture(&self, head: &str) -> Option<&'static str> {
        self.architectures.iter().find(|(name, _)| *name == head).map(|(_, class)| *class)
    }

    /// The head that an upstream class of this family holds.
    pub fn head_of(&self, class: &str) -> Option<&'static str> {
        self.architectures.iter().find(|(_, name)| *name == class).map(|(head, _)| *head)
    }
}

/// Reads texts piece by piece: what was read is kept in a cache, so that the next token costs one token's work.
pub trait Decoder: Encoder {
    /// Where what is read of `sequences` texts is kept.
    fn cache(&self, sequences: usize, device: &Device) -> Cache {
        Cache::new(self.size().layers, sequences, device)
    }

    /// Hidden states of the tokens of `input`, which go on from what the cache holds of their sequences; the cache then
    /// holds them too. The same bits as [`Encoder::embed`] and [`Encoder::layers`] give for the whole.
    ///
    /// # Shapes
    /// - `input`: as many sequences as the cache has
    /// - returns: `[tokens, hidden]`
    ///
    /// # Errors
    /// A sequence longer than [`Size::max_tokens`], an id outside a table, a parameter without values.
    fn read_on(&self, pass: &Pass, input: &Packed, cache: &mut Cache) -> Result<Tensor<2>, Error>;
}

/// Reads long texts segment by segment: tokens also look at what the layers made of the segments before.
pub trait SegmentReader: Encoder {
    /// The memory that `sequences` texts start with.
    fn memory(&self, sequences: usize) -> Memory;

    /// Hidden states of the tokens of `input`, which go on from what `memory` holds of their sequences; the memory then holds of
    /// them what the family keeps. Gradients end at the start of the segment.
    ///
    /// # Shapes
    /// - `input`: as many sequences as the memory has
    /// - returns: `[tokens, hidden]`
    ///
    /// # Errors
    /// As [`Encoder::embed`] and [`Encoder::layers`].
    fn read_segment(&self, pass: &Pass, input: &Packed, memory: &mut Memory) -> Result<Tensor<2>, Error>;
}

/// Predicts words in any order, from those before them in it.
pub trait TwoStreams: SegmentReader {
    /// Hidden states of the tokens asked for, made without their own words: `unknown` stands for each of them. The memory goes
    /// on as in [`SegmentReader::read_segment`].
    ///
    /// # Shapes
    /// - `unknown`: `[1, hidden]`
    /// - returns: `[asked, hidden]`
    ///
    /// # Errors
    /// [`Error::Permuted`] if `permuted` does not fit to `input`; as [`SegmentReader::read_segment`].
    fn read_permuted(
        &self,
        pass: &Pass,
        input: &Packed,
        permuted: &Permuted,
        unknown: Tensor<2>,
        memory: &mut Memory,
    ) -> Result<Tensor<2>, Error>;
}

/// How a family's encoder is built from `config.json`.
pub type BuildEncoder = fn(&Value, &mut ParamStore) -> Result<Box<dyn Encoder>, Error>;

/// Every family, in the order `list` prints them.
pub const FAMILIES: &[&Family] = &[
    &families::bert::BERT,
    &families::bert::ERNIE,
    &families::bert::BERT_GENERATION,
    &families::roberta::ROBERTA,
    &families::roberta::XLM_ROBERTA,
    &families::roberta::CAMEMBERT,
    &families::distilbert::DISTILBERT,
    &families::albert::ALBERT,
    &families::electra::ELECTRA,
    &families::mpnet::MPNET,
    &families::modernbert::MODERNBERT,
    &families::deberta::DEBERTA,
    &families::deberta_v2::DEBERTA_V2,
    &families::gpt::GPT,
    &families::gpt2::GPT2,
    &families::clip::CLIP_TEXT,
    &families::clip_vision::CLIP_VISION,
    &families::vit::VIT,
    &families::llama::LLAMA,
    &families::llama::MISTRAL,
    &families::llama::QWEN2,
    &families::llama::QWEN3,
    &families::elmo::ELMO,
    &families::awd_lstm::AWD_LSTM,
    &families::flair::FLAIR,
    &families::bilstm::BILSTM,
    &families::cnn::CNN,
    &families::transformer::TRANSFORMER,
    &families::t5::T5,
    &families::t5::MT5,
    &families::bart::BART,
    &families::bart::MBART,
    &families::marian::MARIAN,
    &families::xlnet::XLNET,
    &families::transfo_xl::TRANSFO_XL,
];

/// A part of a larger model that is a family here.
#[derive(Clone, Copy, Debug)]
pub struct ModelPart {
    /// The `model_type` of the larger model.
    pub whole: &'static str,
    /// Whether it is the side for pictures, which is read where it is asked for (`vision of MODEL`); the other one is what the
    /// folder opens as.
    pub vision: bool,
    /// The key of the part's settings.
    pub key: &'static str,
    /// The part's own `model_type`.
    pub model_type: &'static str,
    /// Its class with all that the larger model has of it.
    pub class: &'static str,
}

/// The parts of larger models that are families here.
pub const PARTS: &[ModelPart] = &[
    ModelPart {
        whole: "clip",
        vision: false,
        key: "text_config",
        model_type: "clip_text_model",
        class: "CLIPTextModelWithProjection",
    },
    ModelPart {
        whole: "clip",
        vision: true,
        key: "vision_config",
        model_type: "clip_vision_model",
        class: "CLIPVisionModelWithProjection",
    },
];

/// The family of a `config.json`.
///
/// # Errors
/// [`Error::UnknownFamily`], listing the known ones.
pub fn family(config: &Value) -> Result<&'static Family, Error> {
    // Of two models that became one, the family is that of the side that reads.
    if let Some(reads) = joined::reads(config)? {
        return family(reads);
    }
    let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or("");
    FAMILIES.iter().copied().find(|f| f.model_types.contains(&model_type)).ok_or_else(|| {
        Error::UnknownFamily {
            got: model_type.to_string(),
            known: FAMILIES
                .iter()
                .flat_map(|f| f.model_types)
                .chain([&joined::MODEL_TYPE])
                .copied()
                .collect::<Vec<_>>()
                .join(", "),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::HEADS;

    #[test]
    fn every_family_is_complete_and_named_once() {
        assert_eq!(FAMILIES.len(), 35, "count the families when you add one");
        for (n, family) in FAMILIES.iter().enumerate() {
            assert!(
                family.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{}",
                family.name
            );
            assert!(family.paper.starts_with("https://"), "{}", family.name);
            assert!(!family.model_types.is_empty(), "{}", family.name);
            assert!(family.architecture("embed").is_some(), "{}: the bare encoder", family.name);
            let rules = family.weights.check().unwrap_or_else(|e| panic!("{}: {e}", family.name));
            assert!(rules > 5, "{}", family.name);
            for (head, class) in family.architectures {
                assert!(HEADS.iter().any(|entry| entry.name == *head), "{}: no head {head}", family.name);
                assert_eq!(family.head_of(class), Some(*head), "{}: {class} stands twice", family.name);
            }
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

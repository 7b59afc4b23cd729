//! The encoder that BERT and its kin have in common: embeddings, then post-norm layers, each with parameters of its own or
//! shared by several depths. A family file reads its own config into these settings; nothing here knows which family it serves.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::activation::Activation;
use topwork_nn::layers::{Embeddings, EmbeddingsConfig, EncoderLayer, EncoderLayerConfig};
use topwork_nn::{ParamId, ParamStore, Pass};
use topwork_text::Packed;

use crate::encoder_decoder::layer::Above;
use crate::error::Error;
use crate::family::{ClassifierStyle, DenseStyle, Encoder, LanguageModelStyle, Size, TaggerStyle};
use crate::onnx::blocks::{self, PostNormLayer};
use crate::onnx::{EncoderGraph, Graph, Texts, Value};
use crate::states::apart;
use crate::target::{Start, TargetSide, TargetStyle};

mod writer;

/// Settings of the encoder.
pub struct PostNormConfig {
    /// Sizes; `max_tokens` is what is left of `positions` after `first_position`.
    pub size: Size,
    /// Rows of the position table.
    pub positions: usize,
    /// Position of a text's first token.
    pub first_position: usize,
    /// Rows of the table of tasks; 0 where the family has none.
    pub tasks: usize,
    /// Width of the embedding tables.
    pub embedding: usize,
    /// Whether a map from the tables' width to the layers' follows; it must where the two differ.
    pub widen: bool,
    /// How layers share their parameters, if they do.
    pub sharing: Option<Sharing>,
    /// Activation of the feed-forward blocks.
    pub activation: Activation,
    /// Added to the variance in norms.
    pub eps: f64,
    /// Dropout on embeddings and block outputs.
    pub dropout: f32,
    /// Dropout on attention probabilities.
    pub attention_dropout: f32,
    /// The family's classifier.
    pub classifier: ClassifierStyle,
    /// The family's tagger.
    pub tagger: TaggerStyle,
    /// How it scores tokens as the first and the last of a span.
    pub spans: TaggerStyle,
    /// How it scores texts among which one is right.
    pub chooser: ClassifierStyle,
    /// How it says whether one text follows another.
    pub next_sentence: ClassifierStyle,
    /// How the family predicts words.
    pub language_model: LanguageModelStyle,
}

/// Layers that share their parameters, in groups: a text goes through a group's layers again and again, then through the next
/// group's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sharing {
    /// Groups of layers, no more than there are rounds through one.
    pub groups: usize,
    /// Layers of a group, a divisor of the number of layers.
    pub inner: usize,
}

impl PostNormConfig {
    /// As BERT has it: tables as wide as the layers, positions from 0, a layer's parameters its own, a tagger and a chooser like the
    /// classifier, the next sentence without dropout, words through a dense layer.
    pub fn new(size: Size, activation: Activation, eps: f64, classifier: ClassifierStyle) -> Self {
        PostNormConfig {
            positions: size.max_tokens,
            first_position: 0,
            tasks: 0,
            embedding: size.hidden,
            widen: false,
            sharing: None,
            activation,
            eps,
            dropout: 0.1,
            attention_dropout: 0.1,
            classifier,
            tagger: TaggerStyle::plain("head.out", classifier.dropout),
            spans: TaggerStyle::plain("head.span", 0.0),
            chooser: classifier,
            next_sentence: ClassifierStyle { out: "head.next", dropout: 0.0, ..classifier },
            language_model: LanguageModelStyle::transformed(size.hidden, activation, eps),
            size,
        }
    }

    /// Those of the embeddings.
    fn embeddings(&self) -> EmbeddingsConfig {
        let size = &self.size;
        EmbeddingsConfig {
            vocab: size.vocab,
            width: self.embedding,
            widened: self.widen.then_some(size.hidden),
            positions: self.positions,
            first_position: self.first_position,
            types: size.types,
            tasks: self.tasks,
            eps: self.eps,
            dropout: self.dropout,
            std: size.std,
        }
    }
}

/// Embeddings and layers.
pub struct PostNorm {
    config: PostNormConfig,
    embeddings: Embeddings,
    /// The layers of each depth group of parameters, shared with the segments of a pass that recomputes them.
    parts: Vec<Vec<Arc<EncoderLayer>>>,
}

impl PostNorm {
    /// Declares `embed.*` and `layers.*`.
    pub fn declare(store: &mut ParamStore, config: PostNormConfig) -> Self {
        let size = &config.size;
        let layer = EncoderLayerConfig {
            hidden: size.hidden,
            heads: size.heads,
            ffn: size.ffn,
            activation: config.activation,
            hidden_dropout: config.dropout,
            attention_dropout: config.attention_dropout,
            eps: config.eps,
            std: size.std,
        };
        let embeddings = Embeddings::declare(store, config.embeddings());
        let parts = match config.sharing {
            None => (0..size.layers)
                .map(|i| vec![Arc::new(EncoderLayer::declare(store, i, layer.clone()))])
                .collect(),
            Some(sharing) => sharing.declare(store, size.layers, &layer),
        };
        PostNorm { config, embeddings, parts }
    }
}

impl Sharing {
    /// Declares `layers.{group}`, or `layers.{group}.inner.{i}` where a group has several layers, and gives for each group the
    /// layers that a text goes through.
    fn declare(
        self,
        store: &mut ParamStore,
        layers: usize,
        config: &EncoderLayerConfig,
    ) -> Vec<Vec<Arc<EncoderLayer>>> {
        let Sharing { groups, inner } = self;
        let mut parts = Vec::with_capacity(groups);
        for group in 0..groups {
            let declared: Vec<EncoderLayer> = (0..inner)
                .map(|i| EncoderLayer::declare_as(store, &self.base(group, i), group + 1, config.clone()))
                .collect();
            let rounds = (0..layers / inner).filter(|&round| self.group_of(round, layers / inner) == group);
            let part = rounds.flat_map(|round| {
                declared.iter().enumerate().map(move |(i, layer)| Arc::new(layer.at(round * inner + i)))
            });
            parts.push(part.collect());
        }
        parts
    }

    /// The path of a layer of a group.
    fn base(self, group: usize, i: usize) -> String {
        match self.inner {
            1 => format!("layers.{group}"),
            _ => format!("layers.{group}.inner.{i}"),
        }
    }

    /// The paths of the layers that a text goes through.
    fn paths(self, layers: usize) -> impl Iterator<Item = String> {
        let rounds = layers / self.inner;
        (0..rounds)
            .flat_map(move |round| (0..self.inner).map(move |i| self.base(self.group_of(round, rounds), i)))
    }

    /// The group of a round, by the division in floating point of the reference, so that it is rounded alike.
    fn group_of(self, round: usize, rounds: usize) -> usize {
        (round as f64 / (rounds as f64 / self.groups as f64)) as usize
    }
}

impl Encoder for PostNorm {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        Ok(self.embeddings.forward(pass, input)?)
    }

    fn layers(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error> {
        let mut hidden = pass.cut(x);
        for layer in self.parts[which].iter().flatten() {
            let (layer, offsets) = (Arc::clone(layer), Arc::clone(offsets));
            hidden = pass.segment(hidden, move |pass, x| layer.forward(pass, x, &offsets))?;
        }
        Ok(hidden)
    }

    fn size(&self) -> &Size {
        &self.config.size
    }

    fn parts(&self) -> usize {
        self.parts.len()
    }

    fn states_to(&self, depth: usize) -> usize {
        1 + self.parts[..depth - 1].iter().map(Vec::len).sum::<usize>()
    }

    fn each_layer(
        &self,
        pass: &Pass,
        mut x: Tensor<2>,
        input: &Packed,
        which: Range<usize>,
    ) -> Result<Vec<Tensor<2>>, Error> {
        let offsets: Arc<[u32]> = Arc::from(input.offsets.as_slice());
        let mut outputs = Vec::new();
        for layer in self.parts[which].iter().flatten() {
            let (layer, offsets) = (Arc::clone(layer), Arc::clone(&offsets));
            x = pass.segment(pass.cut(apart(&x)), move |pass, x| layer.forward(pass, x, &offsets))?;
            outputs.push(x.clone());
        }
        Ok(outputs)
    }

    fn word_table(&self) -> ParamId {
        self.embeddings.word
    }

    fn classifier(&self) -> ClassifierStyle {
        self.config.classifier
    }

    fn tagger(&self) -> TaggerStyle {
        self.config.tagger
    }

    fn spans(&self) -> TaggerStyle {
        self.config.spans
    }

    fn chooser(&self) -> ClassifierStyle {
        self.config.chooser
    }

    fn next_sentence(&self) -> ClassifierStyle {
        self.config.next_sentence
    }

    fn replaced_token(&self) -> DenseStyle {
        DenseStyle::plain("head.replaced.dense", self.config.size.hidden, self.config.activation)
    }

    fn language_model(&self) -> LanguageModelStyle {
        self.config.language_model
    }

    fn onnx(&self) -> Option<&dyn EncoderGraph> {
        Some(self)
    }

    fn declare_writer(
        &self,
        store: &mut ParamStore,
        above: Above,
        style: TargetStyle,
    ) -> Result<Option<Box<dyn TargetSide>>, Error> {
        if self.config.sharing.is_some() {
            return Ok(None);
        }
        // Where positions start behind the padding's, the reference gives the padding itself that position, in one pass and not
        // in another.
        if self.config.first_position > 0 && style.start == Start::Id(style.pad) {
            let key = "decoder_start_token_id".to_string();
            let expected =
                "another token than pad_token_id, which has no position in this family".to_string();
            return Err(Error::Config { key, expected, got: style.pad.to_string() });
        }
        Ok(Some(Box::new(writer::Writer::declare(store, &self.config, above, style))))
    }
}

impl EncoderGraph for PostNorm {
    fn describe(&self, graph: &mut Graph, texts: &Texts) -> Result<Value, Error> {
        let PostNormConfig { size, first_position, activation, eps, .. } = &self.config;
        let mut x = blocks::embeddings(graph, texts, *first_position, *eps)?;
        let layer = PostNormLayer::new(size, *activation, *eps);
        let bias = blocks::padding_bias(graph, &texts.mask);
        let sharing = self.config.sharing.unwrap_or(Sharing { groups: size.layers, inner: 1 });
        for path in sharing.paths(size.layers) {
            x = layer.describe(graph, &path, &x, &bias)?;
        }
        Ok(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_fall_to_groups_in_order_and_each_group_gets_some() {
        let check = |rounds: usize, groups: usize, expected: &[usize]| {
            let sharing = Sharing { groups, inner: 1 };
            let got: Vec<usize> = (0..rounds).map(|round| sharing.group_of(round, rounds)).collect();
            assert_eq!(got, expected, "{rounds} in {groups}");
        };
        check(4, 1, &[0, 0, 0, 0]);
        check(4, 2, &[0, 0, 1, 1]);
        check(5, 2, &[0, 0, 0, 1, 1]);
        check(3, 3, &[0, 1, 2]);
        for rounds in 1..=48 {
            for groups in 1..=rounds {
                let sharing = Sharing { groups, inner: 1 };
                let mut got: Vec<usize> = (0..rounds).map(|round| sharing.group_of(round, rounds)).collect();
                assert!(got.is_sorted(), "{rounds} in {groups}: {got:?}");
                got.dedup();
                assert_eq!(got, (0..groups).collect::<Vec<_>>(), "{rounds} in {groups}");
            }
        }
    }
}

//! The encoder that BERT, RoBERTa and DistilBERT have in common: embeddings, then post-norm layers. A family file
//! reads its own config into these settings; nothing here knows which family it serves.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::activation::Activation;
use topwork_nn::layers::{Embeddings, EmbeddingsConfig, EncoderLayer, EncoderLayerConfig};
use topwork_nn::{ParamId, ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::{ClassifierStyle, Encoder, LanguageModelStyle, Size};

/// Settings of the encoder.
pub struct PostNormConfig {
    /// Sizes; `max_tokens` is what is left of `positions` after `first_position`.
    pub size: Size,
    /// Rows of the position table.
    pub positions: usize,
    /// Position of a text's first token.
    pub first_position: usize,
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
    /// How the family predicts words.
    pub language_model: LanguageModelStyle,
}

/// Embeddings and layers.
pub struct PostNorm {
    config: PostNormConfig,
    embeddings: Embeddings,
    /// Shared with the segments of a pass that recomputes them.
    layers: Vec<Arc<EncoderLayer>>,
}

impl PostNorm {
    /// Declares `embed.*` and `layers.*`.
    pub fn declare(store: &mut ParamStore, config: PostNormConfig) -> Self {
        let size = &config.size;
        let embeddings = EmbeddingsConfig {
            vocab: size.vocab,
            hidden: size.hidden,
            positions: config.positions,
            first_position: config.first_position,
            types: size.types,
            eps: config.eps,
            dropout: config.dropout,
            std: size.std,
        };
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
        let embeddings = Embeddings::declare(store, embeddings);
        let layers =
            (0..size.layers).map(|i| Arc::new(EncoderLayer::declare(store, i, layer.clone()))).collect();
        PostNorm { config, embeddings, layers }
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
        for layer in &self.layers[which] {
            let (layer, offsets) = (Arc::clone(layer), Arc::clone(offsets));
            hidden = pass.segment(hidden, move |pass, x| layer.forward(pass, x, &offsets))?;
        }
        Ok(hidden)
    }

    fn size(&self) -> &Size {
        &self.config.size
    }

    fn word_table(&self) -> ParamId {
        self.embeddings.word
    }

    fn classifier(&self) -> ClassifierStyle {
        self.config.classifier
    }

    fn language_model(&self) -> LanguageModelStyle {
        self.config.language_model
    }
}

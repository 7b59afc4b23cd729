//! ELMo: words by their characters, bidirectional LSTMs over them, and a learnt mix of all layers.
//!
//! Paper: Peters et al. 2018, "Deep contextualized word representations", section 3, <https://arxiv.org/abs/1802.05365>; the
//! characters are those of Józefowicz et al. 2016, "Exploring the Limits of Language Modeling", section 3.3,
//! <https://arxiv.org/abs/1602.02410>. Reference code: AllenNLP's `modules/elmo.py` and `modules/elmo_lstm.py`,
//! <https://github.com/allenai/allennlp>.
//!
//! The tokenizer puts the marks of begin and end of a sentence around each text, so they are tokens with hidden states; AllenNLP
//! adds them inside and takes them off again. Each text starts from states of zero, so that its numbers do not depend on what
//! was read before; AllenNLP carries states from batch to batch, which [`Elmo::carry_on`] does.
//!
//! The mix counts as the last layer, with its weights among those of the head: published files lack them, because they belong
//! to a task. What layers hand on holds the outputs of all layers before, newest last.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData, activation::softmax};
use serde_json::json;
use topwork_kernels::pool::Pool;
use topwork_nn::{Cache, Init, ParamId, ParamKind, ParamStore, Pass, Site, State};
use topwork_ops::{Lstm, LstmStates};
use topwork_text::Packed;
use topwork_weights::Op::{Gates, GatesIn, Keep, Reverse, Transpose};
use topwork_weights::Table;

use crate::config::Config;
use crate::error::Error;
use crate::families::elmo_words::Words;
use crate::family::{ClassifierStyle, Encoder, Family, LanguageModelStyle, NO_LIMIT, Size};
use crate::states::mixed;

/// The entry in the list.
pub const ELMO: Family = Family {
    name: "elmo",
    summary: "ELMo: words by their characters, bidirectional LSTMs, a learnt mix of all layers",
    paper: "https://arxiv.org/abs/1802.05365",
    model_types: &["elmo"],
    architectures: &[
        ("embed", "Elmo"),
        ("classify", "ElmoForSequenceClassification"),
        ("tag", "ElmoForTokenClassification"),
    ],
    weights: Table {
        rules: &[
            ("char_embed", "embed.chars.weight", Keep),
            ("CNN/W_cnn_{i}", "embed.filters.{i}.weight", Reverse),
            ("CNN/b_cnn_{i}", "embed.filters.{i}.bias", Keep),
            ("CNN_high_{i}/W_transform", "embed.highway.{i}.transform.weight", Transpose),
            ("CNN_high_{i}/b_transform", "embed.highway.{i}.transform.bias", Keep),
            ("CNN_high_{i}/W_carry", "embed.highway.{i}.gate.weight", Transpose),
            ("CNN_high_{i}/b_carry", "embed.highway.{i}.gate.bias", Keep),
            ("CNN_proj/W_proj", "embed.projection.weight", Transpose),
            ("CNN_proj/b_proj", "embed.projection.bias", Keep),
            ("RNN_0/RNN/MultiRNNCell/Cell{i}/LSTMCell/W_0", "layers.{i}.forward.weight", GatesIn),
            ("RNN_0/RNN/MultiRNNCell/Cell{i}/LSTMCell/B", "layers.{i}.forward.bias", Gates),
            ("RNN_0/RNN/MultiRNNCell/Cell{i}/LSTMCell/W_P_0", "layers.{i}.forward.projection", Transpose),
            ("RNN_1/RNN/MultiRNNCell/Cell{i}/LSTMCell/W_0", "layers.{i}.backward.weight", GatesIn),
            ("RNN_1/RNN/MultiRNNCell/Cell{i}/LSTMCell/B", "layers.{i}.backward.bias", Gates),
            ("RNN_1/RNN/MultiRNNCell/Cell{i}/LSTMCell/W_P_0", "layers.{i}.backward.projection", Transpose),
            ("scalar_mix_0.scalar_parameters.{i}", "head.mix.weights.{i}", Keep),
            ("scalar_mix_0.gamma", "head.mix.gamma", Keep),
            ("classifier.weight", "head.out.weight", Keep),
            ("classifier.bias", "head.out.bias", Keep),
        ],
        ignored: &[
            ("softmax/W", "the words of the language model ELMo was trained as"),
            ("softmax/b", "the words of the language model ELMo was trained as"),
        ],
        unused: &[("head.**", "a head of another task, not used by this one")],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(Elmo::declare(store, Config(config))?)),
};

/// The encoder.
pub struct Elmo {
    size: Size,
    words: Words,
    layers: Vec<Arc<Layer>>,
    mix: Mix,
    dropout: f32,
}

/// One layer of both directions, which do not see each other.
struct Layer {
    index: usize,
    hidden: usize,
    directions: [Direction; 2],
    /// Whether what comes in is added to what comes out.
    skip: bool,
}

/// A projected LSTM as TensorFlow's cell keeps it: one weight for inputs and states.
struct Direction {
    weight: ParamId,
    bias: ParamId,
    projection: ParamId,
    settings: Lstm,
}

/// `gamma * sum of softmax(weights)[i] * layer i`.
struct Mix {
    weights: Vec<ParamId>,
    gamma: ParamId,
}

impl Elmo {
    /// Declares `embed.*`, `layers.*` and `head.mix.*`.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn declare(store: &mut ParamStore, config: Config) -> Result<Self, Error> {
        config.only("do_layer_norm", &json!(false))?;
        let lstm = config.below("lstm")?;
        let (layers, half) = (lstm.size("n_layers")?, lstm.size("projection_dim")?);
        let size = Size {
            layers: layers + 1,
            hidden: 2 * half,
            heads: 0,
            ffn: lstm.size("dim")?,
            vocab: topwork_text::characters::CHARACTERS - 1,
            max_tokens: NO_LIMIT,
            types: 0,
            std: config.number_or("initializer_range", 0.02)? as f32,
        };
        let clip = |key: &str| Ok::<_, Error>(lstm.positive(key)?.map(|clip| clip as f32));
        let settings =
            Lstm { cell_clip: clip("cell_clip")?, projection_clip: clip("proj_clip")?, ..Lstm::default() };
        let skips = lstm.flag_or("use_skip_connections", false)?;
        let words = Words::declare(store, config.below("char_cnn")?, half)?;
        let layer = |index: usize| {
            let directions = [("forward", false), ("backward", true)].map(|(name, reverse)| {
                let path = format!("layers.{index}.{name}");
                Direction::declare(store, &path, &size, index + 1, Lstm { reverse, ..settings })
            });
            Arc::new(Layer { index, hidden: size.hidden, directions, skip: skips && index > 0 })
        };
        let blocks = (0..layers).map(layer).collect();
        let mut number = |path: &str, init| store.declare(path, &[1], layers + 1, ParamKind::Norm, init);
        let weights = (0..=layers).map(|i| number(&format!("head.mix.weights.{i}"), Init::Zeros)).collect();
        let mix = Mix { weights, gamma: number("head.mix.gamma", Init::Ones) };
        Ok(Elmo { size, words, layers: blocks, mix, dropout: config.probability_or("dropout", 0.5)? })
    }

    /// The outputs of the embeddings and of each layer side by side, going on from the states that the texts before left in
    /// `cache`, and leaving those of these texts there.
    ///
    /// # Shapes
    /// - `input`: as many texts as the cache has sequences, each with the begin and the end of a sentence
    /// - returns: `[tokens, hidden * (layers + 1)]`, without the mix
    ///
    /// # Errors
    /// As [`Encoder::embed`].
    pub fn carry_on(&self, pass: &Pass, input: &Packed, cache: &mut Cache) -> Result<Tensor<2>, Error> {
        let offsets: Arc<[u32]> = Arc::from(input.offsets.as_slice());
        let mut x = self.embed(pass, input)?;
        for layer in &self.layers {
            x = layer.forward(pass, x, &offsets, Some(cache))?;
        }
        Ok(x)
    }

    /// A cache for [`Elmo::carry_on`]: states of zero.
    pub fn cache(&self, sequences: usize, store: &ParamStore) -> Cache {
        Cache::new(2 * self.layers.len(), sequences, store.device())
    }
}

impl Direction {
    fn declare(store: &mut ParamStore, path: &str, size: &Size, group: usize, settings: Lstm) -> Self {
        let (half, cell, init) = (size.hidden / 2, size.ffn, Init::Normal(size.std));
        let mut weight = |name: &str, shape: [usize; 2]| {
            store.declare(&format!("{path}.{name}"), &shape, group, ParamKind::Weight, init)
        };
        let (of_inputs, projection) =
            (weight("weight", [4 * cell, 2 * half]), weight("projection", [half, cell]));
        let bias = store.declare(&format!("{path}.bias"), &[4 * cell], group, ParamKind::Bias, Init::Zeros);
        Direction { weight: of_inputs, bias, projection, settings }
    }

    /// # Shapes
    /// - `x`: `[tokens, hidden / 2]`, and as much comes out
    fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        state: Option<State>,
    ) -> Result<LstmStates, topwork_nn::Error> {
        let (weight, [_, inputs]) = (pass.matrix(self.weight)?, x.dims());
        let [gates, columns] = weight.dims();
        // TensorFlow's cell adds 1 to what opens the forget gate.
        let mut forget = vec![0.0f32; gates];
        forget[gates / 4..gates / 2].fill(1.0);
        let forget = Tensor::<1>::from_data(TensorData::new(forget, [gates]), pass.store().device());
        let bias = pass.vector(self.bias)? + forget;
        let of_x = weight.clone().slice_dim(1, 0..inputs);
        let gates = topwork_ops::linear(x, of_x, Some(bias), pass.precision());
        let recurrent = weight.slice_dim(1, inputs..columns);
        let settings = Lstm { precision: pass.precision(), ..self.settings };
        let projection = Some(pass.matrix(self.projection)?);
        Ok(topwork_ops::lstm(gates, recurrent, projection, state, offsets, settings))
    }
}

impl Layer {
    /// # Shapes
    /// - `x`: `[tokens, hidden * (index + 1)]`; returns `[tokens, hidden * (index + 2)]`
    fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        mut cache: Option<&mut Cache>,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let (start, half) = (self.index * self.hidden, self.hidden / 2);
        let mut outputs = Vec::with_capacity(2);
        for (at, direction) in self.directions.iter().enumerate() {
            let input = x.clone().slice_dim(1, start + at * half..start + (at + 1) * half);
            let place = 2 * self.index + at;
            let state = cache.as_deref().and_then(|cache| cache.state(place));
            let LstmStates { y, h_n, c_n } = direction.forward(pass, input.clone(), offsets, state)?;
            if let Some(cache) = &mut cache {
                cache.set_state(place, (h_n, c_n));
            }
            outputs.push(if self.skip { y + input } else { y });
        }
        let own = pass.at(Site::BlockOutput, self.index, Tensor::cat(outputs, 1));
        Ok(Tensor::cat(vec![x, own], 1))
    }
}

impl Mix {
    /// # Shapes
    /// - `x`: `[tokens, hidden * weights]`; returns `[tokens, hidden]`
    fn forward(&self, pass: &Pass, x: Tensor<2>) -> Result<Tensor<2>, Error> {
        let weights: Result<Vec<_>, _> = self.weights.iter().map(|&id| pass.vector(id)).collect();
        let shares = softmax(Tensor::cat(weights?, 0), 0);
        let mixed = mixed(x, shares, pass.vector(self.gamma)?);
        Ok(pass.at(Site::BlockOutput, self.weights.len() - 1, mixed))
    }
}

impl Encoder for Elmo {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        let words = self.words.forward(pass, input)?;
        Ok(pass.at(Site::Embedded, 0, Tensor::cat(vec![words.clone(), words], 1)))
    }

    fn layers(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error> {
        let mut hidden = pass.cut(x);
        for layer in &self.layers[which.start.min(self.layers.len())..which.end.min(self.layers.len())] {
            let (layer, offsets) = (Arc::clone(layer), Arc::clone(offsets));
            hidden = pass.segment(hidden, move |pass, x| layer.forward(pass, x, &offsets, None))?;
        }
        if which.contains(&self.layers.len()) { self.mix.forward(pass, hidden) } else { Ok(hidden) }
    }

    fn size(&self) -> &Size {
        &self.size
    }

    fn width(&self, depth: usize) -> usize {
        if depth > self.layers.len() + 1 { self.size.hidden } else { depth * self.size.hidden }
    }

    fn state_width(&self, _: usize) -> usize {
        self.size.hidden
    }

    fn mix(&self) -> Option<&[ParamId]> {
        Some(&self.mix.weights)
    }

    fn word_table(&self) -> ParamId {
        self.words.table()
    }

    fn has_words(&self) -> bool {
        false
    }

    fn classifier(&self) -> ClassifierStyle {
        ClassifierStyle { pool: Pool::Mean, dense: None, dropout: self.dropout, out: "head.out", bias: true }
    }

    fn language_model(&self) -> LanguageModelStyle {
        LanguageModelStyle { transform: None, tied: false, bias: None }
    }
}

#[cfg(test)]
#[path = "elmo_tests.rs"]
mod tests;
